"""A dry run: what a training run would do and take, found by its first two steps; nothing is written."""

import shutil
import sys
import time
from pathlib import Path

import keras
import tensorflow as tf

GRAPH = 1.2  # a .keras file holds the weights and, besides, names and layout


class Clock(keras.callbacks.Callback):
    """Seconds of each step, until its loss is there."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.seconds.append(time.perf_counter() - self.began)


def dry_run(job):
    """Take two steps of a run with a model that is thrown away; {name: what it takes, in words}."""
    clock, batches = Clock(), job.batches()
    shapes = [f"{'x'.join(map(str, part.shape))} {part.dtype.name}" for part in next(iter(batches))]
    job.model.fit(batches, steps_per_epoch=2, epochs=1, verbose=0, shuffle=False, callbacks=[clock])
    first, second = clock.seconds
    return {
        "a batch": f"images {shapes[0]}, masks {shapes[1]}",
        "parameters": f"{job.model.count_params():,}",
        "memory": _memory(),
        "time": f"first step {_short(first, 2)} s, second {_short(second, 2)} s, {job.steps} steps an epoch: "
        f"{_words(first + second * job.steps * job.config.epochs)} for all epochs, without validation",
        "disk": _disk(job),
    }


def _memory():
    """Peak of this process so far, and of each GPU."""
    found = []
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        found.append(f"{_bytes(peak)} at most in this process so far")
    except ImportError:
        found.append("not known on this system")
    for device in tf.config.list_logical_devices("GPU"):
        name = device.name.removeprefix("/device:")
        found.append(f"{_bytes(tf.config.experimental.get_memory_info(name)['peak'])} at most on {name}")
    return ", ".join(found)


def _disk(job):
    weights = sum(_size(variable) for variable in job.model.variables)
    state = weights + sum(_size(variable) for variable in job.model.optimizer.variables)
    place = Path(job.config.output or "runs").resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    need = GRAPH * (weights + 2 * state)  # a new state is written before the old one goes
    parts = f"model.keras {_bytes(weights)}, state {_bytes(state)}, twice while it is written"
    return f"about {_bytes(need)} ({parts}); {_bytes(free)} are free{'' if need < free else ', which is NOT enough'}"


def _size(variable):
    value = tf.convert_to_tensor(variable)
    return value.dtype.size * value.shape.num_elements()


def _bytes(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{_short(count, 3)} {unit}"
        count /= 1024
    return f"{_short(count, 3)} TiB"


def _words(seconds):
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{_short(seconds / size, 2)} {unit}"
    return f"{_short(seconds, 2)} s"


def _short(number, digits):
    """A number of some digits, or of as many as it has before the point."""
    return f"{number:.{digits}g}" if number < 10**digits - 0.5 else f"{number:.0f}"
