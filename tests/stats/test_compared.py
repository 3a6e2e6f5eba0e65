"""One kind of model against another: against scipy, all sign flips written out, and Holm by hand."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from kseg.stats import ENOUGH, Comparison, compare, crossed_interval

NAN = float("nan")


def flips(difference):
    """p of two sides of all sign flips of the mean, one by one: twice the smaller tail, as `scipy.stats` has it."""
    signs = np.array(list(product([-1, 1], repeat=len(difference))))
    means, seen = (signs * difference).mean(axis=1), np.mean(difference)
    return min(1.0, 2 * min((means >= seen - 1e-12).mean(), (means <= seen + 1e-12).mean()))


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


def test_difference_and_p_are_of_means_over_seeds_by_case():
    ours, theirs = scores((0, 1, 2), 9, lift=0.02), scores((0, 1, 2), 9, seed=1)
    found = one(ours, theirs)
    by_case = np.mean([ours[s] - theirs[s] for s in ours], axis=0)
    assert found[:3] == ("Dice", "first", "second")
    assert found.difference == pytest.approx(by_case.mean())
    assert found.p == pytest.approx(flips(by_case))
    assert 0.02 < found.p < 0.98  # neither nothing nor all, so that a wrong test would be seen
    peer = stats.permutation_test((by_case,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.p == pytest.approx(peer.pvalue)
    assert (found.seeds, found.of, found.cases) == (sum((ours[s] - theirs[s]).mean() > 0 for s in ours), 3, 9)


def test_p_has_two_sides_and_turns_with_the_pair():
    ours, theirs = scores((0, 1), 8, lift=0.05), scores((0, 1), 8, seed=1)
    there, back = one(ours, theirs), one(theirs, ours)
    assert (back.difference, back.seeds) == (pytest.approx(-there.difference), there.of - there.seeds)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.005)  # both are resampled
    assert back.p == pytest.approx(there.p)


def test_many_seeds_widen_the_interval_where_they_disagree():
    """Seeds that differ by 0.2 and cases that do not: the interval is that of the seeds' mean, not of 240 numbers."""
    lifts = dict(enumerate(np.random.default_rng(3).normal(0, 0.2, 12)))
    noise = np.random.default_rng(4).normal(0, 0.001, (12, 20))
    found = one({s: lift + noise[s] for s, lift in lifts.items()}, {s: np.zeros(20) for s in lifts})
    spread = np.std(list(lifts.values())) / np.sqrt(12)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.06)


def test_one_seed_has_the_interval_of_its_cases():
    ours, theirs = scores((4,), 200, lift=0.01), scores((4,), 200, seed=1)
    found, each = one(ours, theirs), ours[4] - theirs[4]
    half = 1.96 * each.std() / np.sqrt(200)
    assert (found.low, found.high) == pytest.approx((each.mean() - half, each.mean() + half), abs=0.0006)
    assert found.of == 1


def test_holm_counts_the_comparisons_made_together():
    """p of 2 / 2^n by signs that all agree: 0.0078, 0.0156, 0.03125, 0.5; Holm multiplies by 4, 3, 2, 1 and rises."""
    cases = {"b": 7, "d": 2, "a": 8, "c": 6}
    pairs = {key: ("dice", key, "zero", {0: np.linspace(0.1, 0.2, n)}, {0: np.zeros(n)}) for key, n in cases.items()}
    found = compare(pairs)
    assert list(found) == ["b", "d", "a", "c"]
    assert {key: each.p for key, each in found.items()} == pytest.approx({k: 2 / 2**n for k, n in cases.items()})
    by_hand = {"a": 4 / 128, "b": 3 / 64, "c": 2 / 32, "d": 0.5}
    assert {key: each.adjusted for key, each in found.items()} == pytest.approx(by_hand)


def test_a_pair_without_numbers_does_not_count_for_holm():
    full, empty = np.linspace(0.1, 0.2, 8), np.full(8, NAN)
    found = compare(
        {"a": ("dice", "x", "y", {0: full}, {0: full - full}), "b": ("dice", "x", "z", {0: full}, {0: empty})}
    )
    assert found["a"].adjusted == pytest.approx(found["a"].p) == pytest.approx(2 / 2**8)
    assert np.isnan([found["b"].difference, found["b"].low, found["b"].high, found["b"].p, found["b"].adjusted]).all()
    assert (found["b"].seeds, found["b"].of, found["b"].cases) == (0, 1, 0)
    assert not (found["b"].holds or found["b"].reversed or found["b"].decidable)


