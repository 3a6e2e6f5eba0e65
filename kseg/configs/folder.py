"""What turns any folder of images and masks into kseg's file, and what shows such a file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Command, check, check_number
from kseg.configs.data import check_shares


@dataclass(frozen=True)
class PrepareFolder(Command):
    """Turn a folder of images and one of masks into one HDF5 file, as training takes it.

    Images and masks are PNG, JPEG, BMP, GIF, TIFF (a page a slice), NIfTI, DICOM (images only) or .npy. What does not
    fit is left out and listed.
    """

    images: Path
    """folder of the images; its subfolders count too"""
    masks: Path
    """folder of the masks, of the same names but for the ending unless patterns tell others; may be the first one"""
    out: Path
    """HDF5 file to write"""
    image_pattern: str = "{name}"
    """names of images without their ending, such as {name}_0000"""
    mask_pattern: str = "{name}"
    """names of masks without their ending, such as {name}_mask, where {name} is what the image has there"""
    class_values: tuple[int, ...] | None = None
    """values of the masks, the background's first; found in the masks and sorted if not given"""
    class_names: tuple[str, ...] | None = None
    """one a class but the background; foreground, or class 1, class 2, ... by their values, if not given"""
    instances: bool = False
    """masks hold a number for each object, 0 the background: these are kept, and all objects are one class"""
    channels: Literal["auto", "gray", "colour"] = "auto"
    """of the images; auto: colour if any image has some"""
    intensity: Literal["type", "percentile"] | None = None
    """how values are scaled: by the range of the stored type, or each image or volume by its own values; not given,
    type for images of 8 or 16 bits and percentile for others, such as NIfTI"""
    upper_percentile: float = 99.5
    """with percentile: this of each image or volume goes to the top of value-range; what lies above is cut"""
    value_range: tuple[float, float] = (0.0, 1.0)
    """lowest and highest value that a model sees"""
    size: tuple[int, int] | None = None
    """height and width in the file; needed where images differ in size, but with --fit pad"""
    fit: Literal["resize", "aspect", "crop", "pad"] | None = None
    """how images get that size: resize each side; resize in shape and pad; crop, as many as fit into an image (of a
    volume the middle); or pad, without size to the largest; resize if not given"""
    multiple: int = 16
    """height and width are multiples of this, else padded to; a U-Net with 3 poolings needs 8"""
    axis: int | None = None
    """of volumes, along which slices run: 0, 1 or 2; 2 for NIfTI and 0 for TIFF and .npy if not given"""
    group_regex: str | None = None
    """cases for whose names it finds the same first group, such as '^(patient[0-9]+)', stay in one split"""
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """shares of train, validation and test, dealt by case, or by group"""
    seed: int = 0
    """of the split"""
    overwrite: bool = False
    """replace an existing file"""

    program = "prepare_folder"
    positional = ("images", "masks", "out")

    def __post_init__(self):
        for name, pattern in (("--image-pattern", self.image_pattern), ("--mask-pattern", self.mask_pattern)):
            check(pattern.count("{name}") == 1, name, pattern, "{name} in it once, such as {name}_mask")
        if self.class_values is not None:
            words, different = " ".join(map(str, self.class_values)), len(set(self.class_values))
            check(different == len(self.class_values) and 2 <= different <= 255, "--class-values", words,
                  "2 to 255 different whole numbers, the background's first")  # fmt: skip
            check(not self.instances, "--class-values", words, "none beside --instances, which has one class")
        check_number(self, "upper_percentile", above=0, high=100)
        low, high = self.value_range
        check(-1e6 <= low < high <= 1e6, "--value-range", f"{low:g} {high:g}", "two numbers, the lower first")
        check_number(self, "multiple", low=1, high=1024)
        check_number(self, "size", low=1, high=2**15)
        if self.size is not None:
            fits = all(side % self.multiple == 0 for side in self.size)
            words = f"multiples of {self.multiple} as --multiple has it"
            check(fits, "--size", " ".join(map(str, self.size)), words)
        check(self.size is not None or self.fit in (None, "pad"), "--fit", self.fit, "--size beside it")
        check_number(self, "axis", low=0, high=2)
        check_number(self, "seed", low=0)
        check_shares(self.split)
        if self.group_regex is not None:
            try:
                groups = re.compile(self.group_regex).groups
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"--group-regex={self.group_regex} cannot be read ({error}).") from None
            check(groups >= 1, "--group-regex", self.group_regex, "a group in round brackets")


@dataclass(frozen=True)
class Data(Command):
    """Tell what a prepared file or a built-in set holds, and draw some of its images with their masks."""

    data: str
    """HDF5 file of a prepare script, or a built-in set such as toy"""
    sheet: Path | None = None
    """PNG file to draw images of all splits with outlines of their masks to"""
    count: int = 6
    """images of each split on the sheet"""
    verify: bool = False
    """read every array and compare it with its SHA-256"""
    overwrite: bool = False
    """replace an existing sheet"""

    program = "data"
    positional = ("data",)

    def __post_init__(self):
        check_number(self, "count", low=1, high=60)
        right = self.sheet is None or self.sheet.suffix.lower() == ".png"
        check(right, "--sheet", self.sheet, "a file name that ends in .png")
