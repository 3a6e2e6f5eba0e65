import numpy as np
import pytest
import tensorflow as tf
from graph_checks import check_graph_op
from scipy import stats

from kseg.attacks.pixel_ops import ORDERS, draw_values, rank_pixels, replace_pixels
from kseg.ops import threefry


def expected_ranks(maps, count, order, boxes=None):
    """By NumPy's stable sort of Python floats, image by image."""
    found = []
    for i, image in enumerate(maps.astype(np.float64)):
        value = {"signed": image, "absolute": abs(image), "lowest": -image}[order].max(axis=-1)
        allowed = ~np.isnan(image).any(axis=-1)
        if boxes is not None:
            y0, y1, x0, x1 = boxes[i]
            inside = np.zeros(value.shape, bool)
            inside[y0:y1, x0:x1] = True
            allowed &= inside
        places = np.flatnonzero(allowed)
        ranked = places[np.argsort(-value.ravel()[places], kind="stable")]
        found.append(np.r_[ranked, np.full(value.size, -1)][:count])
    return np.array(found)


def tied_maps(dtype, channels=2):
    """Few different values, so that most are tied; -0 beside 0, infinities and nan among them."""
    rng = np.random.default_rng(0)
    maps = rng.integers(-3, 4, (4, 5, 6, channels)).astype(dtype)
    maps[rng.uniform(size=maps.shape) < 0.2] = -0.0
    maps[0, 2, 3, 0], maps[0, 1, 1, -1], maps[0, 4, 4, -1] = np.inf, -np.inf, np.nan
    return maps


def test_the_documents_example():
    maps = np.array([[[3.0, -5.0], [1.0, 2.0]]])
    assert rank_pixels(maps, 1).numpy().tolist() == [[0]]
    assert rank_pixels(maps, 1, "absolute").numpy().tolist() == [[1]]
    assert rank_pixels(maps, 2).numpy().tolist() == [[0, 3]]
    assert rank_pixels(maps, 1, "lowest").numpy().tolist() == [[1]]


