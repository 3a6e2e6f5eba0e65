"""Files as cases: images and volumes of any of the formats that are read, and masks in the format that came in."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from kseg.data.arrays import open_array
from kseg.data.dicom import read_dicom
from kseg.data.images import LARGEST, read_pages
from kseg.files import atomic

KINDS = {  # ending: what kind of file it is
    ".nii.gz": "nifti", ".nii": "nifti", ".tiff": "tiff", ".tif": "tiff", ".npy": "array", ".dcm": "dicom",
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".bmp": "image", ".gif": "image",
}  # fmt: skip
READABLE = tuple(KINDS)
AXIS = {"nifti": 2, "tiff": 0, "array": 0}  # along which slices run
LARGEST_VOLUME = 2**31 // 8  # values, as many as `nifti` takes


@dataclass(frozen=True)
class Origin:
    """What is needed to write a mask in the format of the file that a case was read from.

    Attributes:
        kind: "nifti", "tiff", "array", "dicom" or "image".
        size: (H, W) of the slices.
        slices: how many.
        axis: of the volume, along which slices run; None for what is no volume.
        orientation: of a NIfTI file, where its axes point to, such as "LPS"; None if unknown.
        turned: where they point to in what was read.
        volume: the NIfTI file as nibabel has it, with its header and affine.
        packed: whether the file was compressed by gzip.
    """

    kind: str
    size: tuple
    slices: int
    axis: int | None = None
    orientation: str | None = None
    turned: str | None = None
    volume: object = None
    packed: bool = False


class FileCase(NamedTuple):
    """What a file holds.

    `pixels` `[n, H, W, C]` in stored type, C = 1 or 3; `spacing` (y, x) of a pixel in mm or None; `slice_spacing` in
    mm or None; `origin`; `remarks` on what was lost or left, in words.
    """

    pixels: np.ndarray
    spacing: tuple | None
    slice_spacing: float | None
    origin: Origin
    remarks: tuple = ()


def ending(path):
    """The ending of a file's name in lower case, ".nii.gz" as one.

    Raises:
        ValueError: of a kind that is not read.
    """
    name = Path(path).name.lower()
    for known in READABLE:
        if name.endswith(known):
            return known
    raise ValueError(f"{path} is of no kind that is read. Expected one of {', '.join(READABLE)}; convert it.")


def stem(path):
    """The name of a file without its ending."""
    return Path(path).name[: -len(ending(path))]


def mask_name(path):
    """The name of the mask file that `write_mask` makes of a file: "a.nii.gz" of "a.nii.gz", "a.png" of "a.jpg"."""
    kept = KINDS[ending(path)] not in ("image", "dicom")
    return stem(path) + (ending(path) if kept else ".png")


def probabilities_name(path):
    """The name of the file that `write_probabilities` makes of a file: "a.nii.gz" of "a.nii.gz", "a.npy" of "a.png"."""
    kept = KINDS[ending(path)] not in ("image", "dicom")
    return stem(path) + (ending(path) if kept else ".npy")


def read_case(path, axis=None, orientation=None, labels=False):
    """An image or a volume from a file.

    Args:
        path: PNG, JPEG, BMP, GIF (an image); TIFF (a page a slice); NIfTI (a volume); DICOM (an image, through its
            window, from 0 to 1); `.npy` of numbers, `[H, W]`, `[H, W, C]`, `[n, H, W]` or `[n, H, W, C]`, C = 1 or 3.
        axis: of a volume, along which slices run: 0, 1 or 2; None for 2 in NIfTI files and 0 in others.
        orientation: where the axes of a NIfTI volume shall point to, such as "RAS"; None leaves them.
        labels: the indices of palettes instead of their colours, as masks have them.

    Returns:
        FileCase. Sizes are looked at before memory is taken; arrays of `.npy` and `.nii` are memory maps.

    Raises:
        FileNotFoundError, ValueError: missing, of no kind that is read, damaged, too large, or not finite.
    """
    path = Path(path)
    kind = KINDS[ending(path)]
    if kind == "nifti":
        return _read_nifti(path, AXIS[kind] if axis is None else axis, orientation)
    spacing, remarks = None, ()
    if kind == "dicom":
        shown, spacing = read_dicom(path)
        pixels = shown[None, ..., None]
    elif kind == "array":
        pixels, volume = _read_array(path)
    else:
        pixels, remarks = read_pages(path, labels)
    along = None
    if (kind == "tiff" and len(pixels) > 1) or (kind == "array" and volume):
        along = AXIS[kind] if axis is None else axis
        pixels = np.moveaxis(pixels, along, 0)
    origin = Origin(kind, pixels.shape[1:3], len(pixels), along)
    return FileCase(pixels, spacing, None, origin, tuple(remarks))


def write_mask(path, ids, origin):
    """Write the mask of a case in the format that the case came in, whole or not at all.

    NIfTI keeps affine, spacing and orientation, with voxels of the mask's type; `.npy` the array's shape; TIFF a page a
    slice. Other images give PNG. So does DICOM: a segmentation object needs more than pixels, and a secondary capture
    would carry the patient's name on without being laid over the image by any viewer.

    Args:
        path: the file, with the ending of `mask_name`.
        ids: class ids or what stands for them, uint8 or uint16 `[n, H, W]`, slices as `read_case` gave them.
        origin: of the case.

    Raises:
        ValueError: a mask of another shape or type.
    """
    ids = np.asarray(ids)
    _check(ids, (origin.slices, *origin.size), np.uint16 if ids.dtype == np.uint16 else np.uint8)
    if origin.kind == "nifti":
        return _write_nifti(path, ids, origin)
    if origin.kind == "array":
        return _write_array(path, _volume(ids, origin))
    if origin.kind == "tiff":
        return _write_tiff(path, _volume(ids, origin))
    with atomic(path) as part:
        Image.fromarray(ids[0]).save(part, format="PNG")
    return None


def write_probabilities(path, probabilities, origin):
    """Write the probabilities of a case, whole or not at all.

    NIfTI files get a fourth axis for the classes, TIFF files the pages of slice 1 in all classes, then of slice 2 and
    so on, in float32. Others, which hold no such numbers, give `.npy` `[H, W, K]`.

    Args:
        path: the file, with the ending of `probabilities_name`.
        probabilities: float32 `[n, H, W, K]`.
        origin: of the case.
    """
    p = np.asarray(probabilities)
    _check(p, (origin.slices, *origin.size, p.shape[-1]), np.float32)
    if origin.kind == "nifti":
        return _write_nifti(path, p, origin)
    if origin.kind == "tiff":
        return _write_tiff(path, np.moveaxis(_volume(p, origin), -1, -3))
    return _write_array(path, _volume(p, origin))


def _check(array, shape, dtype):
    if array.shape != tuple(shape) or array.dtype != dtype:
        raise ValueError(f"values are {array.dtype} {array.shape}. Expected {np.dtype(dtype)} {tuple(shape)}.")


def _volume(array, origin):
    """Slices `[n, H, W, ...]` as the file has them: an image, or a volume with its axes in order."""
    return array[0] if origin.axis is None else np.moveaxis(array, 0, origin.axis)


def _read_nifti(path, axis, orientation):
    from kseg.data import nifti  # here, so that images are read without waiting for nibabel

    image = nifti.open_volume(path)
    voxels, own = nifti.read_voxels(path, image), nifti.orientation_of(image)
    zooms, remarks, turned = [z if z > 0 else None for z in nifti.zooms_of(image)], (), own
    if orientation is not None and own is None:
        remarks = ("the header does not tell where the axes point to; they were left as they are",)
    elif orientation not in (None, own):
        turned, voxels = orientation, nifti.turn(voxels, own, orientation)
        lines = {"RLAPSI".index(code) // 2: zoom for code, zoom in zip(own, zooms, strict=True)}
        zooms = [lines["RLAPSI".index(code) // 2] for code in orientation]
    slice_spacing, pixels = zooms.pop(axis), np.moveaxis(voxels, axis, 0)[..., None]
    packed = ending(path) == ".nii.gz"
    origin = Origin("nifti", pixels.shape[1:3], len(pixels), axis, own, turned, image, packed)
    return FileCase(_native(pixels), None if None in zooms else tuple(zooms), slice_spacing, origin, remarks)


def _write_nifti(path, slices, origin):
    from kseg.data import nifti

    voxels = np.moveaxis(slices, 0, origin.axis)
    if origin.turned != origin.orientation:
        voxels = nifti.turn(voxels, origin.turned, origin.orientation)
    data = nifti.volume_like(np.ascontiguousarray(voxels), origin.volume)
    with atomic(path) as part:
        part.write_bytes(gzip.compress(data, mtime=0) if origin.packed else data)


def _read_array(path):
    """`[n, H, W, C]` of a `.npy` file and whether it is a volume; of that, n, H, W are its axes in its own order."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected an array written by numpy.save; get it again.")
    array = open_array(path)
    if array.size > LARGEST_VOLUME:
        raise ValueError(f"{path} has shape {array.shape}. Expected at most {LARGEST_VOLUME} values; cut it.")
    colour = array.ndim > 2 and array.shape[-1] in (1, 3)
    volume = array.ndim - colour == 3
    if array.ndim - colour not in (2, 3) or np.prod(array.shape[-2 - colour : array.ndim - colour]) > LARGEST:
        raise ValueError(
            f"{path} has shape {array.shape}. Expected [H, W], [H, W, C], [n, H, W] or [n, H, W, C] with C = 1 or 3, "
            f"images of at most {LARGEST} pixels; convert it."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{path} has NaN or infinite values. Expected finite ones; repair or remove it.")
    array = array if colour else array[..., None]
    return _native(array if volume else array[None]), volume


def _write_array(path, array):
    with atomic(path) as part:
        np.save(part, np.ascontiguousarray(array), allow_pickle=False)


def _write_tiff(path, pages):
    """Pages `[..., H, W]`, one after the other."""
    pages = np.ascontiguousarray(pages).reshape(-1, *pages.shape[-2:])
    first, *others = map(Image.fromarray, pages)
    with atomic(path) as part:
        first.save(part, format="TIFF", compression="tiff_deflate", save_all=True, append_images=others)


def _native(array):
    """The array in the machine's own order of bytes."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
