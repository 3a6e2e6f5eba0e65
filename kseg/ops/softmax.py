"""Softmax together with what follows it, with closed-form gradients (D2, S2.9).

All take rows of classes, `[N, K]`, as they lie in memory. Sums over the classes of a pixel are written out, which XLA
fuses where it would not fuse a reduction. Which of them are, and where it is better to divide than to multiply by an
inverse, was measured on a CPU for 2 to 21 classes.
"""

from functools import partial

import tensorflow as tf

from kseg.ops.overlap import OverlapSums
from kseg.ops.reduce import group_sums, spread_groups
from kseg.ops.scores import sigmoid_pair

TINY = 1e-30
WRITTEN_OUT = 12
LARGE = 3_600_000  # elements of which two float32 maps and a little take 32 MB: glibc has the kernel clear so much anew


def pixel_rows(tensor):
    """`[B, *S, K]` as `[N, K]`, N = B x space."""
    return tf.reshape(tensor, [tf.reduce_prod(tf.shape(tensor)[:-1]), tensor.shape[-1]])


def logit_overlap(logits, y, weight=None, *, head, marked=None, truth=None, shape, per_image=False, squared=False):
    """Sums of w y p, w y and w p over pixels, p the softmax or sigmoid of the logits, on this replica.

    Args:
        logits, y: `[N, K]`; y in [0, 1].
        weight: `[N]` or None for all 1.
        head: "softmax" or "sigmoid".
        marked: y with nan where labels are none, by default y itself. Only the first sum reads it, which is enough.
        truth: the second sum, where it is known already.
        shape: `[B, *S]`, sizes whose product is N. Sums run over lines, images and the batch in turn, which keeps
            float32 sums of millions of pixels exact to about 1e-5.
        per_image: one group of sums per image, else one over all.
        squared: sum w y^2 and w p^2 instead of w y and w p (V-Net form, S1.4).

    Returns:
        OverlapSums `[B, K]` with `per_image`, else `[1, K]`. With g = w (dI y + dP) the gradient with respect to the
        logits is p (g - sum_j p_j g_j) for a softmax, D2's (S2.9) by way of it, and p (1 - p) g for a sigmoid.
    """
    if y.shape[1] is None:
        raise ValueError(f"y has shape {y.shape}. Expected [N, K] with a known number of classes K.")
    total, spread = (partial(way, shape=shape, per_image=per_image) for way in (group_sums, spread_groups))

    @tf.custom_gradient
    def sums(logits, y, marked, *weights):
        if head == "softmax":
            exponentials = tf.exp(logits - over_classes(logits, tf.maximum))
            p = _share(exponentials, over_classes(exponentials), _large(logits))
        else:
            p, q = sigmoid_pair(logits)
        w = weights[0][:, None] if weights else None
        intersection, part = marked * p, tf.square(p) if squared else p
        if w is not None:
            intersection, part = w * intersection, w * part

        def gradient(*upstream):
            d_intersection, d_prediction = (spread(u) for u in upstream)
            g = d_intersection * y + d_prediction * (2.0 * p if squared else 1.0)
            g = g if w is None else w * g
            d_logits = p * (g - over_classes(p * g)) if head == "softmax" else p * q * g
            d_y = d_intersection * p
            if w is None:
                return d_logits, d_y, None
            d_weight = d_intersection * y * p + d_prediction * (tf.square(p) if squared else p)
            return d_logits, w * d_y, None, over_classes(d_weight)[:, 0]

        return (total(intersection), total(part)), gradient

    marked = y if marked is None else marked
    given = (logits, y, marked) if weight is None else (logits, y, marked, weight)
    intersection, prediction = sums(*given)
    if truth is None:
        part = tf.square(y) if squared else y
        truth = total(part if weight is None else weight[:, None] * part)
    return OverlapSums(intersection, truth, prediction)


def softmax_cross_entropy(logits, y, mass=None, *, stored=False):
    """-sum_c y_c log softmax(logits)_c per pixel.

    Args:
        logits: `[N, K]`.
        y: `[N, K]`, at least 0, of any sum: class weights may be multiplied into it.
        mass: `[N]`, sum_c y_c where it is known already, nan where the labels are none.
        stored: whether XLA should keep the result rather than compute it again for each that reads it.

    Returns:
        `[N]`. The gradient is p sum_c y_c - y, which never dies at a wrong pixel.
    """

    @tf.custom_gradient
    def loss(logits, y, mass):
        mass = mass[:, None]
        shifted = logits - over_classes(logits, tf.maximum)
        exponentials = tf.exp(shifted)
        partition = over_classes(exponentials)
        log_partition = tf.math.log(partition)

        def gradient(upstream):
            upstream = upstream[:, None]
            d_logits = upstream * (exponentials * (mass / partition) - y)
            return d_logits, -upstream * shifted, (upstream * log_partition)[:, 0]

        hit = tf.reduce_sum(y * shifted, axis=1) if stored else over_classes(y * shifted)[:, 0]
        return (mass * log_partition)[:, 0] - hit, gradient

    return loss(logits, y, over_classes(y)[:, 0] if mass is None else mass)


