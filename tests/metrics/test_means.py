"""Means of positive numbers, and masks as sets, against scipy, scikit-learn and D2's examples."""

import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf
from scipy import stats

from kseg.metrics import confusion_counts, f1, iou, means, sets

MEANS = {"arithmetic": stats.tmean, "geometric": stats.gmean, "harmonic": stats.hmean}
OURS = {name: getattr(means, f"{name}_mean") for name in MEANS}

# S2.4: a predicted and a true mask; S2.10: the prediction before the threshold.
PREDICTED = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0]])
TRUE = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]])
P = np.array([[0.12, 0.83, 0.23], [0.89, 0.94, 0.36], [0.23, 0.06, 0.18]])


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(0).uniform(0.01, 50, (4, 5))


# --- means


@pytest.mark.parametrize("name", MEANS)
def test_means_equal_scipy(table, name):
    assert OURS[name](table) == pytest.approx(MEANS[name](table, axis=None), rel=1e-13)
    for axis in (0, 1, -1):
        rows = np.moveaxis(table, axis, -1)
        np.testing.assert_allclose(OURS[name](table, axis=axis), [MEANS[name](row) for row in rows], rtol=1e-13)
    np.testing.assert_allclose(OURS[name](table[None], axis=(0, 2)), OURS[name](table, axis=1), rtol=1e-13)


@pytest.mark.parametrize("name", MEANS)
def test_whole_weights_are_repetitions(table, name):
    numbers = np.array([[3, 0, 1, 2, 1]] * 4)
    repeated = np.repeat(table, numbers[0], axis=1)
    np.testing.assert_allclose(OURS[name](table, numbers, axis=1), OURS[name](repeated, axis=1), rtol=1e-13)
    np.testing.assert_allclose(OURS[name](table, numbers[0], axis=1), OURS[name](repeated, axis=1), rtol=1e-13)
    assert OURS[name](table, 7.0 * numbers) == pytest.approx(OURS[name](repeated), rel=1e-13)


@pytest.mark.parametrize("name", MEANS)
def test_one_weight_a_place_goes_along_the_axis_of_a_square(table, name):
    square, weights = table[:, :4], np.array([4.0, 1.0, 1.0, 1.0])
    expected = [OURS[name](row, weights) for row in square]
    np.testing.assert_allclose(OURS[name](square, weights, axis=1), expected, rtol=1e-13)
    expected = [OURS[name](column, weights) for column in square.T]
    np.testing.assert_allclose(OURS[name](square, weights, axis=0), expected, rtol=1e-13)


def test_worked_numbers_of_the_means():
    root = np.sqrt(297.0)
    assert root == pytest.approx(17.233688, abs=5e-7)  # S2.2
    assert means.geometric_mean([3.3, 90]) == pytest.approx(root, rel=1e-14)
    assert means.geometric_mean([3, 99]) == pytest.approx(root, rel=1e-14)
    assert means.geometric_mean([3, 90]) == pytest.approx(16.431677, abs=5e-7)
    assert means.geometric_mean([3.3, 90]) / means.geometric_mean([3, 90]) == pytest.approx(np.sqrt(1.1))
    assert means.harmonic_mean([3, 90]) == pytest.approx(2 * 3 * 90 / 93)
    numbers = np.arange(1, 1001)
    for name, value in (("arithmetic", 500.5), ("geometric", 369.4917), ("harmonic", 133.5921)):
        assert OURS[name](numbers) == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("seed", range(5))
def test_means_are_ordered_and_differ_when_numbers_do(seed):
    x = np.random.default_rng(seed).lognormal(0, 2, 9)
    assert x.min() < OURS["harmonic"](x) < OURS["geometric"](x) < OURS["arithmetic"](x) < x.max()  # E2.1


@pytest.mark.parametrize("value", [0.1, 3, 1 / 3, 1e300])
@pytest.mark.parametrize("weights", [None, [0.1, 0.2, 0.7]])
def test_equal_numbers_are_their_own_means(value, weights):
    assert {float(mean([value] * 3, weights)) for mean in OURS.values()} == {value}


def test_numbers_near_the_ends_of_the_range_have_means():
    huge, tiny = [1e308, 1e308, 1e308, 1e307], [1e-307, 1e-306, 1e-307]
    exact = {
        "arithmetic": (7.75e307, 4e-307), "geometric": (10**307.75, 10 ** (-920 / 3)),
        "harmonic": (4 / 13 * 1e308, 3e-306 / 21),
    }  # fmt: skip
    for name, (large, small) in exact.items():
        assert OURS[name](huge) == pytest.approx(large, rel=1e-12)
        assert OURS[name](tiny) == pytest.approx(small, rel=1e-12, abs=0)
        assert OURS[name](np.full(5000, 1e-200)) == pytest.approx(1e-200, rel=1e-12, abs=0)
        assert OURS[name]([1e-300, 1e300], [1, 0]) == pytest.approx(1e-300, rel=1e-12, abs=0)
        assert OURS[name]([1e-300, 1e300], [0, 1]) == pytest.approx(1e300, rel=1e-12)


