"""Ranks against hands and scipy, and the runs of names that are not told apart against all runs looked through."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy import stats

from kseg.stats import Ranking, ranking

NAN, INF = float("nan"), float("inf")


def drawn(lifts, cases, seed=0):
    noise = np.random.default_rng(seed).normal(0, 0.02, (len(lifts), cases))
    return {name: 0.7 + lift + each for (name, lift), each in zip(lifts.items(), noise, strict=True)}


FIVE = drawn({"a": 0.0, "b": 0.1, "c": 0.2, "d": 0.3, "e": 0.4}, 12)  # e is best, then d, ..


def test_ranks_by_hand_with_ties():
    """Cases give c, a, b the ranks 1 2 3, 1.5 1.5 3, 2 2 2, 3 1.5 1.5."""
    scores = {"b": [0.1, 0.3, 0.5, 0.7], "a": [0.2, 0.6, 0.5, 0.7], "c": [0.3, 0.6, 0.5, 0.6]}
    assert ranking(scores) == Ranking(("a", "c", "b"), (7 / 4, 7.5 / 4, 9.5 / 4), 4, None, ())


def test_ranks_are_those_of_scipy():
    scores = drawn({"a": 0.0, "b": 0.02, "c": 0.01, "d": -0.01}, 15)
    found = ranking(scores)
    means = stats.rankdata(-np.stack(list(scores.values())), axis=0).mean(axis=1)
    assert dict(zip(found.names, found.ranks, strict=True)) == pytest.approx(dict(zip(scores, means, strict=True)))
    assert list(found.ranks) == sorted(found.ranks) and len(set(found.ranks)) == 4


def test_lower_is_better_turns_the_order():
    scores = drawn({"a": 0.0, "b": 0.1, "c": 0.2}, 12)
    up, down = ranking(scores, apart=[("a", "c")]), ranking(scores, higher=False, apart=[("a", "c")])
    assert (up.names, down.names) == (("c", "b", "a"), ("a", "b", "c"))
    assert down.ranks == tuple(4 - rank for rank in reversed(up.ranks))
    assert (up.apart, down.apart) == ({("c", "a")}, {("a", "c")})  # the better one first


def test_a_tie_parted_by_rounding_is_a_tie():
    a = np.linspace(0.3, 0.9, 8)
    assert ranking({"a": a, "b": np.nextafter(a, 1)}).ranks == (1.5, 1.5)
    small = ranking({"a": 1e-12 * a, "b": 2e-12 * a})  # but what is small may differ
    assert small.names == ("b", "a") and small.ranks == (1.0, 2.0)


@pytest.mark.parametrize(
    ("apart", "cliques"),
    [
        ([], [("e", "d", "c", "b", "a")]),
        (list(combinations("abcde", 2)), []),
        ([("a", "e")], [("e", "d", "c", "b"), ("d", "c", "b", "a")]),  # two runs that overlap
        ([("e", other) for other in "abcd"], [("d", "c", "b", "a")]),  # the best one alone
        ([("c", other) for other in "abde"], [("e", "d"), ("b", "a")]),  # one alone between two runs
        ([("d", "b")], [("e", "d", "c"), ("c", "b", "a")]),  # e and b are not, but no run holds both
    ],
)
def test_runs_of_names_that_are_not_told_apart(apart, cliques):
    assert list(ranking(FIVE, apart=apart).cliques) == cliques


@pytest.mark.parametrize("seed", range(20))
def test_every_longest_run_is_found(seed):
    rng = np.random.default_rng(seed)
    apart = [pair for pair in combinations("abcde", 2) if rng.random() < 0.3]
    found = ranking(FIVE, apart=apart)
    runs = [found.names[i:j] for i in range(5) for j in range(i + 2, 6)]
    alike = [run for run in runs if not any(set(pair) <= set(run) for pair in apart)]
    assert list(found.cliques) == [run for run in alike if not any(set(run) < set(other) for other in alike)]


def test_what_was_not_tested_has_no_cliques_and_what_was_not_told_apart_has():
    same = {"a": [0.1, 0.2], "b": [0.1, 0.2]}
    assert ranking(same)[3:] == (None, ())
    assert ranking(same, apart=[])[3:] == (frozenset(), (("a", "b"),))


def test_a_case_that_is_nan_for_one_name_is_left_out_for_all():
    scores = drawn({"a": 0.0, "b": 0.01, "c": 0.02}, 14)
    whole = ranking({name: each[2:] for name, each in scores.items()})
    scores["a"][0] = scores["c"][1] = NAN
    assert ranking(scores) == whole and whole.cases == 12


def test_a_missed_structure_is_the_farthest_and_as_far_as_another():
    """Distances: the third case is missed by a and b, so that they tie; c is the best of it."""
    found = ranking({"a": [1.0, 2.0, INF, INF], "b": [2.0, 3.0, INF, 5.0], "c": [3.0, 4.0, 9.0, 6.0]}, higher=False)
    assert dict(zip(found.names, found.ranks, strict=True)) == {"a": 7.5 / 4, "b": 7.5 / 4, "c": 9 / 4}
    assert ranking({"a": [INF, INF], "b": [INF, INF]}).ranks == (1.5, 1.5)


@pytest.mark.parametrize("scores", [{"b": [NAN, 1.0], "a": [1.0, NAN]}, {"b": [], "a": []}])
def test_without_a_case_there_are_no_numbers(scores):
    found = ranking(scores)
    assert (found.names, found.cases) == (("a", "b"), 0) and np.isnan(found.ranks).all()


def test_the_order_of_the_names_changes_nothing():
    scores = drawn({"a": 0.0, "b": 0.02, "c": 0.0, "d": 0.01}, 11)
    scores["d"] = scores["b"]  # a tie of mean ranks
    first = ranking(scores, apart=[("a", "d"), ("c", "b")])
    turned = [("d", "a"), ("b", "c")]
    assert all(ranking({name: scores[name] for name in names}, apart=turned) == first for names in permutations(scores))


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


@pytest.mark.parametrize("pair", [("a", "c"), ("a", "a"), ("a",)])
def test_pairs_of_other_names_are_refused(pair):
    with pytest.raises(ValueError, match="Expected pairs of the names that are ranked: a, b"):
        ranking({"a": [2.0], "b": [1.0]}, apart=[pair])
