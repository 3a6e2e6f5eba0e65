"""Hidden squares of training images."""

import tensorflow as tf

from kseg.data.numbered import draws, numbered

PURPOSE = 0x637574


def cutout(dataset, size, *, value=0.0, seed=0, start=0):
    """Hide a square of each image, so that a model learns to do without any one part.

    Args:
        dataset: `tf.data` batches whose first part is images `[B, H, W, C]`.
        size: side of the square in pixels, at least 1. Its centre is any pixel of the image with equal chance, so
            that it may reach over the border, and all channels of it are hidden.
        value: what stands there.
        seed: of the places; they follow from it, the number of the batch and the place in the batch.
        start: number of the first batch; see `kseg.data.augment`.

    Returns:
        `tf.data.Dataset` of the same parts; all but the images as they were.

    Raises:
        ValueError: a size below 1, a start below 0, or a seed outside [0, 2^32).

    Source: DeVries and Taylor 2017 (arXiv:1708.04552); S0.21, training with hidden parts of the input.
    """
    if isinstance(size, bool) or int(size) != size or size < 1:
        raise ValueError(f"cutout size={size!r} does not fit. Expected a whole number of pixels, at least 1.")

    def hide(number, batch):
        images, *rest = batch
        shape = tf.shape(images)
        places = draws(images, number, 2, seed, PURPOSE)
        # The product rounds up to the whole size at times, which would be a pixel outside.
        centres = tf.minimum(tf.cast(places * tf.cast(shape[1:3], tf.float32), tf.int32), shape[1:3] - 1)
        first = centres - size // 2
        hidden = _between(first[:, 0], size, shape[1])[:, :, None] & _between(first[:, 1], size, shape[2])[:, None]
        return tf.where(hidden[..., None], tf.cast(value, images.dtype), images), *rest

    return numbered(dataset, start).map(hide)


def _between(first, size, length):
    """`[B, length]`: the places from `first` to `first + size`."""
    places = tf.range(length)
    return (places >= first[:, None]) & (places < first[:, None] + size)
