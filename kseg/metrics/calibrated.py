"""Keras metrics of calibration; they sum per bin or per pixel and nothing else."""

import keras
import numpy as np
import tensorflow as tf

from kseg import ops
from kseg.metrics import counts as C
from kseg.metrics.calibration import brier_channels, check_bins, check_class, curve_of
from kseg.metrics.reading import read


class _ProbabilityMetric(keras.metrics.Metric):
    """Sums of what `measure` gives per pixel; inputs as in `ConfusionMetric`.

    Args:
        from_logits: whether `y_pred` holds logits (sigmoid for one channel, else softmax).
        class_id: of this class against the rest, instead of all classes.
        ignore_class: pixels with this label are not counted.
        name, dtype: as in Keras. Sums over the whole data are float64.
    """

    def __init__(self, *, from_logits=False, class_id=None, ignore_class=None, name=None, dtype=None):
        super().__init__(name=name or self.default_name, dtype=dtype)
        self.from_logits, self.class_id, self.ignore_class = from_logits, class_id, ignore_class
        self.sums = self.add_variable(self.state_shape(), "zeros", dtype="float64", name="sums")

    def update_state(self, y_true, y_pred, sample_weight=None):
        batch = read(y_true, y_pred, sample_weight, self.ignore_class)
        shape = tf.shape(batch.truth)
        weight = tf.reshape(batch.image_weight, [-1] + [1] * (batch.truth.shape.rank - 1))
        weight = tf.broadcast_to(weight, shape) if batch.weight is None else weight * batch.weight
        # One row per line of an image, so that float32 sums few pixels before float64 takes over.
        lines = [shape[0] * shape[1], tf.reduce_prod(shape[2:])]
        truth, weight = (tf.reshape(t, lines) for t in (batch.truth, weight))
        p = tf.cast(batch.scores, tf.float64 if batch.scores.dtype == tf.float64 else tf.float32)
        p = tf.reshape(p, [*lines, batch.scores.shape[-1]])
        p = tf.where(weight[..., None] > 0, p, tf.zeros_like(p))  # what does not count may be nan
        if self.from_logits:
            p = ops.probabilities(p, "sigmoid" if p.shape[-1] == 1 else "softmax")
        within = tf.reduce_all((p >= 0) & (p <= 1 + 1e-6))  # false for nan, and for logits taken for probabilities
        poison = batch.poison + tf.where(within, tf.constant(0.0, tf.float64), float("nan"))
        p = tf.cast(p, tf.float64)
        p = tf.concat([1 - p, p], axis=-1) if p.shape[-1] == 1 else p
        self.sums.assign_add(poison + self.measure(truth, p, weight))

    def get_config(self):
        own = {name: getattr(self, name) for name in ("from_logits", "class_id", "ignore_class")}
        return {"name": self.name, "dtype": self.dtype, **own}


@keras.saving.register_keras_serializable("kseg")
class ExpectedCalibrationError(_ProbabilityMetric):
    """Mean gap between confidence and accuracy over bins of equal width (Guo et al. 2017); 0 is best.

    `curve()` gives the reliability curve of everything seen. Without `class_id` the confidence is that of the most
    probable class. Definitions: `kseg.metrics.reliability_curve`.

    Args:
        bins: number of bins in [0, 1].
        from_logits: whether `y_pred` holds logits (sigmoid for one channel, else softmax). Numbers outside [0, 1]
            taken for probabilities give nan.
        class_id: compare the probability of this class with its frequency, instead of the top label.
        ignore_class: pixels with this label are not counted.
        name, dtype: as in Keras. Sums over the whole data are float64.
    """

    default_name = "ece"

    def __init__(self, *, bins=15, **options):
        self.bins = check_bins(bins)
        super().__init__(**options)

    def state_shape(self):
        return (3, self.bins)

    def measure(self, truth, p, weight):
        if self.class_id is None:
            confidence = tf.reduce_max(p, axis=-1)
            right = tf.argmax(p, axis=-1, output_type=tf.int32) == truth
        else:
            k = check_class(self.class_id, p.shape[-1])
            confidence, right = p[..., k], truth == k
        place = tf.cast(tf.clip_by_value(tf.math.ceil(confidence * self.bins) - 1, 0, self.bins - 1), tf.int32)
        values = tf.stack([weight, weight * confidence, weight * tf.cast(right, tf.float64)], axis=-1)
        in_bin = tf.one_hot(place, self.bins, dtype=tf.float32)
        sums = tf.matmul(tf.cast(values, tf.float32), in_bin, transpose_a=True)
        return tf.reduce_sum(tf.cast(sums, tf.float64), axis=0)

    def curve(self):
        """`ReliabilityCurve` of everything seen, in NumPy."""
        return curve_of(*np.asarray(self.sums), np.linspace(0, 1, self.bins + 1))

    def result(self):
        weight, confidence, right = tf.unstack(tf.convert_to_tensor(self.sums))
        gap = tf.reduce_sum(tf.abs(right - confidence))
        return tf.cast(C.ratio_of(gap, tf.reduce_sum(weight), "nan"), tf.float32)

    def get_config(self):
        return {**super().get_config(), "bins": self.bins}


@keras.saving.register_keras_serializable("kseg")
class BrierScore(_ProbabilityMetric):
    """Mean squared distance between probabilities and labels; 0 is best (Brier 1950).

    The sum of squares over K >= 3 classes; for two classes and with `class_id`, (p - y)^2 of one of them. See
    `kseg.metrics.brier_score`.

    Args:
        from_logits: whether `y_pred` holds logits (sigmoid for one channel, else softmax). Numbers outside [0, 1]
            taken for probabilities give nan.
        class_id: of this class against the rest, instead of all classes.
        ignore_class: pixels with this label are not counted.
        name, dtype: as in Keras. Sums over the whole data are float64.
    """

    default_name = "brier"

    def state_shape(self):
        return (2,)

    def measure(self, truth, p, weight):
        y = tf.one_hot(truth, p.shape[-1], dtype=p.dtype)
        squares = tf.reduce_sum(tf.square(p - y)[..., brier_channels(p.shape[-1], self.class_id)], axis=-1)
        return tf.stack([tf.reduce_sum(weight * squares), tf.reduce_sum(weight)])

    def result(self):
        return tf.cast(C.ratio_of(self.sums[0], self.sums[1], "nan"), tf.float32)
