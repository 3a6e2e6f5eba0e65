"""Figures of attacks: scores against the budget, attacked images, and what the selective attack chose."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter, NullLocator

from kseg.report.figures import class_palette, show_image

# Okabe and Ito's colours for colour-blind readers; the markers tell the attacks apart in grey print.
ATTACK_STYLE = {
    "fgsm": {"color": "#e69f00", "marker": "v"},
    "pgd": {"color": "#0072b2", "marker": "o"},
    "apgd": {"color": "#d55e00", "marker": "s"},
    "segpgd": {"color": "#009e73", "marker": "^"},
    "cospgd": {"color": "#cc79a7", "marker": "D"},
    "ensemble": {"color": "#000000", "marker": "X"},
    "square": {"color": "#56b4e9", "marker": "P"},
    "layered": {"color": "#8c5a2b", "marker": "<"},
    "selective": {"color": "#5e3c99", "marker": ">"},
}
OF_EACH = {"layered": " (budget of each pass)", "selective": " (budget of each class)"}
OTHERS = ({"color": "#b2182b", "marker": "*"}, {"color": "#4d9221", "marker": "h"}, {"color": "#01665e", "marker": "p"})
CONTROL = {"color": "0.45", "linestyle": "--", "linewidth": 1.5}
CLEAN = {"color": "0.2", "linestyle": ":", "linewidth": 1.5}
FLOOR = {"color": "0.2", "linestyle": (0, (1, 4)), "linewidth": 1.2}
FEW = 3  # curves of which each may have its band
CHOICES = {-1: ("#0072b2", "taken away"), 0: ("#d9d9d9", "left out"), 1: ("#d55e00", "added")}
COLUMNS = ("image", "attacked", "change, amplified", "true mask", "prediction before", "prediction after")


def attack_styles(names):
    """{name: {"color", "marker"}} of attacks; those that ATTACK_STYLE does not know get others, in their order."""
    rest = iter(range(len(names)))
    return {
        name: ATTACK_STYLE[name] if name in ATTACK_STYLE else OTHERS[next(rest) % len(OTHERS)]
        for name in dict.fromkeys(names)
    }


def plot_attacks(panels, title=""):
    """Scores against the budget of an attack, one line an attack, two panels in a row.

    Args:
        panels: list of dicts, one a score: `ylabel`, `curves` {attack: {"eps", "mean", "low", "high" `[P]`}} (bounds of
            nan for no band), `clean` (the score without an attack), and, each None or left out where there is none,
            `control` (a curve of random noise, drawn dashed), `points` {name: (eps, score)} (drawn hollow) and `log`
            (whether the scores have a logarithmic axis).
        title: above the figure.

    Returns:
        A figure 900 pixels wide at 100 dpi. Budgets are shares of the range of values, on a logarithmic axis. The axis
        of scores goes from 0 to 1 unless `log`, and begins later where all are above 0.6.
    """
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(9, 0.9 + 3.1 * rows), layout="constrained")
    axes = figure.subplots(rows, min(len(panels), 2), squeeze=False).ravel()
    styles = attack_styles([name for panel in panels for name in panel["curves"]])
    for axis, panel in zip(axes, panels, strict=False):
        _panel(axis, panel, styles)
    for axis in axes[len(panels) :]:
        axis.axis("off")
    handles = [
        Line2D([], [], label=f"{name}{OF_EACH.get(name, '')}", linewidth=2, markersize=5, **style)
        for name, style in styles.items()
    ]
    handles.append(Line2D([], [], label="no attack", **CLEAN))
    if any(panel.get("control") for panel in panels):
        handles.append(Line2D([], [], label="random noise, worst of several", **CONTROL))
    if any(panel.get("floor") is not None for panel in panels):
        handles.append(Line2D([], [], label="one class all over", **FLOOR))
    if any(_banded(panel) for panel in panels):
        handles.append(Patch(color="0.4", alpha=0.25, label="interval of 95 %"))
    points = dict.fromkeys(name for panel in panels for name in panel.get("points") or ())
    handles += [Line2D([], [], label=name, **_hollow(i)) for i, name in enumerate(points)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _banded(panel):
    """Names of the curves that have a band."""
    curves = {name: curve for name, curve in panel["curves"].items() if np.isfinite(curve["low"]).any()}
    if len(curves) <= FEW:
        return list(curves)
    worst = max if panel.get("log") else min
    return [worst(curves, key=lambda name: curves[name]["mean"][-1])]


def _panel(axis, panel, styles):
    for name in _banded(panel):
        curve, colour = panel["curves"][name], styles[name]["color"]
        axis.fill_between(curve["eps"], curve["low"], curve["high"], color=colour, alpha=0.13, linewidth=0)
    for name, curve in panel["curves"].items():
        axis.plot(curve["eps"], curve["mean"], linewidth=1.8, markersize=4.5, zorder=3, **styles[name])
    control, points = panel.get("control"), list((panel.get("points") or {}).values())
    if control:
        axis.plot(control["eps"], control["mean"], zorder=2.5, **CONTROL)
    axis.axhline(panel["clean"], zorder=2, **CLEAN)
    if panel.get("floor") is not None:
        axis.axhline(panel["floor"], zorder=2, **FLOOR)
    for i, point in enumerate(points):
        axis.plot(*[[number] for number in point], zorder=4, **_hollow(i))
    lines = [*panel["curves"].values(), *filter(None, [control])]
    ticks = sorted({float(eps) for curve in lines for eps in curve["eps"]})
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{100 * eps:.3g}" for eps in ticks], fontsize=8)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set(xlabel="budget [% of the range of values]", ylabel=panel["ylabel"])
    if panel.get("log"):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FormatStrFormatter("%.3g"))
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        drawn = [line.get_ydata() for line in axis.lines] + [panel["curves"][name]["low"] for name in _banded(panel)]
        lowest = np.nanmin(np.concatenate(drawn))
        axis.set_ylim(np.floor(10 * lowest - 0.5) / 10 if lowest > 0.6 else -0.02, 1.02)
    axis.grid(alpha=0.3)


def _hollow(number):
    marker = ("*", "d", "o")[number % 3]
    return {"linestyle": "", "marker": marker, "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.5,
            "color": "0.15"}  # fmt: skip


def plot_attacked(example, classes, title=""):
    """One image under several attacks, a row an attack.

    Args:
        example: dict `image` `[H, W, C]`, `mask` and `predicted` `[H, W]` class ids, `value_range`, and `attacked`: a
            list of dicts `name`, `image`, `predicted`, and, of all or none, `target`: class ids `[H, W]` or words;
            wherever there is a `dice` it is written below the prediction.
        classes: class names, background first.
        title: above the figure.

    Returns:
        A figure. Each change is amplified so that its largest value fills the range of values; the factor stands below
        it, its range at its colour bar. Grey (colour images) or white (one channel) is no change.
    """
    low, high = example["value_range"]
    rows, (height, width) = example["attacked"], example["mask"].shape
    columns = (*COLUMNS, "target") if "target" in rows[0] else COLUMNS
    cell = 8 / len(columns) * height / width + 0.22
    figure = Figure(figsize=(9, 0.9 + cell * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    palette = class_palette(classes)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=9)
    for row, found in zip(axes, rows, strict=True):
        for axis, image in ((row[0], example["image"]), (row[1], found["image"])):
            show_image(axis, image, low, high)
        _change(figure, row[2], found["image"].astype(np.float64) - example["image"], high - low)
        for axis, ids in ((row[3], example["mask"]), (row[4], example["predicted"]), (row[5], found["predicted"])):
            axis.imshow(palette[ids], interpolation="nearest")
        for axis, part in ((row[4], example), (row[5], found)):
            if "dice" in part:
                axis.set_xlabel(f"Dice {part['dice']:.2f}", fontsize=7.5, labelpad=1.5)
        if isinstance(found.get("target"), str):
            row[6].text(0.5, 0.5, found["target"], ha="center", va="center", fontsize=8, transform=row[6].transAxes)
            row[6].set(box_aspect=height / width)
        elif "target" in found:
            row[6].imshow(palette[found["target"]], interpolation="nearest")
        row[0].set_ylabel(found["name"].replace(", ", ",\n"), fontsize=8.5)
        for axis in row:
            axis.set(xticks=[], yticks=[])
    handles = [Patch(facecolor=palette[k], edgecolor="0.4", label=classes[k]) for k in range(len(classes))]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _change(figure, axis, change, width):
    """An amplified change with its factor and a colour bar."""
    colours = change.shape[-1] == 3
    change = change if colours else change[..., :1]
    largest = np.abs(change).max()
    scale = Normalize(-(largest or 1.0), largest or 1.0)
    if colours:
        axis.imshow(np.clip(0.5 + 0.5 * change / (largest or 1.0), 0, 1), interpolation="nearest")
    else:
        axis.imshow(change[..., 0], cmap="RdBu_r", norm=scale, interpolation="nearest")
    axis.set_xlabel(f"x {0.5 * width / largest:.3g}" if largest else "no change", fontsize=7.5, labelpad=1.5)
    shown = ScalarMappable(scale, "gray" if colours else "RdBu_r")
    bar = figure.colorbar(shown, ax=axis, fraction=0.05, pad=0.02, ticks=[-largest, 0, largest] if largest else [0])
    bar.ax.set_yticklabels([f"{-largest:.2g}", "0", f"{largest:.2g}"] if largest else ["0"], fontsize=6.5)


def plot_choices(choices, classes, title="What the selective attack chose"):
    """How often the step of each class was taken away, left out and added, a panel a budget (S4.6).

    Args:
        choices: {budget as a share of the range of values: choices of each image `[n, K]` of -1, 0, 1}.
        classes: K class names.
        title: above the figure.
    """
    columns = min(len(choices), 3)
    rows = -(-len(choices) // columns)
    figure = Figure(figsize=(9, 1.1 + rows * (0.6 + 0.32 * len(classes))), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis, (eps, chosen) in zip(axes, choices.items(), strict=False):
        left = np.zeros(len(classes))
        for value, (colour, _) in CHOICES.items():
            share = (np.asarray(chosen) == value).mean(axis=0)
            axis.barh(np.arange(len(classes)), share, left=left, color=colour, height=0.75)
            left += share
        axis.set_title(f"budget {100 * eps:.3g} % of the range", fontsize=9)
        axis.set(xlim=(0, 1), ylim=(len(classes) - 0.5, -0.5))
        axis.tick_params(labelbottom=True, labelsize=8)
        axis.set_xlabel("share of the images", fontsize=8.5)
    axes[0].set_yticks(range(len(classes)), classes)
    for axis in axes[len(choices) :]:
        axis.axis("off")
    handles = [Patch(color=colour, label=f"{value:+d}: {word}" if value else f"0: {word}")
               for value, (colour, word) in CHOICES.items()]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure
