"""Figures of the comparison of losses: learning curves, scores, cost; `comparison_panels` has the others."""

from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours but the yellow, 9 markers and 4 lines: of 28 losses no two have two of the three in common.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LINES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.2, 1.2)))
FILLS = ("full", "none", "bottom", "right")
WIDTH, LETTER = 9, 0.0082  # inches: of a figure, and of a letter of one point
ACROSS = 8  # losses whose names may stand side by side, along the axis
FEW = 8  # losses with a thin line a seed
TALL = 3  # scores; above more, the names of the losses stand at the top as well


def comparison_styles(losses):
    """{loss: {"color", "marker", "linestyle"}}, in their order; told apart in grey print by marker and line."""
    return {
        loss: {"color": COLOURS[i % 7], "marker": MARKERS[i % 9], "linestyle": LINES[i % 4]}
        for i, loss in enumerate(dict.fromkeys(losses))
    }


def wrapped(name, width=30):
    """A name in lines of at most `width` letters, broken at spaces where it has any."""
    return "\n".join(wrap(name, width, break_on_hyphens=False)) or name


def legend_below(figure, handles, size=8):
    """A legend below all axes, in as many columns as its longest name leaves room for; returns its height in inches."""
    longest = max(len(line) for handle in handles for line in handle.get_label().split("\n"))
    columns = max(1, min(len(handles), int((WIDTH - 0.4) / (LETTER * size * longest + 0.65))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=size, handlelength=3)
    lines = max(handle.get_label().count("\n") + 1 for handle in handles)
    return 0.2 + 0.018 * size * lines * -(-len(handles) // columns)


def _line(loss, style):
    return Line2D([], [], label=wrapped(loss), linewidth=1.8, markersize=5, **style)


def plot_learning(panels, styles, ylabel, title=""):
    """Curves over the training, one line a loss: the mean over seeds, and of few losses each seed as a thin line.

    Args:
        panels: {name: {loss: list of curves, one a seed}}, one value per epoch, the first of epoch 1. Curves may have
            several lengths (a run that was broken off); the mean is over the epochs that all of them have.
        styles: of `comparison_styles`.
        ylabel: what the curves are.
        title: above the figure.
    """
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH, 1), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axis, (name, losses) in zip(axes, panels.items(), strict=False):
        for loss, curves in losses.items():
            _curves(axis, curves, styles[loss], thin=len(losses) <= FEW)
        axis.set(xlabel="epoch", ylabel=ylabel)
        axis.set_title(name, fontsize=10)
        axis.tick_params(labelleft=True)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.axis("off")
    drawn = list(dict.fromkeys(loss for losses in panels.values() for loss in losses))
    handles = [_line(loss, styles[loss]) for loss in drawn]
    if any(len(losses) <= FEW and max(map(len, losses.values())) > 1 for losses in panels.values()):
        handles.append(Line2D([], [], color="0.4", linewidth=0.7, label="one seed"))
    figure.set_size_inches(WIDTH, 0.7 + 3.9 * rows + legend_below(figure, handles))
    figure.suptitle(title, fontsize=11)
    return figure


def _curves(axis, curves, style, thin):
    curves = [np.asarray(curve, dtype=np.float64) for curve in curves if len(curve)]
    if not curves:
        return
    if thin and len(curves) > 1:
        for curve in curves:
            axis.plot(np.arange(1, len(curve) + 1), curve, color=style["color"], linewidth=0.7, alpha=0.45)
    common = min(map(len, curves))
    mean = np.mean([curve[:common] for curve in curves], axis=0)
    axis.plot(np.arange(1, common + 1), mean, linewidth=1.8, markersize=4.5, markevery=max(1, common // 8), **style)


def plot_scores(panels, styles, title=""):
    """Scores of each loss with their intervals, the training regimes side by side, one row a score.

    Args:
        panels: list of dicts: `ylabel`, `groups` {regime: {loss: (mean, low, high, values of the seeds)}} and `better`
            ("higher" or "lower"). What has no mean (nan) is not drawn, an interval of nan neither.
        styles: of `comparison_styles`.
        title: above the figure.

    Returns:
        A figure: large markers are means, filled in the first regime and open in the second, small dots are seeds.
    """
    losses = list(dict.fromkeys(loss for panel in panels for group in panel["groups"].values() for loss in group))
    regimes = list(dict.fromkeys(regime for panel in panels for regime in panel["groups"]))
    figure = Figure(figsize=(WIDTH, 1), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    shift = np.linspace(-0.42, 0.42, 2 * len(regimes) + 1)[1::2]
    aside = min(0.2 / len(regimes), 0.018 * len(losses))
    for axis, panel in zip(axes, panels, strict=True):
        for regime, group in panel["groups"].items():
            place = regimes.index(regime)
            for loss, numbers in group.items():
                x = losses.index(loss) + shift[place]
                _score(axis, x, numbers, styles[loss], FILLS[place % len(FILLS)], aside)
        axis.set_ylabel(f"{wrapped(panel['ylabel'], 28)}\n({panel['better']} is better)", fontsize=8.5)
        axis.tick_params(axis="y", labelsize=8)
        axis.grid(axis="y", alpha=0.3)
        for place in range(1, len(losses)):
            axis.axvline(place - 0.5, color="0.85", linewidth=0.8)
    room = _loss_ticks(axes, losses)
    handles = [
        Line2D([], [], color="0.25", marker="o", linestyle="", markersize=6, fillstyle=FILLS[i % len(FILLS)],
               label=f"{regime}: mean" if regime else "mean")
        for i, regime in enumerate(regimes)
    ]  # fmt: skip
    handles += [
        Line2D([], [], color="0.25", linewidth=1.3, label="interval of 95 %"),
        Line2D([], [], color="0.25", marker=".", linestyle="", markersize=4, label="one seed"),
    ]
    figure.set_size_inches(WIDTH, 0.6 + 2.0 * len(panels) + room + legend_below(figure, handles))
    figure.suptitle(title, fontsize=11)
    return figure


def _score(axis, x, numbers, style, fill, aside):
    mean, low, high, seeds = numbers
    if not np.isfinite(mean):
        return
    colour = style["color"]
    if np.isfinite([low, high]).all():
        axis.plot([x, x], [low, high], color=colour, linewidth=1.3, zorder=2)
    axis.plot([x], [mean], color=colour, marker=style["marker"], fillstyle=fill, linestyle="", markersize=6,
              markerfacecoloralt="white", zorder=3)  # fmt: skip
    if fill == "none":  # the bar would be seen through it
        axis.plot([x], [mean], color="white", marker=style["marker"], linestyle="", markersize=5, zorder=2.5)
    if len(seeds) > 1:
        axis.plot(np.full(len(seeds), x + aside), seeds, color=colour, marker=".", linestyle="", markersize=3.5,
                  alpha=0.8, zorder=2)  # fmt: skip


def _loss_ticks(axes, losses):
    """Names of the losses below the last axes, of many also above the first; returns the height they need in inches."""
    letters = int(0.86 * WIDTH / len(losses) / (LETTER * 8))
    flat = len(losses) <= ACROSS and all(len(word) <= letters for loss in losses for word in loss.split())
    labels = [wrapped(loss, max(letters, 1) if flat else 26) for loss in losses]
    axes[-1].set_xticks(range(len(losses)), labels, fontsize=8 if flat else 7.5, rotation=0 if flat else 90)
    axes[-1].set_xlim(-0.5, len(losses) - 0.5)
    axes[-1].tick_params(axis="x", length=2)
    lines = [label.split("\n") for label in labels]
    room = 0.15 * max(map(len, lines)) if flat else LETTER * 7.5 * max(len(line) for each in lines for line in each)
    if len(axes) > TALL:
        axes[0].tick_params(axis="x", top=True, labeltop=True, length=2, labelsize=8 if flat else 7.5,
                            labelrotation=0 if flat else 90)  # fmt: skip
        room *= 2
    return room


def plot_cost(rows, styles, title=""):
    """Time of an epoch and memory of each loss, as bars of medians; dots are single epochs.

    Args:
        rows: {loss: {"seconds": of each epoch, "memory": MiB or nan}}.
        styles: of `comparison_styles`.
        title: above the figure.
    """
    labels = [wrapped(loss) for loss in rows]
    height = sum(0.12 + 0.13 * (label.count("\n") + 1) for label in labels)
    figure = Figure(figsize=(WIDTH, 1.1 + height), layout="constrained")
    times, memory = figure.subplots(1, 2, sharey=True)
    for place, (loss, row) in enumerate(rows.items()):
        seconds = np.asarray(row["seconds"], dtype=np.float64)
        _bars(times, place, seconds[np.isfinite(seconds)], styles[loss])
        _bars(memory, place, [row["memory"]] if np.isfinite(row["memory"]) else [], styles[loss])
    for axis, label in ((times, "time of an epoch [s], median"), (memory, "peak memory of a step [MiB]")):
        drawn = [*(bar.get_width() for bar in axis.patches), *(x for line in axis.lines for x in line.get_xdata())]
        axis.set(xlabel=label, xlim=(0, 1.18 * (max(drawn, default=0) or 1)))
        axis.grid(axis="x", alpha=0.3)
    times.set_yticks(range(len(rows)), labels, fontsize=8)
    times.set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _bars(axis, place, values, style):
    """A bar as long as the median, dots of single values, and the median in numbers; words where there is none."""
    text, end = " not measured", 0
    if len(values):
        middle, end = np.median(values), max(values)
        axis.barh(place, middle, height=0.6, color=style["color"], alpha=0.75)
        text = f" {middle:.3g}" if middle < 100 else f" {middle:,.0f}"
    if len(values) > 1:
        axis.plot(values, np.full(len(values), place), "o", color="black", markeredgecolor="white",
                  markeredgewidth=0.5, markersize=4, zorder=3)  # fmt: skip
    axis.annotate(text, (end, place), (4, 0), textcoords="offset points", va="center", fontsize=7.5,
                  color="black" if len(values) else "0.4")  # fmt: skip
