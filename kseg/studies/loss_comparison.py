"""D3's study: train with several losses from the same starts, score, rank, test, decide what the document says."""

import json
import os
from functools import partial
from typing import NamedTuple

import numpy as np

from kseg import inference, report
from kseg.data import open_data
from kseg.data.source import check_split
from kseg.files import write_json
from kseg.models import unet
from kseg.studies import (
    closing,
    comparison_claims,
    comparison_cost,
    comparison_measures,
    comparison_models,
    comparison_notes,
    comparison_page,
    comparison_same,
    comparison_search,
    comparison_text,
    halving,
    measures_file,
)
from kseg.studies.bar import Bar
from kseg.studies.begun import models_so_far, opened, telling_how_to_go_on
from kseg.studies.comparison_progress import EpochTimes, Steps
from kseg.studies.comparison_table import MAIN, Result
from kseg.studies.room import check_room
from kseg.training.callbacks import read_history
from kseg.training.compiled import Networks

KEPT = ["cases.csv", "claims.json", "costs.json", "error.txt", "figures", "measures", "models", "record.json",
        "results.csv", "search", "search.json", "summary.md"]  # fmt: skip
SEARCHING = 0.2  # share of the bar
__all__ = ["Result", "claims", "execute", "run"]

claims = comparison_claims.claims


class Known(NamedTuple):
    """What is known of a study before it begins: open data, losses as `comparison_same.Chosen`, how to measure."""

    data: object
    chosen: comparison_same.Chosen
    surfaces: object
    rows: object


def run(config, folder, tell=None, known=None, say=None):
    """Search, train, measure what is missing, and bring it together.

    Args:
        config: `kseg.configs.CompareLosses`.
        folder: Path of the study; models go to `models/`, measures to `measures/`. What is there is not done again;
            measures of another model are refused.
        tell: called with (what is being done, share of all that is done[, True where a model begins]).
        known: what `checked` gave, if that was asked before.
        say: called with a line to warn of.

    Returns:
        Result. A model whose loss fails has no measures, and its entry a `trouble`.

    Raises:
        ValueError: data or options that do not fit.
        FloatingPointError: no model ended.
    """
    data, (losses, heads, same, unfit), surfaces, rows = known or checked(config, folder)
    tell, say = tell or (lambda *_: None), say or (lambda _: None)
    names = comparison_models.names_of(losses)
    (folder / "measures").mkdir(parents=True, exist_ok=True)
    networks = Networks()
    search = comparison_search.search(
        config, data, losses, heads, names, folder, lambda what, share: tell(what, SEARCHING * share), say, networks
    )
    finalists = tuple(loss for loss in losses if not search or loss in search.finalists)
    rates = search.rates if search else {}
    entries = comparison_models.planned(config, finalists, rates, names, folder)
    measures, histories = {}, {}
    unique = list(dict.fromkeys(entries.values()))
    for number, entry in enumerate(unique):
        steps = Steps(tell, entry, number, len(unique), config, SEARCHING if search else 0.0)
        found = _measured(entry, config, folder, data, heads[entry.loss][1], surfaces, rows.row, steps, networks)
        if found is not None:
            measures[entry.name] = found
        histories[entry.name] = read_history(entry.folder / "history.csv")
    if not measures:
        raise FloatingPointError(
            f"all {len(unique)} models broke down, {unique[0].name}: {unique[0].trouble}. Expected one that ends; take "
            "lower --rates, or other --losses."
        )
    costs = _costs(config, folder, finalists, heads, data.shape, tell)
    return Result(
        data.name, tuple(data.classes), finalists, entries, _cases(data), surfaces.unit if surfaces else None,
        measures, histories, search, costs, heads, rows, tuple(map(float, data.value_range)),
        tuple(comparison_notes.of_losses(losses, same, unfit)),
    )  # fmt: skip


def _measured(entry, config, folder, data, head, surfaces, rows, steps, networks):
    """The measures of a model, trained and measured unless that was done; None if its loss broke down."""
    path, clock = folder / "measures" / f"{entry.name}.h5", EpochTimes()
    if comparison_models.ended(entry) is None:
        steps.say("", 0)
        path.unlink(missing_ok=True)
        comparison_models.train(entry, config, head, [clock, steps.epochs()], networks)
    if comparison_models.ended(entry) != "finished":
        return None
    facts = {
        "data": data.fingerprint(), "epochs": config.epochs, "unit": surfaces.unit if surfaces else "none",
        "model": entry.digest,
    }  # fmt: skip
    if not path.exists():
        model = inference.load_model(entry.folder)
        found = comparison_measures.measure(model, data, surfaces, config.batch_size, rows)
        measures_file.save(path, comparison_measures.FORM, found | {"seconds": np.array(clock.seconds)}, **facts)
    return measures_file.read(path, comparison_measures.FORM, **facts)


def _costs(config, folder, losses, heads, shape, tell):
    """{loss: {"memory": MiB of a step, "step": seconds, "why" they are not known}}, of `comparison_cost.cost`.

    A file keeps them; an older one, which tells of other memory than "allocated", is not taken.
    """
    path = folder / "costs.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for loss in losses:
        if "allocated" not in found.get(loss, {}):
            tell(f"memory of {loss}", 1.0)
            channels, head = heads[loss]
            found[loss] = comparison_cost.cost(config, loss, head, channels, shape)
            if np.isfinite(found[loss]["step"]):
                write_json(path, found)
    names = {"allocated": "memory"}
    return {
        loss: {names.get(name, name): float("nan") if value is None else value for name, value in found[loss].items()}
        for loss in losses
    }


