"""Dice losses and their next of kin."""

import tensorflow as tf

from kseg.losses.base import functional, register
from kseg.losses.options import smooth_pair
from kseg.losses.overlap import OverlapLoss
from kseg.ops.overlap import dice_score, jaccard_score

FLOOR = 1e-30


class _DiceFamily(OverlapLoss):
    def score(self, sums):
        return dice_score(sums, smooth_pair(self.options["smooth"]))


@register("dice", category="region", source="D1, S1.3; D0, S0.5")
class Dice(_DiceFamily):
    """Dice loss, averaged over all classes.

    Formula:
        L = 1 - mean over classes of (2 sum y p + s) / (sum y + sum p + s), with sums over the pixels of the batch, y
        the label, p the probability and s `smooth`.
    Conventions:
        In [0, 1] for any number of classes. Keras' `Dice` sums over classes too before it divides, unless given `axis`;
        MONAI divides per image (`per_image=True`).
    Learning signal:
        Every class counts the same, whatever its size, so a rare class is learned. Factor p (1 - p): no gradient where
        p is 0 or 1, so a wrong and certain pixel stays wrong. An absent class gives loss 1 and almost no gradient (see
        `empty`). The background's share is easy and hides the foreground's (`dicefg`).
    Source:
        D1 (S1.3), D0 (S0.5).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """


@register("dice_square", category="region", source="Milletari et al. 2016; D1, S1.4")
class DiceSquare(_DiceFamily):
    """Dice loss with squares in the denominator (V-Net).

    Formula:
        L = 1 - mean over classes of (2 sum y p + s) / (sum y^2 + sum p^2 + s).
    Conventions:
        `dice(squared=True)` by its own name. With hard labels the sum of y^2 is the sum of y.
    Learning signal:
        As `dice`, but the push on a background pixel has the factor p once more: faint false positives are left alone.
    Source:
        Milletari et al. 2016, D1 (S1.4).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    without = ("squared",)
    squared = True


@register("dicefg", category="region", source="D1, S1.5")
class DiceFG(_DiceFamily):
    """Dice loss, averaged over the foreground classes only.

    Formula:
        L = 1 - mean over classes 1 .. K-1 of (2 sum y p + s) / (sum y + sum p + s).
    Conventions:
        Channel 0 is the background; equals `dice` for K = 1. MONAI: `include_background=False`.
    Learning signal:
        As `dice`, without the share of the background, which is near 0 early on: the value says what the foreground
        looks like. A batch without any foreground gives loss 1 and almost no gradient (see `empty`).
    Source:
        D1 (S1.5).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    without = ("include_background",)
    background = False


@register("dicefg_square", category="region", source="D1, S1.5")
class DiceFGSquare(DiceFG):
    """Dice loss with squares in the denominator, averaged over the foreground classes only.

    Formula:
        L = 1 - mean over classes 1 .. K-1 of (2 sum y p + s) / (sum y^2 + sum p^2 + s).
    Learning signal:
        As `dice_square`, without the share of the background.
    Source:
        D1 (S1.5).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    without = ("squared",)
    squared = True


@register("log_dice", category="region", source="D2, S2.13")
class LogDice(_DiceFamily):
    """Minus the logarithm of the Dice score.

    Formula:
        L = mean over classes of -log((2 sum y p + s) / (sum y^2 + sum p^2 + s)), scores below 1e-30 taken as 1e-30.
    Conventions:
        The denominator is squared by default, as in D2. The logarithm is taken per class, then averaged.
    Learning signal:
        The Dice gradient divided by the score, so it stays large where the overlap is small. Unlike `dice` it pushes
        against false positives of an absent class, at a large value (23 where 1000 pixels are taken for it, s = 1e-7).
    Source:
        D2 (S2.13).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"squared": True}

    def class_loss(self, score):
        return -tf.math.log(tf.maximum(score, FLOOR))


@register("jaccard", category="region", source="D3, S3.7")
class Jaccard(OverlapLoss):
    """Jaccard (IoU) loss, averaged over classes.

    Formula:
        L = 1 - mean over classes of (I + s) / (sum y + sum p - I + s), with I = sum y p.
    Conventions:
        The score is D / (2 - D) with D that of `dice`, per class, up to `smooth`. Not the Lovasz extension of IoU.
    Learning signal:
        The Dice gradient times 2 / (2 - D)^2: half of it at no overlap, twice at full overlap. Saturates as `dice`.
    Source:
        D3 (S3.7).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    def score(self, sums):
        return jaccard_score(sums, smooth_pair(self.options["smooth"]))


dice = functional(Dice)
dice_square = functional(DiceSquare)
dice_fg = functional(DiceFG, "dice_fg")
dice_fg_square = functional(DiceFGSquare, "dice_fg_square")
log_dice = functional(LogDice)
jaccard = functional(Jaccard)
