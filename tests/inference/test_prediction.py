"""The command predict: what it prints, keeps and refuses, and that it does what training and evaluation do."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image

from kseg.cli import main
from kseg.data import DataFile
from kseg.data.geometry import resize_labels
from kseg.data.read import write_mask


def words_of(*words):
    return [str(word) for word in words]


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def counts_agree(row, mask, label):
    """Check that a mask and its true labels count as a row of a run's cases.csv tells."""
    guess, true = mask > 0, label > 0
    counts = [(guess & true).sum(), (guess & ~true).sum(), (~guess & true).sum()]
    assert counts == [int(row[name]) for name in ("tp", "fp", "fn")]


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """A folder like that of a run whose model gives the pixel's value as probability, and two images."""
    import keras

    from kseg.data.preprocess import Preprocessing

    folder = tmp_path_factory.mktemp("tiny")
    image = keras.Input((None, None, 1))
    (folder / "run").mkdir()
    keras.Model(image, keras.layers.Identity()(image)).save(folder / "run/model.keras")
    facts = {"preprocessing": Preprocessing(channels=1).to_json(), "data": {"classes": ["dark", "bright"]}}
    (folder / "run/record.json").write_text(json.dumps(facts))
    (folder / "scans").mkdir()
    for name, value in (("a", 0.2), ("b", 0.9)):
        np.save(folder / f"scans/{name}.npy", np.full((4, 6), value))
    return folder


def test_prediction_scores_as_evaluation_does(run_folder, prepared, msd, tmp_path):
    """From the files of the test split to masks, and from these the Dice that training found for them."""
    with DataFile(prepared) as data:
        cases = sorted(set(data.index("test")["case"]))
    files = [msd / f"imagesTr/{case}.nii.gz" for case in cases]
    assert main("predict", words_of(run_folder, *files, "--output", tmp_path / "masks", "--batch-size", 3)) == 0
    known = {row["case"]: row for row in rows_of(run_folder / "cases.csv") if row["class"] == "hippocampus"}
    assert cases and set(known) == set(cases)
    for case in cases:
        mask = nibabel.load(tmp_path / f"masks/{case}.nii.gz")
        image, label = (nibabel.load(msd / f"{kind}Tr/{case}.nii.gz") for kind in ("images", "labels"))
        np.testing.assert_array_equal(mask.affine, image.affine)
        counts_agree(known[case], np.asarray(mask.dataobj), np.asarray(label.dataobj))


def test_everything_is_kept_in_one_run_folder(tiny_run, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main("predict", words_of(tiny_run / "run", tiny_run / "scans", "--overlays", "--probabilities")) == 0
    folder = tmp_path / "runs/predict-1"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "a.npy", "a.npy", "a.png", "b.npy", "b.npy", "b.png", "predictions.csv", "record.json"
    ]  # fmt: skip
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished" and record["classes"] == ["dark", "bright"]
    assert record["preprocessing"]["channels"] == 1 and len(record["model"]["sha256"]) == 64
    a, b = rows_of(folder / "predictions.csv")
    assert (a["mask"], a["share of bright"], a["height"], b["share of bright"]) == ("a.npy", "0.0", "4", "1.0")
    shutil.copy(tiny_run / "scans/a.npy", tmp_path)
    assert main("predict", words_of(tiny_run / "run", "a.npy")) == 0
    assert not np.load("runs/predict-2/a.npy").any()
    words = words_of(tiny_run / "run", folder / "probabilities/a.npy", "--output", folder, "--overwrite")
    assert main("predict", words) == 2 and (folder / "b.npy").is_file()
    out = capfd.readouterr().out
    assert "0 dark, 1 bright" in out and "Next: look at the pictures in runs/predict-1/overlays" in out


