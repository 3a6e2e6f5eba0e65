"""What preparation does to images, and back: against Pillow and plain formulas."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image

from kseg.data import DataFile, Writer, open_data, save
from kseg.data.preprocess import Preprocessing
from kseg.data.read import read_case
from kseg.data.recipe import luma

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (3, 12, 10, 1)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (2, 12, 10, 3)).astype(np.uint8)
KINDS = [
    Preprocessing(1),
    Preprocessing(1, (0, 0.2), "percentile", 99.5, window=(16, 16), axis=2, orientation="RAS"),
    Preprocessing(1, size=(8, 16), rounded=True),
    Preprocessing(1, size=(16, 16), fit="aspect", rounded=True),
    Preprocessing(3, downsample=4, window=(2, 2), rounded=True),
    Preprocessing(1, (-1, 1), "type", size=(24, 20)),
    Preprocessing(1, intensity="none"),
    Preprocessing(1, mask_values=(4, 1, 65535)),
]


@pytest.mark.parametrize("steps", KINDS, ids=str)
def test_json_keeps_everything(steps):
    assert Preprocessing.from_json(json.loads(json.dumps(steps.to_json()))) == steps


@pytest.mark.parametrize("steps", KINDS, ids=str)
def test_shapes_and_types(steps):
    images = steps.images(GRAY)
    assert images.dtype == np.float32
    assert images.shape == (3, *steps.shape((12, 10)), steps.channels)
    assert (steps.scale is not None) == steps.rounded == (steps.stored(GRAY).dtype == np.uint8)
    labels = (GRAY[..., 0] > 128).astype(np.uint8)
    assert steps.labels(labels).shape == images.shape[:3]
    assert steps.labels_back(steps.labels(labels), (12, 10)).shape == (3, 12, 10)


def test_every_type_ends_in_the_same_range():
    steps = Preprocessing(1, (0, 2))
    expected = GRAY / np.float32(255) * 2
    for pixels in (GRAY, GRAY.astype(np.uint16) * 257, GRAY / 255, (GRAY / 255).astype(np.float32)):
        np.testing.assert_allclose(steps.images(pixels), expected, atol=1e-6)
    np.testing.assert_array_equal(steps.images(GRAY > 128), 2 * (GRAY > 128))
    np.testing.assert_allclose(Preprocessing(1, (-1, 1)).images(GRAY), expected - 1, atol=1e-6)


def test_colours_become_the_luma_of_pillow_and_gray_is_repeated():
    every = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), axis=-1).reshape(1, -1, 52, 3).astype(np.uint8)
    pillow = np.asarray(Image.fromarray(every[0]).convert("L"))
    np.testing.assert_array_equal(luma(every)[0, ..., 0], pillow)
    np.testing.assert_array_equal(Preprocessing(1, rounded=True).stored(every)[0, ..., 0], pillow)
    deep = every.astype(np.uint16) * 257
    np.testing.assert_allclose(luma(deep) / 65535, luma(every.astype(np.float64)) / 255, atol=1 / 65535)
    np.testing.assert_array_equal(Preprocessing(3).images(GRAY), np.repeat(Preprocessing(1).images(GRAY), 3, axis=-1))


@pytest.mark.parametrize("rounded", [True, False])
def test_tall_images_are_scaled_throughout(rounded):
    tall = np.random.default_rng(0).integers(0, 2**16, (2, 600, 3, 1)).astype(np.uint16)
    found = Preprocessing(1, rounded=rounded).images(tall)
    np.testing.assert_allclose(found, tall / 65535, atol=0.5 / 255 + 1e-6 if rounded else 1e-6)
    ends = Preprocessing(1, (-2, 2), "percentile").images(tall)
    np.testing.assert_allclose(ends, (tall - tall.min() + 0.0) / (tall.max() - tall.min()) * 4 - 2, atol=1e-5)


def test_percentiles_are_of_the_whole_case():
    case = np.arange(2000, dtype=np.int16).reshape(2, 40, 25, 1) - 1000
    images = Preprocessing(1, (0, 0.2), "percentile", 75).images(case)
    np.testing.assert_allclose(images, np.clip((case + 1000) / (0.75 * 1999), 0, 1) * 0.2, atol=1e-6)


def test_differences_of_small_types_do_not_wrap_around():
    case = np.array([-32768, 0, 32767], np.int16).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(Preprocessing(1, intensity="percentile").images(case).ravel(), [0, 0.5, 1], atol=1e-4)


def test_padding_is_low_and_centred_and_larger_images_stay():
    steps = Preprocessing(1, (-1, 1), window=(16, 8))
    images = steps.images(GRAY)
    assert images.shape == (3, 16, 10, 1)
    assert steps.box((12, 10)) == (2, 14, 0, 10)
    assert (images[:, [0, 1, 14, 15]] == -1).all()
    np.testing.assert_array_equal(images[:, 2:14], Preprocessing(1, (-1, 1)).images(GRAY))


def test_aspect_keeps_the_shape():
    steps = Preprocessing(1, size=(24, 48), fit="aspect")
    assert steps.box((12, 10)) == (0, 24, 14, 34)  # 24 x 20
    assert steps.box((10, 80)) == (9, 15, 0, 48)
    assert steps.box((1, 9999)) == (11, 12, 0, 48)
    assert steps.spacing((0.5, 2), (12, 10)) == (0.25, 1.0)
    circle = np.hypot(*np.mgrid[-40:40, -30:30]) < 25
    found = np.argwhere(Preprocessing(1, size=(64, 64), fit="aspect").labels(circle[None].astype(np.uint8))[0])
    assert np.ptp(found[:, 0]) == pytest.approx(np.ptp(found[:, 1]), abs=1)


def test_blocks_are_means_and_majorities():
    steps = Preprocessing(3, downsample=2, rounded=True)
    expected = np.rint(COLOUR.reshape(2, 6, 2, 5, 2, 3).mean(axis=(2, 4)))
    np.testing.assert_array_equal(steps.stored(COLOUR), expected)
    ids = np.array([[[0, 1, 2, 2], [1, 1, 0, 0], [7, 7, 7, 9]]], np.uint8)  # the last row is doubled
    assert steps.labels(ids).tolist() == [[[1, 0], [7, 7]]]
    assert steps.labels_back(np.array([[[1, 0], [7, 8]]]), (3, 4)).tolist() == [[[1, 1, 0, 0]] * 2 + [[7, 7, 8, 8]]]


@pytest.mark.parametrize("steps", [k for k in KINDS if k.size is None and k.downsample == 1], ids=str)
def test_labels_come_back_exactly_where_nothing_is_resized(steps):
    ids = RNG.integers(0, 4, (3, 12, 10)).astype(np.uint8)
    np.testing.assert_array_equal(steps.labels_back(steps.labels(ids), (12, 10)), ids)


def test_labels_come_back_from_larger_images():
    ids = RNG.integers(0, 4, (1, 12, 10)).astype(np.uint8)
    for fit in ("stretch", "aspect"):
        steps = Preprocessing(1, size=(36, 60), fit=fit)
        np.testing.assert_array_equal(steps.labels_back(steps.labels(ids), (12, 10)), ids)


@pytest.mark.parametrize("steps", KINDS, ids=str)
def test_probabilities_come_back_with_sums_of_one(steps):
    shape = (2, *steps.shape((12, 10)))
    p = RNG.dirichlet(np.ones(4), shape).astype(np.float32)
    back = steps.probabilities_back(p, (12, 10))
    assert back.shape == (2, 12, 10, 4) and back.dtype == np.float32
    np.testing.assert_allclose(back.sum(axis=-1), 1, atol=1e-5)
    flat = steps.probabilities_back(np.full((*shape, 1), 0.25, np.float32), (12, 10))
    np.testing.assert_allclose(flat, 0.25, atol=1e-6)


def test_probabilities_are_interpolated_linearly():
    steps = Preprocessing(1, size=(8, 8))
    ramp = np.tile(np.arange(8, dtype=np.float32) + 0.5, (1, 8, 1))[..., None] / 8
    back = steps.probabilities_back(ramp, (32, 32))
    np.testing.assert_allclose(back[0, :, 2:-2, 0], np.tile((np.arange(2, 30) + 0.5) / 32, (32, 1)), atol=1e-6)


def test_what_does_not_belong_to_the_image_is_refused():
    with pytest.raises(ValueError, match="12 x 10 become 16 x 16, what shall go back has 8 x 8. Expected"):
        Preprocessing(1, window=(16, 16)).labels_back(np.zeros((1, 8, 8), np.uint8), (12, 10))


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (GRAY.astype(np.int16), "int16 values from 0 to 255, whose range the type does not tell. Expected uint8"),
        (GRAY.astype(np.float32), "float32 values from 0 to 255"),
        (np.full((1, 4, 4, 1), np.nan), "float64 values"),
        (np.zeros((1, 4, 4, 2), np.uint8), "Expected .* 1 or 3 channels"),
        (np.zeros((4, 4, 3), np.uint8), "Expected .n, H, W, C."),
        (np.zeros((0, 4, 4, 1), np.uint8), "Expected .n, H, W, C."),
    ],
)
def test_pixels_that_do_not_fit_are_refused(pixels, words):
    with pytest.raises(ValueError, match=words):
        Preprocessing(1).images(pixels)


def test_images_without_contrast_have_no_percentiles():
    with pytest.raises(ValueError, match="holds the value 7 almost everywhere. Expected"):
        Preprocessing(1, intensity="percentile").images(np.full((1, 4, 4, 1), 7, np.uint8))


BAD = [
    {"channels": 2}, {"channels": True}, {"channels": None}, {"value_range": (1, 0)}, {"value_range": (0, np.inf)},
    {"value_range": (0,)}, {"value_range": 3}, {"intensity": "window"}, {"intensity": []}, {"upper_percentile": 0},
    {"upper_percentile": "99"}, {"size": (0, 4)}, {"size": (4, 10**9)}, {"size": (4.0, 4)}, {"size": 4},
    {"size": (4, 4), "window": (4, 4)}, {"size": (4, 4), "downsample": 2}, {"fit": "crop"}, {"downsample": 65},
    {"window": (4,)}, {"axis": 3}, {"orientation": "RAR"}, {"orientation": "XYZ"}, {"orientation": "RA"},
    {"orientation": 3}, {"rounded": 1}, {"rounded": True, "value_range": (-1, 1)},
    {"rounded": True, "intensity": "none"}, {"mask_values": (0, 2**16)}, {"mask_values": (-1, 1)},
    {"mask_values": (1, 1)}, {"mask_values": (1,)}, {"mask_values": (0, 0.5)}, {"mask_values": 3},
]  # fmt: skip


@pytest.mark.parametrize("values", BAD, ids=str)
def test_values_that_do_not_fit_are_refused(values):
    with pytest.raises(ValueError, match=r"preprocessing .* does not fit\. Expected"):
        Preprocessing.from_json({"channels": 1, **values})


@pytest.mark.parametrize("values", [None, [], "gray", {}, {"channels": 1, "command": "rm"}, {"size": [4, 4]}])
def test_other_json_is_refused(values):
    with pytest.raises(ValueError, match="cannot be read. Expected"):
        Preprocessing.from_json(values)


ATTRIBUTES = {
    "name": "a", "classes": ["background", "disc"], "value_range": (0, 1), "command": "", "sources": [],
    "split_rule": "", "seed": 0,
}  # fmt: skip


def write(path, preprocessing):
    with Writer(path, **ATTRIBUTES, preprocessing=preprocessing) as writer:
        writer.add("train", "a", np.zeros((1, 16, 16, 1), np.float32), np.zeros((1, 16, 16), np.uint8))
    return path


@pytest.mark.parametrize("steps", [None, *KINDS], ids=str)
def test_files_keep_it_and_so_do_copies(tmp_path, steps):
    with DataFile(write(tmp_path / "a.h5", steps)) as data:
        assert data.preprocessing == steps
        with DataFile(save(data, tmp_path / "b.h5")) as copy:
            assert copy.preprocessing == steps
            assert copy.fingerprint() == data.fingerprint()


@pytest.mark.parametrize("words", ["{", "null", "[]", '{"channels": 5}', "[" * 10**5, 7])
def test_files_with_a_damaged_one_are_refused(tmp_path, words):
    path = write(tmp_path / "a.h5", KINDS[0])
    with h5py.File(path, "r+") as file:
        file.attrs["preprocessing"] = words
    with pytest.raises(ValueError, match="preprocessing that cannot be used") as refused:
        DataFile(path)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_raw_files_become_what_the_prepared_file_holds_and_masks_go_back(msd, prepared):
    """A model then sees of a file what it saw of it in training, and its masks fit the file."""
    with DataFile(prepared) as data:
        steps, seen = data.preprocessing, 0
        for split in (split for split, rows in data.sizes.items() if rows):
            index, (images, masks) = data.index(split), data.read(split)
            for case in set(index["case"]):
                rows = index["case"] == case
                paths = (msd / folder / f"{case}.nii.gz" for folder in ("imagesTr", "labelsTr"))
                image, label = (read_case(path, steps.axis, steps.orientation) for path in paths)
                np.testing.assert_array_equal(steps.images(image.pixels), images[rows])
                back = steps.labels_back(masks[rows], image.origin.size)
                np.testing.assert_array_equal(back, label.pixels[..., 0] > 0)
                seen += 1
    assert seen == 9


@pytest.mark.parametrize("name", ["toy", "volumes", "tissue"])
def test_built_in_sets_tell_what_makes_files_like_them(name):
    with open_data(name) as data:
        steps = data.preprocessing
        images = steps.images(np.full((1, *data.shape), 255, np.uint8))
        assert images.shape[1:] == data.shape and images.max() == pytest.approx(data.value_range[1])
