"""Tversky losses: overlap scores that weigh false positives and false negatives apart."""

import tensorflow as tf

from kseg.losses.base import functional, register
from kseg.losses.options import smooth_pair
from kseg.losses.overlap import OverlapLoss
from kseg.ops.overlap import tversky_score


@register("tversky", category="region", source="Salehi et al. 2017; D3, S3.9")
class Tversky(OverlapLoss):
    """Tversky loss: Dice with weights of its own on false positives and false negatives.

    Formula:
        L = 1 - mean over classes of (I + s) / (I + fp FP + fn FN + s), with I = sum y p, FP = sum (1 - y) p and
        FN = sum y (1 - p).
    Parameters:
        `fp_weight` (0.3): weight of false positives, at least 0: Salehi's alpha; D3's beta (E3.4).
        `fn_weight` (0.7): weight of false negatives, at least 0: Salehi's beta. Both 0.5 is Dice, both 1 Jaccard.
    Conventions:
        Keras' `Tversky` says that its alpha weighs false positives, but its code weighs false negatives with it; both
        are 0.5 there.
    Learning signal:
        fn above fp favours recall: for small objects that are missed. Saturates as `dice`.
    Source:
        Salehi et al. 2017, D3 (S3.9).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"fp_weight": 0.3, "fn_weight": 0.7}
    without = ("squared",)

    def score(self, sums):
        o = self.options
        return tversky_score(sums, smooth_pair(o["smooth"]), o["fp_weight"], o["fn_weight"])


@register("focal_tversky", category="region", source="Abraham and Khan 2019; D3, S3.9")
class FocalTversky(Tversky):
    """Focal Tversky loss: a power of the Tversky loss of each class, summed over classes.

    Formula:
        L = sum over classes of (1 - TI)^exponent, with TI the score of `tversky`.
    Parameters:
        `exponent` (0.75): the power itself, above 0; Abraham and Khan's 1/gamma, D3's gamma.
        `fp_weight` (0.3), `fn_weight` (0.7): as in `tversky`.
    Conventions:
        Abraham and Khan write 1/gamma with gamma in [1, 3], best 4/3, that is exponent 0.75; D3 writes gamma in [1, 3]
        as the power (E3.5). A sum over classes, not a mean; class weights are scaled to mean 1 before it.
    Learning signal:
        Exponents above 1 mute classes that overlap well already; those below 1 push them more, and 1 - TI is floored at
        1e-7, where the slope would be infinite. Saturates as `dice`.
    Source:
        Abraham and Khan 2019, D3 (S3.9).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"exponent": 0.75}

    def class_loss(self, score):
        return tf.pow(tf.maximum(1.0 - score, 1e-7), self.options["exponent"])

    def over_classes(self, loss, weights):
        return tf.reduce_sum(weights * loss, axis=-1)


@register("asymmetric", category="region", source="Hashemi et al. 2018")
class Asymmetric(OverlapLoss):
    """Asymmetric similarity loss: one minus the F-beta score, which counts recall beta times as much as precision.

    Formula:
        L = 1 - mean over classes of (I + s) / (I + fp FP + fn FN + s), with fp = 1 / (1 + beta^2) and fn = 1 - fp; that
        is (1 + b^2) I / ((1 + b^2) I + b^2 FN + FP) of the paper, divided by 1 + b^2. I = sum y p, FP = sum (1 - y) p
        and FN = sum y (1 - p).
    Parameters:
        `beta` (1.5): at least 0, the paper's beta: 1 is `dice`, above 1 false negatives cost more, 0 leaves precision.
    Conventions:
        `tversky` with fp_weight 1 / (1 + beta^2) and fn_weight beta^2 / (1 + beta^2); 1.5 gives 0.31 and 0.69, almost
        Salehi's 0.3 and 0.7. segmentation_models' `DiceLoss(beta=...)` is the same.
    Learning signal:
        As `tversky`: for small objects that are missed. Saturates as `dice`.
    Source:
        Hashemi et al. 2018.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"beta": 1.5}
    without = ("squared",)

    def score(self, sums):
        precision = 1.0 / (1.0 + self.options["beta"] ** 2)
        return tversky_score(sums, smooth_pair(self.options["smooth"]), precision, 1.0 - precision)


tversky = functional(Tversky)
focal_tversky = functional(FocalTversky)
asymmetric = functional(Asymmetric)
