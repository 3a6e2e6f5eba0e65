"""Chest X-rays: two dark lungs with ribs over them, about a quarter of the image (S3.1)."""

import numpy as np
from scipy import ndimage

from kseg.data.synthetic.base import Drawn, Synthetic, choice, number, whole
from kseg.data.synthetic.fields import blur, even, smooth_noise, to_levels

CLASSES = {"binary": ("background", "lungs"), "all": ("background", "left lung", "right lung")}
COARSE = 32
SPREAD = 0.09  # of the share of lungs over images, to either side; NLM's images go from 8 to 43 %


class Lungs(Synthetic):
    """Gray images of a chest, with two lungs that cover about 25 % of it (S3.1).

    Darkness alone does not tell a lung: what lies beside the body and gas in the stomach are dark as well, ribs and
    patches in the lungs are bright, and the exposure runs across the image. Dense tissue is bright, as in NLM's images.
    The patient's right lung is on the left of the image.

    Args:
        classes: "binary" (background, lungs) or "all" (background, left lung, right lung).
        size: of the square image in pixels, 32 to 1024; all structures grow with it.
        foreground: mean share of the lungs, 0.1 to 0.3; single images lie within 0.09 of it.
        noise: standard deviation of the pixel noise, 0 to 0.5 (1 is the range).
        blur: width of the blur as a share of the size, 0 to 0.1.
        counts: images in train, validation and test.
        seed: of everything drawn.

    Raises:
        ValueError: an option that does not fit.

    Example:
        >>> from kseg.data import open_data
        >>> images, masks = open_data("lungs", counts=(4, 1, 1)).read("train")
        >>> images.shape, masks.dtype
        ((4, 64, 64, 1), dtype('uint8'))
    """

    name = "lungs"

    def __init__(
        self, classes="binary", size=64, foreground=0.25, noise=0.04, blur=0.01, counts=(400, 60, 60), seed=0
    ):  # fmt: skip
        self.classes = CLASSES[choice("class scheme", classes, CLASSES)]
        self._sides = classes == "all"
        size = whole("size", size, 32, 1024)
        self.shape = (size, size, 1)
        self._foreground = number("foreground", foreground, 0.1, 0.3)
        self._noise, self._blur = number("noise", noise, 0, 0.5), number("blur", blur, 0, 0.1)
        super().__init__(
            counts, seed, classes=classes, size=size, foreground=self._foreground, noise=self._noise, blur=self._blur
        )  # fmt: skip

    def _draw(self, split, number):
        stream = self._stream(split, number)
        order = self._stream(split, self.counts[split])  # a stream that no case takes
        share = self._foreground + SPREAD * (2 * even(order, number) - 1)
        size = self.shape[0]
        body = _Body(stream)
        sides = body.lungs(size, share)
        masks = np.where(sides[0], 2, np.where(sides[1], 1, 0)).astype(np.uint8)
        image = _picture(stream, body, masks > 0, size)
        if self._blur:
            image = blur(image, self._blur * size)
        image = image + self._noise * stream.standard_normal(image.shape)
        masks = masks if self._sides else np.minimum(masks, 1)
        return Drawn(to_levels(image)[None, ..., None], masks[None])


