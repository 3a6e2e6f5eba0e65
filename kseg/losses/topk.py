"""Cross-entropy over the hardest pixels only."""

import tensorflow as tf

from kseg import ops
from kseg.losses.base import functional, register
from kseg.losses.entropy import CCE, product
from kseg.ops.rank import largest


@register("topk_cce", category="distribution", source="Wu et al. 2016")
class TopKCCE(CCE):
    """Categorical cross-entropy of the hardest pixels: the mean over the share k with the largest loss.

    Formula:
        L = sum over the kept pixels of v / sum over them of w, with v = s w l, l = -sum_c y_c log p_c, w the class
        weight and s the sample weight of a pixel (1 without). Kept are the ceil(k n) pixels with the largest v of the
        n that are not ignored, at least one.
    Parameters:
        `k` (0.1): share of the pixels, in (0, 1]; 1 is `cce`.
    Conventions:
        The hardest of the whole batch (and of all replicas), as in nnU-Net, whose k is 10 (per cent) and whose number
        of pixels is rounded down; `per_image=True` takes the hardest of each image. nnU-Net divides by the number of
        pixels kept, whatever their class weights. Wu et al. choose by a threshold on the probability instead. A pixel
        map multiplies the loss before the choice; weight 0 does not leave n, an ignored pixel does. Pixels as hard as
        the last one kept share its place.
    Learning signal:
        Gradient (p - y) / (k n) for each logit of a kept pixel, none for the others: easy background is left alone
        altogether. Wrong labels are among the hardest pixels, so it learns them too; train with `cce` first, or add a
        Dice term.
    Source:
        Wu et al. 2016 (bootstrapped cross-entropy); the share as in nnU-Net (Isensee et al. 2021).

    See `SegmentationLoss` for shapes and the common options.
    """

    defaults = {"k": 0.1}
    stored = True

    def values(self, pixels):
        per_image = self.options["per_image"]
        loss, weight = self.weighted(pixels)
        valid, pixel_weight = pixels.flat(pixels.valid), pixels.flat(pixels.weight)
        loss = product(loss, valid, pixel_weight)
        kept = self._kept(loss, pixels)
        divisor = pixels.image_sums(product(kept, weight, valid))
        if not per_image:
            images = tf.cast(pixels.shape[0], pixels.dtype)
            divisor = tf.math.divide_no_nan(*ops.replica_sum((tf.reduce_sum(divisor), images)))
        mean = tf.math.divide_no_nan(pixels.image_sums(kept * loss), divisor)
        return mean if pixels.image_weight is None else pixels.image_weight * mean

    def _kept(self, loss, pixels):
        """`[N]`: 1 for the pixels that are kept, 0 for the others."""
        per_image, lines = self.options["per_image"], ops.lines_of(pixels.shape[:-1])
        shape = lines if per_image else [1, lines[0] * lines[1], lines[2]]
        rank = tf.reshape(tf.where(loss > 0, loss, tf.zeros_like(loss)), pixels.shape[:-1])
        if pixels.image_weight is not None:
            rank *= tf.reshape(pixels.image_weight, [-1] + [1] * (len(pixels.shape) - 2))
        counted = tf.ones_like(rank) if pixels.valid is None else pixels.valid
        rank, counted = tf.reshape(rank, shape), tf.reshape(counted > 0, shape)
        number = tf.reduce_sum(tf.cast(counted, tf.int64), axis=[1, 2], keepdims=True)
        if not per_image:
            number = ops.replica_sum(number)
        # A millionth of a pixel is rounding: 0.07 * 100 is a little above 7.
        share = tf.math.ceil(self.options["k"] * tf.cast(number, tf.float64) - 1e-6)
        count = tf.maximum(tf.cast(share, tf.int64), 1)
        kept = largest(tf.where(counted, rank, -tf.ones_like(rank)), count, replicas=not per_image)
        return tf.stop_gradient(tf.reshape(kept, [tf.size(loss)]))


topk_cce = functional(TopKCCE)
