"""Boundary IoU against distances to the background, and by hand; streamed against pure."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

import kseg.metrics as M


def smooth(shape, seed):
    rng = np.random.default_rng(seed)
    noise = [ndimage.gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(2)]
    return noise[0] > 0, noise[0] + noise[1] > 0


def near(mask, width):
    """Voxels at most `width` steps from the background, by the chessboard distance transform."""
    steps = ndimage.distance_transform_cdt(np.pad(mask, 1), metric="chessboard")
    return mask & (steps[(slice(1, -1),) * mask.ndim] <= width)


@pytest.mark.parametrize("shape", [(20, 31), (7, 12, 15), (1, 9)])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_it_is_the_iou_of_what_is_near_the_background(shape, width):
    true, pred = smooth(shape, 0)
    a, b = near(true, width), near(pred, width)
    assert M.boundary_iou(true, pred, width=width) == pytest.approx((a & b).sum() / (a | b).sum())


def test_two_squares_by_hand():
    true, pred = np.zeros((2, 12, 12), bool)
    true[1:7, 1:7] = pred[2:8, 1:7] = True
    # Rings of 20 pixels; they share the two sides without the rows that only one has, and cross nowhere else.
    assert M.boundary_iou(true, pred, width=1) == pytest.approx(10 / 30)
    assert M.boundary_iou(true, pred, width=3) == pytest.approx(30 / 42)  # the whole squares


def test_the_width_is_a_share_of_the_diagonal():
    true, pred = smooth((90, 120), 1)  # diagonal 150
    assert M.boundary_iou(true, pred) == M.boundary_iou(true, pred, width=3)
    assert M.boundary_iou(true, pred, dilation=0.05) == M.boundary_iou(true, pred, width=8)  # 7.5 rounds to even
    assert M.boundary_iou(true, pred, dilation=0.001) == M.boundary_iou(true, pred, width=1)


def test_large_objects_do_not_hide_a_shifted_contour():
    """What the measure is for: the IoU of a shifted square grows with its size, its boundary IoU does not."""
    scores = []
    for size in (20, 80):
        true, pred = np.zeros((2, 100, 100), bool)
        true[2 : 2 + size, 2 : 2 + size] = pred[5 : 5 + size, 2 : 2 + size] = True
        iou = (true & pred).sum() / (true | pred).sum()
        scores.append((iou, M.boundary_iou(true, pred, width=2)))
    (small, small_boundary), (large, large_boundary) = scores
    assert large - small > 0.15 > abs(large_boundary - small_boundary)


def test_empty_masks():
    empty, dot = np.zeros((2, 4, 4), bool)
    dot[1, 1] = True
    assert np.isnan(M.boundary_iou(empty, empty))
    assert M.boundary_iou(empty, empty, empty="one") == 1
    assert M.boundary_iou(empty, dot) == M.boundary_iou(dot, empty) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width=0"),
        ({"width": 1.5}, "width=1.5"),
        ({"dilation": 0}, "dilation=0"),
        ({"dilation": 1}, "dilation=1"),
        ({"empty": "penalise_fp"}, "empty='penalise_fp'"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        M.boundary_iou(np.zeros((3, 3)), np.zeros((3, 3)), **options)
    with pytest.raises(ValueError, match=message):
        M.BoundaryIoU(**options)


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        M.boundary_iou(np.zeros((3, 3)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="holds 2"):
        M.boundary_iou(np.full((3, 3), 2), np.zeros((3, 3)))


# --- the Keras metric


@pytest.fixture(scope="module", params=[(9, 13), (4, 6, 7)], ids=["images", "volumes"])
def batch(request):
    """Ids of three classes and logits of their noisy copies."""
    rng = np.random.default_rng(2)
    noise = ndimage.gaussian_filter(rng.normal(size=(3, *request.param, 3)), [0, *[1.2] * len(request.param), 0])
    return noise.argmax(-1), (noise + 0.6 * noise[::-1]).astype(np.float32)


def sums(truth, guess, k, width):
    """Intersection and union of the boundary regions of class k, `[B, 2]`."""
    pairs = [(near(t == k, width), near(g == k, width)) for t, g in zip(truth, guess, strict=True)]
    return np.array([((a & b).sum(), (a | b).sum()) for a, b in pairs])


@pytest.mark.parametrize("width", [1, 2])
def test_streamed_equals_the_sum_over_images(batch, width):
    truth, logits = batch
    metric = M.BoundaryIoU(width=width)
    for part in (slice(0, 1), slice(1, 3)):
        metric.update_state(truth[part], logits[part])
    expected = [np.divide(*sums(truth, logits.argmax(-1), k, width).sum(0)) for k in range(3)]
    np.testing.assert_allclose(metric.class_values(), expected, rtol=1e-12)
    assert float(metric.result()) == pytest.approx(np.mean(expected[1:]), rel=1e-6)
    metric.reset_state()
    assert np.isnan(float(metric.result()))


def test_per_image_is_the_mean_of_the_pure_function(batch):
    truth, logits = batch
    metric = M.BoundaryIoU(per_image=True)
    metric.update_state(truth, logits)
    expected = [[M.boundary_iou(t == k, g == k) for k in (1, 2)] for t, g in zip(truth, logits.argmax(-1), strict=True)]
    assert float(metric.result()) == pytest.approx(np.mean(expected), rel=1e-6)


def test_ignored_pixels_are_background_and_weights_weigh(batch):
    truth, logits = batch
    marked, guess = truth.copy(), logits.argmax(-1)
    marked[:, :3] = 255
    metric = M.BoundaryIoU(width=1, ignore_class=255)
    metric.update_state(marked, logits)
    kept = [np.where(marked == 255, 0, ids) for ids in (truth, guess)]
    expected = [np.divide(*sums(*kept, k, 1).sum(0)) for k in (1, 2)]
    np.testing.assert_allclose(metric.class_values()[1:], expected, rtol=1e-12)
    metric = M.BoundaryIoU(width=1)
    metric.update_state(truth, logits, sample_weight=np.array([1.0, 0.0, 2.5]))
    weighted = [np.divide(*(np.array([1.0, 0.0, 2.5]) @ sums(truth, guess, k, 1))) for k in (1, 2)]
    np.testing.assert_allclose(metric.class_values()[1:], weighted, rtol=1e-12)


def test_open_sizes_need_a_width_in_voxels():
    truth, scores = tf.zeros((2, 5, 6), tf.int32), tf.zeros((2, 5, 6, 2))
    signature = [tf.TensorSpec((None, None, None), tf.int32), tf.TensorSpec((None, None, None, 2))]
    for metric, fits in ((M.BoundaryIoU(width=2), True), (M.BoundaryIoU(), False)):
        metric.build(2)
        step = tf.function(metric.update_state, input_signature=signature)
        if fits:
            step(truth, scores)
            step(truth[:0], scores[:0])
            assert float(tf.reduce_sum(metric.matrix)) == 2 * 2 * 30
        else:
            with pytest.raises(ValueError, match="no fixed diagonal.*width="):
                step(truth, scores)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_inside_fit(batch, jit_compile):
    truth, images = batch
    inputs = keras.Input(images.shape[1:])
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[M.BoundaryIoU()], jit_compile=jit_compile)
    labels = np.eye(3, dtype=np.float32)[truth]
    history = model.fit(images, labels, batch_size=2, verbose=0).history
    expected = M.BoundaryIoU()
    expected.update_state(truth, model(images))
    assert history["boundary_iou"][0] == pytest.approx(float(expected.result()), rel=1e-6)


def test_round_trip_of_the_config():
    original = M.BoundaryIoU(width=3, empty="one", per_image=True, ignore_class=4, name="mine")
    again = keras.metrics.deserialize(keras.metrics.serialize(original))
    assert type(again) is M.BoundaryIoU and again.get_config() == original.get_config()
    assert again.get_config()["width"] == 3 and again.empty == 1
