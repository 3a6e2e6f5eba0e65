"""Exact Euclidean distance transform: of every pixel the distance to the nearest pixel that is zero.

The squared distance separates: D(i, x)^2 = min over j of (i - j)^2 + D'(j, x)^2, D' the distance within line j
(Felzenszwalb and Huttenlocher 2012, eq. 2). Lines are compared by growing offset, in loops that stop at the largest
distance met, so that nothing the size of pixels x line length is ever made.
"""

import numpy as np
import tensorflow as tf

TOGETHER = 8  # offsets, or lines, in one round of a loop, which a compiler joins into one pass over memory
NEAR = 4  # 1/4 of a line is searched by offset; what lies further is searched by line, which never takes longer


def distance_transform(mask, spacing=None, *, squared=False, dtype=tf.float32):
    """Distance of each nonzero pixel to the nearest zero pixel, exact, as `scipy.ndimage.distance_transform_edt`.

    In a graph, where the sizes of the image are known, it is one XLA program, also inside a graph that is not compiled;
    elsewhere it runs as plain ops. Nothing flows back: the transform of a mask has no gradient.

    Args:
        mask: `[B, *S]` of any dtype, one or more spatial axes; what is not zero has a distance.
        spacing: size of a pixel along each axis of S: None for 1, a number, or as many numbers or a tensor of them;
            above 0.
        squared: give the square of the distance.
        dtype: of the result, float32 or float64.

    Returns:
        `[B, *S]`, in the unit of `spacing`; 0 where the mask is zero, and inf all over an image without any zero
        (scipy gives a number there that means nothing).

    Example:
        >>> distance_transform([[0, 1, 1, 1], [1, 1, 1, 1]]).numpy().tolist()
        [[0.0, 1.0, 2.0, 3.0], [inf, inf, inf, inf]]

    Source: Felzenszwalb and Huttenlocher 2012, "Distance transforms of sampled functions".
    """
    mask = tf.convert_to_tensor(mask)
    if mask.shape.rank is None or mask.shape.rank < 2:
        raise ValueError(f"mask has shape {mask.shape}. Expected [B, ...] with one or more spatial axes.")
    scale = per_axis(spacing, mask.shape.rank - 1, dtype)
    compiled = not tf.executing_eagerly() and mask.shape[1:].is_fully_defined()
    square = (_program if compiled else _squares)(tf.cast(mask, tf.bool), scale)
    return square if squared else tf.sqrt(square)


def boundary_distance(mask, spacing=None, *, squared=False, counted=None, dtype=tf.float32):
    """Distance to the other side of the object's boundary: outside to the object, inside to the rest.

    Args:
        mask: `[B, *S]`; the object is where it is not zero.
        spacing, squared, dtype: as in `distance_transform`.
        counted: `[B, *S]` of bool; pixels that do not count belong neither to the object nor to the rest.

    Returns:
        `[B, *S]`, above 0; 0 all over an image that is all object or has none, where there is no boundary.

    Example:
        >>> boundary_distance([[0, 0, 1, 1, 1, 0]]).numpy().tolist()
        [[2.0, 1.0, 1.0, 2.0, 1.0, 1.0]]

    Source: Karimi and Salcudean 2019, section II-B.
    """
    mask, to_object, to_rest, both = _sides(mask, spacing, squared, counted, dtype)
    return tf.where(both, tf.where(mask, to_rest, to_object), tf.constant(0, dtype))


def signed_distance(mask, spacing=None, *, counted=None, dtype=tf.float32):
    """Distance to the object: positive outside, 0 or negative inside.

    Outside: distance to the nearest pixel of the object. Inside: one minus the distance to the nearest pixel that is
    not of the object, so that the object's outermost pixels have 0. This is the map of Kervadec et al. (their
    `one_hot2dist`); with a `spacing`, "one" is its smallest entry, where theirs stays 1 and can turn the sign.

    Args:
        mask, spacing, counted, dtype: as in `boundary_distance`.

    Returns:
        `[B, *S]`; 0 all over an image that is all object or has none.

    Example:
        >>> signed_distance([[0, 0, 1, 1, 1, 0]]).numpy().tolist()
        [[2.0, 1.0, 0.0, -1.0, 0.0, 1.0]]

    Source: Kervadec et al. 2019, section 2.2, and their code.
    """
    mask, to_object, to_rest, both = _sides(mask, spacing, False, counted, dtype)
    step = tf.reduce_min(per_axis(spacing, mask.shape.rank - 1, dtype))
    return tf.where(both, tf.where(mask, step - to_rest, to_object), tf.constant(0, dtype))


