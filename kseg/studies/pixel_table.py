"""The measures of all models of the pixel study brought together: Dice by case, curves, areas, statistics."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from kseg.metrics import Counts, dice, nanmean
from kseg.metrics.counts import ratio_of
from kseg.stats import area_under, crossed_interval
from kseg.studies.pixel_measures import COUNTS, LEVELS

MAIN = ("gradient", "signed")  # how the document chooses pixels
WITHIN = "range"  # experiment A: that part of experiment B ("level") whose values lie within the range of the images


@dataclass(frozen=True)
class Result:
    """The study's measures, for its tables and for other code.

    `entries` are the models (label, seed, folder), `measures` {model's name: what `pixel_measures.measure` gave},
    `case` `[n]` the case of each attacked image, `unit` the largest value of the images.

    Example:
        >>> from kseg.configs import PixelRobustness
        >>> from kseg.studies.pixel_robustness import run
        >>> result = run(PixelRobustness(preset="quick"), Path("study"))  # doctest: +SKIP
        >>> result.curve("dice", "count")["mean"]  # doctest: +SKIP
    """

    entries: tuple
    case: np.ndarray
    unit: float
    measures: dict = field(repr=False)

    @cached_property
    def labels(self):
        """The kinds of models, in the order of the study."""
        return list(dict.fromkeys(entry.label for entry in self.entries))

    def clean(self, entry):
        """Dice of every test case `[cases]`, all its slices put together, as they are."""
        return self.measures[entry.name]["clean/dice"]

    def models(self, label):
        """The entries of one kind, by seed."""
        return sorted((entry for entry in self.entries if entry.label == label), key=lambda entry: entry.seed)

    def x(self, experiment):
        """What an experiment varies `[P]`: the level ("range" for A, "level" for B), or the number of pixels."""
        levels = self.unit * np.array(LEVELS)
        return {WITHIN: levels[np.array(LEVELS) <= 1], "level": levels}.get(experiment, np.array(COUNTS, float))

    def images_dice(self, entry, experiment, selector="gradient", order="signed"):
        """Dice of each attacked image `[n, P]`: the mean over foreground classes, of `noise` also over the draws."""
        return self._draws(entry, experiment, selector, order).mean(axis=-1)

    def _draws(self, entry, experiment, selector, order):
        """Dice `[n, P, draws]`; one draw where nothing is random."""
        values = self._scores(entry, experiment, selector, order)
        if experiment in ("level", WITHIN):
            return values[:, 1 : 1 + len(self.x(experiment)), None]  # the first is the clean image
        return values.reshape(len(values), len(COUNTS), -1)

    def deviation(self, label, experiment="noise", selector="gradient", order="signed"):
        """Standard deviation over draws of the mean Dice of all images `[P]`, mean over models (S0.13)."""
        each = [self._draws(entry, experiment, selector, order).mean(axis=0) for entry in self.models(label)]
        return np.mean([draws.std(axis=-1, ddof=draws.shape[-1] > 1) for draws in each], axis=0)

    def pooled_dice(self, entry, experiment, selector="gradient", order="signed"):
        """Dice `[P]` of all attacked images together, mean over foreground classes; the first of "level" is clean."""
        sums = [self._hits(entry, experiment, selector, order, name).sum(axis=0) for name in ("tp", "fp", "fn")]
        return nanmean(dice(Counts(*sums, 0 * sums[0])))

    def soft_dice(self, entry, experiment, selector="gradient", order="signed"):
        """Dice of the probabilities, without a threshold, of each image and setting `[n, settings]` (S0.14)."""
        overlap, mass, tp, fn = (
            self._hits(entry, experiment, selector, order, name) for name in ("overlap", "mass", "tp", "fn")
        )
        return nanmean(ratio_of(2 * overlap, mass + tp + fn, "nan"))

    def _scores(self, entry, experiment, selector, order):
        tp, fp, fn = (self._hits(entry, experiment, selector, order, name) for name in ("tp", "fp", "fn"))
        return nanmean(dice(Counts(tp, fp, fn, 0 * tp)))

    def _hits(self, entry, experiment, selector, order, name):
        within = experiment == WITHIN
        hits = self.measures[entry.name][f"hits/{selector}/{order}/{'level' if within else experiment}/{name}"]
        return (hits[:, : 1 + len(self.x(WITHIN))] if within else hits).astype(np.float64)

    def cases_dice(self, entry, experiment, selector="gradient", order="signed"):
        """Mean Dice of the attacked images of each case `[cases, P]`."""
        return self._by_case(self.images_dice(entry, experiment, selector, order))

    def clean_dice(self, entry):
        """Mean Dice of the attacked images of each case, as they are `[cases]`."""
        return self._by_case(self._scores(entry, "count", *MAIN)[:, :1])[:, 0]

    def _by_case(self, values):
        _, place = np.unique(self.case, return_inverse=True)
        return np.stack([values[place == i].mean(axis=0) for i in range(place.max() + 1)])

    def start(self, label, relative=False):
        """Mean Dice of the clean images over seeds and cases; 1 if `relative`."""
        return 1.0 if relative else float(np.mean([self.clean_dice(entry).mean() for entry in self.models(label)]))

    def attacked(self, experiment, selector="gradient", order="signed"):
        """The Result of those models that this attack was run on; perhaps none."""
        name = f"hits/{selector}/{order}/{'level' if experiment == WITHIN else experiment}/tp"
        return replace(self, entries=tuple(entry for entry in self.entries if name in self.measures[entry.name]))

    def curve(self, label, experiment, selector="gradient", order="signed", relative=False):
        """One line of a figure: {"x", "mean", "low", "high" `[P]`, "seeds" `[S, P]`}.

        The mean is over seeds and cases, the interval of 95 % resamples both; `relative` divides the mean Dice of a
        model by that of its clean images, which is resampled along with it.
        """
        values = np.stack([self._curve(entry, experiment, selector, order, relative) for entry in self.models(label)])
        bounds = np.array([crossed_interval(values[..., i]) for i in range(values.shape[-1])])
        means = values.mean(axis=1)
        return {
            "x": self.x(experiment), "mean": means.mean(axis=0), "low": bounds[:, 0], "high": bounds[:, 1],
            "seeds": means,
        }  # fmt: skip

    def _curve(self, entry, experiment, selector, order, relative):
        values = self.cases_dice(entry, experiment, selector, order)
        if not relative:
            return values
        # What each case adds to the ratio of the two means, to first order: their mean is the ratio, and cases that
        # are hard with and without an attack do not make it uncertain (Cochran 1977, chapter 6).
        clean = self.clean_dice(entry)[:, None]
        ratio = values.mean(axis=0) / clean.mean() if clean.mean() > 0 else np.full(values.shape[1], np.nan)
        return ratio + (values - ratio * clean) / (clean.mean() or np.nan)

    def area(self, entry, experiment, selector="gradient", order="signed", relative=True):
        """Mean height of a model's curve by case `[cases]`: 1 is a Dice that no attack changes."""
        values = self._curve(entry, experiment, selector, order, relative)
        return area_under(self.x(experiment), values)

    def missed(self, entry, experiment, selector="gradient", order="signed"):
        """Share of images `[P]` in which the model finds no foreground at all."""
        tp, fp = (self._hits(entry, experiment, selector, order, name) for name in ("tp", "fp"))
        none = ((tp + fp).sum(axis=-1) == 0).mean(axis=0)  # over images
        return none[1:] if experiment in ("level", WITHIN) else none.reshape(len(COUNTS), -1).mean(axis=-1)

    def overlap(self, entry, first="gradient", second="logit", count=5):
        """Mean share of the `count` pixels of highest value that two ways to choose have in common."""
        one, other = (self.measures[entry.name][f"ranked/{name}"][:, :count] for name in (first, second))
        return float((one[:, :, None] == other[:, None]).any(axis=-1).mean())

    def statistic(self, entry, output, name):
        """A statistic of the gradients of each attacked image `[n]`; see `kseg.saliency.spread`."""
        return self.measures[entry.name][f"spread/{output}/{name}"]


def statistics(result):
    """{output: {statistic: {kind of model: its value by seed}}}."""
    found = {}
    for output in ("probability", "logit"):
        prefix = f"spread/{output}/"
        names = [key.removeprefix(prefix) for key in result.measures[result.entries[0].name] if key.startswith(prefix)]
        found[output] = {
            name: {
                label: [float(np.nanmean(result.statistic(entry, output, name))) for entry in result.models(label)]
                for label in result.labels
            }
            for name in names
        }
    return found
