import keras
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

import kseg.metrics as M

SKLEARN = {
    M.DiceScore: sklearn.metrics.f1_score,
    M.IoU: sklearn.metrics.jaccard_score,
    M.Precision: sklearn.metrics.precision_score,
    M.Recall: sklearn.metrics.recall_score,
    M.MeanClassAccuracy: sklearn.metrics.recall_score,
}
ALL = [*SKLEARN, M.PixelAccuracy]


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, (4, 3, 5)), rng.normal(size=(4, 3, 5, 3)).astype("float32")


def feed(metric, *batch):
    metric.update_state(*batch)
    return float(metric.result())


def scores(function, truth, guess, classes=3, weight=None):
    return function(
        truth.ravel(),
        guess.ravel(),
        labels=range(classes),
        average=None,
        sample_weight=None if weight is None else weight.ravel(),
    )


@pytest.mark.parametrize("metric", SKLEARN)
def test_result_equals_scikit_learn(metric, batch):
    truth, logits = batch
    expected = scores(SKLEARN[metric], truth, logits.argmax(-1))
    default = expected if metric is M.MeanClassAccuracy else expected[1:]
    assert feed(metric(), truth, logits) == pytest.approx(np.mean(default), rel=1e-6)
    assert feed(metric(include_background=True), truth, logits) == pytest.approx(np.mean(expected), rel=1e-6)
    for k in range(3):
        assert feed(metric(class_id=k), truth, logits) == pytest.approx(expected[k], rel=1e-6)
    instance = metric()
    instance.update_state(truth, logits)
    np.testing.assert_allclose(instance.class_values(), expected, rtol=1e-12)


def test_pixel_accuracy_equals_scikit_learn(batch):
    truth, logits = batch
    guess = logits.argmax(-1)
    expected = sklearn.metrics.accuracy_score(truth.ravel(), guess.ravel())
    assert feed(M.PixelAccuracy(), truth, logits) == pytest.approx(expected)
    expected = sklearn.metrics.accuracy_score(truth.ravel() == 2, guess.ravel() == 2)
    assert feed(M.PixelAccuracy(class_id=2), truth, logits) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ALL)
def test_batch_by_batch_equals_all_at_once(metric, batch):
    truth, logits = batch
    at_once = feed(metric(), truth, logits)
    streamed = metric()
    for part in (slice(0, 1), slice(1, 4)):
        streamed.update_state(truth[part], logits[part])
    assert float(streamed.result()) == at_once
    streamed.reset_state()
    assert np.isnan(float(streamed.result()))
    assert feed(streamed, truth, logits) == at_once


@pytest.mark.parametrize("metric", ALL)
def test_one_channel_is_decided_by_the_threshold(metric, batch):
    truth, logits = (batch[0] > 0).astype("int32"), batch[1][..., :1]
    p = 1 / (1 + np.exp(-logits))
    for threshold in (0.5, 0.8):
        two_channels = np.stack([p[..., 0] <= threshold, p[..., 0] > threshold], -1).astype("float32")
        expected = feed(metric(), truth, two_channels)
        assert feed(metric(threshold=threshold), truth, p) == expected
        assert feed(metric(threshold=threshold, from_logits=True), truth, logits) == expected


@pytest.mark.parametrize("metric", ALL)
def test_all_kinds_of_labels_give_one_result(metric, batch):
    truth, logits = batch
    expected = feed(metric(), truth, logits)
    one_hot = np.eye(3, dtype=int)[truth]
    for labels in (truth[..., None], one_hot, one_hot.astype("float32"), truth.astype("uint8")):
        assert feed(metric(), labels, logits) == expected
    binary, score = (truth > 0).astype(int), logits[..., :1]
    expected = feed(metric(from_logits=True), binary, score)
    for labels in (binary.astype("float32"), binary[..., None].astype("float32"), binary > 0):
        assert feed(metric(from_logits=True), labels, score) == expected


