"""Images with their true and predicted masks, and what is wrong in them."""

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kseg.report.figures import CONFUSED, OUTCOMES, outcome_overlay, show_image
from kseg.report.outlines import draw_outlines, outline_handles

COLUMNS = ("image", "true mask", "predicted mask", "errors")
SIDE, TALLEST = 2.5, 3.8  # inches: width of a picture, and its greatest height
LINE = 1.0  # points
LETTER = 0.075  # inches


def plot_examples(images, masks, predicted, classes, names, *, value_range=(0.0, 1.0), aspects=None, title=""):
    """Image, outlines of the true and of the predicted mask, and the errors, a row per example.

    Args:
        images: list of `[H, W, C]`, each of its own size; C = 3 is shown in colours, else the first channel.
        masks, predicted: lists of `[H, W]` class ids.
        classes: class names, background first.
        names: row labels, of several lines if you like.
        value_range: (least, greatest) value of the images: black and white.
        aspects: for each image how high a pixel is for its width; squares if not given.
        title: above the figure.

    Returns:
        A figure. Classes differ by colour and kind of line, errors by brightness, so that both are told apart in grey.
    """
    aspects = [1.0] * len(images) if aspects is None else aspects
    heights = [min(SIDE * a * mask.shape[0] / mask.shape[1], TALLEST) for a, mask in zip(aspects, masks, strict=True)]
    heights = [max(h, 0.16 * (name.count("\n") + 1)) for h, name in zip(heights, names, strict=True)]
    handles = [*outline_handles(classes), *_error_handles(len(classes))]
    longest = max(len(handle.get_label()) for handle in handles)
    labels = LETTER * max(len(line) for name in names for line in name.split("\n"))
    width = labels + 4 * SIDE + 0.4
    columns = max(1, min(len(handles), int(width / (LETTER * longest + 0.6))))
    tall = 0.8 + sum(heights) + 0.08 * len(heights) + 0.2 * -(-len(handles) // columns)
    figure = Figure(figsize=(width, tall), layout="constrained")
    axes = figure.subplots(len(images), 4, squeeze=False, height_ratios=heights)
    rows = zip(axes, images, masks, predicted, names, aspects, strict=True)
    for row, image, true, guess, name, aspect in rows:
        for axis, ids in zip(row, (None, true, guess), strict=False):
            show_image(axis, image, *value_range, aspect=aspect)
            if ids is not None:
                draw_outlines(axis, ids, classes, LINE)
        row[3].imshow(outcome_overlay(image, value_range, true, guess), interpolation="nearest", aspect=aspect)
        row[0].set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center", multialignment="left")
    for axis, column in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(column, fontsize=10)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5, handlelength=3)
    figure.suptitle(title, fontsize=11)
    return figure


def _error_handles(classes):
    colours = OUTCOMES if classes == 2 else {**OUTCOMES, "another class": CONFUSED}
    return [Patch(facecolor=colour, edgecolor="0.4", label=name) for name, colour in colours.items()]
