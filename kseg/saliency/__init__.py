"""Saliency: which pixels move the output of a segmentation model, and how far they are spread.

Example:
    >>> import numpy as np
    >>> from kseg.models import toy_net
    >>> maps = explain(toy_net(seed=0), np.ones((2, 8, 8, 1)), method="gradient")
    >>> sorted(spread.summary(maps))
    ['largest', 'participation', 'share_above', 'sharpness', 'top_distance']
"""

from kseg.saliency import cam, spread, windows
from kseg.saliency.explainer import Explainer, explain
from kseg.saliency.methods import METHODS, Attribution

__all__ = ["METHODS", "Attribution", "Explainer", "cam", "explain", "spread", "windows"]
