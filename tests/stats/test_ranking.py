"""Ranks against hands and scipy's Friedman test; tests of pairs against all sign flips written out."""

from itertools import combinations, permutations, product

import numpy as np
import pytest
from scipy import stats

from kseg.stats import Ranking, ranking

NAN, INF = float("nan"), float("inf")


def flips(a, b):
    """p of Wilcoxon's test of two sides, all sign flips one by one; differences of 0 are ranked and then dropped."""
    difference = np.subtract(a, b).round(9)
    ranks = stats.rankdata(np.abs(difference)) * (difference != 0)
    seen = ranks[difference > 0].sum()
    sums = np.array([(ranks * signs).sum() for signs in product([0, 1], repeat=len(ranks))])
    return min(1.0, 2 * min((sums >= seen - 1e-9).mean(), (sums <= seen + 1e-9).mean()))


def drawn(lifts, cases, seed=0):
    noise = np.random.default_rng(seed).normal(0, 0.02, (len(lifts), cases))
    return {name: 0.7 + lift + each for (name, lift), each in zip(lifts.items(), noise, strict=True)}


def test_ranks_by_hand_with_ties():
    """Cases give c, a, b the ranks 1 2 3, 1.5 1.5 3, 2 2 2, 3 1.5 1.5."""
    scores = {"b": [0.1, 0.3, 0.5, 0.7], "a": [0.2, 0.6, 0.5, 0.7], "c": [0.3, 0.6, 0.5, 0.6]}
    found = ranking(scores)
    assert found.names == ("a", "c", "b")
    assert found.ranks == (7 / 4, 7.5 / 4, 9.5 / 4)
    assert found.cases == 4


def test_lower_is_better_turns_the_order():
    scores = drawn({"a": 0.0, "b": 0.1, "c": 0.2}, 12)
    up, down = ranking(scores), ranking(scores, higher=False)
    assert (up.names, down.names) == (("c", "b", "a"), ("a", "b", "c"))
    assert down.ranks == tuple(4 - rank for rank in reversed(up.ranks))
    assert down.friedman == pytest.approx(up.friedman)
    assert {frozenset(pair): p for pair, p in down.p.items()} == {frozenset(pair): p for pair, p in up.p.items()}


def test_friedman_is_that_of_scipy():
    scores = drawn({"a": 0.0, "b": 0.005, "c": 0.01, "d": 0.0}, 15)
    found = ranking(scores)
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*scores.values()).pvalue, rel=1e-9)
    assert 1e-4 < found.friedman < 0.5  # neither nothing nor all, so that a wrong test would be seen
    tied = {"a": [1, 2, 3, 1], "b": [1, 1, 3, 2], "c": [0, 1, 2, 2]}
    assert ranking(tied).friedman == pytest.approx(stats.friedmanchisquare(*tied.values()).pvalue)


@pytest.mark.parametrize(
    ("scores", "friedman"),
    [
        ({"a": [1, 2, 3], "b": [2, 3, 4]}, NAN),
        ({"a": [1], "b": [2], "c": [3]}, NAN),
        ({"a": [1, 2], "b": [1, 2], "c": [1, 2]}, 1.0),
    ],
)
def test_friedman_where_there_is_little_to_test(scores, friedman):
    assert ranking(scores).friedman == pytest.approx(friedman, nan_ok=True)


def test_pairs_are_tested_by_wilcoxon_and_corrected_by_holm():
    """Ten cases without ties, and Holm's steps by hand: the m-th smallest of M times M - m + 1, rising."""
    scores = drawn({"a": 0.0, "b": 0.01, "c": 0.02, "d": 0.06}, 10, seed=2)
    plain = {pair: flips(scores[pair[0]], scores[pair[1]]) for pair in combinations("abcd", 2)}
    by_hand, so_far = {}, 0.0
    for step, pair in enumerate(sorted(plain, key=plain.get)):
        so_far = max(so_far, min(1.0, plain[pair] * (6 - step)))
        by_hand[frozenset(pair)] = so_far
    found = ranking(scores)
    assert {frozenset(pair): p for pair, p in found.p.items()} == pytest.approx(by_hand)
    assert len({round(p, 6) for p in by_hand.values()}) > 2
    assert all(found.names.index(better) < found.names.index(worse) for better, worse in found.p)


@pytest.mark.parametrize("cases", [9, 50, 51, 200])
def test_pairs_are_tested_as_by_scipy(cases):
    """Without ties: exactly up to 50 cases, then by the normal approximation."""
    scores = drawn({"a": 0.0, "b": 0.003}, cases, seed=1)
    peer = stats.wilcoxon(scores["a"], scores["b"]).pvalue
    assert list(ranking(scores).p.values()) == pytest.approx([peer])


def test_equal_scores_stay_in_the_test_by_the_way_of_pratt():
    """The one loss has rank 7 of 4 to 9, 5 sums of 64 are so small; without the equal ones 4 of 1 to 6, and 7 are."""
    difference = np.array([0, 0, 0, 1, 2, 3, -4, 5, 6]) / 10
    b = np.linspace(0.1, 0.3, 9)
    assert ranking({"a": b + difference, "b": b}).p == {("a", "b"): pytest.approx(10 / 64)}
    assert flips(b + difference, b) == pytest.approx(10 / 64)


