"""Overlap scores from three sums per class: intersection, size of the truth, size of the prediction."""

from typing import NamedTuple

import tensorflow as tf

from kseg.ops.reduce import replica_sum, space_sum


class OverlapSums(NamedTuple):
    """Soft sums `[G, K]`, G = 1 for the whole batch and B for one group per image."""

    intersection: tf.Tensor
    truth: tf.Tensor
    prediction: tf.Tensor


def overlap_sums(y, p, weight=None, *, squared=False, per_image=False):
    """sum w y p, sum w y and sum w p over space (and over batch and replicas, unless `per_image`).

    Args:
        y: labels `[B, *S, K]` in [0, 1].
        p: probabilities `[B, *S, K]`.
        weight: `[B, *S]` or None; a pixel of weight 2 counts as two equal pixels.
        squared: sum w y^2 and w p^2 instead (V-Net form, S1.4).
        per_image: keep one group per image.

    Returns:
        OverlapSums of shape `[B, K]` with `per_image`, else `[1, K]`.
    """
    products = (y * p, tf.square(y) if squared else y, tf.square(p) if squared else p)
    if weight is not None:
        products = tuple(weight[..., None] * product for product in products)
    sums = OverlapSums(*(space_sum(product) for product in products))
    if per_image:
        return sums
    return OverlapSums(*replica_sum(tuple(tf.reduce_sum(s, axis=0, keepdims=True) for s in sums)))


def safe_ratio(numerator, denominator, empty=1.0):
    """numerator / denominator, and `empty` with gradient zero where the denominator is zero."""
    nothing = denominator <= 0  # false for nan, which must not pass for an empty class
    ratio = numerator / tf.where(nothing, tf.ones_like(denominator), denominator)
    return tf.where(nothing, tf.cast(empty, ratio.dtype), ratio)


def dice_score(sums, smooth):
    """(2 I + s_n) / (Y + P + s_d) (S1.3; with squared sums S1.4 and S2.8). `smooth` = (s_n, s_d)."""
    return safe_ratio(2.0 * sums.intersection + smooth[0], sums.truth + sums.prediction + smooth[1])


def jaccard_score(sums, smooth):
    """(I + s_n) / (Y + P - I + s_d) (S3.7)."""
    union = sums.truth + sums.prediction - sums.intersection
    return safe_ratio(sums.intersection + smooth[0], union + smooth[1])


def tversky_score(sums, smooth, fp_weight, fn_weight):
    """(I + s_n) / (I + fp (P - I) + fn (Y - I) + s_d) (S3.9; Tversky 1977)."""
    false_positive = sums.prediction - sums.intersection
    false_negative = sums.truth - sums.intersection
    total = sums.intersection + fp_weight * false_positive + fn_weight * false_negative
    return safe_ratio(sums.intersection + smooth[0], total + smooth[1])


def size_weights(truth, counted, power):
    """Weights 1 / size^power of classes, scaled so that the largest is 1, which keeps float32 in its range.

    Args:
        truth: size of each class `[G, K]`.
        counted: `[1, K]`, above 0 for the classes that count.
        power: 2, 1 or 0.

    Returns:
        `[G, K]`. A class of size 0, which would weigh infinitely, weighs as much as the smallest that is present.
    """
    present = ~((truth <= 0) | (counted <= 0))  # nan, the mark of a label outside the classes, counts as present
    smallest = tf.reduce_min(tf.where(present, truth, truth.dtype.max), axis=-1, keepdims=True)
    return tf.where(present, tf.pow(smallest / tf.where(present, truth, 1.0), power), 1.0)
