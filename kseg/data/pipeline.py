"""From a data set to `tf.data` batches: in memory when it fits, streamed in blocks when not."""

import numpy as np
import tensorflow as tf

from kseg.data.source import check_split, open_data

BLOCK = 128
IN_MEMORY = 2 * 1024**3


def load(
    source, split="train", batch_size=32, *, shuffle=None, seed=0, drop_remainder=False,
    in_memory=None, **options,
):  # fmt: skip
    """Batches of a data set, ready for `model.fit`.

    Args:
        source: path of a prepared HDF5 file, a built-in name ("toy"), or an open data set.
        split: "train", "validation" or "test".
        batch_size: images a batch, at least 1.
        shuffle: whether each epoch has its own order; by default for "train" only.
        seed: of the order; the same seed gives the same orders, epoch by epoch.
        drop_remainder: leave out an incomplete last batch.
        in_memory: keep the split in memory; by default if it takes at most 2 GiB. Streamed data are shuffled by
            blocks of 128 rows and within a buffer of 8 blocks.
        **options: of a built-in set.

    Returns:
        `tf.data.Dataset` of (images `[B, H, W, C]` float32, masks `[B, H, W]` uint8 class ids).

    Raises:
        FileNotFoundError, ValueError: no such file, another schema, an empty split, an option out of range.
    """
    if isinstance(batch_size, bool) or int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} does not fit. Expected a whole number, at least 1.")
    data = open_data(source, **options)
    check_split(data, split)
    shuffle = split == "train" if shuffle is None else shuffle
    in_memory = data.nbytes(split) <= IN_MEMORY if in_memory is None else in_memory
    make = _from_memory if in_memory else _streamed
    dataset = make(data, split, int(batch_size), shuffle, seed, drop_remainder)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _from_memory(data, split, batch_size, shuffle, seed, drop_remainder):
    with tf.device("CPU"):
        images, masks = (tf.constant(array) for array in data.read(split))
    rows = tf.data.Dataset.range(data.sizes[split])
    if shuffle:
        rows = rows.shuffle(data.sizes[split], seed=seed, reshuffle_each_iteration=True)
    rows = rows.batch(batch_size, drop_remainder=drop_remainder)
    gather = lambda i: (tf.gather(images, i), tf.gather(masks, i))  # noqa: E731
    return rows.map(gather, num_parallel_calls=tf.data.AUTOTUNE)


def _streamed(data, split, batch_size, shuffle, seed, drop_remainder):
    rows, shape = data.sizes[split], data.shape
    signature = (tf.float32, tf.uint8)

    def read(start):
        images, masks = tf.numpy_function(
            lambda s: data.read(split, int(s), min(int(s) + BLOCK, rows)), [start], signature
        )
        return tf.ensure_shape(images, (None, *shape)), tf.ensure_shape(masks, (None, *shape[:2]))

    blocks = tf.data.Dataset.from_tensor_slices(np.arange(0, rows, BLOCK, dtype=np.int64))
    if shuffle:
        blocks = blocks.shuffle(len(blocks), seed=seed, reshuffle_each_iteration=True)
    # HDF5 reads one block at a time whatever asks; two calls keep one ready while the other is cut up.
    images = blocks.map(read, num_parallel_calls=2, deterministic=True).unbatch()
    if shuffle:
        images = images.shuffle(8 * BLOCK, seed=seed, reshuffle_each_iteration=True)
    images = images.batch(batch_size, drop_remainder=drop_remainder)
    size = rows // batch_size if drop_remainder else -(-rows // batch_size)
    return images.apply(tf.data.experimental.assert_cardinality(size))
