"""From logits `[B, *S, K]` to probabilities and their logarithms, without clipping.

`head="softmax"` takes the K channels as one distribution per pixel, `head="sigmoid"` each channel as a
class against the rest. Everything stays finite for logits of +-1e4.
"""

import tensorflow as tf


def probabilities(logits, head):
    """Probabilities of `logits` under `head`, same shape and dtype."""
    return tf.nn.softmax(logits) if head == "softmax" else tf.sigmoid(logits)


def log_probabilities(logits, head):
    """log p of `logits` under `head`, same shape and dtype, exact in the tails."""
    return tf.nn.log_softmax(logits) if head == "softmax" else tf.math.log_sigmoid(logits)


def log_one_minus(logits):
    """log(1 - sigmoid(logits)), exact in the tails."""
    return tf.math.log_sigmoid(-logits)
