import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from kseg.models import head_for, toy_net, unet, with_probabilities


def count(model, kind):
    return sum(type(layer) is kind for layer in model.layers)


def parameters(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


# --- toy network (S1.9)


@pytest.mark.parametrize(("bn", "trainable", "others"), [(False, 198, 0), (True, 206, 16)])
def test_toy_net_has_the_published_number_of_parameters(bn, trainable, others):
    model = toy_net(bn)
    assert parameters(model.trainable_weights) == trainable
    assert parameters(model.non_trainable_weights) == others
    assert model.output_shape == (None, None, None, 2)


def test_toy_net_normalises_before_the_nonlinearity():
    kinds = [type(layer).__name__ for layer in toy_net(True).layers]
    assert kinds == ["InputLayer", *["Conv2D", "BatchNormalization", "ReLU"] * 2, "Conv2D"]


def test_toy_net_keeps_the_image_size_and_its_seed():
    image = np.random.default_rng(0).uniform(size=(1, 5, 7, 1)).astype("float32")
    first, second = toy_net(seed=1)(image), toy_net(seed=1)(image)
    assert first.shape == (1, 5, 7, 2)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, toy_net(seed=2)(image))
    deep = toy_net(n_conv=3, seed=1)
    conv2, conv3 = (deep.get_layer(name).get_weights()[0] for name in ("conv2", "conv3"))
    assert not np.allclose(conv2, conv3), "layers must not share their random numbers"


# --- U-Net (S3.3)


def test_transposed_decoder_has_ten_and_eight_convolutions():
    model = unet((16, 16, 1), 1, filters=1, depth=4, decoder="transpose")
    assert count(model, layers.Conv2D) == 10 + 1  # the 1x1 head beside them
    transposed = [layer for layer in model.layers if type(layer) is layers.Conv2DTranspose]
    assert [layer.strides for layer in transposed] == [(2, 2), (1, 1)] * 4
    assert count(model, layers.MaxPooling2D) == count(model, layers.Concatenate) == 4


def test_plain_decoder_has_one_transposed_and_two_plain_convolutions_a_level():
    model = unet((16, 16, 1), 1, filters=1, depth=4)
    assert count(model, layers.Conv2D) == 10 + 8 + 1
    transposed = [layer for layer in model.layers if type(layer) is layers.Conv2DTranspose]
    assert [layer.strides for layer in transposed] == [(2, 2)] * 4
    heads = [layer.kernel_size for layer in model.layers if type(layer) is layers.Conv2D]
    assert heads == [(3, 3)] * 18 + [(1, 1)]


def test_filters_double_at_each_level():
    model = unet((8, 8, 1), 2, filters=3, depth=2)
    widths = [layer.filters for layer in model.layers if type(layer) is layers.Conv2D]
    assert widths == [3, 3, 6, 6, 12, 12, 6, 6, 3, 3, 2]


@pytest.mark.parametrize("decoder", ["conv", "transpose"])
@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((7, 10, 1), None),
        ((8, 12, 2), None),
        ((None, None, 1), (8, 12, 1)),
        ((5, 6, 7, 1), None),
        ((5, None, 3), (5, 8, 3)),
    ],
    ids=str,
)
def test_the_output_has_the_size_of_the_input(decoder, shape, given):
    model = unet(shape, 3, filters=1, depth=2, decoder=decoder)
    given = given or shape
    assert model(np.zeros((2, *given), "float32")).shape == (2, *given[:-1], 3)
    assert model.output_shape == (None, *shape[:-1], 3)
    assert model.layers[-1].name == "logits"
    assert model.layers[-1].dtype == "float32"


def test_padding_is_cropped_where_it_was_added():
    shifted = unet((6, 5, 1), 2, filters=2, depth=2)
    fitting = unet((8, 8, 1), 2, filters=2, depth=2)
    fitting.set_weights(shifted.get_weights())
    image = np.random.default_rng(0).normal(size=(1, 6, 5, 1)).astype("float32")
    padded = np.pad(image, [(0, 0), (1, 1), (1, 2), (0, 0)])
    np.testing.assert_allclose(shifted(image), fitting(padded)[:, 1:7, 1:6], atol=1e-6)


def test_bn_replaces_the_bias_and_stands_before_the_relu():
    model = unet((8, 8, 1), 2, filters=1, depth=1, bn=True)
    convolutions = [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.Conv2DTranspose))]
    assert [layer.use_bias for layer in convolutions] == [False] * (len(convolutions) - 1) + [True]
    assert count(model, layers.BatchNormalization) == count(model, layers.ReLU) == len(convolutions) - 1
    kinds = [type(layer) for layer in model.layers]
    assert all(kinds[i + 1] is layers.ReLU for i, kind in enumerate(kinds) if kind is layers.BatchNormalization)
    assert count(unet((8, 8, 1), 2, filters=1, depth=1), layers.BatchNormalization) == 0


