"""Head MRI around one hippocampus: volumes of differing sizes, cut into slices, values 0 to 0.2 (S0.1 to S0.3)."""

import numpy as np

from kseg.data.recipe import centred_box, pad, scale
from kseg.data.synthetic.base import Case, Drawn, Synthetic, choice, number, numbered, whole
from kseg.data.synthetic.fields import blur, smooth_noise

CLASSES = {"binary": ("background", "hippocampus"), "all": ("background", "anterior", "posterior")}
SIDES = ("left", "right")
VARY = 0.14  # sizes differ by as much to either side of `extent`, as those of the Decathlon do
UPPER = 99.5  # percentile that becomes the maximum, as scripts/prepare_hippocampus.py has it


class Volumes(Synthetic):
    """Hippocampus-like volumes as zero-padded slices along depth, in the layout of the prepared hippocampus (S0.1).

    Each case is one side of a head, `train-0003-left`; both sides of a head are in one split. A curved gray body of
    about 5 % of the voxels lies between white matter, fluid and other gray matter of its own brightness, under
    Rician noise and an uneven field. A good quarter of the slices does not meet it. Each volume is scaled by itself to
    [0, max_value] and zero-padded, centred, to the next multiple of 16; `box` keeps its content.

    Args:
        classes: "binary" (background, hippocampus) or "all" (background, anterior, posterior).
        extent: (height, width, slices) of the middling volume, 8 to 256 each; each volume's differ by up to 14 %.
        noise: standard deviation of the Rician noise, 0 to 0.5 (white matter has about 0.8).
        max_value: of the images, above 0; D0 has 0.2.
        counts: heads in train, validation and test; each gives two volumes.
        seed: of everything drawn.

    Raises:
        ValueError: an option that does not fit.

    Example:
        >>> from kseg.data import open_data
        >>> data = open_data("volumes", extent=(12, 16, 6), counts=(1, 1, 1))
        >>> sorted(set(data.index("test")["case"])), data.shape
        (['test-0000-left', 'test-0000-right'], (16, 32, 1))
    """

    name = "volumes"

    def __init__(
        self, classes="binary", extent=(37, 50, 36), noise=0.05, max_value=0.2, counts=(10, 2, 3), seed=0
    ):  # fmt: skip
        self.classes = CLASSES[choice("class scheme", classes, CLASSES)]
        self._parts = classes == "all"
        if not isinstance(extent, (tuple, list)) or len(extent) != 3:
            raise ValueError(f"extent={extent!r} does not fit. Expected three whole numbers from 8 to 256.")
        self._extent = tuple(whole("extent", side, 8 if i < 2 else 4, 256) for i, side in enumerate(extent))
        self._noise = number("noise", noise, 0, 0.5)
        self.value_range = (0.0, number("max_value", max_value, 1e-6, 1e6))
        self.shape = (*(int(-(-round(side * (1 + VARY)) // 16) * 16) for side in self._extent[:2]), 1)
        super().__init__(
            counts, seed, classes=classes, extent=self._extent, noise=self._noise, max_value=self.value_range[1]
        )  # fmt: skip

    def _size(self, split, head, side):
        """Voxels of a volume along height, width and depth, from a stream of their own: the index needs no voxels."""
        vary = self._stream(split, head, 1 + side).uniform(1 - VARY, 1 + VARY, 3)
        return tuple(int(round(n)) for n in np.array(self._extent) * vary)

    def _cases(self, split):
        cases = []
        for head, name in enumerate(numbered(split, self.counts[split])):
            for i, side in enumerate(SIDES):
                height, width, depth = self._size(split, head, i)
                cases.append(Case(f"{name}-{side}", depth, centred_box((height, width), self.shape[:2]), (1.0, 1.0)))
        return cases

    def _draw(self, split, number):
        head, side = divmod(number, len(SIDES))
        common, own = self._stream(split, head), self._stream(split, head, 1 + len(SIDES) + side)
        label, image = _volume(common, own, self._size(split, head, side), self._noise)
        if side:
            label, image = label[::-1], image[::-1]
        if not self._parts:
            label = np.minimum(label, 1)
        levels = np.rint(scale(image, 255, UPPER)).astype(np.uint8)
        box = self._list[split][number].box
        levels, masks = (pad(np.moveaxis(a, 2, 0), self.shape[:2], box) for a in (levels, label))
        return Drawn(levels[..., None], masks)


def _volume(common, own, size, noise):
    """Labels uint8 (1 anterior, at the far end of axis 1, 2 posterior) and image of `size`, of the left side.

    Args:
        common, own: streams of the head and of this side.
        size: voxels along axes 0, 1, 2.
        noise: standard deviation of both parts of the Rician noise.
    """
    x, y, z = np.meshgrid(*((np.arange(n) + 0.5) / n for n in size), indexing="ij", sparse=True)
    body = _Body(common, own)
    reach = body.reach(x, y, z) + 0.12 * smooth_noise(own, size, min(size) / 8)
    inside, along = reach < 1, body.along(y)
    label = np.where(inside, np.where(along > body.border, 1, 2), 0).astype(np.uint8)
    white, gray, fluid = 0.8, common.uniform(0.52, 0.6), common.uniform(0.12, 0.2)
    folds = smooth_noise(own, size, min(size) / 12) + 0.8 * smooth_noise(own, size, min(size) / 5)
    image = np.where(folds > 0.35, gray, white)
    image = np.where(folds < -1.5, fluid, image)
    image = np.where((reach > 1) & (reach < 1.35), white, image)  # a thin sheet of white matter around it
    horn = (reach >= 1) & (reach < 1.7) & (x + 0.25 * z + 0.04 * folds > body.horn) & (along + 0.1 * folds > 0.35)
    image = np.where(horn, fluid, image)  # the temporal horn runs beside its anterior part
    image = np.where(inside, gray + 0.03 * smooth_noise(own, size, 1.5), image)
    image = blur(image, 0.6, range(3))
    image = image * (1 + 0.08 * smooth_noise(own, size, max(size) / 3))
    if noise:  # Rician: the size of a complex number with noise in both parts
        image = np.hypot(image + noise * own.standard_normal(size), noise * own.standard_normal(size))
    return label, image


class _Body:
    """A bent tube, thick in front; lengths are shares of the volume's."""

    def __init__(self, common, own):
        def draw(low, high, vary=0.01):
            return common.uniform(low, high) + own.uniform(-vary, vary)

        self.start, self.end = draw(0.12, 0.18), draw(0.82, 0.88)
        self.x, self.bend = draw(0.46, 0.54), draw(0.06, 0.14)
        self.front, self.rise = draw(0.23, 0.27), draw(0.49, 0.55)
        self.thick = draw(0.18, 0.21, 0.005), draw(0.165, 0.195, 0.005)
        self.border, self.horn = draw(0.52, 0.58), draw(0.7, 0.75)

    def along(self, y):
        """0 at the posterior end, 1 at the anterior one."""
        return (y - self.start) / (self.end - self.start)

    def reach(self, x, y, z):
        """Below 1 inside: distance from the middle line over the radius there."""
        t = self.along(y)
        x_of = self.x - self.bend * (1 - np.clip(t, 0, 1)) ** 2
        z_of = self.front + self.rise * (1 - np.clip(t, 0, 1)) ** 1.1
        width = np.sqrt(np.clip(1 - abs(2 * t - 1) ** 3, 1e-4, 1)) * (0.72 + 0.38 * np.clip(t, 0, 1))
        apart = ((x - x_of) / (self.thick[0] * width)) ** 2 + ((z - z_of) / (self.thick[1] * width)) ** 2
        return np.where((t > 0) & (t < 1), np.sqrt(apart), 9.0)
