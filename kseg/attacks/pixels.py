"""The pixel attack: replace the N pixels of highest gradient, and count what the model still finds (S0.8 to S0.14).

Example:
    >>> import kseg.saliency as saliency  # doctest: +SKIP
    >>> maps = saliency.Explainer(model)(images)  # doctest: +SKIP
    >>> ranked = rank_pixels(maps, 50)  # doctest: +SKIP
    >>> hits = PixelSweep(model)(images, masks, ranked, settings_of([1, 5, 50], draws=range(100)))  # doctest: +SKIP
    >>> hits.dice().mean(axis=0)  # doctest: +SKIP
"""

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kseg.attacks.pixel_ops import draw_values, rank_pixels, replace_pixels
from kseg.attacks.pixel_settings import DRAW, STEP, Setting, distinct, settings_of
from kseg.metrics.counts import Counts, dice, ratio_of

__all__ = ["PixelHits", "PixelSweep", "Setting", "draw_values", "rank_pixels", "replace_pixels", "settings_of"]

CHUNK = 32
IGNORED = 255  # id of mask pixels that do not count


class PixelHits(NamedTuple):
    """What a model found of N images under P settings, per foreground class: arrays `[N, P, F]`.

    `tp`, `fp`, `fn` int64 are of the predicted mask; `overlap`, the sum of y p, and `mass`, the sum of p, float64 of
    the probabilities.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    overlap: np.ndarray
    mass: np.ndarray

    @property
    def area(self):
        """Pixels of the predicted mask."""
        return self.tp + self.fp

    def dice(self, empty="nan"):
        """Dice of the predicted mask `[N, P, F]`; `empty` where it and the true one are empty."""
        return dice(Counts(self.tp, self.fp, self.fn, np.zeros_like(self.tp)), empty)

    def soft_dice(self, empty="nan"):
        """2 sum(y p) / (sum(y) + sum(p)), Dice without a threshold `[N, P, F]` (S0.14)."""
        return ratio_of(2 * self.overlap, self.mass + self.tp + self.fn, empty)


class PixelSweep:
    """Attack images in many ways with one compiled program.

    Every pair of image and setting is a pass; a graph loop takes `chunk` of them at a time through the model and keeps
    only counts, so the memory is that of `model.predict` with batches of `chunk`, and of the images. Other numbers of
    images, pixels or settings run the same program, and it sees weights that change. A model of open input size takes
    images of the sizes that it can (multiples of 2^depth for a U-Net); each size is compiled once more under `jit`.

    Args:
        model: gives probabilities `[B, H, W, K]`; K = 1 one foreground class, K >= 2 with channel 0 the background. It
            runs in inference mode.
        threshold: above it a pixel is foreground, K = 1 only; else the class of highest probability.
        chunk: passes at a time.
        jit: whether XLA compiles what is done with a chunk. The loop stays a graph's: XLA on a CPU runs convolutions
            within its own loops 10 to 30 times slower.

    Raises:
        ValueError: a model that ends in logits, or has several inputs or outputs.
    """

    def __init__(self, model, threshold=0.5, chunk=CHUNK, jit=False):
        if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.output_shape) != 4:
            raise ValueError(f"model {model.name!r} does not fit. Expected one input and one output [B, H, W, K].")
        if model.layers[-1].name == "logits":
            raise ValueError(
                f"model {model.name!r} ends in logits. Expected probabilities; take "
                "kseg.models.with_probabilities(model, 'sigmoid') or 'softmax'."
            )
        if int(chunk) != chunk or chunk < 1:
            raise ValueError(f"chunk={chunk} does not fit. Expected a whole number of at least 1.")
        self.model, self.threshold, self.chunk, self.jit = model, threshold, int(chunk), jit
        self.outputs = model.output_shape[-1]
        self._hits = tf.function(self._count, jit_compile=True) if jit else self._count

    @cached_property
    def _program(self):
        """The compiled program. Concrete, since several sweeps in a row look to TensorFlow like one that retraces."""
        size, spec = self.model.input_shape[1:], tf.TensorSpec
        columns = [spec((None,), dtype) for dtype in (tf.int32, tf.int32, tf.int32, tf.float32)]
        drawing = [spec((), tf.int64), spec((), tf.float32), spec((), tf.float32)]
        return tf.function(self._run, autograph=False).get_concrete_function(
            spec((None, *size)), spec((None, *size[:2]), tf.uint8), spec((None, None), tf.int32),
            spec((None, None, size[2])), spec((None,), tf.int64), columns, drawing, spec((), tf.int32),
        )  # fmt: skip

    def __call__(
        self, images, masks, ranked, settings, rows=None, directions=None, boxes=None, low=0.0, high=1.0, seed=0
    ):
        """Count hits under every setting; settings that do the same are run once.

        Args:
            images: `[N, H, W, C]`; float32, of any range, since nothing is clipped.
            masks: `[N, H, W]` class ids, 0 the background.
            ranked: `[N, R]` pixels of `rank_pixels`, R at least the largest count; -1 for no pixel.
            settings: P of `Setting`.
            rows: `[N]` numbers of the images, which random values depend on; by default 0 to N - 1.
            directions: `[N, H, W, C]` whose signs settings with `step` add; nan stands for 0.
            boxes: None, or `[N, 4]` (y0, y1, x0, x1) outside of which pixels do not count.
            low, high: bounds of random values.
            seed: of random values, in [0, 2^32).

        Returns:
            PixelHits.

        Raises:
            ValueError: arguments that do not fit the model or each other.
        """
        images, masks, ranked = np.asarray(images, np.float32), np.asarray(masks), np.asarray(ranked, np.int32)
        rows = np.arange(len(images)) if rows is None else np.asarray(rows)
        self._check(images, masks, ranked, settings, rows, directions, boxes)
        keys, column = distinct(settings)
        masks = _crop(masks.astype(np.uint8), boxes)
        passes = len(images) * len(keys[0])
        # Equal chunks; but a number that depends on the call would have XLA compile the model for each.
        size = self.chunk if self.jit else math.ceil(passes / math.ceil(passes / self.chunk))
        numbers = self._program(
            images, masks, ranked, _signs(directions, ranked, images.shape), rows.astype(np.int64), keys,
            [np.int64(seed), np.float32(low), np.float32(high)], np.int32(size),
        )  # fmt: skip
        numbers = numbers.numpy().reshape(len(images), len(keys[0]), 4, -1)[:, column]
        found, area = (np.rint(numbers[:, :, i]).astype(np.int64) for i in range(2))
        true = np.stack([(masks == k).sum(axis=(1, 2)) for k in range(1, found.shape[-1] + 1)], axis=-1)[:, None]
        return PixelHits(found, area - found, true - found, numbers[:, :, 2], numbers[:, :, 3])

    def _run(self, images, masks, ranked, signs, rows, keys, drawing, size):
        """`[N * U, 4, F]` float64: true positives, predicted pixels, sum of y p, and of p, of every pass."""
        ways = tf.size(keys[0])
        passes = tf.shape(images)[0] * ways
        chunks = (passes + size - 1) // size
        found = tf.TensorArray(tf.float64, chunks, element_shape=[None, 4, max(self.outputs - 1, 1)])

        def body(i, found):
            # Numbers past the end repeat the last pass, so that all chunks have one size.
            number = tf.minimum(tf.range(i * size, (i + 1) * size), passes - 1)
            image, way = number // ways, number % ways
            clean, pixels = tf.gather(images, image), tf.gather(ranked, image)
            count, kind, draw, value = (tf.gather(key, way)[:, None] for key in keys)
            pixels = tf.where(tf.range(tf.shape(pixels)[1])[None] < count, pixels, -1)
            drawn = draw_values(tf.gather(rows, image), tf.shape(pixels)[1], draw[:, 0], *drawing)
            there = tf.gather(
                tf.reshape(clean, [size, -1, images.shape[-1]]), tf.maximum(pixels, 0), batch_dims=1
            ) + value[..., None] * tf.gather(signs, image)
            values = tf.where(kind == DRAW, drawn, value)[..., None]
            values = tf.where(kind[..., None] == STEP, there, values)
            return i + 1, found.write(i, self._hits(replace_pixels(clean, pixels, values), tf.gather(masks, image)))

        _, found = tf.while_loop(lambda i, _: i < chunks, body, [0, found], parallel_iterations=1)
        return found.concat()[:passes]

    def _count(self, images, masks):
        p = tf.cast(self.model(images, training=False), tf.float32)
        if self.outputs == 1:
            shown = p > self.threshold
        else:
            p, shown = p[..., 1:], tf.argmax(p, axis=-1)[..., None] == tf.range(1, self.outputs, dtype=tf.int64)
        classes = tf.range(1, p.shape[-1] + 1)
        ids = tf.cast(masks, tf.int32)[..., None]
        true, counts = ids == classes, ids != IGNORED
        terms = [true & shown, shown & counts, tf.where(true, p, 0.0), tf.where(counts, p, 0.0)]
        return tf.stack([tf.reduce_sum(tf.cast(term, tf.float64), axis=[1, 2]) for term in terms], axis=1)

    def _check(self, images, masks, ranked, settings, rows, directions, boxes):
        size = self.model.input_shape[1:]
        if images.ndim != 4 or any(n not in (None, m) for n, m in zip(size, images.shape[1:], strict=True)):
            raise ValueError(f"images of shape {images.shape} do not fit the model. Expected [N, {size}].")
        if masks.shape != images.shape[:3] or masks.dtype.kind not in "biu":
            raise ValueError(f"masks are {masks.dtype} {masks.shape}. Expected integer ids {images.shape[:3]}.")
        classes = max(self.outputs, 2)
        if masks.size and not 0 <= masks.min() <= masks.max() < min(classes, IGNORED):
            raise ValueError(f"ids run from {masks.min()} to {masks.max()}. Expected 0 to {classes - 1}.")
        if not len(images) or not len(settings):
            raise ValueError(f"{len(images)} images under {len(settings)} settings. Expected at least one of each.")
        most = max(setting.count for setting in settings)
        if ranked.ndim != 2 or len(ranked) != len(images) or ranked.shape[1] < most:
            raise ValueError(f"ranked of shape {ranked.shape} does not fit. Expected [{len(images)}, {most} or more].")
        pixels = images.shape[1] * images.shape[2]
        if ranked.size and ranked.max() >= pixels:
            raise ValueError(f"ranked holds pixel {ranked.max()}. Expected less than {pixels}.")
        for name, given, shape in (("rows", rows, (len(images),)), ("boxes", boxes, (len(images), 4))):
            if given is not None and np.shape(given) != shape:
                raise ValueError(f"{name} have shape {np.shape(given)}. Expected {shape}, one of each image.")
        if directions is None and any(setting.step is not None for setting in settings):
            raise ValueError("settings with a step have no directions. Expected directions=maps, like the images.")
        if directions is not None and np.shape(directions) != images.shape:
            raise ValueError(f"directions have shape {np.shape(directions)}. Expected that of images, {images.shape}.")


def _crop(masks, boxes):
    """Masks whose pixels outside of their box have the id `IGNORED`."""
    if boxes is None:
        return masks
    y0, y1, x0, x1 = np.asarray(boxes).T[:, :, None, None]
    y, x = np.arange(masks.shape[1])[:, None], np.arange(masks.shape[2])
    return np.where((y >= y0) & (y < y1) & (x >= x0) & (x < x1), masks, np.uint8(IGNORED))


def _signs(directions, ranked, shape):
    """Signs of the directions at the ranked pixels `[N, R, C]`."""
    if directions is None:
        return np.zeros((*ranked.shape, shape[-1]), np.float32)
    flat = np.nan_to_num(np.sign(directions)).astype(np.float32).reshape(len(ranked), -1, shape[-1])
    return np.take_along_axis(flat, np.maximum(ranked, 0)[..., None], axis=1)
