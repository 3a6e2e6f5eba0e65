"""The region and compound losses and topk_cce: values worked by hand, limits, and what their papers say of them."""

import keras
import loss_checks
import numpy as np
import pytest
import reference
import scipy.optimize
import sklearn.metrics
import tensorflow as tf
from loss_checks import value_and_gradient

import kseg.losses as L

# Four pixels, foreground probability and label: TP = 1.4, FP = 0.6, FN = 0.6, TN = 1.4 for the foreground.
IDS = np.array([[[1, 1, 0, 0]]])
P = np.array([[[0.8, 0.6, 0.5, 0.1]]])
ONE, TWO = P[..., None], np.stack([1 - P, P], -1)
CE = -np.log([0.8, 0.6, 0.5, 0.9])


def value(spec, y, p, weight=None, **options):
    return loss_checks.value(spec, y, np.asarray(p, np.float64), weight, from_logits=False, **options)


WORKED = [  # loss, channels, value
    ("asymmetric", 1, 1 - 3.25 * 1.4 / (3.25 * 1.4 + 2.25 * 0.6 + 0.6)),
    ("asymmetric(beta=0)", 1, 1 - 1.4 / 2.0),  # precision
    ("log_cosh_dice", 1, np.log(np.cosh(0.3))),
    ("mcc", 1, 1 - (1.4 * 1.4 - 0.6 * 0.6) / 4),
    ("mcc", 2, 1 - (1.4 * 1.4 - 0.6 * 0.6) / 4),
    ("generalized_dice", 1, 0.3),  # both classes have two pixels: equal weights
    ("wasserstein_dice", 1, 0.3),
    ("wasserstein_dice", 2, 0.3),
    ("combo", 1, 0.5 * 0.5 * CE.mean() + 0.5 * 0.3),
    ("combo(alpha=0.2, beta=0.9)", 1, 0.2 * (0.9 * CE[:2].sum() + 0.1 * CE[2:].sum()) / 4 + 0.8 * 0.3),
    ("topk_cce(k=0.5)", 2, (CE[1] + CE[2]) / 2),
    ("topk_cce(k=0.51)", 2, (CE[1] + CE[2] + CE[0]) / 3),
    ("topk_cce", 2, CE[2]),
]


@pytest.mark.parametrize(("spec", "channels", "expected"), WORKED)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_by_hand(spec, channels, expected, dtype):
    prediction = (ONE if channels == 1 else TWO).astype(dtype)
    assert float(L.get(spec)(IDS, prediction)) == pytest.approx(expected, abs=1e-6)
    logits = np.log(prediction / (1 - prediction)) if channels == 1 else np.log(prediction)
    assert float(L.get(spec, from_logits=True)(IDS, logits)) == pytest.approx(expected, abs=1e-6)


def test_unified_focal_by_hand():
    focal = 0.4 * np.sqrt([0.5, 0.1]) @ CE[2:] / 4 + 0.6 * CE[:2].sum() / 4
    index = 1.4 / (1.4 + 0.4 * 0.6 + 0.6 * 0.6)  # the same for both classes, whose errors are equal
    expected = 0.5 * focal + 0.5 * ((1 - index) + (1 - index) ** 0.5) / 2
    for p in (ONE, TWO):
        assert value("unified_focal", IDS, p) == pytest.approx(expected, rel=1e-6)
    focal = (0.4 * 0.5**0.8 * CE[2] + 0.4 * 0.1**0.8 * CE[3] + 0.6 * 0.2**0.8 * CE[0] + 0.6 * 0.4**0.8 * CE[1]) / 4
    expected = 0.3 * focal + 0.7 * (1 - index) ** 0.2
    options = {"variant": "symmetric", "gamma": 0.2, "focal_weight": 0.3}
    for p in (ONE, TWO):
        assert value("unified_focal", IDS, p, **options) == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, (2, 3, 4))
    return ids, reference.softmax(rng.normal(size=(2, 3, 4, 3)) * 2)


# --- one sigmoid channel and two softmax channels


