"""Losses that are a mean over pixels: cross-entropies and squared error."""

import tensorflow as tf

from kseg import ops
from kseg.losses.base import SegmentationLoss, functional, register
from kseg.ops.entropy import binary_cross_entropy, cross_entropy


class PixelLoss(SegmentationLoss):
    """A mean over pixels: sum(s w l) / sum(w), s the sample weight, w the class weight (1 without).

    Ignored pixels leave both sums. The sample weight stays out of the divisor, as in Keras.
    """

    normalised = True

    def terms(self, pixels):
        """Loss per channel and pixel, `[N, K]`, of `lanes.plain`."""
        raise NotImplementedError

    def selects(self, pixels):
        """True where the label selects the channel (softmax); False where channels are averaged."""
        return pixels.head == "softmax"

    def values(self, pixels):
        loss, class_weight = self.weighted(pixels)
        counted = product(class_weight if self.normalised else None, pixels.flat(pixels.valid))
        factor = product(pixels.flat(pixels.valid), pixels.flat(pixels.weight))
        if loss.shape.rank == 2 and factor is not None:  # channels are summed together with the pixels, in one pass
            factor = factor[:, None]
        total = pixels.image_sums(product(loss, factor))
        if loss.shape.rank == 2:
            total /= pixels.classes
        mean = tf.math.divide_no_nan(total, self._divisor(counted, pixels))
        return mean if pixels.image_weight is None else pixels.image_weight * mean

    def weighted(self, pixels):
        """Class-weighted loss, and the class weight `[N]` behind it (None for all 1).

        The loss is `[N]`, or `[N, K]` where channels are still to be averaged.
        """
        terms, weights, lanes = self.terms(pixels), self._class_weights(pixels), pixels.lanes
        if self.selects(pixels):
            loss = tf.reduce_sum(terms if weights is None else weights * terms, axis=1)
            return with_strays(loss, lanes), None if weights is None else lanes.mass(weights)
        if pixels.classes == 1 and weights is not None:
            weight = weights[0] + (weights[1] - weights[0]) * pixels.flat(lanes.y)
            return weight * pixels.flat(terms), weight
        terms = terms if weights is None else weights / tf.reduce_mean(weights) * terms
        if lanes.strays is None:
            return terms, None
        return with_strays(tf.reduce_sum(terms, axis=1) / pixels.classes, lanes), None

    def _class_weights(self, pixels):
        return class_weights(self.options["class_weights"], max(pixels.classes, 2), pixels.dtype)

    def _divisor(self, counted, pixels):
        """What the sum of one image is divided by: batch-wide counts, shared out evenly over images."""
        if counted is None:
            return tf.cast(tf.reduce_prod(pixels.shape[1:-1]), pixels.dtype)
        count = pixels.image_sums(counted)
        if self.options["per_image"]:
            return count
        images = tf.cast(pixels.shape[0], pixels.dtype)
        count, images = ops.replica_sum((tf.reduce_sum(count), images))
        return tf.math.divide_no_nan(count, images)


def with_strays(loss, lanes):
    """A loss `[N]` of `lanes.plain`, nan where the label is none, and so is its gradient."""
    return loss if lanes.strays is None else loss * lanes.strays


def product(*factors):
    result = None
    for factor in factors:
        if factor is not None:
            result = factor if result is None else result * factor
    return result


def class_weights(weights, classes, dtype):
    """The option as a tensor `[K]` or None; raises ValueError when the length is not `classes`."""
    if weights is None:
        return None
    if len(weights) != classes:
        raise ValueError(
            f"class_weights={weights} has {len(weights)} values. Expected {classes}, one per class, background first."
        )
    return tf.constant(weights, dtype)


