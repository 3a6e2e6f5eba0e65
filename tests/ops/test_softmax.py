"""`kseg.ops.softmax` and `kseg.ops.scores` against NumPy, and their closed-form gradients against differences."""

import numpy as np
import pytest
import tensorflow as tf

from kseg import ops

SHAPES = {"2-D": (2, 3, 4), "3-D": (2, 2, 3, 2)}


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def draw(shape, classes):
    rng = np.random.default_rng(classes)
    n = int(np.prod(shape))
    return 2 * rng.normal(size=(n, classes)), rng.dirichlet(np.ones(classes), n), rng.uniform(0.5, 2, n)


def slopes(function, *tensors):
    """Central differences of a scalar function with respect to each float64 array."""
    for i, array in enumerate(tensors):
        slope = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            steps = []
            for sign in (1, -1):
                moved = [t.copy() for t in tensors]
                moved[i][index] += sign * 1e-6
                steps.append(function(*moved))
            slope[index] = (steps[0] - steps[1]) / 2e-6
        yield slope


def assert_slopes(value, *tensors, atol=1e-7):
    """The gradient of `value` with respect to each tensor equals its central differences."""
    variables = [tf.constant(t) for t in tensors]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        total = value(*variables)
    for ours, expected in zip(tape.gradient(total, variables), slopes(value, *tensors), strict=True):
        np.testing.assert_allclose(ours, expected, atol=atol)


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("classes", [2, 5, 40])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_overlap_sums_are_those_of_numpy(rank, classes, per_image, squared, head):
    shape = SHAPES[rank]
    z, y, w = draw(shape, classes)
    p = softmax(z) if head == "softmax" else 1 / (1 + np.exp(-z))
    power = 2 if squared else 1
    weighted = [w[:, None] * part for part in (y * p, y**power, p**power)]
    expected = [part.reshape(shape[0], -1, classes).sum(1) for part in weighted]
    if not per_image:
        expected = [part.sum(0, keepdims=True) for part in expected]
    sums = ops.logit_overlap(z, y, w, head=head, shape=shape, per_image=per_image, squared=squared)
    for ours, theirs in zip(sums, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("head", "classes"), [("softmax", 3), ("softmax", 13), ("sigmoid", 1), ("sigmoid", 3)])
def test_overlap_gradients_equal_differences(per_image, squared, head, classes):
    shape = (2, 1, 2)
    tensors = draw(shape, classes)
    up = np.random.default_rng(9).normal(size=(3, shape[0] if per_image else 1, classes))

    def value(z, y, w):
        sums = ops.logit_overlap(z, y, w, head=head, shape=shape, per_image=per_image, squared=squared)
        return sum(tf.reduce_sum(u * s) for u, s in zip(up, sums, strict=True))

    assert_slopes(value, *tensors)


def test_the_dice_gradient_through_the_softmax_is_that_of_d2():
    """S2.9: d l_D / d p = 2 g / D - 4 p I / D^2 for squared sums, then the chain rule of the softmax by hand."""
    z, y, _ = draw((1, 3, 3), 2)
    z = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        sums = ops.logit_overlap(z, y, head="softmax", shape=(1, 3, 3), squared=True)
        dice = (2 * sums.intersection / (sums.truth + sums.prediction))[0, 1]
    p, g = softmax(z.numpy()).T, y[:, 1]
    overlap, size = (p[1] * g).sum(), (p[1] ** 2).sum() + (g**2).sum()
    d_p = 2 * g / size - 4 * p[1] * overlap / size**2
    expected = np.stack([-p[0] * p[1] * d_p, p[1] * (1 - p[1]) * d_p], axis=1)
    np.testing.assert_allclose(tape.gradient(dice, z), expected, rtol=1e-10)


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_cross_entropy_and_its_gradients(classes):
    z, y, w = draw((1, 2, 3), classes)
    y = w[:, None] * y  # labels need not add up to 1
    np.testing.assert_allclose(ops.softmax_cross_entropy(z, y), -(y * np.log(softmax(z))).sum(1), rtol=1e-12)
    up = np.linspace(-1, 2, len(z))
    value = lambda z, y: tf.reduce_sum(up * ops.softmax_cross_entropy(z, y))  # noqa: E731
    assert_slopes(value, z, y)


@pytest.mark.parametrize("classes", [4, 40])
def test_parts_of_softmax_and_sigmoid_and_their_gradients(classes):
    z, _, _ = draw((1, 1, 3), classes)
    z[0, 0] = 0.0
    p = softmax(z)
    s = 1 / (1 + np.exp(-z))
    cases = [
        (lambda z: [ops.softmax_probabilities(z)], (p,)),
        (lambda z: [ops.softmax_alone(z)], (p,)),
        (lambda z: [ops.softmax_logarithms(z)], (np.log(p),)),
        (ops.sigmoid_pair, (s, 1 - s)),
        (ops.sigmoid_logarithms, (np.log(s), np.log(1 - s))),
    ]
    for parts, expected in cases:
        up = np.random.default_rng(1).normal(size=(len(expected), *z.shape))
        value = lambda z, f=parts, u=up: sum(tf.reduce_sum(a * b) for a, b in zip(u, f(z), strict=True))  # noqa: E731
        for ours, theirs in zip(parts(z), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10)
        assert_slopes(value, z)


