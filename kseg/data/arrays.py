"""Pairs of arrays, images and one mask channel a class, as PanNuke has them; read in blocks from the disk (S4.9)."""

import math
import re
from pathlib import Path

import numpy as np

from kseg.data.hdf5 import SPLITS
from kseg.data.splits import split_groups

PANNUKE = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
SHARES = (0.7, 0.1, 0.2)
BLOCK = 64 * 2**20  # bytes of masks that are read at once
LARGEST = 2**30  # bytes of one row; what claims more is no image


class Arrays:
    """`images.npy` and `masks.npy`, or several such pairs (folds), somewhere below a folder. Each image is a case.

    Three pairs are train, validation and test, in the order of their names; any other number, or `shares` given,
    deals single images.

    Args:
        root: the folder.
        background: the channel of the masks that is the background: "last", "first" or "none".
        class_names: of the other channels; None for PanNuke's five where there are five, else class 1, class 2, ...
        shares: of train, validation and test; None for 0.7, 0.1, 0.2, or for the folds where there are three.
        seed: of the order in which images are dealt.

    Attributes:
        name, classes, size ((H, W)), spacing, files, split_rule, count (of cases).

    Raises:
        FileNotFoundError, ValueError: one line with value, expectation and fix.
    """

    name, spacing, instances = "histology-arrays", None, False

    def __init__(self, root, background="last", class_names=None, shares=None, seed=0):
        pairs = find_pairs(root)
        self.files = [path for pair in pairs for path in pair]
        self._background, self._twice = background, 0
        self._pairs = [open_pair(*pair) for pair in pairs]
        (first, masks), *others = self._pairs
        for (images, other), (path, _) in zip(others, pairs[1:], strict=True):
            if images.shape[1:] != first.shape[1:] or other.shape[3] != masks.shape[3]:
                raise ValueError(
                    f"{path} and its masks have {images.shape[1:]} pixels and {other.shape[3]} channels, those of "
                    f"{pairs[0][0]} {first.shape[1:]} and {masks.shape[3]}. Expected equal ones; prepare them apart."
                )
        self.size = first.shape[1:3]
        self.classes = _classes(masks.shape[3] - (background != "none"), class_names, self.files[1])
        self._cases = _names([len(images) for images, _ in self._pairs])
        self.count = sum(map(len, self._cases))
        if len(pairs) == 3 and shares is None:
            self.split_rule = "by fold, in the order of their names: train, validation, test"
            self._split = {case: split for split, cases in zip(SPLITS, self._cases, strict=True) for case in cases}
        else:
            shares = shares or SHARES
            self.split_rule = (
                "by image, shares " + "/".join(f"{s:g}" for s in shares) + "; images of one slide may be parted, "
                "since the arrays do not tell the slides"
            )
            self._split = split_groups({case: 1 for cases in self._cases for case in cases}, shares, seed)
            for name, share in zip(SPLITS, shares, strict=True):
                if share > 0 and name not in self._split.values():
                    raise ValueError(
                        f"split {name!r} is empty: {self.count} images are too few for its share {share:g}. Expected "
                        "at least one image per split; add images or set the share to 0."
                    )

    def cases(self):
        """(split, case, image `[H, W, 3]` uint8, class ids `[H, W]` uint8, None) of each image, in order."""
        self._twice = 0
        for (images, masks), names, path in zip(self._pairs, self._cases, self.files[::2], strict=True):
            rows, brightest = max(1, BLOCK // masks[:1].nbytes), 0
            for start in range(0, len(names), rows):
                block = _pixels(images[start : start + rows], path)
                brightest = max(brightest, block.max())
                try:
                    ids, twice = class_ids(masks[start : start + rows], self._background)
                except ValueError as error:
                    raise ValueError(f"the masks of {path} {error}") from None
                self._twice += twice
                for name, image, mask in zip(names[start:], block, ids, strict=False):
                    yield self._split[name], name, image, mask, None
            if brightest <= 1:
                raise ValueError(f"{path} has values up to {brightest}. Expected 0 to 255; multiply them by 255.")

    def remarks(self):
        """What the reader should know, once all cases have been read."""
        noun = "pixel was" if self._twice == 1 else "pixels were"
        return [f"{self._twice} {noun} claimed by two classes or more; the first was taken."] if self._twice else []


def find_pairs(root):
    """(images.npy, masks.npy) below a folder, in the order of their paths, numbers counted as numbers.

    The masks lie beside the images, or in a folder `masks` where the images' path has `images`, as in PanNuke's
    fold1/images/fold1/images.npy and fold1/masks/fold1/masks.npy.
    """
    root = Path(root)
    masks = set(root.rglob("masks.npy"))
    pairs = []
    for path in sorted(root.rglob("images.npy"), key=lambda path: _natural(path.relative_to(root))):
        parts = path.relative_to(root).parts[:-1]
        swapped = [(*parts[:i], "masks", *parts[i + 1 :]) for i, part in enumerate(parts) if part.lower() == "images"]
        places = [root.joinpath(*folder, "masks.npy") for folder in (parts, *swapped)]
        partner = next((place for place in places if place in masks), None)
        if partner is None:
            looked = " or ".join(map(str, places))
            raise FileNotFoundError(f"{path} has no masks. Expected {looked}; add the file.")
        masks.discard(partner)
        pairs.append((path, partner))
    if masks:
        raise FileNotFoundError(f"{min(masks)} has no images. Expected images.npy beside it; add the file.")
    return pairs


def open_pair(images_path, masks_path):
    """The two arrays of a pair as memory maps, `[N, H, W, 3]` and `[N, H, W, K]`."""
    images, masks = open_array(images_path), open_array(masks_path)
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"{images_path} has shape {images.shape}. Expected [N, H, W, 3], colour images; convert it.")
    if masks.ndim != 4:
        raise ValueError(f"{masks_path} has shape {masks.shape}. Expected [N, H, W, K], a channel a class; convert it.")
    if images.shape[:3] != masks.shape[:3]:
        raise ValueError(
            f"{masks_path} has shape {masks.shape}, its images {images.shape}. Expected equal N, H and W; get both "
            "again."
        )
    return images, masks


