"""Stained tissue with five kinds of nuclei: six classes, 81.6 % background, wrong labels (S4.9)."""

from dataclasses import dataclass

import numpy as np

from kseg.data.synthetic.base import Drawn, Synthetic, mislabel, number, shares, whole
from kseg.data.synthetic.fields import blur, even, smooth_noise, to_levels

# Absorption of red, green and blue light by haematoxylin and eosin: Ruifrok and Johnston 2001.
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
HIDDEN = 0.4  # a nucleus is not drawn where more than this share of it would be covered
CROWDED = 40  # places tried without success after which an image is full


@dataclass(frozen=True)
class Kind:
    """What nuclei of a class look like: semi-axes in pixels (fewest, most), long over short, stain, grain, wobble."""

    radius: tuple
    elongation: tuple
    stain: float
    grain: float
    wobble: float

    @property
    def area(self):
        """Mean of pi a b over nuclei, a = radius * sqrt(elongation), b = radius / sqrt(elongation)."""
        low, high = self.radius
        return np.pi * (low**2 + low * high + high**2) / 3


KINDS = {
    "large": Kind((5.5, 8.0), (1.0, 1.5), 0.75, 0.25, 0.10),
    "round": Kind((3.2, 4.2), (1.0, 1.15), 1.15, 0.10, 0.03),
    "spindle": Kind((3.0, 4.2), (2.6, 4.0), 0.95, 0.12, 0.05),
    "dark": Kind((2.2, 3.4), (1.0, 1.8), 1.8, 0.05, 0.22),
    "pale": Kind((4.5, 6.0), (1.1, 1.7), 0.45, 0.15, 0.05),
}


LOOKS = tuple(KINDS.values())


