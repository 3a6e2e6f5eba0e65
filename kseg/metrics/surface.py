"""Distances between the surfaces of two binary masks, in mm; pure functions on NumPy arrays, 2-D and 3-D.

Each function takes `(y_true, y_pred, spacing=None, ...)`; `surface_distances` computes all distances once, for several
scores of the same pair. Conventions, in which libraries differ:

- Elements. "patches" (default): the pieces of contour or surface that marching squares or cubes draws between voxel
  centres, weighted by their length or area, as in Nikolov et al. (2018) and DeepMind's `surface-distance`. "voxels":
  the mask minus its erosion (4 neighbours in 2-D, 6 in 3-D), each voxel counted once, as in MedPy and MONAI. Distances
  of the first lie between voxel corners, of the second between voxel centres.
- The edge of the array. Outside it there is background, so a mask that touches the edge has a surface there.
- Percentiles are taken in each direction and the larger counts. "patches": the smallest distance that covers at least
  that share of the surface (DeepMind); "voxels": interpolated between ranks (MONAI). MedPy's `hd95` instead takes one
  percentile of both directions together, which is smaller where one direction is worse.
- Averages. `asd`: from the predicted surface to the true one. `assd`: over the elements of both surfaces together (as
  MedPy and MONAI). `masd`: mean of the two directed averages, which DeepMind returns apart.
- Empty masks. Both empty: no score, `empty` (nan unless told otherwise). One empty: surface Dice is 0 and distances are
  `missing`, by default infinite: a missed object must not vanish from a mean as nan would.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from kseg.metrics.elements import binary_mask, border_voxels, patches
from kseg.metrics.options import empty_score
from kseg.registry import unknown

ELEMENTS = {"patches": patches, "voxels": border_voxels}


class SurfaceDistances(NamedTuple):
    """Distance of each surface element to the nearest element of the other surface, and the size of each.

    Distances are infinite where the other surface is empty. Sizes are mm (2-D) or mm^2 (3-D) with `elements="patches"`
    and 1 with "voxels".
    """

    true_to_pred: np.ndarray
    pred_to_true: np.ndarray
    true_size: np.ndarray
    pred_size: np.ndarray
    elements: str = "patches"

    def hausdorff(self, percentile=100, *, empty="nan", missing=np.inf):
        """The larger of the two directed percentiles; 100 gives the Hausdorff distance."""
        if not 0 < percentile <= 100:
            raise ValueError(f"percentile={percentile!r} is out of range. Expected a number in (0, 100].")
        directions = ((self.true_to_pred, self.true_size), (self.pred_to_true, self.pred_size))
        return self._distance(lambda: max(self._percentile(*way, percentile) for way in directions), empty, missing)

    def asd(self, *, empty="nan", missing=np.inf):
        """Average distance from the predicted surface to the true one."""
        return self._distance(lambda: np.average(self.pred_to_true, weights=self.pred_size), empty, missing)

    def assd(self, *, empty="nan", missing=np.inf):
        """Average symmetric surface distance: over the elements of both surfaces."""
        every, sizes = np.r_[self.true_to_pred, self.pred_to_true], np.r_[self.true_size, self.pred_size]
        return self._distance(lambda: np.average(every, weights=sizes), empty, missing)

    def masd(self, *, empty="nan", missing=np.inf):
        """Mean of the two directed average distances."""
        directions = ((self.true_to_pred, self.true_size), (self.pred_to_true, self.pred_size))
        return self._distance(lambda: np.mean([np.average(d, weights=s) for d, s in directions]), empty, missing)

    def dice(self, tolerance, *, empty="nan"):
        """Share of both surfaces that lies within `tolerance` (mm) of the other one."""
        if not tolerance >= 0:
            raise ValueError(f"tolerance={tolerance!r} is out of range. Expected a distance of at least 0.")
        total = self.true_size.sum() + self.pred_size.sum()
        if total == 0:
            return empty_score(empty)
        within = tolerance * (1 + 1e-9)  # 3 steps of 0.1 mm are within 0.3 mm, whatever they round to
        near = self.true_size[self.true_to_pred <= within].sum() + self.pred_size[self.pred_to_true <= within].sum()
        return float(near / total)

    def _distance(self, measure, empty, missing):
        empty, missing = empty_score(empty), float(missing)
        present = (len(self.true_to_pred) > 0) + (len(self.pred_to_true) > 0)
        return (empty, missing, float(measure()) if present == 2 else None)[present]

    def _percentile(self, distances, sizes, percentile):
        if self.elements == "voxels":
            return np.percentile(distances, percentile)
        order = np.argsort(distances)
        covered = np.cumsum(sizes[order])
        return distances[order][np.searchsorted(covered, percentile / 100 * covered[-1] * (1 - 1e-12))]


def surface_distances(y_true, y_pred, spacing=None, *, elements="patches"):
    """All distances between the surfaces of two masks.

    Args:
        y_true, y_pred: binary masks `[*S]` of equal shape, 2-D or 3-D; bool, or numbers 0 and 1.
        spacing: mm per voxel, one number or one per axis in the order of the axes; None for distances in voxels.
        elements: "patches" or "voxels"; see the head of this module.

    Returns:
        SurfaceDistances, whose methods are the scores below.

    Raises:
        ValueError: shapes, values or options that do not fit.

    Example:
        >>> import numpy as np
        >>> disc, moved = np.zeros((2, 9, 9), bool)
        >>> disc[2:5, 2:5] = moved[2:5, 4:7] = True
        >>> distances = surface_distances(disc, moved, (0.5, 0.5))
        >>> distances.hausdorff(), round(distances.dice(tolerance=0.5), 3)
        (1.0, 0.685)
    """
    if elements not in ELEMENTS:
        raise unknown("elements", elements, ELEMENTS)
    true, pred = binary_mask("y_true", y_true), binary_mask("y_pred", y_pred)
    if true.shape != pred.shape or true.ndim not in (2, 3):
        raise ValueError(f"Masks have shapes {true.shape} and {pred.shape}. Expected equal shapes of 2 or 3 axes.")
    spacing = _check_spacing(spacing, true.ndim)
    # Both surfaces lie within the box around both masks, so nothing outside it can be nearest.
    box = ndimage.find_objects((true | pred).astype(np.int8))
    if box:
        true, pred = true[box[0]], pred[box[0]]
    (on_true, true_size), (on_pred, pred_size) = (ELEMENTS[elements](mask, spacing) for mask in (true, pred))
    return SurfaceDistances(
        _distances(on_true, on_pred, spacing), _distances(on_pred, on_true, spacing), true_size, pred_size, elements
    )


def hausdorff(y_true, y_pred, spacing=None, *, percentile=100, elements="patches", empty="nan", missing=np.inf):
    """Hausdorff distance: how far the worst place of one surface is from the other (Huttenlocher et al. 1993).

    Args:
        y_true, y_pred, spacing, elements: as in `surface_distances`.
        percentile: of the distances in each direction, in (0, 100]; the larger of the two is the result.
        empty: the result for two empty masks: "nan", "zero", or a number.
        missing: the result when exactly one mask is empty, such as the diagonal of the image in mm.
    """
    distances = surface_distances(y_true, y_pred, spacing, elements=elements)
    return distances.hausdorff(percentile, empty=empty, missing=missing)


def hausdorff95(y_true, y_pred, spacing=None, *, elements="patches", empty="nan", missing=np.inf):
    """Hausdorff distance without the worst 5 %: `hausdorff(percentile=95)`."""
    return hausdorff(y_true, y_pred, spacing, percentile=95, elements=elements, empty=empty, missing=missing)


def asd(y_true, y_pred, spacing=None, *, elements="patches", empty="nan", missing=np.inf):
    """Average distance from the predicted surface to the true one; blind to what the prediction leaves out."""
    return surface_distances(y_true, y_pred, spacing, elements=elements).asd(empty=empty, missing=missing)


def assd(y_true, y_pred, spacing=None, *, elements="patches", empty="nan", missing=np.inf):
    """Average symmetric surface distance, over the elements of both surfaces (Heimann et al. 2009)."""
    return surface_distances(y_true, y_pred, spacing, elements=elements).assd(empty=empty, missing=missing)


def masd(y_true, y_pred, spacing=None, *, elements="patches", empty="nan", missing=np.inf):
    """Mean of the two directed average surface distances (Maier-Hein et al. 2024, Metrics Reloaded)."""
    return surface_distances(y_true, y_pred, spacing, elements=elements).masd(empty=empty, missing=missing)


def surface_dice(y_true, y_pred, spacing=None, *, tolerance, elements="patches", empty="nan"):
    """Share of both surfaces within `tolerance` (mm) of the other: normalised surface Dice (Nikolov et al. 2018)."""
    return surface_distances(y_true, y_pred, spacing, elements=elements).dice(tolerance, empty=empty)


def _check_spacing(spacing, axes):
    spacing = 1.0 if spacing is None else spacing
    given = np.ravel(np.asarray(spacing, np.float64))
    if len(given) not in (1, axes) or not (np.isfinite(given).all() and (given > 0).all()):
        raise ValueError(f"spacing={spacing!r} does not fit. Expected a number above 0, or {axes} of them.")
    return tuple(np.broadcast_to(given, axes).tolist())


def _distances(here, there, spacing):
    """Distance from each element in `here` to the nearest in `there`."""
    if not there.any():
        return np.full(np.count_nonzero(here), np.inf)
    return ndimage.distance_transform_edt(~there, sampling=spacing)[here]
