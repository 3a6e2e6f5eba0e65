"""The models of the pixel study: which there are, and each trained into a run folder of its own (S0.4 to S0.6)."""

import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

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
SALIENT_FOLDER = "salient"  # in the study's folder, holds the images cut to their salient pixels
SIDE = 0.25  # of the hidden square, as a share of the shorter side of the image


class Entry(NamedTuple):
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
            entries.append(Entry(label_of(config), int(config["seed"]), path))
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(
                f"--models {path} has no record.json of a training run. Expected run folders of scripts/train.py."
            ) from None
    names, kinds = [entry.name for entry in entries], [entry[:2] for entry in entries]
    for what, told in ((names, "are called"), (kinds, "are both")):
        if len(set(what)) < len(what):
            twin = next(each for each in what if what.count(each) > 1)
            twin = twin if isinstance(twin, str) else f"{twin[0]} with seed {twin[1]}"
            raise ValueError(f"--models has two run folders that {told} {twin}. Expected them to differ.")
    return entries


def label_of(config):
    """What kind of model a training run gave, by the `config` of its record: a name of `LOSSES`, or its loss itself."""
    terms = _terms(config["loss"])
    plain = "+".join(terms)
    plain = f"{plain} (as given)" if plain in LOSSES else plain  # of other options than the study's
    label = next((name for name, loss in LOSSES.items() if _terms(loss) == terms), plain)
    if Path(str(config["data"])).parent.name == SALIENT_FOLDER:
        return f"{label}, salient"
    return f"{label}, cutout" if config.get("cutout") else label


def _terms(loss):
    """The terms of a sum of losses without blanks, sorted: sums differ in nothing else."""
    return sorted(re.split(r"\+(?![^(]*\))", loss.replace(" ", "")))


def planned(config, folder):
    """Entries of the models that the study trains, seed by seed, those that need others last; extras of seed 0 only."""
    return [
        Entry(label, seed, folder / "models" / f"{label.replace(', ', '_').replace('+', '_')}_seed{seed}")
        for seed in range(config.seeds)
        for label in (*LOSSES, *(EXTRAS if config.extras and seed == 0 else ()))
    ]


def train(entry, config, folder, callbacks=(), networks=None):
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
        data = folder / SALIENT_FOLDER / f"seed{entry.seed}.h5"
        if not data.exists():
            data.parent.mkdir(exist_ok=True)
            keep(entry, config, folder, data)
    options = Train(
        data=str(data), loss=LOSSES[entry.label.split(",")[0]], head="sigmoid", bn=config.bn, epochs=config.epochs,
        batch_size=config.batch_size, filters=config.filters, depth=config.depth, cutout=cutout, seed=entry.seed,
        jit=config.jit, verify=False, output=entry.folder,
    )  # fmt: skip
    if entry.folder.exists():  # of a training that was broken off
        shutil.rmtree(entry.folder)
    run.train(options, Console(quiet=True), callbacks, networks)


def keep(entry, config, folder, path):
    """Write the data of a model that sees the pixels of high gradient alone, those of BCE+Dice of the same seed."""
    teacher = next(other for other in planned(config, folder) if (other.label, other.seed) == ("bce+dice", entry.seed))
    explainer = Explainer(load_model(teacher.folder), "gradient")

    def reduce(images, boxes):
        return keep_highest(images, explainer(images), boxes, KEPT_SHARE)

    with open_data(config.data) as data:
        save(Reduced(data, reduce, f"pixels of high gradient of {teacher.name}"), path, overwrite=True)
