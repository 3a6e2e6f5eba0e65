"""D3's study: train with several losses from the same starts, score, rank, test, decide what the document says."""

import json
import shutil
import time
from pathlib import Path

import keras
import numpy as np
from rich import box
from rich.table import Table

from kseg import inference, report
from kseg.data import open_data
from kseg.data.source import check_split
from kseg.files import write_csv, write_json, write_text
from kseg.models import unet
from kseg.stats import ENOUGH
from kseg.studies import (
    comparison_claims,
    comparison_cost,
    comparison_measures,
    comparison_models,
    comparison_page,
    comparison_search,
    comparison_text,
    halving,
    measures_file,
)
from kseg.studies.bar import Bar
from kseg.studies.begun import opened, telling_how_to_go_on
from kseg.studies.comparison_table import MAIN, Result
from kseg.training.run import read_history

KEPT = ["cases.csv", "claims.json", "costs.json", "error.txt", "figures", "measures", "models", "record.json",
        "results.csv", "search", "search.json", "summary.md"]  # fmt: skip
SEARCHING = 0.2  # share of the bar
__all__ = ["Result", "claims", "execute", "run"]

claims = comparison_claims.claims


def run(config, folder, tell=None, known=None):
    """Search, train, measure what is missing, and bring it together.

    Args:
        config: `kseg.configs.CompareLosses`.
        folder: Path of the study; models go to `models/`, measures to `measures/`. What is there is not done again.
        tell: called with (what is being done, share of all that is done).
        known: what `checked` gave, if that was asked before.

    Returns:
        Result.

    Raises:
        ValueError: data or options that do not fit.
    """
    data, losses, heads, surfaces, rows = known or checked(config, folder)
    tell = tell or (lambda *_: None)
    names = comparison_models.names_of(losses)
    (folder / "measures").mkdir(parents=True, exist_ok=True)
    search = _searched(config, folder, data, losses, heads, names, tell)
    finalists = tuple(loss for loss in losses if not search or loss in search.finalists)
    rates = search.rates if search else {}
    entries = comparison_models.planned(config, finalists, rates, names, folder)
    measures, histories = {}, {}
    unique = list(dict.fromkeys(entries.values()))
    for number, entry in enumerate(unique):
        steps = _Steps(tell, entry, number, len(unique), config, SEARCHING if search else 0.0)
        found = _measured(entry, config, folder, data, heads[entry.loss][1], surfaces, rows.row, steps)
        if found is not None:
            measures[entry.name] = found
        histories[entry.name] = read_history(entry.folder / "history.csv")
    if not measures:
        raise FloatingPointError("the losses of all models broke down. Expected one that ends; take lower --rates.")
    costs = _costs(config, folder, finalists, heads, data.shape, tell)
    return Result(
        data.name, tuple(data.classes), finalists, entries, _cases(data), surfaces.unit if surfaces else None,
        measures, histories, search, costs, heads, rows, tuple(map(float, data.value_range)),
    )  # fmt: skip


def _searched(config, folder, data, losses, heads, names, tell):
    """`halving.Search`, gone on with where it was broken off; None without a budget."""
    if not config.budget:
        return None
    path, states = folder / "search.json", folder / "search"
    states.mkdir(exist_ok=True)
    done = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    trainer = comparison_search.Trainer(config, data, heads, names, states)

    def keep(rounds):
        write_json(path, rounds)
        trainer.tidy(rounds[-1])

    search = halving.halve(
        losses, config.rates or halving.rates_around(config.learning_rate), config.finalists, trainer.advance,
        minutes=config.budget, epochs=config.epochs, tell=lambda what, share: tell(what, SEARCHING * share),
        done=done, on_round=keep,
    )  # fmt: skip
    shutil.rmtree(states)
    return search


def _measured(entry, config, folder, data, head, surfaces, rows, steps):
    """The measures of a model, trained and measured unless that was done; None if its loss broke down."""
    path, clock = folder / "measures" / f"{entry.name}.h5", EpochTimes()
    facts = {"data": data.fingerprint(), "epochs": config.epochs, "unit": surfaces.unit if surfaces else "none"}
    if comparison_models.ended(entry.folder) is None:
        steps.say(" (compiling first)", 0)
        comparison_models.train(entry, config, head, [clock, steps.epochs()])
    if comparison_models.ended(entry.folder) != "finished":
        return None
    if not path.exists():
        model = inference.load_model(entry.folder)
        found = comparison_measures.measure(model, data, surfaces, config.batch_size, rows)
        measures_file.save(path, comparison_measures.FORM, found | {"seconds": np.array(clock.seconds)}, **facts)
    return measures_file.read(path, comparison_measures.FORM, **facts)


def _costs(config, folder, losses, heads, shape, tell):
    """{loss: `comparison_cost.cost`}, kept in a file."""
    path = folder / "costs.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for loss in losses:
        if loss not in found:
            tell(f"memory of {loss}", 1.0)
            channels, head = heads[loss]
            found[loss] = comparison_cost.cost(config, loss, head, channels, shape)
            if np.isfinite(found[loss]["step"]):
                write_json(path, found)
    return {
        loss: {name: float("nan") if value is None else value for name, value in found[loss].items()} for loss in losses
    }


class EpochTimes(keras.callbacks.Callback):
    """Seconds of the training of each epoch, validation left out, in `seconds`."""

    def __init__(self):
        super().__init__()
        self.seconds, self._start = [], None

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_test_begin(self, logs=None):
        if self._start is not None:
            self.seconds.append(time.perf_counter() - self._start)
            self._start = None


