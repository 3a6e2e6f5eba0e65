"""Outlines of classes over an image: colour, kind and width of line tell them apart, so that eight differ in gray."""

import numpy as np
from matplotlib.lines import Line2D

from kseg.report.figures import class_palette

LINES = ("solid", (0, (4, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
RIM, WIDTH = 1.2, 1.2  # points
WIDER = 2  # from the fifth class on


def draw_outlines(axis, ids, classes, width=WIDTH):
    """Draw where each class but the background ends, with a dark rim, so that it shows on bright and on dark.

    Args:
        axis: of matplotlib; the image is drawn by `imshow` with its pixels at whole numbers.
        ids: `[H, W]` class ids.
        classes: class names, background first.
        width: of the lines in points.
    """
    palette, (height, breadth) = class_palette(classes), ids.shape
    columns, rows = np.arange(-1, breadth + 1), np.arange(-1, height + 1)
    for k in (k for k in np.unique(ids) if k):
        inside = np.pad((ids == k).astype(np.float32), 1)  # so that lines are closed where a class leaves the image
        line, thick = _line(k, width)
        for colour, kind, points in (("black", "solid", thick + RIM), (palette[k], line, thick)):
            axis.contour(columns, rows, inside, [0.5], colors=[colour], linestyles=[kind], linewidths=[points])
    axis.set(xlim=(-0.5, breadth - 0.5), ylim=(height - 0.5, -0.5))


def outline_handles(classes):
    """What a legend shows of the outlines: a line for each class but the background."""
    palette = class_palette(classes)
    lines = [(k, *_line(k, WIDTH)) for k in range(1, len(classes))]
    return [Line2D([], [], color=palette[k], linestyle=kind, linewidth=w, label=classes[k]) for k, kind, w in lines]


def outline_legend(figure, classes):
    """Name the outlines below a figure."""
    handles = outline_handles(classes)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=8, handlelength=3)


def _line(k, width):
    """The kind of line of class k, and its width in points."""
    turn, kind = divmod(int(k) - 1, len(LINES))
    return LINES[kind], width * WIDER ** (turn % 2)
