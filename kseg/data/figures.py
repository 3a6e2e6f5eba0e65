"""Kandinsky figures as one HDF5 file (S4.9)."""

import shlex
from dataclasses import fields

from kseg.data.source import open_data
from kseg.data.writer import save

NOT_OF_THE_SET = ("out", "overwrite")
EXACT = 5  # classes of which all choices of method two are looked at in minutes


def open_figures(config):
    """The figures that a `kseg.configs.PrepareKandinsky` asks for, an open data set."""
    options = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in NOT_OF_THE_SET}
    return open_data("kandinsky", **options)


def prepare(config):
    """Draw the figures and write them.

    Args:
        config: `kseg.configs.PrepareKandinsky`.

    Returns:
        The open data set that was written.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: one line with value, expectation and fix.
    """
    figures = open_figures(config)
    save(figures, config.out, overwrite=config.overwrite)
    return figures


def execute(config, console):
    """Write the file; says what it holds and what to run next."""
    with console.status("drawing"):
        figures = prepare(config)
    rows = ", ".join(f"{rows} {split}" for split, rows in figures.sizes.items())
    shape, classes = " x ".join(map(str, figures.shape)), ", ".join(figures.classes)
    search = " --search beam" if len(figures.classes) > EXACT else ""
    for line in (f"{config.out}: {rows} images of {shape}, classes {classes}",
                 f"Next: python scripts/robust_training.py --data {shlex.quote(str(config.out))}{search}"):  # fmt: skip
        console.print(line, highlight=False, soft_wrap=True)
