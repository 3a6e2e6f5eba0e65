"""The U-Net (Ronneberger et al. 2015) in 2-D and 3-D."""

import keras
from keras import layers

DECODERS = ("conv", "transpose")
# Keras' 0.99 takes some 500 steps to forget the start, several epochs of a small data set, in which the
# validation score says nothing; 0.9 follows within an epoch.
BN_MOMENTUM = 0.9


def unet(input_shape, classes, *, filters=16, depth=4, bn=False, decoder="conv", dropout=0.0):
    """A U-Net that ends in logits.

    Args:
        input_shape: (H, W, C), or (D, H, W, C) for volumes. Fixed sizes may be anything: the input is
            zero-padded to a multiple of 2**depth and the result cropped. With None, every size that comes in
            must be a multiple of 2**depth.
        classes: output channels K, at least 1.
        filters: channels of the first level, doubled at each pooling.
        depth: number of poolings, at least 1.
        bn: batch normalisation before each ReLU.
        decoder: "conv": per level a strided transposed and two plain convolutions; "transpose": a strided and
            a plain transposed one (S3.3: 10 + 8 at depth 4).
        dropout: rate between the two convolutions of each encoder block, in [0, 1).

    Returns:
        A `keras.Model` `[B, *S, C] -> [B, *S, classes]` of stock layers; the last is named `logits`, float32.

    Raises:
        ValueError: an argument that does not fit.

    Example:
        >>> unet((48, 64, 1), 2, filters=4, depth=2).output_shape
        (None, 48, 64, 2)
    """
    _check(input_shape, classes, filters, depth, decoder, dropout)
    kit = _Kit(len(input_shape) - 1, bn, dropout)
    inputs = keras.Input(input_shape, name="image")
    margins = [_margins(size, 2**depth) for size in input_shape[:-1]]
    padded = any(low or high for low, high in margins)
    x = kit.layer("ZeroPadding", margins, name="pad")(inputs) if padded else inputs

    skips = []
    for level in range(depth):
        x = kit.encode(x, filters * 2**level, f"down{level + 1}")
        skips.append(x)
        x = kit.layer("MaxPooling", 2, name=f"down{level + 1}_pool")(x)
    x = kit.encode(x, filters * 2**depth, "bottom")
    for level in reversed(range(depth)):
        x = kit.decode(x, skips[level], filters * 2**level, decoder, f"up{level + 1}")

    x = kit.layer("Cropping", margins, name="crop")(x) if padded else x
    outputs = kit.layer("Conv", classes, 1, name="logits", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="unet")


class _Kit:
    """Blocks of layers for one number of spatial axes."""

    def __init__(self, rank, bn, dropout):
        self.rank, self.bn, self.dropout = rank, bn, dropout

    def layer(self, kind, *args, **kwargs):
        suffix = "DTranspose" if kind == "ConvTranspose" else "D"
        return getattr(layers, f"{kind.removesuffix('Transpose')}{self.rank}{suffix}")(*args, **kwargs)

    def conv(self, x, filters, name, kind="Conv", size=3, strides=1):
        x = self.layer(
            kind, filters, size, strides=strides, padding="same", use_bias=not self.bn,
            kernel_initializer="he_normal", name=name,
        )(x)  # fmt: skip
        if self.bn:
            x = layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def encode(self, x, filters, name):
        x = self.conv(x, filters, f"{name}_conv1")
        if self.dropout:
            x = layers.Dropout(self.dropout, name=f"{name}_dropout")(x)
        return self.conv(x, filters, f"{name}_conv2")

    def decode(self, x, skip, filters, decoder, name):
        x = self.conv(x, filters, f"{name}_up", "ConvTranspose", size=2, strides=2)
        x = layers.Concatenate(name=f"{name}_skip")([skip, x])
        if decoder == "transpose":
            return self.conv(x, filters, f"{name}_conv1", "ConvTranspose")
        x = self.conv(x, filters, f"{name}_conv1")
        return self.conv(x, filters, f"{name}_conv2")


def _margins(size, multiple):
    extra = 0 if size is None else -size % multiple
    return extra // 2, extra - extra // 2


def _check(input_shape, classes, filters, depth, decoder, dropout):
    if len(input_shape) not in (3, 4) or any(n is not None and n < 1 for n in input_shape):
        raise ValueError(
            f"input_shape={tuple(input_shape)} does not fit. Expected (H, W, C) or (D, H, W, C), sizes at "
            "least 1 or None."
        )
    if input_shape[-1] is None:
        raise ValueError(f"input_shape={tuple(input_shape)} has no channel count. Expected a number, last.")
    for name, value in (("classes", classes), ("filters", filters), ("depth", depth)):
        if int(value) != value or value < 1:
            raise ValueError(f"{name}={value!r} does not fit a U-Net. Expected a whole number, at least 1.")
    if decoder not in DECODERS:
        raise ValueError(f"decoder={decoder!r} is not known. Expected one of: {', '.join(DECODERS)}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r} is out of range. Expected at least 0 and below 1.")
    fixed = [size for size in input_shape[:-1] if size is not None]
    if fixed and 2**depth > min(fixed):
        raise ValueError(
            f"depth={depth} halves images of {'x'.join(map(str, fixed))} to less than a pixel. Expected at most "
            f"{min(fixed).bit_length() - 1}."
        )
