"""Scores of masks and of probabilities: pure functions, and Keras metrics that sum and nothing else.

Example:
    >>> import numpy as np
    >>> import kseg.metrics as M
    >>> true, predicted = np.zeros((2, 4, 9, 9), int)
    >>> true[1:3, 2:6, 2:6] = predicted[1:3, 3:7, 2:6] = 1
    >>> distances = M.surface_distances(true == 1, predicted == 1, spacing=(2.5, 0.7, 0.7))
    >>> round(distances.hausdorff(95), 3), round(distances.assd(), 3), round(distances.dice(tolerance=0.5), 3)
    (0.7, 0.233, 0.667)
    >>> cases = [M.case_scores(true, predicted, classes=2, spacing=(2.5, 0.7, 0.7))]
    >>> M.mean_over_cases([case["dice"][1] for case in cases])["mean"]
    0.75
"""

from kseg.metrics.boundary import BoundaryIoU, boundary_iou
from kseg.metrics.calibrated import BrierScore, ExpectedCalibrationError
from kseg.metrics.calibration import ReliabilityCurve, brier_score, expected_calibration_error, reliability_curve
from kseg.metrics.cases import case_scores, mean_over_cases, surface_scores
from kseg.metrics.counts import (
    Counts,
    accuracy,
    class_accuracies,
    confusion_counts,
    confusion_matrix,
    count_empty,
    counts_from_matrix,
    dice,
    f1,
    iou,
    mean_class_accuracy,
    nanmean,
    pixel_accuracy,
    precision,
    recall,
)
from kseg.metrics.means import arithmetic_mean, geometric_mean, harmonic_mean
from kseg.metrics.sets import (
    count,
    dice_coefficient,
    f1_from_iou,
    intersection,
    iou_from_f1,
    mask_f1,
    mask_iou,
    union,
)
from kseg.metrics.streaming import (
    ConfusionMetric,
    DiceScore,
    IoU,
    MeanClassAccuracy,
    PixelAccuracy,
    Precision,
    Recall,
    ThresholdedIoU,
)
from kseg.metrics.surface import (
    SurfaceDistances,
    asd,
    assd,
    hausdorff,
    hausdorff95,
    masd,
    surface_dice,
    surface_distances,
)
from kseg.metrics.thresholded import thresholded_iou

__all__ = [
    "BoundaryIoU", "BrierScore", "ConfusionMetric", "Counts", "DiceScore", "ExpectedCalibrationError", "IoU",
    "MeanClassAccuracy", "PixelAccuracy", "Precision", "Recall", "ReliabilityCurve", "SurfaceDistances",
    "ThresholdedIoU", "accuracy", "arithmetic_mean", "asd", "assd", "boundary_iou", "brier_score", "case_scores",
    "class_accuracies", "confusion_counts", "confusion_matrix", "count", "count_empty", "counts_from_matrix", "dice",
    "dice_coefficient", "expected_calibration_error", "f1", "f1_from_iou", "geometric_mean", "harmonic_mean",
    "hausdorff", "hausdorff95", "intersection", "iou", "iou_from_f1", "masd", "mask_f1", "mask_iou",
    "mean_class_accuracy", "mean_over_cases", "nanmean", "pixel_accuracy", "precision", "recall", "reliability_curve",
    "surface_dice", "surface_distances", "surface_scores", "thresholded_iou", "union",
]  # fmt: skip
