"""D3's study from start to end, on tiny networks."""

import contextlib
import csv
import io
import itertools
import json
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, jaccard_score

from kseg import inference, metrics, models
from kseg.cli import main
from kseg.configs import CompareLosses
from kseg.data import load, open_data
from kseg.inference import load_model
from kseg.studies import (
    comparison_claims,
    comparison_cost,
    comparison_measures,
    comparison_models,
    comparison_notes,
    comparison_page,
    comparison_same,
    comparison_search,
    loss_comparison,
    room,
)
from kseg.studies.comparison_models import GIVEN, TUNED
from kseg.training import run

DATA = "lungs(size=32,counts=(8,4,11))"
RATES = (0.001, 0.01)
SHARED = ["--preset", "quick", "--depth", "1", "--filters", "2", "--epochs", "2", "--no-jit", "--batch-size", "3",
          "--rates", *map(str, RATES), "--budget", "0.0001"]  # fmt: skip
WORDS = ["--data", DATA, "--losses", "dice_bce", "focal", "--seeds", "2", *SHARED]
PARTS = "volumes(classes='all',extent=(12,16,4),counts=(2,1,6))"
INFINITE = "3e38*cce + 3e38*dice"
COST = {"allocated": 12.5, "step": 0.25}
TIMES = ("seconds an epoch",)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def done(root, words, *patches):
    """(folder of a study of its own, what it printed); no process is started to measure memory."""
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(root), contextlib.redirect_stdout(told):
        patch.setattr(comparison_cost, "cost", lambda *_: COST)
        for each in patches:
            patch.setattr(*each)
        assert main("compare_losses", words) == 0
    assert [path.name for path in (root / "runs").iterdir()] == ["compare_losses-1"]
    return root / "runs" / "compare_losses-1", told.getvalue()


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """(folder of the study, {model: [(weights it began with, images of each batch it saw)]})."""
    seen, real = {}, run.fit

    def fit(model, train, validation, **options):
        batches = []
        seen.setdefault(options["folder"].name, []).append((model.get_weights(), batches))

        def note(images):
            batches.append(images.tobytes())
            return images

        def through(images, masks):
            return tf.ensure_shape(tf.numpy_function(note, [images], tf.float32), images.shape), masks

        return real(model, train.map(through), validation, **options)

    return *done(tmp_path_factory.mktemp("losses"), WORDS, (run, "fit", fit)), seen


@pytest.fixture(scope="module")
def study(watched):
    return watched[0]


@pytest.fixture(scope="module")
def rows(study):
    return table(study / "results.csv")


def test_the_folder_holds_what_the_page_speaks_of(study):
    record = json.loads((study / "record.json").read_text())
    assert record["status"] == "finished" and not (study / "search").exists()
    assert {path.name for path in study.iterdir()} == set(loss_comparison.KEPT) - {"search", "error.txt"}
    page = (study / "summary.md").read_text()
    for name in comparison_page.FIGURES:
        assert f"](figures/{name})" in page
        assert 1000 < (study / "figures" / name).stat().st_size < 300_000, name
    decided = json.loads((study / "claims.json").read_text())
    assert [each["claim"] for each in decided] == list(comparison_claims.TEXTS)
    assert record["claims"] == {each["claim"]: each["verdict"] for each in decided}
    for each in decided:
        assert f"**{each['claim']}** {each['text']} | {each['verdict']} |" in page
    assert CompareLosses(**{**record["config"], "output": None, "losses": ("dice_bce", "focal"), "rates": RATES}
                         ).command() in page  # fmt: skip
    assert json.loads((study / "costs.json").read_text()) == {"dice_bce": COST, "focal": COST}


