"""D4's study from start to end, on tiny networks and figures."""

import contextlib
import csv
import json
import shutil

import h5py
import keras
import numpy as np
import pytest
from scipy import ndimage

from kseg.attacks import Attacker
from kseg.cli import main
from kseg.configs import RobustTraining
from kseg.data import DataFile, open_data
from kseg.inference import load_model
from kseg.studies import measures_file, robust_data, robust_measures, robust_models, robust_page, robust_training
from kseg.studies.robust_models import FLY, FOUR, FREE, ONE, ORIGINAL, PLATEAU, UNION
from kseg.studies.rows import typical_rows

# Values up to 0.2, padding, several images a case: what goes by the range, the box or the case shows.
DATA = "volumes(classes='all', extent=(12,16,4), counts=(2,1,6))"
WORDS = [
    "--data", DATA, "--preset", "quick", "--no-extras", "--no-jit", "--filters", "3", "--depth", "1", "--steps", "2",
    "--attack-steps", "4", "--batch-size", "5", "--budget", "0.05", "--images", "15", "--learning-rate", "0.01",
    "--search", "exact",
]  # fmt: skip
RANGE = {"value_range": (0.0, 0.2), "jit": False, "budget": 0.01}


def read(split):
    with open_data(DATA) as data:
        return data.read(split)


