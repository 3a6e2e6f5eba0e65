import itertools

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from loss_checks import CASES, SHAPE, draw, options_of, value_and_gradient

import kseg.losses as L

SHAPES = {"2-D": SHAPE, "3-D": (3, 2, 3, 2)}


def make(name, classes, /, **options):
    return L.get(name, from_logits=True, **options_of(name, classes), **options)


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("rank", SHAPES)
def test_value_and_gradient_equal_the_numpy_formula(name, classes, rank):
    ids, logits = draw(classes, SHAPES[rank])
    y, options = reference.one_hot(ids, classes), options_of(name, classes)

    def expected(z):
        return reference.loss(name, y, z, **options)

    value, gradient = value_and_gradient(make(name, classes), ids, logits)
    assert float(value) == pytest.approx(expected(logits), rel=1e-10)
    np.testing.assert_allclose(gradient, reference.numeric_gradient(expected, logits), atol=1e-9)


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("per_image", [False, True])
def test_class_weights_ignored_pixels_and_pixel_weights_equal_the_numpy_formula(name, classes, per_image):
    ids, logits = draw(classes)
    rng = np.random.default_rng(7)
    valid, weight = rng.integers(0, 2, ids.shape), rng.uniform(0.5, 2, ids.shape)
    class_weights = [0.5, 2.0, 3.0][: max(classes, 2)]
    expected = reference.loss(
        name,
        reference.one_hot(ids, classes),
        logits,
        class_weights=class_weights,
        valid=valid,
        weight=weight,
        per_image=per_image,
        **options_of(name, classes),
    )
    loss = make(name, classes, class_weights=class_weights, ignore_class=255, per_image=per_image)
    assert float(loss(np.where(valid, ids, 255), logits, weight)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_probabilities_give_the_value_of_their_logits(name, classes):
    ids, logits = draw(classes)
    p = reference.probabilities(name, logits)
    from_p = L.get(name, **options_of(name, classes))(ids, p)
    assert float(from_p) == pytest.approx(float(make(name, classes)(ids, logits)), rel=1e-9)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_all_kinds_of_labels_give_one_value(name, classes):
    ids, logits = draw(classes)
    loss = make(name, classes)
    expected = float(loss(ids, logits))
    one_hot = reference.one_hot(ids, classes)
    kinds = [ids.astype(np.uint8)[..., None], one_hot.astype(np.float32)]
    if classes == 1:
        kinds += [ids.astype(bool), ids.astype(np.float64)]
    for labels in kinds:
        assert float(loss(labels, logits)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_function_and_class_agree(name, classes):
    ids, logits = draw(classes)
    loss = make(name, classes, per_image=True)
    function = getattr(L, {"dicefg": "dice_fg", "dicefg_square": "dice_fg_square"}.get(name, name))
    values = function(ids, logits, from_logits=True, per_image=True, **options_of(name, classes))
    assert values.shape == (2,)
    assert float(np.mean(values)) == pytest.approx(float(loss(ids, logits)), rel=1e-12)


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_value_and_gradient_stay_finite_at_the_edges(name, classes, dtype):
    """Each pair of a mask and scores is one image of a batch."""
    signs = np.random.default_rng(1).choice([-1e4, 0, 1e4], (*SHAPE[1:], classes))
    random = np.random.default_rng(2).integers(0, max(classes, 2), SHAPE[1:])
    every = max(classes, 2) - 1
    masks = (random, np.zeros_like(random), np.full_like(random, every))
    scores = (signs, np.full_like(signs, 1e4), np.full_like(signs, -1e4), np.zeros_like(signs))
    pairs = [np.stack(part) for part in zip(*itertools.product(masks, scores), strict=True)]
    loss = make(name, classes, per_image=True, reduction=None)
    values, gradient = value_and_gradient(loss, pairs[0], tf.cast(pairs[1], dtype))
    assert values.shape == (12,)
    assert np.isfinite(values).all()
    assert np.isfinite(gradient.astype("float32")).all()


@pytest.mark.parametrize("name", L.names())
def test_empty_and_full_masks_with_exact_probabilities_stay_finite(name):
    ids = np.broadcast_to(np.reshape([0, 0, 1, 1], (4, 1, 1)), (4, 3, 4))
    foreground = np.broadcast_to(np.float32([0, 1, 0, 1])[:, None, None], (4, 3, 4))
    p = np.stack([1 - foreground, foreground], -1)
    for smooth in ({}, {"smooth": 0}) if "smooth" in L.LOSSES.get(name).defaults else ({},):
        values, gradient = value_and_gradient(L.get(name, per_image=True, reduction=None, **smooth), ids, p)
        assert values.shape == (4,)
        assert np.isfinite(values).all()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", L.names())
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_scores_are_summed_in_float32(name, dtype):
    ids = np.random.default_rng(0).integers(0, 2, (1, 64, 64))
    scores = tf.cast(2 * np.random.default_rng(1).normal(size=(1, 64, 64, 2)), dtype)
    value = L.get(name, from_logits=True)(ids, scores)
    assert value.dtype == tf.float32
    exact = reference.loss(name, reference.one_hot(ids, 2), tf.cast(scores, tf.float64).numpy())
    assert float(value) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("name", L.names())
def test_round_trip_through_keras_config(name):
    options = {"class_weights": [1, 2, 3], "ignore_class": 255, "label_smoothing": 0.1, "reduction": "sum"}
    options = {key: v for key, v in options.items() if key in L.LOSSES.get(name).defaults}
    loss = make(name, 3, **options, name="mine")
    ids, logits = draw(3)
    ids[0, 0] = 255
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert again.name == "mine"
    assert np.isfinite(float(again(ids, logits)))
    assert float(again(ids, logits)) == float(loss(ids, logits))


@pytest.mark.parametrize("name", L.names())
def test_a_compiled_model_trains_saves_loads_and_goes_on(name, tmp_path):
    ids, _ = draw(3)
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 2)).astype("float32")
    inputs = keras.Input((3, 4, 2))
    start = keras.initializers.RandomNormal(seed=0)
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1, kernel_initializer=start)(inputs))
    # What is stored is the question here, so most names need no program; test_programs compiles them all.
    eagerly = name not in ("cce", "dicefg", "lovasz")
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss=make(name, 3), run_eagerly=eagerly)
    before = model.get_weights()
    fit = {"x": images, "y": ids, "batch_size": 2, "shuffle": False, "verbose": 0}
    model.fit(**fit)
    assert not np.allclose(before[0], model.get_weights()[0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(model.loss)
    for each in (model, loaded):
        each.fit(**fit)
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_every_name_has_its_facts_and_docstring():
    for name in L.names():
        assert L.facts(name)["category"] in ("distribution", "region", "boundary", "topology", "compound")
        assert L.facts(name)["source"]
        assert "Source:" in L.LOSSES.get(name).__doc__
