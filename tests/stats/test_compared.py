"""One kind of model against another: against variances written out, scipy where one factor is all, and Holm by hand."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from kseg.stats import ENOUGH, Comparison, Spread, compare, crossed_test, usual_spread

NAN = float("nan")


def scores(seeds, cases, lift=0.0, seed=0):
    drawn = np.random.default_rng(seed).normal(0.7 + lift, 0.05, (len(seeds), cases))
    return dict(zip(seeds, drawn, strict=True))


def one(ours, theirs):
    return compare({"a": ("Dice", "first", "second", ours, theirs)})["a"]


def made(**changes):
    facts = {
        "what": "dice", "first": "one", "second": "other", "difference": 0.1, "low": 0.05, "high": 0.2, "p": 0.01,
        "adjusted": 0.02, "seeds": 3, "of": 3, "cases": 20,
    }  # fmt: skip
    return Comparison(**facts | changes)


def by_hand(d):
    """Clark's min F' of a mean against 0 and its p, sums of squares written out: F1 over cases, F2 over seeds."""
    seeds, cases = d.shape
    mean = d.sum() / d.size
    of_case = sum((d[:, n].mean() - mean) ** 2 for n in range(cases)) * seeds / (cases - 1)
    of_seed = sum((d[s].mean() - mean) ** 2 for s in range(seeds)) * cases / (seeds - 1)
    f1, f2 = seeds * cases * mean**2 / of_case, seeds * cases * mean**2 / of_seed
    least = f1 * f2 / (f1 + f2)
    freedom = (f1 + f2) ** 2 / (f1**2 / (seeds - 1) + f2**2 / (cases - 1))
    return least, freedom, stats.f.sf(least, 1, freedom)


@pytest.mark.parametrize(("seeds", "cases"), [(3, 12), (5, 10), (2, 40)])
def test_p_is_that_of_min_f(seeds, cases):
    ours, theirs = scores(range(seeds), cases, lift=0.02), scores(range(seeds), cases, seed=1)
    d = np.stack([ours[s] - theirs[s] for s in ours])
    mean, low, high, p = crossed_test(d)
    least, freedom, expected = by_hand(d)
    assert p == pytest.approx(expected)
    assert 0.01 < p < 0.99  # neither nothing nor all, so that a wrong test would be seen
    assert mean == pytest.approx(d.mean())
    half = stats.t.ppf(0.975, freedom) * abs(mean) / np.sqrt(least)
    assert (low, high) == pytest.approx((mean - half, mean + half))
    found = one(ours, theirs)
    assert found[:3] == ("Dice", "first", "second")
    assert (found.difference, found.low, found.high, found.p) == pytest.approx((mean, low, high, p))
    assert (found.seeds, found.of, found.cases) == (sum(d.mean(axis=1) > 0), seeds, cases)


def test_where_cases_or_seeds_are_all_that_varies_it_is_students_test():
    case, seed = np.random.default_rng(0).normal(0.03, 0.1, (2, 14))
    for values in (np.tile(case, (4, 1)), np.tile(seed[:, None], 14), case[None]):
        line = case if values[0, 0] != values[0, 1] else seed
        expected = stats.ttest_1samp(line, 0)
        interval = expected.confidence_interval(0.95)
        np.testing.assert_allclose(crossed_test(values), [line.mean(), *interval, expected.pvalue])
    half = [stats.ttest_1samp(case, 0).confidence_interval(0.5).low, crossed_test(case[None], level=0.5)[1]]
    assert half[0] == pytest.approx(half[1])


@pytest.mark.parametrize(("of_seed", "of_case"), [(0.0, 1.0), (1.0, 0.3), (1.0, 1.0), (0.3, 1.0), (0.0, 0.0)])
def test_it_is_wrong_no_more_often_than_its_docstring_says(of_seed, of_case):
    rng = np.random.default_rng(5)
    p = []
    for _ in range(1500):
        noise = rng.normal(0, 0.5, (3, 12))
        p.append(crossed_test(of_seed * rng.normal(size=(3, 1)) + of_case * rng.normal(size=12) + noise)[3])
    assert (np.array(p) < 0.05).mean() < 0.09  # 1 in 13, and two standard errors
    assert (np.array(p) < 0.005).mean() < 0.037  # 1 in 40


def test_p_has_two_sides_and_turns_with_the_pair():
    ours, theirs = scores((0, 1), 8, lift=0.05), scores((0, 1), 8, seed=1)
    there, back = one(ours, theirs), one(theirs, ours)
    assert (back.difference, back.seeds) == (pytest.approx(-there.difference), there.of - there.seeds)
    assert (back.low, back.high, back.p) == pytest.approx((-there.high, -there.low, there.p))


def test_many_seeds_widen_the_interval_where_they_disagree():
    """Seeds that differ by 0.2 and cases that do not: the interval is that of the seeds' mean, not of 240 numbers."""
    lifts = dict(enumerate(np.random.default_rng(3).normal(0, 0.2, 12)))
    noise = np.random.default_rng(4).normal(0, 0.001, (12, 20))
    found = one({s: lift + noise[s] for s, lift in lifts.items()}, {s: np.zeros(20) for s in lifts})
    spread = np.std(list(lifts.values()), ddof=1) / np.sqrt(12)
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, 11) * spread, rel=0.01)