def test_dropout_acts_in_training_only():
    model = unet((8, 8, 1), 2, filters=4, depth=1, dropout=0.5)
    assert count(model, layers.Dropout) == 2
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(model(image), model(image))
    assert not np.allclose(model(image, training=True), model(image))
    assert count(unet((8, 8, 1), 2, filters=4, depth=1), layers.Dropout) == 0


def test_logits_are_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        models = [unet((8, 8, 1), 2, filters=1, depth=1), toy_net()]
        inner = models[0].get_layer("down1_conv1").compute_dtype
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert inner == "float16"
    assert all(model.output.dtype == "float32" for model in models)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((8, 8), 2), r"input_shape=\(8, 8\) does not fit"),
        (((8, 0, 1), 2), "sizes at least 1"),
        (((8, 8, None), 2), "no channel count"),
        (((8, 8, 1), 0), "classes=0 does not fit"),
        (((8, 8, 1), 2, {"filters": 0}), "filters=0 does not fit"),
        (((8, 8, 1), 2, {"depth": 0}), "depth=0 does not fit"),
        (((8, 8, 1), 2, {"depth": 1.5}), "depth=1.5 does not fit"),
        (((8, 8, 1), 2, {"decoder": "up"}), "decoder='up' is not known. Expected one of: conv, transpose"),
        (((8, 8, 1), 2, {"dropout": 1.0}), "dropout=1.0 is out of range"),
    ],
)
def test_refused_with_a_message_that_helps(arguments, message):
    shape, classes, *options = arguments
    with pytest.raises(ValueError, match=message):
        unet(shape, classes, **(options[0] if options else {}))


def test_toy_net_refuses_no_layers():
    for options in ({"n_conv": 0}, {"filters": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            toy_net(**options)


# --- heads


@pytest.mark.parametrize(
    ("loss_head", "classes", "head", "expected"),
    [
        ("sigmoid", 2, "auto", (1, "sigmoid")),  # bce on binary data
        ("sigmoid", 2, "sigmoid", (1, "sigmoid")),
        ("sigmoid", 3, "sigmoid", (3, "sigmoid")),  # each class against the rest
        ("auto", 2, "auto", (2, "softmax")),
        ("auto", 2, "sigmoid", (1, "sigmoid")),
        ("auto", 4, "auto", (4, "softmax")),
        ("auto", 4, "sigmoid", (4, "sigmoid")),
        ("softmax", 2, "auto", (2, "softmax")),
        ("softmax", 3, "softmax", (3, "softmax")),
    ],
)
def test_head_for(loss_head, classes, head, expected):
    assert head_for(loss_head, classes, head) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sigmoid", 2, "softmax"), "needs a sigmoid head.*'cce' instead of 'bce'"),
        (("softmax", 2, "sigmoid"), "needs a softmax head.*'bce' instead of 'cce'"),
        (("sigmoid", 3, "auto"), "'cce' instead of 'bce'"),
        (("auto", 2, "relu"), "head='relu' is not known. Expected one of: auto, sigmoid, softmax"),
    ],
)
def test_heads_that_do_not_fit_the_loss_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        head_for(*arguments)


@pytest.mark.parametrize(("head", "classes"), [("sigmoid", 1), ("sigmoid", 3), ("softmax", 3)])
def test_with_probabilities_adds_one_activation(head, classes):
    model = unet((4, 4, 1), classes, filters=1, depth=1)
    image = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype("float32")
    whole = with_probabilities(model, head)
    logits = model(image).numpy()
    odds = np.exp(logits)
    expected = odds / odds.sum(-1, keepdims=True) if head == "softmax" else odds / (1 + odds)
    np.testing.assert_allclose(whole(image), expected, rtol=1e-5)
    assert whole.layers[-1].name == "probabilities"
    assert whole.get_layer("logits") is model.get_layer("logits")
    model.set_weights([2 * weight for weight in model.get_weights()])
    assert not np.allclose(whole(image), expected), "both models share their weights"


def test_a_softmax_over_one_channel_is_refused():
    with pytest.raises(ValueError, match="softmax over one channel is always 1"):
        with_probabilities(unet((4, 4, 1), 1, filters=1, depth=1), "softmax")


PLAIN_KERAS = """
import sys
import keras, numpy
model = keras.models.load_model(sys.argv[1] + "/model.keras")
numpy.save(sys.argv[1] + "/plain.npy", model(numpy.load(sys.argv[1] + "/image.npy")))
assert not any(name.split(".")[0] == "kseg" for name in sys.modules)
"""


def test_a_saved_model_loads_with_keras_alone(tmp_path):
    model = with_probabilities(unet((7, 6, 1), 3, filters=1, depth=2, bn=True, dropout=0.1), "softmax")
    image = np.random.default_rng(0).normal(size=(2, 7, 6, 1)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "image.npy", image)
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_KERAS, tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(tmp_path / "plain.npy"), model(image), rtol=1e-5, atol=1e-7)
