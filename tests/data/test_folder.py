"""Any folders of images and masks as one file: what comes out, and what is left out and why."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from PIL import Image

from kseg.cli import main
from kseg.data import DataFile
from kseg.data.hdf5 import SPLITS

SIZE = (16, 32)
NAMES = [str(i) for i in range(8)]


def picture(name, size=SIZE, channels=None, dtype=np.uint8):
    """A noisy image whose bright disc the mask has; the disc of each name is another one."""
    rng = np.random.default_rng(sum(map(ord, name)))
    y, x = np.mgrid[: size[0], : size[1]]
    disc = np.hypot(y - size[0] / 2, x - size[1] / 2) < rng.integers(2, 7)
    top = np.iinfo(dtype).max
    gray = (rng.integers(0, top // 2, size) + disc * (top // 2)).astype(dtype)
    return gray if channels is None else np.stack([gray, gray // 2, gray // 3], axis=-1), disc


def store(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.name.endswith((".nii", ".nii.gz")):
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 2.0, 3.0, 1.0])), path)
    else:
        Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path):
    """Folders images and masks with eight pairs of PNG files, of values 0 and 255."""
    for name in NAMES:
        gray, disc = picture(name)
        store(tmp_path / f"set/images/{name}.png", gray)
        store(tmp_path / f"set/masks/{name}.png", (disc * 255).astype(np.uint8))
    return tmp_path / "set"


def prepare(root, *words, images="images", masks="masks"):
    """{case: (images, masks, split, box)} and the open file."""
    out = root.parent / "out.h5"
    paths = [str(path) for path in (root / images, root / masks, out)]
    assert main("prepare_folder", [*paths, *map(str, words), "--overwrite"]) == 0
    data, cases = DataFile(out), {}
    data.verify()
    for split in SPLITS:
        if data.sizes[split]:
            index, (pixels, ids) = data.index(split), data.read(split)
            for case in sorted(set(index["case"])):
                rows = index["case"] == case
                cases[case] = pixels[rows], ids[rows], split, tuple(index["box"][rows][0])
    return cases, data


def test_pairs_of_equal_names_become_cases(root, capfd):
    cases, data = prepare(root)
    assert sorted(cases) == NAMES
    for name, (images, ids, _, box) in cases.items():
        gray, disc = picture(name)
        np.testing.assert_allclose(images[0, ..., 0], gray / 255, atol=1e-6)
        np.testing.assert_array_equal(ids[0], disc)
        assert box == (0, 16, 0, 32)
    assert data.classes == ["background", "foreground"] and data.value_range == (0, 1)
    assert data.shape == (16, 32, 1) and data.sizes == {"train": 5, "validation": 1, "test": 2}
    out = capfd.readouterr().out
    assert "0 background, 255 foreground" in out and "train.py --data" in out and "left out" not in out


def test_the_file_tells_where_it_comes_from(root):
    _, data = prepare(root, "--seed", 3)
    attributes = data.attributes()
    assert attributes["name"] == "out" and "--seed 3" in attributes["command"]
    assert [source["file"] for source in attributes["sources"][:2]] == ["images/0.png", "masks/0.png"]
    assert len(attributes["sources"]) == 16
    steps = data.preprocessing
    gray, _ = picture("5")
    rows = data.index("train")["case"] == "5"
    if rows.any():
        np.testing.assert_array_equal(steps.images(gray[None, ..., None]), data.read("train")[0][rows])


def test_the_same_command_gives_the_same_file(root):
    first, second = (prepare(root, "--seed", 1)[1].fingerprint() for _ in range(2))
    assert first == second != prepare(root, "--seed", 2)[1].fingerprint()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", [".png", ".tif", ".npy"])
def test_kinds_of_files_may_differ(root, ending, dtype):
    """8 and 16 bits are scaled by their type, so that a brighter image stays brighter."""
    for name in NAMES:
        (root / f"images/{name}.png").unlink()
        store(root / f"images/{name}{ending}", picture(name, dtype=dtype)[0])
    cases, data = prepare(root)
    for name, (images, *_) in cases.items():
        expected = picture(name, dtype=dtype)[0] / np.iinfo(dtype).max
        np.testing.assert_allclose(images[0, ..., 0], expected, atol=1e-6)
    assert data.preprocessing.rounded == (dtype == np.uint8)


def test_masks_are_found_by_pattern_beside_the_images(root):
    for name in NAMES:
        (root / f"masks/{name}.png").rename(root / f"images/{name}_seg.png")
    cases, _ = prepare(root, "--mask-pattern", "{name}_seg", masks="images")
    assert sorted(cases) == NAMES


def test_names_that_differ_in_front_or_behind(root):
    """As nnU-Net has them, and in one folder with folders in it."""
    for name in NAMES:
        (root / f"images/{name}.png").rename(root / f"images/{name}_0000.png")
    (root / "images/0_0001.png").write_bytes(b"another channel")
    assert sorted(prepare(root, "--image-pattern", "{name}_0000")[0]) == NAMES
    for name in NAMES:
        place = root / f"both/p{int(name) % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (root / f"images/{name}_0000.png").rename(place / f"scan_{name}.png")
        (root / f"masks/{name}.png").rename(place / f"label_{name}.png")
    words = ("--image-pattern", "scan_{name}", "--mask-pattern", "label_{name}")
    cases, _ = prepare(root, *words, images="both", masks="both")
    assert sorted(cases) == sorted(f"p{int(name) % 2}/{name}" for name in NAMES)
    np.testing.assert_array_equal(cases["p1/3"][1][0], picture("3")[1])


def test_folders_in_folders_are_part_of_the_name(root):
    for name in NAMES:
        for kind in ("images", "masks"):
            place = root / f"{kind}/patient{int(name) % 4}"
            place.mkdir(exist_ok=True)
            (root / f"{kind}/{name}.png").rename(place / f"{name}.png")
    cases, data = prepare(root, "--group-regex", "^(.*)/", "--split", 0.5, 0.25, 0.25)
    assert set(cases) == {f"patient{int(name) % 4}/{name}" for name in NAMES}
    for patient in range(4):
        assert len({split for case, (_, _, split, _) in cases.items() if case.startswith(f"patient{patient}")}) == 1
    assert "by group" in data.attributes()["split_rule"]


def test_the_group_is_what_stands_in_the_brackets(root):
    for name in NAMES:
        for kind in ("images", "masks"):
            (root / f"{kind}/{name}.png").rename(root / f"{kind}/pat{int(name) // 2}_im{name}.png")
    for seed in range(3):
        words = ("--group-regex", "^(pat[0-9]+)_im[0-9]", "--split", 0.5, 0.25, 0.25, "--seed", seed)
        cases, _ = prepare(root, *words)
        splits = [{split for case, (_, _, split, _) in cases.items() if case.startswith(f"pat{i}_")} for i in range(4)]
        assert list(map(len, splits)) == [1] * 4


def test_what_lies_in_hidden_folders_is_not_seen(root, capfd):
    for kind in ("images", "masks"):
        store(root / f"{kind}/.ipynb_checkpoints/1.png", picture("1")[0])
        store(root / f"{kind}/.hidden/9.png", picture("9")[0])
    assert set(prepare(root)[0]) == set(NAMES)
    out = capfd.readouterr().out
    assert "left out" not in out and "checkpoints" not in out and "9.png" not in out


def test_images_of_8_and_16_bits_are_not_rounded_to_256_levels(root):
    wide = picture("0", dtype=np.uint16)[0]
    store(root / "images/0.png", wide)
    cases, data = prepare(root)
    assert not data.preprocessing.rounded
    np.testing.assert_allclose(cases["0"][0][0, ..., 0], wide / 65535, atol=1e-6)
    np.testing.assert_allclose(cases["1"][0][0, ..., 0], picture("1")[0] / 255, atol=1e-6)


def test_masks_below_the_images_are_no_images(root, capfd):
    (root / "masks").rename(root / "images/masks")
    cases, _ = prepare(root, masks="images/masks")
    assert sorted(cases) == NAMES and "left out" not in capfd.readouterr().out


def test_the_order_of_values_tells_the_background(root):
    cases, data = prepare(root, "--class-values", 255, 0, "--class-names", "outside")
    assert data.classes == ["background", "outside"]
    np.testing.assert_array_equal(cases["0"][1][0], ~picture("0")[1])
    assert data.preprocessing.mask_values == (255, 0)


def test_several_values_are_classes_in_ascending_order(root):
    for name in NAMES:
        _, disc = picture(name)
        ids = (disc * 200).astype(np.uint8)
        ids[:2] = 7
        store(root / f"masks/{name}.png", ids)
    cases, data = prepare(root)
    assert data.classes == ["background", "class 7", "class 200"]
    assert data.preprocessing.mask_values == (0, 7, 200)
    expected = picture("1")[1] * 2
    expected[:2] = 1
    np.testing.assert_array_equal(cases["1"][1][0], expected)


def test_masks_of_equal_colours_or_floats_are_read(root):
    _, disc = picture("0")
    store(root / "masks/0.png", np.dstack([disc * np.uint8(255)] * 3))
    (root / "masks/1.png").unlink()
    store(root / "masks/1.npy", picture("1")[1] * 255.0)
    cases, _ = prepare(root)
    for name in "01":
        np.testing.assert_array_equal(cases[name][1][0], picture(name)[1])


def test_objects_by_number_are_kept(root):
    for name in NAMES:
        numbers = np.arange(16 * 32, dtype=np.uint16).reshape(SIZE) * picture(name)[1]
        store(root / f"masks/{name}.png", numbers)
    cases, data = prepare(root, "--instances", "--class-names", "disc", "--size", 32, 64)
    assert data.classes == ["background", "disc"] and data.preprocessing.mask_values is None
    twice = np.ones((2, 2), int)
    for split in SPLITS:
        index, objects = data.index(split), data.instances(split)
        for case, found in zip(index["case"], objects, strict=True):
            disc = picture(case)[1]
            np.testing.assert_array_equal(found, np.kron(np.arange(16 * 32).reshape(SIZE) * disc, twice))
            np.testing.assert_array_equal(cases[case][1][0], np.kron(disc, twice))


def test_jpeg_masks_take_the_nearest_listed_value(root):
    for name in NAMES:
        (root / f"masks/{name}.png").unlink()
        Image.fromarray((picture(name)[1] * 255).astype(np.uint8)).save(root / f"masks/{name}.jpg", quality=90)
    cases, _ = prepare(root, "--class-values", 0, 255)
    assert np.mean([cases[name][1][0] != picture(name)[1] for name in NAMES]) < 0.01


def test_colours_are_found_or_told(root):
    for name in NAMES:
        store(root / f"images/{name}.png", picture(name)[0])
    store(root / "images/3.png", picture("3", channels=3)[0])
    cases, data = prepare(root)
    assert data.shape == (*SIZE, 3)
    np.testing.assert_allclose(cases["3"][0][0], picture("3", channels=3)[0] / 255, atol=1e-6)
    assert (cases["1"][0] == cases["1"][0][..., :1]).all()
    cases, data = prepare(root, "--channels", "gray")
    expected = np.asarray(Image.fromarray(picture("3", channels=3)[0]).convert("L"))
    np.testing.assert_allclose(cases["3"][0][0, ..., 0], expected / 255, atol=1e-6)


def test_gray_with_transparency_is_gray(root, capfd):
    for name in NAMES:
        gray, _ = picture(name)
        store(root / f"images/{name}.png", np.dstack([gray, gray, gray, np.full_like(gray, 9 if name == "1" else 255)]))
    assert prepare(root)[1].shape == (*SIZE, 1)
    assert "1.png: transparency was dropped." in capfd.readouterr().out


def test_percentiles_of_each_image(root):
    cases, data = prepare(root, "--intensity", "percentile", "--upper-percentile", 90, "--value-range", -1, 1)
    gray = picture("2")[0].astype(float)
    expected = np.clip((gray - gray.min()) / (np.percentile(gray, 90) - gray.min()), 0, 1) * 2 - 1
    np.testing.assert_allclose(cases["2"][0][0, ..., 0], expected, atol=1e-6)
    assert data.value_range == (-1, 1)


def test_sizes_are_padded_to_a_multiple(root, capfd):
    cases, data = prepare(root, "--multiple", 24)
    assert data.shape == (24, 48, 1)
    images, ids, _, box = cases["0"]
    assert box == (4, 20, 8, 40)
    np.testing.assert_array_equal(ids[0, 4:20, 8:40], picture("0")[1])
    assert images[0, :4].max() == 0 and "padded to 24 x 48" in capfd.readouterr().out


def resize_one(root, name="0", size=(20, 48)):
    gray, disc = picture(name, size)
    store(root / f"images/{name}.png", gray)
    store(root / f"masks/{name}.png", (disc * 255).astype(np.uint8))


def test_sizes_that_differ(root):
    resize_one(root)
    cases, data = prepare(root, "--size", 32, 64)
    assert data.shape == (32, 64, 1)
    np.testing.assert_array_equal(cases["1"][1][0], np.kron(picture("1")[1], np.ones((2, 2))))
    cases, data = prepare(root, "--size", 32, 32, "--fit", "aspect")
    assert cases["1"][3] == (8, 24, 0, 32) and cases["0"][3] == (9, 22, 0, 32)
    cases, data = prepare(root, "--fit", "pad")
    assert data.shape == (32, 48, 1) and cases["1"][3] == (8, 24, 8, 40) and cases["0"][3] == (6, 26, 0, 48)


def test_crops_lie_in_the_middle_and_stay_in_one_case(root, capfd):
    resize_one(root)
    cases, data = prepare(root, "--size", 16, 16, "--fit", "crop")
    assert {case: len(images) for case, (images, *_) in cases.items()} == {"0": 3} | dict.fromkeys(NAMES[1:], 2)
    gray, disc = picture("0", (20, 48))
    np.testing.assert_array_equal(cases["0"][1], [disc[2:18, x : x + 16] for x in (0, 16, 32)])
    np.testing.assert_allclose(cases["0"][0][1, ..., 0], gray[2:18, 16:32] / 255, atol=1e-6)
    assert data.preprocessing.window == (16, 16)
    assert "4.2 % of the pixels lie outside the crops" in capfd.readouterr().out


def test_what_does_not_fit_a_crop_or_a_padding_is_left_out(root, capfd):
    resize_one(root)
    assert set(prepare(root, "--size", 16, 32, "--fit", "pad")[0]) == set(NAMES[1:])
    assert "larger than --size 16 32" in " ".join(capfd.readouterr().out.split())
    assert set(prepare(root, "--size", 16, 48, "--fit", "crop", "--split", 1, 0, 0)[0]) == {"0"}
    assert "smaller than --size 16 48" in " ".join(capfd.readouterr().out.split())


def volume(seed, shape=(12, 14, 4)):
    rng = np.random.default_rng(seed)
    voxels = rng.integers(-1000, 3000, shape).astype(np.int16)
    return voxels, (voxels > 2000).astype(np.uint8)


@pytest.mark.parametrize("ending", [".nii.gz", ".npy"])
def test_volumes_are_cases_of_slices(tmp_path, ending):
    for i in range(4):
        voxels, ids = volume(i)
        store(tmp_path / f"set/images/v{i}{ending}", voxels)
        store(tmp_path / f"set/masks/v{i}{ending}", ids)
    cases, data = prepare(tmp_path / "set", "--axis", 2, "--split", 0.5, 0.25, 0.25)
    assert data.shape == (16, 16, 1) and sum(data.sizes.values()) == 16
    for i in range(4):
        voxels, ids = (np.moveaxis(array, 2, 0) for array in volume(i))
        images, masks, _, box = cases[f"v{i}"]
        assert box == (2, 14, 1, 15)
        np.testing.assert_array_equal(masks[:, 2:14, 1:15], ids)
        top = np.percentile(voxels, 99.5)
        expected = np.clip((voxels + 0.0 - voxels.min()) / (top - voxels.min()), 0, 1)
        np.testing.assert_allclose(images[:, 2:14, 1:15, 0], expected, atol=1e-6)
    spacing = (1, 2) if ending == ".nii.gz" else (np.nan, np.nan)
    np.testing.assert_array_equal(data.index("train")["spacing"], np.tile(spacing, (8, 1)))


def test_volumes_that_lie_otherwise_are_turned_to_the_others(tmp_path, capfd):
    for i in range(4):
        for kind, array in zip(("images", "masks"), volume(i), strict=True):
            path = tmp_path / f"set/{kind}/v{i}.nii"
            store(path, array)
            if (i, kind) in ((3, "images"), (3, "masks"), (2, "masks")):
                way = nibabel.orientations.axcodes2ornt("ILP")
                nibabel.save(nibabel.Nifti1Image.from_bytes(path.read_bytes()).as_reoriented(way), path)
    cases, data = prepare(tmp_path / "set", "--split", 0.5, 0.25, 0.25)
    assert data.preprocessing.orientation == "RAS"
    for i in range(4):
        np.testing.assert_array_equal(cases[f"v{i}"][1][:, 2:14, 1:15], np.moveaxis(volume(i)[1], 2, 0))
    assert "v3.nii: turned to RAS by their headers." in capfd.readouterr().out


def test_pages_are_slices_and_crops_of_volumes_the_middle(tmp_path):
    for i in range(3):
        for kind, array in zip(("images", "masks"), volume(i, (3, 20, 18)), strict=True):
            pages = [Image.fromarray(page.astype(np.uint8)) for page in array]
            (tmp_path / f"set/{kind}").mkdir(parents=True, exist_ok=True)
            pages[0].save(tmp_path / f"set/{kind}/{i}.tif", save_all=True, append_images=pages[1:])
    cases, _ = prepare(tmp_path / "set", "--size", 16, 16, "--fit", "crop", "--split", 0.4, 0.3, 0.3)
    np.testing.assert_array_equal(cases["1"][1], volume(1, (3, 20, 18))[1][:, 2:18, 1:17])


def test_what_is_left_out_is_told_with_the_reason(root, capfd):
    (root / "masks/0.png").unlink()
    (root / "images/1.png").unlink()
    (root / "images/2.png").write_bytes(b"no image")
    store(root / "masks/3.png", np.zeros((16, 16), np.uint8))
    store(root / "images/4.png", np.full(SIZE, 9, np.uint8))
    shutil.copy(root / "images/5.png", root / "images/6.png")
    (root / "images/notes.txt").write_text("words")
    (root / "images/.hidden.png").write_bytes(b"")
    cases, data = prepare(root, "--split", 1, 0, 0)
    assert list(cases) == ["5", "7"] and len(data.attributes()["sources"]) == 4
    out = " ".join(capfd.readouterr().out.split())
    for words in ("image without mask 1 0.png", "mask without image 1 1.png", "cannot be used", "cannot be read",
                  "another size (16 x 16, the image 16 x 32)", "one value everywhere", "the same file as 5.png",
                  "notes.txt"):  # fmt: skip
        assert words in out, words
    assert "hidden" not in out and str(root) not in out.split("out.h5: ")[0]


def test_what_training_would_refuse_is_not_advised(root, capfd):
    prepare(root, "--split", 1, 0, 0)
    out = capfd.readouterr().out
    assert "train.py" not in out and "Next: look at it: python scripts/data.py" in out and "share" in out
    assert "background, pixels" in out and " - " in out


def test_images_that_are_nearly_all_black_have_no_percentile(root, capfd):
    dots = np.zeros(SIZE, np.uint8)
    dots[3, 4] = 200
    store(root / "images/0.png", dots)
    assert set(prepare(root)[0]) == set(NAMES)
    assert set(prepare(root, "--intensity", "percentile")[0]) == set(NAMES[1:])
    assert "one value in 99.5 % of it" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize("count", [16, 17])
def test_16_values_are_classes_and_17_are_not(root, tmp_path, capfd, count):
    for name in NAMES:
        store(root / f"masks/{name}.png", (np.arange(512) % count).reshape(SIZE).astype(np.uint8))
    words = [str(path) for path in (root / "images", root / "masks", tmp_path / "out.h5")]
    assert main("prepare_folder", words) == (0 if count == 16 else 2)
    assert ("masks hold 17 values" in capfd.readouterr().err) == (count == 17) != (tmp_path / "out.h5").exists()


def test_values_that_are_not_listed_leave_an_image_out(root, capfd):
    store(root / "masks/0.png", np.full(SIZE, 128, np.uint8))
    assert set(prepare(root, "--class-values", 0, 255)[0]) == set(NAMES[1:])
    assert "does not list (128)" in " ".join(capfd.readouterr().out.split())


def test_dark_images_and_empty_masks_are_told_and_kept(root, capfd):
    store(root / "images/0.png", picture("0", dtype=np.uint16)[0] // 20)
    store(root / "masks/1.png", np.zeros(SIZE, np.uint8))
    assert set(prepare(root)[0]) == set(NAMES)
    out = capfd.readouterr().out
    assert "0.png: darker than an eighth" in out and "1.png: nothing but background, kept." in out


def numbered(root):
    for name in NAMES:
        store(root / f"masks/{name}.png", np.arange(512).reshape(SIZE).astype(np.uint16))


def lossy(root):
    for name in NAMES:
        Image.open(root / f"masks/{name}.png").save(root / f"masks/{name}.jpg")
        (root / f"masks/{name}.png").unlink()


def all_masks(array):
    return lambda root: [store(root / f"masks/{name}.png", array) for name in NAMES]


SEG = ("--mask-pattern", "{name}_seg")
COLOURED = np.random.default_rng(0).integers(0, 9, (*SIZE, 3)).astype(np.uint8)


def mixed(root):
    for name in NAMES:
        store(root / f"images/{name}.png", np.full(SIZE, int(name) + 1, np.uint8))
    store(root / "images/0.png", picture("0")[0])
    store(root / "masks/0.png", COLOURED)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda root: shutil.rmtree(root / "masks"), [], ["masks does not exist", "Expected"]),
        (lambda root: [shutil.rmtree(root / "masks"), (root / "masks").write_text("")], [], ["is a file", "folder"]),
        (lambda root: [p.unlink() for p in (root / "masks").iterdir()], [],
         ["masks holds no file", ".nii.gz", "look whether this is the folder"]),
        (lambda root: [p.rename(p.with_suffix(".webp")) for p in (root / "masks").iterdir()], [],
         ["holds 8 .webp", "; convert them"]),
        (lambda root: [p.rename(p.with_stem(p.stem + "_m")) for p in (root / "masks").iterdir()], [],
         ["no image", "0.png", "0_m.png", "Expected equal names, or --mask-pattern '{name}_m', which fits."]),
        (lambda root: shutil.copy(root / "images/0.png", root / "images/0.jpg"), [], ["0.jpg", "0.png", "one file"]),
        (lambda root: resize_one(root), [], ["2 sizes, from 16 x 32 to 20 x 48", "7 of 8", "--fit"]),
        (numbered, [], ["512 values (0, 1, 2, 3, ..., 511)", "--instances", "--class-values"]),
        (lossy, [], ["0.jpg is a JPEG file", "--class-values"]),
        (all_masks(np.zeros(SIZE, np.uint8)), [], ["the value 0.", "Expected two or more"]),
        (all_masks(COLOURED), [], ["can be used: its mask has colours (8 files). Expected one number a class"]),
        (all_masks(np.zeros((4, 4), np.uint8)), [], ["another size (4 x 4, the image 16 x 32) (8 files). Expected"]),
        (mixed, [],
         ["one value everywhere (7 files); its mask has colours (1 file). Expected at least one that fits."]),
        (None, ["--image-pattern", "scan_{name}"], ["--image-pattern", "such as 0.png"]),
        (None, ["--class-values", 1, 2], ["no pair", "does not list"]),
        (None, ["--class-names", "a", "b"], ["--class-names=a b", "1 different name"]),
        (None, ["--class-names", "background"], ["--class-names=background"]),
        (None, ["--group-regex", "([a-z]+)"], ["([a-z]+)", "'0'", "no group"]),
        (None, ["--group-regex", "()"], ["'validation' is empty", "1 groups"]),
        (None, ["--size", 64, 64, "--fit", "crop"], ["no image can be used", "smaller than --size 64 64"]),
    ],
    ids=["no folder", "file", "empty", "other kind", "other names", "twice", "sizes", "numbers", "jpeg", "one value",
         "colours", "mask size", "mixed", "pattern", "values", "names", "name", "group", "groups", "crop"],
)  # fmt: skip
def test_bad_folders_are_told_in_one_line(refused, root, tmp_path, change, options, words):
    if change is not None:
        change(root)
    error = refused("prepare_folder", root / "images", root / "masks", tmp_path / "out.h5", *options)
    assert all(word in error for word in words) and error.count("Expected") == 1, error


def test_a_pattern_that_fits_is_told(root, tmp_path, refused):
    for name in NAMES[2:]:
        (root / f"masks/{name}.png").rename(root / f"masks/{name}.png".replace("masks/", "images/label_"))
    together = root / "images", root / "images", tmp_path / "out.h5"
    assert "or --mask-pattern 'label_{name}', which fits." in refused("prepare_folder", *together, *SEG)
    for name in NAMES[2:5]:
        (root / f"images/label_{name}.png").rename(root / f"images/{name}_truth.png")
    error = refused("prepare_folder", *together, *SEG)
    assert "such as {name}_0000 and {name}_mask." in error and "there is such as 1.png" in error
    for name in NAMES[:2]:
        (root / f"masks/{name}.png").unlink()
    (root / "two").mkdir()
    for name in NAMES:  # of two that fit none is chosen
        (root / f"two/{name}_a.png").touch()
        (root / f"two/{name}_b.png").touch()
    assert "such as {name}_0000" in refused("prepare_folder", root / "images", root / "two", tmp_path / "out.h5")
    (root / "masks/10_seg.png").write_bytes(b"")
    error = refused("prepare_folder", root / "images", root / "masks", tmp_path / "out.h5")
    assert "such as {name}_0000 and {name}_mask." in error and "there is such as 10_seg.png" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mask-pattern", "mask"], ["--mask-pattern=mask", "{name}"]),
        (["--image-pattern", "{name}{name}"], ["--image-pattern={name}{name}"]),
        (["--class-values", 0], ["--class-values=0", "different"]),
        (["--class-values", 0, 1, 1], ["--class-values=0 1 1"]),
        (["--class-values", 0, 1, "--instances"], ["--instances"]),
        (["--size", 20, 32], ["--size=20 32", "multiples of 16"]),
        (["--size", 0, 32], ["--size=0"]),
        (["--fit", "crop"], ["--fit=crop", "--size"]),
        (["--fit", "shrink", "--size", 16, 16], ["shrink"]),
        (["--axis", 3], ["--axis=3"]),
        (["--value-range", 1, 0], ["--value-range=1 0"]),
        (["--upper-percentile", 101], ["--upper-percentile=101"]),
        (["--group-regex", "("], ["--group-regex=("]),
        (["--group-regex", "abc"], ["--group-regex=abc", "brackets"]),
        (["--split", 0.5, 0.5, 0.5], ["sum to 1"]),
        (["--multiple", 0], ["--multiple=0"]),
        (["--seed", -1], ["--seed=-1"]),
        (["--intensity", "window"], ["window"]),
    ],
)
def test_bad_options_are_told_in_one_line(refused, root, tmp_path, options, words):
    error = refused("prepare_folder", root / "images", root / "masks", tmp_path / "out.h5", *options)
    assert all(word in error for word in words), error


def test_the_output_is_looked_at_first(refused, root, tmp_path, monkeypatch):
    folders = (root / "images", root / "masks")
    assert "nowhere" in refused("prepare_folder", *folders, tmp_path / "nowhere/out.h5")
    (tmp_path / "mine.h5").write_text("mine")
    assert "--overwrite" in refused("prepare_folder", *folders, tmp_path / "mine.h5")
    assert "no data file of kseg" in refused("prepare_folder", *folders, tmp_path / "mine.h5", "--overwrite")
    same = refused("prepare_folder", root / "images", root / "images", tmp_path / "out.h5")
    assert "--mask-pattern" in same
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "MiB free" in refused("prepare_folder", *folders, tmp_path / "out.h5")


def test_preparing_needs_no_tensorflow():
    code = "import sys, kseg.data.folder; sys.exit('tensorflow' in sys.modules or 'nibabel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def real(kseg_data, tmp_path, images, masks, *words):
    (tmp_path / "set").symlink_to(kseg_data)
    return prepare(tmp_path / "set", *words, images=images, masks=masks)


def test_real_membranes(kseg_data, tmp_path):
    words = ("--class-values", 255, 0, "--class-names", "membrane")
    base = "extra/isbi2012_membrane"
    cases, data = real(kseg_data, tmp_path, f"{base}/image", f"{base}/label", *words)
    assert len(cases) == 24 and data.shape == (512, 512, 1)
    assert np.mean([ids.mean() for _, ids, *_ in cases.values()]) == pytest.approx(0.223, abs=0.0005)


def test_real_nuclei(kseg_data, tmp_path):
    base = "extra/dsb2018_nuclei"
    cases, data = real(kseg_data, tmp_path, f"{base}/images", f"{base}/instance_masks", "--instances")
    assert len(cases) == 134 and data.shape == (256, 256, 1)
    objects = sum(len(set(np.unique(each)) - {0}) for split in SPLITS for each in data.instances(split))
    assert objects == 3798


def test_real_volumes_are_the_same_as_by_their_own_script(kseg_data, tmp_path):
    """Of some volumes, one of each kind of number: the same slices as prepare_hippocampus makes, whatever the split."""
    source, few = kseg_data / "hippocampus/Task04_Hippocampus", tmp_path / "few"
    for folder in ("imagesTr", "labelsTr"):
        (few / folder).mkdir(parents=True)
        for path in sorted((source / folder).glob("*.nii.gz"))[:40:5]:
            os.symlink(path, few / folder / path.name)
    names = [path.name for path in sorted((few / "imagesTr").iterdir())]
    listing = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    (few / "dataset.json").write_text(json.dumps({"training": listing}))
    words = ("--classes", "all", "--max-value", "1", "--split", "0.5", "0.25", "0.25")
    assert main("prepare_hippocampus", [str(few), str(tmp_path / "own.h5"), *words]) == 0
    cases, _ = prepare(few, "--fit", "pad", "--split", 0.5, 0.25, 0.25, images="imagesTr", masks="labelsTr")
    with DataFile(tmp_path / "own.h5") as own:
        for split in SPLITS:
            index, (images, ids) = own.index(split), own.read(split)
            for case in set(index["case"]):
                rows = index["case"] == case
                np.testing.assert_array_equal(cases[case][0], images[rows])
                np.testing.assert_array_equal(cases[case][1], ids[rows])
