"""What a sweep of the toy study leaves to be read: figures of every group of runs, and a page with the answers."""

import math
from dataclasses import replace

import numpy as np

from kseg import report
from kseg.report.balance import LOSS_WINDOW, NORM_WINDOW
from kseg.studies.toy_runs import LEARNING_RATE
from kseg.studies.toy_table import LOSS_ORDER, cells, columns_of, line_of, lines_of, off_scale, training

# S1.15: the figures the document shows, by optimiser, batch normalisation, percent foreground and run.
SHOWN = {
    ("adam", False, 5.0, 1): 1, ("adam", False, 50.0, 1): 2, ("adam", False, 95.0, 1): 3, ("adam", True, 95.0, 0): 4,
    ("sgd", True, 95.0, 0): 5,
}  # fmt: skip
CONVERGED = (
    "A run has *converged* if its final accuracy on 100 validation images is half way or more from the majority vote "
    "to perfect, and at least 0.97."
)
HOW = (
    "A verdict is *supported* if the claim held in every run it is about and *not supported* if in none; otherwise "
    "it names the fewest conditions that tell apart where it held, where it did not and where seeds differ (the last "
    "is left to the seed where it would take all conditions), and the seed where runs of one condition differ. "
    "c: accuracy at the end is the mean of the last ten checks: with BN a single one is noisy. d: the value of CCE, "
    "smoothed over 11 iterations, leaves the figure; its norm, smoothed so, is at least twice its mean over the first "
    "10 iterations. e: means over the last tenth of the iterations, compared seed by seed, of pairs that both "
    "converged. S1.17: geometric means of those over the seeds; an input explains the gap between 5 % and 95 % if at "
    "least half of its logarithm is gone; gaps below a quarter are left out."
)


def groups(result):
    """{file name: runs} of a SweepResult: the runs that stand in one figure, a column per training loss (S1.14)."""
    found = {}
    for condition in result.conditions:
        found.setdefault(figure_name(condition), []).append(condition)
    return {name: sorted(runs, key=lambda run: LOSS_ORDER.index(run.loss)) for name, runs in found.items()}


def shown(condition):
    """Number of the figure of the document that has this run (S1.15), or None."""
    usual = condition.learning_rate == LEARNING_RATE and condition.input == "raw"
    key = (condition.optimizer, condition.bn, condition.foreground, condition.seed)
    return SHOWN.get(key) if usual and (condition.convolutions, condition.batch_size) == (2, 2) else None


def figure_name(condition):
    """File of the figure a run is in; those of the document begin with its number: `document1_adam_..png`."""
    number = shown(condition)
    return f"{f'document{number}_' if number else ''}{condition.name.removeprefix(f'{condition.loss}_')}.png"


def title(condition):
    """Heading of a figure of runs (S1.14)."""
    rate = "" if condition.learning_rate == LEARNING_RATE else f" ({condition.learning_rate:g})"
    given = "" if condition.input == "raw" else f", {condition.input} input"
    head = f"{condition.foreground:g}% Foreground (run {condition.seed})"
    return f"{head}\n{condition.optimizer.upper()}{rate}, Batch Norm: {condition.bn}{given}"


def draw(result, folder, progress=None):
    """Draw a SweepResult into a folder: `figures/` with every group, and the small ones of the page (S1.14, S1.15).

    Args:
        result: SweepResult.
        folder: existing folder.
        progress: called after each figure with (done, all).
    """
    (folder / "figures").mkdir(exist_ok=True)
    overview = report.plot_overview(
        cells(result.rows), lines_of(result.rows), columns_of(result.rows),
        f"Converged runs and final accuracy ({iterations(result)})",
        "converged: final accuracy half way or more from the majority vote to perfect, and at least 0.97",
    )  # fmt: skip
    report.save_small(overview, folder / "toy_overview.png")
    found = groups(result)
    for done, (name, conditions) in enumerate(found.items(), 1):
        runs = [result.run(condition) for condition in conditions]
        report.save_figure(report.plot_balance(runs, title(conditions[0])), folder / "figures" / name, dpi=70)
        if shown(conditions[0]):
            published = [run for run in runs if run.condition.loss in LOSS_ORDER[:3]]
            path = folder / f"toy_document{shown(conditions[0])}.png"
            report.save_small(report.plot_balance(published, title(conditions[0])), path)
        if progress:
            progress(done, len(found))


