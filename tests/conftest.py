"""Fixtures for all tests: a tiny data set, its prepared file, one tiny run, and the command line."""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import nibabel
import numpy as np
import pytest

from kseg.cli import main

# Two volumes a head, but for head 4, of which only the left side is there. No two shapes are equal.
SHAPES = {
    "hippocampus_001": (7, 12, 3), "hippocampus_002": (8, 9, 4), "hippocampus_003": (9, 10, 5),
    "hippocampus_004": (10, 11, 3), "hippocampus_005": (6, 14, 4), "hippocampus_006": (11, 8, 5),
    "hippocampus_007": (7, 13, 6), "hippocampus_009": (12, 10, 3), "hippocampus_010": (8, 15, 4),
}  # fmt: skip


def _volume(shape, seed):
    """A noisy volume with a bright box: label 2 in its back half, 1 in its front half, no label in slice 0."""
    label = np.zeros(shape, np.uint8)
    label[2:5, 2:4, 1:], label[2:5, 4:6, 1:] = 2, 1
    noise = np.random.default_rng(seed).uniform(0, 40, shape)
    return noise + 150 * (label > 0), label


def _save(path, voxels):
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 2.0, 3.0, 1.0])), path)


@pytest.fixture(autouse=True)
def seeded():
    """The same weights in every run: an unlucky start can leave a tiny network without a living unit."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(scope="session")
def msd(tmp_path_factory):
    """A folder in MSD's layout with nine tiny volumes, of differing scales and types as in the real one."""
    root = tmp_path_factory.mktemp("msd")
    (root / "imagesTr").mkdir()
    (root / "labelsTr").mkdir()
    for seed, (case, shape) in enumerate(SHAPES.items()):
        image, label = _volume(shape, seed)
        image = image.astype(np.uint8) if seed == 0 else (image * 10**seed).astype(np.float32)
        _save(root / f"imagesTr/{case}.nii.gz", image)
        _save(root / f"labelsTr/{case}.nii.gz", label.astype(np.float32) if seed == 1 else label)
    names = [f"{case}.nii.gz" for case in SHAPES]
    listing = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    (root / "dataset.json").write_text(json.dumps({"name": "Hippocampus", "training": listing}))
    return root


@pytest.fixture
def msd_copy(msd, tmp_path):
    """A copy of the tiny MSD folder, to be damaged."""
    return Path(shutil.copytree(msd, tmp_path / "msd"))


@pytest.fixture
def save_volume():
    """Write voxels as a NIfTI file: save_volume(path, voxels)."""
    return _save


@pytest.fixture(scope="session")
def prepared(msd, tmp_path_factory):
    """The tiny set as a data file: three heads to train on, one to validate and one to test."""
    path = tmp_path_factory.mktemp("prepared") / "tiny.h5"
    assert main("prepare_hippocampus", [str(msd), str(path), "--split", "0.6", "0.2", "0.2"]) == 0
    return path


@pytest.fixture(scope="session")
def tiny_options():
    """Options of train that make it quick."""
    return ["--filters", "2", "--depth", "1", "--batch-size", "16"]


@pytest.fixture(scope="session")
def run_folder(prepared, tiny_options, tmp_path_factory):
    """The folder of a finished run of two epochs on the tiny set."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    words = ["--data", prepared, "--loss", "bce + dice", "--epochs", 2, "--output", path, *tiny_options]
    assert main("train", [str(word) for word in words]) == 0
    return path


@pytest.fixture
def kseg_data():
    """The folder of real data."""
    if not os.environ.get("KSEG_DATA"):
        pytest.skip("the environment variable KSEG_DATA does not name the folder of real data")
    return Path(os.environ["KSEG_DATA"])


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Run a command that must be refused; returns its error line.

    Checks what every bad input has in common: exit code 2, one line beginning "error: " and nothing else, no new
    file in the working folder.
    """

    def run(command, *words):
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        capfd.readouterr()
        code = main(command, [str(word) for word in words])
        err = capfd.readouterr().err
        assert code == 2, err
        assert err.startswith("error: ") and err.count("\n") == 1, err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return run
