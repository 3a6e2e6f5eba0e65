"""Hippocampus MRI of the Medical Segmentation Decathlon (task 4) as slices in one HDF5 file (S0.1 to S0.3)."""

import json
import os
import re
from pathlib import Path

import nibabel
import numpy as np
from rich.progress import track

from kseg.data import card
from kseg.data.hdf5 import DataFile
from kseg.data.nifti import open_volume, orientation_of, read_volume
from kseg.data.preprocess import Preprocessing
from kseg.data.recipe import check_space, source_entry
from kseg.data.splits import check_dealt, split_groups
from kseg.data.writer import Writer

CLASSES = {"binary": ["background", "hippocampus"], "all": ["background", "anterior", "posterior"]}
LABELS = 3


def prepare(config, progress=iter):
    """Read the MSD layout, write the data file.

    Slices run along axis 2, zero-padded and centred to the smallest common multiple of `multiple`. Each volume
    is scaled by itself to [0, max_value]; what exceeds its `upper_percentile` is set to `max_value`. Volumes 2k-1
    and 2k are the same head, so the split deals heads.

    Args:
        config: `kseg.configs.PrepareHippocampus`.
        progress: wraps the list of cases, to show how far it is.

    Returns:
        The path of the data file.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: one line with value, expectation and fix.
    """
    root = Path(config.source)
    pairs = list_pairs(root)
    heads = {}
    for case in pairs:
        heads[head_of(case)] = heads.get(head_of(case), 0) + 1
    split = split_groups(heads, config.split, config.seed)
    check_dealt(split, config.split, "heads")
    if config.out.exists() and not config.overwrite:  # say so before reading hundreds of files
        raise FileExistsError(f"{config.out} exists. Expected a new file; choose another name or --overwrite.")
    preprocessing = _preprocessing(config, pairs)
    _check_space(config.out, pairs, preprocessing.window)
    sources = [source_entry(path, root) for pair in pairs.values() for path in pair]
    attributes = {
        "name": "hippocampus" if config.classes == "binary" else "hippocampus-all",
        "classes": CLASSES[config.classes],
        "value_range": (0.0, config.max_value),
        "command": config.command(),
        "sources": [source_entry(root / "dataset.json", root), *sources],
        "split_rule": "by head (volumes 2k-1 and 2k), shares " + "/".join(f"{s:g}" for s in config.split),
        "seed": config.seed,
        "preprocessing": preprocessing,
    }
    with Writer(config.out, overwrite=config.overwrite, **attributes) as writer:
        for case in progress(sorted(pairs)):
            image, label, spacing = read_pair(*pairs[case])
            slices, ids = (np.moveaxis(array, preprocessing.axis, 0) for array in (image, label))
            try:
                images = preprocessing.images(slices[..., None])
            except ValueError as error:
                raise ValueError(f"{pairs[case][0]} {error}; remove it from dataset.json.") from None
            if config.classes == "binary":
                ids = (ids > 0).astype(np.uint8)
            box = preprocessing.box(ids.shape[1:])
            masks = preprocessing.labels(ids)
            writer.add(split[head_of(case)], case, images, masks, box=box, spacing=spacing[:2])
    return config.out


def execute(config, console):
    """Write the data file, and the numbers of its data card if asked to; says where and what to run next."""

    def progress(cases):
        return track(cases, "volumes", console=console, disable=not console.is_terminal)

    if config.card is not None:
        card.check(config.card)
    prepare(config, progress)
    with DataFile(config.out) as data:
        rows = ", ".join(f"{rows} {split}" for split, rows in data.sizes.items())
        if config.card is not None:
            card.update(config.card, data)
    shape = " x ".join(map(str, data.shape))
    console.print(f"{config.out}: {rows} images of {shape}", highlight=False, soft_wrap=True)
    loss = "bce+dice" if config.classes == "binary" else "cce+dicefg"
    command = f"python scripts/train.py --data {config.out} --loss {loss} --bn"
    console.print(f"Next: {command}", highlight=False, soft_wrap=True)


