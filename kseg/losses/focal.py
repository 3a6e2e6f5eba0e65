"""The focal loss: cross-entropy that mutes pixels which are right already."""

from functools import partial

import tensorflow as tf

from kseg import ops
from kseg.losses.base import functional, register
from kseg.losses.entropy import PixelLoss, product, with_strays
from kseg.ops.entropy import cross_entropy, focal_factor


@register("focal", category="distribution", source="Lin et al. 2017, eq. 5; D0, S0.5; D3, S3.8")
class Focal(PixelLoss):
    """Focal loss: cross-entropy that mutes pixels which are right already.

    Formula:
        L = mean over pixels of -alpha_t (1 - p_t)^gamma log p_t, with p_t the probability of the true class and alpha_t
        its weight.
    Parameters:
        `gamma` (2): at least 0, the paper's gamma; 0 is alpha-weighted cross-entropy (not 1, E3.3).
        `alpha` ("auto"): sigmoid: weight of the foreground, 1 - alpha that of the background, 0.25 by default;
            softmax: None (default) or K values, alpha_c the weight of class c.
        `head` ("auto"): sigmoid for K = 1, softmax otherwise; "sigmoid" with K >= 2 averages over classes.
    Conventions:
        Keras' categorical form multiplies every class by one alpha and averages over the clipped channel; its binary
        form has `apply_class_balancing=False`, which drops alpha. tensorflow-addons sums over the last axis.
    Learning signal:
        A pixel that is right at 0.9 costs 100 times less than in cross-entropy and pulls 35 times less (gamma 2, alpha
        aside); a wrong one keeps its gradient, alpha_t / N, at any logit. For many easy background pixels around a rare
        foreground.
    Source:
        Lin et al. 2017 (eq. 5), D0 (S0.5), D3 (S3.8).

    See `SegmentationLoss` for shapes and the common options.
    """

    defaults = {"head": "auto", "gamma": 2.0, "alpha": "auto"}

    def terms(self, pixels):
        gamma, lanes = self.options["gamma"], pixels.lanes
        if pixels.head == "softmax":
            terms = focal_factor(lanes.q, gamma) * cross_entropy(lanes.plain, lanes.log_p)
            alpha = self._softmax_alpha(pixels)
            return terms if alpha is None else alpha * terms
        alpha = self._sigmoid_alpha(pixels)
        positive, negative = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)
        if self.options["from_logits"]:
            focal = partial(ops.sigmoid_focal, gamma=gamma, positive=positive, negative=negative)
            one_alpha = alpha is None or not alpha.shape.rank
            return lanes.elementwise(focal) if one_alpha else focal(lanes.logits, lanes.plain)
        foreground = focal_factor(lanes.q, gamma) * lanes.plain * -lanes.log_p
        background = focal_factor(lanes.p, gamma) * (1.0 - lanes.plain) * -lanes.log_q
        return positive * foreground + negative * background

    def weighted(self, pixels):
        if not pixels.softmax:
            return super().weighted(pixels)
        lanes, weights = pixels.lanes, self._class_weights(pixels)
        alpha = product(self._softmax_alpha(pixels), weights)
        loss = ops.softmax_focal(lanes.logits, lanes.plain, self.options["gamma"], 1.0 if alpha is None else alpha)
        return with_strays(loss, lanes), None if weights is None else lanes.mass(weights)

    def _softmax_alpha(self, pixels):
        alpha = self.options["alpha"]
        if alpha in ("auto", None):
            return None
        if isinstance(alpha, float) or len(alpha) != pixels.classes:
            raise ValueError(
                f"alpha={alpha} does not fit a softmax over {pixels.classes} classes. Expected None or "
                f"{pixels.classes} values, background first."
            )
        return tf.constant(alpha, pixels.dtype)

    def _sigmoid_alpha(self, pixels):
        alpha = 0.25 if self.options["alpha"] == "auto" else self.options["alpha"]
        if isinstance(alpha, list) and (len(alpha) != pixels.classes or max(alpha) > 1):
            raise ValueError(
                f"alpha={alpha} does not fit {pixels.classes} sigmoid channels. Expected None, one number, "
                f"or {pixels.classes} numbers, in [0, 1]."
            )
        return None if alpha is None else tf.constant(alpha, pixels.dtype)


focal = functional(Focal)
