"""Losses that are a ratio of sums: Dice and its relatives."""

import tensorflow as tf

from kseg import ops
from kseg.losses.base import SegmentationLoss, functional, register
from kseg.losses.entropy import BCE, class_weights
from kseg.losses.options import smooth_pair
from kseg.ops.overlap import dice_score, jaccard_score, overlap_sums, tversky_score

FLOOR = 1e-30


class OverlapLoss(SegmentationLoss):
    """One overlap score per class, from sums over the whole batch (over each image with `per_image`).

    Options beside those of `SegmentationLoss`:

    - `head` ("auto"): how logits become probabilities: sigmoid for K = 1, softmax otherwise.
    - `include_background` (True): whether channel 0 counts; it always does for K = 1.
    - `squared` (False): squares in the denominator (V-Net).
    - `smooth` (1e-7): added to numerator and denominator; a pair sets them apart. With D1's 1e-7 a class that
      is absent gives loss ~1 and practically no gradient: to learn from it, take `empty="penalise_fp"`.
    - `empty` ("smooth"): the loss of a class absent from the reference: "smooth" (the formula as it stands),
      "zero", "one", "skip" (the class leaves the mean), or "penalise_fp" (the mean probability given to it).

    K = 1 holds the foreground alone, so class weights change nothing there.
    Pixel weights act inside the sums: a pixel of weight 2 counts as two pixels. So do image weights, unless
    `per_image`, where they weigh each image's loss. Saturation: where p is 0 or 1 in floating point the
    gradient with respect to the logits is 0, even for wrong pixels; add a cross-entropy to keep it alive.
    """

    defaults = {
        "head": "auto",
        "include_background": True,
        "squared": False,
        "smooth": 1e-7,
        "empty": "smooth",
    }
    background = True  # what holds where a loss has no such option
    squared = False

    def score(self, sums):
        """Score `[G, K]` in [0, 1] from OverlapSums."""
        raise NotImplementedError

    def class_loss(self, score):
        """Loss `[G, K]` of a score."""
        return 1.0 - score

    def over_classes(self, loss, weights):
        """`[G]` from `[G, K]` and weights that broadcast to it; classes of weight 0 are left out."""
        return tf.math.divide_no_nan(tf.reduce_sum(weights * loss, axis=-1), tf.reduce_sum(weights, axis=-1))

    def values(self, pixels):
        y, p, weights = self._classes(pixels)
        per_image = self.options["per_image"]
        weight = pixels.weight
        if pixels.valid is not None:
            weight = pixels.valid if weight is None else weight * pixels.valid
        if pixels.image_weight is not None and not per_image:
            image_weight = tf.reshape(pixels.image_weight, [-1] + [1] * (y.shape.rank - 2))
            weight = image_weight * tf.ones_like(y[..., 0]) if weight is None else image_weight * weight
        squared = self.options.get("squared", self.squared)
        sums = overlap_sums(y, p, weight, squared=squared, per_image=per_image)
        loss = self.class_loss(self.score(sums))
        truth = sums.truth
        if pixels.labels is not pixels.y:
            labels = pixels.labels[..., -y.shape[-1] :]
            truth = overlap_sums(labels, p, weight, per_image=per_image).truth
        loss, weights = self._absent(loss, weights, truth, p, weight)
        loss = self.over_classes(loss, weights)
        if per_image:
            return loss if pixels.image_weight is None else pixels.image_weight * loss
        return tf.broadcast_to(loss, tf.shape(y)[:1])

    def _classes(self, pixels):
        """Labels, probabilities and class weights `[1, K]` of mean 1, of the classes that count."""
        y, p, classes = pixels.y, pixels.p, pixels.classes
        weights = class_weights(self.options["class_weights"], max(classes, 2), y.dtype)
        if weights is None or classes == 1:
            weights = tf.ones([classes], y.dtype)
        background = self.options.get("include_background", self.background)
        if not background and classes > 1:
            y, p, weights = y[..., 1:], p[..., 1:], weights[1:]
        return y, p, tf.math.divide_no_nan(weights, tf.reduce_mean(weights))[None]

    def _absent(self, loss, weights, truth, p, weight):
        """Loss and weights with the classes that the reference lacks treated as `empty` says."""
        empty = self.options["empty"]
        if empty == "smooth":
            return loss, weights
        absent = truth <= 0  # false for nan, the mark of a label outside the classes
        if empty == "skip":
            return loss, tf.where(absent, tf.zeros_like(weights), weights)
        if empty == "penalise_fp":
            ones = tf.ones_like(p)
            mean = overlap_sums(ones, p, weight, per_image=self.options["per_image"])
            instead = ops.safe_ratio(mean.prediction, mean.truth, empty=0.0)
        else:
            instead = tf.ones_like(loss) if empty == "one" else tf.zeros_like(loss)
        return tf.where(absent, instead, loss), weights


