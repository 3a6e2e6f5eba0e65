"""Confusion counts and the ratios made of them: pure functions on NumPy arrays or tensors.

The ratios take `Counts` of any shape `[..., K]` (per case, per batch, summed: counts add up) and return the
same shape. Where a ratio is 0/0 they give `empty`: "nan" (the default, so that nothing passes for a score that is
none), "zero", "one" or a number.
"""

import sys
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from kseg.metrics.options import empty_score


class Counts(NamedTuple):
    """True and false positives and negatives per class, `[..., K]`."""

    tp: Any
    fp: Any
    fn: Any
    tn: Any

    def __add__(self, other):
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def support(self):
        """Pixels that truly are of the class."""
        return self.tp + self.fn

    @property
    def total(self):
        """All pixels counted."""
        return self.tp + self.fp + self.fn + self.tn


def confusion_matrix(y_true, y_pred, classes, *, ignore_class=None):
    """Pixels by true class (rows) and predicted class (columns).

    Args:
        y_true, y_pred: integer class ids of equal shape, NumPy arrays or tensors.
        classes: K; ids lie in [0, K).
        ignore_class: pixels with this true id are not counted.

    Returns:
        `[K, K]` int64, a tensor if either input is one, else NumPy.

    Raises:
        ValueError: shapes that differ, floats, or (NumPy) ids outside the classes.
    """
    if tuple(y_true.shape) != tuple(y_pred.shape):
        raise ValueError(f"Shapes {y_true.shape} and {y_pred.shape} differ. Expected ids of equal shape.")
    if is_tensor(y_true) or is_tensor(y_pred):
        import tensorflow as tf

        y_true, y_pred = (tf.cast(tf.reshape(t, [-1]), tf.int64) for t in (y_true, y_pred))
        keep = tf.ones_like(y_true) if ignore_class is None else tf.cast(y_true != ignore_class, tf.int64)
        y_true = tf.where(keep > 0, y_true, 0)
        return tf.math.confusion_matrix(y_true, y_pred, classes, weights=keep, dtype=tf.int64)
    y_true, y_pred = np.ravel(y_true), np.ravel(y_pred)
    for ids in (y_true, y_pred):
        if ids.dtype.kind not in "biu":
            raise ValueError(f"Ids have dtype {ids.dtype}. Expected integers; take argmax or a threshold first.")
    if ignore_class is not None:
        keep = y_true != ignore_class
        y_true, y_pred = y_true[keep], y_pred[keep]
    for ids in (y_true, y_pred):
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < classes:
            raise ValueError(f"Ids run from {ids.min()} to {ids.max()}. Expected 0 to {classes - 1}.")
    pairs = y_true.astype(np.int64) * classes + y_pred
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def counts_from_matrix(matrix):
    """`Counts` `[..., K]` of confusion matrices `[..., K, K]` (rows true, columns predicted)."""
    xp = _namespace(matrix)
    tp = xp.linalg.diag_part(matrix) if xp is not np else np.diagonal(matrix, axis1=-2, axis2=-1)
    add = xp.sum if xp is np else xp.reduce_sum
    fp, fn = add(matrix, axis=-2) - tp, add(matrix, axis=-1) - tp
    return Counts(tp, fp, fn, add(matrix, axis=(-2, -1))[..., None] - tp - fp - fn)


def confusion_counts(y_true, y_pred, classes, *, ignore_class=None):
    """`Counts` `[K]` of integer class ids; see `confusion_matrix`."""
    return counts_from_matrix(confusion_matrix(y_true, y_pred, classes, ignore_class=ignore_class))


def of_counts(ratio):
    """Decorator: refuse what is no Counts, above all masks, with the way to make them."""

    @wraps(ratio)
    def checked(counts, *arguments, **options):
        if not isinstance(counts, Counts):
            raise ValueError(
                f"{ratio.__name__} got {type(counts).__name__}. Expected Counts; make them of masks with "
                "kseg.metrics.confusion_counts(y_true, y_pred, classes)."
            )
        return ratio(counts, *arguments, **options)

    return checked


