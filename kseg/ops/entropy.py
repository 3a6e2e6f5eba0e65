"""Cross-entropy terms per pixel and channel, from log-probabilities."""

import tensorflow as tf

TINY = 1e-30
FLOOR = -80.0  # exp(80) is below the largest float32; exp(-80) is as good as 0


def cross_entropy(y, log_p):
    """-y log p, per channel (S1.2). `y`, `log_p`: `[B, *S, K]`; returns the same shape."""
    return -y * log_p


def binary_cross_entropy(y, log_p, log_q):
    """-(y log p + (1 - y) log(1 - p)), per channel (S2.16, S3.5). All `[B, *S, K]`."""
    return -(y * log_p + (1.0 - y) * log_q)


def focal_factor(q, gamma):
    """q^gamma, q = 1 - p: the factor that mutes pixels that are right already (Lin et al. 2017, eq. 4).

    The floor keeps the slope finite at q = 0 for gamma < 1. `gamma=0` gives exactly 1.
    """
    if gamma == 0:
        return tf.ones_like(q)
    return tf.pow(tf.maximum(q, TINY), gamma)


@tf.custom_gradient
def sigmoid_cross_entropy(logits, y):
    """-(y log p + (1 - y) log(1 - p)), p = sigmoid(logits), exact in the tails; all of one shape.

    The gradient is (1 - y) p - y (1 - p), which is p - y without its rounding, from one exponential.
    """

    def gradient(upstream):
        odds = tf.exp(-tf.maximum(logits, FLOOR))
        return upstream * (((1.0 - y) - y * odds) / (1.0 + odds)), -upstream * logits

    return tf.nn.relu(logits) - y * logits + tf.math.log1p(tf.exp(-tf.abs(logits))), gradient


def sigmoid_focal(logits, y, gamma, positive=1.0, negative=1.0):
    """positive y q^gamma (-log p) + negative (1 - y) p^gamma (-log q), p = sigmoid(logits), q = 1 - p.

    In closed form from one exponential, one division and one logarithm, which is what takes the time. p or q below
    1e-7 is taken as 0: that mutes a pixel which is right as the focal loss means to, and the gradient of a wrong one
    is exact at any logit.

    Args:
        logits, y: of one shape; y in [0, 1].
        gamma: at least 0 (Lin et al. 2017, eq. 4).
        positive, negative: weights that broadcast to that shape (alpha and 1 - alpha there).

    Returns:
        Same shape as `logits`.
    """

    @tf.custom_gradient
    def focal(z, y):
        larger = 1.0 / (1.0 + tf.exp(-tf.abs(z)))
        smaller, right = 1.0 - larger, z >= 0
        p, q = tf.where(right, larger, smaller), tf.where(right, smaller, larger)
        minus_log_q = tf.nn.relu(z) - tf.math.log(larger)
        minus_log_p = minus_log_q - z
        foreground, background = positive * tf.pow(q, gamma), negative * tf.pow(p, gamma)

        def gradient(upstream):
            rise = (1.0 - y) * background * (gamma * q * minus_log_q + p)
            fall = y * foreground * (gamma * p * minus_log_p + q)
            d_y = foreground * minus_log_p - background * minus_log_q
            return upstream * (rise - fall), upstream * d_y

        return y * foreground * minus_log_p + (1.0 - y) * background * minus_log_q, gradient

    return focal(logits, y)
