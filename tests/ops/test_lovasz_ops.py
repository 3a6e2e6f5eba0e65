import numpy as np
import pytest
import reference_distances
import tensorflow as tf
from graph_checks import check_graph_op
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg import ops
from kseg.ops.lovasz import CHUNK


def by_definition(y, w):
    """J_i - J_(i-1), J_i the Jaccard loss where the first i pixels are wrong."""
    losses = [reference_distances.jaccard_loss(np.arange(len(y)) < i, y, w) for i in range(len(y) + 1)]
    return np.diff(losses)


@pytest.mark.parametrize("kind", ["hard", "soft", "empty", "full"])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_growth_of_the_jaccard_loss(kind, weighted):
    rng = np.random.default_rng(0)
    y = {"hard": rng.integers(0, 2, 12) * 1.0, "soft": rng.uniform(size=12), "empty": np.zeros(12), "full": np.ones(12)}
    y = y[kind]
    w = rng.uniform(0.5, 2, 12) * (rng.uniform(size=12) > 0.3) if weighted else np.ones(12)
    result = ops.lovasz_gradient(tf.constant(y), tf.constant(w) if weighted else None)
    np.testing.assert_allclose(result, by_definition(y, w), atol=1e-14)


def test_bermans_algorithm_one():
    """As printed: differences of 1 - intersection / union of cumulative sums."""
    y = np.random.default_rng(1).integers(0, 2, (3, 50)).astype(float)
    total = y.sum(1, keepdims=True)
    jaccard = 1 - (total - np.cumsum(y, 1)) / (total + np.cumsum(1 - y, 1))
    np.testing.assert_allclose(ops.lovasz_gradient(tf.constant(y)), np.diff(jaccard, prepend=0), atol=1e-14)


def test_float32_keeps_the_precision_of_each_entry():
    """Differences of numbers near 1 have lost it at this length."""
    y = np.random.default_rng(2).uniform(size=(1, 300000)) < 0.3
    exact = ops.lovasz_gradient(tf.constant(y.astype("float64"))).numpy()
    result = ops.lovasz_gradient(tf.constant(y.astype("float32"))).numpy()
    assert exact[exact > 0].min() < 1e-9
    np.testing.assert_allclose(result, exact, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 9), seed=st.integers(0, 10**6), weighted=st.booleans(), hard=st.booleans())
def test_the_extension_is_the_choquet_integral_of_the_jaccard_loss(n, seed, weighted, hard):
    rng = np.random.default_rng(seed)
    y, errors = rng.integers(0, 2, (2, n)) * 1.0, rng.uniform(size=(2, n))
    if hard:
        errors = np.round(errors)  # ties, and the set function itself
    w = rng.integers(0, 3, (2, n)) * 1.0 if weighted else np.ones((2, n))
    result = ops.lovasz_extension(tf.constant(errors), tf.constant(y), tf.constant(w) if weighted else None)
    p = np.abs(y - errors)
    expected = [reference_distances.lovasz(*row, hinge=False) for row in zip(y, p, w, strict=True)]
    np.testing.assert_allclose(result, expected, atol=1e-12)
    if hard:
        sets = [reference_distances.jaccard_loss(e > 0, *row) for e, *row in zip(errors, y, w, strict=True)]
        np.testing.assert_allclose(result, sets, atol=1e-12)


def test_the_gradient_is_that_of_each_pixel_and_does_not_flow_into_truth_and_weight():
    rng = np.random.default_rng(0)
    errors, truth, weight = rng.uniform(size=(1, 6)), rng.integers(0, 2, (1, 6)) * 1.0, rng.uniform(size=(1, 6))
    tensors = [tf.constant(array) for array in (errors, truth, weight)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = tf.reduce_sum(ops.lovasz_extension(*tensors))
    slope, *others = tape.gradient(value, tensors)
    assert others == [None, None]
    order = np.argsort(-tensors[0].numpy()[0])
    expected = by_definition(*(t.numpy()[0][order] for t in tensors[1:]))
    np.testing.assert_allclose(slope.numpy()[0][order], expected, atol=1e-14)


@pytest.mark.parametrize("way", [ops.lovasz_extension, tf.function(ops.lovasz_extension, jit_compile=True)])
def test_long_rows_are_walked_in_stretches_that_join(way):
    """More pixels than one stretch holds, and not a multiple of it; with ties and weights, some of them 0."""
    rng = np.random.default_rng(0)
    n = 2 * CHUNK + 777
    errors = np.round(rng.uniform(size=(2, n)), 3).astype("float32")
    truth, weight = rng.integers(0, 2, (2, n)).astype("float32"), rng.integers(0, 3, (2, n)).astype("float32")
    tensors = [tf.constant(array) for array in (errors, truth, weight)]
    with tf.GradientTape() as tape:
        tape.watch(tensors[0])
        values = way(*tensors)
    slope = tape.gradient(values, tensors[0]).numpy()
    for row in range(2):
        order = np.argsort(-errors[row], kind="stable")
        y, w = truth[row][order].astype(float), weight[row][order].astype(float)
        wrong, missed = np.cumsum(w), np.cumsum(w * y)
        union = (w * y).sum() + wrong - missed
        growth = np.diff(1 - ((w * y).sum() - missed) / union, prepend=0)
        np.testing.assert_allclose(slope[row][order], growth, rtol=1e-4, atol=1e-9)
        assert values[row].numpy() == pytest.approx((errors[row][order] * growth).sum(), rel=1e-5)


def test_a_nan_error_gives_nan_in_its_row_only():
    errors, truth = tf.constant([[0.1, np.nan, 0.3], [0.1, 0.2, 0.3]]), tf.constant([[0.0, 1.0, 1.0]] * 2)
    values = ops.lovasz_extension(errors, truth).numpy()
    assert np.isnan(values[0]) and np.isfinite(values[1])


def test_equal_errors_go_in_the_order_of_the_pixels():
    errors, truth = tf.constant([[0.5] * 5]), tf.constant([[0.0, 1.0, 0.0, 1.0, 1.0]])
    for way in (ops.lovasz_extension, tf.function(ops.lovasz_extension, jit_compile=True)):
        with tf.GradientTape() as tape:
            tape.watch(errors)
            value = way(errors, truth)
        np.testing.assert_allclose(tape.gradient(value, errors), ops.lovasz_gradient(truth), atol=1e-7)


def test_they_are_graph_ops():
    rng = np.random.default_rng(0)
    sizes = [(2, 7), (1, 1), (0, 5), (3, 0)]
    batches = [[rng.uniform(size=s), rng.integers(0, 2, s), rng.uniform(0.5, 2, s)] for s in sizes]
    signature = [tf.TensorSpec([None, None], tf.float32)] * 3

    def with_gradient(errors, truth, weight):
        with tf.GradientTape() as tape:
            tape.watch(errors)
            values = ops.lovasz_extension(errors, truth, weight)
        return values, tape.gradient(values, errors)

    check_graph_op(with_gradient, signature, batches)
    check_graph_op(ops.lovasz_gradient, signature[:2], [batch[1:] for batch in batches])
