"""Random words by key and counter: the same whatever batch, shape, graph or compiled program asks for them."""

import math

import tensorflow as tf

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry(key, counter):
    """Two uint32 random words for each key and counter: Threefry-2x32 with 20 rounds.

    TensorFlow's own stateless numbers depend on the shape asked for, and differ between a graph and XLA.

    Args:
        key, counter: pairs of integers, or of integer tensors that broadcast.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    first, second = map(random_words, key)
    keys = (first, second, tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(first, second), random_words(PARITY)))
    a, b = (random_words(word) + k for word, k in zip(counter, keys, strict=False))
    for group in range(5):
        for distance in ROTATIONS[group % 2]:
            a = a + b
            left, right = (tf.constant(n, tf.uint32) for n in (distance, 32 - distance))
            turned = tf.bitwise.bitwise_or(tf.bitwise.left_shift(b, left), tf.bitwise.right_shift(b, right))
            b = tf.bitwise.bitwise_xor(turned, a)
        a, b = a + keys[(group + 1) % 3], b + keys[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return a, b


def random_words(numbers):
    """Integers as uint32."""
    return tf.constant(numbers, tf.uint32) if isinstance(numbers, int) else tf.cast(numbers, tf.uint32)


def random_uniform(shape, rows, draw, seed=0):
    """Uniform numbers in (0, 1) that go by the number of an image.

    Args:
        shape: `[B, ...]`, a tensor or a list.
        rows: `[B]` integers: the number of each image.
        draw: scalar integer: which draw of an image.
        seed: integer in [0, 2^32).

    Returns:
        float32 of this shape, odd multiples of 2^-25.
    """
    shape = tf.convert_to_tensor(shape, tf.int32)
    return tf.reshape(_unit(_words(shape, rows, draw, seed)[0]), shape)


def random_normal(shape, rows, draw, seed=0):
    """Standard normal numbers that go by the number of an image; arguments of `random_uniform`."""
    shape = tf.convert_to_tensor(shape, tf.int32)
    first, second = map(_unit, _words(shape, rows, draw, seed))
    return tf.reshape(tf.sqrt(-2.0 * tf.math.log(first)) * tf.cos(2.0 * math.pi * second), shape)  # Box, Muller 1958


def _words(shape, rows, draw, seed):
    places = tf.range(tf.reduce_prod(shape[1:]))
    return threefry((seed, draw), (tf.convert_to_tensor(rows)[:, None], places[None]))


def _unit(words):
    """In (0, 1), with 24 bits."""
    whole = tf.cast(tf.bitwise.right_shift(words, tf.constant(8, tf.uint32)), tf.int32)
    return (tf.cast(whole, tf.float32) + 0.5) / 2.0**24
