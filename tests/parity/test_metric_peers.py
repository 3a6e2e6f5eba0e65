"""Surface distances, boundary IoU and calibration agree with other libraries; `make_metric_peers.py` recorded these."""

import json
from pathlib import Path

import numpy as np
import pytest

import kseg.metrics as M

TOLERANCES = (0.4, 1.0, 2.5)
PERCENTILES = (45, 95, 100)

with np.load(Path(__file__).parent / "metrics.npz", allow_pickle=False) as file:
    ARRAYS = dict(file)
RESULTS = json.loads(str(ARRAYS["results"]))


def recorded(peer):
    found = [case for case in RESULTS if case["peer"] == peer]
    ids = [f"{case['pair']}-{case['spacing']}" for case in found]
    return pytest.mark.parametrize("case", found, ids=ids)


def distances(case, elements):
    masks = (ARRAYS[f"{side}_{case['pair']}"] for side in ("true", "pred"))
    return M.surface_distances(*masks, case["spacing"], elements=elements)


@recorded("surface-distance")
def test_patches_are_those_of_deepmind(case):
    ours, theirs = distances(case, "patches"), case["values"]
    np.testing.assert_allclose([ours.hausdorff(p) for p in PERCENTILES], theirs["hausdorff"], rtol=1e-12)
    np.testing.assert_allclose([ours.dice(t) for t in TOLERANCES], theirs["dice"], rtol=1e-12)
    assert ours.asd() == pytest.approx(theirs["average_pred_to_true"], rel=1e-12)
    both = (theirs["average_pred_to_true"], theirs["average_true_to_pred"])
    assert ours.masd() == pytest.approx(np.mean(both), rel=1e-12)


@recorded("monai")
def test_voxels_are_those_of_monai(case):
    ours, theirs = distances(case, "voxels"), case["values"]  # theirs are float32
    np.testing.assert_allclose([ours.hausdorff(p) for p in PERCENTILES], theirs["hausdorff"], rtol=1e-6)
    np.testing.assert_allclose([ours.dice(t) for t in TOLERANCES], theirs["dice"], rtol=1e-6)
    assert (ours.asd(), ours.assd()) == pytest.approx((theirs["asd"], theirs["assd"]), rel=1e-6)
    patches = distances(case, "patches")
    np.testing.assert_allclose([patches.dice(t) for t in TOLERANCES], theirs["dice_subvoxels"], rtol=1e-6)


@recorded("MedPy")
def test_voxels_are_those_of_medpy(case):
    ours, theirs = distances(case, "voxels"), case["values"]
    assert ours.hausdorff() == pytest.approx(theirs["hd"], rel=1e-12)
    assert ours.asd() == pytest.approx(theirs["asd"], rel=1e-12)
    assert ours.assd() == pytest.approx(theirs["assd"], rel=1e-12)
    # One percentile of both directions together, where we take the larger of two.
    pooled = np.percentile(np.r_[ours.true_to_pred, ours.pred_to_true], 95)
    assert pooled == pytest.approx(theirs["hd95"], rel=1e-12)
    assert ours.hausdorff(95) >= theirs["hd95"] * (1 - 1e-12)


def test_the_percentile_of_medpy_is_another_one():
    """Else the comparison above would not show which of the two is meant."""
    differ = [distances(c, "voxels").hausdorff(95) - c["values"]["hd95"] for c in RESULTS if c["peer"] == "MedPy"]
    assert max(differ) > 0.5


@recorded("opencv")
def test_boundary_iou_is_that_of_the_authors_erosions(case):
    masks = [ARRAYS[f"{side}_{case['pair']}"] for side in ("true", "pred")]
    for width, value in zip(case["values"]["widths"], case["values"]["boundary_iou"], strict=True):
        assert M.boundary_iou(*masks, width=width) == pytest.approx(value, rel=1e-12)


def test_calibration_errors_are_those_of_torchmetrics():
    (case,) = (case for case in RESULTS if case["peer"] == "torchmetrics")
    p, truth = ARRAYS["probabilities"], ARRAYS["labels"]
    for bins, theirs in case["values"].items():
        top = M.reliability_curve(truth, p, bins=int(bins))
        assert (top.ece(), top.mce()) == pytest.approx((theirs["top"], theirs["maximum"]), rel=1e-5)
        one = M.reliability_curve(truth, p, bins=int(bins), class_id=2)
        assert one.ece() == pytest.approx(theirs["class_2"], rel=1e-5)
