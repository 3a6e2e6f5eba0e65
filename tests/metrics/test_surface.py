"""Surface distances against brute force over all pairs of elements, and by hand; for other libraries see parity/."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

import kseg.metrics as M
from kseg.metrics.elements import patch_sizes

PAIR = {2: (0.7, 2.0), 3: (2.5, 0.7, 1.1)}
NAN, INF = float("nan"), float("inf")


def random_masks(shape, seed, share=0.3):
    rng = np.random.default_rng(seed)
    return rng.random(shape) < share, rng.random(shape) < share


def at(mask, place):
    """A mask's value, background outside the array."""
    inside = all(0 <= i < n for i, n in zip(place, mask.shape, strict=True))
    return bool(mask[place]) if inside else False


def corner_points(mask):
    """Corners between voxels that are not all alike, in voxels, one after the other."""
    for place in itertools.product(*(range(n + 1) for n in mask.shape)):
        around = {at(mask, tuple(np.subtract(place, d))) for d in itertools.product((0, 1), repeat=mask.ndim)}
        if len(around) == 2:
            yield place


def voxel_points(mask):
    """Voxels with a side neighbour outside the mask."""
    sides = [step for step in itertools.product((-1, 0, 1), repeat=mask.ndim) if np.abs(step).sum() == 1]
    for place in zip(*np.nonzero(mask), strict=True):
        if not all(at(mask, tuple(np.add(place, step))) for step in sides):
            yield place


POINTS = {"patches": corner_points, "voxels": voxel_points}


@pytest.mark.parametrize("elements", POINTS)
@pytest.mark.parametrize("shape", [(6, 7), (9, 4), (4, 5, 3), (1, 6), (2, 1, 5)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_distances_are_those_of_brute_force(elements, shape, share):
    true, pred = random_masks(shape, 0, share)
    true.flat[0] = pred.flat[1] = True
    spacing = PAIR[len(shape)]
    ours = M.surface_distances(true, pred, spacing, elements=elements)
    points = [np.array(list(POINTS[elements](mask))) * spacing for mask in (true, pred)]
    expected = [cKDTree(there).query(here)[0] for here, there in (points, points[::-1])]
    np.testing.assert_allclose(np.sort(ours.true_to_pred), np.sort(expected[0]), rtol=1e-12)
    np.testing.assert_allclose(np.sort(ours.pred_to_true), np.sort(expected[1]), rtol=1e-12)
    assert ours.hausdorff() == pytest.approx(max(map(np.max, expected)))
    if elements == "voxels":
        assert (ours.true_size == 1).all() and (ours.pred_size == 1).all()
        assert ours.hausdorff(90) == pytest.approx(max(np.percentile(d, 90) for d in expected))
        assert ours.asd() == pytest.approx(expected[1].mean())
        assert ours.assd() == pytest.approx(np.concatenate(expected).mean())
        assert ours.masd() == pytest.approx((expected[0].mean() + expected[1].mean()) / 2)
        assert ours.dice(1.2) == pytest.approx((np.concatenate(expected) <= 1.2).mean())


def test_two_squares_by_hand():
    true, pred = np.zeros((2, 9, 9), bool)
    true[2:5, 2:5] = pred[2:5, 4:7] = True
    # The contour of a 3 x 3 square: 8 sides of 1 and 4 cut corners of sqrt(1/2). Moved by 2 pixels, 8 of its 12 places
    # lie within 1 pixel of the other one: 6 sides and 2 corners.
    whole, near = 8 + 4 * math.sqrt(0.5), 6 + 2 * math.sqrt(0.5)
    distances = M.surface_distances(true, pred)
    assert distances.true_size.sum() == pytest.approx(whole)
    assert M.hausdorff(true, pred) == 2
    assert M.surface_dice(true, pred, tolerance=1) == pytest.approx(near / whole)
    # Distances of the 12 places: 2 for the far side (2 sides and 2 corners), 1 for four sides (two in the middle of
    # the near side), 0 for the rest.
    assert M.assd(true, pred) == pytest.approx((2 * (2 + 2 * math.sqrt(0.5)) + 1 * 4) / whole)
    # Of the 8 border voxels, the 3 of the far column are 2 away, the 2 of the middle one 1, the near column is shared.
    assert M.hausdorff(true, pred, elements="voxels") == 2
    assert M.assd(true, pred, elements="voxels") == pytest.approx((3 * 2 + 2 * 1 + 3 * 0) / 8)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.7, 1.1)])
