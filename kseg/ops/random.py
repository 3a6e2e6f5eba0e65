"""Random words by key and counter: the same whatever batch, shape, graph or compiled program asks for them."""

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
