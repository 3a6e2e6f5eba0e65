"""Confusion counts, the ratios made of them, and Keras metrics that sum counts only."""

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
from kseg.metrics.streaming import (
    ConfusionMetric,
    DiceScore,
    IoU,
    MeanClassAccuracy,
    PixelAccuracy,
    Precision,
    Recall,
)

__all__ = [
    "ConfusionMetric", "Counts", "DiceScore", "IoU", "MeanClassAccuracy", "PixelAccuracy", "Precision",
    "Recall", "accuracy", "class_accuracies", "confusion_counts", "confusion_matrix", "count_empty",
    "counts_from_matrix", "dice", "f1", "iou", "mean_class_accuracy", "nanmean", "pixel_accuracy",
    "precision", "recall",
]  # fmt: skip
