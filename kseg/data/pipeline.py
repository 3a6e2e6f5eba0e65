"""From a data set to `tf.data` batches: in memory when it fits, streamed in blocks when not."""

import inspect
import itertools
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
        weights `[B, H, W]` float32. Each time it is gone through it gives the next pass over the split.

    Raises:
        FileNotFoundError, ValueError: no such file, another schema, an empty split, an option out of range.
    """
    passes = _passes(source, split, batch_size, shuffle, seed, drop_remainder, in_memory, weight_map, options)
    count = itertools.count()
    numbers = tf.data.Dataset.from_generator(lambda: iter([next(count)]), output_signature=tf.TensorSpec([], tf.int64))
    return passes.dataset(numbers, 0, 0, passes.batches)


def stream(
    source, split="train", batch_size=32, *, start=0, shuffle=None, seed=0, drop_remainder=False,
    in_memory=None, weight_map=None, **options,
):  # fmt: skip
    """Batches without end, numbered from 0: batch n is the same however often the stream is begun, and from where.

    Batch n belongs to pass n // `batches_of(rows, batch_size)` over the split, whose order follows from the seed and
    the number of the pass alone. Training that was broken off goes on with what it would have seen.

    Args:
        start: number of the batch that comes first, at least 0.
        source, split, batch_size, shuffle, seed, drop_remainder, in_memory, weight_map, **options: see `load`, whose
            passes these are, one after the other. The last batch of a pass is smaller as there.

    Returns:
        `tf.data.Dataset` as of `load`, for `fit(..., steps_per_epoch=...)`.

    Raises:
        FileNotFoundError, ValueError: as `load`; a start below 0; a split that fills no batch.

    Example:
        >>> whole, rest = (stream("toy", "train", 100, start=start) for start in (0, 12))
        >>> late, same = next(iter(whole.skip(12))), next(iter(rest))
        >>> bool((late[0] == same[0]).numpy().all())
        True
    """
    if isinstance(start, bool) or int(start) != start or start < 0:
        raise ValueError(f"start={start!r} does not fit. Expected the number of a batch, at least 0.")
    passes = _passes(source, split, batch_size, shuffle, seed, drop_remainder, in_memory, weight_map, options)
    if not passes.batches:
        raise ValueError(
            f"batch_size={batch_size} is more than split {split!r} has rows. Expected fewer, or drop_remainder=False."
        )
    first, skipped = divmod(int(start), passes.batches)
    return passes.dataset(tf.data.Dataset.counter(first), first, skipped, tf.data.INFINITE_CARDINALITY)


def batches_of(rows, batch_size, drop_remainder=False):
    """How many batches one pass over that many rows gives."""
    return rows // batch_size if drop_remainder else -(-rows // batch_size)


def _passes(source, split, batch_size, shuffle, seed, drop_remainder, in_memory, weight_map, options):
    if isinstance(batch_size, bool) or int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} does not fit. Expected a whole number, at least 1.")
    data = open_data(source, **options)
    check_split(data, split)
    shuffle = split == "train" if shuffle is None else shuffle
    in_memory = data.nbytes(split) <= IN_MEMORY if in_memory is None else in_memory
    read, order = _reader(data, split, weight_map), partial(_Order, seed if shuffle else None)
    given = (read, order, data.sizes[split], int(batch_size), drop_remainder)
    return _InMemory(*given) if in_memory else _Streamed(*given, data.shape, TYPES[: 2 if weight_map is None else 3])


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


class _Passes:
    """Passes over a split, by their numbers; `read(start, stop)` gives rows, `order(number)` the order of a pass."""

    def __init__(self, read, order, rows, batch_size, drop_remainder):
        self.read, self.order, self.rows = read, order, rows
        self.batch_size, self.drop_remainder = batch_size, drop_remainder
        self.batches = batches_of(rows, batch_size, drop_remainder)

    def dataset(self, numbers, first, skipped, cardinality):
        """The batches of the passes of these numbers, but for the first batches `skipped` of pass `first`."""
        skips = tf.constant([0, skipped], tf.int64)
        dataset = numbers.flat_map(lambda number: self.one(number, skips[tf.cast(number == first, tf.int32)]))
        dataset = self.filled(dataset).apply(tf.data.experimental.assert_cardinality(cardinality))
        return dataset.prefetch(AHEAD).with_options(_fixed())


class _InMemory(_Passes):
    def one(self, number, skipped):
        """Row numbers of the batches of one pass."""
        sequence = tf.numpy_function(lambda number: self.order(number)(self.rows), [number], tf.int64)
        places = tf.data.Dataset.from_tensor_slices(tf.ensure_shape(sequence, [self.rows]))
        return places.batch(self.batch_size, self.drop_remainder).skip(skipped)

    def filled(self, places):
        with tf.device("CPU"):
            columns = [tf.constant(array) for array in self.read()]
        return places.map(lambda i: tuple(tf.gather(column, i) for column in columns))


class _Streamed(_Passes):
    def __init__(self, *given):
        *given, self.shape, self.types = given
        super().__init__(*given)

    def one(self, number, skipped):
        """The batches of one pass, whose rows come group by group."""
        signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.int64))
        groups = tf.data.Dataset.from_generator(self._groups, output_signature=signature, args=(number, skipped))
        # HDF5 reads one block at a time whatever asks; two calls keep one group ready while the other is cut up.
        images = groups.map(self._fetch, num_parallel_calls=2, deterministic=True).unbatch()
        return images.batch(self.batch_size, drop_remainder=self.drop_remainder)

    def filled(self, batches):
        return batches

    def _groups(self, number, skipped):
        order, seen = self.order(number), int(skipped) * self.batch_size
        starts = order(-(-self.rows // BLOCK)) * BLOCK
        for i in range(0, len(starts), GROUP):
            group = starts[i : i + GROUP]
            within = order(int(np.minimum(self.rows - group, BLOCK).sum()))
            if seen < len(within):
                yield group, within[seen:]
            seen = max(seen - len(within), 0)

    def _fetch(self, starts, within):
        columns = tf.numpy_function(self._read, [starts, within], self.types)
        shapes = [(None, *self.shape), *[(None, *self.shape[:2])] * (len(self.types) - 1)]
        return tuple(tf.ensure_shape(column, known) for column, known in zip(columns, shapes, strict=True))

    def _read(self, starts, within):
        parts = [self.read(int(s), min(int(s) + BLOCK, self.rows)) for s in starts]
        return tuple(np.concatenate(column)[within] for column in zip(*parts, strict=True))


class _Order:
    """0 .. n-1, shuffled or not, from a generator of the pass's own: other seeds and passes change nothing."""

    def __init__(self, seed, number):
        self._generator = None if seed is None else np.random.default_rng((int(seed), int(number)))

    def __call__(self, n):
        return np.arange(n) if self._generator is None else self._generator.permutation(n)