@pytest.mark.parametrize("name", ["generalized_dice", "unified_focal", "wasserstein_dice"])
@pytest.mark.parametrize("options", [{}, {"class_weights": [0.5, 2.0]}, {"per_image": True}])
def test_one_sigmoid_channel_is_two_classes(batch, name, options):
    ids, p = (batch[0] > 0).astype(int), batch[1][..., :1]
    both = value(name, ids, np.concatenate([1 - p, p], -1), **options)
    assert value(name, ids, p, **options) == pytest.approx(both, rel=1e-9)


@pytest.mark.parametrize("name", ["unified_focal", "wasserstein_dice"])
def test_several_sigmoid_channels_are_refused_where_a_distribution_is_meant(batch, name):
    with pytest.raises(ValueError, match=f"loss '{name}' got 3 sigmoid channels.*head='softmax'"):
        L.get(name, head="sigmoid")(*batch)


# --- generalised Dice (Sudre)


def test_generalized_dice_weighs_classes_by_the_inverse_square_of_their_size(batch):
    ids = np.array([[[1, 0, 0, 0], [0, 0, 0, 0]]])
    p = batch[1][:1, :2, :, :2] / batch[1][:1, :2, :, :2].sum(-1, keepdims=True)
    q = p[..., 1]
    both = [49 * q[0, 0, 0], (1 - q).sum() - (1 - q[0, 0, 0])]  # times 1 and 1/49, times 49
    size = [49 * (1 + q.sum()), 7 + (1 - q).sum()]
    assert value("generalized_dice", ids, p) == pytest.approx(1 - 2 * sum(both) / sum(size), rel=1e-6)
    both[0], size[0] = both[0] / 7, size[0] / 7
    expected = 1 - 2 * sum(both) / sum(size)
    assert value("generalized_dice(weighting='simple')", ids, p) == pytest.approx(expected, rel=1e-6)
    both[0], size[0] = both[0] / 7, size[0] / 7
    expected = 1 - 2 * sum(both) / sum(size)
    assert value("generalized_dice(weighting='uniform')", ids, p) == pytest.approx(expected, rel=1e-6)


def test_an_absent_class_weighs_as_much_as_the_smallest_that_is_present():
    ids = np.array([[[0, 0, 0, 1]]])
    p = np.full((1, 1, 4, 3), [0.6, 0.3, 0.1])
    w = np.array([1 / 9, 1, 1])
    expected = 1 - 2 * (w @ [1.8, 0.3, 0]) / (w @ [3 + 2.4, 1 + 1.2, 0.4])
    result, gradient = value_and_gradient(L.GeneralizedDice(), ids, p)
    assert result == pytest.approx(expected, rel=1e-6)
    assert np.all(gradient[..., 2] > 0), "a false positive of an absent class must cost something"


@pytest.mark.parametrize("weighting", ["square", "simple"])
def test_weights_of_a_hundred_million_pixels_stay_in_float32(weighting):
    from kseg.ops.overlap import size_weights

    power = {"square": 2.0, "simple": 1.0}[weighting]
    sizes = np.array([[1e8, 1.0, 0.0, 3e4]], np.float32)
    weights = size_weights(tf.constant(sizes), tf.ones([1, 4]), power).numpy()
    np.testing.assert_allclose(weights, [[1e-8**power, 1, 1, 3e4**-power]], rtol=1e-5)
    nothing = size_weights(tf.zeros([1, 3]), tf.ones([1, 3]), power).numpy()
    np.testing.assert_array_equal(nothing, np.ones([1, 3]))


# --- log-cosh Dice (Jadon)


@pytest.mark.parametrize("error", [1e-4, 1e-2, 0.5])
def test_log_cosh_keeps_its_digits_near_a_perfect_overlap(error):
    p = np.full((1, 1, 4, 1), 1 - error, np.float32)
    result, slope = value_and_gradient(L.LogCoshDice(), np.ones((1, 1, 4), int), p)
    exact = float(L.Dice(dtype="float64")(np.ones((1, 1, 4), int), p))
    assert result == pytest.approx(np.log(np.cosh(exact)), rel=3e-3)
    _, plain = value_and_gradient(L.Dice(), np.ones((1, 1, 4), int), p)
    np.testing.assert_allclose(slope, np.tanh(exact) * plain, rtol=3e-3)


