"""Segmentation losses for Keras 3: `kseg.losses.get("dicefg", from_logits=True)`.

Every loss has a name (`names()`), a class (`DiceFG`) and a pure function (`dice_fg`) that returns `[B]`.
Options, shapes and label kinds are the same for all: see `SegmentationLoss`. Importing this module registers
every loss with Keras, so that compiled models load again.
"""

from kseg.losses.alone import image_losses
from kseg.losses.base import LOSSES, SegmentationLoss
from kseg.losses.boundary import Boundary, Hausdorff, ShapeLoss, boundary, hausdorff
from kseg.losses.compose import Sum, get, parse
from kseg.losses.compound import Combo, DiceBCE, UnifiedFocal, combo, dice_bce, unified_focal
from kseg.losses.dice import (
    Dice,
    DiceFG,
    DiceFGSquare,
    DiceSquare,
    Jaccard,
    LogDice,
    dice,
    dice_fg,
    dice_fg_square,
    dice_square,
    jaccard,
    log_dice,
)
from kseg.losses.entropy import BCE, CCE, MSE, WeightedCCE, bce, cce, mse, weighted_cce
from kseg.losses.focal import Focal, focal
from kseg.losses.lovasz import Lovasz, lovasz
from kseg.losses.overlap import OverlapLoss
from kseg.losses.published import cce_loss, dice_loss
from kseg.losses.regions import (
    MCC,
    GeneralizedDice,
    LogCoshDice,
    WassersteinDice,
    generalized_dice,
    log_cosh_dice,
    mcc,
    wasserstein_dice,
)
from kseg.losses.topk import TopKCCE, topk_cce
from kseg.losses.topology import ClDice, cldice
from kseg.losses.tversky import Asymmetric, FocalTversky, Tversky, asymmetric, focal_tversky, tversky

CATEGORIES = ("distribution", "region", "boundary", "topology", "compound")


def names():
    """The names of all losses, as `get` takes them, by category."""
    return sorted(LOSSES.names(), key=lambda name: CATEGORIES.index(LOSSES.facts(name)["category"]))


def facts(name):
    """{"category": ..., "source": ...} of a loss."""
    return LOSSES.facts(name)


__all__ = [
    "Asymmetric", "BCE", "Boundary", "CCE", "ClDice", "Combo", "Dice", "DiceBCE", "DiceFG", "DiceFGSquare",
    "DiceSquare", "Focal", "FocalTversky", "GeneralizedDice", "Hausdorff", "Jaccard", "LogCoshDice", "LogDice",
    "Lovasz", "MCC", "MSE", "OverlapLoss", "SegmentationLoss", "ShapeLoss", "Sum", "TopKCCE", "Tversky",
    "UnifiedFocal", "WassersteinDice", "WeightedCCE", "asymmetric", "bce", "boundary", "cce", "cce_loss", "cldice",
    "combo", "dice", "dice_bce", "dice_fg", "dice_fg_square", "dice_loss", "dice_square", "facts", "focal",
    "focal_tversky", "generalized_dice", "get", "hausdorff", "image_losses", "jaccard", "log_cosh_dice", "log_dice",
    "lovasz", "mcc", "mse", "names", "parse", "topk_cce", "tversky", "unified_focal", "wasserstein_dice",
    "weighted_cce",
]  # fmt: skip
