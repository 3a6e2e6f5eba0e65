"""The Lovasz extension of the Jaccard loss: the IoU of hard masks, made continuous by sorting the errors."""

import tensorflow as tf

from kseg.ops.reduce import replica_concat, replica_sum

CHUNK = 8192


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
    return _growth(positive, negative, 0.0, tf.reduce_sum(positive, axis=-1, keepdims=True))


def _growth(positive, negative, after, before):
    """The gradient over a stretch of the order: `after` is the truth behind it, `before` the union in front of it."""
    remaining = after + tf.cumsum(positive, axis=-1, exclusive=True, reverse=True)
    before += tf.cumsum(negative, axis=-1, exclusive=True)
    union = before + negative
    gradient = (negative * remaining + positive * union) / tf.where(before > 0, before * union, tf.ones_like(union))
    # Without any truth the first pixel that counts makes the Jaccard loss 1.
    return tf.where(before > 0, gradient, tf.cast(union > 0, positive.dtype))


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
    parts, here = [errors, truth] if weight is None else [errors, truth, weight], slice(None)
    parts = [tf.stop_gradient(part) for part in parts]
    if replicas:
        parts, start = replica_concat(parts)
        here = slice(start, start + tf.shape(errors)[1])
    slope = lovasz_slope(
        lambda r: [tf.gather(part, r) for part in parts], *tf.unstack(tf.shape(parts[0])), errors.dtype
    )
    total = tf.reduce_sum(errors * slope[:, here], axis=1)
    return replica_sum(total) if replicas else total


def lovasz_slope(row, rows, size, dtype):
    """`lovasz_gradient` of each pixel, `[rows, size]`, row by row and in the order of the pixels.

    Args:
        row: called with the number of a row, returns its errors, truth and perhaps weights, `[size]` each. It is called
            inside a loop, so that only one row needs to be in memory.
        rows, size: numbers, or scalar int32 tensors.
        dtype: of the errors.

    Returns:
        `[rows, size]` of `dtype`; no gradient flows through it.
    """
    chunk = CHUNK if tf.is_tensor(size) else min(max(size, 1), CHUNK)
    chunks = tf.maximum((size + chunk - 1) // chunk, 1)
    padded = chunks * chunk
    # What depends on sizes is made out here: inside a loop XLA would not know them.
    filler, blank, numbers = tf.zeros([padded - size], dtype), tf.zeros([chunks, 2], dtype), tf.range(padded)

    def spread(r, slope):
        errors, *parts = (tf.stop_gradient(part) for part in row(r))
        pick = _descending(tf.concat([errors, filler], axis=0), numbers)

        def counts(i):
            """The pixels of a stretch of the order and what they count."""
            here = pick(i * chunk, chunk)
            inside = tf.minimum(here, size - 1)
            truth, *weight = (tf.gather(part, inside) for part in parts)
            weight = tf.cast(here < size, dtype) * (weight[0] if weight else 1.0)
            return here, weight * truth, weight * (1.0 - truth)

        def add(i, sums):
            pair = tf.stack([tf.reduce_sum(part) for part in counts(i)[1:]])
            return i + 1, tf.tensor_scatter_nd_update(sums, [[i]], pair[None])

        def stretch(i, slope):
            here, positive, negative = counts(i)
            growth = _growth(positive, negative, after[i], before[i])
            return i + 1, tf.tensor_scatter_nd_update(slope, (r * padded + here)[:, None], growth)

        # Sums of the stretches first: each then starts from sums that have lost no precision on the way.
        sums = tf.while_loop(lambda i, _: i < chunks, add, (0, blank))[1]
        after = tf.cumsum(sums[:, 0], exclusive=True, reverse=True)
        before = tf.reduce_sum(sums[:, 0]) + tf.cumsum(sums[:, 1], exclusive=True)
        return r + 1, tf.while_loop(lambda i, _: i < chunks, stretch, (0, slope))[1]

    slope = tf.zeros([tf.maximum(rows, 1) * padded], dtype)
    slope = tf.while_loop(lambda r, _: (r < rows) & (size > 0), spread, (0, slope))[1]
    return tf.stop_gradient(tf.reshape(slope, [-1, padded])[:rows, :size])


def _descending(errors, numbers):
    """A function (start, length) -> numbers of the pixels by descending errors; equal errors in their own order."""
    errors = tf.where(errors == errors, tf.abs(errors), tf.zeros_like(errors))  # nan has no place in an order
    if errors.dtype != tf.float32:
        order = tf.argsort(errors, direction="DESCENDING", stable=True)
        return lambda start, length: tf.slice(order, [start], [length])
    # The bits of floats that are at least 0, read as integers, are in the order of the floats. With the pixel's number
    # below them one sort of integers does, which takes XLA half the time of a sort of pairs.
    bits = tf.cast(tf.int32.max - tf.bitcast(errors, tf.int32), tf.int64)
    keys = tf.sort(tf.bitwise.left_shift(bits, tf.constant(32, tf.int64)) | tf.cast(numbers, tf.int64))
    return lambda start, length: tf.cast(tf.slice(keys, [start], [length]) & 0xFFFFFFFF, tf.int32)
