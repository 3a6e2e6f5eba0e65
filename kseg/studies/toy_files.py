"""One HDF5 file for the curves of all runs of the toy study: a group a run, its conditions as attributes."""

import shutil
from dataclasses import asdict, fields

import h5py
import numpy as np

from kseg.files import atomic
from kseg.studies.toy_runs import LOSS_NAMES, Condition

FORMAT = "kseg toy curves 1"


class CurveFile:
    """The curves of runs in an HDF5 file, used like a dict {run's name: curves}.

    Every `update` writes the whole file anew under another name and then renames it: whatever ends the program, the
    file that is there opens and holds all runs of the updates before.

    Args:
        path: of the file; it need not exist.

    Raises:
        ValueError: the file is not one of these.
    """

    def __init__(self, path):
        self.path = path
        self._names = []
        if path.exists():
            try:
                with h5py.File(path) as file:
                    if file.attrs.get("format") != FORMAT:
                        raise ValueError(f"{path} is not a file of curves. Expected format {FORMAT!r}.")
                    self._names = list(file)
            except OSError as error:
                raise ValueError(f"{path} cannot be read: {error}. Expected a file of curves.") from None

    def __contains__(self, name):
        return name in self._names

    def __iter__(self):
        return iter(self._names)

    def __len__(self):
        return len(self._names)

    def __getitem__(self, name):
        """{curve: array} of a run, with `complete`."""
        if name not in self._names:
            raise KeyError(name)
        with h5py.File(self.path) as file:
            group = file[name]
            return {key: group[key][:] for key in group} | {"complete": bool(group.attrs["complete"])}

    def condition(self, name):
        """The Condition of a run, from its attributes."""
        with h5py.File(self.path) as file:
            attributes = file[name].attrs
            return Condition(**{f.name: _plain(attributes[f.name]) for f in fields(Condition)})

    def complete(self):
        """Names of the runs that were not interrupted."""
        if not self._names:
            return set()
        with h5py.File(self.path) as file:
            return {name for name in file if file[name].attrs["complete"]}

    def update(self, runs):
        """Add runs, {Condition: curves}; a run that is there already is replaced."""
        with atomic(self.path) as part:
            if self.path.exists():
                shutil.copyfile(self.path, part)
            with h5py.File(part, "a") as file:
                file.attrs["format"] = FORMAT
                for condition, curves in runs.items():
                    if condition.name in file:
                        del file[condition.name]
                    _write(file.create_group(condition.name), condition, curves)
                names = list(file)
        self._names = names


def _plain(value):
    return value.item() if hasattr(value, "item") else value


def _write(group, condition, curves):
    accuracy = curves["accuracy"]
    group.attrs.update(asdict(condition) | {"complete": bool(curves["complete"])})
    group.attrs.update({"accuracy": float(accuracy[-1]), "best_accuracy": float(np.max(accuracy))})
    for name, values in curves.items():
        if name == "complete":
            continue
        values = np.asarray(values)
        whole = np.issubdtype(values.dtype, np.integer)
        # Shuffled bytes: the exponents of neighbours are alike. The mantissas are noise, so more effort gains nothing.
        group.create_dataset(
            name, data=values.astype(np.int32 if whole else np.float32), compression="gzip", compression_opts=1,
            shuffle=True,
        )  # fmt: skip


def expected_bytes(runs, iterations, log_every):
    """Upper bound of the size of the curves of so many runs: before compression, and 60 kB a run that HDF5 takes."""
    return runs * (4 * (2 * len(LOSS_NAMES) + 1) * -(-iterations // log_every) + 8 * (iterations // 250 + 2) + 60_000)
