"""Preparing CoNSeP (S4.9), on three made-up tiles and on the real ones."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from kseg.cli import main
from kseg.data import DataFile, card
from kseg.data import consep as consep_reader
from kseg.data.hdf5 import SPLITS
from kseg.data.images import read_labels

# As data/README.md has it: patches 000 to 015 of a tile of 1000 x 1000.
CORNERS = [(0, 0), (0, 256), (0, 512), (256, 0), (256, 256), (256, 512), (512, 0), (512, 256), (512, 512),
           (744, 0), (744, 256), (744, 512), (0, 744), (256, 744), (512, 744), (744, 744)]  # fmt: skip
TILES = {"train_7": "Train", "train_12": "Train", "test_3": "Test"}
NAMES = {"train_7": "train_07", "train_12": "train_12", "test_3": "test_03"}
HALF = ("--validation", 0.5)


def made_tile(seed):
    """Image, class ids and instances of a tile; no two of its blocks of 5 x 5 pixels are alike."""
    rng = np.random.default_rng(seed)
    image, instances = rng.integers(0, 256, (200, 200, 3)), rng.integers(0, 1000, (200, 200))
    classes = np.where(instances > 0, rng.choice(5, (200, 200), p=[0.6, 0.05, 0.1, 0.15, 0.1]), 0)
    parts = (image.astype(np.uint8), classes.astype(np.uint8), (instances * (classes > 0)).astype(np.uint16))
    return [part.repeat(5, axis=0).repeat(5, axis=1) for part in parts]


@pytest.fixture(scope="module")
def tiles():
    return {tile: made_tile(seed) for seed, tile in enumerate(TILES)}


@pytest.fixture(scope="module")
def consep(tiles, tmp_path_factory):
    """A folder in the set's layout; images are PNG, so that they lose nothing."""
    root = tmp_path_factory.mktemp("consep")
    for tile, folder in TILES.items():
        for name, part in zip(("images", "class_masks", "instance_masks"), tiles[tile], strict=True):
            (root / folder / name).mkdir(parents=True, exist_ok=True)
            for number, (y, x) in enumerate(CORNERS):
                patch = Image.fromarray(part[y : y + 256, x : x + 256])
                patch.save(root / folder / name / f"{tile}_{number:03d}.png", compress_level=1)
    return root


@pytest.fixture
def damaged(consep, tmp_path):
    return Path(shutil.copytree(consep, tmp_path / "consep"))


def prepare(root, out, *words):
    """Prepare and read back: {case: (images uint8, masks, instances, split)}."""
    assert main("prepare_histology", [str(word) for word in (root, out, *words)]) == 0
    cases = {}
    with DataFile(out) as data, h5py.File(out) as file:
        data.verify()
        for split in (split for split in SPLITS if data.sizes[split]):
            index = data.index(split)
            for case in dict.fromkeys(index["case"]):
                own = index["case"] == case
                assert case not in cases and index["slice"][own].tolist() == list(range(own.sum()))
                numbers = file[split]["instances"][own] if "instances" in file[split] else None
                cases[case] = file[split]["images"][own], file[split]["masks"][own], numbers, split
    return cases


def test_whole_tiles_are_the_originals(consep, tiles, tmp_path):
    cases = prepare(consep, tmp_path / "set.h5", "--crop", 1000, *HALF)
    assert set(cases) == set(NAMES.values())
    for tile, (image, classes, instances) in tiles.items():
        for stored, original in zip(cases[NAMES[tile]], (image, classes, instances), strict=False):
            np.testing.assert_array_equal(stored, original[None])
    with DataFile(tmp_path / "set.h5") as data:
        image = data.read("test")[0][0]
        assert data.classes == ["background", "miscellaneous", "inflammatory", "epithelial", "spindle"]
        np.testing.assert_allclose(data.index("test")["spacing"], [[0.00025, 0.00025]], rtol=1e-6)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, tiles["test_3"][0] / 255, atol=1e-6)


