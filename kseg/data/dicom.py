"""DICOM files of one image: its pixels as a screen shows them, gray, from 0 to 1."""

import math
import warnings
from pathlib import Path

import numpy as np
from scipy.special import expit

from kseg.data.images import LARGEST

LUMA = (0.299, 0.587, 0.114)  # of red, green, blue (ITU-R BT.601)
TIGHTEST = 1000  # no X-ray is compressed further; what claims more is damaged or hostile


class Unfit(ValueError):
    """What is wrong with a file, in our words, without its name; pydicom raises ValueError too."""


def read_dicom(path):
    """The pixels of a DICOM file with one image, and their spacing.

    Stored values go through the modality table or rescale slope and intercept, then through the VOI table if there
    is one, else the first window, else from the range of the stored bits to [0, 1]. MONOCHROME1 is inverted, so that
    dense tissue is bright in every file; colours become their luma. Sizes are looked at before pixels are read.

    Args:
        path: the file, uncompressed or in what pydicom decodes without a plug-in (RLE; by Pillow some of JPEG).

    Returns:
        (float64 `[H, W]` in [0, 1], (y, x) in mm or None). The spacing is PixelSpacing, else that at the detector
        (ImagerPixelSpacing), where a body looks larger than it is.

    Raises:
        FileNotFoundError, ValueError: missing, no DICOM, truncated, several frames, compressed beyond pydicom.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected a DICOM file; get it again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of odd values in fields that are not looked at here
            return _read(path)
    except Unfit as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # pydicom raises many kinds for a file that is not what its name says
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} cannot be read ({reason:.160}). Expected a DICOM file of one image; get it again."
        ) from None


def window(values, centre, width, function="LINEAR"):
    """Values `[...]` to [0, 1] by a window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: after the modality table or rescaling.
        centre, width: the width at least 1 for LINEAR, else above 0.
        function: LINEAR, LINEAR_EXACT or SIGMOID.

    Example:
        >>> window(np.array([0, 50, 75, 200]), 50, 100, "LINEAR_EXACT").tolist()
        [0.0, 0.5, 0.75, 1.0]
    """
    linear = function == "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise Unfit(f"has a window function {function!r}. Expected LINEAR, LINEAR_EXACT or SIGMOID; correct it.")
    if not (width >= 1 if linear else width > 0):
        raise Unfit(f"has a window of width {width:g}. Expected {'at least 1' if linear else 'above 0'}; correct it.")
    if function == "SIGMOID":
        return expit(4 * (values - centre) / width)
    if linear:  # whole numbers, of which `width` lie inside
        centre, width = centre - 0.5, width - 1
    return np.clip((values - centre) / width + 0.5, 0, 1) if width > 0 else (values > centre).astype(np.float64)


def look_up(values, item):
    """Values `[...]` through the table of a LUT sequence's item: float64 in [0, 2^bits - 1], and that maximum.

    pydicom 3.0 has this too, but its tables of 8 bits wrap around beyond 256 entries and those of 12 bits fail.
    """
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or 2**16  # which 16 bits cannot tell from 0
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, np.uint8 if len(data) - entries in (0, 1) else "<u2")  # odd lengths are padded
    data = np.atleast_1d(np.asarray(data, np.float64))[:entries]
    if not 1 <= bits <= 16 or len(data) != entries or data.max() >= 2**bits:
        raise Unfit(f"has a table of {len(data)} entries. Expected {entries} of {bits} bits, 1 to 16; get it again.")
    return data[np.clip(np.rint(values) - first, 0, entries - 1).astype(np.intp)], 2**bits - 1


def _read(path):
    import pydicom  # here, so that images of other kinds are read without waiting for it

    syntax = pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID
    if syntax.is_deflated:  # pydicom would unpack all of it first
        raise Unfit(f"is of the kind {syntax.name!r}. Expected pixels that are not deflated; convert it.")
    header = pydicom.dcmread(path, stop_before_pixels=True)
    _check(header, path.stat().st_size, syntax)
    if syntax.is_encapsulated and not _decodes(pydicom, syntax):
        raise Unfit(
            f"is compressed as {syntax.name!r}. Expected what pydicom decodes without a plug-in; convert it, such as "
            "by gdcmconv --raw, or install pylibjpeg[all]."
        )
    dataset = pydicom.dcmread(path)
    if "PixelData" not in dataset:
        raise Unfit("holds no pixels. Expected a whole file with an image; get it again.")
    return _shown(pydicom.pixels.pixel_array(dataset), dataset), _spacing(dataset)


def _decodes(pydicom, syntax):
    try:
        return pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _check(header, size, syntax):
    """Raise Unfit unless the header tells of one image that a file of `size` bytes can hold."""
    rows, columns, samples = (int(header.get(n) or 0) for n in ("Rows", "Columns", "SamplesPerPixel"))
    allocated, stored = (int(header.get(n) or 0) for n in ("BitsAllocated", "BitsStored"))
    if 0 in (rows, columns, samples, allocated, stored):
        raise Unfit("lacks the size or the kind of its pixels. Expected a whole file with an image; get it again.")
    frames, kind = int(header.get("NumberOfFrames") or 1), str(header.get("PhotometricInterpretation"))
    if frames != 1:
        raise Unfit(f"holds {frames} frames. Expected one image; take it apart.")
    if (samples, kind[:10]) != (1, "MONOCHROME") and not (samples == 3 and kind[:3] in ("RGB", "YBR")):
        raise Unfit(f"has pixels of {samples} samples and kind {kind}. Expected gray or RGB ones; convert it.")
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        raise Unfit(f"has pixels of {stored} bits in {allocated}. Expected 8, 16 or 32 for a pixel; convert it.")
    if rows * columns > LARGEST:
        raise Unfit(f"has {rows} x {columns} pixels. Expected at most {LARGEST} in all; make the image smaller.")
    needed = rows * columns * (2 if kind.endswith("422") else samples) * allocated // 8
    if needed > size * (TIGHTEST if syntax.is_encapsulated else 1):
        raise Unfit(f"claims {needed} bytes of pixels and has {size} in all. Expected a whole file; get it again.")


def _shown(pixels, header):
    """Values in [0, 1] of stored ones."""
    bits = int(header.BitsStored)
    if pixels.ndim == 3:
        return pixels @ np.array(LUMA) / (2**bits - 1)
    low = -(2 ** (bits - 1)) if header.PixelRepresentation else 0
    high = low + 2**bits - 1
    if header.get("ModalityLUTSequence"):
        values, high = look_up(pixels, header.ModalityLUTSequence[0])
        low = 0
    else:
        slope, intercept = _number(header, "RescaleSlope", 1), _number(header, "RescaleIntercept", 0)
        if slope == 0:
            raise Unfit("has a rescale slope of 0. Expected another; correct it.")
        values = pixels * np.float64(slope) + intercept
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    if header.get("VOILUTSequence"):
        values, high = look_up(values, header.VOILUTSequence[0])
        values /= high
    elif centre is not None and width is not None:
        values = window(values, centre, width, str(header.get("VOILUTFunction") or "LINEAR").upper())
    else:
        values = np.clip((values - low) / (high - low), 0, 1)
    return 1 - values if header.PhotometricInterpretation == "MONOCHROME1" else values


def _number(header, name, otherwise=None):
    """The number of a field, of several the first."""
    values = np.atleast_1d(header.get(name) if header.get(name) is not None else [])
    if not len(values):
        return otherwise
    if not math.isfinite(values[0]):
        raise Unfit(f"has {name} {values[0]}. Expected a finite number; correct it.")
    return float(values[0])


def _spacing(header):
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        values = [float(value) for value in header.get(name) or ()]
        if len(values) == 2 and all(math.isfinite(value) and value > 0 for value in values):
            return tuple(values)
    return None
