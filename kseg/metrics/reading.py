"""What every Keras metric reads of a batch: class ids, weights, and whether each label is one of the classes."""

from typing import NamedTuple

import tensorflow as tf

from kseg import ops


class Batch(NamedTuple):
    """One batch, its labels told apart.

    Attributes:
        truth: class ids `[B, *S]` int32, 0 where they do not count.
        scores: predictions `[B, *S, K]` as given.
        classes: number of classes, at least 2.
        weight: of pixels within their image, `[B, *S]` float64, or None for all 1.
        image_weight: of images, `[B]` float64.
        poison: 0, or nan when a counted label lies outside the classes; to be added to what is summed.
    """

    truth: tf.Tensor
    scores: tf.Tensor
    classes: int
    weight: tf.Tensor
    image_weight: tf.Tensor
    poison: tf.Tensor


def read(y_true, y_pred, sample_weight, ignore_class):
    """`Batch` of what Keras passes to `update_state`; see `kseg.metrics.streaming.ConfusionMetric`."""
    y_pred, y_true = tf.convert_to_tensor(y_pred), tf.convert_to_tensor(y_true)
    classes = max(y_pred.shape[-1], 2)
    kind, y_true = ops.tell_labels(y_true, y_pred)
    dense = kind == "dense"
    if dense and y_pred.shape[-1] > 1:
        dense, y_true = False, tf.argmax(y_true, axis=-1, output_type=tf.int32)
    elif dense:
        y_true = y_true[..., 0]
    else:
        y_true = ops.widen(y_true)
    weight, image_weight = _weights(sample_weight, y_pred)
    if ignore_class is not None:
        counted = y_true != tf.cast(ignore_class, y_true.dtype)
        weight = tf.cast(counted, tf.float64) if weight is None else tf.where(counted, weight, tf.zeros_like(weight))
        y_true = tf.where(counted, y_true, tf.zeros_like(y_true))
    if dense:
        y_true, known = tf.cast(y_true > 0.5, tf.int32), ops.are_shares(tf.cast(y_true, tf.float32))
    else:
        y_true, known = ops.whole_ids(y_true, classes)
    known |= tf.reshape(image_weight == 0, [-1] + [1] * (known.shape.rank - 1))
    known = known if weight is None else known | (weight == 0)
    poison = tf.where(tf.reduce_all(known), tf.constant(0.0, tf.float64), float("nan"))
    return Batch(y_true, y_pred, classes, weight, image_weight, poison)


def _weights(sample_weight, y_pred):
    """Pixel weights `[B, *S]` or None, and image weights `[B]`, of weights `[B]`, `[B, 1]`, `[B, *S]`, `[B, *S, 1]`."""
    shape = tf.shape(y_pred)[:-1]
    if sample_weight is None:
        return None, tf.ones(shape[:1], tf.float64)
    rank, weight = y_pred.shape.rank - 1, tf.cast(sample_weight, tf.float64)
    if weight.shape.rank < rank:
        return None, tf.broadcast_to(tf.reshape(weight, [-1]), shape[:1])
    weight = weight[..., 0] if weight.shape.rank == rank + 1 else weight
    return tf.broadcast_to(weight, shape), tf.ones(shape[:1], tf.float64)
