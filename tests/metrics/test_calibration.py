"""Calibration against scikit-learn, against formulas written out, and streamed against pure."""

import keras
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf
from scipy import special
from sklearn.calibration import calibration_curve

import kseg.metrics as M

BINS = 7


def sample(classes, seed=0, shape=(3, 6, 20)):
    """Over-confident logits `[B, *S, K]` and ids drawn from flatter probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (*shape, classes)).astype(np.float32)
    p = special.softmax(logits / 2, -1) if classes > 1 else special.expit(logits / 2)
    edges = np.cumsum(p, -1) if classes > 1 else 1 - p
    return np.minimum((rng.random((*shape, 1)) > edges).sum(-1), max(classes, 2) - 1), logits


def probabilities(logits):
    return special.expit(logits) if logits.shape[-1] == 1 else special.softmax(logits, -1)


def ece_by_hand(confidence, right, weight, bins):
    """The sum over bins (i / bins, (i + 1) / bins], pixel by pixel."""
    total = 0.0
    for i in range(bins):
        inside = [j for j, c in enumerate(confidence) if i / bins < c <= (i + 1) / bins or (i == 0 and c == 0)]
        if inside:
            w = weight[inside]
            total += w.sum() * abs(np.average(right[inside], weights=w) - np.average(confidence[inside], weights=w))
    return total / weight.sum()


# --- pure functions


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("classes", "k"), [(1, 1), (3, 0), (3, 2)])
def test_the_curve_of_a_class_is_that_of_scikit_learn(classes, k, adaptive):
    truth, logits = sample(classes)
    p = probabilities(logits)
    curve = M.reliability_curve(truth, p, bins=BINS, class_id=k, adaptive=adaptive)
    of_class = p[..., 0 if classes == 1 else k].ravel()
    strategy = "quantile" if adaptive else "uniform"
    accuracy, confidence = calibration_curve(truth.ravel() == k, of_class, n_bins=BINS, strategy=strategy)
    filled = curve.weight > 0
    np.testing.assert_allclose(curve.accuracy[filled], accuracy, rtol=1e-6)
    np.testing.assert_allclose(curve.confidence[filled], confidence, rtol=1e-6)
    assert curve.weight.sum() == truth.size
    if adaptive:
        assert np.ptp(curve.weight) <= 1


@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_error_is_the_formula(classes, weighted):
    truth, logits = sample(classes, 1)
    weight = np.random.default_rng(2).integers(0, 3, truth.shape) if weighted else None
    full = np.ones(truth.shape) if weight is None else weight
    p = probabilities(logits.astype(np.float64))
    p = np.concatenate([1 - p, p], -1) if classes == 1 else p
    confidence, right = p.max(-1).ravel(), (p.argmax(-1) == truth).ravel()
    expected = ece_by_hand(confidence, right, full.ravel(), BINS)
    options = {"bins": BINS, "sample_weight": weight, "from_logits": True}
    assert M.expected_calibration_error(truth, logits, **options) == pytest.approx(expected, rel=1e-9)
    expected = ece_by_hand(p[..., 1].ravel(), truth.ravel() == 1, full.ravel(), BINS)
    assert M.expected_calibration_error(truth, logits, class_id=1, **options) == pytest.approx(expected, rel=1e-9)


def test_a_worked_example():
    truth, p = np.array([0, 1, 1, 1]), np.array([0.1, 0.6, 0.9, 0.9])
    # Of the class 1: bins of width 0.2 hold {0.1}, {0.6}, {0.9, 0.9}; their gaps are 0.1, 0.4, 0.1, 0.1.
    curve = M.reliability_curve(truth, p, bins=5, class_id=1)
    assert curve.ece() == pytest.approx((0.1 + 0.4 + 0.1 + 0.1) / 4)
    assert curve.mce() == pytest.approx(0.4)
    np.testing.assert_allclose(curve.accuracy, [0, np.nan, 1, np.nan, 1])
    np.testing.assert_allclose(curve.confidence, [0.1, np.nan, 0.6, np.nan, 0.9])
    # Of the top label: confidences 0.9 (right), 0.6, 0.9, 0.9, all right.
    assert M.expected_calibration_error(truth, p, bins=5) == pytest.approx((0.4 + 3 * 0.1) / 4)
    assert M.brier_score(truth, p) == pytest.approx((0.01 + 0.16 + 0.01 + 0.01) / 4)


def test_probabilities_on_the_edge_of_a_bin_belong_below_it():
    edges = np.arange(11) / 10
    curve = M.reliability_curve(np.ones(11, int), edges, bins=10, class_id=1)
    assert curve.weight.tolist() == [2] + 9 * [1]
    np.testing.assert_allclose(curve.confidence, [0.05, *edges[2:]])
    metric = M.ExpectedCalibrationError(bins=10, class_id=1)
    metric.update_state(np.ones((1, 1, 11), int), edges[None, None, :, None])
    assert metric.curve().weight.tolist() == curve.weight.tolist()


@pytest.mark.parametrize("classes", [1, 2, 3, 5])
def test_the_brier_score_is_that_of_scikit_learn(classes):
    truth, logits = sample(classes, 3)
    p = probabilities(logits.astype(np.float64))
    weight = np.random.default_rng(0).random(truth.shape)
    flat = p[..., 0].ravel() if classes == 1 else p.reshape(-1, classes)
    theirs = {
        "labels": None if classes == 1 else list(range(classes)),
        "sample_weight": weight.ravel(),
    }
    expected = sklearn.metrics.brier_score_loss(truth.ravel(), flat, **theirs)
    ours = M.brier_score(truth, logits, sample_weight=weight, from_logits=True)
    assert ours == pytest.approx(expected, rel=1e-12)
    one = sklearn.metrics.brier_score_loss(truth.ravel() == 1, p[..., min(classes - 1, 1)].ravel())
    assert M.brier_score(truth, p, class_id=1) == pytest.approx(one, rel=1e-12)


def test_one_channel_and_two_give_the_same():
    truth, logits = sample(1)
    p = probabilities(logits.astype(np.float64))
    two = np.concatenate([1 - p, p], -1)
    for score in (M.brier_score, M.expected_calibration_error):
        for class_id in (None, 0, 1):
            expected = score(truth, two, class_id=class_id)
            assert score(truth, p, class_id=class_id) == pytest.approx(expected)
            assert score(truth, p[..., 0], class_id=class_id) == pytest.approx(expected)


def test_a_calibrated_forecast_has_no_error_and_a_sure_one_all_of_it():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    assert M.expected_calibration_error(rng.random(200_000) < p, p, class_id=1) < 0.01
    wrong = np.zeros(10, int)
    assert M.expected_calibration_error(wrong, np.ones(10)) == 1
    assert M.brier_score(wrong, np.ones(10)) == 1
    assert M.brier_score(wrong, np.tile([0, 1.0, 0], (10, 1))) == 2


def test_ignored_pixels_are_not_counted():
    truth, logits = sample(3)
    marked, odd = truth.copy(), logits.copy()
    marked[:, 0], odd[:, 0] = 255, np.nan
    for score in (M.brier_score, M.expected_calibration_error):
        expected = score(truth[:, 1:], logits[:, 1:], from_logits=True)
        assert score(marked, odd, from_logits=True, ignore_class=255) == expected
        assert score(truth, odd, from_logits=True, sample_weight=marked != 255) == expected
    for score in (M.brier_score, M.expected_calibration_error):
        assert np.isnan(score(np.full((2, 2), 9), np.ones((2, 2)), ignore_class=9))
    assert np.isnan(M.reliability_curve(np.zeros(0, int), np.zeros(0)).mce())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_true": np.zeros(4)}, "dtype float64.*take argmax"),
        ({"y_prob": np.zeros(5)}, r"\(4,\), y_prob \(5,\)"),
        ({"y_prob": np.full((4, 3), 1.5)}, "from 1.5 to 1.5.*from_logits=True"),
        ({"y_prob": np.full(4, np.nan)}, "nan.*from_logits"),
        ({"y_true": np.full(4, 3)}, "from 3 to 3. Expected 0 to 1"),
        ({"y_true": np.full(4, -1)}, "Expected 0 to 1"),
        ({"class_id": 2}, "class_id=2.*0 to 1"),
        ({"bins": 0}, "bins=0"),
        ({"bins": 2.5}, "bins=2.5"),
        ({"adaptive": True, "sample_weight": np.ones(4)}, "adaptive=True takes no sample_weight"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        M.reliability_curve(**{"y_true": np.zeros(4, int), "y_prob": np.zeros(4), **change})


# --- the Keras metrics

PURE = {M.ExpectedCalibrationError: M.expected_calibration_error, M.BrierScore: M.brier_score}


def streamed(metric, *batch, parts=(slice(0, 2), slice(2, 3)), **options):
    instance = metric(from_logits=True, **options)
    for part in parts:
        instance.update_state(*(array[part] for array in batch))
    return float(instance.result())


@pytest.mark.parametrize("metric", PURE)
@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("class_id", [None, 0, 1])
@pytest.mark.parametrize("shape", [(3, 6, 20), (3, 4, 5, 6)])
def test_streamed_equals_pure(metric, classes, class_id, shape):
    truth, logits = sample(classes, 4, shape)
    expected = PURE[metric](truth, logits, class_id=class_id, from_logits=True)
    assert streamed(metric, truth, logits, class_id=class_id) == pytest.approx(expected, rel=1e-5)
    p = metric(class_id=class_id)
    p.update_state(truth, probabilities(logits))
    assert float(p.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("metric", PURE)
@pytest.mark.parametrize("classes", [1, 3])
def test_streamed_labels_weights_and_ignored_pixels(metric, classes):
    truth, logits = sample(classes, 5)
    expected = PURE[metric](truth, logits, from_logits=True)
    soft = truth.astype(np.float32) if classes == 1 else np.eye(classes, dtype=np.float32)[truth]
    for labels in (truth[..., None], soft, truth.astype(np.uint8)):
        assert streamed(metric, labels, logits) == pytest.approx(expected, rel=1e-5)
    images, pixels = np.array([1.0, 0.0, 2.5]), np.random.default_rng(0).random(truth.shape)
    for given, weight in ((images, images[:, None, None]), (images[:, None], images[:, None, None]), (pixels, pixels)):
        expected = PURE[metric](truth, logits, from_logits=True, sample_weight=weight)
        assert streamed(metric, truth, logits, given) == pytest.approx(expected, rel=1e-5)
    marked, odd = truth.copy(), logits.copy()
    marked[:, 0], odd[:, 0] = 255, np.nan
    expected = PURE[metric](truth[:, 1:], logits[:, 1:], from_logits=True)
    assert streamed(metric, marked, odd, ignore_class=255) == pytest.approx(expected, rel=1e-5)


def test_the_streamed_curve_is_the_pure_one():
    truth, logits = sample(3)
    metric = M.ExpectedCalibrationError(from_logits=True, bins=BINS)
    metric.update_state(truth, logits)
    expected = M.reliability_curve(truth, logits, from_logits=True, bins=BINS)
    for ours, theirs in zip(metric.curve(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert float(metric.result()) == pytest.approx(expected.ece(), rel=1e-6)
    metric.reset_state()
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize("metric", PURE)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_extreme_logits_of_any_type(metric, dtype):
    truth, signs = np.array([[[0, 1, 0]]]), np.array([[[[-1.0], [1.0], [1.0]]]])
    instance = metric(from_logits=True)
    instance.update_state(truth, tf.cast(1e4 * signs, dtype))
    assert float(instance.result()) == pytest.approx(1 / 3)


@pytest.mark.parametrize("metric", PURE)
@pytest.mark.parametrize("fault", ["label", "nan", "logits"])
def test_what_is_no_probability_or_class_gives_nan(metric, fault):
    truth, p = np.zeros((1, 2, 2), int), np.full((1, 2, 2, 2), 0.5)
    if fault == "label":
        truth[0, 0, 0] = 2
    else:
        p[0, 0, 0, 1] = np.nan if fault == "nan" else 3.0
    instance = metric()
    instance.update_state(truth, p)
    assert np.isnan(float(instance.result()))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("classes", [1, 3])
def test_inside_fit(jit_compile, policy, classes):
    truth, logits = sample(classes)
    inputs = keras.Input(logits.shape[1:])
    outputs = keras.layers.Activation("linear", dtype=policy)(inputs)
    model = keras.Model(inputs, outputs)
    metrics = [M.ExpectedCalibrationError(from_logits=True, class_id=1), M.BrierScore(from_logits=True)]
    model.compile("sgd", "mse", metrics=metrics, jit_compile=jit_compile)
    labels = np.eye(classes, dtype=np.float32)[truth] if classes > 1 else truth
    scored = model.evaluate(logits, labels, batch_size=2, verbose=0, return_dict=True)
    tolerance = 1e-5 if policy == "float32" else 2e-2
    expected = M.expected_calibration_error(truth, logits, from_logits=True, class_id=1)
    assert scored["ece"] == pytest.approx(expected, rel=tolerance)
    assert scored["brier"] == pytest.approx(M.brier_score(truth, logits, from_logits=True), rel=tolerance)


@pytest.mark.parametrize("metric", PURE)
def test_open_sizes_and_empty_batches(metric):
    truth, logits = sample(3)
    instance = metric(from_logits=True)
    shape = (None, None, None)
    step = tf.function(
        instance.update_state,
        input_signature=[tf.TensorSpec(shape, tf.int64), tf.TensorSpec((*shape, 3), tf.float32)],
    )
    step(truth, logits)
    step(truth[:0], logits[:0])
    assert float(instance.result()) == pytest.approx(PURE[metric](truth, logits, from_logits=True), rel=1e-5)


@pytest.mark.parametrize("metric", PURE)
def test_round_trip_of_the_config(metric):
    own = {"bins": 4} if metric is M.ExpectedCalibrationError else {}
    original = metric(from_logits=True, class_id=1, ignore_class=9, name="mine", **own)
    again = keras.metrics.deserialize(keras.metrics.serialize(original))
    assert type(again) is metric and again.get_config() == original.get_config()
    assert again.get_config().items() >= own.items()


def test_a_million_updates_would_still_count_single_pixels():
    metric = M.BrierScore()
    metric.update_state(np.zeros((1, 1, 1), int), np.ones((1, 1, 1, 1)))
    metric.sums.assign(metric.sums + 2.0**25)  # float32 cannot hold 2^25 + 1
    before = np.array(metric.sums)
    metric.update_state(np.zeros((1, 1, 1), int), np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(np.array(metric.sums), before + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: M.ExpectedCalibrationError(bins=0), "bins=0"),
        (lambda: streamed(M.ExpectedCalibrationError, *sample(3), class_id=3), "class_id=3.*0 to 2"),
        (lambda: streamed(M.BrierScore, *sample(3), class_id=-1), "class_id=-1.*0 to 2"),
    ],
)
def test_refused_with_a_message_that_helps(make, message):
    with pytest.raises(ValueError, match=message):
        make()