@pytest.mark.parametrize("metric", ALL)
def test_ignored_pixels_are_not_counted(metric, batch):
    truth, logits = batch
    marked = truth.copy()
    marked[:, 0] = 255
    expected = feed(metric(), truth[:, 1:], logits[:, 1:])
    assert feed(metric(ignore_class=255), marked, logits) == expected


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_ignored_pixels_of_one_channel_are_not_counted(batch, kind):
    truth, logits = (batch[0] > 0).astype(kind), batch[1][..., :1]
    expected = feed(M.DiceScore(from_logits=True), truth[:, 1:], logits[:, 1:])
    marked = truth.copy()
    marked[:, 0] = 255
    assert feed(M.DiceScore(from_logits=True, ignore_class=255), marked, logits) == expected


@pytest.mark.parametrize("metric", SKLEARN)
def test_weights(metric, batch):
    truth, logits = batch
    per_image = np.array([1.0, 2.0, 0.5, 3.0])
    pixels = np.random.default_rng(1).uniform(0.5, 2, truth.shape)
    spread = np.broadcast_to(per_image[:, None, None], truth.shape)
    given_and_meant = [
        (per_image, spread),
        (per_image[:, None], spread),
        (pixels, pixels),
        (pixels[..., None], pixels),
    ]
    for given, weight in given_and_meant:
        expected = scores(SKLEARN[metric], truth, logits.argmax(-1), weight=weight)
        instance = metric()
        instance.update_state(truth, logits, sample_weight=given)
        np.testing.assert_allclose(instance.class_values(), expected, rtol=1e-9)


def test_volumes_are_counted_too():
    rng = np.random.default_rng(0)
    truth, logits = rng.integers(0, 3, (2, 2, 3, 4)), rng.normal(size=(2, 2, 3, 4, 3))
    expected = scores(sklearn.metrics.jaccard_score, truth, logits.argmax(-1))
    assert feed(M.IoU(), truth, logits) == pytest.approx(np.mean(expected[1:]), rel=1e-6)


def test_an_absent_class_is_left_out_and_counted():
    truth = np.array([[[0, 0, 1, 1]]])
    guess = np.eye(4)[[[[0, 1, 1, 1]]]]
    metric = M.IoU()
    assert feed(metric, truth, guess) == pytest.approx(2 / 3)
    assert int(metric.empty_classes()) == 2
    assert np.isnan(metric.class_values()[2:]).all()
    assert feed(M.IoU(empty=1.0), truth, guess) == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert np.isnan(feed(M.IoU(class_id=3), truth, guess))


@pytest.mark.parametrize("metric", ALL)
def test_no_pixels_no_score(metric):
    assert np.isnan(float(metric().result()))


@pytest.mark.parametrize("metric", ALL)
def test_round_trip_of_the_config(metric):
    options = {
        "from_logits": True,
        "threshold": 0.3,
        "class_id": 1,
        "ignore_class": 9,
        "include_background": True,
    }
    original = metric(**options, empty=0.5, name="mine")
    again = keras.metrics.deserialize(keras.metrics.serialize(original))
    assert type(again) is metric
    assert again.get_config() == original.get_config()
    default = keras.metrics.deserialize(keras.metrics.serialize(metric()))
    assert np.isnan(default.empty)
    assert default.include_background == metric().include_background


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_inside_fit_and_evaluate(batch, jit_compile, channels):
    truth, images = batch
    truth = truth if channels == 3 else (truth > 0).astype(int)
    inputs = keras.Input((3, 5, 3))
    model = keras.Model(inputs, keras.layers.Dense(channels)(inputs))
    metrics = [
        M.IoU(from_logits=True),
        M.PixelAccuracy(from_logits=True),
        M.DiceScore(from_logits=True, class_id=1),
    ]
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=metrics, jit_compile=jit_compile)
    labels = np.eye(3, dtype="float32")[truth] if channels == 3 else truth
    history = model.fit(images, labels, batch_size=3, verbose=0).history  # batches of 3 and 1
    scored = model.evaluate(images, labels, batch_size=3, verbose=0, return_dict=True)
    scores = model(images).numpy()
    for metric in metrics:
        expected = feed(type(metric).from_config(metric.get_config()), truth, scores)
        assert history[metric.name][0] == pytest.approx(expected, rel=1e-6)
        assert scored[metric.name] == pytest.approx(expected, rel=1e-6)


