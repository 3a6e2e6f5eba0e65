"""The U-Net's weight map: class balance, and more weight on the gaps between touching objects."""

import math

import numpy as np
import tensorflow as tf

from kseg.ops.labels import widen

FAR = 15.0  # in sigmas; exp(-15^2 / 2) is 0 in float32


def unet_weight_map(instances, *, w0=10.0, sigma=5.0, class_weights=None, everywhere=False, dtype=tf.float32):
    """w(x) = w_c(x) + w0 exp(-(d_1(x) + d_2(x))^2 / (2 sigma^2)).

    d_1 and d_2 are the distances from x to the nearest pixel of the nearest and of the second nearest object, in
    pixels; both are found in one pass, whatever the number of objects. Computed on every batch; to compute it once, see
    `kseg.data.weight_map`.

    Args:
        instances: `[B, *S]` integer ids, 0 the background; each other id is one object.
        w0: weight of the border term, at least 0.
        sigma: its width in pixels, above 0.
        class_weights: w_c: None for 1, (background, objects), or "balanced": pixels / (2 x pixels of the class) in
            each image.
        everywhere: the border term on the objects too, where d_1 is 0, as the paper writes it; by default on the
            background only, where it separates objects.
        dtype: float32 or float64.

    Returns:
        `[B, *S]`, ready to be a `sample_weight`. No border term in images with fewer than two objects.

    Raises:
        ValueError: an option or dtype that does not fit.

    Example:
        >>> [round(float(weight), 3) for weight in unet_weight_map([[1, 1, 0, 2, 2]], w0=10, sigma=5)[0]]
        [1.0, 1.0, 10.231, 1.0, 1.0]

    Source: Ronneberger et al. 2015, eq. 2; D2 (S2.17).
    """
    instances = tf.convert_to_tensor(instances)
    if not instances.dtype.is_integer or instances.shape.rank is None or instances.shape.rank < 2:
        raise ValueError(f"instances have shape {instances.shape}, {instances.dtype.name}. Expected ids [B, ...].")
    if not (w0 >= 0 and sigma > 0 and np.isfinite([w0, sigma]).all()):
        raise ValueError(f"w0={w0!r}, sigma={sigma!r} do not fit. Expected w0 at least 0, sigma above 0, both finite.")
    compiled = not tf.executing_eagerly() and instances.shape[1:].is_fully_defined()
    nearest = (_program if compiled else _nearest_two)(widen(instances), FAR * sigma, dtype)
    border = w0 * tf.exp(-tf.square(tf.add(*nearest)) / (2.0 * sigma**2))
    objects = instances != 0
    if not everywhere:
        border = tf.where(objects, tf.zeros_like(border), border)
    background, foreground = _balance(objects, class_weights, dtype)
    return tf.where(objects, foreground, background) + border


def _balance(objects, class_weights, dtype):
    """Weights of background and objects that broadcast to the images."""
    if class_weights is None:
        return tf.constant(1, dtype), tf.constant(1, dtype)
    if isinstance(class_weights, str):
        if class_weights != "balanced":
            raise ValueError(f"class_weights={class_weights!r} do not fit. Expected None, 'balanced' or two numbers.")
        axes = list(range(1, objects.shape.rank))
        share = tf.reduce_mean(tf.cast(objects, dtype), axis=axes, keepdims=True)
        return tf.math.divide_no_nan(0.5, 1.0 - share), tf.math.divide_no_nan(tf.cast(0.5, dtype), share)
    values = np.asarray(class_weights, np.float64)
    if values.shape != (2,) or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"class_weights={class_weights!r} do not fit. Expected two numbers at least 0.")
    return tuple(tf.constant(values, dtype))


def _nearest_two(instances, far, dtype):
    """Distances to the nearest and the second nearest object, inf where there is none within `far` along each axis."""
    infinity, shape = tf.constant(np.inf, dtype), tf.shape(instances)
    first = tf.where(instances != 0, tf.zeros([], dtype), infinity)
    best = first, instances, tf.fill(shape, infinity), tf.zeros_like(instances)
    for axis in reversed(range(1, instances.shape.rank)):
        view = [tf.reduce_prod(shape[:axis]), shape[axis], tf.reduce_prod(shape[axis + 1 :])]
        best = _along_axis([tf.reshape(part, view) for part in best], far)
    return tuple(tf.sqrt(tf.reshape(best[i], shape)) for i in (0, 2))


def _along_axis(lines, far):
    """The two smallest of distance^2 + offset^2 over lines `[A, n, M]`, of different objects.

    `lines` are (first distance^2, its object, second distance^2, its object). The two objects that are nearest in the
    plane are the two nearest within the line of their nearest pixel, or equals of them.
    """
    shape, dtype, reach = tf.shape(lines[0]), lines[0].dtype, math.ceil(far)
    fills = (np.inf, 0, np.inf, 0)
    padded = [tf.pad(p, [[0, 0], [reach, reach], [0, 0]], constant_values=f) for p, f in zip(lines, fills, strict=True)]

    def search(offset, *best):
        cost = tf.square(tf.cast(offset, dtype))
        for by in (offset, -offset):
            moved = [tf.slice(part, [0, reach + by, 0], shape) for part in padded]
            first, one, second, two = (tf.ensure_shape(part, lines[0].shape) for part in moved)
            best = _insert(_insert(best, first + cost, one), second + cost, two)
        return offset + 1, *best

    def unfinished(offset, *best):
        largest = tf.reduce_max(best[2])
        return (offset < shape[1]) & (offset <= reach) & (tf.square(tf.cast(offset, dtype)) < largest)

    return tf.while_loop(unfinished, search, [1, *lines])[1:]


def _insert(best, square, instance):
    """`best` after a look at one more object."""
    first, one, second, two = best
    other = instance != one
    nearer = other & (square < first)
    next_nearer = other & ~nearer & (square < second)
    second = tf.where(nearer, first, tf.where(next_nearer, square, second))
    two = tf.where(nearer, one, tf.where(next_nearer, instance, two))
    return tf.minimum(first, square), tf.where(nearer, instance, one), second, two


_program = tf.function(_nearest_two, jit_compile=True)
