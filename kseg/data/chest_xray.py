"""Chest X-rays with lung masks, the sets of Montgomery and Shenzhen of the NLM, as one HDF5 file (S3.1, S3.2)."""

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich import box as boxes
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from kseg.data import card
from kseg.data.hdf5 import DataFile
from kseg.data.images import read_labels
from kseg.data.preprocess import Preprocessing
from kseg.data.read import read_case
from kseg.data.recipe import check_space, source_entry, white
from kseg.data.splits import check_dealt, split_strata
from kseg.data.writer import Writer

CLASSES = {"binary": ["background", "lungs"], "three": ["background", "left lung", "right lung"]}
MASK_VALUES = {"binary": (0, 255), "three": None}  # the sets' own; they have a file a lung, not one of both
SETS = {  # name: folder, {folder of masks: what it adds to the name of the image}
    "montgomery": ("MontgomerySet", {"ManualMask/leftMask": "", "ManualMask/rightMask": ""}),
    "shenzhen": ("ShenzhenSet", {"mask": "_mask"}),
}
DIAGNOSES = ("normal", "tuberculosis")
IMAGES, ENDINGS, MASKS = "CXR_png", (".png", ".dcm"), ".png"
OTHERS = (".bmp", ".dicom", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".ppm", ".tif", ".tiff", ".webp")  # of images too


class Xray(NamedTuple):
    """One X-ray: the name of its case, its set, "normal" or "tuberculosis", the image and its masks."""

    case: str
    set: str
    diagnosis: str
    image: Path
    masks: tuple


def prepare(config, progress=iter):
    """Read the sets, write the data file.

    Each X-ray is a case and a patient. Image and mask are resized to `size` squared; values go to [0, 1] by the range
    of the image's type, or by the window of a DICOM file. Sets and diagnoses are shared out alike over the splits.

    Args:
        config: `kseg.configs.PrepareChestXray`.
        progress: wraps the list of X-rays, to show how far it is.

    Returns:
        ((set, why, names) of what was left out, remarks as a list of lines).

    Raises:
        FileNotFoundError, FileExistsError, ValueError: one line with value, expectation and fix.
    """
    root = Path(config.source)
    xrays, dropped, remarks = list_xrays(root, config.classes)
    split = split_strata({xray.case: (xray.set, xray.diagnosis) for xray in xrays}, config.split, config.seed)
    check_dealt(split, config.split, "X-rays")
    if config.out.exists() and not config.overwrite:  # say so before reading hundreds of files
        raise FileExistsError(f"{config.out} exists. Expected a new file; choose another name or --overwrite.")
    preprocessing = Preprocessing(
        channels=1, size=(config.size,) * 2, fit="aspect" if config.keep_aspect else "stretch", rounded=True,
        mask_values=MASK_VALUES[config.classes],
    )  # fmt: skip
    check_space(config.out, len(xrays) * (config.size**2 * 2 + 100) + 2**20)
    attributes = {
        "name": "chest_xray" if config.classes == "binary" else "chest_xray-three",
        "classes": CLASSES[config.classes], "value_range": (0.0, 1.0), "command": config.command(),
        "scale": preprocessing.scale, "preprocessing": preprocessing,
        "sources": [source_entry(path, root) for xray in xrays for path in (xray.image, *xray.masks)],
        "split_rule": "by patient, each with one image; shares " + "/".join(f"{s:g}" for s in config.split)
        + " of the normal and of the tuberculous of each set", "seed": config.seed,
    }  # fmt: skip
    dim, empty = [], []
    with Writer(config.out, overwrite=config.overwrite, **attributes) as writer:
        for xray in progress(xrays):
            pixels, spacing, *_ = read_case(xray.image)
            size = pixels.shape[1:3]
            mask = read_mask(xray, size, config.classes)
            try:
                images, dark = preprocessing.stored(pixels), pixels.max() < white(pixels) / 8
            except ValueError as error:
                raise ValueError(f"{xray.image} {error}") from None
            dim += [xray.case] if dark else []
            empty += [] if mask.any() else [xray.case]
            writer.add(
                split[xray.case], xray.case, images, preprocessing.labels(mask[None]),
                box=preprocessing.box(size), spacing=preprocessing.spacing(spacing, size),
            )  # fmt: skip
    if dim:
        remarks.append(f"Darker than an eighth of their range (12 bits in a file of 16?), kept: {', '.join(dim)}.")
    if empty:
        remarks.append(f"Without any lung in the mask, kept: {', '.join(empty)}.")
    return dropped, remarks


def execute(config, console):
    """Write the data file, and the numbers of its data card if asked to; says what it holds and what to run next."""

    def progress(xrays):
        return track(xrays, "X-rays", console=console, disable=not console.is_terminal)

    if config.card is not None:
        card.check(config.card)
    dropped, remarks = prepare(config, progress)
    with DataFile(config.out) as data:
        counts = {split: groups(data.index(split)["case"]) if rows else {} for split, rows in data.sizes.items()}
        if config.card is not None:
            card.update(config.card, data)
        size = " x ".join(map(str, data.shape))
    table = Table("X-rays", *counts, box=boxes.SIMPLE_HEAD)
    for kind in sorted({kind for count in counts.values() for kind in count}):
        table.add_row(" ".join(kind), *(str(count.get(kind, 0)) for count in counts.values()))
    table.add_row("all", *(str(sum(count.values())) for count in counts.values()))
    console.print(table)
    if dropped:
        table = Table("left out", "why", "files", "which", box=boxes.SIMPLE_HEAD)
        for name, why, files in dropped:
            table.add_row(name, why, str(len(files)), escape(", ".join(files)))
        console.print(table)
    loss = "bce+dice" if config.classes == "binary" else "cce+dicefg"
    out = shlex.quote(str(config.out))
    for line in (f"{config.out}: images of {size}, classes {', '.join(CLASSES[config.classes])}", *remarks,
                 f"Next: python scripts/train.py --data {out} --loss {loss}, or compare losses: "
                 f"python scripts/compare_losses.py --data {out}"):  # fmt: skip
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def groups(cases):
    """{(set, diagnosis): number} of the names of cases such as `shenzhen_0003_1`."""
    return Counter((case.split("_")[0], DIAGNOSES[int(case[-1])]) for case in cases)