def test_the_area_of_a_block_is_that_of_its_faces_with_cut_edges_and_corners(spacing):
    shape = (4, 3, 5)
    sides = [(n - 1) * s for n, s in zip(shape, spacing, strict=True)]
    faces = 2 * sum(a * b for a, b in itertools.combinations(sides, 2))
    cut = [math.hypot(a, b) / 2 for a, b in itertools.combinations(spacing, 2)]  # of planes 01, 02, 12
    edges = 4 * sum(side * cut[2 - axis] for axis, side in enumerate(sides))
    a, b, c = (s / 2 for s in spacing)
    corner = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (a * c) ** 2) / 2
    block = np.ones(shape, bool)
    size = M.surface_distances(block, block, spacing).true_size
    assert size.sum() == pytest.approx(faces + edges + 8 * corner, rel=1e-12)


def test_the_contour_of_a_checkerboard_keeps_its_pixels_apart():
    board = np.indices((4, 4)).sum(0) % 2 == 0
    whole = M.surface_distances(board, board, (3.0, 4.0)).true_size.sum()
    # Each of the 8 pixels is a diamond whose four sides are half the diagonal 5 of a pixel.
    assert whole == pytest.approx(8 * 4 * 2.5)


def test_patches_of_a_neighbourhood_turned_or_inverted_are_as_large():
    sizes = patch_sizes((1.0, 1.0, 1.0))
    corners = list(itertools.product((0, 1), repeat=3))
    for code in range(256):
        voxels = np.array([code >> bit & 1 for bit in range(8)]).reshape(2, 2, 2)
        assert sizes[code] == sizes[255 - code]
        turned = (np.rot90(voxels, axes=(0, 1)), np.rot90(voxels, axes=(1, 2)), voxels[::-1])
        for other in turned:
            assert sizes[sum(int(other[c]) << i for i, c in enumerate(corners))] == pytest.approx(sizes[code])


@pytest.mark.parametrize("elements", POINTS)
def test_a_voxel_moved_is_as_far_as_it_moved(elements):
    true, pred = np.zeros((2, 8, 9, 9), bool)
    true[1, 2, 3] = pred[4, 2, 7] = True
    distance = math.hypot(3 * 2.5, 4 * 1.1)
    assert M.hausdorff(true, pred, (2.5, 0.7, 1.1), elements=elements) == pytest.approx(distance)
    assert M.hausdorff(true, pred, 2, elements=elements) == pytest.approx(10)
    assert M.hausdorff(true, pred, elements=elements) == pytest.approx(5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(5, 6), (4, 3, 5)]), st.sampled_from(["patches", "voxels"]))
def test_properties(seed, shape, elements):
    true, pred = random_masks(shape, seed, 0.5)
    true.flat[0] = pred.flat[0] = True
    spacing = np.array(PAIR[len(shape)])
    ours = M.surface_distances(true, pred, spacing, elements=elements)
    back = M.surface_distances(pred, true, spacing, elements=elements)
    assert (ours.hausdorff(80), ours.dice(1)) == pytest.approx((back.hausdorff(80), back.dice(1)))
    assert ours.masd() == pytest.approx((ours.asd() + back.asd()) / 2)
    assert ours.asd() <= ours.hausdorff() + 1e-12 and ours.hausdorff(50) <= ours.hausdorff(95) <= ours.hausdorff()
    scaled = M.surface_distances(true, pred, 3 * spacing, elements=elements)
    assert (scaled.assd(), scaled.dice(3)) == pytest.approx((3 * ours.assd(), ours.dice(1)))
    padded = M.surface_distances(np.pad(true, 2), np.pad(pred, 2), spacing, elements=elements)
    assert (padded.assd(), padded.dice(1)) == pytest.approx((ours.assd(), ours.dice(1)))
    turned = M.surface_distances(true.T, pred.T, spacing[::-1], elements=elements)
    assert (turned.assd(), turned.hausdorff()) == pytest.approx((ours.assd(), ours.hausdorff()))
    assert ours.dice(ours.hausdorff()) == 1
    same = M.surface_distances(true, true, spacing, elements=elements)
    assert (same.hausdorff(), same.assd(), same.dice(0)) == (0, 0, 1)


def test_percentiles_weigh_elements_by_their_size_and_take_the_worse_direction():
    near, far = np.array([10.0, 0.0]), np.array([0.0, 0.0, 3.0, 0.0])
    sizes = np.array([5.0, 95.0]), np.ones(4)
    distances = M.SurfaceDistances(near, far, *sizes)
    assert distances.hausdorff(95) == 3  # 95 % of the first direction lie at 0, 75 % of the second
    assert distances.hausdorff(95.1) == 10
    assert distances.hausdorff(75) == 0
    assert M.SurfaceDistances(near, far, *sizes, "voxels").hausdorff(95) == pytest.approx(9.5)