def test_only_seeds_that_both_have_are_compared():
    ours, theirs = scores((0, 1, 2), 8, lift=0.1), scores((1, 2, 3), 8, seed=1)
    found = one(ours, theirs)
    same = one({s: ours[s] for s in (1, 2)}, {s: theirs[s] for s in (2, 1)})
    assert found == same
    assert found.of == 2
    assert found.difference == pytest.approx(np.mean([ours[s] - theirs[s] for s in (1, 2)]))


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
    ours, theirs = scores((0, 1), 10, lift=0.03), scores((0, 1), 10, seed=1)
    whole = one({s: v[2:] for s, v in ours.items()}, {s: v[2:] for s, v in theirs.items()})
    ours[0][0] = theirs[1][1] = NAN  # a case is gone from another side and another seed each
    found = one(ours, theirs)
    assert found == whole
    assert found.cases == 8


def test_the_interval_is_that_of_seeds_and_cases():
    ours, theirs = scores((0, 1, 2), 9, lift=0.02), scores((0, 1, 2), 9, seed=1)
    found = one(ours, theirs)
    assert (found.low, found.high) == crossed_interval([ours[s] - theirs[s] for s in ours])


def test_one_case_has_no_test():
    found = one({0: [0.9], 1: [0.8]}, {0: [0.5], 1: [0.5]})
    assert found.difference == pytest.approx(0.35)
    assert np.isnan([found.low, found.high, found.p, found.adjusted]).all()
    assert (found.seeds, found.of, found.cases) == (2, 2, 1)


def test_what_is_decidable_needs_cases_that_holm_leaves():
    assert made().decidable
    assert made(cases=ENOUGH).decidable
    assert not made(cases=ENOUGH - 1).decidable
    assert not made(adjusted=NAN).decidable
    assert 51 * 2 / 2**ENOUGH < 0.05 < 51 * 2 / 2 ** (ENOUGH - 1)  # as the constant's comment says
    for together in (1, 51, 52, 300, 1000):
        needed = made(together=together).needed
        assert needed == max(ENOUGH, min(n for n in range(40) if together * 2 / 2**n < 0.05))
        assert made(together=together, cases=needed).decidable
        assert not made(together=together, cases=needed - 1).decidable


def test_of_many_comparisons_one_can_still_be_told():
    ours, theirs = scores((0,), 40, lift=0.3), scores((0,), 40, seed=1)
    found = compare(dict.fromkeys(range(300), ("Dice", "first", "second", ours, theirs)))
    assert all(each.holds and each.together == 300 for each in found.values())


@pytest.mark.parametrize(
    ("changes", "holds", "reversed_"),
    [
        ({}, True, False),
        ({"adjusted": 0.05}, False, False),
        ({"low": 0.0}, False, False),
        ({"low": -0.01, "high": 0.2}, False, False),
        ({"difference": -0.1, "low": -0.2, "high": -0.05}, False, True),
        ({"difference": -0.1, "low": -0.2, "high": -0.05, "adjusted": 0.06, "p": 0.001}, False, False),
        ({"low": NAN, "high": NAN, "adjusted": NAN}, False, False),
    ],
)
def test_a_comparison_holds_beyond_chance_and_beyond_its_interval(changes, holds, reversed_):
    each = made(**changes)
    assert (each.holds, each.reversed) == (holds, reversed_)


def test_said_tells_the_corrected_p():
    said = made(difference=0.1234, low=-0.05, high=0.3, p=0.001, adjusted=0.0127, seeds=2).said()
    assert said == "one - other, dice: +0.123 (-0.050 to +0.300), p = 0.013, 2 of 3 seeds above 0"


def test_said_of_small_p_and_with_words_for_what():
    said = made(difference=-0.1, low=-0.2, high=-0.05, adjusted=0.0009).said({"dice": "Dice score"})
    assert said == "one - other, Dice score: -0.100 (-0.200 to -0.050), p < 0.001, 3 of 3 seeds above 0"
    assert "p = 0.001," in made(adjusted=0.001).said()
    assert "other, dice:" in made().said({"iou": "IoU"})