class _DiceFamily(OverlapLoss):
    def score(self, sums):
        return dice_score(sums, smooth_pair(self.options["smooth"]))


@register("dice", category="region", source="D1, S1.3; D0, S0.5")
class Dice(_DiceFamily):
    """Dice loss: 1 - mean over classes of (2 sum y p + s) / (sum y + sum p + s), sums over the batch.

    In [0, 1] for any number of classes. Keras' `Dice` sums over classes too before it divides, unless given
    `axis`; MONAI divides per image (`per_image=True`).

    Source: D1 (S1.3). See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """


@register("dice_square", category="region", source="Milletari et al. 2016; D1, S1.4")
class DiceSquare(_DiceFamily):
    """Dice loss with squares in the denominator: sum y^2 + sum p^2 (V-Net).

    Source: Milletari et al. 2016, D1 (S1.4). See `OverlapLoss` and `SegmentationLoss`.
    """

    without = ("squared",)
    squared = True


@register("dicefg", category="region", source="D1, S1.5")
class DiceFG(_DiceFamily):
    """Dice loss over the foreground classes only; equals `dice` for K = 1.

    Source: D1 (S1.5). See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    without = ("include_background",)
    background = False


@register("dicefg_square", category="region", source="D1, S1.5")
class DiceFGSquare(DiceFG):
    """Squared Dice loss over the foreground classes only.

    Source: D1 (S1.5). See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    without = ("squared",)
    squared = True


@register("log_dice", category="region", source="D2, S2.13")
class LogDice(_DiceFamily):
    """-log of the Dice score, per class, then averaged; squared denominator by default, as in D2.

    Its gradient is the Dice gradient over the score, so it stays large where the overlap is small. Scores
    below 1e-30 are floored.

    Source: D2 (S2.13). See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"squared": True}

    def class_loss(self, score):
        return -tf.math.log(tf.maximum(score, FLOOR))


@register("jaccard", category="region", source="D3, S3.7")
class Jaccard(OverlapLoss):
    """Jaccard (IoU) loss: 1 - mean over classes of (I + s) / (sum y + sum p - I + s), I = sum y p.

    Source: D3 (S3.7). See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    def score(self, sums):
        return jaccard_score(sums, smooth_pair(self.options["smooth"]))


@register("tversky", category="region", source="Salehi et al. 2017; D3, S3.9")
class Tversky(OverlapLoss):
    """Tversky loss: 1 - mean over classes of (I + s) / (I + fp FP + fn FN + s), I = sum y p.

    `fp_weight` (0.3) weighs false positives (Salehi's alpha; D3's beta, E3.4), `fn_weight` (0.7) false
    negatives (Salehi's beta); both 0.5 is Dice, both 1 Jaccard. Keras' `Tversky` says that its
    alpha weighs false positives, but its code weighs false negatives with it; both are 0.5 there.

    Source: Salehi et al. 2017, D3 (S3.9). See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"fp_weight": 0.3, "fn_weight": 0.7}
    without = ("squared",)

    def score(self, sums):
        o = self.options
        return tversky_score(sums, smooth_pair(o["smooth"]), o["fp_weight"], o["fn_weight"])


@register("focal_tversky", category="region", source="Abraham and Khan 2019; D3, S3.9")
class FocalTversky(Tversky):
    """Focal Tversky loss: **sum** over classes of (1 - Tversky index)^exponent.

    `exponent` (0.75) is the power itself. Abraham and Khan write 1/gamma with gamma in [1, 3], best 4/3, that
    is exponent 0.75; D3 writes gamma in [1, 3] as the power (E3.5). Below 1 the slope at a perfect score is
    infinite, so 1 - TI is floored at 1e-7 there. Class weights are scaled to mean 1 before the sum.

    Source: Abraham and Khan 2019, D3 (S3.9). See `OverlapLoss` and `SegmentationLoss`.
    """

    defaults = {"exponent": 0.75}

    def class_loss(self, score):
        return tf.pow(tf.maximum(1.0 - score, 1e-7), self.options["exponent"])

    def over_classes(self, loss, weights):
        return tf.reduce_sum(weights * loss, axis=-1)


@register("dice_bce", category="compound", source="D3, S3.6")
class DiceBCE(Dice):
    """Dice plus binary cross-entropy: dice_weight x `dice` + bce_weight x `bce`, both 1 by default.

    The sigmoid head only; `smooth` is 1e-6, as in D3. For other pairs spell the sum out: "cce + dicefg".

    Source: D3 (S3.6). See `OverlapLoss` and `SegmentationLoss` for shapes and options.
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


dice = functional(Dice)
dice_square = functional(DiceSquare)
dice_fg = functional(DiceFG, "dice_fg")
dice_fg_square = functional(DiceFGSquare, "dice_fg_square")
log_dice = functional(LogDice)
jaccard = functional(Jaccard)
tversky = functional(Tversky)
focal_tversky = functional(FocalTversky)
dice_bce = functional(DiceBCE)
