"""One change for all images, and patches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg.attacks import Attacker, attack
from kseg.models import toy_net, unet


@pytest.fixture(scope="module")
def trained():
    """A small U-Net that knows three classes by their brightness, with new images and masks."""
    keras.utils.set_random_seed(4)
    rng = np.random.default_rng(4)
    masks = np.zeros((84, 16, 20), np.uint8)
    for mask in masks:
        y, x = rng.integers(1, 9, 2)
        mask[y : y + 6, x : x + 5], mask[y : y + 6, x + 5 : x + 9] = 1, 2
    images = np.array([0.3, 0.5, 0.7])[masks][..., None] + rng.normal(0, 0.05, (*masks.shape, 1))
    images = np.clip(images, 0, 1).astype(np.float32)
    model = unet((16, 20, 1), 3, filters=4, depth=2)
    model.compile(keras.optimizers.Adam(0.01), kseg.losses.get("cce", from_logits=True))
    model.fit(images[:60], masks[:60], epochs=15, batch_size=10, verbose=0)
    return model, images[60:], masks[60:]


def mean_loss(model, images, masks, where=True):
    """Cross-entropy of each image over the pixels that count, in float64."""
    logits = model.predict(images, verbose=0).astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    loss = -np.take_along_axis(log_p, masks[..., None].astype(int), axis=-1)[..., 0]
    return np.mean(loss, axis=tuple(range(1, masks.ndim)), where=where)


def universal(model, images, masks, **options):
    """(`Attacked`, the change)."""
    found = attack(model, images, masks, "universal", **options)
    return found, found.extra["change"][0]


class Linear(keras.losses.Loss):
    """The mean logit of what the mask says is no object, minus that of what it says is one."""

    def call(self, y_true, y_pred):
        sign = 1.0 - 2.0 * tf.cast(tf.reshape(y_true, tf.shape(y_pred)), y_pred.dtype)
        return tf.reduce_mean(sign * y_pred, axis=[1, 2, 3])


@pytest.mark.parametrize(("direction", "jit"), [("attack", True), ("target", False)])
def test_a_universal_change_of_a_linear_model_is_the_sign_of_the_mean_gradient(direction, jit):
    inputs = keras.Input((6, 7, 2))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, use_bias=False)(inputs))
    weights = np.array([3.0, -0.5])
    model.layers[-1].set_weights([weights.reshape(1, 1, 2, 1)])
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(0.3, 0.7, (9, 6, 7, 2)).astype(np.float32), rng.integers(0, 2, (9, 6, 7))
    found, change = universal(
        model,
        images,
        masks,
        budget=0.1,
        steps=8,
        together=9,
        loss=Linear(name="linear"),
        direction=direction,
        jit=jit,
    )
    gradient = (1 - 2 * masks).mean(axis=0)[..., None] * weights
    np.testing.assert_allclose(change, 0.1 * np.sign(gradient) * (1 if direction == "attack" else -1), rtol=1e-6)
    assert found.settings["loss"] == "linear" and found.settings["method"] == "universal"


def test_a_universal_change_is_one_for_all_images_old_and_new(trained):
    model, images, masks = trained
    found, change = universal(model, images[:14], masks[:14], budget=0.1, steps=40, together=4, seed=1)
    assert change.shape == (16, 20, 1) and abs(change).max() <= 0.1 + 1e-7
    np.testing.assert_array_equal(found.images, np.clip(images[:14] + change, 0, 1))
    assert found.images.min() >= 0 and found.images.max() <= 1
    np.testing.assert_allclose(found.loss_before, mean_loss(model, images[:14], masks[:14]), rtol=1e-4)
    np.testing.assert_allclose(found.loss_after, mean_loss(model, found.images, masks[:14]), rtol=1e-4)
    predicted = model.predict(found.images, verbose=0).argmax(axis=-1)
    np.testing.assert_allclose(found.agreement_after, (predicted == masks[:14]).mean(axis=(1, 2)), rtol=1e-6)
    rng = np.random.default_rng(0)
    noise = [0.1 * rng.choice([-1, 1], change.shape) for _ in range(20)]
    losses = [mean_loss(model, np.clip(images[14:] + n, 0, 1).astype(np.float32), masks[14:]).mean() for n in noise]
    assert mean_loss(model, np.clip(images[14:] + change, 0, 1), masks[14:]).mean() > 1.5 * max(losses)


def test_a_value_at_the_end_of_the_range_has_no_say_in_going_further():
    inputs = keras.Input((1, 1, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, use_bias=False)(inputs))
    model.layers[-1].set_weights([np.ones((1, 1, 1, 1))])
    images, masks = np.array([1.0, 1.0, 0.5]).reshape(3, 1, 1, 1), np.array([0, 0, 1]).reshape(3, 1, 1)
    options = {"loss": Linear(name="linear"), "budget": 0.1, "together": 3}
    # Two of three want up, and after a step only the third is moved by the change, which wants down.
    for steps, expected in ((1, 0.025), (2, 0.0), (8, 0.0)):
        _, change = universal(model, images, masks, steps=steps, **options)
        np.testing.assert_allclose(change, expected, atol=1e-7)


def test_the_order_of_images_goes_by_the_seed_and_compiled_is_the_same():
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(size=(11, 8, 8, 1)).astype(np.float32), rng.integers(0, 2, (11, 8, 8))
    options = {"budget": 0.05, "steps": 5, "together": 3}
    (one, first), (_, other) = (universal(toy_net(seed=0), images, masks, seed=seed, **options) for seed in (0, 1))
    assert (first != other).any()
    compiled, change = universal(toy_net(seed=0), images, masks, jit=True, **options)
    assert (change == first).mean() > 0.95  # a gradient of rounding noise has either sign
    np.testing.assert_allclose(compiled.loss_after, one.loss_after, rtol=1e-3)


def test_universal_changes_of_volumes_and_where_nothing_counts():
    volumes = unet((4, 8, 8, 1), 1, filters=2, depth=1)
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(size=(3, 4, 8, 8, 1)), rng.integers(0, 2, (3, 4, 8, 8))
    masks[0, :, :4] = 9
    options = {"direction": "fortify", "together": 50, "budget": 0.5, "norm": "l2", "steps": 10, "ignore_class": 9}
    found, change = universal(volumes, images, masks, **options)
    assert found.loss_after.mean() < found.loss_before.mean()
    np.testing.assert_allclose(np.sqrt((change**2).sum()), 0.5, rtol=0.1)
    blank, change = universal(volumes, images, np.full(masks.shape, 9), **options)
    assert not change.any() and not blank.loss_after.any()


def test_every_image_is_taken_once_a_round():
    """Each image has one pixel of its own that raises the loss, so that the change tells which were taken."""
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, use_bias=False)(inputs))
    model.layers[-1].set_weights([np.ones((1, 1, 1, 1))])
    images, masks = np.full((12, 4, 4, 1), 0.5, np.float32), np.full((12, 16), 9)
    masks[np.arange(12), np.arange(12)] = 0
    masks = masks.reshape(12, 4, 4)
    options = {"ignore_class": 9, "budget": 0.4, "step_size": 0.01}
    for steps, moved in ((1, 5), (2, 10)):
        found, change = universal(model, images, masks, steps=steps, together=5, **options)
        assert (change.ravel()[:12] > 0).sum() == moved and not change.ravel()[12:].any()
    found, change = universal(model, images, masks, steps=12, together=4, **options)
    np.testing.assert_allclose(change.ravel()[:12], 0.04, rtol=1e-5)


PATCH = {"steps": 12, "size": 5, "step_size": 0.1}


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "jit"])
def test_a_patch_changes_nothing_else_and_stands_where_the_gradient_is_largest(trained, jit):
    model, images, masks = trained
    found = Attacker(model, "patch", jit=jit, **PATCH)(images[:6], masks[:6], batch_size=4)
    assert found.extra["box"].dtype == np.int32 and found.extra["box"].shape == (6, 4)
    with tf.GradientTape() as tape:
        x = tf.constant(images[:6])
        tape.watch(x)
        loss = keras.losses.sparse_categorical_crossentropy(masks[:6], model(x), from_logits=True)
    gradient = abs(tape.gradient(loss, x).numpy().astype(np.float64)).sum(axis=-1)
    for i, (y0, y1, x0, x1) in enumerate(found.extra["box"]):
        sums = [[gradient[i, y : y + 5, x : x + 5].sum() for x in range(16)] for y in range(12)]
        assert (y0, x0) == np.unravel_index(np.argmax(sums), (12, 16)) and (y1 - y0, x1 - x0) == (5, 5)
        outside = np.ones((16, 20), bool)
        outside[y0:y1, x0:x1] = False
        np.testing.assert_array_equal(found.images[i][outside], images[i][outside])
        for array, losses in ((images, found.loss_before), (found.images, found.loss_after)):
            np.testing.assert_allclose(
                losses[i], mean_loss(model, array[i : i + 1], masks[i : i + 1], outside)[0], rtol=1e-3
            )
        assert abs(found.images[i] - images[i]).max() > 0.2, "there is no ball"
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert (found.loss_after > found.loss_before).all()


def test_a_patch_beats_random_ones(trained):
    model, images, masks = trained
    found = attack(model, images, masks, "patch", place=(5, 7), **PATCH)
    assert (found.extra["box"] == [5, 10, 7, 12]).all()
    rng, losses = np.random.default_rng(0), []
    outside = np.ones((16, 20), bool)
    outside[5:10, 7:12] = False
    for draw in range(20):
        noisy = images.copy()
        values = rng.uniform(0, 1, (len(images), 5, 5, 1))
        noisy[:, 5:10, 7:12] = values if draw % 2 else values > 0.5
        losses.append(mean_loss(model, noisy, masks, outside))
    assert (found.loss_after > np.mean(losses, axis=0)).mean() > 0.9
    assert found.loss_after.mean() > np.max(losses, axis=0).mean()


def test_random_places_go_by_row_and_seed(trained):
    model, images, masks = trained
    options = {"place": "random", "steps": 1, "size": 0.25}
    boxes = attack(model, images, masks, "patch", **options).extra["box"]
    assert (boxes[:, 1] - boxes[:, 0] == 4).all() and boxes.min() >= 0
    assert boxes[:, 1].max() <= 16 and boxes[:, 3].max() <= 20
    assert len(np.unique(boxes, axis=0)) > 12
    attacker = Attacker(model, "patch", **options)
    np.testing.assert_array_equal(attacker(images[3:9], masks[3:9], rows=range(3, 9)).extra["box"], boxes[3:9])
    assert (Attacker(model, "patch", seed=1, **options)(images, masks).extra["box"] != boxes).any()


def test_patches_of_volumes_and_of_sizes_that_are_not_known():
    volumes = unet((4, 8, 8, 1), 1, filters=2, depth=1)
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(size=(3, 4, 8, 8, 1)).astype(np.float32), rng.integers(0, 2, (3, 4, 8, 8))
    found = attack(volumes, images, masks, "patch", steps=5, size=0.5, step_size=0.2)
    moved = (found.images != images).any(axis=-1)
    for mask, (z0, z1, y0, y1, x0, x1) in zip(moved, found.extra["box"], strict=True):
        assert (z1 - z0, y1 - y0, x1 - x0) == (2, 2, 2) and z1 <= 4 and y1 <= 8 and x1 <= 8
        assert mask.sum() == mask[z0:z1, y0:y1, x0:x1].sum() > 0
    for jit in (False, True):
        anysize = Attacker(toy_net(seed=0), "patch", steps=3, size=0.3, jit=jit)
        for array in (images[:, 0], images[:, :, 0]):
            boxes = anysize(array, np.zeros(array.shape[:3], int)).extra["box"]
            assert (boxes[:, 1] - boxes[:, 0] == max(1, round(0.3 * min(array.shape[1:3])))).all()
    corner = Attacker(toy_net(seed=0), "patch", steps=1, size=3, place=(7, 2))(images[:, 0], masks[:, 0])
    assert (corner.extra["box"] == [5, 8, 2, 5]).all()


def test_pixels_under_a_patch_count_only_if_asked_for(trained):
    model, images, masks = trained
    ignored = masks.copy()
    ignored[:, :, 15:] = 255
    options = PATCH | {"place": (0, 0), "ignore_class": 255}
    counted = np.ones((16, 20), bool)
    counted[:, 15:] = False
    found = attack(model, images, ignored, "patch", count_patch=True, **options)
    np.testing.assert_allclose(found.loss_after, mean_loss(model, found.images, masks, counted), rtol=1e-4)
    counted[:5, :5] = False
    found = attack(model, images, ignored, "patch", loss="dice", **options)
    right = model.predict(found.images, verbose=0).argmax(axis=-1) == masks
    np.testing.assert_allclose(found.agreement_after, right.mean(axis=(1, 2), where=counted), rtol=1e-5)
    dice = [
        float(kseg.losses.get("dice", from_logits=True)(
            masks[i : i + 1], model.predict(image[None], verbose=0), sample_weight=counted[None].astype(np.float32)
        )) for i, image in enumerate(found.images)
    ]  # fmt: skip
    np.testing.assert_allclose(found.loss_after, dice, rtol=1e-4)
    with pytest.raises(ValueError, match="count_patch=False does not fit this loss, which sees all pixels"):
        attack(model, images, masks, "patch", loss="dice", steps=1)
    near = attack(model, images, masks, "patch", budget=0.02, steps=8)
    assert 0.019 < abs(near.images - images).max() <= 0.02 + 1e-7


def test_what_does_not_fit_is_refused(trained):
    model, images, masks = trained
    for option, message in (
        ({"size": 17}, "size=17 does not fit. Expected a whole number, at least 1 and at most 16, or a share"),
        ({"size": 0.0}, "size=0.0 does not fit"),
        ({"place": "gradiant"}, "place 'gradiant' is not known.*Did you mean 'gradient'"),
        ({"place": (13, 0), "size": 4}, r"place=\(13, 0\) does not fit.*from \(0, 0\) to \(12, 16\)"),
        ({"place": (1, 1, 1)}, r"place=\(1, 1, 1\) does not fit"),
        ({"place": 5}, "place=5 does not fit"),
        ({"norm": "l2"}, "norm='l2' does not fit attack 'patch'"),
    ):
        with pytest.raises(ValueError, match=message):
            attack(model, images[:1], masks[:1], "patch", **option)
    for option, message in (
        ({"together": 0}, "together=0 does not fit"),
        ({"steps": 0}, "steps=0 does not fit"),
        ({"norm": "l2"}, "norm='l2' has no budget"),
    ):
        with pytest.raises(ValueError, match=message):
            universal(model, images, masks, **option)
    with pytest.raises(ValueError, match="Expected at least one image"):
        universal(model, images[:0], masks[:0])
