import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from loss_checks import CASES as EVERY
from loss_checks import SHAPE, draw, value, value_and_gradient

import kseg.losses as L

PIXEL = list(reference.PIXEL)
OVERLAP = [name for name in L.names() if issubclass(L.LOSSES.get(name), L.OverlapLoss)]
# The cross-entropy of a compound divides by pixels, not by weights; in the others it matters where a pixel lies.
RATIOS = [name for name in OVERLAP if L.facts(name)["category"] == "region"]
# Pixels that are right enough, or that lie on the boundary or off every centre line, have no gradient.
SPARSE = ("topk_cce", "lovasz", "boundary", "cldice")
MODES = ("zero", "one", "skip", "penalise_fp")  # of `empty`, beside "smooth"
WITH_EMPTY = [name for name in OVERLAP if "empty" in L.LOSSES.get(name).defaults]


# --- ignored pixels


@pytest.mark.parametrize(("name", "classes"), EVERY)
def test_ignored_pixels_change_neither_value_nor_gradient(name, classes):
    ids, logits = draw(classes)
    ignored = np.zeros(SHAPE, bool)
    ignored[0, 1:], ignored[1, :, 0] = True, True
    ids[ignored] = 255
    loss = L.get(name, from_logits=True, ignore_class=255)
    expected, slope = value_and_gradient(loss, ids, logits)
    logits[ignored] = np.resize([3.0, 1e30, np.inf, np.nan], (11, 1))  # each of them would show alone
    result, gradient = value_and_gradient(loss, ids, logits)
    assert result == expected
    np.testing.assert_array_equal(gradient, slope)
    assert not gradient[ignored].any()
    if name not in SPARSE:
        assert np.abs(gradient[~ignored]).min() > 0


@pytest.mark.parametrize(("name", "classes"), EVERY)
@pytest.mark.parametrize("from_logits", [True, False])
def test_ignoring_pixels_is_removing_them(name, classes, from_logits):
    ids, logits = draw(classes)
    scores = logits if from_logits else reference.probabilities(name, logits)
    loss = L.get(name, from_logits=from_logits, ignore_class=255)
    removed = float(loss(ids[:, :, :3], scores[:, :, :3]))
    ids[:, :, 3] = 255
    assert float(loss(ids, scores)) == pytest.approx(removed, rel=1e-12)


@pytest.mark.parametrize("name", L.names())
def test_a_class_of_one_hot_labels_can_be_ignored(name):
    ids, logits = draw(3)
    sparse = value(name, ids, logits, ignore_class=2)
    assert sparse == pytest.approx(value(name, np.eye(3)[ids], logits, ignore_class=2), rel=1e-12)
    assert sparse != pytest.approx(value(name, ids, logits), rel=1e-3)


@pytest.mark.parametrize("name", L.names())
@pytest.mark.parametrize("per_image", [False, True])
def test_a_batch_without_counted_pixels_has_a_finite_loss_and_no_gradient(name, per_image):
    _, logits = draw(3)
    loss = L.get(name, from_logits=True, ignore_class=255, per_image=per_image)
    result, gradient = value_and_gradient(loss, np.full(SHAPE, 255), logits)
    assert np.isfinite(result)
    assert not gradient.any()


def test_float_foreground_labels_can_be_ignored():
    ids, logits = draw(1)
    ids[0, 0] = 255
    expected = value("bce", ids, logits, ignore_class=255)
    assert value("bce", ids.astype("float32"), logits, ignore_class=255) == pytest.approx(expected, rel=1e-12)


# --- pixel and image weights


@pytest.mark.parametrize("name", RATIOS)
def test_weight_two_in_an_overlap_loss_counts_a_pixel_twice(name):
    ids, logits = draw(3)
    weight = np.ones(SHAPE)
    weight[..., -1] = 2
    twice = [np.concatenate([a, a[:, :, -1:]], axis=2) for a in (ids, logits)]
    assert value(name, ids, logits, weight) == pytest.approx(value(name, *twice), rel=1e-9)


