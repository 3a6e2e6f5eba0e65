"""Losses of two terms that their paper defines as one; any other sum is spelled out ("cce + dicefg")."""

import tensorflow as tf

from kseg.losses.base import functional, register
from kseg.losses.dice import Dice
from kseg.losses.entropy import BCE, PixelLoss, with_strays
from kseg.losses.options import smooth_pair
from kseg.losses.regions import TwoSided, check_distribution
from kseg.ops.complement import softmax_against_rest
from kseg.ops.entropy import focal_factor
from kseg.ops.overlap import tversky_score


@register("dice_bce", category="compound", source="D3, S3.6")
class DiceBCE(Dice):
    """Dice loss plus binary cross-entropy.

    Formula:
        L = dice_weight x `dice` + bce_weight x `bce`.
    Parameters:
        `dice_weight` (1), `bce_weight` (1): at least 0.
        `smooth` (1e-6): as in D3.
    Conventions:
        The sigmoid head only: with K >= 2 each class against the rest. `include_background`, `squared`, `smooth` and
        `empty` belong to the Dice term. segmentation_models adds the two as well.
    Learning signal:
        Cross-entropy gives every wrong pixel a gradient that never dies, Dice gives a rare class its share.
    Source:
        D3 (S3.6).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    heads = ("sigmoid",)
    without = ("head",)
    defaults = {"smooth": 1e-6, "dice_weight": 1.0, "bce_weight": 1.0}

    def __init__(self, **options):
        super().__init__(**options)
        o = self.options
        self._bce = BCE(class_weights=o["class_weights"], per_image=o["per_image"])

    def values(self, pixels):
        o = self.options
        return o["dice_weight"] * super().values(pixels) + o["bce_weight"] * self._bce.values(pixels)


class _Sided(PixelLoss):
    """-(beta y log p + (1 - beta) (1 - y) log(1 - p)), averaged over pixels and channels."""

    defaults = {"beta": 0.5}

    def selects(self, pixels):
        return False

    def terms(self, pixels):
        beta, lanes = self.options["beta"], pixels.lanes
        return -(beta * lanes.plain * lanes.log_p + (1.0 - beta) * (1.0 - lanes.plain) * lanes.log_q)

    def weighted(self, pixels):
        if not pixels.softmax:
            return super().weighted(pixels)
        beta, lanes, weights = self.options["beta"], pixels.lanes, self._class_weights(pixels)
        weights = tf.ones([pixels.classes], pixels.dtype) if weights is None else weights
        weights = weights / tf.reduce_sum(weights)
        hit, miss = beta * weights * lanes.plain, (1.0 - beta) * weights * (1.0 - lanes.plain)
        return with_strays(softmax_against_rest(lanes.logits, hit, miss), lanes), None


@register("combo", category="compound", source="Taghanaki et al. 2019")
class Combo(Dice):
    """Combo loss: weighted binary cross-entropy and Dice loss.

    Formula:
        L = alpha CE + (1 - alpha) D, with CE = -mean over pixels and classes of (beta y log p + (1 - beta) (1 - y)
        log(1 - p)) and D the value of `dice`.
    Parameters:
        `alpha` (0.5): share of the cross-entropy in [0, 1], the paper's alpha.
        `beta` (0.5): in [0, 1], the paper's beta: below 0.5 false positives cost more, above 0.5 false negatives.
    Conventions:
        The paper subtracts (1 - alpha) times the Dice score: the same but for the constant, so that a perfect
        prediction costs 0 here and -(1 - alpha) there; and it sums that score over classes, here it is a mean. With
        beta 0.5 CE is half of `bce`. The authors' code multiplies beta into the second term too, and has `smooth` 1.
        With a softmax each class is taken against the rest, 1 - p being the other classes together.
        `include_background`, `smooth` and `empty` belong to D.
    Learning signal:
        Cross-entropy gives every wrong pixel a gradient that never dies, Dice gives a rare class its share; beta
        shifts the balance of precision and recall. A pixel map scales the cross-entropy, as in `cce`, while Dice is a
        ratio: large weights shift the balance of the two.
    Source:
        Taghanaki et al. 2019.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"alpha": 0.5, "beta": 0.5}
    without = ("squared",)

    def __init__(self, **options):
        super().__init__(**options)
        o = self.options
        self._ce = _Sided(beta=o["beta"], class_weights=o["class_weights"], per_image=o["per_image"])

    def values(self, pixels):
        alpha = self.options["alpha"]
        return alpha * self._ce.values(pixels) + (1.0 - alpha) * super().values(pixels)


