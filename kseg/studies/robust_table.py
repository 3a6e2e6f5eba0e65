"""The measures of all models of D4's study brought together: scores by case, per class, calibration, histories."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from kseg import metrics as M
from kseg.metrics.calibration import curve_of
from kseg.stats import crossed_interval
from kseg.studies.attack_scores import Found
from kseg.studies.robust_measures import CLEAN, TEST

SCORES = ("accuracy", "loss", "foreground_dice", "mean_iou")


@dataclass(frozen=True)
class Result:
    """The study's measures, for its tables and for other code.

    Attributes:
        name: of the data.
        classes: names, background first.
        entries: the models (`robust_models.Entry`).
        controls: models 1 to 4 of another seed (`robust_models.OTHERS`), shown the images that were made on model 1 of
            their `seed`; of clean and transferred images alone.
        case, test_case: `[n]` case of each attacked image, and of each test image.
        value_range: of the images.
        budget: share of the range.
        measures: {model's name: what `robust_measures.measure` gave}.
        histories: {model's name: {column of its history.csv: values}}.
        records: {(seed, method): what perturbing the training images gave, `robust_data.record_of`}.

    Example:
        >>> from kseg.configs import RobustTraining
        >>> from kseg.studies.robust_training import run
        >>> result = run(RobustTraining(preset="quick"), Path("study"))  # doctest: +SKIP
        >>> result.mean("4 union", "transfer/ball", "accuracy")  # doctest: +SKIP
    """

    name: str
    classes: tuple
    entries: tuple
    controls: tuple
    case: np.ndarray
    test_case: np.ndarray
    value_range: tuple
    budget: float
    measures: dict = field(repr=False)
    histories: dict = field(default_factory=dict, repr=False)
    records: dict = field(default_factory=dict, repr=False)

    @cached_property
    def labels(self):
        """The kinds of models, in the order of the study."""
        return list(dict.fromkeys(entry.label for entry in self.entries))

    @cached_property
    def often(self):
        """The labels of which there are models of most seeds."""
        most = max(len(self.models(label)) for label in self.labels)
        return [label for label in self.labels if len(self.models(label)) == most]

    def counted(self, label):
        """A kind of models, and that there is one of it where there are more of others."""
        return label if label in self.often else f"{label} (one model)"

    def only(self, seed):
        """The same of one seed."""
        entries, controls = (tuple(e for e in each if e.seed == seed) for each in (self.entries, self.controls))
        return replace(self, entries=entries, controls=controls)

    def models(self, label):
        """The entries of one kind, by seed."""
        return sorted((e for e in (*self.entries, *self.controls) if e.label == label), key=lambda entry: entry.seed)

    def of_case(self, entry, condition):
        """{score: `[cases]`} of `SCORES`, and "dice" and "iou" `[cases, K]`, of a model under a condition."""
        found = self.measures[entry.name]
        counts = M.Counts(*found[f"{condition}/counts"])
        case = self.test_case if condition == TEST else self.case
        none = np.zeros(len(case))
        return Found(counts, found[f"{condition}/loss"], none, none, none).scores(case)

    def scores(self, label, condition, score):
        """{seed: `[cases]`} of a kind of model."""
        return {entry.seed: self.of_case(entry, condition)[score] for entry in self.models(label)}

    def falls(self, label, condition, score="accuracy"):
        """{seed: `[cases]`}: score under an attack less that of the same images as they are."""
        clean = self.scores(label, CLEAN, score)
        return {seed: values - clean[seed] for seed, values in self.scores(label, condition, score).items()}

    def mean(self, label, condition, score):
        """(mean over seeds and cases, low, high), the interval of 95 % resampling both."""
        values = np.stack(list(self.scores(label, condition, score).values()))
        return (float(np.nanmean(values)), *crossed_interval(values))

    def per_class(self, label, condition, score="iou"):
        """Mean over seeds and cases of "iou" or "dice" of each class `[K]`; nan where no case has it."""
        values = np.stack([self.of_case(entry, condition)[score] for entry in self.models(label)])
        return M.nanmean(np.moveaxis(values.reshape(-1, values.shape[-1]), 0, -1))

    def background(self, label, condition):
        """{seed: `[cases]`}: share of pixels that a kind of model calls background."""
        shares = {}
        for entry in self.models(label):
            counts = M.Counts(*self.measures[entry.name][f"{condition}/counts"])
            shares[entry.seed] = (counts.tp + counts.fp)[:, 0] / counts.total[:, 0]
        return shares

    def true_background(self, condition=CLEAN):
        """Share of background among the pixels that count, by case `[cases]`."""
        counts = M.Counts(*self.measures[self.entries[0].name][f"{condition}/counts"])
        return counts.support[:, 0] / counts.total[:, 0]

    def calibration(self, label, condition):
        """{"ece": (mean, least, most) over seeds, "brier": the same, "curve": `ReliabilityCurve` of all seeds}."""
        found = [self.measures[entry.name] for entry in self.models(label)]
        sums = [_sums(each[f"{condition}/reliability"]) for each in found]
        edges = np.linspace(0, 1, sums[0].shape[1] + 1)
        ece = [curve_of(*each, edges).ece() for each in sums]
        brier = [float(each[f"{condition}/brier"]) for each in found]
        return {"ece": _spread(ece), "brier": _spread(brier), "curve": curve_of(*sum(sums), edges)}

    def method(self, name, what):
        """`[seeds, n]` of what a method did to test images shown to model 1."""
        return np.stack([self.measures[entry.name][f"method/{name}/{what}"] for entry in self.models(self.labels[0])])

    def fluctuation(self, label):
        """{seed: standard deviation of the changes of the validation loss from epoch to epoch, of the later half}.

        In units of its mean over that half; nan below three epochs of it.
        """
        found = {}
        for entry in self.models(label):
            values = np.asarray(self.histories[entry.name]["val_loss"])
            later = values[len(values) // 2 :]
            found[entry.seed] = float(np.std(np.diff(later)) / later.mean()) if len(later) > 2 else float("nan")
        return found


def _sums(reliability):
    """Sums of each bin `[3, bins]` of its means."""
    weight, confidence, right = np.nan_to_num(reliability)
    return np.stack([weight, weight * confidence, weight * right])


def _spread(values):
    return float(np.mean(values)), float(np.min(values)), float(np.max(values))
