"""The network of D1's toy study (S1.9)."""

import keras
from keras import layers


def toy_net(bn=False, *, n_conv=2, filters=4, seed=None):
    """Two 3x3 convolutions of 4 filters, then a 1x1 convolution to two logits (S1.9).

    Batch normalisation comes before each ReLU and replaces the bias. 198 trainable parameters without it,
    206 trainable and 16 others with it.

    Args:
        bn: batch normalisation.
        n_conv: number of 3x3 convolutions, at least 1.
        filters: filters of each.
        seed: of the Glorot uniform weights; None draws a new one each time.

    Returns:
        A `keras.Model` `[B, H, W, 1] -> [B, H, W, 2]`, any H and W; the last layer is named `logits`.
    """
    if n_conv < 1 or filters < 1:
        raise ValueError(f"n_conv={n_conv}, filters={filters} make no network. Expected both at least 1.")
    inputs = keras.Input((None, None, 1), name="image")
    x = inputs
    start = keras.initializers.GlorotUniform
    seeds = keras.random.SeedGenerator(seed) if seed is not None else None
    for i in range(1, n_conv + 1):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=not bn, kernel_initializer=start(seeds), name=f"conv{i}"
        )(x)
        if bn:
            x = layers.BatchNormalization(name=f"conv{i}_bn")(x)
        x = layers.ReLU(name=f"conv{i}_relu")(x)
    outputs = layers.Conv2D(2, 1, kernel_initializer=start(seeds), name="logits", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="toy_net")
