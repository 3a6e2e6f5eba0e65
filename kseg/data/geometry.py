"""Images of another size, blocks of pixels that become one, and the crops that are cut from images."""

import numpy as np
from scipy.sparse import csr_array


class Grid:
    """Square crops without overlap, the whole of them centred on an image; each pixel stands for a block of pixels.

    Args:
        size: (H, W) of the images.
        crop: side of a crop, in pixels after reduction, or (h, w).
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
        self.crop = tuple(crop) if isinstance(crop, (tuple, list)) else (crop, crop)
        self.downsample = downsample
        sides = tuple(side * downsample for side in self.crop)
        if sides[0] > size[0] or sides[1] > size[1]:
            raise ValueError(
                f"--crop={crop} at --downsample={downsample} takes {max(sides)} pixels a side, but images have "
                f"{size[0]} x {size[1]}. Expected at most {min(size)}; choose smaller crops or a smaller factor."
            )
        self.counts = tuple(length // side for length, side in zip(size, sides, strict=True))
        whole = tuple(count * side for count, side in zip(self.counts, sides, strict=True))
        corner = ((length - kept) // 2 for length, kept in zip(size, whole, strict=True))
        self._kept = tuple(slice(c, c + kept) for c, kept in zip(corner, whole, strict=True))
        self.rows = self.counts[0] * self.counts[1]
        self.dropped = 1 - whole[0] * whole[1] / (size[0] * size[1])

    def crops(self, array):
        """Crops `[rows, h, w, ...]` of an array `[H, W, ...]`, of which nothing is reduced."""
        return self._crops(array[self._kept])

    def images(self, image):
        """Crops `[rows, crop, crop, C]` uint8 of an image `[H, W, C]` uint8: the mean of each block, rounded."""
        if self.downsample == 1:
            return self._crops(image[self._kept])
        return self._crops(np.rint(block_mean(image[self._kept], self.downsample)).astype(np.uint8))

    def labels(self, labels):
        """Crops `[rows, crop, crop]` of labels `[H, W]`: that of most pixels of a block, the lower of equals."""
        if self.downsample == 1:
            return self._crops(labels[self._kept])
        return self._crops(block_majority(labels[self._kept], self.downsample))

    def _crops(self, array):
        (rows, columns), (height, width) = self.counts, self.crop
        crops = array.reshape(rows, height, columns, width, *array.shape[2:]).swapaxes(1, 2)
        return crops.reshape(self.rows, height, width, *array.shape[2:])


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


def block_mean(image, n):
    """The mean of each block of n x n pixels of `[H, W, ...]`, whose sides are multiples of n: float64."""
    kind = np.int64 if image.dtype.kind in "biu" else np.float64
    return sum(shift.astype(kind) for shift in _shifts(image, n)) / n**2


def block_majority(labels, n):
    """The label of most pixels of each block of n x n of `[H, W]`, sides multiples of n; the lower of equals."""
    found, most = labels.dtype.type(0), -1
    for label in np.unique(labels):
        count = sum((shift == label).astype(np.int64) for shift in _shifts(labels, n))
        found = np.where(count > most, label, found)
        most = np.maximum(most, count)
    return found


def _shifts(array, n):
    """The first pixel of each block `[h, w, ...]`, then the second, and so on: views."""
    return [array[i::n, j::n] for i in range(n) for j in range(n)]


def _weights(old, new):
    """What each of `new` pixels takes of each of `old` ones, `[new, old]`; rows sum to 1."""
    pixels, centre = np.arange(old), (np.arange(new)[:, None] + 0.5) * old / new
    if new > old:
        return csr_array(np.maximum(1 - np.abs(np.clip(centre - 0.5, 0, old - 1) - pixels), 0))
    half = old / new / 2
    overlap = np.minimum(centre + half, pixels + 1) - np.maximum(centre - half, pixels)
    return csr_array(np.maximum(overlap, 0) * new / old)
