"""Figures from arrays; no global state, so they work in threads and without a screen."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from kseg.files import atomic

CLASS_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#f0e442", "#0072b2")


def class_palette(classes):
    """Colours `[K, 3]` of class ids: the background black, the others those of `CLASS_COLOURS`."""
    return np.array([(0, 0, 0), *(to_rgb(CLASS_COLOURS[i % 7]) for i in range(len(classes) - 1))])


def show_image(axis, image, low, high):
    """An image `[H, W, C]` of values from `low` to `high`: in colours if it has three channels, else the first."""
    if image.shape[-1] == 3:
        axis.imshow(np.clip((image - low) / (high - low), 0, 1), interpolation="nearest")
    else:
        axis.imshow(image[..., 0], cmap="gray", vmin=low, vmax=high, interpolation="nearest")


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
    palette = class_palette(classes)
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
