"""The main job: data, model, fit, scores, figures, one folder."""

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from kseg import report
from kseg.report.tables import print_whole
from kseg.training.callbacks import ShowProgress, best_epoch, read_history
from kseg.training.dry import dry_run
from kseg.training.evaluation import evaluate_into
from kseg.training.fit import fit
from kseg.training.job import loss_of, prepare
from kseg.training.record import RunFolder, check_output, environment
from kseg.training.recorded import read_record, recorded, telling_how_to_go_on
from kseg.training.state import read_progress

__all__ = ["TrainResult", "loss_of", "train"]
# Options that need not be those of the run that is gone on with, or done again.
RESUMED = ("resume", "config", "output", "overwrite", "verify", "dry_run")
REPLAYED = ("config", *(name for name in RESUMED if name != "config"))


@dataclass(frozen=True)
class TrainResult:
    """What a training run gave: its folder, the history per epoch, the summary of the test scores."""

    folder: Path
    history: dict
    summary: dict


def train(config, console, callbacks=(), networks=None):
    """Train, score, draw; everything that could be wrong with the input is found before the folder is made.

    Args:
        config: `kseg.configs.Train`.
        console: a `rich.console.Console` for plan, progress and tables.
        callbacks: further Keras callbacks.
        networks: `kseg.training.compiled.Networks`, to compile nothing again that another training of this process has
            compiled; None compiles.

    Returns:
        TrainResult; None of a dry run.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: bad input, one line.
        RunFailed: the run began and failed.
    """
    config, record, former = _begun(config)
    if record is not None and record.get("status") == "finished":
        line = f"{config.output} is finished: nothing is left to do."
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        return _result(config.output)
    if record is None:
        check_output(config)
    job = prepare(config, former, networks)
    if config.dry_run:
        console.print(report.fields_table(_plan(job, "none: a dry run") | dry_run(job)))
        return None
    progress = read_progress(config.output) if record is not None else None
    folder = RunFolder(config, **_facts(job)) if record is None else RunFolder.reopen(config.output, record)
    console.print(report.fields_table(_plan(job, folder.path, progress)))
    with telling_how_to_go_on(folder, config, console), folder.running():
        summary = _train_into(folder, job, progress, console, callbacks)
    _closing(console, folder, summary, config)
    return TrainResult(folder.path, read_history(folder / "history.csv"), summary)


def _begun(config):
    """(config, record of the run to go on with, record whose data are to be the same); records are None if not asked.

    The folder of a run that is gone on with is its `output`.
    """
    if config.resume is not None:
        record = read_record(config.resume, config.program, "--resume")
        config = recorded(config, record, config.resume, RESUMED)
        return replace(config, resume=None, output=Path(config.resume)), record, record
    if config.config is not None:
        record = read_record(config.config, config.program, "--config")
        return replace(recorded(config, record, config.config, REPLAYED), config=None), None, record
    return config, None, None


def _train_into(folder, job, progress, console, callbacks):
    """Fit, draw, score; the summary of the scores."""
    config, shown = job.config, ShowProgress(console)
    logs = [keras.callbacks.TensorBoard(folder / "logs")] if config.tensorboard else []
    try:
        fit(
            job.model, job.batches(progress.epochs * job.steps if progress else 0), job.validation(),
            epochs=config.epochs, steps=job.steps, folder=folder.path, head=job.head,
            callbacks=[shown, *callbacks, *job.callbacks(), *logs], progress=progress,
        )  # fmt: skip
    finally:
        shown.close()
        history = read_history(folder / "history.csv")
        if history["epoch"]:
            figure = report.plot_history(history, f"{config.loss} on {job.data.name}")
            report.save_figure(figure, folder / "curves.png")
    best = keras.saving.load_model(folder / "model.keras", compile=False)
    summary = evaluate_into(folder.path, best, job.data, "test", config.batch_size, console)
    folder.save(best_epoch=1 + best_epoch(history["val_dice"]), test=summary)
    return summary


def _result(path):
    summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    return TrainResult(path, read_history(path / "history.csv"), summary["classes"])


def _facts(job):
    """What the record tells beside the config."""
    preprocessing = getattr(job.data, "preprocessing", None)
    return {
        "data": job.identity,
        # What prediction must do to images as preparation did to those of the data; None if unknown.
        "preprocessing": None if preprocessing is None else preprocessing.to_json(),
        "model": {"parameters": job.model.count_params(), "channels": job.channels, "head": job.head},
        "devices": environment(),
    }


def _plan(job, folder, progress=None):
    config, data = job.config, job.data
    sizes = ", ".join(f"{rows} {split}" for split, rows in data.sizes.items())
    done = {"done": f"{progress.epochs} of {config.epochs} epochs"} if progress else {}
    return {
        "data": f"{config.data}: {sizes} images of {'x'.join(map(str, data.shape))}",
        "classes": ", ".join(data.classes),
        "model": f"U-Net, {job.model.count_params():,} parameters, {job.head} head, "
        f"{'batch normalisation' if config.bn else 'no batch normalisation'}",
        "training": _training(config),
        **done,
        "folder": folder,
    }


def _training(config):
    """How a config trains, in one line."""
    rate = f"{config.optimizer} at {config.learning_rate:g}"
    rate += {"plateau": " by plateau", "cosine": " by cosine"}.get(config.schedule, "")
    further = {
        f" after {config.warmup} of warmup": config.warmup,
        f", gradients of norm {config.clip_norm or 0:g} at most": config.clip_norm,
        f", averages of momentum {config.ema or 0:g}": config.ema,
    }
    rate += "".join(words for words, asked in further.items() if asked)
    epochs = f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
    epochs += f" of {config.epoch_steps} steps" if config.epoch_steps else ""
    epochs += f" or {config.early_stopping} without a better Dice" if config.early_stopping else ""
    changes = [f"batches of {config.batch_size}, seed {config.seed}"]
    changes += [f"augmented by {', '.join(config.augment)}"] if config.augment else []
    changes += [f"a hidden square of {config.cutout}"] if config.cutout else []
    if config.perturb:
        changes += [f"perturbed by {', '.join(config.perturb)}, budget {100 * config.budget:g} %"]
    changes += [f"{config.mixed_precision}"] if config.mixed_precision else []
    changes += [f"{config.devices} devices"] if config.devices != 1 else []
    return f"{config.loss}, {rate}, {epochs}, {', '.join(changes)}"


def _closing(console, folder, summary, config):
    data, run = folder.record["data"], shlex.quote(str(folder.path))
    table = report.score_table(summary, f"Test split of {data['name']}: mean over cases (95 % interval)")
    print_whole(console, table)
    lines = [
        f"Best model, record, curves and examples are in {folder.path}/",
        f"Next: python scripts/evaluate.py {run} {shlex.quote(config.data)} --split validation --figures",
    ]
    if folder.record["preprocessing"] and Path(config.data).is_file():
        lines.append(f"Masks of other images: python scripts/predict.py {run} FILES --overlays")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
