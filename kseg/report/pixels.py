"""Figures of the pixel study that show images: gradients, masks that shrink under attack, predictions."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image  # comes with matplotlib, whose own writer takes no small palette

from kseg.files import atomic
from kseg.report.pixel_curves import loss_styles

TRUE_COLOUR = "#e69f00"  # outline of the true mask
POSITIVE = np.array([1.0, 0.75, 0.0])  # positive gradients over the mask
MASK_GREY = 0.35
GIF_COLOURS = 32


def plot_gradients(rows, title="Gradients of the prediction with respect to the image"):
    """Image, true mask, gradient in grey, and positive gradients over the mask, a row per model (S0.15).

    Args:
        rows: list of dicts `name`, `image`, `mask`, `gradient`, each `[H, W]`.
        title: above the figure.

    Returns:
        A figure. Grey is 0; the range of each gradient is symmetric and stands at its own colour bar, since scales
        differ by model. Positive gradients are the more yellow, the nearer to the largest of their model.
    """
    figure = Figure(figsize=(9, 0.7 + 2.2 * len(rows) * _ratio(rows[0]["image"])), layout="constrained")
    axes = figure.subplots(len(rows), 4, squeeze=False)
    for axis, name in zip(axes[0], ("image", "true mask", "gradient", "positive gradients, true mask"), strict=True):
        axis.set_title(name, fontsize=9.5)
    for row, model in zip(axes, rows, strict=True):
        gradient, mask = np.asarray(model["gradient"], float), np.asarray(model["mask"]) > 0
        largest = np.nanmax(np.abs(gradient)) or 1.0
        row[0].imshow(model["image"], cmap="gray")
        row[1].imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        shown = row[2].imshow(gradient, cmap="gray", vmin=-largest, vmax=largest, interpolation="nearest")
        bar = figure.colorbar(shown, ax=row[2], fraction=0.05, pad=0.02, ticks=[-largest, 0, largest])
        bar.ax.set_yticklabels([f"{-largest:.3g}", "0", f"{largest:.3g}"], fontsize=8)
        part = np.clip(gradient / largest, 0, 1)[..., None]
        row[3].imshow((1 - part) * MASK_GREY * mask[..., None] + part * POSITIVE, interpolation="nearest")
        row[0].set_ylabel(model["name"], fontsize=9)
    _bare(axes)
    figure.suptitle(title, fontsize=11)
    return figure


def plot_shrinking(image, mask, levels, rows, title="The mask as the level of the replaced pixels rises"):
    """The true mask and those predicted under attack, a row per model, and their area against the level (S0.16).

    Args:
        image, mask: `[H, W]`.
        levels: L values of the replaced pixels; None is the image without an attack.
        rows: {model: {"masks" `[L, H, W]`, "dice" `[L]`, "area" `[L]` in pixels; if known also "random_dice" and
            "random_area", of as many pixels that were chosen at random}}.
        title: above the figure.
    """
    cell = 9 / (len(levels) + 1.6) * _ratio(image) + 0.22
    figure = Figure(figsize=(9, 1 + cell * len(rows) + 2.9), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(cell * len(rows) + 0.4, 2.9))
    axes = upper.subplots(len(rows), len(levels) + 1, squeeze=False)
    for row, (name, found) in zip(axes, rows.items(), strict=True):
        _masks(row, mask, found["masks"])
        for axis, dice, random in zip(row[1:], found["dice"], _random(found, "dice"), strict=True):
            axis.set_xlabel(f"Dice {dice:.2f}{random}", fontsize=7.5, labelpad=1.5)
        row[0].set_ylabel(name.replace(", ", ",\n").replace("+focal", "\n+focal"), fontsize=8)
    for axis, text in zip(axes[0], ("true mask", *map(_level, levels)), strict=True):
        axis.set_title(text, fontsize=8.5)
    _bare(axes)
    left, right = lower.subplots(1, 2, width_ratios=(1, 2.2))
    left.imshow(image, cmap="gray")
    _outline(left, mask)
    left.set_title("image", fontsize=9)
    _bare(np.array([left]))
    handles = _areas(right, mask, levels, rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _areas(axis, mask, levels, rows):
    """Mask area against the level, an unattacked image apart from the rest; returns handles for a legend."""
    numbers = [level for level in levels if level is not None]
    clean = min(numbers, default=0) - 0.15 * (max(numbers, default=1) - min(numbers, default=0) or 1)
    attacked = np.array([level is not None for level in levels])
    for name, style in (styles := loss_styles(rows)).items():
        area = np.asarray(rows[name]["area"], float)
        axis.plot(numbers, area[attacked], linewidth=2, markersize=5, **style)
        axis.plot([clean] * int((~attacked).sum()), area[~attacked], linestyle="", markersize=5, **style)
        if "random_area" in rows[name]:
            random = np.asarray(rows[name]["random_area"], float)[attacked]
            axis.plot(numbers, random, linewidth=1, linestyle="--", color=style["color"], alpha=0.7)
    axis.axhline((np.asarray(mask) > 0).sum(), color=TRUE_COLOUR, linestyle=":", linewidth=1.5)
    axis.set_ylim(bottom=0)
    places = numbers if attacked.all() else [clean, *numbers]
    axis.set_xticks(places, [f"{x:.3g}" if x in numbers else "no attack" for x in places], fontsize=8)
    axis.set(xlabel="value of the replaced pixels", ylabel="area [px]")
    axis.set_title("area of the predicted mask", fontsize=9)
    axis.grid(alpha=0.3)
    true = Line2D([], [], color=TRUE_COLOUR, linestyle=":", linewidth=1.5, label="true mask: outline, area")
    handles = [*(Line2D([], [], label=name, linewidth=2, **style) for name, style in styles.items()), true]
    if any("random_area" in found for found in rows.values()):
        handles.append(Line2D([], [], color="0.4", linewidth=1, linestyle="--", label="random pixels: area, Dice (r)"))
    return handles


def _random(found, name):
    """What to write beside each number: that of random pixels, if known."""
    if f"random_{name}" not in found:
        return [""] * len(found[name])
    return [f" (r {value:.2f})" for value in found[f"random_{name}"]]


def animate_shrinking(path, image, mask, levels, rows, seconds=1.0, limit=300_000):
    """Write the masks of `plot_shrinking` as a GIF that steps through the levels, over and over.

    Args:
        path: of the GIF.
        image, mask, levels, rows: see `plot_shrinking`.
        seconds: a step.
        limit: of the file in bytes.

    Raises:
        ValueError: the GIF is larger.
    """
    columns = min(len(rows) + 1, 4)
    height = -(-(len(rows) + 1) // columns)
    size = (9 * columns / 4, 0.6 + height * (2.25 * _ratio(image) + 0.45))
    figure = Figure(figsize=size, layout="constrained")
    canvas, frames = FigureCanvasAgg(figure), []
    axes = figure.subplots(height, columns, squeeze=False).ravel()
    for step, level in enumerate(levels):
        for axis in axes:
            axis.clear()
        axes[0].imshow(image, cmap="gray")
        _outline(axes[0], mask)
        axes[0].set_title("image and true outline", fontsize=9)
        for axis, (name, found) in zip(axes[1:], rows.items(), strict=False):
            _masks([axis], mask, found["masks"][step : step + 1], first=False)
            axis.set_title(name, fontsize=9)
            random = _random(found, "dice")[step].replace("(r ", "(random ")
            axis.set_xlabel(f"Dice {found['dice'][step]:.2f}{random}, {found['area'][step]:.0f} px", fontsize=8.5)
        _bare(axes[: len(rows) + 1])
        for axis in axes[len(rows) + 1 :]:
            axis.axis("off")
        figure.suptitle("no attack" if level is None else f"value of the replaced pixels: {level:.3g}", fontsize=11)
        canvas.draw()
        shown = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        frames.append(shown.quantize(GIF_COLOURS, dither=Image.Dither.NONE))
    file, duration = io.BytesIO(), round(1000 * seconds)
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
    if len(file.getvalue()) >= limit:
        raise ValueError(f"{path} would have {len(file.getvalue())} bytes. Expected under {limit}; give fewer levels.")
    with atomic(path) as part:
        part.write_bytes(file.getvalue())


def plot_predictions(image, mask, predicted, title="Predictions without an attack"):
    """Image, predicted and true mask, a row per model (S0.17).

    Args:
        image, mask: `[H, W]`.
        predicted: {model: `[H, W]`}.
        title: above the figure.
    """
    figure = Figure(figsize=(6.6, 0.7 + 2.05 * len(predicted) * _ratio(image)), layout="constrained")
    axes = figure.subplots(len(predicted), 3, squeeze=False)
    for axis, name in zip(axes[0], ("image", "predicted mask", "true mask"), strict=True):
        axis.set_title(name, fontsize=10)
    for row, (name, guess) in zip(axes, predicted.items(), strict=True):
        row[0].imshow(image, cmap="gray")
        for axis, shown in zip(row[1:], (guess, mask), strict=True):
            axis.imshow(np.asarray(shown) > 0, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        row[0].set_ylabel(name, fontsize=9)
    _bare(axes)
    figure.suptitle(title, fontsize=11)
    return figure


def _masks(axes, mask, masks, first=True):
    """The true mask in the first axes, predicted ones with the true outline in the others."""
    if first:
        axes[0].imshow(np.asarray(mask) > 0, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for axis, found in zip(axes[int(first) :], masks, strict=True):
        axis.imshow(np.asarray(found) > 0, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        _outline(axis, mask)


def _outline(axis, mask):
    inside = np.asarray(mask) > 0
    if inside.any() and not inside.all():  # else there is no outline, and older matplotlib warns
        axis.contour(inside, levels=[0.5], colors=TRUE_COLOUR, linewidths=1)


def _level(level):
    return "no attack" if level is None else f"{level:.3g}"


def _ratio(image):
    height, width = np.shape(image)[:2]
    return height / width


def _bare(axes):
    for axis in np.ravel(axes):
        axis.set(xticks=[], yticks=[])
