"""Occlusion: what the score loses when a window of the image is covered."""

import math

import numpy as np
import tensorflow as tf

from kseg.saliency.methods import METHODS


@METHODS.register("occlusion", source="Zeiler and Fergus 2013")
def occlusion(view, images, rows, *, size=5, stride=2, value=0.0):
    """Mean drop of the score over the windows that cover a pixel, `[B, *S, 1]`: a window covers all channels.

    Windows start at whole multiples of the stride and reach over the edges, so that the pixels there are covered as
    often as those inside.

    Args:
        size: of the windows in pixels, one number or one per axis.
        stride: pixels between them, not above `size`.
        value: what they hold: a number, or one per channel.
    """
    axes = images.shape.rank - 2
    sides = [size] * axes if np.ndim(size) == 0 else list(size)
    if len(sides) != axes or stride > min(sides):
        raise ValueError(
            f"size={size!r} and stride={stride!r} do not fit images of {axes} axes. Expected a size per axis, none "
            "below the stride: pixels between the windows would not be covered."
        )
    lengths = tf.unstack(tf.shape(images)[1:-1])
    firsts = [-((side - 1) // stride) * stride for side in sides]
    numbers = [(length - 1 - first) // stride + 1 for length, first in zip(lengths, firsts, strict=True)]
    clean, cover = view.terms(images), tf.constant(value, tf.float32)

    def window(i):
        """True within window i, `[1, *S, 1]`."""
        inside = tf.ones([1] * (axes + 2), tf.bool)
        for axis in reversed(range(axes)):
            start = firsts[axis] + i % numbers[axis] * stride
            i //= numbers[axis]
            place = tf.reshape(tf.range(lengths[axis]), [-1 if a == axis + 1 else 1 for a in range(axes + 2)])
            inside &= (place >= start) & (place < start + sides[axis])
        return inside

    def step(i, total, covered):
        inside = window(i)
        drop = -view.change(clean, tf.ensure_shape(tf.where(inside, cover, images), images.shape))
        inside = tf.cast(inside, tf.float32)
        return i + 1, total + tf.reshape(drop, [-1] + [1] * (axes + 1)) * inside, covered + inside

    count, zeros = math.prod(numbers), tf.zeros_like(images[..., :1])
    covered = tf.ensure_shape(tf.zeros([1, *lengths, 1]), [1, *zeros.shape[1:]])
    start = (tf.constant(0), zeros, covered)
    _, total, covered = tf.while_loop(lambda i, *_: i < count, step, start, parallel_iterations=1)
    return total / covered
