"""What attacks leave: counts by case, the scores made of them, their means, and how large the changes are."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from kseg import metrics as M

IGNORED = -1  # the padding of images: no class id, however many classes there are
SCORES = ("mean_iou", "foreground_dice", "accuracy", "loss", "success")
QUARTILES = (0.25, 0.5, 0.75)
DRAWS = 8  # of random noise, of which each image keeps the worst


class Found(NamedTuple):
    """What a model makes of n images of some cases, each case's images put together.

    Attributes:
        counts: `Counts` `[cases, K]` of the pixels that are no padding.
        loss: mean cross-entropy of each image `[n]`.
        success: `[n]`, whether the attack reached its goal (`kseg.attacks.Attacked`).
        size: `[n]`, norm of the change: a share of the range of values; for l2 of its root mean square, for l1 of its
            mean.
        changed: `[n]`, share of the pixels that changed.
        climbed: `[n, 2]`, the loss that the attack tells (of the masks it was given), before and after; None without
            an attack.
    """

    counts: M.Counts
    loss: Any
    success: Any
    size: Any
    changed: Any
    climbed: Any = None

    def scores(self, case):
        """{score: `[cases]`} of `SCORES`, and "dice" and "iou" `[cases, K]`; nan where neither mask has the class.

        Args:
            case: `[n]` names.
        """
        dice, iou = M.dice(self.counts), M.iou(self.counts)
        return {
            "mean_iou": M.nanmean(iou), "foreground_dice": M.nanmean(dice[:, 1:]),
            "accuracy": M.pixel_accuracy(self.counts), "loss": by_case(self.loss, case),
            "success": by_case(self.success, case), "dice": dice, "iou": iou,
        }  # fmt: skip

    def norms(self):
        """Quartiles of the change that an image needs `[3]`; infinite where the attack failed on too many."""
        return np.quantile(np.where(self.success, self.size, np.inf), QUARTILES, method="inverted_cdf")


class Row(NamedTuple):
    """One attack with one budget.

    Attributes:
        kind: "clean"; "noise"; "budget"; "free" without a budget; "document"; "check" for what only checks look at.
        attack: its name.
        eps: the budget as a share of the range of values, None without one.
        found: Found.
        table: of `means`.
        seconds: that it took.
        settings: of `kseg.attacks.Attacked`.
    """

    kind: str
    attack: str
    eps: Any
    found: Found
    table: dict
    seconds: float = 0.0
    settings: dict = {}


@dataclass(frozen=True)
class Result:
    """An evaluation, for its tables and figures and for other code.

    Attributes:
        name, split: of the data.
        classes: names, background first.
        case: `[n]` case of each attacked image.
        norm, middle: of the config.
        rows: list of `Row`, the clean images first.
        gradients: {"loss", "probability"}: largest |g| of each image `[n]`; empty without checks.
        example: one image: dict `image`, `mask`, `predicted`, `value_range`, and `attacked`, a list of dicts `name`,
            `image`, `predicted`.
        choices: {eps: {name: array}} of the attack "selective".
        flags: list of `attack_questions.Flag`.

    Example:
        >>> from kseg.configs import Attack
        >>> from kseg.studies.attack_model import run
        >>> result = run(Attack("runs/train-1", "hippocampus.h5"))  # doctest: +SKIP
        >>> result.row("pgd", 0.01).table["foreground_dice"]["mean"]  # doctest: +SKIP
    """

    name: str
    split: str
    classes: tuple
    case: np.ndarray
    norm: str
    middle: float
    rows: list
    gradients: dict = field(default_factory=dict, repr=False)
    example: dict = field(default_factory=dict, repr=False)
    choices: dict = field(default_factory=dict, repr=False)
    flags: list = field(default_factory=list)

    @property
    def clean(self):
        """The row of the images as they are."""
        return self.rows[0]

    def of_kind(self, kind):
        """Rows of a kind."""
        return [row for row in self.rows if row.kind == kind]

    @property
    def attacks(self):
        """Names of the attacks that have a budget."""
        return list(dict.fromkeys(row.attack for row in self.of_kind("budget")))

    @property
    def eps(self):
        """The budgets."""
        return sorted(row.eps for row in self.of_kind("noise"))

    def row(self, attack, eps, kinds=("budget", "noise")):
        """The row of an attack with a budget; None if it was not run."""
        return next((r for r in self.rows if (r.attack, r.eps) == (attack, eps) and r.kind in kinds), None)

    def cases(self, attack, eps, score="mean_iou", kinds=("budget", "noise")):
        """A score of every case `[cases]` under an attack; None if it was not run."""
        row = self.row(attack, eps, kinds)
        return None if row is None else row.found.scores(self.case)[score]


def means(found, case, classes):
    """Mean over cases of every score, with a 95 % bootstrap interval.

    Returns:
        {score: {"mean", "low", "high", "cases", "empty"}}: of `SCORES`, and of "dice CLASS" and "iou CLASS". `empty`
        counts cases where neither mask has the class.
    """
    scores = found.scores(case)
    columns = {name: scores[name] for name in SCORES}
    for name in ("dice", "iou"):
        columns |= {f"{name} {label}": scores[name][:, k] for k, label in enumerate(classes)}
    kept = ("mean", "low", "high", "cases", "empty")
    return {name: {k: v for k, v in M.mean_over_cases(values).items() if k in kept} for name, values in columns.items()}


def percent(eps):
    """A budget in words."""
    return f"{100 * eps:.3g} %"


def by_case(values, case):
    """Mean of `[n]` over the images of each case `[cases]`, cases in ascending order."""
    _, place = np.unique(case, return_inverse=True)
    return np.bincount(place, np.asarray(values, np.float64)) / np.bincount(place)


def count(masks, predicted, case, classes):
    """`Counts` `[cases, K]` of ids `[n, H, W]`, without the pixels that are `IGNORED`; cases in ascending order."""
    each = [
        M.confusion_counts(masks[case == name], predicted[case == name], classes, ignore_class=IGNORED)
        for name in np.unique(case)
    ]
    return M.Counts(*(np.stack(part) for part in zip(*each, strict=True)))


def without_padding(masks, boxes):
    """Masks `[n, H, W]` int32 that are `IGNORED` outside of the boxes `[n, 4]`."""
    y0, y1, x0, x1 = np.asarray(boxes, int).T[:, :, None]
    rows, columns = np.arange(masks.shape[1]), np.arange(masks.shape[2])
    inside = ((rows >= y0) & (rows < y1))[:, :, None] & ((columns >= x0) & (columns < x1))[:, None]
    return np.where(inside, masks.astype(np.int32), IGNORED)


def constant_scores(counts):
    """(accuracy, foreground IoU) of the best predictions that are one class all over, mean over cases.

    The foreground IoU is the mean over the foreground classes that a case's mask or the prediction has.

    Args:
        counts: of any prediction `[cases, K]`.
    """
    shares = counts.support / counts.total
    present = np.maximum((shares[:, 1:] > 0).sum(axis=1, keepdims=True), 1)
    # Of a class that is predicted all over the IoU is its share, and of the other classes 0.
    return float(shares.mean(axis=0).max()), float((shares[:, 1:] / present).mean(axis=0).max())


def foreground_iou(found):
    """Mean IoU over the foreground classes that a case's mask or prediction has, `[cases]`."""
    return M.nanmean(M.iou(found.counts)[:, 1:])


def background_shares(found):
    """(predicted, true) share of background among all pixels that count."""
    counts = M.Counts(*(np.asarray(part, np.float64).sum(axis=0) for part in found.counts))
    total = counts.total[0]
    return float((counts.tp + counts.fp)[0] / total), float(counts.support[0] / total)
