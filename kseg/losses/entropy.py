"""Losses that are a mean over pixels: cross-entropies, focal loss, squared error."""

import tensorflow as tf

from kseg import ops
from kseg.losses.base import SegmentationLoss, functional, register
from kseg.ops.entropy import binary_cross_entropy, cross_entropy, focal_factor


class PixelLoss(SegmentationLoss):
    """A mean over pixels: sum(s w l) / sum(w), s the sample weight, w the class weight (1 without).

    Ignored pixels leave both sums. The sample weight stays out of the divisor, as in Keras.
    """

    normalised = True

    def terms(self, pixels):
        """Loss per pixel and channel `[B, *S, K]`."""
        raise NotImplementedError

    def selects(self, pixels):
        """True where the label selects the channel (softmax); False where channels are averaged."""
        return pixels.head == "softmax"

    def values(self, pixels):
        loss, class_weight = self._over_channels(self.terms(pixels), pixels)
        counted = _product(class_weight if self.normalised else None, pixels.valid)
        factor = _product(pixels.valid, pixels.weight)
        axes = list(range(1, loss.shape.rank))
        total = tf.reduce_sum(loss if factor is None else factor * loss, axis=axes)
        mean = tf.math.divide_no_nan(total, self._divisor(counted, loss, axes))
        return mean if pixels.image_weight is None else pixels.image_weight * mean

    def _over_channels(self, terms, pixels):
        """Class-weighted loss `[B, *S]`, and the class weight `[B, *S]` behind it (None for all 1)."""
        weights = self._class_weights(pixels)
        if self.selects(pixels):
            if weights is None:
                return tf.reduce_sum(terms, axis=-1), None
            return tf.reduce_sum(weights * terms, axis=-1), tf.reduce_sum(weights * pixels.y, axis=-1)
        if weights is None:
            return tf.reduce_mean(terms, axis=-1), None
        if pixels.classes == 1:
            weight = weights[0] + (weights[1] - weights[0]) * pixels.y[..., 0]
            return weight * terms[..., 0], weight
        return tf.reduce_sum(weights * terms, axis=-1) / tf.reduce_sum(weights), None

    def _class_weights(self, pixels):
        return class_weights(self.options["class_weights"], max(pixels.classes, 2), pixels.y.dtype)

    def _divisor(self, counted, loss, axes):
        """What the sum of one image is divided by: batch-wide counts, shared out evenly over images."""
        if counted is None:
            return tf.cast(tf.reduce_prod(tf.shape(loss)[1:]), loss.dtype)
        count = tf.reduce_sum(counted, axis=axes)
        if self.options["per_image"]:
            return count
        images = tf.cast(tf.shape(loss)[0], loss.dtype)
        count, images = ops.replica_sum((tf.reduce_sum(count), images))
        return tf.math.divide_no_nan(count, images)


def _product(*factors):
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
    """Categorical cross-entropy: -mean over pixels of sum_c y_c log p_c.

    Softmax over K >= 2 channels; one channel is refused (use `bce`). Probabilities are clipped to
    [1e-7, 1 - 1e-7] as in D1; logits are not, so the gradient p - y never dies. `class_weights` divide by
    the sum of the weights met, as in PyTorch; Keras would divide by the number of pixels (`weighted_cce`).

    Example:
        >>> round(float(cce([[[0, 1]]], [[[[0.9, 0.1], [0.2, 0.8]]]])[0]), 4)
        0.1643

    Source: D1 (S1.2). See `SegmentationLoss` for shapes and the common options.
    """

    heads = ("softmax",)

    def terms(self, pixels):
        return cross_entropy(pixels.y, pixels.log_p)


@register("bce", category="distribution", source="D2, S2.16; D3, S3.5")
class BCE(PixelLoss):
    """Binary cross-entropy: -mean of y log p + (1 - y) log(1 - p).

    One sigmoid channel, or with K >= 2 each class against the rest, averaged over channels. `class_weights`
    are (background, foreground) for K = 1. The documents also write it as a sum over pixels (S2.16).

    Source: D2 (S2.16), D3 (S3.5). See `SegmentationLoss` for shapes and the common options.
    """

    heads = ("sigmoid",)

    def terms(self, pixels):
        return binary_cross_entropy(pixels.y, pixels.log_p, pixels.log_q)


