"""The models of the pixel study: which there are, and each trained into a run folder of its own (S0.4 to S0.6)."""

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from kseg.configs import Train
from kseg.data import open_data, save
from kseg.inference import load_model
from kseg.saliency import Explainer
from kseg.studies.pixel_data import KEPT_SHARE, Reduced, keep_highest
from kseg.training import run

LOSSES = {
    "bce": "bce",
    "dice": "dice",
    "bce+dice": "bce + dice",
    "bce+dice+focal": "bce + dice + focal(alpha=0.25, gamma=2)",
}
CUTOUT, SALIENT = "bce+dice, cutout", "bce+dice, salient"
EXTRAS = (CUTOUT, SALIENT)
SIDE = 0.25  # of the hidden square, as a share of the shorter side of the image


@dataclass(frozen=True)
class Entry:
    """One model of the study: its `label`, its `seed` (None: unknown), and the run folder that holds it."""

    label: str
    seed: int | None
    folder: Path

    @property
    def name(self):
        """Of the model among all, fit for a file."""
        return self.folder.name


def given(paths):
    """Entries of trained models, from the records of their run folders.

    Raises:
        ValueError, FileNotFoundError: no run folder of training, or two of one name.
    """
    entries = []
    for path in paths:
        try:
            config = json.loads((path / "record.json").read_text(encoding="utf-8"))["config"]
            entries.append(Entry(str(config["loss"]).replace(" ", ""), int(config["seed"]), path))
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(
                f"--models {path} has no record.json of a training run. Expected run folders of scripts/train.py."
            ) from None
        load_model(path)
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"--models has two run folders that are called {twin}. Expected names that differ.")
    return entries


def planned(config, folder):
    """Entries of the models that the study trains, seed by seed, those that need others last."""
    labels = [*LOSSES, *(EXTRAS if config.extras else ())]
    return [
        Entry(label, seed, folder / "models" / f"{label.replace(', ', '_').replace('+', '_')}_seed{seed}")
        for seed in range(config.seeds)
        for label in labels
    ]


def is_trained(entry):
    """Whether a model's run came to its end."""
    try:
        record = json.loads((entry.folder / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return record.get("status") == "finished"


def train(entry, config, folder, callbacks=()):
    """Train one model; all of a seed begin with the same weights and see the images in the same order.

    Args:
        entry: of `planned`.
        config: `kseg.configs.PixelRobustness`.
        folder: of the study.
        callbacks: Keras callbacks.
    """
    data, cutout = config.data, 0
    if entry.label == CUTOUT:
        cutout = round(SIDE * min(open_data(data).shape[:2]))
    if entry.label == SALIENT:
        data = folder / f"salient_seed{entry.seed}.h5"
        if not data.exists():
            keep(entry, config, folder, data)
    options = Train(
        data=str(data), loss=LOSSES[entry.label.split(",")[0]], head="sigmoid", bn=config.bn, epochs=config.epochs,
        batch_size=config.batch_size, filters=config.filters, depth=config.depth, cutout=cutout, seed=entry.seed,
        verify=False, output=entry.folder, overwrite=True,
    )  # fmt: skip
    run.train(options, Console(quiet=True), callbacks)


def keep(entry, config, folder, path):
    """Write the data of a model that sees the pixels of high gradient alone, those of BCE+Dice of the same seed."""
    teacher = next(
        other for other in planned(config, folder) if (other.label, other.seed) == ("bce+dice", entry.seed)
    )
    explainer = Explainer(load_model(teacher.folder), "gradient")

    def reduce(images):
        return keep_highest(images, explainer(images), KEPT_SHARE)

    with open_data(config.data) as data:
        save(Reduced(data, reduce, f"pixels of high gradient of {teacher.name}"), path, overwrite=True)