class Tissue(Synthetic):
    """RGB images of stained tissue with nuclei of five kinds; some labels are wrong (S4.9).

    Nuclei may touch, be cut by the border, and hide up to 40 % of one another. Their sizes are in pixels: a larger
    image shows more of them. Images differ in stain, light and number of nuclei.

    Args:
        size: of the square image in pixels, 32 to 1024.
        foreground: mean share of nuclei, 0.02 to 0.25; single images have 0.5 to 1.5 times as much.
        fractions: about what share of the foreground each kind has, on average; None for equal shares.
        label_noise: share of nuclei labelled as another kind, in all splits, 0 to 1. The images do not depend on it.
        noise: standard deviation of the pixel noise, 0 to 0.5 (1 is the range).
        counts: images in train, validation and test.
        seed: of everything drawn.

    Raises:
        ValueError: an option that does not fit.

    Example:
        >>> from kseg.data import open_data
        >>> open_data("tissue", label_noise=0, counts=(4, 1, 1)).classes
        ('background', 'large', 'round', 'spindle', 'dark', 'pale')
    """

    name = "tissue"
    classes = ("background", *KINDS)

    def __init__(
        self, size=64, foreground=0.184, fractions=None, label_noise=0.1, noise=0.02, counts=(400, 60, 60), seed=0
    ):  # fmt: skip
        size = whole("size", size, 32, 1024)
        self.shape = (size, size, 3)
        self._foreground = number("foreground", foreground, 0.02, 0.25)
        areas = np.array([kind.area for kind in KINDS.values()])
        self._chances = shares(fractions, len(KINDS)) / areas
        self._chances = np.cumsum(self._chances / self._chances.sum())
        self._label_noise = number("label_noise", label_noise, 0, 1)
        self._noise = number("noise", noise, 0, 0.5)
        super().__init__(
            counts, seed, size=size, foreground=self._foreground,
            fractions=fractions if fractions is None else tuple(fractions), label_noise=self._label_noise,
            noise=self._noise,
        )  # fmt: skip

    def _draw(self, split, number):
        stream = self._stream(split, number)
        order = self._stream(split, self.counts[split])  # a stream that no case takes
        wanted = self._foreground * (0.5 + even(order, number)) * self.shape[0] * self.shape[1]
        numbers, stain, kinds = self._nuclei(stream, wanted)
        image = _stained(stream, stain, numbers > 0)
        image = image + self._noise * stream.standard_normal(image.shape)
        labels = mislabel(self._stream(split, number, 1), 1 + np.array(kinds, int), len(KINDS), self._label_noise)
        masks = np.array([0, *labels], np.uint8)[numbers]
        return Drawn(to_levels(image)[None], masks[None], numbers[None])

    def _nuclei(self, stream, wanted):
        """Nuclei by number, their stain, and the kind of each, until they cover `wanted` pixels."""
        size, kinds = self.shape[0], []
        numbers, stain = np.zeros((size, size), np.uint16), np.zeros((size, size))
        covered, failed = 0, 0
        while covered < wanted and failed < CROWDED:
            which = min(int(np.searchsorted(self._chances, stream.random(), "right")), len(KINDS) - 1)
            inside, grain = _nucleus(stream, LOOKS[which])
            # The last nucleus is drawn only as often as its area is missing, so that the mean comes out.
            if stream.random() * np.count_nonzero(inside) > wanted - covered:
                break
            while failed < CROWDED:
                y, x = stream.integers(-inside.shape[0] // 2, size - inside.shape[0] // 2, 2)
                window = (slice(max(y, 0), y + inside.shape[0]), slice(max(x, 0), x + inside.shape[0]))
                part = inside[max(-y, 0) : size - y, max(-x, 0) : size - x]
                free = part & (numbers[window] == 0)
                seen = np.count_nonzero(free)
                if seen and seen >= (1 - HIDDEN) * np.count_nonzero(part):
                    break
                failed += 1
            else:
                break
            kinds.append(which)
            numbers[window][free] = len(kinds)
            stain[window][free] = grain[max(-y, 0) : size - y, max(-x, 0) : size - x][free]
            covered += seen
        return numbers, stain, kinds


def _nucleus(stream, kind):
    """Pixels of one nucleus, and how deeply they are stained; both `[n, n]`."""
    draws = stream.random(8)
    radius, elongation = _between(kind.radius, draws[0]), np.sqrt(_between(kind.elongation, draws[1]))
    reach = int(radius * elongation * (1 + 2 * kind.wobble)) + 1
    at = np.arange(-reach, reach + 1)
    place = (at[None, :] + draws[2] - 0.5 + 1j * (at[:, None] + draws[3] - 0.5)) * np.exp(1j * np.pi * draws[4])
    unit = (place.real / elongation + 1j * place.imag * elongation) / radius
    far = abs(unit)
    way = unit / np.maximum(far, 1e-9)
    twice, thrice = (way**n * np.exp(2j * np.pi * draw) for n, draw in ((2, draws[5]), (3, draws[6])))
    edge = 1 + kind.wobble * (twice.real + thrice.real / 2)
    rim = 1 + 0.35 * np.clip(far - 0.5, 0, 0.5)
    depth = kind.stain * (0.8 + 0.4 * draws[7]) * rim
    return far <= edge, depth * (1 + kind.grain * stream.standard_normal(unit.shape))


def _between(ends, share):
    return ends[0] + (ends[1] - ends[0]) * share


def _stained(stream, stain, nuclei):
    """RGB `[H, W, 3]` in [0, 1] of what the light leaves after both stains (Beer and Lambert)."""
    size = len(stain)
    fibres = smooth_noise(stream, (size, size), 1.5) + smooth_noise(stream, (size, size), 6.0)
    haematoxylin = 0.12 + 0.05 * smooth_noise(stream, (size, size), 4.0) + stain
    eosin = np.clip(0.32 + 0.09 * fibres, 0.03, None) * np.where(nuclei, 0.6, 1)
    holes = smooth_noise(stream, (size, size), 5.0) > 1.8  # glass shows where the tissue is torn
    eosin = np.where(holes & ~nuclei, 0.03, eosin)
    strength = stream.uniform(0.8, 1.25, 2)
    density = strength[0] * blur(np.clip(haematoxylin, 0, None), 0.6)[..., None] * HAEMATOXYLIN
    density = density + strength[1] * blur(eosin, 0.6)[..., None] * EOSIN
    return stream.uniform(0.92, 1.0) * np.exp(-density)
