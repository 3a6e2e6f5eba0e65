"""Statistics against scipy, brute force, closed forms, and simulated truth."""

from itertools import combinations, permutations, product

import numpy as np
import pytest
from scipy import stats

from kseg.stats import area_under, bootstrap_interval, cases, crossed_interval, holm, paired_test, rank_correlation
from kseg.stats.draws import batches

NAN = float("nan")


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


def test_the_paired_test_counts_all_sign_flips():
    a, b = np.array([0.9, 0.8, 0.75, 0.6, 0.5, 0.2]), np.array([0.85, 0.7, 0.78, 0.55, 0.3, 0.15])
    means = [np.mean(np.array(signs) * (a - b)) for signs in product([1, -1], repeat=6)]
    found = paired_test(a, b)
    assert found.p == pytest.approx(np.mean(np.abs(means) >= abs(np.mean(a - b)) - 1e-12))
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert (found.low, found.high) == pytest.approx(bootstrap_interval(a - b))
    assert found.cases == 6


def test_the_paired_test_of_many_normal_values_is_student_s():
    a = np.random.default_rng(1).normal(size=(2, 100)) + [[0.2], [0]]
    found = paired_test(*a)
    assert found.p == pytest.approx(stats.ttest_rel(*a).pvalue, abs=0.01)
    assert paired_test(*a) == found != paired_test(*a, seed=1)
    assert paired_test(*a[::-1]).difference == -found.difference


def test_the_paired_test_leaves_out_cases_without_a_pair():
    a, b = np.random.default_rng(0).uniform(size=(2, 9))
    assert paired_test([*a, NAN, 1.0], [*b, 0.0, NAN]) == paired_test(a, b)
    assert np.isnan(paired_test([NAN], [1.0])[:4]).all() and paired_test([], []).cases == 0
    assert paired_test(a, a).p == 1  # no difference at all
    with pytest.raises(ValueError, match=r"\(9,\), \(8,\).* Expected lists of one length"):
        paired_test(a, b[:8])


def test_the_paired_test_is_wrong_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    p = [paired_test(*rng.exponential(size=(2, 8)), resamples=256).p for _ in range(200)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.08


def test_holm_is_bonferroni_over_every_set_that_holds_the_test():
    pvalues = np.random.default_rng(0).random(6) ** 3
    rest = [[j for j in range(6) if j != i] for i in range(6)]
    expected = [
        max(min(1, (size + 1) * min([pvalues[i], *pvalues[list(others)]]))
            for size in range(6) for others in combinations(rest[i], size))
        for i in range(6)
    ]  # fmt: skip
    np.testing.assert_allclose(holm(pvalues), expected)
    assert (np.diff(pvalues) < 0).any()  # they are not in order


def test_holm_keeps_what_could_not_be_tested_and_does_not_count_it():
    np.testing.assert_allclose(holm([NAN, 0.01, 0.04, NAN, 0.03, 0.005]), [NAN, 0.03, 0.06, NAN, 0.06, 0.02])
    np.testing.assert_array_equal(holm([0.7, 0.6]), [1, 1])
    assert holm([]).shape == (0,)


def naive_crossed(values, resamples=2000):
    """The pigeonhole bootstrap as it is told, one resample after the other."""
    rng, (seeds, count) = np.random.default_rng(9), values.shape
    means = [
        np.nanmean(values[np.ix_(rng.integers(seeds, size=seeds), rng.integers(count, size=count))])
        for _ in range(resamples)
    ]
    return np.quantile(means, [0.025, 0.975])


@pytest.mark.parametrize("missing", [0, 40])
def test_the_crossed_interval_is_that_of_drawing_seeds_and_cases(missing):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(5, 30))
    values.ravel()[rng.permutation(150)[:missing]] = NAN
    assert crossed_interval(values) == pytest.approx(naive_crossed(values), abs=0.06)
    assert crossed_interval(values) == crossed_interval(values) != crossed_interval(values, seed=1)
    low, high = crossed_interval(values, level=0.5)
    assert crossed_interval(values)[0] < low < np.nanmean(values) < high < crossed_interval(values)[1]