def test_what_does_not_vary_is_sure():
    same = {s: np.full(12, 0.5) for s in range(3)}
    nothing, something = one(same, same), one(same, {s: np.full(12, 0.25) for s in range(3)})
    assert (nothing.low, nothing.high, nothing.p, nothing.seeds) == (0, 0, 1, 0) and not (
        nothing.holds or nothing.reversed
    )
    assert (something.low, something.high, something.p) == (0.25, 0.25, 0) and something.holds


def test_holm_counts_the_comparisons_that_can_decide():
    """Holm multiplies the sorted p by 3, 2, 1 and rises; one of two seeds and one of few cases take no part."""
    lifts = {"b": 0.06, "a": 0.1, "c": 0.02}
    pairs = {
        key: ("dice", key, "zero", scores(range(3), 12, lift, seed=7), scores(range(3), 12, seed=1))
        for key, lift in lifts.items()
    }
    pairs["few"] = ("dice", "few", "zero", scores(range(3), ENOUGH - 1, 0.3), scores(range(3), ENOUGH - 1, seed=1))
    pairs["two"] = ("dice", "two", "zero", scores(range(2), 12, 0.3), scores(range(2), 12, seed=1))
    found = compare(pairs)
    assert list(found) == list(pairs)
    p = {key: each.p for key, each in found.items()}
    assert p["a"] < p["b"] < p["c"] and np.isfinite([p["few"], p["two"]]).all()
    first, second = min(1, 3 * p["a"]), max(3 * p["a"], 2 * p["b"])
    expected = {"a": first, "b": second, "c": max(second, p["c"])}
    assert {key: found[key].adjusted for key in lifts} == pytest.approx(expected)
    for key in ("few", "two"):
        assert np.isnan(found[key].adjusted) and not (found[key].holds or found[key].reversed)


def test_a_pair_without_numbers_does_not_count_for_holm():
    full = scores(range(3), 12, lift=0.02)
    empty = {s: np.full(12, NAN) for s in full}
    other = scores(range(3), 12, seed=1)
    found = compare({"a": ("dice", "x", "y", full, other), "b": ("dice", "x", "z", full, empty)})
    assert found["a"].adjusted == found["a"].p == one(full, other).p
    assert np.isnan([found["b"].difference, found["b"].low, found["b"].high, found["b"].p, found["b"].adjusted]).all()
    assert (found["b"].seeds, found["b"].of, found["b"].cases) == (0, 3, 0)
    assert found["b"].undecidable == f"0 cases without nan, {ENOUGH} are needed"


def test_only_seeds_that_both_have_are_compared():
    ours, theirs = scores((0, 1, 2, 3), 12, lift=0.1), scores((1, 2, 3, 4), 12, seed=1)
    found = one(ours, theirs)
    same = one({s: ours[s] for s in (1, 2, 3)}, {s: theirs[s] for s in (2, 3, 1)})
    assert found == same
    assert found.of == 3
    assert found.difference == pytest.approx(np.mean([ours[s] - theirs[s] for s in (1, 2, 3)]))


def test_seeds_of_another_order_are_still_paired():
    """Pairing by place instead of by seed would give seed 10 the scores of seed 2."""
    ours = {2: np.full(4, 0.1), 10: np.full(4, 0.9)}
    theirs = {10: np.full(4, 0.8), 2: np.full(4, 0.0)}
    found = one(ours, theirs)
    assert found.difference == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_without_a_seed_in_common_there_is_no_number():
    found = one({0: np.ones(4)}, {1: np.zeros(4)})
    assert np.isnan([found.difference, found.low, found.high, found.p, found.adjusted]).all()
    assert (found.seeds, found.of, found.cases) == (0, 0, 0)


def test_scores_of_other_cases_are_refused():
    with pytest.raises(ValueError):
        one({0: np.linspace(0, 1, 4)}, {0: np.ones(1)})


