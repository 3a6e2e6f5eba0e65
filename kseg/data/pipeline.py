"""From a data set to `tf.data` batches: in memory when it fits, streamed in blocks when not."""

import inspect
from collections.abc import Mapping
from functools import partial

import numpy as np
import tensorflow as tf

from kseg.data.source import check_split, open_data
from kseg.data.weight_map import check_options, objects_of, unet_weights

AHEAD, BLOCK, GROUP = 4, 128, 8
IN_MEMORY = 2 * 1024**3
TYPES = (tf.float32, tf.uint8, tf.float32)  # images, masks, weights


def load(
    source, split="train", batch_size=32, *, shuffle=None, seed=0, drop_remainder=False,
    in_memory=None, weight_map=None, **options,
):  # fmt: skip
    """Batches of a data set, ready for `model.fit`.

    Args:
        source: path of a prepared HDF5 file, a built-in name ("toy", "kandinsky", ..), or an open data set.
        split: "train", "validation" or "test".
        batch_size: images a batch, at least 1.
        shuffle: whether each epoch has its own order; by default for "train" only.
        seed: of the order; the same seed gives the same orders, epoch by epoch, whatever other seeds are set.
        drop_remainder: leave out an incomplete last batch.
        in_memory: keep the split in memory; by default if it takes at most 2 GiB. Streamed data are shuffled by
            blocks of 128 rows, and within 8 blocks at a time.
        weight_map: add a third part, the U-Net's weight map, which `fit` takes as `sample_weight`: a dict of the
            options of `kseg.data.unet_weights`, {} for the paper's. Objects are the file's `instances`, else the
            connected components of its masks. Computed once in memory, in each epoch when streamed.
        **options: of a built-in set.

    Returns:
        `tf.data.Dataset` of (images `[B, H, W, C]` float32, masks `[B, H, W]` uint8 class ids), and with `weight_map`
        weights `[B, H, W]` float32.

    Raises:
        FileNotFoundError, ValueError: no such file, another schema, an empty split, an option out of range.
    """
    if isinstance(batch_size, bool) or int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} does not fit. Expected a whole number, at least 1.")
    data = open_data(source, **options)
    check_split(data, split)
    shuffle = split == "train" if shuffle is None else shuffle
    in_memory = data.nbytes(split) <= IN_MEMORY if in_memory is None else in_memory
    read, order = _reader(data, split, weight_map), _Order(shuffle, seed)
    if in_memory:
        dataset = _from_memory(read, data.sizes[split], int(batch_size), order, drop_remainder)
    else:
        types = TYPES[: 2 if weight_map is None else 3]
        dataset = _streamed(read, types, data.sizes[split], data.shape, int(batch_size), order, drop_remainder)
    return dataset.prefetch(AHEAD).with_options(_fixed())


def _fixed():
    """Options without autotuning, whose thread sleeps 10, 20, 40 ... ms and misses its wake-up now and then: ending an
    epoch then waits for the rest of the sleep, up to a minute. The pipeline is far faster than any model as it is.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def _reader(data, split, weight_map):
    """A function that reads the columns of rows [start, stop)."""
    if weight_map is None:
        return partial(data.read, split)
    known = tuple(inspect.signature(check_options).parameters)
    if not isinstance(weight_map, Mapping) or not set(weight_map) <= set(known):
        raise ValueError(
            f"weight_map={weight_map!r} does not fit. Expected a dict with any of {', '.join(known)}; {{}} takes the "
            "paper's values."
        )
    check_options(**weight_map)

    def read(start=0, stop=None):
        images, masks = data.read(split, start, stop)
        return images, masks, unet_weights(objects_of(data, split, masks, start, stop), **weight_map)

    return read


def _from_memory(read, rows, batch_size, order, drop_remainder):
    with tf.device("CPU"):
        columns = [tf.constant(array) for array in read()]
    batches = _batches(rows, batch_size, drop_remainder)

    def epoch():
        sequence = order(rows)
        return (sequence[i * batch_size : (i + 1) * batch_size] for i in range(batches))

    dataset = tf.data.Dataset.from_generator(epoch, output_signature=tf.TensorSpec([None], tf.int64))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
    return dataset.map(lambda i: tuple(tf.gather(column, i) for column in columns), num_parallel_calls=2)


def _streamed(read_rows, types, rows, shape, batch_size, order, drop_remainder):
    def epoch():
        starts = order(-(-rows // BLOCK)) * BLOCK
        for i in range(0, len(starts), GROUP):
            group = starts[i : i + GROUP]
            yield group, order(int(np.minimum(rows - group, BLOCK).sum()))

    def read(starts, within):
        parts = [read_rows(int(s), min(int(s) + BLOCK, rows)) for s in starts]
        return tuple(np.concatenate(column)[within] for column in zip(*parts, strict=True))

    def fetch(starts, within):
        columns = tf.numpy_function(read, [starts, within], types)
        shapes = [(None, *shape), *[(None, *shape[:2])] * (len(types) - 1)]
        return tuple(tf.ensure_shape(column, known) for column, known in zip(columns, shapes, strict=True))

    signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.int64))
    groups = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    # HDF5 reads one block at a time whatever asks; two calls keep one group ready while the other is cut up.
    images = groups.map(fetch, num_parallel_calls=2, deterministic=True).unbatch()
    images = images.batch(batch_size, drop_remainder=drop_remainder)
    return images.apply(tf.data.experimental.assert_cardinality(_batches(rows, batch_size, drop_remainder)))


def _batches(rows, batch_size, drop_remainder):
    return rows // batch_size if drop_remainder else -(-rows // batch_size)


class _Order:
    """0 .. n-1, shuffled or not, from a generator of its own: TensorFlow's global seed changes nothing."""

    def __init__(self, shuffle, seed):
        self._generator = np.random.default_rng(seed) if shuffle else None

    def __call__(self, n):
        return np.arange(n) if self._generator is None else self._generator.permutation(n)
