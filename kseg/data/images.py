"""Image files, the crops that are cut from images, and images of another size."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image  # comes with matplotlib
from scipy.sparse import csr_array

COLOUR = ("RGB",)
GRAY = ("1", "L", "P", "I", "I;16", "I;16B")
MIXED = ("RGB", "RGBA", "LA", *GRAY)
LARGEST = 10**8  # pixels of an image whose size is not known beforehand


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


def read_gray(path):
    """The pixels of an image file as gray, uint8 or uint16 `[H, W]`; colours become their luma (ITU-R BT.601).

    Looks at the size before anything is decoded, as `read_image` does, and takes at most `LARGEST` pixels.
    """
    pixels = _read(Path(path), None, MIXED, "a gray or colour image", gray=True)
    if pixels.dtype.itemsize > 2 and not 0 <= pixels.min() <= pixels.max() < 2**16:
        raise ValueError(f"{path} has values up to {pixels.max()}. Expected 8 or 16 bits a pixel; convert it.")
    return pixels.astype(np.uint8 if pixels.dtype == np.uint8 else np.uint16)


def resize(image, size):
    """An image `[H, W]` of another size (h, w), float64; pixels are squares that fill the image in both.

    An axis that gets shorter takes the mean over the area of each new pixel, one that gets longer is interpolated
    linearly between the old pixels' centres.

    Example:
        >>> resize(np.array([[0, 2, 4, 6, 8, 10]]), (1, 3)).tolist()
        [[1.0, 5.0, 9.0]]
    """
    rows, columns = (_weights(*sides) for sides in zip(image.shape, size, strict=True))
    return (columns @ (rows @ np.asarray(image, np.float64)).T).T


def resize_labels(labels, size):
    """Labels `[H, W]` of another size (h, w): those of the old pixel in which the centre of the new one lies."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(labels.shape, size, strict=True))
    return labels[np.ix_(rows, columns)]


def _weights(old, new):
    """What each of `new` pixels takes of each of `old` ones, `[new, old]`; rows sum to 1."""
    pixels, centre = np.arange(old), (np.arange(new)[:, None] + 0.5) * old / new
    if new > old:
        return csr_array(np.maximum(1 - np.abs(np.clip(centre - 0.5, 0, old - 1) - pixels), 0))
    half = old / new / 2
    overlap = np.minimum(centre + half, pixels + 1) - np.maximum(centre - half, pixels)
    return csr_array(np.maximum(overlap, 0) * new / old)


def _read(path, size, modes, kind, gray=False):
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected {kind}; get it again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files too large, which are refused below, and of palettes
            with Image.open(path) as image:
                mode, (width, height) = image.mode, image.size
                known = height * width <= LARGEST if size is None else (height, width) == tuple(size)
                pixels = None
                if mode in modes and known:
                    pixels = np.asarray(image.convert("L") if gray and not mode.startswith("I") else image)
    except Exception as error:  # Pillow raises many kinds for a file that is not what its name says
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read ({reason:.120}). Expected {kind}; get it again.") from None
    if mode not in modes:
        raise ValueError(f"{path} has pixels of kind {mode}. Expected {kind}; convert it.")
    if not known:
        expected = f"at most {LARGEST} in all" if size is None else f"{size[0]} x {size[1]}"
        raise ValueError(f"{path} has {height} x {width} pixels. Expected {expected}; get it again.")
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
