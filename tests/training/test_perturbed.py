"""Training on images that the model changes: against attacks one by one, plain training, and float64 by hand."""

import io
import json
import math
import shlex
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from kseg import cli, losses
from kseg.attacks import Attacker
from kseg.configs import Train
from kseg.models import toy_net
from kseg.training import FreeModel, PerturbedModel, compile_model, fit, run
from kseg.training.job import change_images
from kseg.training.perturbed import perturbed, step_size

BUDGET, STEPS = 0.05, 2
WALK = {"steps": STEPS, "step_size": BUDGET}  # 2.5 budgets by two steps would be more than one
BEAM = {"search": "beam", "width": 3, "sweeps": 1}
LUNGS = "lungs(size=32, counts=(5, 2, 2))"


def drawn(count=6, seed=0):
    """Images of noise with some pixels at either end of the range, and masks of what is bright in them."""
    rng = np.random.default_rng(seed)
    images = np.clip(rng.uniform(-0.1, 1.1, (count, 8, 8, 1)), 0, 1).astype(np.float32)
    return images, (images[..., 0] + rng.normal(0, 0.2, (count, 8, 8)) > 0.5).astype(np.uint8)


IMAGES, MASKS = drawn()
PIXELS = np.random.default_rng(1).choice([0.0, 1.0, 3.0], MASKS.shape).astype(np.float32)  # a weight each


def batches(size=3, weights=None):
    arrays = (IMAGES, MASKS) if weights is None else (IMAGES, MASKS, weights)
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


def ready(model, optimizer=None):
    model.compile(optimizer or keras.optimizers.SGD(0.5), losses.get("cce", from_logits=True))
    return model


def same_weights(one, other, atol=1e-6):
    assert len(one.weights) == len(other.weights)
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=atol, err_msg=a.path)


# --- the images


@pytest.fixture(scope="module")
def net():
    return toy_net(bn=True, seed=0)


@pytest.fixture(scope="module")
def mixed(net):
    options = {"pgd": {"random_start": True}}
    methods = ("none", "pgd", "selective")
    return ready(PerturbedModel(net, methods, budget=BUDGET, steps=STEPS, options=options, seed=3))


@pytest.fixture(scope="module")
def alone(net):
    """What each method gives by itself: alone[method](images, masks, rows)."""
    common = {"budget": BUDGET, "seed": 3, "jit": False}
    attackers = {
        "pgd": Attacker(net, "pgd", **WALK, random_start=True, **common),
        "selective": Attacker(net, "selective", **BEAM, **common),
    }
    plain = {"none": lambda images, masks, rows: images}
    return plain | {name: lambda *given, a=a: a(*given[:2], rows=given[2]).images for name, a in attackers.items()}


def by_parts(alone, cuts, first=0, count=6):
    """Images as they should be, where part i goes from cuts[i] to cuts[i + 1]."""
    rows = np.arange(first, first + count)
    parts = []
    for method, start, end in zip(("none", "pgd", "selective"), cuts[:-1], cuts[1:], strict=True):
        part = slice(start, end)
        parts += [alone[method](IMAGES[part], MASKS[part], rows[part])] if end > start else []
    return np.concatenate(parts)


def test_each_part_is_what_its_method_gives_alone(mixed, alone):
    found, expected = mixed.perturb(tf.constant(IMAGES), MASKS).numpy(), by_parts(alone, (0, 2, 4, 6))
    np.testing.assert_array_equal(found[:2], IMAGES[:2])
    np.testing.assert_allclose(found[2:], expected[2:], atol=1e-6)
    for part in (found[2:4] - IMAGES[2:4], found[4:] - IMAGES[4:]):
        assert (np.abs(part) > BUDGET / 10).mean() > 0.3  # it is an attack at all
    assert found.min() == 0 and found.max() == 1


@pytest.mark.parametrize(("steps", "size"), [(1, 0.2), (2, 0.2), (5, 0.1), (10, 0.05), (25, 0.02), (100, 0.02)])
def test_steps_go_two_and_a_half_budgets_together(steps, size):
    assert step_size(0.2, steps) == pytest.approx(size)


def test_changes_keep_to_the_ball(mixed):
    """Those of "selective" go as far as one budget for each of the two classes (S4.5), for they are sums of steps."""
    change = np.abs(mixed.perturb(tf.constant(IMAGES), MASKS).numpy() - IMAGES)
    assert change[2:4].max() == pytest.approx(BUDGET, abs=1e-6)
    assert change[4:].max() <= 2 * BUDGET + 1e-6