def attacked():
    """Images and masks that the study attacks, -1 in the padding."""
    rows = typical_rows(open_data(DATA), "test", 15)
    masks = np.full(rows.masks.shape, -1)
    for mask, true, (y0, y1, x0, x1) in zip(masks, rows.masks, rows.box, strict=True):
        mask[y0:y1, x0:x1] = true[y0:y1, x0:x1]
    return rows.images, masks, rows.case


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a study, the first in a folder of its own: without --output it takes runs/robust_training-1."""
    root = tmp_path_factory.mktemp("robust")
    with contextlib.chdir(root):
        assert main("robust_training", WORDS) == 0
    assert [path.name for path in (root / "runs").iterdir()] == ["robust_training-1"]
    return root / "runs" / "robust_training-1"


@pytest.fixture(scope="module")
def first(study):
    return load_model(study / "models" / "1_original_seed0")


def test_the_folder_holds_what_the_page_speaks_of(study):
    record = json.loads((study / "record.json").read_text())
    assert record["status"] == "finished"
    page = (study / "summary.md").read_text()
    for name in set(robust_page.FIGURES) - {"transfer.png"}:  # which takes two seeds
        assert f"](figures/{name})" in page
        assert 1000 < (study / "figures" / name).stat().st_size < 300_000, name
    decided = json.loads((study / "claims.json").read_text())
    assert [each["claim"] for each in decided] == [str(number) for number in range(1, 12)]
    assert [each["ours"] for each in decided] == 9 * [False] + 2 * [True]
    gates = {each["claim"]: each["gates"] for each in decided}
    assert len(gates["11"]) == 5 and not any(gate["decides"] for gate in gates["11"].values())  # of one seed
    assert page.count("| not tested | decides nothing |") == 3
    for each in decided:
        assert f"| {each['verdict']} | {each['why'].replace('; ', '<br>')} |" in page
    assert {each["claim"]: each["verdict"] for each in decided}["9"] == "not decided"  # no model with a plateau
    assert RobustTraining(**{**record["config"], "output": None}).command() in page
    for number in ("0.4959", "0.8748", "2.3628", "0.8726"):  # of the document's tables
        assert number in page


def test_methods_one_and_two_are_what_the_attacks_give(study, first):
    images, masks = read("train")
    for name, options in {"layered": {"steps": 2, "step_size": 0.01}, "selective": {}}.items():
        file = {"layered": "method_one.h5", "selective": "method_two.h5"}[name]
        expected = Attacker(first, name, **RANGE, **options)(images, masks, batch_size=5)
        with DataFile(study / "perturbed" / "seed0" / file) as data:
            found = data.read("train")
            np.testing.assert_allclose(found[0], expected.images, atol=1e-6)
            assert not np.array_equal(found[0], images)
            np.testing.assert_array_equal(found[1], masks)
            for split in ("validation", "test"):
                for ours, theirs in zip(data.read(split), read(split), strict=True):
                    np.testing.assert_array_equal(ours, theirs)
            data.verify()
            attributes = data.attributes()
            assert repr(name) in attributes["command"] and "volumes" in attributes["command"]
            digest = attributes["sources"][-1]["sha256"]
        assert digest == robust_data.source_entry(study / "models/1_original_seed0/model.keras", study)["sha256"]


def test_the_records_tell_choices_losses_and_likeness(study, first):
    images, masks = read("train")
    file = robust_data.records_of(study / "perturbed" / "seed0" / "method_two.h5")
    found = measures_file.read(file, robust_data.RECORD, method="method two")
    assert found["choices"].shape == (len(images), 3) and set(np.unique(found["choices"])) <= {-1, 0, 1}
    with DataFile(study / "perturbed" / "seed0" / "method_two.h5") as data:
        changed = data.read("train")[0].astype(np.float64)
    mse = (((changed - images) / 0.2) ** 2).mean(axis=(1, 2, 3))
    for psnr, error in zip(found["psnr"], mse, strict=True):
        assert psnr == pytest.approx(10 * np.log10(1 / error) if error else np.inf, rel=1e-6)
    largest = np.abs(changed - images).max(axis=(1, 2, 3)) / 0.2
    np.testing.assert_allclose(found["largest"], largest, rtol=1e-6)
    for when, shown in (("before", images), ("after", changed.astype(np.float32))):
        scores = first.predict(shown, verbose=0)
        loss = keras.losses.SparseCategoricalCrossentropy(reduction="none")(masks, scores).numpy().mean(axis=(1, 2))
        np.testing.assert_allclose(found[f"loss_{when}"], loss, rtol=1e-4)
    assert (found["loss_after"] <= found["loss_before"]).all()


def test_the_union_is_all_three_in_order(study):
    parts, count = [read("train")], len(read("train")[0])
    for name in ("method_one.h5", "method_two.h5"):
        with DataFile(study / "perturbed" / "seed0" / name) as data:
            parts.append(data.read("train"))
    with DataFile(study / "perturbed" / "seed0" / "union.h5") as union:
        assert union.sizes == open_data(DATA).sizes | {"train": 3 * count}
        images, masks = union.read("train")
        for i, (some, theirs) in enumerate(parts):
            np.testing.assert_array_equal(images[count * i : count * (i + 1)], some)
            np.testing.assert_array_equal(masks[count * i : count * (i + 1)], theirs)
        cases = union.index("train")["case"]
        assert [case.split(",")[0] for case in cases[::count]] == ["0 original", "2 method one", "3 method two"]
        assert len(set(cases)) == 3 * 4


def test_models_begin_alike_and_take_as_many_updates(study, tmp_path):
    config = RobustTraining(
        data=DATA, epochs=12, replays=4, batch_size=8, budget=0.02, fly_steps=5, learning_rate=0.003, filters=7, seeds=2
    )
    plan = robust_models.planned(config, tmp_path)
    assert [each.label for each in plan] == [*FOUR, FLY, FREE, PLATEAU, *FOUR, PLATEAU]
    options = {each.label: robust_models.options_of(each, config, tmp_path, 425) for each in plan[:7]}
    for label, found in options.items():
        assert (found.epochs, found.seed, found.filters, found.learning_rate, found.budget) == (12, 0, 7, 0.003, 0.02)
        steps, data = found.epoch_steps, str(robust_models.data_of(plan[0]._replace(label=label), tmp_path) or DATA)
        assert steps == {UNION: 54, FREE: 14}.get(label) and found.data == data
    assert options[FREE].perturb == ("free",) and options[FREE].replays == 4
    assert options[FLY].perturb == ("none", "layered", "selective") and options[FLY].attack_steps == 5
    assert {label for label, found in options.items() if found.schedule == "plateau"} == {PLATEAU}
    assert len({found.data for found in options.values()}) == 4
    histories, updates = {}, {}
    for folder in (study / "models").iterdir():
        with open(folder / "history.csv", newline="") as file:
            histories[folder.name] = len(list(csv.DictReader(file)))
        updates[folder.name] = int(keras.saving.load_model(folder / "state" / "last.keras").optimizer.iterations)
    assert set(histories.values()) == {3} and len(set(updates.values())) == 1 and len(histories) == 4


def test_models_are_judged_on_the_images_they_should_be(study, first):
    images, masks, case = attacked()
    with h5py.File(study / "attacked" / "seed0.h5") as file:
        made = {name: file[name][()] for name in ("ball", "steps")}
    goal, shared = np.where(masks < 0, -1, 0), {"ignore_class": -1, "direction": "target", "steps": 4, "keep": "last"}
    pgd = Attacker(first, "pgd", step_size=0.0025, **shared, **RANGE)
    np.testing.assert_allclose(made["ball"], pgd(images, goal, batch_size=5).images, atol=1e-6)
    free = Attacker(first, "pgd", step_size=0.01, **shared, **(RANGE | {"budget": np.inf}))
    np.testing.assert_allclose(made["steps"], free(images, goal, batch_size=5).images, atol=1e-6)
    inside = masks >= 0
    for name in ("1_original_seed0", "2_method_one_seed0"):
        model = load_model(study / "models" / name)
        found = measures_file.read(study / "measures" / f"{name}.h5", robust_measures.FORM)
        for condition, shown in (("clean", images), ("transfer/ball", made["ball"]), ("transfer/steps", made["steps"])):
            scores = model.predict(shown, verbose=0).astype(np.float64)
            ids = scores.argmax(axis=-1)
            counts_match(found[f"{condition}/counts"], ids, masks, case)
            own = np.take_along_axis(scores, np.maximum(masks, 0)[..., None], axis=-1)[..., 0]
            loss = np.ma.array(-np.log(own), mask=~inside).mean(axis=(1, 2))
            np.testing.assert_allclose(found[f"{condition}/loss"], loss, rtol=1e-3)
            weight, confidence, right = np.nan_to_num(found[f"{condition}/reliability"])
            assert weight.sum() == inside.sum()
            assert (weight * right).sum() / inside.sum() == pytest.approx((ids == masks)[inside].mean(), abs=1e-6)
            assert (weight * confidence).sum() / inside.sum() == pytest.approx(
                scores.max(axis=-1)[inside].mean(), abs=1e-4
            )
            brier = np.square(scores - (masks[..., None] == np.arange(3))).sum(axis=-1)[inside].mean()
            assert found[f"{condition}/brier"] == pytest.approx(brier, rel=1e-4)
        same = np.array_equal(found["transfer/ball/loss"], found["white/ball/loss"])
        assert same == (name == "1_original_seed0")  # on model 1 a transferred image is a white-box one
        assert (found["white/untargeted/loss"] >= found["clean/loss"] - 1e-5).all()
        assert (found["white/untargeted/loss"] > found["clean/loss"] + 1e-4).mean() > 0.9
        every, boxes = read("test"), open_data(DATA).index("test")["box"]
        true = np.full(every[1].shape, -1)
        for mask, given, (y0, y1, x0, x1) in zip(true, every[1], boxes, strict=True):
            mask[y0:y1, x0:x1] = given[y0:y1, x0:x1]
        ids = model.predict(every[0], verbose=0).argmax(axis=-1)
        counts_match(found["test/counts"], ids, true, open_data(DATA).index("test")["case"])


def counts_match(counts, ids, masks, case):
    """Hits of each case and class, written out."""
    for row, name in enumerate(np.unique(case.astype(str))):
        these = (case == name)[:, None, None] & (masks >= 0)
        for k in range(3):
            pairs = [(ids == k) & (masks == k), (ids == k) & (masks != k), (ids != k) & (masks == k)]
            assert [part[row, k] for part in counts[:3]] == [(these & pair).sum() for pair in pairs]


def test_what_the_methods_do_is_that_of_their_images(study, first):
    images, masks, _ = attacked()
    found = measures_file.read(study / "measures" / "1_original_seed0.h5", robust_measures.FORM)
    changed = Attacker(first, "selective", **RANGE)(images, np.maximum(masks, 0), batch_size=5).images
    np.testing.assert_allclose(
        found["method/method two/largest"], np.abs(changed - images).max(axis=(1, 2, 3)) / 0.2, atol=1e-5
    )
    for name, shown in (("method two", changed), ("clean", images)):
        ids = np.where(masks < 0, 0, first.predict(shown, verbose=0).argmax(axis=-1))
        pieces = [sum(ndimage.label(each == k)[1] for k in range(3)) for each in ids]
        np.testing.assert_array_equal(found[f"method/{name}/pieces"], pieces)
    assert np.isinf(found["method/clean/psnr"]).all()
    goal = np.argmax([(masks == k).sum(axis=(1, 2)) for k in (1, 2)], axis=0) + 1
    target = np.where(masks < 0, -1, goal[:, None, None])
    options = {"ignore_class": -1, "direction": "target", "steps": 4, "keep": "last", "step_size": 0.01}
    free = Attacker(first, "pgd", **options, **(RANGE | {"budget": np.inf}))(images, target, batch_size=5)
    np.testing.assert_allclose(found["method/PGD to one class, steps/goal"], free.agreement_after, atol=1e-6)


def test_every_seed_goes_by_its_own_model_1(study, tmp_path, monkeypatch):
    """Files of seed 1 are made of the model 1 of seed 1, and its models see the images made on that."""
    for label in (ORIGINAL, ONE):
        for seed, name in enumerate(("1_original_seed0", "4_union_seed0")):  # two models that differ
            folder = robust_models.entry_of(label, seed, tmp_path).folder
            shutil.copytree(study / "models" / name, folder)
    config = RobustTraining(data=DATA, preset="quick", seeds=2, filters=3, depth=1, batch_size=5, images=15, jit=False)
    bench = robust_measures.Bench(config, open_data(DATA), typical_rows(open_data(DATA), "test", 15))
    steps, told = robust_training.Progress(lambda *_: None, config, open_data(DATA), [], 15), []
    monkeypatch.setattr(robust_data, "perturb", lambda *given: told.append((given[3:5], bench.model.get_weights())))
    monkeypatch.setattr(robust_measures, "measure", lambda *given: told.append(given[2]) or {"a": np.zeros(1)})
    monkeypatch.setattr(measures_file, "read", lambda path, form, **facts: facts)
    (tmp_path / "measures").mkdir()
    first, entry = (robust_models.entry_of(label, 1, tmp_path) for label in (ORIGINAL, ONE))
    ((key, facts),) = robust_training._perturbed(entry, first, bench, tmp_path, steps).items()
    assert key == (1, "method one")
    (files, weights), expected = told.pop(), load_model(first.folder).get_weights()
    assert files == (first.folder / "model.keras", tmp_path / "perturbed" / "seed1" / "method_one.h5")
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(weights, expected, strict=True))
    own, other = (robust_training._digest(robust_models.entry_of(ORIGINAL, seed, tmp_path)) for seed in (1, 0))
    assert facts["model"] == own != other
    assert robust_training._measured(entry, first, bench, tmp_path, steps)["first"] == own
    assert told == [tmp_path / "attacked" / "seed1.h5"]


def test_a_control_sees_the_images_of_another_seed(study, tmp_path):
    config = RobustTraining(data=DATA, seeds=3)
    pairs = robust_training._controls(config, tmp_path)
    first = [(each.label, each.seed, each.folder.name, made.name) for each, made in pairs.items()]
    names = ("1_original", "2_method_one", "3_method_two", "4_union")
    assert first[:4] == [(f"{name[0]} of another seed", 0, f"{name}_seed1", "seed0.h5") for name in names]
    assert first[-1] == ("4 of another seed", 2, "4_union_seed0", "seed2.h5")
    assert len(pairs) == len({each.name for each in pairs}) == 12
    assert robust_training._controls(RobustTraining(seeds=1), tmp_path) == {}
    config = RobustTraining(
        data=DATA, preset="quick", extras=False, jit=False, filters=3, depth=1, batch_size=5, images=15, attack_steps=4
    )
    bench = robust_measures.Bench(config, open_data(DATA), typical_rows(open_data(DATA), "test", 15))
    name = "2_method_one_seed0"
    found = robust_measures.control(bench, study / "models" / name, study / "attacked" / "seed0.h5")
    expected = measures_file.read(study / "measures" / f"{name}.h5", robust_measures.FORM)
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5)
    assert set(found) == {f"{c}/{w}" for c in ("clean", "transfer/ball", "transfer/steps") for w in ("counts", "loss")}


def test_images_are_drawn_so_that_classes_are_as_common_as_in_all():
    data = open_data(DATA)
    every, drawn = typical_rows(data, "test", 0), typical_rows(data, "test", 15, seed=3)
    assert len(drawn.row) == 15 and len(set(drawn.row)) == 15 and (np.diff(drawn.row) > 0).all()
    np.testing.assert_array_equal(drawn.row, typical_rows(data, "test", 15, seed=3).row)
    assert not np.array_equal(drawn.row, typical_rows(data, "test", 15, seed=4).row)
    counts = np.unique(drawn.case, return_counts=True)[1]
    assert len(counts) == 12 and set(counts) <= {1, 2}
    images, masks = data.read("test")
    np.testing.assert_array_equal(drawn.images, images[drawn.row])
    np.testing.assert_array_equal(drawn.masks, masks[drawn.row])
    for k in range(3):
        assert (drawn.masks == k).mean() == pytest.approx((every.masks == k).mean(), rel=0.1)


@pytest.fixture
def broken(study, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(study, folder)
    return folder


def test_a_study_goes_on_where_it_was_broken_off(broken, monkeypatch, capsys):
    name, again = "4_union_seed0", []
    former = measures_file.read(broken / "measures" / f"{name}.h5", robust_measures.FORM)
    for path in (f"measures/{name}.h5", "perturbed/seed0/union.h5", "perturbed/seed0/method_one.h5"):
        (broken / path).unlink()
    record, before = json.loads((broken / "record.json").read_text()), (broken / "scores.csv").read_bytes()
    (broken / "scores.csv").unlink()
    monkeypatch.setattr(robust_measures, "measure", lambda entry, *_: again.append(entry.name) or former)
    monkeypatch.setattr(robust_models.run, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(robust_data, "perturb", lambda *_: pytest.fail("perturbed again"))
    assert main("robust_training", ["--resume", str(broken)]) == 0
    assert again == [name]
    assert (broken / "scores.csv").read_bytes() == before
    after = json.loads((broken / "record.json").read_text())
    assert after["resumed"] == 1 and after["config"] == record["config"]
    assert f"{len(list((broken / 'models').iterdir()))} models so far, not trained again" in capsys.readouterr().out
    assert main("robust_training", ["--resume", str(broken), "--seeds", "2"]) == 2
    assert "--seeds=2 does not fit. Expected no other option beside --resume" in capsys.readouterr().err


def test_what_was_made_of_another_model_is_refused(broken, capsys):
    shutil.copy(broken / "models/2_method_one_seed0/model.keras", broken / "models/1_original_seed0/model.keras")
    assert main("robust_training", ["--resume", str(broken)]) == 1
    error = capsys.readouterr().err
    assert "was measured with" in error and "remove it to measure again" in error


def test_other_data_under_the_same_name_are_refused(broken, capsys):
    record = json.loads((broken / "record.json").read_text())
    record["data"] = "another"
    (broken / "record.json").write_text(json.dumps(record))
    assert main("robust_training", ["--resume", str(broken)]) == 2
    assert "changed since" in capsys.readouterr().err


def test_the_exact_search_takes_seven_classes_and_no_more(tmp_path, capsys):
    pairs = "kandinsky(classes='shape_colour', shapes=('circle','square'), size=32, counts=(2,2,2))"
    seven, *_ = robust_training.checked(RobustTraining(data=pairs, search="exact", filters=2), tmp_path)
    assert len(seven.classes) == 7
    ten = pairs.replace("shapes=('circle','square'), ", "")
    with pytest.raises(ValueError, match="3\\^10 choices. Expected at most 7 classes"):
        robust_training.checked(RobustTraining(data=ten, search="exact", filters=2), tmp_path)
    robust_training.checked(RobustTraining(data=ten, search="beam", filters=2), tmp_path)
    with pytest.raises(SystemExit):
        main("robust_training", ["--help"])
    assert "3^K choices of K classes, 7 at most" in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--loss", "bce"], "--loss=bce needs a sigmoid head"),
        (["--epochs", "0"], "--epochs=0"),
        (["--budget", "0"], "--budget=0.0 does not fit"),
        (
            ["--data", "kandinsky(classes='shape_colour')"],
            "3^10 choices. Expected at most 7 classes; take --search beam",
        ),
        (["--data", "nowhere.h5"], "nowhere.h5"),
        (["--depth", "7"], "depth=7"),
        (["--resume", "nowhere"], "does not exist. Expected the run folder"),
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