@pytest.mark.parametrize("order", ["signed", "absolute", "lowest"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ranks_are_those_of_a_stable_sort(order, dtype):
    maps = tied_maps(dtype)
    for count in (0, 1, 7, 30):
        ranked = rank_pixels(maps, count, order)
        assert ranked.dtype == tf.int32
        np.testing.assert_array_equal(ranked, expected_ranks(maps, count, order))
    np.testing.assert_array_equal(rank_pixels(maps[..., 0], 9, order), expected_ranks(maps[..., :1], 9, order))
    boxes = np.array([[0, 5, 0, 6], [1, 3, 2, 5], [4, 5, 0, 1], [2, 2, 0, 6]])
    np.testing.assert_array_equal(rank_pixels(maps, 7, order, inside=boxes), expected_ranks(maps, 7, order, boxes))


def test_float64_and_integer_maps_keep_their_order():
    fine = 1 + 1e-12 * np.arange(6.0).reshape(1, 2, 3)
    assert rank_pixels(fine, 6).numpy().tolist() == [[5, 4, 3, 2, 1, 0]]
    assert rank_pixels((2**24 + np.arange(6)).reshape(1, 2, 3), 6).numpy().tolist() == [[5, 4, 3, 2, 1, 0]]


@pytest.mark.parametrize("order", ORDERS)
def test_ranking_is_a_graph_op(order):
    signature = [tf.TensorSpec((None, None, None, 2), tf.float32), tf.TensorSpec((None, 4), tf.int32)]
    boxes = np.array([[0, 5, 0, 6], [1, 3, 2, 5], [4, 5, 0, 1], [0, 2, 0, 6]])
    maps = tied_maps(np.float32)
    batches = [[maps, boxes], [maps[:2, :3], boxes[:2]]]
    check_graph_op(lambda m, b: rank_pixels(m, 7, order, inside=b), signature, batches, rtol=0, atol=0)


def test_random_orders_belong_to_row_and_seed_alone():
    maps, rows = np.zeros((3, 4, 5)), np.array([7, 2, 90])
    ranked = rank_pixels(maps, 20, "random", seed=3, rows=rows).numpy()
    np.testing.assert_array_equal(np.sort(ranked, axis=1), np.tile(np.arange(20), (3, 1)))
    np.testing.assert_array_equal(rank_pixels(maps[:1] + 5, 20, "random", seed=3, rows=rows[2:]), ranked[2:])
    np.testing.assert_array_equal(rank_pixels(maps, 6, "random", seed=3, rows=rows), ranked[:, :6])
    assert len({tuple(row) for row in ranked}) == 3
    assert (rank_pixels(maps, 20, "random", seed=4, rows=rows).numpy() != ranked).any(axis=1).all()
    np.testing.assert_array_equal(
        rank_pixels(maps, 20, "random"), rank_pixels(maps, 20, "random", seed=0, rows=[0, 1, 2])
    )


def test_random_orders_prefer_no_pixel():
    ranked = rank_pixels(np.zeros((6000, 2, 3)), 2, "random").numpy()
    pairs = np.bincount(ranked[:, 0] * 6 + ranked[:, 1], minlength=36)
    assert stats.chisquare(pairs[pairs > 0]).pvalue > 1e-3
    assert (pairs > 0).sum() == 30


def test_threefry_gives_the_known_answers():
    # Random123's file kat_vectors, threefry2x32 with 20 rounds: counter, key, answer.
    ones = 0xFFFFFFFF
    for counter, key, answer in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((ones, ones), (ones, ones), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ):
        assert tuple(int(word) for word in threefry(key, counter)) == answer


def test_random_values_belong_to_row_draw_and_rank_alone():
    rows = np.array([5, 0, 31])
    values = draw_values(rows, 8, 4, seed=2).numpy()
    np.testing.assert_array_equal(draw_values(rows, 3, 4, seed=2), values[:, :3])
    np.testing.assert_array_equal(draw_values(rows[1:], 8, [4, 4], seed=2), values[1:])
    assert len(np.unique(values)) == 24
    for row, draw, seed in ((rows, 5, 2), (rows, 4, 3), (rows + 1, 4, 2)):
        assert not np.isin(draw_values(row, 8, draw, seed), values).any()
    mixed = draw_values([5, 5], 8, [4, 9], seed=2).numpy()
    np.testing.assert_array_equal(mixed[1:], draw_values([5], 8, 9, seed=2))
    np.testing.assert_array_equal(mixed[0], values[0])


def test_random_values_are_uniform():
    values = draw_values(np.arange(100), 50, 0, low=-1.0, high=3.0).numpy()
    assert values.dtype == np.float32 and values.min() >= -1 and values.max() < 3
    assert stats.kstest(values.ravel(), stats.uniform(-1, 4).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.3
    # Half of the numbers would round to the upper bound, which does not belong to them.
    assert set(draw_values([0], 40, 0, low=1.0, high=np.nextafter(np.float32(1), 2)).numpy().ravel()) == {1.0}


def test_random_values_are_a_graph_op():
    signature = [tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None,), tf.int32)]
    batches = [[np.array([3, 4, 9]), np.array([0, 1, 1])], [np.array([8]), np.array([2])]]
    check_graph_op(lambda r, d: draw_values(r, 5, d, 7), signature, batches, rtol=0, atol=0)


def replaced(images, pixels, values):
    """The same by a loop in NumPy; values `[B, n, C]`."""
    images = images.copy()
    for image, places, new in zip(images, pixels, values, strict=True):
        for place, value in zip(places, new, strict=True):
            if place >= 0:
                image[place // image.shape[1], place % image.shape[1]] = value
    return images


def test_pixels_are_replaced_and_nothing_else():
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 0.2, (3, 4, 5, 2)).astype(np.float32)
    before = images.copy()
    pixels = np.array([[0, 19, -1], [7, 3, 12], [-1, -1, -1]])
    full = np.array([7.5, -3.25, np.inf, 1e-30])[rng.integers(0, 4, (3, 3, 2))].astype(np.float32)
    for values, wide in (
        (full, full),
        (full[..., 0], np.repeat(full[..., :1], 2, axis=-1)),
        (full[0, :, 0], np.tile(full[:1, :, :1], (3, 1, 2))),
        (0.6, np.full((3, 3, 2), np.float32(0.6))),
    ):
        np.testing.assert_array_equal(replace_pixels(images, pixels, values), replaced(images, pixels, wide))
    np.testing.assert_array_equal(images, before)
    assert replace_pixels(tf.cast(images, tf.float16), pixels, 2).dtype == tf.float16


def test_replacing_is_a_graph_op():
    shapes = (((None, None, None, 1), tf.float32), ((None, None), tf.int32), ((None, None), tf.float32))
    signature = [tf.TensorSpec(*shape) for shape in shapes]
    rng = np.random.default_rng(2)
    batches = [
        [rng.uniform(size=(2, 3, 4, 1)), [[0, 5, -1], [11, -1, 2]], rng.uniform(size=(2, 3))],
        [rng.uniform(size=(1, 2, 2, 1)), np.zeros((1, 0), int), np.zeros((1, 0))],
    ]
    check_graph_op(replace_pixels, signature, batches, rtol=0, atol=0)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="order='highest' is not known. Expected one of: signed"):
        rank_pixels(np.zeros((1, 2, 2)), 1, "highest")
    with pytest.raises(ValueError, match="count=5 does not fit maps of 2x2. Expected 0 to 4"):
        rank_pixels(np.zeros((1, 2, 2)), 5)
    with pytest.raises(ValueError, match=r"Expected \[B, H, W\]"):
        rank_pixels(np.zeros((2, 2)), 1)
