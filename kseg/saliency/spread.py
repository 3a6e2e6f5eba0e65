"""How far the gradients of an image are spread, as numbers (S0.18, S0.19).

Maps are `[N, H, W]` or `[N, H, W, C]`; where there are several channels, the magnitude of a pixel is the Euclidean norm
over them. `boxes` `[N, 4]` = (y0, y1, x0, x1) are the parts of the images that count, the rest being padding. Each
function returns `[N]` float64. An image whose map is zero has no spread: nan (0/0), but for `largest`, which is 0.

Example:
    >>> import numpy as np
    >>> float(participation(np.ones((1, 4, 4)))[0]), float(participation(np.eye(4)[None])[0])
    (1.0, 0.25)
"""

import numpy as np


def share_above(maps, part=0.1, *, boxes=None):
    """Share of pixels whose |g| is above `part` of the largest."""
    size, inside = _magnitudes(maps, boxes)
    top = size.max(axis=(1, 2), keepdims=True, initial=0)
    return _ratio((size > part * top).sum(axis=(1, 2)), _count(inside) * (top[:, 0, 0] > 0))


def participation(maps, *, boxes=None):
    """Participation ratio (sum |g|)^2 / (n sum g^2): 1 where all pixels are alike, 1/n where one stands alone."""
    size, inside = _magnitudes(maps, boxes)
    size = size / np.maximum(size.max(axis=(1, 2), keepdims=True, initial=0), np.finfo(float).tiny)  # no underflow
    return _ratio(size.sum(axis=(1, 2)) ** 2, _count(inside) * (size**2).sum(axis=(1, 2)))


def top_distance(maps, k=30, *, boxes=None):
    """Mean distance in pixels between two of the k pixels of highest |g|; nan if fewer than two are above 0.

    Of equal pixels the first in reading order is taken; pixels of 0 are not.
    """
    if int(k) != k or k < 2:
        raise ValueError(f"k={k!r} pixels have no distance. Expected a whole number, at least 2.")
    size, _ = _magnitudes(maps, boxes)
    flat = size.reshape(len(size), size.shape[1] * size.shape[2])
    best = np.argsort(-flat, axis=1, kind="stable")[:, : int(k)]
    counts = np.take_along_axis(flat, best, axis=1) > 0
    y, x = np.divmod(best, size.shape[2])
    distance = np.hypot(y[:, :, None] - y[:, None], x[:, :, None] - x[:, None])
    pairs = counts[:, :, None] & counts[:, None]
    number = counts.sum(axis=1)
    return _ratio((distance * pairs).sum(axis=(1, 2)), number * (number - 1))


def largest(maps, *, boxes=None):
    """Largest |g|; 0 for a map of zeros."""
    return _magnitudes(maps, boxes)[0].max(axis=(1, 2), initial=0)


def sharpness(maps, *, boxes=None):
    """Mean |grad g| / max |g|, in 1/pixel: how sudden the transitions are, signs kept.

    Differences are central, and one-sided at the edges of the box.
    """
    size, inside = _magnitudes(maps, boxes)
    values = np.asarray(maps, np.float64)
    values = values if values.ndim == 4 else values[..., None]
    boxes = _boxes(boxes, values)
    square = sum((_slope(values, boxes, axis) ** 2).sum(axis=-1) for axis in (1, 2))
    steep = np.where(inside, np.sqrt(square), 0.0).sum(axis=(1, 2))
    return _ratio(steep, _count(inside) * size.max(axis=(1, 2), initial=0))


def soft_margin(p, low=0.1, high=0.9, *, boxes=None):
    """Share of pixels with low < p < high, for foreground probabilities `[N, H, W]` or `[N, H, W, 1]` (S0.19)."""
    p = np.asarray(p)
    if p.ndim == 4 and p.shape[-1] != 1:
        raise ValueError(f"p has shape {p.shape}. Expected one probability a pixel; take that of the foreground.")
    size, inside = _magnitudes(p, boxes)
    return _ratio(((size > low) & (size < high) & inside).sum(axis=(1, 2)), _count(inside))


def summary(maps, part=0.1, k=30, *, boxes=None):
    """All of these but `soft_margin`, as {name: `[N]`}."""
    return {
        "share_above": share_above(maps, part, boxes=boxes),
        "participation": participation(maps, boxes=boxes),
        "top_distance": top_distance(maps, k, boxes=boxes),
        "largest": largest(maps, boxes=boxes),
        "sharpness": sharpness(maps, boxes=boxes),
    }


def _magnitudes(maps, boxes):
    """|g| `[N, H, W]`, 0 outside the boxes, and where the boxes are."""
    maps = np.asarray(maps, np.float64)
    if maps.ndim not in (3, 4):
        raise ValueError(f"maps have shape {maps.shape}. Expected [N, H, W] or [N, H, W, C]; volumes by slices.")
    size = np.abs(maps) if maps.ndim == 3 else _norm(maps)
    (y0, y1, x0, x1), (height, width) = _boxes(boxes, maps), size.shape[1:]
    y, x = np.arange(height)[None, :, None], np.arange(width)[None, None]
    inside = (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
    return np.where(inside, size, 0.0), inside


def _norm(maps):
    """Euclidean norm over the last axis, without underflow of small squares."""
    if maps.shape[-1] == 1:
        return np.abs(maps[..., 0])
    top = np.abs(maps).max(axis=-1, keepdims=True, initial=0)
    return top[..., 0] * np.sqrt((np.divide(maps, top, out=np.zeros_like(maps), where=top > 0) ** 2).sum(axis=-1))


def _boxes(boxes, maps):
    """Four arrays `[N, 1, 1]`; without boxes the whole image."""
    count, (height, width) = len(maps), maps.shape[1:3]
    boxes = np.tile([0, height, 0, width], (count, 1)) if boxes is None else np.asarray(boxes)
    if boxes.shape != (count, 4):
        raise ValueError(f"boxes have shape {boxes.shape}. Expected [{count}, 4]: (y0, y1, x0, x1) of each image.")
    y0, y1, x0, x1 = boxes.T
    if not ((y0 >= 0) & (y0 < y1) & (y1 <= height) & (x0 >= 0) & (x0 < x1) & (x1 <= width)).all():
        raise ValueError(f"boxes do not lie in images of {height} x {width}. Expected 0 <= y0 < y1 <= H, x likewise.")
    return tuple(edge[:, None, None] for edge in (y0, y1, x0, x1))


def _slope(values, boxes, axis):
    """Difference along an axis `[N, H, W, C]`, within the boxes."""
    low, high = (edge[:, 0] for edge in boxes[2 * axis - 2 : 2 * axis])
    here = np.arange(values.shape[axis])[None]
    before, after = np.clip(here - 1, low, high - 1), np.clip(here + 1, low, high - 1)
    shape = [len(values), 1, 1, 1]
    shape[axis] = values.shape[axis]
    before, after = before.reshape(shape), after.reshape(shape)
    rise = np.take_along_axis(values, after, axis=axis) - np.take_along_axis(values, before, axis=axis)
    return rise / np.maximum(after - before, 1)


def _count(inside):
    return inside.sum(axis=(1, 2))


def _ratio(over, under):
    under = np.asarray(under, np.float64)
    return np.divide(over, under, out=np.full(len(under), np.nan), where=under > 0)
