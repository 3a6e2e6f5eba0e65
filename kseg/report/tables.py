"""Tables for the terminal."""

import math

from rich import box
from rich.table import Table
from rich.text import Text

WIDEST = 1000  # letters of a line
SHOWN = ("dice", "iou", "accuracy")
SURFACE = ("hd95", "assd", "surface_dice")
TITLES = {
    "dice": "Dice", "iou": "IoU", "accuracy": "accuracy",
    "hd95": "HD95", "assd": "ASSD", "surface_dice": "surface Dice",
}  # fmt: skip


def score_table(summary, title, shown=SHOWN):
    """A rich table of `kseg.inference.summarise`: a row per class, mean and 95 % interval of the scores `shown`.

    Classes without these scores (surfaces of the background) have no row; `cases` is of the first score. Where the
    terminal is narrow, names of classes are folded and numbers stay whole.
    """
    heading = Text(title, "table.title")
    table = Table(title=heading, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.add_column("class", overflow="fold")
    for name in shown:
        table.add_column(TITLES[name], no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    scores = {label: [values[name] for name in shown] for label, values in summary.items() if shown[0] in values}
    for label, row in scores.items():
        table.add_row(Text(label), *map(_cell, row), str(row[0]["cases"]))
    without, missed = (sum(row[0].get(kind, 0) for row in scores.values()) for kind in ("empty", "missed"))
    notes = []
    if without:
        notes.append(f"{without} scores are undefined (class in neither mask) and left out of the means.")
    if missed:
        notes.append(f"{missed} distances are infinite (class in one mask alone) and left out of their means.")
    table.caption = "\n".join(notes) or None
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
        table.add_row(name, Text(str(value)))
    return table


def print_whole(console, table):
    """Print a table; where the console is no terminal, as wide as the table is, so that lines of a log stay whole."""
    if not console.is_terminal:
        table.width = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    console.print(table, crop=False)