def _cases(data):
    return np.array([name for name, _ in inference.cases_of(data.index("test"))])


def checked(config, folder, say=None):
    """`Known` of a study; a ValueError says what does not fit. `say` is called with a line before what takes long."""
    data = open_data(config.data)
    for split in ("train", "validation", "test"):
        check_split(data, split)
    if say and config.losses == comparison_same.ALL:
        say("Trying all losses: which fit the data, and which are the same function there ..")
    chosen = comparison_same.chosen(config.losses, len(data.classes), data.shape)
    model = unet(
        data.shape, max(channels for channels, _ in chosen.heads.values()), filters=config.filters, depth=config.depth,
        bn=config.bn, decoder=config.decoder,
    )  # fmt: skip
    losses, rates = len(chosen.losses), len(comparison_search.rates_of(config))
    rounds = halving.rounds_needed(losses, rates, config.finalists) if config.budget else 0
    if config.epochs < rounds:
        raise ValueError(
            f"--epochs={config.epochs} do not do for {rounds} rounds of search. Expected at least {rounds}, or no "
            "search: --budget 0."
        )
    surfaces = inference.plan_surfaces(data.index("test"), slice_spacing=config.slice_spacing)
    # Weights and two moments of Adam: of each candidate of the search, and of each model's state and best epoch.
    kept = min(losses, config.finalists) if config.budget else losses
    states = (losses * rates + 1) * bool(config.budget) + 2 * 2 * kept * config.seeds
    check_room(folder, 12 * model.count_params() * states, "the models")
    return Known(data, chosen, surfaces, comparison_measures.example_rows(data))


def execute(config, console):
    """Run the study and keep it in a run folder; returns the Result."""
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # leaves memory for the process that measures costs
    say = partial(_print, console)
    config, known, folder = opened(config, partial(checked, say=say), KEPT)
    console.print(report.fields_table(_plan(config, folder, known) | models_so_far(folder)))
    with folder.running():
        folder.save(same=known.chosen.same, unfit=known.chosen.unfit)
        with telling_how_to_go_on(folder, config, console), Bar(console) as bar:
            result = run(config, folder.path, bar.tell, known, lambda line: say(f"note: {line}"))
        found = comparison_search.facts(result.search) if result.search else None
        folder.save(search=found, broke_down=comparison_notes.broken(result))
        decided = claims(result)
        tables = {
            "results.csv": comparison_page.result_rows(result), "cases.csv": comparison_page.case_rows(result),
        }  # fmt: skip
        closing.write(folder, result, decided, tables, comparison_page.draw, comparison_text.page)
    notes = [*comparison_notes.of_search(result, config), *comparison_notes.of_breakdowns(result)]
    closing.show(
        console, "Foreground, mean over seeds and cases", *_scores(result), decided, notes,
        "Models, measures, results.csv, figures and summary.md", folder.path,
    )  # fmt: skip
    return result


def _print(console, line):
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _plan(config, folder, known):
    data, (losses, heads, same, unfit), surfaces, _ = known
    sizes = ", ".join(f"{count} {split}" for split, count in data.sizes.items())
    search = "none"
    if config.budget:
        rates = ", ".join(f"{rate:g}" for rate in comparison_search.rates_of(config))
        search = f"{config.budget:g} minutes: {rates} for each loss"
        if len(losses) > config.finalists:
            search += f", {config.finalists} of {len(losses)} losses go on"
    kinds, notes = {head for _, head in heads.values()}, comparison_notes.of_losses(losses, same, unfit)
    return {
        "data": f"{config.data}: {sizes} images of {'x'.join(map(str, data.shape))}",
        "losses": "\n".join([", ".join(losses), *notes]),
        "models": f"U-Net with {config.filters} filters, {config.depth} poolings, {' or '.join(sorted(kinds))} head, "
        f"{config.seeds} seed{'s' * (config.seeds > 1)}",
        "training": f"{config.epochs} epochs, batches of {config.batch_size}, Adam at {config.learning_rate:g} and at "
        "the rate that is found",
        "search": search,
        "surfaces": f"distances in {surfaces.unit}" if surfaces else "not measured: volumes need --slice-spacing",
        "folder": folder.path,
    } | closing.too_few(len(_cases(data)), config.seeds)


def _scores(result):
    """(columns, rows) of the table that is printed at the end."""
    columns = ["loss", *(f"{what}, {regime}" for regime in result.regimes for what in ("IoU", "Dice"))]
    order = result.ranking(result.regimes[-1], MAIN)
    names, rows = order.names if order else (), []
    for loss in [*names, *(loss for loss in result.losses if loss not in names)]:
        cells = [result.mean(loss, regime, what)[0] for regime in result.regimes for what in ("iou", "dice")]
        rows.append([loss, *("broke down" if value != value else f"{value:.3f}" for value in cells)])
    return columns, rows
