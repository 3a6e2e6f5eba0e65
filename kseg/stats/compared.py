"""One kind of model against another over the same cases and seeds."""

from typing import NamedTuple

import numpy as np

from kseg.stats.cases import crossed_test, holm

SIGNIFICANT = 0.05
ENOUGH = 10  # cases below which no verdict is given: their spread is hardly known
SEEDS = 3  # seeds below which none is given: two tell next to nothing of how seeds differ


class Spread(NamedTuple):
    """The `variance` of a difference of two kinds of models that only the seed parts, and its degrees of `freedom`."""

    variance: float
    freedom: float


class Comparison(NamedTuple):
    """One kind of model against another: mean `difference` of `what`, its interval, and tests.

    Interval and `p` are of `kseg.stats.crossed_test`: other seeds and other cases might have been drawn. `adjusted` is
    p after Holm's correction over all comparisons made together; `seeds` counts those with a difference above 0, of
    `of`; `cases` are those compared.
    """

    what: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    seeds: int
    of: int
    cases: int

    @property
    def undecidable(self):
        """Why it can decide nothing, in words; empty if it can."""
        if self.of < SEEDS:
            return f"{self.of} seed{'s' * (self.of != 1)}, {SEEDS} are needed"
        if self.cases < ENOUGH:
            return f"{self.cases} cases without nan, {ENOUGH} are needed"
        return "" if np.isfinite([self.low, self.high, self.p]).all() else "no number"

    @property
    def holds(self):
        """Whether `first` is above `second` beyond chance, over seeds and cases."""
        return self.difference > 0 and self.adjusted < SIGNIFICANT

    @property
    def reversed(self):
        """Whether `first` is below `second`, as certainly."""
        return self.difference < 0 and self.adjusted < SIGNIFICANT

    def said(self, names=None, tested=True):
        """The comparison in words; `names` {what: words for it}; without p unless it was `tested`."""
        tested = tested and np.isfinite(self.adjusted)
        p = ("p < 0.001, " if self.adjusted < 1e-3 else f"p = {self.adjusted:.3f}, ") if tested else ""
        digits = _digits(self.difference, self.low, self.high)
        interval = "{:+.{d}f} ({:+.{d}f} to {:+.{d}f})".format(self.difference, self.low, self.high, d=digits)
        seeds = f"{self.seeds} of {self.of} seeds above 0"
        return f"{self.first} - {self.second}, {(names or {}).get(self.what, self.what)}: {interval}, {p}{seeds}"


def _digits(*values):
    """Decimals, three or more, that show two digits of the largest of small numbers."""
    known = [abs(value) for value in values if np.isfinite(value) and value]
    return max(3, min(6, 1 - int(np.floor(np.log10(max(known)))))) if known else 3


def compare(pairs, least=None):
    """Compare pairs of kinds of models, Holm-corrected together.

    Args:
        pairs: {key: (what, first, second, scores of the first, scores of the second)}; names are words, scores
            {seed: `[cases]`}. Compared are the seeds that both have, and the cases that have a number in all of them.
        least: {what: `Spread` that a pair's seeds have at least}, as `usual_spread` gives it; None: what they have.

    Returns:
        {key: Comparison}; all nan where nothing is left to compare. What is `undecidable` has its p, but none that is
        adjusted, and does not count for the correction.

    Example:
        >>> first = {seed: [0.9 + 0.01 * case for case in range(10)] for seed in range(3)}
        >>> second = {seed: [0.8 + 0.02 * (case + seed) for case in range(10)] for seed in range(3)}
        >>> found = compare({"a": ("Dice", "one", "other", first, second)})["a"]
        >>> round(found.difference, 3), round(found.p, 3), found.seeds
        (0.035, 0.065, 3)
    """
    found = {}
    for key, (what, first, second, ours, theirs) in pairs.items():
        difference = _differences(ours, theirs)
        seeds, cases = difference.shape
        above = int((difference.mean(axis=1) > 0).sum()) if cases else 0
        facts = crossed_test(difference, least=(least or {}).get(what)) if difference.size else [float("nan")] * 4
        found[key] = Comparison(what, first, second, *facts, float("nan"), above, seeds, cases)
    tested = {key: each.p for key, each in found.items() if not each.undecidable}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {key: each._replace(adjusted=float(adjusted.get(key, "nan"))) for key, each in found.items()}


def _differences(ours, theirs):
    """`[seeds, cases]` of the seeds that both have and the cases that have a number in all of them."""
    common = sorted(set(ours) & set(theirs), key=str)
    each = [np.subtract(*np.stack([ours[seed], theirs[seed]])) for seed in common]  # stack refuses other cases
    difference = np.stack(each) if each else np.empty((0, 0))
    return difference[:, np.isfinite(difference).all(axis=0)]


def usual_spread(pairs, contrasts):
    """How much the difference of two kinds of models varies from seed to seed, of all pairs together.

    Of three seeds the variance of one pair is now and then near 0 by chance, and then `crossed_test` is far too sure:
    of six kinds of models without a difference it calls some pair apart in up to one study of four, Holm's correction
    notwithstanding. So a pair is taken to vary no less than pairs do in general: `compare(pairs, {what: this})`.

    It is the median, of pairs that hang together the lower one of two in the middle, so that one kind of model of four
    or more that varies much more than the others (one that collapses for some seeds) does not hide how these differ;
    of three it does. Its degrees of freedom are taken as half of those that a mean would have: a median of variances of
    two to four degrees is about half as certain. By simulation with normal effects over 34 cases, without a difference,
    some 1 to 6 % of studies of three to six kinds of models call a pair apart, of three seeds or five, be the seeds'
    deviations equal, one 4 or 10 times that of the others, or spread between 1 and 20 times the least. Of eight and
    more kinds it is up to 8 % where one varies more than the others, and of three seeds 8 to 13 % where several do; of
    one that varies more with skewed effects up to 8 %. Real differences are found about as often as without the bound,
    but for those that few seeds can hardly show.

    Args:
        pairs: what `compare` takes, of one score. Pairs of fewer than 3 seeds, or without cases, do not count.
        contrasts: how many of the differences do not follow from the others: of all pairs of K kinds K - 1, of pairs
            that have nothing in common their number.

    Returns:
        Spread; of nan where no pair counts.

    Source: the residual of a layout of kinds by seeds (Scheffe 1959, chapter 8: over all pairs the mean variance of a
    difference is twice the residual mean square, with (K - 1)(S - 1) degrees of freedom); variances borrowed from all
    comparisons made together as in Smyth 2004, in a robust way as in Phipson et al. 2016. Median, bound and halved
    degrees of freedom are ours, by the simulation.
    """
    each = [difference for *_, ours, theirs in pairs.values() if (difference := _differences(ours, theirs)).size]
    each = [difference for difference in each if len(difference) >= SEEDS]
    if not each:
        return Spread(float("nan"), float("nan"))
    degrees = min(map(len, each)) - 1
    variances = [difference.mean(axis=1).var(ddof=1) for difference in each]
    variance = np.quantile(variances, 0.5, method="lower" if contrasts < len(each) else "linear")
    return Spread(float(variance), max(degrees, contrasts * degrees / 2))
