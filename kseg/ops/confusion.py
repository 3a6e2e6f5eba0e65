"""True and false positives and negatives as soft counts, and the correlation that they give."""

from functools import partial
from typing import NamedTuple

import tensorflow as tf

from kseg.ops.overlap import safe_ratio
from kseg.ops.reduce import group_sums, lines_of, replica_sum, spread_groups
from kseg.ops.softmax import over_classes, softmax_probabilities


class Confusion(NamedTuple):
    """Soft counts `[G, K]` of each class against the rest."""

    tp: tf.Tensor
    fp: tf.Tensor
    fn: tf.Tensor
    tn: tf.Tensor

    @property
    def truth(self):
        return self.tp + self.fn

    @property
    def prediction(self):
        return self.tp + self.fp


def confusion_sums(y, p, q, weight=None, *, shape, per_image=False):
    """Soft counts of each class, each summed by itself: differences of large sums would be rounding.

    Args:
        y, p: labels and probabilities `[N, K]`, in [0, 1].
        q: 1 - p, exact where p is near 1.
        weight: `[N]` or None; a pixel of weight 2 counts as two equal pixels.
        shape: `[B, *S]`, sizes whose product is N.
        per_image: one group per image, else one over batch and replicas.

    Returns:
        Confusion of shape `[B, K]` with `per_image`, else `[1, K]`.
    """
    terms = (y * p, (1.0 - y) * p, y * q, (1.0 - y) * q)
    if weight is not None:
        terms = tuple(weight[:, None] * term for term in terms)
    sums = tuple(group_sums(term, shape, per_image) for term in terms)
    return Confusion(*(sums if per_image else replica_sum(sums)))


def softmax_confusion(logits, y, weight=None, *, counted=None, shape, per_image=False):
    """`confusion_sums` of the softmax of logits `[N, K]`, in two sums of p and with a closed-form gradient.

    The errors FP = sum w (1 - y) p and FN = sum w y (1 - p) are summed as they are; TP and TN are what they leave of
    the labels, rounded to 1e-6 of the latter. `counted` are the labels once more, if nan marks those that are none.
    """
    counted = y if counted is None else counted
    total, spread = (partial(way, shape=shape, per_image=per_image) for way in (group_sums, spread_groups))

    @tf.custom_gradient
    def errors(logits, y, *weights):
        p = softmax_probabilities(logits)
        parts = ((1.0 - y) * p, y * (1.0 - p))
        w = weights[0][:, None] if weights else 1.0
        weighted = tuple(w * part for part in parts) if weights else parts

        def gradient(d_fp, d_fn):
            d_fp, d_fn = spread(d_fp), spread(d_fn)
            g = w * (d_fp - (d_fp + d_fn) * y)
            slopes = p * (g - over_classes(p * g)), w * (d_fn - (d_fp + d_fn) * p)
            return (*slopes, over_classes(d_fp * parts[0] + d_fn * parts[1])[:, 0]) if weights else slopes

        return tuple(total(part) for part in weighted), gradient

    fp, fn = errors(logits, y) if weight is None else errors(logits, y, weight)
    # Labels line by line, where differences of whole weights are exact: a rest of 100 pixels of 10^8 keeps its digits.
    lines, classes = lines_of(shape), y.shape[-1]
    counted = counted if weight is None else weight[:, None] * counted
    line = tf.reduce_sum(tf.reshape(counted, [*lines, classes]), axis=2)
    if weight is None:
        whole = tf.cast(shape[-1], y.dtype)
    else:
        whole = tf.reduce_sum(tf.reshape(weight, lines), axis=2)[..., None]
    parts = (tf.reshape(part, [lines[0] * lines[1], classes]) for part in (line, whole - line))
    truth, rest = (group_sums(part, lines[:2], per_image) for part in parts)
    sums = (truth - fn, fp, fn, rest - fp)
    return Confusion(*(sums if per_image else replica_sum(sums)))


def matthews_score(sums, smooth):
    """(TP TN - FP FN + s_n) / (sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)) + s_d), in [-1, 1] without smoothing.

    Computed from shares of the pixels, since products of four counts overflow float32. Where the score is undefined
    (no pixel of the class or none of the rest, in truth or in prediction) it is 1 if there is no error and s_n / s_d
    if there is one, both with gradient zero.
    """
    total = tf.stop_gradient(sums.tp + sums.fp + sums.fn + sums.tn)
    total = tf.where(total <= 0, tf.ones_like(total), total)
    # Divided, not multiplied by 1 / total: XLA computes what lies before a division once, not once a pixel.
    tp, fp, fn, tn = (count / total for count in sums)
    spread = _root(tp + fp) * _root(tp + fn) * _root(tn + fp) * _root(tn + fn)
    numerator, denominator = (spare / tf.square(total) for spare in smooth)
    score = safe_ratio(tp * tn - fp * fn + numerator, spread + denominator, empty=0.0)
    return tf.where((spread <= 0) & (fp + fn <= 0), tf.ones_like(score), score)


def _root(x):
    """Square root with slope 0 at 0; nan stays nan."""
    nothing = x <= 0
    return tf.where(nothing, tf.zeros_like(x), tf.sqrt(tf.where(nothing, tf.ones_like(x), x)))