@register("cce", category="distribution", source="D1, S1.2")
class CCE(PixelLoss):
    """Categorical cross-entropy over the softmax of K >= 2 channels.

    Formula:
        L = mean over pixels of -sum_c y_c log p_c, with p the softmax of the logits and y the label (one-hot or soft).
        With class weights: sum of w l / sum of w, with l the term of a pixel and w the weight of its class.
    Conventions:
        One channel is refused (use `bce`). Probabilities are clipped to [1e-7, 1 - 1e-7] as in D1; logits are not.
        `class_weights` divide by the sum of the weights met, as in PyTorch; Keras would divide by the number of pixels
        (`weighted_cce`).
    Learning signal:
        Gradient (p - y) / N for each logit: it never dies, however wrong the pixel is. Every pixel counts the same, so
        a class of few pixels adds little to the loss. The safe first choice for balanced classes.
    Source:
        D1 (S1.2).

    Example:
        >>> round(float(cce([[[0, 1]]], [[[[0.9, 0.1], [0.2, 0.8]]]])[0]), 4)
        0.1643

    See `SegmentationLoss` for shapes and the common options.
    """

    heads = ("softmax",)
    stored = False

    def terms(self, pixels):
        return cross_entropy(pixels.lanes.plain, pixels.lanes.log_p)

    def weighted(self, pixels):
        if not pixels.softmax:
            return super().weighted(pixels)
        lanes, weights = pixels.lanes, self._class_weights(pixels)
        factor = 1.0 if weights is None else weights
        mass = lanes.mass(weights)
        loss = ops.softmax_cross_entropy(lanes.logits, factor * lanes.unmarked, mass, stored=self.stored)
        return loss, None if weights is None else mass


@register("bce", category="distribution", source="D2, S2.16; D3, S3.5")
class BCE(PixelLoss):
    """Binary cross-entropy of sigmoid channels.

    Formula:
        L = mean over pixels of -(y log p + (1 - y) log(1 - p)), with p the sigmoid of the logit and y in [0, 1].
    Conventions:
        One foreground channel; K >= 2 channels are K questions, each class against the rest, averaged over channels.
        `class_weights` are (background, foreground) for K = 1. D2 writes it as a sum over pixels (S2.16).
    Learning signal:
        Gradient (p - y) / N for each logit: it never dies, however wrong the pixel is. Every pixel counts the same, so
        a rare foreground adds little to the loss. Add a Dice term to it for small objects (`dice_bce`).
    Source:
        D2 (S2.16), D3 (S3.5).

    See `SegmentationLoss` for shapes and the common options.
    """

    heads = ("sigmoid",)

    def terms(self, pixels):
        lanes = pixels.lanes
        if pixels.from_logits:
            return lanes.elementwise(ops.sigmoid_cross_entropy)
        return binary_cross_entropy(lanes.plain, lanes.log_p, lanes.log_q)


@register("weighted_cce", category="distribution", source="Ronneberger et al. 2015, eq. 1; D2, S2.17")
class WeightedCCE(CCE):
    """Categorical cross-entropy with class weights and a pixel map, divided by the number of pixels.

    Formula:
        L = (1 / N) sum over pixels of -w sum_c y_c log p_c, with w = class weight of the true class x pixel weight and
        N the number of pixels that are not ignored.
    Conventions:
        N counts pixels, not weights: doubling the weight of one pixel doubles its term and nothing else. In `cce` (and
        in PyTorch) class weights are normalised instead. The pixel map is the `sample_weight` `[B, *S]`.
    Learning signal:
        Gradient w (p - y) / N for each logit: it never dies. Large weights act as a larger learning rate; choose it to
        weigh borders or rare classes as U-Net does.
    Source:
        Ronneberger et al. 2015 (eq. 1), D2 (S2.17).

    See `SegmentationLoss` for shapes and the common options.
    """

    normalised = False


@register("mse", category="distribution", source="D0, S0.5")
class MSE(PixelLoss):
    """Mean squared error of probabilities (Brier score).

    Formula:
        L = mean over pixels and channels of (y - p)^2, with p the softmax or sigmoid of the logits.
    Conventions:
        `head` says how logits become probabilities: "auto" is sigmoid for K = 1, softmax otherwise. The mean runs over
        channels too, as in Keras; the Brier score of the forecasting literature sums over them.
    Learning signal:
        The gradient with respect to a logit fades with p (1 - p): it dies on pixels that are wrong with full
        confidence. No pixel costs more than 1, so single wrong labels disturb it less than cross-entropy.
    Source:
        D0 (S0.5).

    See `SegmentationLoss` for shapes and the common options.
    """

    defaults = {"head": "auto"}

    def terms(self, pixels):
        return tf.math.squared_difference(pixels.lanes.plain, pixels.lanes.p)

    def selects(self, pixels):
        return False


cce = functional(CCE)
bce = functional(BCE)
weighted_cce = functional(WeightedCCE)
mse = functional(MSE)
