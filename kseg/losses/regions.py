"""Region losses beyond one overlap score per class: generalised, log-cosh, Matthews and Wasserstein Dice."""

import numpy as np
import tensorflow as tf

from kseg import ops
from kseg.losses.base import functional, register
from kseg.losses.dice import Dice
from kseg.losses.entropy import class_weights
from kseg.losses.options import smooth_pair
from kseg.losses.overlap import OverlapLoss
from kseg.ops.confusion import confusion_sums, matthews_score, softmax_confusion
from kseg.ops.overlap import OverlapSums, safe_ratio, size_weights

POWERS = {"square": 2.0, "simple": 1.0, "uniform": 0.0}


class TwoSided(OverlapLoss):
    """An overlap loss for which one sigmoid channel stands for two classes, background 1 - p and foreground p.

    Class weights are (background, foreground) then, and `include_background=False` leaves the foreground.
    """

    def _first(self, classes):
        return super()._first(max(classes, 2))

    def _sums(self, pixels, weight, squared=False):
        if pixels.classes > 1:
            return super()._sums(pixels, weight, squared)
        sides = ((1.0 - pixels.y, 1.0 - pixels.p), (pixels.y, pixels.p))
        sums = (ops.overlap_sums(y, p, weight, per_image=self.options["per_image"]) for y, p in sides)
        return OverlapSums(*(tf.concat(parts, axis=1)[:, self._first(1) :] for parts in zip(*sums, strict=True)))

    def _class_weights(self, pixels):
        classes = max(pixels.classes, 2)
        weights = class_weights(self.options["class_weights"] or [1.0] * classes, classes, pixels.dtype)
        weights = weights[self._first(classes) :]
        return tf.math.divide_no_nan(weights, tf.reduce_mean(weights))[None]


def check_distribution(pixels, name):
    """Refuse sigmoid channels that do not add up to 1."""
    if pixels.head == "sigmoid" and pixels.classes > 1:
        raise ValueError(
            f"loss {name!r} got {pixels.classes} sigmoid channels. Expected one distribution over the classes: take "
            "head='softmax', or one sigmoid channel for two classes."
        )


@register("generalized_dice", category="region", source="Sudre et al. 2017")
class GeneralizedDice(TwoSided):
    """Generalised Dice loss: one Dice score over all classes, each weighted by the inverse of its size.

    Formula:
        L = 1 - (2 sum_c w_c I_c + s) / (sum_c w_c (Y_c + P_c) + s), with I = sum y p, Y = sum y, P = sum p and
        w_c = a_c / Y_c^2, a the class weights; all w are divided by the largest, hence s counts pixels of that class.
    Parameters:
        `weighting` ("square"): "square" is 1 / Y^2 as in the paper, "simple" 1 / Y, "uniform" 1.
    Conventions:
        Weights are those of the batch; per image, as in MONAI, with `per_image=True`. A class that is absent, whose
        weight would be infinite, gets the largest weight of those present, as in NiftyNet and MONAI; so there is no
        `empty`. One sigmoid channel stands for two classes, as in the paper; MONAI's single channel has one, whose
        weight cancels. Label smoothing changes Y and so the weights.
    Learning signal:
        One false positive of an absent class costs as much as one of the smallest class. With "square" a class of few
        pixels can outweigh all others, and its weight jumps from batch to batch; "simple" is calmer. Saturates as
        `dice`.
    Source:
        Sudre et al. 2017; the weights are those of Crum et al. 2006.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"weighting": "square"}
    without = ("squared", "empty")

    def _group_loss(self, sums, pixels, weight, squared):
        counted = self._class_weights(pixels)
        weights = counted * size_weights(sums.truth, counted, POWERS[self.options["weighting"]])
        weights = tf.math.divide_no_nan(weights, tf.reduce_max(weights, axis=-1, keepdims=True))
        both = tf.reduce_sum(weights * sums.intersection, axis=-1)
        size = tf.reduce_sum(weights * (sums.truth + sums.prediction), axis=-1)
        numerator, denominator = smooth_pair(self.options["smooth"])
        return 1.0 - safe_ratio(2.0 * both + numerator, size + denominator)


@register("log_cosh_dice", category="region", source="Jadon 2020")
class LogCoshDice(Dice):
    """Log-cosh Dice loss: the logarithm of the hyperbolic cosine of the Dice loss.

    Formula:
        L = log(cosh(D)), with D the value of `dice`, its mean over classes included.
    Conventions:
        In [0, 0.434] where Dice is in [0, 1]. Some codes take it per class before the mean.
    Learning signal:
        The Dice gradient times tanh(D): 0.76 of it at no overlap, and it fades as the overlap becomes perfect, like
        that of a squared error. Calm at the end of training, no help at its beginning. Saturates as `dice`.
    Source:
        Jadon 2020 (a survey of loss functions for semantic segmentation).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    def over_classes(self, loss, weights):
        mean = super().over_classes(loss, weights)
        return tf.math.log1p(2.0 * tf.square(tf.sinh(0.5 * mean)))  # exact near 0, where log(cosh) cancels


