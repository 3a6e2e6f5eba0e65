"""Images changed at random with their masks, and hidden squares."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import interpolate, ndimage

from kseg.data import augment, cutout
from kseg.data.warp import bent_places

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


# --- augment

HEIGHT, WIDTH, MANY = 15, 22, 40
EVERYTHING = ("flip(axes='xy')", "rotate(degrees=40)", "zoom(factor=1.5)", "elastic(strength=0.4)")
RNG = np.random.default_rng(1)
RAMPS = np.stack(np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij"), axis=-1)


@pytest.fixture(scope="module")
def told():
    """Images whose first two channels tell where a pixel comes from, the third random; random masks and weights."""
    images = np.empty((MANY, HEIGHT, WIDTH, 3), np.float32)
    images[..., :2], images[..., 2] = RAMPS, RNG.random((MANY, HEIGHT, WIDTH))
    masks = RNG.choice(np.array([0, 2, 5], np.uint8), (MANY, HEIGHT, WIDTH))
    return images, masks, RNG.random((MANY, HEIGHT, WIDTH)).astype(np.float32)


def changed(parts, kinds, batch=MANY, **options):
    """The batches of augmented arrays, joined."""
    dataset = augment(tf.data.Dataset.from_tensor_slices(tuple(parts)).batch(batch), kinds, **options)
    return [np.concatenate(part) for part in zip(*([p.numpy() for p in found] for found in dataset), strict=True)]


def test_images_masks_and_weights_come_from_the_same_places(told):
    """Checked with scipy: linear for images, the nearest pixel for the others, mirrored beyond the border."""
    found, masks, weights = changed(told, EVERYTHING)
    assert (found.dtype, masks.dtype, weights.dtype) == (np.float32, np.uint8, np.float32)
    sure = 0
    for i in range(MANY):
        y, x = np.moveaxis(found[i, ..., :2].astype(np.float64), -1, 0)
        assert y.min() >= 0 and y.max() <= HEIGHT - 1 and x.min() >= 0 and x.max() <= WIDTH - 1
        expected = ndimage.map_coordinates(told[0][i, ..., 2], [y, x], order=1, mode="mirror")
        np.testing.assert_allclose(found[i, ..., 2], expected, atol=2e-5)
        clear = (np.abs(y % 1 - 0.5) > 1e-3) & (np.abs(x % 1 - 0.5) > 1e-3)  # else rounding decides
        sure += clear.mean() / MANY
        for part, original in ((masks, told[1]), (weights, told[2])):
            expected = ndimage.map_coordinates(original[i], [y, x], order=0, mode="mirror")
            np.testing.assert_array_equal(part[i][clear], expected[clear])
    assert sure > 0.9
    moved = np.abs(found[..., :2] - RAMPS).max(axis=(1, 2, 3))
    assert (moved > 0.5).mean() > 0.6 and len(np.unique(moved.round(3))) > 0.6 * MANY


def test_a_turn_is_counter_clockwise_and_an_enlarged_image_shows_less():
    quarter, one = np.full(1, np.pi / 2, np.float32), np.ones(1, np.float32)
    y, x = (np.rint(part[0]).astype(int) for part in bent_places((5, 5), quarter, one, None))
    image = np.arange(25).reshape(5, 5)
    np.testing.assert_array_equal(image[y, x], np.rot90(image))
    y, x = bent_places((HEIGHT, WIDTH), 0 * one, 2 * one, None)
    np.testing.assert_allclose(y[0, :, 0], 7 + (np.arange(HEIGHT) - 7) / 2, atol=1e-5)
    np.testing.assert_allclose(x[0, 0], 10.5 + (np.arange(WIDTH) - 10.5) / 2, atol=1e-5)


def test_bending_is_a_cubic_spline_through_a_lattice():
    """Checked with scipy's B-splines on the same knots."""
    cells, moves = 4, RNG.uniform(-0.4, 0.4, (1, 7, 7, 2)).astype(np.float32)
    y, x = bent_places((HEIGHT, WIDTH), np.zeros(1, np.float32), np.ones(1, np.float32), moves)
    knots = np.arange(-3, cells + 4)
    down, right = (
        interpolate.BSpline.design_matrix((np.arange(n) + 0.5) * cells / n, knots.astype(float), 3).toarray()
        for n in (HEIGHT, WIDTH)
    )
    expected = np.einsum("hi,ijc,wj->hwc", down, moves[0], right) * [HEIGHT / cells, WIDTH / cells]
    np.testing.assert_allclose(np.stack([y[0], x[0]], -1), RAMPS + expected, atol=1e-4)


def test_bending_at_its_strongest_folds_nothing_over():
    images = np.tile(np.moveaxis(np.indices((48, 48), np.float32), 0, -1), (30, 1, 1, 1))
    found, _ = changed((images, images[..., 0]), "elastic(strength=0.479, grid=3, share=1)")
    inside = found[:, 12:36, 12:36]  # the border is folded back by the mirror
    down, right = np.gradient(inside, axis=1), np.gradient(inside, axis=2)
    assert (down[..., 0] * right[..., 1] - down[..., 1] * right[..., 0]).min() > 0


