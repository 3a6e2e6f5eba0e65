"""Cross-entropy of each class of a softmax against the rest, with its closed-form gradient."""

import tensorflow as tf

from kseg.ops.softmax import over_classes


def softmax_against_rest(logits, hit, miss):
    """sum_c -(hit_c log p_c + miss_c log(1 - p_c)), p the softmax of the logits; exact in the tails.

    Only one class can have p > 1/2, where 1 - p cancels: there it is summed from the other classes.

    Args:
        logits: `[N, K]`, K >= 2.
        hit, miss: weights `[N, K]`, at least 0.

    Returns:
        `[N]`, at least 0.
    """

    @tf.custom_gradient
    def loss(logits, hit, miss):
        highest = over_classes(logits, tf.maximum)
        shifted = logits - highest
        exponentials = tf.exp(shifted)
        partition = over_classes(exponentials)
        p = exponentials * (1.0 / partition)
        likely = p > 0.5
        nothing = tf.zeros_like(logits)
        rest = tf.where(likely, tf.constant(logits.dtype.min, logits.dtype), shifted)
        next_highest = over_classes(rest, tf.maximum)
        others = tf.where(likely, nothing, tf.exp(rest - next_highest))
        remainder = over_classes(others)
        small = tf.where(likely, nothing, p)
        log_partition = tf.math.log(partition)
        log_rest = next_highest + tf.math.log(remainder) - log_partition
        log_q = tf.where(likely, log_rest, tf.math.log1p(-small))

        def gradient(upstream):
            upstream = upstream[:, None]
            # d log(1 - p_c) / d z_k = p_c p_k / (1 - p_c) for k other than c, and -p_c for k = c.
            odds = miss * small / (1.0 - small)
            likeliest = over_classes(tf.where(likely, miss * p, nothing))
            of_rest = p * (miss + odds - over_classes(odds)) - others * (likeliest / remainder)
            slope = p * over_classes(hit) - hit + of_rest
            return upstream * slope, upstream * (log_partition - shifted), -upstream * log_q

        return over_classes(hit * (log_partition - shifted) - miss * log_q)[:, 0], gradient

    return loss(logits, hit, miss)