def test_all_models_of_a_seed_begin_alike_and_see_the_same_batches(study, watched, rows):
    seen, data = watched[2], open_data(DATA)
    assert set(seen) == {row["run"] for row in rows} == {path.name for path in (study / "models").iterdir()}
    assert all(len(each) == 1 for each in seen.values())  # trained once, whatever tables they are in
    firsts = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        start = models.unet(data.shape, 1, filters=2, depth=1, bn=True, decoder="transpose").get_weights()
        batches = load(DATA, "train", 3, seed=seed)
        order = [images.numpy().tobytes() for _ in range(2) for images, _ in batches]
        for row in rows:
            if row["seed"] == str(seed):
                weights, given = seen[row["run"]][0]
                assert all(np.array_equal(a, b) for a, b in zip(weights, start, strict=True))
                assert given == order
        firsts.append((start, order))
    (one, batches), (other, others) = firsts
    assert batches[:3] != batches[3:] and batches != others
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_models_differ_in_loss_and_rate_alone(study, rows):
    options = {}
    for row in rows:
        config = json.loads((study / "models" / row["run"] / "record.json").read_text())["config"]
        assert (config.pop("loss"), config.pop("learning_rate")) == (row["loss"], float(row["rate"]))
        assert config.pop("output").endswith(f"models/{row['run']}") and config["seed"] == int(row["seed"])
        options.setdefault(row["seed"], []).append(config)
    for same in options.values():
        assert all(config == same[0] for config in same)
    known = {name: options["1"][0][name] for name in ("data", "epochs", "batch_size", "filters", "depth", "head")}
    assert known == {"data": DATA, "epochs": 2, "batch_size": 3, "filters": 2, "depth": 1, "head": "sigmoid"}


def test_the_tuned_rate_is_what_the_search_found_and_the_given_one_is_not_trained_twice(study, rows):
    (trials,) = json.loads((study / "search.json").read_text())["rounds"]
    assert [(each["loss"], each["rate"]) for each in trials] == [
        (loss, rate) for loss in ("dice_bce", "focal") for rate in RATES
    ]
    assert {each["epochs"] for each in trials} == {1}
    keyed = {(row["loss"], row["regime"], row["seed"]): row for row in rows}
    assert len(keyed) == len(rows) == 2 * 2 * 2
    for loss in ("dice_bce", "focal"):
        scores = {each["rate"]: each["score"] for each in trials if each["loss"] == loss}
        best = max(sorted(scores), key=scores.get)
        assert [each["rate"] for each in trials if each["loss"] == loss and each["kept"]] == [best]
        for seed in "01":
            given, tuned = keyed[loss, GIVEN, seed], keyed[loss, TUNED, seed]
            assert (float(given["rate"]), float(tuned["rate"])) == (0.001, best)
            assert (given["run"] == tuned["run"]) == (best == 0.001)


def test_a_rate_that_is_the_given_one_is_the_same_run(tmp_path):
    config, names = CompareLosses(preset="quick", seeds=2), {"dice": "dice", "focal": "focal", "mcc": "mcc"}
    plan = comparison_models.planned(config, ("dice", "focal", "mcc"), {"dice": 0.001, "focal": 0.016}, names, tmp_path)
    for seed in (0, 1):
        assert plan["dice", GIVEN, seed] == plan["dice", TUNED, seed]
        assert plan["focal", GIVEN, seed] != plan["focal", TUNED, seed]
        assert ("mcc", TUNED, seed) not in plan  # all of its rates diverged
    assert len({entry.folder for entry in plan.values()}) == 8 and len(plan) == 10
    # All of a seed are there before the next begins: a study that is broken off can be read.
    assert [key[2] for key in plan] == [0] * 5 + [1] * 5


def ece_of(true, right, confidence):
    place = np.ceil(confidence * 15).astype(int)
    every = [(place == number) for number in range(1, 16)]
    return sum(part.mean() * abs(right[part].mean() - confidence[part].mean()) for part in every if part.any())


def scored(model, data):
    """{score: `[cases]`} of binary images of one case each, by scikit-learn, and by hand from its IoU."""
    images, masks = data.read("test")
    found = []
    for true, p in zip(masks, model.predict(images, verbose=0)[..., 0].astype(np.float64), strict=True):
        true, p = true.ravel() > 0, p.ravel()
        guess = p > 0.5
        union = (true | guess).sum()
        iou = jaccard_score(true, guess)
        assert iou == (true & guess).sum() / union
        found.append({
            "iou": iou, "iou_score": np.mean([100 * (true & guess).sum() > t * union for t in range(50, 100, 5)]),
            "dice": f1_score(true, guess), "accuracy": accuracy_score(true, guess), "brier": brier_score_loss(true, p),
            "ece": ece_of(true, guess == true, np.maximum(p, 1 - p)),
        })  # fmt: skip
    return {name: np.array([each[name] for each in found]) for name in found[0]}


