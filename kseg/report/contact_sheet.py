"""Some images of a data set with outlines of their masks, on one page."""

import numpy as np
from matplotlib.figure import Figure

from kseg.report.figures import show_image
from kseg.report.outlines import draw_outlines, outline_legend

COLUMNS, WIDTH = 6, 1.9  # images in a row, inches of each
LONGEST = 24  # letters of a name


def plot_sheet(groups, classes, title=""):
    """Images with the outlines of their masks, a heading for each group.

    Each gray image is shown from its darkest to its brightest pixel, so that dark ones can be seen.

    Args:
        groups: {heading: (images `[n, H, W, C]` with C = 1 or 3, masks `[n, H, W]` class ids, names `[n]`)}.
        classes: class names, background first.
        title: above the page.

    Returns:
        A matplotlib Figure.
    """
    lines = {heading: -(-len(names) // COLUMNS) for heading, (_, _, names) in groups.items()}
    _, height, width = next(iter(groups.values()))[1].shape
    row = WIDTH * min(max(height / width, 0.4), 2.5) + 0.28
    figure = Figure(
        figsize=(COLUMNS * WIDTH, row * sum(lines.values()) + 0.35 * len(groups) + 0.6), layout="constrained"
    )
    parts = np.ravel(figure.subfigures(len(groups), 1, height_ratios=list(lines.values()), squeeze=False))
    for part, (heading, group) in zip(parts, groups.items(), strict=True):
        part.suptitle(heading, fontsize=10, x=0.01, ha="left")
        axes = part.subplots(lines[heading], COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, image, ids, name in zip(axes, *group, strict=False):
            low, high = (0, 1) if image.shape[-1] == 3 else (float(image.min()), float(image.max()))
            show_image(axis, image, low, high if high > low else low + 1)
            draw_outlines(axis, ids, classes, width=1.0)
            axis.set_title(_short(name), fontsize=7, pad=2)
    outline_legend(figure, classes)
    figure.suptitle(title, fontsize=11)
    return figure


def _short(name):
    """A name with its middle left out where it is long."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}...{name[-half + 2 :]}"
