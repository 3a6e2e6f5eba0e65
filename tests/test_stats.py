import numpy as np
import pytest

from kseg.stats import bootstrap_interval


def test_the_interval_of_normal_values_is_that_of_theory():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    half = 1.959964 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_a_higher_level_is_wider_and_a_seed_repeats():
    values = np.random.default_rng(0).uniform(size=30)
    low, high = bootstrap_interval(values)
    wide = bootstrap_interval(values, level=0.99)
    assert wide[0] < low < values.mean() < high < wide[1]
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(values, seed=1) != (low, high)


def test_two_values_have_a_mean_of_either_or_their_middle():
    assert bootstrap_interval([0.0, 1.0], level=0.99) == (0.0, 1.0)  # each end has probability 1/4
    assert bootstrap_interval([0.0, 1.0], level=0.4) == (0.5, 0.5)  # the 0.3 and 0.7 quantiles


def test_cases_without_a_score_are_left_out():
    values = np.random.default_rng(0).uniform(size=10)
    assert bootstrap_interval([*values, np.nan]) == bootstrap_interval(values)


@pytest.mark.parametrize("values", [[], [0.5], [np.nan, np.nan], [0.5, np.nan]])
def test_below_two_cases_there_is_no_interval(values):
    assert np.isnan(bootstrap_interval(values)).all()


def test_equal_cases_have_an_interval_of_no_width():
    assert bootstrap_interval([0.7, 0.7, 0.7]) == pytest.approx((0.7, 0.7))


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.exponential(size=40), level=0.9, resamples=500)
        covered += low <= 1 <= high
    assert 0.8 < covered / 200 < 0.96
