"""The models of D4's study, each trained into a run folder of its own (S4.10, S4.17)."""

import shutil
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from kseg.configs import Train
from kseg.training import run

ORIGINAL, ONE, TWO, UNION = "1 original", "2 method one", "3 method two", "4 union"
FLY, FREE, PLATEAU = "5 on the fly", "6 free", "1 with plateau"
FOUR, EXTRAS = (ORIGINAL, ONE, TWO, UNION), (FLY, FREE, PLATEAU)
# Not trained for themselves: models that began elsewhere than the model whose images they are shown.
OTHERS = {label: f"{label[0]} of another seed" for label in FOUR}
METHOD_OF = {ONE: "method one", TWO: "method two"}
FILES = {ONE: "method_one.h5", TWO: "method_two.h5", UNION: "union.h5"}  # what they are trained on


class Entry(NamedTuple):
    """One model of the study: its `label`, its `seed`, and the folder of its run."""

    label: str
    seed: int
    folder: Path

    @property
    def name(self):
        """Of the model among all, fit for a file; a control borrows the folder of another."""
        return f"control_{self.label[0]}_seed{self.seed}" if self.label in OTHERS.values() else self.folder.name


def entry_of(label, seed, folder):
    """The entry of a kind and a seed in the study's folder."""
    return Entry(label, seed, folder / "models" / f"{label.replace(' ', '_')}_seed{seed}")


def planned(config, folder):
    """Entries of the models that the study trains, seed by seed; model 1 first, since the others need it.

    Models 5 and 6 are of the first seed alone.
    """
    return [entry_of(label, seed, folder) for seed in range(config.seeds) for label in (*FOUR, *_extras(config, seed))]


def _extras(config, seed):
    """Further models of a seed: the document's future work once, its other schedule of each seed."""
    return () if not config.extras else EXTRAS if seed == 0 else (PLATEAU,)


def data_of(entry, folder):
    """The file that a model is trained on, in the study's folder; None for the data themselves."""
    name = FILES.get(entry.label)
    return None if name is None else folder / "perturbed" / f"seed{entry.seed}" / name


def steps_of(entry, config, images):
    """Batches an epoch that give a model as many updates, and looks at validation, as model 1 has; None for one pass.

    Args:
        entry: of `planned`.
        config: `kseg.configs.RobustTraining`.
        images: of the training split.
    """
    steps = -(-images // config.batch_size)
    return {UNION: steps, FREE: -(-steps // config.replays)}.get(entry.label)


def options_of(entry, config, folder, images):
    """`kseg.configs.Train` of a model; all of a seed begin with the same weights."""
    own = {
        FLY: {"perturb": ("none", "layered", "selective"), "attack_steps": config.fly_steps},
        FREE: {"perturb": ("free",), "replays": config.replays},
        PLATEAU: {"schedule": "plateau"},
    }
    return Train(
        data=str(data_of(entry, folder) or config.data), loss=config.loss, head="softmax", bn=config.bn,
        learning_rate=config.learning_rate, epochs=config.epochs, epoch_steps=steps_of(entry, config, images),
        batch_size=config.batch_size, filters=config.filters, depth=config.depth, budget=config.budget,
        seed=entry.seed, jit=config.jit, verify=False, output=entry.folder, **own.get(entry.label, {}),
    )  # fmt: skip


def train(entry, config, folder, images, callbacks=(), networks=None):
    """Train one model, from the beginning if it was broken off."""
    if entry.folder.exists():
        shutil.rmtree(entry.folder)
    run.train(options_of(entry, config, folder, images), Console(quiet=True), callbacks, networks)
