"""The folder of a run: claimed before anything is written, with a record of what was run and how it ended."""

import json
import os
import platform
import shutil
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from kseg import __version__
from kseg.files import write_json, write_text

PACKAGES = ("tensorflow", "keras", "numpy", "h5py", "scipy", "matplotlib", "nibabel")
# What runs write; with the files that a record lists, all that overwriting may remove. The rest is the user's.
WRITTEN = {
    "record.json", "error.txt", "history.csv", "model.keras", "state", "logs", "curves.png", "examples.png",
    "cases.csv", "summary.json", "figures",
}  # fmt: skip


class RunFailed(RuntimeError):
    """A run that began and could not end; the message is one line."""


class RunFolder:
    """A new folder with a `record.json`.

    Args:
        config: a config of `kseg.configs`; its `program` names the folder where `output` is None.
        facts: what else belongs into the record (data, model).

    Raises:
        FileExistsError: `config.output` exists and `config.overwrite` is not set, or is no run folder.
    """

    def __init__(self, config, **facts):
        self.path, self._replaced = _claim(config)
        self.record = {
            "kseg": __version__,
            "program": config.program,
            "command": config.command(),
            "config": asdict(config),
            "status": "running",
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "machine": {
                "system": platform.system(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
            },
            **facts,
        }
        self._began, self._spent = time.monotonic(), 0.0
        self.save()

    @classmethod
    def reopen(cls, path, record):
        """The folder of a run that goes on, whose `record` was read from it; its seconds add up."""
        folder = cls.__new__(cls)
        folder.path, folder._replaced, folder.record = path, None, record
        folder._began, folder._spent = time.monotonic(), record.get("seconds") or 0.0
        folder.save(status="running", resumed=record.get("resumed", 0) + 1)
        (path / "error.txt").unlink(missing_ok=True)  # of the attempt before
        for part in (*path.glob(".*.part*"), *path.glob("state/.*.part*")):  # what it was writing when it was killed
            part.unlink()
        return folder

    def __truediv__(self, name):
        return self.path / name

    def save(self, **facts):
        """Add facts and write the record."""
        self.record.update(facts)
        write_json(self.path / "record.json", self.record)

    @contextmanager
    def running(self):
        """Record how the block ends: finished, interrupted, or failed with its traceback in error.txt."""
        try:
            yield self
        except KeyboardInterrupt:
            self._end("interrupted")
            raise KeyboardInterrupt(f"what was done is kept in {self.path}{self._former()}") from None
        except Exception as error:
            write_text(self.path / "error.txt", traceback.format_exc())
            self._end("failed")
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RunFailed(
                f"the run failed: {reason} (details in {self.path / 'error.txt'}{self._former()})"
            ) from error
        self._end("finished")
        if self._replaced is not None:
            shutil.rmtree(self._replaced)

    def _former(self):
        return "" if self._replaced is None else f"; the run it was to replace is in {self._replaced}"

    def _end(self, status):
        files = sorted(path.name for path in self.path.iterdir())
        self.save(status=status, seconds=round(self._spent + time.monotonic() - self._began, 1), files=files)


def is_finished(path):
    """Whether the run in a folder came to its end."""
    try:
        record = json.loads((path / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("status") == "finished"


def check_output(config):
    """Raise FileExistsError if a run may not have its folder; nothing is made.

    An existing folder is replaced only with `config.overwrite`, and only if it is empty or holds a run of the same
    program, no file that kseg did not write, nothing that this run reads, and not the current folder.
    """
    output = config.output
    if output is None or not (output.exists() or output.is_symlink()):
        return
    if not config.overwrite:
        raise FileExistsError(f"--output {output} exists. Expected a new folder; choose another or --overwrite.")
    if reason := _unfit(config, output):
        raise FileExistsError(
            f"--output {output} {reason}. Expected an empty folder, or one with a run of {config.program} and nothing "
            "else, to overwrite; choose another."
        )


def _unfit(config, output):
    """Why `output` may not be replaced, or None."""
    if output.is_symlink() or not output.is_dir():
        return "is no folder of its own"
    needed = [getattr(config, name) for name in ("data", "model") if hasattr(config, name)]
    needed += getattr(config, "models", None) or ()
    for path in [*map(Path, map(str, needed)), Path.cwd()]:
        if path.resolve().is_relative_to(output.resolve()) and path.exists():
            return f"holds {path}, which this run needs"
    names = {path.name for path in output.iterdir()}
    if not names:
        return None
    try:
        record = json.loads((output / "record.json").read_text(encoding="utf-8"))
        program, written = record["program"], WRITTEN | set(record.get("files", ()))
    except (OSError, ValueError, KeyError, TypeError):
        return "has no record.json of a run"
    if foreign := sorted(names - written):
        return f"holds {foreign[0]}, which kseg did not write"
    return None if program == config.program else f"holds a run of {program}"


def _make(path):
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise
    except OSError as error:
        reason = f"folder {path} cannot be made ({error.strerror})"
        raise ValueError(f"{reason}. Expected one that can be written; choose another --output.") from None


def _claim(config):
    """(new folder, the folder it replaces under its new name or None)."""
    check_output(config)
    if config.output is not None:
        aside = None
        if config.output.exists():
            aside = config.output.with_name(f"{config.output.name}.replaced-{os.getpid()}")
            config.output.rename(aside)
        _make(config.output)
        return config.output, aside
    number = 1
    while True:
        path = Path("runs") / f"{config.program}-{number}"
        try:
            _make(path)
            return path, None
        except FileExistsError:
            number += 1


def seed_everything(seed, deterministic):
    """Seed Python, NumPy and TensorFlow; with `deterministic`, refuse operations that differ between runs."""
    import keras

    keras.utils.set_random_seed(seed)
    if deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def environment():
    """Devices of this process, for the record."""
    tf = sys.modules["tensorflow"]
    return [device.device_type for device in tf.config.list_physical_devices()]
