"""The study of training on attacked and fortified images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Study, check_number


@dataclass(frozen=True)
class RobustTraining(Study):
    """D4's study: train on images that were perturbed for a model, and see what attacks leave of each model.

    Trains models of several seeds: 1 on the data, 2 on its images after method one ("layered"), 3 after method two
    ("selective"), 4 on all three for a third of the passes; 5 perturbs anew in every step, 6 is "free" adversarial
    training. Attacks all of them, by images made on model 1 and on each; draws figures, decides the document's claims.
    """

    data: str = "tissue"
    """prepared HDF5 file, or a built-in set: toy, volumes, lungs, tissue, kandinsky; 'kandinsky(size=32)'"""
    preset: Literal["quick", "laptop", "document"] = "laptop"
    """how much: quick tries everything small, document has 100 steps and every test image with foreground, laptop lies
    between"""
    seeds: int | None = None
    """models of each kind, seeds 0, 1, ..; 3 if not given (quick: 1)"""
    extras: bool = True
    """also models 5 and 6 of seed 0, and of each seed model 1 with a learning rate that falls where validation does not
    improve"""
    loss: str = "cce"
    """of training, for a softmax head; attacks climb cross-entropy"""
    epochs: int | None = None
    """of each model, as many updates in each as batches in a pass over the data (quick 3, laptop 14, document 60)"""
    filters: int | None = None
    """channels of the first level of the U-Net (quick 4, laptop 8, document 32)"""
    depth: int | None = None
    """number of poolings of the U-Net (3)"""
    bn: bool = True
    """batch normalisation before each ReLU"""
    learning_rate: float = 2e-3
    """of Adam"""
    batch_size: int | None = None
    """images a batch (8)"""
    jit: bool = True
    """compile training and attacks with XLA"""
    budget: float = 0.01
    """of all perturbations, as a share of the range of values; method one has it for each class"""
    steps: int | None = None
    """of method one for each class (quick 3, laptop 8, document 100), each of 2.5 budgets divided by them, but a tenth
    of the budget at least and all of it at most"""
    search: Literal["exact", "beam"] | None = None
    """method two: look at all 3^K choices of K classes, 7 at most, or at some of them (quick beam, else exact)"""
    fly_steps: int | None = None
    """of method one within a step of training, model 5 (quick 1, laptop 1, document 10)"""
    replays: int = 4
    """updates by each batch in a row, model 6"""
    attack_steps: int | None = None
    """of the attacks that models are judged by (quick 20, laptop 50, document 100)"""
    images: int | None = None
    """test images with foreground that are attacked, spread over the cases; 0 for all (quick 12, laptop 22, document
    0)"""
    resume: Path | None = None
    """run folder of this study to go on with, with the options it was begun with"""
    output: Path | None = None
    """run folder; by default the next free runs/robust_training-N"""
    overwrite: bool = False
    """replace an existing run folder"""

    program = "robust_training"
    COMMON = {
        "seeds": 3, "epochs": 14, "filters": 8, "depth": 3, "batch_size": 8, "steps": 8, "fly_steps": 1,
        "attack_steps": 50, "images": 22, "search": "exact",
    }  # fmt: skip
    PRESETS = {
        "quick": COMMON | {"seeds": 1, "epochs": 3, "filters": 4, "steps": 3, "attack_steps": 20, "images": 12,
                           "search": "beam"},
        "laptop": COMMON,
        "document": COMMON | {"epochs": 60, "filters": 32, "steps": 100, "fly_steps": 10, "attack_steps": 100,
                              "images": 0},
    }  # fmt: skip

    def __post_init__(self):
        self.complete()
        check_number(self, "seeds", low=1, high=100)
        check_number(
            self, "epochs", "filters", "depth", "batch_size", "steps", "fly_steps", "replays", "attack_steps", low=1
        )
        check_number(self, "learning_rate", above=0)
        check_number(self, "budget", above=0, high=1)
        check_number(self, "images", low=0)
