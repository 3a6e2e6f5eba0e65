"""Figures of D2's worked examples: curves, masks, a segmented scene, and matrices with their numbers."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kseg.report.figures import CLASS_COLOURS
from kseg.report.loss_card import STYLES

# Right pixels dark or green, the two kinds of error in colours that the colour-blind tell apart.
OUTCOMES = {"TN": "#333333", "TP": "#009e73", "FP": "#d55e00", "FN": "#56b4e9"}
BORDER = (1.0, 1.0, 1.0)


def plot_lines(lines, *, xlim, ylim, xlabel, ylabel, axes_lines=False, title=""):
    """Up to three curves in one pair of axes.

    Args:
        lines: {label: (x, y)}.
        xlim, ylim: ends of the axes.
        xlabel, ylabel: their names.
        axes_lines: draw the lines x = 0 and y = 0.
        title: above the figure.
    """
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    if axes_lines:
        axis.axhline(0, color="0.5", linewidth=1)
        axis.axvline(0, color="0.5", linewidth=1)
    for (label, (x, y)), (colour, style) in zip(lines.items(), STYLES, strict=False):
        axis.plot(x, y, style, color=colour, label=label)
    axis.set(xlim=xlim, ylim=ylim, xlabel=xlabel, ylabel=ylabel, title=title)
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def plot_mask(mask, title):
    """A mask, white on black (S2.3)."""
    figure = Figure(figsize=(4.2, 4.4), layout="constrained")
    axis = figure.subplots()
    axis.imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xlabel="column [px]", ylabel="row [px]")
    axis.set_title(title, fontsize=10)
    return figure


def plot_overlap(true, predicted, title):
    """Ground truth, prediction, their union, and every pixel as TP, FP, FN or TN with their numbers (S2.6).

    Args:
        true, predicted: bool `[H, W]`.
        title: above the figure.
    """
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(1, 4)
    outcome = np.select([true & predicted, ~true & predicted, true & ~predicted], [1, 2, 3], 0)
    panels = {"ground truth G": true, "prediction P": predicted, "union P ∪ G": true | predicted}
    for axis, (name, mask) in zip(axes, panels.items(), strict=False):
        axis.imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name, fontsize=10)
    axes[3].imshow(np.array([to_rgb(colour) for colour in OUTCOMES.values()])[outcome], interpolation="nearest")
    axes[3].set_title("outcome of each pixel", fontsize=10)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    numbers = np.bincount(outcome.ravel(), minlength=4)
    patches = [Patch(color=c, label=f"{k}: {n}") for (k, c), n in zip(OUTCOMES.items(), numbers, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=9, title="pixels")
    figure.suptitle(title, fontsize=11)
    return figure


def plot_task(image, ids, classes):
    """An image beside its segmentation, classes named in a legend (S2.18).

    Args:
        image: `[H, W, 3]` in [0, 1].
        ids: `[H, W]` class ids; -1, the unlabelled rim of the objects, is white.
        classes: names, background first, which is black.
    """
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    palette = np.array([(0, 0, 0), *(to_rgb(colour) for colour in CLASS_COLOURS[: len(classes) - 1]), BORDER])
    left.imshow(image)
    right.imshow(palette[ids], interpolation="nearest")
    for axis, title in ((left, "image"), (right, "class of each pixel")):
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
    labels = [*classes, "rim, not labelled"]
    patches = [Patch(facecolor=c, edgecolor="0.5", label=name) for name, c in zip(labels, palette, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(labels), fontsize=9)
    return figure


def plot_matrices(matrices, columns=3):
    """Small matrices as colours with their numbers, blue below 0 and red above, each on its own scale.

    Args:
        matrices: {title: `[n, m]`}.
        columns: panels in a row.
    """
    rows = -(-len(matrices) // columns)
    figure = Figure(figsize=(2.9 * columns, 3.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (title, matrix) in zip(axes, matrices.items(), strict=False):
        matrix = np.asarray(matrix, float)
        largest = np.abs(matrix).max() or 1.0
        axis.imshow(matrix, cmap="RdBu_r", vmin=-1.8 * largest, vmax=1.8 * largest)  # light enough for black digits
        for (row, column), value in np.ndenumerate(matrix):
            text = f"{value:.4g}" if value == round(value, 2) else f"{value:.4f}"
            axis.text(column, row, text, ha="center", va="center")
        axis.set_xticks(range(matrix.shape[1]), range(1, matrix.shape[1] + 1))
        axis.set_yticks(range(matrix.shape[0]), range(1, matrix.shape[0] + 1))
        axis.set_title(title, fontsize=10)
    for axis in axes[len(matrices) :]:
        axis.axis("off")
    return figure
