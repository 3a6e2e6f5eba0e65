"""Keras metrics that sum a confusion matrix and nothing else; their result is that of all pixels at once.

With `per_image=True` they sum the score of each image instead.
"""

import keras
import numpy as np
import tensorflow as tf

from kseg.metrics import counts as C
from kseg.metrics.options import empty_config, empty_score
from kseg.metrics.reading import read
from kseg.metrics.thresholded import THRESHOLDS, exact_thresholds, thresholded_iou


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
        per_image: the mean over images of each image's score (its mean over classes), instead of the score of all
            pixels. Weights `[B]` then weigh images.
        empty: the score of a class that is neither in reference nor prediction: "nan", "zero", "one" or a number.
            "nan", the default, leaves it out of the mean; `empty_classes()` counts those left out.
        name, dtype: as in Keras. Sums are float64, exact up to 2^53 pixels.
    """

    def __init__(
        self, *, from_logits=False, threshold=0.5, class_id=None, include_background=False,
        ignore_class=None, per_image=False, empty="nan", name=None, dtype=None,
    ):  # fmt: skip
        super().__init__(name=name or self.default_name, dtype=dtype)
        if not 0 < threshold < 1:
            raise ValueError(f"threshold={threshold!r} is out of range. Expected a number in (0, 1).")
        self.from_logits = from_logits
        self.threshold = threshold
        self.class_id = class_id
        self.include_background = include_background
        self.ignore_class = ignore_class
        self.per_image = per_image
        self.empty = empty_score(empty)
        self.matrix = None

    def state_shape(self, classes):
        """Shape of what `measure` gives for one image."""
        return (classes, classes)

    def build(self, classes):
        """Make the state for `classes` classes; called by the first update."""
        if self.class_id is not None and not 0 <= self.class_id < classes:
            raise ValueError(f"class_id={self.class_id} is out of range. Expected 0 to {classes - 1}.")
        self.matrix = self.add_variable(self.state_shape(classes), "zeros", dtype="float64", name="matrix")
        # Rows: weighted sum of scores, sum of weights, images without a score. Columns: the classes, their mean.
        self.images = self.add_variable((3, classes + 1), "zeros", dtype="float64", name="images")

    def update_state(self, y_true, y_pred, sample_weight=None):
        batch = read(y_true, y_pred, sample_weight, self.ignore_class)
        if self.matrix is None:
            self.build(batch.classes)
        found = self.measure(batch.truth, self._decide(batch.scores), batch.classes, batch.weight)
        self.matrix.assign_add(batch.poison + tf.reduce_sum(batch.image_weight[:, None, None] * found, axis=0))
        if self.per_image:
            counts = self.counts_of(found)
            scores = tf.concat([self.score(counts), self.overall(counts)[:, None]], axis=1)
            known = scores == scores
            weight = batch.image_weight[:, None] * tf.cast(known, tf.float64)
            total = tf.where(known, scores, tf.zeros_like(scores)) * weight
            empty = tf.cast(~known & (batch.image_weight[:, None] > 0), tf.float64)
            self.images.assign_add(batch.poison + tf.stack([tf.reduce_sum(t, axis=0) for t in (total, weight, empty)]))

    def _decide(self, y_pred):
        if y_pred.shape[-1] > 1:
            return tf.argmax(y_pred, axis=-1, output_type=tf.int32)
        threshold = np.log(self.threshold / (1 - self.threshold)) if self.from_logits else self.threshold
        return tf.cast(y_pred[..., 0] > tf.cast(threshold, y_pred.dtype), tf.int32)

    def measure(self, truth, guess, classes, weight):
        """What is summed of each image: its confusion matrix, `[B, K, K]` float64.

        One product of one-hot rows per line of each image: three times as fast as `tf.math.confusion_matrix`, which
        scatters. Without weights float32 counts exactly, up to 2^24 pixels a line.
        """
        dtype = tf.float32 if weight is None else tf.float64
        shape = tf.shape(truth)
        lines = [shape[0] * shape[1], tf.reduce_prod(shape[2:])]
        true, pred = (tf.one_hot(tf.reshape(ids, lines), classes, dtype=dtype) for ids in (truth, guess))
        if weight is not None:
            true *= tf.reshape(weight, lines)[..., None]
        matrix = tf.cast(tf.matmul(true, pred, transpose_a=True), tf.float64)
        return tf.reduce_sum(tf.reshape(matrix, [shape[0], shape[1], classes, classes]), axis=1)

    def counts_of(self, state):
        """`Counts` `[..., K]` of what `measure` gives."""
        return C.counts_from_matrix(state)

    def counts(self):
        """`Counts` `[K]` of everything seen."""
        return self.counts_of(tf.convert_to_tensor(self.matrix))

    def score(self, counts):
        """The score of each class, `[..., K]`, from `Counts`."""
        return self.ratio(counts, empty=self.empty)

    def overall(self, counts):
        """The mean over classes, `[...]`, from `Counts` `[..., K]`."""
        return C.nanmean(self.score(counts)[..., self._first :])

    @property
    def _first(self):
        return 0 if self.include_background else 1

    def class_values(self):
        """The score of each class, `[K]`; with `per_image` its mean over images."""
        return self._image_means()[:-1] if self.per_image else self.score(self.counts())

    def _image_means(self):
        images = tf.convert_to_tensor(self.images)
        return C.ratio_of(images[0], images[1], "nan")

    def empty_classes(self):
        """How many classes of the mean have no score."""
        return C.count_empty(self.class_values()[self._first :])

    def empty_images(self):
        """How many images have no score of each class, `[K]`; with `per_image` only."""
        return tf.convert_to_tensor(self.images)[2, :-1]

    def result(self):
        if self.matrix is None:
            return tf.constant(float("nan"))
        if self.class_id is not None:
            value = self.class_values()[self.class_id]
        else:
            value = self._image_means()[-1] if self.per_image else self.overall(self.counts())
        return tf.cast(value, tf.float32)

    def reset_state(self):
        if self.matrix is not None:
            for state in (self.matrix, self.images):
                state.assign(tf.zeros_like(state))

    def get_config(self):
        names = ("from_logits", "threshold", "class_id", "include_background", "ignore_class", "per_image")
        own = {name: getattr(self, name) for name in names}
        return {"name": self.name, "dtype": self.dtype, **own, "empty": empty_config(self.empty)}


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
    def overall(self, counts):
        return C.pixel_accuracy(counts, empty=self.empty)


@_metric("iou_score", thresholded_iou, "")
class ThresholdedIoU(ConfusionMetric):
    def __init__(self, *, thresholds=THRESHOLDS, strict=True, per_image=True, **options):
        super().__init__(per_image=per_image, **options)
        exact_thresholds(thresholds)  # refuses what does not fit
        self.thresholds, self.strict = tuple(float(t) for t in np.ravel(thresholds)), strict

    def score(self, counts):
        return self.ratio(counts, self.thresholds, strict=self.strict, empty=self.empty)

    def get_config(self):
        return {**super().get_config(), "thresholds": list(self.thresholds), "strict": self.strict}


ThresholdedIoU.__doc__ = """Share of the thresholds 0.50, 0.55, .., 0.95 that an image's IoU exceeds, mean over images.

    Args:
        thresholds: numbers in [0, 1], read as the decimals they are written as.
        strict: an IoU equal to a threshold does not pass it.
        per_image: False compares the IoU of all pixels at once.

    Other arguments and inputs: see `ConfusionMetric`; the score: `kseg.metrics.thresholded_iou` (S3.10).
    """