def test_hausdorff95_is_the_95th_percentile_and_not_its_neighbour():
    masks = random_masks((9, 9), 1)
    distances = M.surface_distances(*masks, elements="voxels")
    below, exact, above = (
        max(np.percentile(way, p) for way in (distances.true_to_pred, distances.pred_to_true)) for p in (94, 95, 96)
    )
    assert below + 0.1 < exact < above - 0.1
    assert M.hausdorff95(*masks, elements="voxels") == pytest.approx(exact, rel=1e-12)
    assert M.hausdorff95(*masks) == M.hausdorff(*masks, percentile=95)


def test_a_percentile_that_is_covered_exactly_does_not_depend_on_rounding():
    """Half the surface lies within 1.1 mm; the sum of its sizes is a little less than half of their sum in float64."""
    true, pred = np.zeros((2, 12, 15), bool)
    true[3:9, 3:9] = pred[2:5, 3:14] = True
    distances = M.surface_distances(true, pred, (0.7, 1.1))
    covered = [
        size[distance <= 1.1].sum() / size.sum()
        for distance, size in (
            (distances.true_to_pred, distances.true_size),
            (distances.pred_to_true, distances.pred_size),
        )
    ]
    assert min(covered) == pytest.approx(0.5, abs=1e-12)
    assert distances.hausdorff(50) == 1.1


def test_a_distance_equal_to_the_tolerance_is_within_it_whatever_it_rounds_to():
    true, pred = np.zeros((2, 3, 30), bool)
    true[1, 5] = pred[1, 8] = True
    assert 3 * 0.1 > 0.3
    assert M.surface_dice(true, pred, 0.1, tolerance=0.3, elements="voxels") == 1
    assert M.surface_dice(true, pred, 0.1, tolerance=0.299, elements="voxels") == 0


def test_what_touches_the_edge_has_a_surface_there():
    full = np.ones((4, 5), bool)
    distances = M.surface_distances(full, full)
    assert distances.true_size.sum() == pytest.approx(2 * 3 + 2 * 4 + 4 * math.sqrt(0.5))
    assert len(M.surface_distances(full, full, elements="voxels").true_size) == 14


SCORES = [M.hausdorff, M.hausdorff95, M.asd, M.assd, M.masd]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("elements", POINTS)
def test_empty_masks(score, elements):
    empty, dot = np.zeros((2, 4, 4), bool)
    dot[1, 1] = True
    assert np.isnan(score(empty, empty, elements=elements))
    assert score(empty, empty, elements=elements, empty="zero") == 0
    for pair in ((empty, dot), (dot, empty)):
        assert score(*pair, elements=elements) == INF
        assert score(*pair, elements=elements, missing=7.5) == 7.5
        assert np.isnan(score(*pair, elements=elements, missing="nan"))
        assert score(*pair, elements=elements, empty="zero") == INF
        assert M.surface_dice(*pair, tolerance=1, elements=elements, empty="one") == 0
    assert np.isnan(M.surface_dice(empty, empty, tolerance=1, elements=elements))
    assert M.surface_dice(empty, empty, tolerance=1, elements=elements, empty="one") == 1


def test_masks_of_numbers_are_taken():
    true, pred = random_masks((5, 5), 0)
    for kind in (np.uint8, np.int64, np.float32):
        assert M.assd(true.astype(kind), pred.astype(kind)) == M.assd(true, pred)
    assert M.assd(true.tolist(), pred.tolist()) == M.assd(true, pred)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_pred": np.zeros((3, 4))}, r"\(3, 3\) and \(3, 4\).*equal shapes"),
        ({"y_true": np.zeros(3), "y_pred": np.zeros(3)}, "2 or 3 axes"),
        ({"y_true": np.full((3, 3), 2)}, "y_true holds 2.*binary"),
        ({"y_pred": np.full((3, 3), 0.5)}, "y_pred holds 0.5.*binary"),
        ({"y_pred": np.full((3, 3), NAN)}, "y_pred holds nan"),
        ({"spacing": (1, 2, 3)}, r"spacing=\(1, 2, 3\).*or 2 of them"),
        ({"spacing": 0}, "spacing=0.*above 0"),
        ({"spacing": (1, NAN)}, "spacing"),
        ({"elements": "voxel"}, "Did you mean 'voxels'"),
        ({"percentile": 0}, "percentile=0"),
        ({"percentile": 101}, "percentile=101"),
        ({"empty": "skip"}, "empty='skip'.*'nan'.*'zero'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        M.hausdorff(**{"y_true": np.ones((3, 3)), "y_pred": np.ones((3, 3)), **change})


def test_a_tolerance_below_zero_is_refused():
    for tolerance in (-1, NAN):
        with pytest.raises(ValueError, match="tolerance=.*at least 0"):
            M.surface_dice(np.ones((3, 3)), np.ones((3, 3)), tolerance=tolerance)