def test_one_bad_file_fails_the_run_after_the_others(tiny_run, tmp_path, capfd):
    shutil.copytree(tiny_run / "scans", tmp_path / "scans")
    (tmp_path / "scans/aa.png").write_bytes(b"no image")
    words = words_of(tiny_run / "run", tmp_path / "scans", "--output", tmp_path / "masks")
    assert main("predict", words) == 1
    printed = capfd.readouterr()
    assert printed.err.startswith("error: 1 of 3 files failed") and printed.err.count("\n") == 1
    assert "aa.png" in printed.err and printed.out.count("aa.png") >= 2  # at once, and in the table
    assert np.load(tmp_path / "masks/b.npy").all()
    bad = rows_of(tmp_path / "masks/predictions.csv")[1]
    assert bad["mask"] == "" and "cannot be read" in bad["error"]
    record = json.loads((tmp_path / "masks/record.json").read_text())
    assert record["predicted"] == 2 and list(record["failed"]) == [str(tmp_path / "scans/aa.png")]
    (tmp_path / "scans/aa.png").unlink()
    assert main("predict", [*words, "--overwrite", "--threshold", "0.1"]) == 0
    assert np.load(tmp_path / "masks/a.npy").all()


@pytest.mark.parametrize("overlays", [False, True])
def test_where_every_file_fails_nothing_is_told_of_masks(tiny_run, tmp_path, capfd, overlays):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    words = words_of(tiny_run / "run", tmp_path / "a.png", tmp_path / "b.png", "--output", tmp_path / "masks")
    assert main("predict", [*words, *["--overlays"] * overlays]) == 1
    printed = capfd.readouterr()
    assert printed.err.startswith("error: 2 of 2 files failed") and "predictions.csv" in printed.err
    assert "others" not in printed.err and "failed" in printed.out
    for words in ("masks are", "mask is", "Next", "mean share"):
        assert words not in printed.out, words


def test_one_file_is_told_as_one(tiny_run, tmp_path, capfd):
    shutil.copytree(tiny_run / "scans", tmp_path / "scans")
    (tmp_path / "scans/b.npy").rename(tmp_path / "scans/b.txt")
    assert main("predict", words_of(tiny_run / "run", tmp_path / "scans", "--output", tmp_path / "masks")) == 0
    out = capfd.readouterr().out
    assert "1 (1 other of no kind that is read)" in out and "1 mask is in" in out


@pytest.mark.parametrize(
    ("stop", "code", "status"),
    [(KeyboardInterrupt(), 130, "interrupted"), (OSError(28, "No space left on device"), 1, "failed")],
    ids=["interrupted", "disk full"],
)
def test_what_was_done_before_a_run_broke_off_is_kept(tiny_run, tmp_path, monkeypatch, capfd, stop, code, status):
    def write(path, ids, origin):
        if path.name == "b.npy":
            raise stop
        return write_mask(path, ids, origin)

    monkeypatch.setattr("kseg.inference.files.write_mask", write)
    words = words_of(tiny_run / "run", tiny_run / "scans", "--output", tmp_path / "masks")
    assert main("predict", words) == code
    assert str(tmp_path / "masks") in capfd.readouterr().err
    assert [row["mask"] for row in rows_of(tmp_path / "masks/predictions.csv")] == ["a.npy"]
    assert np.load(tmp_path / "masks/a.npy").shape == (4, 6) and not (tmp_path / "masks/b.npy").exists()
    assert json.loads((tmp_path / "masks/record.json").read_text())["status"] == status
    assert main("predict", [*words, "--overwrite"]) == code  # the folder can be taken again


