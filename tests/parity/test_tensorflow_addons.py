"""What replaces tensorflow-addons gives its values; they were recorded by `make_tensorflow_addons.py`."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.interpolate import RBFInterpolator

import kseg

OPTIMIZERS = {"SGDW": keras.optimizers.SGD, "AdamW": keras.optimizers.AdamW}


def recorded(name):
    """The arguments of the cases and the arrays of one file."""
    with np.load(Path(__file__).parent / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return json.loads(str(arrays.pop("settings"))), arrays


FOCAL, FOCAL_ARRAYS = recorded("focal")
WARP, WARP_ARRAYS = recorded("warp")
STEPS, STEPS_ARRAYS = recorded("optimizers")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", range(len(FOCAL)), ids=lambda case: str(FOCAL[case]))
def test_focal_loss_is_theirs_divided_by_the_number_of_channels(case, channels):
    """Theirs sums over the last axis and keeps the pixels apart, ours averages both; their alpha = 0 is our None."""
    arrays = {name[:-2]: array for name, array in FOCAL_ARRAYS.items() if name.endswith(f"_{channels}")}
    from_logits, alpha, gamma = (FOCAL[case][name] for name in ("from_logits", "alpha", "gamma"))
    scores = tf.constant(arrays["logits" if from_logits else "probabilities"])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        per_image = kseg.losses.focal(
            arrays["labels"], scores, from_logits=from_logits, head="sigmoid", alpha=alpha or None, gamma=gamma
        )
    # Keras 2 adds 1e-7 to a probability inside its logarithm; these are at least 0.02.
    tolerance = 1e-10 if from_logits else 1e-5
    expected = arrays["values"][case].mean((1, 2)) / channels
    np.testing.assert_allclose(per_image, expected, rtol=tolerance)
    gradient = arrays["gradients"][case] / np.prod(scores.shape[1:])
    np.testing.assert_allclose(tape.gradient(per_image, scores), gradient, rtol=tolerance, atol=1e-14)


def test_distance_transform_is_theirs():
    """Both give the distance to the nearest zero; theirs takes `[B, H, W, C]` uint8 and knows no spacing."""
    _, arrays = recorded("distance")
    for channel in range(2):
        ours = kseg.ops.distance_transform(arrays["masks"][..., channel])
        np.testing.assert_allclose(ours, arrays["distances"][..., channel], rtol=1e-6, atol=1e-6)


def dense_image_warp(image, flow):
    """output[b, y, x, c] = image[b, y - flow[b, y, x, 0], x - flow[b, y, x, 1], c], the border pixel beyond it."""
    batch, y, x, channel = (tf.constant(axis, flow.dtype) for axis in np.indices(image.shape))
    coordinates = keras.ops.stack([batch, y - flow[..., :1], x - flow[..., 1:], channel])
    return keras.ops.image.map_coordinates(image, coordinates, order=1, fill_mode="nearest")


@pytest.mark.parametrize("case", range(len(WARP["dense"])), ids=lambda case: WARP["dense"][case]["flow"])
def test_map_coordinates_is_their_dense_warp(case):
    image, flow = tf.constant(WARP_ARRAYS["image"]), tf.constant(WARP_ARRAYS["flows"][case])
    with tf.GradientTape() as tape:
        tape.watch((image, flow))
        warped = dense_image_warp(image, flow)
    np.testing.assert_allclose(warped, WARP_ARRAYS["warped"][case], rtol=1e-10, atol=1e-12)
    by_image, by_flow = tape.gradient(warped, (image, flow), output_gradients=WARP_ARRAYS["cotangent"])
    np.testing.assert_allclose(by_image, WARP_ARRAYS["image_gradients"][case], rtol=1e-10, atol=1e-12)
    # On a pixel centre the interpolation has a kink, where each takes another of its slopes.
    if WARP["dense"][case]["flow"] != "whole pixels":
        np.testing.assert_allclose(by_flow, WARP_ARRAYS["flow_gradients"][case], rtol=1e-10, atol=1e-12)


def test_gaussian_blur_and_map_coordinates_are_their_elastic_warp():
    """Keras pads with zeros, their `padding="CONSTANT"`."""
    kernel, sigma, strength = (WARP["elastic"][name] for name in ("kernel", "sigma", "strength"))
    smooth = keras.ops.image.gaussian_blur(
        WARP_ARRAYS["noise"], (kernel, kernel), (sigma, sigma), data_format="channels_last"
    )
    np.testing.assert_allclose(smooth, WARP_ARRAYS["smooth"], rtol=1e-10, atol=1e-12)
    warped = dense_image_warp(WARP_ARRAYS["image"], strength * smooth)
    np.testing.assert_allclose(warped, WARP_ARRAYS["elastic"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", range(len(WARP["control"])), ids=lambda case: str(WARP["control"][case]))
def test_scipy_and_map_coordinates_are_their_warp_from_control_points(case):
    image, sources, targets = (WARP_ARRAYS[name] for name in ("image", "source", "target"))
    grid = np.indices(image.shape[1:3]).reshape(2, -1).T
    smoothing = WARP["control"][case]["regularization_weight"]
    flows = [
        RBFInterpolator(target, target - source, smoothing=smoothing, kernel="thin_plate_spline")(grid)
        for source, target in zip(sources, targets, strict=True)
    ]
    flow = np.reshape(flows, (*image.shape[:3], 2))
    np.testing.assert_allclose(flow, WARP_ARRAYS["control_flows"][case], rtol=1e-6, atol=1e-6)
    warped = dense_image_warp(image, tf.constant(flow))
    np.testing.assert_allclose(warped, WARP_ARRAYS["control_warped"][case], rtol=1e-6, atol=1e-6)


def keras_steps(
    optimizer, learning_rate, weight_decay, schedule=(), exclude_from_weight_decay=None, convert=True, **options
):
    """The variables after each step of Keras' optimizer; its schedule halves every 4 steps, as theirs did."""
    if convert:
        weight_decay = weight_decay / learning_rate
    if schedule:
        learning_rate = keras.optimizers.schedules.ExponentialDecay(learning_rate, 4, 0.5, staircase=True)
    optimizer = OPTIMIZERS[optimizer](learning_rate, weight_decay=weight_decay, **options)
    variables = [keras.Variable(STEPS_ARRAYS[name], name=name) for name in ("kernel", "bias")]
    optimizer.exclude_from_weight_decay(var_names=exclude_from_weight_decay)
    steps = []
    for gradients in zip(STEPS_ARRAYS["kernel_gradients"], STEPS_ARRAYS["bias_gradients"], strict=True):
        optimizer.apply(list(map(tf.constant, gradients)), variables)
        steps.append([variable.numpy() for variable in variables])
    return tuple(map(np.stack, zip(*steps, strict=True)))


def their_steps(case):
    return STEPS_ARRAYS["kernel_steps"][case], STEPS_ARRAYS["bias_steps"][case]


def farthest(ours, theirs, steps=slice(None)):
    """The largest difference of any weight."""
    return max(np.abs(a[steps] - b[steps]).max() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("case", range(len(STEPS)), ids=lambda case: str(STEPS[case]))
def test_keras_decays_as_sgdw_and_adamw_with_weight_decay_over_learning_rate(case):
    """Theirs takes weight_decay x w off a weight in each step, Keras learning_rate x weight_decay x w."""
    ours, theirs = keras_steps(**STEPS[case]), their_steps(case)
    if STEPS[case].get("schedule") == ["learning_rate"]:
        # Their decay keeps its strength here, that of Keras follows the learning rate.
        assert farthest(ours, theirs, slice(0, 4)) < 1e-6
        assert farthest(ours, theirs) > 1e-3
    else:
        assert farthest(ours, theirs) < 1e-6


@pytest.mark.parametrize("case", range(len(STEPS)), ids=lambda case: str(STEPS[case]))
def test_weight_decay_must_be_converted(case):
    assert farthest(keras_steps(**STEPS[case], convert=False), their_steps(case)) > 1e-3