def _sides(mask, spacing, squared, counted, dtype):
    """The mask as bool, the distances to the object and to the rest, and which images have both."""
    mask = tf.cast(mask, tf.bool)
    sides = (mask, ~mask) if counted is None else (mask & counted, ~mask & counted)
    maps = distance_transform(~tf.concat(sides, axis=0), spacing, squared=squared, dtype=dtype)
    to_object, to_rest = tf.split(maps, 2)
    axes = list(range(1, mask.shape.rank))
    there = [tf.reduce_any(side, axes, keepdims=True) for side in sides]
    return mask, to_object, to_rest, there[0] & there[1]


def per_axis(spacing, rank, dtype):
    """`spacing` as a tensor `[rank]`."""
    if spacing is None:
        return tf.ones([rank], dtype)
    if not tf.is_tensor(spacing):
        values = np.asarray(spacing, np.float64)
        if values.shape not in ((), (rank,)) or not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"spacing={spacing!r} does not fit. Expected one number above 0, or {rank} of them.")
        spacing = tf.constant(values, dtype)
    scale = tf.stop_gradient(tf.cast(spacing, dtype))
    if not scale.shape.is_compatible_with([]) and not scale.shape.is_compatible_with([rank]):
        raise ValueError(f"spacing has shape {scale.shape}. Expected one number, or {rank} of them.")
    return tf.broadcast_to(scale, [rank])


def _squares(mask, scale):
    """Squared distances of a bool mask; `scale` `[rank]` has the dtype of the result."""
    dtype, shape = scale.dtype, tf.shape(mask)
    infinity = tf.constant(np.inf, dtype)
    # An image without any zero would keep the loops from ending early: it goes through them as zeros.
    endless = tf.reduce_all(mask, axis=list(range(1, mask.shape.rank)), keepdims=True)
    line = tf.where(mask & ~endless, infinity, tf.constant(0, dtype))
    line = tf.reshape(line, [tf.reduce_prod(shape[:-1]), shape[-1]])
    square = tf.square(_along_line(line) * scale[-1])
    for axis in reversed(range(1, mask.shape.rank - 1)):
        view = [tf.reduce_prod(shape[:axis]), shape[axis], tf.reduce_prod(shape[axis + 1 :])]
        square = _across_lines(tf.reshape(square, view), scale[axis - 1])
    return tf.where(endless, infinity, tf.reshape(square, shape))


_program = tf.function(_squares, jit_compile=True)


def _along_line(line):
    """Distances |i - j| within lines `[A, n]` that are 0 or inf: the steps 1, 2, 4, ... make up every distance."""
    n, infinity = tf.shape(line)[1], tf.constant(np.inf, line.dtype)
    index = tf.range(n)

    def widen(step, line):
        before = tf.where(index >= step, tf.roll(line, step, axis=1), infinity)
        after = tf.where(index < n - step, tf.roll(line, -step, axis=1), infinity)
        return 2 * step, tf.minimum(line, tf.minimum(before, after) + tf.cast(step, line.dtype))

    return tf.while_loop(lambda step, _: step < n, widen, [1, line])[1]


def _across_lines(square, scale):
    """min over j of square[:, j] + scale^2 (i - j)^2 for lines `[A, n, M]`."""
    lines, n, width = tf.unstack(tf.shape(square))
    near = tf.maximum(n // NEAR, 2)
    margin = near + TOGETHER
    padded = tf.pad(square, [[0, 0], [margin, margin], [0, 0]], constant_values=np.inf)

    def cost(offset):
        return tf.square(tf.cast(offset, square.dtype) * scale)

    def shifted(by):
        return tf.ensure_shape(tf.slice(padded, [0, margin + by, 0], [lines, n, width]), square.shape)

    def unfinished(offset, _, largest):
        # No line further off than the largest distance can be nearer than what was found.
        return (offset < near) & (cost(offset) < largest)

    def by_offset(offset, best, _):
        for by in (offset + more for more in range(TOGETHER)):
            best = tf.minimum(best, tf.minimum(shifted(by), shifted(-by)) + cost(by))
        return offset + TOGETHER, best, tf.reduce_max(best)

    def by_line(first, best):
        for more in range(TOGETHER):
            j = tf.minimum(first + more, n - 1)  # the last line may come twice
            line = tf.slice(square, [0, j, 0], [lines, 1, width]) + cost(tf.range(n) - j)[:, None]
            best = tf.minimum(best, tf.ensure_shape(line, square.shape))
        return first + TOGETHER, best

    offset, best, largest = tf.while_loop(unfinished, by_offset, [1, square, tf.reduce_max(square)])
    first = tf.where(cost(offset) < largest, 0, n)
    return tf.while_loop(lambda first, _: first < n, by_line, [first, best])[1]
