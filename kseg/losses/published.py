"""D1's two loss functions with D1's names and argument order (S1.2 to S1.5), as graph ops."""

import tensorflow as tf

EPSILON = 1e-7


@tf.function(reduce_retracing=True)
def cce_loss(softmax_output, labels):
    """Categorical cross-entropy: the mean over pixels of -sum_c y_c log clip(p_c).

    Args:
        softmax_output: probabilities `[B, H, W, K]` (any spatial rank), floating.
        labels: one-hot labels of the same shape and dtype.

    Returns:
        A scalar of the same dtype, at least 0. Source: S1.2.
    """
    log_p = -tf.math.log(tf.clip_by_value(softmax_output, EPSILON, 1 - EPSILON))
    return tf.reduce_mean(tf.reduce_sum(labels * log_p, axis=-1))


@tf.function(reduce_retracing=True)
def dice_loss(softmax_output, labels, ignore_background=False, square=False):
    """Dice loss over the mini-batch: DICE, DICE_SQUARE, DICEFG or DICEFG_SQUARE by the two flags.

    Args:
        softmax_output: probabilities `[B, H, W, K]` (any spatial rank), floating.
        labels: one-hot labels of the same shape and dtype.
        ignore_background: drop channel 0 (the FG forms, S1.5).
        square: square labels and probabilities in the denominator (S1.4).

    Returns:
        A scalar of the same dtype in [0, 1]. Source: S1.3 to S1.5.
    """
    if ignore_background:
        labels, softmax_output = labels[..., 1:], softmax_output[..., 1:]
    axes = list(range(softmax_output.shape.rank - 1))
    numerator = 2 * tf.reduce_sum(labels * softmax_output, axis=axes) + EPSILON
    if square:
        labels, softmax_output = tf.square(labels), tf.square(softmax_output)
    denominator = tf.reduce_sum(labels, axis=axes) + tf.reduce_sum(softmax_output, axis=axes) + EPSILON
    return 1 - tf.reduce_mean(numerator / denominator)