def test_crops_lie_on_a_centred_grid(consep, tiles, tmp_path, capfd):
    cases = prepare(consep, tmp_path / "set.h5", *HALF)
    out = capfd.readouterr().out
    for tile, parts in tiles.items():
        assert len(cases[NAMES[tile]][0]) == 9
        for stored, original in zip(cases[NAMES[tile]], parts, strict=False):
            for row, crop in enumerate(stored):
                y, x = 116 + 256 * (row // 3), 116 + 256 * (row % 3)  # 116 = (1000 - 3 * 256) / 2
                np.testing.assert_array_equal(crop, original[y : y + 256, x : x + 256])
    assert "41.0 % of each image" in out  # 1 - 0.768 ** 2
    assert "Next: python scripts/robust_training.py --data " in out


@pytest.mark.parametrize(("factor", "crop", "start", "side"), [(2, 96, 20, 5), (3, 128, 116, 2)])
def test_pixels_are_means_and_labels_the_most_frequent(consep, tiles, tmp_path, capfd, factor, crop, start, side):
    cases = prepare(consep, tmp_path / "set.h5", "--downsample", factor, "--crop", crop, *HALF)
    assert "Instances were left out" in capfd.readouterr().out
    for tile, (image, classes, _) in tiles.items():
        images, masks, instances, _ = cases[NAMES[tile]]
        assert images.shape == (side**2, crop, crop, 3) and instances is None
        stop = start + side * crop * factor
        shifts = [(i, j) for i in range(factor) for j in range(factor)]
        pixels = np.stack([image[start + i : stop : factor, start + j : stop : factor] for i, j in shifts]) / 1.0
        labels = np.stack([classes[start + i : stop : factor, start + j : stop : factor] for i, j in shifts])
        mean, mode = np.rint(pixels.mean(axis=0)), stats.mode(labels).mode  # of equals the lowest
        for row in range(side**2):
            y, x = row // side * crop, row % side * crop
            np.testing.assert_array_equal(images[row], mean[y : y + crop, x : x + crop])
            np.testing.assert_array_equal(masks[row], mode[y : y + crop, x : x + crop])
    with DataFile(tmp_path / "set.h5") as data:
        np.testing.assert_allclose(data.index("test")["spacing"][0], 0.00025 * factor, rtol=1e-6)


def test_tiles_are_never_parted(consep, tmp_path):
    for seed in (0, 3):
        cases = prepare(consep, tmp_path / f"{seed}.h5", "--crop", 50, "--downsample", 20, "--seed", seed, *HALF)
        splits = {case: split for case, (*_, split) in cases.items()}
        assert splits.pop("test_03") == "test"
        assert set(splits.values()) == {"train", "validation"}


def test_without_validation_all_tiles_of_train_are_trained_on(consep, tmp_path):
    cases = prepare(consep, tmp_path / "set.h5", "--validation", 0)
    assert {case: split for case, (*_, split) in cases.items()} == {
        "test_03": "test", "train_07": "train", "train_12": "train",
    }  # fmt: skip


def test_the_file_records_sources_rule_and_command(consep, tmp_path):
    words = [consep, tmp_path / "set.h5", "--downsample", 2, "--crop", 96, *HALF]
    prepare(*words)
    with DataFile(tmp_path / "set.h5") as data:
        attributes = data.attributes()
    files = {source["file"]: source["bytes"] for source in attributes["sources"]}
    used = [path for path in consep.rglob("*.png") if path.parent.name != "instance_masks"]
    assert files == {path.relative_to(consep).as_posix(): path.stat().st_size for path in used}
    assert "by tile" in attributes["split_rule"] and "slide" in attributes["split_rule"]
    assert attributes["command"].startswith("python scripts/prepare_histology.py ")
    assert attributes["command"].endswith("--crop 96 --downsample 2 --validation 0.5")


def test_preparing_twice_gives_the_same_bytes(consep, tmp_path):
    out, quick = tmp_path / "set.h5", ("--downsample", 10, "--crop", 50, *HALF)
    prepare(consep, out, *quick)
    first = out.read_bytes()
    prepare(consep, out, "--overwrite", *quick)
    out.rename(tmp_path / "again.h5")
    prepare(consep, out, *quick)
    assert out.read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.h5", "set.h5"]


MASK, IMAGE = "Train/class_masks/train_7_004.png", "Train/images/train_7_004.png"
INSTANCES = "Train/instance_masks/train_7_004.png"


def removed(*names):
    def change(root):
        for name in names:
            (root / name).unlink()

    return change


def rewritten(name, edit):
    def change(root):
        with Image.open(root / name) as image:
            pixels = np.array(image)
        Image.fromarray(edit(pixels)).save(root / name)

    return change


def with_value(row, column, value):
    def edit(pixels):
        pixels[row, column] = value
        return pixels

    return edit


def truncated(root):
    (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:5000])