@register("mcc", category="region", source="Abhishek and Hamarneh 2021, eq. 3 to 5")
class MCC(OverlapLoss):
    """Matthews correlation coefficient loss: one minus the correlation of labels and probabilities.

    Formula:
        L = 1 - mean over classes of (TP TN - FP FN + s_n) / (sqrt((TP+FP) (TP+FN) (TN+FP) (TN+FN)) + s_d), with soft
        counts of the class against the rest: TP = sum y p, FP = sum (1-y) p, FN = sum y (1-p), TN = sum (1-y) (1-p).
    Parameters:
        `smooth` ((0, 1e-7)): (s_n, s_d); in the numerator it would make an undefined score a perfect one.
    Conventions:
        In [0, 2]; 1 for a constant prediction. Binary in the paper; K >= 2 is the mean over the classes, background
        included (for K = 2 both are equal). Gorodkin's R_K, which scikit-learn's `matthews_corrcoef` computes, is one
        correlation over all K classes instead. segmentation_models.pytorch adds 1e-5 to each count.
    Learning signal:
        Background that is right counts too, unlike in Dice: true negatives lift the score. Undefined if a class fills
        all pixels or none: loss 1 and no gradient (0 if there is no error at all), so take batches rather than
        `per_image`, or see `empty`. Saturates as `dice`.
    Source:
        Abhishek and Hamarneh 2021 (eq. 3 to 5); no error at all as in the authors' code.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"smooth": [0.0, 1e-7]}
    without = ("squared",)

    def _sums(self, pixels, weight, squared=False):
        kind = {"shape": pixels.shape[:-1], "per_image": self.options["per_image"]}
        lanes, flat = pixels.lanes, pixels.flat(weight)
        if pixels.softmax:
            sums = softmax_confusion(lanes.logits, lanes.unmarked, flat, counted=lanes.y, **kind)
        else:
            sums = confusion_sums(lanes.y, *both_probabilities(pixels, self.options["from_logits"]), flat, **kind)
        return type(sums)(*(part[:, self._first(pixels.classes) :] for part in sums))

    def score(self, sums):
        return matthews_score(sums, smooth_pair(self.options["smooth"]))


@register("wasserstein_dice", category="region", source="Fidon et al. 2017")
class WassersteinDice(OverlapLoss):
    """Generalised Wasserstein Dice loss: mistakes cost as much as the two classes are apart.

    Formula:
        L = 1 - (2 T + s) / (2 T + sum W + s), with W = sum_lm y_l M_lm p_m the distance of label and prediction in a
        pixel, T = sum a (1 - W) the generalised true positives and a = sum_l y_l M_l0 the distance of the label from
        the background, class 0.
    Parameters:
        `distances` (None): the paper's M, K rows of K distances between classes: symmetric, at least 0, 0 from a class
        to itself; divided by the largest. None puts all classes at distance 1.
    Conventions:
        W is the Wasserstein distance of a hard label; of a soft one it is the bound that compares all pairs. MONAI and
        the authors' later code drop the factor a for weights of their own. One sigmoid channel stands for two classes,
        which is `dice`; K >= 2 sigmoid channels are refused. `class_weights` weigh each pixel by its label.
    Learning signal:
        To take one tumour class for its neighbour costs less than to miss it; background that is right has no part.
        With no foreground in the reference the loss is 1 and almost without gradient (see `empty`; "penalise_fp" is
        the mean of W). Saturates as `dice`.
    Source:
        Fidon et al. 2017 (eq. 6 and after).

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"distances": None}
    without = ("squared", "include_background")

    def values(self, pixels):
        check_distribution(pixels, self.registered_name)
        return super().values(pixels)

    def score(self, sums):
        true_positives = sums.truth - sums.intersection
        numerator, denominator = smooth_pair(self.options["smooth"])
        return safe_ratio(2.0 * true_positives + numerator, 2.0 * true_positives + sums.prediction + denominator)

    def _weight(self, pixels):
        weight = super()._weight(pixels)
        weights = class_weights(self.options["class_weights"], max(pixels.classes, 2), pixels.dtype)
        if weights is None:
            return weight
        label = tf.reduce_sum(_both(pixels.y) * weights, axis=-1) / tf.reduce_mean(weights)
        return label if weight is None else label * weight

    def _class_weights(self, pixels):
        return tf.ones([1, 1], pixels.dtype)

    def _sums(self, pixels, weight, squared=False):
        """sum a W, sum a and sum W, all `[G, 1]`, in the places of intersection, truth and prediction."""
        far = self._distance(pixels.lanes.y, pixels)
        if pixels.softmax:
            apart = ops.softmax_mean(pixels.lanes.logits, far)
        else:
            apart = tf.reduce_sum(far * _both(*both_probabilities(pixels, self.options["from_logits"])), axis=1)
        return OverlapSums(*self._totals((far[:, 0] * apart, far[:, 0], apart), pixels, weight))

    def _plain_truth(self, pixels, weight):
        far = self._distance(ops.pixel_rows(pixels.labels), pixels)
        return self._totals((far[:, 0],), pixels, weight)[0]

    def _distance(self, y, pixels):
        """Distance of the label from each class, `[N, K]`, of labels `[N, K]`."""
        classes = max(pixels.classes, 2)
        rows = self.options["distances"] or [[float(i != j) for j in range(classes)] for i in range(classes)]
        if len(rows) != classes:
            raise ValueError(f"distances={rows} has {len(rows)} rows. Expected {classes}, one per class.")
        matrix, y = np.array(rows) / np.max(rows), _both(y)
        # Not a matrix product: a GPU would round its factors to 10 bits.
        return sum(tf.constant(row, y.dtype) * y[:, c : c + 1] for c, row in enumerate(matrix))

    def _totals(self, parts, pixels, weight):
        """Sums `[G, 1]` of terms `[N]`."""
        if weight is not None:
            parts = tuple(pixels.flat(weight) * terms for terms in parts)
        sums = tuple(pixels.image_sums(terms)[:, None] for terms in parts)
        if self.options["per_image"]:
            return sums
        return ops.replica_sum(tuple(tf.reduce_sum(part, axis=0, keepdims=True) for part in sums))


def both_probabilities(pixels, from_logits):
    """p and 1 - p of sigmoid channels or of probabilities, `[N, K]`; from logits the latter keeps its digits."""
    return pixels.lanes.p, pixels.lanes.q if from_logits else 1.0 - pixels.lanes.p


def _both(y, rest=None):
    """Shares of background (`rest`, 1 - y) and foreground from those of one channel; more channels as they are."""
    return tf.concat([1.0 - y if rest is None else rest, y], axis=-1) if y.shape[-1] == 1 else y


generalized_dice = functional(GeneralizedDice)
log_cosh_dice = functional(LogCoshDice)
mcc = functional(MCC)
wasserstein_dice = functional(WassersteinDice)
