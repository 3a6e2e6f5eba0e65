"""Methods made of gradients with respect to the image; each `(view, images, rows, **options) -> maps`.

`view` is a `View`, `images` `[B, *S, C]` float32, `rows` `[B]` int32: the number of each image, which its random
numbers go by. Maps are float32 and keep their sign.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kseg.ops import random_normal
from kseg.registry import Registry

METHODS = Registry("saliency method")


class Attribution(NamedTuple):
    """Maps `[B, *S, C]`, and by how much the sum of each `[B]` misses the score that it shares out."""

    values: Any
    error: Any


@METHODS.register("gradient", source="Simonyan et al. 2013; S0.7")
def gradient(view, images, rows):
    """The gradient of the score, `[B, *S, C]`."""
    return view.slope(images)


@METHODS.register("gradient_x_input", source="Shrikumar et al. 2016")
def gradient_x_input(view, images, rows):
    """Gradient times image, `[B, *S, C]`: the effect of each value, as far as the score is linear."""
    return view.slope(images) * images


@METHODS.register("smoothgrad", needs=("rows",), source="Smilkov et al. 2017")
def smoothgrad(view, images, rows, *, samples=25, noise=0.15, seed=0):
    """Mean gradient over noisy copies of each image, `[B, *S, C]`.

    Args:
        samples: copies, at least 1.
        noise: standard deviation of the noise as a share of the image's largest minus smallest value, at least 0.
        seed: of the noise, which goes by the row of an image and not by its place in a batch.
    """
    axes = list(range(1, images.shape.rank))
    extent = tf.reduce_max(images, axes, keepdims=True) - tf.reduce_min(images, axes, keepdims=True)

    def step(i, total):
        noisy = images + noise * extent * random_normal(tf.shape(images), rows, i, seed)
        return i + 1, total + view.slope(tf.ensure_shape(noisy, images.shape))

    return _repeat(step, samples, tf.zeros_like(images)) / samples


@METHODS.register("integrated_gradients", source="Sundararajan et al. 2017")
def integrated_gradients(view, images, rows, *, baseline=0.0, steps=50):
    """Mean gradient on the straight way from a baseline, times the way; `Attribution` of `[B, *S, C]` and `[B]`.

    The values of an image sum up to its score minus that of the baseline (completeness) but for the error that is
    returned beside them. The integral is taken at Gauss-Legendre nodes.

    Args:
        baseline: image without the thing sought: a number, or an array that broadcasts to `[*S, C]`.
        steps: nodes, at least 1.
    """
    nodes, weights = (tf.constant(part, tf.float32) for part in np.polynomial.legendre.leggauss(steps))
    start = tf.broadcast_to(tf.constant(baseline, tf.float32), tf.shape(images))
    start = tf.ensure_shape(start, images.shape)
    way = images - start

    def step(i, total):
        return i + 1, total + weights[i] / 2.0 * view.slope(start + (nodes[i] + 1.0) / 2.0 * way)

    values = way * _repeat(step, steps, tf.zeros_like(images))
    total = tf.reduce_sum(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1)
    return Attribution(values, total - view.change(view.terms(start), images))


@METHODS.register("guided_backprop", models=("guided",), source="Springenberg et al. 2014")
def guided_backprop(view, images, rows):
    """The gradient where ReLUs let positive gradients alone pass, `[B, *S, C]`; other activations keep theirs."""
    return view.guided_slope(images)


def _repeat(step, count, start):
    """Loop `(i, total) -> (i + 1, total)`, in the graph."""
    return tf.while_loop(lambda i, _: i < count, step, (tf.constant(0), start), parallel_iterations=1)[1]
