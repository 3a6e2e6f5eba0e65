"""Segmentation losses for Keras 3: `kseg.losses.get("dicefg", from_logits=True)`.

Every loss has a name (`names()`), a class (`DiceFG`) and a pure function (`dice_fg`) that returns `[B]`.
Options, shapes and label kinds are the same for all: see `SegmentationLoss`. Importing this module registers
every loss with Keras, so that compiled models load again.
"""

from kseg.losses.base import LOSSES, SegmentationLoss
from kseg.losses.compose import Sum, get, parse
from kseg.losses.entropy import BCE, CCE, MSE, Focal, WeightedCCE, bce, cce, focal, mse, weighted_cce
from kseg.losses.overlap import (
    Dice,
    DiceBCE,
    DiceFG,
    DiceFGSquare,
    DiceSquare,
    FocalTversky,
    Jaccard,
    LogDice,
    OverlapLoss,
    Tversky,
    dice,
    dice_bce,
    dice_fg,
    dice_fg_square,
    dice_square,
    focal_tversky,
    jaccard,
    log_dice,
    tversky,
)
from kseg.losses.published import cce_loss, dice_loss


def names():
    """The names of all losses, as `get` takes them."""
    return LOSSES.names()


def facts(name):
    """{"category": ..., "source": ...} of a loss."""
    return LOSSES.facts(name)


__all__ = [
    "BCE", "CCE", "MSE", "Dice", "DiceBCE", "DiceFG", "DiceFGSquare", "DiceSquare", "Focal", "FocalTversky",
    "Jaccard", "LogDice", "OverlapLoss", "SegmentationLoss", "Sum", "Tversky", "WeightedCCE",
    "bce", "cce", "cce_loss", "dice", "dice_bce", "dice_fg", "dice_fg_square", "dice_loss", "dice_square",
    "facts", "focal", "focal_tversky", "get", "jaccard", "log_dice", "mse", "names", "parse", "tversky",
    "weighted_cce",
]  # fmt: skip
