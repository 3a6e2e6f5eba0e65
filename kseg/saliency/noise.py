"""Random numbers that go by the number of an image, the same in every batch, graph and compiled program."""

import math

import tensorflow as tf


def normal(shape, rows, draw, seed=0):
    """Standard normal numbers.

    A hash of (seed, row, draw, place in the image): `tf.random.stateless_normal` takes one seed for a whole batch, and
    XLA draws other numbers from it than TensorFlow.

    Args:
        shape: `[B, ...]`, a tensor or a list.
        rows: `[B]` integers: the number of each image.
        draw: scalar integer: which draw of an image.
        seed: integer.

    Returns:
        float32 of this shape.
    """
    shape = tf.convert_to_tensor(shape, tf.int32)
    key = _hash(_hash(tf.cast(rows, tf.uint32) + _constant(_scramble(seed))) + tf.cast(draw, tf.uint32))
    place = tf.cast(tf.range(tf.reduce_prod(shape[1:])), tf.uint32)
    first = _hash(_hash(place)[None] + key[:, None])
    second = _hash(first ^ _constant(0x9E3779B9))
    radius = tf.sqrt(-2.0 * tf.math.log(_uniform(first)))
    return tf.reshape(radius * tf.cos(2.0 * math.pi * _uniform(second)), shape)  # Box and Muller 1958


def _uniform(bits):
    """In (0, 1), with 24 bits."""
    whole = tf.cast(tf.bitwise.right_shift(bits, _constant(8)), tf.int32)
    return (tf.cast(whole, tf.float32) + 0.5) / 2.0**24


def _hash(x):
    """A permutation of the 32-bit integers that leaves no pattern (lowbias32, Wellons 2018)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ tf.bitwise.right_shift(x, _constant(shift))) * _constant(factor)
    return x ^ tf.bitwise.right_shift(x, _constant(16))


def _scramble(seed):
    """Seeds far apart, so that row 1 of seed 0 is not row 0 of seed 1."""
    return (int(seed) * 0x9E3779B97F4A7C15 >> 16) & 0xFFFFFFFF


def _constant(number):
    return tf.constant(number, tf.uint32)
