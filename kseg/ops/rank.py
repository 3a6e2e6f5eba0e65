"""The k-th largest of many values, without sorting them."""

import tensorflow as tf

from kseg.ops.reduce import replica_sum

BITS = {tf.float32: (tf.int32, 31), tf.float64: (tf.int64, 63)}


def largest(values, count, *, replicas=False):
    """How much of each value belongs to the `count` largest of its row: 1, 0, or a share of 1 among equals.

    The k-th largest is found bit by bit: the bits of floats that are at least 0, read as integers, are in the order
    of the floats, so that each bit asks for one pass that counts values, which XLA compiles for any size and any k.
    Counts may be added up over replicas; sorted lists could not.

    Args:
        values: `[G, L, n]` float32 or float64, rows of L lines of at most 2^24 values; what must not be chosen is
            negative.
        count: `[G, 1, 1]` int64, at least 1: how many of each row are kept.
        replicas: whether a row goes on on the other replicas.

    Returns:
        `[G, L, n]` in [0, 1], of sum `count` over each row (if it holds as many values that are at least 0). Values
        that are equal to the last one kept share its place. The gradient is zero.
    """
    integer, bits = BITS[values.dtype]
    ordered = tf.bitcast(tf.stop_gradient(values), integer)

    def number(chosen):
        lines = tf.reduce_sum(tf.cast(chosen, tf.float32), axis=2, keepdims=True)  # exact, in half the memory of int64
        found = tf.reduce_sum(tf.cast(lines, tf.int64), axis=1, keepdims=True)  # int32 sums leave a GPU
        return replica_sum(found) if replicas else found

    kth = tf.zeros_like(count, integer)
    for bit in reversed(range(bits)):
        candidate = kth | tf.constant(1 << bit, integer)
        kth = tf.where(number(ordered >= candidate) >= count, candidate, kth)
    above, equal = ordered > kth, ordered == kth
    left, sharing = (tf.cast(n, values.dtype) for n in (count - number(above), number(equal)))
    share = tf.math.divide_no_nan(left, sharing)
    return tf.where(above, tf.ones_like(values), tf.where(equal, share, tf.zeros_like(values)))
