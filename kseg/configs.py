"""What each command takes: frozen dataclasses whose field docstrings are the `--help`.

Standard library only, so that `--help` and bad input are answered at once.
"""

import math
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "nadam"]


def _check(condition, name, value, expected):
    if not condition:
        raise ValueError(f"{name}={value} does not fit. Expected {expected}.")


def _check_number(config, name, *, low=None, above=None, high=None, below=None):
    value = getattr(config, name)
    parts = [
        (low, lambda: value >= low, f"at least {low}"), (above, lambda: value > above, f"above {above}"),
        (high, lambda: value <= high, f"at most {high}"), (below, lambda: value < below, f"below {below}"),
    ]  # fmt: skip
    wanted = [(test, text) for bound, test, text in parts if bound is not None]
    kind = "a whole number" if isinstance(value, int) else "a number"
    fits = math.isfinite(value) and all(test() for test, _ in wanted)
    option = "--" + name.replace("_", "-")
    _check(fits, option, value, f"{kind} {' and '.join(text for _, text in wanted)}")


class _Command:
    """What all configs can do."""

    program = ""
    positional = ()

    def command(self):
        """The command line that gives this config again, defaults left out."""
        words = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.name in self.positional:
                words.append(shlex.quote(str(value)))
            else:
                words += _option(field.name, value)
        return " ".join(["python", f"scripts/{self.program}.py", *words])


def _option(name, value):
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    values = value if isinstance(value, tuple) else (value,)
    return [f"--{option}", *(shlex.quote(str(v)) for v in values)]


@dataclass(frozen=True)
class Train(_Command):
    """Train a U-Net and score it on the test split.

    Shows what it will do, a progress bar with the time left, and a table of scores per case; keeps everything in
    one run folder: record.json, history.csv, model.keras (best by validation Dice, loads without kseg), state/,
    curves.png, examples.png, cases.csv, summary.json.
    """

    data: str = "toy"
    """prepared HDF5 file, or the built-in set 'toy'"""
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
    epochs: int = 10
    """passes over the training split, at least 1"""
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
        _check_number(self, "learning_rate", above=0)
        for name in ("epochs", "batch_size", "filters", "depth"):
            _check_number(self, name, low=1)
        _check_number(self, "dropout", low=0, below=1)
        _check_number(self, "seed", low=0, below=2**32)


@dataclass(frozen=True)
class Evaluate(_Command):
    """Score a trained model per case: slices are put together again, without their padding.

    Prints means over cases with 95 % intervals and writes cases.csv and summary.json. Distances between surfaces are in
    mm, or in pixels when the data do not tell the pixel size; volumes also need --slice-spacing.
    """

    model: Path
    """a model.keras, or the run folder that holds one"""
    data: str
    """prepared HDF5 file, or the built-in set 'toy'"""
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
        _check_number(self, "threshold", above=0, below=1)
        if self.slice_spacing is not None:
            _check_number(self, "slice_spacing", above=0)
        _check_number(self, "tolerance", low=0)
        _check_number(self, "batch_size", low=1)


@dataclass(frozen=True)
class ToyBalance(_Command):
    """One run of D1's toy study: train a tiny network with one loss, log all five and their gradient norms."""

    threshold: float = 0.95
    """pixels above it are foreground, in (0, 1); 0.95 is 5 % foreground"""
    loss: Literal["cce", "dice", "dicefg", "dice_square", "dicefg_square"] = "dicefg"
    """loss to train with; all five are logged"""
    bn: bool = True
    """batch normalisation before each ReLU"""
    optimizer: Literal["adam", "sgd"] = "adam"
    """optimiser, without momentum for sgd"""
    learning_rate: float = 1e-3
    """learning rate, above 0"""
    iterations: int = 10001
    """training steps, each on a fresh random batch"""
    batch_size: int = 2
    """images a batch, at least 1"""
    seed: int = 0
    """of weights and images"""
    output: Path | None = None
    """run folder; by default the next free runs/toy_balance-N"""
    overwrite: bool = False
    """replace an existing run folder"""

    program = "toy_balance"

    def __post_init__(self):
        _check_number(self, "threshold", above=0, below=1)
        _check_number(self, "learning_rate", above=0)
        for name in ("iterations", "batch_size"):
            _check_number(self, name, low=1)
        _check_number(self, "seed", low=0, below=2**31)


@dataclass(frozen=True)
class Losses(_Command):
    """List the losses; with NAME show the card of one and draw what it does.

    The card tells formula, parameters, conventions, learning signal and source. The figure shows value and gradient
    against the logit of one pixel and against the share of the foreground, and the value against size and shift of an
    object.
    """

    name: str = ""
    """a loss or a sum of losses: 'dicefg', 'bce + 0.5*dice', 'tversky(fp_weight=0.5, fn_weight=0.5)'"""
    table: bool = False
    """print all losses by category as a Markdown table (D3, table 1)"""
    figure: bool = True
    """draw the figure of the card"""
    output: Path | None = None
    """figure to write, .png, .pdf or .svg; by default loss_NAME.png here"""
    overwrite: bool = False
    """replace an existing figure"""

    program = "losses"
    positional = ("name",)

    def __post_init__(self):
        _check(not (self.table and self.name), "--table", self.table, "no NAME beside it")
        drawn = self.output is None or (self.name and self.figure)
        _check(drawn, "--output", self.output, "it beside a NAME whose figure is drawn")
        ending = self.output is None or self.output.suffix.lower() in (".png", ".pdf", ".svg")
        _check(ending, "--output", self.output, "a file that ends in .png, .pdf or .svg")


@dataclass(frozen=True)
class PrepareHippocampus(_Command):
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
        _check_number(self, "max_value", above=0)
        _check_number(self, "upper_percentile", above=0, high=100)
        _check_number(self, "multiple", low=1)
        _check_number(self, "seed", low=0)
        fits = all(math.isfinite(s) and s >= 0 for s in self.split) and abs(sum(self.split) - 1) < 1e-6
        _check(fits, "--split", " ".join(f"{s:g}" for s in self.split), "three shares at least 0 that sum to 1")
