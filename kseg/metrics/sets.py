"""Masks as sets of pixels: count, intersection, union, IoU and F1 of two of them, and Dice of soft ones.

Masks are arrays or tensors of bool or of the numbers 0 and 1. Where a score is 0/0 it is `empty`: "nan" (the default),
"zero", "one" or a number. For the scores of many classes or cases see `kseg.metrics.confusion_counts`.

Example:
    >>> import numpy as np
    >>> predicted, true = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0]]), np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]])
    >>> int(count(intersection(true, predicted))), int(count(union(true, predicted)))
    (2, 4)
    >>> float(mask_iou(true, predicted)), round(float(mask_f1(true, predicted)), 4)
    (0.5, 0.6667)
"""

import numpy as np

from kseg.metrics.counts import as_float, is_tensor, ratio_of
from kseg.metrics.elements import binary_mask


def count(mask, axis=None):
    """|A|, the number of pixels that are 1: int64, over all axes or over `axis` (S2.4).

    Raises:
        ValueError: a mask that holds anything but 0 and 1 (an array), or is of a float type (a tensor).
    """
    mask = _mask("mask", mask)
    if not is_tensor(mask):
        return np.count_nonzero(mask, axis=axis)
    import tensorflow as tf

    return tf.math.count_nonzero(mask, axis=axis)


def intersection(a, b):
    """A and B, pixel by pixel: a bool mask (S2.4). Errors as of `count`, and shapes that differ."""
    a, b = _pair(a, b)
    return a & b


def union(a, b):
    """A or B, pixel by pixel: a bool mask (S2.4). Errors as of `count`, and shapes that differ."""
    a, b = _pair(a, b)
    return a | b


def mask_iou(y_true, y_pred, *, axis=None, empty="nan"):
    """|A and B| / |A or B| of two masks, over all axes or over `axis`; `empty` where both are (S2.5).

    In [0, 1], 0 if and only if they are disjoint, 1 if and only if they are equal; symmetric.
    """
    return ratio_of(count(intersection(y_true, y_pred), axis), count(union(y_true, y_pred), axis), empty)


def mask_f1(y_true, y_pred, *, axis=None, empty="nan"):
    """2 |A and B| / (|A| + |B|) of two masks, over all axes or over `axis`; `empty` where both are (S2.6)."""
    both = count(intersection(y_true, y_pred), axis)
    return ratio_of(2 * both, count(y_true, axis) + count(y_pred, axis), empty)


def f1_from_iou(iou):
    """F1 = 2 IoU / (1 + IoU), never below the IoU (S2.7).

    Args:
        iou: in [0, 1], numbers, an array or a tensor of floats; nan stays nan.

    Raises:
        ValueError: a number outside [0, 1] (arrays).

    Example:
        >>> round(float(f1_from_iou(0.5)), 4)
        0.6667
    """
    iou = _share("iou", iou)
    return 2 * iou / (1 + iou)


def iou_from_f1(f1):
    """IoU = F1 / (2 - F1), never above the F1 (S2.7); arguments and errors as of `f1_from_iou`.

    Example:
        >>> round(float(iou_from_f1(2 / 3)), 4)
        0.5
    """
    f1 = _share("f1", f1)
    return f1 / (2 - f1)


def dice_coefficient(y_true, y_pred, *, squared=True, axis=None, empty="nan"):
    """Dice score of probabilities: 2 sum(y p) / (sum y^2 + sum p^2), without squares if not `squared`.

    A score: 1 for y = p, 0 without overlap. To be minimised as 1 - score (`kseg.losses.dice_square`, `dice` without the
    squares) or as -log(score) (`log_dice`). For 0/1 masks both forms are F1. At y = p with hard labels the gradient of
    the squared form is 0; that of the other is not, so an optimiser pushes on until p meets its bounds.

    Args:
        y_true: labels in [0, 1], hard or soft.
        y_pred: probabilities in [0, 1] of the same shape; products are element-wise (E2.5).
        squared: squares in the denominator (V-Net).
        axis: the axis or axes (a tuple) of one score; None for all.
        empty: the score where labels and probabilities are all 0: "nan", "zero", "one" or a number.

    Returns:
        Scores in [0, 1] without these axes; a tensor if either input is one, differentiable.

    Raises:
        ValueError: shapes that differ, or (arrays) numbers outside [0, 1].

    Example:
        >>> p, g = [[.12, .83, .23], [.89, .94, .36], [.23, .06, .18]], [[0, 1, 0], [0, 1, 1], [0, 0, 0]]
        >>> round(float(dice_coefficient(g, p)), 6), round(float(dice_coefficient(g, p, squared=False)), 6)
        (0.753929, 0.622807)

    Source: Milletari et al. 2016; D2 (S2.8).
    """
    y, p = _share("y_true", y_true), _share("y_pred", y_pred)
    if tuple(y.shape) != tuple(p.shape):
        raise ValueError(f"Shapes {y.shape} and {p.shape} differ. Expected labels and probabilities of one shape.")
    if is_tensor(y) or is_tensor(p):
        import tensorflow as tf

        dtype, add = (p if is_tensor(p) else y).dtype, tf.reduce_sum
        y, p = tf.cast(y, dtype), tf.cast(p, dtype)
    else:
        add = np.sum
    both, sizes = add(y * p, axis=axis), (y * y, p * p) if squared else (y, p)
    return ratio_of(2 * both, add(sizes[0], axis=axis) + add(sizes[1], axis=axis), empty)


def _pair(a, b):
    a, b = _mask("the first mask", a), _mask("the second mask", b)
    if tuple(a.shape) != tuple(b.shape):
        raise ValueError(f"Shapes {a.shape} and {b.shape} differ. Expected masks of equal shape.")
    return a, b


def _mask(name, mask):
    if not is_tensor(mask):
        return binary_mask(name, mask)
    if not (mask.dtype.is_bool or mask.dtype.is_integer):
        raise ValueError(f"{name} has dtype {mask.dtype.name}. Expected bool or integers; pass p > 0.5, or ids == 1.")
    return mask if mask.dtype.is_bool else mask == 1


def _share(name, values):
    """Floats that lie in [0, 1]; checked for arrays only, since a graph cannot refuse numbers."""
    if is_tensor(values):
        return values if values.dtype.is_floating else as_float(values)
    values = np.asarray(values, np.float64)
    wrong = values[(values < 0) | (values > 1)]
    if wrong.size:
        raise ValueError(f"{name} holds {wrong.flat[0]:g}. Expected numbers in [0, 1]; logits go through a sigmoid.")
    return values
