"""Training: `fit` in user code, what a run folder holds, and how runs end."""

import csv
import json
import math
import re
import signal
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import losses, metrics, models
from kseg.cli import main
from kseg.data import load
from kseg.training import callbacks, compile_model, fit, read_progress, run


def train(output, prepared, *words):
    """Exit code of a quick training run of one epoch (two with "--epochs 2" among the words)."""
    quick = ["--filters", 2, "--depth", 1, "--batch-size", 16, "--epochs", 1]
    return main("train", [str(word) for word in ("--data", prepared, "--output", output, *quick, *words)])


def record(folder):
    return json.loads((folder / "record.json").read_text())


def history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def batches(prepared):
    return load(prepared, "train", 16), load(prepared, "validation", 16)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return models.unet((16, 16, 1), 2, filters=2, depth=1)


def test_fit_works_in_user_code_and_keeps_nothing_unasked(model, batches, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compile_model(model, "dicefg", optimizer=keras.optimizers.Adam(1e-2))
    result = fit(model, *batches, epochs=2)
    assert set(result.history) == {"loss", "dice", "val_loss", "val_dice"}
    assert len(result.history["loss"]) == 2
    assert result.history["loss"][1] < result.history["loss"][0]
    assert list(tmp_path.iterdir()) == []


def test_fit_takes_a_loss_and_further_callbacks(model, batches, tmp_path):
    epochs = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    compile_model(model, losses.get("cce", from_logits=True), optimizer="sgd", learning_rate=0.5)
    assert float(model.optimizer.learning_rate) == 0.5
    result = fit(model, *batches, epochs=1, folder=tmp_path, callbacks=[seen])
    assert epochs == [0]
    assert {path.name for path in tmp_path.iterdir()} == {"history.csv", "model.keras", "state"}
    rows = history(tmp_path)
    assert float(rows[0]["val_dice"]) == pytest.approx(result.history["val_dice"][0])


def test_fit_stops_at_a_loss_that_is_not_finite(model, batches):
    compile_model(model, "cce", optimizer="sgd", learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="epoch 1. Expected finite losses; lower the learning rate"):
        fit(model, *batches, epochs=3)


def test_labels_outside_the_classes_do_not_pass_for_background(model):
    images, masks = np.zeros((4, 16, 16, 1), np.float32), np.full((4, 16, 16), 255, np.uint8)
    data = tf.data.Dataset.from_tensor_slices((images, masks)).batch(2)
    compile_model(model, "dicefg")
    with pytest.raises(FloatingPointError, match="labels"):
        fit(model, data, data, epochs=1)


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([0.2, 0.9, 0.5], 1),
        ([0.9, 0.2, 0.5], 0),
        ([math.nan, 0.1, math.nan], 1),
        ([0.5, 0.5], 0),
    ],
    ids=["middle", "first", "nan is worst", "first of equals"],
)
def test_the_best_model_is_kept_not_the_last(model, tmp_path, values, kept):
    keep = callbacks.KeepBest(tmp_path / "model.keras", "softmax")
    keep.set_model(model)
    bias = model.get_layer("logits").bias
    for epoch, value in enumerate(values):
        bias.assign([epoch, -epoch])
        keep.on_epoch_end(epoch, {"val_dice": value})
    best = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(best.get_layer("logits").bias, [kept, -kept])
    assert list(tmp_path.iterdir()) == [tmp_path / "model.keras"]
    assert callbacks.best_epoch(values) == kept


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_the_kept_model_gives_the_probabilities_of_its_head(tmp_path, head):
    model = models.unet((16, 16, 1), 3, filters=2, depth=1)
    keep = callbacks.KeepBest(tmp_path / "model.keras", head)
    keep.set_model(model)
    keep.on_epoch_end(0, {"val_dice": 0.5})
    images = np.random.default_rng(0).random((2, 16, 16, 1), dtype=np.float32)
    logits = model(images).numpy().astype(np.float64)
    p = 1 / (1 + np.exp(-logits)) if head == "sigmoid" else np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras")(images), p, atol=1e-6)


