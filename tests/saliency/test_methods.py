"""Every method: closed forms, brute force in NumPy, analytic examples; batches, programs and models of all kinds."""

import keras
import numpy as np
import pytest
import reference_saliency as ref
import tensorflow as tf
from keras import layers
from reference_saliency import IMAGES, IMAGES32

from kseg.saliency import METHODS, Attribution, Explainer, explain
from kseg.saliency.cam import linear_resize

LOGIT = {"output": "logit", "head": "sigmoid"}
QUICK = {
    "smoothgrad": {"samples": 3}, "integrated_gradients": {"steps": 4}, "occlusion": {"size": 4, "stride": 3},
}  # fmt: skip


def values_of(maps):
    return maps.values if isinstance(maps, Attribution) else maps


def pointwise(function, channels):
    """A model of single pixels: `function` of a list of channels `[B, 1, 1]` gives its logits."""
    inputs = keras.Input((1, 1, channels))
    return keras.Model(inputs, function([inputs[..., k : k + 1] for k in range(channels)]))


# --- closed forms

WEIGHTS, DEEP = np.array([[2.0], [-3.0]]), np.array([[1.0, -2.0], [0.5, 3.0]])


@pytest.fixture(scope="module")
def linear():
    """Two linear 1x1 convolutions, 2 -> 2 -> 1 channels; the logit of a pixel is the product of both with it."""
    inputs = keras.Input((5, 6, 2))
    outputs = layers.Conv2D(1, 1, name="last")(layers.Conv2D(2, 1, name="first")(inputs))
    model = keras.Model(inputs, outputs)
    model.set_weights([DEEP[None, None], np.zeros(2), WEIGHTS[None, None], np.zeros(1)])
    return model


LINEAR_IMAGES = np.random.default_rng(0).normal(size=(2, 5, 6, 2)).astype(np.float32)
SLOPE = (DEEP @ WEIGHTS)[:, 0]


def test_linear_model_gives_its_weights(linear):
    x = LINEAR_IMAGES
    for method, expected in {
        "gradient": np.broadcast_to(SLOPE, x.shape), "gradient_x_input": SLOPE * x,
        "smoothgrad": np.broadcast_to(SLOPE, x.shape), "guided_backprop": np.broadcast_to(SLOPE, x.shape),
        "integrated_gradients": SLOPE * (x - [0.5, -1.0]),
    }.items():  # fmt: skip
        options = {"baseline": [0.5, -1.0]} if method == "integrated_gradients" else {}
        maps = explain(linear, x, method=method, output="logit", **options, **QUICK.get(method, {}))
        np.testing.assert_allclose(values_of(maps), expected, rtol=1e-4, atol=1e-4, err_msg=method)


def test_linear_model_gives_its_weighted_features(linear):
    cam = np.maximum(LINEAR_IMAGES @ DEEP @ WEIGHTS, 0)
    assert 0 < (cam > 0).mean() < 1
    np.testing.assert_allclose(explain(linear, LINEAR_IMAGES, method="grad_cam", output="logit"), cam, atol=1e-4)
    guided = explain(linear, LINEAR_IMAGES, method="guided_grad_cam", output="logit", layer="first")
    np.testing.assert_allclose(guided, cam * SLOPE, atol=1e-3)


@pytest.mark.parametrize(("size", "stride", "value"), [((3, 2), 2, 0.0), (4, 3, [0.5, -1.0])])
def test_occlusion_is_the_mean_drop_over_the_windows_of_a_pixel(linear, size, stride, value):
    drop = (LINEAR_IMAGES - np.array(value)) @ SLOPE
    sides = (size, size) if isinstance(size, int) else size
    total, count = np.zeros(drop.shape), np.zeros(drop.shape[1:])
    for top in range(-99 * stride, 6, stride):
        for left in range(-99 * stride, 6, stride):
            rows, columns = slice(max(top, 0), max(top + sides[0], 0)), slice(max(left, 0), max(left + sides[1], 0))
            total[:, rows, columns] += drop[:, rows, columns].sum(axis=(1, 2), keepdims=True)
            count[rows, columns] += 1
    maps = explain(linear, LINEAR_IMAGES, method="occlusion", output="logit", size=size, stride=stride, value=value)
    np.testing.assert_allclose(maps[..., 0], total / count, atol=1e-4)