def test_a_case_that_is_nan_for_one_model_is_left_out_for_all():
    ours, theirs = scores((0, 1, 2), 14, lift=0.03), scores((0, 1, 2), 14, seed=1)
    whole = one({s: v[2:] for s, v in ours.items()}, {s: v[2:] for s, v in theirs.items()})
    ours[0][0] = theirs[1][1] = NAN  # a case is gone from another side and another seed each
    found = one(ours, theirs)
    assert found == whole
    assert found.cases == 12


def test_one_case_has_no_test():
    found = one({0: [0.9], 1: [0.8]}, {0: [0.5], 1: [0.5]})
    assert found.difference == pytest.approx(0.35)
    assert np.isnan([found.low, found.high, found.p, found.adjusted]).all()
    assert (found.seeds, found.of, found.cases) == (2, 2, 1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"cases": ENOUGH}, ""),
        ({"cases": ENOUGH - 1}, f"{ENOUGH - 1} cases without nan, {ENOUGH} are needed"),
        ({"of": 2}, "2 seeds, 3 are needed"),
        ({"of": 1, "cases": 2}, "1 seed, 3 are needed"),
        ({"p": NAN}, "no number"),
        ({"low": NAN}, "no number"),
        ({"high": NAN}, "no number"),
    ],
)
def test_what_can_decide_has_seeds_and_cases_and_a_number(changes, why):
    assert made(**changes).undecidable == why


@pytest.mark.parametrize(
    ("changes", "holds", "reversed_"),
    [
        ({}, True, False),
        ({"adjusted": 0.05}, False, False),
        ({"difference": -0.1, "low": -0.2, "high": -0.05}, False, True),
        ({"difference": -0.1, "low": -0.2, "high": -0.05, "adjusted": 0.06, "p": 0.001}, False, False),
        ({"difference": -0.1, "low": -0.2, "high": -0.05, "adjusted": 0.05}, False, False),
        ({"low": NAN, "high": NAN, "adjusted": NAN}, False, False),
    ],
)
def test_a_comparison_holds_beyond_chance(changes, holds, reversed_):
    each = made(**changes)
    assert (each.holds, each.reversed) == (holds, reversed_)


def test_said_tells_the_corrected_p():
    said = made(difference=0.1234, low=-0.05, high=0.3, p=0.001, adjusted=0.0127, seeds=2).said()
    assert said == "one - other, dice: +0.123 (-0.050 to +0.300), p = 0.013, 2 of 3 seeds above 0"


def test_said_of_small_p_and_with_words_for_what():
    said = made(difference=-0.1, low=-0.2, high=-0.05, adjusted=0.0009).said({"dice": "Dice score"})
    assert said == "one - other, Dice score: -0.100 (-0.200 to -0.050), p < 0.001, 3 of 3 seeds above 0"
    assert "p = 0.001," in made(adjusted=0.001).said()
    assert "p " not in made().said(tested=False) and "p " not in made(adjusted=NAN).said()
    assert "other, dice:" in made().said({"iou": "IoU"})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((0.1234, -0.05, 0.3), "+0.123 (-0.050 to +0.300)"),
        ((0.00015, 0.00005, 0.00025), "+0.00015 (+0.00005 to +0.00025)"),
        ((0.0, 0.0, 0.0), "+0.000 (+0.000 to +0.000)"),
        ((2e-8, 1e-8, 3e-8), "+0.000000 (+0.000000 to +0.000000)"),
        ((-0.0031, -0.009, 0.0012), "-0.0031 (-0.0090 to +0.0012)"),
    ],
)
def test_small_differences_are_told_with_two_digits(values, told):
    assert told in made(**dict(zip(("difference", "low", "high"), values, strict=True))).said()


def kinds(values):
    """What `compare` takes, of all pairs of `[K, S, N]`."""
    scores = [dict(enumerate(each)) for each in values]
    return {pair: ("dice", *pair, *(scores[k] for k in pair)) for pair in combinations(range(len(values)), 2)}


