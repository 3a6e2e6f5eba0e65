"""Surface distances of a split: spacing from the data, slices put together, options of evaluate, table."""

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

import kseg.metrics as M
from kseg import inference, report
from kseg.cli import main
from kseg.data import Writer


def write(path, volumes, spacing=None, slices=None, blank=False):
    """A data file whose test split holds masks `[n, H, W]`; images are the masks turned by one column, or blank."""
    facts = {"name": "set", "classes": ["none", "disc"], "value_range": (0, 1), "command": "", "sources": []}
    with Writer(path, split_rule="", seed=0, **facts) as writer:
        for name, mask in volumes.items():
            image = np.roll(mask, 1, axis=2)[..., None].astype(np.float32) * (not blank)
            writer.add("test", name, image, mask, spacing=spacing, slices=slices)
    return path


def blocks(depth):
    masks = np.zeros((depth, 8, 12), np.uint8)
    masks[-2:, 2:5, 3:7] = 1
    return masks


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model file whose probability is the pixel's value."""
    import keras

    path = tmp_path_factory.mktemp("model") / "model.keras"
    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs)).save(path)
    return path


def index_of(case, slices, spacing):
    rows = len(case)
    spacing = np.tile(np.array(spacing, np.float32), (rows, 1))
    return {
        "case": np.array(case),
        "slice": np.array(slices),
        "spacing": spacing,
        "box": np.tile([0, 8, 0, 12], (rows, 1)),
    }


def evaluate(model, data, folder, *words):
    assert main("evaluate", [str(w) for w in (model, data, "--output", folder, *words)]) == 0
    with open(folder / "cases.csv", newline="") as file:
        rows = {(row["case"], row["class"]): row for row in csv.DictReader(file)}
    return rows, json.loads((folder / "summary.json").read_text())


def test_volumes_are_measured_in_mm_with_the_slice_spacing(model, tmp_path, capsys):
    data = write(tmp_path / "set.h5", {"a": blocks(4), "b": blocks(2)}, spacing=(0.5, 2.0))
    words = ("--slice-spacing", 3, "--tolerance", 1.5)
    rows, summary = evaluate(model, data, tmp_path / "scores", *words)
    for name, depth in (("a", 4), ("b", 2)):
        true = blocks(depth) == 1
        pair = (true, np.roll(true, 1, axis=2), (3.0, 0.5, 2.0))
        row = rows[name, "disc"]
        assert float(row["hd"]) == pytest.approx(M.hausdorff(*pair), abs=1e-6) == 2
        assert float(row["hd95"]) == pytest.approx(M.hausdorff95(*pair), abs=1e-6)
        assert float(row["assd"]) == pytest.approx(M.assd(*pair), abs=1e-6)
        assert float(row["surface_dice"]) == pytest.approx(M.surface_dice(*pair, tolerance=1.5), abs=1e-6)
        assert rows[name, "none"]["hd95"] == ""
    assert summary["surfaces"] == {"axes": 3, "unit": "mm", "tolerance": 1.5}
    mean = np.mean([float(rows[name, "disc"]["assd"]) for name in "ab"])
    assert summary["classes"]["disc"]["assd"]["mean"] == pytest.approx(mean, abs=1e-6)
    assert "hd95" not in summary["classes"]["none"]
    out = capsys.readouterr().out
    assert "Surfaces in 3-D, mm; surface Dice within 1.5 mm" in out and "ASSD" in out


def test_volumes_without_slice_spacing_are_not_measured(model, tmp_path, capsys):
    data = write(tmp_path / "set.h5", {"a": blocks(4)}, spacing=(0.5, 2.0))
    rows, summary = evaluate(model, data, tmp_path / "scores")
    assert "hd95" not in rows["a", "disc"] and "surfaces" not in summary
    assert "Surface distances need --slice-spacing" in capsys.readouterr().out


@pytest.mark.parametrize(("spacing", "unit", "distance"), [((0.5, 2.0), "mm", 2), (None, "px", 1)])
def test_single_images_are_measured_in_the_plane(model, tmp_path, capsys, spacing, unit, distance):
    data = write(tmp_path / "set.h5", {"a": blocks(4)[-1:], "b": blocks(2)[-1:]}, spacing=spacing)
    rows, summary = evaluate(model, data, tmp_path / "scores")
    assert float(rows["b", "disc"]["hd"]) == distance
    assert summary["surfaces"] == {"axes": 2, "unit": unit, "tolerance": 1.0}
    assert f"Surfaces in 2-D, {unit}" in capsys.readouterr().out


