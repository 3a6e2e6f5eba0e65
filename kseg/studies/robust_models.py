"""The models of D4's study, each trained into a run folder of its own (S4.10, S4.17)."""

import shutil
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from kseg.configs import Train
from kseg.studies.pixel_models import is_trained
from kseg.training import run

ORIGINAL, ONE, TWO, UNION = "1 original", "2 method one", "3 method two", "4 union"
FLY, FREE, PLATEAU = "5 on the fly", "6 free", "1 with plateau"
FOUR, EXTRAS = (ORIGINAL, ONE, TWO, UNION), (FLY, FREE, PLATEAU)
FILES = {ONE: "method_one.h5", TWO: "method_two.h5", UNION: "union.h5"}  # what they are trained on


class Entry(NamedTuple):
    """One model of the study: its `label`, its `seed`, and the folder of its run."""

    label: str
    seed: int
    folder: Path

    @property
    def name(self):
        """Of the model among all, fit for a file."""
        return self.folder.name


def planned(config, folder):
    """Entries of the models that the study trains, seed by seed; model 1 first, since the others need it."""
    labels = (*FOUR, *(EXTRAS if config.extras else ()))
    return [
        Entry(label, seed, folder / "models" / f"{label.replace(' ', '_')}_seed{seed}")
        for seed in range(config.seeds)
        for label in labels
    ]


def data_of(entry, folder):
    """The file that a model is trained on, in the study's folder; None for the data themselves."""
    name = FILES.get(entry.label)
    return None if name is None else folder / "perturbed" / f"seed{entry.seed}" / name


def epochs_of(entry, config):
    """Passes over its data that give a model about as many updates as model 1 has."""
    shares = {UNION: 3, FREE: config.replays}
    return max(1, round(config.epochs / shares.get(entry.label, 1)))


def options_of(entry, config, folder):
    """`kseg.configs.Train` of a model; all of a seed begin with the same weights."""
    own = {
        FLY: {"perturb": ("none", "layered", "selective"), "attack_steps": config.fly_steps},
        FREE: {"perturb": ("free",), "replays": config.replays},
        PLATEAU: {"schedule": "plateau"},
    }
    return Train(
        data=str(data_of(entry, folder) or config.data), loss=config.loss, head="softmax", bn=config.bn,
        learning_rate=config.learning_rate, epochs=epochs_of(entry, config), batch_size=config.batch_size,
        filters=config.filters, depth=config.depth, budget=config.budget, seed=entry.seed, jit=config.jit,
        verify=False, output=entry.folder, **own.get(entry.label, {}),
    )  # fmt: skip


def train(entry, config, folder, callbacks=()):
    """Train one model, from the beginning if it was broken off."""
    if entry.folder.exists():
        shutil.rmtree(entry.folder)
    run.train(options_of(entry, config, folder), Console(quiet=True), callbacks)


__all__ = ["Entry", "data_of", "epochs_of", "is_trained", "options_of", "planned", "train"]