def test_run_folder_holds_everything(run_folder):
    found = {path.relative_to(run_folder).as_posix() for path in run_folder.rglob("*") if path.is_file()}
    assert found == {
        "record.json", "history.csv", "model.keras", "state/last.keras", "curves.png", "examples.png", "cases.csv",
        "summary.json",
    }  # fmt: skip
    for name in ("curves.png", "examples.png"):
        assert (run_folder / name).read_bytes().startswith(b"\x89PNG")
    assert read_progress(run_folder).epochs == 2


def test_record_tells_what_was_run(run_folder, prepared):
    facts = record(run_folder)
    assert facts["status"] == "finished"
    assert facts["config"]["loss"] == "bce + dice"
    assert facts["command"].startswith(f"python scripts/train.py --data {prepared} --loss 'bce + dice' --epochs 2")
    assert facts["data"]["rows"].keys() == {"train", "validation", "test"}
    assert facts["model"]["channels"] == 1 and facts["model"]["head"] == "sigmoid"
    assert facts["versions"]["tensorflow"] == tf.__version__
    assert facts["seconds"] > 0
    scores = [float(row["val_dice"] or "-inf") for row in history(run_folder)]
    assert facts["best_epoch"] == 1 + scores.index(max(scores))


def test_summary_is_the_mean_of_the_cases(run_folder):
    with open(run_folder / "cases.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "hippocampus"]
    for row in rows:
        tp, fp, fn = (int(row[name]) for name in ("tp", "fp", "fn"))
        assert float(row["dice"]) == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-6)
    summary = json.loads((run_folder / "summary.json").read_text())
    mean = sum(float(row["dice"]) for row in rows) / len(rows)
    assert summary["classes"]["hippocampus"]["dice"]["mean"] == pytest.approx(mean, abs=1e-6)
    assert summary["cases"] == len(rows)


def test_runs_without_output_take_the_next_free_folder(prepared, tmp_path, monkeypatch, run_folder):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert main("evaluate", [str(run_folder), str(prepared)]) == 0
        assert record(tmp_path / f"runs/evaluate-{number}")["status"] == "finished"


def test_overwrite_replaces_a_run_of_the_same_kind(prepared, tmp_path, run_folder):
    words = [str(run_folder), str(prepared), "--overwrite", "--output", str(tmp_path / "old")]
    assert main("evaluate", words) == 0
    first = json.loads((tmp_path / "old/record.json").read_text())
    assert main("evaluate", [*words, "--split", "validation"]) == 0
    second = json.loads((tmp_path / "old/record.json").read_text())
    assert (first["config"]["split"], second["config"]["split"]) == ("test", "validation")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_overwrite_spares_what_is_not_a_run_of_the_same_kind(prepared, tmp_path, run_folder, refused):
    words = [run_folder, prepared, "--overwrite", "--output"]
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("mine")
    assert "no record.json" in refused("evaluate", *words, mine)
    (mine / "record.json").write_text('{"program": "evaluate"}')
    assert "chapter.txt" in refused("evaluate", *words, mine)
    (mine / "chapter.txt").rename(mine / "cases.csv")
    (mine / "record.json").write_text('{"program": "train"}')
    assert "a run of train" in refused("evaluate", *words, mine)
    (tmp_path / "link").symlink_to(mine)
    assert "folder of its own" in refused("evaluate", *words, tmp_path / "link")
    assert "needs" in refused("evaluate", *words, run_folder)
    assert "needs" in refused("evaluate", *words, tmp_path)  # the current folder
    assert (run_folder / "model.keras").is_file()
    assert (mine / "cases.csv").read_text() == "mine"