def test_padding_is_cut_off_before_measuring():
    """A mask that ends at the content's edge has its surface there, whatever lies in the padding."""
    masks = np.zeros((1, 8, 12), np.uint8)
    masks[0, 2:6, 3:9] = 1
    predicted = masks.copy()
    predicted[0, :2] = 1  # in the padding
    index = {**index_of(["a"], [0], (1, 1)), "box": np.array([[2, 6, 3, 9]])}
    plan = inference.plan_surfaces(index)
    (case,) = inference.count_cases(masks, predicted, index, 2, plan)
    assert case.surface["hd"][1] == 0


def test_steps_between_slices_count():
    plan = inference.plan_surfaces(index_of(["a", "a", "a", "b"], [2, 0, 4, 1], (0.5, 0.25)), slice_spacing=1.5)
    assert plan.spacing == {"a": (3.0, 0.5, 0.25), "b": (1.5, 0.5, 0.25)}
    assert (plan.unit, plan.axes, plan.tolerance) == ("mm", 3, 1.0)


@pytest.mark.parametrize("spacing", [(np.nan, np.nan), (1.0, 0.0), (1.0, np.nan)])
def test_pixels_of_unknown_size_are_the_unit(spacing):
    plan = inference.plan_surfaces(index_of(["a", "a"], [0, 1], spacing), slice_spacing=2.0)
    assert (plan.spacing, plan.unit) == ({"a": (2.0, 1.0, 1.0)}, "px")


def test_missing_slices_and_needless_spacing_are_refused(model, refused, tmp_path):
    data = write(tmp_path / "gap.h5", {"a": blocks(3)}, slices=[0, 1, 3])
    error = refused("evaluate", model, data, "--slice-spacing", 1)
    assert "case a lacks slices" in error and "1 to 2 apart" in error
    single = write(tmp_path / "single.h5", {"a": blocks(3)[-1:]})
    assert "cases of one image" in refused("evaluate", model, single, "--slice-spacing", 1)


@pytest.mark.parametrize("words", [("--slice-spacing", 0), ("--slice-spacing", "nan"), ("--tolerance", -1)])
def test_numbers_out_of_range_are_refused(model, refused, words):
    assert str(words[0]) in refused("evaluate", model, "toy", *words)


def test_the_table_shows_distances_and_says_what_is_missing(tmp_path):
    far = {"mean": 12.3456, "low": 9.5, "high": 15.0, "cases": 7, "empty": 1, "missed": 2}
    share = {"mean": 0.9, "low": 0.85, "high": 0.95, "cases": 9, "empty": 1, "missed": 0}
    summary = {"none": {"dice": share}, "disc": {"dice": share, "hd95": far, "assd": far, "surface_dice": share}}
    console = Console(file=io.StringIO(), width=100)
    console.print(report.score_table(summary, "Surfaces", report.SURFACE))
    text = console.file.getvalue()
    assert "none" not in text
    (line,) = [line for line in text.splitlines() if "disc" in line]
    assert line.split() == ["disc", *["12.346", "(9.500-15.000)"] * 2, "0.900", "(.850-.950)", "7"]
    assert "1 scores are undefined" in text and "2 distances are infinite" in text


def test_missed_and_empty_cases_in_the_files(model, tmp_path):
    volumes = {"a": blocks(2)[-1:], "b": np.zeros((1, 8, 12), np.uint8)}
    data = write(tmp_path / "set.h5", volumes, blank=True)
    rows, summary = evaluate(model, data, tmp_path / "scores")
    assert (rows["a", "disc"]["hd95"], rows["b", "disc"]["hd95"]) == ("inf", "")
    score = summary["classes"]["disc"]["hd95"]
    assert (score["mean"], score["cases"], score["empty"], score["missed"]) == (None, 0, 1, 1)


def test_a_case_that_was_missed_is_counted_and_not_averaged():
    masks, predicted = np.zeros((2, 3, 8, 12), np.uint8)
    masks[:, 2:5, 3:7] = 1
    predicted[:2, 2:5, 4:8] = 1
    index = index_of(["a", "b", "c"], [0, 0, 0], (1, 1))
    cases = inference.count_cases(masks, predicted, index, 2, inference.plan_surfaces(index))
    score = inference.summarise(cases, ["none", "disc"])["disc"]
    assert (score["hd95"]["mean"], score["hd95"]["cases"], score["hd95"]["missed"]) == (1.0, 2, 1)
    assert score["surface_dice"]["cases"] == 3 and score["surface_dice"]["missed"] == 0
    assert [row["hd"] for row in inference.case_rows(cases, ["none", "disc"]) if row["class"] == "disc"][2] == np.inf
