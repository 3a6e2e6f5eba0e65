"""What preparation does to the images of a case: forwards for training and prediction, backwards for what comes out."""

from dataclasses import asdict, dataclass, fields

import numpy as np

from kseg.data.geometry import block_majority, block_mean, resize, resize_labels
from kseg.data.preprocess_rules import RULES, check
from kseg.data.recipe import centred_box, fit_within, limits, luma, scale, white

LEVELS = 255
STRIP = 256  # rows that are scaled at once, so that large images take little memory


@dataclass(frozen=True)
class Preprocessing:
    """What preparation does to the images of a case, so that prediction can do the same and go back.

    In this order: colours, intensities, size, rounding, padding. What is padded is `value_range[0]`, on all sides, so
    that the content stays in the middle.

    Args:
        channels: 1 for gray (colours become their luma, ITU-R BT.601) or 3 for colour (gray is repeated).
        value_range: (low, high) of what a model sees.
        intensity: "type": the whole range of the stored type (uint8 0 to 255, uint16 0 to 65535, floating point 0 to
            1, as DICOM files are read) goes to `value_range`; "percentile": of each case by itself, its minimum goes
            to low, its `upper_percentile` to high, and what lies above is cut; "none": pixels stay as they are.
        upper_percentile: in (0, 100], for "percentile" alone.
        size: (h, w) that images are resized to; None keeps their size.
        fit: with `size`, "stretch" resizes each side by itself, "aspect" keeps the shape and pads.
        downsample: side of the blocks of pixels whose mean a pixel becomes, instead of `size`.
        window: (h, w) of the images of the data file, without `size`; smaller images are padded to it, larger ones
            stay, so that prediction slides a window of this size.
        axis: of volumes, the one along which slices run; None for the file format's own (`kseg.data.read`).
        orientation: of volumes, where their axes point to, such as "RAS"; others are turned to it. None: as they are.
        rounded: pixels were rounded to 256 levels on the way, so that the data file holds bytes.
        mask_values: what the mask files hold for each class, the background first, so that predicted masks are written
            with it; None for class ids.

    Raises:
        ValueError: a value that does not fit.

    Example:
        >>> gray = Preprocessing(channels=1, value_range=(0, 1), window=(4, 4))
        >>> gray.images(np.full((1, 2, 2, 3), 255, np.uint8))[0, :, :, 0].tolist()[1]
        [0.0, 1.0, 1.0, 0.0]
        >>> Preprocessing.from_json(gray.to_json()) == gray
        True
    """

    channels: int
    value_range: tuple = (0.0, 1.0)
    intensity: str = "type"
    upper_percentile: float = 100.0
    size: tuple | None = None
    fit: str = "stretch"
    downsample: int = 1
    window: tuple | None = None
    axis: int | None = None
    orientation: str | None = None
    rounded: bool = False
    mask_values: tuple | None = None

    def __post_init__(self):
        for name in ("value_range", "size", "window", "mask_values"):  # JSON has lists
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, (fits, expected) in RULES.items():
            try:
                right = fits(getattr(self, name))
            except (TypeError, ValueError, OverflowError):
                right = False
            check(right, f"{name}={getattr(self, name)!r}", expected)
        check(self.size is None or (self.window is None and self.downsample == 1), f"size={self.size}",
               "neither a window nor downsample beside it")  # fmt: skip
        plain = self.value_range[0] == 0 and self.intensity != "none"
        check(plain or not self.rounded, "rounded=True", "values from 0, and intensity 'type' or 'percentile'")

    def to_json(self):
        """A dict for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values):
        """The preprocessing of `to_json`; ValueError for whatever else."""
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not {"channels"} <= set(values) <= known:
            raise ValueError(f"preprocessing {values!r:.160} cannot be read. Expected what kseg wrote; prepare again.")
        return cls(**values)

    @property
    def scale(self):
        """What the bytes of rounded images are multiplied by, for `kseg.data.Writer`; None for float32 images."""
        return self.value_range[1] / LEVELS if self.rounded else None

    @property
    def resizes(self):
        """Whether the size of pixels changes, not only what is around them."""
        return self.size is not None or self.downsample > 1

    def images(self, pixels):
        """The images of one case as a model sees them.

        Args:
            pixels: `[n, H, W, C]` in stored type, C = 1 or 3, as `kseg.data.read.read_case` gives them.

        Returns:
            float32 `[n, h, w, channels]`.

        Raises:
            ValueError: pixels that the intensity does not fit, or without contrast, without the name of the file.
        """
        stored = self.stored(pixels)
        return stored.astype(np.float32) * np.float32(self.scale) if self.rounded else stored

    def stored(self, pixels):
        """`images` as the data file holds them: uint8 levels if rounded, to be multiplied by `scale`, else float32."""
        pixels = self._channels(np.asarray(pixels))
        top = LEVELS if self.rounded else self.value_range[1] - self.value_range[0]
        stretch = self._stretch(pixels, top)
        (h, w), box = self._frame(pixels.shape[1:3])
        inner = (box[1] - box[0], box[3] - box[2])
        out = np.empty((len(pixels), h, w, self.channels), np.uint8 if self.rounded else np.float32)
        out[...] = 0 if self.rounded else self.value_range[0]
        kept = pixels.shape[1:3] == inner and self.downsample == 1
        for image, slot in zip(pixels, out[:, box[0] : box[1], box[2] : box[3]], strict=True):
            for start in range(0, len(image), STRIP if kept else len(image)):
                part = np.s_[start : start + STRIP] if kept else np.s_[:]
                values = stretch(image[part]) if kept else self._resized(image, stretch, inner)
                slot[part] = np.rint(values) if self.rounded else values
        if not self.rounded and self.intensity != "none" and self.value_range[0]:
            out[:, box[0] : box[1], box[2] : box[3]] += np.float32(self.value_range[0])
        return out

    def labels(self, ids):
        """Class ids or object numbers `[n, H, W]` as training sees them, `[n, h, w]`, padded with 0.

        Resized, a pixel takes the label at its centre; of a block, that of most of its pixels, the lower of equals.
        """
        (h, w), box = self._frame(ids.shape[1:])
        inner = (box[1] - box[0], box[3] - box[2])
        out = np.zeros((len(ids), h, w), ids.dtype)
        for image, slot in zip(ids, out[:, box[0] : box[1], box[2] : box[3]], strict=True):
            if self.downsample > 1:
                slot[...] = block_majority(self._whole_blocks(image), self.downsample)
            else:
                slot[...] = image if image.shape == inner else resize_labels(image, inner)
        return out

    def labels_back(self, ids, size):
        """Class ids `[n, h, w]` in the original size (H, W): `[n, H, W]`, padding cut off, resized to the nearest."""
        ids = self._content(ids, size)
        if self.downsample > 1:
            blocks = ids.repeat(self.downsample, axis=1).repeat(self.downsample, axis=2)
            return blocks[:, : size[0], : size[1]]
        return ids if ids.shape[1:] == tuple(size) else np.stack([resize_labels(each, size) for each in ids])

    def mask(self, ids):
        """What a mask file holds for class ids: `mask_values`, uint8, or uint16 where one is above 255; else the ids.

        Example:
            >>> Preprocessing(channels=1, mask_values=(0, 255)).mask(np.array([[0, 1, 1]], np.uint8)).tolist()
            [[0, 255, 255]]
        """
        if self.mask_values is None:
            return ids
        return np.array(self.mask_values, np.uint8 if max(self.mask_values) < 2**8 else np.uint16)[ids]

    def probabilities_back(self, p, size):
        """Probabilities `[n, h, w, K]` in the original size: float32 `[n, H, W, K]`, linear, so that sums stay 1."""
        p = self._content(p, size)
        if p.shape[1:3] == tuple(size):
            return np.asarray(p, np.float32)
        n = self.downsample
        full = (p.shape[1] * n, p.shape[2] * n) if n > 1 else size
        out = np.empty((len(p), *size, p.shape[3]), np.float32)
        for each, slot in zip(p, out, strict=True):
            for k in range(p.shape[3]):
                slot[..., k] = resize(each[..., k], full)[: size[0], : size[1]]
        return out

    def box(self, size):
        """(y0, y1, x0, x1) that an image of `size` (H, W) fills of what becomes of it."""
        return self._frame(size)[1]

    def shape(self, size):
        """(h, w) of what becomes of an image of `size` (H, W)."""
        return self._frame(size)[0]

    def spacing(self, spacing, size):
        """(y, x) in mm of a pixel that a model sees, from that of an image of `size` (H, W); None stays None."""
        if spacing is None or self.size is None:
            return spacing and tuple(s * self.downsample for s in spacing)
        y0, y1, x0, x1 = self.box(size)
        return tuple(s * old / new for s, old, new in zip(spacing, size, (y1 - y0, x1 - x0), strict=True))

    def _frame(self, size):
        if self.size is None:
            inner = tuple(-(-side // self.downsample) for side in size)
            out = tuple(map(max, inner, self.window or inner))
        else:
            inner, out = self.size if self.fit == "stretch" else fit_within(size, self.size), self.size
        return out, centred_box(inner, out)

    def _content(self, array, size):
        """What of `[n, h, w, ...]` is no padding, given the original size."""
        (h, w), (y0, y1, x0, x1) = self._frame(size)
        if array.shape[1:3] != (h, w):
            raise ValueError(
                f"images of {size[0]} x {size[1]} become {h} x {w}, what shall go back has {array.shape[1]} x "
                f"{array.shape[2]}. Expected equal sizes."
            )
        return array[:, y0:y1, x0:x1]

    def _channels(self, pixels):
        count = pixels.shape[-1]
        if pixels.ndim != 4 or count not in (1, 3) or 0 in pixels.shape:
            raise ValueError(f"has pixels {list(pixels.shape)}. Expected [n, H, W, C] of 1 or 3 channels; convert it.")
        if count == 3 and self.channels == 1:
            return luma(pixels)
        return np.repeat(pixels, 3, axis=-1) if count < self.channels else pixels

    def _stretch(self, pixels, top):
        """A function that puts parts of a case into [0, top], or leaves them."""
        if self.intensity == "none":
            return lambda image: image
        if self.intensity == "percentile":
            ends = limits(pixels, self.upper_percentile)
            return lambda image: scale(image, top, ends=ends)
        factor = top / white(pixels)
        return (lambda image: image) if factor == 1 else (lambda image: image * factor)

    def _resized(self, image, stretch, inner):
        """`[H, W, C]` stretched, as `[h, w, C]`."""
        if self.downsample > 1:
            return block_mean(self._whole_blocks(stretch(image)), self.downsample)
        return np.stack([resize(stretch(image[..., c]), inner) for c in range(image.shape[-1])], axis=-1)

    def _whole_blocks(self, image):
        """`[H, W, ...]` whose last rows and columns are repeated, so that blocks fill it."""
        missing = [(0, -side % self.downsample) for side in image.shape[:2]]
        return np.pad(image, missing + [(0, 0)] * (image.ndim - 2), mode="edge")
