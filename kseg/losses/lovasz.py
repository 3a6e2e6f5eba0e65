"""Lovasz losses: the IoU itself, extended from hard masks to scores."""

import tensorflow as tf

from kseg.losses.base import functional, register
from kseg.losses.overlap import OverlapLoss
from kseg.ops.lovasz import lovasz_extension


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
        per_image, weight = self.options["per_image"], self._weight(pixels)
        first, images = self._first(pixels.classes), pixels.shape[0] if self.options["per_image"] else 1
        y = pixels.first.y[first:]
        rows = [tf.shape(y)[0] * images, tf.shape(y)[1] // tf.maximum(images, 1)]
        errors = tf.reshape(self._errors(pixels)[first:], rows)
        if weight is not None:
            weight = tf.reshape(tf.broadcast_to(pixels.flat(weight), tf.shape(y)), rows)
        values = lovasz_extension(errors, tf.reshape(y, rows), weight, replicas=not per_image)
        loss = tf.transpose(tf.reshape(values, [tf.shape(y)[0], images]))
        loss = self.over_classes(loss, self._present(pixels))
        if per_image:
            return loss if pixels.image_weight is None else pixels.image_weight * loss
        return tf.broadcast_to(loss, pixels.shape[:1])

    def _errors(self, pixels):
        """Errors `[K, N]`, at least 0."""
        scores, y = pixels.first, tf.stop_gradient(pixels.first.y)
        if pixels.head == "softmax":
            return tf.abs(y - scores.p)
        return tf.nn.relu(1.0 - (scores.log_p - scores.log_q) * (2.0 * y - 1.0))

    def _present(self, pixels):
        """Class weights `[G, K]`, 0 for the classes that do not count."""
        weights = self._class_weights(pixels)
        if self.options["classes"] == "all" or pixels.classes == 1:
            return weights
        absent = self._plain_truth(pixels, self._weight(pixels)) <= 0  # false for nan, which must not pass for absent
        return tf.where(absent, tf.zeros_like(weights), weights)


lovasz = functional(Lovasz)