@pytest.mark.parametrize("name", L.names())
def test_weight_zero_in_an_overlap_loss_removes_a_pixel_and_in_a_pixel_loss_its_term(name):
    ids, logits = draw(3)
    weight = np.ones(SHAPE)
    weight[..., -1] = 0
    rest = (ids[..., :-1], logits[:, :, :-1])
    if name in PIXEL:
        assert value(name, ids, logits, weight) == pytest.approx(value(name, *rest) * 3 / 4, rel=1e-12)
    elif name in RATIOS:
        assert value(name, ids, logits, weight) == pytest.approx(value(name, *rest), rel=1e-9)


@pytest.mark.parametrize("name", PIXEL)
def test_image_weights_scale_the_terms_of_their_image(name):
    ids, logits = draw(3)
    parts = [value(name, ids[i : i + 1], logits[i : i + 1]) for i in range(2)]
    for weight in ([3.0, 0.5], [[3.0], [0.5]]):
        result = value(name, ids, logits, np.array(weight))
        assert result == pytest.approx((3 * parts[0] + 0.5 * parts[1]) / 2, rel=1e-12)


@pytest.mark.parametrize("name", OVERLAP)
def test_image_weights_of_overlap_losses(name):
    ids, logits = draw(3)
    weight = np.array([3.0, 0.5])
    parts = [value(name, ids[i : i + 1], logits[i : i + 1]) for i in range(2)]
    per_image = value(name, ids, logits, weight, per_image=True)
    assert per_image == pytest.approx((3 * parts[0] + 0.5 * parts[1]) / 2, rel=1e-9)
    spread = np.broadcast_to(weight[:, None, None], SHAPE)
    assert value(name, ids, logits, weight) == pytest.approx(value(name, ids, logits, spread), rel=1e-12)


@pytest.mark.parametrize("name", PIXEL)
def test_a_scalar_weight_scales_a_pixel_loss(name):
    ids, logits = draw(3)
    assert value(name, ids, logits, 3.0) == pytest.approx(3 * value(name, ids, logits), rel=1e-12)


@pytest.mark.parametrize("name", L.names())
def test_a_pixel_map_may_have_a_channel_axis(name):
    ids, logits = draw(3)
    weight = np.random.default_rng(1).uniform(0.5, 2, SHAPE)
    assert value(name, ids, logits, weight) == value(name, ids, logits, weight[..., None])


def test_weights_reach_the_loss_through_fit():
    ids, images = draw(3)
    weight = np.random.default_rng(1).uniform(0.5, 2, SHAPE)
    inputs = keras.Input((3, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="identity")(inputs))
    for sample_weight in (weight, np.array([3.0, 0.5])):
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss=L.get("dice", from_logits=True))
        history = model.fit(images, ids, sample_weight=sample_weight, batch_size=2, verbose=0)
        expected = value("dice", ids, images, sample_weight)
        assert history.history["loss"][0] == pytest.approx(expected, rel=1e-5)


# --- weighted_cce (S2.17)


def test_weighted_cce_with_unit_weights_is_cross_entropy():
    ids, logits = draw(2)
    assert value("weighted_cce", ids, logits, np.ones(SHAPE)) == pytest.approx(value("cce", ids, logits), rel=1e-12)


def test_doubling_one_weight_of_weighted_cce_doubles_only_its_term():
    ids, logits = draw(2)
    weight = np.ones(SHAPE)
    once, slope = value_and_gradient(L.WeightedCCE(from_logits=True), ids, logits, weight)
    weight[1, 2, 0] = 2
    twice, steeper = value_and_gradient(L.WeightedCCE(from_logits=True), ids, logits, weight)
    term = -np.log(reference.softmax(logits)[1, 2, 0, ids[1, 2, 0]])
    assert (twice - once) * 24 == pytest.approx(term, rel=1e-9)
    slope[1, 2, 0] *= 2
    np.testing.assert_allclose(steeper, slope, rtol=1e-12)


