"""The toy study's network forward and back, for many runs side by side, with the derivatives written out by hand.

A loss of two softmax channels reaches the logits as one number a pixel, its derivative by z = z1 - z0 (the derivative
by z0 is the negative), and for all five losses this is a combination, with coefficients that depend on the run only,
of the four fields of `fields_of`. So four fields are carried back through the network instead of five losses, and the
five gradients are combined from the results.
"""

import numpy as np
import tensorflow as tf

from kseg.losses.published import EPSILON
from kseg.ops import stacked
from kseg.studies.toy_runs import SIZE

FILTERS = 4
NORM_EPSILON = 1e-3


def shapes_of(bn, convolutions):
    """Shapes of one run's trainable weights, in the order of `toy_net`; a kernel's 3x3 taps are one axis."""
    shapes = []
    for i in range(convolutions):
        shapes += [(9, FILTERS if i else 1, FILTERS), *[(FILTERS,)] * (2 if bn else 1)]
    return [*shapes, (FILTERS, 2), (2,)]


def split(flat, shapes):
    """`[.., P]` in pieces `[.., *shape]`."""
    pieces = tf.split(flat, [int(np.prod(shape)) for shape in shapes], -1)
    return [tf.reshape(piece, [*flat.shape[:-1], *shape]) for piece, shape in zip(pieces, shapes, strict=True)]


def forward(weights, x, images, on, moving=None):
    """The network of S1.9 on `x` `[R, 1, n + 2 (2 L - 1) EDGE]`, L convolutions.

    Args:
        weights: as `split` gives them.
        x: images in the layout of `stacked.lay_out`.
        images: batch size.
        on: see `stacked.stage`.
        moving: `[R, L, 2, FILTERS]`, moving mean and variance for batch normalisation in inference mode.

    Returns:
        z = z1 - z0 `[R, n + 2 (L - 1) EDGE]`, and what the way back needs, a dict a layer.
    """
    *blocks, head, head_bias = weights
    parts = 3 if len(blocks) % 3 == 0 and len(blocks[2].shape) == 2 else 2
    count = len(blocks) // parts
    a, layers = x, []
    for i in range(count):
        kernel, *affine = blocks[parts * i : parts * (i + 1)]
        valid = stacked.inside(images, SIZE, SIZE, 2 * count - 2 - i, x.dtype.as_numpy_dtype)
        layer = {"input": a, "kernel": kernel, "pixels": valid.sum()}
        if parts == 2:

            def block(a=a, kernel=kernel, bias=affine[0], valid=valid):
                return tf.nn.relu(stacked.convolve(a, kernel, SIZE) + bias[..., None]) * valid

            a = stacked.stage(on, block)
        elif moving is None:
            a = stacked.stage(on, lambda a=a, kernel=kernel: stacked.convolve(a, kernel, SIZE))
            layer |= _normalise(a, valid, on)
            layer["scale"] = affine[0] * layer["inverse"]
            centred = layer["centred"][:, :FILTERS]

            def block(centred=centred, scale=layer["scale"], beta=affine[1], valid=valid):
                return tf.nn.relu(scale[..., None] * centred + beta[..., None]) * valid

            a = stacked.stage(on, block)
        else:
            mean, variance = moving[:, i, 0], moving[:, i, 1]
            scale = affine[0] * tf.math.rsqrt(variance + NORM_EPSILON)
            offset = affine[1] - mean * scale
            a = stacked.stage(on, lambda a=a, kernel=kernel: stacked.convolve(a, kernel, SIZE))
            a = tf.nn.relu(scale[..., None] * a + offset[..., None]) * valid
        layer["output"] = a
        layers.append(layer)
    difference = head[..., 1] - head[..., 0]
    z = tf.add_n([difference[:, c, None] * a[:, c] for c in range(FILTERS)])
    return z + (head_bias[:, 1] - head_bias[:, 0])[:, None], layers


def _normalise(a, valid, on):
    """Batch moments of `[R, C, n]`, and the centred values with `valid` as a further row."""
    pixels = valid.sum()
    mean = tf.einsum("rcn,kn->rck", a, np.stack([valid, valid]))[..., 0] / pixels
    one = tf.broadcast_to(valid, [a.shape[0], 1, a.shape[-1]])
    centred = stacked.stage(on, lambda: tf.concat([(a - mean[..., None]) * valid, one], 1))
    variance = tf.linalg.diag_part(stacked.pixel_products(centred, centred))[:, :-1] / pixels
    return {"mean": mean, "variance": variance, "inverse": tf.math.rsqrt(variance + NORM_EPSILON), "centred": centred}


