"""Histology as crops in one HDF5 file: tiles of CoNSeP, or arrays as PanNuke has them (S4.9)."""

import shlex

from rich import box
from rich.progress import track
from rich.table import Table

from kseg.data import card
from kseg.data.arrays import Arrays
from kseg.data.consep import Tiles
from kseg.data.geometry import Grid
from kseg.data.hdf5 import DataFile
from kseg.data.preprocess import Preprocessing
from kseg.data.recipe import check_space, source_entry
from kseg.data.writer import Writer


def open_source(config):
    """`Tiles` or `Arrays`, by what the folder holds; an option of the other layout is refused."""
    root = config.source
    if not root.is_dir():
        raise FileNotFoundError(f"folder {root} does not exist. Expected CoNSeP's with Train and Test, or of arrays.")
    tiles = (root / "Train").is_dir() or (root / "Test").is_dir()
    if not tiles and next(root.rglob("images.npy"), None) is None and next(root.rglob("masks.npy"), None) is None:
        raise FileNotFoundError(
            f"{root} holds no histology. Expected the folders Train and Test of CoNSeP, or images.npy and masks.npy "
            "in it or below."
        )
    for name in ("split", "background", "class_names") if tiles else ("validation",):
        if getattr(config, name) is not None:
            ours, other = ("tiles", "arrays") if tiles else ("arrays", "tiles")
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} is for {other}, and {root} holds {ours}. Expected no {option}; leave it out.")
    if tiles:
        share = 0.2 if config.validation is None else config.validation
        return Tiles(root, share, config.downsample == 1, config.seed)
    return Arrays(root, config.background or "last", config.class_names, config.split, config.seed)


def prepare(config, progress=lambda cases, total: cases):
    """Read either layout, write the data file: each image cut to crops that stay together as one case.

    Args:
        config: `kseg.configs.PrepareHistology`.
        progress: wraps the cases and their number, to show how far it is.

    Returns:
        Remarks on what was lost or chosen, a list of lines.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: one line with value, expectation and fix.
    """
    if config.out.exists() and not config.overwrite:  # say so before reading hundreds of files
        raise FileExistsError(f"{config.out} exists. Expected a new file; choose another name or --overwrite.")
    source = open_source(config)
    grid = Grid(source.size, config.crop, config.downsample)
    check_space(config.out, source.count * grid.rows * (config.crop**2 * 6 + 100) + 2**20)
    preprocessing = Preprocessing(channels=3, downsample=config.downsample, window=(config.crop,) * 2, rounded=True)
    spacing = preprocessing.spacing(source.spacing and (source.spacing,) * 2, source.size)
    attributes = {
        "name": source.name, "classes": source.classes, "value_range": (0.0, 1.0),
        "scale": preprocessing.scale, "preprocessing": preprocessing,
        "command": config.command(), "sources": [source_entry(path, config.source) for path in source.files],
        "split_rule": source.split_rule, "seed": config.seed,
    }  # fmt: skip
    with Writer(config.out, overwrite=config.overwrite, **attributes) as writer:
        for split, case, image, mask, instances in progress(source.cases(), source.count):
            numbers = None if instances is None else grid.labels(instances)
            masks = grid.labels(mask)
            writer.add(split, case, grid.images(image), masks, spacing=spacing, instances=numbers)
    remarks = source.remarks()
    if grid.dropped:
        remarks.append(f"{100 * grid.dropped:.1f} % of each image is margin that fills no crop, and was dropped.")
    if isinstance(source, Tiles) and not source.instances:
        remarks.append("Instances were left out: they are kept at --downsample 1 only.")
    return remarks


def execute(config, console):
    """Write the data file, and the numbers of its data card if asked to; says what it holds and what to run next."""

    def progress(cases, total):
        return track(cases, "images", total=total, console=console, disable=not console.is_terminal)

    if config.card is not None:
        card.check(config.card)
    remarks = prepare(config, progress)
    table = Table("split", "cases", "images", box=box.SIMPLE_HEAD)
    with DataFile(config.out) as data:
        for split, rows in data.sizes.items():
            cases = len(set(data.index(split)["case"])) if rows else 0
            table.add_row(split, str(cases), str(rows))
        if config.card is not None:
            card.update(config.card, data)
    console.print(table)
    shape = " x ".join(map(str, data.shape))
    for line in (f"{config.out}: images of {shape}, classes {', '.join(data.classes)}", *remarks,
                 f"Next: python scripts/robust_training.py --data {shlex.quote(str(config.out))}"):  # fmt: skip
        console.print(line, highlight=False, soft_wrap=True)
