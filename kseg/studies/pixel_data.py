"""Images cut to their salient pixels, for a model of the pixel study."""

import numpy as np

KEPT_SHARE = 0.2  # of the pixels of an image, those of highest gradient


def keep_highest(images, maps, boxes, share):
    """Images `[N, H, W, C]` in which all but the `share` of pixels of highest gradient are 0 (S0.21).

    The share is of the pixels within `boxes` `[N, 4]`; the padding around them is left as it is.
    """
    y0, y1, x0, x1 = np.asarray(boxes, int).T[:, :, None]
    rows, columns = np.arange(maps.shape[1]), np.arange(maps.shape[2])
    inside = ((rows >= y0) & (rows < y1))[:, :, None] & ((columns >= x0) & (columns < x1))[:, None]
    flat = np.where(inside, maps.max(axis=-1), -np.inf).reshape(len(maps), -1)
    place = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1, kind="stable")
    count = np.maximum(1, np.round(share * inside.sum(axis=(1, 2))))[:, None]
    kept = (place < count).reshape(inside.shape) | ~inside
    return np.where(kept[..., None], images, np.float32(0))


class Reduced:
    """A data set whose images went through a function; offers what `kseg.data.DataFile` offers.

    Args:
        data: an open data set.
        change: of images `[n, H, W, C]` float32 and their boxes `[n, 4]`.
        told: what was done, for the name of the command.
    """

    def __init__(self, data, change, told):
        self._data, self._change, self._told = data, change, told

    def __getattr__(self, name):
        return getattr(self._data, name)

    def read(self, split, start=0, stop=None):
        images, masks = self._data.read(split, start, stop)
        return self._change(images, self._data.index(split)["box"][start:stop]), masks

    def attributes(self):
        attributes = self._data.attributes()
        return attributes | {"command": f"{attributes['command']} ({self._told})"}
