"""Preparing arrays of images and masks as PanNuke has them (S4.9)."""

import io

import h5py
import numpy as np
import pytest

from kseg.cli import main
from kseg.data import DataFile, arrays
from kseg.data.hdf5 import SPLITS

PANNUKE = ["background", "neoplastic", "inflammatory", "connective", "dead", "epithelial"]


def made(seed, count=4, side=32, channels=6):
    """A pair as PanNuke's: float64 images of whole numbers, masks of nucleus numbers, the last channel background."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, side, side, 3)).astype(np.float64)
    masks = np.zeros((count, side, side, channels))
    which = rng.integers(0, channels, (count, side, side))
    np.put_along_axis(masks, which[..., None], rng.integers(1, 90, which.shape)[..., None], axis=-1)
    masks[..., -1] = (which == channels - 1).astype(float)
    return images, masks


def plain_ids(masks):
    """Class ids by a plain loop: 1 + the first channel but the last that is above 0, else 0."""
    ids = np.zeros(masks.shape[:3], np.uint8)
    for place in np.ndindex(ids.shape):
        above = [k for k in range(masks.shape[3] - 1) if masks[place][k] > 0]
        ids[place] = above[0] + 1 if above else 0
    return ids


def store(folder, images, masks, masks_folder=None):
    for name, array, place in (("images", images, folder), ("masks", masks, masks_folder or folder)):
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{name}.npy", array)


@pytest.fixture
def pair(tmp_path):
    """A folder with one pair of ten images."""
    store(tmp_path / "pair", *made(0, 10))
    return tmp_path / "pair"


def prepare(root, out, *words):
    """Prepare and read back: {case: (images uint8, masks, split)}."""
    assert main("prepare_histology", [str(word) for word in (root, out, *words)]) == 0
    cases = {}
    with DataFile(out) as data, h5py.File(out) as file:
        data.verify()
        for split in (split for split in SPLITS if data.sizes[split]):
            index = data.index(split)
            for case in dict.fromkeys(index["case"]):
                own = index["case"] == case
                cases[case] = file[split]["images"][own], file[split]["masks"][own], split
    return cases


@pytest.mark.parametrize(
    ("images_at", "masks_at"),
    [("fold{}/images/fold{}", "fold{}/masks/fold{}"), ("Fold {}/images/fold{}", "Fold {}/masks/fold{}"),
     ("{}", "{}"), ("images/{}", "masks/{}")],
)  # fmt: skip
def test_three_folds_are_the_splits(tmp_path, images_at, masks_at):
    folds = {k: made(k, 2 + k) for k in (1, 2, 3)}
    for k, (images, masks) in folds.items():
        store(tmp_path / "set" / images_at.format(k, k), images, masks, tmp_path / "set" / masks_at.format(k, k))
    cases = prepare(tmp_path / "set", tmp_path / "set.h5", "--crop", 32)
    assert len(cases) == 12
    for k, split in zip((1, 2, 3), SPLITS, strict=True):
        images, masks = folds[k]
        ids = plain_ids(masks)
        for i in range(2 + k):
            image, mask, found = cases[f"fold{k}-{i:05d}"]
            assert found == split
            np.testing.assert_array_equal(image, images[i : i + 1])
            np.testing.assert_array_equal(mask, ids[i : i + 1])
    with DataFile(tmp_path / "set.h5") as data:
        assert data.classes == PANNUKE
        assert data.attributes()["split_rule"].startswith("by fold")
        assert len(data.attributes()["sources"]) == 6


def test_ten_folds_keep_the_order_of_their_numbers(tmp_path):
    for k in range(1, 11):
        store(tmp_path / f"set/fold{k}", *made(k, 1))
    cases = prepare(tmp_path / "set", tmp_path / "set.h5", "--crop", 32)
    for k in range(1, 11):
        np.testing.assert_array_equal(cases[f"fold{k:02d}-00000"][0], made(k, 1)[0])


def test_a_single_pair_is_dealt_by_image_and_crops_stay_together(pair, tmp_path):
    images, masks = made(0, 10)
    cases = prepare(pair, tmp_path / "set.h5", "--crop", 16, "--split", 0.6, 0.2, 0.2)
    splits = [split for *_, split in cases.values()]
    assert [splits.count(split) for split in SPLITS] == [6, 2, 2]
    for i, ids in enumerate(plain_ids(masks)):
        image, mask, _ = cases[f"image-{i:05d}"]
        for row, (y, x) in enumerate([(0, 0), (0, 16), (16, 0), (16, 16)]):
            np.testing.assert_array_equal(image[row], images[i, y : y + 16, x : x + 16])
            np.testing.assert_array_equal(mask[row], ids[y : y + 16, x : x + 16])
    with DataFile(tmp_path / "set.h5") as data:
        assert "may be parted" in data.attributes()["split_rule"]
    dealt = {tuple(sorted((c, s) for c, (*_, s) in prepare(
        pair, tmp_path / f"{seed}.h5", "--crop", 32, "--seed", seed).items())) for seed in (1, 2, 3)}  # fmt: skip
    assert len(dealt) > 1


def test_blocks_do_not_change_what_is_read(pair, tmp_path, monkeypatch):
    whole = prepare(pair, tmp_path / "whole.h5", "--crop", 32)
    monkeypatch.setattr(arrays, "BLOCK", 3 * 32 * 32 * 6 * 8)
    for case, (image, mask, split) in prepare(pair, tmp_path / "blocks.h5", "--crop", 32).items():
        np.testing.assert_array_equal(image, whole[case][0])
        np.testing.assert_array_equal(mask, whole[case][1])
        assert split == whole[case][2]


@pytest.mark.parametrize("background", ["last", "first", "none"])
def test_the_background_channel_is_left_out(background):
    masks = made(5)[1]
    moved = {"last": masks, "first": np.roll(masks, 1, axis=-1), "none": masks[..., :-1]}[background]
    ids, twice = arrays.class_ids(moved, background)
    np.testing.assert_array_equal(ids, plain_ids(masks))
    assert twice == 0 and ids.dtype == np.uint8


def test_of_two_classes_the_first_is_taken_and_told(tmp_path, capfd):
    images, masks = made(0, 10)
    masks[0, :2, :3, 1], masks[0, :2, :3, 4] = 5, 6
    masks[0, :2, :3, 0] = 0
    store(tmp_path / "set", images, masks)
    cases = prepare(tmp_path / "set", tmp_path / "set.h5", "--crop", 32)
    expected = ((masks[..., :-1] > 0).sum(axis=-1) > 1).sum()
    assert expected >= 6 and f"{expected} pixels were claimed by two classes" in capfd.readouterr().out
    assert (cases["image-00000"][1][0, :2, :3] == 2).all()


def test_classes_are_named_as_asked(pair, tmp_path):
    names = ("tumour", "immune", "stroma", "necrosis", "normal")
    prepare(pair, tmp_path / "a.h5", "--crop", 32, "--class-names", *names)
    store(tmp_path / "two", *made(0, 10, channels=3))
    prepare(tmp_path / "two", tmp_path / "b.h5", "--crop", 32)
    for file, expected in (("a.h5", names), ("b.h5", ("class 1", "class 2"))):
        with DataFile(tmp_path / file) as data:
            assert data.classes == ["background", *expected]


@pytest.mark.parametrize("dtype", [np.uint8, ">f4", np.int64, np.float16])
def test_types_of_images(tmp_path, dtype):
    images, masks = made(0, 10)
    store(tmp_path / "set", images.astype(dtype), np.asfortranarray(masks.astype(np.uint8)))
    cases = prepare(tmp_path / "set", tmp_path / "set.h5", "--crop", 32)
    for i in range(10):
        np.testing.assert_array_equal(cases[f"image-{i:05d}"][0][0], images[i])


def header_only(path, shape, dtype="<f8"):
    """A file whose header claims more than it holds."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    path.write_bytes(header.getvalue() + bytes(64))


