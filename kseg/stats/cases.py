"""Means over cases and seeds, how certain they are, and whether they differ."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import integrate, stats

from kseg.stats.draws import MEMORY, batches, pairs, quantiles


class Paired(NamedTuple):
    """Mean `difference` of a paired comparison, the interval (`low`, `high`), `p` of two sides, number of `cases`."""

    difference: float
    low: float
    high: float
    p: float
    cases: int


def bootstrap_interval(values, *, level=0.95, resamples=10_000, seed=0):
    """Percentile bootstrap interval of the mean over cases.

    Args:
        values: `[N]`, one number per case; nan (a case without a value) is left out.
        level: coverage, in (0, 1).
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        (low, high); (nan, nan) below two values. Source: Efron 1979, `scipy.stats.bootstrap`.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    result = stats.bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=resamples,
        method="percentile", batch=max(1, MEMORY // len(values)), rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def paired_test(a, b, *, level=0.95, resamples=10_000, seed=0):
    """Sign-flip permutation test of the mean of a - b over cases, with the bootstrap interval of that mean.

    Args:
        a, b: `[N]`, one number per case in the same order; a case that is nan in either is left out.
        level: coverage of the interval.
        resamples: of the interval, and of the test; the test is exact where there are no more sign flips (N <= 13).
        seed: of both.

    Returns:
        Paired; the difference and p are nan without any case, the interval below two.

    Raises:
        ValueError: a and b are not two lists of one length.

    Example:
        >>> paired_test([0.9, 0.8, 0.7], [0.8, 0.6, 0.4]).p  # one of 8 sign flips on either side
        0.25

    Source: Fisher 1935, section 21; `scipy.stats.permutation_test`.
    """
    difference = np.subtract(*pairs(a, b, "cases"))
    count = len(difference)
    if count < 2:  # one case has no chance to differ from itself
        return Paired(float(difference.mean()) if count else float("nan"), *[float("nan")] * 3, count)
    low, high = bootstrap_interval(difference, level=level, resamples=resamples, seed=seed)
    return Paired(float(difference.mean()), low, high, sign_flip(difference, resamples=resamples, seed=seed), count)


def sign_flip(difference, *, resamples=10_000, seed=0):
    """P-value of two sides of the test of `paired_test`, from differences `[N]` without nan; nan below two."""
    if len(difference) < 2:
        return float("nan")
    tested = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=resamples, vectorized=True,
        batch=max(1, MEMORY // len(difference)), rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(tested.pvalue)


def holm(pvalues):
    """P-values adjusted for being several: Holm's step-down procedure, which needs no independence.

    Args:
        pvalues: `[M]`; nan (a test that could not be made) stays nan and does not count.

    Returns:
        `[M]` float64 in the same order, at most 1.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]

    Source: Holm 1979.
    """
    pvalues = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(pvalues)[: np.count_nonzero(~np.isnan(pvalues))]  # nan comes last
    adjusted = np.full(pvalues.shape, np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(pvalues[order] * factors))
    return adjusted


def crossed_interval(values, *, level=0.95, resamples=10_000, seed=0):
    """Bootstrap interval of the mean of models of several seeds over the same cases: resamples seeds and cases both.

    Args:
        values: `[S, N]`, one number per seed and case; nan is left out, as is a case or a seed that has nothing else.
        level: coverage, in (0, 1).
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        (low, high); (nan, nan) below two cases. One seed alone says nothing of others: then only cases are resampled.
        Few seeds understate how seeds differ: were they all that differs, the interval of 95 % of three seeds would go
        from the least to the greatest of them, and hold the mean in three studies of four (of ten: nine of ten).

    Raises:
        ValueError: values has not two axes.

    Source: Owen 2007, "The pigeonhole bootstrap".
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"values has shape {values.shape}. Expected [seeds, cases]; give one seed as values[None].")
    there = ~np.isnan(values)
    values = values[np.ix_(there.any(axis=1), there.any(axis=0))]
    seeds, cases = values.shape
    if cases < 2:
        return float("nan"), float("nan")
    there, values = ~np.isnan(values), np.nan_to_num(values)
    means = []
    for batch, count in enumerate(batches(resamples, seeds + cases, MEMORY // 10)):
        of_seed, of_case = _drawn(seeds, cases, count, (seed, batch))
        total, number = (((of_seed @ array) * of_case).sum(axis=1) for array in (values, there))
        means.append(np.divide(total, number, out=np.full(count, np.nan), where=number > 0))
    return quantiles(np.concatenate(means), level)


@lru_cache(maxsize=8)
def _drawn(seeds, cases, count, seed):
    """How often each resample draws each seed `[count, S]` and each case `[count, N]`: a product adds the drawn values.

    Kept, since a study asks for hundreds of intervals over the same cases, and drawing takes longer than adding.
    """
    rng = np.random.default_rng(seed)
    return tuple(rng.multinomial(size, np.full(size, 1 / size), count).astype(float) for size in (seeds, cases))


def crossed_test(values, *, level=0.95, least=None):
    """Whether the mean of models of several seeds over the same cases is 0, other seeds and cases being possible.

    The variance of the mean is that of the means of seeds over their number, and that of the means of cases over
    theirs, added (what both share is counted twice, which errs on the safe side); t has Satterthwaite's degrees of
    freedom. So it is min F' of Clark 1973 for one degree of freedom. One seed alone says nothing of others: then it is
    Student's test over cases.

    Args:
        values: `[S, N]`, one number per seed and case, none of them nan.
        level: coverage of the interval, in (0, 1).
        least: `kseg.stats.Spread` of the means of seeds, known from more than these values: it takes the place of their
            own variance and its degrees of freedom where that is smaller. None: it is always their own.

    Returns:
        (mean, low, high, p of two sides); all but the mean nan below two cases.

    By simulation with normal effects, of three seeds without a difference, one study in 13 at most has p < 0.05 and one
    in 40 p < 0.005: where seeds vary about as much as cases or more, and t has few and uncertain degrees of freedom.
    With skewed effects up to twice as many; where cases are all that varies, fewer than it says. So small p want more
    seeds, or `least`: what makes them is a variance of three seeds that happens to be near 0, so that t has the degrees
    of freedom of the cases.

    Source: Clark 1973, "The language-as-fixed-effect fallacy"; Satterthwaite 1946.

    Example:
        >>> [round(each, 3) for each in crossed_test([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [0.0, 1.0, 5.0]])]
        [2.333, -0.981, 5.648, 0.104]
    """
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    if values.shape[1] < 2:
        return mean, *[float("nan")] * 3
    parts = [values.mean(axis=1 - axis) for axis in (0, 1) if values.shape[axis] > 1]
    spreads = [(part.var(ddof=1), len(part) - 1) for part in parts]
    if least is not None and len(parts) > 1 and least.variance > spreads[0][0]:
        spreads[0] = least
    variance = np.array([each / len(part) for (each, _), part in zip(spreads, parts, strict=True)])
    if not variance.any():
        return mean, mean, mean, float(abs(mean) < 1e-12)
    freedom = variance.sum() ** 2 / sum(v**2 / each for v, (_, each) in zip(variance, spreads, strict=True))
    deviation = np.sqrt(variance.sum())
    half = float(stats.t.ppf((1 + level) / 2, freedom) * deviation)
    return mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / deviation, freedom))


def area_under(x, y, axis=-1):
    """Mean height of a curve: its area by trapezoids, divided by the range of x.

    Args:
        x: `[P]`, rising.
        y: array with P values along `axis`.
        axis: of y.

    Returns:
        float64 array of y's shape without `axis`, or a number; nan where y is.

    Raises:
        ValueError: fewer than two points, or x that does not rise.

    Example:
        >>> float(area_under([0, 1, 3], [1.0, 0.0, 0.0]))  # a triangle of area 0.5 over a range of 3
        0.16666666666666666
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or not (np.diff(x) > 0).all():
        raise ValueError(f"x is {x.tolist()}. Expected two values or more, each above the one before; sort the points.")
    return integrate.trapezoid(y, x, axis=axis) / (x[-1] - x[0])