def test_a_run_that_fails_keeps_the_one_it_was_to_replace(prepared, tmp_path, capfd):
    folder = tmp_path / "run"
    assert train(folder, prepared) == 0
    options = ["--overwrite", "--loss", "cce", "--optimizer", "sgd", "--learning-rate", 1e30, "--epochs", 2]
    assert train(folder, prepared, *options) == 1
    assert json.loads((folder / "record.json").read_text())["status"] == "failed"
    (former,) = [path for path in tmp_path.iterdir() if path != folder]
    assert str(former) in capfd.readouterr().err
    assert (former / "model.keras").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_was_done(prepared, tmp_path, monkeypatch, capfd, number):
    handler = signal.getsignal(signal.SIGTERM)

    class Interrupting(callbacks.ShowProgress):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                signal.raise_signal(number)

    monkeypatch.setattr(run, "ShowProgress", Interrupting)
    folder = tmp_path / "run"
    assert train(folder, prepared, "--epochs", 3) == 130
    assert signal.getsignal(signal.SIGTERM) is handler
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "interrupted" in err and str(folder) in err
    assert record(folder)["status"] == "interrupted"
    assert len(history(folder)) == 1
    assert (folder / "curves.png").exists() and (folder / "state/last.keras").exists()
    assert keras.saving.load_model(folder / "model.keras").output_shape == (None, 16, 16, 2)


def test_a_loss_of_nan_fails_with_its_reason(prepared, tmp_path, capfd):
    folder = tmp_path / "run"
    assert train(folder, prepared, "--loss", "cce", "--optimizer", "sgd", "--learning-rate", 1e30, "--epochs", 3) == 1
    err = capfd.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert "the loss is" in err and str(folder / "error.txt") in err
    assert "FloatingPointError" in (folder / "error.txt").read_text()
    assert record(folder)["status"] == "failed"


def test_a_run_that_breaks_fails_with_its_traceback(prepared, tmp_path, monkeypatch, capfd):
    def broken(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(run, "fit", broken)
    folder = tmp_path / "run"
    assert train(folder, prepared) == 1
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "No space left on device" in err
    assert "Traceback" in (folder / "error.txt").read_text()
    assert record(folder)["status"] == "failed"


def test_cutout_hides_a_square_of_training_images_alone(prepared, tmp_path, monkeypatch, refused):
    seen = []

    def look(model, train, validation, **_):
        for images, masks in (next(iter(train)), next(iter(validation))):
            assert images.shape[1:3] == masks.shape[1:]
            seen.append(images.numpy())
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "fit", look)
    assert train(tmp_path / "whole", prepared) == train(tmp_path / "hidden", prepared, "--cutout", 5) == 130
    whole, validation, hidden, same = seen
    assert (hidden != whole).any(axis=(1, 2, 3)).mean() > 0.5
    assert (hidden[hidden != whole] == 0).all()
    assert ((hidden != whole).sum(axis=(1, 2, 3)) <= 25).all()
    np.testing.assert_array_equal(validation, same)
    assert "--cutout=99 is larger than the images" in refused("train", "--data", prepared, "--cutout", 99)


def test_train_step_compiled_with_xla(prepared, tmp_path):
    assert train(tmp_path / "run", prepared, "--jit", "--loss", "dicefg") == 0
    assert math.isfinite(float(history(tmp_path / "run")[0]["loss"]))


@pytest.mark.parametrize(
    ("loss", "head", "channels", "activation"),
    [("bce", "auto", 1, "sigmoid"), ("dicefg", "auto", 2, "softmax"), ("dice", "sigmoid", 1, "sigmoid")],
)
def test_the_head_follows_the_loss(prepared, tmp_path, loss, head, channels, activation):
    assert train(tmp_path / "run", prepared, "--loss", loss, "--head", head) == 0
    model = keras.saving.load_model(tmp_path / "run/model.keras")
    assert model.output_shape[-1] == channels
    assert model.layers[-1].activation.__name__ == activation