def test_every_number_is_that_of_the_saved_model(study, rows):
    data, cases = open_data(DATA), table(study / "cases.csv")
    page, means = (study / "summary.md").read_text(), {}
    assert len(cases) == len(rows) * 11
    for row in rows:
        expected = scored(load_model(study / "models" / row["run"]), data)
        own = [each for each in cases if all(each[key] == row[key] for key in ("loss", "regime", "seed"))]
        assert [each["case"] for each in own] == [str(name) for name in data.index("test")["case"]]
        for name, values in expected.items():
            np.testing.assert_allclose([float(each[name]) for each in own], values, atol=2e-6, err_msg=name)
            assert float(row[name]) == pytest.approx(values.mean(), abs=2e-6), name
            means.setdefault((row["loss"], row["regime"], name), []).append(values.mean())
        with open(study / "models" / row["run"] / "history.csv", newline="") as file:
            dice = [float(each["val_dice"]) for each in csv.DictReader(file)]
        assert len(dice) == 2 and int(row["best epoch"]) == 1 + int(np.argmax(dice))
        assert row["ended"] == "finished" and float(row["memory in MiB"]) == 12.5 and float(row["seconds an epoch"]) > 0
    shown = {regime for _, regime, _ in means} if TUNED in page else {GIVEN}
    for (loss, regime, name), seeds in means.items():
        if regime in shown and name in ("iou", "iou_score", "accuracy"):
            assert f"{np.mean(seeds):.4f} ± {np.std(seeds, ddof=1):.4f}" in page, (loss, regime, name)
        if regime in shown and name in ("dice", "ece", "brier"):
            assert f"| {np.mean(seeds):.4f} (" in page and f") ± {np.std(seeds, ddof=1):.3f} |" in page


@pytest.mark.parametrize("sides", [1, 3])
def test_volumes_are_measured_whole_and_without_padding(sides):
    """A model that has learnt nothing, on padded slices of volumes with two structures."""
    data = open_data(PARTS)
    keras.utils.set_random_seed(1)
    model = models.with_probabilities(
        models.unet(data.shape, 3, filters=2, depth=1), "softmax" if sides == 3 else "sigmoid"
    )
    index = data.index("test")
    surfaces = inference.plan_surfaces(index, slice_spacing=2.0)
    found = comparison_measures.measure(model, data, surfaces, 5, np.array([3, 7]))
    images, masks = data.read("test")
    p = model.predict(images, verbose=0).astype(np.float64)
    ids = p.argmax(axis=-1)
    np.testing.assert_array_equal(found["examples"], ids[[3, 7]])
    for number, name in enumerate(np.unique(index["case"])):
        rows = np.flatnonzero(index["case"] == name)
        (y0, y1, x0, x1) = index["box"][rows[0]]
        assert y1 - y0 < data.shape[0] or x1 - x0 < data.shape[1]
        true, guess, own = (part[rows, y0:y1, x0:x1] for part in (masks, ids, p))
        for k in range(3):
            a, b = true == k, guess == k
            expected = [(a & b).sum(), (b & ~a).sum(), (a & ~b).sum(), (~a & ~b).sum()]
            np.testing.assert_array_equal(found["counts"][:, number, k], expected)
            if k:
                far = metrics.surface_distances(a, b, spacing=(2.0, 1.0, 1.0)).hausdorff(95)
                np.testing.assert_allclose(found["hd95"][number, k], far)
        confidence = own.max(axis=-1).ravel()
        assert found["ece"][number] == pytest.approx(ece_of(true, (true == guess).ravel(), confidence), abs=1e-6)
        brier = np.square(own - (true[..., None] == np.arange(3))).sum(axis=-1).mean()
        assert found["brier"][number] == pytest.approx(brier, abs=1e-6)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """(folder, output) of volumes of three classes: a loss of each head, one infinite at once, one that raises."""
    words = ["--data", PARTS, "--losses", "cce", "bce", INFINITE, "focal", "--seeds", "1", *SHARED]
    advance, fit = comparison_search.Trainer.advance, run.fit

    def failing(trainer, loss, *rest):
        if loss == "focal":
            raise ValueError("not of this shape\nnor of another")
        return advance(trainer, loss, *rest)

    def failing_fit(model, *rest, folder, **options):
        if "focal" in folder.name:
            raise tf.errors.InvalidArgumentError(None, None, "the batch is odd")
        return fit(model, *rest, folder=folder, **options)

    patches = (comparison_search.Trainer, "advance", failing), (run, "fit", failing_fit)
    return done(tmp_path_factory.mktemp("mixed"), words, *patches)