def open_array(path):
    """A NumPy array file as a memory map; nothing of it is read but its header, and no pickle ever.

    Raises:
        ValueError: no NumPy file, not of numbers, without a row, shorter than its header says, or with rows of more
            than `LARGEST` bytes.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = header[version](file)
            begin, end = file.tell(), file.seek(0, 2)
    except (ValueError, KeyError, EOFError, MemoryError, RecursionError):
        raise ValueError(
            f"{path} is no array file of NumPy. Expected one written by numpy.save; get it again."
        ) from None
    if dtype.hasobject or dtype.kind not in "buif":
        raise ValueError(f"{path} holds values of type {dtype}. Expected real numbers; save it as uint8 or float32.")
    bytes_needed = math.prod(shape) * dtype.itemsize  # whole numbers of Python, which do not overflow
    if end - begin < bytes_needed:
        raise ValueError(
            f"{path} claims {bytes_needed} bytes of values {shape} and holds {end - begin}. Expected a whole file; get "
            "it again."
        )
    if not shape or min(shape) < 1 or bytes_needed // shape[0] > LARGEST:
        raise ValueError(f"{path} has shape {shape}. Expected one image at least, of at most {LARGEST >> 20} MiB.")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def class_ids(masks, background="last"):
    """Class ids of masks with one channel a class.

    Args:
        masks: `[N, H, W, K]`; above 0 where the class is, such as the number of the nucleus.
        background: "last", "first" or "none": the channel left out. What no other channel claims is background.

    Returns:
        (uint8 `[N, H, W]`, 0 the background; the number of pixels that two channels claim, which get the first).

    Raises:
        ValueError: values below 0, NaN or infinite.

    Example:
        >>> class_ids(np.array([[[[0, 7, 0], [0, 0, 1], [3, 3, 0]]]]))
        (array([[[2, 0, 1]]], dtype=uint8), 1)
    """
    masks = np.asarray(masks)
    if not np.isfinite(masks).all() or masks.min() < 0:
        raise ValueError("have values below 0, NaN or infinite. Expected 0 where a class is not; correct them.")
    inside = masks[..., background == "first" : masks.shape[-1] - (background == "last")] > 0
    claims = inside.sum(axis=-1)
    ids = np.where(claims > 0, inside.argmax(axis=-1) + 1, 0).astype(np.uint8)
    return ids, int((claims > 1).sum())


def _pixels(block, path):
    """uint8 of a block of images with values 0 to 255."""
    block = np.asarray(block)
    if block.dtype == np.uint8:
        return block
    low, high = (block.min(), block.max()) if block.dtype.kind != "b" else (0, 1)
    if not (low >= 0 and high <= 255):  # NaN fails both
        raise ValueError(f"{path} has values from {low:g} to {high:g}. Expected 0 to 255; rescale the images.")
    return np.rint(block.astype(np.float32)).astype(np.uint8)


def _classes(count, names, path):
    if not 1 <= count <= 255:
        raise ValueError(
            f"{path} has {count} channels besides the background. Expected 1 to 255; see --background first|last|none."
        )
    if names is None:
        names = PANNUKE if count == len(PANNUKE) else [f"class {i}" for i in range(1, count + 1)]
    if len(names) != count or len({"background", *names}) <= count:
        raise ValueError(
            f"--class-names={' '.join(names)} do not fit {path}. Expected {count} different names, one a channel "
            "besides the background."
        )
    return ["background", *names]


def _names(lengths):
    """Names of the images of each pair, in ascending order over all of them."""
    fold, image = len(str(len(lengths))), max(5, len(str(max(lengths) - 1)))
    start = [f"fold{k:0{fold}d}" if len(lengths) > 1 else "image" for k in range(1, len(lengths) + 1)]
    return [[f"{name}-{i:0{image}d}" for i in range(count)] for name, count in zip(start, lengths, strict=True)]


def _natural(path):
    return [[int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(p).lower())] for p in path.parts]
