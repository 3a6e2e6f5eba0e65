"""Scores of attacked images: by case, without padding, with means that are those of the numbers."""

import numpy as np
import pytest

from kseg.metrics import Counts
from kseg.studies.attack_scores import (
    IGNORED,
    Found,
    background_shares,
    by_case,
    constant_scores,
    count,
    foreground_iou,
    means,
    percent,
    without_padding,
)

RNG = np.random.default_rng(0)
CASE = np.array(["a", "a", "b", "c", "c", "c"])
BOX = np.array([[0, 6, 0, 8]] * 2 + [[1, 5, 0, 6]] + [[2, 6, 3, 8]] * 3)
TRUE = RNG.integers(0, 3, (6, 6, 8)).astype(np.uint8)
GUESS = RNG.integers(0, 3, (6, 6, 8))


def inside(i):
    y0, y1, x0, x1 = BOX[i]
    return slice(y0, y1), slice(x0, x1)


def found(**changes):
    masks = without_padding(TRUE, BOX)
    given = {"loss": RNG.random(6), "success": RNG.random(6) < 0.5, "size": RNG.random(6), "changed": RNG.random(6)}
    return Found(count(masks, GUESS, CASE, 3), **given | changes)


def test_pixels_are_counted_by_case_and_without_padding():
    masks = without_padding(TRUE, BOX)
    assert masks.dtype == np.int32
    for i in range(6):
        assert (masks[i][inside(i)] == TRUE[i][inside(i)]).all()
        assert (masks[i] == IGNORED).sum() == 48 - TRUE[i][inside(i)].size
    counts = count(masks, GUESS, CASE, 3)
    for place, rows in enumerate([(0, 1), (2,), (3, 4, 5)]):
        true = np.concatenate([TRUE[i][inside(i)].ravel() for i in rows])
        guess = np.concatenate([GUESS[i][inside(i)].ravel() for i in rows])
        for k in range(3):
            assert counts.tp[place, k] == ((true == k) & (guess == k)).sum()
            assert counts.fp[place, k] == ((true != k) & (guess == k)).sum()
            assert counts.fn[place, k] == ((true == k) & (guess != k)).sum()
            assert counts.total[place, k] == true.size


def test_means_are_over_cases():
    loss, success = np.array([1.0, 3, 5, 0, 0, 9]), np.array([1, 0, 1, 0, 0, 1], bool)
    it = found(loss=loss, success=success)
    scores = it.scores(CASE)
    np.testing.assert_allclose(scores["loss"], [2, 5, 3])
    np.testing.assert_allclose(scores["success"], [0.5, 1, 1 / 3])
    tp, fp, fn = (part.astype(float) for part in it.counts[:3])
    np.testing.assert_allclose(scores["mean_iou"], (tp / (tp + fp + fn)).mean(axis=1))
    np.testing.assert_allclose(scores["foreground_dice"], (2 * tp / (2 * tp + fp + fn))[:, 1:].mean(axis=1))
    np.testing.assert_allclose(scores["accuracy"], tp.sum(axis=1) / it.counts.total[:, 0])
    table = means(it, CASE, ("background", "disc", "square"))
    assert table["loss"]["mean"] == pytest.approx(10 / 3)
    assert table["loss"]["low"] < 10 / 3 < table["loss"]["high"]
    assert table["iou disc"]["mean"] == pytest.approx((tp / (tp + fp + fn))[:, 1].mean())
    assert table["dice square"]["cases"] == 3
    assert "missed" not in table["loss"]


def test_cases_come_in_ascending_order():
    np.testing.assert_allclose(by_case([1, 2, 3, 5], np.array(["b", "a", "b", "c"])), [2, 2, 5])


def test_a_class_in_neither_mask_has_no_score():
    counts = Counts(*(np.array([[8, 0], [3, 5]]) * f for f in (1, 0, 0)), tn=np.array([[0, 8], [5, 3]]))
    it = Found(counts, np.zeros(2), np.zeros(2, bool), np.zeros(2), np.zeros(2))
    table = means(it, np.array(["a", "b"]), ("background", "disc"))
    assert (table["dice disc"]["cases"], table["dice disc"]["empty"]) == (1, 1)
    assert table["mean_iou"]["mean"] == 1


def test_failures_count_as_endless_changes():
    size = np.array([0.01, 0.02, 0.03, 0.04, 0.9, 0.9, 0.9, 0.9])
    success = np.array([True] * 5 + [False] * 3)
    quarter, half, most = found(size=size, success=success).norms()
    assert (quarter, half) == (0.02, 0.04)
    assert np.isinf(most)


def test_scores_of_one_class_all_over_are_those_of_such_masks():
    masks = without_padding(TRUE, BOX)
    masks[CASE == "b"] = np.where(masks[CASE == "b"] == 2, 0, masks[CASE == "b"])  # one class that is not there
    each = []
    for k in range(3):
        counts = count(masks, np.full_like(masks, k), CASE, 3)
        it = Found(counts, *[np.zeros(6)] * 4)
        each.append((it.scores(CASE)["accuracy"].mean(), foreground_iou(it).mean()))
    accuracy, iou = constant_scores(count(masks, GUESS, CASE, 3))
    assert accuracy == pytest.approx(max(a for a, _ in each))
    assert iou == pytest.approx(max(i for _, i in each))


def test_background_is_counted_over_all_pixels():
    it = found()
    kept = np.concatenate([(TRUE[i][inside(i)] == 0).ravel() for i in range(6)])
    guess = np.concatenate([(GUESS[i][inside(i)] == 0).ravel() for i in range(6)])
    assert background_shares(it) == pytest.approx((guess.mean(), kept.mean()))


@pytest.mark.parametrize(("eps", "words"), [(0.0025, "0.25 %"), (0.00125, "0.125 %"), (1.0, "100 %"), (0.04, "4 %")])
def test_budgets_in_words(eps, words):
    assert percent(eps) == words
