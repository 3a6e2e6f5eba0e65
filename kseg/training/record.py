"""The folder of a run: claimed before anything is written, with a record of what was run and how it ended."""

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

PACKAGES = ("tensorflow", "keras", "numpy", "h5py")


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
        self.path = _claim(config)
        self.record = {
            "kseg": __version__,
            "program": config.program,
            "command": config.command(),
            "config": asdict(config),
            "status": "running",
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "machine": {"system": platform.system(), "processor": platform.machine()},
            **facts,
        }
        self._began = time.monotonic()
        self.save()

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
            raise KeyboardInterrupt(f"what was done is kept in {self.path}") from None
        except Exception as error:
            self._end("failed")
            write_text(self.path / "error.txt", traceback.format_exc())
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RunFailed(f"the run failed: {reason} (details in {self.path / 'error.txt'})") from error
        self._end("finished")

    def _end(self, status):
        self.save(status=status, seconds=round(time.monotonic() - self._began, 1))


def check_output(config):
    """Raise FileExistsError if a run may not have its folder; nothing is made."""
    output = config.output
    if output is None or not output.exists():
        return
    if not config.overwrite:
        raise FileExistsError(f"--output {output} exists. Expected a new folder; choose another or --overwrite.")
    if not output.is_dir() or (any(output.iterdir()) and not (output / "record.json").is_file()):
        raise FileExistsError(
            f"--output {output} is no run folder. Expected a new or empty folder, or one with record.json to "
            "overwrite; choose another."
        )


def _claim(config):
    check_output(config)
    if config.output is not None:
        if config.output.exists():
            shutil.rmtree(config.output)
        config.output.mkdir(parents=True)
        return config.output
    number = 1
    while True:
        path = Path("runs") / f"{config.program}-{number}"
        try:
            path.mkdir(parents=True)
            return path
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
