"""Lovasz losses: the IoU itself, extended from hard masks to scores."""

import math

import tensorflow as tf

from kseg import ops
from kseg.losses.base import functional, register
from kseg.losses.lanes import CLIP
from kseg.losses.overlap import OverlapLoss
from kseg.ops.lovasz import lovasz_extension, lovasz_slope


@register("lovasz", category="region", source="Berman et al. 2018")
class Lovasz(OverlapLoss):
    """Lovasz loss: the IoU of hard masks made continuous, Lovasz-softmax or Lovasz hinge.

    Formula:
        L = mean over classes of sum_i e_(i) g_i, e_(1) >= e_(2) >= ... the sorted errors, g_i the growth of the Jaccard
        loss when pixel (i) joins the wrong ones. Softmax: e = |y - p|. Sigmoid: e = relu(1 - z (2 y - 1)), z the logit
        (the hinge; each channel against the rest).
    Parameters:
        `classes` ("present"): with K >= 2, the mean is over the classes that the reference has; "all": over all. One
        channel always counts.
    Conventions:
        Over the whole batch, as the paper recommends for the mean IoU of a data set; `per_image=True` is what its
        hinge and its single-image results take. "present" is judged where the sums are taken, in the batch or in the
        image. The hinge needs logits: probabilities are turned back, z = log p - log(1 - p), clipped at 1e-7. Soft
        labels enter as shares of a pixel. Pixel weights act inside: a pixel of weight 2 is two pixels. Labels and
        weights get no gradient.
    Learning signal:
        Equals 1 - IoU where errors are 0 or 1, so it trains what is measured, and rare classes count fully. The
        gradient lies on the largest errors and reaches background only as far as some foreground is less wrong. On an
        empty mask only the single worst pixel is pulled. The hinge leaves pixels beyond the margin alone; the softmax
        form saturates as `dice`. Slow to start from scratch: train with `cce` first, or add it ("cce + lovasz").
    Source:
        Berman, Triki and Blaschko 2018, algorithm 1, eq. 8, 9 and 11.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    without = ("squared", "smooth", "empty")
    defaults = {"classes": "present"}

    def values(self, pixels):
        per_image, weights = self.options["per_image"], self._present(pixels)
        if per_image or ops.replica_count() == 1:
            loss = self._row_by_row(pixels, weights)
        else:
            first = self._first(pixels.classes)
            errors, y = (tf.transpose(part)[first:] for part in self._errors_and_labels(pixels))
            weight = self._weight(pixels)
            weight = None if weight is None else tf.broadcast_to(pixels.flat(weight), tf.shape(y))
            loss = self.over_classes(lovasz_extension(errors, y, weight, replicas=True)[None], weights)
        if per_image:
            return loss if pixels.image_weight is None else pixels.image_weight * loss
        return tf.broadcast_to(loss, pixels.shape[:1])

    def _row_by_row(self, pixels, weights):
        """`[G]`, with the memory of one class and image at a time."""
        rows = Rows(pixels, self._weight(pixels), self._first(pixels.classes), self.options["per_image"])
        slope = lovasz_slope(rows, *rows.shape, pixels.dtype)
        after = pixels.after(tf.not_equal(tf.reduce_sum(slope[:1, :1]), pixels.dtype.min))  # true, but who knows
        errors = tf.transpose(self._errors_and_labels(after)[0])[rows.first :]
        slope = tf.reshape(slope, [tf.shape(errors)[0], rows.images, rows.shape[1]])
        # The mean over classes first: the sum over pixels then goes over one number each.
        share = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))
        terms = tf.reshape(errors, tf.shape(slope)) * slope * tf.transpose(share)[..., None]
        terms = tf.reshape(tf.reduce_sum(terms, axis=0), [tf.shape(errors)[1], 1])
        return ops.group_sums(terms, pixels.shape[:-1], self.options["per_image"])[:, 0]

    def _errors_and_labels(self, pixels):
        """Both `[N, K]`."""
        scores, y = pixels.lanes, tf.stop_gradient(pixels.lanes.y)
        if pixels.softmax:
            score = ops.softmax_alone(scores.logits)
        else:
            score = scores.p if pixels.head == "softmax" else scores.log_p - scores.log_q
        return errors_of(y, score, pixels.head), y

    def _present(self, pixels):
        """Class weights `[G, K]`, 0 for the classes that do not count."""
        weights = self._class_weights(pixels)
        if self.options["classes"] == "all" or pixels.classes == 1:
            return weights
        absent = self._plain_truth(pixels, self._weight(pixels)) <= 0  # false for nan, which must not pass for absent
        return tf.where(absent, tf.zeros_like(weights), weights)


def errors_of(y, score, head):
    """Errors, at least 0, of labels and p (softmax) or logits (sigmoid)."""
    return tf.abs(y - score) if head == "softmax" else tf.nn.relu(1.0 - score * (2.0 * y - 1.0))


class Rows:
    """Errors, truth and weights of one row, a class in an image (or in all), made when the row's turn comes.

    Nothing in them is shared by the classes, so that XLA has nothing to keep in memory for the other rows. They tell
    the order of the pixels; the value is that of the scores as every loss sees them.
    """

    def __init__(self, pixels, weight, first, per_image):
        self._pixels, self.first, self._space = pixels, first, len(pixels.shape) - 1
        self.images = pixels.shape[0] if per_image else 1
        sizes = pixels.shape[1:-1] if per_image else pixels.shape[:-1]
        # As a number where it is known: short rows are then not padded to a whole stretch.
        size = tf.reduce_prod(sizes) if any(map(tf.is_tensor, sizes)) else math.prod(sizes)
        self.shape = (pixels.classes - first) * self.images, size
        self._lie = lambda part: tf.reshape(part, [self.images, size, *part.shape[self._space :]])
        self._scores, *self._source = (self._lie(part) for part in (pixels.scores, *tf.nest.flatten(pixels.source)))
        self._weight = None if weight is None else self._lie(weight)

    def __call__(self, r):
        image, c, pixels = r % self.images, self.first + r // self.images, self._pixels
        y = self._truth(image, c)
        parts = errors_of(y, self._score(tf.gather(self._scores, image), c), pixels.head), y
        return parts if self._weight is None else (*parts, tf.gather(self._weight, image))

    def _truth(self, image, c):
        if not self._pixels.sparse:
            return self._pixels.smooth(tf.gather(tf.gather(self._source[0], image), c, axis=1))
        ids = tf.gather(self._source[0], image)
        own = tf.maximum(c, int(self._pixels.classes == 1))  # id 1 is the class of a single channel
        return self._pixels.smooth(tf.cast(ids == tf.cast(own, ids.dtype), self._scores.dtype))

    def _score(self, scores, c):
        score = tf.gather(scores, c, axis=1)
        if self._pixels.softmax:
            return 1.0 / ops.over_classes(tf.exp(scores - score[:, None]))[:, 0]
        if self._pixels.head == "sigmoid" and not self._pixels.from_logits:
            score = tf.clip_by_value(score, CLIP, 1.0 - CLIP)
            return tf.math.log(score) - tf.math.log(1.0 - score)
        return score


lovasz = functional(Lovasz)
