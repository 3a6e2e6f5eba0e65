"""The models of the comparison of losses, each trained into a run folder of its own (S3.3, S3.4)."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from kseg import losses
from kseg.configs import Train
from kseg.models import head_for
from kseg.training import run
from kseg.training.record import RunFailed, is_finished

GIVEN, TUNED = "given rate", "tuned rate"
REGIMES = (GIVEN, TUNED)


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


def spelled(config):
    """The losses to compare: those of `config.losses`, or all there are."""
    return tuple(losses.names()) if config.losses == ("all",) else config.losses


def heads_of(specs, classes, shape):
    """{loss: (channels, "sigmoid" | "softmax")}: binary data get one sigmoid channel, others a softmax, where they can.

    Args:
        specs: losses or sums of them.
        classes: of the data, background included.
        shape: `(H, W, C)` of the images.

    Raises:
        ValueError: no loss of that name, or one that fits neither head.
    """
    found, wishes = {}, ("sigmoid", "softmax") if classes == 2 else ("softmax", "sigmoid")
    for spec in specs:
        refused = None
        for wish in wishes:
            try:
                found[spec] = _tried(spec, wish, classes, shape)
                break
            except ValueError as error:
                refused = refused or error
        else:
            raise refused
    return found


def _tried(spec, wish, classes, shape):
    loss = losses.get(spec, from_logits=True)
    channels, head = head_for(loss.head, classes, wish)
    loss = loss_of(spec, head)
    loss(np.zeros((1, *shape[:2]), np.uint8), np.zeros((1, *shape[:2], channels), np.float32))
    return channels, head


def loss_of(spec, head):
    """The loss for models that end in logits of this head."""
    loss = losses.get(spec, from_logits=True)
    return losses.get(spec, from_logits=True, head=head) if loss.head == "auto" else loss


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


def train(entry, config, head, callbacks=()):
    """Train one model, from the beginning if it was broken off; one whose loss breaks down stays as it ended."""
    if entry.folder.exists():
        shutil.rmtree(entry.folder)
    try:
        run.train(options_of(entry, config, head), Console(quiet=True), callbacks)
    except RunFailed as failed:
        if not isinstance(failed.__cause__, FloatingPointError):
            raise


def ended(folder):
    """ "finished"; "broke down", if its loss became nan; or None of a run that was broken off or not begun."""
    if is_finished(folder):
        return "finished"
    try:
        told = (folder / "error.txt").read_text(encoding="utf-8").strip().splitlines()
    except OSError:
        return None
    return "broke down" if told and told[-1].startswith("FloatingPointError") else None
