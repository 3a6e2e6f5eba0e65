"""Masks of images that a model has not seen."""

from dataclasses import dataclass
from pathlib import Path

from kseg.configs.command import Command, check, check_number


@dataclass(frozen=True)
class Predict(Command):
    """Write the masks of images or volumes, each in the format that it came in.

    Images go through what preparation did to those of training, which the run has kept, and results go back to the
    original size; larger images than training's go through overlapping windows. Masks hold the values that those of
    training had, or class ids, 0 the background, where the data do not tell these (objects by number). Keeps
    everything in one run folder: the masks, predictions.csv with a row per file, record.json; with --overlays also
    overlays/, with --probabilities probabilities/. A file that cannot be read is told and the rest goes on.
    """

    model: Path
    """a run folder of train, or its model.keras"""
    files: tuple[str, ...]
    """NIfTI, DICOM (.dcm), PNG, JPEG, BMP, TIFF or .npy; folders, of which all such files are taken; or '*.png' in
    quotes"""
    threshold: float = 0.5
    """probability above which a pixel is foreground (models with one sigmoid channel)"""
    probabilities: bool = False
    """also write the probability of each class"""
    overlays: bool = False
    """also draw the outlines of the classes over each image, as PNG; of volumes over a choice of slices"""
    overlap: float = 0.5
    """share of a window that lies in the next one too, in [0, 1); for images larger than those of training"""
    batch_size: int = 16
    """images or windows a batch, at least 1, of one file or several"""
    like: str | None = None
    """prepared HDF5 file or built-in set whose preparation to follow; needed where the run does not tell its own"""
    output: Path | None = None
    """run folder; by default the next free runs/predict-N"""
    overwrite: bool = False
    """replace an existing run folder of predict"""

    program = "predict"
    positional = ("model", "files")

    def __post_init__(self):
        check(self.files, "FILES", "none", "at least one file or folder")
        check_number(self, "threshold", above=0, below=1)
        check_number(self, "overlap", low=0, below=1)
        check_number(self, "batch_size", low=1)
