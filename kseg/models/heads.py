"""From logits to probabilities and back: which activation, and the model that ends in it or just before it."""

import keras
from keras import layers

HEADS = ("auto", "sigmoid", "softmax")
# Layers that move pixels about and leave their values: they may as well come before the activation.
MOVERS = tuple(
    getattr(layers, f"{kind}{rank}D") for kind in ("Cropping", "ZeroPadding") for rank in (1, 2, 3)
) + (layers.Reshape, layers.Permute, layers.Identity)  # fmt: skip
LINEAR = (
    layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Conv1DTranspose, layers.Conv2DTranspose,
    layers.Conv3DTranspose, layers.Dense, layers.EinsumDense, layers.SeparableConv2D, layers.DepthwiseConv2D,
)  # fmt: skip
NEVER = -1e4  # logit of a class that a pixel cannot be of; its float32 probability is 0


def head_for(loss_head, classes, head="auto"):
    """Channels and activation for a data set and a loss.

    Args:
        loss_head: what the loss needs: "sigmoid", "softmax", or "auto" for either.
        classes: classes of the data, background included; at least 2.
        head: the wish: "sigmoid", "softmax" or "auto". Auto is one sigmoid channel for binary data and a loss
            that needs it (`bce`), else softmax.

    Returns:
        (channels, "sigmoid" | "softmax"). Binary data under sigmoid get one channel.

    Raises:
        ValueError: the wish does not fit the loss.
    """
    if head not in HEADS:
        raise ValueError(f"head={head!r} is not known. Expected one of: {', '.join(HEADS)}.")
    if "auto" not in (head, loss_head) and head != loss_head:
        other = "'cce' instead of 'bce'" if head == "softmax" else "'bce' instead of 'cce'"
        raise ValueError(
            f"head={head!r} does not fit a loss that needs a {loss_head} head. Expected head={loss_head!r} or "
            f"'auto'; to keep a {head} head take {other}."
        )
    if head == "auto" and loss_head == "sigmoid" and classes > 2:
        raise ValueError(
            f"a loss with 'bce' does not fit a softmax over {classes} classes. Expected 'cce' instead of 'bce', or "
            "head='sigmoid' for each class against the rest."
        )
    activation = next((h for h in (head, loss_head) if h != "auto"), "softmax")
    return (1 if activation == "sigmoid" and classes == 2 else classes), activation


def with_probabilities(model, head):
    """The same model followed by one sigmoid or softmax layer named `probabilities` (float32).

    Args:
        model: a `keras.Model` that ends in logits `[B, *S, K]`.
        head: "sigmoid" or "softmax".

    Returns:
        A `keras.Model` that shares all layers with `model`.

    Raises:
        ValueError: a softmax over one channel, or a model that gives probabilities already.
    """
    if head == "softmax" and model.output_shape[-1] == 1:
        raise ValueError("A softmax over one channel is always 1. Expected head='sigmoid' for one channel.")
    if model.layers[-1].name == "probabilities":
        raise ValueError(f"model {model.name!r} gives probabilities already. Expected one that ends in logits.")
    layer = keras.layers.Activation(head, dtype="float32", name="probabilities")
    return keras.Model(model.input, layer(model.output), name=model.name)


