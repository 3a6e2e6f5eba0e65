"""Figures of the toy study of class balance: the curves of a group of runs, and the whole sweep at a glance."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import ScaledTranslation

from kseg.report.figures import save_figure

# S1.14's colours for the three published losses, then two that stand apart from them.
LOSS_COLOURS = {
    "cce": "tab:blue", "dicefg": "tab:orange", "dice": "tab:green",
    "dicefg_square": "tab:red", "dice_square": "tab:purple",
}  # fmt: skip
LOSS_WINDOW, NORM_WINDOW = 11, 201
LOSS_LIMITS, NORM_LIMITS, ACCURACY_LIMITS = (0, 1), (0, 4), (0.9, 1.012)
# Vermilion to blue by way of a pale middle: told apart by the colour-blind, and in grey by the text in each cell.
SHARES = LinearSegmentedColormap.from_list("share converged", ["#e9965d", "#f4efe6", "#7fb3dd"])


def smooth(values, window):
    """Moving average of odd `window`, edges padded with the end values (S1.14)."""
    values = np.asarray(values, np.float64)
    half = min(window, 2 * len(values) - 1) // 2
    padded = np.pad(values, half, mode="edge")
    return np.convolve(padded, np.full(2 * half + 1, 1 / (2 * half + 1)), mode="valid")


def smooth_curve(iterations, values, window):
    """`smooth` over `window` iterations of a curve that may hold only every k-th of them."""
    every = iterations[1] - iterations[0] if len(iterations) > 1 else 1
    return smooth(values, 2 * round((window - 1) / 2 / every) + 1)


def envelope(x, y, points=2000):
    """At most about `points` of a curve, the least and the greatest of every stretch: it looks the same, drawn sooner.

    Returns:
        (x, y) in their order; the curve itself where it has no more points than that.
    """
    x, y = np.asarray(x), np.asarray(y)
    if len(y) <= points:
        return x, y
    size = -(-len(y) // (points // 2 - 1))
    starts = range(0, len(y), size)
    extremes = [start + pick(y[start : start + size]) for start in starts for pick in (np.argmin, np.argmax)]
    kept = np.unique([0, *extremes, len(y) - 1])
    return x[kept], y[kept]


def plot_balance(runs, title):
    """Gradient norms, losses and accuracy against the iteration, a column per training loss (S1.14).

    Args:
        runs: list of `kseg.studies.toy_balance.Result` (or what has its `condition.loss` and `curves`), one per
            training loss.
        title: above the figure.
    """
    figure = Figure(figsize=(8.3 * len(runs) + 1.5, 9), layout="constrained")
    axes = figure.subplots(2, len(runs), squeeze=False)
    for column, run in enumerate(runs):
        norms, losses = axes[:, column]
        x = run.curves["iteration"]
        for name, colour in LOSS_COLOURS.items():
            if f"{name}_loss" in run.curves:
                style = _line_style(name, colour)
                norms.plot(*envelope(x, smooth_curve(x, run.curves[f"{name}_grad"], NORM_WINDOW)), **style)
                losses.plot(*envelope(x, smooth_curve(x, run.curves[f"{name}_loss"], LOSS_WINDOW)), **style)
        right = losses.twinx()
        right.plot(run.curves["accuracy_iteration"], run.curves["accuracy"], color="black")
        right.set(ylim=ACCURACY_LIMITS, ylabel="validation accuracy")
        if run.curves["accuracy"][-1] < ACCURACY_LIMITS[0]:
            text = f"accuracy ends at {run.curves['accuracy'][-1]:.2f}, below this axis"
            losses.text(0.98, 0.02, text, transform=losses.transAxes, ha="right", va="bottom")
        norms.set(ylim=NORM_LIMITS, ylabel="global gradient norm")
        norms.set_title(f"trained with {run.condition.loss}")
        losses.set(ylim=LOSS_LIMITS, ylabel="loss", xlabel="iteration")
        norms.grid(axis="y")
        right.grid(axis="y")
        if column == len(runs) - 1:
            _legends(norms, losses, [name for name in LOSS_COLOURS if f"{name}_loss" in run.curves])
    figure.suptitle(title)
    return figure


def _line_style(name, colour):
    """The published losses solid and on top; the squared forms, which nearly coincide with them, below."""
    return {"color": colour, "linestyle": ":" if "square" in name else "-", "zorder": 1.9 if "square" in name else 2}


def _legends(norms, losses, names):
    lines = [Line2D([], [], label=name, **_line_style(name, LOSS_COLOURS[name])) for name in names]
    accuracy = Line2D([], [], color="black", label="accuracy (right axis)")
    norms.legend(handles=lines, loc="upper left", bbox_to_anchor=(1.1, 1), title="gradient norm of")
    losses.legend(handles=[*lines, accuracy], loc="upper left", bbox_to_anchor=(1.1, 1), title="value of")


def plot_overview(cells, rows, columns, title, note=""):
    """A sweep at a glance: how many runs of each condition converged, and how accurate they were in the end.

    Args:
        cells: {(row, column): (converged, runs, accuracies)}: two counts and the final accuracy of each run. A
            condition without runs may be left out; its cell is hatched.
        rows, columns: lists of (group, label); neighbours of one group stand under one heading.
        title: above the figure.
        note: below it.

    Returns:
        A figure whose cells are coloured by the share of runs that converged; written in each is that share and
        the mean final accuracy, or its range where the runs differ by 0.01 or more.
    """
    width, height = 1.02 * len(columns) + 2.6, 0.44 * len(rows) + 2.0
    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            converged, runs, accuracies = cells.get((row, column), (0, 0, ()))
            fill = {"facecolor": SHARES(converged / runs)} if runs else {"facecolor": "white", "hatch": "///"}
            axis.add_patch(Rectangle((j, i), 1, 1, edgecolor="white" if runs else "0.8", linewidth=1.5, **fill))
            if runs:
                text = f"{converged}/{runs}\n{_accuracies(accuracies)}"
                axis.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=7.5, linespacing=1.15)
    _headings(axis, rows, columns)
    axis.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axis.set_xticks([j + 0.5 for j in range(len(columns))], [label for _, label in columns], fontsize=9)
    axis.set_yticks([i + 0.5 for i in range(len(rows))], [label for _, label in rows], fontsize=9)
    axis.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axis.spines[:].set_visible(False)
    handles = [Patch(color=SHARES(share), label=label) for share, label in
               ((1.0, "all seeds converged"), (2 / 3, "most"), (1 / 3, "few"), (0.0, "none"))]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, frameon=False, title=note or None,
                  title_fontsize=8.5)  # fmt: skip
    figure.suptitle(title, fontsize=11)
    return figure


def _accuracies(values):
    low, high = min(values), max(values)
    shown = f"{np.mean(values):.3f}" if high - low < 0.01 else f"{low:.2f}-{high:.2f}"
    return shown.replace("0.", ".")


def _headings(axis, rows, columns):
    """Names and rules of the groups, beyond the labels of their rows and columns."""
    inch = axis.figure.dpi_scale_trans
    above = axis.get_xaxis_transform() + ScaledTranslation(0, 0.32, inch)
    left = axis.get_yaxis_transform() + ScaledTranslation(-1.2, 0, inch)
    style = {"ha": "center", "fontsize": 9.5, "fontweight": "bold"}
    for start, end, name in _spans(columns):
        axis.text((start + end) / 2, 1, name, transform=above, va="bottom", **style)
        axis.axvline(start, color="0.25", linewidth=1.2 * (start > 0))
    for start, end, name in _spans(rows):
        axis.text(0, (start + end) / 2, name, transform=left, va="center", rotation=90, **style)
        axis.axhline(start, color="0.25", linewidth=1.2 * (start > 0))


def _spans(labels):
    """(start, end, group) of neighbours of one group."""
    starts = [i for i, (group, _) in enumerate(labels) if i == 0 or labels[i - 1][0] != group]
    return [(a, b, labels[a][0]) for a, b in zip(starts, [*starts[1:], len(labels)], strict=True)]


def save_small(figure, path, limit=300_000):
    """Save a PNG below `limit` bytes, at the highest of a few resolutions that allow it; ValueError if none does."""
    for dpi in (100, 85, 70, 60, 50, 40):
        save_figure(figure, path, dpi=dpi)
        if path.stat().st_size < limit:
            return
    raise ValueError(f"{path.name} has {path.stat().st_size} bytes at the lowest resolution. Expected under {limit}.")