def test_class_weights_of_cce_divide_by_the_weights_met_and_those_of_weighted_cce_by_the_pixels():
    ids, logits = draw(3)
    weights = [1.0, 2.0, 5.0]
    p_true = np.take_along_axis(reference.softmax(logits), ids[..., None], -1)[..., 0]
    w = np.take(weights, ids)
    total = -(w * np.log(p_true)).sum()
    assert value("cce", ids, logits, class_weights=weights) == pytest.approx(total / w.sum(), rel=1e-12)
    assert value("weighted_cce", ids, logits, class_weights=weights) == pytest.approx(total / 24, rel=1e-12)


@pytest.mark.parametrize(("name", "classes"), [case for case in EVERY if case[0] != "weighted_cce"])
def test_equal_class_weights_change_nothing(name, classes):
    ids, logits = draw(classes)
    weighted = value(name, ids, logits, class_weights=[3] * max(classes, 2))
    assert weighted == pytest.approx(value(name, ids, logits), rel=1e-12)


@pytest.mark.parametrize("name", [name for name in RATIOS if name != "wasserstein_dice"])
def test_a_class_of_weight_zero_leaves_an_overlap_loss(name):
    ids, logits = draw(3)
    both = value(name, ids, logits, class_weights=[0, 1, 1])
    options = {"include_background": False} if "include_background" in L.LOSSES.get(name).defaults else {}
    foreground = value(name, ids, logits, **options)
    factor = 3 / 2 if name == "focal_tversky" else 1  # a sum over classes, weights of mean 1
    assert both == pytest.approx(foreground * (factor if options else 1), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in OVERLAP if "include_background" in L.LOSSES.get(name).defaults])
def test_leaving_out_the_background_leaves_its_channel_out(name):
    ids, logits = draw(3)
    p = reference.softmax(logits)
    loss = L.get(name, include_background=False)
    expected = reference.loss(name, np.eye(3)[ids], p, from_logits=False, include_background=False)
    assert float(loss(ids, p)) == pytest.approx(expected, rel=1e-9)


# --- label smoothing, smooth, squared, empty, per_image, reductions


@pytest.mark.parametrize(
    ("name", "classes"), [case for case in EVERY if "label_smoothing" in L.LOSSES.get(case[0]).defaults]
)
def test_label_smoothing_spreads_the_label_over_the_classes(name, classes):
    ids, logits = draw(classes)
    shares = 2 if classes == 1 or name in reference.SIGMOID else 3
    soft = 0.9 * reference.one_hot(ids, classes) + 0.1 / shares
    assert value(name, ids, logits, label_smoothing=0.1) == pytest.approx(reference.loss(name, soft, logits), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in OVERLAP if "smooth" in L.LOSSES.get(name).defaults])
def test_numerator_and_denominator_are_smoothed_apart(name):
    ids, logits = draw(3)
    expected = reference.loss(name, np.eye(3)[ids], logits, smooth=(0.3, 5.0))
    assert value(name, ids, logits, smooth=(0.3, 5.0)) == pytest.approx(expected, rel=1e-9)
    swapped = reference.loss(name, np.eye(3)[ids], logits, smooth=(5.0, 0.3))
    assert value(name, ids, logits, smooth=[5.0, 0.3]) == pytest.approx(swapped, rel=1e-9)


@pytest.mark.parametrize("name", ["dice", "dicefg", "jaccard", "dice_bce", "log_dice"])
@pytest.mark.parametrize("squared", [False, True])
def test_squared_denominators(name, squared):
    ids, logits = draw(3)
    expected = reference.loss(name, np.eye(3)[ids], logits, squared=squared)
    assert value(name, ids, logits, squared=squared) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def without_class_two():
    ids = np.random.default_rng(0).integers(0, 2, SHAPE)
    p = reference.softmax(np.random.default_rng(1).normal(size=(*SHAPE, 3)))
    scores = [1 - 2 * p[ids == k, k].sum() / ((ids == k).sum() + p[..., k].sum()) for k in (0, 1)]
    return ids, p, scores


