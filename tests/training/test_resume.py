"""Training that is broken off and gone on with. Run as a program, this file prints what differs from whole runs."""

import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from saved_runs import contents, differences

from kseg.data import augment, cutout, load, stream
from kseg.models import toy_net
from kseg.training import FreeModel, PerturbedModel, callbacks, compile_model, fit, read_progress, state
from kseg.training.devices import precision

DATA, SIZE, STEPS, EPOCHS = "lungs(size=32, counts=(5, 2, 2))", 2, 3, 4


class BreakOff(keras.callbacks.Callback):
    """Raise KeyboardInterrupt after the second step of the third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            raise KeyboardInterrupt


def dropping():
    """A net with batch normalisation and dropout."""
    inputs = keras.Input((32, 32, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.Conv2D(2, 1, name="logits")(keras.layers.Dropout(0.3)(x)))


def averages():
    rate = keras.optimizers.schedules.CosineDecay(0.0, 9, warmup_target=0.02, warmup_steps=3)
    model = dropping()
    compile_model(model, "dicefg", optimizer="nadam", learning_rate=rate, clip_norm=0.5, ema=0.8)
    return model, []


def stuck():
    """Steps too small to improve anything: the rate is halved, and training ends after the third epoch."""
    model = dropping()
    compile_model(model, "cce", optimizer="sgd", learning_rate=1e-8)
    waiting = keras.callbacks.EarlyStopping("val_loss", min_delta=1e-3, patience=2)
    return model, [waiting, keras.callbacks.ReduceLROnPlateau("val_loss", min_delta=1e-3, patience=1)]


def attacked():
    model = PerturbedModel(toy_net(bn=True, seed=0), budget=0.1, steps=2, methods=("none", "pgd"), seed=4,
                           options={"pgd": {"random_start": True}})  # fmt: skip
    compile_model(model, "bce + dice", learning_rate=0.02)
    return model, []


def free():
    model = FreeModel(toy_net(bn=True, seed=0), replays=2, budget=0.1, batch_size=SIZE)
    compile_model(model, "cce", learning_rate=0.02)
    return model, []


def half():
    """Gradients that overflow float16 at first, so that the scale of the loss falls from step to step."""
    with precision("float16"):
        model = dropping()
    compile_model(model, "cce", learning_rate=0.02)
    model.optimizer.initial_scale = 2.0**24
    return model, []


KINDS = {"averages": averages, "stuck": stuck, "attacked": attacked, "free": free, "half": half}


def train(folder, make, progress=None, further=()):
    """Train in a folder from the start, or go on there."""
    folder.mkdir(exist_ok=True)
    keras.utils.set_random_seed(3 if progress is None else 1000)  # other weights and draws than those to go on with
    model, own = make()
    start = progress.epochs * STEPS if progress else 0
    batches = augment(stream(DATA, "train", SIZE, seed=5, start=start), ("flip", "zoom"), seed=5, start=start)
    batches = cutout(batches, 5, seed=5, start=start)
    return fit(
        model, batches, load(DATA, "validation", SIZE), epochs=EPOCHS, steps=STEPS, folder=folder,
        callbacks=[*own, *further], progress=progress,
    )  # fmt: skip


def main(folder):
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    found = {}
    for kind, make in KINDS.items():
        whole, broken = folder / f"{kind}-whole", folder / f"{kind}-broken"
        history = train(whole, make).history
        try:
            train(broken, make, further=[BreakOff()])
        except KeyboardInterrupt:
            (broken / "history.csv").unlink()  # as if the kill had come before it was written
        progress = read_progress(broken)
        joined = train(broken, make, progress)
        found[kind] = {
            "differ": differences(whole, broken), "done": progress.epochs, "history": joined.history == history,
            "epochs": joined.epoch, "seeds": [draws for _, draws in read_progress(whole).seeds],
            "scale": float(getattr(joined.model.optimizer, "dynamic_scale", 0)),
        }  # fmt: skip
    print(json.dumps(found))


@pytest.fixture(scope="module")
def gone_on(tmp_path_factory):
    """(what `main` found, its folder)."""
    folder = tmp_path_factory.mktemp("resumed")
    words = [sys.executable, __file__, folder]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), folder


@pytest.mark.parametrize("kind", KINDS)
def test_training_that_goes_on_ends_as_if_it_had_not_been_broken_off(gone_on, kind):
    found = gone_on[0][kind]
    assert found["differ"] == []
    assert found["done"] == 2
    assert found["history"] and found["epochs"] == list(range(3 if kind == "stuck" else EPOCHS))


def test_draws_of_dropout_are_counted(gone_on):
    """One a step."""
    assert gone_on[0]["averages"]["seeds"] == [EPOCHS * STEPS]


def test_the_scale_of_the_loss_is_kept(gone_on):
    found, folder = gone_on
    assert 0 < found["half"]["scale"] < 2.0**24 and found["free"]["scale"] == 0
    loaded = keras.saving.load_model(folder / "half-broken/state/last.keras").optimizer
    assert float(loaded.dynamic_scale) == found["half"]["scale"]


def test_a_state_that_was_stopped_trains_no_more(gone_on):
    folder = gone_on[1] / "stuck-whole"
    progress = read_progress(folder)
    before = contents(folder / "state/last.keras")
    assert progress.stopped and progress.epochs == 3
    history = train(folder, stuck, progress)
    assert history.epoch == [0, 1, 2] and len(history.history["loss"]) == 3
    assert contents(folder / "state/last.keras") == before


def test_the_saved_model_is_that_of_the_averages(gone_on):
    """By NumPy from the weights after each step: the first counts whole, then 0.8 old + 0.2 new (Keras' momentum)."""
    seen, averages_of = (
        [],
        keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: seen.append([weight.numpy() for weight in kept[0].trainable_weights])
        ),
    )
    kept = []

    def make():
        model, own = averages()
        kept.append(model)
        return model, own

    folder = gone_on[1] / "averages-again"
    train(folder, make, further=[averages_of])
    expected, best, wanted = None, -1.0, None
    scores = [row["val_dice"] for row in read_progress(folder).rows]
    for step, weights in enumerate(seen):
        expected = weights if step == 0 else [0.8 * a + 0.2 * b for a, b in zip(expected, weights, strict=True)]
        if step % STEPS == STEPS - 1 and scores[step // STEPS] > best:
            best, wanted = scores[step // STEPS], expected
    saved = keras.saving.load_model(folder / "model.keras").trainable_weights
    for a, b, last in zip(saved, wanted, seen[-1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert np.abs(b - last).max() > 1e-4


# --- what is kept, and in which order


def rows(*scores):
    return [{"epoch": n + 1, "loss": 1.0, "val_dice": score} for n, score in enumerate(scores)]


def progress_of(*scores, path=Path("state/last.keras")):
    return state.Progress(path=path, rows=rows(*scores), updates=0, seeds=[], callbacks=[], stopped=False)


@pytest.mark.parametrize(
    ("scores", "written"),
    [((0.5, 0.2), False), ((0.2, 0.5), True), ((0.5, 0.5), False), ((math.nan, math.nan), True), ((math.nan,), True)],
)
def test_the_best_model_is_written_again_if_the_last_epoch_was_the_best(tmp_path, scores, written):
    """A kill may have come between the state, which is first, and the model."""
    keep = callbacks.KeepBest(tmp_path / "model.keras", "softmax", progress=progress_of(*scores))
    keep.set_model(toy_net(seed=0))
    keep.on_train_begin()
    assert (tmp_path / "model.keras").exists() == written
    known = [score for score in scores if score == score]
    assert keep.best == max(known) if known else math.isnan(keep.best)


def test_history_goes_on_after_the_epochs_of_the_state(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss\n1,1\n2,1\n3,7\n")  # one epoch more than the state has
    keep = callbacks.KeepHistory(path, progress_of(0.25, 0.5))
    keep.on_train_begin()
    assert path.read_text() == "epoch,loss,val_dice\n1,1.0,0.25\n2,1.0,0.5\n"
    keep.on_epoch_end(2, {"loss": 0.5, "val_dice": 0.125})
    assert callbacks.read_history(path)["val_dice"] == [0.25, 0.5, 0.125]


def test_no_state_is_no_progress(tmp_path):
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize("kind", ["torn", "plain", "huge", "foreign"])
def test_a_state_that_cannot_be_read_is_refused(tmp_path, kind, monkeypatch):
    path = tmp_path / state.STATE
    path.parent.mkdir()
    path.write_bytes(b"PK torn")
    if kind != "torn":
        facts = {"plain": None, "huge": "{}", "foreign": '{"epochs": 3}'}[kind]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            if facts:
                archive.writestr(state.FACTS, facts)
    if kind == "huge":
        monkeypatch.setattr(state, "LARGEST_FACTS", 1)
    with pytest.raises(ValueError, match="last.keras cannot be read .*Expected the state of a training run") as error:
        read_progress(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("other", ["optimizer", "callbacks", "seeds", "weights"])
def test_a_state_of_another_run_is_refused(gone_on, other, monkeypatch):
    progress = read_progress(gone_on[1] / "averages-whole")
    model, own = averages()
    if other == "optimizer":
        compile_model(model, "cce", optimizer="sgd")
    if other == "callbacks":
        own = [keras.callbacks.EarlyStopping()]
    if other == "seeds":
        model = toy_net(seed=0)
        compile_model(model, "cce")
    if other == "weights":
        monkeypatch.setattr(state, "SLACK", -(10**9))
    with pytest.warns() if other == "optimizer" else pytest.raises(ValueError, match="does not fit"):
        if other != "optimizer":
            state.restore(model, progress, own)
        else:
            with pytest.raises(ValueError, match="does not fit. Expected the state of a run of this kind"):
                state.restore(model, progress, own)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
