"""Soft skeleton: the centre lines of a soft mask, by repeated soft erosion and opening."""

import numpy as np
import tensorflow as tf


def soft_skeleton(p, iterations, *, counted=None):
    """Centre lines of soft masks, differentiable with respect to them.

    S = 1 - prod over j = 0 .. iterations of (1 - relu(E_j - open(E_j))), E_0 = p and E_(j+1) = erode(E_j). Erosion is
    the minimum over a pixel and its neighbours along the axes (4 in 2-D, 6 in 3-D), dilation the maximum over the
    3 x 3 (x 3) block, opening an erosion and a dilation; what lies outside the image counts in neither.

    Structures of radius up to `iterations` become lines; thicker ones keep their core only. The authors' PyTorch code
    (and MONAI's) is the same formula; their Keras code is 3-D only and erodes with the three 3 x 3 planes, so it
    thins faster. Both erode twice per step; once suffices. Where several pixels of a block share the extreme value,
    the gradient is divided among them evenly. It can be differentiated once; a second derivative is nan.

    Args:
        p: `[B, *S, C]` in [0, 1], floating, S of 2 or 3 axes; each channel by itself.
        iterations: number of erosions, at least 0.
        counted: `[B, *S]` of bool, or None for all; pixels that do not count are taken as outside the image.

    Returns:
        `[B, *S, C]` in [0, 1], 0 where pixels do not count.

    Example:
        >>> bar = tf.constant([[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
        >>> soft_skeleton(tf.cast(bar, tf.float32)[None, ..., None], 2)[0, :, 2, 0].numpy().tolist()
        [0.0, 0.0, 1.0, 0.0, 0.0]

    Source: Shit et al. 2021, algorithm 1.
    """
    if p.shape.rank not in (4, 5):
        raise ValueError(f"p has shape {p.shape}. Expected [B, H, W, C] or [B, D, H, W, C].")
    rank = p.shape.rank
    first = tf.transpose(p, [rank - 1, *range(rank - 1)])
    shape = tf.shape(first)
    images = tf.concat([shape[:1] * shape[1:2], shape[2:]], 0)  # every channel an image: long rows run faster
    if counted is not None:
        counted = tf.reshape(tf.broadcast_to(counted, shape), images)
        first = tf.where(tf.reshape(counted, shape), first, tf.zeros_like(first))
    thin = _skeleton(tf.reshape(first, images), iterations, counted)
    return tf.transpose(tf.reshape(thin, shape), [*range(1, rank), 0])


def _skeleton(x, iterations, counted):
    """`soft_skeleton` of images `[A, *S]`, with its gradient in closed form.

    Differentiating the poolings costs several times as much, for XLA has but a slow gradient of them.
    """
    rank, dtype = x.shape.rank - 1, x.dtype
    steps = [[tuple(way * (a == axis) for a in range(rank)) for way in (-1, 1)] for axis in range(rank)]
    cross = [by for axis in steps for by in axis]
    infinity = tf.constant(np.inf, dtype)

    def outside(tensor, value):
        return tensor if counted is None else tf.where(counted, tensor, tf.cast(value, dtype))

    def erode(x):
        x = outside(x, infinity)
        least = x
        for by in cross:
            least = tf.minimum(least, _moved(x, by, infinity))
        return outside(least, 0)

    def dilate(x):
        """The stages of a dilation, one axis after the other."""
        stages = [outside(x, -infinity)]
        for axis in range(rank):
            stages.append(_line_maximum(stages[-1], axis))
        return stages

    def forward(j, x, skeleton, inputs, before):
        eroded = erode(x)
        left = tf.nn.relu(x - outside(dilate(eroded)[-1], 0))
        inputs, before = inputs.write(j, x), before.write(j, skeleton)
        return j + 1, eroded, skeleton + left * (1.0 - skeleton), inputs, before

    @tf.custom_gradient
    def run(x):
        arrays = [tf.TensorArray(dtype, iterations + 1, element_shape=x.shape) for _ in range(2)]
        start = [0, x, tf.zeros_like(x), *arrays]
        _, core, skeleton, *arrays = tf.while_loop(lambda j, *_: j <= iterations, forward, start)
        core, inputs, before = (tf.stop_gradient(part) for part in (core, *(array.stack() for array in arrays)))

        def backward(j, eroded, d_skeleton, d_eroded):
            x, stages = inputs[j], dilate(eroded)
            opened = outside(stages[-1], 0)
            d_left = tf.where(x > opened, d_skeleton * (1.0 - before[j]), 0.0)
            d_stage = -d_left
            for axis in reversed(range(rank)):
                d_stage = _to_extreme(d_stage, stages[axis], stages[axis + 1], steps[axis], -infinity)
            d_x = d_left + _to_extreme(outside(d_eroded + d_stage, 0), outside(x, infinity), eroded, cross, infinity)
            return j - 1, x, d_skeleton * (1.0 - tf.nn.relu(x - opened)), outside(d_x, 0)

        @tf.custom_gradient
        def slope(upstream, x):
            start = [iterations, core, upstream, tf.zeros_like(x)]
            d_x = tf.while_loop(lambda j, *_: j >= 0, backward, start)[-1]
            unknown = tf.fill(tf.shape(x), tf.constant(np.nan, dtype))  # no second derivative, and none that is wrong
            return d_x, lambda _: (unknown, unknown)

        return skeleton, lambda upstream: slope(upstream, x)

    return run(x)


def _moved(x, by, fill):
    """x[i + by], `fill` beyond the border; `by` has one entry of -1, 0 or 1 per spatial axis."""
    pads = [[0, 0], *([max(-step, 0), max(step, 0)] for step in by)]
    return tf.slice(tf.pad(x, pads, constant_values=fill), [0, *(max(step, 0) for step in by)], tf.shape(x))


def _line_maximum(x, axis):
    """Maximum of each pixel of `[A, *S]` and its two neighbours along an axis of S."""
    shape = tf.shape(x)  # as images of lines, for 3-D pooling knows no float64
    view = [tf.reduce_prod(shape[: axis + 1]), shape[axis + 1], tf.reduce_prod(shape[axis + 2 :]), 1]
    return tf.ensure_shape(tf.reshape(tf.nn.max_pool2d(tf.reshape(x, view), [3, 1], 1, "SAME"), shape), x.shape)


def _to_extreme(upstream, x, extreme, neighbours, fill):
    """Gradient with respect to `x` of `extreme`, its minimum or maximum over each pixel and its `neighbours`."""
    equal = [tf.cast(_moved(x, by, fill) == extreme, x.dtype) for by in neighbours]
    ties = tf.add_n([tf.cast(x == extreme, x.dtype), *equal])
    share = upstream / tf.maximum(ties, 1.0)  # a plain quotient: XLA stores it, where it would compute others again
    result = tf.where(x == extreme, share, 0.0)
    for by in neighbours:
        there, part = _moved(extreme, by, fill), _moved(share, by, 0)
        result += tf.where(x == there, part, 0.0)
    return result