def test_selective_is_quick_unless_told_otherwise(net):
    def settings(**options):
        return PerturbedModel(net, ("none", "selective"), options=options)._attackers()[1].settings

    assert settings().items() >= BEAM.items()
    assert settings(selective={"search": "exact"}).items() >= (BEAM | {"search": "exact"}).items()
    assert settings()["direction"] == "fortify" and settings()["budget"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    "masks", [MASKS.astype(np.int64), MASKS[..., None], np.eye(2, dtype=np.float32)[MASKS]], ids=["ids", "one", "hot"]
)
def test_masks_come_in_every_form(mixed, masks):
    images = tf.constant(IMAGES)
    np.testing.assert_array_equal(mixed.perturb(images, masks), mixed.perturb(images, MASKS))
    other = mixed.perturb(images, 1 - MASKS).numpy()
    assert (other[2:] != mixed.perturb(images, MASKS).numpy()[2:]).any(axis=(1, 2, 3)).all()  # masks matter


@pytest.mark.parametrize(("count", "cuts"), [(1, (0, 0, 0, 1)), (2, (0, 0, 1, 2)), (5, (0, 1, 3, 5))])
def test_batches_that_cannot_be_cut_evenly(mixed, alone, count, cuts):
    found = mixed.perturb(tf.constant(IMAGES[:count]), MASKS[:count]).numpy()
    np.testing.assert_allclose(found, by_parts(alone, cuts, count=count), atol=1e-6)


def test_random_starts_differ_from_update_to_update(mixed, alone):
    before = mixed.perturb(tf.constant(IMAGES), MASKS).numpy()
    mixed.optimizer.iterations.assign(7)
    try:
        after = mixed.perturb(tf.constant(IMAGES), MASKS).numpy()
    finally:
        mixed.optimizer.iterations.assign(0)
    np.testing.assert_allclose(after, by_parts(alone, (0, 2, 4, 6), first=7 * 6), atol=1e-6)
    assert (after[2:4] != before[2:4]).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(after[4:], before[4:])


def test_the_budget_is_a_hundredth_of_the_range_by_default(net):
    images = 4 * IMAGES - 1
    model = ready(PerturbedModel(net, "pgd", value_range=(-1, 3)))
    change = model.perturb(tf.constant(images), MASKS).numpy() - images
    assert np.abs(change).max() == pytest.approx(0.04, abs=1e-6)
    assert images.min() <= (images + change).min() and (images + change).max() <= images.max()
    peer = Attacker(net, "pgd", budget=0.04, steps=3, step_size=0.1 / 3, value_range=(-1, 3), jit=False)
    np.testing.assert_allclose(images + change, peer(images, MASKS).images, atol=1e-6)


def test_pixels_to_be_ignored_are_not_climbed(net):
    masks = MASKS.copy()
    masks[:, :, 4:] = 255
    model = ready(PerturbedModel(net, ("pgd",), budget=BUDGET, steps=STEPS, options={"pgd": {"ignore_class": 255}}))
    found = model.perturb(tf.constant(IMAGES), masks).numpy()
    expected = Attacker(net, "pgd", budget=BUDGET, **WALK, ignore_class=255, jit=False)(IMAGES, masks).images
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(found[:, :, 6:], IMAGES[:, :, 6:])  # beyond the reach of two 3x3 convolutions


# --- the update


@pytest.fixture(scope="module")
def taught():
    """(model after one update with weights of pixels, its images, whether attacks left it as it was, loss)."""
    model = ready(PerturbedModel(toy_net(bn=True, seed=0), ("none", "pgd"), budget=0.3, steps=STEPS))
    kept = [weight.numpy() for weight in model.weights]
    images = model.perturb(tf.constant(IMAGES), MASKS).numpy()
    untouched = all((weight.numpy() == before).all() for weight, before in zip(model.weights, kept, strict=True))
    loss = float(model.train_on_batch(IMAGES, MASKS, sample_weight=PIXELS))
    return model, images, untouched, loss


def plainly(images, weights):
    model = ready(toy_net(bn=True, seed=0))
    return model, float(model.train_on_batch(images, MASKS, sample_weight=weights))


