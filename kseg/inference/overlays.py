"""Pictures of predicted masks: the outlines of their classes over the image."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from kseg import report
from kseg.report.outlines import draw_outlines, outline_legend

LONGEST = 1024  # pixels of a side that is shown
SLICES = 12  # of a volume
SHOWN = (0.5, 99.5)  # percentiles that become black and white, where the type does not tell them
DPI = 100


class Picture(NamedTuple):
    """What is shown of a case: `[n, h, w, C]` uint8, every `step`-th pixel, and how high a pixel is for its width."""

    pixels: np.ndarray
    step: int
    aspect: float


def picture_of(case):
    """The picture of a `kseg.data.read.FileCase`; of every kind of pixels the bulk is visible."""
    step = -(-max(case.pixels.shape[1:3]) // LONGEST)
    pixels = np.asarray(case.pixels[:, ::step, ::step])
    if pixels.dtype != np.uint8:
        low, high = np.percentile(pixels[:, ::2, ::2], SHOWN)
        slices = ((image - low) * (255 / max(high - low, 1e-12)) for image in pixels)  # one by one: they are float64
        pixels = np.stack([np.clip(image, 0, 255).astype(np.uint8) for image in slices])
    aspect = case.spacing[0] / case.spacing[1] if case.spacing else 1.0
    return Picture(pixels, step, aspect)


def save_overlay(path, picture, ids, classes, title):
    """Write a PNG with the outlines of class ids `[n, H, W]` over the picture of the case."""
    report.save_figure(plot_overlay(picture, ids, classes, title), path, DPI)


def plot_overlay(picture, ids, classes, title):
    """The figure of `save_overlay`: an image, or of a volume up to `SLICES` slices where there is foreground."""
    ids = ids[:, :: picture.step, :: picture.step]
    shown = _chosen(ids)
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    height, width = ids.shape[1] * picture.aspect, ids.shape[2]
    side = max(8.0, width / DPI) if len(shown) == 1 else 2.6  # inches of a column: single images in their own size
    figure = Figure(figsize=(columns * side, rows * side * height / width + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, number in zip(axes, shown, strict=False):
        image = picture.pixels[number]
        gray = {"cmap": "gray", "vmin": 0, "vmax": 255} if image.shape[-1] == 1 else {}
        axis.imshow(image[..., 0] if gray else image, aspect=picture.aspect, **gray)
        draw_outlines(axis, ids[number], classes)
        if len(ids) > 1:
            axis.set_title(f"slice {number}", fontsize=8)
    figure.suptitle(title, fontsize=9)
    outline_legend(figure, classes)
    return figure


def _chosen(ids):
    """Numbers of slices, evenly spread over those with foreground; over all if there is none."""
    with_foreground = np.flatnonzero(ids.any(axis=(1, 2)))
    among = with_foreground if len(with_foreground) else np.arange(len(ids))
    return among[np.unique(np.rint(np.linspace(0, len(among) - 1, SLICES)).astype(int))].tolist()