@pytest.mark.parametrize("empty", ["smooth", "zero", "one", "skip", "penalise_fp"])
def test_what_a_class_costs_that_is_absent_from_the_reference(without_class_two, empty):
    ids, p, (background, foreground) = without_class_two
    third = {"smooth": 1.0, "zero": 0.0, "one": 1.0, "penalise_fp": p[..., 2].mean()}.get(empty)
    expected = np.mean([background, foreground] if empty == "skip" else [background, foreground, third])
    result, gradient = value_and_gradient(L.Dice(empty=empty), ids, p)
    assert result == pytest.approx(expected, abs=1e-6)
    learns = np.abs(gradient[..., 2]).max() > 1e-3
    assert learns == (empty == "penalise_fp")
    if learns:
        np.testing.assert_allclose(gradient[..., 2], 1 / (3 * ids.size), rtol=1e-9)


def test_absent_is_judged_per_image_when_ratios_are():
    ids = np.array([[[0, 0, 0]], [[0, 1, 1]]])
    p = np.full((2, 1, 3, 1), 0.4)
    one = 1 - 2 * 0.8 / (2 + 1.2)
    for empty, other in [("skip", 0.0), ("zero", 0.0), ("one", 1.0), ("penalise_fp", 0.4)]:
        values = L.dice(ids, p, empty=empty, per_image=True)
        np.testing.assert_allclose(values, [other, one], atol=1e-6)


def test_penalise_fp_counts_no_ignored_pixels():
    ids = np.array([[[0, 0, 255]]])
    p = np.array([0.1, 0.3, 0.9]).reshape(1, 1, 3, 1)
    assert float(L.Dice(empty="penalise_fp", ignore_class=255)(ids, p)) == pytest.approx(0.2, abs=1e-9)


@pytest.mark.parametrize("name", WITH_EMPTY)
def test_no_empty_mode_changes_a_batch_that_holds_every_class(name):
    ids, logits = draw(3)
    expected = pytest.approx(value(name, ids, logits), rel=1e-12)
    for empty in MODES:
        assert value(name, ids, logits, empty=empty) == expected, empty


@pytest.mark.parametrize(("name", "classes"), EVERY)
def test_per_image_gives_the_loss_of_each_image(name, classes):
    ids, logits = draw(classes)
    alone = [value(name, ids[i : i + 1], logits[i : i + 1]) for i in range(2)]
    values = L.get(name, from_logits=True, per_image=True, reduction=None)(ids, logits)
    np.testing.assert_allclose(values, alone, rtol=1e-9)


@pytest.mark.parametrize("name", ["cce", "dice"])
def test_reductions(name):
    ids, logits = draw(3)
    values = L.get(name, from_logits=True, reduction="none")(ids, logits).numpy()
    assert values.shape == (2,)
    for reduction, expected in [
        ("sum_over_batch_size", values.mean()),
        ("mean", values.mean()),
        ("sum", values.sum()),
    ]:
        assert value(name, ids, logits, reduction=reduction) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["cce", "dice"])
def test_class_ids_may_be_floats_of_whole_numbers_and_fractions_give_nan(name):
    ids, logits = draw(3)
    floats = ids.astype("float64")
    assert value(name, floats, logits) == value(name, ids, logits)
    assert value(name, floats[..., None], logits) == value(name, ids, logits)
    floats[0, 0, 0] = 0.5
    assert np.isnan(value(name, floats, logits))
    assert np.isnan(value(name, floats, logits, ignore_class=255))
    floats[0, 0, 0] = 255
    assert np.isfinite(value(name, floats, logits, ignore_class=255))


