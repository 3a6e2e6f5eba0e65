"""Figures from arrays; no global state, so they work in threads and without a screen."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from kseg.files import atomic

# S1.14's colours for the three published losses, then two that stand apart from them.
LOSS_COLOURS = {
    "cce": "tab:blue", "dicefg": "tab:orange", "dice": "tab:green",
    "dicefg_square": "tab:red", "dice_square": "tab:purple",
}  # fmt: skip
CLASS_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#f0e442", "#0072b2")
LOSS_WINDOW, NORM_WINDOW = 11, 201


def save_figure(figure, path, dpi=100):
    """Write a figure atomically, cut to its contents."""
    with atomic(path) as part:
        figure.savefig(part, dpi=dpi, bbox_inches="tight")


def plot_history(history, title=""):
    """Loss and Dice of training and validation against the epoch.

    Args:
        history: {"epoch", "loss", "dice", "val_loss", "val_dice"}: one value per epoch, counted from 1.
        title: above the figure.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    epochs = np.asarray(history["epoch"], int)
    for axis, name, label in zip(axes, ("loss", "dice"), ("loss", "Dice, foreground"), strict=True):
        for key, text, style in ((name, "train", "--"), (f"val_{name}", "validation", "-")):
            if key in history:
                axis.plot(epochs, history[key], style, marker="o", markersize=3, label=text)
        axis.set(xlabel="epoch", ylabel=label)
        axis.grid(alpha=0.3)
        axis.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.legend()
    if "val_dice" in history and np.isfinite(history["val_dice"]).any():
        best = int(np.nanargmax(history["val_dice"]))
        axes[1].axvline(epochs[best], color="0.6", linewidth=1)
        axes[1].set_title(f"best: {history['val_dice'][best]:.4f} at epoch {epochs[best]}", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_examples(images, masks, predicted, classes, names):
    """Image, true and predicted mask and where they differ, a row per example.

    Args:
        images: `[n, H, W, C]`, C = 1 or 3.
        masks, predicted: `[n, H, W]` class ids.
        classes: class names, background first.
        names: `[n]` row labels.
    """
    count, height, width = masks.shape
    figure = Figure(figsize=(8.8, 0.5 + 2.0 * count * height / width + 0.4), layout="constrained")
    axes = figure.subplots(count, 4, squeeze=False)
    palette = np.array([(0, 0, 0), *(to_rgb(CLASS_COLOURS[i % 7]) for i in range(len(classes) - 1))])
    for row, image, true, guess, name in zip(axes, images, masks, predicted, names, strict=True):
        gray = image.shape[-1] == 1
        row[0].imshow(image[..., 0] if gray else np.clip(image, 0, 1), cmap="gray" if gray else None)
        row[1].imshow(palette[true])
        row[2].imshow(palette[guess])
        wrong = np.where((true != guess)[..., None], (1.0, 1.0, 1.0), 0.45 * palette[true])
        row[3].imshow(wrong)
        row[0].set_ylabel(name, fontsize=8)
    for axis, title in zip(axes[0], ("image", "true mask", "predicted mask", "differs (white)"), strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    patches = [Patch(color=palette[i], label=classes[i]) for i in range(1, len(classes))]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 6), fontsize=9)
    return figure


def smooth(values, window):
    """Moving average of odd `window`, edges padded with the end values (S1.14)."""
    values = np.asarray(values, np.float64)
    half = min(window, 2 * len(values) - 1) // 2
    padded = np.pad(values, half, mode="edge")
    return np.convolve(padded, np.full(2 * half + 1, 1 / (2 * half + 1)), mode="valid")


def plot_balance(runs, title):
    """Gradient norms, losses and accuracy against the iteration, a column per training loss (S1.14).

    Args:
        runs: list of `kseg.studies.toy_balance.Result`, one per training loss.
        title: above the figure.
    """
    figure = Figure(figsize=(8.3 * len(runs) + 1.5, 9), layout="constrained")
    axes = figure.subplots(2, len(runs), squeeze=False)
    for column, run in enumerate(runs):
        norms, losses = axes[:, column]
        for name, colour in LOSS_COLOURS.items():
            if f"{name}_loss" in run.curves:
                style = _line_style(name, colour)
                norms.plot(smooth(run.curves[f"{name}_grad"], NORM_WINDOW), **style)
                losses.plot(smooth(run.curves[f"{name}_loss"], LOSS_WINDOW), **style)
        right = losses.twinx()
        right.plot(run.curves["accuracy_iteration"], run.curves["accuracy"], color="black")
        right.set(ylim=(0.9, 1.012), ylabel="validation accuracy")
        norms.set(ylim=(0, 4), ylabel="global gradient norm", title=f"trained with {run.config.loss}")
        losses.set(ylim=(0, 1), ylabel="loss", xlabel="iteration")
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
    norms.legend(handles=lines, loc="upper left", bbox_to_anchor=(1.01, 1), title="gradient norm of")
    losses.legend(handles=[*lines, accuracy], loc="upper left", bbox_to_anchor=(1.1, 1), title="value of")