def test_a_prepared_file_tells_what_a_run_does_not(tiny_run, tmp_path, refused):
    shutil.copy(tiny_run / "run/model.keras", tmp_path / "model.keras")
    words = [tmp_path / "model.keras", tiny_run / "scans", "--output", tmp_path / "masks"]
    assert "--like" in refused("predict", *words)
    assert main("predict", words_of(*words, "--like", "toy")) == 0
    assert json.loads((tmp_path / "masks/record.json").read_text())["classes"] == ["background", "foreground"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere", "{scans}"], "model 'nowhere'"),
        (["{run}", "nowhere.png"], "'nowhere.png' does not exist"),
        (["{run}"], "FILES"),
        (["{run}", "{scans}", "{scans}/a.npy"], "given twice"),
        (["{run}", "{scans}", "--threshold", 1], "--threshold=1"),
        (["{run}", "{scans}", "--overlap", 1], "--overlap=1"),
        (["{run}", "{scans}", "--batch-size", 0], "--batch-size=0"),
        (["{run}", "{scans}", "--like", "nowhere.h5"], "nowhere.h5"),
        (["{run}", "{scans}", "--like", "tissue"], "takes images of"),
        (["{run}", "{scans}", "--output", "{scans}"], "exists"),
        (["{run}", "{scans}", "--output", "{scans}", "--overwrite"], "which is to be read"),
        (["{run}", "{scans}", "--output", "{run}", "--overwrite"], "needs"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_bad_input_is_refused_before_anything_is_written(tiny_run, refused, words, told):
    places = {"run": tiny_run / "run", "scans": tiny_run / "scans"}
    before = sorted(tiny_run.rglob("*"))
    assert told in refused("predict", *(str(word).format(**places) for word in words))
    assert sorted(tiny_run.rglob("*")) == before


def trained_on(data, tmp_path):
    """The folder of a run of one epoch of a tiny network, and its rows of cases.csv of the foreground."""
    options = ["--loss", "bce+dice", "--epochs", 1, "--filters", 2, "--depth", 1, "--batch-size", 8]
    assert main("train", words_of("--data", data, *options, "--output", tmp_path / "run")) == 0
    rows = rows_of(tmp_path / "run/cases.csv")
    return tmp_path / "run", {row["case"]: row for row in rows if row["class"] != "background"}


def test_real_volumes_score_as_evaluated(kseg_data, tmp_path):
    source, folder = kseg_data / "hippocampus/Task04_Hippocampus", tmp_path / "msd"
    cases = sorted(path.name for path in (source / "imagesTr").glob("[!.]*.nii.gz"))[:5]
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
        for name in cases:
            (folder / kind / name).symlink_to(source / kind / name)
    listing = [{"image": f"imagesTr/{name}", "label": f"labelsTr/{name}"} for name in cases]
    (folder / "dataset.json").write_text(json.dumps({"training": listing}))
    words = words_of(folder, tmp_path / "set.h5", "--split", 0.4, 0.3, 0.3)
    assert main("prepare_hippocampus", words) == 0
    run, known = trained_on(tmp_path / "set.h5", tmp_path)
    files = [folder / f"imagesTr/{case}.nii.gz" for case in known]
    assert files and main("predict", words_of(run, *files, "--output", tmp_path / "masks")) == 0
    for case, row in known.items():
        mask, label = (nibabel.load(path / f"{case}.nii.gz") for path in (tmp_path / "masks", folder / "labelsTr"))
        np.testing.assert_array_equal(mask.affine, label.affine)
        counts_agree(row, np.asarray(mask.dataobj), np.asarray(label.dataobj))


def test_real_xrays_score_as_evaluated(kseg_data, tmp_path):
    source, folder = kseg_data / "chest_xray/MontgomerySet", tmp_path / "MontgomerySet"
    names = sorted(path.name for path in (source / "CXR_png").glob("[!.]*_0.png"))[:5]
    for kind in ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask"):
        (folder / kind).mkdir(parents=True)
        for name in names:
            (folder / kind / name).symlink_to(source / kind / name)
    words = words_of(tmp_path, tmp_path / "set.h5", "--size", 64, "--split", 0.4, 0.2, 0.4)
    assert main("prepare_chest_xray", words) == 0
    run, known = trained_on(tmp_path / "set.h5", tmp_path)
    files = {case: f"MCUCXR_{case.removeprefix('montgomery_')}.png" for case in known}
    paths = [folder / "CXR_png" / name for name in files.values()]
    words = words_of(run, *paths, "--output", tmp_path / "masks", "--probabilities")
    assert paths and main("predict", words) == 0
    for case, name in files.items():
        p = np.load(tmp_path / "masks/probabilities" / name.replace(".png", ".npy"))[..., 0]
        with Image.open(tmp_path / "masks" / name) as mask, Image.open(paths[0].parent / name) as image:
            assert mask.size == image.size
            np.testing.assert_array_equal(np.asarray(mask), np.where(p > 0.5, 255, 0))
        small = resize_labels(p, (64, 64))  # at the middle of the pixels of training, but for half a pixel
        open_to_doubt = (abs(small - 0.5) < 0.0003).sum()
        with DataFile(tmp_path / "set.h5") as data:
            rows = data.index("test")["case"] == case
            true = data.read("test")[1][rows][0] > 0
        guess = small > 0.5
        counts = {"tp": (guess & true).sum(), "fp": (guess & ~true).sum(), "fn": (~guess & true).sum()}
        assert all(abs(count - int(known[case][kind])) <= open_to_doubt for kind, count in counts.items())
        assert open_to_doubt < guess.size / 4
