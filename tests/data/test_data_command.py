"""`kseg data`: what a data set tells of itself, in words and in a picture."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from kseg.cli import main
from kseg.data import DataFile, Writer, open_data
from kseg.data.preprocess import Preprocessing
from kseg.studies.data_sheet import choose, draw

CLASSES = ["background", "liver", "tumour"]


@pytest.fixture
def path(tmp_path):
    """Two volumes to train on, of three and two slices, and one image to test; colours of the classes' numbers."""
    path = tmp_path / "livers.h5"
    attributes = {
        "name": "livers", "classes": CLASSES, "value_range": (0, 1), "command": "python by_hand.py",
        "sources": [{"file": "a.nii", "bytes": 70, "sha256": "0" * 64}], "split_rule": "by patient", "seed": 4,
        "preprocessing": Preprocessing(1, intensity="percentile", upper_percentile=99, window=(8, 8), axis=2),
    }  # fmt: skip
    with Writer(path, **attributes) as writer:
        for split, case, filled in (("train", "anna", (1, 40, 9)), ("train", "ben", (0, 0)), ("test", "cem", (16,))):
            masks = np.stack([(np.arange(64) < count).reshape(8, 8) for count in filled]).astype(np.uint8)
            masks[0, 0, 0] *= 2
            writer.add(split, case, masks[..., None] / np.float32(2), masks, spacing=(0.5, 0.25))
    return path


def told(capfd, *words):
    assert main("data", [str(word) for word in words]) == 0
    return " ".join(capfd.readouterr().out.split())


def test_everything_is_told(path, capfd):
    out = told(capfd, path)
    for words in (
        "livers", "8 x 8 x 1, values 0 to 1", "0 background, 1 liver, 2 tumour", "0.5 x 0.25 mm", "by patient; seed 4",
        "1 file, 70 bytes", "python by_hand.py", "99 % percentile of each case to 0..1", "slices along axis 2",
        "cases 2 0 1 3", "images 5 0 1 6", "without foreground 2 0 0 2", "tumour, pixels 0.31 % - 1.56 % 0.52 %",
        DataFile(path).fingerprint(),
    ):  # fmt: skip
        assert words in out, words
    assert "matches" not in out and "padding" not in out
    assert "train.py" not in out  # which asks for validation


def test_a_set_with_all_splits_tells_how_to_train_on_it(path, capfd):
    with Writer(path.with_name("whole.h5"), **(DataFile(path).attributes() | {"name": "whole"})) as writer:
        for split in ("train", "validation", "test"):
            writer.add(split, split, np.zeros((1, 8, 8, 1), np.float32), np.zeros((1, 8, 8), np.uint8))
    out = told(capfd, path.with_name("whole.h5"))
    assert f"Next: python scripts/train.py --data {path.with_name('whole.h5')} --loss cce+dicefg" in out


def test_padding_does_not_count(tmp_path, capfd):
    attributes = {"name": "padded", "classes": CLASSES[:2], "value_range": (0, 1), "command": "", "sources": [],
                  "split_rule": "", "seed": 0}  # fmt: skip
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[:, 2, 2:5] = 1  # 3 pixels of 4 x 5 without padding
    with Writer(tmp_path / "padded.h5", **attributes) as writer:
        writer.add("train", "a", masks[..., None].astype(np.float32), masks, box=(1, 5, 2, 7))
        writer.add("test", "b", masks[:1, ..., None].astype(np.float32), masks[:1] * 0, box=(0, 8, 0, 8))
    out = told(capfd, tmp_path / "padded.h5")
    share = 100 * 6 / (2 * 4 * 5 + 64)
    assert f"background, pixels 85.00 % - 100.00 % {100 - share:.2f} %" in out
    assert f"liver, pixels 15.00 % - 0.00 % {share:.2f} %" in out
    assert "Shares of pixels are without padding." in out and "command: not told" in out


@pytest.mark.parametrize("name", ["toy", "tissue(counts=(3, 1, 1))"])
def test_built_in_sets_are_told_too(name, capfd, tmp_path):
    out = told(capfd, name, "--verify", "--sheet", tmp_path / "sheet.png", "--count", 2)
    assert "made from a seed" in out and f"--data {name}" in out.replace("'", "").replace('"', "")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 300


def test_damage_is_found_when_asked(path, capfd, refused):
    assert "Every array matches its SHA-256." in told(capfd, path, "--verify")
    with h5py.File(path, "r+") as file:
        file["test/masks"][0, 7, 7] = 1
    told(capfd, path)
    assert "SHA-256" in refused("data", path, "--verify")


def test_images_with_most_foreground_of_even_cases_are_chosen(path):
    with DataFile(path) as data:
        assert choose(data, "train", 1) == ([1], ["anna #1"])
        assert choose(data, "train", 4) == ([1, 2, 3, 4], ["anna #1", "anna #2", "ben #0", "ben #1"])
        assert choose(data, "train", 99)[0] == [0, 1, 2, 3, 4]
        assert choose(data, "test", 5) == ([0], ["cem"])
    with open_data("toy") as data:
        assert choose(data, "test", 3)[1] == ["test-0000", "test-0050", "test-0099"]


def test_the_sheet_shows_images_outlines_and_names(path):
    with DataFile(path) as data:
        figure = draw(data, 3)
    train, test = figure.subfigs
    assert [part.get_suptitle() for part in (train, test)] == ["train, 3 of 5", "test, 1 of 1"]
    shown = [axis for axis in train.axes if axis.images]
    assert [axis.get_title() for axis in shown] == ["anna #1", "anna #2", "ben #0"]
    assert [bool(axis.collections) for axis in shown] == [True, True, False]
    np.testing.assert_array_equal(shown[0].images[0].get_array() > 0, (np.arange(64) < 40).reshape(8, 8))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == CLASSES[1:]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere.h5"], ["nowhere.h5", "Expected"]),
        (["toyy"], ["'toyy'", "Did you mean 'toy'"]),
        (["toy", "--sheet", "sheet.jpg"], ["--sheet=sheet.jpg", ".png"]),
        (["toy", "--sheet", "nowhere/sheet.png"], ["nowhere", "does not exist"]),
        (["toy", "--sheet", "there.png"], ["there.png exists", "--overwrite"]),
        (["toy", "--count", 0], ["--count=0"]),
    ],
)
def test_bad_input_is_told_in_one_line(refused, tmp_path, words, expected):
    (tmp_path / "there.png").write_bytes(b"mine")
    error = refused("data", *words)
    assert all(word in error for word in expected), error


def test_telling_needs_no_tensorflow():
    code = "import sys, kseg.studies.data_sheet; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
