"""What is differentiated: outputs, regions and classes against float64 NumPy; and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference_saliency import IMAGES, IMAGES32, LAST, logits, network, sigmoid, slope, softmax

import kseg.saliency
from kseg.saliency import Explainer, explain
from kseg.saliency.target import make_target, total

MASKS = np.random.default_rng(3).integers(0, 3, IMAGES.shape[:-1])
BINARY = (MASKS > 0).astype(int)
REGIONS = np.random.default_rng(4).random(IMAGES.shape[:-1]) > 0.5


def summed(terms):
    return terms.sum(axis=(1, 2))


def foreground(z):
    return sigmoid(z[..., 0]) if z.shape[-1] == 1 else softmax(z)[..., 1:].sum(axis=-1)


def cross_entropy(z, masks):
    return -np.log(np.take_along_axis(softmax(z), masks[..., None], axis=-1)).mean(axis=(1, 2, 3))


def soft_dice(z, masks):
    """Of each image: 1 minus the mean over the classes of 2 sum(p y) / (sum p + sum y)."""
    p, y = softmax(z), np.eye(3)[masks]
    return 1 - (2 * (p * y).sum(axis=(1, 2)) / (p.sum(axis=(1, 2)) + y.sum(axis=(1, 2)))).mean(axis=-1)


@pytest.fixture(scope="module")
def models():
    return {1: network(1, "sigmoid"), 3: network(3, "softmax", relu="activation")}


CLEAN = {k: logits(IMAGES, k) for k in (1, 3)}
PREDICTED = CLEAN[3].argmax(axis=-1)
ASKED = {
    "default": ({}, foreground),
    "logits": ({"output": "logit"}, lambda z: z[..., 0] if z.shape[-1] == 1 else z[..., 1:].sum(axis=-1)),
    "predicted": ({"region": "predicted"}, lambda z: foreground(z) * np.where(
        z.shape[-1] == 1, CLEAN[z.shape[-1]][..., 0] > 0, CLEAN[z.shape[-1]].argmax(axis=-1) > 0)),
    "true": ({"region": "true"}, lambda z: foreground(z) * (BINARY if z.shape[-1] == 1 else MASKS > 0)),
    "given": ({"region": "given"}, lambda z: foreground(z) * REGIONS),
}  # fmt: skip
OF_CLASSES = {
    "one": ({"class_id": 2}, lambda z: softmax(z)[..., 2]),
    "background": ({"class_id": 0}, lambda z: softmax(z)[..., 0]),
    "two": ({"class_id": (2, 0)}, lambda z: 1 - softmax(z)[..., 1]),
    "all logits": ({"class_id": (0, 1, 2), "output": "logit"}, lambda z: z.sum(axis=-1)),
    "predicted one": ({"class_id": 1, "region": "predicted"}, lambda z: softmax(z)[..., 1] * (PREDICTED == 1)),
}  # fmt: skip


def slope_of(classes, output="probability", region="all", class_id=None):
    """Gradient with respect to the logits of the clean images, regions and masks as above."""
    target = make_target(output, region, class_id, None, classes, "sigmoid" if classes == 1 else "softmax")
    z = tf.constant(CLEAN[classes], tf.float32)
    masks = tf.constant(BINARY if classes == 1 else MASKS, tf.int32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        chosen = target.pixels(lambda: z, masks, tf.constant(REGIONS, tf.float32))
        scores = total(target.terms(z, chosen, masks))
    return scores, tape.gradient(scores, z)


@pytest.mark.parametrize(("classes", "asked"), [
    *((1, asked) for asked in ASKED), *((3, asked) for asked in (*ASKED, *OF_CLASSES)),
])  # fmt: skip
def test_score_and_gradient_are_those_of_the_formula(classes, asked):
    options, terms = {**ASKED, **OF_CLASSES}[asked]
    scores, found = slope_of(classes, **options)
    expected = slope(lambda z: summed(terms(z)), CLEAN[classes])
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(scores, summed(terms(CLEAN[classes])), rtol=1e-5)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(("classes", "asked"), [(1, "default"), (3, "true"), (3, "given")])
def test_maps_are_gradients_with_respect_to_the_images(models, classes, asked):
    options, terms = ASKED[asked]
    regions = REGIONS if asked == "given" else None
    maps = Explainer(models[classes], **options)(IMAGES32, MASKS[..., None], regions, batch_size=2)
    expected = slope(lambda x: summed(terms(logits(x, classes))), IMAGES)
    assert maps.dtype == np.float32 and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(maps, expected, atol=2e-5)


def test_a_batch_wide_loss_is_taken_image_by_image(models):
    maps = Explainer(models[3], output="loss", loss="cce + 0.5*dice")(IMAGES32, MASKS, batch_size=2)
    expected = slope(lambda x: cross_entropy(logits(x, 3), MASKS) + 0.5 * soft_dice(logits(x, 3), MASKS), IMAGES)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_a_ready_loss_is_taken_image_by_image():
    given = kseg.losses.get("dice", from_logits=True)
    target = make_target("loss", "all", None, given, 3, "softmax")
    scores = total(target.terms(tf.constant(CLEAN[3]), None, tf.constant(MASKS, tf.int32)))
    np.testing.assert_allclose(scores, soft_dice(CLEAN[3], MASKS), rtol=1e-5)
    assert not given.options["per_image"]


def test_any_keras_loss_is_taken_image_by_image(models):
    """A loss that squares its mean over the batch mixes the images: each must be its own batch."""

    class Square(keras.losses.BinaryCrossentropy):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return tf.square(super().__call__(y_true[..., None], y_pred))

    maps = Explainer(models[1], output="loss", loss=Square(from_logits=True))(IMAGES32, BINARY)

    def loss(x):
        p = sigmoid(logits(x, 1)[..., 0])
        return np.log(np.where(BINARY, p, 1 - p)).mean(axis=(1, 2)) ** 2

    np.testing.assert_allclose(maps, slope(loss, IMAGES), atol=1e-6)


def test_a_loss_takes_regions_as_pixel_weights_and_an_empty_one_gives_zero():
    rng = np.random.default_rng(0)
    z, masks = rng.normal(size=(2, 4, 4, 3)), rng.integers(0, 3, (2, 4, 4))
    region = np.stack([rng.random((4, 4)) > 0.5, np.zeros((4, 4))]).astype(np.float32)
    target = make_target("loss", "given", None, "cce", 3, "softmax")
    scores = total(target.terms(tf.constant(z), tf.constant(region), tf.constant(masks, tf.int32)))
    losses = -np.log(np.take_along_axis(softmax(z), masks[..., None], axis=-1))[..., 0]
    np.testing.assert_allclose(scores, [(losses[0] * region[0]).mean(), 0], rtol=1e-5)  # sum of w l / N


def test_empty_regions_give_zeros(models):
    regions = np.stack([np.ones((6, 6)), np.zeros((6, 6)), np.zeros((6, 6))])
    maps = explain(models[1], IMAGES32, BINARY, region=regions, output="loss", loss="bce + dice")
    assert np.abs(maps[0]).max() > 0
    np.testing.assert_array_equal(maps[1:], 0)
    values, error = explain(models[1], IMAGES32, region=regions, method="integrated_gradients", steps=2)
    assert np.abs(values[0]).max() > 0
    np.testing.assert_array_equal(values[1:], 0)
    np.testing.assert_array_equal(error[1:], 0)


def test_probabilities_keep_their_gradient_where_the_model_is_sure():
    z = tf.constant([[[[0.0, -25.0, -30.0], [-25.0, 0.0, -40.0]]]])  # float32 has 1 - p = 0 in the second pixel
    with tf.GradientTape() as tape:
        tape.watch(z)
        score = total(make_target("probability", "all", None, None, 3, "softmax").terms(z, None, None))
    p = softmax(np.float64(z))
    background, within = p[..., :1], p[..., 1:] / p[..., 1:].sum(axis=-1, keepdims=True)
    slopes = background * (1 - background) * np.concatenate([-np.ones_like(background), within], axis=-1)
    assert slopes[0, 0, 1, 1] > 1e-12
    np.testing.assert_allclose(tape.gradient(score, z), slopes, rtol=1e-5)


def test_several_sigmoids_are_summed():
    z = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    target = make_target("probability", "all", (0, 1, 2), None, 3, "sigmoid")
    np.testing.assert_allclose(total(target.terms(z, None, None)), sigmoid(z).sum(axis=(1, 2, 3)), rtol=1e-5)


REFUSED = [
    ({"method": "gradeint"}, "Did you mean 'gradient'"),
    ({"output": "probs"}, "Expected one of: probability, logit, loss"),
    ({"region": "truth"}, "Expected one of: all, predicted, true, given"),
    ({"class_id": (0, 1, 2)}, "sum to 1 in every pixel"),
    ({"class_id": 3}, "ids of 0 to 2"),
    ({"class_id": (1, 1)}, "ids of 0 to 2"),
    ({"output": "loss"}, "has no loss"),
    ({"loss": "cce"}, "output='loss', or no loss"),
    ({"output": "loss", "loss": "bce"}, "sigmoid"),
    ({"output": "loss", "loss": "cce", "class_id": 1}, "a loss sees all classes"),
    ({"output": "loss", "loss": keras.losses.BinaryCrossentropy()}, "from_logits=True"),
    ({"output": "loss", "loss": keras.losses.BinaryCrossentropy(True), "region": "true"}, "kseg.losses"),
    ({"output": "loss", "loss": len}, "is no loss"),
    ({"head": "sigmoid"}, "ends in a softmax"),
    ({"samples": 3}, "option of saliency method 'gradient'"),
    ({"method": "smoothgrad", "samples": 0}, "samples=0"),
    ({"method": "smoothgrad", "noise": -1}, "noise=-1"),
    ({"method": "integrated_gradients", "steps": 2.5}, "steps=2.5"),
    ({"method": "integrated_gradients", "baseline": [0, 1, 2]}, "broadcasts to (6, 6, 2)"),
    ({"method": "occlusion", "value": [[0, 1]]}, "broadcasts to (2,)"),
    ({"method": "occlusion", "size": (3, 0)}, "size=0"),
    ({"method": "grad_cam", "layer": "frist"}, "Did you mean 'first'"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_asked_is_refused_in_one_line(models, options, words):
    with pytest.raises(ValueError, match=".") as error:
        Explainer(models[3], **options)
    assert words in str(error.value) and "\n" not in str(error.value)


CALLS = [
    ({"region": "true"}, {}, "region='true' has no masks"),
    ({"region": "true"}, {"masks": 255 * BINARY}, "ids from 0 to 255"),
    ({"region": "true"}, {"masks": np.zeros((3, 6, 6, 3), int)}, "argmax"),
    ({"region": "true"}, {"masks": BINARY + 0.5}, "no class ids"),
    ({"region": "given"}, {}, "got no regions"),
    ({}, {"regions": REGIONS}, "region='given'"),
    ({"region": "given"}, {"regions": -1 * REGIONS}, "at least 0"),
    ({}, {"images": IMAGES32[..., 0]}, "images have shape"),
    ({}, {"images": IMAGES32[..., :1]}, "images have shape"),
    ({}, {"batch_size": 0}, "batch_size=0"),
    ({"method": "smoothgrad"}, {"rows": [0.5, 1, 2]}, "Expected integers"),
]


@pytest.mark.parametrize(("options", "call", "words"), CALLS, ids=lambda value: str(value)[:40])
def test_inputs_that_do_not_fit_are_refused_in_one_line(models, options, call, words):
    with pytest.raises(ValueError, match=".") as error:
        Explainer(models[1], **options)(**{"images": IMAGES32, **call})
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_one_channel_head_has_one_class(models):
    with pytest.raises(ValueError, match="the foreground of a one-channel head"):
        Explainer(models[1], class_id=0)
    assert LAST[1].shape[-1] == 1 and Explainer(models[1], class_id=1).target.classes == (1,)