def test_without_strength_nothing_changes(told):
    kinds = ("flip(share=0)", "rotate(degrees=0, share=1)", "zoom(factor=1, share=1)", "elastic(strength=0, share=1)")
    for before, after in zip(told, changed(told, kinds), strict=True):
        np.testing.assert_array_equal(after, before)
    for before, after in zip(told, changed(told, ("rotate(share=0)", "elastic(share=0)")), strict=True):
        np.testing.assert_array_equal(after, before)
    plain = "intensity(brightness=0, contrast=1, gamma=1, share=1)"
    np.testing.assert_allclose(changed(told, plain, value_range=(0, 25))[0], told[0], atol=1e-5)
    assert len(changed(told, ())) == 3


@pytest.mark.parametrize(("axes", "axis"), [("x", 2), ("y", 1)])
def test_flips_are_exact_and_of_half_the_images(told, axes, axis):
    many = [np.tile(part, (15, *[1] * (part.ndim - 1))) for part in told]
    found = changed(many, f"flip(axes='{axes}')", batch=100)
    flipped = (found[0] != many[0]).any((1, 2, 3))
    assert abs(flipped.mean() - 0.5) < 0.08  # four standard deviations of 600 draws
    for before, after in zip(many, found, strict=True):
        np.testing.assert_array_equal(after[flipped], np.flip(before, axis)[flipped])
        np.testing.assert_array_equal(after[~flipped], before[~flipped])


def test_both_flips_are_drawn_by_themselves(told):
    found, *_ = changed([np.tile(part, (15, *[1] * (part.ndim - 1))) for part in told], "flip(axes='xy')", batch=100)
    corners = found[:, 0, 0, :2]
    _, counts = np.unique(corners, axis=0, return_counts=True)
    assert len(counts) == 4 and counts.min() > 100


def test_strengths_are_kept_and_reached(told):
    found, *_ = changed(told, "rotate(degrees=40, share=1)", batch=MANY)
    middle = found[:, 5:10, 8:14, :2].astype(np.float64)
    angles = np.degrees(np.arctan2(*np.moveaxis(middle[:, 2, 5] - middle[:, 2, 0], -1, 0)))
    assert 30 < angles.max() <= 40.1 and -40.1 <= angles.min() < -30
    found, *_ = changed(told, "zoom(factor=1.5, share=1)")
    steps = found[:, 7, 11, 1] - found[:, 7, 10, 1]
    assert 1 / 1.51 < steps.min() < 0.75 and 1.3 < steps.max() < 1.51
    assert 0.25 < (steps > 1).mean() < 0.75  # either as likely


def test_a_mask_made_from_its_image_still_is_after_all_changes():
    y, x = np.indices((64, 64))
    rings = np.hypot(y - 30, x - 34)[None] + RNG.uniform(-6, 6, (12, 1, 1))
    images = np.clip(rings / 64, 0, 1).astype(np.float32)[..., None]
    masks = (images[..., 0] > 0.3).astype(np.uint8)
    found, guesses = changed((images, masks), EVERYTHING)
    far = np.abs(found[..., 0] - 0.3) > 2 / 64
    np.testing.assert_array_equal(guesses[far], found[..., 0][far] > 0.3)
    assert set(np.unique(guesses)) == {0, 1}


def test_intensity_stays_in_the_range_and_leaves_masks(told):
    value_range = (-100.0, 300.0)
    images = RNG.uniform(*value_range, told[0].shape).astype(np.float32)
    strong = "intensity(brightness=0.5, contrast=3, gamma=3, share=1)"
    found, masks, weights = changed((images, *told[1:]), strong, value_range=value_range)
    assert found.min() >= -100 and found.max() <= 300
    np.testing.assert_array_equal(masks, told[1])
    np.testing.assert_array_equal(weights, told[2])
    for before, after in zip(images, found, strict=True):
        order = np.argsort(before, axis=None)
        assert (np.diff(after.ravel()[order]) >= -1e-3).all()  # what was brighter stays so
    means = found.mean((1, 2, 3))
    assert means.min() < 50 and means.max() > 150


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("intensity(brightness=0.2, contrast=1, gamma=1, share=1)", lambda u, k: u + k),
        ("intensity(brightness=0, contrast=1.3, gamma=1, share=1)", lambda u, k: u.mean() + (u - u.mean()) * k),
        ("intensity(brightness=0, contrast=1, gamma=2, share=1)", lambda u, k: u**k),
    ],
)
def test_intensity_by_its_formulas(kind, formula):
    """Each image is the formula of its original for some one number, found here from two pixels or by search."""
    light = RNG.uniform(0.3, 0.7, (20, 6, 6, 1))
    (found, _) = changed(((light * 0.2).astype(np.float32), np.zeros((20, 6, 6), np.uint8)), kind, value_range=(0, 0.2))
    numbers = []
    for before, after in zip(light, found / 0.2, strict=True):
        tried = np.linspace(-0.2, 2, 2201)
        errors = [np.abs(formula(before, k) - after).max() for k in tried]
        assert min(errors) < 1e-3
        numbers.append(tried[np.argmin(errors)])
    assert len(set(np.round(numbers, 2))) > 10