def softmax_focal(logits, y, gamma, alpha=1.0):
    """-sum_c alpha_c y_c (1 - p_c)^gamma log p_c per pixel, p the softmax of the logits.

    Args:
        logits, y: `[N, K]`; y in [0, 1].
        gamma: at least 0 (Lin et al. 2017, eq. 4).
        alpha: a number, or `[K]`.

    Returns:
        `[N]`. The gradient is c - p sum_j c_j with c = -alpha y q^(gamma - 1) (q - gamma p log p), q = 1 - p; it never
        dies at a wrong pixel.
    """

    @tf.custom_gradient
    def focal(logits, y):
        shifted = logits - over_classes(logits, tf.maximum)
        exponentials = tf.exp(shifted)
        partition = over_classes(exponentials)
        p, log_p = _share(exponentials, partition), shifted - tf.math.log(partition)
        q = tf.maximum(1.0 - p, TINY)  # keeps q^(gamma - 1) finite
        factor = alpha * tf.pow(q, gamma)

        def gradient(upstream):
            upstream = upstream[:, None]
            c = -alpha * y * tf.pow(q, gamma - 1.0) * (q - gamma * p * log_p)
            return upstream * (c - p * over_classes(c)), -upstream * factor * log_p

        return -over_classes(factor * y * log_p)[:, 0], gradient

    return focal(logits, y)


@tf.custom_gradient
def softmax_mean(logits, values):
    """sum_c v_c p_c per pixel `[N]`, of logits and values `[N, K]`, p the softmax: the mean of v under p.

    The gradient with respect to the logits is p (v - mean).
    """
    exponentials = tf.exp(logits - over_classes(logits, tf.maximum))
    p = _share(exponentials, over_classes(exponentials), logits.shape[-1] == 2)  # which keeps half a map less there
    mean = over_classes(p * values)

    def gradient(upstream):
        pull = upstream[:, None] * p
        return pull * (values - mean), pull

    return mean[:, 0], gradient


@tf.custom_gradient
def softmax_probabilities(logits):
    """p of logits `[N, K]`."""
    exponentials, large = tf.exp(logits - over_classes(logits, tf.maximum)), _large(logits)
    p = _share(exponentials, over_classes(exponentials), large and logits.shape[-1] <= 8)

    def gradient(d_p):
        return p * (d_p - (tf.reduce_sum(p * d_p, axis=-1, keepdims=True) if large else over_classes(p * d_p)))

    return p, gradient


@tf.custom_gradient
def softmax_logarithms(logits):
    """log p of logits `[N, K]`, exact in the tails."""
    shifted = logits - over_classes(logits, tf.maximum)
    exponentials = tf.exp(shifted)
    partition = over_classes(exponentials)
    p = _share(exponentials, partition)
    return shifted - tf.math.log(partition), lambda d_log_p: d_log_p - p * over_classes(d_log_p)


@tf.custom_gradient
def softmax_alone(logits):
    """p of logits `[N, K]`, for where memory is short: XLA keeps the exponentials alone.

    It divides them anew wherever p is read; multiplied by an inverse, as in `softmax_probabilities`, they are
    faster, but the inverse is kept as well.
    """
    exponentials = tf.exp(logits - over_classes(logits, tf.maximum))
    p = exponentials / over_classes(exponentials)
    return p, lambda d_p: p * (d_p - over_classes(p * d_p))


def _share(exponentials, partition, divided=False):
    return exponentials / partition if divided else exponentials * (1.0 / partition)


def _large(tensor):
    size = tf.TensorShape(tensor.shape).num_elements()
    return size is None or size > LARGE


def over_classes(terms, combine=tf.add):
    """Sum (or maximum) of `[..., K]` over the classes, `[..., 1]`."""
    classes = terms.shape[-1]
    if classes > WRITTEN_OUT:
        reduce = tf.reduce_sum if combine is tf.add else tf.reduce_max
        return reduce(terms, axis=-1, keepdims=True)
    result = terms[..., :1]
    for c in range(1, classes):
        result = combine(result, terms[..., c : c + 1])
    return result
