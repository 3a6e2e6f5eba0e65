"""What turns somebody's files into kseg's."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Command, check, check_number


@dataclass(frozen=True)
class PrepareChestXray(Command):
    """Turn chest X-rays with lung masks, the NLM's sets of Montgomery and Shenzhen, into one HDF5 file of images."""

    source: Path
    """folder with MontgomerySet, ShenzhenSet or both, or one of these; images are PNG or DICOM (.dcm)"""
    out: Path
    """HDF5 file to write"""
    size: int = 256
    """side of the square images in pixels, at least 16"""
    keep_aspect: bool = False
    """pad with zeros to a square; otherwise each side is resized by itself"""
    classes: Literal["binary", "three"] = "binary"
    """lungs against background, or left and right lung apart (Montgomery only)"""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """shares of train, validation and test, dealt by patient, of each set and diagnosis"""
    seed: int = 0
    """of the split"""
    card: Path | None = None
    """data card whose numbers to write anew"""
    overwrite: bool = False
    """replace an existing file"""

    program = "prepare_chest_xray"
    positional = ("source", "out")

    def __post_init__(self):
        check_number(self, "size", low=16)
        check_number(self, "seed", low=0)
        check_shares(self.split)


@dataclass(frozen=True)
class PrepareHippocampus(Command):
    """Turn the hippocampus volumes of the Medical Segmentation Decathlon into one HDF5 file of slices."""

    source: Path
    """folder Task04_Hippocampus with dataset.json, imagesTr and labelsTr"""
    out: Path
    """HDF5 file to write"""
    classes: Literal["binary", "all"] = "binary"
    """hippocampus against background, or anterior and posterior apart"""
    max_value: float = 0.2
    """each volume is scaled to [0, this]"""
    upper_percentile: float = 99.5
    """of each volume, goes to max-value; what lies above is cut. 100: scale by the plain maximum"""
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """shares of train, validation and test, dealt by head"""
    multiple: int = 16
    """slices are zero-padded to a common multiple of this"""
    seed: int = 0
    """of the split"""
    card: Path | None = None
    """data card whose numbers to write anew"""
    overwrite: bool = False
    """replace an existing file"""

    program = "prepare_hippocampus"
    positional = ("source", "out")

    def __post_init__(self):
        check_number(self, "max_value", above=0)
        check_number(self, "upper_percentile", above=0, high=100)
        check_number(self, "multiple", low=1)
        check_number(self, "seed", low=0)
        check_shares(self.split)


@dataclass(frozen=True)
class PrepareHistology(Command):
    """Turn histology, tiles of CoNSeP or arrays as PanNuke has them, into one HDF5 file of crops."""

    source: Path
    """folder with Train and Test as CoNSeP has them, or with images.npy and masks.npy in it or below"""
    out: Path
    """HDF5 file to write"""
    crop: int = 256
    """side of the square crops in pixels, after reduction"""
    downsample: int = 1
    """factor by which images are made smaller, a whole number; above 1 instances are left out"""
    validation: float | None = None
    """of CoNSeP: share of the tiles of Train; 0.2 if not given"""
    split: tuple[float, float, float] | None = None
    """of arrays: shares of train, validation and test; not given, three folds are the splits, else 0.7 0.1 0.2"""
    background: Literal["last", "first", "none"] | None = None
    """of arrays: which channel of the masks is the background; last if not given"""
    class_names: tuple[str, ...] | None = None
    """of arrays: one a channel but the background; PanNuke's if not given and five, else class 1, class 2, ..."""
    seed: int = 0
    """of the split"""
    card: Path | None = None
    """data card whose numbers to write anew"""
    overwrite: bool = False
    """replace an existing file"""

    program = "prepare_histology"
    positional = ("source", "out")

    def __post_init__(self):
        check_number(self, "crop", low=16)
        check_number(self, "downsample", low=1)
        check_number(self, "validation", low=0, below=1)
        check_number(self, "seed", low=0)
        if self.split is not None:
            check_shares(self.split)


@dataclass(frozen=True)
class PrepareKandinsky(Command):
    """Write Kandinsky figures, plain shapes on gray, to one HDF5 file.

    Six classes by default, as D4's histology has.
    """

    out: Path
    """HDF5 file to write"""
    classes: Literal["shape", "colour", "shape_colour"] = "shape"
    """what makes a class: the shape, the colour, or each pair"""
    shapes: tuple[str, ...] = ("circle", "square", "triangle", "cross", "ring")
    """of circle, square, triangle, cross, ring"""
    colours: tuple[str, ...] = ("red", "yellow", "blue")
    """of red, yellow, blue"""
    size: int = 64
    """side of the canvas in pixels, 32 to 1024"""
    objects: tuple[int, int] = (1, 6)
    """fewest and most in an image"""
    foreground: float = 0.18
    """mean share of the canvas that is covered, 0.01 to 0.25"""
    fractions: tuple[float, ...] | None = None
    """share of each class but the background in the foreground; equal if not given"""
    label_noise: float = 0.0
    """share of objects labelled as another class, 0 to 1"""
    noise: float = 0.0
    """standard deviation of Gaussian pixel noise, 0 to 0.5"""
    counts: tuple[int, int, int] = (600, 100, 100)
    """images in train, validation and test"""
    seed: int = 0
    """of everything drawn"""
    overwrite: bool = False
    """replace an existing file"""

    program = "prepare_kandinsky"
    positional = ("out",)


def check_shares(split):
    fits = all(math.isfinite(s) and s >= 0 for s in split) and abs(sum(split) - 1) < 1e-6
    check(fits, "--split", " ".join(f"{s:g}" for s in split), "three shares at least 0 that sum to 1")