def test_losses_get_the_head_they_can_have(mixed):
    folder, told = mixed
    assert "sigmoid or softmax head" in " ".join(told.split())
    found = {row["loss"]: row for row in table(folder / "results.csv") if row["regime"] == GIVEN}
    assert {loss: row["head"] for loss, row in found.items()} == {
        "cce": "softmax",
        "bce": "sigmoid",
        INFINITE: "softmax",
        "focal": "softmax",
    }
    for loss, last in (("cce", "softmax"), ("bce", "sigmoid")):
        model = load_model(folder / "models" / found[loss]["run"])
        assert model.output_shape[-1] == 3
        p = model.predict(open_data(PARTS).read("test")[0][:2], verbose=0)
        assert np.allclose(p.sum(axis=-1), 1, atol=1e-5) == (last == "softmax")
    assert "last layers differ: softmax, 3 channels: cce" in (folder / "summary.md").read_text()
    kandinsky = open_data("kandinsky(size=32,counts=(1,1,1))")
    heads = comparison_same.heads_of(("cce", "bce", "dice"), len(kandinsky.classes), kandinsky.shape)
    assert {loss: head for loss, (_, head) in heads.items()} == {"cce": "softmax", "bce": "sigmoid", "dice": "softmax"}
    heads = comparison_same.heads_of(("cce", "bce", "dice"), 2, (32, 32, 1))
    assert heads == {"cce": (2, "softmax"), "bce": (1, "sigmoid"), "dice": (1, "sigmoid")}


def test_volumes_without_a_slice_spacing_say_so(mixed):
    folder, told = mixed
    assert "not measured: volumes need --slice-spacing" in " ".join(told.split())
    assert not {"hd95", "assd", "surface_dice"} & set(table(folder / "cases.csv")[0])
    assert "HD95" not in (folder / "summary.md").read_text()
    assert len({row["case"] for row in table(folder / "cases.csv")}) == 12  # volumes, not slices


def test_losses_that_break_down_are_told_and_the_others_compared(mixed):
    """One whose values are infinite, one that raises an error of its own in search and training."""
    folder, told = mixed
    told, broken = " ".join(told.split()), {INFINITE, "focal"}
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished" and not (folder / "error.txt").exists()
    search = json.loads((folder / "search.json").read_text())
    assert {each["loss"] for each in itertools.chain(*search["rounds"]) if each["score"] is None} == broken
    assert search["why"]["focal"] == dict.fromkeys(map(str, RATES), "ValueError: not of this shape")
    assert record["search"] == {name: search[name] for name in search if name not in ("rounds", "steps")}
    every = table(folder / "results.csv")
    ended = {(row["loss"], row["regime"]) for row in every if row["ended"] == "broke down"}
    assert ended == {(loss, GIVEN) for loss in broken}
    for row in every:
        assert (row["iou"] == row["seconds an epoch"] == "") == (row["loss"] in broken)
    assert {row["loss"] for row in table(folder / "cases.csv")} == {"cce", "bce"}
    whys = record["broke_down"]
    assert {row["run"] for row in every if row["loss"] in broken} == set(whys)
    assert whys["focal_rate0.001_seed0"] == "InvalidArgumentError: the batch is odd"
    (infinite,) = (why for name, why in whys.items() if "focal" not in name)
    assert infinite.startswith("FloatingPointError: the loss is ")
    page = (folder / "summary.md").read_text()
    assert all(f"`{loss}`" in page for loss in broken) and "broke down" in page and "the batch is odd" in page
    assert all(f"{name} broke down: {why}" in told for name, why in whys.items())
    assert f"No rate ended in the search: {INFINITE}, focal." in told


