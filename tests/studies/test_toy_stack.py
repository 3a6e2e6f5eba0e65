"""Many runs of the toy study as one program: each is the run made alone with Keras layers and a gradient tape."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import correlate

from kseg.ops import stacked
from kseg.studies import toy_alone, toy_gradients, toy_stack
from kseg.studies.toy_runs import LOSS_NAMES, Condition, draw, present, stretches

# Losses, optimisers, thresholds, seeds, rates and inputs mixed. (With a rate of 0.5, `dicefg` at 5 % foreground makes
# rounding errors of 1e-16 grow to 1e-6 in 200 steps, so no rate here is that large.)
MIX = (
    ("cce", "adam", 0.5, 0, 1e-3, "raw"),
    ("dice", "sgd", 0.05, 1, 0.1, "centred"),
    ("dicefg", "adam", 0.95, 1, 1e-3, "mirrored"),
    ("dice_square", "adam", 0.05, 0, 5e-3, "mirrored"),
    ("dicefg_square", "sgd", 0.5, 1, 0.1, "raw"),
)
ON = tf.constant(True)


def conditions(bn, rows=MIX, **options):
    return [
        Condition(loss, optimizer, bn, threshold, seed, rate, mode, **options)
        for loss, optimizer, threshold, seed, rate, mode in rows
    ]


def worst(stack, alone):
    """Largest difference of two runs' curves; of gradient norms above 1, the relative one."""
    assert list(stack) == list(alone)
    assert stack["complete"] is alone["complete"] is True
    np.testing.assert_array_equal(stack["iteration"], alone["iteration"])
    np.testing.assert_array_equal(stack["accuracy_iteration"], alone["accuracy_iteration"])
    curves = [f"{name}_{kind}" for name in LOSS_NAMES for kind in ("loss", "grad")]
    for name in curves:
        assert stack[name].shape == alone[name].shape == alone["iteration"].shape
    return max(np.max(np.abs(stack[name] - alone[name]) / np.maximum(1, np.abs(alone[name]))) for name in curves)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "bn"])
def doubles(request):
    """(conditions, log_every, stacked curves) of 200 iterations in float64; without bn every third is logged."""
    runs = conditions(request.param)
    log_every = 1 if request.param else 3
    return runs, log_every, toy_stack.train(runs, iterations=200, log_every=log_every, dtype="float64")


def test_each_trajectory_is_that_of_the_run_alone(doubles):
    runs, log_every, stack = doubles
    for run, curves in list(zip(runs, stack, strict=True))[log_every == 1 :: 2]:  # each row of MIX once
        alone = toy_alone.train(run, iterations=200, log_every=log_every, dtype="float64")
        assert curves["cce_loss"].dtype == np.float64
        assert worst(curves, alone) <= 1e-8, run.name
        assert np.abs(curves["accuracy"] - alone["accuracy"]).max() <= 1e-6, run.name


@pytest.fixture(scope="module")
def singles():
    """(conditions, progress, stacked curves) of 501 iterations in float32 without batch normalisation."""
    runs, seen = conditions(False, MIX[:3]), []
    return runs, seen, toy_stack.train(runs, iterations=501, progress=seen.append)


def test_trajectories_in_float32(singles):
    runs, seen, stack = singles
    assert seen == [1, 251, 501]
    for run, curves in list(zip(runs, stack, strict=True))[:2]:
        alone = toy_alone.train(run, iterations=501)
        assert curves["cce_loss"].dtype == np.float32
        assert worst(_first(curves, 200), _first(alone, 200)) <= 1e-5, run.name
        assert abs(curves["accuracy"][-1] - alone["accuracy"][-1]) <= 0.003, run.name


def _first(curves, count):
    return {name: part[:count] if "_loss" in name or "_grad" in name or name == "iteration" else part
            for name, part in curves.items()}  # fmt: skip


def test_ctrl_c_keeps_what_was_done(singles):
    runs, _, stack = singles

    def interrupt(done):
        if done == 251:
            raise KeyboardInterrupt

    for whole, part in zip(stack, toy_stack.train(runs, iterations=501, progress=interrupt), strict=True):
        assert part["complete"] is False
        assert part["iteration"].tolist() == list(range(251))
        assert part["accuracy_iteration"].tolist() == [0, 250]
        np.testing.assert_allclose(part["dice_grad"], whole["dice_grad"][:251], rtol=1e-5)


@pytest.mark.parametrize(
    ("bn", "convolutions", "images", "threshold"),
    [(False, 1, 1, 0.05), (False, 2, 3, 0.5), (False, 3, 1, 0.95), (True, 1, 3, 0.8), (True, 3, 2, 0.2)],
)
def test_values_and_gradients_of_all_losses_are_those_of_a_tape(bn, convolutions, images, threshold):
    run = Condition("cce", "adam", bn, threshold, 3, convolutions=convolutions, batch_size=images)
    model, rng = toy_alone.start(run, "float64"), np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(weight + rng.normal(0, 0.2, weight.shape))
    x, y = (tf.cast(part, tf.float64) for part in draw(3, 0, images, threshold))
    with tf.GradientTape(persistent=True) as tape:
        p = tf.nn.softmax(model(x, training=True))
        expected = _losses(p, y)
    flat = tf.concat([tf.reshape(weight, [1, -1]) for weight in model.trainable_variables], 1)
    weights = toy_gradients.split(flat, toy_gradients.shapes_of(bn, convolutions))
    around = stacked.lay_out(x[None, None, ..., 0], 2 * convolutions - 1)
    labels = stacked.lay_out(y[None, ..., 1], convolutions - 1)
    z, layers = toy_gradients.forward(weights, around, images, ON)
    valid = stacked.inside(images, 32, 32, convolutions - 1, "float64")
    values, fields, coefficients = toy_gradients.fields_of(z, labels, valid)
    gradients = coefficients @ toy_gradients.backward(weights, layers, fields, ON)
    np.testing.assert_allclose(values[0], expected, rtol=1e-10)
    for loss, ours in zip(expected, gradients[0], strict=True):
        theirs = np.concatenate([np.ravel(g) for g in tape.gradient(loss, model.trainable_variables)])
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)


