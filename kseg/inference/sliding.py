"""Images of any size through windows that a model can take, blended where they overlap.

Windows are weighted by a Gaussian around their centre, whose standard deviation is an eighth of their side, since a
model knows least at a window's border (Isensee et al. 2021, nnU-Net, Nature Methods 18:203, supplementary note 2).
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from kseg.data.recipe import centred_box
from kseg.inference.graph import forward

LARGEST = 1024  # side of the windows of a model that takes every size


class Band(NamedTuple):
    """Rows of an image that no further window changes: its number, the first row, probabilities `[h, W, K]`."""

    image: int
    row: int
    p: np.ndarray


class _Tile(NamedTuple):
    """A window on an image: where it lies, what its pixels count `[h, w]`, and up to which row the image is done."""

    number: int
    image: np.ndarray
    rows: slice
    columns: slice
    share: np.ndarray
    done: int


def predict_probabilities(model, images, *, window=None, overlap=0.5, batch_size=16):
    """Probabilities of every pixel of images of any size.

    Args:
        model: gives probabilities `[B, h, w, K]`.
        images: `[N, H, W, C]` float32.
        window: (h, w) of what the model sees at once; None for its own size or, if it takes every size, for the whole
            image up to `LARGEST` pixels a side. Images smaller than that are zero-padded all around, as training pads
            them, and the result is cut again.
        overlap: share of a window that lies in the next one too, at least; in [0, 1).
        batch_size: windows a batch, of one image or of several.

    Returns:
        `[N, H, W, K]` float32.

    Raises:
        ValueError: a window that the model does not take, or an overlap outside [0, 1).

    Example:
        >>> import keras
        >>> pixel = keras.Input((4, 4, 1))
        >>> model = keras.Model(pixel, keras.layers.Rescaling(0.5)(pixel))
        >>> float(predict_probabilities(model, np.ones((1, 5, 9, 1), "float32")).mean())
        0.5
    """
    result = np.empty((*images.shape[:3], model.output_shape[-1]), np.float32)
    for number, row, p in bands(model, images, window=window, overlap=overlap, batch_size=batch_size):
        result[number, row : row + len(p)] = p
    return result


def class_ids(p, threshold=0.5):
    """Class ids `[...]` uint8 of probabilities `[..., K]`: above the threshold if K = 1, else the largest."""
    return (p[..., 0] > threshold if p.shape[-1] == 1 else p.argmax(axis=-1)).astype(np.uint8)


def bands(model, images, *, window=None, overlap=0.5, batch_size=16):
    """Iterate over the finished rows of images: image by image, from top to bottom, a few rows at a time.

    Of the probabilities no more than a batch of windows and one row of them are held, so that class ids of a large
    image take little more memory than the image.

    Args:
        images: iterable of `[H, W, C]` float32, of any sizes, each taken when a batch needs it.
        model, window, overlap, batch_size: see `predict_probabilities`.

    Returns:
        Iterator over `Band`; when one comes, images beyond its own may have been taken already, for the same batch.
    """
    check_window(model, window)
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap={overlap!r} does not fit. Expected at least 0 and below 1.")
    canvas = None
    for tile, p in _predicted(model, _tiles(model, images, window, overlap), window, batch_size):
        height, width = tile.rows.stop - tile.rows.start, tile.image.shape[1]
        if canvas is None:
            canvas = np.zeros((height, width, p.shape[-1]), np.float32)
        canvas[:, tile.columns] += tile.share[..., None] * p
        if tile.columns.stop < width:
            continue
        ready = tile.done - tile.rows.start
        yield Band(tile.number, tile.rows.start, canvas[:ready])
        whole = tile.done == len(tile.image)
        canvas = None if whole else np.concatenate([canvas[ready:], np.zeros_like(canvas[:ready])])


def check_window(model, window):
    """Raise ValueError unless a model takes windows of this size (h, w); None is its own."""
    own = model.input_shape[1:3]
    if window is not None and any(size not in (None, side) for size, side in zip(own, window, strict=True)):
        raise ValueError(
            f"window {window[0]} x {window[1]} does not fit model {model.name!r}, which takes images of {own[0]} x "
            f"{own[1]}. Expected that size; leave the window out."
        )


def _tiles(model, images, window, overlap):
    for number, image in enumerate(images):
        size = _window(model, image, window)
        rows, columns = (_shares(*sides, overlap) for sides in zip(image.shape[:2], size, strict=True))
        dones = [row.start for row, _ in rows[1:]] + [len(image)]
        for ((row, down), done), (column, across) in itertools.product(zip(rows, dones, strict=True), columns):
            yield _Tile(number, image, row, column, np.outer(down, across), done)


def _window(model, image, window):
    if window is not None:
        return tuple(window)
    return tuple(own or min(side, LARGEST) for own, side in zip(model.input_shape[1:3], image.shape[:2], strict=True))


def _shares(length, window, overlap):
    """Windows along an axis, evenly spread: [(slice, what each of its pixels counts)], which sum to 1 everywhere."""
    if window >= length:
        return [(slice(0, length), np.ones(length, np.float32))]
    step = max(1, int(window * (1 - overlap) + 1e-9))
    count = math.ceil((length - window) / step) + 1
    starts = np.rint(np.linspace(0, length - window, count)).astype(int)
    weight = np.exp(-0.5 * ((np.arange(window) - (window - 1) / 2) / (window / 8)) ** 2)
    total = np.zeros(length)
    for start in starts:
        total[start : start + window] += weight
    places = [slice(int(start), int(start) + window) for start in starts]
    return [(place, (weight / total[place]).astype(np.float32)) for place in places]


def _predicted(model, tiles, window, batch_size):
    """Iterate over (tile, its probabilities `[h, w, K]`); tiles of one window size go through the model together."""
    sized = ((_window(model, tile.image, window), tile) for tile in tiles)
    for size, group in itertools.groupby(sized, key=lambda pair: pair[0]):
        while batch := [tile for _, tile in itertools.islice(group, batch_size)]:
            see = forward(model, (*size, batch[0].image.shape[-1]))
            frames = [centred_box(tile.share.shape, size) for tile in batch]
            images = np.zeros((len(batch), *size, batch[0].image.shape[-1]), np.float32)
            for out, tile, (y0, y1, x0, x1) in zip(images, batch, frames, strict=True):
                out[y0:y1, x0:x1] = tile.image[tile.rows, tile.columns]
            for tile, p, (y0, y1, x0, x1) in zip(batch, see(images).numpy(), frames, strict=True):
                yield tile, p[y0:y1, x0:x1]
