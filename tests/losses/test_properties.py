"""Hypothesis draws dtype, size, classes, scores and masks; whatever it draws, value and gradient are finite."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import kseg.losses as L

DTYPES = ("float16", "bfloat16", "float32")
MASKS = ("random", "empty", "full", "single pixel", "ignored", "some ignored")
SCORES = ("normal", "uniform", "extremes", "all low", "all high", "zero")
EXAMPLES = 12


def draw_mask(kind, shape, classes, rng):
    highest = max(classes, 2) - 1
    ids = {"empty": np.zeros(shape, int), "full": np.full(shape, highest)}.get(kind)
    if ids is None:
        ids = rng.integers(0, highest + 1, shape)
    if kind == "single pixel":
        ids = np.zeros(shape, int)
        ids.flat[rng.integers(ids.size)] = highest
    if kind == "ignored":
        ids[:] = 255
    if kind == "some ignored":
        ids[rng.uniform(size=shape) < 0.5] = 255
    return ids


def draw_scores(kind, shape, rng):
    return {
        "normal": lambda: rng.normal(size=shape),
        "uniform": lambda: rng.uniform(-1e4, 1e4, shape),
        "extremes": lambda: rng.choice([-1e4, 0.0, 1e4], shape),
        "all low": lambda: np.full(shape, -1e4),
        "all high": lambda: np.full(shape, 1e4),
        "zero": lambda: np.zeros(shape),
    }[kind]()


def value_and_gradient(loss, y, scores):
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = loss(y, scores)
    return value, tape.gradient(value, scores)


@pytest.mark.parametrize("name", L.names())
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    dtype=st.sampled_from(DTYPES),
    size=st.sampled_from([(1, 1), (1, 2), (2, 1), (3, 5), (8, 8), (17, 16), (64, 64), (512, 1), (3, 512), (200, 33)]),
    images=st.integers(1, 3),
    classes=st.integers(1, 8),
    mask=st.sampled_from(MASKS),
    scores=st.sampled_from(SCORES),
    per_image=st.booleans(),
    seed=st.integers(0, 10**6),
)
@example(
    dtype="float16", size=(512, 512), images=1, classes=2, mask="random", scores="extremes", per_image=False, seed=0
)
@example(dtype="float16", size=(1, 1), images=1, classes=8, mask="ignored", scores="all high", per_image=True, seed=0)
@example(dtype="bfloat16", size=(1, 1), images=1, classes=1, mask="full", scores="all low", per_image=False, seed=0)
def test_value_and_gradient_are_finite(name, dtype, size, images, classes, mask, scores, per_image, seed):
    rng = np.random.default_rng(seed)
    cls = L.LOSSES.get(name)
    options = {"per_image": per_image} if "per_image" in cls.defaults else {}
    loss = L.get(name, from_logits=True, ignore_class=255, **options)
    assume(not (classes == 1 and loss.head == "softmax"))
    y = tf.constant(draw_mask(mask, (images, *size), classes, rng), tf.int32)
    z = tf.cast(draw_scores(scores, (images, *size, classes), rng), dtype)
    value, gradient = value_and_gradient(loss, y, z)
    assert value.dtype == tf.float32 and gradient.dtype == z.dtype
    assert np.isfinite(float(value))
    gradient = tf.cast(gradient, tf.float32).numpy()
    assert np.all(np.isfinite(gradient))
    assert not gradient[y.numpy() == 255].any(), "an ignored pixel has a gradient"


@pytest.mark.parametrize("name", ["cce", "weighted_cce", "bce", "focal"])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    dtype=st.sampled_from(DTYPES),
    margin=st.floats(0.01, 1e4),
    classes=st.integers(1, 8),
    foreground=st.booleans(),
)
def test_a_wrong_pixel_keeps_its_gradient_at_any_logit(name, dtype, margin, classes, foreground):
    loss = L.get(name, from_logits=True)
    assume(not (classes == 1 and loss.head == "softmax"))
    true, guess = (max(classes, 2) - 1, 0) if foreground else (0, max(classes, 2) - 1)
    z = np.zeros((1, 1, 2, classes))
    z[..., -1] = margin if guess else -margin  # both pixels say `guess`
    y = tf.constant([[[true, guess]]])
    _, gradient = value_and_gradient(loss, y, tf.cast(z, dtype))
    wrong = tf.cast(gradient, tf.float32).numpy()[0, 0, 0, -1]
    assert (wrong < 0) if true else (wrong > 0)
    assert abs(wrong) > 1e-3 / classes