def fields_of(z, y, valid):
    """Values and derivatives of the five losses of S1.2 to S1.5 for two softmax channels.

    With s = p0 p1 and e = p1 - y, the derivative of every loss by z is a combination of four fields:
    s y, s (1 - y), s e, and e where the probability of the true class is not clipped. The two Dice losses take the
    first two, the squared ones the first three (written so that nothing cancels when e is small), CCE the last.

    Args:
        z: logit of channel 1 minus that of channel 0, `[R, n]`.
        y: 1 on the foreground, `[R, n]`.
        valid: 0 on padding, `[n]`.

    Returns:
        values `[R, 5]` in the order of `LOSS_NAMES`, fields `[R, 4, n]`, and coefficients `[R, 5, 4]`.
    """
    count = valid.sum()
    far = tf.exp(-tf.abs(z))
    near, far = 1 / (1 + far), far / (1 + far)
    p1, p0 = tf.where(z > 0, near, far), tf.where(z > 0, far, near)
    n = valid - y
    e = n * p1 - y * p0
    true = tf.where(y > 0, p1, p0)
    log = -tf.math.log(tf.clip_by_value(true, EPSILON, 1 - EPSILON))
    kept = tf.cast((true >= EPSILON) & (true <= 1 - EPSILON), z.dtype)
    rows = tf.stack([p1, p0, e, log, tf.ones_like(z)], 1)
    sums = stacked.pixel_products(tf.stack([y, n, p1 * valid, p0 * valid, e], 1), rows)
    size1, size0 = sums[:, 0, 4], sums[:, 1, 4]
    cce = (sums[:, 0, 3] + sums[:, 1, 3]) / count
    shared1, shared0 = 2 * sums[:, 0, 0] + EPSILON, 2 * sums[:, 1, 1] + EPSILON
    both1 = size1 + (sums[:, 0, 0] + sums[:, 1, 0]) + EPSILON
    both0 = size0 + (sums[:, 0, 1] + sums[:, 1, 1]) + EPSILON
    square1, square0 = size1 + sums[:, 2, 0] + EPSILON, size0 + sums[:, 3, 1] + EPSILON
    missed = sums[:, 4, 2]
    zero = tf.zeros_like(cce)
    plain1 = tf.stack([-(2 * both1 - shared1), shared1, zero, zero], -1) / both1[:, None] ** 2
    plain0 = tf.stack([-shared0, 2 * both0 - shared0, zero, zero], -1) / both0[:, None] ** 2
    squared1 = 2 * tf.stack([-missed, zero, shared1, zero], -1) / square1[:, None] ** 2
    squared0 = 2 * tf.stack([zero, missed, shared0, zero], -1) / square0[:, None] ** 2
    cce_part = tf.stack([zero, zero, zero, zero + 1 / count], -1)
    coefficients = tf.stack([cce_part, (plain0 + plain1) / 2, plain1, (squared0 + squared1) / 2, squared1], 1)
    dice1, dice0 = shared1 / both1, shared0 / both0
    sharp1, sharp0 = shared1 / square1, shared0 / square0
    values = [cce, 1 - (dice0 + dice1) / 2, 1 - dice1, 1 - (sharp0 + sharp1) / 2, 1 - sharp1]
    s = p0 * p1
    return tf.stack(values, -1), tf.stack([s * y, s * n, s * e, e * kept], 1), coefficients


def backward(weights, layers, fields, on):
    """Carry fields `[R, F, n + 2 (L - 1) EDGE]`, derivatives by z, back to all weights: `[R, F, P]`."""
    head, count = weights[-2], len(layers)
    runs, number = fields.shape[:2]
    last = layers[-1]["output"]
    ends = stacked.pixel_products(fields, tf.concat([last, tf.ones_like(last[:, :1])], 1))
    ends = tf.stack([-ends, ends], -1)
    found = [ends[:, :, :-1], ends[:, :, -1:]]
    difference = (head[..., 1] - head[..., 0])[..., None]

    def enter():
        return fields[:, :, None] * tf.where(last > 0, difference, 0)[:, None]

    back = stacked.stage(on, enter)
    for i in reversed(range(count)):
        layer, surplus = layers[i], 2 * (count - 1 - i)
        if "centred" in layer:
            centred = stacked.inner(layer["centred"], surplus)
            columns = tf.reshape(back, [runs, number * FILTERS, back.shape[-1]])
            products = tf.reshape(stacked.pixel_products(columns, centred), [runs, number, FILTERS, FILTERS + 1])
            sums, products = products[..., -1], tf.linalg.diag_part(products[..., :-1])
            products *= layer["inverse"][:, None]
            found = [products, sums, *found]
            slope = (products * layer["inverse"][:, None] / layer["pixels"])[..., None]
            level = (sums / layer["pixels"])[..., None]
            scale = layer["scale"][:, None, :, None]

            def through(back=back, centred=centred[:, None], scale=scale, level=level, slope=slope):
                return scale * (back - level * centred[:, :, -1:] - slope * centred[:, :, :-1])

            back = stacked.stage(on, through)
        kernel_part, sums = stacked.kernel_gradients(stacked.inner(layer["input"], surplus), back, SIZE)
        found = [kernel_part, *found] if "centred" in layer else [kernel_part, sums, *found]
        if i:
            below = stacked.inner(layers[i - 1]["output"], surplus + 2)

            def descend(back=back, kernel=layer["kernel"], below=below):
                return tf.where(below[:, None] > 0, stacked.convolve_back(back, kernel, SIZE), 0)

            back = stacked.stage(on, descend)
    return tf.concat([tf.reshape(part, [runs, number, -1]) for part in found], -1)
