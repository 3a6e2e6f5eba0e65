"""What losses that are a ratio of sums share: the sums, classes without reference, the mean over classes."""

import tensorflow as tf

from kseg import ops
from kseg.losses.base import SegmentationLoss
from kseg.losses.entropy import class_weights


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
        weight = self._weight(pixels)
        squared = self.options.get("squared", self.squared)
        sums = self._sums(pixels, weight, squared)
        loss = self._group_loss(sums, pixels, weight, squared)
        if self.options["per_image"]:
            return loss if pixels.image_weight is None else pixels.image_weight * loss
        return tf.broadcast_to(loss, pixels.shape[:1])

    def _weight(self, pixels):
        """What each pixel counts in the sums, `[B, *S]`, or None for all 1."""
        weight = pixels.weight
        if pixels.valid is not None:
            weight = pixels.valid if weight is None else weight * pixels.valid
        if pixels.image_weight is not None and not self.options["per_image"]:
            image_weight = tf.reshape(pixels.image_weight, [-1] + [1] * (len(pixels.shape) - 2))
            weight = tf.ones(pixels.shape[:-1], pixels.dtype) if weight is None else weight
            weight = image_weight * weight
        return weight

    def _group_loss(self, sums, pixels, weight, squared):
        """`[G]`: the loss of each group of pixels that has sums of its own."""
        loss, weights = self.class_loss(self.score(sums)), self._class_weights(pixels)
        return self.over_classes(*self._absent(loss, weights, sums, pixels, weight, squared))

    def _sums(self, pixels, weight, squared=False):
        """OverlapSums `[G, K]` of the classes that count, over all replicas."""
        per_image = self.options["per_image"]
        if pixels.from_logits:
            lanes, flat = pixels.lanes, pixels.flat(weight)
            kind = {"head": pixels.head, "shape": pixels.shape[:-1], "per_image": per_image, "squared": squared}
            truth = pixels.plain_truth(per_image) if weight is None and not squared else None
            sums = ops.logit_overlap(lanes.logits, lanes.unmarked, flat, marked=lanes.y, truth=truth, **kind)
            if not per_image:
                sums = ops.OverlapSums(*ops.replica_sum(tuple(sums)))
        else:
            sums = self._plain_sums(pixels, weight, squared)
        return ops.OverlapSums(*(part[:, self._first(pixels.classes) :] for part in sums))

    def _plain_sums(self, pixels, weight, squared):
        """OverlapSums `[G, K]` of all classes from probabilities; nan labels show in the first sum."""
        per_image, lanes = self.options["per_image"], pixels.lanes
        y, p = lanes.unmarked, lanes.p
        parts = [lanes.y * p, tf.square(y) if squared else y, tf.square(p) if squared else p]
        if weight is not None:
            each = pixels.flat(weight)[:, None]
            parts = [each * part for part in parts]
        sums = tuple(lanes.sums(part, per_image) for part in parts)
        return ops.OverlapSums(*(sums if per_image else ops.replica_sum(sums)))

    def _first(self, classes):
        """The first channel that counts."""
        background = self.options.get("include_background", self.background)
        return 0 if background or classes == 1 else 1

    def _class_weights(self, pixels):
        """Class weights `[1, K]` of mean 1, of the classes that count."""
        classes = pixels.classes
        weights = class_weights(self.options["class_weights"], max(classes, 2), pixels.dtype)
        if weights is None or classes == 1:
            weights = tf.ones([classes], pixels.dtype)
        weights = weights[self._first(classes) :]
        return tf.math.divide_no_nan(weights, tf.reduce_mean(weights))[None]

    def _absent(self, loss, weights, sums, pixels, weight, squared):
        """Loss and weights with the classes that the reference lacks treated as `empty` says."""
        empty = self.options.get("empty", "smooth")
        if empty == "smooth":
            return loss, weights
        # Smoothed labels leave no class empty; nan, the mark of a label outside the classes, stays.
        absent = (self._plain_truth(pixels, weight) if pixels.smoothed else sums.truth) <= 0
        absent &= loss == loss
        if empty == "skip":
            return loss, tf.where(absent, tf.zeros_like(weights), weights)
        if empty == "penalise_fp":
            plain = self._sums(pixels, weight) if squared else sums
            ones = tf.ones([*pixels.shape[:-1], 1], pixels.dtype)
            counted = ops.overlap_sums(ones, ones, weight, per_image=self.options["per_image"]).truth
            instead = ops.safe_ratio(plain.prediction, counted, empty=0.0)
        else:
            instead = tf.ones_like(loss) if empty == "one" else tf.zeros_like(loss)
        return tf.where(absent, instead, loss), weights

    def _plain_truth(self, pixels, weight):
        """Size of the reference before label smoothing, `[G, K]`."""
        labels = pixels.labels[..., self._first(pixels.classes) :]
        return ops.overlap_sums(labels, labels, weight, per_image=self.options["per_image"]).truth
