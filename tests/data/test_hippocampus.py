"""Preparing the hippocampus volumes (S0.1 to S0.3), on nine tiny volumes and on the real ones."""

import json
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from kseg.cli import main
from kseg.data import DataFile, card
from kseg.data.hdf5 import SPLITS

SPLIT = ("--split", "0.6", "0.2", "0.2")


def prepare(msd, out, *words):
    """Prepare the tiny set and read everything: {case: (images, masks, box, slices, split)}."""
    assert main("prepare_hippocampus", [str(word) for word in (msd, out, *SPLIT, *words)]) == 0
    cases = {}
    with DataFile(out) as data:
        data.verify()
        for split in SPLITS:
            images, masks = data.read(split)
            index = data.index(split)
            assert list(index["case"]) == sorted(index["case"])
            for case in dict.fromkeys(index["case"]):
                own = index["case"] == case
                assert case not in cases
                assert len({tuple(box) for box in index["box"][own]}) == 1
                box = index["box"][own][0]
                cases[case] = images[own, :, :, 0], masks[own], box, index["slice"][own], split
    return cases


def volumes(msd):
    """{case: (voxels, labels)} as nibabel reads them."""
    return {
        path.name.split(".")[0]: tuple(
            np.asarray(nibabel.load(msd / folder / path.name).dataobj) for folder in ("imagesTr", "labelsTr")
        )
        for path in sorted((msd / "imagesTr").iterdir())
    }


def head(case):
    return (int(case[-3:]) + 1) // 2


def unpadded(array, box):
    """`[N, H, W]` slices without their padding as a volume `[X, Y, Z]`."""
    y0, y1, x0, x1 = box
    return np.moveaxis(array[:, y0:y1, x0:x1], 0, 2)


def test_unpadded_masks_are_the_labels(msd, tmp_path):
    cases = prepare(msd, tmp_path / "all.h5", "--classes", "all")
    originals = volumes(msd)
    assert set(cases) == set(originals)
    for case, (_, masks, box, *_) in cases.items():
        np.testing.assert_array_equal(unpadded(masks, box), originals[case][1])


def test_binary_masks_join_both_labels(msd, prepared, tmp_path):
    cases = prepare(msd, tmp_path / "binary.h5")
    for case, (_, label) in volumes(msd).items():
        np.testing.assert_array_equal(unpadded(cases[case][1], cases[case][2]), label > 0)
    with DataFile(prepared) as data:
        assert data.classes == ["background", "hippocampus"]


def test_classes_are_named(msd, tmp_path):
    prepare(msd, tmp_path / "all.h5", "--classes", "all")
    with DataFile(tmp_path / "all.h5") as data:
        assert data.classes == ["background", "anterior", "posterior"]


def test_each_volume_is_scaled_by_its_own_range(msd, tmp_path):
    cases = prepare(msd, tmp_path / "plain.h5", "--upper-percentile", "100", "--max-value", "0.2")
    for case, (voxels, _) in volumes(msd).items():
        voxels = voxels.astype(np.float64)
        expected = 0.2 * (voxels - voxels.min()) / (voxels.max() - voxels.min())
        scaled = unpadded(cases[case][0], cases[case][2])
        np.testing.assert_allclose(scaled, expected, atol=1e-6)
        assert scaled.min() == 0
        assert scaled.max() == np.float32(0.2)


def test_what_exceeds_the_percentile_is_cut(msd, tmp_path):
    cases = prepare(msd, tmp_path / "cut.h5", "--upper-percentile", "90", "--max-value", "1")
    for case, (voxels, _) in volumes(msd).items():
        ordered = np.sort(voxels.astype(np.float64), axis=None)
        place = 0.9 * (len(ordered) - 1)  # linear interpolation between the two neighbours
        below = int(place)
        high = ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
        expected = np.minimum((voxels - ordered[0]) / (high - ordered[0]), 1)
        np.testing.assert_allclose(unpadded(cases[case][0], cases[case][2]), expected, atol=1e-5)


def test_slices_are_centred_in_a_common_size_and_zero_outside(msd, tmp_path):
    cases = prepare(msd, tmp_path / "set.h5")
    for case, (voxels, _) in volumes(msd).items():
        images, masks, (y0, y1, x0, x1), slices, _ = cases[case]
        assert images.shape[1:] == (16, 16)  # 12 x 15 at most, so one multiple of 16 each way
        assert (y1 - y0, x1 - x0) == voxels.shape[:2]
        assert abs((16 - y1) - y0) <= 1 and abs((16 - x1) - x0) <= 1
        assert slices.tolist() == list(range(voxels.shape[2]))
        outside = np.ones((16, 16), bool)
        outside[y0:y1, x0:x1] = False
        assert not images[:, outside].any() and not masks[:, outside].any()


def test_sizes_follow_multiple(msd, tmp_path):
    cases = prepare(msd, tmp_path / "set.h5", "--multiple", "5")
    assert {images.shape[1:] for images, *_ in cases.values()} == {(15, 15)}