def saved(name, change):
    """A change to one array of a pair."""
    return lambda root: np.save(root / name, change(np.load(root / name)), allow_pickle=True)


def with_value(value):
    def change(array):
        array[3, 2, 1, 0] = value
        return array

    return change


def cut(name):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / "masks.npy").unlink(), ["images.npy", "no masks"]),
        (lambda root: (root / "images.npy").unlink(), ["masks.npy", "no images"]),
        (cut("images.npy"), ["images.npy", "claims", "whole file"]),
        (cut("masks.npy"), ["masks.npy", "claims", "whole file"]),
        (saved("images.npy", lambda a: a.astype(object)), ["images.npy", "object"]),
        (saved("masks.npy", lambda a: a.astype(object)), ["masks.npy", "object"]),
        (lambda root: (root / "images.npy").write_text("no array"), ["images.npy", "no array file"]),
        (saved("images.npy", lambda a: a[:9]), ["masks.npy", "(10, 32, 32, 6)", "(9, 32, 32, 3)"]),
        (saved("images.npy", lambda a: a[..., :1]), ["images.npy", "(10, 32, 32, 1)", "[N, H, W, 3]"]),
        (saved("masks.npy", lambda a: a[..., 0]), ["masks.npy", "(10, 32, 32)", "[N, H, W, K]"]),
        (saved("masks.npy", lambda a: a[..., :1]), ["0 channels", "--background"]),
        (saved("masks.npy", lambda a: a + 1j), ["complex128", "real numbers"]),
        (saved("images.npy", lambda a: a / 255), ["values up to 1", "multiply them by 255"]),
        (saved("images.npy", with_value(256)), ["to 256", "0 to 255"]),
        (saved("images.npy", with_value(np.nan)), ["images.npy", "nan", "0 to 255"]),
        (saved("masks.npy", with_value(np.nan)), ["masks of", "NaN"]),
        (saved("masks.npy", with_value(-1)), ["masks of", "below 0"]),
        (lambda root: header_only(root / "images.npy", (10**9, 256, 256, 3)), ["claims 1572864000000000 bytes"]),
        (lambda root: header_only(root / "masks.npy", (2**40, 2**40, 2**40, 6)), ["claims", "masks.npy"]),
        (lambda root: header_only(root / "images.npy", ()), ["images.npy", "()"]),
        (lambda root: header_only(root / "images.npy", (0, 32, 32, 3)), ["(0, 32, 32, 3)", "one image at least"]),
        (lambda root: header_only(root / "images.npy", (-1, 32, 32, 3)), ["(-1, 32, 32, 3)"]),
        (lambda root: header_only(root / "images.npy", (10, 32, 32, 3), "|O"), ["object"]),
        (lambda root: [(root / f"{name}.npy").unlink() for name in ("images", "masks")], ["no histology", "Train"]),
    ],
    ids=[
        "no masks", "no images", "images truncated", "masks truncated", "pickled images", "pickled masks", "no array",
        "N differs", "gray", "no channels", "background only", "complex", "range 0..1", "above 255", "nan",
        "nan in masks", "negative mask", "larger than memory", "overflow", "scalar", "no rows", "negative shape",
        "header of objects", "empty folder",
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_line(refused, pair, tmp_path, damage, words):
    damage(pair)
    error = refused("prepare_histology", pair, tmp_path / "out.h5", "--crop", 32)
    assert all(word in error for word in [*words, "Expected"]), error


def test_a_row_that_fills_the_memory_is_refused_before_it_is_read(tmp_path):
    """A sparse file holds what its header claims, on a disk that takes no room for it."""
    path = tmp_path / "images.npy"
    header_only(path, (1, 2**16, 2**16, 3))
    with open(path, "r+b") as file:
        file.truncate(2**37)
    with pytest.raises(ValueError, match="Expected one image at least, of at most 1024 MiB"):
        arrays.open_array(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--crop", 33], ["--crop=33", "32 x 32"]),
        (["--crop", 32, "--validation", 0.1], ["--validation", "for tiles"]),
        (["--crop", 32, "--class-names", "a", "b"], ["--class-names=a b", "5 different names"]),
        (["--crop", 32, "--class-names", "a", "b", "c", "d", "a"], ["5 different names"]),
        (["--crop", 32, "--split", 0.98, 0.01, 0.01, "--background", "middle"], ["background", "middle"]),
    ],
)
def test_bad_options_are_told_in_one_line(refused, pair, tmp_path, options, words):
    error = refused("prepare_histology", pair, tmp_path / "out.h5", *options)
    assert all(word in error for word in words), error


def test_too_few_images_and_folds_that_differ_are_refused(refused, tmp_path):
    store(tmp_path / "few", *made(0, 2))
    error = refused("prepare_histology", tmp_path / "few", tmp_path / "out.h5", "--crop", 32)
    assert "is empty" in error and "2 images" in error
    store(tmp_path / "two/fold1", *made(0, 4))
    store(tmp_path / "two/fold2", *made(1, 4, side=48))
    error = refused("prepare_histology", tmp_path / "two", tmp_path / "out.h5", "--crop", 32)
    assert "(48, 48, 3)" in error and "(32, 32, 3)" in error
