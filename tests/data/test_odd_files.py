"""Pairs of images and masks that are odd: what cannot be used is left out with the reason, and the rest is prepared."""

import nibabel
import numpy as np
import pytest

from kseg.cli import main
from kseg.data import DataFile

RAS, LPS = np.diag([1.0, 1, 1, 1]), np.diag([-1.0, -1, 1, 1])


def written(path, array, affine=RAS, known=True):
    """A NIfTI or `.npy` file; a NIfTI header that is not `known` does not tell where its axes point to."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".npy":
        return np.save(path, array)
    return nibabel.save(nibabel.Nifti1Image(array, affine if known else None), path)


def pair(number):
    """A noisy volume with a bright corner, and the corner's mask."""
    noise = np.random.default_rng(number).uniform(0, 0.3, (8, 8, 2)).astype(np.float32)
    mask = np.zeros((8, 8, 2), np.uint8)
    mask[:3, :3] = 1
    return noise + 0.6 * mask, mask


def prepare(folder, capfd, *words):
    """{case: mean of the image within the mask}, and what was printed."""
    names = [str(folder / name) for name in ("images", "masks", "out.h5")]
    capfd.readouterr()
    assert main("prepare_folder", [*names, "--split", "0.6", "0.2", "0.2", *words]) == 0
    found = {}
    with DataFile(folder / "out.h5") as data:
        data.verify()
        for split in data.sizes:
            images, masks = data.read(split)
            for case in set(data.index(split)["case"]):
                rows = data.index(split)["case"] == case
                found[case] = images[rows][..., 0][masks[rows] > 0].mean()
    return found, " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    ("turned", "other"),
    [(("images", LPS, True), ("masks", RAS, False)), (("masks", LPS, True), ("images", RAS, False))],
    ids=["image", "mask"],
)
def test_a_pair_of_which_one_alone_tells_where_it_lies_is_left_out(tmp_path, capfd, turned, other):
    for number in range(5):
        written(tmp_path / f"images/v{number}.nii.gz", pair(number)[0])
        written(tmp_path / f"masks/v{number}.nii.gz", pair(number)[1])
    for folder, affine, known in (turned, other):
        written(tmp_path / folder / "v4.nii.gz", pair(4)[folder == "masks"], affine, known)
    found, out = prepare(tmp_path, capfd)
    assert sorted(found) == ["v0", "v1", "v2", "v3"] and "does not tell where it lies" in out
    assert min(found.values()) > 0.8  # masks lie on what they mark


def test_arrays_beside_volumes_that_are_not_turned_are_used(tmp_path, capfd):
    for number in range(5):
        written(tmp_path / f"images/v{number}.nii.gz", pair(number)[0])
        written(tmp_path / f"masks/v{number}.npy", np.moveaxis(pair(number)[1], 2, 0))
    found, _ = prepare(tmp_path, capfd)
    assert len(found) == 5 and min(found.values()) > 0.8


def test_arrays_whose_numbers_cannot_be_computed_with_are_left_out(tmp_path, capfd):
    for number in range(6):
        image, mask = (np.moveaxis(each, 2, 0) for each in pair(number))
        written(tmp_path / f"images/{number}.npy", image)
        written(tmp_path / f"masks/{number}.npy", mask)
    huge = np.random.default_rng(0).choice([-1.7e308, 1.7e308], (2, 8, 8))
    written(tmp_path / "images/4.npy", huge)
    written(tmp_path / "masks/5.npy", np.full((2, 8, 8), 2**64 - 1, np.uint64))
    found, out = prepare(tmp_path, capfd, "--intensity", "percentile")
    assert sorted(found) == ["0", "1", "2", "3"]
    assert "a range that can be computed" in out and "Expected below 2^31" in out


def test_black_and_white_images_are_prepared(tmp_path, capfd):
    for number in range(5):
        image, mask = (np.moveaxis(each, 2, 0) for each in pair(number))
        written(tmp_path / f"images/{number}.npy", image > 0.28)
        written(tmp_path / f"masks/{number}.npy", mask)
    found, _ = prepare(tmp_path, capfd, "--intensity", "percentile")
    assert set(found.values()) == {1.0}
