"""Losses that weigh pixels by their distance to a boundary."""

import tensorflow as tf

from kseg import ops
from kseg.losses.base import functional, register
from kseg.losses.overlap import OverlapLoss
from kseg.ops.distance import boundary_distance, per_axis, signed_distance


class ShapeLoss(OverlapLoss):
    """A loss that depends on where pixels lie, over the foreground classes unless `include_background=True`.

    Options beside those of `SegmentationLoss`: `head` and `include_background` (False), as in `OverlapLoss`. Weights
    act inside the sums as there: a pixel of weight 2 counts twice where it is. Ignored pixels and those of weight 0 are
    as if outside the image: they belong neither to an object nor to the background.
    """

    without = ("squared", "smooth", "empty")
    defaults = {"include_background": False}

    def class_losses(self, y, p, labels, weight, counted):
        """Loss `[G, C]` of the classes that count.

        Args:
            y, p, labels: `[B, *S, C]`; labels are y before smoothing.
            weight: `[B, *S]` or None.
            counted: `[B, *S]` of bool, or None for all.
        """
        raise NotImplementedError

    def values(self, pixels):
        first, weight = self._first(pixels.classes), self._weight(pixels)
        y, p, labels = (part[..., first:] for part in (pixels.y, pixels.p, pixels.labels))
        loss = self.class_losses(y, p, labels, weight, None if weight is None else weight > 0)
        loss = self.over_classes(loss, self._class_weights(pixels))
        if self.options["per_image"]:
            return loss if pixels.image_weight is None else pixels.image_weight * loss
        return tf.broadcast_to(loss, pixels.shape[:1])

    def sums(self, weight, *terms):
        """Weighted sums `[G, C]` of terms `[B, *S, C]`: over each image, or over the batch and all replicas."""
        totals = tuple(ops.space_sum(term if weight is None else weight[..., None] * term) for term in terms)
        if self.options["per_image"]:
            return totals
        return ops.replica_sum(tuple(tf.reduce_sum(total, axis=0, keepdims=True) for total in totals))

    def mean(self, weight, term):
        """Weighted mean `[G, C]` of a term over pixels; 0 where nothing counts."""
        return tf.math.divide_no_nan(*self.sums(weight, term, tf.ones_like(term)))


def _per_class(transform, masks, counted, *, spacing, dtype, **options):
    """A map `[B, *S]` of each channel of `[B, *S, C]`, one after the other, to need the memory of one only."""
    scale = per_axis(spacing, masks.shape.rank - 2, dtype)

    def of_class(c):
        return transform(tf.gather(masks, c, axis=-1), scale, counted=counted, dtype=dtype, **options)

    signature = tf.TensorSpec(masks.shape[:-1], dtype)
    maps = tf.map_fn(of_class, tf.range(masks.shape[-1]), fn_output_signature=signature)
    return tf.transpose(maps, [*range(1, masks.shape.rank), 0])


@register("boundary", category="boundary", source="Kervadec et al. 2019")
class Boundary(ShapeLoss):
    """Boundary loss: the mean of the probability times the signed distance to the reference.

    Formula:
        L = mean over foreground classes and pixels of p phi, phi the distance to the reference mask outside it, and one
        minus the distance to its complement inside: 0 on its outermost pixels, below 0 further in.
    Parameters:
        `spacing` (None): size of a pixel along each axis; distances are in its unit. None is 1.
    Conventions:
        As in the authors' code, whose classes are chosen by `idc` and whose maps come from the data loader; here the
        map is computed in the graph (exact, scipy's to rounding). With a spacing the "one" is its smallest entry.
        Labels are hard for the map: y > 0.5. A mask that is empty or full has no boundary: its map is 0 (theirs for an
        empty one too; for a full one theirs is not defined). The value may be negative, and grows with the size of the
        image.
    Learning signal:
        Linear in p: a false positive far away costs more than one at the edge. No signal where the mask is empty, and
        the trivial p = 0 is not far from the optimum for small objects, so add it to a region loss. The authors raise
        its share during training: alpha from 1 in (alpha `generalized_dice` + (1 - alpha) `boundary`) down by 0.01 an
        epoch; a fixed sum such as "dicefg + 0.01*boundary" does in most cases.
    Source:
        Kervadec et al. 2019, eq. 5.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    without = ("label_smoothing",)
    defaults = {"spacing": None}

    def view(self):
        given = ("from_logits", "ignore_class", "dtype")
        return {"head": self.head, "label_smoothing": 0.0, **{name: self.options[name] for name in given}}

    def class_losses(self, y, p, labels, weight, counted):
        spacing = self.options["spacing"]
        distance = _per_class(signed_distance, labels > 0.5, counted, spacing=spacing, dtype=p.dtype)
        distance = tf.where(labels == labels, distance, labels)  # nan, the mark of a wrong label
        return self.mean(weight, p * distance)


@register("hausdorff", category="boundary", source="Karimi and Salcudean 2019")
class Hausdorff(ShapeLoss):
    """Hausdorff loss (distance transform): squared errors weighted by their distance to the boundaries.

    Formula:
        L = mean over foreground classes and pixels of (p - y)^2 (d_y^alpha + d_p^alpha), d_y the distance to the
        boundary of the reference and d_p to that of the prediction, p > 0.5.
    Parameters:
        `alpha` (2): above 0, the paper's alpha; the larger, the more the largest distance counts.
        `one_sided` (False): leave out d_p, which halves the cost (the paper's one-sided form).
        `spacing` (None): size of a pixel along each axis; distances are in its unit. None is 1.
    Conventions:
        As in MONAI's HausdorffDTLoss: distances run to the nearest pixel of the other side, at least 1. The paper adds
        the loss to a Dice loss with a weight that keeps both equally large. d_p is constant to the gradient, as there.
        A mask that is empty or full has no boundary: its distance is 0. The value grows with the square of the size of
        the image.
    Learning signal:
        Far errors dominate, such as stray false positives; yet the first of them can lower the value, since d_p of the
        pixels around it becomes small (not with `one_sided`). Factor p (1 - p): no gradient where p is 0 or 1. Where
        the reference is empty only d_p is left. Add it to a region loss: "dicefg + 0.01*hausdorff".
    Source:
        Karimi and Salcudean 2019, eq. 8; one-sided eq. 9.

    See `OverlapLoss` and `SegmentationLoss` for shapes and options.
    """

    defaults = {"alpha": 2.0, "one_sided": False, "spacing": None}

    def class_losses(self, y, p, labels, weight, counted):
        masks = (labels,) if self.options["one_sided"] else (labels, p)
        return self.mean(weight, tf.math.squared_difference(p, y) * sum(self._power(mask, counted) for mask in masks))

    def _power(self, scores, counted):
        kind = {"spacing": self.options["spacing"], "squared": True, "dtype": scores.dtype}
        square = _per_class(boundary_distance, scores > 0.5, counted, **kind)
        return square if self.options["alpha"] == 2 else tf.pow(square, self.options["alpha"] / 2)


boundary = functional(Boundary)
hausdorff = functional(Hausdorff)
