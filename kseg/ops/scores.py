"""From logits `[B, *S, K]` to probabilities and their logarithms, without clipping.

`head="softmax"` takes the K channels as one distribution per pixel, `head="sigmoid"` each channel as a
class against the rest. Everything stays finite for logits of +-1e4.
"""

from functools import wraps

import tensorflow as tf


def probabilities(logits, head):
    """Probabilities of `logits` under `head`, same shape and dtype."""
    return tf.nn.softmax(logits) if head == "softmax" else tf.sigmoid(logits)


def along_pixels(function):
    """Let a function of tensors of one shape see them as `[N]`: XLA on a CPU vectorises along the last axis."""

    @wraps(function)
    def run(*tensors):
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        shape = tf.shape(tensors[0])
        result = function(*(tf.reshape(tensor, [-1]) for tensor in tensors))
        return tf.nest.map_structure(lambda part: tf.reshape(part, shape), result)

    return run


@along_pixels
@tf.custom_gradient
def sigmoid_pair(logits):
    """p = sigmoid(z) and 1 - p, each exact in the tails; of the shape of the logits.

    Two exponentials, since XLA on a CPU is slowed down more by a choice between two ways than by the second.
    """
    p, q = 1.0 / (1.0 + tf.exp(-logits)), 1.0 / (1.0 + tf.exp(logits))
    return (p, q), lambda d_p, d_q: (d_p - d_q) * p * q


@along_pixels
@tf.custom_gradient
def sigmoid_logarithms(logits):
    """log p and log(1 - p), p = sigmoid(z), each exact in the tails; of the shape of the logits."""
    tail = tf.math.log1p(tf.exp(-tf.abs(logits)))

    def gradient(d_log_p, d_log_q):
        p, q = sigmoid_pair(logits)
        return d_log_p * q - d_log_q * p

    return (tf.minimum(logits, 0.0) - tail, tf.minimum(-logits, 0.0) - tail), gradient
