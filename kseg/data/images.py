"""Image files: PNG, JPEG, TIFF, BMP and GIF, read with their sizes checked first."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image  # comes with matplotlib

COLOUR = ("RGB",)
GRAY = ("1", "L", "P", "I", "I;16", "I;16B")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")  # of Pillow's; some of the others run programs
ORIENTATION = 0x0112  # the Exif tag
LARGEST = 10**8  # pixels of an image whose size is not known beforehand


def read_image(path, size):
    """The pixels of a colour image file, uint8 `[H, W, 3]`.

    Args:
        path: PNG, JPEG, TIFF or BMP.
        size: (H, W) that it must have; looked at before anything is decoded.

    Raises:
        FileNotFoundError, ValueError: missing, no image, truncated, of another size or not RGB.
    """
    return _read(Path(path), size, COLOUR, "an RGB image")


def read_labels(path, size):
    """The values of a one-channel image file such as a mask, integers `[H, W]`; see `read_image`."""
    return _read(Path(path), size, GRAY, "an image of one channel of whole numbers")


def read_pages(path, labels=False):
    """All that an image file holds, in its stored type.

    Args:
        path: PNG, JPEG, BMP, GIF (its first image), or TIFF with pages of equal size.
        labels: the indices of palettes instead of their colours, unless all of these are gray.

    Returns:
        (`[n, H, W, C]` uint8, uint16, int32 or float32, C = 1 or 3, a row a page; what was lost or left, in words).
        Palettes become their colours, one bit 0 and 255. Transparency is dropped.

    Raises:
        FileNotFoundError, ValueError: missing, no image, truncated, larger than `LARGEST`, not finite.
    """
    path, kind = Path(path), "a gray or colour image"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected {kind}; get it again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                pages = image.n_frames if image.format == "TIFF" else 1
                sizes, remarks, arrays = {image.size}, set(), []
                if _fits(image, pages):
                    for page in range(pages):
                        image.seek(page)
                        sizes.add(image.size)
                        if len(sizes) > 1:
                            break
                        arrays.append(_page(image, labels, remarks))
    except Exception as error:
        raise _unreadable(path, error, kind) from None
    if not arrays:
        (width, height), pages = sizes.pop(), f"{pages} pages of " * (pages > 1)
        raise ValueError(f"{path} has {pages}{height} x {width} pixels. Expected at most {LARGEST} in all; crop it.")
    if len(sizes) > 1 or len({(array.shape, array.dtype) for array in arrays}) > 1:
        raise ValueError(f"{path} has pages of differing size or kind. Expected equal ones; save them apart.")
    pixels = np.stack(arrays)
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        raise ValueError(f"{path} has NaN or infinite pixels. Expected finite ones; repair or remove it.")
    if pixels.dtype == np.int32 and 0 <= pixels.min() <= pixels.max() < 2**16:
        pixels = pixels.astype(np.uint16)
    return pixels, sorted(remarks)


def _fits(image, pages):
    return 0 < image.width * image.height * pages <= LARGEST


def _page(image, labels, remarks):
    """The pixels `[H, W, C]` of the page that Pillow is at; adds to the set of remarks."""
    if image.mode in ("RGB", "RGBA", "LA") and ";16" in str(image.tile):
        remarks.add("of 16 bits of a colour the upper 8 were read")
    if image.getexif().get(ORIENTATION, 1) != 1:
        remarks.add("the turn that Exif tells was not made")
    if image.mode == "1":
        return np.asarray(image.convert("L"))[..., None]
    if image.mode in (*GRAY, "F", "I;16L") and (image.mode != "P" or (labels and not _is_gray(image))):
        return np.asarray(image)[..., None]
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("LA", "L") else "RGBA")
        if image.getextrema()[-1][0] < 255:
            remarks.add("transparency was dropped")
        return np.asarray(image)[..., :-1]
    return np.asarray(image.convert("RGB"))


def _is_gray(image):
    """Whether all of a palette is gray: then the grays are what was meant, and files may number them differently."""
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _read(path, size, modes, kind):
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected {kind}; get it again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files too large, which are refused below, and of palettes
            with Image.open(path, formats=FORMATS) as image:
                mode, (width, height) = image.mode, image.size
                known = (height, width) == tuple(size)
                pixels = None
                if mode in modes and known:
                    pixels = np.asarray(image)
    except Exception as error:  # Pillow raises many kinds for a file that is not what its name says
        raise _unreadable(path, error, kind) from None
    if mode not in modes:
        raise ValueError(f"{path} has pixels of kind {mode}. Expected {kind}; convert it.")
    if not known:
        raise ValueError(f"{path} has {height} x {width} pixels. Expected {size[0]} x {size[1]}; get it again.")
    return pixels


def _unreadable(path, error, kind):
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(f"{path} cannot be read ({reason:.120}). Expected {kind}; get it again.")
