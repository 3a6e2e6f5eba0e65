"""Image files, and the crops that are cut from images."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image  # comes with matplotlib

COLOUR = ("RGB",)
GRAY = ("L", "P", "I", "I;16", "I;16B")


def read_image(path, size):
    """The pixels of a colour image file, uint8 `[H, W, 3]`.

    Args:
        path: whatever Pillow reads.
        size: (H, W) that it must have; looked at before anything is decoded.

    Raises:
        FileNotFoundError, ValueError: missing, no image, truncated, of another size or not RGB.
    """
    return _read(Path(path), size, COLOUR, "an RGB image")


def read_labels(path, size):
    """The values of a one-channel image file such as a mask, integers `[H, W]`; see `read_image`."""
    return _read(Path(path), size, GRAY, "an image of one channel of whole numbers")


def _read(path, size, modes, kind):
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected {kind}; get it again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # what is too large is refused below
            with Image.open(path) as image:
                mode, (width, height) = image.mode, image.size
                fits = mode in modes and (height, width) == tuple(size)
                pixels = np.asarray(image) if fits else None
    except Exception as error:  # Pillow raises many kinds for a file that is not what its name says
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read ({reason:.120}). Expected {kind}; get it again.") from None
    if mode not in modes:
        raise ValueError(f"{path} has pixels of kind {mode}. Expected {kind}; convert it.")
    if not fits:
        raise ValueError(f"{path} has {height} x {width} pixels. Expected {size[0]} x {size[1]}; get it again.")
    return pixels


class Grid:
    """Square crops without overlap, the whole of them centred on an image; each pixel stands for a block of pixels.

    Args:
        size: (H, W) of the images.
        crop: side of a crop, in pixels after reduction.
        downsample: side of a block, at least 1. Blocks begin at the corner of the first crop, so that every block is
            whole.

    Attributes:
        rows: crops an image gives, row by row.
        dropped: share of the image that lies in the margin outside the crops.

    Raises:
        ValueError: a crop is larger than the image.

    Example:
        >>> grid = Grid((9, 13), crop=2, downsample=2)
        >>> grid.rows, grid.images(np.zeros((9, 13, 3), "uint8")).shape
        (6, (6, 2, 2, 3))
    """

    def __init__(self, size, crop, downsample=1):
        side = crop * downsample
        if side > min(size):
            raise ValueError(
                f"--crop={crop} at --downsample={downsample} takes {side} pixels a side, but images have {size[0]} x "
                f"{size[1]}. Expected at most {min(size)}; choose smaller crops or a smaller factor."
            )
        self.crop, self.downsample = crop, downsample
        self.counts = tuple(length // side for length in size)
        corner = ((length - count * side) // 2 for length, count in zip(size, self.counts, strict=True))
        self._kept = tuple(slice(c, c + n * side) for c, n in zip(corner, self.counts, strict=True))
        self.rows = self.counts[0] * self.counts[1]
        self.dropped = 1 - self.rows * side**2 / (size[0] * size[1])

    def images(self, image):
        """Crops `[rows, crop, crop, C]` uint8 of an image `[H, W, C]` uint8: the mean of each block, rounded."""
        if self.downsample == 1:
            return self._crops(image[self._kept])
        total = sum(shift.astype(np.int64) for shift in self._shifts(image))
        return self._crops(np.rint(total / self.downsample**2).astype(np.uint8))

    def labels(self, labels, classes):
        """Crops `[rows, crop, crop]` of class ids `[H, W]`: that of most pixels of a block, the lower of equals."""
        if self.downsample == 1:
            return self._crops(labels[self._kept])
        found, most = np.uint8(0), -1
        for label in range(classes):
            count = sum((shift == label).astype(np.int64) for shift in self._shifts(labels))
            found = np.where(count > most, np.uint8(label), found)
            most = np.maximum(most, count)
        return self._crops(found)

    def _shifts(self, array):
        """The first pixel of each block `[h, w, ...]`, then the second, and so on: views of the kept pixels."""
        n = self.downsample
        return [array[self._kept][i::n, j::n] for i in range(n) for j in range(n)]

    def _crops(self, array):
        (rows, columns), side = self.counts, self.crop
        crops = array.reshape(rows, side, columns, side, *array.shape[2:]).swapaxes(1, 2)
        return crops.reshape(self.rows, side, side, *array.shape[2:])
