"""A first look at all pairs of images and masks: sizes, colours, types and values, and which pairs cannot be used."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from kseg.data.mask_values import JPEG, class_ids, mask_case
from kseg.data.pairs import Pair
from kseg.data.read import KINDS, ending, read_case
from kseg.data.recipe import highest, source_entry

TURNED = "turned to {} by their headers"


class Seen(NamedTuple):
    """What is known of a pair that can be used: (H, W), slices, whether its pixels are bytes, and whether so many have
    the lowest value that the upper percentile is no higher."""

    pair: Pair
    size: tuple
    slices: int
    bytes: bool
    flat: bool


@dataclass
class Survey:
    """What a first look at all pairs found.

    Attributes:
        seen: list of `Seen`, in the order of their cases.
        sources: {path: its entry among the sources}.
        left_out: {why: names of image files}.
        remarks: {what: names of image files} of what was lost or left in reading.
        values: set of the values in the masks.
        colour: whether any image has colours.
        typed: whether the type of every image tells the range of its values.
        orientation: that NIfTI files are read in.
    """

    seen: list = field(default_factory=list)
    sources: dict = field(default_factory=dict)
    left_out: dict = field(default_factory=dict)
    remarks: dict = field(default_factory=dict)
    values: set = field(default_factory=set)
    colour: bool = False
    typed: bool = True
    orientation: str | None = None

    def drop(self, pair, why):
        self.left_out.setdefault(why, []).append(pair.name)

    def remark(self, pair, what):
        self.remarks.setdefault(what, []).append(pair.name)


def look(pairs, config, root, progress=iter):
    """Read every pair once.

    Args:
        pairs: list of `Pair`.
        config: `kseg.configs.PrepareFolder`.
        root: the folder that sources are named from.
        progress: wraps the list of pairs, to show how far it is.

    Returns:
        Survey.

    Raises:
        ValueError: masks that are JPEG without their values being listed.
    """
    lossy = [pair.mask for pair in pairs if ending(pair.mask) in JPEG]
    if lossy and config.class_values is None:
        raise ValueError(
            f"{lossy[0]} is a JPEG file, which does not keep the values of a mask. Expected PNG, TIFF, NIfTI or .npy; "
            "get such ones, or list the values that were meant, --class-values: the nearest of them is taken."
        )
    survey = Survey(orientation=_common_orientation(pairs))
    known = {}
    for pair in progress(pairs):
        try:
            entries = {path: source_entry(path, root) for path in (pair.image, pair.mask)}
            first = known.get(entries[pair.image]["sha256"])
            why = f"the same file as {first.name}" if first else _look_at(pair, config, survey)
        except (ValueError, OSError) as error:
            words = str(error).replace(str(pair.image), "it").replace(str(pair.mask), "its mask")
            why = f"cannot be used: {words.rstrip('.')}"
        if why is None:
            survey.sources |= entries
            known[entries[pair.image]["sha256"]] = pair
        else:
            survey.drop(pair, why)
    return survey


def _look_at(pair, config, survey):
    """Add what is found to the survey, or return why the pair cannot be used."""
    pixels, _, _, origin, remarks = read_case(pair.image, config.axis, survey.orientation)
    mask, lies = mask_case(pair.mask, config.axis, survey.orientation)
    if origin.turned != lies.turned and any(each.turned != each.orientation for each in (origin, lies)):
        return "turned by the header of image or mask, but the other's does not tell where it lies"
    if mask.shape != pixels.shape[:3]:
        return f"mask of another size ({_sized(mask.shape)}, the image {_sized(pixels.shape[:3])})"
    values = np.unique(mask)
    lossy = ending(pair.mask) in JPEG
    if config.class_values is not None and class_ids(values, config.class_values, lossy) is None:
        others = [value for value in values.tolist() if value not in config.class_values]
        return f"mask holds values that --class-values does not list ({', '.join(map(str, others[:5]))})"
    if pixels.min() == pixels.max():
        return "one value everywhere"
    survey.values.update(values.tolist())
    survey.colour = survey.colour or bool(pixels.shape[-1] == 3 and (pixels[..., :1] != pixels).any())
    whole = pixels.dtype in (np.uint8, np.uint16)
    shown = whole or (pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1)
    survey.typed = survey.typed and shown and origin.kind != "nifti"
    if whole and pixels.max() < np.iinfo(pixels.dtype).max / 8:
        survey.remark(pair, "darker than an eighth of their range, such as 12 bits in 16 (see --intensity percentile)")
    for what in remarks:
        survey.remark(pair, what)
    if origin.turned != origin.orientation:
        survey.remark(pair, TURNED.format(origin.turned))
    flat = bool(highest(pixels, config.upper_percentile) <= pixels.min())
    survey.seen.append(Seen(pair, pixels.shape[1:3], len(pixels), pixels.dtype == np.uint8, flat))
    return None


def _common_orientation(pairs):
    """Where the axes of most NIfTI images point to; None if none of them tells."""
    from kseg.data import nifti

    codes = Counter()
    for pair in pairs:
        if KINDS[ending(pair.image)] == "nifti":
            try:
                codes[nifti.orientation_of(nifti.open_volume(pair.image))] += 1
            except (ValueError, FileNotFoundError):
                continue  # said later
    codes.pop(None, None)
    return max(sorted(codes), key=codes.get) if codes else None


def _sized(shape):
    return " x ".join(map(str, shape[1:] if shape[0] == 1 else shape))
