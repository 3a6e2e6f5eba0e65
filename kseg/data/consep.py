"""Tiles of CoNSeP, put together from the patches of 256 pixels that they were cut to (S4.9)."""

import re
from pathlib import Path

import numpy as np

from kseg.data.images import read_image, read_labels
from kseg.data.splits import split_alike

CLASSES = ["background", "miscellaneous", "inflammatory", "epithelial", "spindle"]
SPACING = 0.00025  # mm per pixel at 40x
PATCH, TILE = 256, 1000
STEPS, EDGE = (0, 256, 512), TILE - PATCH
CORNERS = [  # (y, x) of patches 000 to 015: a 3 x 3 grid, the bottom row, the right column, the last corner
    *((y, x) for y in STEPS for x in STEPS),
    *((EDGE, x) for x in STEPS),
    *((y, EDGE) for y in STEPS),
    (EDGE, EDGE),
]
ENDINGS = (".jpg", ".jpeg", ".png")


class Tiles:
    """CoNSeP cut to patches: `{Train,Test}/{images,class_masks,instance_masks}`; each tile is a case, whole again.

    Args:
        root: the folder that holds Train and Test.
        validation: share of the tiles of Train, dealt by `seed` so that classes are as common in it as in the rest;
            Test is the split test.
        instances: whether the nuclei's numbers are read.
        seed: of the order in which tiles are dealt.

    Attributes:
        name, classes, size ((H, W)), spacing, files, split_rule, count (of cases).

    Raises:
        FileNotFoundError, ValueError: one line with value, expectation and fix.
    """

    name, classes, size, spacing = "histology", CLASSES, (TILE, TILE), SPACING

    def __init__(self, root, validation=0.2, instances=True, seed=0):
        self.instances, self._tiles = instances, {}
        folders = {folder: list_tiles(Path(root) / folder, instances) for folder in ("Train", "Test")}
        for folder, tiles in folders.items():
            for case, patches in tiles.items():
                if case in self._tiles:
                    raise ValueError(f"tile {case} is in Train and in Test. Expected it in one; delete the other.")
                self._tiles[case] = patches
            if not tiles:
                place = Path(root) / folder / "images"
                raise ValueError(f"{place} holds no patches. Expected some; get the set again.")
        amounts = {case: _amounts(patches) for case, patches in folders["Train"].items()}
        self._split = split_alike(amounts, (1 - validation, validation, 0), seed)
        if validation and len(set(self._split.values())) < 2:
            raise ValueError(
                f"split 'validation' is empty: {len(self._split)} tile in Train is too few for --validation "
                f"{validation:g}. Expected at least two tiles; add tiles or give --validation 0."
            )
        self._split |= dict.fromkeys(folders["Test"], "test")
        self.files = [path for patches in self._tiles.values() for patch in patches for path in patch]
        self.count = len(self._tiles)
        self.split_rule = (
            f"by tile: folder Test is test, of the tiles of Train {validation:g} are validation, of 500 deals the one "
            "whose classes are most alike; which tiles come from one slide is not known"
        )

    def cases(self):
        """(split, case, image `[H, W, 3]` uint8, class ids `[H, W]`, instances `[H, W]` or None) of each tile."""
        for case, patches in sorted(self._tiles.items()):
            yield self._split[case], case, *_read_tile(patches)

    def remarks(self):
        """What the reader should know."""
        return ["Tiles were put together from 16 patches; where these overlap, the image is that of the first."]


def list_tiles(folder, instances=True):
    """{case: (image, class mask, instance mask) of each of the 16 patches}, of a folder such as Train.

    A case is named as its tile, the number with leading zeros, so that cases sort: `train_07` for train_7.
    """
    names = ("images", "class_masks", *(["instance_masks"] if instances else []))
    for name in names:
        if not (folder / name).is_dir():
            raise FileNotFoundError(f"folder {folder / name} does not exist. Expected CoNSeP's; get the set again.")
    found = {}
    for image in sorted(path for path in (folder / "images").iterdir() if path.suffix.lower() in ENDINGS):
        parts = re.fullmatch(r"(\w+?)_(\d+)_(\d{3})", image.stem)
        if parts is None:
            raise ValueError(f"{image} is no patch. Expected names such as train_7_003.jpg; rename or remove it.")
        case, patch = f"{parts[1]}_{int(parts[2]):02d}", int(parts[3])
        if patch in found.setdefault(case, {}):
            raise ValueError(f"{image} comes twice. Expected one image for each patch of a tile; remove the other.")
        found[case][patch] = (image, *(folder / name / f"{image.stem}.png" for name in names[1:]))
    for name in names[1:]:
        images = {paths[0].stem for patches in found.values() for paths in patches.values()}
        for mask in sorted((folder / name).glob("*.png")):
            if mask.stem not in images:
                raise FileNotFoundError(f"{mask} has no image. Expected one in {folder / 'images'}; add or remove it.")
    for case, patches in found.items():
        if sorted(patches) != list(range(len(CORNERS))):
            lacking = ", ".join(f"{n:03d}" for n in range(len(CORNERS)) if n not in patches)
            what = f"lacks the patches {lacking}" if lacking else f"has a patch {max(patches):03d}"
            raise ValueError(f"tile {case} in {folder} {what}. Expected 000 to 015; get the set again.")
        for path in (path for paths in patches.values() for path in paths[1:]):
            if not path.is_file():
                raise FileNotFoundError(f"{path} does not exist, but its image does. Expected both; get the set again.")
    return {case: [patches[n] for n in range(len(CORNERS))] for case, patches in found.items()}


def _amounts(patches):
    """Pixels of each class `[K]` in the patches of a tile."""
    masks = [read_labels(paths[1], (PATCH, PATCH)) for paths in patches]
    return sum(np.bincount(np.clip(mask, 0, len(CLASSES)).ravel(), minlength=len(CLASSES) + 1)[:-1] for mask in masks)


def _read_tile(patches):
    """Image, class ids and, if listed, instances of a tile; ValueError where masks do not fit."""
    parts = []
    for kind, paths in enumerate(zip(*patches, strict=True)):
        read = read_labels if kind else read_image
        pixels = [read(path, (PATCH, PATCH)) for path in paths]
        for path, patch in zip(paths, pixels, strict=True):
            if kind == 1 and not 0 <= patch.min() <= patch.max() < len(CLASSES):
                bad = patch.max() if patch.max() >= len(CLASSES) else patch.min()
                raise ValueError(f"{path} holds label {bad}. Expected 0 to {len(CLASSES) - 1}; correct the mask.")
        tile, differing = stitch(pixels)
        if kind and differing:  # images are JPEG, whose overlaps differ by a grey level or so
            raise ValueError(
                f"{paths[differing[0]]} differs from its neighbours where they overlap. Expected equal labels; get the "
                "set again."
            )
        parts.append(tile)
    return parts if len(parts) == 3 else [*parts, None]


def stitch(patches):
    """A tile `[1000, 1000, ...]` of its 16 patches `[256, 256, ...]`, and which differ from one before them.

    Edge patches repeat 24 pixels of their neighbours, of which those of the first patch are kept.
    """
    patches = np.stack(patches)
    tile = np.zeros((TILE, TILE, *patches.shape[3:]), patches.dtype)
    places = [np.s_[y : y + PATCH, x : x + PATCH] for y, x in CORNERS]
    for place, patch in reversed(list(zip(places, patches, strict=True))):  # so that the first is on top
        tile[place] = patch
    both = zip(places, patches, strict=True)
    return tile, [number for number, (place, patch) in enumerate(both) if (tile[place] != patch).any()]
