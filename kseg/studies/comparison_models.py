"""The models of the comparison of losses, each trained into a run folder of its own (S3.3, S3.4)."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from kseg.configs import Train
from kseg.data.recipe import source_entry
from kseg.files import write_text
from kseg.studies.breakdown import OF_THE_MACHINE, reason
from kseg.training import run
from kseg.training.record import RunFailed, is_finished

GIVEN, TUNED = "given rate", "tuned rate"
REGIMES = (GIVEN, TUNED)
BROKEN = "broke_down.txt"  # in the folder of a run that will not be done again: why


class Entry(NamedTuple):
    """One model of the study: its loss, learning rate and seed, and the folder of its run."""

    loss: str
    rate: float
    seed: int
    folder: Path

    @property
    def name(self):
        """Of the model among all, fit for a file."""
        return self.folder.name

    @property
    def trouble(self):
        """What was wrong, in one line, if the run broke down; else None."""
        try:
            return (self.folder / BROKEN).read_text(encoding="utf-8").strip()
        except OSError:
            return None

    @property
    def digest(self):
        """SHA-256 of the trained model's file."""
        return source_entry(self.folder / "model.keras", self.folder)["sha256"]


def names_of(specs):
    """{loss: a name fit for files}, all different."""
    found = {}
    for spec in specs:
        name = plain = re.sub(r"[^A-Za-z0-9.]+", "_", spec).strip("_.")[:60]
        number = 1
        while name in found.values():
            number += 1
            name = f"{plain}_{number}"
        found[spec] = name
    return found


def entry_of(loss, rate, seed, names, folder):
    """The entry of a loss, a rate and a seed in the study's folder; `names` of `names_of`."""
    return Entry(loss, rate, seed, folder / "models" / f"{names[loss]}_rate{rate:g}_seed{seed}")


def planned(config, finalists, rates, names, folder):
    """{(loss, regime, seed): Entry}, seed by seed; the same entry twice where the tuned rate is the given one.

    Args:
        config: `kseg.configs.CompareLosses`.
        finalists: losses to compare.
        rates: {loss: tuned rate, or None}.
        names: of `names_of`.
        folder: of the study.
    """
    wanted = {GIVEN: dict.fromkeys(finalists, config.learning_rate), TUNED: rates}
    return {
        (loss, regime, seed): entry_of(loss, wanted[regime][loss], seed, names, folder)
        for seed in range(config.seeds)
        for regime in REGIMES
        for loss in finalists
        if wanted[regime].get(loss) is not None
    }


def options_of(entry, config, head):
    """`kseg.configs.Train` of a model; all of a seed begin with the same weights and see the same batches."""
    return Train(
        data=config.data, loss=entry.loss, head=head, bn=config.bn, learning_rate=entry.rate, epochs=config.epochs,
        batch_size=config.batch_size, filters=config.filters, depth=config.depth, decoder=config.decoder,
        seed=entry.seed, jit=config.jit, verify=False, output=entry.folder,
    )  # fmt: skip


def train(entry, config, head, callbacks=(), networks=None):
    """Train one model, from the beginning if it was broken off; one that fails stays as it ended, with the reason.

    Raises:
        MemoryError, OSError, or RunFailed because of one: no fault of the loss.
    """
    if entry.folder.exists():
        shutil.rmtree(entry.folder)
    try:
        run.train(options_of(entry, config, head), Console(quiet=True), callbacks, networks)
        return
    except OF_THE_MACHINE:
        raise
    except Exception as failed:  # a loss may fail in any way
        error = failed.__cause__ if isinstance(failed, RunFailed) else failed
        if isinstance(error, OF_THE_MACHINE):
            raise
    entry.folder.mkdir(parents=True, exist_ok=True)
    write_text(entry.folder / BROKEN, reason(error) + "\n")


def ended(entry):
    """ "finished"; "broke down", if its loss failed; or None of a run that was broken off or not begun."""
    return "finished" if is_finished(entry.folder) else "broke down" if entry.trouble else None
