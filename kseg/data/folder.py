"""Any folder of images and masks as one HDF5 file."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
from rich.progress import track

from kseg.data import summary
from kseg.data.geometry import Grid
from kseg.data.hdf5 import DataFile
from kseg.data.mask_values import JPEG, class_ids, classes_of, read_mask
from kseg.data.pairs import find_pairs
from kseg.data.preprocess import Preprocessing
from kseg.data.read import ending, read_case
from kseg.data.recipe import centred_box, check_space
from kseg.data.splits import check_dealt, split_groups
from kseg.data.survey import look
from kseg.data.writer import Writer

UNUSABLE = "cannot be used: "  # of the survey


def prepare(config, progress=lambda items, what: items):
    """Read the folders, write the data file.

    All pairs are read twice: first to see what they are, then to write those that can be used.

    Args:
        config: `kseg.configs.PrepareFolder`.
        progress: wraps a list of files and what is done with them, to show how far it is.

    Returns:
        ({why: names} of what was left out, remarks as a list of lines).

    Raises:
        FileNotFoundError, FileExistsError, ValueError: one line with value, expectation and fix.
    """
    pairs, left_out = find_pairs(config.images, config.masks, config.image_pattern, config.mask_pattern)
    if config.out.exists() and not config.overwrite:  # say so before reading hundreds of files
        raise FileExistsError(f"{config.out} exists. Expected a new file; choose another name or --overwrite.")
    root = Path(os.path.commonpath([config.images.resolve(), config.masks.resolve()]))
    survey = look(pairs, config, root, lambda items: progress(items, "looking"))
    left_out |= survey.left_out
    if not survey.seen:
        raise ValueError(f"no pair of image and mask can be used: {_reasons(left_out)}.")
    values, classes = classes_of(survey.values, config)
    seen, preprocessing = _plan(survey, config, left_out, values)
    splits = _deal([each.pair.case for each in seen], config)
    bytes_each = int(np.prod(preprocessing.window or preprocessing.size)) * (4 * preprocessing.channels + 3) + 100
    check_space(config.out, sum(_rows(each, preprocessing, config) for each in seen) * bytes_each + 2**20)
    attributes = {
        "name": config.out.stem, "classes": classes, "value_range": config.value_range, "command": config.command(),
        "sources": [survey.sources[path] for each in seen for path in (each.pair.image, each.pair.mask)],
        "split_rule": _rule(config), "seed": config.seed, "scale": preprocessing.scale, "preprocessing": preprocessing,
    }  # fmt: skip
    empty = []
    with Writer(config.out, overwrite=config.overwrite, **attributes) as writer:
        for each in progress(seen, "writing"):
            rows = _read(each, values, preprocessing, config)
            empty += [] if rows["masks"].any() else [each.pair.name]
            writer.add(splits[each.pair.case], each.pair.case, **rows)
    return left_out, _remarks(survey, seen, empty, values, classes, preprocessing, config)


def execute(config, console):
    """Write the data file; tells what it holds, what was left out and why, and what to run next."""

    def progress(items, what):
        return track(items, what, console=console, disable=not console.is_terminal)

    left_out, remarks = prepare(config, progress)
    with DataFile(config.out) as data:
        console.print(summary.split_table(data))
        if left_out:
            console.print(summary.left_out_table(left_out))
        lines = [f"{config.out}: {summary.shape_line(data)}", *remarks]
        if all(data.sizes.values()):
            lines += [f"Next: {summary.train_command(data)}", f"Or look at it: {summary.sheet_command(data)}"]
        else:
            lines += [f"Next: look at it: {summary.sheet_command(data)}", "To train on it, give each split a share."]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _reasons(left_out):
    """Why files are left out, what most of them share first, and what that expects."""
    common = sorted(left_out.items(), key=lambda item: -len(item[1]))
    parts = [why.removeprefix(UNUSABLE).partition(". Expected ") for why, _ in common]
    counts = [f"{len(names)} file{'s' * (len(names) > 1)}" for _, names in common]
    told = "; ".join(f"{what} ({count})" for (what, *_), count in zip(parts, counts, strict=True))
    return f"{told}. Expected {parts[0][2] or 'at least one that fits'}"


def _plan(survey, config, left_out, values):
    """The pairs that fit the size, and what is done to them all; others are added to what is left out."""
    seen, fit = survey.seen, config.fit or "resize"
    intensity = config.intensity or ("type" if survey.typed else "percentile")
    colour = survey.colour if config.channels == "auto" else config.channels == "colour"
    rounded = intensity == "type" and config.value_range[0] == 0 and all(each.bytes for each in seen)
    made = {
        "channels": 3 if colour else 1, "value_range": config.value_range, "intensity": intensity,
        "upper_percentile": config.upper_percentile if intensity == "percentile" else 100.0, "rounded": rounded,
        "axis": config.axis, "orientation": survey.orientation,
        "mask_values": tuple(map(int, values)) if values and 0 <= min(values) <= max(values) < 2**16 else None,
    }  # fmt: skip
    if intensity == "percentile":
        seen = _without(seen, lambda each: each.flat, f"one value in {config.upper_percentile:g} % of it", left_out)
    if config.size is not None and fit in ("resize", "aspect"):
        return seen, Preprocessing(size=config.size, fit="aspect" if fit == "aspect" else "stretch", **made)
    if config.size is None:
        return seen, Preprocessing(window=_window([each.size for each in seen], config), **made)
    wrong, words = (int.__lt__, "smaller") if fit == "crop" else (int.__gt__, "larger")
    words += f" than --size {config.size[0]} {config.size[1]}, which --fit {fit} refuses"
    seen = _without(seen, lambda each: any(map(wrong, each.size, config.size)), words, left_out)
    return seen, Preprocessing(window=config.size, **made)


def _without(seen, unfit, why, left_out):
    """Those that are not unfit; the others are added to what is left out."""
    names = [each.pair.name for each in seen if unfit(each)]
    if len(names) == len(seen):
        raise ValueError(f"no image can be used: each is {why}. Expected other images or other options.")
    if names:
        left_out[why] = names
    return [each for each in seen if not unfit(each)]


def _window(sizes, config):
    """The size that all images are padded to."""
    if len(set(sizes)) > 1 and config.fit != "pad":
        common = Counter(sizes).most_common(1)[0]
        raise ValueError(
            f"images have {len(set(sizes))} sizes, from {_sized(min(sizes))} to {_sized(max(sizes))}; "
            f"{common[1]} of {len(sizes)} have {_sized(common[0])}. Expected equal ones, or --size HEIGHT WIDTH with "
            "--fit resize, aspect, crop or pad, or --fit pad alone, which pads all to the largest."
        )
    return tuple(-(-max(side) // config.multiple) * config.multiple for side in zip(*sizes, strict=True))


def _deal(cases, config):
    """{case: split}."""
    groups = {}
    for case in cases:
        found = re.search(config.group_regex, case) if config.group_regex else None
        if config.group_regex and (found is None or found[1] is None):
            raise ValueError(
                f"--group-regex={config.group_regex} finds no group in the case {case!r}. Expected one in every case."
            )
        groups[case] = found[1] if found else case
    split = split_groups(dict(Counter(groups.values())), config.split, config.seed)
    check_dealt(split, config.split, "groups" if config.group_regex else "cases")
    return {case: split[group] for case, group in groups.items()}


def _rule(config):
    by = f"by group, that of {config.group_regex} in the case's name" if config.group_regex else "by case"
    return f"{by}; shares " + "/".join(f"{share:g}" for share in config.split)


def _rows(each, preprocessing, config):
    """How many images a pair gives."""
    crops = config.fit == "crop" and each.slices == 1
    return Grid(each.size, preprocessing.window).rows if crops else each.slices


def _read(each, values, preprocessing, config):
    """The arrays of a pair as `Writer.add` takes them."""
    pixels, spacing, *_ = read_case(each.pair.image, config.axis, preprocessing.orientation)
    numbers = read_mask(each.pair.mask, config.axis, preprocessing.orientation)
    try:
        images = preprocessing.stored(pixels)
    except ValueError as error:
        raise ValueError(f"{each.pair.image} {error}") from None
    if values is None:
        ids = (numbers > 0).astype(np.uint8)
    else:
        ids = class_ids(numbers, values, ending(each.pair.mask) in JPEG)
    rows = {"images": images, "masks": preprocessing.labels(ids)}
    if values is None:
        rows["instances"] = preprocessing.labels(numbers)
    box = preprocessing.box(each.size)
    if config.fit == "crop":
        rows, box = {name: _cropped(array, preprocessing.window) for name, array in rows.items()}, None
    return {**rows, "box": box, "spacing": preprocessing.spacing(spacing, each.size)}


def _cropped(array, size):
    """Of an image `[1, H, W, ...]` as many crops as fit, `[n, h, w, ...]`; of slices `[n, H, W, ...]` the middle."""
    if len(array) == 1:
        return Grid(array.shape[1:3], size).crops(array[0])
    y0, y1, x0, x1 = centred_box(size, array.shape[1:3])
    return array[:, y0:y1, x0:x1]


def _remarks(survey, seen, empty, values, classes, preprocessing, config):
    used = {each.pair.name for each in seen}
    told = {what: used & set(names) for what, names in survey.remarks.items()}
    lines = [f"{_some(names)}: {what}." for what, names in told.items() if names]
    if empty:
        lines.append(f"{_some(set(empty))}: nothing but background, kept.")
    if values is not None:
        named = (f"{value} {name}" for value, name in zip(values, classes, strict=True))
        lines.append(f"Values of the masks: {', '.join(named)}.")
    size = preprocessing.window
    if config.fit == "crop":
        whole = sum(each.slices * each.size[0] * each.size[1] for each in seen)
        inside = sum(_rows(each, preprocessing, config) for each in seen) * size[0] * size[1]
        lines.append(f"{100 * (1 - inside / whole):.1f} % of the pixels lie outside the crops and were dropped.")
    elif size is not None and any(each.size != size for each in seen):
        lines.append(f"Images were padded to {_sized(size)}.")
    if config.intensity is None:
        how = "the range of their type" if preprocessing.intensity == "type" else (
            f"each one's own minimum and {config.upper_percentile:g} % percentile")  # fmt: skip
        lines.append(f"Values were scaled by {how}.")
    if config.group_regex is None:
        lines.append("Files were dealt one by one; keep those of one patient, slide or film together: --group-regex.")
    return lines


def _some(names, most=5):
    """Some of the names of files, and how many there are more."""
    names = sorted(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _sized(size):
    return f"{size[0]} x {size[1]}"
