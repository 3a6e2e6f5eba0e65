"""What turns somebody's files into kseg's."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Command, check, check_number


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
        fits = all(math.isfinite(s) and s >= 0 for s in self.split) and abs(sum(self.split) - 1) < 1e-6
        check(fits, "--split", " ".join(f"{s:g}" for s in self.split), "three shares at least 0 that sum to 1")