# --- asymmetric (Hashemi)


def test_asymmetric_is_one_minus_f_beta_of_a_hard_prediction():
    rng = np.random.default_rng(1)
    truth, guess = rng.integers(0, 2, (2, 5, 6)), rng.integers(0, 2, (2, 5, 6))
    for beta in (0.5, 1, 1.5, 3):
        expected = 1 - sklearn.metrics.fbeta_score(truth.ravel(), guess.ravel(), beta=beta)
        assert value("asymmetric", truth, guess[..., None], beta=beta) == pytest.approx(expected, abs=1e-7)


def test_asymmetric_with_beta_one_is_dice_and_is_a_tversky_loss(batch):
    assert value("asymmetric(beta=1)", *batch, smooth=0) == pytest.approx(value("dice", *batch, smooth=0), rel=1e-12)
    square = 1.5**2
    same = value("tversky", *batch, fp_weight=1 / (1 + square), fn_weight=square / (1 + square))
    assert value("asymmetric", *batch) == pytest.approx(same, rel=1e-12)


# --- Matthews (Abhishek and Hamarneh)


def test_mcc_of_hard_predictions_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    truth, guess = rng.integers(0, 3, (2, 6, 7)), rng.integers(0, 3, (2, 6, 7))
    scores = [sklearn.metrics.matthews_corrcoef(truth.ravel() == k, guess.ravel() == k) for k in range(3)]
    assert value("mcc", truth, np.eye(3)[guess]) == pytest.approx(1 - np.mean(scores), abs=1e-9)
    binary = value("mcc", truth == 1, (guess == 1)[..., None].astype(float))
    assert binary == pytest.approx(1 - scores[1], abs=1e-9)
    weight = rng.integers(0, 3, truth.shape).astype(float)
    score = sklearn.metrics.matthews_corrcoef(truth.ravel() == 1, guess.ravel() == 1, sample_weight=weight.ravel())
    binary = value("mcc", truth == 1, (guess == 1)[..., None].astype(float), weight)
    assert binary == pytest.approx(1 - score, abs=1e-9)


def test_mcc_of_a_large_unbalanced_volume_in_float32():
    """10^7 pixels, 50 of them foreground: products of four counts, and differences of sums, have no digits left."""
    ids = np.zeros((1, 10, 1000, 1000), np.uint8)
    ids[0, 0, 0, :50] = 1
    for k in (1, 2):
        logits = np.full((*ids.shape, 1), -25, np.float32)
        logits[0, 0, 0, 10:70] = 25
        logits = np.concatenate([-logits / 2, logits / 2], -1) if k == 2 else logits
        score = (40 * (1e7 - 70) - 20 * 10) / np.sqrt(60 * 50 * (1e7 - 50) * (1e7 - 60))
        result, gradient = value_and_gradient(L.MCC(from_logits=True), ids, logits)
        assert result == pytest.approx(1 - score, rel=1e-4), k
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("label", [0, 1])
def test_mcc_is_one_where_it_is_undefined_and_zero_if_nothing_is_wrong(k, label):
    ids = np.full((1, 3, 4), label)
    p = np.full((1, 3, 4, 1), 0.3)
    for guess, expected in ((p, 1.0), (np.full_like(p, label), 0.0), (np.full_like(p, 1 - label), 1.0)):
        scores = guess if k == 1 else np.concatenate([1 - guess, guess], -1)
        result, gradient = value_and_gradient(L.MCC(), ids, scores)
        assert result == pytest.approx(expected, abs=1e-12)
        assert not gradient.any()


def test_mcc_of_logits_and_of_probabilities_have_one_gradient(batch):
    ids, p = batch
    _, from_logits = value_and_gradient(L.MCC(from_logits=True), ids, np.log(p))
    _, from_p = value_and_gradient(lambda y, z, w: L.MCC()(y, tf.nn.softmax(z), w), ids, np.log(p))
    np.testing.assert_allclose(from_logits, from_p, atol=1e-12)


# --- Wasserstein (Fidon)

DISTANCES = [[0, 1, 0.8, 0.6], [1, 0, 0.3, 0.5], [0.8, 0.3, 0, 0.2], [0.6, 0.5, 0.2, 0]]


