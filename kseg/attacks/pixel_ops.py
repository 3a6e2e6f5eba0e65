"""Which pixels to attack, what to put there, and putting it there: graph ops without state."""

import tensorflow as tf

from kseg.ops import random_words, threefry

ORDERS = ("signed", "absolute", "lowest", "random")
INTEGERS = {tf.float32: (tf.int32, 0x7FFFFFFF), tf.float64: (tf.int64, 0x7FFFFFFFFFFFFFFF)}
SHUFFLE = 0xFFFFFFFF  # second half of the key of random orders; those of random values are at least 0 and below 2^31


def rank_pixels(maps, count, order="signed", seed=0, rows=None, inside=None):
    """The `count` pixels of each image that come first in an order, best first; the first n of them are those of n.

    Args:
        maps: gradients or another saliency, `[B, H, W]` or `[B, H, W, C]`, any real dtype. Of several channels the one
            that comes first in the order counts.
        count: how many, a Python integer in [0, H W].
        order: "signed" highest value, "absolute" highest absolute value, "lowest" lowest value, "random" a permutation
            that looks at nothing but `seed`, `rows` and the number of the pixel. Ties go to the lowest index.
        seed: of the random order, a whole number of at least 0.
        rows: `[B]` numbers of the images, by default 0 to B - 1; an image keeps its random order in any batch.
        inside: None, or `[B, 4]` boxes (y0, y1, x0, x1) outside of which no pixel is taken.

    Returns:
        `[B, count]` int32, index y W + x. -1 stands for "no pixel", where the box holds fewer, or where a map is nan
        (in any channel), which only the random order ever takes.

    Raises:
        ValueError: another order, maps of another rank, or more pixels than there are.

    Source: S0.8; `order="lowest"` and `"random"` are its controls.

    Example:
        >>> import tensorflow as tf
        >>> maps = tf.constant([[[3.0, -5.0], [1.0, 2.0]]])
        >>> rank_pixels(maps, 2).numpy(), rank_pixels(maps, 2, "absolute").numpy()
        (array([[0, 3]], dtype=int32), array([[1, 0]], dtype=int32))
    """
    if order not in ORDERS:
        raise ValueError(f"order={order!r} is not known. Expected one of: {', '.join(ORDERS)}.")
    maps = tf.convert_to_tensor(maps)
    if maps.shape.rank not in (3, 4):
        raise ValueError(f"maps of shape {maps.shape} do not fit. Expected [B, H, W] or [B, H, W, C].")
    shape = tf.shape(maps)
    batch, height, width = (maps.shape[i] if maps.shape[i] is not None else shape[i] for i in range(3))
    known = None if tf.is_tensor(height) or tf.is_tensor(width) else height * width
    if isinstance(count, int) and not 0 <= count <= (known if known is not None else count):
        raise ValueError(f"count={count} does not fit maps of {height}x{width}. Expected 0 to {known}.")
    pixels = tf.reshape(maps, [batch, height * width, -1 if maps.shape.rank == 4 else 1])
    if order == "random":
        rows = tf.range(batch) if rows is None else rows
        numbers, _ = threefry((seed, SHUFFLE), (random_words(rows)[:, None], tf.range(height * width)[None]))
        keys = tf.cast(tf.bitwise.right_shift(numbers, tf.constant(1, tf.uint32)), tf.int32)
    else:
        keys = _keys(pixels, order)
    if inside is not None:
        keys = tf.where(tf.reshape(_within(inside, height, width), [batch, height * width]), keys, keys.dtype.min)
    # Of equal integers top_k gives the first, in a graph and under XLA; of floats the two order -0 and 0 differently.
    keys, chosen = tf.math.top_k(keys, count)
    return tf.where(keys == keys.dtype.min, -1, chosen)


def _keys(pixels, order):
    """`[B, n]` integers in the order of the values `[B, n, C]`; the least integer for nan, below every number's."""
    pixels = tf.cast(pixels, tf.float64 if pixels.dtype.is_integer or pixels.dtype == tf.float64 else tf.float32)
    pixels = {"signed": tf.identity, "absolute": tf.abs, "lowest": tf.negative}[order](pixels)
    integer, positive = INTEGERS[pixels.dtype]
    bits = tf.bitcast(tf.where(pixels == 0, tf.zeros_like(pixels), pixels), integer)
    keys = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, tf.constant(positive, integer)), bits)
    nan = tf.reduce_any(tf.math.is_nan(pixels), axis=-1)
    return tf.where(nan, integer.min, tf.reduce_max(keys, axis=-1))


def _within(boxes, height, width):
    """`[B, H, W]`: whether a pixel lies in its image's box (y0, y1, x0, x1)."""
    y0, y1, x0, x1 = tf.unstack(tf.cast(boxes, tf.int32)[:, :, None, None], num=4, axis=1)
    y, x = tf.range(height)[None, :, None], tf.range(width)[None, None, :]
    return (y >= y0) & (y < y1) & (x >= x0) & (x < x1)


def replace_pixels(images, pixels, values):
    """Images with other values at some pixels; all else stays as it is, and nothing is clipped (S0.9).

    Args:
        images: `[B, H, W, C]`, any dtype.
        pixels: `[B, n]` integers y W + x, each pixel at most once in an image; -1 for no pixel.
        values: what to put there: a number, `[n]`, `[B, n]` or `[B, n, C]`; in every channel unless told for each.

    Returns:
        `[B, H, W, C]` of the dtype of `images`.

    Example:
        >>> import tensorflow as tf
        >>> replace_pixels(tf.zeros([1, 2, 2, 1]), [[3, -1]], 7.0).numpy().ravel()
        array([0., 0., 0., 7.], dtype=float32)
    """
    images = tf.convert_to_tensor(images)
    pixels, values = tf.cast(pixels, tf.int32), tf.cast(values, images.dtype)
    shape = tf.shape(images)
    batch, size, channels = shape[0], shape[1] * shape[2], shape[3]
    values = values if values.shape.rank == 3 else values[..., None]
    values = tf.broadcast_to(values, [*tf.unstack(tf.shape(pixels)), channels])
    # One pixel more takes what belongs to none.
    flat = tf.pad(tf.reshape(images, [batch, size, channels]), [[0, 0], [0, 1], [0, 0]])
    places = tf.where(pixels < 0, size, pixels)
    owner = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(places))
    flat = tf.tensor_scatter_nd_update(flat, tf.stack([owner, places], axis=-1), values)
    return tf.ensure_shape(tf.reshape(flat[:, :size], shape), images.shape)


def draw_values(rows, count, draw, seed=0, low=0.0, high=1.0):
    """Uniform random numbers for the pixels of images, which no batch and no `count` changes (S0.9, S0.13).

    Args:
        rows: `[B]` numbers of the images, at least 0.
        count: how many for each; the first n of them are those of n.
        draw: number of the repetition, or `[B]` of them; in [0, 2^31).
        seed: a whole number in [0, 2^32).
        low, high: bounds; numbers lie in [low, high).

    Returns:
        `[B, count]` float32, multiples of (high - low) / 2^23.
    """
    key = (seed, random_words(draw) if tf.convert_to_tensor(draw).shape.rank == 0 else random_words(draw)[:, None])
    numbers, _ = threefry(key, (random_words(rows)[:, None], tf.range(count)[None]))
    unit = tf.cast(tf.bitwise.right_shift(numbers, tf.constant(9, tf.uint32)), tf.float32) * 2.0**-23
    low, high = tf.cast(low, tf.float32), tf.cast(high, tf.float32)
    return tf.minimum(low + (high - low) * unit, tf.math.nextafter(high, low))