def iterations(result):
    """How long the runs were, in words."""
    return f"{result.config.iterations} iterations"


def results(result):
    """The rows of results.csv: the table of runs with the figure each is in, and its number in the document."""
    found = []
    for condition, values in zip(result.conditions, result.rows, strict=True):
        number = shown(condition)
        found.append(values | {"figure": figure_name(condition), "document_figure": "" if number is None else number})
    return found


def page(result, record):
    """The page on a sweep, in Markdown; figures and the table of runs are beside it.

    Args:
        result: SweepResult.
        record: of its run folder, for how it was made.
    """
    command = replace(result.config, output=None, overwrite=False).command()
    versions = record["versions"]
    made = f"kseg {record['kseg']}, TensorFlow {versions['tensorflow']}, Keras {versions['keras']}"
    lines = [
        "# The toy study of class balance", "",
        f"`{command}`: {len(result.rows)} runs of {iterations(result)} each ({made}). A network of "
        f"{result.config.convolutions} 3x3 convolutions is trained with one loss to find the pixels of a noise image "
        "above a threshold; the share of such pixels, the optimiser and batch normalisation vary, and the value and "
        f"the gradient norm of all five losses are logged. {CONVERGED} The curves, `results.csv` and "
        "`claims.json` are in the run folder.", "",
        "![Converged runs and final accuracy by condition](toy_overview.png)", "",
        "In each cell: seeds that converged of those run, and the mean final accuracy, or its range where seeds "
        "differ.", "",
        "## What the document says, decided", "", *claim_lines(result.claims), "", HOW, "",
    ]  # fmt: skip
    figures = _shown_runs(result)
    if figures:
        lines += [
            "## The figures of the document", "",
            f"Losses are moving averages over {LOSS_WINDOW} iterations, norms over "
            f"{NORM_WINDOW}, as in the document; each figure shows one seed, and a claim need not hold in "
            "it.", "",
        ]  # fmt: skip
    for number, condition in figures.items():
        lines += [f"![{title(condition).replace(chr(10), ', ')}](toy_document{number}.png)", ""]
    return "\n".join([*lines, "## Every run", "", "[Table of all runs](toy_runs.md)", ""])


def _shown_runs(result):
    found = {shown(condition): condition for condition in reversed(result.conditions)}
    return {number: found[number] for number in sorted(key for key in found if key)}


def claim_lines(claims):
    """The verdicts as a Markdown table."""
    rows = ["| claim | verdict | numbers |", "| --- | --- | --- |"]
    for claim in claims:
        told = [("", claim)] + ([("With the squared losses: ", claim["square"])] if claim["square"] else [])
        for label, each in told:
            head = f"**{claim['claim']}** {claim['text']}" if not label else label.strip(": ")
            rows.append(f"| {head} | {each['verdict']} | {each['why']} |")
    return rows


def run_lines(result):
    """Every run as a Markdown page with one table."""
    head = ["training", "BN", "input", "foreground", "loss", "seed", "accuracy", "best", "to 0.99", "converged",
            "true maxima beyond the figure's limits", "document"]  # fmt: skip
    rows = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for values in results(result):
        maxima = off_scale(values).items()
        beyond = ", ".join(f"{k} {v:.3g}" if math.isfinite(v) else f"{k} not finite" for k, v in maxima)
        reached = "-" if math.isnan(values["to_99"]) else f"{values['to_99']:.0f}"
        cut = "" if values["complete"] else " (interrupted)"
        row = [
            training(values), "yes" if values["bn"] else "no", values["input"], line_of(values)[0].split("\n")[0],
            values["loss"], values["seed"], f"{values['accuracy']:.4f}{cut}", f"{values['best_accuracy']:.4f}", reached,
            "yes" if values["converged"] else "no", beyond.replace("_loss", "").replace("_grad", " norm"),
            f"figure {values['document_figure']}" if values["document_figure"] else "",
        ]  # fmt: skip
        rows.append(f"| {' | '.join(map(str, row))} |")
    share = np.mean([values["converged"] for values in result.rows])
    intro = (
        f"{len(result.rows)} runs of {iterations(result)}; {100 * share:.0f} % converged. To 0.99: the first check, "
        "one every 250 iterations, at which the accuracy is 0.99 or more. Maxima are of the curves as logged, not "
        "smoothed; the figures end at 1 for losses and 4 for norms."
    )
    return "\n".join(["# Every run of the toy study", "", intro, "", *rows, ""])
