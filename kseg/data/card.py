"""The numbers of a data card, computed from the data and written between two marks."""

from pathlib import Path

import numpy as np

from kseg.data.hdf5 import BLOCK, SPLITS
from kseg.data.recipe import manifest_hash
from kseg.files import write_text

BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"


def numbers(data):
    """Markdown tables of what `data` holds: rows, cases, class shares, empty masks, sources."""
    lines = [
        "| split | cases | images | without foreground | "
        + " | ".join(f"{name} pixels" for name in data.classes) + " |",
        "| --- " * (4 + len(data.classes)) + "|",
    ]  # fmt: skip
    total = np.zeros(3 + len(data.classes), np.int64)
    for split in SPLITS:
        row = counts(data, split)
        total += row
        lines.append(_line(split, row))
    lines.append(_line("all", total))
    height, width, channels = data.shape
    sources = data.attributes()["sources"]
    lines += [
        "",
        f"Images of {height} x {width} pixels, {channels} channel{'s' * (channels > 1)}, values "
        f"{data.value_range[0]:g} to {data.value_range[1]:g}. Shares are of all pixels, padding included.",
    ]
    if sources:
        size = sum(s["bytes"] for s in sources)
        lines += ["", f"Sources: {len(sources)} files, {size} bytes, SHA-256 of their list `{manifest_hash(sources)}`."]
    return "\n".join(lines)


def counts(data, split):
    """Of a split `[3 + K]`: cases, images, images without foreground, and pixels of each class."""
    total = np.zeros(3 + len(data.classes), np.int64)
    if data.sizes[split]:
        total[0] = len(set(data.index(split)["case"]))
    for start in range(0, data.sizes[split], BLOCK):
        masks = data.read(split, start, start + BLOCK)[1]
        total[1] += len(masks)
        total[2] += (masks.reshape(len(masks), -1).max(axis=1) == 0).sum()
        total[3:] += np.bincount(masks.ravel(), minlength=len(data.classes))
    return total


def _line(name, row):
    pixels = row[3:]
    shares = [f"{100 * p / max(pixels.sum(), 1):.2f} %" for p in pixels]
    empty = f"{row[2]} ({100 * row[2] / max(row[1], 1):.1f} %)"
    return f"| {name} | {row[0]} | {row[1]} | {empty} | " + " | ".join(shares) + " |"


def check(path):
    """The text of a card before, and after, its numbers; raises FileNotFoundError or ValueError without marks."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"card {path} does not exist. Expected one made from data_cards/TEMPLATE.md.")
    head, mark, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"card {path} lacks the marks. Expected the lines {BEGIN} and {END}; add them.")
    return head, tail


def update(path, data):
    """Write `numbers(data)` between the marks of the card at `path`."""
    head, tail = check(path)
    write_text(path, f"{head}{BEGIN}\n{numbers(data)}\n{END}{tail}")
