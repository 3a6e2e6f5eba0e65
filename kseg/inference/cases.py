"""Rows of a split that make a case, put together again, and how surfaces of cases are measured."""

import itertools
from typing import NamedTuple

import numpy as np


class Surfaces(NamedTuple):
    """How distances between surfaces are taken: voxel size of each case, tolerance of surface Dice, and their unit.

    `unit` is "mm", or "px" when the data do not tell the pixel size; then pixels are taken to be squares of side 1.
    """

    spacing: dict
    tolerance: float
    unit: str

    @property
    def axes(self):
        """2 for images, 3 for volumes."""
        return len(next(iter(self.spacing.values())))


def cases_of(index):
    """Iterate over (case, rows as a slice) of a split's index, whose rows are sorted by case."""
    names = index["case"]
    edges = np.flatnonzero(np.r_[True, names[1:] != names[:-1], True]) if len(names) else []
    for start, stop in itertools.pairwise(edges):
        yield str(names[start]), slice(int(start), int(stop))


def assemble(rows, index, case_rows):
    """One case as a volume `[n, h, w, ...]`: its rows of `[N, H, W, ...]` in slice order, padding cut off."""
    y0, y1, x0, x1 = index["box"][case_rows.start]
    order = np.argsort(index["slice"][case_rows], kind="stable")
    return rows[case_rows][order][:, y0:y1, x0:x1]


def plan_surfaces(index, *, slice_spacing=None, tolerance=1.0):
    """How to measure surfaces in a split: within images when every case is one, else in volumes.

    Args:
        index: of the split, with the pixel size in each slice; see `kseg.data.hdf5`.
        slice_spacing: distance between neighbouring slices, in mm (pixels if the data do not tell the pixel size). The
            data do not hold it, so volumes cannot be measured without it.
        tolerance: of surface Dice, in the same unit.

    Returns:
        Surfaces, or None for volumes without `slice_spacing`.

    Raises:
        ValueError: slices whose distances differ, or `slice_spacing` for cases of one image each.
    """
    cases = dict(cases_of(index))
    volumes = any(rows.stop - rows.start > 1 for rows in cases.values())
    if volumes and slice_spacing is None:
        return None
    if slice_spacing is not None and not volumes:
        raise ValueError(
            f"slice spacing {slice_spacing:g} does not fit cases of one image each. Expected volumes; leave it out."
        )
    known = bool((np.isfinite(index["spacing"]) & (index["spacing"] > 0)).all())
    spacing = {}
    for name, rows in cases.items():
        in_plane = tuple(float(s) for s in index["spacing"][rows.start]) if known else (1.0, 1.0)
        steps = np.unique(np.diff(np.sort(index["slice"][rows])))
        if len(steps) > 1:
            raise ValueError(
                f"case {name} lacks slices: they are {steps[0]} to {steps[-1]} apart. Expected equal steps for surface "
                "distances; prepare all slices, or leave the slice spacing out."
            )
        step = float(steps[0]) if len(steps) else 1.0
        spacing[name] = (slice_spacing * step, *in_plane) if volumes else in_plane
    return Surfaces(spacing, tolerance, "mm" if known else "px")
