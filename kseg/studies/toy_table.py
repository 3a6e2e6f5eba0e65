"""The table of the toy study: what each run came to, in one row, and rows put together by condition."""

import math
from dataclasses import asdict

import numpy as np
from rich import box
from rich.table import Table

from kseg.report.balance import LOSS_LIMITS, LOSS_WINDOW, NORM_LIMITS, smooth_curve
from kseg.studies.toy_runs import LEARNING_RATE, LOSS_NAMES

# Columns of figures and tables, in the order of the document, then what it left out.
LOSS_ORDER = ("cce", "dicefg", "dice", "dicefg_square", "dice_square")
START, EARLY, END_SHARE, LAST = 10, 1000, 0.1, 10


def converged(accuracy, threshold):
    """Whether a final accuracy is that of a network that has learned its task (S1.16).

    Half way from the majority vote to perfect, and at least 0.97: the vote alone, 0.95 at 5 % foreground, is not.

    Example:
        >>> converged(0.98, 0.95), converged(0.96, 0.95), converged(0.96, 0.5)
        (True, False, False)
    """
    larger = max(threshold, 1 - threshold)
    # 1e-9: that 0.975 is 0.95 + 0.5 * 0.05 shall not hang on the last bit.
    return bool(accuracy >= max(larger + 0.5 * (1 - larger), 0.97) - 1e-9)


def row(condition, curves):
    """What one run came to.

    Args:
        condition: `kseg.studies.toy_runs.Condition`.
        curves: of `toy_alone.train` or `toy_stack.train`.

    Returns:
        A dict of the condition and of

        - `name`, `foreground` (percent), `iterations` done, `complete`;
        - `accuracy` and `best_accuracy` on the validation images, `to_99`: iterations until 0.99 (nan: never),
          `converged`; `late_accuracy`, the mean of the last 10 checks, of which a single one is noisy with BN;
        - `largest_<loss>_loss`, `largest_<loss>_grad`: true maxima, not smoothed; infinite where a curve is not finite;
        - `end_<loss>_grad`: mean over the last tenth of the iterations;
        - `start_cce_loss`, `start_cce_grad`: mean over the first 10 iterations; `early_cce_loss`, `early_cce_grad`:
          largest value within the first 1000 of the curve, smoothed over 11 iterations; infinite if not finite.
    """
    at, accuracy = np.asarray(curves["accuracy_iteration"]), np.asarray(curves["accuracy"])
    iterations = int(at[-1]) + 1
    enough = at[accuracy >= 0.99]
    values = {
        "name": condition.name, **asdict(condition), "foreground": condition.foreground, "iterations": iterations,
        "complete": bool(curves["complete"]), "accuracy": float(accuracy[-1]), "best_accuracy": float(accuracy.max()),
        "late_accuracy": float(accuracy[-LAST:].mean()), "to_99": float(enough[0]) if len(enough) else math.nan,
        "converged": converged(float(accuracy[-1]), condition.threshold),
    }  # fmt: skip
    x = np.asarray(curves["iteration"])
    for kind in ("loss", "grad"):
        for name in LOSS_NAMES:
            curve = np.asarray(curves[f"{name}_{kind}"], np.float64)
            values[f"largest_{name}_{kind}"] = float(curve.max()) if np.isfinite(curve).all() else math.inf
    late = x >= min((1 - END_SHARE) * iterations, x[-1])
    for name in LOSS_NAMES:
        values[f"end_{name}_grad"] = float(np.mean(curves[f"{name}_grad"][late]))
    for kind in ("loss", "grad"):
        curve = np.asarray(curves[f"cce_{kind}"], np.float64)
        values[f"start_cce_{kind}"] = float(curve[x < START].mean())
        early = smooth_curve(x, curve, LOSS_WINDOW)[x < EARLY]
        values[f"early_cce_{kind}"] = float(early.max()) if np.isfinite(early).all() else math.inf
    return values


def off_scale(values):
    """{curve: true maximum} of the curves of a row that leave the fixed limits of the figure (S1.14)."""
    limits = {"loss": LOSS_LIMITS[1], "grad": NORM_LIMITS[1]}
    found = {f"{name}_{kind}": values[f"largest_{name}_{kind}"] for name in LOSS_NAMES for kind in limits}
    return {curve: value for curve, value in found.items() if value > limits[curve.rpartition("_")[2]]}


def training(values):
    """Optimiser of a row in words: "adam", or "sgd 0.1" with a rate that must be told."""
    rate = values["learning_rate"]
    return values["optimizer"] + (f" {rate:g}" if values["optimizer"] == "sgd" or rate != LEARNING_RATE else "")


def columns_of(rows):
    """(group, label) of the overview's columns: optimiser and input, then batch normalisation."""
    found = {(v["input"] != "raw", v["optimizer"], v["learning_rate"], v["input"], v["bn"]): column_of(v) for v in rows}
    return list(dict.fromkeys(found[key] for key in sorted(found)))


def column_of(values):
    """(group, label) of the column of a row of the table."""
    return training(values) + ("" if values["input"] == "raw" else f",\n{values['input']}"), _norm(values["bn"])


def lines_of(rows):
    """(group, label) of the overview's lines: percent foreground, then loss."""
    found = sorted({(v["foreground"], LOSS_ORDER.index(v["loss"])) for v in rows})
    return [(f"{foreground:g} %\nforeground", LOSS_ORDER[i]) for foreground, i in found]


def line_of(values):
    """(group, label) of the line of a row of the table."""
    return f"{values['foreground']:g} %\nforeground", values["loss"]


def _norm(bn):
    return "BN" if bn else "no BN"


def cells(rows):
    """{(line, column): (converged, runs, final accuracies)} of the complete runs, for `report.plot_overview`."""
    found = {}
    for values in rows:
        if values["complete"]:
            found.setdefault((line_of(values), column_of(values)), []).append(values)
    return {
        key: (sum(v["converged"] for v in group), len(group), [v["accuracy"] for v in group])
        for key, group in found.items()
    }


def summary_table(rows, title):
    """A rich table by condition: a row per training and percentage, a column per loss; converged runs and accuracy."""
    shown = [name for name in LOSS_ORDER if any(v["loss"] == name for v in rows)]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("training", "BN", "foreground"):
        table.add_column(name, no_wrap=True)
    for name in shown:
        table.add_column(name, no_wrap=True)
    filled = cells(rows)
    for column in columns_of(rows):
        for line in dict.fromkeys(group for group, _ in lines_of(rows)):
            found = [filled.get(((line, name), column)) for name in shown]
            if any(found):
                start = [column[0].replace("\n", " "), "yes" if column[1] == "BN" else "no", line.partition("\n")[0]]
                table.add_row(*start, *(f"{c[0]}/{c[1]} {np.mean(c[2]):.3f}" if c else "-" for c in found))
        table.add_section()
    return table