def test_what_differs_by_seed_alone_or_by_case_alone_is_found_so():
    seeds, by_case = np.array([0.2, 0.5, 0.6]), np.random.default_rng(0).normal(size=50)
    # Three of one seed come once in 27 draws, more often than 2.5 %.
    assert crossed_interval(np.tile(seeds[:, None], 50)) == pytest.approx((0.2, 0.6))
    for values in (by_case[None], np.tile(by_case, (3, 1))):
        assert crossed_interval(values) == pytest.approx(bootstrap_interval(by_case), abs=0.02)


def test_empty_rows_and_columns_do_not_count():
    values = np.random.default_rng(0).normal(size=(3, 8))
    more = np.full((4, 10), NAN)
    more[1:, 2:] = values
    assert crossed_interval(more) == crossed_interval(values)
    for few in (values[:, :1], np.full((2, 3), NAN), np.empty((0, 0))):
        assert np.isnan(crossed_interval(few)).all()
    with pytest.raises(ValueError, match=r"shape \(8,\)\. Expected \[seeds, cases\]"):
        crossed_interval(values[0])


def test_resamples_come_in_batches_that_fit():
    assert batches(10, 3, memory=12) == [4, 4, 2]
    assert batches(2, 30, memory=12) == [1, 1]


def test_what_is_drawn_in_several_batches_differs_between_them(monkeypatch):
    values = np.random.default_rng(0).normal(size=(4, 30))
    whole = crossed_interval(values, resamples=1000)
    monkeypatch.setattr(cases, "MEMORY", 1000)  # two resamples at a time
    assert crossed_interval(values, resamples=1000) == pytest.approx(whole, abs=0.06)


def test_the_crossed_interval_covers_the_true_mean_of_seeds_and_cases():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        values = rng.normal(0, 0.05, (8, 1)) + rng.normal(0, 0.2, (1, 30)) + rng.normal(0, 0.1, (8, 30))
        low, high = crossed_interval(values, resamples=400)
        covered += low <= 0 <= high
    assert 0.9 < covered / 300 < 0.99


def test_the_rank_correlation_is_scipy_s_with_ties_too():
    rng = np.random.default_rng(0)
    for ties in (False, True):
        x, y = rng.integers(0, 5, (2, 40)) if ties else rng.normal(size=(2, 40))
        found, expected = rank_correlation(x, y), stats.spearmanr(x, y)
        assert found.rho == pytest.approx(expected.statistic)
        assert found.p == pytest.approx(expected.pvalue, abs=0.02)
        assert found.models == 40
    near = rank_correlation([*x, NAN, 1], [*y, 1, NAN])
    assert near == found


@pytest.mark.parametrize("y", [[3, 1, 2, 5, 6, 4], [1, 1, 2, 5, 5, 4], [6, 5, 4, 3, 2, 1]])
def test_the_p_value_of_a_rank_correlation_is_exact(y):
    x = np.arange(6)
    rho = [np.corrcoef(x, order)[0, 1] for order in permutations(stats.rankdata(y))]
    found = rank_correlation(x, y)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.p == pytest.approx(np.mean(np.abs(rho) >= abs(rho[0]) - 1e-9))


def test_groups_are_ranked_and_permuted_by_themselves():
    x = np.array([1, 2, 3, 110, 130, 120, 105.0])
    y = np.array([7, 8, 9.5, -3, -1, -3, -9.0])
    groups = [None, None, None, 5, 5, 5, 5]
    ranks = {
        name: np.concatenate([stats.rankdata(v[:3]) - 2, stats.rankdata(v[3:]) - 2.5])
        for name, v in (("x", x), ("y", y))
    }
    rho = np.corrcoef(ranks["x"], ranks["y"])[0, 1]
    found = rank_correlation(x, y, groups)
    assert found.rho == pytest.approx(rho)
    null = [
        np.corrcoef(ranks["x"], [*some, *others])[0, 1]
        for some in permutations(ranks["y"][:3]) for others in permutations(ranks["y"][3:])
    ]  # fmt: skip
    assert found.p == pytest.approx(np.mean(np.abs(null) >= abs(rho) - 1e-9))
    order = [6, 2, 0, 4, 1, 3, 5]
    turned = rank_correlation(x[order], y[order], [groups[i] for i in order])
    assert (turned.rho, turned.p) == pytest.approx((rho, found.p))


