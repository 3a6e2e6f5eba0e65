"""Normal numbers that go by the number of an image, the same in every batch, graph and compiled program."""

import math

import tensorflow as tf

from kseg.ops import threefry


def normal(shape, rows, draw, seed=0):
    """Standard normal numbers.

    Args:
        shape: `[B, ...]`, a tensor or a list.
        rows: `[B]` integers: the number of each image.
        draw: scalar integer: which draw of an image.
        seed: integer in [0, 2^32).

    Returns:
        float32 of this shape.
    """
    shape = tf.convert_to_tensor(shape, tf.int32)
    places = tf.range(tf.reduce_prod(shape[1:]))
    first, second = map(_uniform, threefry((seed, draw), (tf.convert_to_tensor(rows)[:, None], places[None])))
    return tf.reshape(tf.sqrt(-2.0 * tf.math.log(first)) * tf.cos(2.0 * math.pi * second), shape)  # Box, Muller 1958


def _uniform(words):
    """In (0, 1), with 24 bits."""
    whole = tf.cast(tf.bitwise.right_shift(words, tf.constant(8, tf.uint32)), tf.int32)
    return (tf.cast(whole, tf.float32) + 0.5) / 2.0**24
