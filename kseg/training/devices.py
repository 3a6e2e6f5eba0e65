"""Several devices, and the precision in which they compute."""

from contextlib import contextmanager, nullcontext

import keras
import tensorflow as tf


def strategy_of(wanted):
    """`tf.distribute.MirroredStrategy` over that many devices, or None for one.

    Args:
        wanted: a number, or "all". Devices are the GPUs; without any, the (logical) CPUs.

    Raises:
        ValueError: there are fewer.
    """
    if wanted == 1:
        return None
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    found = [device.name for device in tf.config.list_logical_devices(kind)]
    count = len(found) if wanted == "all" else wanted
    if count > len(found):
        raise ValueError(
            f"--devices={wanted} does not fit. Expected at most {len(found)}: TensorFlow sees {len(found)} {kind}"
            f"{'s' * (len(found) > 1)} here."
        )
    if count == 1:
        return None
    # No collective ops, which would need communication set up for nothing where all devices share one memory.
    sums = tf.distribute.ReductionToOneDevice() if kind == "CPU" else None
    return tf.distribute.MirroredStrategy(found[:count], cross_device_ops=sums)


def check_devices(config, strategy, sizes):
    """Raise ValueError for what cannot be computed by several replicas alike; nothing to check for one device.

    Args:
        config: `kseg.configs.Train`.
        strategy: of `strategy_of`.
        sizes: {split: rows}.
    """
    if strategy is None:
        return
    reasons = {
        "jit": "XLA cannot compile a step that sums over devices",
        "perturb": "attacks run in steps of their own, which cannot sum over devices",
        "clip_norm": "Keras would clip what each device gives before their sum",
    }
    for name, reason in reasons.items():
        if getattr(config, name):
            count = strategy.num_replicas_in_sync
            raise ValueError(
                f"--{name.replace('_', '-')} does not fit {count} devices: {reason}. Expected --devices 1, or to leave "
                "it out."
            )
    _check_pieces(config.batch_size, strategy.num_replicas_in_sync, sizes)


def _check_pieces(batch_size, count, sizes):
    rows = {split: sizes[split] for split in ("train", "validation")}
    for split, number in rows.items():
        if reason := _indivisible(number, batch_size, count):
            near = sorted(range(1, 2 * batch_size + 1), key=lambda size: abs(size - batch_size))
            fits = [size for size in near if not any(_indivisible(n, size, count) for n in rows.values())]
            raise ValueError(
                f"--batch-size={batch_size} does not fit {count} devices and the {number} images of split {split!r}: "
                f"{reason}. Expected " + (f"another, such as {fits[0]}." if fits else "fewer devices.")
            )


def _indivisible(rows, batch_size, count):
    """Why batches cannot be divided among devices, or None. All pieces of a batch are equal but for the last."""
    first, last = min(batch_size, rows), rows % batch_size
    if first % count:
        return f"Keras begins with a batch of {first}, whose parts must be equal"
    if last and last - -(-last // count) * (count - 1) < 1:
        return f"of its last batch of {last} a device would have no image, which TensorFlow's kernels do not stand"
    return None


def scope_of(strategy):
    """Where the model of a strategy is made and compiled; for None, nothing."""
    return nullcontext() if strategy is None else strategy.scope()


def synchronise(model):
    """Let batch normalisation take its statistics from the joint batch of all devices."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@contextmanager
def precision(name):
    """Layers that are made within the block compute in "float16" or "bfloat16"; weights stay float32. None: as ever."""
    before = keras.config.dtype_policy()
    if name is not None:
        keras.config.set_dtype_policy(f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