def test_the_usual_spread_is_the_median_of_all_pairs():
    values = np.random.default_rng(0).normal(0, [[[0.1]], [[0.2]], [[0.3]], [[5.0]]], (4, 5, 12))
    variances = [np.var(values[a].mean(axis=1) - values[b].mean(axis=1), ddof=1) for a, b in combinations(range(4), 2)]
    assert usual_spread(kinds(values), 3) == (pytest.approx(sorted(variances)[2]), 3 * 4 / 2)  # no pair of the last
    assert sorted(variances)[3] > 1.5 * sorted(variances)[2]
    apart = dict(list(kinds(values).items())[:2])
    assert usual_spread(apart, 2) == (pytest.approx(np.mean(variances[:2])), 2 * 4 / 2)
    pair = kinds(values[:2])
    assert usual_spread(pair, 1) == (pytest.approx(variances[0]), 4)  # of one pair it is its own
    assert compare(pair, {"dice": usual_spread(pair, 1)}) == compare(pair)
    few = pair | {"two": ("dice", "x", "y", *(dict(enumerate(v[:2])) for v in values[2:]))}
    assert usual_spread(few, 2)[0] == pytest.approx(variances[0])  # two seeds tell next to nothing
    empty = pair | {"no": ("dice", "x", "y", dict(enumerate(values[0])), dict(enumerate(np.full((5, 12), NAN))))}
    assert usual_spread(empty, 2)[0] == pytest.approx(variances[0])
    assert np.isnan(usual_spread({}, 0)).all() and compare(pair, {"dice": usual_spread({}, 0)}) == compare(pair)
    assert compare(pair, {"other": Spread(9.0, 9.0)}) == compare(pair)
    short = kinds(values[:3]) | {(0, 3): ("dice", 0, 3, dict(enumerate(values[0])), dict(enumerate(values[3][:4])))}
    assert usual_spread(short, 3).freedom == 3 * 3 / 2  # four seeds are the fewest


def test_seeds_vary_at_least_as_much_as_is_known_of_others():
    values = np.random.default_rng(2).normal(0.02, 0.05, (3, 20))
    own, cases = values.mean(axis=1).var(ddof=1), values.mean(axis=0).var(ddof=1) / 20
    plain = crossed_test(values)
    assert crossed_test(values, least=Spread(0.9 * own, 100.0)) == plain
    assert crossed_test(values[:1], least=Spread(9.0, 100.0)) == crossed_test(values[:1])  # of one seed nothing
    mean, low, high, p = crossed_test(values, least=Spread(4 * own, 7.0))
    whole = 4 * own / 3 + cases
    freedom = whole**2 / ((4 * own / 3) ** 2 / 7 + cases**2 / 19)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(whole)
    assert (mean, low, high) == pytest.approx((plain[0], plain[0] - half, plain[0] + half))
    assert p == pytest.approx(2 * stats.t.sf(abs(mean) / np.sqrt(whole), freedom))
    same = crossed_test(np.full((3, 4), 0.5), least=Spread(0.01, 4.0))  # what does not vary is not sure then
    assert same[3] > 0 and same[1] < 0.5 < same[2]


def called_apart(deviations, seeds, lift=0.0, studies=150, bound=True):
    """Share of made-up studies of these kinds of models, and of pairs with the last one, that are called apart."""
    rng, some, last, count = np.random.default_rng(4), 0, [], len(deviations)
    deviations = np.asarray(deviations)[:, None, None]
    for _ in range(studies):
        values = deviations * rng.normal(size=(count, seeds, 1)) + rng.normal(0, 0.007, (count, 1, 34))
        values += rng.normal(0, 0.008, (count, seeds, 34)) + rng.normal(0, 0.005, (seeds, 1))  # a seed is common to all
        values[-1] += lift
        pairs = kinds(values)
        found = compare(pairs, {"dice": usual_spread(pairs, count - 1)} if bound else None)
        some += any(each.holds or each.reversed for each in found.values())
        last += [found[k, count - 1].reversed for k in range(1, count - 1)]
    return some / studies, np.mean(last)


@pytest.mark.parametrize("deviations", [(0.006,) * 6, (0.04, *[0.004] * 5), np.geomspace(0.003, 0.012, 6)])
def test_of_kinds_that_do_not_differ_few_studies_call_any_apart(deviations):
    """Some 1 to 6 %, by long simulation."""
    assert called_apart(deviations, 3)[0] < 0.09  # and two standard errors
    assert called_apart(deviations, 5)[0] < 0.07


def test_without_the_bound_many_studies_would_call_some_apart():
    assert called_apart((0.006,) * 6, 3, bound=False)[0] > 0.12  # some 20 %


@pytest.mark.parametrize("deviations", [(0.004,) * 6, (0.04, *[0.004] * 5), (0.04, *[0.004] * 3)])
def test_kinds_that_differ_are_found_whether_one_other_collapses_or_not(deviations):
    assert called_apart(deviations, 5, 0.02)[1] > 0.85
    assert called_apart(deviations, 3, 0.04)[1] > 0.75
