"""Blurred and smoothly varying arrays."""

from functools import lru_cache

import numpy as np
from scipy import ndimage

GOLDEN = (5**0.5 - 1) / 2
REACH = 3.0  # widths after which the Gaussian is cut off


def blur(array, sigma, axes=(0, 1)):
    """Gaussian blur of width `sigma` in pixels along `axes`; what lies outside equals the border."""
    return ndimage.gaussian_filter(array, sigma, mode="nearest", truncate=REACH, axes=axes)


@lru_cache(maxsize=256)
def _left(length, sigma):
    """Standard deviation that is left of white noise, periodic over `length`, after a blur."""
    impulse = np.zeros(length)
    impulse[0] = 1
    return np.sqrt((ndimage.gaussian_filter1d(impulse, sigma, mode="wrap", truncate=REACH) ** 2).sum())


def smooth_noise(stream, shape, sigma):
    """Gaussian noise of standard deviation 1 that varies over about `sigma` pixels, periodic; float64 of `shape`."""
    noise = ndimage.gaussian_filter(stream.standard_normal(shape), sigma, mode="wrap", truncate=REACH)
    return noise / np.prod([_left(length, sigma) for length in shape])


def even(stream, number):
    """A number in [0, 1) for case `number`; those of one `stream`, equal for all cases, fill [0, 1) evenly.

    Sets whose mean is promised take it for sizes: the mean then holds in small splits, too (Kronecker sequence).
    """
    return (stream.random() + number * GOLDEN) % 1.0


def to_levels(image):
    """Values in [0, 1], clipped, as levels 0 to 255 uint8."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