def test_an_update_is_a_plain_one_on_the_changed_images(taught):
    model, images, _, loss = taught
    peer, expected = plainly(images, PIXELS)
    assert loss == pytest.approx(expected, abs=1e-6)
    same_weights(model, peer)
    kernel = model.get_layer("logits").kernel.numpy()
    for other, _ in (plainly(IMAGES, PIXELS), plainly(images, None)):  # both matter
        assert np.abs(other.get_layer("logits").kernel.numpy() - kernel).max() > 1e-3


def test_statistics_of_batch_normalisation_come_from_the_update_alone(taught):
    """0.99 x (0, 1) + 0.01 x (mean, variance) of the first convolution of the changed images, by NumPy."""
    model, images, untouched, _ = taught
    assert untouched
    padded = np.pad(images[..., 0].astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    kernel = toy_net(bn=True, seed=0).get_layer("conv1").kernel.numpy()
    maps = sum(padded[:, u : u + 8, v : v + 8, None] * kernel[u, v, 0] for u in range(3) for v in range(3))
    normal = model.get_layer("conv1_bn")
    np.testing.assert_allclose(normal.moving_mean, 0.01 * maps.mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(normal.moving_variance, 0.99 + 0.01 * maps.var(axis=(0, 1, 2)), atol=1e-6)


def test_validation_and_inference_change_nothing(taught):
    model, images, *_ = taught
    plain = ready(keras.Model(model.input, model.output))
    expected = plain.evaluate(batches(), verbose=0)
    assert model.evaluate(batches(), verbose=0) == pytest.approx(expected, abs=1e-6)
    changed = tf.data.Dataset.from_tensor_slices((images, MASKS)).batch(3)
    assert plain.evaluate(changed, verbose=0) > expected + 0.001
    np.testing.assert_allclose(model(IMAGES), plain(IMAGES), atol=1e-6)


def test_images_as_they_are_give_plain_training():
    """Adam, batches of 4 and 2, two epochs, a weight each image; also for free with one replay and no budget."""
    weights = np.array([1, 0, 2, 1, 3, 0.5], np.float32)
    plain, *others = (toy_net(bn=True, seed=0) for _ in range(3))
    others = [PerturbedModel(others[0], ("none",)), FreeModel(others[1], replays=1, budget=0, batch_size=4)]
    histories = []
    for model in (plain, *others):
        compile_model(model, "cce", learning_rate=0.02)
        histories.append(model.fit(batches(4, weights), epochs=2, verbose=0, shuffle=False).history)
    for model, history in zip(others, histories[1:], strict=True):
        assert int(model.optimizer.iterations) == 4
        same_weights(model, plain)
        assert history.keys() == {"loss", "dice"}
        for name, values in histories[0].items():
            assert history[name] == pytest.approx(values, abs=1e-6)


# --- for free


def free_by_hand(kernel, bias, weights, *, size, epochs, replays, budget, rate):
    """Algorithm 1 of Shafahi et al. 2019 for one 3x3 convolution and softmax cross-entropy, in float64.

    Returns kernel, bias, the change, and the loss of each epoch (mean over its updates, by images).
    """
    kernel, bias, told = kernel.astype(np.float64), bias.astype(np.float64), []
    change = np.zeros((size, 8, 8))
    taps = [(u, v) for u in range(3) for v in range(3)]
    for _ in range(epochs):
        total = count = 0.0
        for start in range(0, len(IMAGES), size):
            part = slice(start, start + size)
            clean, truth, weight = IMAGES[part, ..., 0].astype(np.float64), np.eye(2)[MASKS[part]], weights[part]
            own = change[: len(clean)]  # a view: what is left of it goes on to the next batch
            for _ in range(replays):
                moved = clean + own
                padded = np.pad(np.clip(moved, 0, 1), ((0, 0), (1, 1), (1, 1)))
                logits = bias + sum(padded[:, u : u + 8, v : v + 8, None] * kernel[u, v, 0] for u, v in taps)
                p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
                total -= (weight * np.log((p * truth).sum(-1))).mean() * len(clean)
                count += len(clean)
                slope = weight[..., None] * (p - truth) / truth[..., 0].size
                uphill, falling = np.zeros_like(padded), np.zeros_like(kernel)
                for u, v in taps:
                    uphill[:, u : u + 8, v : v + 8] += slope @ kernel[u, v, 0]
                    falling[u, v, 0] = np.einsum("bij,bijk->k", padded[:, u : u + 8, v : v + 8], slope)
                uphill = uphill[:, 1:-1, 1:-1] * ((moved >= 0) & (moved <= 1))
                kernel, bias = kernel - rate * falling, bias - rate * slope.sum(axis=(0, 1, 2))
                own[:] = np.clip(own + budget * np.sign(uphill), -budget, budget)
        told.append(total / count)
    return kernel, bias, change, told


@pytest.mark.parametrize(("weights", "replays"), [(None, 2), (PIXELS, 3)], ids=["plain", "weighted"])
def test_free_training_is_its_algorithm(weights, replays):
    """Batches of 4 and 2 in two epochs: the last two changes rest while the smaller batch is learned from."""
    inputs = keras.Input((8, 8, 1))
    start = keras.initializers.GlorotUniform(seed=0)
    plain = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same", kernel_initializer=start)(inputs))
    kernel, bias = (weight.numpy() for weight in plain.trainable_weights)
    model = FreeModel(plain, replays=replays, budget=0.2, batch_size=4)
    model.compile(keras.optimizers.SGD(0.8), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(batches(4, weights), epochs=2, verbose=0, shuffle=False).history
    expected = free_by_hand(
        kernel, bias, np.ones(MASKS.shape) if weights is None else weights,
        size=4, epochs=2, replays=replays, budget=0.2, rate=0.8,
    )  # fmt: skip
    np.testing.assert_allclose(model.trainable_weights[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(model.trainable_weights[1], expected[1], atol=1e-5)
    np.testing.assert_allclose(model._change[..., 0], expected[2], atol=1e-5)
    assert history["loss"] == pytest.approx(expected[3], abs=1e-5)
    assert int(model.optimizer.iterations) == replays * 4
    shares = np.abs(expected[2])
    assert shares.max() == pytest.approx(0.2) and (shares < 0.1).any()  # both what climbed and what rested
    assert np.abs(expected[0] - kernel).max() > 0.05


@pytest.mark.parametrize(
    "size",
    [2, 1],
)
def test_a_batch_larger_than_was_said_is_refused(size):
    model = ready(FreeModel(toy_net(seed=0), replays=1, batch_size=size))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        model.train_on_batch(IMAGES, MASKS)


# --- in `fit`, compiled by XLA and not


MAKERS = {
    "perturbed": lambda: PerturbedModel(toy_net(bn=True, seed=0), budget=BUDGET, steps=STEPS),
    "free": lambda: FreeModel(toy_net(bn=True, seed=0), replays=2, budget=BUDGET, batch_size=3),
}


class Scores(keras.callbacks.Callback):
    """Logits of the images after each epoch."""

    def __init__(self):
        super().__init__()
        self.logits = []

    def on_epoch_end(self, epoch, logs=None):
        self.logits.append(self.model(IMAGES).numpy())


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """{kind: {jit: (model, history, folder, logits after each epoch)}} of two epochs."""
    found = {}
    for kind, make in MAKERS.items():
        for jit in (False, True):
            model, folder = make(), tmp_path_factory.mktemp(f"{kind}-{jit}")
            compile_model(model, "cce", learning_rate=0.02, jit=jit)
            seen = Scores()
            history = fit(model, batches(), batches(), epochs=2, folder=folder, callbacks=[seen]).history
            found.setdefault(kind, {})[jit] = (model, history, folder, seen.logits)
    return found


@pytest.mark.parametrize("kind", MAKERS)
def test_xla_gives_the_same_losses(fitted, kind):
    (plain, expected, *_), (model, history, *_) = fitted[kind][False], fitted[kind][True]
    assert history.keys() == expected.keys() == {"loss", "dice", "val_loss", "val_dice"}
    for name in ("loss", "val_loss"):
        assert history[name] == pytest.approx(expected[name], abs=1e-4)
    assert history["loss"][1] < history["loss"][0]
    same_weights(model, plain, atol=1e-3)
    assert [each.get_compile_config()["jit_compile"] for each in (plain, model)] == [False, True]


def test_xla_compiles_the_update_and_the_attacks_but_not_the_whole(fitted):
    for kind in MAKERS:
        model = fitted[kind][True][0]
        assert model.jit_compile is False
        assert model._update._jit_compile is True
    attackers = [attacker for attacker in fitted["perturbed"][True][0]._attackers() if attacker is not None]
    assert [attacker.jit for attacker in attackers] == [True, True]
    assert [attacker.jit for attacker in fitted["perturbed"][False][0]._attackers()[1:]] == [False, False]


STOCK = """
import sys, keras, numpy as np
images = np.load(sys.argv[1])
for folder in sys.argv[2:]:
    np.save(folder + "/p.npy", keras.saving.load_model(folder + "/model.keras")(images))
sys.exit(any(name.split(".")[0] == "kseg" for name in sys.modules))
"""


def test_the_kept_model_loads_without_kseg(fitted, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    folders = [fitted[kind][True][2] for kind in MAKERS]
    words = [sys.executable, "-c", STOCK, tmp_path / "images.npy", *folders]
    subprocess.run(words, check=True, timeout=120)
    for kind, folder in zip(MAKERS, folders, strict=True):
        _, history, _, logits = fitted[kind][True]
        best = np.exp(logits[int(np.argmax(history["val_dice"]))].astype(np.float64))
        np.testing.assert_allclose(np.load(folder / "p.npy"), best / best.sum(-1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_state_loads_and_training_goes_on(fitted, kind):
    model, history, folder, _ = fitted[kind][True]
    again = keras.saving.load_model(folder / "state/last.keras")
    assert type(again) is type(model)
    assert again._given() == model._given()
    same_weights(again, model, atol=0)
    assert again.loss.name == model.loss.name and again.loss.from_logits
    assert again.get_compile_config()["jit_compile"] is True and again._update._jit_compile is True
    assert len(again.optimizer.variables) == len(model.optimizer.variables)
    for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    updates = int(again.optimizer.iterations)
    assert updates == {"perturbed": 4, "free": 8}[kind]
    further = fit(again, batches(), None, epochs=1).history
    assert int(again.optimizer.iterations) == updates * 3 // 2
    assert further["loss"][0] < history["loss"][-1]
    # As if it had not been saved: random starts go by the updates, and the change that "free" carries on is kept.
    assert fit(model, batches(), None, epochs=1).history["loss"] == pytest.approx(further["loss"], abs=1e-5)
    same_weights(again, model, atol=1e-5)


GIVEN = {
    "perturbed": lambda net: PerturbedModel(
        net,
        ["none", "pgd"],
        budget=0.2,
        steps=7,
        value_range=(-1, 3),
        options={"pgd": {"momentum": 0.5}},
        seed=5,
        head="softmax",
    ),
    "free": lambda net: FreeModel(net, replays=3, budget=0.2, value_range=(-1, 3), batch_size=5),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_config_and_file_round_trip(net, kind, tmp_path):
    model = ready(GIVEN[kind](net))
    same = {"budget": 0.2, "value_range": (-1.0, 3.0)}
    own = {"methods": ("none", "pgd"), "steps": 7, "options": {"pgd": {"momentum": 0.5}}, "seed": 5, "head": "softmax"}
    expected = same | (own if kind == "perturbed" else {"replays": 3, "batch_size": 5})
    assert {name: value for name, value in model.get_config().items() if name != "model"} == expected
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for again in (keras.saving.deserialize_keras_object(config), loaded):
        assert type(again) is type(model) and again.name == model.name == "toy_net"
        assert {name: value for name, value in again.get_config().items() if name != "model"} == expected
    same_weights(loaded, model, atol=0)
    if kind == "perturbed":
        settings = ready(loaded)._attackers()[1].settings
        assert [settings[name] for name in ("budget", "steps", "momentum", "seed")] == [0.2, 7, 0.5, 5]
        assert settings["step_size"] == pytest.approx(2.5 * 0.2 / 7)


def test_a_model_that_is_not_compiled_is_saved_and_loaded(net, tmp_path):
    model = GIVEN["perturbed"](net)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    same_weights(again, model, atol=0)
    assert not again.compiled


# --- what does not fit


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (PerturbedModel, {"methods": ()}, r"methods=\(\) is empty. Expected names of attacks"),
        (PerturbedModel, {"methods": ("none", "pdg")}, "'pdg' is not known.*Did you mean 'pgd'"),
        (PerturbedModel, {"methods": "selectiv"}, "Did you mean 'selective'"),
        (PerturbedModel, {"methods": ("pgd", "dag")}, "'dag' knows no budget.*Expected an attack that does"),
        (PerturbedModel, {"methods": ("patch",)}, "'patch' knows no budget"),
        (PerturbedModel, {"budget": -0.1}, r"budget=-0.1 does not fit. Expected a finite number, at least 0"),
        (PerturbedModel, {"budget": math.nan}, "budget=nan does not fit"),
        (PerturbedModel, {"budget": math.inf}, "budget=inf does not fit"),
        (PerturbedModel, {"methods": ("pgd",), "steps": 0}, "steps=0 does not fit"),
        (PerturbedModel, {"value_range": (1, 0)}, "is no range"),
        (PerturbedModel, {"methods": ("pgd",), "options": {"pgd": {"momentun": 1}}}, "Did you mean 'momentum'"),
        (FreeModel, {"replays": 0}, "replays=0 does not fit. Expected a whole number, at least 1"),
        (FreeModel, {"replays": 1.5}, "replays=1.5 does not fit"),
        (FreeModel, {"replays": True}, "replays=True does not fit"),
        (FreeModel, {"batch_size": 0}, "batch_size=0 does not fit"),
        (FreeModel, {"budget": math.nan}, "budget=nan does not fit"),
        (FreeModel, {"budget": -1.0}, "budget=-1.0 does not fit"),
        (perturbed, {"methods": ("free", "pgd")}, r"'free', 'pgd'\) do not fit. Expected 'free' alone"),
        (perturbed, {"methods": ("none", "free")}, "Expected 'free' alone"),
        (perturbed, {"methods": ("free",), "replay": 3}, "option 'replay' is not known. Expected some of: .*replays"),
        (perturbed, {"methods": ()}, "is empty"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(net, kind, given, message):
    with pytest.raises(ValueError, match=message) as error:
        kind(net, **given)
    assert "\n" not in str(error.value)


def test_options_of_the_other_kind_are_left_out(net):
    both = {"steps": 2, "seed": 1, "replays": 3, "batch_size": 5, "budget": 0.1}
    free, attacked = perturbed(net, ("free",), **both), perturbed(net, ("pgd",), **both)
    assert type(free) is FreeModel and type(attacked) is PerturbedModel
    assert free._given() == {"replays": 3, "budget": 0.1, "value_range": (0.0, 1.0), "batch_size": 5}
    assert attacked._given().items() >= {"methods": ("pgd",), "budget": 0.1, "steps": 2, "seed": 1}.items()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--perturb", "pdg"], "attack 'pdg' is not known. Expected one of: "),
        (["--perturb", "none", "selectiv"], "Did you mean 'selective'"),
        (["--perturb", "free", "pgd"], "Expected 'free' alone"),
        (["--perturb", "dag"], "'dag' knows no budget"),
        (["--perturb", "pgd", "--budget", "-0.1"], "--budget=-0.1 does not fit. Expected a number at least 0"),
        (["--perturb", "pgd", "--budget", "nan"], "--budget=nan does not fit"),
        (["--perturb", "pgd", "--budget", "1.5"], "--budget=1.5 does not fit"),
        (["--perturb", "free", "--replays", "0"], "--replays=0 does not fit. Expected a whole number at least 1"),
        (["--perturb", "pgd", "--attack-steps", "0"], "--attack-steps=0 does not fit"),
        (["--schedule", "plato"], "plateau"),
    ],
)
def test_the_command_line_refuses_what_does_not_fit(refused, words, message):
    assert message in refused("train", "--data", LUNGS, "--filters", 2, "--depth", 1, *words)


# --- train.py


def quiet():
    return Console(file=io.StringIO(), width=200)


def config(output, **options):
    return Train(data=LUNGS, output=output, **{"filters": 2, "depth": 1, "batch_size": 2, "epochs": 1} | options)


def words_of(command):
    return cli._parse(Train, shlex.split(command)[2:], "train.py")


class Rates(keras.callbacks.Callback):
    """Learning rate at the beginning of each epoch, and what validation gives at its end."""

    def __init__(self):
        super().__init__()
        self.rates, self.losses = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["val_loss"])


@pytest.fixture(scope="module")
def stuck(tmp_path_factory):
    """(config, result, rates) of a run whose steps are too small for its loss to improve."""
    given = config(
        tmp_path_factory.mktemp("runs") / "run", perturb=("none", "pgd"), budget=0.02, attack_steps=2, epochs=6,
        bn=False, optimizer="sgd", learning_rate=1e-8, schedule="plateau",
    )  # fmt: skip
    seen = Rates()
    return given, run.train(given, quiet(), callbacks=[seen]), seen


def test_a_run_tells_the_command_that_gives_it_again(stuck):
    given, result, _ = stuck
    record = json.loads((result.folder / "record.json").read_text())
    assert record["status"] == "finished"
    assert "--perturb none pgd --budget 0.02 --attack-steps 2" in record["command"]
    assert words_of(record["command"]) == given
    assert record["config"]["perturb"] == ["none", "pgd"]
    assert len(result.history["loss"]) == 6 and np.isfinite(result.history["loss"]).all()
    state = keras.saving.load_model(result.folder / "state/last.keras", compile=False)
    assert state._given().items() >= {"methods": ("none", "pgd"), "budget": 0.02, "steps": 2}.items()


def test_the_learning_rate_is_halved_two_epochs_after_the_best(stuck):
    _, _, seen = stuck
    assert np.ptp(seen.losses) < 1e-4  # nothing improved after the first epoch
    assert np.divide(seen.rates, 1e-8) == pytest.approx([1, 1, 1, 0.5, 0.5, 0.25])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"perturb": ("none", "layered", "selective"), "budget": 0.05, "attack_steps": 7},
        {"perturb": ("free",), "replays": 8, "schedule": "plateau", "jit": True},
        {"perturb": ("none",), "schedule": "plateau"},
    ],
)
def test_a_command_gives_its_config_again(options):
    given = config(None, **options)
    assert words_of(given.command()) == given


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """Begin a run and stop it as it is to fit: begun(**options) gives (model, training batches, callbacks)."""
    seen = []

    def look(model, train, validation, **options):
        seen.append((model, train.take(options["steps"]), options["callbacks"]))
        raise KeyboardInterrupt

    def begin(**options):
        monkeypatch.setattr(run, "fit", look)
        given = config(tmp_path / f"run-{len(seen)}", **options)
        with pytest.raises(KeyboardInterrupt):
            run.train(given, quiet())
        return seen[-1]

    return begin


def test_options_of_the_command_reach_the_model(begun):
    """The budget is a share of the range of values, which is 0 to 0.2 here."""
    data = "volumes(counts=(1, 1, 1))"
    shared = {"budget": 0.03, "attack_steps": 4, "replays": 5, "batch_size": 7, "seed": 9}
    model, *_ = begun(perturb=("pgd", "none"), **shared)
    assert model._given().items() >= {"methods": ("pgd", "none"), "budget": 0.03, "steps": 4, "seed": 9}.items()
    model, *_ = begun(perturb=("free",), **shared)
    assert model._given() == {"replays": 5, "budget": 0.03, "value_range": (0.0, 1.0), "batch_size": 7}
    plain, *_ = begun(**shared)
    assert not isinstance(plain, PerturbedModel | FreeModel)
    dim = perturbed_of(data, **shared)
    assert dim["value_range"] == pytest.approx((0.0, 0.2)) and dim["budget"] == pytest.approx(0.006)


def perturbed_of(data, **options):
    from kseg.data import open_data
    from kseg.models import unet

    opened = open_data(data)
    model = unet(opened.shape, 2, filters=2, depth=1)
    return change_images(model, opened, Train(data=data, perturb=("pgd",), **options), "softmax")._given()


def test_a_plateau_is_watched_only_if_asked_for(begun):
    def watching(callbacks):
        return [type(each).__name__ for each in callbacks].count("ReduceLROnPlateau")

    assert watching(begun()[2]) == 0
    assert watching(begun(schedule="plateau")[2]) == 1


def test_only_even_batches_are_compiled(begun):
    """A last batch of another size would be compiled for itself; one that is all there is stays."""

    def sizes(**options):
        return [len(images) for images, _ in begun(**options)[1]]

    assert sizes(perturb=("none",), jit=True) == [2, 2]
    assert sizes(perturb=("none",)) == [2, 2, 1]
    assert sizes(jit=True) == [2, 2, 1]
    assert sizes(perturb=("none",), jit=True, batch_size=8) == [5]
