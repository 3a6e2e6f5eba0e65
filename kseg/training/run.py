"""The main job: data, model, fit, scores, figures, one folder."""

import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from kseg import losses, models, report
from kseg.data import cutout, load, open_data
from kseg.data.source import check_split
from kseg.training.callbacks import ShowProgress, best_epoch, read_history
from kseg.training.evaluation import evaluate_into, identity
from kseg.training.fit import compile_model, fit
from kseg.training.perturbed import perturbed
from kseg.training.record import RunFolder, check_output, environment, seed_everything


@dataclass(frozen=True)
class TrainResult:
    """What a training run gave: its folder, the history per epoch, the summary of the test scores."""

    folder: Path
    history: dict
    summary: dict


def train(config, console, callbacks=()):
    """Train, score, draw; everything that could be wrong with the input is found before the folder is made.

    Args:
        config: `kseg.configs.Train`.
        console: a `rich.console.Console` for plan, progress and tables.
        callbacks: further Keras callbacks.

    Returns:
        TrainResult.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: bad input, one line.
        RunFailed: the run began and failed.
    """
    check_output(config)
    _check_tensorboard(config)
    data = open_data(config.data)
    for split in ("train", "validation", "test"):
        check_split(data, split)
    if config.cutout > min(data.shape[:2]):
        raise ValueError(
            f"--cutout={config.cutout} is larger than the images of {'x'.join(map(str, data.shape[:2]))}. Expected at "
            f"most {min(data.shape[:2])}."
        )
    if config.verify:
        data.verify()
    wanted = losses.get(config.loss, from_logits=True).head
    channels, head = models.head_for(wanted, len(data.classes), config.head)
    loss = loss_of(config.loss, head)
    seed_everything(config.seed, config.deterministic)
    model = models.unet(
        data.shape, channels, filters=config.filters, depth=config.depth, bn=config.bn,
        decoder=config.decoder, dropout=config.dropout,
    )  # fmt: skip
    if config.perturb:
        model = _perturbed(model, data, config, head)
    compile_model(model, loss, optimizer=config.optimizer, learning_rate=config.learning_rate, jit=config.jit)
    loss(np.zeros((1, *data.shape[:2]), np.uint8), np.zeros((1, *data.shape[:2], channels), np.float32))

    facts = {
        "data": identity(data),
        "model": {"parameters": model.count_params(), "channels": channels, "head": head},
        "devices": environment(),
    }
    folder = RunFolder(config, **facts)
    console.print(report.fields_table(_plan(config, data, model, head, folder)))
    progress = ShowProgress(console)
    if config.schedule == "plateau":
        callbacks = [*callbacks, keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=2)]
    callbacks = [progress, *callbacks, *([keras.callbacks.TensorBoard(folder / "logs")] if config.tensorboard else [])]
    with folder.running():
        # A smaller last batch would be compiled for itself, with each of its parts and each attack on them.
        even = bool(config.perturb) and config.jit and data.sizes["train"] >= config.batch_size
        batches = load(data, "train", config.batch_size, seed=config.seed, drop_remainder=even)
        if config.epoch_steps:
            batches = batches.repeat()
        if config.cutout:
            batches = cutout(batches, config.cutout, seed=config.seed)
        validation = load(data, "validation", config.batch_size)
        try:
            fit(
                model, batches, validation, epochs=config.epochs, steps=config.epoch_steps, folder=folder.path,
                head=head, callbacks=callbacks,
            )  # fmt: skip
        finally:
            progress.close()
            history = read_history(folder / "history.csv")
            if history["epoch"]:
                report.save_figure(report.plot_history(history, f"{config.loss} on {data.name}"), folder / "curves.png")
        best = keras.saving.load_model(folder / "model.keras", compile=False)
        summary = evaluate_into(folder.path, best, data, "test", config.batch_size, console)
        folder.save(best_epoch=1 + best_epoch(history["val_dice"]), test=summary)
    _closing(console, folder.path, summary, config, data.name)
    return TrainResult(folder.path, history, summary)


def loss_of(spec, head):
    """The loss of this spelling for models that end in logits of this head, "sigmoid" or "softmax"."""
    loss = losses.get(spec, from_logits=True)
    return losses.get(spec, from_logits=True, head=head) if loss.head == "auto" else loss


def _perturbed(model, data, config, head):
    """The model that trains on images it changes itself; a ValueError names the option that does not fit."""
    low, high = data.value_range
    return perturbed(
        model, config.perturb, budget=config.budget * (high - low), value_range=(low, high), seed=config.seed,
        steps=config.attack_steps, replays=config.replays, batch_size=config.batch_size, head=head,
    )  # fmt: skip


def _check_tensorboard(config):
    if config.tensorboard and find_spec("tensorboard") is None:
        raise ValueError(
            "--tensorboard needs a package that is missing. Expected tensorboard; pip install 'kseg[tensorboard]'."
        )


def _plan(config, data, model, head, folder):
    sizes = ", ".join(f"{rows} {split}" for split, rows in data.sizes.items())
    return {
        "data": f"{config.data}: {sizes} images of {'x'.join(map(str, data.shape))}",
        "classes": ", ".join(data.classes),
        "model": f"U-Net, {model.count_params():,} parameters, {head} head, "
        f"{'batch normalisation' if config.bn else 'no batch normalisation'}",
        "training": f"{config.loss}, {config.optimizer} at {config.learning_rate:g}, "
        f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
        + (f" of {config.epoch_steps} steps" if config.epoch_steps else "")
        + f", batches of {config.batch_size}, seed {config.seed}"
        + (f", a hidden square of {config.cutout}" if config.cutout else "")
        + (f", perturbed by {', '.join(config.perturb)}, budget {100 * config.budget:g} %" if config.perturb else "")
        + (", learning rate by plateau" if config.schedule == "plateau" else ""),
        "folder": folder.path,
    }


def _closing(console, folder, summary, config, name):
    console.print(report.score_table(summary, f"Test split of {name}: mean over cases (95 % interval)"))
    console.print(f"Best model, record, curves and examples are in {folder}/", highlight=False, soft_wrap=True)
    console.print(
        f"Next: python scripts/evaluate.py {folder} {shlex.quote(config.data)} --split validation",
        highlight=False,
        soft_wrap=True,
    )
