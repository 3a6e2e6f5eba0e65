"""Where the pixels of a bent image come from, and what is there: one interpolation, whatever bends it."""

import tensorflow as tf


def bent_places(shape, angle, zoom, knots):
    """Where each pixel of a turned, zoomed and bent image comes from.

    Args:
        shape: (H, W), integers or scalar tensors.
        angle: `[B]` radians, counter-clockwise as the image is seen.
        zoom: `[B]` factors; above 1 enlarges.
        knots: `[B, G + 3, G + 3, 2]` moves along y and x of the knots of a lattice of G x G cells, as shares of a
            cell; None for none.

    Returns:
        (y, x): `[B, H, W]` float32 places in the image, in pixels from the middle of the first one.
    """
    height, width = (tf.cast(size, tf.float32) for size in shape)
    dy = (tf.range(height) - (height - 1) / 2)[None, :, None]
    dx = (tf.range(width) - (width - 1) / 2)[None, None, :]
    if knots is not None:
        # Bent first, turned after: where the lattice does not fold, the whole does not.
        moves = _between_knots(knots, height, width)
        dy, dx = dy + moves[..., 0], dx + moves[..., 1]
    cos, sin = (f(angle)[:, None, None] / zoom[:, None, None] for f in (tf.cos, tf.sin))
    return cos * dy + sin * dx + (height - 1) / 2, cos * dx - sin * dy + (width - 1) / 2


def _between_knots(knots, height, width):
    """Moves `[B, H, W, 2]` in pixels: cubic B-splines through the lattice."""
    cells = tf.cast(tf.shape(knots)[1] - 3, tf.float32)
    moves = tf.einsum("hi,bijc,wj->bhwc", _splines(height, cells), knots, _splines(width, cells))
    return moves * tf.stack([height, width]) / cells


def _splines(size, cells):
    """`[size, cells + 3]`: how much each knot counts at each pixel; the first lies one cell before the image."""
    away = tf.abs((tf.range(size) + 0.5)[:, None] * cells / size - (tf.range(cells + 3) - 1))
    return (tf.nn.relu(2 - away) ** 3 - 4 * tf.nn.relu(1 - away) ** 3) / 6


def mirrored(places, size):
    """Places beyond the border folded back: the image goes on as its mirror image, the border pixel not repeated."""
    last = tf.cast(size, places.dtype) - 1
    inside = last - tf.abs(tf.math.floormod(places, tf.maximum(2 * last, 1)) - last)
    return tf.clip_by_value(inside, 0, last)


def linear_at(images, y, x):
    """Images `[B, H, W, C]` at places `[B, H, W]` within them, interpolated linearly; whole places are exact."""
    y0, x0 = tf.floor(y), tf.floor(x)
    fy, fx = ((f - f0)[..., None] for f, f0 in ((y, y0), (x, x0)))
    y1, x1 = (tf.minimum(f0 + 1, tf.cast(tf.shape(images)[i], y.dtype) - 1) for i, f0 in ((1, y0), (2, x0)))
    top, bottom = (_mixed(_at(images, row, x0), _at(images, row, x1), fx) for row in (y0, y1))
    return tf.ensure_shape(_mixed(top, bottom, fy), images.shape)


def nearest_at(array, y, x):
    """An array `[B, H, W]` or `[B, H, W, K]` of any kind at the pixels nearest to places within it."""
    return tf.ensure_shape(_at(array, tf.floor(y + 0.5), tf.floor(x + 0.5)), array.shape)


def _mixed(here, there, share):
    return here + (there - here) * share


def _at(array, rows, columns):
    """The pixels in these rows and columns, `[B, H, W]` whole numbers."""
    shape = tf.shape(array)
    first = tf.range(shape[0])[:, None, None] * shape[1]
    index = (first + tf.cast(rows, tf.int32)) * shape[2] + tf.cast(columns, tf.int32)
    return tf.gather(tf.reshape(array, tf.concat([[-1], shape[3:]], 0)), index)
