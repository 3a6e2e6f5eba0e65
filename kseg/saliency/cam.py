"""Grad-CAM: the feature maps of a layer, weighted by the gradients of the score with respect to them (E0.4)."""

import tensorflow as tf

from kseg.saliency.methods import METHODS


@METHODS.register("grad_cam", models=("features",), source="Selvaraju et al. 2017; E0.4")
def grad_cam(view, images, rows, *, layer=None):
    """relu(sum over k of alpha_k A_k), resized bilinearly to the image, `[B, *S, 1]`, at least 0.

    A_k are the feature maps of a layer; alpha_k is the spatial mean of the gradient of the score with respect to
    A_k. (The document's first sentence has the gradient of the layer with respect to the input instead, E0.4.)

    Args:
        layer: name of the layer; by default the last one of the smallest images, the logits left out.
    """
    features, slope = view.feature_slope(images)
    space = list(range(1, features.shape.rank - 1))
    weights = tf.reduce_mean(slope, axis=space, keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
    margins = view.models["margins"]
    sizes = [tf.shape(images)[axis] for axis in space]
    maps = linear_resize(maps, [size + sum(margin) for size, margin in zip(sizes, margins, strict=True)])
    for axis, (size, (low, _)) in enumerate(zip(sizes, margins, strict=True), 1):
        maps = tf.gather(maps, low + tf.range(size), axis=axis) if any(margins[axis - 1]) else maps
    return tf.ensure_shape(maps[..., None], [*images.shape[:-1], 1])


@METHODS.register(
    "seg_grad_cam", models=("features",), output="logit", region="predicted", source="Vinogradova et al. 2020"
)
def seg_grad_cam(view, images, rows, *, layer=None):
    """Grad-CAM of the sum of the logits over a region: by default that predicted to be of the classes."""
    return grad_cam(view, images, rows, layer=layer)


@METHODS.register("guided_grad_cam", models=("features", "guided"), source="Selvaraju et al. 2017")
def guided_grad_cam(view, images, rows, *, layer=None):
    """Guided backpropagation times Grad-CAM, `[B, *S, C]`."""
    return view.guided_slope(images) * grad_cam(view, images, rows, layer=layer)


def linear_resize(maps, sizes):
    """Linear interpolation along each axis, pixel centres at half numbers, for any number of axes.

    Args:
        maps: `[B, *s]`.
        sizes: `*S`, numbers or scalar tensors.

    Returns:
        `[B, *S]`.
    """
    for size in sizes:
        length = tf.shape(maps)[1]
        scale = tf.cast(length, tf.float32) / tf.cast(size, tf.float32)
        place = (tf.range(size, dtype=tf.float32) + 0.5) * scale - 0.5
        place = tf.clip_by_value(place, 0.0, tf.cast(length - 1, tf.float32))
        share = tf.nn.relu(1.0 - tf.abs(place[:, None] - tf.range(length, dtype=tf.float32)[None]))
        maps = tf.tensordot(maps, share, [[1], [1]])  # the axis goes to the end, and the next one is the first
    return maps