def test_a_compiled_model_with_metrics_saves_and_loads(batch, tmp_path):
    truth, images = batch
    inputs = keras.Input((3, 5, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    labels = np.eye(3, dtype="float32")[truth]
    more = [
        M.ThresholdedIoU(),
        M.BoundaryIoU(),
        M.BrierScore(from_logits=True),
        M.DiceScore(per_image=True, name="each"),
    ]
    metrics = [M.IoU(), M.DiceScore(ignore_class=0), M.ExpectedCalibrationError(from_logits=True), *more]
    model.compile("sgd", "mse", metrics=metrics)
    expected = model.evaluate(images, labels, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(images, labels, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-6)
    assert len(expected) == 1 + len(metrics)


def test_a_million_updates_would_still_count_single_pixels():
    metric = M.PixelAccuracy()
    metric.update_state(np.zeros((1, 1, 2), int), np.eye(2)[[[[0, 0]]]])
    metric.matrix.assign(metric.matrix + 2.0**25)  # float32 cannot hold 2^25 + 1
    before = float(tf.reduce_sum(metric.matrix))
    metric.update_state(np.zeros((1, 1, 1), int), np.eye(2)[[[[1]]]])
    assert float(tf.reduce_sum(metric.matrix)) == before + 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: M.IoU(threshold=0), "threshold=0 is out of range"),
        (lambda: M.IoU(threshold=1.5), "threshold=1.5 is out of range"),
        (
            lambda: feed(M.IoU(class_id=3), np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 3))),
            "class_id=3.*0 to 2",
        ),
        (
            lambda: feed(M.IoU(), np.zeros((1, 2, 3), int), np.zeros((1, 2, 2, 3))),
            "same batch and spatial sizes",
        ),
    ],
)
def test_refused_with_a_message_that_helps(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("empty", [float("nan"), 1.0])
@pytest.mark.parametrize("wrong", [7, -1])
def test_a_label_outside_the_classes_gives_nan(metric, empty, wrong):
    truth = np.zeros((1, 2, 2), int)
    truth[0, 0, 0] = wrong
    assert np.isnan(feed(metric(empty=empty), truth, np.zeros((1, 2, 2, 3))))
    assert not np.isnan(feed(metric(empty=empty, ignore_class=wrong, class_id=0), truth, np.zeros((1, 2, 2, 3))))


def test_a_float_mask_of_255_for_one_channel_gives_nan():
    mask = np.zeros((1, 2, 2, 1), np.float32)
    mask[0, 0, 0] = 255
    for ignore, known in ((None, False), (255, True)):
        metric = M.PixelAccuracy(ignore_class=ignore)
        metric.update_state(mask, np.zeros((1, 2, 2, 1), np.float32))
        assert np.isfinite(float(metric.result())) == known


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["int8", "int32", "float32"])
def test_pixels_of_class_minus_one_can_be_ignored(batch, metric, channels, kind):
    truth, logits = (batch[0] % max(channels, 2)).astype(kind), batch[1][..., :channels]
    expected = feed(metric(from_logits=True), truth[:, 1:], logits[:, 1:])
    assert expected != feed(metric(from_logits=True), truth, logits)
    marked = truth.copy()
    marked[:, 0] = -1
    for labels in (marked, marked[..., None]):
        assert feed(metric(from_logits=True, ignore_class=-1), labels, logits) == expected
        assert np.isnan(feed(metric(from_logits=True), labels, logits))


def test_a_batch_without_images_changes_nothing():
    metric = M.IoU()
    metric.update_state(np.array([[[0, 1]]]), np.array([[[[2.0, 1.0], [1.0, 2.0]]]]))
    metric.update_state(np.zeros((0, 1, 2), int), np.zeros((0, 1, 2, 2)))
    assert float(metric.result()) == 1.0