def test_the_end_tells_what_the_search_used_and_what_to_try(mixed, study, watched):
    """The budget is not enough for an epoch of each; of two rates each lies at an edge."""
    told, folder = " ".join(watched[1].split()), study
    record = json.loads((folder / "record.json").read_text())
    search = record["search"]
    assert f"Search: {search['minutes']:.3g} minutes used of 0.0001, at most 1 of 2 epochs a candidate." in told
    assert search["minutes"] >= search["minutes_of_first_epoch"] > search["budget"] == 0.0001
    assert told.count("note: --budget=0.0001 is too little: one epoch of all 4 candidates (2 losses, 2 rates)") == 1
    assert "--budget was too little." in told
    assert search["edge"] == {
        loss: "lowest" if rate == 0.001 else "highest" for loss, rate in search["rates"].items()
    } and set(search["edge"]) == {"dice_bce", "focal"}  # fmt: skip
    wider = {"lowest": "1e-05 0.0001 0.001", "highest": "0.01 0.1 1"}
    for side in set(search["edge"].values()):
        assert f"the {side} rate). Try --rates {wider[side]}." in told
    assert ("No rate that was tried was better" in told) == (set(search["rates"].values()) == {0.001})
    assert f"Next: look at {folder.relative_to(folder.parents[1]) / 'summary.md'}" in told


def test_measures_of_another_model_are_refused(study, rows, tmp_path, monkeypatch, capsys):
    folder, names = tmp_path / "other", list(dict.fromkeys(row["run"] for row in rows))
    shutil.copytree(study, folder)
    shutil.copy(folder / "models" / names[1] / "model.keras", folder / "models" / names[0] / "model.keras")
    monkeypatch.setattr(comparison_models, "train", lambda *_: pytest.fail("trained again"))
    assert main("compare_losses", ["--resume", str(folder)]) == 1
    error = capsys.readouterr().err
    assert f"{names[0]}.h5 was measured with model " in error and error.count("\n") == 1


@pytest.mark.parametrize("there", ["", "begun"])
def test_the_disk_that_is_asked_for_room_is_that_of_the_folder(tmp_path, monkeypatch, there):
    asked = []

    def usage(place):
        asked.append(place)
        return shutil._ntuple_diskusage(0, 0, 0)

    monkeypatch.setattr(room.shutil, "disk_usage", usage)
    (tmp_path / there).mkdir(exist_ok=True)
    config = CompareLosses(data=DATA, preset="quick", losses=("dice",), filters=2, depth=1)
    place = tmp_path / there if there else tmp_path
    with pytest.raises(ValueError, match=rf"the models need .* MiB, {place} has 0 MiB free. Expected room for them"):
        loss_comparison.checked(config, tmp_path / (there or "new/x"))
    assert asked == [place]


def test_a_study_of_nothing_but_broken_losses_fails_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "fit", lambda *_, **__: (_ for _ in ()).throw(FloatingPointError("the loss is nan")))
    words = ["--data", PARTS, "--losses", "cce", "--seeds", "1", *SHARED, "--budget", "0"]
    assert main("compare_losses", words) == 1
    error = capsys.readouterr().err
    assert "all 1 models broke down, cce_rate0.001_seed0: FloatingPointError: the loss is nan. Expected" in error
    assert error.count("\n") == 1


