"""Rank correlation over few models, of which some have a seed in common."""

from functools import reduce
from itertools import permutations
from math import factorial, prod
from typing import NamedTuple

import numpy as np
from scipy import stats

from kseg.stats.draws import batches, pairs, quantiles

EXACT = 100_000  # permutations of ranks that are counted through; of more, a sample is drawn
CLOSE = 1e-9  # sums of ranks that differ by less, of the largest one possible, are ties parted by rounding


class Correlation(NamedTuple):
    """Rank correlation `rho`, its interval (`low`, `high`), `p` of two sides, and the number of `models` (points)."""

    rho: float
    low: float
    high: float
    p: float
    models: int


def rank_correlation(x, y, groups=None, *, level=0.95, resamples=10_000, seed=0):
    """Spearman's rank correlation with a permutation test, and a bootstrap interval over the points.

    Args:
        x, y: `[N]`, one number per model; a model that is nan in either is left out.
        groups: `[N]`, what each model has in common with some (a seed), or None. Then ranks are those within a group,
            less their mean; permutations and resamples stay within groups as well, so that what all models of a group
            share makes no correlation.
        level: coverage of the interval.
        resamples: of the interval, and of the test, which is exact up to 100,000 permutations.
        seed: of both.

    Returns:
        Correlation; all nan where x or y is constant in every group. With few points trust `p` before the interval,
        which has no width at rho = 1.

    Raises:
        ValueError: x, y and groups are not lists of one length.

    Example:
        >>> found = rank_correlation([1, 2, 3, 4], [10, 20, 30, 25])
        >>> round(found.rho, 6), round(found.p, 6)
        (0.8, 0.333333)
    """
    names = [None] * len(x) if groups is None else list(groups)
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    x, y, groups = pairs(x, y, "models", [codes[name] for name in names])
    places = [np.flatnonzero(groups == code) for code in np.unique(groups)]
    rng = np.random.default_rng(seed)
    left, right = ([_centred(array[place]) for place in places] for array in (x, y))
    rho = float(_rho(left, right))
    if np.isnan(rho):
        return Correlation(*[float("nan")] * 4, len(x))
    drawn = []
    for count in batches(resamples, len(x)):
        picked = [place[rng.integers(len(place), size=(count, len(place)))] for place in places]
        drawn.append(_rho(*([_centred(array[rows]) for rows in picked] for array in (x, y))))
    return Correlation(rho, *quantiles(np.concatenate(drawn), level), _permuted(left, right, resamples, rng), len(x))


def _centred(values):
    """Ranks along the last axis, ties at their mean, less the mean of all."""
    return stats.rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2


def _rho(left, right):
    """Correlation of centred ranks, lists of `[..., n]` by group; nan where either has no spread."""
    product, x, y = (sum((a * b).sum(axis=-1) for a, b in zip(*pair, strict=True)) for pair in
                     ((left, right), (left, left), (right, right)))  # fmt: skip
    scale = np.sqrt(np.asarray(x * y, dtype=np.float64))
    return np.divide(product, scale, out=np.full(scale.shape, np.nan), where=scale > 0)


def _permuted(left, right, resamples, rng):
    """P-value of two sides of the sum of products of centred ranks, permuted within each group."""
    observed = sum(float(a @ b) for a, b in zip(left, right, strict=True))
    # The groups are permuted alone: every sum of one group with every sum of another is one permutation of all.
    exact = prod(factorial(len(ranks)) for ranks in left) <= EXACT
    if exact:
        sums = [a[np.array(list(permutations(range(len(a)))))] @ b for a, b in zip(left, right, strict=True)]
        null = reduce(lambda some, others: np.add.outer(some, others).ravel(), sums)
    else:
        null = np.concatenate([
            sum(rng.permuted(np.tile(a, (count, 1)), axis=1) @ b for a, b in zip(left, right, strict=True))
            for count in batches(resamples, sum(map(len, left)))
        ])  # fmt: skip
    slack = CLOSE * sum(float(np.abs(a) @ np.abs(b)) for a, b in zip(left, right, strict=True))
    extreme = int((np.abs(null) >= abs(observed) - slack).sum())
    return extreme / len(null) if exact else (extreme + 1) / (len(null) + 1)