def _losses(p, y):
    """S1.2 to S1.5, from probabilities that no clip touches."""
    cce = -tf.reduce_mean(tf.reduce_sum(y * tf.math.log(p), -1))
    shared, truth = 2 * tf.reduce_sum(p * y, (0, 1, 2)) + 1e-7, tf.reduce_sum(y, (0, 1, 2)) + 1e-7
    plain = 1 - shared / (tf.reduce_sum(p, (0, 1, 2)) + truth)
    square = 1 - shared / (tf.reduce_sum(p * p, (0, 1, 2)) + truth)
    return [cce, tf.reduce_mean(plain), plain[1], tf.reduce_mean(square), square[1]]


def test_a_clipped_probability_has_no_gradient_but_a_value():
    """CCE (S1.2): a wrong pixel of probability below 1e-7 costs -log 1e-7 and is left alone."""
    z = tf.constant([[-20.0, -3.0, 20.0]], tf.float64)
    y = tf.constant([[1.0, 1.0, 1.0]], tf.float64)
    values, fields, _ = toy_gradients.fields_of(z, y, np.ones(3))
    expected = (-np.log(1e-7) + np.log(1 + np.exp(3)) - np.log(1 - 1e-7)) / 3
    np.testing.assert_allclose(values[0, 0], expected, rtol=1e-10)
    np.testing.assert_allclose(fields[0, 3], [0, -1 / (1 + np.exp(-3)), 0], rtol=1e-10)


def test_shifts_make_a_convolution():
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, 3, 2, 5, 7)), rng.normal(size=(2, 9, 3, 2))
    ours = stacked.convolve(stacked.lay_out(tf.constant(x), 1), tf.constant(kernel), 7)
    ours = ours.numpy()[..., : 2 * 6 * 8].reshape(2, 2, 2, 6, 8)[..., :5, :7]
    for run, out, image in np.ndindex(2, 2, 2):
        taps = kernel[run, :, :, out].reshape(3, 3, 3)
        expected = sum(correlate(x[run, c, image], taps[..., c], mode="constant") for c in range(3))
        np.testing.assert_allclose(ours[run, out, image], expected, rtol=1e-10)


def test_batches_are_the_same_numbers_in_a_graph():
    graph = tf.function(lambda i: draw(7, i, 2, 0.5)[0])
    np.testing.assert_array_equal(graph(tf.constant(11)), draw(7, 11, 2, 0.5)[0])


def test_inputs_of_the_three_modes():
    x = tf.constant([0.25, 0.75])
    assert [present(x, mode).numpy().tolist() for mode in ("raw", "mirrored", "centred")] == [
        [0.25, 0.75], [0.75, 0.25], [-0.25, 0.25],
    ]  # fmt: skip


def test_names_hold_the_conditions():
    run = Condition("dicefg", "adam", True, 0.8, 2)
    assert (run.name, run.foreground) == ("dicefg_adam_nconv2_bs2_bn_fg20_seed2", 20)
    run = Condition("cce", "sgd", False, 0.9, 0, 0.1, "centred", convolutions=3, batch_size=1)
    assert run.name == "cce_sgd_nconv3_bs1_nobn_fg10_seed0_lr0.1_centred"


def test_the_published_length_gives_41_accuracies():
    assert [end - 1 for _, end in stretches(10001)] == list(range(0, 10001, 250))
    assert [i for begin, end in stretches(10003) for i in range(begin, end)] == list(range(10003))
    assert stretches(1) == [(0, 1)]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"loss": "dicfg"}, "'dicfg'"),
        ({"optimizer": "rmsprop"}, "'rmsprop'"),
        ({"input": "flipped"}, "'flipped'"),
        ({"threshold": 1.0}, "threshold 1.0"),
        ({"learning_rate": 0.0}, "learning_rate 0.0"),
        ({"seed": -1}, "seed -1"),
        ({"convolutions": 0}, "convolutions 0"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_bad_conditions_are_refused(wrong, word):
    right = {"loss": "cce", "optimizer": "adam", "bn": False, "threshold": 0.5, "seed": 0}
    with pytest.raises(ValueError, match=word) as error:
        Condition(**(right | wrong))
    assert "\n" not in str(error.value)


def test_what_cannot_be_one_program_is_refused():
    one = Condition("cce", "adam", False, 0.5, 0)
    with pytest.raises(ValueError, match="Train them apart"):
        toy_stack.train([one, Condition("cce", "adam", True, 0.5, 0)], iterations=1)
    for train, runs in ((toy_stack.train, [one]), (toy_alone.train, one)):
        with pytest.raises(ValueError, match="iterations=0"):
            train(runs, iterations=0)
        with pytest.raises(ValueError, match="log_every=0"):
            train(runs, iterations=1, log_every=0)
    assert toy_stack.train([], iterations=1) == []
