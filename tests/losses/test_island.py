"""The XLA program inside a train step that is not compiled: same numbers as the plain formula, fewer of them kept.

test_programs holds every loss to it.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from loss_checks import compiled_functions

import kseg.losses as L
from kseg.losses import island

SPECS = [
    "cce",
    "mse",
    "mcc",
    "combo",
    "dice(per_image=True)",
    "focal(head='sigmoid')",
    "cce + 0.5*dicefg",
    "bce + dice",
]
PLAIN = ["cce", "focal", "dice"]  # without weights


def batch(classes=3, dtype="float32"):
    rng = np.random.default_rng(5)
    ids = rng.integers(0, classes, (3, 8, 6))
    scores = 2 * rng.normal(size=(3, 8, 6, classes))
    return tf.constant(ids), tf.one_hot(ids, classes, dtype=tf.float32), tf.cast(scores, dtype)


def gradients(loss, y, scores, weight=None):
    with tf.GradientTape() as tape:
        tape.watch([scores, *(t for t in (y, weight) if t is not None and t.dtype.is_floating)])
        value = loss(y, scores, weight)
        value = 3.0 * value  # what comes from above must reach every gradient
    sources = [scores, *(t for t in (y, weight) if t is not None and t.dtype.is_floating)]
    return value, *tape.gradient(value, sources, unconnected_gradients="zero")


@pytest.mark.parametrize(("spec", "weighted"), [*((spec, True) for spec in SPECS), *((spec, False) for spec in PLAIN)])
def test_all_gradients_equal_those_of_the_plain_formula(spec, weighted):
    """Those of labels and weights come from the plain formula, whatever the loss: some of each kind."""
    _, y, scores = batch()
    weight = 0.5 + tf.random.stateless_uniform([3, 8, 6], [1, 2]) if weighted else None
    loss = L.get(spec, from_logits=True)
    plain = gradients(loss, y, scores, weight)
    graph = tf.function(lambda *tensors: gradients(loss, *tensors), autograph=False)
    for ours, expected in zip(graph(y, scores, weight), plain, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_images_of_unknown_size_and_eager_calls_stay_plain():
    ids, _, scores = batch()
    loss = L.get("dice", from_logits=True)
    sizes = [tf.TensorSpec([None] * 3, tf.int64), tf.TensorSpec([None, None, None, 3])]
    assert compiled_functions(tf.function(lambda *t: gradients(loss, *t), autograph=False, input_signature=sizes)) == 0
    fixed = [tf.TensorSpec([None, 8, 6], tf.int64), tf.TensorSpec([None, 8, 6, 3])]
    assert compiled_functions(tf.function(lambda *t: gradients(loss, *t), autograph=False, input_signature=fixed)) == 1
    assert not island.applies(scores)


def test_a_loss_itself_can_be_made_a_function():
    ids, _, scores = batch()
    loss = L.get("dice", from_logits=True)
    assert float(tf.function(loss)(ids, scores)) == pytest.approx(float(loss(ids, scores)), rel=1e-5)


def test_batches_of_any_length_share_one_trace():
    ids, _, scores = batch()
    loss = L.get("cce + dice", from_logits=True)
    traces = []
    value = loss._value
    loss._value = lambda *arguments: traces.append(1) or value(*arguments)
    fixed = [tf.TensorSpec([None, 8, 6], tf.int64), tf.TensorSpec([None, 8, 6, 3])]
    graph = tf.function(lambda *t: gradients(loss, *t), autograph=False, input_signature=fixed)
    for images in (3, 2, 1):
        expected = gradients(L.get("cce + dice", from_logits=True), ids[:images], scores[:images])
        for ours, plain in zip(graph(ids[:images], scores[:images]), expected, strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-7)
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_small_gradients_survive_half_precision_under_a_loss_scale(dtype):
    rng = np.random.default_rng(0)
    ids = tf.constant(rng.integers(0, 2, (1, 128, 128)))
    scores = tf.cast(rng.normal(size=(1, 128, 128, 2)), dtype)
    loss, scale = L.get("cce", from_logits=True), 2.0**15

    @tf.function
    def scaled(y, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = scale * loss(y, z)
        return tape.gradient(value, z)

    wide = tf.cast(scores, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(wide)
        value = loss(ids, wide)
    exact = tape.gradient(value, wide)
    gradient = tf.cast(scaled(ids, scores), tf.float32) / scale
    np.testing.assert_allclose(gradient, exact, rtol=2e-2, atol=2e-8)


@pytest.mark.parametrize("spec", ["cce", "dice", "focal"])
def test_second_derivatives_are_those_of_the_formula(spec):
    ids, _, scores = batch()
    ids, scores = ids[:1, :2, :2], tf.cast(scores[:1, :2, :2], tf.float64)
    loss = L.get(spec, from_logits=True)
    direction = tf.random.stateless_normal(scores.shape, [3, 4], dtype=tf.float64)

    def slope(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(ids, z)
        return tape.gradient(value, z)

    @tf.function
    def curvature(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            along = tf.reduce_sum(slope(z) * direction)
        return tape.gradient(along, z)

    step = 1e-5
    expected = (slope(scores + step * direction) - slope(scores - step * direction)) / (2 * step)
    np.testing.assert_allclose(curvature(scores), expected, atol=1e-7)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("jit", [False, True])
def test_mixed_precision_trains(policy, jit):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(16, 8, 8, 1)).astype("float32")
    masks = (images[..., 0] > 0.5).astype("uint8")
    inputs = keras.Input((8, 8, 1))
    layer = keras.layers.Conv2D(2, 1, dtype=policy, kernel_initializer=keras.initializers.GlorotUniform(seed=0))
    model = keras.Model(inputs, layer(inputs))
    optimizer = keras.optimizers.Adam(0.1)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, loss=L.get("cce + dicefg", from_logits=True), jit_compile=jit)
    losses = model.fit(images, masks, batch_size=8, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.6 * losses[0]
    assert np.all(np.isfinite(losses))
