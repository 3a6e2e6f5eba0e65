"""Batches by number, and random numbers that go by the number of a batch."""

import itertools

import tensorflow as tf

from kseg.ops import random_uniform


def numbered(dataset, start=0):
    """Pairs (number, batch) of a `tf.data.Dataset`; the number is a scalar int64.

    The first batch has number `start`. A dataset of known length goes on counting on each further pass over it, as its
    order does; an endless one, or one of unknown length, begins at `start` again.
    """
    if isinstance(start, bool) or int(start) != start or start < 0:
        raise ValueError(f"start={start!r} does not fit. Expected the number of a batch, at least 0.")
    passes, length = itertools.count(), max(int(dataset.cardinality()), 0)

    def numbers():
        return itertools.count(int(start) + length * next(passes))

    counted = tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int64))
    counted = counted.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return tf.data.Dataset.zip(counted, dataset)


def draws(images, number, count, seed, purpose):
    """Uniform numbers `[B, count]` from 0 to 1 that go by the seed, the batch and the place in it, and nothing else.

    Neither the size of the batch nor how many numbers are drawn changes them.

    Args:
        images: `[B, ...]`.
        number: of the batch.
        count: numbers for each image.
        seed: integer in [0, 2^32).
        purpose: integer; other purposes draw other numbers.
    """
    if isinstance(seed, bool) or int(seed) != seed or not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed!r} does not fit. Expected a whole number of at least 0 and below 2^32.")
    size = tf.shape(images)[0]
    # The number wraps at 2^32 batches.
    return random_uniform(tf.stack([size, count]), tf.range(size), number, (int(seed) + purpose) % 2**32)
