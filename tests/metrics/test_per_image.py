"""`per_image=True`: the mean over images of each image's score; and the words of `empty`."""

import keras
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

import kseg.metrics as M

RATIOS = {
    M.DiceScore: M.dice, M.IoU: M.iou, M.Precision: M.precision, M.Recall: M.recall,
    M.MeanClassAccuracy: M.class_accuracies, M.PixelAccuracy: M.accuracy,
}  # fmt: skip


@pytest.fixture(scope="module", params=[(5, 7), (2, 4, 5)], ids=["images", "volumes"])
def batch(request):
    """Ids of four classes, of which the last is in some images only, and logits."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, (4, *request.param))
    truth[1].flat[:6] = 3
    logits = rng.normal(size=(4, *request.param, 4)).astype(np.float32)
    logits[[0, 2], ..., 3] = -9
    return truth, logits


def counts_of(truth, logits, **options):
    return [M.confusion_counts(t, g.argmax(-1), 4, **options) for t, g in zip(truth, logits, strict=True)]


def expected_of(metric, counts):
    """Scores `[image, class]` and the mean of each image."""
    values = np.array([RATIOS[metric](c) for c in counts])
    if metric is M.PixelAccuracy:
        return values, np.array([M.pixel_accuracy(c) for c in counts])
    first = 0 if metric is M.MeanClassAccuracy else 1
    return values, np.nanmean(values[:, first:], axis=1)


@pytest.mark.parametrize("metric", RATIOS)
def test_it_is_the_mean_of_the_images(metric, batch):
    values, means = expected_of(metric, counts_of(*batch))
    streamed = metric(per_image=True)
    for part in (slice(0, 3), slice(3, 4)):
        streamed.update_state(batch[0][part], batch[1][part])
    assert float(streamed.result()) == pytest.approx(means.mean(), rel=1e-6)
    np.testing.assert_allclose(streamed.class_values(), np.nanmean(values, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(streamed.empty_images(), np.isnan(values).sum(0))
    assert np.isnan(values).any() or metric is M.PixelAccuracy
    one = metric(per_image=True, class_id=3)
    one.update_state(*batch)
    assert float(one.result()) == pytest.approx(np.nanmean(values[:, 3]), rel=1e-6)


@pytest.mark.parametrize("metric", RATIOS)
def test_it_is_not_the_score_of_all_pixels(metric, batch):
    """Counts are still those of all pixels, whatever the mean is taken over."""
    per_image, pooled = metric(per_image=True), metric()
    for instance in (per_image, pooled):
        instance.update_state(*batch)
    for ours, theirs in zip(per_image.counts(), pooled.counts(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if metric is not M.PixelAccuracy:
        assert float(per_image.result()) != pytest.approx(float(pooled.result()), rel=1e-6)


@pytest.mark.parametrize("metric", RATIOS)
def test_weights_of_images_weigh_the_mean_and_maps_the_pixels(metric, batch):
    truth, logits = batch
    weight = np.array([1.0, 0.5, 0.0, 3.0])
    _, means = expected_of(metric, counts_of(truth, logits))
    for given in (weight, weight[:, None]):
        streamed = metric(per_image=True)
        streamed.update_state(truth, logits, sample_weight=given)
        assert float(streamed.result()) == pytest.approx(np.average(means, weights=weight), rel=1e-6)
    doubled = metric(per_image=True)
    doubled.update_state(truth, logits, sample_weight=np.where(np.arange(truth.shape[-1]) < 2, 2.0, 1.0) + 0 * truth)
    twice = [np.concatenate([a, a[..., :2, :] if a.ndim > truth.ndim else a[..., :2]], axis=truth.ndim - 1)
             for a in (truth, logits)]  # fmt: skip
    plain = metric(per_image=True)
    plain.update_state(*twice)
    assert float(doubled.result()) == pytest.approx(float(plain.result()), rel=1e-6)


def test_an_image_without_pixels_that_count_is_left_out(batch):
    truth, logits = batch
    marked = truth.copy()
    marked[1] = 255
    for metric in RATIOS:
        expected, streamed = metric(per_image=True), metric(per_image=True, ignore_class=255)
        expected.update_state(np.delete(truth, 1, 0), np.delete(logits, 1, 0))
        streamed.update_state(marked, logits)
        assert float(streamed.result()) == pytest.approx(float(expected.result()), rel=1e-6)


def test_a_label_outside_the_classes_gives_nan(batch):
    truth, logits = batch
    wrong = truth.copy()
    wrong[0].flat[0] = 7
    for metric in (*RATIOS, M.ThresholdedIoU):
        streamed = metric(per_image=True, empty="one")
        streamed.update_state(wrong, logits)
        assert np.isnan(float(streamed.result()))
        unweighted = metric()
        unweighted.update_state(wrong, logits, sample_weight=np.array([0.0, 1.0, 1.0, 1.0]))
        assert np.isfinite(float(unweighted.result()))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_inside_fit(batch, jit_compile):
    truth, images = batch
    inputs = keras.Input(images.shape[1:])
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    metrics = [M.DiceScore(per_image=True), M.PixelAccuracy(per_image=True), M.IoU(per_image=True, class_id=1)]
    model.compile("sgd", "mse", metrics=metrics, jit_compile=jit_compile)
    labels = np.eye(4, dtype=np.float32)[truth]
    scored = model.evaluate(images, labels, batch_size=3, verbose=0, return_dict=True)
    for metric in metrics:
        values, means = expected_of(type(metric), counts_of(truth, images))
        expected = np.nanmean(values[:, 1]) if metric.class_id else means.mean()
        assert scored[metric.name] == pytest.approx(expected, rel=1e-6)


def test_open_sizes_and_empty_batches(batch):
    truth, logits = batch
    metric = M.DiceScore(per_image=True)
    metric.build(4)
    open_shape = [None] * truth.ndim
    step = tf.function(
        metric.update_state,
        input_signature=[tf.TensorSpec(open_shape, tf.int64), tf.TensorSpec([*open_shape, 4], tf.float32)],
    )
    step(truth, logits)
    step(truth[:0], logits[:0])
    assert float(metric.result()) == pytest.approx(expected_of(M.DiceScore, counts_of(truth, logits))[1].mean())


# --- what an empty class scores


def test_the_words_of_empty_are_the_same_everywhere():
    counts = M.confusion_counts(np.array([0, 1]), np.array([0, 1]), 3)
    for ratio in (M.precision, M.recall, M.f1, M.iou):
        for word, value in (("nan", np.nan), ("zero", 0), ("one", 1), (0.25, 0.25), (np.float32(2), 2)):
            assert ratio(counts, empty=word)[2] == pytest.approx(value, nan_ok=True)
            tensors = M.Counts(*map(tf.constant, counts))
            assert float(ratio(tensors, empty=word)[2]) == pytest.approx(value, nan_ok=True)
    truth, scores = np.array([[[0, 1]]]), np.eye(3)[[[[0, 1]]]]
    for metric in (M.DiceScore, M.IoU, M.Precision, M.Recall, M.ThresholdedIoU, M.BoundaryIoU):
        for word, value in (("zero", 0), ("one", 1), (0.25, 0.25)):
            for per_image in (False, True):
                instance = metric(empty=word, per_image=per_image)
                instance.update_state(truth, scores)
                assert float(instance.result()) == pytest.approx((1 + value) / 2)
                assert instance.get_config()["empty"] == value
        left_out = metric()
        left_out.update_state(truth, scores)
        assert float(left_out.result()) == 1 and int(left_out.empty_classes()) == 1
        assert left_out.get_config()["empty"] == "nan"


@pytest.mark.parametrize("empty", ["skip", "Nan", "", None, True, [1], "smooth"])
def test_other_words_are_refused_with_those_that_fit(empty):
    calls = [lambda: M.dice(M.Counts(0, 0, 0, 0), empty), lambda: M.DiceScore(empty=empty)]
    for call in calls:
        with pytest.raises(ValueError, match="empty=.*Expected 'nan' .*, 'zero', 'one', or a number"):
            call()


def test_scikit_learn_agrees_on_zero_and_one():
    truth, guess = np.array([0, 1, 1]), np.array([0, 1, 0])
    counts = M.confusion_counts(truth, guess, 4)
    for word, number in (("zero", 0), ("one", 1), ("nan", np.nan)):
        theirs = sklearn.metrics.f1_score(truth, guess, labels=range(4), average=None, zero_division=number)
        np.testing.assert_allclose(M.f1(counts, empty=word), theirs)
