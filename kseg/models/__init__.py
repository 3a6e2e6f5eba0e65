"""Segmentation networks as plain `keras.Model`s of stock layers, ending in a layer named `logits`."""

from kseg.models.heads import head_for, with_logits, with_probabilities
from kseg.models.toy import toy_net
from kseg.models.unet import unet

__all__ = ["head_for", "toy_net", "unet", "with_logits", "with_probabilities"]
