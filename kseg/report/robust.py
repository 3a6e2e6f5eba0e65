"""Figures of robust training: validation losses, scores under attack, predictions, calibration."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from kseg.report.figures import class_palette, label_logarithms, show_image

# Okabe and Ito's colours; the markers tell models and conditions apart in grey print.
MODEL_STYLE = (
    {"color": "#000000", "marker": "o"}, {"color": "#e69f00", "marker": "v"}, {"color": "#0072b2", "marker": "s"},
    {"color": "#d55e00", "marker": "D"}, {"color": "#009e73", "marker": "^"}, {"color": "#cc79a7", "marker": "P"},
    {"color": "#8c8c8c", "marker": "X"},
)  # fmt: skip
FLOOR = {"color": "0.2", "linestyle": (0, (1, 3)), "linewidth": 1.3}


def model_styles(labels):
    """{kind of model: {"color", "marker"}}, in the order of the labels."""
    return {label: MODEL_STYLE[i % len(MODEL_STYLE)] for i, label in enumerate(labels)}


def plot_losses(panels, styles, title=""):
    """Validation losses over the training (S4.13).

    Args:
        panels: {title: {kind of model: list of losses by epoch, one a seed}}; each kind over the whole width, since all
            take as many updates.
        styles: of `model_styles`.
        title: above the figure.
    """
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (name, kinds) in zip(axes, panels.items(), strict=True):
        for label, runs in kinds.items():
            look, width = styles[label], min(map(len, runs))
            for run in runs:
                axis.plot(_share(len(run)), run, color=look["color"], linewidth=0.7, alpha=0.45)
            mean = np.mean([run[:width] for run in runs], axis=0)
            axis.plot(_share(width), mean, linewidth=2, markersize=4, label=label, **look)
        axis.set(xlabel="share of the training", title=name)
        axis.set_yscale("log")
        label_logarithms(axis.yaxis, *axis.get_ylim())
        axis.tick_params(axis="y", which="both", labelsize=8)
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    axes[0].set_ylabel("cross-entropy of validation")
    figure.suptitle(title, fontsize=11)
    return figure


def _share(count):
    return np.arange(1, count + 1) / count


def plot_model_scores(panels, styles, title=""):
    """Scores of every kind of model without and under attacks.

    Args:
        panels: list of dicts `ylabel`, `groups` {condition: {kind of model: (mean, low, high)}} and, or None, `floor`:
            a score drawn as a line, with its name `floor_name`.
        styles: of `model_styles`.
        title: above the figure.
    """
    figure = Figure(figsize=(9, 0.8 + 3.0 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        groups = panel["groups"]
        for place, kinds in enumerate(groups.values()):
            shift = np.linspace(-0.36, 0.36, len(kinds)) if len(kinds) > 1 else [0.0]
            for x, (label, (mean, low, high)) in zip(shift, kinds.items(), strict=True):
                error = [[max(mean - low, 0.0)], [max(high - mean, 0.0)]] if np.isfinite([low, high]).all() else None
                axis.errorbar(place + x, mean, yerr=error, markersize=5.5, linewidth=1.2, linestyle="", **styles[label])
            if place:
                axis.axvline(place - 0.5, color="0.85", linewidth=1)
        if panel.get("floor") is not None:
            axis.axhline(panel["floor"], **FLOOR)
        axis.set_xticks(range(len(groups)), list(groups), fontsize=8)
        axis.set(ylabel=panel["ylabel"], xlim=(-0.5, len(groups) - 0.5))
        axis.grid(axis="y", alpha=0.3)
    labels = list(dict.fromkeys(label for panel in panels for kinds in panel["groups"].values() for label in kinds))
    handles = [Line2D([], [], linestyle="", label=label, **styles[label]) for label in labels]
    floors = dict.fromkeys(panel["floor_name"] for panel in panels if panel.get("floor") is not None)
    handles += [Line2D([], [], label=name, **FLOOR) for name in floors]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def plot_models_attacked(example, classes, title=""):
    """What each model makes of one image without and under attacks (Figures 5 to 8 of D4).

    Args:
        example: dict `image` `[H, W, C]`, `value_range`, `mask` `[H, W]`, `models` {kind of model: {condition:
            predicted `[H, W]`}}; where `accuracy` {kind: {condition: number}} is, it is written below.
        classes: names, background first.
        title: above the figure.
    """
    conditions = list(next(iter(example["models"].values())))
    rows, (height, width) = example["models"], example["mask"].shape
    cell = 8.4 / (2 + len(conditions)) * height / width + 0.18
    figure = Figure(figsize=(9, 0.9 + cell * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2 + len(conditions), squeeze=False)
    palette = class_palette(classes)
    for axis, name in zip(axes[0], ("image", "true mask", *conditions), strict=True):
        axis.set_title(name, fontsize=8)
    for row, (label, found) in zip(axes, rows.items(), strict=True):
        show_image(row[0], example["image"], *example["value_range"])
        row[1].imshow(palette[example["mask"]], interpolation="nearest")
        for axis, (condition, ids) in zip(row[2:], found.items(), strict=True):
            axis.imshow(palette[ids], interpolation="nearest")
            if "accuracy" in example:
                axis.set_xlabel(f"accuracy {example['accuracy'][label][condition]:.2f}", fontsize=7, labelpad=1.5)
        row[0].set_ylabel(label, fontsize=8.5)
        for axis in row:
            axis.set(xticks=[], yticks=[])
    handles = [Patch(facecolor=palette[k], edgecolor="0.4", label=classes[k]) for k in range(len(classes))]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def plot_reliability(panels, styles, title=""):
    """Reliability curves: how often the most probable class is right, against its probability.

    Args:
        panels: {condition: {kind of model: `kseg.metrics.ReliabilityCurve`}}.
        styles: of `model_styles`.
        title: above the figure.
    """
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (name, kinds) in zip(axes, panels.items(), strict=True):
        axis.plot([0, 1], [0, 1], **FLOOR)
        for label, curve in kinds.items():
            enough = curve.weight >= 1e-3 * curve.weight.sum()  # of few pixels a mean says nothing
            axis.plot(curve.confidence[enough], curve.accuracy[enough], markersize=3.5, linewidth=1.3, **styles[label])
        axis.set(xlabel="probability of the class", xlim=(0.15, 1.02), ylim=(-0.02, 1.02))
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of right pixels")
    labels = dict.fromkeys(label for kinds in panels.values() for label in kinds)
    handles = [Line2D([], [], markersize=4, label=label, **styles[label]) for label in labels]
    handles.append(Line2D([], [], label="as probable as right", **FLOOR))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure
