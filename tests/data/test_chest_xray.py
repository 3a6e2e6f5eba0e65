"""Preparing chest X-rays (S3.1, S3.2), on made-up sets and on the real ones."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from kseg.cli import main
from kseg.data import DataFile, card, geometry, splits
from kseg.data.chest_xray import Xray, groups, read_mask
from kseg.data.hdf5 import SPLITS

SIDES = ("ManualMask/leftMask", "ManualMask/rightMask")
MONTGOMERY = [(1, 0), (2, 0), (5, 0), (9, 1), (12, 1)]
SHENZHEN = [(3, 0), (4, 0), (7, 0), (330, 1), (331, 1), (340, 1), (362, 1)]
SHAPE = (32, 48)
SPLIT = ("--split", 0.6, 0.2, 0.2)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def made(seed):
    """A gray image, and masks of a left lung (on the image's right) and a right one."""
    rng = np.random.default_rng(seed)
    image, left, right = rng.integers(0, 256, SHAPE).astype(np.uint8), np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[4:20, 28:40], right[6:29, 5:21] = rng.random((16, 12)) > 0.2, rng.random((23, 16)) > 0.2
    return image, left, right


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Both sets below one folder, in NLM's layout; masks of 0 and 255."""
    root = tmp_path_factory.mktemp("xrays")
    for number, sick in MONTGOMERY:
        image, *sides = made(number)
        save(root / f"MontgomerySet/CXR_png/MCUCXR_{number:04d}_{sick}.png", image)
        for folder, side in zip(SIDES, sides, strict=True):
            save(root / f"MontgomerySet/{folder}/MCUCXR_{number:04d}_{sick}.png", np.uint8(255) * side)
    for number, sick in SHENZHEN:
        image, left, right = made(number)
        save(root / f"ShenzhenSet/CXR_png/CHNCXR_{number:04d}_{sick}.png", image)
        save(root / f"ShenzhenSet/mask/CHNCXR_{number:04d}_{sick}_mask.png", np.uint8(255) * (left | right))
    return root


@pytest.fixture
def changed(sets, tmp_path):
    return Path(shutil.copytree(sets, tmp_path / "xrays"))


def prepare(root, out, *words):
    """Prepare and read back: {case: (image uint8, mask, box, split)}."""
    assert main("prepare_chest_xray", [str(word) for word in (root, out, *words)]) == 0
    cases = {}
    with DataFile(out) as data, h5py.File(out) as file:
        data.verify()
        for split in (split for split in SPLITS if data.sizes[split]):
            index = data.index(split)
            assert index["slice"].tolist() == [0] * data.sizes[split]
            for row, case in enumerate(index["case"]):
                assert case not in cases
                stored = file[split]["images"][row, ..., 0], file[split]["masks"][row]
                cases[case] = *stored, tuple(index["box"][row]), split
    return cases


def area_mean(image, size):
    """Each pixel repeated, then means of whole blocks: exact, and slow."""
    (height, width), (new_height, new_width) = image.shape, size
    large = np.repeat(np.repeat(image.astype(np.float64), new_height, axis=0), new_width, axis=1)
    return large.reshape(new_height, height, new_width, width).mean(axis=(1, 3))


def nearest(mask, size):
    """By distance between centres, in whole numbers; of two at equal distance the lower or right one."""
    y, x = (
        [max(range(old), key=lambda j, i=i, old=old, new=new: (-abs((2 * j + 1) * new - (2 * i + 1) * old), j))
         for i in range(new)]
        for old, new in zip(mask.shape, size, strict=True)
    )  # fmt: skip
    return mask.astype(np.uint8)[y][:, x]


@pytest.mark.parametrize("size", [(16, 16), (7, 11), (32, 48), (1, 1), (20, 16)])
def test_smaller_images_are_means_of_areas(size):
    image = made(0)[0]
    np.testing.assert_allclose(geometry.resize(image, size), area_mean(image, size), atol=1e-9)


@pytest.mark.parametrize("size", [(64, 96), (33, 100), (50, 50)])
def test_larger_images_are_interpolated(size):
    image = made(0)[0].astype(np.float64)
    y, x = (((np.arange(new) + 0.5) * old / new - 0.5) for new, old in zip(size, SHAPE, strict=True))
    expected = ndimage.map_coordinates(image, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(geometry.resize(image, size), expected, atol=1e-9)


@pytest.mark.parametrize("size", [(16, 16), (7, 11), (32, 48), (64, 96), (33, 100)])
def test_labels_are_those_of_the_nearest_pixel(size):
    labels = made(0)[0]
    if size in ((16, 16), (64, 96)):  # elsewhere Pillow's rounding decides between equals
        pillow = Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST)
        np.testing.assert_array_equal(geometry.resize_labels(labels, size), pillow)
    np.testing.assert_array_equal(geometry.resize_labels(labels, size), nearest(labels, size))


def test_images_and_masks_are_paired_and_resized(sets, tmp_path, capfd):
    cases = prepare(sets, tmp_path / "set.h5", "--size", 16, *SPLIT)
    assert set(cases) == {
        *(f"montgomery_{number:04d}_{sick}" for number, sick in MONTGOMERY),
        *(f"shenzhen_{number:04d}_{sick}" for number, sick in SHENZHEN),
    }
    for case, (image, mask, box, _) in cases.items():
        original, left, right = made(int(case.split("_")[1]))
        np.testing.assert_allclose(image, area_mean(original, (16, 16)), atol=0.5 + 1e-9)
        np.testing.assert_array_equal(mask, nearest(left | right, (16, 16)))
        assert box == (0, 16, 0, 16)
    with DataFile(tmp_path / "set.h5") as data:
        assert data.classes == ["background", "lungs"] and data.value_range == (0, 1)
        found, index = data.read("train")[0], data.index("train")
        np.testing.assert_allclose(found[0, ..., 0], cases[index["case"][0]][0] / 255, atol=1e-6)
        assert np.isnan(index["spacing"]).all()
    out = capfd.readouterr().out
    assert f"Next: python scripts/train.py --data {tmp_path / 'set.h5'} --loss bce+dice, or compare" in out
    assert out.rstrip().endswith(f"python scripts/compare_losses.py --data {tmp_path / 'set.h5'}")
    assert "left out" not in out


def test_eight_bits_of_the_same_size_stay_as_they_are(sets, tmp_path):
    cases = prepare(sets, tmp_path / "set.h5", "--size", 48, "--keep-aspect", *SPLIT)
    for case, (image, mask, box, _) in cases.items():
        original, left, right = made(int(case.split("_")[1]))
        assert box == (8, 40, 0, 48)
        np.testing.assert_array_equal(image[8:40], original)
        np.testing.assert_array_equal(mask[8:40], left | right)
        assert not image[:8].any() and not image[40:].any() and not mask[:8].any() and not mask[40:].any()


def test_the_aspect_is_kept_when_asked(sets, tmp_path):
    cases = prepare(sets / "ShenzhenSet", tmp_path / "set.h5", "--size", 24, "--keep-aspect", *SPLIT)
    for case, (image, mask, box, _) in cases.items():
        original, left, right = made(int(case.split("_")[1]))
        assert box == (4, 20, 0, 24)
        np.testing.assert_allclose(image[4:20], area_mean(original, (16, 24)), atol=0.5 + 1e-9)
        np.testing.assert_array_equal(mask[4:20], nearest(left | right, (16, 24)))


def test_three_classes_tell_the_lungs_apart(sets, tmp_path, capfd):
    cases = prepare(sets, tmp_path / "set.h5", "--size", 16, "--classes", "three", *SPLIT)
    assert len(cases) == len(MONTGOMERY)
    for case, (_, mask, *_) in cases.items():
        _, left, right = made(int(case.split("_")[1]))
        np.testing.assert_array_equal(mask, nearest(left + 2 * right, (16, 16)))
    with DataFile(tmp_path / "set.h5") as data:
        assert data.classes == ["background", "left lung", "right lung"]
    out = capfd.readouterr().out
    assert "ShenzhenSet was left out" in out and "--loss cce+dicefg" in out


def test_where_the_lungs_overlap_it_is_the_left_one(tmp_path):
    left, right = np.zeros((2, *SHAPE), np.uint8)
    left[4:20, 10:30], right[10:25, 20:40] = 255, 255
    xray = Xray("montgomery_0001_0", "montgomery", "normal", None, (tmp_path / "left.png", tmp_path / "right.png"))
    for path, mask in zip(xray.masks, (left, right), strict=True):
        save(path, mask)
    expected = np.select([left > 0, right > 0], [1, 2])
    np.testing.assert_array_equal(read_mask(xray, SHAPE, "three"), expected)
    np.testing.assert_array_equal(read_mask(xray, SHAPE, "binary"), expected > 0)


@pytest.mark.parametrize("folder", ["MontgomerySet", "ShenzhenSet"])
def test_one_set_alone_gives_the_same(sets, changed, tmp_path, folder):
    whole = prepare(sets / folder, tmp_path / "set.h5", *SPLIT, "--size", 16)
    shutil.rmtree(changed / {"MontgomerySet": "ShenzhenSet", "ShenzhenSet": "MontgomerySet"}[folder])
    below = prepare(changed, tmp_path / "below.h5", *SPLIT, "--size", 16)
    assert whole.keys() == below.keys() and len(whole) in (5, 7)
    assert all(np.array_equal(whole[case][0], below[case][0]) for case in whole)


def gray16(pixels):
    return pixels.astype(np.uint16) * 257


def rgba(pixels):
    return np.dstack([pixels] * 3 + [np.full_like(pixels, 9)])


@pytest.mark.parametrize("convert", [gray16, rgba, lambda pixels: np.dstack([pixels] * 3)])
def test_other_kinds_of_images_give_the_same_gray(sets, changed, tmp_path, convert):
    path = "ShenzhenSet/CXR_png/CHNCXR_0003_0.png"
    save(changed / path, convert(made(3)[0]))
    words = ("--size", 48, "--keep-aspect", *SPLIT)
    found = prepare(changed, tmp_path / "set.h5", *words)["shenzhen_0003_0"][0]
    np.testing.assert_array_equal(found[8:40], made(3)[0])


def test_masks_of_one_bit_or_other_maximum_are_the_same(sets, changed, tmp_path):
    image, left, right = made(3)
    Image.fromarray(left | right).save(changed / "ShenzhenSet/mask/CHNCXR_0003_0_mask.png")
    save(changed / "MontgomerySet/ManualMask/leftMask/MCUCXR_0001_0.png", made(1)[1].astype(np.uint8))
    plain, found = (prepare(root, tmp_path / f"{root.name}.h5", *SPLIT, "--size", 16) for root in (sets, changed))
    for case in plain:
        np.testing.assert_array_equal(found[case][1], plain[case][1])


def test_what_has_no_partner_is_dropped_and_listed(changed, tmp_path, capfd):
    (changed / "ShenzhenSet/mask/CHNCXR_0004_0_mask.png").unlink()
    (changed / "ShenzhenSet/CXR_png/CHNCXR_0340_1.png").unlink()
    (changed / "MontgomerySet/ManualMask/rightMask/MCUCXR_0005_0.png").unlink()
    (changed / "ShenzhenSet/CXR_png/._CHNCXR_0003_0.png").write_text("left by another system")
    cases = prepare(changed, tmp_path / "set.h5", *SPLIT, "--size", 16)
    assert len(cases) == len(MONTGOMERY) + len(SHENZHEN) - 3
    assert not {"shenzhen_0004_0", "shenzhen_0340_1", "montgomery_0005_0"} & set(cases)
    lines = [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]
    assert "shenzhen no mask 1 CHNCXR_0004_0.png" in lines
    assert "shenzhen mask without image 1 CHNCXR_0340_1_mask.png" in lines
    assert "montgomery no rightMask 1 MCUCXR_0005_0.png" in lines


def test_images_of_other_endings_are_listed_with_the_reason(changed, tmp_path, capfd, monkeypatch):
    """Whatever case their endings have; what is no image, or hidden, is not."""
    monkeypatch.setenv("COLUMNS", "200")
    images, masks, side = (
        changed / "ShenzhenSet/CXR_png",
        changed / "ShenzhenSet/mask",
        changed / "MontgomerySet" / SIDES[1],
    )
    (images / "CHNCXR_0003_0.png").rename(images / "CHNCXR_0003_0.jpg")
    (masks / "CHNCXR_0004_0_mask.png").rename(masks / "CHNCXR_0004_0_mask.PNG")
    for path in ("CHNCXR_0400_0.JPEG", "CHNCXR_0401_0.tif", "._CHNCXR_0403_1.tif", "Thumbs.db"):
        (images / path).write_bytes(b"")
    (side / "MCUCXR_0001_0.dcm").write_bytes(b"")
    cases = prepare(changed, tmp_path / "set.h5", *SPLIT, "--size", 16)
    assert len(cases) == len(MONTGOMERY) + len(SHENZHEN) - 2 and not {"shenzhen_0003_0", "shenzhen_0004_0"} & set(cases)
    lines = [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]
    assert "shenzhen X-ray not .png or .dcm 3 CHNCXR_0003_0.jpg, CHNCXR_0400_0.JPEG, CHNCXR_0401_0.tif" in lines
    assert "shenzhen mask not .png 1 CHNCXR_0004_0_mask.PNG" in lines
    assert "shenzhen mask without image 1 CHNCXR_0003_0_mask.png" in lines
    assert "shenzhen no mask 1 CHNCXR_0004_0.png" in lines
    assert "montgomery rightMask not .png 1 MCUCXR_0001_0.dcm" in lines
    assert not any("Thumbs" in line or "0403" in line for line in lines)


def test_dim_images_and_empty_masks_are_told(changed, tmp_path, capfd):
    save(changed / "ShenzhenSet/CXR_png/CHNCXR_0003_0.png", gray16(made(3)[0]) // 16)
    save(changed / "ShenzhenSet/mask/CHNCXR_0007_0_mask.png", np.zeros(SHAPE, np.uint8))
    prepare(changed, tmp_path / "set.h5", *SPLIT, "--size", 16)
    out = capfd.readouterr().out
    assert "kept: shenzhen_0003_0." in out and "kept: shenzhen_0007_0." in out


@pytest.mark.parametrize("counts", [(64, 47, 112, 115), (7, 1, 2, 3), (80, 58, 279, 287), (1, 1, 1, 1), (10,)])
@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.1), (0.6, 0.4, 0), (0.5, 0.25, 0.25), (1, 0, 0), (0.7, 0.1, 0.2)])
def test_strata_hold_their_shares_to_within_one_case(counts, ratios):
    strata = {f"{stratum}-{i}": stratum for stratum, count in enumerate(counts) for i in range(count)}
    dealt = splits.split_strata(strata, ratios, seed=1)
    assert dealt.keys() == strata.keys()
    found = Counter((strata[case], split) for case, split in dealt.items())
    for split, ratio in zip(SPLITS, ratios, strict=True):
        for stratum, count in enumerate(counts):
            assert abs(found[stratum, split] - ratio * count) < 1
        everywhere = sum(found[stratum, split] for stratum in range(len(counts)))
        assert abs(everywhere - ratio * sum(counts)) < 1
        assert ratio > 0 or everywhere == 0


def test_704_images_are_split_as_in_the_document():
    strata = {f"{s}-{i}": s for s, count in enumerate((80, 58, 279, 287)) for i in range(count)}
    sizes = Counter(splits.split_strata(strata, (0.8, 0.1, 0.1), seed=0).values())
    assert [sizes[split] for split in SPLITS] in ([563, 70, 71], [563, 71, 70], [564, 70, 70])


def test_seeds_deal_anew_and_one_seed_deals_the_same():
    strata = {f"{i:03d}": i % 2 for i in range(60)}
    deals = [splits.split_strata(strata, (0.8, 0.1, 0.1), seed) for seed in (0, 0, 1)]
    assert deals[0] == deals[1] != deals[2]
    assert splits.split_strata(dict(reversed(strata.items())), (0.8, 0.1, 0.1), 0) == deals[0]
    assert [case for case, split in deals[0].items() if split == "train"] != sorted(strata)[:48]


def test_sets_and_diagnoses_are_balanced_over_the_splits(sets, tmp_path):
    whole = {("montgomery", "normal"): 3, ("montgomery", "tuberculosis"): 2, ("shenzhen", "normal"): 3,
             ("shenzhen", "tuberculosis"): 4}  # fmt: skip
    for seed in range(6):
        cases = prepare(sets, tmp_path / f"{seed}.h5", "--size", 16, "--seed", seed, *SPLIT)
        assert groups(cases) == whole
        for split, share in zip(SPLITS, SPLIT[1:], strict=True):
            counts = groups(case for case, (*_, own) in cases.items() if own == split)
            assert all(abs(counts[kind] - share * count) < 1 for kind, count in whole.items())