@pytest.mark.parametrize(("name", "classes"), [("bce", 1), ("dice", 1), ("cce", 3), ("dicefg", 3)])
def test_soft_labels_outside_0_and_1_give_nan(name, classes):
    labels, logits = np.zeros((2, 3, 4, classes)), np.random.default_rng(0).normal(size=(2, 3, 4, classes))
    labels[..., 0] = 1.0005  # what a resize may leave
    assert np.isfinite(value(name, labels, logits))
    labels[0, 0, 0, -1] = 255
    assert np.isnan(value(name, labels, logits))


def test_an_absent_class_stays_absent_under_label_smoothing():
    ids, logits = np.zeros((2, 3, 4), int), np.random.default_rng(0).normal(size=(2, 3, 4, 2))
    for empty, expected in (("skip", 0.0), ("zero", 0.0), ("one", 1.0)):
        for smoothing in (0.0, 0.1):
            options = {"empty": empty, "label_smoothing": smoothing}
            assert value("dicefg", ids, logits, **options) == expected


# --- what is refused


@pytest.mark.parametrize(("name", "classes"), EVERY)
def test_a_label_outside_the_classes_and_a_diverged_prediction_give_nan(name, classes):
    """One image for each of them, beside one that is right."""
    ids, logits = draw(classes, (5, 3, 4))
    for image, wrong in enumerate((3, -1, 255), start=1):
        ids[image, 2, 3] = wrong
    logits[4, 1, 2] = np.nan
    values, gradient = value_and_gradient(
        L.get(name, from_logits=True, per_image=True, reduction=None), tf.constant(ids), logits
    )
    np.testing.assert_array_equal(np.isnan(values), [False, True, True, True, True])
    lost = np.isnan(gradient).any(axis=(1, 2, 3))
    assert lost[1:4].all(), "a loop that reads gradients alone would train on it"
    assert not lost[0]


@pytest.mark.parametrize(("name", "classes"), EVERY)
def test_a_label_outside_the_classes_gives_nan_over_the_batch(name, classes):
    ids, logits = draw(classes)
    ids[1, 2, 3] = 3
    result, gradient = value_and_gradient(L.get(name, from_logits=True), tf.constant(ids), logits)
    assert np.isnan(result) and np.isnan(gradient).any()


@pytest.mark.parametrize("name", WITH_EMPTY)
@pytest.mark.parametrize("empty", MODES)
def test_no_empty_mode_hides_a_wrong_label(name, empty):
    ids, logits = draw(3)
    ids[0, 0, 0] = 255
    assert np.isnan(value(name, ids, logits, empty=empty))


@pytest.mark.parametrize("name", WITH_EMPTY)
@pytest.mark.parametrize("empty", MODES)
@pytest.mark.parametrize("background", [True, False])
def test_no_empty_mode_takes_a_wrong_label_for_an_absent_class(name, empty, background):
    options = {"include_background": background} if "include_background" in L.LOSSES.get(name).defaults else {}
    logits = np.random.default_rng(0).normal(size=(2, 3, 4, 2))
    ids = np.where(np.arange(24).reshape(2, 3, 4) % 3, 0, 7)  # the foreground is there, under a wrong number
    assert np.isnan(float(L.get(name, from_logits=True, empty=empty, **options)(ids, logits)))


