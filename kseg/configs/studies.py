"""The studies."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Command, check, check_number, flag


@dataclass(frozen=True)
class ToyBalance(Command):
    """D1's toy study: train tiny networks with one loss each, log all five losses and their gradient norms.

    One run, or with --sweep all runs at once: a file of curves, a table, figures, and the document's claims decided.
    """

    sweep: Literal["published", "full"] | None = None
    """published: 3 losses, adam and sgd; full: 5 losses, sgd at three rates, adam on three kinds of input"""
    resume: Path | None = None
    """run folder of a sweep to go on with, its options with it"""
    thresholds: tuple[float, ...] | None = None
    """of a sweep, each in (0, 1); 0.05 0.5 0.95 if not given"""
    seeds: tuple[int, ...] | None = None
    """of a sweep; one number is how many, several are which; 3 if not given"""
    learning_rates: tuple[float, ...] | None = None
    """of a sweep's sgd; 0.001 if not given, 0.001 0.1 1.0 in the full sweep"""
    inputs: tuple[Literal["raw", "mirrored", "centred"], ...] | None = None
    """of a sweep, sgd sees raw only; raw if not given, all three in the full sweep"""
    threshold: float | None = None
    """of one run: pixels above it are foreground, in (0, 1); 0.95, which is 5 % foreground, if not given"""
    loss: Literal["cce", "dice", "dicefg", "dice_square", "dicefg_square"] | None = None
    """of one run: loss to train with; dicefg if not given"""
    bn: bool = True
    """of one run: batch normalisation before each ReLU"""
    optimizer: Literal["adam", "sgd"] | None = None
    """of one run, sgd without momentum; adam if not given"""
    learning_rate: float | None = None
    """of one run, above 0; 0.001 if not given"""
    input: Literal["raw", "mirrored", "centred"] | None = None
    """of one run: the image x in [0, 1), 1 - x or x - 0.5, labels by x in each; raw if not given"""
    seed: int | None = None
    """of one run: of weights and images; 0 if not given"""
    iterations: int | None = None
    """training steps, each on a fresh random batch; 10001 if not given"""
    batch_size: int | None = None
    """images a batch; 2 if not given"""
    convolutions: int | None = None
    """3x3 convolutions before the last layer; 2 if not given"""
    log_every: int | None = None
    """losses and norms are kept every so many iterations; 1 if not given"""
    output: Path | None = None
    """run folder; by default the next free runs/toy_balance-N"""
    overwrite: bool = False
    """replace an existing run folder"""

    program = "toy_balance"
    # None until it is known whether one run or a sweep is meant: so what was given can be told from what was not.
    ONE = {"threshold": 0.95, "learning_rate": 1e-3, "seed": 0, "loss": "dicefg", "optimizer": "adam", "input": "raw"}
    SWEEP = {"thresholds": (0.05, 0.5, 0.95), "seeds": (3,), "learning_rates": (1e-3,), "inputs": ("raw",)}
    FULL = SWEEP | {"learning_rates": (1e-3, 0.1, 1.0), "inputs": ("raw", "mirrored", "centred")}
    BOTH = {"iterations": 10001, "batch_size": 2, "convolutions": 2, "log_every": 1}

    @property
    def otherwise(self):
        """{option: its value if not given}; with `resume` the run to go on with tells them."""
        own = {None: self.ONE, "published": self.SWEEP, "full": self.FULL}[self.sweep]
        return {} if self.resume else self.BOTH | own

    def __post_init__(self):
        many = self.sweep or self.resume
        wanted = "options of a sweep, such as --thresholds, beside --sweep" if many else "--sweep beside it"
        for name in self.ONE if many else self.SWEEP:
            check(getattr(self, name) is None, flag(name), getattr(self, name), wanted)
        check(self.bn or not many, "--bn", self.bn, wanted)
        new = self.output or self.overwrite
        check(not (self.resume and new), "--resume", self.resume, "neither --output nor --overwrite beside it")
        for name in [name for name in self.otherwise if getattr(self, name) is None]:
            object.__setattr__(self, name, self.otherwise[name])
        check_number(self, "threshold", "thresholds", above=0, below=1)
        check_number(self, "learning_rate", "learning_rates", above=0)
        check_number(self, "seed", "seeds", low=0, below=2**31)
        check_number(self, *self.BOTH, low=1)
        check_number(self, "batch_size", high=4096)
        check_number(self, "convolutions", high=16)
        check_number(self, "log_every", high=self.iterations or math.inf)
        runs = self.seeds and len(self.seeds) == 1 and self.seeds[0] > 1000
        check(not runs, "--seeds", self.seeds, "at most 1000 of them")
        for name in self.SWEEP:
            values = getattr(self, name)
            fits = values is None or (0 < len(values) == len(set(values)) and values != (0,))
            check(fits, flag(name), values, "values that differ" + " or how many" * (name == "seeds"))


@dataclass(frozen=True)
class WorkedExamples(Command):
    """Compute the numbers of D2's worked examples again, and name its errata.

    Prints every number of the document beside the correct one, its errata, and its gradients three ways; keeps
    worked_examples.csv, the page worked_examples.md and its figures in one run folder.
    """

    figures: bool = True
    """draw the figures of the page"""
    output: Path | None = None
    """run folder; by default the next free runs/worked_examples-N"""
    overwrite: bool = False
    """replace an existing run folder"""

    program = "worked_examples"


@dataclass(frozen=True)
class Losses(Command):
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
        check(not (self.table and self.name), "--table", self.table, "no NAME beside it")
        drawn = self.output is None or (self.name and self.figure)
        check(drawn, "--output", self.output, "it beside a NAME whose figure is drawn")
        ending = self.output is None or self.output.suffix.lower() in (".png", ".pdf", ".svg")
        check(ending, "--output", self.output, "a file that ends in .png, .pdf or .svg")
