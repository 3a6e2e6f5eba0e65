"""One kind of model against another over the same cases and seeds."""

from typing import NamedTuple

import numpy as np

from kseg.stats.cases import crossed_interval, holm, sign_flip

SIGNIFICANT = 0.05
ENOUGH = 11  # cases: their sign flips give p = 2 / 2^11, which 51 comparisons leave below 0.05; of more see `needed`


class Comparison(NamedTuple):
    """One kind of model against another: mean `difference` of `what`, its interval, and tests.

    The interval resamples seeds and cases; `p` is of a sign-flip test over cases (means over seeds), `adjusted` after
    Holm's correction over all comparisons made together; `seeds` counts those with a difference above 0, of `of`;
    `cases` are those compared, and `together` so many comparisons were corrected together.
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
    together: int = 1

    @property
    def needed(self):
        """How many cases it takes for the least p of the sign-flip test to stay significant after the correction."""
        return max(ENOUGH, 2 + int(np.floor(np.log2(self.together / SIGNIFICANT))))

    @property
    def decidable(self):
        """Whether there is a number, and enough cases for the sign-flip test to pass the correction."""
        return np.isfinite(self.adjusted) and self.cases >= self.needed

    @property
    def holds(self):
        """Whether `first` is above `second`: beyond chance over cases, and over cases and seeds."""
        return self.low > 0 and self.adjusted < SIGNIFICANT

    @property
    def reversed(self):
        """Whether `first` is below `second`, as certainly."""
        return self.high < 0 and self.adjusted < SIGNIFICANT

    def said(self, names=None, tested=True):
        """The comparison in words; `names` {what: words for it}; without p unless it was `tested`."""
        p = ("p < 0.001, " if self.adjusted < 1e-3 else f"p = {self.adjusted:.3f}, ") * tested
        interval = f"{self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
        seeds = f"{self.seeds} of {self.of} seeds above 0"
        return f"{self.first} - {self.second}, {(names or {}).get(self.what, self.what)}: {interval}, {p}{seeds}"


def compare(pairs):
    """Compare pairs of kinds of models, Holm-corrected together.

    Args:
        pairs: {key: (what, first, second, scores of the first, scores of the second)}; names are words, scores
            {seed: `[cases]`}. Compared are the seeds that both have, and the cases that have a number in all of them.

    Returns:
        {key: Comparison}; all nan where nothing is left to compare.

    Example:
        >>> found = compare({"a": ("Dice", "one", "other", {0: [0.9, 0.8, 0.7]}, {0: [0.8, 0.6, 0.4]})})
        >>> round(found["a"].difference, 3), found["a"].p, found["a"].seeds
        (0.2, 0.25, 1)
    """
    found, resamples = {}, max(10_000, 100 * len(pairs))  # the least p, 2 in all resamples, is to pass Holm's factor
    for key, (what, first, second, ours, theirs) in pairs.items():
        common = sorted(set(ours) & set(theirs), key=str)
        each = [np.subtract(*np.stack([ours[seed], theirs[seed]])) for seed in common]  # stack refuses other cases
        difference = np.stack(each) if each else np.empty((0, 0))
        difference = difference[:, np.isfinite(difference).all(axis=0)]
        facts = [float("nan")] * 5
        if difference.size:
            p = sign_flip(difference.mean(axis=0), resamples=resamples)
            facts = [float(difference.mean()), *crossed_interval(difference), p, np.nan]
        above, cases = int((difference.mean(axis=1) > 0).sum()) if difference.size else 0, difference.shape[1]
        found[key] = Comparison(what, first, second, *facts, above, len(common), cases, len(pairs))
    adjusted = holm([comparison.p for comparison in found.values()])
    return {key: each._replace(adjusted=float(p)) for (key, each), p in zip(found.items(), adjusted, strict=True)}
