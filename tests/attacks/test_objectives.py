"""What attacks climb, against float64 NumPy and central differences."""

import numpy as np
import pytest
import reference_attacks as ref
import tensorflow as tf

from kseg.attacks.objectives import OBJECTIVES, Seen, make_objective
from kseg.attacks.problem import mean_iou

RNG = np.random.default_rng(3)
SHAPE = (3, 4, 5)


def drawn(channels, scale=3.0):
    """Logits, ids and what counts: of the first image all pixels, of the last none."""
    z = scale * RNG.normal(size=(*SHAPE, channels))
    ids = RNG.integers(0, max(channels, 2), SHAPE)
    counted = (RNG.uniform(size=SHAPE) < 0.7).astype(np.float64)
    counted[0], counted[-1] = 1, 0
    return z, np.where(counted > 0, ids, 0), counted


def seen(z, ids, counted, progress=0.0, sign=1.0):
    head = "sigmoid" if z.shape[-1] == 1 else "softmax"
    as32 = [tf.constant(part, kind) for part, kind in ((z, tf.float32), (ids, tf.int32), (counted, tf.float32))]
    return Seen(*as32, head, tf.constant(progress), sign)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_values_and_gradients_are_those_of_the_formula(name, channels, sign):
    z, ids, counted = drawn(channels)
    function = OBJECTIVES.get(name)
    with tf.GradientTape() as tape:
        now = seen(z, ids, counted, 0.6, sign)
        tape.watch(now.logits)
        values = function(now)
    np.testing.assert_allclose(values, ref.objective(name, z, ids, counted, 0.6, sign), rtol=2e-6, atol=1e-7)
    gradient = tape.gradient(values, now.logits).numpy()
    if name in ("masked_cce", "segpgd", "cospgd"):  # which weigh pixels by what the gradient does not see
        missing = (ref.two_logits(z).argmax(-1) == ids) == (sign > 0)
        weight = {"masked_cce": lambda: missing * 1.0, "segpgd": lambda: np.where(missing, 0.7, 0.3),
                  "cospgd": lambda: cosine(z, ids) if sign > 0 else 1 - cosine(z, ids)}[name]()  # fmt: skip
        expected = slopes(lambda z: ref.objective("cce", z, ids, counted), z) * weight[..., None]
    else:
        expected = slopes(lambda z: ref.objective(name, z, ids, counted, 0.6, sign), z)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def cosine(z, ids):
    p = np.exp(ref.log_softmax(ref.two_logits(z)))
    return ref.picked(p, ids) / np.linalg.norm(p, axis=-1)


def slopes(function, z, step=1e-6):
    result = np.zeros_like(z)
    for place in np.ndindex(z.shape[1:]):
        moved = np.zeros(z.shape[1:])
        moved[place] = step
        result[(slice(None), *place)] = (function(z + moved) - function(z - moved)) / (2 * step)
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_huge_logits_give_finite_values_and_gradients(name, channels):
    z, ids, counted = drawn(channels, 1e4)
    with tf.GradientTape() as tape:
        now = seen(z, ids, counted)
        tape.watch(now.logits)
        values = OBJECTIVES.get(name)(now)
    assert np.isfinite(values).all() and np.isfinite(tape.gradient(values, now.logits)).all()


def test_js_lets_go_of_pixels_that_are_wrong_and_cross_entropy_does_not():
    z = np.array([[[[12.0, 0.0]]], [[[-12.0, 0.0]]]])
    steep = {}
    for name in ("js", "cce"):
        with tf.GradientTape() as tape:
            now = seen(z, np.zeros((2, 1, 1), int), np.ones((2, 1, 1)))
            tape.watch(now.logits)
            values = OBJECTIVES.get(name)(now)
        steep[name] = np.abs(tape.gradient(values, now.logits).numpy()).max(axis=(1, 2, 3))
    assert steep["js"][1] < 1e-3 and steep["cce"][1] > 0.99


@pytest.mark.parametrize("channels", [1, 4])
def test_iou_of_an_image_is_that_of_the_classes_it_has(channels):
    z, ids, counted = drawn(channels)
    predicted = ref.two_logits(z).argmax(axis=-1)
    np.testing.assert_allclose(mean_iou(seen(z, ids, counted)), ref.mean_iou(predicted, ids, counted), rtol=1e-6)


def test_any_loss_of_kseg_and_of_keras_can_be_climbed():
    import keras

    from kseg import losses

    z, ids, counted = drawn(4)
    for loss in ("dicefg", "cce + dice", keras.losses.SparseCategoricalCrossentropy(from_logits=True)):
        climbed, told = make_objective(loss, "softmax", ignoring=False)
        values = climbed(seen(z, ids, counted)).numpy()
        alone = losses.get(loss, from_logits=True) if isinstance(loss, str) else loss
        expected = [alone(ids[i : i + 1], z[i : i + 1].astype("float32")) for i in range(3)]
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        assert told is climbed
    climbed, _ = make_objective("dice", "softmax", ignoring=True)
    part = climbed(seen(z, ids, counted)).numpy()
    noise = np.where(counted[..., None] > 0, z, RNG.normal(size=z.shape))
    np.testing.assert_allclose(part, climbed(seen(noise, ids, counted)), rtol=1e-6)
    assert part[-1] == 0.0  # no pixel counts
    with pytest.raises(ValueError, match="cannot leave pixels out"):
        make_objective(keras.losses.SparseCategoricalCrossentropy(from_logits=True), "softmax", ignoring=True)
    with pytest.raises(ValueError, match="takes probabilities"):
        make_objective(keras.losses.SparseCategoricalCrossentropy(), "softmax", ignoring=False)
