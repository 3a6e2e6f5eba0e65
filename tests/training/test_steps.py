"""What options do to the steps of a real training: learning rate, clipping, averages, an early end, half precision."""

import json
import math
import zipfile

import keras
import numpy as np
import pytest

from kseg.configs import Train
from kseg.training import fit
from kseg.training.job import learning_rate, prepare

LUNGS = "lungs(size=32, counts=(5, 2, 2))"


def job_of(**options):
    return prepare(Train(data=LUNGS, **{"filters": 2, "depth": 1, "batch_size": 2, "epochs": 4} | options))


def fitted(job, folder=None, callbacks=()):
    return fit(
        job.model, job.batches(), job.validation(), epochs=job.config.epochs, steps=job.steps, folder=folder,
        head=job.head, callbacks=[*job.callbacks(), *callbacks],
    ).history  # fmt: skip


class Steps(keras.callbacks.Callback):
    """How far the weights go in each step, over all of them."""

    def __init__(self, model):
        super().__init__()
        self.lengths, self.last = [], [weight.numpy() for weight in model.trainable_weights]

    def on_train_batch_end(self, batch, logs=None):
        now = [weight.numpy() for weight in self.model.trainable_weights]
        gone = sum(np.square(a.astype(np.float64) - b).sum() for a, b in zip(now, self.last, strict=True))
        self.lengths.append(math.sqrt(gone))
        self.last = now


def cosine(step, rate, warm, total):
    if step < warm:
        return rate * step / warm
    return rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))


def test_steps_follow_the_cosine_and_are_clipped():
    """Plain SGD goes rate x norm far; gradients here are longer than the bound, so that each has its very norm."""
    job = job_of(schedule="cosine", warmup=1, clip_norm=1e-3, optimizer="sgd", learning_rate=2.0, epochs=3)
    seen = Steps(job.model)
    history = fitted(job, callbacks=[seen])
    assert history["learning_rate"] == pytest.approx([cosine(step, 2.0, 3, 9) for step in (3, 6, 9)], abs=1e-6)
    expected = [1e-3 * cosine(step, 2.0, 3, 9) for step in range(9)]
    assert expected[0] == 0 and max(expected) == 2e-3
    assert seen.lengths == pytest.approx(expected, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, 12), ({"epoch_steps": 5}, 20), ({"perturb": ("free",), "replays": 3}, 36), ({"batch_size": 5}, 4)],
)
def test_the_cosine_ends_with_the_last_update(options, steps):
    from kseg.data import open_data

    config = Train(data=LUNGS, schedule="cosine", **{"batch_size": 2, "epochs": 4} | options)
    rates = learning_rate(config, open_data(LUNGS))
    assert float(rates(0)) == pytest.approx(1e-3) and float(rates(steps)) == pytest.approx(0, abs=1e-9)
    assert float(rates(steps // 2)) == pytest.approx(5e-4)
    assert float(rates(steps - 1)) > 0


def test_training_ends_when_the_dice_stands_still():
    job = job_of(early_stopping=2, optimizer="sgd", learning_rate=1e-12, bn=False, epochs=9)
    assert len(fitted(job)["loss"]) == 3


def test_the_optimizer_keeps_averages_if_asked():
    assert job_of(ema=0.9).model.optimizer.use_ema is True
    assert job_of(ema=0.9).model.optimizer.ema_momentum == 0.9
    assert job_of().model.optimizer.use_ema is False


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """{precision: (model, history, folder)}."""
    found = {}
    for name in ("float16", "bfloat16"):
        job, folder = job_of(mixed_precision=name, ema=0.9, epochs=1), tmp_path_factory.mktemp(name)
        found[name] = (job.model, fitted(job, folder), folder)
    return found


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_computes_in_it_and_keeps_the_rest(halves, name):
    model, history, _ = halves[name]
    assert keras.config.dtype_policy().name == "float32"
    assert {layer.compute_dtype for layer in model.layers if isinstance(layer, keras.layers.ReLU)} == {name}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.get_layer("logits").compute_dtype == "float32"
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (name == "float16")
    assert all(math.isfinite(value) for values in history.values() for value in values)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_model_of_half_precision_is_saved_plain(halves, name):
    _, _, folder = halves[name]
    with zipfile.ZipFile(folder / "model.keras") as archive:
        assert "kseg" not in json.dumps(json.loads(archive.read("config.json")))
    saved = keras.saving.load_model(folder / "model.keras")
    p = saved(np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)).numpy()
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--warmup", 2], "--warmup=2 does not fit. Expected --schedule cosine beside it"),
        (["--schedule", "cosine", "--warmup", 10], "--warmup=10 does not fit. Expected a whole number at least 0 and"),
        (["--clip-norm", 0], "--clip-norm=0.0 does not fit. Expected a number above 0"),
        (["--ema", 1], "--ema=1.0 does not fit. Expected a number above 0 and below 1"),
        (["--early-stopping", 0], "--early-stopping=0 does not fit"),
        (["--mixed-precision", "float8"], "float8"),
        (["--mixed-precision", "float16", "--perturb", "pgd"], "Expected none beside --mixed-precision: attacks need"),
        (["--augment", "flop"], "'flop' is not known"),
        (["--augment", "rotate(degrees=-5)"], "degrees=-5"),
    ],
)
def test_options_that_do_not_fit_are_refused(refused, words, message):
    assert message in refused("train", "--data", LUNGS, "--filters", 2, "--depth", 1, *words)
