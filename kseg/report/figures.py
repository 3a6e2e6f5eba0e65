"""Figures from arrays; no global state, so they work in threads and without a screen."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from kseg.files import atomic

CLASS_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#f0e442", "#0072b2")
# Okabe and Ito's; over an image made this dark, greys of 0.30 (the image's brightest), 0.47, 0.62 and 0.84 in print.
OUTCOMES = {"right foreground": "#56b4e9", "missed": "#f0e442", "invented": "#d55e00"}
CONFUSED = "#ffffff"  # of several classes: foreground of another class
DARK = 0.3
KEPT = {"color": "0.35", "linewidth": 1.2, "linestyle": (0, (1, 1.5)), "zorder": 0}
MARKED = 40  # epochs with a marker each


def class_palette(classes):
    """Colours `[K, 3]` of class ids: the background black, the others those of `CLASS_COLOURS`."""
    return np.array([(0, 0, 0), *(to_rgb(CLASS_COLOURS[i % 7]) for i in range(len(classes) - 1))])


def show_image(axis, image, low, high, **options):
    """An image `[H, W, C]` of values from `low` to `high`: in colours if it has three channels, else the first."""
    if image.shape[-1] == 3:
        axis.imshow(np.clip((image - low) / (high - low), 0, 1), interpolation="nearest", **options)
    else:
        axis.imshow(image[..., 0], cmap="gray", vmin=low, vmax=high, interpolation="nearest", **options)


def outcome_overlay(image, value_range, mask, ids):
    """The image in dark grey `[H, W, 3]`, and over it what of the foreground is right, missed, invented and confused.

    Args:
        image: `[H, W, C]`, values within `value_range`.
        mask, ids: `[H, W]` true and predicted class ids; "confused" is where both are foreground, of other classes.
    """
    low, high = value_range
    grey = image.mean(axis=-1) if image.shape[-1] == 3 else image[..., 0]
    drawn = np.repeat(DARK * np.clip((grey - low) / (high - low), 0, 1)[..., None], 3, axis=-1)
    true, found = np.asarray(mask) > 0, np.asarray(ids) > 0
    for where, colour in zip((true & found, true & ~found, ~true & found), OUTCOMES.values(), strict=True):
        drawn[where] = to_rgb(colour)
    drawn[true & found & (np.asarray(mask) != np.asarray(ids))] = to_rgb(CONFUSED)
    return drawn


def save_figure(figure, path, dpi=100):
    """Write a figure atomically, cut to its contents; a dollar sign in a name is one, and begins no formula."""
    for text in figure.findobj(Text):
        if "$" in text.get_text():
            text.set_parse_math(False)
    with atomic(path) as part:
        figure.savefig(part, dpi=dpi, bbox_inches="tight")


def plot_history(history, title=""):
    """Loss and Dice of training and validation against the epoch, and the learning rate where it changes.

    Args:
        history: {"epoch", "loss", "dice"} and, if known, {"val_loss", "val_dice", "learning_rate"}: one value per
            epoch, counted from 1; nan where there is none.
        title: above the figure.

    Returns:
        A figure in which a vertical line marks the epoch whose model is kept: the first with the best Dice of
        validation, or of training if nothing was validated.
    """
    epochs, best = np.asarray(history["epoch"], int), _best_epoch(history)
    rates = np.asarray(history.get("learning_rate", ()), float)
    panels = [("loss", "loss"), ("dice", "Dice, foreground")]
    if len(np.unique(rates[np.isfinite(rates)])) > 1:
        panels.append(("learning_rate", "learning rate"))
    figure = Figure(figsize=(1 + 4 * len(panels), 3.6), layout="constrained")
    mark = {"marker": "o", "markersize": 3.5} if len(epochs) <= MARKED else {}
    looks = {
        "": {"label": "training", "color": "#d55e00", "linestyle": (0, (4, 2)), "markerfacecolor": "white", **mark},
        "val_": {"label": "validation", "color": "#0072b2", "linestyle": "-", **mark},
    }
    for axis, (name, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for key, look in looks.items() if name != "learning_rate" else [("", {"color": "0.2", **mark})]:
            if key + name in history:
                axis.plot(epochs, history[key + name], **look)
        axis.set(xlabel="epoch", ylabel=label, xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if best is not None:
            axis.axvline(epochs[best], **KEPT)
    if len(panels) == 3 and np.nanmin(rates) > 0:
        axis.set_yscale("log")
        label_logarithms(axis.yaxis, *axis.get_ylim())
    handles = [Line2D([], [], **look) for key, look in looks.items() if f"{key}loss" in history]
    if best is not None:
        score = history["val_dice" if np.isfinite(history.get("val_dice", [np.nan])).any() else "dice"][best]
        kept = f"kept: epoch {epochs[best]}, Dice {score:.4f}"
        handles.append(Line2D([], [], label=kept, **KEPT))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def _best_epoch(history):
    """The place of the best epoch, or None."""
    for name in ("val_dice", "dice"):
        scores = np.asarray(history.get(name, ()), float)
        if np.isfinite(scores).any():
            return int(np.nanargmax(scores))
    return None


def label_logarithms(axis, low, high, form="{x:.3g}", within=10, dense=1e4):
    """Plain numbers along a logarithmic axis from `low` to `high`, without labels that touch.

    They stand at all ticks up to `within` times the lowest, at 1, 2 and 5 of each decade below `dense` times it, and
    over more at the decades; a panel of little height takes fewer of them.
    """
    if high > within * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < dense * low else (1,)))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_minor_formatter(form)
    axis.set_major_formatter(form)