def test_guided_backprop_and_grad_cam_are_those_of_the_formulas():
    """On relu(conv) and a 1x1 convolution to three logits, of which the foreground is taken."""
    pre, weights = ref.before_relu(IMAGES), ref.LAST[3][:, 1:].sum(axis=1)
    passed = (pre > 0) * np.maximum(weights, 0)
    guided = ref.slope(lambda x: (ref.before_relu(x) * passed).sum(axis=(1, 2, 3)), IMAGES)
    plain = ref.slope(lambda x: (ref.before_relu(x) * (pre > 0) * weights).sum(axis=(1, 2, 3)), IMAGES)
    assert np.abs(guided - plain).max() > 0.1
    for relu in ("layer", "activation", "operation"):
        model = ref.network(3, "softmax", relu=relu)
        maps = explain(model, IMAGES32, method="guided_backprop", output="logit")
        np.testing.assert_allclose(maps, guided, atol=1e-4, err_msg=relu)
        assert len(model.get_layer("first")._inbound_nodes) == 1, "the model's own layers grew"
    cam = np.maximum(np.maximum(pre, 0) @ weights, 0)[..., None]
    assert cam.max() > 0
    np.testing.assert_allclose(explain(model, IMAGES32, method="grad_cam", output="logit"), cam, atol=1e-4)
    both = explain(model, IMAGES32, method="guided_grad_cam", output="logit")
    np.testing.assert_allclose(both, guided * cam, atol=1e-3)
    # Seg-Grad-CAM: the region of the class alone gives the weights.
    z = ref.logits(IMAGES, 3)
    share = (z.argmax(axis=-1) == 2).mean(axis=(1, 2))[:, None, None]
    seg = np.maximum(share * (np.maximum(pre, 0) @ ref.LAST[3][:, 2]), 0)[..., None]
    assert 0 < share.min() < share.max() < 1 and seg.max() > 0
    np.testing.assert_allclose(explain(model, IMAGES32, method="seg_grad_cam", class_id=2), seg, atol=1e-4)


# --- analytic examples


def test_captum_example():
    """relu(relu(x1) - 1 - relu(x2)) at (3, 1) has the integrated gradients (1.5, -0.5)."""
    relu = keras.ops.relu
    model = pointwise(lambda x: relu(relu(x[0]) - 1.0 - relu(x[1])), 2)
    images = np.array([[3, 1], [2.5, 0]], np.float32).reshape(2, 1, 1, 2)
    values, error = explain(model, images, method="integrated_gradients", steps=50, **LOGIT)
    np.testing.assert_allclose(values[0, 0, 0], [1.5, -0.5], atol=1e-5)
    np.testing.assert_allclose(error[0], 0, atol=1e-5)
    # At (2.5, 0) the kink lies at 0.4 of the way, between two nodes: the error is what the values miss.
    np.testing.assert_allclose(error[1], values[1].sum() - 1.5, atol=1e-6)


def test_pair_example():
    """5x + y^2 + sin z from (.5, 1, 1) to (1, 2, 3) has (2.5, 3, sin 3 - sin 1)."""
    model = pointwise(lambda x: 5.0 * x[0] + x[1] ** 2 + keras.ops.sin(x[2]), 3)
    images = np.array([1, 2, 3], np.float32).reshape(1, 1, 1, 3)
    values, error = explain(model, images, method="integrated_gradients", steps=8, baseline=[0.5, 1.0, 1.0], **LOGIT)
    np.testing.assert_allclose(values[0, 0, 0], [2.5, 3, np.sin(3) - np.sin(1)], atol=1e-5)
    assert np.abs(error).max() < 1e-5
    rough = explain(model, images, method="integrated_gradients", steps=1, baseline=[0.5, 1.0, 1.0], **LOGIT)
    at_middle = [2.5, 3, 2 * np.cos(2)]
    np.testing.assert_allclose(rough.values[0, 0, 0], at_middle, atol=1e-5)
    np.testing.assert_allclose(rough.error[0], 2 * np.cos(2) - (np.sin(3) - np.sin(1)), atol=1e-5)