@register("weighted_cce", category="distribution", source="Ronneberger et al. 2015, eq. 1; D2, S2.17")
class WeightedCCE(CCE):
    """Weighted categorical cross-entropy: sum(w l) / N, w = class weight x pixel weight.

    N counts pixels, not weights: doubling the weight of one pixel doubles its term and nothing else. The
    pixel map comes as `sample_weight` `[B, *S]`. In `cce` class weights are normalised instead.

    Source: Ronneberger et al. 2015 (eq. 1), D2 (S2.17). See `SegmentationLoss` for shapes and options.
    """

    normalised = False


@register("mse", category="distribution", source="D0, S0.5")
class MSE(PixelLoss):
    """Mean squared error of probabilities (Brier score): mean over pixels and channels of (y - p)^2.

    `head` says how logits become probabilities: "auto" is sigmoid for K = 1, softmax otherwise. The gradient
    with respect to logits dies on pixels that are wrong with full confidence.

    Source: D0 (S0.5). See `SegmentationLoss` for shapes and the common options.
    """

    defaults = {"head": "auto"}

    def terms(self, pixels):
        return tf.math.squared_difference(pixels.y, pixels.p)

    def selects(self, pixels):
        return False


@register("focal", category="distribution", source="Lin et al. 2017, eq. 5; D0, S0.5; D3, S3.8")
class Focal(PixelLoss):
    """Focal loss: mean over pixels of -alpha_t (1 - p_t)^gamma log p_t, p_t the probability of the truth.

    - `gamma` (2): at least 0; 0 is alpha-weighted cross-entropy (not 1, E3.3).
    - `alpha` ("auto"): sigmoid: weight of the foreground, 1 - alpha that of the background, 0.25 by default;
      softmax: None (default) or K values, alpha_c the weight of class c.
    - `head` ("auto"): sigmoid for K = 1, softmax otherwise; "sigmoid" with K >= 2 averages over classes.

    Keras differs: its categorical form multiplies every class by one alpha and averages over the clipped
    channel; its binary form has `apply_class_balancing=False`, which drops alpha. tensorflow-addons sums over
    the last axis. Here the gradient of a wrong pixel stays alive at any logit.

    Source: Lin et al. 2017 (eq. 5), D0 (S0.5), D3 (S3.8). See `SegmentationLoss` for the common options.
    """

    defaults = {"head": "auto", "gamma": 2.0, "alpha": "auto"}

    def terms(self, pixels):
        gamma = self.options["gamma"]
        if pixels.head == "softmax":
            terms = focal_factor(pixels.log_p, gamma) * cross_entropy(pixels.y, pixels.log_p)
            alpha = self._softmax_alpha(pixels)
            return terms if alpha is None else alpha * terms
        foreground = focal_factor(pixels.log_p, gamma) * pixels.y * -pixels.log_p
        background = focal_factor(pixels.log_q, gamma) * (1.0 - pixels.y) * -pixels.log_q
        alpha = self._sigmoid_alpha(pixels)
        if alpha is None:
            return foreground + background
        return alpha * foreground + (1.0 - alpha) * background

    def _softmax_alpha(self, pixels):
        alpha = self.options["alpha"]
        if alpha in ("auto", None):
            return None
        if isinstance(alpha, float) or len(alpha) != pixels.classes:
            raise ValueError(
                f"alpha={alpha} does not fit a softmax over {pixels.classes} classes. Expected None or "
                f"{pixels.classes} values, background first."
            )
        return tf.constant(alpha, pixels.y.dtype)

    def _sigmoid_alpha(self, pixels):
        alpha = 0.25 if self.options["alpha"] == "auto" else self.options["alpha"]
        if isinstance(alpha, list) and (len(alpha) != pixels.classes or max(alpha) > 1):
            raise ValueError(
                f"alpha={alpha} does not fit {pixels.classes} sigmoid channels. Expected None, one number, "
                f"or {pixels.classes} numbers, in [0, 1]."
            )
        return None if alpha is None else tf.constant(alpha, pixels.y.dtype)


cce = functional(CCE)
bce = functional(BCE)
weighted_cce = functional(WeightedCCE)
mse = functional(MSE)
focal = functional(Focal)
