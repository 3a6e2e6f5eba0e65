"""A square of each image that may hold anything."""

import numpy as np
import tensorflow as tf

from kseg import ops
from kseg.attacks.gradient import ATTACKS, pgd
from kseg.attacks.objectives import OBJECTIVES
from kseg.attacks.search import block, corner, number_of, sizes_of
from kseg.registry import unknown

PLACES = ("gradient", "random")
DRAW = 2**31 - 1  # of random places; random starts have the first ones


@ATTACKS.register("patch", norms=("linf",), unbounded=True, source="Brown et al. 2017; Nesti et al. 2022")
def patch(
    problem, *, steps=100, size=0.2, place="gradient", count_patch=False, random_start=False, restarts=1, momentum=0.0
):
    """PGD in a square of each image (a cube of a volume) that may hold any values, and nothing else changes.

    The patch is made for its image and its place. With a budget it is kept within the ball too. `extra` holds "box"
    `[N, 2 axes]` int32: (y0, y1, x0, x1), in volumes (z0, z1, y0, y1, x0, x1).

    Args:
        steps: gradients taken in the patch.
        size: its side: a whole number of pixels, or a share of the image's shortest side as a float in (0, 1].
        place: "gradient" where the mean absolute gradient of the original is largest over it, of equal places the
            first; "random" by seed and row; or the first pixel of it, (y, x) or (z, y, x).
        count_patch: whether loss and agreement are of the pixels under the patch too. They are not by default: what
            is there can no longer be seen.
        random_start, restarts, momentum: see `pgd`.
    """
    sizes = sizes_of(problem.origin)
    shortest = tf.reduce_min(tf.stack(sizes)) if any(map(tf.is_tensor, sizes)) else min(sizes)
    side = number_of("size", size, shortest)
    corners = _corners(problem, place, side, sizes)
    inside = block(corners, [side] * len(sizes), sizes)
    norm, free = problem.bounds.norm, tf.cast(inside, tf.float32)
    own = norm._replace(project=lambda change, radius: norm.project(change * free, radius))
    inner = problem._replace(bounds=problem.bounds._replace(norm=own))
    if not count_patch:
        _check_loss(problem)
        seen = tf.ensure_shape(problem.counted * (1.0 - free[..., 0]), problem.counted.shape)
        inner = inner._replace(counted=seen, ignoring=True)
    best = pgd(inner, steps=steps, random_start=random_start, restarts=restarts, momentum=momentum)
    box = tf.stack([edge for first in corners for edge in (first, first + side)], axis=1)
    return best._replace(extra={"box": box})


def _check_loss(problem):
    """Refuse losses that were made to see all pixels."""
    parts = [OBJECTIVES.get(name) for name in OBJECTIVES.names()]
    if not problem.ignoring and problem.climbed not in parts:
        raise ValueError(
            "count_patch=False does not fit this loss, which sees all pixels. Expected one of: "
            f"{', '.join(OBJECTIVES.names())}; ignore_class= an id that no mask has; or count_patch=True."
        )


def _corners(problem, place, side, sizes):
    """First pixel of each patch, `[B]` int32 an axis."""
    batch = tf.shape(problem.rows)[0]
    if isinstance(place, str):
        if place not in PLACES:
            raise unknown("place", place, [*PLACES, "a tuple"])
        if place == "random":
            numbers = ops.random_uniform(tf.stack([batch, len(sizes)]), problem.rows, DRAW, problem.seed)
            return [corner(numbers[:, axis], size, side) for axis, size in enumerate(sizes)]
        gradient, *_ = problem.slope(problem.origin)
        return _highest(box_sums(tf.reduce_sum(tf.abs(gradient), axis=-1), side))
    last = [size - side for size in sizes]
    numbers = list(place) if isinstance(place, tuple | list) else []
    fits = len(numbers) == len(sizes) and all(
        isinstance(number, int | np.integer) and 0 <= number <= (number if tf.is_tensor(most) else most)
        for number, most in zip(numbers, last, strict=True)
    )
    if not fits:
        most = tuple("any" if tf.is_tensor(room) else room for room in last)
        raise ValueError(
            f"place={place!r} does not fit. Expected 'gradient', 'random' or the first pixel of the patch, a tuple "
            f"from {(0,) * len(sizes)} to {most}."
        )
    # Where the sizes are not known beforehand, patches that would reach over the edge are moved inwards.
    return [tf.fill([batch], tf.minimum(number, most)) for number, most in zip(numbers, last, strict=True)]


def box_sums(values, side):
    """Sums of `[B, *S]` over all blocks of a side that fit, by their first pixel: `[B, *(S - side + 1)]` float64."""
    values = tf.cast(values, tf.float64)
    for axis in range(1, values.shape.rank):
        front = [[int(other == axis), 0] for other in range(values.shape.rank)]
        sums, before = tf.pad(tf.cumsum(values, axis=axis), front), (slice(None),) * axis
        values = sums[(*before, slice(side, None))] - sums[(*before, slice(None, tf.shape(sums)[axis] - side))]
    return values


def _highest(values):
    """Place of the highest value of each image, the first of equal ones: `[B]` int32 an axis."""
    shape = tf.shape(values)
    place = tf.argmax(tf.reshape(values, [shape[0], -1]), axis=1, output_type=tf.int32)
    return tf.unstack(tf.unravel_index(place, shape[1:]), num=values.shape.rank - 1)
