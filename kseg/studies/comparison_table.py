"""The measures of all models of the comparison of losses brought together."""

from dataclasses import dataclass, field
from functools import cached_property, wraps
from inspect import signature
from itertools import combinations

import numpy as np

from kseg import metrics as M
from kseg.stats import compare, crossed_interval, ranking, usual_spread
from kseg.studies.comparison_models import GIVEN, REGIMES, TUNED

# {score: whether a larger one is better}; the first is what losses are ranked by.
BETTER = {
    "iou": True, "iou_score": True, "dice": True, "accuracy": True, "hd95": False, "assd": False,
    "surface_dice": True, "ece": False, "brier": False,
}  # fmt: skip
MAIN = "iou"
OF_CLASS = {"iou": M.iou, "iou_score": M.thresholded_iou, "dice": M.dice}


def kept(method):
    """A method whose answers are kept as long as its object is, by what was asked."""

    defaults = signature(method).parameters.values()

    @wraps(method)
    def asked(self, *asking):
        asking += tuple(each.default for each in list(defaults)[1 + len(asking) :])
        key = (method.__name__, *asking)
        if key not in self.answers:
            self.answers[key] = method(self, *asking)
        return self.answers[key]

    return asked


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
        notes: lines that the page is to tell of how the study went.

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
    notes: tuple = ()

    @cached_property
    def answers(self):
        """What the methods marked `kept` have answered."""
        return {}

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

    def planned(self, loss, regime):
        """How many models of a loss there were to be."""
        return sum(key[:2] == (loss, regime) for key in self.entries)

    def broken(self, loss, regime):
        """How many models of a loss broke down."""
        return self.planned(loss, regime) - len(self.models(loss, regime))

    def unranked(self, regime):
        """{loss: why it has no rank}: one that broke down has none by the seeds that it survived, nor has a guess."""
        seeds = len({key[2] for key in self.entries})
        ended = {loss: len(self.models(loss, regime)) for loss in self.losses}
        return dict.fromkeys(self.guessed(regime), "its rate is a guess") | {
            loss: f"{count} of {seeds} seeds" if self.planned(loss, regime) else "no rate ended in the search"
            for loss, count in ended.items() if count < seeds
        }  # fmt: skip

    def guessed(self, regime):
        """The losses whose rate is a guess, since the search found no foreground with any."""
        untaught = self.search.untaught if self.search and regime == TUNED else ()
        return [loss for loss in self.losses if loss in untaught]

    def rate(self, loss, regime):
        """The learning rate of a loss, None where it has none."""
        return next((entry.rate for key, entry in self.entries.items() if key[:2] == (loss, regime)), None)

    def per_class(self, entry, score):
        """A score of each case and class `[cases, K]`; nan where the truth lacks the class, whatever was predicted."""
        found = self.measures[entry.name]
        counts = M.Counts(*found["counts"])
        values = OF_CLASS[score](counts) if score in OF_CLASS else found[score]
        return np.where(counts.support > 0, values, np.nan)

    def of_case(self, entry, score):
        """A score of each case `[cases]`: of the foreground classes their mean, "accuracy" of all pixels.

        Classes that the truth lacks do not count: nan where it has no foreground. A distance is infinite where nothing
        was found of a class.
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

    @kept
    def mean(self, loss, regime, score):
        """(mean over seeds and cases, low, high, means of the seeds); finite values alone, intervals resample both."""
        each = finite(self.scores(loss, regime, score))
        if not each:
            return float("nan"), float("nan"), float("nan"), []
        values = np.stack(list(each.values()))
        return mean_of(values), *crossed_interval(values), [mean_of(row) for row in values]

    def between(self, loss, regime, score=MAIN):
        """How much two seeds of a loss differ: the mean distance of their means; nan of one seed."""
        seeds = self.mean(loss, regime, score)[3]
        return mean_of(np.array([abs(one - other) for one, other in combinations(seeds, 2)]))

    def validation(self, loss, regime):
        """The best validation Dice of each model of a loss, that of the epoch that was kept."""
        curves = [np.array(self.histories[entry.name].get("val_dice", [])) for entry in self.models(loss, regime)]
        return [float(curve[np.isfinite(curve)].max()) for curve in curves if np.isfinite(curve).any()]

    def missed(self, loss, regime):
        """How many distances are infinite, over all models and cases; 0 where none were measured."""
        each = self.scores(loss, regime, "hd95") if self.unit else {}
        return int(sum(np.isinf(values).sum() for values in each.values()))

    def invented(self, loss, regime):
        """(how often some of a foreground class was predicted that the case lacks, how often it might have been)."""
        every = [M.Counts(*self.measures[entry.name]["counts"]) for entry in self.models(loss, regime)]
        lacking = [counts.support[:, 1:] == 0 for counts in every]
        some = [(counts.fp[:, 1:] > 0) & lacks for counts, lacks in zip(every, lacking, strict=True)]
        return int(sum(each.sum() for each in some)), int(sum(each.sum() for each in lacking))

    @kept
    def ranking(self, regime, score=MAIN):
        """`kseg.stats.Ranking` of the losses that broke down in no seed, by cases, each case the mean over seeds.

        Told apart are those that `pairs` tells apart. None below two losses.
        """
        left = [loss for loss in self.losses if loss not in self.unranked(regime)]
        if len(left) < 2:
            return None
        values = {loss: np.mean(list(self.scores(loss, regime, score).values()), axis=0) for loss in left}
        pairs = self.pairs(regime, score)
        tested = [pairs[key] for key in combinations(left, 2) if not pairs[key].undecidable]
        apart = [(each.first, each.second) for each in tested if each.holds or each.reversed] if tested else None
        return ranking(values, higher=BETTER[score], apart=apart)

    @kept
    def pairs(self, regime, score=MAIN):
        """{(loss, loss): `kseg.stats.Comparison`} of all pairs, over the seeds both have; Holm-corrected together."""
        return compare(self._paired(regime, score), {score: self.usual_spread(regime, score)})

    @kept
    def usual_spread(self, regime, score=MAIN):
        """`kseg.stats.Spread` that the seeds of each pair are taken to have at least, from all pairs of the regime."""
        paired = self._paired(regime, score)
        return usual_spread(paired, len({loss for pair in paired for loss in pair}) - 1)

    def _paired(self, regime, score):
        """What `compare` takes, of all pairs of losses."""
        each = {loss: finite(self.scores(loss, regime, score)) for loss in self.losses}
        return {
            (one, other): (score, one, other, each[one], each[other])
            for one, other in combinations(self.losses, 2) if each[one] and each[other]
        }  # fmt: skip

    @kept
    def tuning(self, score=MAIN):
        """{loss: `kseg.stats.Comparison`} of the tuned rate with the given one, of those losses that have both."""
        each = {loss: [finite(self.scores(loss, regime, score)) for regime in (TUNED, GIVEN)] for loss in self.changed}
        pairs = {loss: (score, TUNED, GIVEN, *both) for loss, both in each.items() if all(both)}
        return compare(pairs, {score: usual_spread(pairs, len(pairs))})

    def foreground(self):
        """Mean share of each class of the test cases' pixels `[K]`."""
        counts = M.Counts(*next(iter(self.measures.values()))["counts"])
        return (counts.support / counts.total).mean(axis=0)

    def seconds(self, loss):
        """Seconds of each epoch but the first, of all models of a loss."""
        entries = {entry.name for key, entry in self.entries.items() if key[0] == loss and entry.name in self.measures}
        each = [self.measures[name]["seconds"][1:] for name in sorted(entries)]
        return np.concatenate(each) if each else np.empty(0)


def mean_of(values):
    """Mean of the finite values of an array, nan where there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def finite(scores):
    """A case that is infinite for one model is left out of what compares it."""
    return {seed: np.where(np.isfinite(values), values, np.nan) for seed, values in scores.items()}
