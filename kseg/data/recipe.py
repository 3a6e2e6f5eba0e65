"""Steps that preparing any data set takes: gray, scale, pad, list the sources."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

LUMA = (19595, 38470, 7471)  # of red, green, blue in 2^-16 (ITU-R BT.601), as Pillow has them


def luma(pixels):
    """Gray `[..., 1]` of colours `[..., 3]`: ITU-R BT.601, whole numbers rounded as Pillow does.

    Example:
        >>> luma(np.array([[255, 0, 0], [7, 7, 7]], np.uint8)).ravel().tolist()
        [76, 7]
    """
    if pixels.dtype in (np.uint8, np.uint16):
        total = sum(pixels[..., i].astype(np.uint32) * np.uint32(part) for i, part in enumerate(LUMA))
        return ((total + np.uint32(2**15)) >> np.uint32(16)).astype(pixels.dtype)[..., None]
    return (pixels @ (np.array(LUMA) / 2**16))[..., None]


def white(pixels):
    """The value that stands for white in pixels of this type."""
    if pixels.dtype in (np.uint8, np.uint16):
        return np.iinfo(pixels.dtype).max
    if pixels.dtype.kind == "b":
        return 1
    if pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1:  # NaN fails both
        return 1
    raise ValueError(
        f"has {pixels.dtype} values from {pixels.min():g} to {pixels.max():g}, whose range the type does not tell. "
        "Expected uint8, uint16, or floating point from 0 to 1; scale them, or prepare with intensity 'percentile'."
    )


def highest(volume, upper_percentile=100.0):
    """The `upper_percentile` of a volume, of black and white as of 0 and 1; ValueError where its range overflows."""
    if volume.dtype.kind == "b":
        volume = volume.view(np.uint8)
    if volume.dtype.kind == "f" and not volume.max() / 2 - volume.min() / 2 < np.finfo(volume.dtype).max / 2:
        raise ValueError(f"has values from {volume.min():g} to {volume.max():g}. Expected a range that can be computed")
    return np.percentile(volume, upper_percentile)


def limits(volume, upper_percentile=100.0):
    """(minimum, `upper_percentile`) of a volume; ValueError where these are equal."""
    low, high = volume.min(), highest(volume, upper_percentile)
    if not high > low:
        raise ValueError(f"holds the value {low:g} almost everywhere. Expected an image with contrast")
    return low, high


def scale(volume, max_value, upper_percentile=100.0, ends=None):
    """Scale one volume linearly to [0, max_value] (S0.3).

    The minimum goes to 0, the `upper_percentile` to `max_value`, and what lies above is set to `max_value`;
    100 gives the plain minimum-maximum scaling.

    Args:
        volume: any shape, finite, not constant.
        max_value: above 0.
        upper_percentile: in (0, 100].
        ends: (low, high) that go to 0 and `max_value`: `limits` of the whole of which this is a part.

    Returns:
        float32 of the same shape in [0, max_value].
    """
    low, high = limits(volume, upper_percentile) if ends is None else ends
    if volume.dtype.kind in "biu":
        volume = volume.astype(np.float64)  # the difference of two int16 may be none
    return (np.clip((volume - low) / (high - low), 0, 1) * max_value).astype(np.float32)


def centred_box(size, padded):
    """(y0, y1, x0, x1) of an image of `size` (h, w) centred in one of `padded` (H, W)."""
    top, left = ((p - s) // 2 for s, p in zip(size, padded, strict=True))
    return (top, top + size[0], left, left + size[1])


def fit_within(size, frame):
    """The largest (h, w) of the shape of `size` that fits into `frame`."""
    tight = min((0, 1), key=lambda axis: frame[axis] / size[axis])
    return tuple(
        frame[axis] if axis == tight else min(frame[axis], max(1, round(size[axis] * frame[tight] / size[tight])))
        for axis in (0, 1)
    )


def pad(slices, padded, box):
    """Zero-pad `[n, h, w]` to `[n, H, W]`, content at `box` (S0.2); `pad(x)[:, y0:y1, x0:x1]` is x again."""
    out = np.zeros((len(slices), *padded), slices.dtype)
    out[:, box[0] : box[1], box[2] : box[3]] = slices
    return out


def check_space(out, needed):
    """Raise ValueError when the disk cannot hold `needed` bytes more: HDF5 does not survive a full disk."""
    free = shutil.disk_usage(out.parent).free if out.parent.is_dir() else needed
    if free < needed:
        raise ValueError(f"{out} needs {needed >> 20} MiB, its disk has {free >> 20} MiB free. Expected room for it.")


def source_entry(path, root):
    """{"file", "bytes", "sha256"} of a file, named relative to `root`."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    return {"file": Path(os.path.relpath(path, root)).as_posix(), "bytes": size, "sha256": digest}


def manifest_hash(sources):
    """One SHA-256 for a list of sources: of the lines `sha256  file`, sorted by file."""
    lines = sorted((f"{s['sha256']}  {s['file']}\n" for s in sources), key=lambda line: line[66:])
    return hashlib.sha256("".join(lines).encode()).hexdigest()