def earth_mover(p, g, distances):
    """The Wasserstein distance of two distributions over classes, by linear programming."""
    k = len(p)
    rows = np.zeros((2 * k, k, k))
    for i in range(k):
        rows[i, i], rows[k + i, :, i] = 1, 1
    solution = scipy.optimize.linprog(np.ravel(distances), A_eq=rows.reshape(2 * k, -1), b_eq=[*p, *g])
    assert solution.success
    return solution.fun


def test_wasserstein_dice_moves_probability_at_least_cost():
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 4, (1, 2, 4))
    p = reference.softmax(rng.normal(size=(1, 2, 4, 4)))
    far = [earth_mover(q, np.eye(4)[i], DISTANCES) for q, i in zip(p.reshape(-1, 4), ids.ravel(), strict=True)]
    right = np.take(DISTANCES[0], ids.ravel()) @ (1 - np.array(far))
    expected = 1 - 2 * right / (2 * right + np.sum(far))
    assert value("wasserstein_dice", ids, p, distances=DISTANCES) == pytest.approx(expected, rel=1e-7)
    doubled = (2 * np.array(DISTANCES)).tolist()
    assert value("wasserstein_dice", ids, p, distances=doubled) == pytest.approx(expected, rel=1e-7)


def test_a_near_class_costs_less_than_a_far_one():
    ids = np.array([[[1, 2, 0, 0]]])
    near, far = np.eye(4)[[[[2, 2, 0, 0]]]], np.eye(4)[[[[0, 2, 0, 0]]]]
    costs = [value("wasserstein_dice", ids, p, distances=DISTANCES) for p in (np.eye(4)[ids], near, far)]
    assert costs[0] == pytest.approx(0, abs=1e-9)
    assert costs[0] < costs[1] < costs[2]
    assert costs[1] == pytest.approx(1 - 2 * (0.7 + 0.8) / (2 * (0.7 + 0.8) + 0.3), rel=1e-6)
    plain = [value("wasserstein_dice", ids, p) for p in (near, far)]
    assert plain[0] == plain[1] == pytest.approx(1 / 3, rel=1e-6)


@pytest.mark.parametrize("empty", ["zero", "one", "skip", "penalise_fp"])
def test_wasserstein_dice_without_foreground(empty):
    p = np.full((1, 2, 2, 3), [0.7, 0.2, 0.1])
    expected = {"zero": 0.0, "skip": 0.0, "one": 1.0, "penalise_fp": 0.2 * 0.5 + 0.1}[empty]
    options = {"distances": [[0, 1, 2], [1, 0, 1], [2, 1, 0]], "empty": empty}
    ids = np.zeros((1, 2, 2), int)
    for smoothing in (0, 0.2) if empty != "penalise_fp" else (0,):
        result = value("wasserstein_dice", ids, p, label_smoothing=smoothing, **options)
        assert result == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "distances",
    [
        [[0, 1], [2, 0]],
        [[0, 1]],
        [[1, 1], [1, 0]],
        [[0, -1], [-1, 0]],
        [[0, 0], [0, 0]],
        [[0, float("nan")], [float("nan"), 0]],
        [],
        [[0, 1, 1], [1, 0]],
        "near",
        3,
    ],
)
def test_distances_that_are_none_are_refused(distances):
    with pytest.raises(ValueError, match="does not fit loss 'wasserstein_dice'"):
        L.WassersteinDice(distances=distances)


def test_distances_need_one_row_a_class_and_may_be_an_array(batch):
    with pytest.raises(ValueError, match="has 2 rows. Expected 3"):
        value("wasserstein_dice", *batch, distances=[[0, 1], [1, 0]])
    array = np.array([[0, 1, 2], [1, 0, 0.5], [2, 0.5, 0]])
    loss = L.WassersteinDice(distances=array)
    assert float(loss(*batch)) == value("wasserstein_dice", *batch, distances=array.tolist())
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(*batch)) == float(loss(*batch))


# --- combo (Taghanaki)


