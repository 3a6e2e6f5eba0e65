"""NIfTI volumes, read with their header checked first."""

import math
import struct
from pathlib import Path

import nibabel
import numpy as np
from nibabel.openers import Opener

LARGEST = 2**31
LARGEST_HEADER = 2**20


def read_volume(path):
    """The voxels and voxel sizes of a 3-D NIfTI file.

    Args:
        path: `.nii` or `.nii.gz`.

    Returns:
        (`[X, Y, Z]` array with the header's scaling applied, (dx, dy, dz) in mm).

    Raises:
        FileNotFoundError, ValueError: missing, not NIfTI, truncated, not 3-D, too large, or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected a NIfTI file (.nii or .nii.gz).")
    try:
        _check_offset(path)
        image = nibabel.load(path)
        shape = image.shape
        spacing = tuple(float(z) for z in image.header.get_zooms()[:3])
    except Exception as error:  # nibabel and gzip raise many kinds for a file that is not what its name says
        raise _unreadable(path, error) from None
    if len(shape) != 3 or math.prod(shape) == 0:
        raise ValueError(f"{path} has shape {shape}. Expected a 3-D volume with at least one voxel.")
    if math.prod(shape) * 8 > LARGEST:
        raise ValueError(f"{path} has {shape} voxels. Expected at most {LARGEST // 8}; crop or resample it.")
    try:
        voxels = np.asanyarray(image.dataobj)
    except Exception as error:
        raise _unreadable(path, error) from None
    if voxels.dtype.kind not in "fiub":
        raise ValueError(f"{path} holds values of type {voxels.dtype}. Expected one real number per voxel.")
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        bad = int(np.size(voxels) - np.isfinite(voxels).sum())
        raise ValueError(f"{path} has {bad} NaN or infinite voxels. Expected finite ones; repair or remove it.")
    return voxels, spacing


def _check_offset(path):
    """Raise ValueError when the header lets the voxels begin so late that the part before would fill the memory."""
    with Opener(path) as file:
        header = file.read(352)
    order = "<" if struct.unpack("<i", header[:4])[0] in (348, 540) else ">"
    second = struct.unpack(order + "i", header[:4])[0] == 540
    offset = struct.unpack_from(order + ("q" if second else "f"), header, 168 if second else 108)[0]
    if not 0 <= offset <= LARGEST_HEADER:
        raise ValueError(f"its voxels begin at byte {offset:g}")


def _unreadable(path, error):
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(
        f"{path} cannot be read ({reason:.120}). Expected a whole NIfTI file (.nii or .nii.gz); get it again."
    )
