"""Tiny convolutional networks side by side: R sets of weights along a leading axis, no convolution op.

The pixels of a batch lie along one axis, the last one, so that a 3x3 convolution is nine scaled and shifted copies,
long loops that XLA makes into vector code; its own convolutions are built for many channels. Each image row is
followed by one zero and each image by a row of them, which stand for "same" padding on all sides. Beyond both ends of
a batch an array may carry `margin` further strips of `EDGE` zeros; a shift uses up one.
"""

import numpy as np
import tensorflow as tf

EDGE = 64
LANES = 32


def lay_out(x, margin):
    """Images `[.., B, H, W]` as `[.., n + 2 margin EDGE]`, n = B (H + 1) (W + 1) rounded up to full lanes.

    Args:
        x: any numeric dtype, H and W at most `EDGE - 2`.
        margin: strips of zeros at either end.
    """
    *lead, images, height, width = x.shape
    pixels = images * (height + 1) * (width + 1)
    ends = [margin * EDGE, margin * EDGE - pixels % -LANES]
    rows = tf.pad(x, [[0, 0]] * len(lead) + [[0, 0], [0, 1], [0, 1]])
    return tf.pad(tf.reshape(rows, [*lead, pixels]), [[0, 0]] * len(lead) + [ends])


def shifted(a, tap, width):
    """`a` `[.., n + 2 EDGE]` moved so that index i shows the neighbour `tap` (0 to 8, row by row): `[.., n]`."""
    start = EDGE + (tap // 3 - 1) * (width + 1) + tap % 3 - 1
    return a[..., start : start + a.shape[-1] - 2 * EDGE]


def inner(a, margin):
    """`a` with `margin` strips taken off either end."""
    return a[..., margin * EDGE : a.shape[-1] - margin * EDGE]


def convolve(a, kernel, width):
    """3x3 cross-correlation: `[R, C, n + 2 EDGE]` and `[R, 9, C, O]` give `[R, O, n]`."""
    taps, channels = kernel.shape[1:3]
    terms = [
        kernel[:, tap, c, :, None] * shifted(a[:, c : c + 1], tap, width)
        for tap in range(taps)
        for c in range(channels)
    ]
    return tf.add_n(terms)


def convolve_back(fields, kernel, width):
    """The transpose of `convolve` for F fields: `[R, F, O, n + 2 EDGE]` and `[R, 9, C, O]` give `[R, F, C, n]`."""
    taps, _, channels = kernel.shape[1:]
    terms = [
        kernel[:, None, tap, :, o, None] * shifted(fields[:, :, o : o + 1], taps - 1 - tap, width)
        for tap in range(taps)
        for o in range(channels)
    ]
    return tf.add_n(terms)


def kernel_gradients(a, fields, width):
    """Gradients of kernel and bias: `[R, C, n + 2 EDGE]` and `[R, F, O, n]` give `[R, F, 9, C, O]` and `[R, F, O]`."""
    runs, channels = a.shape[:2]
    _, count, filters, length = fields.shape
    columns = tf.reshape(fields, [runs, count * filters, length])
    one = tf.ones([runs, 1, length], a.dtype)
    if channels == 1:
        rows = tf.concat([*(shifted(a, tap, width) for tap in range(9)), one], 1)
        products = pixel_products(columns, rows)
        products, sums = products[..., :9, None], products[..., 9]
    else:
        centre = pixel_products(columns, tf.concat([shifted(a, 4, width), one], 1))
        products = [pixel_products(columns, shifted(a, tap, width)) for tap in range(9) if tap != 4]
        products.insert(4, centre[..., :channels])
        products, sums = tf.stack(products, 2), centre[..., channels]
    each = tf.reshape(products, [runs, count, filters, 9, channels])
    return tf.transpose(each, [0, 1, 3, 4, 2]), tf.reshape(sums, [runs, count, filters])


def pixel_products(a, b):
    """Sums over pixels of all products of two sets of rows: `[R, I, n]` and `[R, J, n]` give `[R, I, J]`."""
    return tf.matmul(a, b, transpose_b=True)


def inside(images, height, width, margin, dtype):
    """1 on pixels, 0 on padding, in the layout of `lay_out`: a NumPy array `[n + 2 margin EDGE]`."""
    pixels = images * (height + 1) * (width + 1)
    mask = np.zeros((images, height + 1, width + 1), dtype)
    mask[:, :height, :width] = 1
    return np.pad(mask.reshape(pixels), [margin * EDGE, margin * EDGE - pixels % -LANES])


def stage(on, compute):
    """`compute()`, a structure of tensors, written to memory once.

    XLA otherwise computes cheap expressions again inside each loop that reads them, here ten times and more. It cannot
    look through a branch.

    Args:
        on: True, as a scalar tensor that the compiler does not know.
        compute: a function without arguments.
    """
    specs = []

    def yes():
        result = compute()
        specs.append(tf.nest.map_structure(tf.TensorSpec.from_tensor, result))
        return result

    # TensorFlow traces the first branch first.
    return tf.cond(on, yes, lambda: tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), specs[0]))
