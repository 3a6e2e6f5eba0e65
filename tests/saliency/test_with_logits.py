"""The part of a model that ends in logits: found for every end, weights shared, the model left alone."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import expit

from kseg.models import toy_net, unet, with_logits, with_probabilities

IMAGES = np.random.default_rng(0).normal(size=(2, 6, 8, 1)).astype(np.float32)


def conv(x, classes, activation=None):
    return layers.Conv2D(classes, 3, padding="same", activation=activation, kernel_initializer="he_normal")(x)


ENDS = {
    "activation": (lambda x: layers.Activation("softmax")(conv(x, 3)), "softmax"),
    "softmax layer": (lambda x: layers.Softmax()(conv(x, 3)), "softmax"),
    "softmax layer, axis 3": (lambda x: layers.Softmax(axis=3)(conv(x, 3)), "softmax"),
    "operation": (lambda x: keras.ops.sigmoid(conv(x, 1)), "sigmoid"),
    "softmax operation": (lambda x: keras.activations.softmax(conv(x, 2)), "softmax"),
    "convolution": (lambda x: conv(x, 1, "sigmoid"), "sigmoid"),
    "several sigmoids": (lambda x: conv(x, 3, "sigmoid"), "sigmoid"),
    "dense": (lambda x: layers.Dense(3, "softmax")(x), "softmax"),
    "transposed": (lambda x: layers.Conv2DTranspose(1, 2, strides=2, activation="sigmoid")(x), "sigmoid"),
    "crop": (lambda x: layers.Cropping2D(1)(conv(x, 3, "softmax")), "softmax"),
    "padded softmax": (lambda x: layers.ZeroPadding2D(((1, 0), (2, 1)))(conv(x, 3, "softmax")), "softmax"),
    "padded sigmoid": (lambda x: layers.ZeroPadding2D(1)(conv(x, 1, "sigmoid")), "sigmoid"),
    "reshape": (lambda x: layers.Reshape((6, 8, 3))(layers.Softmax()(layers.Reshape((48, 3))(conv(x, 3)))), "softmax"),
    "permute": (lambda x: layers.Permute((2, 1, 3))(conv(x, 2, "softmax")), "softmax"),
    "linear behind": (lambda x: layers.Activation("linear")(layers.Softmax()(conv(x, 2))), "softmax"),
    "within": (lambda x: keras.Sequential([keras.Input((6, 8, 1)), layers.Conv2D(2, 1, activation="softmax")])(x),
               "softmax"),
}  # fmt: skip


def probabilities(z, head):
    if head == "sigmoid":
        return expit(z)
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("end", ENDS)
def test_logits_give_the_probabilities_of_the_model(end):
    make, head = ENDS[end]
    inputs = keras.Input((6, 8, 1))
    model = keras.Model(inputs, make(inputs))
    names = [layer.name for layer in model.layers]
    logits, found = with_logits(model)
    assert found == head and logits.output_shape == model.output_shape
    p, z = (keras.ops.convert_to_numpy(m(IMAGES, training=False)) for m in (model, logits))
    expected = probabilities(np.float64(z), head)
    padding = p.sum(axis=-1) == 0
    assert padding.any() == end.startswith("padded") and np.abs(z[~padding]).max() > 0.1
    if head == "softmax":
        expected[padding, 0] -= 1  # padding is background for the logits, nothing at all for the model
    np.testing.assert_allclose(p, expected, atol=1e-6)
    assert {id(w) for w in logits.weights} == {id(w) for w in model.weights}
    assert [layer.name for layer in model.layers] == names
    assert {len(layer._inbound_nodes) for layer in model.layers} == {1}, "a layer grew"
    np.testing.assert_array_equal(model(IMAGES), p)
    model.set_weights([2 * w for w in model.get_weights()])
    assert not np.allclose(logits(IMAGES), z)


def test_a_model_that_ends_in_logits_is_itself():
    for model, head in ((toy_net(), "softmax"), (unet((6, 8, 1), 1, filters=1, depth=1), "sigmoid")):
        assert with_logits(model) == (model, head)
        again, found = with_logits(with_probabilities(model, head))
        assert found == head and again.layers[-1].name == "logits"
    assert with_logits(toy_net(), "sigmoid")[1] == "sigmoid"
    inputs = keras.Input((6, 8, 1))
    unsure = keras.Model(inputs, layers.UpSampling2D(2)(conv(inputs, 2)))
    assert with_logits(unsure, "softmax") == (unsure, "softmax")


def several(ends):
    inputs = [keras.Input((6, 8, 1)) for _ in range(ends[0])]
    return keras.Model(inputs, [conv(inputs[i % ends[0]], 1) for i in range(ends[1])])


class Own(keras.Model):
    def call(self, x):
        return x


def ending(end):
    inputs = keras.Input((6, 8, 1))
    return keras.Model(inputs, end(inputs))


REFUSED = {
    "two inputs": (lambda: several((2, 2)), {}, "2 inputs and 2 outputs"),
    "own class": (Own, {}, "no functional model"),
    "relu": (lambda: ending(lambda x: conv(x, 1, "relu")), {}, "with activation relu"),
    "unknown": (lambda: ending(layers.UpSampling2D(2)), {}, "head='sigmoid' or 'softmax'"),
    "other axis": (lambda: ending(lambda x: layers.Softmax(axis=1)(conv(x, 2))), {}, "softmax over axis 1"),
    "one channel": (lambda: ending(lambda x: conv(x, 1)), {"head": "softmax"}, "over one channel"),
    "other head": (lambda: ending(lambda x: conv(x, 2, "softmax")), {"head": "sigmoid"}, "Expected head='auto'"),
    "name": (lambda: ending(lambda x: conv(x, 2)), {"head": "tanh"}, "head='tanh' is not known"),
    "mixed": (lambda: ending(lambda x: layers.Reshape((6, 4, 4))(conv(x, 2, "softmax"))), {}, "stay the last axis"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_ends_are_refused_in_one_line(case):
    make, options, words = REFUSED[case]
    with pytest.raises(ValueError, match=".") as error:
        with_logits(make(), **options)
    assert words in str(error.value) and "\n" not in str(error.value)
