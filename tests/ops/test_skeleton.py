import numpy as np
import pytest
import reference
import reference_distances
import tensorflow as tf
from graph_checks import check_graph_op

from kseg import ops

SHAPES = [(1, 1), (3, 4), (17, 12), (1, 9), (5, 6, 7), (3, 1, 8), (1, 1, 1)]


def draw(shape, channels=2, images=2, seed=0):
    return np.random.default_rng(seed).uniform(size=(images, *shape, channels))


def expected(p, iterations, counted=None):
    counted = np.ones(p.shape[:-1], bool) if counted is None else counted
    found = [
        [reference_distances.skeleton(image[..., c], where, iterations) for c in range(p.shape[-1])]
        for image, where in zip(p, counted, strict=True)
    ]
    return np.moveaxis(np.array(found), 1, -1)


def slope(function, p):
    p = tf.constant(p)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = function(p)
    return tape.gradient(value, p)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("iterations", [0, 1, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_papers_algorithm(shape, iterations, dtype):
    p = draw(shape).astype(dtype)
    result = ops.soft_skeleton(tf.constant(p), iterations)
    assert result.dtype == dtype and result.shape == p.shape
    rounding = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(result, expected(p.astype(float), iterations), atol=rounding)


@pytest.mark.parametrize("shape", [(5, 6), (4, 3, 5)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("iterations", [0, 2])
def test_its_gradient_is_that_of_finite_differences(shape, masked, iterations):
    p = draw(shape)
    counted = np.random.default_rng(1).uniform(size=p.shape[:-1]) > 0.3 if masked else None
    weights = np.random.default_rng(2).normal(size=p.shape)

    def total(p):
        return (weights * expected(p, iterations, counted)).sum()

    mask = None if counted is None else tf.constant(counted)
    found = slope(lambda p: tf.reduce_sum(weights * ops.soft_skeleton(p, iterations, counted=mask)), p)
    np.testing.assert_allclose(found, reference.numeric_gradient(total, p, 1e-7), atol=1e-6)


def test_its_gradient_is_that_of_the_poolings():
    """As the authors write it; TensorFlow's own gradient of 2-D pooling is right where no two values are equal."""

    def eroded(x):
        return tf.minimum(-tf.nn.max_pool2d(-x, [3, 1], 1, "SAME"), -tf.nn.max_pool2d(-x, [1, 3], 1, "SAME"))

    def pooled(x):
        skeleton = tf.zeros_like(x)
        for _ in range(5):
            left = tf.nn.relu(x - tf.nn.max_pool2d(eroded(x), 3, 1, "SAME"))
            skeleton += tf.nn.relu(left - skeleton * left)
            x = eroded(x)
        return skeleton

    p = draw((40, 30)).astype("float32")
    ours = slope(lambda p: tf.reduce_sum(tf.square(ops.soft_skeleton(p, 4))), p)
    theirs = slope(lambda p: tf.reduce_sum(tf.square(pooled(p))), p)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.abs(theirs).max() > 1


def test_a_bar_becomes_its_centre_line():
    bar = np.zeros((1, 9, 21, 1), "float32")
    bar[0, 2:7] = 1
    line = ops.soft_skeleton(tf.constant(bar), 5).numpy()[0, ..., 0]
    assert (line[4] == 1).all()
    line[4] = 0
    assert not line.any()


def test_too_few_iterations_leave_no_line_of_a_thick_bar():
    bar = np.zeros((1, 15, 21, 1), "float32")
    bar[0, 2:13] = 1
    assert not ops.soft_skeleton(tf.constant(bar), 3).numpy().any()
    assert ops.soft_skeleton(tf.constant(bar), 5).numpy()[0, 7, :, 0].all()


def test_a_tube_becomes_its_centre_line():
    y, x = np.ogrid[:9, :9]
    disk = (y - 4) ** 2 + (x - 4) ** 2 <= 9
    tube = np.broadcast_to(disk, (1, 12, 9, 9)).astype("float32")[..., None]
    line = ops.soft_skeleton(tf.constant(tube), 5).numpy()[0, ..., 0]
    assert (line[:, 4, 4] == 1).all()
    assert line.sum() < 0.5 * tube.sum()


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_flat_masks_have_finite_gradients(value, dtype):
    for shape in ((1, 1, 1, 1), (2, 5, 4, 2), (1, 3, 4, 2, 1)):
        p = np.full(shape, value, dtype)
        assert np.isfinite(slope(lambda p: tf.reduce_sum(ops.soft_skeleton(p, 2)), p)).all()
        assert not ops.soft_skeleton(tf.constant(p), 2).numpy().any()


def test_the_gradient_of_equal_values_is_shared_and_keeps_its_sum():
    """Erosion of a flat region: what flows back is what came in, at the pixels that hold the minimum."""
    p = np.full((1, 7, 7, 1), 0.5)
    p[0, 3, 3] = 0.9
    gradient = slope(lambda p: ops.soft_skeleton(p, 0)[0, 3, 3, 0], p).numpy()[0, ..., 0]
    assert gradient[3, 3] == 1
    assert gradient.sum() == pytest.approx(0)
    np.testing.assert_allclose(gradient, gradient.T)
    np.testing.assert_allclose(gradient, gradient[::-1])


@pytest.mark.parametrize("rank", [2, 3])
def test_it_is_a_graph_op_and_so_is_its_gradient(rank):
    sizes = [(2, 5, 6, 4), (1, 1, 3, 1), (0, 4, 3, 5)]
    batches = [[draw(size[1 : rank + 1], images=size[0])] for size in sizes]

    def both(p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            skeleton = ops.soft_skeleton(p, 3)
            value = tf.reduce_sum(tf.square(skeleton))
        return skeleton, tape.gradient(value, p)

    check_graph_op(both, [tf.TensorSpec([None] * (rank + 1) + [2], tf.float32)], batches, rtol=1e-5, atol=1e-5)


def test_pixels_that_do_not_count_are_outside_the_image():
    p = draw((8, 9))
    counted = np.ones(p.shape[:-1], bool)
    counted[:, :, 6:] = False
    result = ops.soft_skeleton(tf.constant(p), 2, counted=tf.constant(counted)).numpy()
    np.testing.assert_array_equal(result[:, :, :6], ops.soft_skeleton(tf.constant(p[:, :, :6]), 2))
    assert not result[:, :, 6:].any()


def test_a_second_derivative_is_nan_and_not_wrong():
    p = tf.constant(draw((5, 5)))
    with tf.GradientTape() as outer:
        outer.watch(p)
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = tf.reduce_sum(tf.square(ops.soft_skeleton(p, 1)))
        first = tf.reduce_sum(tape.gradient(value, p))
    assert np.isnan(outer.gradient(first, p)).all()


def test_a_line_has_no_skeleton():
    with pytest.raises(ValueError, match="Expected .B, H, W, C."):
        ops.soft_skeleton(tf.zeros([1, 5, 1]), 1)
