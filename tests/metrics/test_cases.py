"""Scores of a case and their mean over cases."""

import numpy as np
import pytest
import sklearn.metrics
from scipy import stats

import kseg.metrics as M

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (4, 6, 7))
    return truth, np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, 3, truth.shape))


def test_a_case_has_every_score_of_every_class(case):
    truth, guess = case
    spacing = (3.0, 0.5, 1.0)
    scores = M.case_scores(truth, guess, 4, spacing=spacing, tolerance=0.7)
    for k in range(3):
        binary = truth.ravel() == k, guess.ravel() == k
        assert scores["dice"][k] == pytest.approx(sklearn.metrics.f1_score(*binary))
        assert scores["iou"][k] == pytest.approx(sklearn.metrics.jaccard_score(*binary))
        assert scores["precision"][k] == pytest.approx(sklearn.metrics.precision_score(*binary))
        assert scores["recall"][k] == pytest.approx(sklearn.metrics.recall_score(*binary))
        assert scores["accuracy"][k] == pytest.approx(sklearn.metrics.accuracy_score(*binary))
        assert scores["iou_score"][k] == (scores["iou"][k] > np.arange(10, 20) / 20).mean()
    for k in (1, 2):
        masks = truth == k, guess == k
        assert scores["hd"][k] == M.hausdorff(*masks, spacing)
        assert scores["hd95"][k] == M.hausdorff95(*masks, spacing)
        assert scores["assd"][k] == M.assd(*masks, spacing)
        assert scores["surface_dice"][k] == M.surface_dice(*masks, spacing, tolerance=0.7)
    for name in ("hd", "hd95", "assd", "surface_dice"):
        assert np.isnan(scores[name][[0, 3]]).all()  # the background, and a class in neither mask
    assert np.isnan(scores["dice"][3])


def test_a_missed_class_is_infinitely_far():
    truth = np.zeros((5, 5), np.uint8)
    truth[1:3, 1:3] = 1
    scores = M.case_scores(truth, np.zeros_like(truth), 2)
    assert (scores["hd"][1], scores["hd95"][1], scores["assd"][1], scores["surface_dice"][1]) == (INF, INF, INF, 0)


def test_the_mean_counts_what_it_leaves_out():
    values = np.random.default_rng(1).random(30)
    summary = M.mean_over_cases([*values, NAN, INF, NAN])
    assert (summary["cases"], summary["empty"], summary["missed"]) == (30, 2, 1)
    assert summary["mean"] == pytest.approx(values.mean())
    interval = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    width = interval.high - interval.low
    assert (summary["low"], summary["high"]) == pytest.approx((interval.low, interval.high), abs=0.06 * width)
    assert M.mean_over_cases(values, seed=1)["low"] != summary["low"]


def test_a_mean_over_nothing_is_nan():
    for values in ([], [NAN], [INF, NAN]):
        summary = M.mean_over_cases(values)
        assert np.isnan([summary["mean"], summary["low"], summary["high"]]).all()
        assert summary["cases"] == 0