def test_combo_is_the_paper_s_loss_but_for_a_constant(batch):
    ids, p = (batch[0] > 0).astype(int), batch[1][..., 0]
    alpha, beta = 0.3, 0.8
    entropy = -np.mean(beta * ids * np.log(p) + (1 - beta) * (1 - ids) * np.log(1 - p))
    paper = alpha * entropy - (1 - alpha) * 2 * np.sum(p * ids) / np.sum(p + ids)
    result = value("combo", ids, p[..., None], alpha=alpha, beta=beta)
    assert result == pytest.approx(paper + (1 - alpha), rel=1e-7)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_perfect_prediction_costs_nothing(k):
    ids = np.random.default_rng(0).integers(0, max(k, 2), (2, 4, 5))
    logits = 60 * (2 * reference.one_hot(ids, k) - 1)
    for name in reference.reference_regions.NAMES:
        if name == "topk_cce" and k == 1:
            continue
        floor = 1e-3 if name == "unified_focal" else 1e-9
        assert 0 <= float(L.get(name, from_logits=True)(ids, logits)) < floor, name


def test_beta_of_combo_says_which_error_costs_more():
    ids = np.array([[[1, 1, 0, 0]]])
    missed, invented = np.array([0.9, 0.1, 0.1, 0.1]), np.array([0.9, 0.9, 0.9, 0.1])
    for beta, sign in ((0.2, -1), (0.8, 1)):
        options = {"beta": beta, "alpha": 1.0}
        costs = [value("combo", ids, p.reshape(1, 1, 4, 1), **options) for p in (missed, invented)]
        assert np.sign(costs[0] - costs[1]) == sign


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_cross_entropy_against_the_rest_is_exact_in_both_tails(classes):
    from kseg.ops.complement import softmax_against_rest

    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(classes, 50)) * np.geomspace(0.1, 1e4, 50)
    logits[:, 0] = 0
    logits[:2, 1] = logits[:, 1].max() + 1
    hit, miss = rng.uniform(size=(2, classes, 50))

    def exact(z):
        with np.errstate(divide="ignore"):
            log_p = z - np.logaddexp.reduce(z)
            keep = ~np.eye(classes, dtype=bool)
            log_q = np.stack([np.logaddexp.reduce(z[row]) for row in keep]) - np.logaddexp.reduce(z)
        return -(hit * log_p + miss * log_q).sum(0)

    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        z = tf.constant(logits, dtype)
        with tf.GradientTape() as tape:
            tape.watch(z)
            rows = tf.transpose(z)
            result = softmax_against_rest(rows, tf.constant(hit.T, dtype), tf.constant(miss.T, dtype))
        np.testing.assert_allclose(result, exact(logits.astype(dtype).astype(float)), rtol=tolerance)
        gradient = tape.gradient(result, z).numpy()
        assert np.isfinite(gradient).all()
        if dtype == "float64":
            numeric = reference.numeric_gradient(lambda x: exact(x)[:30].sum(), logits.copy())
            np.testing.assert_allclose(gradient[:, :30], numeric[:, :30], atol=1e-6)  # further on no digits remain


@pytest.mark.parametrize("name", ["combo", "unified_focal", "topk_cce"])
@pytest.mark.parametrize("logit", [10, 100, 1e4])
def test_a_wrong_pixel_keeps_its_gradient(name, logit):
    z = np.zeros((1, 1, 2, 3), np.float32)
    z[0, 0, :, 0] = logit
    _, gradient = value_and_gradient(L.get(name, from_logits=True), np.array([[[2, 0]]]), z)
    assert gradient[0, 0, 0, 2] < -1e-3
    assert gradient[0, 0, 0, 0] > 1e-3


# --- unified focal (Yeung)


def test_unified_focal_without_focal_weight_is_a_tversky_loss(batch):
    index = value("tversky", *batch, fp_weight=0.4, fn_weight=0.6)
    assert value("unified_focal", *batch, focal_weight=0, gamma=0) == pytest.approx(index, rel=1e-9)


def test_unified_focal_with_gamma_zero_and_focal_weight_one_is_weighted_cross_entropy(batch):
    expected = value("weighted_cce", *batch, class_weights=[0.3, 0.7, 0.7])
    result = value("unified_focal", *batch, focal_weight=1, gamma=0, delta=0.7)
    assert result == pytest.approx(expected, rel=1e-9)


