"""A network of two convolutions in float64 NumPy, and derivatives of functions of it, to check the graph against."""

import keras
import numpy as np

RNG = np.random.default_rng(7)
CHANNELS, FILTERS, SIZE = 2, 3, 6
KERNEL = RNG.normal(0, 0.7, (3, 3, CHANNELS, FILTERS))
BIAS = RNG.normal(0, 0.2, FILTERS)
LAST = {1: RNG.normal(0, 1, (FILTERS, 1)), 3: np.array([[-0.5, 1.0, 0.4], [0.3, -0.9, 0.2], [0.6, -0.3, 1.1]])}
IMAGES = RNG.normal(0, 1, (3, SIZE, SIZE, CHANNELS))
IMAGES32 = IMAGES.astype(np.float32)


def network(classes, activation=None, relu="layer"):
    """relu(conv 3x3) and a 1x1 convolution as a Keras model; the ReLU a layer, an activation or an operation."""
    inputs = keras.Input((SIZE, SIZE, CHANNELS))
    fused = "relu" if relu == "activation" else None
    x = keras.layers.Conv2D(FILTERS, 3, padding="same", activation=fused, name="first")(inputs)
    if relu == "layer":
        x = keras.layers.ReLU(name="relu")(x)
    if relu == "operation":
        x = keras.ops.relu(x)
    outputs = keras.layers.Conv2D(classes, 1, activation=activation, name="last")(x)
    model = keras.Model(inputs, outputs)
    model.get_layer("first").set_weights([KERNEL, BIAS])
    model.get_layer("last").set_weights([LAST[classes][None, None], np.zeros(classes)])
    return model


def before_relu(images):
    """`[B, H, W, F]`."""
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    height, width = images.shape[1:3]
    parts = [padded[:, y : y + height, x : x + width] @ KERNEL[y, x] for y in range(3) for x in range(3)]
    return sum(parts) + BIAS


def logits(images, classes):
    """`[B, H, W, K]`."""
    return np.maximum(before_relu(images), 0) @ LAST[classes]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def slope(function, images, step=1e-6):
    """Gradient by central differences of `function(images) -> [B]`, each value of its image alone."""
    result = np.zeros_like(images)
    for place in np.ndindex(images.shape[1:]):
        moved = np.zeros(images.shape[1:])
        moved[place] = step
        result[(slice(None), *place)] = (function(images + moved) - function(images - moved)) / (2 * step)
    return result