class _Body:
    """One person's proportions; lengths are in units of the image, y down."""

    def __init__(self, stream):
        uniform = stream.uniform
        self.centre, self.tilt = uniform(0.46, 0.54), uniform(-0.06, 0.06)
        self.middle = uniform(0.45, 0.5)
        self.height, self.width = uniform(0.62, 0.7), uniform(0.28, 0.33)
        self.gap = uniform(0.035, 0.055)  # half the distance of the lungs
        self.apex, self.sweep = uniform(0.32, 0.45), uniform(0.45, 0.65)
        self.heart = uniform(0.05, 0.1)
        self.dome = uniform(0.08, 0.15), uniform(0.06, 0.13)
        self.raised = uniform(0.01, 0.05)  # the liver lifts the right side
        self.scale = 1.0

    def grid(self, size):
        """Coordinates of the pixels relative to the spine (x) and the middle of the lungs (y)."""
        at = (np.arange(size) + 0.5) / size
        y = np.repeat(at[:, None], size, axis=1) - self.middle
        return y, at[None, :] - self.centre - self.tilt * y

    def lungs(self, size, share):
        """Boolean masks of the right and the left lung, scaled until they cover `share`."""
        for _ in range(4):  # on a coarse grid, which is enough to learn the scale
            covered = np.logical_or(*self._both(COARSE)).mean()
            self.scale = min(self.scale * np.sqrt(share / max(covered, 1e-3)), 1.4)
        return [_largest(lung) for lung in self._both(size)]

    def _both(self, size):
        y, x = self.grid(size)
        y, x = y / self.scale, x / self.scale
        return self._lung(y, -x, 0), self._lung(y, x, 1)

    def _lung(self, y, out, side):
        """One lung, `out` growing away from the spine: narrow at the top, cut by the dome of the diaphragm."""
        down = np.clip(y / self.height + 0.5, 0, 1)
        outer = self.gap + self.width * (self.apex + (1 - self.apex) * down**self.sweep) * np.sqrt(
            np.clip(1 - (1 - np.minimum(down * 2.5, 1)) ** 2, 0, 1)
        )
        inner = self.gap + (0.03 + 0.04 * side) * down
        if side:  # the heart lies in the lower half of the left lung
            inner = inner + self.heart * np.exp(-(((down - 0.8) / 0.22) ** 2))
        across = np.clip((out - self.gap) / self.width, 0, 1)
        base = 0.5 - self.dome[side] * np.sin(np.pi * (1 - across) ** 0.8 / 1.35) / self.height
        base = base - (0 if side else self.raised) / self.height
        return (y / self.height > -0.5) & (y / self.height < base) & (out > inner) & (out < outer)


def _largest(mask):
    """The largest piece: on the grid, the thin lower tip of a lung may come off."""
    pieces, count = ndimage.label(mask)
    return mask if count < 2 else pieces == 1 + np.bincount(pieces[pieces > 0] - 1).argmax()


def _picture(stream, body, lungs, size):
    """The image before blur and noise, about 0 to 1."""
    y, x = body.grid(size)
    y, x = y / body.scale, x / body.scale
    uniform = stream.uniform
    shoulders = 0.5 + 0.22 * np.clip((y + 0.55) / 0.3, 0, 1) - 0.15 * np.clip((y - 0.1) / 0.5, 0, 1)
    inside = np.clip((shoulders * uniform(0.78, 0.95) - abs(x)) / 0.05, 0, 1)
    image = inside * (0.55 + 0.12 * smooth_noise(stream, (size, size), size / 8))
    image = image + inside * 0.2 * np.exp(-((x / 0.06) ** 2))  # spine
    image = image + inside * 0.15 * np.clip((y - 0.2) / 0.25, 0, 1)  # abdomen
    gas = ((x - uniform(0.12, 0.2)) / 0.07) ** 2 + ((y - uniform(0.38, 0.46)) / uniform(0.03, 0.06)) ** 2
    image = image - inside * 0.35 * np.exp(-(gas**2))
    depth = uniform(0.26, 0.4)
    air = depth * (1 + 0.18 * smooth_noise(stream, (size, size), size / 16))
    image = np.where(lungs, image - air, image)
    for _ in range(stream.integers(0, 4)):  # patches of dense lung
        at, wide = (uniform(-0.3, 0.3), uniform(-0.28, 0.28)), uniform(0.03, 0.09)
        image = image + lungs * uniform(0.05, 0.3) * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * wide**2))
    pitch, phase, fall = uniform(0.085, 0.11), uniform(0, 1), uniform(0.5, 0.9)
    bow = y - fall * abs(x) + 1.1 * x**2  # ribs run down from the spine
    ribs = np.clip(np.cos(2 * np.pi * (bow / pitch + phase)) - 0.2, 0, 1) * (abs(x) > 0.05) * (y < 0.33)
    image = image + inside * uniform(0.06, 0.14) * ribs
    for sign in (-1, 1):  # collar bones
        bone = y + 0.31 - sign * x * 0.25 + uniform(-0.02, 0.02)
        image = image + inside * 0.14 * np.exp(-((bone / 0.018) ** 2)) * (sign * x > 0.04)
    exposure = 1 + uniform(-0.2, 0.2) * 2 * y + uniform(-0.15, 0.15) * 2 * x
    return image * exposure * uniform(0.85, 1.15) + uniform(0.0, 0.12)