def with_logits(model, head="auto"):
    """The part of a model that ends in logits, and the activation that follows it.

    Args:
        model: a functional or sequential `keras.Model` with one input and one output `[B, *S, K]`, which ends in
            probabilities (a sigmoid or softmax, as a layer, as an operation of `keras.ops`, or as the activation of
            a convolution) or in logits (a linear layer). Cropping, padding and reshaping may follow.
        head: "auto", or what turns the output into probabilities: needed for logits that come from another kind of
            layer, and for sigmoids over K >= 2 logits, which are taken for a softmax otherwise.

    Returns:
        (`keras.Model` `[B, *S, C] -> [B, *S, K]` of logits, "sigmoid" | "softmax"). All weights are shared with
        `model`, which is left as it is; the returned model is `model` itself if that ends in logits. Pixels that
        `model` pads with zeros behind its activation are sure background.

    Raises:
        ValueError: several inputs or outputs, a subclassed model, an end that is neither, or a `head` that does not
            fit it.

    Example:
        >>> from kseg.models import toy_net
        >>> logits, head = with_logits(with_probabilities(toy_net(), "softmax"))
        >>> logits.layers[-1].name, head
        ('logits', 'softmax')
    """
    if head not in HEADS:
        raise ValueError(f"head={head!r} is not known. Expected one of: {', '.join(HEADS)}.")
    _check_plain(model)
    moved, tensor = [], model.outputs[0]
    layer, inputs = maker_of(tensor)
    while isinstance(layer, MOVERS) or (isinstance(layer, layers.Activation) and _activation(layer) == "linear"):
        moved.append(layer)
        tensor = inputs[0]
        layer, inputs = maker_of(tensor)
    channels = model.output_shape[-1]
    found = _activation(layer, len(tensor.shape))
    if isinstance(layer, keras.Model):
        inner, found = with_logits(layer, head)
        logits = None if inner is layer else inner(*inputs)
    elif found in ("sigmoid", "softmax"):
        alone = isinstance(layer, layers.Activation | layers.Softmax) or not isinstance(layer, layers.Layer)
        logits = inputs[0] if alone else Linear(layer)(*inputs)
    elif head == "auto" and not (isinstance(layer, LINEAR) and found == "linear"):
        raise ValueError(
            f"model {model.name!r} ends in {_describe(layer)}. Expected logits (a linear convolution) or probabilities "
            "(a sigmoid or softmax over the channels); if it ends in logits say so by head='sigmoid' or 'softmax'."
        )
    else:
        logits, found = None, "auto"
    if found == "auto":
        found = head if head != "auto" else "sigmoid" if channels == 1 else "softmax"
    if head not in ("auto", found):
        raise ValueError(
            f"head={head!r} does not fit model {model.name!r}, which ends in a {found}. Expected head='auto'."
        )
    if found == "softmax" and channels == 1:
        raise ValueError("A softmax over one channel is always 1. Expected head='sigmoid' for one channel.")
    if logits is None:
        return model, found
    size = logits.shape[-1]
    for layer in reversed(moved):
        logits = _move(layer, logits, found)
    if found == "softmax" and not channels == size == logits.shape[-1]:
        raise ValueError(
            f"model {model.name!r} reshapes the {size} classes of its softmax to {channels} channels. Expected the "
            "classes to stay the last axis."
        )
    return keras.Model(model.inputs[0], logits, name=model.name), found


class Linear(layers.Layer):
    """A layer without its activation: what it computes just before. Shares its weights and leaves it as it is.

    Args:
        layer: a layer with an attribute `activation`.
    """

    def __init__(self, layer):
        super().__init__(name=f"{layer.name}_linear", dtype=layer.dtype_policy)
        self.layer = layer

    def call(self, *inputs):
        activation = self.layer.activation
        self.layer.activation = keras.activations.linear
        try:
            return self.layer(*inputs)
        finally:
            self.layer.activation = activation


def _check_plain(model):
    if not isinstance(model, keras.Model) or not getattr(model, "outputs", None) or not getattr(model, "inputs", None):
        name = getattr(model, "name", type(model).__name__)
        raise ValueError(
            f"model {name!r} is no functional model, so its layers are not known. Expected keras.Model(inputs, "
            "outputs) or a built Sequential."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"model {model.name!r} has {len(model.inputs)} inputs and {len(model.outputs)} outputs. Expected one of "
            "each; take keras.Model(one_input, one_output)."
        )


def maker_of(tensor):
    """The layer or operation that gave a symbolic tensor, and its inputs."""
    layer, node, _ = tensor._keras_history
    return layer, layer._inbound_nodes[node].input_tensors


def _activation(layer, rank=0):
    """ "sigmoid", "softmax" over the channels, "linear", another name, or None where there is none."""
    kind = type(layer).__name__
    if kind == "Softmax":  # the layer, or the operation of keras.ops
        axis = getattr(layer, "axis", -1)
        axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
        return "softmax" if axis in (-1, rank - 1) else f"softmax over axis {axis}"
    if kind == "Sigmoid":
        return "sigmoid"
    activation = getattr(layer, "activation", None)
    return None if activation is None else getattr(activation, "__name__", type(activation).__name__)


def _describe(layer):
    found = _activation(layer)
    return f"{type(layer).__name__} {layer.name!r}" + (f" with activation {found}" if found else "")


def _move(layer, logits, head):
    """Apply a copy of a layer that moves pixels to logits, in place of their probabilities."""
    if not type(layer).__name__.startswith("ZeroPadding"):
        return type(layer).from_config(layer.get_config())(logits)
    padding = layer.padding if isinstance(layer.padding[0], tuple) else (layer.padding,)
    widths = ((0, 0), *padding, (0, 0))

    def pad(part, value):
        return keras.ops.pad(part, widths, constant_values=value)

    if head == "sigmoid":
        return pad(logits, NEVER)
    return keras.ops.concatenate([pad(logits[..., :1], 0.0), pad(logits[..., 1:], NEVER)], axis=-1)
