"""One kind of model against another over the same cases and seeds."""

from typing import NamedTuple

import numpy as np

from kseg.stats.cases import crossed_test, holm

SIGNIFICANT = 0.05
ENOUGH = 10  # cases below which no verdict is given: their spread is hardly known
SEEDS = 3  # seeds below which none is given: two tell next to nothing of how seeds differ


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


def compare(pairs):
    """Compare pairs of kinds of models, Holm-corrected together.

    Args:
        pairs: {key: (what, first, second, scores of the first, scores of the second)}; names are words, scores
            {seed: `[cases]`}. Compared are the seeds that both have, and the cases that have a number in all of them.

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
        common = sorted(set(ours) & set(theirs), key=str)
        each = [np.subtract(*np.stack([ours[seed], theirs[seed]])) for seed in common]  # stack refuses other cases
        difference = np.stack(each) if each else np.empty((0, 0))
        difference = difference[:, np.isfinite(difference).all(axis=0)]
        above, cases = int((difference.mean(axis=1) > 0).sum()) if difference.size else 0, difference.shape[1]
        facts = crossed_test(difference) if difference.size else [float("nan")] * 4
        found[key] = Comparison(what, first, second, *facts, float("nan"), above, len(common), cases)
    tested = {key: each.p for key, each in found.items() if not each.undecidable}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {key: each._replace(adjusted=float(adjusted.get(key, "nan"))) for key, each in found.items()}
