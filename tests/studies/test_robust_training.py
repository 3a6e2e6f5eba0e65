"""D4's study from start to end, on tiny networks and figures."""

import csv
import json
import shutil

import h5py
import keras
import numpy as np
import pytest

from kseg.attacks import Attacker
from kseg.cli import main
from kseg.configs import RobustTraining
from kseg.data import DataFile, open_data
from kseg.inference import load_model
from kseg.studies import measures_file, robust_data, robust_measures, robust_models, robust_page
from kseg.studies.robust_models import FLY, FOUR, FREE, ONE, ORIGINAL, PLATEAU, TWO, UNION

DATA = "kandinsky(shapes=('circle','square'), size=32, counts=(12,3,12), objects=(1,2))"
WORDS = [
    "--data", DATA, "--preset", "quick", "--no-extras", "--no-jit", "--filters", "3", "--depth", "1", "--steps", "2",
    "--attack-steps", "4", "--batch-size", "5", "--budget", "0.05",
]  # fmt: skip
RANGE = {"value_range": (0.0, 1.0), "jit": False, "budget": 0.05}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robust") / "study"
    assert main("robust_training", [*WORDS, "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def first(study):
    return load_model(study / "models" / "1_original_seed0")


def test_the_folder_holds_what_the_page_speaks_of(study):
    record = json.loads((study / "record.json").read_text())
    assert record["status"] == "finished"
    page = (study / "summary.md").read_text()
    for name in robust_page.FIGURES:
        assert f"](figures/{name})" in page
        assert 1000 < (study / "figures" / name).stat().st_size < 300_000, name
    decided = json.loads((study / "claims.json").read_text())
    assert [each["claim"] for each in decided] == list("123456789")
    for each in decided:
        assert f"| {each['verdict']} | {each['why'].replace('; ', '<br>')} |" in page
    assert {each["claim"]: each["verdict"] for each in decided}["9"] == "not decided"  # no model with a plateau
    assert RobustTraining(**{**record["config"], "output": None}).command() in page
    for number in ("0.4959", "0.8748", "2.3628", "0.8726"):  # of the document's tables
        assert number in page


def test_methods_one_and_two_are_what_the_attacks_give(study, first):
    images, masks = open_data(DATA).read("train")
    for name, options in {"layered": {"steps": 2, "step_size": 0.05}, "selective": {}}.items():
        file = {"layered": "method_one.h5", "selective": "method_two.h5"}[name]
        expected = Attacker(first, name, **RANGE, **options)(images, masks, batch_size=5)
        with DataFile(study / "perturbed" / "seed0" / file) as data:
            found = data.read("train")
            np.testing.assert_allclose(found[0], expected.images, atol=1e-6)
            assert not np.array_equal(found[0], images)
            np.testing.assert_array_equal(found[1], masks)
            for split in ("validation", "test"):
                for ours, theirs in zip(data.read(split), open_data(DATA).read(split), strict=True):
                    np.testing.assert_array_equal(ours, theirs)
            data.verify()
            attributes = data.attributes()
            assert repr(name) in attributes["command"] and "kandinsky" in attributes["command"]
            digest = attributes["sources"][-1]["sha256"]
        assert digest == robust_data.source_entry(study / "models/1_original_seed0/model.keras", study)["sha256"]


def test_the_records_tell_choices_losses_and_likeness(study, first):
    images, masks = open_data(DATA).read("train")
    file = robust_data.records_of(study / "perturbed" / "seed0" / "method_two.h5")
    found = measures_file.read(file, robust_data.RECORD, method="method two")
    assert found["choices"].shape == (12, 3) and set(np.unique(found["choices"])) <= {-1, 0, 1}
    with DataFile(study / "perturbed" / "seed0" / "method_two.h5") as data:
        changed = data.read("train")[0].astype(np.float64)
    mse = ((changed - images) ** 2).mean(axis=(1, 2, 3))
    for psnr, error in zip(found["psnr"], mse, strict=True):
        assert psnr == pytest.approx(10 * np.log10(1 / error) if error else np.inf, rel=1e-6)
    np.testing.assert_allclose(found["largest"], np.abs(changed - images).max(axis=(1, 2, 3)), rtol=1e-6)
    for when, shown in (("before", images), ("after", changed.astype(np.float32))):
        scores = first.predict(shown, verbose=0)
        loss = keras.losses.SparseCategoricalCrossentropy(reduction="none")(masks, scores).numpy().mean(axis=(1, 2))
        np.testing.assert_allclose(found[f"loss_{when}"], loss, rtol=1e-4)
    assert (found["loss_after"] <= found["loss_before"]).all()


def test_the_union_is_all_three_in_order(study):
    parts = [open_data(DATA).read("train")]
    for name in ("method_one.h5", "method_two.h5"):
        with DataFile(study / "perturbed" / "seed0" / name) as data:
            parts.append(data.read("train"))
    with DataFile(study / "perturbed" / "seed0" / "union.h5") as union:
        assert union.sizes == {"train": 36, "validation": 3, "test": 12}
        images, masks = union.read("train")
        for i, (some, theirs) in enumerate(parts):
            np.testing.assert_array_equal(images[12 * i : 12 * i + 12], some)
            np.testing.assert_array_equal(masks[12 * i : 12 * i + 12], theirs)
        np.testing.assert_array_equal(union.read("train", 10, 26)[0], images[10:26])
        cases = union.index("train")["case"]
        assert [case.split(",")[0] for case in cases[::12]] == ["0 original", "2 method one", "3 method two"]
        assert len(set(cases)) == 36


def test_models_begin_alike_and_take_as_many_updates(study, tmp_path):
    config = RobustTraining(data=DATA, epochs=12, replays=4)
    epochs = {label: robust_models.epochs_of(robust_models.Entry(label, 0, tmp_path), config) for label in FOUR}
    assert epochs == {ORIGINAL: 12, ONE: 12, TWO: 12, UNION: 4}
    options = {each.label: robust_models.options_of(each, config, tmp_path) for each in
               robust_models.planned(config, tmp_path)[:7]}  # fmt: skip
    assert options[FREE].epochs == 3 and options[FREE].perturb == ("free",) and options[FREE].replays == 4
    assert options[FLY].perturb == ("none", "layered", "selective") and options[FLY].epochs == 12
    assert options[PLATEAU].schedule == "plateau" and options[ORIGINAL].schedule == "constant"
    assert {each.seed for each in options.values()} == {0} and len({each.data for each in options.values()}) == 4
    histories = {}
    for folder in (study / "models").iterdir():
        with open(folder / "history.csv", newline="") as file:
            histories[folder.name] = len(list(csv.DictReader(file)))
    assert histories == {"1_original_seed0": 3, "2_method_one_seed0": 3, "3_method_two_seed0": 3, "4_union_seed0": 1}


def test_models_are_judged_on_the_images_they_should_be(study, first):
    images, masks = open_data(DATA).read("test")
    with h5py.File(study / "attacked" / "seed0.h5") as file:
        made = {name: file[name][()] for name in ("ball", "steps")}
    goal = np.zeros_like(masks)
    pgd = Attacker(first, "pgd", direction="target", steps=4, keep="last", step_size=0.0125, **RANGE)
    np.testing.assert_allclose(made["ball"], pgd(images, goal, batch_size=5).images, atol=1e-6)
    free = Attacker(
        first, "pgd", direction="target", steps=4, keep="last", **(RANGE | {"budget": np.inf}), step_size=0.05
    )
    np.testing.assert_allclose(made["steps"], free(images, goal, batch_size=5).images, atol=1e-6)
    assert np.abs(made["steps"] - images).max() > 0.06 > 0.0501 > np.abs(made["ball"] - images).max()
    for name in ("1_original_seed0", "2_method_one_seed0"):
        model = load_model(study / "models" / name)
        found = measures_file.read(study / "measures" / f"{name}.h5", robust_measures.FORM)
        for condition, shown in (("clean", images), ("transfer/ball", made["ball"]), ("transfer/steps", made["steps"])):
            scores = model.predict(shown, verbose=0)
            ids = scores.argmax(axis=-1)
            tp, fp, fn, _ = found[f"{condition}/counts"]
            for k in range(3):
                np.testing.assert_array_equal(tp[:, k], ((ids == k) & (masks == k)).sum(axis=(1, 2)))
                np.testing.assert_array_equal(fp[:, k], ((ids == k) & (masks != k)).sum(axis=(1, 2)))
                np.testing.assert_array_equal(fn[:, k], ((ids != k) & (masks == k)).sum(axis=(1, 2)))
            weight, confidence, right = np.nan_to_num(found[f"{condition}/reliability"])
            assert weight.sum() == masks.size
            assert (weight * right).sum() / masks.size == pytest.approx((ids == masks).mean(), abs=1e-6)
            top = scores.max(axis=-1).mean()
            assert (weight * confidence).sum() / masks.size == pytest.approx(top, abs=1e-4)
        same = np.array_equal(found["transfer/ball/counts"], found["white/ball/counts"])
        assert same == (name == "1_original_seed0")  # on model 1 a transferred image is a white-box one


def test_a_study_goes_on_where_it_was_broken_off(study, tmp_path, monkeypatch, capsys):
    folder, again = tmp_path / "broken", []
    shutil.copytree(study, folder)
    name = "4_union_seed0"
    former = measures_file.read(folder / "measures" / f"{name}.h5", robust_measures.FORM)
    (folder / "measures" / f"{name}.h5").unlink()
    record, before = json.loads((folder / "record.json").read_text()), (folder / "scores.csv").read_bytes()
    (folder / "scores.csv").unlink()
    monkeypatch.setattr(robust_measures, "measure", lambda entry, *_: again.append(entry.name) or former)
    monkeypatch.setattr(robust_models.run, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(robust_data, "perturb", lambda *_: pytest.fail("perturbed again"))
    assert main("robust_training", ["--resume", str(folder)]) == 0
    assert again == [name]
    assert (folder / "scores.csv").read_bytes() == before
    after = json.loads((folder / "record.json").read_text())
    assert after["resumed"] == 1 and after["config"] == record["config"]
    capsys.readouterr()
    assert main("robust_training", ["--resume", str(folder), "--seeds", "2"]) == 2
    assert "--seeds=2 does not fit. Expected no other option beside --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--loss", "bce"], "--loss=bce needs a sigmoid head"),
        (["--epochs", "4"], "a multiple of 3"),
        (["--budget", "0"], "--budget=0.0 does not fit"),
        (["--data", "kandinsky(classes='shape_colour')"], "take --search beam"),
        (["--data", "nowhere.h5"], "nowhere.h5"),
        (["--depth", "7"], "depth=7"),
        (["--resume", "nowhere"], "holds no study to go on with"),
        (["--images", "-1"], "--images=-1"),
    ],
)
def test_bad_input_is_told_in_one_line(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = [] if {"--data", "--resume"} & set(words) else ["--data", DATA]
    assert main("robust_training", [*data, *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
