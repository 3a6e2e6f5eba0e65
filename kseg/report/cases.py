"""Figures of an evaluation: scores of all cases, scores by size, calibration, and what is taken for what."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kseg.report.comparison import comparison_styles, legend_below
from kseg.report.figures import label_logarithms

NAMED = 3  # worst cases of a class that are named
DECADE = 20  # times the smallest size: from there on a logarithmic axis
PLAIN = "{x:,.9g}"  # 0.01, 10,000
ENOUGH = 30  # pixels of a bin; of fewer a share says nothing


def plot_case_scores(panels, cases, title=""):
    """Every case's score, class by class, with quartiles, mean and the names of the worst cases.

    Args:
        panels: list of dicts `label` (with its unit), `classes` {class: `[N]` scores} and `worst`, "low" or "high". nan
            is told as undefined, an infinite distance as infinite; neither is drawn.
        cases: `[N]` names.
        title: above the figure.

    Returns:
        A figure with a line for each class, a panel below the other.
    """
    lines = [len(panel["classes"]) for panel in panels]
    figure = Figure(figsize=(9, 0.9 + sum(0.62 * n + 0.75 for n in lines)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[n + 0.8 for n in lines])[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        for row, values in enumerate(panel["classes"].values()):
            values = np.asarray(values, float)
            _line_of_scores(axis, row, values[np.isfinite(values)])
            note = _worst_named(values, cases, panel["worst"])
            axis.text(1.02, row, note, transform=axis.get_yaxis_transform(), fontsize=7, va="center")
        axis.set_yticks(range(len(panel["classes"])), list(panel["classes"]), fontsize=9)
        axis.set(xlabel=panel["label"], ylim=(len(panel["classes"]) - 0.5, -0.5))
        if panel["worst"] == "high":
            axis.set_xlim(left=0)
        axis.grid(axis="x", alpha=0.3)
    handles = [
        Line2D([], [], color="0.25", marker="o", markersize=4, markerfacecolor="none", linestyle="", label="one case"),
        Line2D([], [], color="0.55", linewidth=9, alpha=0.5, label="middle half of the cases"),
        Line2D([], [], color="black", linewidth=1.8, label="median"),
        Line2D([], [], color="#d55e00", marker="D", markersize=6, linestyle="", label="mean"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _line_of_scores(axis, row, values):
    """One class: a point a case, the same distance apart up and down whatever their order, over a bar of quartiles."""
    if not len(values):
        return
    low, middle, high = np.percentile(values, [25, 50, 75])
    axis.barh(row, high - low, 0.5, left=low, color="0.55", alpha=0.5, linewidth=0)
    axis.plot([middle, middle], [row - 0.27, row + 0.27], color="black", linewidth=1.8)
    spread = np.resize([0.0, -0.22, 0.11, -0.11, 0.22], len(values))
    axis.plot(np.sort(values), row + spread, "o", color="0.25", markersize=4, markerfacecolor="none", clip_on=False)
    axis.plot(values.mean(), row, "D", color="#d55e00", markersize=6, zorder=3)


def _worst_named(values, cases, worst):
    """The worst cases of a class, a line each, and how many have no score."""
    order = np.argsort(values if worst == "low" else -values)  # nan last
    named = [i for i in order if not np.isnan(values[i])][:NAMED]
    form = ".3f" if worst == "low" else ".3g"
    lines = [f"{values[i]:{form}}  {_short(cases[i])}" for i in named]
    for count, what in ((np.isinf(values), "infinite (class in one mask alone)"),
                        (np.isnan(values), "undefined (class in neither mask)")):  # fmt: skip
        if count.any():
            lines.append(f"{count.sum()} {what}")
    return "\n".join(lines)


def _short(name, letters=34):
    return name if len(name) <= letters else f"{name[: letters // 2 - 1]}...{name[-letters // 2 + 2 :]}"


def plot_sizes(classes, unit, title=""):
    """Score against the size of what is to be found, and the size that was found.

    Args:
        classes: {class: dict of `[N]`: `true` and `found` sizes and `dice`}. Cases without the class are not drawn on
            the left, those of size 0 stand at the edge on the right.
        unit: of the sizes.
        title: above the figure.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    styles, sizes, drawn = comparison_styles(classes), [], []
    for name, values in classes.items():
        look = {**styles[name], "linestyle": "", "markersize": 5, "markerfacecolor": "none"}
        true, found, dice = (np.asarray(values[key], float) for key in ("true", "found", "dice"))
        there = (true > 0) & np.isfinite(dice)
        left.plot(true[there], dice[there], **look)
        right.plot(true, found, **look)
        drawn += [*true[there]]
        sizes += [*true[true > 0], *found[found > 0]]
    if drawn and max(drawn) > DECADE * min(drawn):
        left.set_xscale("log")
        left.xaxis.set_major_formatter(PLAIN)
    low, high = (min(sizes), max(sizes)) if sizes else (1.0, 10.0)
    right.plot([0, high * 1.5], [0, high * 1.5], color="0.4", linewidth=1, linestyle=(0, (4, 2)), zorder=0)
    edge, end = -0.02 * high, 1.05 * high
    if high > DECADE * low:
        edge, end = -0.15 * low, 1.5 * high
        for scale in (right.set_xscale, right.set_yscale):
            scale("symlog", linthresh=low, linscale=0.4)
        for axis in (right.xaxis, right.yaxis):
            axis.set_major_formatter(PLAIN)
    right.set(xlim=(edge, end), ylim=(edge, end))
    left.set(xlabel=f"true size ({unit})", ylabel="Dice of the case", ylim=(-0.03, 1.03))
    right.set(xlabel=f"true size ({unit})", ylabel=f"predicted size ({unit})")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    handles = [Line2D([], [], label=name, markersize=5, markerfacecolor="none", **{**styles[name], "linestyle": ""})
               for name in classes]  # fmt: skip
    handles.append(Line2D([], [], color="0.4", linewidth=1, linestyle=(0, (4, 2)), label="sizes agree"))
    figure.set_size_inches(9, 4 + legend_below(figure, handles))
    figure.suptitle(title, fontsize=11)
    return figure


