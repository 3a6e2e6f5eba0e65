"""D1's toy study: what class balance, loss, optimiser and batch normalisation do to losses and gradients."""

import json
import time
from pathlib import Path

from rich import box
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from kseg import report
from kseg.files import write_csv, write_json, write_text
from kseg.studies import toy_alone, toy_page
from kseg.studies.room import check_room
from kseg.studies.toy_files import CurveFile, expected_bytes
from kseg.studies.toy_runs import LOSS_NAMES, Condition
from kseg.studies.toy_sweep import Result, SweepResult, conditions, settle, stacks, sweep
from kseg.studies.toy_table import off_scale, summary_table
from kseg.training.record import RunFolder, check_output, environment

__all__ = ["Result", "SweepResult", "conditions", "execute", "run", "sweep"]
# Named in the record from the start, so that a folder whose run was killed can be overwritten as well.
KEPT = ["claims.json", "curves.h5", "figures", "record.json", "results.csv", "summary.md", "toy_overview.png",
        "toy_runs.md", *(f"toy_document{number}.png" for number in toy_page.SHOWN.values())]  # fmt: skip


def run(config, progress=None):
    """One run of the study (S1.9 to S1.12).

    Args:
        config: `kseg.configs.ToyBalance` without `sweep`.
        progress: called with the number of iterations done, every 250.

    Returns:
        Result; not `complete` if Ctrl-C ended it.

    Example:
        >>> from kseg.configs import ToyBalance
        >>> result = run(ToyBalance(threshold=0.5, loss="cce", iterations=2))
        >>> result.curves["cce_loss"].shape, result.accuracy > 0
        ((2,), True)
    """
    names = ("loss", "optimizer", "bn", "threshold", "seed", "learning_rate", "input", "convolutions", "batch_size")
    condition = Condition(**{name: getattr(config, name) for name in names})
    curves = toy_alone.train(condition, iterations=config.iterations, log_every=config.log_every, progress=progress)
    return Result(condition, curves)


def execute(config, console):
    """Run one condition, or a sweep, and keep it in a run folder; returns the Result or SweepResult."""
    return _execute_sweep(config, console) if config.sweep or config.resume else _execute_one(config, console)


def _progress(console):
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn()]  # fmt: skip
    return Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=120)


def _execute_one(config, console):
    folder = RunFolder(config, devices=environment())
    with folder.running():
        with _progress(console) as bar:
            task = bar.add_task(f"{config.loss}, threshold {config.threshold:g}", total=config.iterations)
            result = run(config, lambda done: bar.update(task, completed=done))
        CurveFile(folder / "curves.h5").update({result.condition: result.curves})
        figure = report.plot_balance([result], toy_page.title(result.condition))
        report.save_figure(figure, folder / "balance.png")
        largest = {
            name: float(curve.max()) for name, curve in result.curves.items() if name.endswith(("_loss", "_grad"))
        }
        folder.save(accuracy=result.accuracy, best_accuracy=result.best_accuracy, largest=largest)
        if not result.complete:
            raise KeyboardInterrupt
    table = Table("", *LOSS_NAMES, box=box.SIMPLE_HEAD)
    for label, kind in (("loss", "loss"), ("gradient norm", "grad")):
        curves = [result.curves[f"{name}_{kind}"] for name in LOSS_NAMES]
        table.add_row(f"{label}, last", *(f"{curve[-1]:.4f}" for curve in curves))
        table.add_row(f"{label}, largest", *(f"{curve.max():.4f}" for curve in curves))
    console.print(table)
    console.print(f"Curves and figure are in {folder.path}/", highlight=False)
    console.print(f"accuracy {result.accuracy:.4f}", highlight=False)
    return result


def _execute_sweep(config, console):
    record = _record(config.resume) if config.resume else None
    if record:
        config = settle(config, record["config"])
    else:
        check_output(config)
    runs = conditions(config)
    store = CurveFile(config.output / "curves.h5") if record else None
    missing = [each for each in runs if not record or each.name not in store.complete()]
    size = expected_bytes(len(runs), config.iterations, config.log_every)
    wanted = 2 * expected_bytes(len(missing), config.iterations, config.log_every)  # two copies while one is written
    check_room(config.output or Path("runs"), wanted, "the curves", "choose another --output or a larger --log-every")
    reopened = record and RunFolder.reopen(config.output, record)
    folder = reopened or RunFolder(config, devices=environment(), files=KEPT)
    store = store or CurveFile(folder / "curves.h5")
    console.print(report.fields_table(_plan(config, folder, runs, missing, size)))
    with folder.running():
        with _progress(console) as bar:
            done = config.iterations * (len(runs) - len(missing))
            task = bar.add_task("training", total=config.iterations * len(runs), completed=done)
            result = sweep(config, store, _teller(console, bar, task, done, config.iterations * len(runs)))
        write_csv(folder / "results.csv", toy_page.results(result))
        folder.save(runs=len(result.rows), converged=sum(values["converged"] for values in result.rows))
        if not result.complete:
            console.print(f"{len(store.complete())} of {len(runs)} runs are kept; a group is kept when it is done.")
            _go_on(console, folder.path)
            raise KeyboardInterrupt
        _write(result, folder, console)
    _show(result, folder.path, console)
    return result


def _teller(console, bar, task, before, total):
    """What to call with the iterations done: moves the bar or, where there is none, prints a line each tenth."""
    began, told = time.monotonic(), [before * 10 // total]

    def tell(done):
        bar.update(task, completed=done)
        if not console.is_terminal and done * 10 // total > told[0]:
            told[0] = done * 10 // total
            minutes = (time.monotonic() - began) / 60
            left = minutes * (total - done) / (done - before)
            console.print(f"{done / total:.0%} done after {minutes:.1f} minutes, {left:.1f} left", highlight=False)

    return tell


def _write(result, folder, console):
    """Claims, pages and figures of a sweep."""
    write_json(folder / "claims.json", result.claims)
    folder.save(claims={claim["claim"]: claim["verdict"] for claim in result.claims})
    write_text(folder / "summary.md", toy_page.page(result, folder.record))
    write_text(folder / "toy_runs.md", toy_page.run_lines(result))
    with _progress(console) as bar:
        task = bar.add_task("drawing")
        toy_page.draw(result, folder.path, lambda done, total: bar.update(task, completed=done, total=total))


def _show(result, path, console):
    console.print(
        summary_table(result.rows, f"Converged runs and mean final accuracy, {result.config.iterations} iterations")
    )
    table = Table("claim", "verdict", box=box.SIMPLE_HEAD)
    for claim in result.claims:
        table.add_row(f"{claim['claim']}  {claim['text']}", claim["verdict"])
    console.print(table, highlight=False)
    beyond = sum(bool(off_scale(values)) for values in result.rows)
    console.print(f"{beyond} runs leave the limits of their figures; results.csv has the true maxima.", highlight=False)
    console.print(f"Curves, tables, figures and summary.md are in {path}/", highlight=False, soft_wrap=True)


def _go_on(console, path):
    console.print(
        f"To go on: python scripts/toy_balance.py --resume {path}", highlight=False, markup=False, soft_wrap=True
    )


def _plan(config, folder, runs, missing, size):
    count = len(stacks(missing))
    return {
        "sweep": f"{config.sweep}: {len(runs)} runs of {config.iterations} iterations, batches of {config.batch_size}",
        "to do": f"{len(missing)} runs in {count} group{'s' * (count != 1)} trained at once",
        "curves": f"up to {size / 1e6:.0f} MB in {folder / 'curves.h5'}",
        "folder": folder.path,
    }


def _record(path):
    """The record of a sweep to go on with."""
    try:
        record = json.loads((path / "record.json").read_text(encoding="utf-8"))
        fits = record["program"] == "toy_balance" and record["config"]["sweep"] is not None
    except (OSError, ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise ValueError(f"--resume {path} holds no sweep. Expected the run folder of toy_balance.py --sweep.")
    return record