def no_image(root):
    (root / IMAGE).write_text("no image")


def other_name(root):
    (root / IMAGE).rename(root / "Train/images/seven.png")


def emptied(root):
    for path in root.glob("Test/*/*.png"):
        path.unlink()


def tile_in_both(root):
    for path in root.glob("Train/*/train_7_*.png"):
        shutil.copy(path, root / "Test" / path.parent.name)


PATCH_4 = [IMAGE, MASK, INSTANCES]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (removed(MASK), [MASK, "does not exist"]),
        (removed(INSTANCES), [INSTANCES, "does not exist"]),
        (removed(IMAGE), [MASK, "no image"]),
        (removed(*PATCH_4), ["tile train_07", "004", "000 to 015"]),
        (rewritten(MASK, with_value(100, 100, 5)), [MASK, "label 5", "0 to 4"]),
        (rewritten(IMAGE, lambda pixels: pixels[:200]), [IMAGE, "200 x 256", "256 x 256"]),
        (rewritten(MASK, lambda pixels: pixels[:, :255]), [MASK, "256 x 255", "256 x 256"]),
        (rewritten(IMAGE, lambda pixels: pixels[..., 0]), [IMAGE, "kind L", "RGB"]),
        (rewritten(MASK, lambda pixels: np.stack([pixels] * 3, -1)), [MASK, "kind RGB", "one channel"]),
        (rewritten("Train/class_masks/train_7_009.png", lambda pixels: 4 - pixels), ["train_7_009", "overlap"]),
        (truncated, [IMAGE, "cannot be read"]),
        (no_image, [IMAGE, "cannot be read"]),
        (other_name, ["seven.png", "no patch", "train_7_003"]),
        (emptied, ["Test/images", "no patches"]),
        (tile_in_both, ["train_07", "in Train and in Test"]),
        (lambda root: shutil.rmtree(root / "Test"), ["Test/images", "does not exist"]),
        (lambda root: shutil.rmtree(root / "Train/class_masks"), ["Train/class_masks", "does not exist"]),
        (lambda root: [shutil.rmtree(root / name) for name in ("Train", "Test")], ["no histology", "images.npy"]),
        (lambda root: [path.unlink() for path in root.glob("Train/*/train_12*")], ["1 tile", "--validation 0"]),
    ],
    ids=[
        "mask missing", "instances missing", "image missing", "patch missing", "label outside", "image size",
        "mask size", "gray image", "colour mask", "overlap", "truncated", "no image", "name", "no test", "leak",
        "no Test", "no masks", "empty folder", "one tile",
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_line(refused, damaged, tmp_path, damage, words):
    damage(damaged)
    error = refused("prepare_histology", damaged, tmp_path / "out.h5", *HALF)
    assert all(word in error for word in [*words, "Expected"]), error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--crop", 1001], ["--crop=1001", "1000 x 1000"]),
        (["--crop", 256, "--downsample", 4], ["1024", "1000 x 1000"]),
        (["--crop", 15], ["--crop=15", "at least 16"]),
        (["--downsample", 0], ["--downsample=0", "at least 1"]),
        (["--downsample", 1.5], ["1.5"]),
        (["--validation", 1], ["--validation=1", "below 1"]),
        (["--seed", -1], ["--seed=-1"]),
        (["--split", 0.8, 0.1, 0.1], ["--split", "for arrays"]),
        (["--class-names", "a", "b"], ["--class-names", "for arrays"]),
        (["--background", "first"], ["--background", "for arrays"]),
        (["--split", 0.8, 0.1, 0.2], ["--split", "sum to 1"]),
    ],
)
def test_bad_options_are_told_in_one_line(refused, consep, tmp_path, options, words):
    error = refused("prepare_histology", consep, tmp_path / "out.h5", *options)
    assert all(word in error for word in words), error


