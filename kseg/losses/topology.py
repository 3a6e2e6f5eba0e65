"""Losses that look at how structures are connected."""

from kseg.losses.base import functional, register
from kseg.losses.boundary import ShapeLoss
from kseg.losses.options import smooth_pair
from kseg.ops.overlap import safe_ratio
from kseg.ops.skeleton import soft_skeleton


@register("cldice", category="topology", source="Shit et al. 2021")
class ClDice(ShapeLoss):
    """Soft clDice loss: how much of each centre line lies within the other mask.

    Formula:
        L = 1 - mean over foreground classes of 2 T_p T_s / (T_p + T_s), with T_p = (sum S(p) y + s) / (sum S(p) + s),
        T_s = (sum S(y) p + s) / (sum S(y) + s), S the soft skeleton and s `smooth`.
    Parameters:
        `iterations` (10): erosions of the soft skeleton, the paper's k: at least the largest radius of a vessel in
        pixels, more changes little and takes longer.
        `smooth` (1): as in the authors' code, on both ratios; a pair sets numerator and denominator apart.
    Conventions:
        The authors' PyTorch and MONAI's skeleton; their Keras code erodes more and defaults to 50 iterations, PyTorch
        to 3. One ratio per class, where theirs is one over all foreground classes. The paper trains (1 - alpha) soft
        Dice + alpha clDice, alpha at most 0.5: spell it out, "0.5*dicefg + 0.5*cldice".
    Learning signal:
        Reaches centre lines and what covers them, not the width of a vessel: never use it alone. A broken vessel
        costs as much as its gap is long. An absent class has T_s = 1, and its false positives cost by way of T_p as
        far as s is not large against them. An object whose radius exceeds `iterations` has no soft skeleton left, hence
        loss 0 and no gradient. No second derivative (nan). Saturates as `dice`.
    Source:
        Shit et al. 2021, eq. 1 to 3 and algorithms 1 and 2.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"iterations": 10, "smooth": 1.0}

    def class_losses(self, y, p, labels, weight, counted):
        iterations = self.options["iterations"]
        line_y, line_p = (soft_skeleton(mask, iterations, counted=counted) for mask in (y, p))
        both_p, all_p, both_y, all_y = self.sums(weight, line_p * y, line_p, line_y * p, line_y)
        numerator, denominator = smooth_pair(self.options["smooth"])
        precision = safe_ratio(both_p + numerator, all_p + denominator)
        sensitivity = safe_ratio(both_y + numerator, all_y + denominator)
        return 1.0 - safe_ratio(2.0 * precision * sensitivity, precision + sensitivity, empty=0.0)


cldice = functional(ClDice)
