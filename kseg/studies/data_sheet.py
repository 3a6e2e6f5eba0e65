"""`kseg data`: what a data set holds, in words, numbers and pictures."""

import numpy as np

from kseg.data import summary
from kseg.data.hdf5 import SPLITS
from kseg.data.source import open_data
from kseg.report import fields_table, save_figure
from kseg.report.contact_sheet import plot_sheet


def execute(config, console):
    """Print a summary of a data set; verify it and draw a sheet of its images if asked to."""
    if config.sheet is not None and config.sheet.exists() and not config.overwrite:
        raise FileExistsError(f"{config.sheet} exists. Expected a new file; choose another name or --overwrite.")
    if config.sheet is not None and not config.sheet.parent.is_dir():
        raise FileNotFoundError(f"folder {config.sheet.parent} does not exist. Expected one; make it first.")
    with open_data(config.data) as data:
        if config.verify:
            with console.status("reading all arrays"):
                data.verify()
        told = summary.fields(data)
        copied = {name: told.pop(name) for name in ("command", "checksum")}
        console.print(fields_table(told), highlight=False)
        for name, value in copied.items():  # in one line each, to be copied
            console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)
        with console.status("counting"):
            table = summary.split_table(data)
        console.print(table)
        lines = ["Every array matches its SHA-256."] if config.verify else []
        if config.sheet is not None:
            with console.status("drawing"):
                save_figure(draw(data, config.count), config.sheet, dpi=130)
            lines.append(f"Sheet: {config.sheet}")
        if all(data.sizes.values()):  # training needs each split
            lines.append(f"Next: {summary.train_command(data, config.data)}")
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def draw(data, count=6):
    """The contact sheet of a data set, a matplotlib Figure: of each split `count` images with their masks."""
    groups = {}
    for split in SPLITS:
        if data.sizes[split]:
            rows, names = choose(data, split, count)
            images, masks = (
                np.concatenate(part) for part in zip(*(data.read(split, r, r + 1) for r in rows), strict=True)
            )
            low, high = data.value_range
            groups[f"{split}, {len(rows)} of {data.sizes[split]}"] = ((images - low) / (high - low), masks, names)
    return plot_sheet(groups, data.classes, data.attributes()["name"])


def choose(data, split, count):
    """Rows of a split to show, and their names: from cases that lie evenly, those with most foreground.

    Returns:
        (ascending list of at most `count` rows, list of names: the case, and the slice where it has several).
    """
    index = data.index(split)
    cases, starts, sizes = np.unique(index["case"].astype(str), return_index=True, return_counts=True)
    picked = np.unique(np.linspace(0, len(cases) - 1, min(count, len(cases))).round().astype(int))
    rows = []
    for place, case in enumerate(picked):
        wanted = count // len(picked) + (place < count % len(picked))
        start, stop = int(starts[case]), int(starts[case] + sizes[case])
        amount = (data.read(split, start, stop)[1] > 0).sum(axis=(1, 2))
        rows += sorted(start + np.argsort(-amount, kind="stable")[:wanted])
    several = set(cases[sizes > 1])
    names = [index["case"][r] + (f" #{index['slice'][r]}" if index["case"][r] in several else "") for r in rows]
    return [int(row) for row in rows], names