def list_xrays(root, classes="binary"):
    """The X-rays below a folder that have masks, in the order of their cases; what is left out; remarks.

    Args:
        root: holds MontgomerySet, ShenzhenSet or both, or is one of them.
        classes: with "three" Shenzhen is left out, whose masks do not tell left from right.

    Returns:
        (list of `Xray`, list of (set, why, names of files), list of lines).
    """
    if not root.is_dir():
        raise FileNotFoundError(f"folder {root} does not exist. Expected one with MontgomerySet or ShenzhenSet.")
    places = {}
    for name, (folder, masks) in SETS.items():
        whole = (root / IMAGES).is_dir() and (root / next(iter(masks)).split("/")[0]).is_dir()
        place = root if whole else root / folder
        if place.is_dir():
            places[name] = place
    if not places:
        raise FileNotFoundError(f"{root} holds no chest X-rays. Expected MontgomerySet or ShenzhenSet in it, as NLM's.")
    remarks, dropped = [], []
    if classes == "three":
        if "montgomery" not in places:
            raise ValueError(
                f"--classes=three does not fit {root}. Expected MontgomerySet, since Shenzhen's masks do not tell left "
                "from right; add it or leave --classes out."
            )
        if places.pop("shenzhen", None):
            remarks.append("ShenzhenSet was left out: its masks do not tell left from right.")
    xrays = [xray for name, place in places.items() for xray in _list_set(name, place, dropped)]
    if not xrays:
        raise ValueError(f"no X-ray below {root} has a mask. Expected images and masks of equal names; get them again.")
    return sorted(xrays), dropped, remarks


def _list_set(name, place, dropped):
    """The X-rays of one set; (set, why, names) of what has no partner or is not read is appended to `dropped`."""
    suffixes = SETS[name][1]
    for folder in (IMAGES, *suffixes):
        if not (place / folder).is_dir():
            raise FileNotFoundError(
                f"folder {place / folder} does not exist. Expected the X-rays of {name} and their masks; add it, or "
                "prepare the other set by its own folder."
            )
    xrays, lacking, partners = {}, {}, set()
    images = _seen(place / IMAGES)
    for image in (path for path in images if path.suffix.lower() in ENDINGS):
        parts = re.fullmatch(r"\w+?_(\d+)_([01])", image.stem, re.ASCII)
        if parts is None:
            raise ValueError(
                f"{image} has another name than the set's. Expected such as MCUCXR_0001_0, with 0 for normal or 1 for "
                "tuberculosis at the end; rename or remove it."
            )
        number = int(parts[1])
        if number in xrays:
            raise ValueError(f"{image} is number {number} as {xrays[number].image} is. Expected one; remove the other.")
        masks = tuple(place / folder / f"{image.stem}{suffix}.png" for folder, suffix in suffixes.items())
        xrays[number] = Xray(f"{name}_{number:04d}_{parts[2]}", name, DIAGNOSES[int(parts[2])], image, masks)
        partners.update(masks)
        absent = [mask.parent.name for mask in masks if not mask.is_file()]
        if absent:
            lacking.setdefault(f"no {' and no '.join(absent)}", []).append(number)
    dropped += [(name, why, [xrays[n].image.name for n in numbers]) for why, numbers in lacking.items()]
    others = [path.name for path in images if path.suffix.lower() not in ENDINGS]
    dropped += [(name, f"X-ray not {' or '.join(ENDINGS)}", others)] if others else []
    for folder in suffixes:
        masks, kind = _seen(place / folder), Path(folder).name
        lost = [path.name for path in masks if path.suffix == MASKS and path not in partners]
        others = [path.name for path in masks if path.suffix != MASKS]
        dropped += [(name, f"{kind} without image", lost)] if lost else []
        dropped += [(name, f"{kind} not {MASKS}", others)] if others else []
    without = {number for numbers in lacking.values() for number in numbers}
    return [xray for number, xray in xrays.items() if number not in without]


def _seen(folder):
    """The image files of a folder by name, of whatever kind, without hidden ones."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS + OTHERS and p.name[0] != ".")


def read_mask(xray, size, classes="binary"):
    """Class ids uint8 `[H, W]`: 1 in any mask of an X-ray, or with "three" 1 in the left one, else 2 in the right."""
    ids = np.zeros(size, np.uint8)
    for number, path in reversed(list(enumerate(xray.masks, 1))):
        mask = read_labels(path, size)
        values = np.unique(mask)
        if (values[:-1] != 0).any() or values[0] < 0:
            grey = int(((mask != 0) & (mask != values[-1])).sum())
            raise ValueError(
                f"{path} has {grey} pixels with values between 0 and {values[-1]}. Expected two values, as the set has "
                "0 and 255; cut it at half, or take the mask from before it was resized."
            )
        ids[mask > 0] = number if classes == "three" else 1
    return ids