def test_what_happens_follows_from_seed_batch_and_place_alone(told):
    kinds, options = (*EVERYTHING, "intensity"), {"value_range": (0, 25), "seed": 3}
    whole = changed(told, kinds, batch=8, **options)
    keras.utils.set_random_seed(77)
    for first, second in zip(whole, changed(told, kinds, batch=8, **options), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (changed(told, kinds, batch=8, **{**options, "seed": 4})[0] != whole[0]).any()
    later = changed([part[16:] for part in told], kinds, batch=8, start=2, **options)
    for first, second in zip(whole, later, strict=True):
        np.testing.assert_array_equal(first[16:], second)
    # Of a batch of five the same happens to the images as to the first five of eight.
    few = changed([part[8:13] for part in told], kinds, batch=5, start=1, **options)
    np.testing.assert_allclose(few[0], whole[0][8:13], atol=1e-5)
    np.testing.assert_allclose(few[2], whole[2][8:13], atol=1e-5)


def test_a_kind_does_the_same_beside_others(told):
    alone = changed(told, "flip(axes='xy')")
    both = changed(told, ("intensity", "flip(axes='xy')"), value_range=(0, 25))
    np.testing.assert_array_equal(alone[1], both[1])


@pytest.mark.parametrize("changes", [(augment, "rotate(share=1)"), (cutout, 4)], ids=["augment", "cutout"])
def test_batches_are_counted_over_all_passes(told, changes):
    def change(dataset, **options):
        return changes[0](dataset, changes[1], **options)

    images, masks = told[0][:8], told[1][:8]
    dataset = tf.data.Dataset.from_tensor_slices((images, masks)).batch(4)
    twice = change(dataset)
    assert int(twice.cardinality()) == 2
    passes = [[found.numpy() for found, _ in twice] for _ in range(2)]
    endless = [found.numpy() for found, _ in change(dataset.repeat()).take(5)]
    np.testing.assert_array_equal(np.concatenate(passes[0] + passes[1]), np.concatenate(endless[:4]))
    assert (passes[0][0] != passes[1][0]).any()
    assert (endless[0] != endless[1]).any()
    peeked = change(dataset.repeat())
    next(iter(peeked))  # an endless stream is begun anew by each look at it
    np.testing.assert_array_equal(next(iter(peeked))[0], endless[0])
    np.testing.assert_array_equal(next(iter(change(dataset.repeat(), start=4)))[0], endless[4])


def test_shapes_are_known_and_weights_of_whole_images_kept():
    parts = np.ones((4, 8, 8, 1), np.float32), np.ones((4, 8, 8), np.uint8), np.arange(4.0, dtype=np.float32)
    dataset = tf.data.Dataset.from_tensor_slices(parts).batch(2)
    found = augment(dataset, (*EVERYTHING, "intensity"), value_range=(0, 1))
    assert found.element_spec == dataset.element_spec
    np.testing.assert_array_equal(np.concatenate([w for *_, w in found]), parts[2])
    single = tf.data.Dataset.from_tensor_slices((np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 1), np.uint8)))
    for image, mask in augment(single.batch(1), EVERYTHING):
        assert (image.numpy().item(), mask.numpy().item()) == (1.0, 1)


@pytest.mark.parametrize(
    ("options", "told_in_error"),
    [
        ({"kinds": "flop"}, "augmentation 'flop'.*Did you mean 'flip'"),
        ({"kinds": "intensity"}, "takes no value_range=None"),
        ({"kinds": "intensity", "value_range": (1, 1)}, "low below high"),
        ({"kinds": "flip", "start": -1}, "start=-1 does not fit"),
        ({"kinds": "flip", "seed": -1}, "seed=-1 does not fit"),
    ],
)
def test_options_that_do_not_fit_are_refused(told, options, told_in_error):
    with pytest.raises(ValueError, match=told_in_error):
        augment(tf.data.Dataset.from_tensor_slices(told).batch(4), **options)


@pytest.mark.parametrize("part", [0, 1])
def test_batches_of_another_form_are_refused(told, part):
    wrong = [(told[0],), (told[0].astype(np.uint8), told[1])][part]
    with pytest.raises(ValueError, match=r"cannot be augmented. Expected \(images \[B, H, W, C\] float32"):
        augment(tf.data.Dataset.from_tensor_slices(wrong).batch(4), "flip")
