"""Boundary, Hausdorff and clDice beyond what test_family and test_weights hold for every loss."""

from itertools import product

import numpy as np
import pytest
import reference
import reference_distances
import tensorflow as tf
from loss_checks import value, value_and_gradient
from scipy.ndimage import distance_transform_edt

import kseg.losses as L

SHAPE_LOSSES = ("boundary", "hausdorff", "cldice")


def disks(images=2, size=(24, 30), classes=3, seed=0):
    """Ids of one disk per foreground class and image, and logits of disks that are shifted and blurred."""
    rng = np.random.default_rng(seed)
    grid = np.indices(size)
    ids, logits = np.zeros((images, *size), int), rng.normal(size=(images, *size, classes))
    for image in range(images):
        for k in range(1, max(classes, 2)):
            centre, radius = rng.uniform(0.2, 0.8, len(size)) * size, rng.uniform(2, 6)
            square = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
            ids[image][square < radius**2] = k
            moved = sum((g - c - 3) ** 2 for g, c in zip(grid, centre, strict=True))
            logits[image, ..., min(k, classes - 1)] += 4 * np.tanh(radius - np.sqrt(moved)) + 1
    return ids, logits


# --- all three


@pytest.mark.parametrize("name", SHAPE_LOSSES)
@pytest.mark.parametrize(("classes", "size"), [(1, (24, 30)), (2, (24, 30)), (3, (24, 30)), (2, (9, 12, 14))])
@pytest.mark.parametrize("per_image", [False, True])
def test_objects_have_the_value_of_the_formula(name, classes, size, per_image):
    ids, logits = disks(size=size, classes=classes)
    y = reference.one_hot(ids, classes)
    expected = reference.loss(name, y, logits, per_image=per_image)
    assert value(name, ids, logits, per_image=per_image) == pytest.approx(expected, rel=1e-10)
    single = value(name, ids, logits.astype("float32"), per_image=per_image)
    assert single == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", SHAPE_LOSSES)
def test_channels_of_a_sigmoid_and_the_background(name):
    ids, logits = disks()
    y = reference.one_hot(ids, 3)
    for options in ({"head": "sigmoid"}, {"include_background": True}):
        expected = reference.loss(name, y, logits, **options)
        assert value(name, ids, logits, **options) == pytest.approx(expected, rel=1e-10)
        assert expected != pytest.approx(value(name, ids, logits), rel=1e-3)


@pytest.mark.parametrize("name", SHAPE_LOSSES)
@pytest.mark.parametrize("per_image", [False, True])
def test_weights_classes_and_ignored_pixels_of_objects(name, per_image):
    ids, logits = disks()
    rng = np.random.default_rng(1)
    valid, weight = rng.uniform(size=ids.shape) > 0.1, rng.uniform(0.5, 2, ids.shape)
    weight[rng.uniform(size=ids.shape) < 0.1] = 0
    options = {"class_weights": [3.0, 0.5, 2.0], "per_image": per_image}
    expected = reference.loss(name, reference.one_hot(ids, 3), logits, valid=valid, weight=weight, **options)
    result = value(name, np.where(valid, ids, 255), logits, weight, ignore_class=255, **options)
    assert result == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", SHAPE_LOSSES)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 5), (1, 1, 1), (3, 1, 4)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_empty_and_full_masks_are_finite(name, size, dtype):
    """Each pair of a mask and a range of scores is one image; test_properties draws whole batches of such masks."""
    options = {"iterations": 2} if name == "cldice" else {}
    pairs = np.array(list(product((0, 1), (0.0, 1.0, 1e4))))
    fill, scale = (np.reshape(part, (6, *(1 for _ in size))) for part in pairs.T)
    ids = np.broadcast_to(fill.astype(int), (6, *size))
    for classes in (1, 2):
        logits = scale[..., None] * np.random.default_rng(0).normal(size=(*ids.shape, classes))
        logits = tf.cast(np.clip(logits, -1e4, 1e4), dtype)
        loss = L.get(name, from_logits=True, per_image=True, reduction=None, **options)
        values, gradient = value_and_gradient(loss, ids, logits)
        assert values.shape == (6,)
        assert np.isfinite(values).all()
        assert np.isfinite(gradient.astype("float32")).all()


@pytest.mark.parametrize("spec", ["dicefg + 0.01*boundary", "0.5*dicefg + 0.5*cldice", "cce + dicefg + 0.01*hausdorff"])
def test_they_are_summed_with_a_region_loss(spec):
    ids, logits = disks()
    parts = [weight * value(name, ids, logits, **options) for weight, name, options in L.parse(spec)]
    assert value(spec, ids, logits) == pytest.approx(sum(parts), rel=1e-12)
    assert np.isfinite(value(spec, ids, logits, label_smoothing=0.1))


