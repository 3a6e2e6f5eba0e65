"""Tables for the terminal."""

import math

from rich import box
from rich.table import Table

SHOWN = ("dice", "iou", "accuracy")
TITLES = {"dice": "Dice", "iou": "IoU", "accuracy": "accuracy"}


def score_table(summary, title):
    """A rich table of `kseg.inference.summarise`: a row per class, mean and 95 % interval per ratio."""
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("class", overflow="fold")
    for name in SHOWN:
        table.add_column(TITLES[name], no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    without = 0
    for label, ratios in summary.items():
        without += ratios["dice"]["empty"]
        table.add_row(
            label,
            *(_cell(ratios[name]) for name in SHOWN),
            str(ratios["dice"]["cases"]),
        )
    if without:
        table.caption = f"{without} scores are undefined (class in neither mask) and left out of the means."
    return table


def _cell(score):
    if math.isnan(score["mean"]):
        return "undefined"
    if math.isnan(score["low"]):
        return f"{score['mean']:.3f}"
    low, high = (f"{score[side]:.3f}".removeprefix("0") for side in ("low", "high"))
    return f"{score['mean']:.3f} ({low}-{high})"


def fields_table(fields):
    """A rich table of two columns without lines: what a run will do."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, str(value))
    return table
