"""The state of a training run: one file, from which it goes on as if it had never been broken off."""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from kseg.files import atomic

STATE = "state/last.keras"
FACTS = "training.json"  # within that file, which Keras reads as if it were not there
WEIGHTS = "model.weights.h5"
LARGEST_FACTS, SLACK = 64 * 1024**2, 512 * 1024**2
# What callbacks of Keras count from epoch to epoch.
COUNTED = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}


@dataclass(frozen=True)
class Progress:
    """What has been done of a training run, read from its state.

    Attributes:
        path: the state's file, a `.keras` archive of weights and optimiser.
        rows: of the history, one dict an epoch.
        updates: of the weights.
        seeds: of dropout and the like, `[[seed, draws], ..]`.
        callbacks: what those of `COUNTED` have counted.
        stopped: whether a callback has ended the training.
    """

    path: Path
    rows: list
    updates: int
    seeds: list
    callbacks: list
    stopped: bool

    @property
    def epochs(self):
        """How many epochs are done."""
        return len(self.rows)


def read_progress(folder):
    """The progress of the run in a folder, or None if it had not ended an epoch.

    Raises:
        ValueError: the state cannot be read.
    """
    path = Path(folder) / STATE
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(FACTS).file_size > LARGEST_FACTS:
                raise ValueError(f"{FACTS} is too large")
            facts = json.loads(archive.read(FACTS))
        if not all(isinstance(row, dict) and row.keys() == facts["rows"][0].keys() for row in facts["rows"]):
            raise ValueError("its history has rows that differ")
        return Progress(path=path, **facts)
    except (OSError, KeyError, TypeError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read ({error}). Expected the state of a training run of this version; begin a new run."
        ) from None


class KeepState(keras.callbacks.Callback):
    """Save after each epoch all that training depends on, and begin with it where training goes on.

    Everything is in one file, so that a kill at any moment leaves the state before or the one after, never half of
    each. It is written first: the best model and the history follow from it (see `KeepBest` and `KeepHistory`), which
    is how they are put right if a kill came before they were written.

    Args:
        folder: of the run; gets `state/last.keras`, which loads with `import kseg.training` too.
        callbacks: the others; those of `COUNTED` are kept as well.
        progress: to go on from, or None.
    """

    def __init__(self, folder, callbacks=(), progress=None):
        super().__init__()
        self.path, self.progress = folder / STATE, progress
        self.counting = [each for each in callbacks if isinstance(each, tuple(COUNTED))]
        self.rows = list(progress.rows) if progress else []

    def on_train_begin(self, logs=None):
        # Not before: Keras' callbacks forget here what they have counted.
        if self.progress:
            restore(self.model, self.progress, self.counting)

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(row_of(epoch, logs))
        facts = {
            "rows": self.rows,
            "updates": _value(self.model.optimizer.iterations),
            "seeds": [_value(variable) for variable in _seed_states(self.model)],
            "callbacks": [_counts(each) for each in self.counting],
            "stopped": bool(self.model.stop_training),
        }
        self.path.parent.mkdir(exist_ok=True)
        with atomic(self.path) as part:
            self.model.save(part)
            with zipfile.ZipFile(part, "a") as archive:
                archive.writestr(FACTS, json.dumps(facts))


def row_of(epoch, logs):
    """The row of an epoch, counted from 0, in the history: {name: number}."""
    return {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}


def restore(model, progress, callbacks=()):
    """Give a compiled model, and the callbacks of `COUNTED`, the state that was saved.

    Raises:
        ValueError: the state is of another model, optimiser or callbacks.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    seeds, refused = _seed_states(model), f"{progress.path} does not fit. Expected the state of a run of this kind."
    if len(seeds) != len(progress.seeds) or len(callbacks) != len(progress.callbacks) or _too_large(model, progress):
        raise ValueError(refused)
    model.load_weights(progress.path)
    if _value(model.optimizer.iterations) != progress.updates:  # Keras only warns of another optimiser
        raise ValueError(refused)
    for variable, value in zip(seeds, progress.seeds, strict=True):
        variable.assign(value)
    for callback, counts in zip(callbacks, progress.callbacks, strict=True):
        vars(callback).update(counts)


def _seed_states(model):
    """What Keras counts of random draws (dropout), which a `.keras` file does not hold."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _value(variable):
    """Numbers of a variable, which several devices may hold alike, for JSON."""
    return tf.convert_to_tensor(variable).numpy().tolist()


def _counts(callback):
    names = next(names for kind, names in COUNTED.items() if isinstance(callback, kind))
    found = {name: getattr(callback, name, None) for name in names}
    return {name: value if value is None or isinstance(value, int) else float(value) for name, value in found.items()}


def _too_large(model, progress):
    """Whether the weights to be read take far more memory than those of the model and its optimiser."""
    held = sum(8 * math.prod(variable.shape) for variable in (*model.variables, *model.optimizer.variables))
    with zipfile.ZipFile(progress.path) as archive:
        return archive.getinfo(WEIGHTS).file_size > 2 * held + SLACK