@of_counts
def precision(counts, empty="nan"):
    """TP / (TP + FP); `empty` where nothing was predicted (S2.6)."""
    return ratio_of(counts.tp, counts.tp + counts.fp, empty)


@of_counts
def recall(counts, empty="nan"):
    """TP / (TP + FN); `empty` where the class is absent. Also the accuracy of that class (S2.3)."""
    return ratio_of(counts.tp, counts.tp + counts.fn, empty)


@of_counts
def f1(counts, empty="nan"):
    """2 TP / (2 TP + FP + FN), the Dice score; `empty` where both masks are (S2.6)."""
    return ratio_of(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, empty)


dice = f1


@of_counts
def iou(counts, empty="nan"):
    """TP / (TP + FP + FN), the Jaccard index; `empty` where both masks are (S2.5)."""
    return ratio_of(counts.tp, counts.tp + counts.fp + counts.fn, empty)


@of_counts
def accuracy(counts, empty="nan"):
    """(TP + TN) / all, per class against the rest (S2.6)."""
    return ratio_of(counts.tp + counts.tn, counts.total, empty)


class_accuracies = recall


@of_counts
def pixel_accuracy(counts, empty="nan"):
    """Share of pixels whose class is right, `[...]` from `[..., K]`, K >= 2 (S2.3).

    Needs the counts of all classes, background included.
    """
    xp = _namespace(counts.tp)
    add = xp.sum if xp is np else xp.reduce_sum
    return ratio_of(add(counts.tp, axis=-1), counts.total[..., 0], empty)


def mean_class_accuracy(counts):
    """Mean of the class accuracies over the classes that occur, `[...]` from `[..., K]` (S2.3)."""
    return nanmean(class_accuracies(counts))


def nanmean(values):
    """Mean over the last axis of the values that are not nan; nan where there is none."""
    xp = _namespace(values)
    add = xp.sum if xp is np else xp.reduce_sum
    known = values == values
    kept = xp.where(known, values, xp.zeros_like(values))
    return ratio_of(add(kept, axis=-1), add(_float(known, values), axis=-1), "nan")


def count_empty(values):
    """How many values are nan: cases or classes without a score, to be reported beside any mean."""
    xp = _namespace(values)
    add = xp.sum if xp is np else xp.reduce_sum
    return add(_float(values != values, values))


def ratio_of(numerator, denominator, empty):
    """numerator / denominator, and `empty` where the denominator is 0; arrays or tensors."""
    empty = empty_score(empty)
    if is_tensor(denominator) or is_tensor(numerator):
        import tensorflow as tf

        dtype = tf.float32 if numerator.dtype == tf.float32 else tf.float64
        numerator, denominator = tf.cast(numerator, dtype), tf.cast(denominator, dtype)
        nothing = denominator <= 0  # false for nan, which must not pass for an empty class
        ratio = numerator / tf.where(nothing, tf.ones_like(denominator), denominator)
        return tf.where(nothing, tf.cast(empty, dtype), ratio)
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), empty, np.float64)
    return np.divide(numerator, denominator, out=out, where=~(denominator <= 0))[()]


def as_float(values):
    """Numbers or truth values in float64, which holds counts exactly up to 2^53."""
    if not is_tensor(values):
        return np.asarray(values, np.float64)
    import tensorflow as tf

    return tf.cast(values, tf.float64)


def _float(mask, like):
    if not is_tensor(mask):
        return mask.astype(np.float64)
    import tensorflow as tf

    return tf.cast(mask, like.dtype)


def is_tensor(value):
    tf = sys.modules.get("tensorflow")
    return tf is not None and tf.is_tensor(value)


def _namespace(value):
    return sys.modules["tensorflow"] if is_tensor(value) else np
