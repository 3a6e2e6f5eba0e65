"""The main job: train, evaluate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Command, check, check_number

Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "nadam"]


@dataclass(frozen=True)
class Train(Command):
    """Train a U-Net and score it on the test split.

    Shows what it will do, a progress bar with the time left, and a table of scores per case; keeps everything in
    one run folder: record.json, history.csv, model.keras (best by validation Dice, loads without kseg), state/,
    curves.png, examples.png, cases.csv, summary.json.
    """

    data: str = "toy"
    """prepared HDF5 file, or a built-in set: toy, volumes, lungs, tissue, kandinsky; 'kandinsky(size=32)'"""
    loss: str = "dicefg"
    """a loss or a sum of losses: 'dicefg', 'bce + 0.5*dice', 'tversky(fp_weight=0.3, fn_weight=0.7)'"""
    head: Literal["auto", "sigmoid", "softmax"] = "auto"
    """last activation; auto: sigmoid if the loss contains bce, else softmax"""
    bn: bool = True
    """batch normalisation before each ReLU"""
    optimizer: Optimizer = "adam"
    """optimiser, with Keras' defaults beside the learning rate"""
    learning_rate: float = 1e-3
    """learning rate, above 0"""
    schedule: Literal["constant", "plateau"] = "constant"
    """plateau: halve the learning rate where the loss of validation has not improved for two epochs"""
    epochs: int = 10
    """passes over the training split, at least 1"""
    epoch_steps: int | None = None
    """batches an epoch, at least 1, the training split over and over; one pass over it if not given"""
    batch_size: int = 32
    """images a batch, at least 1"""
    filters: int = 16
    """channels of the first level, doubled at each pooling"""
    depth: int = 3
    """number of poolings, at least 1"""
    decoder: Literal["conv", "transpose"] = "conv"
    """two plain convolutions a level, or one transposed convolution"""
    dropout: float = 0.0
    """dropout rate inside the encoder blocks, in [0, 1)"""
    cutout: int = 0
    """side of a square that is hidden in each training image, in pixels; 0 hides none"""
    perturb: tuple[str, ...] | None = None
    """attacks on the model in training that change each batch first, in nearly equal parts: 'pgd' (Madry), 'none
    layered selective' (document D4); or 'free' adversarial training. None if not given. With --jit the last images of
    a pass that fill no batch are left out"""
    budget: float = 0.01
    """of --perturb, as a share of the range of values; layered and selective have it for each class"""
    attack_steps: int = 3
    """of --perturb, for attacks that take any, at least 1"""
    replays: int = 4
    """updates by each batch in a row with --perturb free, at least 1; divide the epochs by it"""
    seed: int = 0
    """of weights, order and everything else drawn"""
    deterministic: bool = False
    """refuse operations that differ from run to run (slower)"""
    jit: bool = False
    """compile the train step with XLA"""
    verify: bool = True
    """compare the data with their checksums first"""
    tensorboard: bool = False
    """also write TensorBoard logs to the run folder (pip install 'kseg[tensorboard]')"""
    output: Path | None = None
    """run folder; by default the next free runs/NAME-N"""
    overwrite: bool = False
    """replace an existing run folder"""

    program = "train"

    def __post_init__(self):
        check_number(self, "learning_rate", above=0)
        check_number(self, "epochs", "epoch_steps", "batch_size", "filters", "depth", low=1)
        check_number(self, "dropout", low=0, below=1)
        check_number(self, "cutout", low=0)
        check(self.perturb != (), "--perturb", "()", "names of attacks, 'none', or 'free' alone")
        check_number(self, "budget", low=0, high=1)
        check_number(self, "attack_steps", "replays", low=1)
        check_number(self, "seed", low=0, below=2**32)


@dataclass(frozen=True)
class Evaluate(Command):
    """Score a trained model per case: slices are put together again, without their padding.

    Prints means over cases with 95 % intervals and writes cases.csv and summary.json. Distances between surfaces are in
    mm, or in pixels when the data do not tell the pixel size; volumes also need --slice-spacing.
    """

    model: Path
    """a model.keras, or the run folder that holds one"""
    data: str
    """prepared HDF5 file, or a built-in set: toy, volumes, lungs, tissue, kandinsky; 'kandinsky(size=32)'"""
    split: Literal["train", "validation", "test"] = "test"
    """which part of the data"""
    threshold: float = 0.5
    """probability above which a pixel is foreground (models with one sigmoid channel)"""
    slice_spacing: float | None = None
    """distance between slices, to measure surfaces in volumes; the data do not hold it"""
    tolerance: float = 1.0
    """of surface Dice: how far apart surfaces count as equal, at least 0"""
    batch_size: int = 32
    """images a batch, at least 1"""
    verify: bool = True
    """compare the data with their checksums first"""
    output: Path | None = None
    """folder for the results; by default the next free runs/evaluate-N"""
    overwrite: bool = False
    """replace an existing folder"""

    program = "evaluate"
    positional = ("model", "data")

    def __post_init__(self):
        check_number(self, "threshold", above=0, below=1)
        check_number(self, "slice_spacing", above=0)
        check_number(self, "tolerance", low=0)
        check_number(self, "batch_size", low=1)