def plot_calibration(curves, title=""):
    """Reliability diagram: how often a pixel is of a class, against the probability that the model gives it.

    Args:
        curves: {class: `kseg.metrics.ReliabilityCurve`} of the probability of that class.
        title: above the figure.

    Returns:
        A figure, below which is how many pixels have such a probability. Bins of fewer than 30 pixels are not drawn.
    """
    figure = Figure(figsize=(6.5, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    styles, handles = comparison_styles(curves), []
    upper.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle=(0, (4, 2)))
    for name, curve in curves.items():
        enough = curve.weight >= ENOUGH
        upper.plot(curve.confidence[enough], curve.accuracy[enough], markersize=4.5, linewidth=1.4, **styles[name])
        middle, counted = (curve.edges[1:] + curve.edges[:-1]) / 2, curve.weight > 0
        lower.plot(middle[counted], curve.weight[counted], markersize=4, linewidth=1.2, **styles[name])
        label = f"{name}: expected calibration error {curve.ece():.3f}"
        handles.append(Line2D([], [], label=label, markersize=4.5, linewidth=1.4, **styles[name]))
    handles.append(Line2D([], [], color="0.4", linewidth=1, linestyle=(0, (4, 2)), label="as probable as true"))
    upper.set(ylabel="share of pixels of the class", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    lower.set(xlabel="probability of the class", ylabel="pixels")
    lower.set_yscale("log")
    label_logarithms(lower.yaxis, *lower.get_ylim(), "{x:,.0f}", within=2, dense=60)
    lower.tick_params(axis="y", which="both", labelsize=8)
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
    figure.align_ylabels()
    figure.legend(handles=handles, loc="outside lower center", fontsize=8, handlelength=3)
    figure.set_size_inches(6.5, 5.6 + 0.17 * len(handles))
    figure.suptitle(title, fontsize=11)
    return figure


def plot_confusion(matrix, classes, title=""):
    """Which class the pixels of each class are taken for.

    Args:
        matrix: `[K, K]` pixels by true (rows) and predicted class (columns).
        classes: names, background first.
        title: above the figure.
    """
    matrix = np.asarray(matrix, float)
    total = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, total, out=np.full_like(matrix, np.nan), where=total > 0)
    side = 1.9 + 0.62 * len(classes)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    axis.imshow(np.nan_to_num(shares), cmap="Greys", vmin=0, vmax=1)
    for i, j in np.ndindex(shares.shape):
        text = "-" if np.isnan(shares[i, j]) else f"{100 * shares[i, j]:.1f}"
        axis.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if shares[i, j] > 0.5 else "black")
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axis.set_yticks(range(len(classes)), classes, fontsize=8)
    axis.set(xlabel="predicted class", ylabel="true class")
    figure.suptitle(title, fontsize=11)
    return figure