def test_the_file_records_sources_rule_and_command(sets, tmp_path):
    out = tmp_path / "set.h5"
    prepare(sets, out, "--size", 16, "--seed", 3, *SPLIT)
    with DataFile(out) as data:
        attributes = data.attributes()
    files = {source["file"]: source["bytes"] for source in attributes["sources"]}
    assert files == {path.relative_to(sets).as_posix(): path.stat().st_size for path in sets.rglob("*.png")}
    assert "by patient" in attributes["split_rule"] and attributes["seed"] == 3
    assert attributes["command"].endswith("set.h5 --size 16 --split 0.6 0.2 0.2 --seed 3")
    first = out.read_bytes()
    out.unlink()
    prepare(sets, out, "--size", 16, "--seed", 3, *SPLIT)
    assert out.read_bytes() == first


IMAGE, MASK = "ShenzhenSet/CXR_png/CHNCXR_0003_0.png", "ShenzhenSet/mask/CHNCXR_0003_0_mask.png"
SIDE = "MontgomerySet/ManualMask/rightMask/MCUCXR_0001_0.png"


def rewritten(name, pixels):
    return lambda root: save(root / name, pixels)


def truncated(name):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:90])


def copied(name, other):
    return lambda root: shutil.copy(root / name, root / other)


def emptied(root):
    shutil.rmtree(root)
    root.mkdir()


