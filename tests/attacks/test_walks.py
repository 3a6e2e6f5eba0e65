"""PGD with momentum and restarts, and APGD, against the same walks written out in NumPy; balls other than Linf."""

import keras
import numpy as np
import pytest
import reference_attacks as ref
import tensorflow as tf

from kseg.attacks import Attacker, attack
from kseg.attacks.gradient import checkpoints

RNG = np.random.default_rng(5)
IMAGES = RNG.uniform(0, 1, (4, 7, 6, 2)).astype(np.float32)
MASKS = RNG.integers(0, 3, (4, 7, 6))


@pytest.fixture(scope="module")
def model():
    """A net of one hidden layer: the loss has bends."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((7, 6, 2))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="tanh", kernel_initializer="random_normal")(4 * inputs)
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", name="logits")(4 * x))


def seen(model, images):
    """(loss `[N]`, its gradient) by plain TensorFlow."""
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(MASKS, model(x, training=False))
        loss = tf.reduce_mean(loss, axis=[1, 2])
    return loss.numpy(), tape.gradient(loss, x).numpy()


def sizes(change):
    flat = np.abs(change.reshape(len(change), -1)).astype(np.float64)
    return {"linf": flat.max(axis=1), "l2": np.sqrt((flat**2).sum(axis=1)), "l1": flat.sum(axis=1)}


def back(images, norm, budget):
    change = images - IMAGES
    if norm == "linf":
        change = change.clip(-budget, budget)
    else:
        change = change * np.minimum(1, budget / np.maximum(sizes(change)["l2"], 1e-30))[:, None, None, None]
    return np.clip(IMAGES + change, 0, 1).astype(np.float32)


def uphill(images, gradient, norm):
    out = ((images >= 1) & (gradient > 0)) | ((images <= 0) & (gradient < 0))
    gradient = np.where(out, 0, gradient)
    return (
        np.sign(gradient)
        if norm == "linf"
        else gradient / np.maximum(sizes(gradient)["l2"], 1e-30)[:, None, None, None]
    )


def pgd(model, norm, budget, rate, steps, momentum=0.0, start=IMAGES):
    """(loss of the images after each number of steps `[steps + 1, N]`, images after the last)."""
    x, velocity, losses = start, 0.0, []
    for _ in range(steps):
        loss, gradient = seen(model, x)
        losses.append(loss)
        if momentum:
            velocity = momentum * velocity + gradient / np.abs(gradient).mean(axis=(1, 2, 3), keepdims=True)
            gradient = velocity
        x = back(x + rate * uphill(x, gradient, norm), norm, budget)
    return np.array([*losses, seen(model, x)[0]]), x


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.2), ("l2", 2.5)])
def test_pgd_is_the_walk_and_keeps_the_best(model, norm, budget, momentum):
    rate, steps = 0.6 * budget, 9  # so long a step that the best comes on the way
    losses, last = pgd(model, norm, budget, rate, steps, momentum)
    options = {"norm": norm, "budget": budget, "step_size": rate, "steps": steps, "momentum": momentum}
    found = attack(model, IMAGES, MASKS, "pgd", **options)
    np.testing.assert_allclose(found.loss_after, losses.max(axis=0), atol=2e-3)
    # The best, or one that is as good but for rounding.
    np.testing.assert_allclose(losses[found.steps, np.arange(len(IMAGES))], losses.max(axis=0), atol=2e-3)
    assert (found.steps < steps).any()
    kept = attack(model, IMAGES, MASKS, "pgd", keep="last", **options)
    np.testing.assert_allclose(kept.loss_after, losses[-1], atol=2e-3)
    assert np.isclose(kept.images, last, atol=1e-4).mean() > 0.97


def apgd(model, norm, budget, steps):
    """Loss of the best images `[N]` (Croce and Hein 2020, algorithm 1, each image by itself)."""
    best = []
    for number in range(len(IMAGES)):

        def others(x, i=number):
            return np.where(np.arange(len(IMAGES))[:, None, None, None] == i, x, IMAGES)

        def own(x, i=number, others=others):
            return tuple(part[i] for part in seen(model, others(x)))

        def place(x, i=number, others=others):
            return back(others(x), norm, budget)[i]

        def way(x, gradient):
            return uphill(x[None], gradient[None], norm)[0]

        x0 = IMAGES[number]
        loss, gradient = own(x0)
        rate, top, top_x, top_g = 2 * budget, loss, x0, gradient
        x, before = place(x0 + rate * way(x0, gradient)), x0
        history, mark, old_rate, old_top = [loss], 0, rate, -np.inf
        for k in range(1, steps + 1):
            loss, gradient = own(x)
            history.append(loss)
            if loss > top:
                top, top_x, top_g = loss, x, gradient
            if k == steps:
                break
            if k in checkpoints(steps):
                rises = sum(b > a for a, b in zip(history[mark:k], history[mark + 1 : k + 1], strict=True))
                halve = rises < 0.75 * (k - mark) or (rate == old_rate and top <= old_top)
                old_rate, old_top, mark = rate, top, k
                if halve:
                    rate, x, gradient, loss = rate / 2, top_x, top_g, top
                    history[-1] = top
            plain = place(x + rate * way(x, gradient))
            x, before = place(x + 0.75 * (plain - x) + 0.25 * (x - before)), x
        best.append(top)
    return np.array(best)


@pytest.mark.parametrize(("norm", "budget", "steps", "apart"), [("linf", 0.15, 25, 2e-3), ("l2", 2.5, 25, 1e-2)])
def test_apgd_is_the_algorithm(model, norm, budget, steps, apart):
    found = attack(model, IMAGES, MASKS, "apgd", norm=norm, budget=budget, steps=steps)
    np.testing.assert_allclose(found.loss_after, apgd(model, norm, budget, steps), atol=apart)


def test_random_starts_and_restarts(model):
    options = {"budget": 0.1, "steps": 2}
    still = attack(model, IMAGES, MASKS, "pgd", random_start=True, step_size=0.0, keep="last", **options)
    assert (np.abs(still.images - IMAGES) > 0.01).mean() > 0.5
    other = attack(model, IMAGES, MASKS, "pgd", random_start=True, step_size=0.0, keep="last", seed=1, **options)
    assert (still.images != other.images).any()
    losses = [attack(model, IMAGES, MASKS, "pgd", restarts=n, **options).loss_after for n in (1, 2, 3, 6)]
    assert (np.diff(losses, axis=0) >= -1e-6).all()
    assert (losses[2] > losses[1] + 1e-6).any() or (losses[3] > losses[2] + 1e-6).any()
    assert (losses[3] > losses[0] + 1e-6).any()


@pytest.mark.parametrize(("norm", "budget"), [("l2", 3.0), ("l1", 12.0)])
def test_balls_wider_than_the_range_of_one_value_are_used(model, norm, budget):
    for name in ("fgsm", "pgd") if norm == "l2" else ("pgd",):
        found = attack(model, IMAGES, MASKS, name, norm=norm, budget=budget)
        assert (found.size <= budget * (1 + 1e-5)).all() and found.size.max() > (1.5 if norm == "l2" else 1.0)
        np.testing.assert_allclose(found.size, sizes(found.images - IMAGES)[norm], rtol=1e-4)
    start = attack(model, IMAGES, MASKS, "pgd", norm=norm, budget=budget, random_start=True, step_size=0.0, steps=1,
                   keep="last")  # fmt: skip
    assert start.size.max() > 1.2


@pytest.mark.parametrize("budget", [2.0, 20.0])
def test_l1_steps_go_on_at_the_end_of_the_range(budget):
    """A linear loss whose optimum is known: the steepest values are moved to the end of the range, one by one."""
    net = ref.linear_model([[3.0], [-1.0]], [10.0], (8, 8))
    images, masks = RNG.uniform(0.2, 0.8, (1, 8, 8, 2)).astype(np.float32), np.ones((1, 8, 8), int)
    found = attack(net, images, masks, "pgd", loss="margin", norm="l1", budget=budget, steps=300, step_size=budget / 20)
    room = np.where(np.array([3.0, -1.0]) > 0, images, 1 - images).ravel()  # down where the weight is positive
    weight = np.tile([3.0, 1.0], 64)
    left, gain = budget, 0.0
    for place in np.argsort(-weight, kind="stable"):
        step = min(left, room[place])
        left, gain = left - step, gain + weight[place] * step / 64
    assert (found.loss_after - found.loss_before)[0] >= 0.95 * gain


def test_a_step_size_that_was_given_stays_when_the_budget_changes(model):
    fixed, free = Attacker(model, "pgd", budget=0.1, step_size=0.02), Attacker(model, "pgd", budget=0.1)
    assert fixed(IMAGES, MASKS, budget=0.2).settings["step_size"] == 0.02
    assert free(IMAGES, MASKS, budget=0.2).settings["step_size"] == 0.05
    assert Attacker(model, "fgsm", budget=0.1).settings["step_size"] == 0.1


def test_members_of_an_ensemble_share_the_steps(model):
    found = attack(model, IMAGES, MASKS, "ensemble", budget=0.2, steps=9)
    assert found.steps.max() <= 3


def test_segpgd_looks_more_and_more_at_wrong_pixels(model):
    """Weights 1 - t and t with t = step / (2 steps), against the walk written out."""
    x, steps = IMAGES, 8
    for i in range(steps):
        with tf.GradientTape() as tape:
            images = tf.constant(x)
            tape.watch(images)
            logits = model(images, training=False)
            t = 0.5 * i / steps
            weight = np.where(logits.numpy().argmax(axis=-1) == MASKS, 1 - t, t).astype(np.float32)
            loss = tf.reduce_sum(weight * tf.nn.sparse_softmax_cross_entropy_with_logits(MASKS, logits))
        x = back(x + np.float32(0.03) * np.sign(tape.gradient(loss, images)), "linf", 0.1)
    found = attack(model, IMAGES, MASKS, "segpgd", budget=0.1, step_size=0.03, steps=steps, keep="last")
    np.testing.assert_allclose(found.loss_after, seen(model, x)[0], atol=2e-3)
