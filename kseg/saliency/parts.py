"""The models that a method needs, made of one model; all share its weights and leave it as it is."""

import keras
import tensorflow as tf

from kseg.models.heads import MOVERS, maker_of
from kseg.registry import unknown

TYPICAL = 256  # pixels, to compare the sizes of layers of a model that takes any


def build_models(logits, needed, options):
    """{"logits": model, ...}, with "guided", or with "features" and "margins", if needed.

    Args:
        logits: `keras.Model` that ends in logits.
        needed: names.
        options: of the method; `layer` names that of the features.
    """
    models = {"logits": logits}
    if "guided" in needed:
        models["guided"] = guided(logits)
    if "features" in needed:
        features = _feature_tensor(logits, options.get("layer"))
        models["features"] = keras.Model(logits.inputs[0], [features, logits.outputs[0]])
        models["margins"] = _margins(logits)
    return models


# --- guided backpropagation


@tf.custom_gradient
def positive_slopes(values):
    """The same values; of the gradient only what is positive passes."""
    return tf.identity(values), tf.nn.relu


class Guided(keras.layers.Layer):
    """A layer or operation, borrowed, through whose ReLU only positive gradients pass.

    The ReLU's own derivative keeps the gradient to where its input is positive.
    """

    def __init__(self, borrowed):
        super().__init__(name=f"{borrowed.name}_guided", dtype=getattr(borrowed, "dtype_policy", None))
        self.autocast = False
        self.borrowed = borrowed

    def call(self, *inputs, **options):
        return positive_slopes(self.borrowed(*inputs, **options))


class Within(keras.layers.Layer):
    """A model inside another one, borrowed and guided."""

    def __init__(self, model):
        super().__init__(name=f"{model.name}_guided")
        self.autocast = False
        self.model = guided(model)

    def call(self, *inputs, **options):
        return self.model(*inputs, **options)


class Borrowed(keras.layers.Layer):
    """A layer as it is. Calling it by way of another one keeps the new graph out of its records (`layer.output`)."""

    def __init__(self, borrowed):
        super().__init__(name=f"{borrowed.name}_borrowed", dtype=borrowed.dtype_policy)
        self.autocast = False
        self.borrowed = borrowed

    def call(self, *inputs, **options):
        return self.borrowed(*inputs, **options)


def guided(model):
    """The same model with guided ReLUs: layers, operations, and activations of other layers."""

    return keras.models.clone_model(model, clone_function=_borrow)


def _borrow(layer):
    if isinstance(layer, keras.Model):
        return Within(layer)
    if _is_relu(layer):
        return Guided(layer)
    return Borrowed(layer) if isinstance(layer, keras.layers.Layer) else layer


def _is_relu(layer):
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "")
    return name in ("relu", "relu6") or type(layer).__name__ in ("Relu", "Relu6")


# --- Grad-CAM


def _feature_tensor(model, name):
    """Output `[B, *s, F]` of a layer of a model that ends in logits."""
    found = {
        layer.name: tensor for layer, tensor in _made(model)
        if not isinstance(layer, keras.layers.InputLayer) and len(tensor.shape) == len(model.output_shape)
    }  # fmt: skip
    if name is not None:
        if name not in found:
            raise unknown(f"layer of model {model.name!r} with feature maps", name, found)
        return found[name]
    for layer in _end(model):
        found.pop(layer.name, None)
    if not found:
        raise ValueError(f"model {model.name!r} has no layer before its logits. Expected one for Grad-CAM.")
    shape = [TYPICAL if size is None else size for size in model.input_shape[1:]]
    names = list(found)
    shapes = keras.Model(model.inputs[0], list(found.values())).compute_output_shape((1, *shape))
    shapes = [shapes] if len(names) == 1 and not isinstance(shapes, list) else shapes
    sizes = [tf.TensorShape(shape[1:-1]).num_elements() for shape in shapes]
    return found[names[max(i for i, size in enumerate(sizes) if size == min(sizes))]]


def _made(model):
    """(layer or operation, output) from the input to the output."""
    done, order, stack = set(), [], [(model.outputs[0], False)]
    while stack:
        tensor, ready = stack.pop()
        if ready:
            order.append((maker_of(tensor)[0], tensor))
        elif id(tensor) not in done:
            done.add(id(tensor))
            stack.append((tensor, True))
            stack += [(given, False) for given in reversed(maker_of(tensor)[1])]
    return order


def _end(model):
    """The layer of the logits and those behind it."""
    tensor = model.outputs[0]
    while True:
        layer, inputs = maker_of(tensor)
        yield layer
        if not isinstance(layer, (*MOVERS, keras.layers.Activation)) or len(inputs) != 1:
            return
        tensor = inputs[0]


def _margins(model):
    """What the model pads its images with before anything else, (low, high) per axis: its maps are of those."""
    users = [layer for layer, tensor in _made(model) if any(i is model.inputs[0] for i in maker_of(tensor)[1])]
    axes = len(model.input_shape) - 2
    if len(users) != 1 or not type(users[0]).__name__.startswith("ZeroPadding"):
        return [(0, 0)] * axes
    return [tuple(side) for side in users[0].padding]
