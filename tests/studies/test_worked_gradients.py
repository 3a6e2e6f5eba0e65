"""D2's gradients by hand, by tape and by differences, and its two questions: the first against a search."""

import numpy as np
import pytest
import tensorflow as tf
from reference import numeric_gradient

from kseg import losses
from kseg.metrics.sets import dice_coefficient
from kseg.studies import worked_gradients as W
from kseg.studies.worked_question import opposite_gradients

P = np.array([[0.12, 0.83, 0.23], [0.89, 0.94, 0.36], [0.23, 0.06, 0.18]])
G = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]])


# --- gradients: by hand, by tape of kseg's functions, and central differences of NumPy formulas


def dice_numpy(y, p, squared=True):
    return 2 * (y * p).sum() / ((y * y + p * p).sum() if squared else (y + p).sum())


def bce_numpy(y, p):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum()


IMAGES = {
    "example": (G, P),
    "one pixel": (np.where(np.arange(9).reshape(3, 3) == 4, 1, 0), P),
    "soft labels": (np.random.default_rng(0).random((2, 3)), np.random.default_rng(1).uniform(0.05, 0.95, (2, 3))),
}


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name", ["dice", "plain dice", "log dice", "bce"])
def test_gradients_by_hand_tape_and_differences(image, name):
    y, p = IMAGES[image]
    hand, kseg_function, formula = {
        "dice": (W.dice_gradient(y, p), lambda x: dice_coefficient(y, x), lambda x: dice_numpy(y, x)),
        "plain dice": (
            W.dice_gradient(y, p, squared=False),
            lambda x: dice_coefficient(y, x, squared=False),
            lambda x: dice_numpy(y, x, squared=False),
        ),
        "log dice": (
            W.log_dice_gradient(y, p), lambda x: W.log_dice_loss(y, x), lambda x: -np.log(dice_numpy(y, x))
        ),
        "bce": (W.bce_gradient(y, p), lambda x: W.bce_sum(y, x), lambda x: bce_numpy(y, x)),
    }[name]  # fmt: skip
    np.testing.assert_allclose(W.by_tape(kseg_function, p), hand, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(numeric_gradient(formula, p), hand, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(W.by_differences(kseg_function, p), hand, rtol=1e-6, atol=1e-8)
    assert float(kseg_function(tf.constant(p))) == pytest.approx(formula(p), rel=1e-12)


@pytest.mark.parametrize("image", IMAGES)
def test_gradient_of_bce_by_the_logits(image):
    y, p = IMAGES[image]
    z = np.log(p / (1 - p))
    hand = W.bce_logit_gradient(y, p)
    np.testing.assert_allclose(W.by_tape(lambda x: W.bce_sum(y, x, from_logits=True), z), hand, rtol=1e-11, atol=1e-13)
    differences = numeric_gradient(lambda x: bce_numpy(y, 1 / (1 + np.exp(-x))), z)
    np.testing.assert_allclose(differences, hand, rtol=1e-6, atol=1e-8)


def test_weighted_cross_entropy_of_three_classes():
    rng = np.random.default_rng(0)
    ids, weight = rng.integers(0, 3, (4, 5)), rng.random((4, 5))
    y, p = np.eye(3)[ids], rng.dirichlet([2, 2, 2], (4, 5)).clip(0.05, 0.9)

    def formula(x):
        return -(weight * np.log(np.take_along_axis(x, ids[..., None], -1)[..., 0])).sum()

    def kseg_function(x):
        return W.weighted_cce_sum(y, x, weight)

    assert float(kseg_function(tf.constant(p))) == pytest.approx(formula(p), rel=1e-12)
    hand = W.weighted_cce_gradient(y, p, weight)
    np.testing.assert_allclose(W.by_tape(kseg_function, p), hand, rtol=1e-11)
    np.testing.assert_allclose(numeric_gradient(formula, p), hand, rtol=1e-5, atol=1e-7)
    doubled = weight * np.where(np.arange(20).reshape(4, 5) == 7, 2, 1)
    added = float(W.weighted_cce_sum(y, tf.constant(p), doubled)) - formula(p)
    assert added == pytest.approx(-weight[1, 2] * np.log(p[1, 2, ids[1, 2]]), rel=1e-9)  # S2.17


def test_gradients_at_the_ends():
    np.testing.assert_allclose(W.dice_gradient(G, G), 0, atol=1e-16)  # S2.9
    np.testing.assert_allclose(W.dice_gradient(G, G, squared=False), np.where(G, 1 / 6, -1 / 6))
    np.testing.assert_allclose(W.dice_gradient(G, 0 * P), 2 * G / 3)
    for size in (1, 3, 9):  # S2.12
        y = (np.arange(9) < size).reshape(3, 3)
        tape = W.by_tape(lambda x, y=y: dice_coefficient(y, x), np.zeros((3, 3)))
        np.testing.assert_allclose(W.dice_gradient(y, np.zeros((3, 3))), 2 * y / size)
        np.testing.assert_allclose(tape, 2 * y / size)
    with pytest.raises(ValueError, match="all 0"):
        W.dice_gradient(0 * G, 0 * P)


def test_minus_log_dice_has_a_floor():
    """S2.13: without overlap the score is 0; the loss stays finite, and it and the formula have no gradient."""
    far = np.array([[0.0, 1.0]])
    loss = W.log_dice_loss(np.array([[1, 0]]), tf.constant(far))
    assert float(loss) == pytest.approx(-np.log(1e-30))
    np.testing.assert_array_equal(W.log_dice_gradient([[1, 0]], far), 0)
    np.testing.assert_array_equal(W.by_tape(lambda x: W.log_dice_loss(np.array([[1, 0]]), x), far), 0)


# --- question 1 (S2.14), against a search


def imbalance(y, p, a, b):
    """dl_D/dp_a + dl_D/dp_b by its formula."""
    both, size = (y * p).sum(), (y * y + p * p).sum()
    return sum(2 * y[place] / size - 4 * p[place] * both / size**2 for place in (a, b))


@pytest.mark.parametrize("seed", range(40))
def test_solutions_are_all_sign_changes(seed):
    rng = np.random.default_rng(seed)
    y, p = (rng.random((3, 3)) < 0.4).astype(float), rng.random((3, 3)).round(2)
    a, b = (1, 1), (1, 2)
    y[a] = seed % 2  # one label 1 and one 0 most often: the case with solutions
    y[b] = 1 - y[a] if seed % 5 else y[a]
    changed = [a, b, (0, 1), (2, 0)][seed % 4]
    answer = opposite_gradients(y, p, a, b, changed)
    grid = np.linspace(0, 1, 2001)
    sums = []
    for value in grid:
        p[changed] = value
        sums.append(imbalance(y, p, a, b))
    crossings = grid[:-1][np.diff(np.sign(sums)) != 0]
    assert len(answer.values) == len(crossings) and not answer.every
    for value, near in zip(answer.values, crossings, strict=True):
        assert near - 1e-9 <= value <= near + 1 / 2000 + 1e-9
        p[changed] = value
        assert imbalance(y, p, a, b) == pytest.approx(0, abs=1e-12)


def test_the_search_meets_both_outcomes():
    outcomes = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y, p = (rng.random((3, 3)) < 0.4).astype(float), rng.random((3, 3))
        y[1, 1], y[1, 2] = 1, 0
        outcomes.add(len(opposite_gradients(y, p, (1, 1), (1, 2), (1, 2)).values))
    assert outcomes >= {0, 1}


@pytest.mark.parametrize("place", [(1, 1), (1, 2), (0, 1), (2, 2)])
def test_both_labels_one_forces_a_perfect_prediction(place):
    start = G.astype(float)
    start[place] = 0.36
    (value,) = opposite_gradients(G, start, (1, 1), (1, 2), place).values
    assert value == pytest.approx(G[place], abs=1e-6)
    answer = opposite_gradients(G, P, (1, 1), (1, 2), place)
    assert answer.values == () and "both labels are 1" in answer.reason


def test_both_labels_zero_needs_no_overlap_or_no_prediction():
    y = np.zeros((3, 3))
    y[0, 1] = 1
    a, b = (1, 1), (1, 2)
    answer = opposite_gradients(y, P, a, b, b)
    assert answer.values == () and "both labels are 0" in answer.reason
    assert opposite_gradients(y, P, a, b, (0, 1)).values == (0.0,)  # I = 0
    without = P.copy()
    without[a] = 0
    assert opposite_gradients(y, without, a, b, b).values == (0.0,)  # both p are 0
    without[b] = 0
    assert opposite_gradients(y, without, a, b, (2, 2)).every
    assert opposite_gradients(0 * y, P, a, b, b).every  # I = 0 whatever p is


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((G, P, (1, 1), (1, 1), (0, 0)), "given twice"),
        ((G, P, (1, 1), (1, 3), (0, 0)), r"\(1, 3\) lies outside"),
        ((G, P, (1, 1), (1, 2), (-1, 0)), "lies outside"),
        ((G, P[:2], (1, 1), (1, 2), (0, 0)), "do not fit"),
    ],
)
def test_questions_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        opposite_gradients(*arguments)


def test_question_two_is_dice_square():
    """S2.15: the mean over classes of 1 - l_D, each class on its own one-hot mask, is D1's DICE_SQUARE."""
    rng = np.random.default_rng(0)
    ids, p = rng.integers(0, 4, (1, 6, 7)), rng.dirichlet(np.ones(4), (1, 6, 7))
    by_class = [1 - dice_coefficient(ids == k, p[..., k]) for k in range(4)]
    assert float(losses.dice_square(ids, p, smooth=0.0)[0]) == pytest.approx(np.mean(by_class), rel=1e-12)
