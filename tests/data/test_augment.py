"""Hidden squares of training images."""

import numpy as np
import pytest
import tensorflow as tf

from kseg.data import cutout

IMAGES = np.random.default_rng(0).uniform(1, 2, (10, 9, 12, 2)).astype(np.float32)
MASKS = np.arange(10 * 9 * 12, dtype=np.uint8).reshape(10, 9, 12)


def batches(size, value=0.0, seed=0, repeat=1, batch=4):
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, MASKS)).repeat(repeat).batch(batch)
    return [[part.numpy() for part in batch] for batch in cutout(dataset, size, value=value, seed=seed)]


def joined(found):
    return np.concatenate([images for images, _ in found])


def test_one_square_of_each_image_is_hidden_and_all_else_kept():
    found = batches(3, value=-1.0)
    assert [len(images) for images, _ in found] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([masks for _, masks in found]), MASKS)
    images = joined(found)
    hidden = images == -1
    np.testing.assert_array_equal(images[~hidden], IMAGES[~hidden])
    np.testing.assert_array_equal(hidden[..., 0], hidden[..., 1])
    for image in hidden[..., 0]:
        y, x = np.nonzero(image)
        height, width = np.ptp(y) + 1, np.ptp(x) + 1
        assert height * width == len(y)  # a rectangle
        whole = y.min() > 0 and y.max() < 8 and x.min() > 0 and x.max() < 11
        assert (height, width) == (3, 3) if whole else 2 <= height <= 3 and 2 <= width <= 3  # cut at the border alone


def test_places_follow_from_the_seed_and_cover_the_image():
    np.testing.assert_array_equal(joined(batches(3)), joined(batches(3)))
    assert (joined(batches(3)) != joined(batches(3, seed=1))).any()
    hits = (joined(batches(3, repeat=60, batch=40)) == 0)[..., 0].sum(axis=0)
    # The centre is any of the 108 pixels: one inside is hidden by nine of them, one in a corner by four.
    np.testing.assert_allclose(hits[1:-1, 1:-1].mean() / 600, 9 / 108, rtol=0.05)
    np.testing.assert_allclose(hits[[0, 0, -1, -1], [0, -1, 0, -1]].mean() / 600, 4 / 108, rtol=0.25)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_size_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match="cutout size"):
        cutout(tf.data.Dataset.from_tensor_slices((IMAGES, MASKS)).batch(4), size)