def test_a_tie_parted_by_rounding_is_a_tie():
    a = np.linspace(0.3, 0.9, 8)
    found = ranking({"a": a, "b": np.nextafter(a, 1)})
    assert found.ranks == (1.5, 1.5) and found.p == {("a", "b"): 1.0}
    b = a + np.array([1, -1, 1, 1, 2, 2, 1, 1]) / 10  # so are differences of one size
    assert ranking({"a": a, "b": b}).p == {("b", "a"): pytest.approx(flips(b, a))}
    small = ranking({"a": 1e-12 * a, "b": 2e-12 * a})  # but what is small may differ
    assert small.names == ("b", "a") and small.ranks == (1.0, 2.0)


def test_two_alike_and_one_better_make_one_clique():
    found = ranking(drawn({"a": 0.0, "b": 0.0, "c": 0.2}, 20))
    assert found.names[0] == "c" and found.cliques == (found.names[1:],)
    assert found.p["c", "a"] < 0.05 and found.p["c", "b"] < 0.05 and found.p[found.names[1:]] > 0.05


def test_cliques_overlap_where_only_the_ends_differ():
    noise = np.linspace(-0.02, 0.02, 20)
    scores = {"a": 0.5 + 0 * noise, "b": 0.5 + noise - 0.003, "c": 0.5 - 0.008 + 0 * noise}
    found = ranking(scores)
    assert found.names == ("a", "b", "c")
    assert found.p["a", "c"] < 0.05 < min(found.p["a", "b"], found.p["b", "c"])
    assert found.cliques == (("a", "b"), ("b", "c"))


def test_a_pair_inside_a_run_breaks_it():
    """A noisy name between two that differ: no clique may hold both of these."""
    scores = drawn({"a": 0.0, "b": 0.01, "c": 0.02, "d": 0.03, "e": 0.04}, 25, seed=4)
    found = ranking(scores)
    runs = [found.names[i:j] for i in range(5) for j in range(i + 2, 6)]
    alike = [run for run in runs if all(found.p[pair] >= 0.05 for pair in combinations(run, 2))]
    longest = [run for run in alike if not any(set(run) < set(other) for other in alike)]
    assert found.cliques == tuple(longest) and len(longest) > 1


def test_a_run_is_no_clique_where_two_in_it_differ_though_the_first_differs_from_neither():
    """a is a little better than both in 14 cases, much worse in 6; b is better than c in all."""
    a = 0.5 + np.where(np.arange(20) < 14, 0.01, -0.2) + np.linspace(0, 0.001, 20)
    found = ranking({"a": a, "b": np.full(20, 0.5), "c": np.linspace(0.498, 0.499, 20)})
    assert found.names == ("a", "b", "c")
    assert found.p["b", "c"] < 0.05 < min(found.p["a", "b"], found.p["a", "c"])
    assert found.cliques == (("a", "b"),)


def test_all_different_make_no_clique_and_all_alike_make_one():
    assert ranking(drawn({"a": 0.0, "b": 0.2, "c": 0.4}, 20)).cliques == ()
    same = np.linspace(0.5, 0.9, 20)
    found = ranking({"a": same, "c": same, "b": same})
    assert found.cliques == (("a", "b", "c"),) and found.ranks == (2.0, 2.0, 2.0) and set(found.p.values()) == {1.0}


def test_a_case_that_is_nan_for_one_name_is_left_out_for_all():
    scores = drawn({"a": 0.0, "b": 0.01, "c": 0.02}, 14)
    whole = ranking({name: each[2:] for name, each in scores.items()})
    scores["a"][0] = scores["c"][1] = NAN
    assert ranking(scores) == whole and whole.cases == 12


def test_a_missed_structure_is_the_farthest_and_as_far_as_another():
    """Distances: the third case is missed by a and b, so that they tie; c is the best of it."""
    found = ranking({"a": [1.0, 2.0, INF, INF], "b": [2.0, 3.0, INF, 5.0], "c": [3.0, 4.0, 9.0, 6.0]}, higher=False)
    assert dict(zip(found.names, found.ranks, strict=True)) == {"a": 7.5 / 4, "b": 7.5 / 4, "c": 9 / 4}
    assert all(0 < p <= 1 for p in found.p.values())
    assert ranking({"a": [INF, INF], "b": [INF, INF]}).p == {("a", "b"): 1.0}


@pytest.mark.parametrize("scores", [{"b": [NAN, 1.0], "a": [1.0, NAN]}, {"b": [], "a": []}])
def test_without_a_case_there_are_no_numbers(scores):
    found = ranking(scores)
    assert (found.names, found.cases) == (("a", "b"), 0)
    assert np.isnan([*found.ranks, found.friedman, *found.p.values()]).all()


def test_the_order_of_the_names_changes_nothing():
    scores = drawn({"a": 0.0, "b": 0.02, "c": 0.0, "d": 0.01}, 11)
    scores["d"] = scores["b"]  # a tie of mean ranks
    first = ranking(scores)
    assert isinstance(first, Ranking)
    assert all(ranking({name: scores[name] for name in names}) == first for names in permutations(scores))


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        ({"a": [1.0]}, "two names"),
        ({}, "two names"),
        ({"a": [1.0, 2.0], "b": [1.0]}, r"'b': \(1,\)"),
        ({"a": [[1.0]], "b": [[1.0]]}, "one list each"),
        ({"a": 1.0, "b": 2.0}, "one list each"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores, named):
    with pytest.raises(ValueError, match=named):
        ranking(scores)