def test_a_study_goes_on_where_it_was_broken_off(study, rows, tmp_path, monkeypatch, capsys):
    """Broken off in the second model; of the last one the training had ended, and not the measuring."""
    folder, names, real = tmp_path / "broken", list(dict.fromkeys(row["run"] for row in rows)), comparison_models.train
    shutil.copytree(study, folder)
    for name in names[1:]:
        (folder / "measures" / f"{name}.h5").unlink()
    for name in names[1:-1]:
        shutil.rmtree(folder / "models" / name)
    for name in ("results.csv", "cases.csv", "claims.json", "summary.md", "costs.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "figures")
    record = json.loads((folder / "record.json").read_text())
    monkeypatch.setattr(comparison_cost, "cost", lambda *_: COST)
    monkeypatch.setattr(comparison_search.Trainer, "advance", lambda *_: pytest.fail("searched again"))

    def stop(epoch, logs):
        raise KeyboardInterrupt

    def stopped(entry, config, head, callbacks, networks):
        assert entry.name == names[1]
        real(entry, config, head, [*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=stop)], networks)

    monkeypatch.setattr(comparison_models, "train", stopped)
    assert main("compare_losses", ["--resume", str(folder)]) == 130
    told = capsys.readouterr()
    assert f"To go on: python scripts/compare_losses.py --resume {folder}" in told.out
    assert told.err.startswith("error: interrupted; what was done is kept in") and told.err.count("\n") == 1
    assert not list(folder.rglob(comparison_models.BROKEN)) and not (folder / "results.csv").exists()
    again = []

    def go_on(entry, *rest):
        again.append(entry.name)
        if entry.name == names[1]:
            real(entry, *rest)
        else:
            shutil.copytree(study / "models" / entry.name, entry.folder)

    monkeypatch.setattr(comparison_models, "train", go_on)
    assert main("compare_losses", ["--resume", str(folder)]) == 0
    assert again == names[1:-1] and len(names) > 3
    for file in ("results.csv", "cases.csv"):
        ours, theirs = table(folder / file), table(study / file)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert list(one) == list(other)
            for name in set(one) - set(TIMES):
                try:
                    assert float(one[name]) == pytest.approx(float(other[name]), abs=2e-6, nan_ok=True), (one, name)
                except ValueError:
                    assert one[name] == other[name]
    after = json.loads((folder / "record.json").read_text())
    assert after["status"] == "finished" and after["resumed"] == 2 and after["config"] == record["config"]
    assert [each["verdict"] for each in json.loads((folder / "claims.json").read_text())] == [
        each["verdict"] for each in json.loads((study / "claims.json").read_text())
    ]
    assert main("compare_losses", ["--resume", str(folder), "--seeds", "3"]) == 2
    assert "no other option beside --resume" in capsys.readouterr().err
    (folder / "record.json").write_text(json.dumps(after | {"data": "another"}))
    assert main("compare_losses", ["--resume", str(folder)]) == 2
    assert "changed since" in capsys.readouterr().err


def test_what_a_step_costs_is_measured_in_a_process_of_its_own(tmp_path, monkeypatch):
    """Memory grows with the batch, in XLA's programs as well, of which XLA tells the same."""
    for jit in (False, True):
        memory = {}
        for size in (8, 64):
            monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to={tmp_path / str(size)} --xla_dump_hlo_as_text")
            config = CompareLosses(preset="quick", filters=4, depth=1, batch_size=size, jit=jit)
            found = comparison_cost.cost(config, "bce", "sigmoid", 1, (32, 32, 1))
            assert set(found) == {"allocated", "step"} and 0 < found["step"] < 60
            memory[size] = found["allocated"]
        assert 4 * memory[8] < memory[64] < 100, jit
    for size, found in memory.items():
        told = [path.read_text() for path in (tmp_path / str(size)).glob("*one_step*buffer-assignment.txt")]
        (scratch,) = (int(each) for text in told for each in re.findall(r"size (\d+), preallocated-temp", text))
        assert found == pytest.approx(scratch / 2**20, abs=0.05)
    monkeypatch.setattr(comparison_cost.sys, "executable", "/nowhere/python")
    found = comparison_cost.cost(config, "bce", "sigmoid", 1, (16, 16, 1))
    assert np.isnan([found["allocated"], found["step"]]).all()
    assert found["why"].startswith("FileNotFoundError: ") and "/nowhere/python" in found["why"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (subprocess.CalledProcessError(1, "x", stderr="Traceback\n  at\ntf.errors.InternalError: no GPU\nI0 end\n"),
         "tf.errors.InternalError: no GPU"),
        (subprocess.CalledProcessError(-9, "x", stderr="killed"), "ended with -9"),
        (subprocess.TimeoutExpired("x", 5), "not done after 900 s"),
    ],
)  # fmt: skip
def test_a_cost_that_cannot_be_measured_is_unknown_with_the_reason(monkeypatch, tmp_path, error, told):
    """The process takes no more of a GPU than it needs, since the study holds the rest; it is tried again later."""
    environments, said = [], []

    def fail(*_, env, **options):
        environments.append(env)
        raise error

    monkeypatch.setattr(comparison_cost.subprocess, "run", fail)
    config = CompareLosses(preset="quick")
    for _ in range(2):
        costs = loss_comparison._costs(
            config, tmp_path, ("dice",), {"dice": (1, "sigmoid")}, (16, 16, 1), lambda what, _: said.append(what)
        )
        assert np.isnan([costs["dice"]["memory"], costs["dice"]["step"]]).all() and costs["dice"]["why"] == told
    assert [env["TF_FORCE_GPU_ALLOW_GROWTH"] for env in environments] == ["true"] * 2
    result = type("Made", (), {"costs": costs, "entries": {}})
    assert comparison_notes.of_breakdowns(result) == [f"memory and time of dice are not known: {told}"]


