"""The study of losses under attacks on single pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Study, check, check_number, flag


@dataclass(frozen=True)
class PixelRobustness(Study):
    """D0's study: what a loss does to the gradients of a model, and what is left when pixels of high gradient change.

    Trains models with BCE, Dice, BCE+Dice and BCE+Dice+Focal from the same start, or takes trained ones; replaces the
    pixels of highest gradient, or random ones; draws curves and figures, and decides the document's claims.
    """

    data: str = "volumes"
    """prepared HDF5 file, or a built-in set: toy, volumes, lungs, tissue, kandinsky; 'kandinsky(size=32)'"""
    preset: Literal["quick", "laptop", "document"] = "laptop"
    """how much: quick tries everything small, document has every slice and 100 draws, laptop lies between"""
    models: tuple[Path, ...] | None = None
    """run folders of trained models to take instead of training; the loss of each is read from its record"""
    seeds: int | None = None
    """models of each loss, seeds 0, 1, ..; 3 if not given (quick: 1)"""
    extras: bool = True
    """for seed 0 also BCE+Dice trained with hidden squares, and on pixels of high gradient alone; and further ways to
    choose pixels"""
    epochs: int | None = None
    """passes over the training split (quick 2, laptop 4, document 20)"""
    filters: int | None = None
    """channels of the first level of the U-Net (quick 4, laptop 8, document 16)"""
    depth: int | None = None
    """number of poolings of the U-Net (3)"""
    bn: bool = True
    """batch normalisation before each ReLU"""
    batch_size: int | None = None
    """images a batch of training (16)"""
    jit: bool = True
    """compile the training step with XLA"""
    slices: int | None = None
    """test images with foreground to attack, spread over the cases; 0 for all (quick 24, laptop 42, document 0)"""
    draws: int | None = None
    """random replacements averaged (quick 3, laptop 3, document 100)"""
    resume: Path | None = None
    """run folder of this study to go on with, with the options it was begun with"""
    output: Path | None = None
    """run folder; by default the next free runs/pixel_robustness-N"""
    overwrite: bool = False
    """replace an existing run folder"""

    program = "pixel_robustness"
    COMMON = {"seeds": 3, "epochs": 4, "filters": 8, "depth": 3, "batch_size": 16, "slices": 42, "draws": 3}
    PRESETS = {
        "quick": COMMON | {"seeds": 1, "epochs": 2, "filters": 4, "slices": 24},
        "laptop": COMMON,
        "document": COMMON | {"epochs": 20, "filters": 16, "slices": 0, "draws": 100},
    }
    TRAINING = ("seeds", "epochs", "filters", "depth", "batch_size")

    @property
    def otherwise(self):
        """{option: its value if not given}; with `resume` the run to go on with tells them."""
        unused = () if self.models is None else self.TRAINING
        return {name: value for name, value in super().otherwise.items() if name not in unused}

    def __post_init__(self):
        for name in self.TRAINING if self.models is not None else ():
            check(getattr(self, name) is None, flag(name), getattr(self, name), "no option of training beside --models")
        for name in ("bn", "jit") if self.models is not None else ():
            check(getattr(self, name), flag(name), getattr(self, name), "no option of training beside --models")
        check(self.models is None or len(self.models) > 0, "--models", self.models, "at least one run folder")
        self.complete()
        check_number(self, "seeds", low=1, high=100)
        check_number(self, "epochs", "filters", "depth", "batch_size", "draws", low=1)
        check_number(self, "draws", high=1000)
        check_number(self, "slices", low=0)