def test_spacing_is_that_of_the_slice(prepared):
    with DataFile(prepared) as data:
        np.testing.assert_array_equal(np.unique(data.index("train")["spacing"], axis=0), [[1, 2]])


@pytest.mark.parametrize("seed", range(5))
def test_heads_are_never_parted(msd, tmp_path, seed):
    cases = prepare(msd, tmp_path / "set.h5", "--seed", seed)
    splits = {}
    for case, (*_, split) in cases.items():
        splits.setdefault(head(case), set()).add(split)
    assert len(splits) == 5
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == set(SPLITS)


def test_seeds_split_differently(msd, tmp_path):
    found = set()
    for seed in range(5):
        cases = prepare(msd, tmp_path / f"{seed}.h5", "--seed", seed)
        found.add(tuple(split for *_, split in (cases[case] for case in sorted(cases))))
    assert len(found) > 1


def test_a_split_without_share_stays_empty(msd, tmp_path):
    words = [str(msd), str(tmp_path / "set.h5"), "--split", "0.8", "0", "0.2"]
    assert main("prepare_hippocampus", words) == 0
    with DataFile(tmp_path / "set.h5") as data:
        assert data.sizes["validation"] == 0 and data.sizes["train"] and data.sizes["test"]


def test_preparing_twice_gives_the_same_bytes(msd, tmp_path):
    out = tmp_path / "set.h5"
    prepare(msd, out)
    first = out.rename(tmp_path / "first.h5").read_bytes()
    prepare(msd, out)
    assert out.read_bytes() == first


def test_file_records_its_sources_and_command(msd, prepared):
    with DataFile(prepared) as data:
        attributes = data.attributes()
    files = {source["file"]: source["bytes"] for source in attributes["sources"]}
    expected = {path.relative_to(msd).as_posix(): path.stat().st_size for path in msd.rglob("*") if path.is_file()}
    assert files == expected
    assert attributes["command"].startswith("python scripts/prepare_hippocampus.py")
    assert "--split 0.6 0.2 0.2" in attributes["command"]
    np.testing.assert_allclose(attributes["value_range"], (0, 0.2), rtol=1e-6)


IMAGE, LABEL = "imagesTr/hippocampus_003.nii.gz", "labelsTr/hippocampus_003.nii.gz"


def delete_image(root, save):
    (root / IMAGE).unlink()


def delete_label(root, save):
    (root / LABEL).unlink()


def forget_label(root, save):
    listing = json.loads((root / "dataset.json").read_text())
    del listing["training"][2]["label"]
    (root / "dataset.json").write_text(json.dumps(listing))


