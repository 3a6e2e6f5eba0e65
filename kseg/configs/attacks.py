"""Attacks on a trained model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.configs.command import Command, check, check_number


@dataclass(frozen=True)
class Attack(Command):
    """Attack a trained model: what is left of its scores, and whether that can be believed.

    Changes images of a split within budgets of rising size so that the model errs, beside random noise of the same
    size; tells scores over cases with 95 % intervals; and looks for what makes a model seem more robust than it is.
    Keeps it in one run folder: summary.md (start there), scores.csv, cases.csv, summary.json, flags.json, curves.png,
    examples.png (more of them for many attacks); for the attack "selective" also choices.h5 and choices.png.
    """

    model: Path
    """a model.keras, or the run folder that holds one"""
    data: str
    """prepared HDF5 file, or a built-in set: toy, volumes, lungs, tissue, kandinsky; 'kandinsky(size=32)'"""
    split: Literal["train", "validation", "test"] = "test"
    """which part of the data"""
    images: int = 32
    """images with foreground to attack, spread over the cases; 0 for all"""
    attacks: tuple[str, ...] = ("fgsm", "pgd", "apgd", "segpgd", "cospgd", "ensemble")
    """which: fgsm, pgd, apgd, segpgd, cospgd, ensemble; square (without gradients); universal (one change for all
    images); selective, layered (document D4); and without a budget, run once: dag, alma_prox (smallest change),
    sparse_rs (few pixels), patch"""
    eps: tuple[float, ...] = (0.0025, 0.005, 0.01, 0.02, 0.04)
    """budgets as shares of the range of values: of the largest change, of the root mean square of the changes (l2), of
    their mean (l1)"""
    norm: Literal["linf", "l2", "l1"] = "linf"
    """what a budget bounds; fgsm, apgd and ensemble know no l1"""
    steps: int = 20
    """gradients that an attack takes, each member of the ensemble by itself; attacks without a budget take their own"""
    loss: str | None = None
    """what fgsm, pgd, apgd climb: cce (by default), balanced_cce, masked_cce, js, margin, or a loss or sum of losses as
    in training; segpgd, cospgd and the ensemble have their own"""
    step_size: float = 0.25
    """length of a step as a share of the budget; fgsm and apgd have their own"""
    goal: float = 0.99
    """share of wrong pixels that makes an image a success; dag and alma_prox look for the smallest change that does"""
    batch_size: int = 16
    """images a batch, at least 1"""
    seed: int = 0
    """of random noise and random starts"""
    jit: Literal["auto", "on", "off"] = "auto"
    """compile each step by XLA; auto does on a GPU"""
    document: bool = True
    """also the attack of document D4: 100 steps towards a mask of background alone, budget 1 %, or steps of 1 %
    without a budget"""
    checks: bool = True
    """the checks that need further attacks: of more steps, of a budget as large as the range, a black box, gradients"""
    verify: bool = True
    """compare the data with their checksums first"""
    output: Path | None = None
    """run folder; by default the next free runs/attack-N"""
    overwrite: bool = False
    """replace an existing run folder"""

    program = "attack"
    positional = ("model", "data")

    def __post_init__(self):
        check_number(self, "images", low=0)
        check_number(self, "steps", "batch_size", low=1)
        check_number(self, "eps", above=0, high=1)
        check_number(self, "step_size", above=0, high=100)
        check_number(self, "goal", above=0, high=1)
        check_number(self, "seed", low=0, below=2**31)
        check(len(self.attacks) > 0, "--attacks", "()", "at least one name")
        check(len(self.eps) > 0, "--eps", "()", "at least one number")
        object.__setattr__(self, "attacks", tuple(dict.fromkeys(self.attacks)))
        object.__setattr__(self, "eps", tuple(sorted(set(self.eps))))

    @property
    def middle(self):
        """The budget that checks and examples are of."""
        return self.eps[(len(self.eps) - 1) // 2]
