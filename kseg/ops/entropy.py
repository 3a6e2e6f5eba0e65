"""Cross-entropy terms per pixel and channel, from log-probabilities."""

import tensorflow as tf

TINY = 1e-30


def cross_entropy(y, log_p):
    """-y log p, per channel (S1.2). `y`, `log_p`: `[B, *S, K]`; returns the same shape."""
    return -y * log_p


def binary_cross_entropy(y, log_p, log_q):
    """-(y log p + (1 - y) log(1 - p)), per channel (S2.16, S3.5). All `[B, *S, K]`."""
    return -(y * log_p + (1.0 - y) * log_q)


def focal_factor(log_p, gamma):
    """(1 - p)^gamma, the factor that mutes pixels that are right already (Lin et al. 2017, eq. 4).

    Computed from log p, so that it keeps its precision as p nears 1; the floor keeps the slope finite
    there for gamma < 1. `gamma=0` gives exactly 1.
    """
    if gamma == 0:
        return tf.ones_like(log_p)
    return tf.pow(tf.maximum(-tf.math.expm1(log_p), TINY), gamma)
