"""Surfaces of binary masks as elements with a size: marching-cubes patches, or border voxels.

A mask is taken to end at the edge of its array: what touches the edge has a surface there.
"""

import itertools
from functools import lru_cache

import numpy as np
from scipy import ndimage

RING = ((0, 0), (0, 1), (1, 1), (1, 0))  # the corners of a square, in order around it


def binary_mask(name, mask):
    """A mask of 0 and 1 as bool; other values raise ValueError."""
    mask = np.asarray(mask)
    if mask.dtype != bool:
        odd = mask[(mask != 0) & (mask != 1)]
        if odd.size:
            raise ValueError(f"{name} holds {odd.flat[0]}. Expected a binary mask; pass one class, such as ids == 1.")
        mask = mask.astype(bool)
    return mask


def patches(mask, spacing):
    """Surface elements between voxel centres, as Nikolov et al. (2018) count them.

    Every 2 x 2 (x 2) neighbourhood whose voxels are not all alike holds one element: the contour or surface that
    marching squares or cubes draws through it. Its place is the corner at which those voxels meet, its size the
    length or area of the patch.

    Args:
        mask: bool `[*S]`, 2-D or 3-D.
        spacing: mm per voxel, one number per axis.

    Returns:
        (bool `[*S + 1]`: where elements are, their sizes in mm or mm^2, in C order).
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    code = np.zeros([n + 1 for n in mask.shape], np.uint8)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        code |= padded[tuple(slice(c, c + n) for c, n in zip(corner, code.shape, strict=True))] << bit
    where = (code != 0) & (code != 2**2**mask.ndim - 1)
    return where, patch_sizes(tuple(float(s) for s in spacing))[code[where]]


def border_voxels(mask, spacing):
    """Voxels of the mask with a neighbour outside it across a side (4 neighbours in 2-D, 6 in 3-D), each of size 1."""
    del spacing
    where = mask & ~ndimage.binary_erosion(mask)
    return where, np.ones(np.count_nonzero(where))


@lru_cache(maxsize=64)
def patch_sizes(spacing):
    """Length (2-D) or area (3-D) of the patch of each neighbour code: `[16]` or `[256]`.

    Bit i of a code is voxel i of the neighbourhood in C order. A code and its complement have the same patch. Where a
    face is ambiguous, the voxels of the fewer kind stay apart.
    """
    corners = list(itertools.product((0, 1), repeat=len(spacing)))
    sizes = np.zeros(2 ** len(corners))
    for code in range(len(sizes) // 2):
        inside = {corner for bit, corner in enumerate(corners) if code >> bit & 1}
        if len(inside) > len(corners) // 2:
            inside = set(corners) - inside
        if len(spacing) == 2:
            size = sum(np.linalg.norm(np.subtract(a, b) * spacing) for a, b in _segments(corners, inside, (0, 1)))
        else:
            size = sum(_area(loop, spacing) for loop in _loops(corners, inside))
        sizes[code] = sizes[len(sizes) - 1 - code] = size
    return sizes


def _segments(face, inside, axes):
    """The pairs of edge midpoints that marching squares joins on one face."""
    ring = [next(c for c in face if (c[axes[0]], c[axes[1]]) == place) for place in RING]
    middles = [tuple(np.add(ring[i], ring[(i + 1) % 4]) / 2) for i in range(4)]
    cut = [i for i in range(4) if (ring[i] in inside) != (ring[(i + 1) % 4] in inside)]
    if len(cut) == 4:
        return [(middles[i - 1], middles[i]) for i in range(4) if ring[i] in inside]
    return [tuple(middles[i] for i in cut)] if cut else []


def _loops(corners, inside):
    """The closed polygons of marching cubes in one cell: the segments of its six faces, joined."""
    joined = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        face = [corner for corner in corners if corner[axis] == side]
        for a, b in _segments(face, inside, [other for other in range(3) if other != axis]):
            joined.setdefault(a, []).append(b)
            joined.setdefault(b, []).append(a)
    while joined:
        loop = [min(joined)]
        while ends := [end for end in joined.pop(loop[-1]) if end in joined]:
            loop.append(ends[0])
        yield np.array(loop)


def _area(loop, spacing):
    """Area of a polygon cut into a fan of triangles. Of the fans, the one that is largest at unit spacing.

    Polygons of five or six corners are not flat, so the cut decides. This one gives the areas of the lookup table
    that DeepMind's `surface-distance` uses.
    """
    fans = [np.roll(loop, -apex, axis=0) for apex in range(len(loop))]
    return _fan_area(max(fans, key=lambda fan: round(_fan_area(fan), 9)) * spacing)


def _fan_area(fan):
    sides = fan[1:] - fan[0]
    return np.linalg.norm(np.cross(sides[:-1], sides[1:]), axis=-1).sum() / 2
