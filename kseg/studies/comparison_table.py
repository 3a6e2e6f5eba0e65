"""The measures of all models of the comparison of losses brought together."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

from kseg import metrics as M
from kseg.stats import compare, crossed_interval
from kseg.stats.ranking import ranking
from kseg.studies.comparison_models import REGIMES

# {score: whether a larger one is better}; the first is what losses are ranked by.
BETTER = {
    "iou": True, "iou_score": True, "dice": True, "accuracy": True, "hd95": False, "assd": False,
    "surface_dice": True, "ece": False, "brier": False,
}  # fmt: skip
MAIN = "iou"
OF_CLASS = {"iou": M.iou, "iou_score": M.thresholded_iou, "dice": M.dice}


@dataclass(frozen=True)
class Result:
    """The study's measures, for its tables and for other code.

    Attributes:
        name: of the data.
        classes: names, background first.
        losses: those that were compared, as they were given.
        entries: {(loss, regime, seed): `comparison_models.Entry`}.
        case: `[cases]` of the test split.
        unit: of distances, "mm" or "px"; None where surfaces were not measured.
        measures: {model's name: what `comparison_measures.measure` gave, and "seconds" `[epochs]`}; a model whose loss
            broke down has none.
        histories: {model's name: {column of its history.csv: values}}.
        search: `halving.Search`, or None.
        costs: {loss: {"memory", "step"}}.
        heads: {loss: (channels, head)}.
        examples: `rows.Rows`, the images shown.
        value_range: of the images.

    Example:
        >>> from kseg.configs import CompareLosses
        >>> from kseg.studies.loss_comparison import run
        >>> result = run(CompareLosses(preset="quick"), Path("study"))  # doctest: +SKIP
        >>> result.mean("jaccard", "given rate", "iou")  # doctest: +SKIP
    """

    name: str
    classes: tuple
    losses: tuple
    entries: dict
    case: np.ndarray
    unit: str | None
    measures: dict = field(repr=False)
    histories: dict = field(repr=False)
    search: object = None
    costs: dict = field(default_factory=dict)
    heads: dict = field(default_factory=dict)
    examples: object = field(default=None, repr=False)
    value_range: tuple = (0.0, 1.0)

    @cached_property
    def regimes(self):
        """Those that some loss was trained in; the tuned one only if it changed a rate."""
        known = [regime for regime in REGIMES if any(key[1] == regime for key in self.entries)]
        return known[:1] if len(known) > 1 and not self.changed else known

    @cached_property
    def changed(self):
        """The losses whose tuned rate is another than the given one."""
        first = {key[:2]: entry for key, entry in self.entries.items() if key[2] == 0}
        given, tuned = ({loss: first.get((loss, regime)) for loss in self.losses} for regime in REGIMES)
        return [loss for loss in self.losses if tuned[loss] is not None and tuned[loss] != given[loss]]

    @cached_property
    def shown(self):
        """The scores that were measured."""
        without = () if self.unit else ("hd95", "assd", "surface_dice")
        return [score for score in BETTER if score not in without]

    def models(self, loss, regime):
        """The entries of a loss that ended well, by seed."""
        found = [(seed, entry) for (spec, kind, seed), entry in self.entries.items() if (spec, kind) == (loss, regime)]
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0]) if entry.name in self.measures]

    def broken(self, loss, regime):
        """How many models of a loss broke down."""
        planned = [key for key in self.entries if key[:2] == (loss, regime)]
        return len(planned) - len(self.models(loss, regime))

    def rate(self, loss, regime):
        """The learning rate of a loss, None where it has none."""
        return next((entry.rate for key, entry in self.entries.items() if key[:2] == (loss, regime)), None)

    def per_class(self, entry, score):
        """A score of each case and class `[cases, K]`."""
        found = self.measures[entry.name]
        return OF_CLASS[score](M.Counts(*found["counts"])) if score in OF_CLASS else found[score]

    def of_case(self, entry, score):
        """A score of each case `[cases]`: of the foreground classes their mean, "accuracy" of all pixels.

        nan where the case has no foreground, and a distance infinite where a class is in one mask alone.
        """
        found = self.measures[entry.name]
        if score in ("ece", "brier"):
            return found[score]
        if score == "accuracy":
            return M.pixel_accuracy(M.Counts(*found["counts"]))
        return M.nanmean(self.per_class(entry, score)[:, 1:])

    def scores(self, loss, regime, score):
        """{seed: `[cases]`} of a loss."""
        return {entry.seed: self.of_case(entry, score) for entry in self.models(loss, regime)}

    def mean(self, loss, regime, score):
        """(mean over seeds and cases, low, high, means of the seeds); finite values alone, intervals resample both."""
        each = self.scores(loss, regime, score)
        if not each:
            return float("nan"), float("nan"), float("nan"), []
        values = np.stack(list(each.values()))
        values = np.where(np.isfinite(values), values, np.nan)
        seeds = [_mean(row) for row in values]
        return _mean(values), *crossed_interval(values), seeds

    def missed(self, loss, regime):
        """How many distances are infinite, over all models and cases; 0 where none were measured."""
        each = self.scores(loss, regime, "hd95") if self.unit else {}
        return int(sum(np.isinf(values).sum() for values in each.values()))

    def ranking(self, regime, score=MAIN):
        """`kseg.stats.ranking.Ranking` of the losses by cases, each case the mean over seeds; None below two losses."""
        each = {loss: self.scores(loss, regime, score) for loss in self.losses}
        values = {loss: np.mean(list(found.values()), axis=0) for loss, found in each.items() if found}
        return ranking(values, higher=BETTER[score]) if len(values) > 1 else None

    def pairs(self, regime, score=MAIN):
        """{(loss, loss): `kseg.stats.Comparison`} of all pairs, Holm-corrected together."""
        each = {loss: finite(self.scores(loss, regime, score)) for loss in self.losses}
        return compare({
            (one, other): (score, one, other, each[one], each[other])
            for one, other in combinations(self.losses, 2) if each[one] and each[other]
        })  # fmt: skip

    def foreground(self):
        """Mean share of each class of the test cases' pixels `[K]`."""
        counts = M.Counts(*next(iter(self.measures.values()))["counts"])
        return (counts.support / counts.total).mean(axis=0)

    def seconds(self, loss):
        """Seconds of each epoch but the first, of all models of a loss."""
        entries = {entry.name for key, entry in self.entries.items() if key[0] == loss and entry.name in self.measures}
        each = [self.measures[name]["seconds"][1:] for name in sorted(entries)]
        return np.concatenate(each) if each else np.empty(0)


def _mean(values):
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def finite(scores):
    """A case that is infinite for one model is left out of what compares it."""
    return {seed: np.where(np.isfinite(values), values, np.nan) for seed, values in scores.items()}
