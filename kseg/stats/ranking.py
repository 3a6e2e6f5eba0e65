"""Several kinds of models ranked over the same cases, and which of them are not told apart."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats

DECIMALS = 10  # of the largest score: what differs by less is a tie parted by rounding


class Ranking(NamedTuple):
    """Mean ranks over cases, and who is told apart.

    `names`, best first, have the mean ranks `ranks` (1 is best) over so many `cases`. `apart` holds the pairs (better,
    worse) that are told apart, and is None where that was not tested; each of `cliques` is a run of names of which no
    two are told apart.
    """

    names: tuple
    ranks: tuple
    cases: int
    apart: frozenset | None = None
    cliques: tuple = ()


def ranking(scores, *, higher=True, apart=None):
    """Rank kinds of models by case.

    Args:
        scores: {name: `[cases]`}, one number per case in the same order (means over seeds). A case that is nan for any
            name is left out for all; an infinite number (the surface distance of a missed structure) is ranked.
        higher: whether the higher score is the better one.
        apart: pairs of names that a test tells apart, such as `kseg.stats.compare`; None if nothing was tested.

    Returns:
        Ranking; names of one mean rank stand in the order of the alphabet, and names that are not told apart make a
        clique of two or more (a run: two that are not may stand in none, where one between them is). Ranks are nan
        without a case. They describe these models over these cases: no test is made of them.

    Raises:
        ValueError: fewer than two names, not one list of one length each, or a pair of other names.

    Example:
        >>> scores = {"a": [0.7, 0.5, 0.6], "b": [0.9, 0.8, 0.7], "c": [0.6, 0.5, 0.3]}
        >>> found = ranking(scores, apart=[("c", "b")])
        >>> found.names, found.ranks
        (('b', 'a', 'c'), (1.0, 2.1666666666666665, 2.8333333333333335))
        >>> found.cliques
        (('b', 'a'), ('a', 'c'))

    Source: Demsar 2006 (ranks, diagram). Whether two differ is asked of these two alone, as Benavoli, Corani and
    Mangili 2016 advise: by the critical difference of mean ranks it would depend on who else takes part.
    """
    names, values = _checked(scores)
    values = values[:, ~np.isnan(values).any(axis=0)]
    finite = np.abs(values[np.isfinite(values)])
    values = values / (finite.max() if finite.any() else 1.0)
    cases = values.shape[1]
    ranks = stats.rankdata(np.round(-values if higher else values, DECIMALS), axis=0)
    means = ranks.sum(axis=1) / cases if cases else np.full(len(names), np.nan)
    order = sorted(range(len(names)), key=lambda i: (means[i], names[i]) if cases else names[i])
    names, means = tuple(names[i] for i in order), tuple(float(means[i]) for i in order)
    if apart is None:
        return Ranking(names, means, cases)
    apart = frozenset(_in_order(pair, names) for pair in apart)
    return Ranking(names, means, cases, apart, _cliques(names, apart))


def _in_order(pair, names):
    if len(set(pair)) != 2 or not set(pair) <= set(names):
        raise ValueError(f"apart has {tuple(pair)}. Expected pairs of the names that are ranked: {', '.join(names)}.")
    return tuple(sorted(pair, key=names.index))


def _checked(scores):
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


def _cliques(names, apart):
    """The longest runs of two or more names of which no two are told apart."""
    found, reached = [], 0
    for start in range(len(names)):
        stop = start + 1
        while stop < len(names) and not any(pair in apart for pair in combinations(names[start : stop + 1], 2)):
            stop += 1
        if stop > max(reached, start + 1):
            found.append(names[start:stop])
        reached = max(reached, stop)
    return tuple(found)
