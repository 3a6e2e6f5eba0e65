"""What a data set holds, for the terminal."""

import shlex

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from kseg.data.card import counts
from kseg.data.hdf5 import SPLITS
from kseg.data.recipe import manifest_hash

SHOWN = 20  # names of files that are left out for one reason


def split_table(data):
    """A rich table: cases, images and the share of each class in each split; padding does not count."""
    columns, padding = {split: counts(data, split) for split in SPLITS}, _padding(data)
    for split, count in padding.items():
        columns[split][3] -= count
    columns["all"] = sum(columns.values())
    table = Table("", *columns, box=box.SIMPLE_HEAD, caption_justify="left")
    table.caption = "Shares of pixels are without padding." if any(padding.values()) else None
    for row, name in enumerate(("cases", "images", "without foreground")):
        table.add_row(name, *(str(column[row]) for column in columns.values()))
    for k, name in enumerate(data.classes):
        shares = ((column[3 + k], column[3:].sum()) for column in columns.values())
        table.add_row(f"{escape(name)}, pixels", *(f"{100 * n / total:.2f} %" if total else "-" for n, total in shares))
    return table


def _padding(data):
    """{split: pixels outside of the boxes of the images}; they are background."""
    counted = {}
    for split in SPLITS:
        y0, y1, x0, x1 = data.index(split)["box"].astype(np.int64).T if data.sizes[split] else np.zeros((4, 0), int)
        counted[split] = data.sizes[split] * data.shape[0] * data.shape[1] - int(((y1 - y0) * (x1 - x0)).sum())
    return counted


def left_out_table(left_out):
    """A rich table of {why: names of files}."""
    table = Table("left out", "files", "which", box=box.SIMPLE_HEAD)
    for why, names in left_out.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        table.add_row(escape(why), str(len(names)), escape(", ".join(names[:SHOWN])) + more)
    return table


def shape_line(data):
    """Shape and classes in one line."""
    return f"images of {' x '.join(map(str, data.shape))}, classes {', '.join(data.classes)}"


def fields(data):
    """{what: value} of all that a data set tells of itself but its splits."""
    attributes = data.attributes()
    sources = attributes["sources"]
    described = {
        "name": attributes["name"],
        "images": " x ".join(map(str, data.shape)) + ", values {:g} to {:g}".format(*data.value_range),
        "classes": ", ".join(f"{i} {name}" for i, name in enumerate(data.classes)),
        "pixel size": _spacing(data),
        "objects": _objects(data),
        "preprocessing": _steps(getattr(data, "preprocessing", None)),
        "splits": f"{attributes['split_rule']}; seed {attributes['seed']}",
        "sources": _sources(sources) if sources else "none, made from a seed",
        "command": attributes["command"] or "not told",
        "checksum": data.fingerprint(),
    }
    return {name: value for name, value in described.items() if value}


def train_command(data, name=None):
    """The command that trains on a data file, or on the built-in set of that name."""
    loss = "bce+dice" if len(data.classes) == 2 else "cce+dicefg"
    return f"python scripts/train.py --data {shlex.quote(str(name or data.path))} --loss {loss}"


def sheet_command(data):
    """The command that draws some images of a data file."""
    sheet = data.path.with_suffix(".png")
    return f"python scripts/data.py {shlex.quote(str(data.path))} --sheet {shlex.quote(str(sheet))}"


def _spacing(data):
    rows = [data.index(split)["spacing"] for split, count in data.sizes.items() if count]
    found = np.unique(np.concatenate(rows), axis=0) if rows else np.zeros((0, 2))
    if np.isnan(found).any():
        return "unknown" if np.isnan(found).all() else "unknown of some"
    sizes = [" x ".join(f"{side:.4g}" for side in row) for row in found[:3]]
    return " mm, ".join(sizes) + " mm" + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _objects(data):
    split = next(split for split in SPLITS if data.sizes[split])
    return "numbered" if hasattr(data, "instances") and data.instances(split, 0, 1) is not None else None


def _sources(sources):
    size = sum(source["bytes"] for source in sources)
    files = f"{len(sources)} file{'s' * (len(sources) > 1)}"
    return f"{files}, {size} bytes, SHA-256 of their list {manifest_hash(sources)[:16]}..."


def _steps(steps):
    """What was done to images, in words."""
    if steps is None:
        return None
    low, high = steps.value_range
    words = ["gray" if steps.channels == 1 else "colour"]
    if steps.orientation:
        words.append(f"axes that point to {steps.orientation}")
    if steps.axis is not None:
        words.append(f"slices along axis {steps.axis}")
    if steps.intensity == "type":
        words.append(f"range of the type to {low:g}..{high:g}")
    elif steps.intensity == "percentile":
        words.append(f"minimum and {steps.upper_percentile:g} % percentile of each case to {low:g}..{high:g}")
    if steps.size is not None:
        shape = "its shape kept and padded" if steps.fit == "aspect" else "each side by itself"
        words.append(f"resized to {steps.size[0]} x {steps.size[1]}, {shape}")
    if steps.downsample > 1:
        words.append(f"mean of {steps.downsample} x {steps.downsample} pixels")
    if steps.window is not None:
        words.append(f"padded or cut to {steps.window[0]} x {steps.window[1]}")
    if steps.rounded:
        words.append("rounded to 256 levels")
    return ", ".join(words)
