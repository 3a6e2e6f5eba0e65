"""Labels and scores without space: a row of classes for each pixel."""

from functools import cached_property

import tensorflow as tf

from kseg import ops

CLIP = 1e-7


class Lanes:
    """Labels and scores of `Pixels` as `[N, K]`, N = B x space.

    Each is computed on first use: `y`, `logits`, and p, q = 1 - p and their logarithms.
    """

    def __init__(self, pixels):
        self._pixels = pixels

    def sums(self, terms, per_image):
        """Sums of terms over the pixels of each image `[B, K]`, or of all images `[1, K]`, on this replica."""
        return ops.group_sums(terms, self._pixels.shape[:-1], per_image)

    def elementwise(self, function):
        """`function(logits, plain)` of every entry by itself, `[N, K]`.

        Along all entries rather than along classes; but for labels made from ids, where XLA would have to divide to
        find the pixel of each.
        """
        run = function if self._from_ids else ops.along_pixels(function)
        return run(self.logits, self.plain)

    @property
    def _from_ids(self):
        return self._pixels.sparse and self._pixels.classes > 1

    @property
    def plain(self):
        """`y` for terms that are summed over the classes, the sum of which is then multiplied by `strays`.

        With nan in each entry made from an id XLA on a CPU takes six times as long.
        """
        return self.unmarked if self._from_ids else self.y

    @cached_property
    def strays(self):
        """What multiplies a sum of terms of `plain`, `[N]`: nan where an id is no class, else 1; or None."""
        if not self._from_ids:
            return None
        known = self._pixels.flat(self._pixels.source[1])
        one = tf.ones_like(known, self._pixels.dtype)
        return tf.where(known, one, float("nan") * one)

    @cached_property
    def unmarked(self):
        """`y`, except that labels which are none are any number: for terms to which another adds the nan."""
        pixels = self._pixels
        if not pixels.sparse:
            return pixels.smooth(ops.pixel_rows(pixels.source))
        if pixels.classes == 1:
            return self.y
        return pixels.smooth(self._one_hot)

    @cached_property
    def _one_hot(self):
        pixels = self._pixels
        ids = pixels.flat(pixels.source[0])
        return tf.cast(ids[:, None] == tf.range(pixels.classes, dtype=ids.dtype), pixels.dtype)

    @cached_property
    def y(self):
        pixels = self._pixels
        if not pixels.sparse or pixels.classes == 1:
            dense = pixels.source if not pixels.sparse else pixels.labels
            return pixels.smooth(ops.shares_or_nan(ops.pixel_rows(dense)))
        known = pixels.flat(pixels.source[1])[:, None]
        return pixels.smooth(tf.where(known, self._one_hot, tf.constant(float("nan"), pixels.dtype)))

    def mass(self, weights=None):
        """sum_c w_c y_c of each pixel, `[N]`, w `[K]` or all 1; nan where the labels are none."""
        pixels = self._pixels
        if not pixels.sparse or pixels.smoothed or pixels.classes == 1:
            return ops.over_classes(self.y if weights is None else weights * self.y)[:, 0]
        ids, known = (pixels.flat(tensor) for tensor in pixels.source)
        own = tf.ones_like(ids, pixels.dtype)
        if weights is not None:
            own = tf.gather(weights, tf.cast(tf.clip_by_value(ids, 0, pixels.classes - 1), tf.int32))
        return tf.where(known, tf.where(ids < 0, tf.zeros_like(own), own), tf.constant(float("nan"), pixels.dtype))

    @cached_property
    def logits(self):
        return ops.pixel_rows(self._pixels.scores)

    @cached_property
    def _shares(self):
        """(p, 1 - p)."""
        if self._pixels.softmax:
            p = ops.softmax_probabilities(self.logits)
            return p, 1.0 - p
        if self._pixels.from_logits:
            return ops.sigmoid_pair(self.logits)
        p = ops.pixel_rows(self._pixels.scores)
        return p, 1.0 - tf.clip_by_value(p, CLIP, 1.0 - CLIP)

    @cached_property
    def _logarithms(self):
        """(log p, log (1 - p)); a softmax of logits has no second one."""
        if self._pixels.softmax:
            return ops.softmax_logarithms(self.logits), None
        if self._pixels.from_logits:
            return ops.sigmoid_logarithms(self.logits)
        clipped = tf.clip_by_value(ops.pixel_rows(self._pixels.scores), CLIP, 1.0 - CLIP)
        return tf.math.log(clipped), tf.math.log(1.0 - clipped)

    p = property(lambda self: self._shares[0])
    q = property(lambda self: self._shares[1])
    log_p = property(lambda self: self._logarithms[0])
    log_q = property(lambda self: self._logarithms[1])
