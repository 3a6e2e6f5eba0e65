"""The U-Net's weight map as a step of data preparation, computed once per image with scipy.

`kseg.ops.unet_weight_map` is the same as a graph op, computed on every batch.
"""

import numpy as np
from scipy import ndimage


def unet_weights(instances, *, w0=10.0, sigma=5.0, class_weights=None, everywhere=False):
    """w(x) = w_c(x) + w0 exp(-(d_1(x) + d_2(x))^2 / (2 sigma^2)), for every image.

    d_1 and d_2 are the distances in pixels from x to the nearest and the second nearest object.

    Args:
        instances: `[N, *S]` integers, objects by number, 0 the background; see `label_objects`.
        w0: weight of the border term, at least 0.
        sigma: its width in pixels, above 0.
        class_weights: w_c: None for 1, (background, objects), or "balanced": pixels / (2 x pixels of the class) in
            each image.
        everywhere: the border term on the objects too, where d_1 is 0, as the paper writes it; by default on the
            background only, where it separates objects.

    Returns:
        float32 `[N, *S]`, ready to be the `sample_weight` of `fit`.

    Raises:
        ValueError: an option or dtype that does not fit.

    Example:
        >>> [round(float(weight), 3) for weight in unet_weights(np.array([[[1, 1, 0, 2, 2]]]))[0, 0]]
        [1.0, 1.0, 10.231, 1.0, 1.0]

    Source: Ronneberger et al. 2015, eq. 2; D2 (S2.17).
    """
    check_options(w0=w0, sigma=sigma, class_weights=class_weights, everywhere=everywhere)
    instances = np.asarray(instances)
    if instances.dtype.kind not in "iu" or instances.ndim < 2:
        raise ValueError(f"instances are {instances.dtype} {instances.shape}. Expected integers [N, ...].")
    weights = np.empty(instances.shape, np.float32)
    for image, weight in zip(instances, weights, strict=True):
        objects = image != 0
        first, second = _two_distances(image)
        border = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
        background, foreground = _balance(objects, class_weights)
        border = border if everywhere else np.where(objects, 0, border)
        weight[...] = np.where(objects, foreground, background) + border
    return weights


def _two_distances(image):
    """Distance of each pixel to the nearest and the second nearest object; inf where there is none."""
    first, second = np.full(image.shape, np.inf), np.full(image.shape, np.inf)
    for number in np.unique(image[image != 0]):
        distance = ndimage.distance_transform_edt(image != number)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    return first, second


def _balance(objects, class_weights):
    if class_weights is None:
        return 1.0, 1.0
    if isinstance(class_weights, str):
        share = objects.mean()
        return 0.5 / max(1 - share, 1e-12), 0.5 / max(share, 1e-12)
    return class_weights


def check_options(*, w0=10.0, sigma=5.0, class_weights=None, everywhere=False):
    """Raise ValueError if an option of `unet_weights` does not fit."""
    if not (w0 >= 0 and sigma > 0 and np.isfinite([w0, sigma]).all()):
        raise ValueError(f"w0={w0!r}, sigma={sigma!r} do not fit. Expected w0 at least 0, sigma above 0, both finite.")
    if everywhere not in (True, False):
        raise ValueError(f"everywhere={everywhere!r} does not fit. Expected True or False.")
    if class_weights is None or (isinstance(class_weights, str) and class_weights == "balanced"):
        return
    values = np.asarray(class_weights)
    if values.shape != (2,) or values.dtype.kind not in "iuf" or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(
            f"class_weights={class_weights!r} do not fit. Expected None, 'balanced' or two numbers at least 0."
        )


def label_objects(masks):
    """Number the objects of masks that come without: connected components, neighbours at corners included.

    Args:
        masks: `[N, *S]` class ids; pixels of different classes belong to different objects.

    Returns:
        int32 `[N, *S]`, 0 the background, 1, 2, ... the objects of each image. Objects of one class that touch are one.
    """
    masks = np.asarray(masks)
    numbers = np.zeros(masks.shape, np.int32)
    for image, objects in zip(masks, numbers, strict=True):
        for label in np.unique(image[image != 0]):
            found, count = ndimage.label(image == label, structure=np.ones([3] * image.ndim))
            objects[found > 0] = found[found > 0] + objects.max()
    return numbers


def objects_of(data, split, masks, start=0, stop=None):
    """The objects of rows of a data set: its own, or the connected components of its masks."""
    own = data.instances(split, start, stop) if hasattr(data, "instances") else None
    return label_objects(masks) if own is None else own


def add_weights(dataset, **options):
    """Add weight maps to the batches of any `tf.data.Dataset`.

    Args:
        dataset: batches (images, masks) or (images, masks, instances), masks and instances `[B, *S]` or `[B, *S, 1]`
            integers. Without instances, objects are the connected components of the masks.
        **options: of `unet_weights`.

    Returns:
        The dataset of (images, masks, weights), weights `[B, *S]` float32, for `model.fit`. Follow it by `cache()` to
        compute them once, or take `kseg.data.load(..., weight_map={...})` for a prepared file.
    """
    import tensorflow as tf

    check_options(**options)

    def compute(objects, numbered):
        return unet_weights(objects if numbered else label_objects(objects), **options)

    def weigh(images, masks, instances=None):
        objects = masks if instances is None else instances
        if objects.shape.rank == images.shape.rank and objects.shape[-1] == 1:
            objects = objects[..., 0]
        weights = tf.numpy_function(compute, [objects, instances is not None], tf.float32)
        return images, masks, tf.ensure_shape(weights, objects.shape)

    return dataset.map(weigh, num_parallel_calls=2)