def partners_removed(root):
    for path in [*root.glob("ShenzhenSet/mask/*"), *root.glob(f"MontgomerySet/{SIDES[0]}/*")]:
        path.unlink()


SMOOTH = np.zeros(SHAPE, np.uint8)
SMOOTH[3:9, 3:9], SMOOTH[4:8, 4:8] = 100, 255


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (emptied, ["no chest X-rays", "MontgomerySet or ShenzhenSet"]),
        (partners_removed, ["no X-ray", "has a mask"]),
        (lambda root: shutil.rmtree(root / "ShenzhenSet/mask"), ["ShenzhenSet/mask", "does not exist"]),
        (rewritten(MASK, np.zeros((32, 47), np.uint8)), [MASK, "32 x 47", "32 x 48"]),
        (rewritten(SIDE, np.zeros((30, 48), np.uint8)), [SIDE, "30 x 48", "32 x 48"]),
        (rewritten(MASK, SMOOTH), [MASK, "20 pixels", "between 0 and 255", "two values"]),
        (rewritten(MASK, np.full(SHAPE, 7, np.uint8) + SMOOTH // 255), [MASK, "two values"]),
        (rewritten(MASK, np.zeros((*SHAPE, 3), np.uint8)), [MASK, "kind RGB", "one channel"]),
        (truncated(IMAGE), [IMAGE, "cannot be read"]),
        (truncated(MASK), [MASK, "cannot be read"]),
        (lambda root: (root / IMAGE).write_text("no image"), [IMAGE, "cannot be read"]),
        (copied(IMAGE, "ShenzhenSet/CXR_png/chest.png"), ["chest.png", "MCUCXR_0001_0"]),
        (copied(IMAGE, "ShenzhenSet/CXR_png/CHNCXR_0003_1.png"), ["CHNCXR_0003_1", "number 3", "Expected one"]),
        (copied(IMAGE, "ShenzhenSet/CXR_png/CHNCXR_0003_0.dcm"), ["number 3", "Expected one"]),
    ],
    ids=[
        "empty folder", "no masks", "no folder", "mask size", "side size", "smoothed", "three values", "colour mask",
        "truncated image", "truncated mask", "no image", "name", "two diagnoses", "two kinds",
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_line(refused, changed, tmp_path, damage, words):
    damage(changed)
    error = refused("prepare_chest_xray", changed, tmp_path / "out.h5", "--size", 16, *SPLIT)
    assert all(word in error for word in [*words, "Expected"]), error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", 15], ["--size=15", "at least 16"]),
        (["--size", 20.5], ["20.5"]),
        (["--seed", -1], ["--seed=-1"]),
        (["--split", 0.8, 0.1, 0.2], ["--split", "sum to 1"]),
        (["--split", 1.2, -0.1, -0.1], ["--split", "at least 0"]),
        (["--split", 0.98, 0.01, 0.01], ["'validation' is empty", "12 X-rays"]),
        (["--classes", "four"], ["four"]),
    ],
)
def test_bad_options_are_told_in_one_line(refused, sets, tmp_path, options, words):
    error = refused("prepare_chest_xray", sets, tmp_path / "out.h5", *options)
    assert all(word in error for word in words), error


