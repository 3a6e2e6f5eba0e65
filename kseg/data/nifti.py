"""NIfTI volumes: read with their header checked first, turned, and written in the place of another."""

import math
import struct
from pathlib import Path

import nibabel
import numpy as np
from nibabel import orientations
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
    image = open_volume(path)
    return read_voxels(path, image), zooms_of(image)


def open_volume(path):
    """A 3-D NIfTI file as nibabel has it, its header checked and its voxels not read; see `read_volume`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected a NIfTI file (.nii or .nii.gz).")
    try:
        _check_offset(path)
        image = nibabel.load(path)
        shape = image.shape
        zooms_of(image)
    except Exception as error:  # nibabel and gzip raise many kinds for a file that is not what its name says
        raise _unreadable(path, error) from None
    if len(shape) != 3 or math.prod(shape) == 0:
        raise ValueError(f"{path} has shape {shape}. Expected a 3-D volume with at least one voxel.")
    if math.prod(shape) * 8 > LARGEST:
        raise ValueError(f"{path} has {shape} voxels. Expected at most {LARGEST // 8}; crop or resample it.")
    return image


def read_voxels(path, image):
    """The voxels `[X, Y, Z]` of what `open_volume` gave, finite, with the header's scaling applied."""
    try:
        voxels = np.asanyarray(image.dataobj)
    except Exception as error:
        raise _unreadable(path, error) from None
    if voxels.dtype.kind not in "fiub":
        raise ValueError(f"{path} holds values of type {voxels.dtype}. Expected one real number per voxel.")
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        bad = int(np.size(voxels) - np.isfinite(voxels).sum())
        raise ValueError(f"{path} has {bad} NaN or infinite voxels. Expected finite ones; repair or remove it.")
    return voxels


def zooms_of(image):
    """(dx, dy, dz) in mm of a voxel."""
    return tuple(float(z) for z in image.header.get_zooms()[:3])


def orientation_of(image):
    """Where the axes of a volume point to, such as "RAS"; None if its header does not tell."""
    codes = [int(image.header[name]) for name in ("sform_code", "qform_code")]
    axes = nibabel.aff2axcodes(image.affine) if any(codes) and np.isfinite(image.affine).all() else (None,)
    return None if None in axes else "".join(axes)


def turn(voxels, start, end):
    """A volume `[X, Y, Z]` whose axes point to `start`, such as "LPS", as one whose axes point to `end`; a view.

    Example:
        >>> turn(np.arange(3).reshape(1, 3, 1), "RAS", "PRS").ravel().tolist()
        [2, 1, 0]
    """
    way = orientations.ornt_transform(*(orientations.axcodes2ornt(codes) for codes in (start, end)))
    return orientations.apply_orientation(voxels, way)


def volume_like(voxels, image):
    """The bytes of a NIfTI file with other voxels `[X, Y, Z(, K)]` in the place, spacing and orientation of `image`.

    Unlike the header, its extensions, which may tell of the patient, are left out.
    """
    header = image.header.copy()
    header.extensions.clear()
    header.set_data_dtype(voxels.dtype)
    header["cal_min"] = header["cal_max"] = 0  # the range a viewer shows
    made = type(image)(voxels, image.affine, header)
    made.header.set_zooms((*image.header.get_zooms()[:3], *(1,) * (voxels.ndim - 3)))
    return made.to_bytes()


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