def test_files_and_folders_are_looked_at_first(refused, consep, tmp_path, monkeypatch):
    assert "nowhere" in refused("prepare_histology", tmp_path / "nowhere", tmp_path / "out.h5")
    assert "nowhere" in refused("prepare_histology", consep, tmp_path / "nowhere/out.h5", *HALF)
    (tmp_path / "mine.h5").write_text("mine")
    assert "--overwrite" in refused("prepare_histology", consep, tmp_path / "mine.h5")
    assert "no data file of kseg" in refused("prepare_histology", consep, tmp_path / "mine.h5", *HALF, "--overwrite")
    assert (tmp_path / "mine.h5").read_text() == "mine"
    (tmp_path / "card.md").write_text("no marks")
    error = refused("prepare_histology", consep, tmp_path / "set.h5", *HALF, "--card", tmp_path / "card.md")
    assert "lacks the marks" in error
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "MiB free" in refused("prepare_histology", consep, tmp_path / "set.h5", *HALF)


def test_preparing_needs_no_tensorflow():
    code = "import sys, kseg.data.histology, kseg.data.figures; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_real_tiles_and_their_card(kseg_data, tmp_path, pytestconfig):
    text = (pytestconfig.rootpath / "data_cards/histology.md").read_text(encoding="utf-8")
    command = re.search(r"python scripts/prepare_histology\.py \S+ histology\.h5 (.*)", text).group(1)
    cases = prepare(kseg_data / "histology/CoNSeP_256", tmp_path / "histology.h5", *command.split())
    assert len(cases) == 33 and all(images.shape == (25, 96, 96, 3) for images, *_ in cases.values())
    assert {case for case, (*_, split) in cases.items() if split == "test"} == {c for c in cases if "test" in c}
    block = text.partition(card.BEGIN)[2].partition(card.END)[0]
    with DataFile(tmp_path / "histology.h5") as data:
        assert block.strip() == card.numbers(data)


@pytest.mark.parametrize(
    ("folder", "shares"),
    [("Train", [82.14, 0.18, 2.92, 9.27, 5.50]), ("Test", [82.11, 0.62, 1.60, 9.43, 6.25])],
)
def test_real_tiles_have_the_class_shares_of_their_description(kseg_data, folder, shares):
    """Those of data/README.md are of the patches, so pixels in the overlaps count once for each patch they are in."""
    times = 1 + ((np.arange(1000) >= 744) & (np.arange(1000) < 768))
    counts = np.zeros(5)
    for patches in consep_reader.list_tiles(kseg_data / "histology/CoNSeP_256" / folder, instances=False).values():
        tile, differing = consep_reader.stitch([read_labels(mask, (256, 256)) for _, mask in patches])
        assert differing == []
        counts += np.bincount(tile.ravel(), np.outer(times, times).ravel(), 5)
    np.testing.assert_allclose(100 * counts / counts.sum(), shares, atol=0.0051)