STOCK = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[2], model(np.load(sys.argv[3])))
sys.exit(any(name.split(".")[0] == "kseg" for name in sys.modules))
"""


def test_the_saved_model_loads_without_kseg(run_folder, tmp_path):
    images = np.random.default_rng(0).random((2, 16, 16, 1), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    words = [run_folder / "model.keras", tmp_path / "p.npy", tmp_path / "images.npy"]
    subprocess.run([sys.executable, "-c", STOCK, *words], check=True, timeout=120)
    expected = keras.saving.load_model(run_folder / "model.keras")(images)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), expected, atol=1e-6)


RESUME_AND_REPEAT = """
import json, sys, traceback, keras, kseg.training
from pathlib import Path
data, state, folder = map(Path, sys.argv[1:])
try:
    model = keras.saving.load_model(state)
    steps = [int(model.optimizer.iterations)]
    from kseg.data import load
    from kseg.training import fit
    train = load(data, "train", 16)
    fit(model, train, load(data, "validation", 16), epochs=1, folder=folder, head="sigmoid")
    steps += [int(model.optimizer.iterations), len(train)]
    (folder / "steps.json").write_text(json.dumps(steps))
except Exception:
    traceback.print_exc()
from kseg.cli import main
words = ["--data", data, "--deterministic", "--epochs", 2, "--filters", 2, "--depth", 1]
for run, seed in (("one", 7), ("two", 7), ("other", 8)):
    assert main("train", [str(w) for w in (*words, "--seed", seed, "--output", folder / run)]) == 0
"""


@pytest.fixture(scope="module")
def fresh_process(run_folder, prepared, tmp_path_factory):
    """A process that goes on from a saved state, then trains twice with one seed and once with another."""
    folder = tmp_path_factory.mktemp("fresh")
    words = [prepared, run_folder / "state/last.keras", folder]
    code = RESUME_AND_REPEAT
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=240, check=False
    )
    return folder, result


def test_a_saved_state_loads_and_goes_on(fresh_process):
    folder, result = fresh_process
    assert (folder / "steps.json").exists(), result.stderr
    before, after, an_epoch = json.loads((folder / "steps.json").read_text())
    assert before == 2 * an_epoch and after == 3 * an_epoch
    assert len(history(folder)) == 1


def test_one_seed_gives_one_history(fresh_process):
    folder, result = fresh_process
    assert result.returncode == 0, result.stderr
    one, two, other = ((folder / name / "history.csv").read_text() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def ending_in(*layers):
    inputs = keras.Input((16, 16, 1))
    tensor = inputs
    for layer in layers:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor)


@pytest.mark.parametrize(
    ("layers", "spec", "from_logits", "expected"),
    [
        ([keras.layers.Conv2D(2, 1, activation="softmax")], "cce", True, "ends in softmax.*Expected from_logits=False"),
        ([keras.layers.Conv2D(2, 1), keras.layers.Softmax()], "cce + dicefg", True, "ends in softmax"),
        (
            [keras.layers.Conv2D(1, 1), keras.layers.Activation("sigmoid"), keras.layers.Cropping2D(0)],
            "bce",
            True,
            "ends in sigmoid",
        ),
        ([keras.layers.Conv2D(2, 1)], "dice", False, "ends in logits.*Expected from_logits=True"),
        ([keras.layers.Conv2D(2, 1)], "cce + dice", True, None),
        ([keras.layers.Conv2D(2, 1, activation="softmax")], "dice", False, None),
        ([keras.layers.Conv2D(2, 1), keras.layers.BatchNormalization()], "dice", False, None),
    ],
)
def test_fit_warns_of_an_activation_that_contradicts_from_logits(batches, layers, spec, from_logits, expected):
    model = ending_in(*layers)
    compile_model(model, losses.get(spec, from_logits=from_logits))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, batches[0].take(1), None, epochs=1)
    texts = [str(w.message) for w in caught if "its loss has from_logits" in str(w.message)]
    assert len(texts) == (expected is not None)
    assert expected is None or re.search(expected, texts[0])


def test_fit_warns_of_a_metric_that_takes_logits_for_probabilities(batches):
    model = ending_in(keras.layers.Conv2D(1, 1))
    model.compile("adam", loss=losses.get("bce", from_logits=True), metrics=[metrics.DiceScore()])
    with pytest.warns(UserWarning, match="ends in logits.*its 'dice' has from_logits=False"):
        fit(model, batches[0].take(1), None, epochs=1)