@pytest.mark.parametrize("name", SHAPE_LOSSES)
def test_soft_labels_are_hard_where_a_shape_is_needed(name):
    ids, logits = disks(classes=1)
    soft = np.where(ids == 1, 0.9, 0.2)[..., None]
    expected = reference.loss(name, soft, logits)
    assert value(name, soft, logits) == pytest.approx(expected, rel=1e-10)


# --- boundary


def test_boundary_of_five_pixels():
    p = np.array([0.5, 0.25, 0.5, 1.0, 0.125]).reshape(1, 1, 5, 1)
    ids = np.array([[[0, 0, 1, 1, 1]]])  # distances 2 1 | 0 -1 -2
    result, gradient = value_and_gradient(L.Boundary(), ids, p)
    assert result == pytest.approx((2 * 0.5 + 0.25 - 1.0 - 2 * 0.125) / 5, abs=1e-15)
    np.testing.assert_allclose(gradient.ravel(), np.array([2, 1, 0, -1, -2]) / 5, atol=1e-15)


def test_boundary_is_kervadecs_mean_of_probability_times_map():
    ids, logits = disks(images=3)
    p = reference.softmax(logits)
    maps = np.zeros(p.shape)
    for image, k in np.ndindex(3, 3):
        here = ids[image] == k
        if here.any():  # one_hot2dist
            outside, inside = distance_transform_edt(~here) * ~here, (distance_transform_edt(here) - 1) * here
            maps[image, ..., k] = outside - inside
    result, gradient = value_and_gradient(L.Boundary(), ids, p)
    assert result == pytest.approx((p * maps)[..., 1:].mean(), rel=1e-12)
    np.testing.assert_allclose(gradient[..., 1:], maps[..., 1:] / maps[..., 1:].size, rtol=1e-12)
    assert not gradient[..., 0].any()


@pytest.mark.parametrize("name", ["boundary", "hausdorff"])
@pytest.mark.parametrize(("size", "spacing"), [((24, 30), [0.5, 2.0]), ((8, 9, 10), (3.0, 0.7, 1.1)), ((24, 30), 0.25)])
def test_spacing(name, size, spacing):
    ids, logits = disks(size=size)
    sampling = [spacing] * len(size) if np.isscalar(spacing) else list(spacing)
    expected = reference.loss(name, reference.one_hot(ids, 3), logits, spacing=sampling)
    assert value(name, ids, logits, spacing=spacing) == pytest.approx(expected, rel=1e-10)
    assert expected != pytest.approx(value(name, ids, logits), rel=1e-2)


def test_boundary_of_a_mask_without_a_boundary_is_zero():
    _, logits = disks()
    for fill in (0, 1):
        result, gradient = value_and_gradient(L.Boundary(from_logits=True), np.full(logits.shape[:-1], fill), logits)
        assert result == 0
        assert not gradient.any()


def test_boundary_prefers_the_reference_to_nothing_and_to_everything():
    ids, _ = disks(classes=2)
    exact = float(L.Boundary()(ids, np.eye(2)[ids]))
    assert exact < 0
    assert float(L.Boundary()(ids, np.eye(2)[np.zeros_like(ids)])) == 0
    assert float(L.Boundary()(ids, np.eye(2)[np.ones_like(ids)])) > 0


# --- hausdorff


def test_hausdorff_of_five_pixels():
    p = np.array([0.1, 0.6, 0.2, 0.9, 0.3]).reshape(1, 1, 5, 1)
    ids = np.array([[[0, 0, 1, 1, 0]]])
    truth, guess = np.array([2, 1, 1, 1, 1]), np.array([1, 1, 1, 1, 1])
    errors = (p.ravel() - ids.ravel()) ** 2
    for exponent in (2, 1, 0.5):
        both = float(L.Hausdorff(alpha=exponent)(ids, p))
        assert both == pytest.approx(np.mean(errors * (truth**exponent + guess**exponent)), rel=1e-12)
        one = float(L.Hausdorff(alpha=exponent, one_sided=True)(ids, p))
        assert one == pytest.approx(np.mean(errors * truth**exponent), rel=1e-12)


