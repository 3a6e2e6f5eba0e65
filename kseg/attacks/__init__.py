"""Attacks: small changes of images, and what they leave of a segmentation."""

from kseg.attacks.pixels import (
    PixelHits,
    PixelSweep,
    Setting,
    draw_values,
    rank_pixels,
    replace_pixels,
    settings_of,
)

__all__ = ["PixelHits", "PixelSweep", "Setting", "draw_values", "rank_pixels", "replace_pixels", "settings_of"]