def test_costs_of_an_older_file_are_measured_again(monkeypatch, tmp_path):
    """What it calls memory left out what XLA keeps between steps."""
    asked = []
    monkeypatch.setattr(comparison_cost, "cost", lambda config, loss, *_: asked.append(loss) or COST)
    (tmp_path / "costs.json").write_text(json.dumps({"dice": {"memory": 3.0, "step": 0.1}, "focal": COST}))
    given = CompareLosses(preset="quick"), tmp_path, ("dice", "focal"), dict.fromkeys(("dice", "focal"), (1, "sigmoid"))
    for _ in range(2):
        costs = loss_comparison._costs(*given, (16, 16, 1), lambda *_: None)
        assert costs == dict.fromkeys(("dice", "focal"), {"memory": 12.5, "step": 0.25})
    assert asked == ["dice"]
    assert json.loads((tmp_path / "costs.json").read_text()) == {"dice": COST, "focal": COST}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--losses", "dice_bc", "focal"], "Did you mean 'dice_bce'"),
        (["--losses", "bce + 2*focall"], "Did you mean 'focal'"),
        (["--losses", "focal", "dice(class_weights=(1,2,3))"],
         "loss 'dice(class_weights=(1,2,3))' does not fit 2 classes in images of 32x32x1: class_weights=[1.0, 2.0, "
         "3.0] has 3 values. Expected 2"),
        (["--losses", "all", "dice"], "--losses=all dice does not fit. Expected 'all' alone"),
        (["--losses", "dice", "focal", "dice"], "--losses=dice focal dice does not fit. Expected each of them once"),
        (["--losses", "dice", " dice"], "--losses=dice dice does not fit. Expected each of them once"),
        (["--budget", "-1"], "--budget=-1.0 does not fit"),
        (["--learning-rate", "inf"], "--learning-rate=inf does not fit. Expected a finite number above 0"),
        (["--learning-rate", "0"], "--learning-rate=0.0 does not fit. Expected a number above 0"),
        (["--epochs", "1"], "--epochs=1 do not do for 2 rounds of search. Expected at least 2"),
        (["--resume", "nowhere"], "does not exist. Expected the run folder"),
        (["--data", "nowhere.h5"], "nowhere.h5"),
        (["--rates", "0", "1"], "--rates=0.0 does not fit"),
        (["--rates", "0.1"], "at least two rates"),
        (["--rates", "0.1", "0.1"], "each of them once"),
        (["--seeds", "0"], "--seeds=0 does not fit"),
        (["--finalists", "0"], "--finalists=0 does not fit"),
        (["--depth", "9"], "depth=9"),
        (["--slice-spacing", "1"], "does not fit cases of one image each"),
        (["--data", "lungs(size=32,counts=(8,0,11))"], "validation"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_line(words, told, refused):
    data = [] if {"--data", "--resume"} & set(words) else ["--data", DATA]
    assert told in refused("compare_losses", *data, *words)