def test_the_maps_of_hausdorff_are_constant_to_the_gradient():
    ids, logits = disks(classes=1)
    p = reference.sigmoid(logits)
    counted = np.ones(ids.shape[1:], bool)
    unsigned = reference_distances.unsigned_map
    maps = [
        unsigned(y > 0, counted) ** 2 + unsigned(q > 0.5, counted) ** 2 for y, q in zip(ids, p[..., 0], strict=True)
    ]
    _, gradient = value_and_gradient(L.Hausdorff(from_logits=True), ids, logits)
    expected = 2 * (p[..., 0] - ids) * (p * (1 - p))[..., 0] * maps / ids.size
    np.testing.assert_allclose(gradient[..., 0], expected, rtol=1e-9)


def test_hausdorff_grows_with_the_distance_of_an_error():
    losses = []
    for column in (4, 8, 16):
        ids = np.zeros((1, 20, 20), int)
        ids[0, 8:12, 1:3] = 1
        guess = ids.copy()
        guess[0, 10, column] = 1
        losses.append(float(L.Hausdorff()(ids, guess[..., None].astype(float))))
    assert losses == sorted(losses) and losses[2] > 10 * losses[0]
    assert float(L.Hausdorff()(ids, ids[..., None].astype(float))) == 0


# --- cldice


def vessels():
    """A grid of lines three pixels wide."""
    ids = np.zeros((1, 33, 33), int)
    for at in (5, 16, 27):
        ids[0, at - 1 : at + 2, :] = ids[0, :, at - 1 : at + 2] = 1
    return ids


def test_cldice_of_the_reference_is_zero_and_of_nothing_nearly_one():
    ids = vessels()
    assert float(L.ClDice()(ids, ids[..., None].astype(float))) == pytest.approx(0, abs=1e-12)
    assert float(L.ClDice(smooth=0)(ids, np.zeros((1, 33, 33, 1)))) == 1


def test_cldice_forgives_width_and_not_gaps():
    ids = vessels()
    thin, gaps = ids.copy(), ids.copy()
    thin[0, [4, 6, 15, 17, 26, 28], :] = 0
    thin[0, :, [4, 6, 15, 17, 26, 28]] = 0
    thin[0, [5, 16, 27], :] = thin[0, :, [5, 16, 27]] = 1
    for at in (10, 21):
        gaps[0, at : at + 2, :] = gaps[0, :, at : at + 2] = 0
    cl_thin, cl_gaps, thinned, broken = (
        float(loss(ids, mask[..., None].astype(float))) for loss in (L.ClDice(), L.Dice()) for mask in (thin, gaps)
    )
    assert cl_thin < 0.02 < 0.05 < cl_gaps
    assert thinned > broken  # Dice sees it the other way round


@pytest.mark.parametrize("iterations", [0, 3])
@pytest.mark.parametrize("smooth", [0.5, [0.3, 0.7]])
def test_options_of_cldice(iterations, smooth):
    ids, logits = disks()
    options = {"iterations": iterations, "smooth": smooth}
    expected = reference.loss("cldice", reference.one_hot(ids, 3), logits, **options)
    assert value("cldice", ids, logits, **options) == pytest.approx(expected, rel=1e-10)


def test_false_positives_of_an_absent_class_have_a_gradient():
    _, logits = disks(classes=2)
    _, gradient = value_and_gradient(L.ClDice(from_logits=True), np.zeros(logits.shape[:-1], int), logits)
    assert np.abs(gradient).max() > 1e-4


# --- what is refused

REFUSED = [
    (lambda: L.Boundary(spacing=0), "spacing=0 does not fit.*above 0"),
    (lambda: L.Boundary(spacing=[1, -1]), "spacing=.1, -1. does not fit"),
    (lambda: L.Boundary(spacing=[]), "spacing=.. does not fit"),
    (lambda: L.Boundary(label_smoothing=0.1), "'label_smoothing' is not known"),
    (lambda: L.Boundary(smooth=1), "'smooth' is not known"),
    (lambda: L.Hausdorff(alpha=0), "alpha=0 does not fit loss 'hausdorff'.*above 0"),
    (lambda: L.Hausdorff(one_sided="left"), "one_sided='left' does not fit"),
    (lambda: L.ClDice(iterations=1.5), "iterations=1.5 does not fit.*whole number"),
    (lambda: L.ClDice(iterations=-1), "iterations=-1 does not fit"),
    (lambda: L.Boundary(spacing=[1, 2, 3])(np.zeros((1, 4, 4), int), np.zeros((1, 4, 4, 1))), "spacing.*Expected one"),
    (lambda: L.ClDice()(np.zeros((1, 4), int), np.zeros((1, 4, 1))), "Expected .B, H, W, C."),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message[:24] for _, message in REFUSED])
def test_refused_with_a_message_that_helps(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