REFUSED = [
    (
        "reduction of Keras that kseg lacks",
        lambda y, z: L.CCE(reduction="mean_with_sample_weight"),
        "does not fit loss 'cce'. Expected one of 'sum_over_batch_size'",
    ),
    (
        "two channels against one",
        lambda y, z: L.BCE()(np.eye(2)[y % 2], z[..., :1]),
        r"Pass y_true\[..., 1:\]",
    ),
    ("cce on one channel", lambda y, z: L.CCE()(y, z[..., :1]), "softmax over one channel.*bce"),
    (
        "softmax head on one channel",
        lambda y, z: L.Dice(head="softmax")(y, z[..., :1]),
        "softmax over one channel",
    ),
    ("wrong number of classes", lambda y, z: L.Dice()(np.eye(5)[y], z), r"Expected class ids.*\[B, ..., 3\]"),
    ("other sizes", lambda y, z: L.Dice()(y[:, :2], z), "same batch and spatial sizes"),
    ("no spatial axis", lambda y, z: L.Dice()(y[:, 0, 0], z[:, 0, 0]), "at least one spatial axis"),
    ("class_weights", lambda y, z: L.CCE(class_weights=[1, 2])(y, z), "has 2 values. Expected 3"),
    ("overlap class_weights", lambda y, z: L.Dice(class_weights=[1, 2])(y, z), "has 2 values. Expected 3"),
    ("class_weights, K=1", lambda y, z: L.Dice(class_weights=[1])(y, z[..., :1]), "has 1 values. Expected 2"),
    ("alpha", lambda y, z: L.Focal(alpha=[1, 2])(y, z), "does not fit a softmax over 3 classes"),
    ("scalar alpha", lambda y, z: L.Focal(alpha=0.3)(y, z), "does not fit a softmax over 3 classes"),
    ("sigmoid alpha", lambda y, z: L.Focal(alpha=[0.1, 0.2], head="sigmoid")(y, z), "3 sigmoid channels"),
    ("weight", lambda y, z: L.Dice()(y, z, np.ones((2, 3))), "sample_weight has shape"),
    ("weight per class", lambda y, z: L.Dice()(y, z, np.ones((2, 3, 4, 3))), "sample_weight has shape"),
    (
        "ignored one-hot",
        lambda y, z: L.Dice(ignore_class=255)(np.eye(3)[y], z),
        "cannot hold ignore_class=255",
    ),
    ("option", lambda y, z: L.Dice(smoth=1), "'smoth' is not known.*Did you mean 'smooth'"),
    ("option of another loss", lambda y, z: L.CCE(empty="skip"), "'empty' is not known"),
    (
        "fg has no background",
        lambda y, z: L.DiceFG(include_background=True),
        "'include_background' is not known",
    ),
    ("empty", lambda y, z: L.Dice(empty="nan"), "empty='nan' does not fit.*'penalise_fp'"),
    ("negative smooth", lambda y, z: L.Dice(smooth=-1), "smooth=-1 does not fit.*at least 0"),
    ("three smooths", lambda y, z: L.Dice(smooth=(1, 2, 3)), "pair"),
    ("label_smoothing", lambda y, z: L.Dice(label_smoothing=1), "label_smoothing=1 does not fit.*below 1"),
    ("gamma", lambda y, z: L.Focal(gamma=float("nan")), "gamma=nan does not fit"),
    ("exponent", lambda y, z: L.FocalTversky(exponent=0), "exponent=0 does not fit.*above 0"),
    ("negative class_weights", lambda y, z: L.Dice(class_weights=[-1, 1]), "class_weights.*at least 0"),
    ("zero class_weights", lambda y, z: L.Dice(class_weights=[0, 0]), "class_weights.*one above 0"),
    ("ignore_class", lambda y, z: L.Dice(ignore_class=1.5), "ignore_class=1.5 does not fit"),
    ("text ignore_class", lambda y, z: L.Dice(ignore_class="void"), "ignore_class='void' does not fit"),
    ("reduction", lambda y, z: L.Dice(reduction="average"), "reduction='average' does not fit"),
    ("dtype", lambda y, z: L.Dice(dtype="int32"), "dtype='int32' does not fit"),
    ("head", lambda y, z: L.Dice(head="relu"), "head='relu' does not fit"),
    ("flag", lambda y, z: L.Dice(from_logits="yes"), "from_logits='yes' does not fit"),
]