@pytest.mark.parametrize("name", MEANS)
def test_tensors_give_what_arrays_give(table, name):
    weights = np.array([3.0, 0, 1, 2, 1])
    compiled = tf.function(OURS[name], jit_compile=True)
    result = compiled(tf.constant(table), tf.constant(weights), axis=1)
    assert result.dtype == tf.float64
    np.testing.assert_allclose(result, OURS[name](table, weights, axis=1), rtol=1e-13)
    single = OURS[name](tf.constant(table, tf.float32), axis=0)
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, OURS[name](table, axis=0), rtol=1e-6)
    assert OURS[name](tf.constant([2, 8])).dtype == tf.float64


@pytest.mark.parametrize("name", MEANS)
def test_gradients_of_means_equal_differences(table, name):
    x = tf.constant(table[0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean = OURS[name](x)
    bumps = 1e-5 * np.eye(5)
    slopes = [(OURS[name](table[0] + bump) - OURS[name](table[0] - bump)) / 2e-5 for bump in bumps]
    np.testing.assert_allclose(tape.gradient(mean, x), slopes, rtol=1e-6)


@pytest.mark.parametrize("name", MEANS)
def test_tensors_that_do_not_fit_give_nan(name):
    rows = tf.constant([[1.0, 2.0], [0.0, 2.0], [-1.0, 2.0], [np.inf, 2.0], [np.nan, 2.0]])
    assert np.isnan(OURS[name](rows, axis=1)).tolist() == [False, True, True, True, True]
    assert np.isnan(OURS[name](tf.constant([1.0, 2.0]), tf.constant([0.0, 0.0])))
    assert np.isnan(OURS[name](tf.constant([1.0, 2.0]), tf.constant([2.0, -1.0])))


@pytest.mark.parametrize(
    ("values", "weights", "axis", "message"),
    [
        ([1, 0], None, None, "values hold 0"),
        ([1, -2.5], None, None, "values hold -2.5"),
        ([1, float("nan")], None, None, "values hold nan"),
        ([float("inf")], None, None, "values hold inf"),
        ([], None, None, "at least one number"),
        ([1, 2], [1, -1], None, "weights hold -1"),
        ([1, 2], [0, 0], None, "all 0"),
        ([[1, 2], [3, 4]], [[1, 1], [0, 0]], 1, "all 0"),
        ([1, 2, 3], [1, 2], None, "weights have shape"),
        ([[1, 2, 3], [4, 5, 6]], [1, 2, 3], None, "weights have shape"),
        ([[1, 2, 3], [4, 5, 6]], [1, 2, 3], 0, "weights have shape"),
    ],
)
@pytest.mark.parametrize("name", MEANS)
def test_arrays_that_do_not_fit_are_refused(name, values, weights, axis, message):
    with pytest.raises(ValueError, match=message):
        OURS[name](values, weights, axis)


# --- masks as sets


def test_set_operations_of_the_example():
    np.testing.assert_array_equal(sets.intersection(PREDICTED, TRUE), [[0, 1, 0], [0, 1, 0], [0, 0, 0]])  # S2.4
    np.testing.assert_array_equal(sets.union(PREDICTED, TRUE), [[0, 1, 0], [1, 1, 1], [0, 0, 0]])
    assert sets.count(sets.intersection(PREDICTED, TRUE)) == 2
    assert sets.count(sets.union(PREDICTED, TRUE)) == 4
    assert sets.mask_iou(TRUE, PREDICTED) == 0.5  # S2.5
    assert sets.mask_f1(TRUE, PREDICTED) == pytest.approx(2 / 3)  # S2.6
    np.testing.assert_array_equal(P > 0.5, PREDICTED)  # S2.10


@pytest.mark.parametrize("seed", range(4))
def test_scores_of_masks(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 6, 7)) < 0.5
    jaccard = sklearn.metrics.jaccard_score(a.ravel(), b.ravel())
    assert sets.mask_iou(a, b) == pytest.approx(jaccard) == sets.mask_iou(b, a)
    assert sets.mask_f1(a, b) == pytest.approx(sklearn.metrics.f1_score(a.ravel(), b.ravel())) == sets.mask_f1(b, a)
    larger = [np.kron(mask, np.ones((3, 3), int)) for mask in (a, b)]
    assert sets.mask_iou(*larger) == pytest.approx(jaccard)  # S2.5: it does not depend on the scale
    assert sets.mask_iou(a, a) == 1 == sets.mask_f1(a, a)
    assert sets.mask_iou(a, ~a) == 0 == sets.mask_f1(a, ~a)
    stacked = np.stack([a, ~a]), np.stack([b, b])
    assert sets.mask_iou(*stacked, axis=(1, 2)).tolist() == [sets.mask_iou(a, b), sets.mask_iou(~a, b)]
    assert sets.mask_f1(*stacked, axis=(1, 2)).tolist() == [sets.mask_f1(a, b), sets.mask_f1(~a, b)]


def test_two_empty_masks_have_the_score_asked_for():
    nothing = np.zeros((2, 2), bool)
    for score in (sets.mask_iou, sets.mask_f1, sets.dice_coefficient):
        assert np.isnan(score(nothing, nothing))
        assert score(nothing, nothing, empty="one") == 1
        assert score(tf.constant(nothing), tf.constant(nothing), empty=0.5) == 0.5


def test_f1_and_iou_determine_each_other():
    counts = confusion_counts(*np.random.default_rng(0).integers(0, 5, (2, 9, 9)), 5)
    np.testing.assert_allclose(sets.f1_from_iou(iou(counts)), f1(counts), rtol=1e-14)  # S2.7, E2.9
    np.testing.assert_allclose(sets.iou_from_f1(f1(counts)), iou(counts), rtol=1e-14)
    for value in (0.0, 1.0):
        assert sets.f1_from_iou(value) == value == sets.iou_from_f1(value)
    between = np.linspace(0.01, 0.99, 99)
    assert (sets.f1_from_iou(between) > between).all()
    assert np.isnan(sets.f1_from_iou(np.array([np.nan, 0.5]))).tolist() == [True, False]
    np.testing.assert_allclose(sets.iou_from_f1(tf.constant([0.5])), 1 / 3, rtol=1e-6)


def test_set_operations_take_tensors():
    a, b = tf.constant(PREDICTED), tf.constant(TRUE, tf.bool)
    graph = tf.function(lambda a, b: (sets.intersection(a, b), sets.union(a, b), sets.mask_iou(a, b)))
    both, either, score = graph(a, b)
    np.testing.assert_array_equal(both, sets.intersection(PREDICTED, TRUE))
    np.testing.assert_array_equal(either, sets.union(PREDICTED, TRUE))
    assert float(score) == 0.5 and float(sets.mask_f1(a, b)) == pytest.approx(2 / 3)
    assert sets.count(a, axis=1).numpy().tolist() == [1, 2, 0]


# --- soft Dice


def test_dice_coefficient_of_the_example():
    assert sets.dice_coefficient(TRUE, P) == pytest.approx(0.753929, abs=5e-7)  # S2.10
    assert sets.dice_coefficient(TRUE, P, squared=False) == pytest.approx(1 - 0.377193, abs=5e-7)  # S2.15
    single = np.zeros((3, 3), int)
    single[1, 1] = 1
    assert sets.dice_coefficient(single, P) == pytest.approx(0.515012, abs=5e-7)  # S2.11
    for squared in (True, False):
        assert sets.dice_coefficient(TRUE, TRUE, squared=squared) == 1  # S2.8
        assert sets.dice_coefficient(TRUE, 0 * P, squared=squared) == 0
        assert sets.dice_coefficient(TRUE, PREDICTED, squared=squared) == sets.mask_f1(TRUE, PREDICTED)


@pytest.mark.parametrize("squared", [True, False])
def test_dice_coefficient_takes_tensors_and_axes(squared):
    rng = np.random.default_rng(0)
    y, p = (rng.random((4, 3, 3, 2)) for _ in range(2))
    top, bottom = 2 * y * p, (y**2 + p**2 if squared else y + p)
    expected = [[top[i, ..., k].sum() / bottom[i, ..., k].sum() for k in range(2)] for i in range(4)]
    options = {"squared": squared, "axis": (1, 2)}
    np.testing.assert_allclose(sets.dice_coefficient(y, p, **options), expected, rtol=1e-13)
    np.testing.assert_allclose(sets.dice_coefficient(y, tf.constant(p), **options), expected, rtol=1e-13)
    single = sets.dice_coefficient(tf.constant(y > 0.5), tf.constant(p, tf.float32), **options)
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, sets.dice_coefficient(y > 0.5, p, **options), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (sets.count, ([0, 2],), "mask holds 2"),
        (sets.count, (tf.constant([0.5]),), "dtype float32"),
        (sets.union, ([0, 1], [0, 3]), "the second mask holds 3"),
        (sets.intersection, ([0, 1], [[0, 1]]), "Shapes"),
        (sets.mask_iou, ([0, 1], [0, 1, 1]), "Shapes"),
        (sets.f1_from_iou, (1.5,), "iou holds 1.5"),
        (sets.iou_from_f1, (-0.1,), "f1 holds -0.1"),
        (sets.dice_coefficient, ([0, 1], [0.5, 1.2]), "y_pred holds 1.2"),
        (sets.dice_coefficient, ([0, 255], [0.5, 0.2]), "y_true holds 255"),
        (sets.dice_coefficient, ([0, 1], [[0.5, 0.2]]), "Shapes"),
    ],
)
def test_what_does_not_fit_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