def test_files_and_folders_are_looked_at_first(refused, sets, tmp_path, monkeypatch):
    assert "nowhere" in refused("prepare_chest_xray", tmp_path / "nowhere", tmp_path / "out.h5")
    assert "nowhere" in refused("prepare_chest_xray", sets, tmp_path / "nowhere/out.h5", *SPLIT)
    three = refused("prepare_chest_xray", sets / "ShenzhenSet", tmp_path / "out.h5", "--classes", "three")
    assert "--classes=three" in three and "Expected MontgomerySet" in three
    (tmp_path / "mine.h5").write_text("mine")
    assert "--overwrite" in refused("prepare_chest_xray", sets, tmp_path / "mine.h5", *SPLIT)
    assert "no data file of kseg" in refused("prepare_chest_xray", sets, tmp_path / "mine.h5", *SPLIT, "--overwrite")
    (tmp_path / "card.md").write_text("no marks")
    assert "lacks the marks" in refused("prepare_chest_xray", sets, tmp_path / "a.h5", "--card", tmp_path / "card.md")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "MiB free" in refused("prepare_chest_xray", sets, tmp_path / "set.h5", *SPLIT)


def test_preparing_needs_neither_tensorflow_nor_pydicom():
    code = "import sys, kseg.data.chest_xray; sys.exit('tensorflow' in sys.modules or 'pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_real_xrays_and_their_card(kseg_data, tmp_path, pytestconfig):
    text = (pytestconfig.rootpath / "data_cards/chest_xray.md").read_text(encoding="utf-8")
    command = re.search(r"python scripts/prepare_chest_xray\.py \S+ chest_xray\.h5(.*)", text).group(1)
    cases = prepare(kseg_data / "chest_xray", tmp_path / "chest_xray.h5", *command.split())
    assert len(cases) == 338 and all(image.shape == (256, 256) for image, *_ in cases.values())
    block = text.partition(card.BEGIN)[2].partition(card.END)[0]
    with DataFile(tmp_path / "chest_xray.h5") as data:
        assert block.strip() == card.numbers(data)
    for kind in {kind for split in SPLITS for kind in groups(cases)}:
        counts = [groups(case for case, (*_, own) in cases.items() if own == split)[kind] for split in SPLITS]
        assert f"| {' '.join(kind)} | {' | '.join(map(str, counts))} |" in text
    # data/README.md tells the lungs' mean share of the image, in full resolution, for each set.
    for name, expected in (("montgomery", 25.8), ("shenzhen", 25.6)):
        shares = [100 * mask.mean() for case, (_, mask, *_) in cases.items() if name in case]
        assert np.mean(shares) == pytest.approx(expected, abs=0.06)
