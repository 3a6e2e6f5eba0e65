"""The Lovasz extension of the Jaccard loss: the IoU of hard masks, made continuous by sorting the errors."""

import tensorflow as tf

from kseg.ops.reduce import replica_concat, replica_sum


def lovasz_gradient(truth, weight=None):
    """Gradient of the Lovasz extension of the Jaccard loss with respect to errors in descending order.

    g_i = J_i - J_(i-1), J_i the Jaccard loss if the pixels 1 .. i were wrong and the others right. It is computed as

        g_i = w_i ((1 - y_i) I_i + y_i U_i) / (U_(i-1) U_i),  I_i = sum over j > i of w y,
        U_i = sum of all w y + sum over j <= i of w (1 - y),

    which keeps its precision where the difference of two numbers near 1 would lose it.

    Args:
        truth: `[..., N]` floating in [0, 1], y in the order of descending errors.
        weight: `[..., N]` or None for all 1; a pixel of weight 2 counts as two, one of weight 0 not at all.

    Returns:
        `[..., N]`, at least 0; of sum 1 over a row, or 0 where all weights are 0.

    Example:
        >>> [round(float(g), 4) for g in lovasz_gradient(tf.constant([1.0, 0.0, 1.0]))]
        [0.5, 0.1667, 0.3333]

    Source: Berman et al. 2018, algorithm 1.
    """
    positive = truth if weight is None else weight * truth
    negative = 1.0 - truth if weight is None else weight * (1.0 - truth)
    remaining = tf.cumsum(positive, axis=-1, exclusive=True, reverse=True)
    before = tf.reduce_sum(positive, axis=-1, keepdims=True) + tf.cumsum(negative, axis=-1, exclusive=True)
    union = before + negative
    gradient = (negative * remaining + positive * union) / tf.where(before > 0, before * union, tf.ones_like(union))
    # Without any truth the first pixel that counts makes the Jaccard loss 1.
    return tf.where(before > 0, gradient, tf.cast(union > 0, truth.dtype))


def lovasz_extension(errors, truth, weight=None, *, replicas=False):
    """The Jaccard loss of the set of wrong pixels, extended to errors that are no longer 0 or 1.

    Args:
        errors: `[R, N]` floating, at least 0, one row per class (and image); nan gives nan.
        truth: `[R, N]` in [0, 1], of the same dtype.
        weight: `[R, N]` or None.
        replicas: whether rows go on on the other replicas; the sum is theirs then.

    Returns:
        `[R]`. The gradient with respect to the errors is `lovasz_gradient`, in the order of the pixels; among equal
        errors the pixel that comes first counts as the larger. Truth and weights get none.

    Source: Berman et al. 2018, eq. 8 and 9.
    """

    given = (errors, truth) if weight is None else (errors, truth, weight)
    parts = [tf.stop_gradient(part) for part in given]
    here = slice(None)
    if replicas:
        parts, start = replica_concat(parts)
        here = slice(start, start + tf.shape(errors)[1])

    def row(r):
        errors, truth, *weight = (tf.gather(part, r) for part in parts)
        errors = tf.where(errors == errors, errors, tf.zeros_like(errors))  # nan has no place in an order
        order = tf.argsort(errors, direction="DESCENDING", stable=True)
        gradient = lovasz_gradient(*(tf.gather(part, order) for part in (truth, *weight)))
        return tf.scatter_nd(order[:, None], gradient, tf.shape(gradient))

    rows = tf.shape(errors)[0]
    if not errors.shape[0]:
        parts = [tf.pad(part, [[0, tf.cast(rows == 0, tf.int32)], [0, 0]]) for part in parts]  # map_fn needs one row
    # Row by row, so that the scratch memory is that of one class.
    signature = tf.TensorSpec(parts[0].shape[1:], errors.dtype)
    gradient = tf.map_fn(row, tf.range(tf.shape(parts[0])[0]), fn_output_signature=signature)[:rows, here]
    total = tf.reduce_sum(errors * tf.stop_gradient(gradient), axis=1)
    return replica_sum(total) if replicas else total
