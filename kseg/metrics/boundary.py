"""Boundary IoU: IoU of what lies near the contour, which stays sensitive for large objects (Cheng et al. 2021)."""

import math

import keras
import numpy as np
import tensorflow as tf
from scipy import ndimage

from kseg.metrics import counts as C
from kseg.metrics.elements import binary_mask
from kseg.metrics.streaming import ConfusionMetric


def boundary_iou(y_true, y_pred, *, dilation=0.02, width=None, empty="nan"):
    """IoU of the parts of two masks that lie within `width` voxels of their own contour.

    The part of a mask is what `width` erosions with a full 3 x 3 (x 3) element take away, so distance is counted in
    steps to any neighbour (chessboard); outside the array there is background (both as in the authors' code).

    Args:
        y_true, y_pred: binary masks of equal shape, 2-D or 3-D.
        dilation: width as a share of the image's diagonal, rounded, at least one voxel.
        width: the same in voxels, instead of `dilation`.
        empty: the result for two empty masks: "nan", "zero", "one" or a number.

    Returns:
        A number in [0, 1].
    """
    true, pred = binary_mask("y_true", y_true), binary_mask("y_pred", y_pred)
    if true.shape != pred.shape:
        raise ValueError(f"Masks have shapes {true.shape} and {pred.shape}. Expected equal shapes.")
    width = boundary_width(true.shape, dilation, width)
    true, pred = (
        mask & ~ndimage.minimum_filter(mask, size=2 * width + 1, mode="constant", cval=False) for mask in (true, pred)
    )
    both = np.count_nonzero(true & pred)
    return float(C.iou(C.Counts(both, np.count_nonzero(pred) - both, np.count_nonzero(true) - both, 0), empty))


def boundary_width(shape, dilation=0.02, width=None):
    """Voxels near the contour that count, for images of the spatial `shape`."""
    if width is not None:
        if width != int(width) or width < 1:
            raise ValueError(f"width={width!r} does not fit. Expected a whole number of voxels, at least 1.")
        return int(width)
    if not 0 < dilation < 1:
        raise ValueError(f"dilation={dilation!r} is out of range. Expected a share of the diagonal in (0, 1).")
    if None in shape:
        raise ValueError(
            f"Images of shape {tuple(shape)} have no fixed diagonal. Expected a fixed size; give the width in voxels "
            "with width=."
        )
    return max(1, round(dilation * math.hypot(*shape)))


@keras.saving.register_keras_serializable("kseg")
class BoundaryIoU(ConfusionMetric):
    """Boundary IoU over all images, mean of the foreground classes (Cheng et al. 2021).

    Sums intersection and union of the boundary regions; `per_image=True` gives the mean over images instead. Ignored
    pixels are background in both masks and not counted.

    Args:
        dilation: width of the region as a share of the image's diagonal; needs a fixed image size.
        width: the same in voxels, instead of `dilation`.

    Other arguments and inputs: see `ConfusionMetric`.
    """

    default_name = "boundary_iou"
    ratio = staticmethod(C.iou)

    def __init__(self, *, dilation=0.02, width=None, **options):
        super().__init__(**options)
        boundary_width((1,), dilation, width)  # refuses what does not fit
        self.dilation, self.width = dilation, width

    def state_shape(self, classes):
        return (4, classes)

    def measure(self, truth, guess, classes, weight):
        width = boundary_width(truth.shape[1:], self.dilation, self.width)
        if weight is not None:
            guess = tf.where(weight > 0, guess, tf.zeros_like(guess))
        true, pred = (near_contour(tf.one_hot(ids, classes), width) > 0 for ids in (truth, guess))
        weight = tf.ones((), tf.float64) if weight is None else weight[..., None]
        space = list(range(1, truth.shape.rank))
        parts = [true & pred, pred & ~true, true & ~pred, ~(true | pred)]
        return tf.stack([tf.reduce_sum(weight * tf.cast(part, tf.float64), axis=space) for part in parts], axis=1)

    def counts_of(self, state):
        return C.Counts(*tf.unstack(state, axis=-2))

    def get_config(self):
        return {**super().get_config(), "dilation": self.dilation, "width": self.width}


def near_contour(masks, width):
    """The part of masks `[B, *S, K]` of 0 and 1 that lies within `width` steps of their contour."""
    outside = 1.0 - masks
    for axis in range(1, masks.shape.rank - 1):
        outside = _spread(outside, axis, width)
    return masks * outside


def _spread(tensor, axis, width):
    """Running maximum along one axis, over `width` entries to each side, ones beyond the ends."""
    shape = tf.shape(tensor)
    flat = [tf.reduce_prod(shape[:axis]), shape[axis], tf.reduce_prod(shape[axis + 1 :]), 1]
    padded = tf.pad(tf.reshape(tensor, flat), [[0, 0], [width, width], [0, 0], [0, 0]], constant_values=1.0)
    return tf.reshape(tf.nn.max_pool2d(padded, (2 * width + 1, 1), 1, "VALID"), shape)
