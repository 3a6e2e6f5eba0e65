"""Keras metrics that sum a confusion matrix and nothing else; their result is that of all pixels at once."""

import keras
import numpy as np
import tensorflow as tf

from kseg import ops
from kseg.metrics import counts as C


class ConfusionMetric(keras.metrics.Metric):
    """Base of the metrics below: the confusion matrix over all pixels seen.

    `update_state(y_true, y_pred, sample_weight=None)` takes predictions `[B, *S, K]`, logits or probabilities,
    labels as class ids `[B, *S]`, `[B, *S, 1]` or one-hot, and weights `[B]` or `[B, *S]`. With K = 1 the
    classes are background and foreground and `threshold` decides; with K >= 2 the largest channel does.

    Args:
        from_logits: whether `y_pred` holds logits (matters for K = 1 only).
        threshold: probability above which a pixel is foreground (K = 1), in (0, 1).
        class_id: the score of this class instead of a mean.
        include_background: whether class 0 is part of the mean.
        ignore_class: pixels with this label are not counted.
        empty: the score of a class that is neither in reference nor prediction. nan, the default, leaves it out
            of the mean; `empty_classes()` counts those left out.
        name, dtype: as in Keras. Sums are float64, exact up to 2^53 pixels.
    """

    def __init__(
        self, *, from_logits=False, threshold=0.5, class_id=None, include_background=False,
        ignore_class=None, empty=float("nan"), name=None, dtype=None,
    ):  # fmt: skip
        super().__init__(name=name or self.default_name, dtype=dtype)
        if not 0 < threshold < 1:
            raise ValueError(f"threshold={threshold!r} is out of range. Expected a number in (0, 1).")
        self.from_logits = from_logits
        self.threshold = threshold
        self.class_id = class_id
        self.include_background = include_background
        self.ignore_class = ignore_class
        self.empty = float("nan") if empty is None else float(empty)
        self.matrix = None

    def build(self, classes):
        """Make the state for `classes` classes; called by the first update."""
        if self.class_id is not None and not 0 <= self.class_id < classes:
            raise ValueError(f"class_id={self.class_id} is out of range. Expected 0 to {classes - 1}.")
        self.matrix = self.add_variable((classes, classes), "zeros", dtype="float64", name="matrix")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred, y_true = tf.convert_to_tensor(y_pred), tf.convert_to_tensor(y_true)
        classes = max(y_pred.shape[-1], 2)
        if self.matrix is None:
            self.build(classes)
        rank = y_pred.shape.rank - 1
        weight = None if sample_weight is None else _pixel_weight(sample_weight, rank, tf.shape(y_pred)[:-1])
        kind, y_true = ops.tell_labels(y_true, y_pred)
        dense = kind == "dense"
        if dense and y_pred.shape[-1] > 1:
            dense, y_true = False, tf.argmax(y_true, axis=-1, output_type=tf.int32)
        elif dense:
            y_true = y_true[..., 0]
        else:
            y_true = ops.widen(y_true)
        if self.ignore_class is not None:
            counted = y_true != tf.cast(self.ignore_class, y_true.dtype)
            weight = (
                tf.cast(counted, tf.float64) if weight is None else tf.where(counted, weight, tf.zeros_like(weight))
            )
            y_true = tf.where(counted, y_true, tf.zeros_like(y_true))
        # A label outside the classes makes every score nan.
        if dense:
            y_true, known = tf.cast(y_true > 0.5, tf.int32), ops.are_shares(tf.cast(y_true, tf.float32))
        else:
            y_true, known = ops.whole_ids(y_true, classes)
        known = known if weight is None else known | (weight == 0)
        unknown = tf.where(tf.reduce_all(known), tf.constant(0.0, tf.float64), float("nan"))
        self.matrix.assign_add(unknown + _confusion(y_true, self._decide(y_pred), classes, weight))

    def _decide(self, y_pred):
        if y_pred.shape[-1] > 1:
            return tf.argmax(y_pred, axis=-1, output_type=tf.int32)
        threshold = np.log(self.threshold / (1 - self.threshold)) if self.from_logits else self.threshold
        return tf.cast(y_pred[..., 0] > tf.cast(threshold, y_pred.dtype), tf.int32)

    def counts(self):
        """`Counts` `[K]` of everything seen."""
        return C.counts_from_matrix(tf.convert_to_tensor(self.matrix))

    def class_values(self):
        """The score of each class, `[K]`."""
        return self.ratio(self.counts(), empty=self.empty)

    def empty_classes(self):
        """How many classes of the mean have no score."""
        return C.count_empty(self._meant())

    def _meant(self):
        return self.class_values()[0 if self.include_background else 1 :]

    def result(self):
        if self.matrix is None:
            return tf.constant(float("nan"))
        if self.class_id is not None:
            return tf.cast(self.class_values()[self.class_id], tf.float32)
        return tf.cast(C.nanmean(self._meant()), tf.float32)

    def reset_state(self):
        if self.matrix is not None:
            self.matrix.assign(tf.zeros_like(self.matrix))

    def get_config(self):
        names = ("from_logits", "threshold", "class_id", "include_background", "ignore_class")
        own = {name: getattr(self, name) for name in names}
        empty = None if np.isnan(self.empty) else self.empty  # nan is not JSON
        return {"name": self.name, "dtype": self.dtype, **own, "empty": empty}


def _confusion(y_true, y_pred, classes, weight):
    """The confusion matrix `[K, K]`, float64, of ids `[B, *S]`: one product of one-hot rows per line of each image.

    Three times as fast as `tf.math.confusion_matrix`, which scatters. Without weights float32 counts exactly, up to
    2^24 pixels a line.
    """
    dtype = tf.float32 if weight is None else tf.float64
    shape = tf.shape(y_true)
    lines = [shape[0] * shape[1], tf.reduce_prod(shape[2:])]
    true, guess = (tf.one_hot(tf.reshape(ids, lines), classes, dtype=dtype) for ids in (y_true, y_pred))
    if weight is not None:
        true *= tf.reshape(weight, lines)[..., None]
    return tf.reduce_sum(tf.cast(tf.matmul(true, guess, transpose_a=True), tf.float64), axis=0)


def _pixel_weight(sample_weight, rank, shape):
    """Weights `[B]`, `[B, *S]` or `[B, *S, 1]` as float64 of `shape`, which has `rank` axes."""
    weight = tf.cast(sample_weight, tf.float64)
    if weight.shape.rank == rank + 1:
        weight = weight[..., 0]
    if weight.shape.rank < rank:
        weight = tf.reshape(weight, [-1] + [1] * (rank - 1))
    return tf.broadcast_to(weight, shape)


def _metric(name, ratio, doc):
    def decorate(cls):
        cls.default_name, cls.ratio = name, staticmethod(ratio)
        cls.__doc__ = f"{doc}\n\nArguments and inputs: see `ConfusionMetric`."
        return keras.saving.register_keras_serializable("kseg")(cls)

    return decorate


@_metric("dice", C.dice, "Dice score (F1) over all pixels, mean of the foreground classes (S2.6).")
class DiceScore(ConfusionMetric):
    pass


@_metric("iou", C.iou, "Intersection over union over all pixels, mean of the foreground classes (S2.5).")
class IoU(ConfusionMetric):
    pass


@_metric("precision", C.precision, "Precision over all pixels, mean of the foreground classes (S2.6).")
class Precision(ConfusionMetric):
    pass


@_metric("recall", C.recall, "Recall over all pixels, mean of the foreground classes (S2.6).")
class Recall(ConfusionMetric):
    pass


@_metric("mean_class_accuracy", C.class_accuracies, "Mean accuracy of the classes that occur (S2.3).")
class MeanClassAccuracy(ConfusionMetric):
    def __init__(self, *, include_background=True, **options):
        super().__init__(include_background=include_background, **options)


@_metric("accuracy", C.accuracy, "Share of pixels whose class is right (S2.3).")
class PixelAccuracy(ConfusionMetric):
    def result(self):
        if self.matrix is None or self.class_id is not None:
            return super().result()
        return tf.cast(C.pixel_accuracy(self.counts(), empty=self.empty), tf.float32)
