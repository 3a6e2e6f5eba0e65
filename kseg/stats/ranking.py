"""Several kinds of models ranked over the same cases, and which of them cannot be told apart."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats

from kseg.stats.cases import holm
from kseg.stats.compared import SIGNIFICANT

DECIMALS = 10  # of the largest score: what differs by less is a tie parted by rounding

EXACT = 50  # cases up to which all signs are counted through; `scipy.stats` does so one by one where scores tie


class Ranking(NamedTuple):
    """Mean ranks over cases, and tests.

    `names`, best first, have the mean ranks `ranks` (1 is best); `friedman` is p of Friedman's test that all are alike;
    `cases` were ranked; each of `cliques` is a run of names of which no two differ; `p` {(better, worse): p} is of
    Wilcoxon's tests of two sides, after Holm's correction over all pairs.
    """

    names: tuple
    ranks: tuple
    friedman: float
    cases: int
    cliques: tuple
    p: dict


def ranking(scores, *, higher=True):
    """Rank kinds of models by case, and test which differ.

    Args:
        scores: {name: `[cases]`}, one number per case in the same order (means over seeds). A case that is nan for any
            name is left out for all; an infinite number (the surface distance of a missed structure) is ranked.
        higher: whether the higher score is the better one.

    Returns:
        Ranking; names of one mean rank stand in the order of the alphabet, and names that cannot be told apart by 5 %
        make a clique of two or more (a run: two that cannot may stand in none, where one between them differs).
        `friedman` is nan below three names or two cases, and every number is nan without a case.
        Few cases tell nothing apart: of k names the least adjusted p is k (k - 1) / 2^cases.

    Raises:
        ValueError: fewer than two names, or not one list of one length each.

    Example:
        >>> found = ranking({"a": [0.7, 0.5, 0.6], "b": [0.9, 0.8, 0.7], "c": [0.6, 0.5, 0.3]})
        >>> found.names, found.ranks
        (('b', 'a', 'c'), (1.0, 2.1666666666666665, 2.8333333333333335))
        >>> found.cliques
        (('b', 'a', 'c'),)

    Source: Demsar 2006 (ranks, Friedman's test, diagram). Pairs are tested alone by Wilcoxon's test, and corrected, as
    Garcia and Herrera 2008 and Benavoli, Corani and Mangili 2016 advise: whether two differ by the critical difference
    of mean ranks depends on who else takes part. Equal scores count by the way of Pratt 1959.
    """
    names, values = _checked(scores, higher)
    values = values[:, ~np.isnan(values).any(axis=0)]
    finite = np.abs(values[np.isfinite(values)])
    largest = finite.max() if finite.any() else 1.0
    values = values / largest
    count, cases = values.shape
    ranks = stats.rankdata(np.round(-values if higher else values, DECIMALS), axis=0)
    means = ranks.sum(axis=1) / cases if cases else np.full(count, np.nan)
    order = sorted(range(count), key=lambda i: (means[i], names[i]) if cases else names[i])
    pairs = list(combinations(order, 2))
    adjusted = holm([_wilcoxon(values[i], values[j]) for i, j in pairs])
    p = {(names[i], names[j]): float(each) for (i, j), each in zip(pairs, adjusted, strict=True)}
    names, means = tuple(names[i] for i in order), tuple(float(means[i]) for i in order)
    return Ranking(names, means, _friedman(ranks), cases, _cliques(names, p), p)


def _checked(scores, higher):
    """Names, and scores `[names, cases]` in float64."""
    if len(scores) < 2:
        raise ValueError(f"There are scores of {list(scores)} only. Expected two names or more; give another one.")
    values = {name: np.asarray(each, dtype=np.float64) for name, each in scores.items()}
    shapes = {name: each.shape for name, each in values.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 1:
        raise ValueError(
            f"Scores have the shapes {shapes}. Expected one list each, of one length; give nan for a case without one."
        )
    return list(values), np.stack(list(values.values()))


def _wilcoxon(a, b):
    """P-value of two sides; 1 where nothing differs, nan without a case."""
    if not len(a):
        return float("nan")
    difference = np.subtract(a, b, out=np.zeros_like(a), where=a != b)  # inf from inf is no difference
    difference = np.round(difference, DECIMALS)
    if not difference.any():
        return 1.0
    if len(difference) > EXACT:
        return float(stats.wilcoxon(difference, zero_method="pratt", method="asymptotic").pvalue)
    ranks = np.rint(2 * stats.rankdata(np.abs(difference))).astype(int)  # twice, for ties to be whole numbers
    chance = np.ones(1)  # of each sum of the ranks above 0, signs being drawn
    for rank in ranks[difference != 0]:
        chance = (np.pad(chance, (rank, 0)) + np.pad(chance, (0, rank))) / 2
    seen = ranks[difference > 0].sum()
    return float(min(1.0, 2 * min(chance[: seen + 1].sum(), chance[seen:].sum())))


def _friedman(ranks):
    """P-value of Friedman's test of ranks `[names, cases]`; 1 where every case ties all."""
    if len(ranks) < 3 or ranks.shape[1] < 2:
        return float("nan")
    if (ranks == ranks[0]).all():
        return 1.0
    return float(stats.friedmanchisquare(*ranks).pvalue)


def _cliques(names, p):
    """The longest runs of two or more names of which no two differ."""
    found, reached = [], 0
    for start in range(len(names)):
        stop = start + 1
        while stop < len(names) and not any(p[name, names[stop]] < SIGNIFICANT for name in names[start:stop]):
            stop += 1
        if stop > max(reached, start + 1):
            found.append(names[start:stop])
        reached = max(reached, stop)
    return tuple(found)