def test_the_two_variants_differ_as_the_paper_says(batch):
    ids, p = np.ones_like(batch[0]), batch[1][..., :2] / batch[1][..., :2].sum(-1, keepdims=True)
    options = {"focal_weight": 1, "gamma": 0.3}
    p_true = p[..., 1]
    symmetric = value("unified_focal", ids, p, variant="symmetric", **options)
    assert symmetric == pytest.approx(np.mean(-0.6 * (1 - p_true) ** 0.7 * np.log(p_true)), rel=1e-9)
    asymmetric = value("unified_focal", ids, p, **options)  # the foreground is not muted
    assert asymmetric == pytest.approx(np.mean(-0.6 * np.log(p_true)), rel=1e-9)
    asymmetric = value("unified_focal", 1 - ids, p, **options)
    p_true = p[..., 0]
    assert asymmetric == pytest.approx(np.mean(-0.4 * (1 - p_true) ** 0.3 * np.log(p_true)), rel=1e-9)


@pytest.mark.parametrize("variant", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("classes", [1, 4])
def test_slopes_of_unified_focal_stay_finite_at_a_perfect_prediction(variant, classes):
    ids = np.random.default_rng(0).integers(0, max(classes, 2), (1, 4, 4))
    for scale in (5, 10, 20, 50, 1e4):
        logits = np.float32(scale * (2 * reference.one_hot(ids, classes) - 1))
        loss = L.UnifiedFocal(variant=variant, gamma=0.9 if variant == "asymmetric" else 0.1, from_logits=True)
        result, gradient = value_and_gradient(loss, ids, logits)
        assert np.isfinite(result)
        assert np.isfinite(gradient).all()


# --- top-k cross-entropy


def test_k_one_is_cross_entropy(batch):
    ids, p = batch
    weight = np.random.default_rng(1).uniform(0.5, 2, ids.shape)
    for options in ({}, {"class_weights": [1, 2, 5]}, {"per_image": True}, {"ignore_class": 0}):
        same = value("cce", ids, p, weight, **options)
        assert value("topk_cce(k=1)", ids, p, weight, **options) == pytest.approx(same, rel=1e-12)


@pytest.mark.parametrize(("k", "kept"), [(0.07, 7), (0.071, 8), (0.1, 10), (0.001, 1), (1 / 3, 34)])
def test_the_share_is_rounded_up(k, kept):
    rng = np.random.default_rng(0)
    ids, p = rng.integers(0, 3, (1, 10, 10)), reference.softmax(rng.normal(size=(1, 10, 10, 3)))
    hardest = np.sort(-np.log(np.take_along_axis(p, ids[..., None], -1).ravel()))[::-1][:kept]
    assert value("topk_cce", ids, p, k=k) == pytest.approx(hardest.mean(), rel=1e-12)
    _, gradient = value_and_gradient(L.TopKCCE(k=k), ids, p)
    assert np.count_nonzero(gradient) == kept


def test_the_share_is_that_of_the_counted_pixels(batch):
    ids, p = batch[0].copy(), batch[1]
    ids[0], ids[1, 0] = 255, 255  # 8 of 24 remain
    hardest = np.sort(-np.log(np.take_along_axis(p[1, 1:], ids[1, 1:, :, None], -1).ravel()))[::-1]
    assert value("topk_cce(k=0.5, ignore_class=255)", ids, p) == pytest.approx(hardest[:4].mean(), rel=1e-12)
    assert value("topk_cce(k=0.5, ignore_class=255, per_image=True)", ids, p) == pytest.approx(
        hardest[:4].mean() / 2, rel=1e-12
    )


def test_the_hardest_of_the_batch_may_all_be_in_one_image(batch):
    ids, p = batch
    p = np.stack([np.eye(3)[ids[0]] * 0.97 + 0.01, p[1]])
    easy, hard = (value("topk_cce(k=0.25)", ids[i : i + 1], p[i : i + 1]) for i in (0, 1))
    together, apart = (value("topk_cce(k=0.25)", ids, p, per_image=flag) for flag in (False, True))
    assert apart == pytest.approx((easy + hard) / 2, rel=1e-12)
    assert together == pytest.approx(value("topk_cce(k=0.5)", ids[1:], p[1:]), rel=1e-12)


def test_equally_hard_pixels_share_the_last_places():
    p = np.full((1, 1, 10, 2), 0.5)
    p[0, 0, :2] = [0.2, 0.8]
    result, gradient = value_and_gradient(L.TopKCCE(k=0.4), np.zeros((1, 1, 10), int), p)
    assert result == pytest.approx((-2 * np.log(0.2) - 2 * np.log(0.5)) / 4, rel=1e-12)
    np.testing.assert_allclose(gradient[0, 0, :, 0], [-5 / 4] * 2 + [-2 / 4 / 4] * 8, rtol=1e-12)


def test_a_pixel_map_weighs_before_the_choice():
    p = np.stack([np.full(4, 0.5), np.full(4, 0.5)], -1)[None, None]
    weight = np.array([[[1.0, 3.0, 0.0, 2.0]]])
    assert value("topk_cce(k=0.5)", IDS, p, weight) == pytest.approx(-2.5 * np.log(0.5), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_k_largest_of_any_values(dtype):
    from kseg.ops.rank import largest

    rng = np.random.default_rng(0)
    kinds = [
        rng.uniform(0, 1, 200),
        np.exp(rng.normal(0, 20, 200)),
        rng.integers(0, 4, 200),
        np.zeros(200),
        np.r_[np.inf, 1e-45, np.zeros(198)],
    ]
    values = np.array(kinds).astype(dtype)
    values[:, ::10] = -1  # not to be chosen
    for count in (1, 3, 50, 180):
        kept = largest(tf.constant(values)[:, None], tf.fill([5, 1, 1], tf.constant(count, tf.int64)))[:, 0].numpy()
        for row, of_row in zip(values, kept, strict=True):
            last = np.sort(row)[::-1][count - 1]
            assert of_row.sum() == pytest.approx(count, rel=1e-5)
            np.testing.assert_array_equal(of_row[row > last], 1)
            np.testing.assert_array_equal(of_row[row < last], 0)
            assert len(set(of_row[row == last])) == 1


# --- options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("generalized_dice", {"weighting": "cube"}, "'square', 'simple', 'uniform'"),
        ("generalized_dice", {"empty": "skip"}, "'empty' is not known"),
        ("asymmetric", {"beta": -1}, "at least 0"),
        ("combo", {"alpha": "auto"}, "a number"),
        ("combo", {"alpha": 1.5}, "at least 0 and at most 1"),
        ("combo", {"beta": 1.5}, "at least 0 and at most 1"),
        ("unified_focal", {"gamma": 1}, "below 1"),
        ("unified_focal", {"variant": "both"}, "'asymmetric', 'symmetric'"),
        ("unified_focal", {"focal_weight": 2}, "at most 1"),
        ("unified_focal", {"delta": -0.1}, "at least 0"),
        ("topk_cce", {"k": 0}, "above 0"),
        ("topk_cce", {"k": 10}, "at most 1"),
        ("mcc", {"squared": True}, "'squared' is not known"),
    ],
)
def test_options_that_do_not_fit(name, options, message):
    with pytest.raises(ValueError, match=message):
        L.get(name, **options)


def test_a_gamma_above_one_stays_good_for_focal():
    assert L.Focal(gamma=2).gamma == 2
    assert L.Asymmetric(beta=3).beta == 3


def test_generalized_dice_of_one_channel_without_background_is_dice():
    rng = np.random.default_rng(0)
    ids, logits = rng.integers(0, 2, (2, 3, 4)), rng.normal(size=(2, 3, 4, 1))
    alone = L.get("generalized_dice", from_logits=True, include_background=False)(ids, logits)
    both = L.get("generalized_dice", from_logits=True)(ids, logits)
    assert float(alone) == pytest.approx(float(L.get("dice", from_logits=True)(ids, logits)), rel=1e-9)
    assert float(alone) != pytest.approx(float(both), rel=1e-3)