def truncate(root, save):
    content = (root / IMAGE).read_bytes()
    (root / IMAGE).write_bytes(content[: len(content) // 2])


def write_text(root, save):
    (root / IMAGE).write_text("no NIfTI file")


def other_shape(root, save):
    save(root / LABEL, np.zeros((9, 10, 4), np.uint8))


def four_dimensions(root, save):
    save(root / IMAGE, np.zeros((9, 10, 5, 2), np.float32))


def voxel(value, path=IMAGE):
    def change(root, save):
        voxels = np.asarray(nibabel.load(root / path).dataobj).copy()
        voxels[1, 2, 3] = value
        save(root / path, voxels)

    return change


def constant(root, save):
    save(root / IMAGE, np.full((9, 10, 5), 7, np.float32))


def delete_listing(root, save):
    (root / "dataset.json").unlink()


def listing(text):
    return lambda root, save: (root / "dataset.json").write_text(text)


def outside(name):
    def change(root, save):
        text = (root / "dataset.json").read_text()
        (root / "dataset.json").write_text(text.replace(f"./{IMAGE}", name))

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (delete_image, [IMAGE, "does not exist"]),
        (delete_label, [IMAGE, "no mask"]),
        (forget_label, [IMAGE, "no mask"]),
        (truncate, [IMAGE, "cannot be read"]),
        (write_text, [IMAGE, "cannot be read"]),
        (other_shape, [IMAGE, "(9, 10, 5)", "(9, 10, 4)"]),
        (four_dimensions, [IMAGE, "3-D"]),
        (voxel(np.nan), [IMAGE, "1 NaN or infinite"]),
        (voxel(np.inf), [IMAGE, "1 NaN or infinite"]),
        (voxel(3, LABEL), [LABEL, "label 3", "0, 1 or 2"]),
        (constant, [IMAGE, "value 7"]),
        (delete_listing, ["dataset.json", "does not exist"]),
        (listing("{ broken"), ["dataset.json", "'training'"]),
        (listing("[1, 2]"), ["dataset.json", "'training'"]),
        (listing('{"training": [1]}'), ["dataset.json", "'training'"]),
        (listing('{"training": []}'), ["dataset.json", "no training volumes"]),
        (listing('{"training": [{"image": 3, "label": 4}]}'), ["3"]),
        (outside("../../secret.nii.gz"), ["../../secret.nii.gz", "outside"]),
        (outside("/secret.nii.gz"), ["/secret.nii.gz", "outside"]),
    ],
    ids=[
        "image missing", "mask missing", "mask not listed", "truncated", "no NIfTI", "shapes differ", "4-D", "nan",
        "infinite", "label outside", "constant", "no dataset.json", "broken JSON", "JSON of something else",
        "entries of something else", "no volumes", "names of something else", "path outside", "absolute path",
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_line(refused, msd_copy, save_volume, tmp_path, damage, words):
    damage(msd_copy, save_volume)
    error = refused("prepare_hippocampus", msd_copy, tmp_path / "out.h5", *SPLIT)
    assert all(word in error for word in [*words, "Expected"]), error


def test_a_missing_folder_is_named(refused, tmp_path):
    error = refused("prepare_hippocampus", tmp_path / "nowhere", tmp_path / "out.h5")
    assert "nowhere" in error and "Expected" in error


def test_a_missing_target_folder_is_named(refused, msd, tmp_path):
    error = refused("prepare_hippocampus", msd, tmp_path / "nowhere/out.h5", *SPLIT)
    assert "nowhere" in error and "Expected" in error


def test_too_few_heads_for_the_split_are_refused(refused, msd_copy, tmp_path):
    listing = json.loads((msd_copy / "dataset.json").read_text())
    listing["training"] = listing["training"][:4]  # two heads
    (msd_copy / "dataset.json").write_text(json.dumps(listing))
    error = refused("prepare_hippocampus", msd_copy, tmp_path / "out.h5", *SPLIT)
    assert "empty" in error and "2 heads" in error and "Expected" in error


@pytest.mark.parametrize("split", [("0.5", "0.5", "0.5"), ("1.2", "-0.1", "-0.1"), ("nan", "0", "1")])
def test_shares_that_do_not_sum_to_one_are_refused(refused, msd, tmp_path, split):
    error = refused("prepare_hippocampus", msd, tmp_path / "out.h5", "--split", *split)
    assert "--split" in error and "sum to 1" in error


def test_an_existing_file_is_kept_unless_told(refused, msd, tmp_path):
    out = tmp_path / "out.h5"
    out.write_text("mine")
    error = refused("prepare_hippocampus", msd, out, *SPLIT)
    assert str(out) in error and "--overwrite" in error
    error = refused("prepare_hippocampus", msd, out, *SPLIT, "--overwrite")
    assert "no data file of kseg" in error
    assert out.read_text() == "mine"


def test_a_data_file_is_replaced_when_told(msd, tmp_path):
    prepare(msd, tmp_path / "out.h5")
    prepare(msd, tmp_path / "out.h5", "--overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_a_card_without_marks_is_refused_before_anything_is_written(refused, msd, tmp_path):
    (tmp_path / "card.md").write_text("no marks")
    error = refused("prepare_hippocampus", msd, tmp_path / "set.h5", *SPLIT, "--card", tmp_path / "card.md")
    assert "lacks the marks" in error


def test_a_disk_without_room_is_refused(refused, msd, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "MiB free" in refused("prepare_hippocampus", msd, tmp_path / "set.h5", *SPLIT)


def test_the_card_gets_the_numbers(msd, tmp_path):
    path = tmp_path / "card.md"
    path.write_text(f"before\n{card.BEGIN}\nold\n{card.END}\nafter\n")
    prepare(msd, tmp_path / "set.h5", "--card", path)
    with DataFile(tmp_path / "set.h5") as data:
        assert path.read_text() == f"before\n{card.BEGIN}\n{card.numbers(data)}\n{card.END}\nafter\n"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Where the real volumes are prepared to, once."""
    return tmp_path_factory.mktemp("real") / "hippocampus-all.h5"


def test_real_volumes_and_their_card(kseg_data, real, pytestconfig):
    source = kseg_data / "hippocampus/Task04_Hippocampus"
    assert main("prepare_hippocampus", [str(source), str(real), "--classes", "all"]) == 0
    text = (pytestconfig.rootpath / "data_cards/hippocampus.md").read_text(encoding="utf-8")
    with DataFile(real) as data:
        cases, rows, empty, heads = 0, 0, 0, {}
        for split in SPLITS:
            masks, index = data.read(split)[1], data.index(split)
            cases += len(set(index["case"]))
            rows += len(masks)
            empty += int((~masks.any(axis=(1, 2))).sum())
            for case in set(index["case"]):
                heads.setdefault(head(case), set()).add(split)
        assert (cases, rows, empty) == (209, 7484, 2127)
        assert data.shape == (48, 64, 1)
        assert all(len(splits) == 1 for splits in heads.values())
        block = text.partition(card.BEGIN)[2].partition(card.END)[0]
        assert block.strip() == card.numbers(data)