class _Steps:
    """How far the study is: the epochs of all models, after the search's share."""

    def __init__(self, tell, entry, number, models, config, before):
        self._tell, self._entry, self._number, self._models = tell, entry, number, models
        self._epochs, self._before = config.epochs, before

    def say(self, what, epochs):
        share = (self._number + epochs / self._epochs) / self._models
        about = f"{self._entry.name}{what}, model {self._number + 1} of {self._models}"
        self._tell(about, self._before + (1 - self._before) * share)

    def epochs(self):
        """A Keras callback."""
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.say(f": epoch {epoch + 1} of {self._epochs}", epoch + 1)
        )


def _cases(data):
    return np.array([name for name, _ in inference.cases_of(data.index("test"))])


def checked(config, folder):
    """(data, losses, heads, surfaces, images to show) of a study; a ValueError says what does not fit."""
    data = open_data(config.data)
    for split in ("train", "validation", "test"):
        check_split(data, split)
    losses = comparison_models.spelled(config)
    heads = comparison_models.heads_of(losses, len(data.classes), data.shape)
    model = unet(
        data.shape, max(channels for channels, _ in heads.values()), filters=config.filters, depth=config.depth,
        bn=config.bn, decoder=config.decoder,
    )  # fmt: skip
    rates = config.rates or halving.rates_around(config.learning_rate)
    rounds = halving.rounds_needed(len(losses), len(rates), config.finalists) if config.budget else 0
    if config.epochs < rounds:
        raise ValueError(
            f"--epochs={config.epochs} do not do for {rounds} rounds of search. Expected at least {rounds}, or no "
            "search: --budget 0."
        )
    surfaces = inference.plan_surfaces(data.index("test"), slice_spacing=config.slice_spacing)
    # Weights and two moments of Adam: of each candidate of the search, and of each model's state and best epoch.
    kept = min(len(losses), config.finalists) if config.budget else len(losses)
    states = len(losses) * len(rates) * bool(config.budget) + 2 * 2 * kept * config.seeds
    needed = 12 * model.count_params() * states
    place = folder if folder.exists() else Path.cwd()
    if (free := shutil.disk_usage(place).free) < needed:
        raise ValueError(f"the models need {needed >> 20} MiB, {place} has {free >> 20} free. Expected room.")
    return data, losses, heads, surfaces, comparison_measures.example_rows(data)


def execute(config, console):
    """Run the study and keep it in a run folder; returns the Result."""
    config, known, folder = opened(config, checked, KEPT)
    console.print(report.fields_table(_plan(config, folder, *known)))
    with folder.running():
        with telling_how_to_go_on(folder, config, console), Bar(console) as bar:
            result = run(config, folder.path, bar.tell, known)
        decided = claims(result)
        write_json(folder / "claims.json", decided)
        write_csv(folder / "results.csv", comparison_page.result_rows(result))
        write_csv(folder / "cases.csv", comparison_page.case_rows(result))
        (folder / "figures").mkdir(exist_ok=True)
        drawn = comparison_page.draw(result, folder / "figures")
        write_text(folder / "summary.md", comparison_text.page(result, decided, folder.record, drawn, "figures"))
        folder.save(claims={claim["claim"]: claim["verdict"] for claim in decided})
    _show(result, decided, folder.path, console)
    return result


def _plan(config, folder, data, losses, heads, surfaces, _):
    sizes = ", ".join(f"{count} {split}" for split, count in data.sizes.items())
    search = "none"
    if config.budget:
        rates = config.rates or halving.rates_around(config.learning_rate)
        search = f"{config.budget:g} minutes: {', '.join(f'{rate:g}' for rate in rates)} for each loss"
        if len(losses) > config.finalists:
            search += f", {config.finalists} of {len(losses)} losses go on"
    few = len(_cases(data)) < ENOUGH
    kinds = {head for _, head in heads.values()}
    return {
        "data": f"{config.data}: {sizes} images of {'x'.join(map(str, data.shape))}",
        "losses": ", ".join(losses),
        "models": f"U-Net with {config.filters} filters, {config.depth} poolings, {' or '.join(sorted(kinds))} head, "
        f"{config.seeds} seed{'s' * (config.seeds > 1)}",
        "training": f"{config.epochs} epochs, batches of {config.batch_size}, Adam at {config.learning_rate:g} and at "
        "the rate that is found",
        "search": search,
        "surfaces": f"distances in {surfaces.unit}" if surfaces else "not measured: volumes need --slice-spacing",
        "folder": folder.path,
    } | ({"note": f"{len(_cases(data))} test cases are too few to decide a claim: {ENOUGH} are needed"} if few else {})


def _show(result, decided, path, console):
    table = Table(box=box.SIMPLE_HEAD, title="Foreground, mean over seeds and cases", title_justify="left")
    for name in ("loss", *(f"{what}, {regime}" for regime in result.regimes for what in ("IoU", "Dice"))):
        table.add_column(name)
    order = result.ranking(result.regimes[-1], MAIN)
    names = order.names if order else ()
    for loss in [*names, *(loss for loss in result.losses if loss not in names)]:
        cells = [result.mean(loss, regime, what)[0] for regime in result.regimes for what in ("iou", "dice")]
        table.add_row(loss, *("broke down" if value != value else f"{value:.3f}" for value in cells))
    console.print(table)
    table = Table("claim", "verdict", box=box.SIMPLE_HEAD)
    for claim in decided:
        table.add_row(f"{claim['claim']}  {claim['text']}", claim["verdict"])
    console.print(table, highlight=False)
    where = f"Models, measures, results.csv, figures and summary.md are in {path}/"
    console.print(where, highlight=False, soft_wrap=True)
    console.print(f"Next: look at {path / 'summary.md'}", highlight=False, soft_wrap=True)
