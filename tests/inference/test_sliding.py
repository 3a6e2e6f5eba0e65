"""Images of any size through windows: against a plain loop, pointwise models, one window, bounds on memory."""

import functools
import math

import keras
import numpy as np
import pytest

from kseg import inference, models


@functools.cache
def pointwise(size=(None, None)):
    """A model without context: probabilities of each pixel by itself."""
    image = keras.Input((*size, 3))
    return keras.Model(image, keras.layers.Softmax()(keras.layers.Rescaling(3.0)(image)))


def looking(size=(None, None), channels=1):
    """A model with context: what it says of a pixel depends on where the window ends."""
    keras.utils.set_random_seed(1)
    net = models.unet((*size, 1), channels, filters=2, depth=1)
    return models.with_probabilities(net, "sigmoid" if channels == 1 else "softmax")


def noise(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def by_loop(model, image, window, step):
    """The same by a plain loop over windows in float64, Gaussian weights pixel by pixel; windows `step` apart."""
    height, width = image.shape[:2]
    total, weights = 0.0, 0.0
    for top in range(0, height - window[0] + 1, step[0]):
        for left in range(0, width - window[1] + 1, step[1]):
            p = model(image[None, top : top + window[0], left : left + window[1]]).numpy()[0].astype(np.float64)
            w = np.zeros((height, width, 1))
            for y in range(window[0]):
                for x in range(window[1]):
                    off = [(y - (window[0] - 1) / 2) / (window[0] / 8), (x - (window[1] - 1) / 2) / (window[1] / 8)]
                    w[top + y, left + x] = math.exp(-0.5 * (off[0] ** 2 + off[1] ** 2))
            placed = np.zeros((height, width, p.shape[-1]))
            placed[top : top + window[0], left : left + window[1]] = p
            total, weights = total + w * placed, weights + w
    return total / weights


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_overlapping_windows_are_blended_as_by_a_plain_loop(batch_size):
    model, images = looking((8, 12)), noise(2, 20, 24, 1)
    p = inference.predict_probabilities(model, images, overlap=0.5, batch_size=batch_size)
    for image, found in zip(images, p, strict=True):
        np.testing.assert_allclose(found, by_loop(model, image, (8, 12), (4, 6)), atol=2e-6)


def test_windows_lie_evenly_where_steps_do_not_divide_the_length(monkeypatch):
    """37 pixels in windows of 16: four are needed, and three steps of 8 would leave the last one nearer."""
    model, seen = pointwise((16, 16)), []
    image = np.repeat(np.arange(37, dtype=np.float32)[:, None], 37, axis=1)[..., None] * np.ones(3, np.float32)

    def looking_at(*arguments):
        see = inference.graph.forward(*arguments)
        return lambda images: [seen.extend(images[:, 0, 0, 0].tolist()), see(images)][1]

    monkeypatch.setattr(inference.sliding, "forward", looking_at)
    p = inference.predict_probabilities(model, image[None], overlap=0.5)
    assert sorted(set(seen)) == [0, 7, 14, 21] and len(seen) == 16
    np.testing.assert_allclose(p, 1 / 3, atol=1e-6)


@pytest.mark.parametrize(("size", "window"), [((9, 9), 4), ((5, 31), 4), ((4, 4), 4), ((3, 2), 4), ((17, 6), 5)])
@pytest.mark.parametrize("overlap", [0, 0.3, 0.5, 0.9])
def test_a_pointwise_model_gives_each_pixel_what_it_gives_it_alone(size, window, overlap):
    images = noise(2, *size, 3)
    p = inference.predict_probabilities(pointwise(), images, window=(window, window), overlap=overlap)
    alone = pointwise()(images).numpy()
    np.testing.assert_allclose(p, alone, atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-6)
    np.testing.assert_array_equal(inference.class_ids(p), alone.argmax(axis=-1))


def test_where_one_window_is_enough_it_is_what_the_model_says():
    open_model, fixed = looking(), looking((8, 12), channels=3)
    images = noise(3, 7, 11, 1)  # no multiple of two: the model needs padding
    p = inference.predict_probabilities(open_model, images)
    np.testing.assert_array_equal(p, inference.forward(open_model, (7, 11, 1))(images))
    np.testing.assert_array_equal(
        inference.class_ids(p, 0.4), inference.predict_masks(open_model, images, threshold=0.4)
    )
    images = noise(3, 8, 12, 1)
    np.testing.assert_array_equal(inference.predict_probabilities(fixed, images), fixed.predict(images, verbose=0))


def test_small_images_are_padded_with_zeros_all_around_and_cut_again():
    model, images = looking((12, 12)), noise(2, 5, 12, 1)
    padded = np.pad(images, ((0, 0), (3, 4), (0, 0), (0, 0)))  # the odd row below, as preparation has it
    expected = model.predict(padded, verbose=0)[:, 3:8]
    np.testing.assert_allclose(inference.predict_probabilities(model, images), expected, atol=1e-6)


def test_windows_of_images_of_different_sizes_share_a_batch(monkeypatch):
    model, batches = pointwise((4, 4)), []
    see = inference.sliding.forward

    def counting(*arguments):
        def call(images):
            batches.append(len(images))
            return see(*arguments)(images)

        return call

    monkeypatch.setattr(inference.sliding, "forward", counting)
    images = [noise(4, 4, 3), noise(3, 9, 3), noise(8, 4, 3)]
    found = {}
    for number, row, p in inference.bands(model, images, overlap=0, batch_size=4):
        found.setdefault(number, []).append((row, p))
    assert batches == [4, 2]  # 1 + 3 windows, then 2
    for number, parts in found.items():
        assert [row for row, _ in parts] == np.cumsum([0, *(len(p) for _, p in parts)]).tolist()[:-1]
        p = np.concatenate([p for _, p in parts])
        np.testing.assert_allclose(p, pointwise()(images[number][None])[0], atol=1e-6)


def test_rows_of_a_large_image_come_before_all_windows_are_seen():
    """No more than one row of windows is held: the first band is there after the first row of windows."""
    model, taken = pointwise((8, 8)), []

    def images():
        for number in range(3):
            taken.append(number)
            yield noise(64, 16, 3)

    parts = inference.bands(model, images(), overlap=0.5, batch_size=3)
    first = next(parts)
    assert taken == [0] and (first.image, first.row, first.p.shape) == (0, 0, (4, 16, 3))
    assert sum(len(part.p) for part in parts) == 3 * 64 - 4


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="window 8 x 8 does not fit .* 4 x 4"):
        inference.predict_probabilities(pointwise((4, 4)), noise(1, 9, 9, 3), window=(8, 8))
    with pytest.raises(ValueError, match="overlap=1.0"):
        inference.predict_probabilities(pointwise((4, 4)), noise(1, 9, 9, 3), overlap=1.0)


def test_no_images_give_no_probabilities():
    assert inference.predict_probabilities(pointwise(), noise(0, 9, 9, 3)).shape == (0, 9, 9, 3)