def list_pairs(root):
    """{case: (image path, label path)} of an MSD folder, sorted by case; every listed file exists."""
    if not root.is_dir():
        raise FileNotFoundError(f"folder {root} does not exist. Expected the MSD folder that holds dataset.json.")
    listing = root / "dataset.json"
    if not listing.is_file():
        raise FileNotFoundError(f"{listing} does not exist. Expected the MSD layout: dataset.json, imagesTr, labelsTr.")
    try:
        entries = json.loads(listing.read_text(encoding="utf-8"))["training"]
        named = [(entry["image"], entry.get("label")) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{listing} has no list 'training' of image and label. Expected MSD's dataset.json; get it again."
        ) from None
    if not named:
        raise ValueError(f"{listing} lists no training volumes. Expected at least one.")
    pairs = {}
    for image, label in named:
        image, label = (_inside(root, listing, name) for name in (image, label))
        if not image.is_file():
            raise FileNotFoundError(
                f"{image} does not exist, but dataset.json lists it. Expected the image; get it again."
            )
        if label is None or not label.is_file():
            raise FileNotFoundError(
                f"{image} has no mask{f' ({label} does not exist)' if label else ''}. Expected one in labelsTr; add it "
                "or remove the image from dataset.json."
            )
        case = image.name.split(".")[0]
        if case in pairs:
            raise ValueError(f"{listing} lists {case} twice. Expected each volume once; remove one entry.")
        pairs[case] = (image, label)
    return dict(sorted(pairs.items()))


def _inside(root, listing, name):
    if name is None:
        return None
    path = Path(os.path.normpath(root / str(name)))  # links stay as they are: imagesTr may lie elsewhere
    if not path.is_relative_to(os.path.normpath(root)):
        raise ValueError(f"{listing} names {name!r} outside its folder. Expected files below {root}.")
    return path


def head_of(case):
    """The head a volume belongs to: volumes 2k-1 and 2k are the two sides of head k."""
    number = re.search(r"(\d+)$", case)
    return case if number is None else f"{case[: number.start()]}head{(int(number.group()) + 1) // 2:03d}"


def read_pair(image_path, label_path):
    """One case: image `[X, Y, Z]`, labels uint8 of the same shape with values 0, 1, 2, and the spacing in mm."""
    image, spacing = read_volume(image_path)
    label, _ = read_volume(label_path)
    if image.shape != label.shape:
        raise ValueError(
            f"{image_path} has shape {image.shape} and its mask {label.shape}. Expected equal shapes; get both again."
        )
    values = np.unique(label)
    if not np.isin(values, np.arange(LABELS)).all():
        bad = next(v for v in values if v not in range(LABELS))
        raise ValueError(f"{label_path} holds label {bad:g}. Expected 0, 1 or 2; correct the mask.")
    return image, label.astype(np.uint8), spacing


def _preprocessing(config, pairs):
    """What is done to each volume; its orientation is told where all volumes have the same."""
    opened = [open_volume(image) for image, _ in pairs.values()]
    codes = {orientation_of(volume) for volume in opened}
    sides = (max(side) for side in zip(*(volume.shape[:2] for volume in opened), strict=True))
    return Preprocessing(
        channels=1,
        value_range=(0.0, config.max_value),
        intensity="percentile",
        upper_percentile=config.upper_percentile,
        window=tuple(-(-side // config.multiple) * config.multiple for side in sides),
        axis=2,
        orientation=codes.pop() if len(codes) == 1 else None,
    )


def _check_space(out, pairs, padded):
    """Raise ValueError when the disk cannot hold the file: HDF5 does not survive a full disk."""
    slices = sum(nibabel.load(image).shape[2] for image, _ in pairs.values())
    needed = slices * (padded[0] * padded[1] * 5 + 100) + 2**20
    check_space(out, needed)
