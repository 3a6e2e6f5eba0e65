"""Lovasz-softmax and the Lovasz hinge beyond what test_family and test_weights hold for every loss."""

import numpy as np
import pytest
import reference
import tensorflow as tf

import kseg.losses as L


def draw(classes=3, shape=(2, 6, 7), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, max(classes, 2), shape), 2 * rng.normal(size=(*shape, classes))


def value(ids, logits, weight=None, **options):
    return float(L.get("lovasz", from_logits=True, **options)(ids, logits, weight))


def iou(truth, guess):
    return (truth & guess).sum() / (truth | guess).sum()


@pytest.mark.parametrize("per_image", [False, True])
def test_a_hard_prediction_costs_one_minus_its_iou(per_image):
    ids, _ = draw()
    guess, _ = draw(seed=1)
    groups = zip(ids, guess, strict=True) if per_image else [(ids, guess)]
    expected = np.mean([1 - iou(y == k, g == k) for y, g in groups for k in range(3)])
    assert float(L.Lovasz(per_image=per_image)(ids, np.eye(3)[guess])) == pytest.approx(expected, abs=1e-12)


def test_the_hinge_of_four_pixels():
    """Errors 1.5, 1.25, 0.5 and 0 (beyond the margin); truth 0, 1, 1, 0: J = 1/3, 2/3, 1."""
    ids, logits = np.array([[[0, 1, 1, 0]]]), np.array([0.5, -0.25, 0.5, -3.0]).reshape(1, 1, 4, 1)
    assert value(ids, logits) == pytest.approx((1.5 + 1.25 + 0.5) / 3, abs=1e-12)
    logits[0, 0, 3] = 2.0  # error 3 on a fourth pixel, before all others: J = 1/3, 1/2, 3/4, 1
    assert value(ids, logits) == pytest.approx(3 / 3 + 1.5 / 6 + 1.25 / 4 + 0.5 / 4, abs=1e-12)


def test_the_softmax_form_of_three_pixels():
    """Class 1 of two: errors 0.7 (truth 1), 0.6 (0), 0.2 (1); class 0 has the same errors and the other truth."""
    ids = np.array([[[1, 0, 1]]])
    p = np.array([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])[None, None]
    one = 0.7 * 1 / 2 + 0.6 * (2 / 3 - 1 / 2) + 0.2 * (1 - 2 / 3)
    zero = 0.7 * 1 / 2 + 0.6 * (1 - 1 / 2)
    assert float(L.Lovasz()(ids, p)) == pytest.approx((one + zero) / 2, abs=1e-12)
    assert float(L.Lovasz(include_background=False)(ids, p)) == pytest.approx(one, abs=1e-12)
    assert float(L.Lovasz(class_weights=[3, 1])(ids, p)) == pytest.approx((3 * zero + one) / 4, abs=1e-12)


@pytest.mark.parametrize("per_image", [False, True])
def test_which_classes_count(per_image):
    ids, logits = draw()
    ids = np.minimum(ids, 1)
    ids[0] = 0  # class 1 in the second image only, class 2 in none
    y, options = reference.one_hot(ids, 3), {"per_image": per_image}
    results = {}
    for classes in ("present", "all"):
        results[classes] = value(ids, logits, classes=classes, **options)
        expected = reference.loss("lovasz", y, logits, classes=classes, **options)
        assert results[classes] == pytest.approx(expected, rel=1e-10)
    assert results["all"] != pytest.approx(results["present"], rel=1e-3)


def test_classes_that_only_pixels_of_weight_zero_have_are_absent():
    ids, logits = draw()
    weight = np.where(ids == 2, 0.0, 1.0)
    expected = reference.loss("lovasz", reference.one_hot(ids, 3), logits, weight=weight)
    assert value(ids, logits, weight) == pytest.approx(expected, rel=1e-10)
    assert value(np.where(ids == 2, 255, ids), logits, ignore_class=255) == pytest.approx(expected, rel=1e-10)


def test_absence_is_judged_before_label_smoothing():
    ids, logits = draw()
    ids = np.minimum(ids, 1)
    smooth = value(ids, logits, label_smoothing=0.1)
    soft = 0.9 * reference.one_hot(ids, 3) + 0.1 / 3
    parts = [reference.loss("lovasz", soft, logits, class_weights=np.eye(3)[k]) for k in (0, 1)]
    assert smooth == pytest.approx(np.mean(parts), rel=1e-10)


def test_sigmoid_channels_are_hinges_of_each_class():
    ids, logits = draw()
    parts = [value((ids == k).astype(int), logits[..., k : k + 1]) for k in range(3)]
    assert value(ids, logits, head="sigmoid") == pytest.approx(np.mean(parts), rel=1e-12)
    expected = reference.loss("lovasz", reference.one_hot(ids, 3), logits, head="sigmoid")
    assert value(ids, logits, head="sigmoid") == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("classes", [1, 2])
def test_an_empty_mask_pulls_the_worst_pixel_only(classes):
    _, logits = draw(classes)
    z = tf.constant(logits)
    loss = L.Lovasz(from_logits=True, classes="all", include_background=False)
    with tf.GradientTape() as tape:
        tape.watch(z)
        result = loss(np.zeros(logits.shape[:-1], int), z)
    worst = reference.softmax(logits)[..., 1].max() if classes == 2 else 1 + logits.max()
    assert float(result) == pytest.approx(worst, rel=1e-12)
    assert (np.abs(tape.gradient(result, z)).max(-1) > 0).sum() == 1


def test_pixels_beyond_the_margin_have_no_gradient_and_a_right_mask_costs_nothing():
    ids, _ = draw(1)
    logits = np.where(ids[..., None] == 1, 1.5, -1.5)
    z = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(z)
        result = L.Lovasz(from_logits=True)(ids, z)
    assert float(result) == 0
    assert not tape.gradient(result, z).numpy().any()


def test_probabilities_of_zero_and_one_are_clipped_for_the_hinge():
    ids = np.array([[[1, 0]]])
    p = np.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    assert float(L.Lovasz()(ids, p)) == pytest.approx(1 + np.log((1 - 1e-7) / 1e-7), rel=1e-6)


def test_soft_labels_are_shares_of_pixels():
    rng = np.random.default_rng(0)
    soft, logits = rng.uniform(size=(2, 3, 4, 1)), rng.normal(size=(2, 3, 4, 1))
    assert value(soft, logits) == pytest.approx(reference.loss("lovasz", soft, logits), rel=1e-10)


def test_classes_are_present_or_all():
    with pytest.raises(ValueError, match="classes='absent' does not fit loss 'lovasz'.*'present', 'all'"):
        L.Lovasz(classes="absent")


@pytest.mark.parametrize("per_image", [False, True])
def test_a_negative_weight_is_a_number_like_others(per_image):
    rng = np.random.default_rng(0)
    ids, logits, weight = rng.integers(0, 3, (2, 5, 6)), rng.normal(size=(2, 5, 6, 3)), np.ones((2, 5, 6))
    ids[0, 0, 0], weight[0, 0, 0] = 0, -0.5
    loss = L.get("lovasz", from_logits=True, per_image=per_image)
    tensor = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = loss(ids, tensor, weight)
    expected = reference.loss("lovasz", reference.one_hot(ids, 3), logits, weight=weight, per_image=per_image)
    assert float(value) == pytest.approx(expected, rel=1e-10)
    assert np.abs(tape.gradient(value, tensor)).max() > 1e-3
