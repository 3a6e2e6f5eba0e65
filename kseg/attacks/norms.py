"""Balls around images: which way is steepest, back into the ball, how large a change is, a random place in it."""

from typing import Any, NamedTuple

import tensorflow as tf

from kseg import ops
from kseg.registry import Registry

NORMS = Registry("norm")
SHARE = 0.01  # of the values of an image that one step of the L1 ball changes
TINY = 1e-30


class Norm(NamedTuple):
    """Functions of changes `[B, *S, C]`, each image by itself.

    Attributes:
        direction: of gradients: the change of size 1 that a linear function rises most along; 0 where the gradient is.
        project: of changes and radii `[B]`: the nearest change of at most that size.
        size: of changes: `[B]`.
        start: of a shape, rows `[B]`, a draw, a seed and radii `[B]`: random changes within the ball.
    """

    direction: Any
    project: Any
    size: Any
    start: Any


def _flat(values):
    return tf.reshape(values, [tf.shape(values)[0], -1])


def _like(values, tensor):
    """`[B]` with axes of size 1, so that it goes with `tensor`."""
    return tf.reshape(values, [-1, *[1] * (tensor.shape.rank - 1)])


def _sum(values):
    """Sum of each image `[B]`, exact to rounding however many values there are."""
    return ops.space_sum(_flat(values)[..., None])[:, 0]


def _unit(values, size):
    return values / _like(tf.maximum(size, TINY), values)


def linf_project(change, radius):
    radius = _like(radius, change)
    return tf.clip_by_value(change, -radius, radius)


def linf_size(change):
    return tf.reduce_max(tf.abs(_flat(change)), axis=1)


def linf_start(shape, rows, draw, seed, radius):
    unit = 2.0 * ops.random_uniform(shape, rows, draw, seed) - 1.0
    return unit * _like(radius, unit)


def l2_direction(gradient):
    gradient = _unit(gradient, linf_size(gradient))  # squares of small gradients would vanish
    return _unit(gradient, l2_size(gradient))


def l2_size(change):
    largest = tf.maximum(linf_size(change), TINY)
    return largest * tf.sqrt(_sum(tf.square(_unit(change, largest))))


def l2_project(change, radius):
    return change * _like(tf.minimum(1.0, radius / tf.maximum(l2_size(change), TINY)), change)


def l2_start(shape, rows, draw, seed, radius):
    """Uniform in the ball: a normal direction, and the root of a uniform number as its length."""
    normal = ops.random_normal(shape, rows, draw, seed)
    unit = _unit(normal, l2_size(normal))
    return unit * _like(radius * _length(shape, rows, draw, seed), unit)


def _length(shape, rows, draw, seed):
    values = tf.cast(tf.reduce_prod(tf.convert_to_tensor(shape)[1:]), tf.float32)
    first = ops.random_uniform(tf.stack([tf.shape(rows)[0], 1]), rows, draw, seed + 1)[:, 0]
    return first ** (1.0 / values)


def l1_direction(gradient):
    """Signs of the largest hundredth of an image's values, which is steadier than the one value that is steepest.

    Source: Tramer and Boneh 2019, "Adversarial training and robustness for multiple perturbations".
    """
    flat = _flat(gradient)
    total = tf.shape(flat)[1]
    count = tf.maximum(1, tf.cast(SHARE * tf.cast(total, tf.float32), tf.int32))
    least = tf.math.top_k(tf.abs(flat), count).values[:, -1]
    signs = tf.where(tf.abs(gradient) >= _like(least, gradient), tf.sign(gradient), 0.0)
    return _unit(signs, l1_size(signs))


def l1_size(change):
    return _sum(tf.abs(change))


def l1_project(change, radius):
    """Soft thresholding, the threshold by sorting (Duchi et al. 2008, "Efficient projections onto the l1-ball")."""
    sizes = tf.abs(_flat(change))
    ordered = tf.sort(sizes, axis=1, direction="DESCENDING")
    count = tf.cast(tf.range(1, tf.shape(ordered)[1] + 1), tf.float32)
    excess = (tf.cumsum(ordered, axis=1) - radius[:, None]) / count
    last = tf.reduce_sum(tf.cast(ordered > excess, tf.int32), axis=1)  # how many values stay
    threshold = tf.gather(excess, tf.maximum(last - 1, 0), axis=1, batch_dims=1)
    threshold = tf.where(tf.reduce_sum(sizes, axis=1) <= radius, 0.0, threshold)
    return tf.sign(change) * tf.maximum(tf.abs(change) - _like(threshold, change), 0.0)


def l1_start(shape, rows, draw, seed, radius):
    """Laplace directions, which are uniform on the sphere of the L1 norm, as long as a uniform number's root."""
    uniform = ops.random_uniform(shape, rows, draw, seed) - 0.5
    laplace = -tf.sign(uniform) * tf.math.log1p(-2.0 * tf.abs(uniform))
    unit = _unit(laplace, l1_size(laplace))
    return unit * _like(radius * _length(shape, rows, draw, seed), unit)


NORMS.register("linf")(Norm(tf.sign, linf_project, linf_size, linf_start))
NORMS.register("l2")(Norm(l2_direction, l2_project, l2_size, l2_start))
NORMS.register("l1")(Norm(l1_direction, l1_project, l1_size, l1_start))
