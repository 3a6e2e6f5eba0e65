"""The main job: train, evaluate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Command, check, check_number, flag

REASONS = {"perturb": ": attacks need float32", "output": ", which goes on in its folder"}
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
    schedule: Literal["constant", "plateau", "cosine"] = "constant"
    """plateau: halve the learning rate where validation has not improved for two epochs; cosine: let it sink to 0"""
    warmup: int = 0
    """of --schedule cosine: epochs in which the learning rate first climbs from 0"""
    clip_norm: float | None = None
    """scale each gradient down to this Euclidean norm, over all weights together; above 0"""
    ema: float | None = None
    """validate and save averages of the weights with this momentum, in (0, 1), such as 0.99"""
    early_stopping: int | None = None
    """end training when the Dice of validation has not improved for so many epochs, at least 1"""
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
    augment: tuple[str, ...] | None = None
    """random changes of training images: any of flip, rotate, zoom, elastic, intensity; 'rotate(degrees=30)'"""
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
    """refuse operations that differ from run to run (slower); the same command then gives the same bits"""
    jit: bool = False
    """compile the train step with XLA"""
    devices: int | Literal["all"] = 1
    """number of GPUs (CPUs where there are none) among which each batch is divided, or all"""
    mixed_precision: Literal["float16", "bfloat16"] | None = None
    """compute in half precision; weights, logits and losses stay float32"""
    verify: bool = True
    """compare the data with their checksums first"""
    tensorboard: bool = False
    """also write TensorBoard logs to the run folder (pip install 'kseg[tensorboard]')"""
    output: Path | None = None
    """run folder; by default the next free runs/NAME-N"""
    overwrite: bool = False
    """replace an existing run folder"""
    resume: Path | None = None
    """go on with the run in this folder, which was broken off; its options are those it was begun with"""
    config: Path | None = None
    """a run's record.json: train again as it did, on the same data; --output and --dry-run may stand beside it"""
    dry_run: bool = False
    """show what would be done, take two steps to tell memory and time, and write nothing"""

    program = "train"

    def __post_init__(self):
        check_number(self, "learning_rate", above=0)
        check_number(self, "epochs", "epoch_steps", "batch_size", "filters", "depth", low=1)
        check_number(self, "dropout", low=0, below=1)
        check_number(self, "cutout", low=0)
        check_number(self, "warmup", low=0, below=self.epochs)
        check_number(self, "clip_norm", above=0)
        check_number(self, "ema", above=0, below=1)
        check_number(self, "early_stopping", low=1)
        check(self.augment != (), "--augment", "()", "kinds of changes, such as flip")
        check(self.perturb != (), "--perturb", "()", "names of attacks, 'none', or 'free' alone")
        check_number(self, "budget", low=0, high=1)
        check_number(self, "attack_steps", "replays", low=1)
        check_number(self, "seed", low=0, below=2**32)
        check(self.devices == "all" or self.devices >= 1, "--devices", self.devices, "a number at least 1, or all")
        check(not self.warmup or self.schedule == "cosine", "--warmup", self.warmup, "--schedule cosine beside it")
        alone = {"resume": ("config", "output", "overwrite", "dry_run"), "mixed_precision": ("perturb",)}
        for name, others in alone.items():
            for other in others if getattr(self, name) is not None else ():
                given = getattr(self, other)
                check(not given, flag(other), given, f"none beside {flag(name)}{REASONS.get(other, '')}")


@dataclass(frozen=True)
class Evaluate(Command):
    """Score a trained model per case: slices are put together again, without their padding.

    Prints means over cases with 95 % intervals and writes cases.csv, summary.json and examples.png. Distances between
    surfaces are in mm, or in pixels when the data do not tell the pixel size; volumes also need --slice-spacing.
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
    figures: bool = False
    """also draw, in figures/: scores of all cases with the worst named, scores by size, the worst cases, reliability"""
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
