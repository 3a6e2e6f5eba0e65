"""The thresholded IoU score of S3.10: worked values, exact edges, streamed against pure."""

from decimal import Decimal
from math import floor

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg.metrics as M


def iou_of(hits, union):
    """Counts of an image whose IoU is hits / union."""
    return M.Counts(np.array(hits), np.array(0), np.array(union - hits), np.array(0))


@pytest.mark.parametrize("convert", [np.asarray, tf.constant], ids=["arrays", "tensors"])
@pytest.mark.parametrize(
    ("iou", "score", "inclusive"),
    [("0.93", 0.9, 0.9), ("0.95", 0.9, 1.0), ("0.951", 1.0, 1.0), ("0.5", 0.0, 0.1), ("0.90", 0.8, 0.9),
     ("0.55", 0.1, 0.2), ("0.549", 0.1, 0.1), ("0", 0.0, 0.0), ("1", 1.0, 1.0)],
)  # fmt: skip
def test_worked_values(iou, score, inclusive, convert):
    """S3.10: 0.93 -> 0.9, 0.95 -> 0.9, 0.951 -> 1.0, 0.5 -> 0; the variant gives 0.90 -> 0.9."""
    counts = M.Counts(*map(convert, iou_of(int(Decimal(iou) * 1000), 1000)))
    assert float(M.thresholded_iou(counts)) == pytest.approx(score, abs=1e-12)
    assert float(M.thresholded_iou(counts, strict=False)) == pytest.approx(inclusive, abs=1e-12)


def test_edges_are_exact_for_every_union():
    """An IoU of n / 20 passes exactly the thresholds below it, also where n / 20 as a float lies above or below."""
    for union in range(20, 2020, 20):
        for twentieths in range(21):
            counts = iou_of(twentieths * union // 20, union)
            below = min(max(twentieths - 10, 0), 10)
            assert M.thresholded_iou(counts) * 10 == pytest.approx(below, abs=1e-9)


def test_the_variant_is_the_floor_formula():
    for hits in range(1000):
        exact = floor((Decimal(hits) / 1000 - Decimal("0.45")) * 20)
        expected = min(max(exact, 0), 10) / 10
        assert M.thresholded_iou(iou_of(hits, 1000), strict=False) == pytest.approx(expected, abs=1e-12)


def test_thresholds_are_the_decimals_they_look_like():
    rounded = np.arange(0.5, 1, 0.05)
    assert rounded.tolist() != [n / 20 for n in range(10, 20)]
    for hits in range(10, 21):
        counts = iou_of(hits, 20)
        assert M.thresholded_iou(counts, rounded) == M.thresholded_iou(counts)
    assert M.thresholded_iou(iou_of(1, 3), [0.25, 1 / 3, 0.5]) == pytest.approx(1 / 3)


def test_leading_axes_and_empty_masks():
    counts = M.Counts(np.array([[9, 0], [19, 0]]), np.array([[1, 0], [1, 4]]), np.zeros((2, 2), int), np.zeros((2, 2)))
    np.testing.assert_allclose(M.thresholded_iou(counts), [[0.8, np.nan], [0.9, 0]])
    assert M.thresholded_iou(counts, empty="one")[0, 1] == 1  # as the TGS competition has it
    assert np.isnan(M.thresholded_iou(M.Counts(*np.full((4, 1), np.nan)), empty="one")).all()


@pytest.mark.parametrize("thresholds", [[], [0.5, 1.5], [float("nan")]])
def test_thresholds_outside_are_refused(thresholds):
    for call in (lambda: M.thresholded_iou(iou_of(1, 2), thresholds), lambda: M.ThresholdedIoU(thresholds=thresholds)):
        with pytest.raises(ValueError, match="thresholds=.*in \\[0, 1\\]"):
            call()


# --- the Keras metric


@pytest.fixture(scope="module")
def images():
    """Six images of one line of 20 pixels, their IoU (14 to 19) / 20; probabilities of one channel."""
    truth, p = np.ones((6, 1, 20), np.int32), np.ones((6, 1, 20, 1), np.float32)
    for i in range(6):
        p[i, 0, : 6 - i] = 0
    return truth, p


def test_streamed_is_the_mean_over_images(images):
    truth, p = images
    metric = M.ThresholdedIoU()
    for part in (slice(0, 4), slice(4, 6)):
        metric.update_state(truth[part], p[part])
    assert float(metric.result()) == pytest.approx(np.mean([0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))
    together = M.ThresholdedIoU(per_image=False)
    together.update_state(truth, p)  # 99 / 120 = 0.825
    assert float(together.result()) == pytest.approx(0.7)
    inclusive = M.ThresholdedIoU(strict=False, thresholds=[0.75, 0.9])
    inclusive.update_state(truth, p)
    assert float(inclusive.result()) == pytest.approx(np.mean([0, 0.5, 0.5, 0.5, 1, 1]))


def test_weights_of_images_do_not_blur_the_edges(images):
    truth, p = images
    weight = np.array([0.1, 0.3, 0.7, 0.0, 1.1, 2.3])
    metric = M.ThresholdedIoU()
    metric.update_state(truth, p, sample_weight=weight)
    assert float(metric.result()) == pytest.approx(np.average([0.4, 0.5, 0.6, 0.7, 0.8, 0.9], weights=weight))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_inside_fit(images, jit_compile):
    truth, p = images
    inputs = keras.Input((1, 20, 1))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    model.compile("sgd", "mse", metrics=[M.ThresholdedIoU(), M.IoU(per_image=True)], jit_compile=jit_compile)
    scored = model.evaluate(p, truth, batch_size=4, verbose=0, return_dict=True)
    assert scored["iou_score"] == pytest.approx(0.65)
    assert scored["iou"] == pytest.approx(np.mean(np.arange(14, 20) / 20))


def test_round_trip_of_the_config():
    original = M.ThresholdedIoU(thresholds=np.array([0.5, 0.75]), strict=False, empty="one", threshold=0.3)
    again = keras.metrics.deserialize(keras.metrics.serialize(original))
    assert again.get_config() == original.get_config()
    assert (again.thresholds, again.strict, again.per_image) == ((0.5, 0.75), False, True)