class _Focal(PixelLoss):
    """Cross-entropy of the true class times a share and a power of 1 - p, each for background and foreground."""

    def __init__(self, delta, powers, **options):
        super().__init__(**options)
        self._shares, self._powers = (1.0 - delta, delta), powers

    def terms(self, pixels):
        lanes = pixels.lanes
        terms = lanes.plain * -lanes.log_p
        if pixels.classes == 1:
            sides = ((1.0 - lanes.plain) * -lanes.log_q, lanes.p), (terms, lanes.q)
        else:
            sizes = [1, pixels.classes - 1]
            sides = zip(tf.split(terms, sizes, 1), tf.split(lanes.q, sizes, 1), strict=True)
        kinds = zip(sides, self._shares, self._powers, strict=True)
        parts = [share * term * focal_factor(q, power) for (term, q), share, power in kinds]
        return parts[0] + parts[1] if pixels.classes == 1 else tf.concat(parts, axis=1)


@register("unified_focal", category="compound", source="Yeung et al. 2022")
class UnifiedFocal(TwoSided):
    """Unified Focal loss: a focal cross-entropy and a focal Tversky loss that share their parameters.

    Formula:
        L = lambda F + (1 - lambda) T, with F = mean over pixels of -share_t (1 - p_t)^a_t log p_t, p_t the probability
        of the true class, and T = mean over classes of (1 - TI_c)^b_c, TI = (I + s) / (I + (1 - delta) FP + delta FN
        + s). share is delta for foreground classes and 1 - delta for the background (class 0).
        "asymmetric": a = gamma, b = 1 for the background; a = 0, b = 1 - gamma for foreground classes.
        "symmetric": a = 1 - gamma, b = gamma for every class.
    Parameters:
        `variant` ("asymmetric"): "asymmetric" or "symmetric".
        `focal_weight` (0.5): share of F in [0, 1], the paper's lambda.
        `delta` (0.6): weight of foreground and of false negatives in [0, 1]; above 0.5 favours recall.
        `gamma` (0.5): in [0, 1): how much easy background is muted and foreground enhanced. In "symmetric" a smaller
        gamma does more, and 0 leaves T without gradient.
    Conventions:
        As the paper has lambda and gamma. Its code multiplies lambda into T instead of F, and its symmetric form has
        a = gamma, b = 1 - gamma (the same at 0.5). T is a mean as in its code and in MONAI, a sum in the paper. The
        paper's formulas can be read as delta at false positives and, in the symmetric F, at both classes; its code and
        MONAI do as here. Every foreground class is the paper's rare class r. MONAI averages F over classes too, which
        divides it by K.
        One sigmoid channel stands for two classes; K >= 2 sigmoid channels are refused.
    Learning signal:
        F keeps a gradient at any wrong pixel. A power below 1 pushes a class harder the better it is; 1 - TI is floored
        at 1e-7, where the slope would be infinite. An absent class adds a constant to T; F deals with it.
    Source:
        Yeung et al. 2022.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"variant": "asymmetric", "focal_weight": 0.5, "delta": 0.6, "gamma": 0.5}
    without = ("squared", "empty", "include_background")

    def __init__(self, **options):
        super().__init__(**options)
        o = self.options
        symmetric, gamma = o["variant"] == "symmetric", o["gamma"]
        powers = (1.0 - gamma, 1.0 - gamma) if symmetric else (gamma, 0.0)
        self._focal = _Focal(o["delta"], powers, class_weights=o["class_weights"], per_image=o["per_image"])
        self._powers = (gamma, gamma) if symmetric else (1.0, 1.0 - gamma)

    def values(self, pixels):
        check_distribution(pixels, self.registered_name)
        share = self.options["focal_weight"]
        return share * self._focal.values(pixels) + (1.0 - share) * super().values(pixels)

    def score(self, sums):
        delta = self.options["delta"]
        return tversky_score(sums, smooth_pair(self.options["smooth"]), 1.0 - delta, delta)

    def class_loss(self, score):
        short = 1.0 - score
        parts = (short[:, :1], short[:, 1:])
        return tf.concat([_power(part, p) for part, p in zip(parts, self._powers, strict=True)], axis=1)


def _power(x, exponent):
    """x^exponent for x at least 0, with a finite slope at 0."""
    return x if exponent == 1.0 else tf.pow(tf.maximum(x, 1e-7), exponent)


dice_bce = functional(DiceBCE)
combo = functional(Combo)
unified_focal = functional(UnifiedFocal)