def test_what_groups_share_makes_no_correlation_within_them():
    rng, groups = np.random.default_rng(0), np.repeat(["a", "b", "c"], 4)
    pvalues = []
    for _ in range(100):
        x, y = rng.normal(size=(2, 12)) + np.repeat(rng.normal(0, 5, 3), 4)
        pvalues.append([rank_correlation(x, y, by, resamples=100).p for by in (groups, None)])
    within, all_together = (np.array(pvalues) <= 0.05).mean(axis=0)
    assert within < 0.1 < 0.5 < all_together


def test_the_p_value_of_many_models_is_sampled_within_groups():
    rng, groups = np.random.default_rng(0), np.repeat([0, 1, 2], 12)
    x, y = rng.normal(size=(2, 36)) + 0.6 * rng.normal(size=36)
    found = rank_correlation(x, y, groups)
    ranks = np.concatenate([stats.rankdata(np.reshape(v, (3, 12)), axis=1) - 6.5 for v in (x, y)])
    spread = np.sqrt(3 * 143**2 / 11)  # a sum of products of 1 .. n, centred: (n^3 - n) / 12 squared, over n - 1
    assert found.p == pytest.approx(2 * stats.norm.sf(abs((ranks[:3] * ranks[3:]).sum()) / spread), abs=0.01)
    assert 0.02 < found.p < 0.5
    assert rank_correlation(x, x, groups).p == pytest.approx(1 / 10_001)  # never 0
    far = np.repeat([0, 100, 200], 12)
    assert rank_correlation(x + far, y + far, groups)[:4] == pytest.approx(found[:4])


def test_the_interval_of_a_rank_correlation_is_that_of_drawing_points():
    rng = np.random.default_rng(3)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    drawn = [stats.spearmanr(x[rows], y[rows]).statistic for rows in rng.integers(30, size=(500, 30))]
    found = rank_correlation(x, y)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.05)
    narrow = rank_correlation(x, y, level=0.5)
    assert found.low < narrow.low < found.rho < narrow.high < found.high


def test_without_spread_there_is_no_rank_correlation():
    for x, groups in (([1, 1, 1, 1], None), ([1, 1, 2, 2], [0, 0, 1, 1]), ([], None), ([NAN, 1, 2, 3], [0, 0, 1, 2])):
        found = rank_correlation(x, range(len(x)), groups)
        assert np.isnan(found[:4]).all()
        assert found.models == np.isfinite(x).sum()
    with pytest.raises(ValueError, match=r"models come in shapes \(3,\), \(3,\), \(2,\)"):
        rank_correlation([1, 2, 3], [1, 2, 3], [0, 0])


def test_the_area_under_a_curve_is_its_mean_height():
    x = np.array([0, 0.05, 0.3, 1.0])
    y = np.stack([0 * x + 0.7, 1 - x, NAN * x])
    np.testing.assert_allclose(area_under(x, y), [0.7, 0.5, NAN])
    np.testing.assert_allclose(area_under(10 * x + 3, y.T, axis=0), [0.7, 0.5, NAN])
    fine = np.linspace(1, 3, 1001)
    assert area_under(fine, fine**2) == pytest.approx((27 - 1) / 3 / 2, rel=1e-5)
    for wrong in ([0, 2, 1, 3], [0, 1, 1, 3], [1.0], [NAN, 1, 2, 3]):
        with pytest.raises(ValueError, match="above the one before; sort the points"):
            area_under(wrong, np.ones(len(wrong)))
