"""The comparison of losses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Study, check, check_number


@dataclass(frozen=True)
class CompareLosses(Study):
    """D3's study, for any data: train with several losses from the same starts, and tell which one is better.

    First looks for a learning rate of each loss (successive halving, by validation Dice); then trains each loss with
    the given and with the found rate, several seeds; scores the test split per case, ranks, tests, draws, and decides
    what the document claims. Results: summary.md, results.csv, cases.csv, figures, and a run folder of each model.
    """

    data: str = "lungs"
    """prepared HDF5 file, or a built-in set: toy, volumes, lungs, tissue, kandinsky; 'kandinsky(size=32)'"""
    losses: tuple[str, ...] = ("dice_bce", "jaccard", "focal", "tversky", "focal_tversky", "generalized_dice")
    """losses or sums of losses, such as 'bce + 0.5*dice'; or 'all', of which those that are the same function on the
    data are trained once. The five of D3 and one more of which it speaks"""
    preset: Literal["quick", "laptop", "document"] = "laptop"
    """how much: quick tries everything small, document has D3's U-Net and its 50 epochs, laptop lies between"""
    seeds: int | None = None
    """models of each loss and rate, seeds 0, 1, ..; 3 if not given (quick: 1)"""
    budget: float | None = None
    """minutes of looking for learning rates, 0 for none (quick 0.5, laptop 10, document 180)"""
    finalists: int | None = None
    """losses that are left to be compared after that; 6 if not given, all with --budget 0"""
    rates: tuple[float, ...] | None = None
    """learning rates to try with each loss; a quarter, once, 4 times and 16 times --learning-rate if not given"""
    learning_rate: float | None = None
    """of Adam, the rate that is given to every loss (quick and laptop 1e-3, document 2e-4)"""
    epochs: int | None = None
    """passes over the training split (quick 3, laptop 15, document 50)"""
    filters: int | None = None
    """channels of the first level of the U-Net (quick 4, laptop 8, document 32)"""
    depth: int | None = None
    """number of poolings of the U-Net (quick 3, else 4)"""
    decoder: Literal["conv", "transpose"] = "transpose"
    """transpose: D3's, one strided and one plain transposed convolution a level; conv: two plain convolutions"""
    bn: bool = True
    """batch normalisation before each ReLU"""
    batch_size: int | None = None
    """images a batch (document 16, else 8)"""
    jit: bool = True
    """compile the train step with XLA"""
    slice_spacing: float | None = None
    """distance between slices, to measure surfaces in volumes; the data do not hold it"""
    resume: Path | None = None
    """run folder of this study to go on with, with the options it was begun with"""
    output: Path | None = None
    """run folder; by default the next free runs/compare_losses-N"""
    overwrite: bool = False
    """replace an existing run folder"""

    program = "compare_losses"
    COMMON = {
        "seeds": 3, "budget": 10.0, "finalists": 6, "learning_rate": 1e-3, "epochs": 15, "filters": 8, "depth": 4,
        "batch_size": 8,
    }  # fmt: skip
    PRESETS = {
        "quick": COMMON | {"seeds": 1, "budget": 0.5, "epochs": 3, "filters": 4, "depth": 3},
        "laptop": COMMON,
        "document": COMMON | {"budget": 180.0, "learning_rate": 2e-4, "epochs": 50, "filters": 32, "batch_size": 16},
    }

    def __post_init__(self):
        self.complete()
        object.__setattr__(self, "losses", tuple(loss.strip() for loss in self.losses))
        check(len(self.losses) > 0, "--losses", "()", "at least one loss, or 'all'")
        check(len(set(self.losses)) == len(self.losses), "--losses", " ".join(self.losses), "each of them once")
        check(self.losses == ("all",) or "all" not in self.losses, "--losses", " ".join(self.losses), "'all' alone")
        words = [f"{rate:g}" for rate in self.rates or ()]  # as folders are named by them
        check(self.rates is None or len(set(words)) == len(words) > 1, "--rates", " ".join(words),
              "at least two rates, each of them once")  # fmt: skip
        check_number(self, "seeds", low=1, high=100)
        check_number(self, "budget", low=0)
        check_number(self, "finalists", "epochs", "filters", "depth", "batch_size", low=1)
        check_number(self, "learning_rate", "rates", "slice_spacing", above=0)
