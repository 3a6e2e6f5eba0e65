"""Attacks: small changes of images, and what they leave of a segmentation."""

from kseg.attacks.attacker import Attacked, Attacker, attack
from kseg.attacks.gradient import ATTACKS
from kseg.attacks.norms import NORMS
from kseg.attacks.objectives import OBJECTIVES
from kseg.attacks.pixels import (
    PixelHits,
    PixelSweep,
    Setting,
    draw_values,
    rank_pixels,
    replace_pixels,
    settings_of,
)
from kseg.attacks.selective import rebuild

__all__ = [
    "ATTACKS", "Attacked", "Attacker", "NORMS", "OBJECTIVES", "PixelHits", "PixelSweep", "Setting", "attack",
    "draw_values", "rank_pixels", "rebuild", "replace_pixels", "settings_of",
]  # fmt: skip