@pytest.mark.parametrize(("call", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused_with_a_message_that_helps(call, message):
    ids, logits = draw(3)
    with pytest.raises(ValueError, match=message) as caught:
        call(ids, reference.softmax(logits))
    assert "\n" not in str(caught.value)


def test_an_unknown_channel_count_is_refused():
    @tf.function(input_signature=[tf.TensorSpec([None, 3, 4], tf.int32), tf.TensorSpec([None, 3, 4, None])])
    def trace(y, scores):
        return L.Dice()(y, scores)

    with pytest.raises(ValueError, match="known number of channels"):
        trace.get_concrete_function()


# --- small numbers


@pytest.mark.parametrize("name", WITH_EMPTY)
def test_a_class_with_little_truth_is_present(name):
    ids, logits = draw(2)
    logits = np.concatenate([logits, logits[..., :1] - 1], axis=-1)
    soft = np.eye(3)[ids]
    soft[0, 1, 2] = [0.5, 0.3, 0.2]
    ids[0, 1, 2] = 2
    weight = np.ones(SHAPE)
    weight[0, 1, 2] = 0.2
    for labels, weights in ((soft, None), (ids, weight)):
        expected = pytest.approx(value(name, labels, logits, weights), rel=1e-12)
        for empty in MODES:
            assert value(name, labels, logits, weights, empty=empty) == expected, empty


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_focal_tversky_of_a_nearly_perfect_prediction_is_the_formula(dtype):
    ids = np.array([[[0, 1, 1, 0]]])
    p = np.array([0, 1 - 1e-4, 1 - 1e-4, 1e-4], dtype).reshape(1, 1, 4, 1)
    shared = 2 * (1 - 1e-4)
    short = 1 - shared / (shared + 0.3 * 1e-4 + 0.7 * 2e-4)
    assert 0.5e-4 < short < 2e-4
    result = float(L.FocalTversky(dtype=dtype)(ids, p))
    assert result == pytest.approx(short**0.75, rel=1e-2 if dtype == "float32" else 1e-3)


# lovasz gives labels and weights no gradient; kept pixels of topk_cce and sizes that weigh classes are constants.
@pytest.mark.parametrize("name", sorted(set(L.names()) - {"lovasz"}))
@pytest.mark.parametrize("classes", [1, 3])
def test_gradients_of_soft_labels_and_weights_equal_differences(name, classes):
    if classes == 1 and L.get(name).head == "softmax":
        pytest.skip("softmax over one channel")
    rng = np.random.default_rng(4)
    y = rng.dirichlet(np.ones(3), (1, 2, 3))[..., :classes]
    weight, logits = rng.uniform(0.5, 2, (1, 2, 3)), rng.normal(size=(1, 2, 3, classes))
    parts = [tf.constant(y), tf.constant(weight)]
    with tf.GradientTape() as tape:
        tape.watch(parts)
        total = L.get(name, from_logits=True)(parts[0], logits, parts[1])
    gradients = tape.gradient(total, parts, unconnected_gradients="zero")
    # Each moved number is an image of one batch.
    each = L.get(name, from_logits=True, per_image=True, reduction=None)
    images = 2 * (y.size + weight.size)
    moved = [np.repeat(y, images, axis=0), np.repeat(weight, images, axis=0)]
    for sign, rows in zip((1e-6, -1e-6), np.split(np.arange(images), 2), strict=True):
        for part, first in zip(moved, (0, y.size), strict=True):
            own = rows[first : first + part[0].size]
            part.reshape(images, -1)[own, np.arange(own.size)] += sign
    up, down = np.split(each(moved[0], np.repeat(logits, images, axis=0), moved[1]).numpy(), 2)
    assert up[0] == pytest.approx(float(total), abs=1e-4), "a batch of one image is that image"
    expected = (up - down) / 2e-6
    np.testing.assert_allclose(np.ravel(gradients[0]), expected[: y.size], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.ravel(gradients[1]), expected[y.size :], rtol=1e-6, atol=1e-6)
