"""What a model makes of images it can take at once, as a compiled function."""

import weakref

import numpy as np
import tensorflow as tf

from kseg.inference.models import size_multiple

_COMPILED = weakref.WeakKeyDictionary()


def predict_masks(model, images, *, threshold=0.5, batch_size=32):
    """Class ids of every pixel.

    Args:
        model: gives probabilities `[B, H, W, K]`.
        images: `[N, H, W, C]` float32.
        threshold: above it a pixel is foreground, K = 1 only.
        batch_size: images a batch.

    Returns:
        `[N, H, W]` uint8. Images of a size that the model cannot take are padded and the result cut again.
    """
    decide = forward(model, images.shape[1:], threshold)
    masks = [decide(images[i : i + batch_size]).numpy() for i in range(0, len(images), batch_size)]
    return np.concatenate(masks) if masks else np.zeros((0, *images.shape[1:3]), np.uint8)


def forward(model, shape, threshold=None):
    """What a model makes of images, as a compiled function; the same one again for the same arguments.

    Args:
        model: gives probabilities `[B, H, W, K]`.
        shape: `(H, W, C)` of the images; of a size that the model cannot take they are padded and the result cut.
        threshold: None for probabilities, else for class ids; above it a pixel is foreground, K = 1 only.

    Returns:
        A tf.function: `[B, H, W, C]` float32 -> `[B, H, W, K]` probabilities, or `[B, H, W]` uint8.
    """
    made, key = _COMPILED.setdefault(model, {}), (tuple(shape), threshold)
    if key not in made:
        made[key] = _compiled(model, *key)
    return made[key]


def _compiled(model, shape, threshold):
    height, width, channels = shape
    multiple, this = size_multiple(model), weakref.ref(model)  # what is kept of a model must not keep it alive
    open_axes = [size is None for size in model.input_shape[1:3]]
    bottom, right = (-size % multiple * free for size, free in zip((height, width), open_axes, strict=True))

    @tf.function(input_signature=[tf.TensorSpec((None, height, width, channels), tf.float32)])
    def see(images):
        padded = tf.pad(images, [[0, 0], [0, bottom], [0, right], [0, 0]])
        p = this()(padded, training=False)[:, :height, :width]
        if threshold is None:
            return p
        ids = p[..., 0] > threshold if p.shape[-1] == 1 else tf.argmax(p, axis=-1)
        return tf.cast(ids, tf.uint8)

    return see