def test_smoothgrad_noise_is_a_share_of_the_range_of_each_image():
    """Of x^2 it is 2x + 2 x mean noise: 2 noise range / sqrt(samples) is its standard deviation."""
    model = keras.Model(inputs := keras.Input((40, 40, 1)), inputs**2)
    images = np.random.default_rng(0).uniform(0, [[[[1]]], [[[7]]]], (2, 40, 40, 1)).astype(np.float32)
    options = {"method": "smoothgrad", "samples": 16, "noise": 0.2, **LOGIT}
    drawn = explain(model, images, **options) - 2 * images
    np.testing.assert_allclose(drawn.std(axis=(1, 2, 3)), 2 * 0.2 * np.ptp(images, axis=(1, 2, 3)) / 4, rtol=0.1)
    other = explain(model, images, seed=1, **options) - 2 * images
    assert abs(np.corrcoef(drawn[0].ravel(), other[0].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.1


# --- batches, programs, models


@pytest.fixture(scope="module")
def normalised():
    """Batch normalisation with its own statistics, dropout, pooling, a skip and a crop behind the head; K = 3."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(2, 3, padding="same", use_bias=False)(inputs)))
    y = layers.Dropout(0.5)(layers.MaxPooling2D(2)(x))
    y = layers.UpSampling2D(2)(layers.Conv2D(2, 1, activation="relu", name="low")(y))
    z = layers.Conv2D(3, 3, padding="same", activation="softmax")(layers.Concatenate()([x, y]))
    model = keras.Model(inputs, layers.Cropping2D(((1, 0), (0, 1)))(z))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([np.array(w) for w in ([1.5, 0.7], [0.1, 0.3], [0.4, -0.2], [1.3, 0.8])])
    low = model.get_layer("low")
    low.set_weights([np.abs(low.get_weights()[0]), np.zeros(2)])
    kernel, bias = model.layers[-2].get_weights()
    model.layers[-2].set_weights([np.abs(kernel) * [-1, 1, 1], bias])  # features speak for the foreground
    return model


OTHERS = np.random.default_rng(5).normal(size=(5, 8, 8, 1)).astype(np.float32)


@pytest.mark.parametrize("method", METHODS.names())
def test_an_image_alone_is_as_in_a_batch_by_one_program(normalised, method):
    explainer = Explainer(normalised, method, **QUICK.get(method, {}))
    maps = explainer(OTHERS, batch_size=3)
    alone = explainer(OTHERS[4:], rows=[4])
    for part, one in zip(tf.nest.flatten(maps), tf.nest.flatten(alone), strict=True):
        assert len(part) == 5 and np.isfinite(part).all() and np.abs(part).max() > 0
        np.testing.assert_allclose(part[4:], one, atol=2e-6)
    tensors = [tf.constant(OTHERS[:4]), None, None, tf.range(4) if method == "smoothgrad" else None]
    np.testing.assert_allclose(tf.nest.flatten(explainer.graph(*tensors))[0], values_of(maps)[:4], atol=2e-6)
    assert explainer.graph.experimental_get_tracing_count() == 1
    assert values_of(explainer(OTHERS[:0])).shape == (0, *values_of(maps).shape[1:])


@pytest.mark.parametrize("method", ["integrated_gradients", "guided_grad_cam"])
def test_compiled_steps_give_the_same(method):
    model, options = ref.network(1, "sigmoid"), {"region": "predicted", **QUICK.get(method, {})}
    plain = Explainer(model, method, **options)(IMAGES32, batch_size=2)
    compiled = Explainer(model, method, jit=True, **options)(IMAGES32, batch_size=2)
    for a, b in zip(tf.nest.flatten(plain), tf.nest.flatten(compiled), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_the_whole_program_compiles():
    explainer = Explainer(ref.network(1, "sigmoid"), "occlusion", **QUICK["occlusion"])
    whole = tf.function(explainer.graph, jit_compile=True)(tf.constant(IMAGES32))
    np.testing.assert_allclose(whole, explainer(IMAGES32), atol=2e-5)


def test_volumes():
    inputs = keras.Input((4, 6, 4, 1))
    x = layers.MaxPooling3D(2)(layers.Conv3D(2, 1, activation="relu")(inputs))
    outputs = layers.Conv3D(1, 1, activation="sigmoid")(layers.UpSampling3D(2)(x))
    model, volumes = keras.Model(inputs, outputs), np.random.default_rng(0).normal(size=(2, 4, 6, 4, 1))
    masks = np.zeros((2, 4, 6, 4, 1), int)
    masks[0, 2] = 1
    for method in ("gradient", "occlusion", "grad_cam"):
        maps = explain(model, volumes, masks, method=method, region="true")
        assert maps.shape == volumes.shape and np.abs(maps[1]).max() == 0, method
    maps = explain(model, volumes, masks, method="gradient", region="true")
    outside = np.delete(maps[0], [2, 3], axis=0)  # what the pooling of slice 2 and 3 does not see
    assert np.abs(maps[0, 2:]).max() > 0 and np.abs(outside).max() == 0
    twice = keras.Model(inputs, 2.0 * inputs)
    drops = 2 * volumes.reshape(2, 2, 2, 3, 2, 2, 2).sum(axis=(2, 4, 6), keepdims=True)
    expected = np.broadcast_to(drops, (2, 2, 2, 3, 2, 2, 2)).reshape(volumes.shape)
    found = explain(twice, volumes, method="occlusion", size=2, stride=2, **LOGIT)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_volumes_are_resized_along_each_axis():
    maps, sizes = np.random.default_rng(0).random((2, 2, 3, 4)), (5, 6, 4)
    expected = maps
    for axis, size in enumerate(sizes, 1):
        length = maps.shape[axis]
        places = (np.arange(size) + 0.5) * length / size - 0.5
        expected = np.apply_along_axis(lambda row, x=places: np.interp(x, np.arange(len(row)), row), axis, expected)
    np.testing.assert_allclose(linear_resize(tf.constant(maps, tf.float32), sizes), expected, rtol=1e-5)


def test_features_lie_over_the_image_that_they_saw():
    """A model that pads its images: the features are those of the padded image."""
    inputs = keras.Input((6, 5, 1))
    x = layers.MaxPooling2D(2)(layers.ZeroPadding2D(((2, 0), (0, 3)))(inputs))
    outputs = layers.Conv2D(1, 1, use_bias=False)(layers.UpSampling2D(2)(x))
    model = keras.Model(inputs, layers.Cropping2D(((2, 0), (0, 3)))(outputs))
    model.set_weights([np.ones((1, 1, 1, 1))])
    images = np.random.default_rng(0).random((2, 6, 5, 1)).astype(np.float32)
    padded = np.pad(images, [(0, 0), (2, 0), (0, 3), (0, 0)])
    pooled = padded.reshape(2, 4, 2, 4, 2, 1).max(axis=(2, 4))
    alpha = 30 / 16  # 30 pixels of the crop, each with slope 1, over 16 features
    expected = tf.image.resize(alpha * pooled, (8, 8))[:, 2:, :5]
    maps = explain(model, images, method="grad_cam", output="logit")
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_models_of_any_size_and_models_within_models():
    inputs = keras.Input((None, None, 1))
    inner = keras.Model(inputs, layers.Conv2D(2, 3, padding="same", activation="relu")(inputs), name="inner")
    twice = layers.Activation("relu")
    outputs = layers.Conv2D(1, 1, activation="sigmoid")(twice(twice(inner(inputs))))
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights([np.array([[[[1.0], [-0.5]]]]), np.zeros(1)])
    for shape in ((1, 7, 5, 1), (2, 4, 6, 1)):
        images = np.random.default_rng(0).normal(size=shape)
        assert explain(model, images, method="occlusion").shape == shape
    flat = keras.Sequential([keras.Input((None, None, 1)), inner.layers[-1], model.layers[-1]])
    guided = [explain(m, images, method="guided_backprop") for m in (model, flat)]
    assert np.abs(guided[0]).max() > 0
    np.testing.assert_allclose(*guided, atol=1e-6)
    assert np.abs(guided[0] - explain(model, images)).max() > 0.01
