"""Scores of one case, a volume or an image, and their mean over cases with a bootstrap interval."""

import numpy as np

from kseg.metrics import counts as C
from kseg.metrics.surface import surface_distances
from kseg.metrics.thresholded import thresholded_iou
from kseg.stats import bootstrap_interval

RATIOS = {
    "dice": C.dice, "iou": C.iou, "accuracy": C.accuracy, "precision": C.precision, "recall": C.recall,
    "iou_score": thresholded_iou,
}  # fmt: skip
SURFACE = ("hd", "hd95", "assd", "surface_dice")


def case_scores(y_true, y_pred, classes, *, spacing=None, tolerance=1.0):
    """Every score of one case, per class.

    Args:
        y_true, y_pred: class ids `[*S]`, 2-D or 3-D.
        classes: K; ids lie in [0, K).
        spacing: mm per voxel along each axis; None for distances in voxels.
        tolerance: of surface Dice, in the same unit.

    Returns:
        {score: `[K]`}: Dice, IoU, accuracy, precision, recall, thresholded IoU score, Hausdorff distance (hd), its 95th
        percentile (hd95), average symmetric surface distance (assd) and surface Dice. nan where neither mask has the
        class, and for surfaces of the background; a distance is infinite where one mask alone has it.
    """
    counts = C.confusion_counts(y_true, y_pred, classes)
    ratios = {name: ratio(counts) for name, ratio in RATIOS.items()}
    return {**ratios, **surface_scores(y_true, y_pred, classes, spacing=spacing, tolerance=tolerance)}


def surface_scores(y_true, y_pred, classes, *, spacing=None, tolerance=1.0):
    """The surface scores of `case_scores` alone."""
    values = {name: np.full(classes, np.nan) for name in SURFACE}
    for k in range(1, classes):
        distances = surface_distances(y_true == k, y_pred == k, spacing)
        found = distances.hausdorff(), distances.hausdorff(95), distances.assd(), distances.dice(tolerance)
        for name, value in zip(SURFACE, found, strict=True):
            values[name][k] = value
    return values


def mean_over_cases(values, *, seed=0):
    """Mean over cases of one score, with a 95 % bootstrap interval.

    Args:
        values: `[N]`, one number per case.
        seed: of the bootstrap.

    Returns:
        {"mean", "low", "high", "cases", "empty", "missed"}: mean and interval are over `cases` finite values; `empty`
        counts those that are nan (class in neither mask), `missed` those that are infinite (in one mask alone). Both
        are left out of the mean, so read a mean distance together with `missed`.

    Example:
        >>> summary = mean_over_cases([1.0, 3.0, float("nan"), float("inf")])
        >>> summary["mean"], summary["cases"], summary["empty"], summary["missed"]
        (2.0, 2, 1, 1)
    """
    values = np.asarray(values, np.float64)
    known = values[np.isfinite(values)]
    low, high = bootstrap_interval(known, seed=seed)
    return {
        "mean": float(known.mean()) if len(known) else float("nan"), "low": low, "high": high, "cases": len(known),
        "empty": int(np.isnan(values).sum()), "missed": int(np.isinf(values).sum()),
    }  # fmt: skip