def test_parts_of_a_sigmoid_are_exact_in_the_tails():
    z = tf.constant([-1e4, -30.0, 30.0, 1e4])
    (p, q), (log_p, log_q) = ops.sigmoid_pair(z), ops.sigmoid_logarithms(z)
    np.testing.assert_allclose(q, [1, 1, np.exp(-30), 0], rtol=1e-6)
    np.testing.assert_allclose(p, [0, np.exp(-30), 1, 1], rtol=1e-6)
    np.testing.assert_allclose(log_p, [-1e4, -30, -np.exp(-30), 0], rtol=1e-6)
    np.testing.assert_allclose(log_q, [0, -np.exp(-30), -30, -1e4], rtol=1e-6)


def test_sums_of_a_million_pixels_keep_five_digits():
    shape = (1, 1024, 1024)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2**20, 2)).astype("float32")
    y = np.ones_like(z)
    run = tf.function(lambda z, y: tuple(ops.logit_overlap(z, y, head="softmax", shape=shape)), jit_compile=True)
    for ours in (run(z, y), ops.logit_overlap(z, y, head="softmax", shape=shape)):
        np.testing.assert_allclose(ours[2][0], softmax(z.astype("float64")).sum(0), rtol=5e-6)


def test_a_missing_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="Expected \\[N, K\\] with a known number of classes"):
        tf.function(
            lambda z: ops.logit_overlap(z, z, head="softmax", shape=(1, 1, 1)),
            input_signature=[tf.TensorSpec([1, None])],
        ).get_concrete_function()


@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
def test_sigmoid_focal_and_its_gradients(gamma):
    rng = np.random.default_rng(3)
    z, y = 3 * rng.normal(size=(2, 7)), rng.uniform(size=(2, 7))
    weights = np.array([[0.3], [0.8]])
    p = 1 / (1 + np.exp(-z))
    expected = -weights * y * (1 - p) ** gamma * np.log(p) - (1 - weights) * (1 - y) * p**gamma * np.log(1 - p)
    np.testing.assert_allclose(ops.sigmoid_focal(z, y, gamma, weights, 1 - weights), expected, rtol=1e-9)
    up = rng.normal(size=z.shape)
    value = lambda z, y: tf.reduce_sum(up * ops.sigmoid_focal(z, y, gamma, weights, 1 - weights))  # noqa: E731
    assert_slopes(value, z, y)


@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
def test_softmax_focal_and_its_gradients(gamma):
    z, y, w = draw((1, 2, 3), 4)
    alpha = np.array([0.2, 0.5, 1.5, 0.9])
    p = softmax(z)
    expected = -(alpha * y * (1 - p) ** gamma * np.log(p)).sum(1)
    np.testing.assert_allclose(ops.softmax_focal(z, y, gamma, alpha), expected, rtol=1e-10)
    value = lambda z, y: tf.reduce_sum(w * ops.softmax_focal(z, y, gamma, alpha))  # noqa: E731
    assert_slopes(value, z, y)


def test_sigmoid_cross_entropy_and_its_gradients():
    rng = np.random.default_rng(3)
    z, y, up = 3 * rng.normal(size=(2, 7)), rng.uniform(size=(2, 7)), rng.normal(size=(2, 7))
    p = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(ops.sigmoid_cross_entropy(z, y), -(y * np.log(p) + (1 - y) * np.log(1 - p)), rtol=1e-10)
    value = lambda z, y: tf.reduce_sum(up * ops.sigmoid_cross_entropy(z, y))  # noqa: E731
    assert_slopes(value, z, y)


def test_the_gradient_of_a_right_pixel_keeps_its_digits():
    z = tf.constant([-25.0, 25.0])
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = tf.reduce_sum(ops.sigmoid_cross_entropy(z, tf.constant([0.0, 1.0])))
    np.testing.assert_allclose(tape.gradient(value, z), [np.exp(-25), -np.exp(-25)], rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 256, 256), (1, 1, 2**19), (2, 7, 11, 13), (3, 1, 521)])
@pytest.mark.parametrize("classes", [1, 3])
def test_sums_of_a_batch_keep_five_digits_when_compiled(shape, classes):
    """XLA would join the sums over lines, images and batch into one pass of float32, off by up to a percent."""
    count = int(np.prod(shape))
    terms = tf.constant(0.1, shape=[count, classes])
    both = tf.function(lambda x: (ops.group_sums(x, shape), ops.image_sums(x[:, 0], shape)), jit_compile=True)
    whole, images = both(terms)
    np.testing.assert_allclose(whole, np.full([1, classes], 0.1 * count), rtol=5e-6)
    np.testing.assert_allclose(images, np.full(shape[0], 0.1 * count / shape[0]), rtol=5e-6)
