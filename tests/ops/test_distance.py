import numpy as np
import pytest
import tensorflow as tf
from graph_checks import check_graph_op
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from kseg import ops


def masks(shape, seed=0):
    """Masks of many kinds, as one batch."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(size=shape)
    single, rest = np.ones(shape, bool), np.zeros(shape, bool)
    spot = tuple(rng.integers(shape))
    single[spot], rest[spot] = False, True
    return np.stack([noise > 0.5, noise > 0.02, ndimage.gaussian_filter(noise, 2) > 0.5, single, rest, rest * False])


def scipy_transform(batch, spacing=None):
    found = [ndimage.distance_transform_edt(mask, sampling=spacing) for mask in batch]
    return np.array([np.where(mask.all(), np.inf, one) for mask, one in zip(batch, found, strict=True)])


SHAPES = [(1,), (7,), (40,), (1, 1), (1, 9), (9, 1), (17, 33), (64, 50), (1, 1, 1), (5, 6, 7), (20, 3, 31)]
SHAPES += [(3, 4, 5, 6)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distances_are_those_of_scipy(shape, dtype):
    batch = masks(shape)
    result = ops.distance_transform(batch, dtype=dtype)
    assert result.dtype == dtype and result.shape == batch.shape
    np.testing.assert_allclose(result, scipy_transform(batch), rtol=1e-15 if dtype == "float64" else 1e-7)


@pytest.mark.parametrize("shape", [(40,), (17, 33), (64, 20), (5, 6, 7), (3, 4, 5, 6)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spacing_is_that_of_scipy(shape, dtype):
    batch, spacing = masks(shape, seed=1), [2.5, 0.7, 1.1, 0.3][: len(shape)]
    expected = scipy_transform(batch, spacing)
    for given_as in (spacing, tuple(spacing), np.array(spacing), tf.constant(spacing, tf.float64)):
        result = ops.distance_transform(batch, given_as, dtype=dtype)
        np.testing.assert_allclose(result, expected, rtol=1e-14 if dtype == "float64" else 4e-7)
    isotropic = ops.distance_transform(batch, 3, dtype=dtype)
    np.testing.assert_allclose(isotropic, 3 * scipy_transform(batch), rtol=1e-14 if dtype == "float64" else 4e-7)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 9)),
    ),
    share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.99, 1.0]),
    spacing=st.sampled_from([None, 0.3, 4.0]),
    seed=st.integers(0, 10**6),
)
def test_any_mask_has_the_distances_of_scipy(shape, share, spacing, seed):
    batch = np.random.default_rng(seed).uniform(size=(2, *shape)) >= share
    expected = scipy_transform(batch, None if spacing is None else [spacing] * len(shape))
    np.testing.assert_allclose(ops.distance_transform(batch, spacing), expected, rtol=4e-7)


@pytest.mark.parametrize("zeros", [0.004, 0.01, 0.02])
@pytest.mark.parametrize("shape", [(13, 40), (25, 25), (40, 11)])
def test_sparse_masks_have_the_distances_of_scipy(zeros, shape):
    """Far neighbours, where a search that stops one step early is wrong now and then."""
    rng = np.random.default_rng(0)
    masks = rng.uniform(size=(150, *shape)) >= zeros
    masks[:, rng.integers(shape[0]), rng.integers(shape[1])] = False
    one_by_one = tf.function(
        ops.distance_transform, autograph=False
    )  # in a batch the farthest pixel of one image hides the others
    for mask in masks:
        np.testing.assert_allclose(
            one_by_one(tf.constant(mask[None]))[0], ndimage.distance_transform_edt(mask), rtol=1e-6
        )


@pytest.mark.parametrize(("height", "far"), [(9, 8), (40, 39), (600, 5), (600, 200), (600, 599)])
def test_every_offset_of_a_long_line_is_searched(height, far):
    """One zero, `far` rows from the first: near ones are found by offset, far ones by line."""
    mask = np.ones((1, height, 2), bool)
    mask[0, far, 1] = False
    for way in (ops.distance_transform, tf.function(ops.distance_transform, autograph=False)):
        np.testing.assert_allclose(way(mask), scipy_transform(mask), rtol=1e-7)


@pytest.mark.parametrize("kind", ["bool", "uint8", "int64", "float16", "float32"])
def test_what_is_not_zero_has_a_distance(kind):
    mask = np.array([[[0, 1, 2], [3, 0.5, 1]]]).astype(kind)
    np.testing.assert_allclose(ops.distance_transform(mask), scipy_transform(mask != 0), rtol=1e-7)


def test_squared_distances_of_whole_pixels_are_whole_numbers():
    mask = masks((30, 41))[:3]
    square = ops.distance_transform(mask, squared=True).numpy()
    np.testing.assert_array_equal(square, np.round(scipy_transform(mask) ** 2))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_it_is_a_graph_op(rank):
    sizes = [(2, 6, 5, 7), (1, 1, 9, 2), (0, 4, 3, 5), (3, 12, 1, 1)]
    batches = [[np.random.default_rng(0).uniform(size=size[: rank + 1]) > 0.1] for size in sizes]
    check_graph_op(ops.distance_transform, [tf.TensorSpec([None] * (rank + 1), tf.bool)], batches)


@pytest.mark.parametrize("known", [[None, 6, 5], [2, None, 5], [2, 6, None]])
def test_some_sizes_may_be_known(known):
    mask = masks((6, 5))[:2]
    graph = tf.function(ops.distance_transform, input_signature=[tf.TensorSpec(known, tf.bool)], autograph=False)
    np.testing.assert_allclose(graph(mask), scipy_transform(mask), rtol=1e-7)


def test_a_graph_of_known_size_runs_it_as_one_compiled_program():
    def programs(spec):
        graph = tf.function(ops.distance_transform, autograph=False).get_concrete_function(spec).graph.as_graph_def()
        return [f.signature.name for f in graph.library.function if f.attr["_XlaMustCompile"].b]

    assert len(programs(tf.TensorSpec([None, 8, 8], tf.bool))) == 1
    assert programs(tf.TensorSpec([None, None, 8], tf.bool)) == []


def test_it_has_no_gradient_and_stops_none():
    p = tf.Variable(np.random.default_rng(0).uniform(size=(1, 4, 5)))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(p * ops.distance_transform(p > 0.5, dtype=tf.float64))
    expected = scipy_transform(p.numpy() > 0.5)
    np.testing.assert_allclose(tape.gradient(value, p), expected, rtol=1e-12)


@pytest.mark.parametrize("spacing", [None, [0.5, 3.0]])
def test_signed_and_unsigned_boundary_distances(spacing):
    mask = masks((20, 23))
    inside, outside = scipy_transform(mask, spacing), scipy_transform(~mask, spacing)
    both = (mask.any((1, 2)) & ~mask.all((1, 2)))[:, None, None]
    step = 1 if spacing is None else 0.5
    signed = np.where(both, np.where(mask, step - inside, outside), 0)
    np.testing.assert_allclose(ops.signed_distance(mask, spacing), signed, rtol=1e-6, atol=1e-6)
    unsigned = np.where(both, np.where(mask, inside, outside), 0)
    np.testing.assert_allclose(ops.boundary_distance(mask, spacing), unsigned, rtol=1e-6)
    squared = ops.boundary_distance(mask, spacing, squared=True)
    np.testing.assert_allclose(squared, unsigned**2, rtol=1e-6)


def test_the_signed_distance_is_kervadecs_map():
    """one_hot2dist: distance outside, minus (distance - 1) inside."""
    mask = masks((15, 11), seed=3)[:3]
    for one, ours in zip(mask, ops.signed_distance(mask).numpy(), strict=True):
        theirs = ndimage.distance_transform_edt(~one) * ~one - (ndimage.distance_transform_edt(one) - 1) * one
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_with_a_spacing_the_inside_is_never_positive():
    mask = masks((15, 11), seed=3)[:3]
    signed = ops.signed_distance(mask, spacing=[0.1, 0.2]).numpy()
    assert (signed[mask] <= 0).all() and (signed[~mask] > 0).all()
    assert (signed[mask] == 0).any()


@pytest.mark.parametrize("transform", [ops.signed_distance, ops.boundary_distance])
def test_pixels_that_do_not_count_are_neither_object_nor_rest(transform):
    mask = masks((9, 12), seed=2)[:3]
    counted = np.ones(mask.shape, bool)
    counted[:, :, 8:] = False
    np.testing.assert_array_equal(transform(mask, counted=counted)[:, :, :8], transform(mask[:, :, :8]))
    assert not np.any(transform(mask, counted=np.zeros_like(counted)))


@pytest.mark.parametrize("transform", [ops.signed_distance, ops.boundary_distance])
def test_maps_of_objects_are_graph_ops(transform):
    batches = [[np.random.default_rng(0).uniform(size=size) > 0.4] for size in [(2, 6, 5), (0, 4, 3), (3, 1, 1)]]
    check_graph_op(transform, [tf.TensorSpec([None] * 3, tf.bool)], batches)


def test_it_runs_inside_an_input_pipeline():
    batch = masks((12, 10))[:4]
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(2).map(ops.distance_transform)
    np.testing.assert_allclose(np.concatenate(list(dataset)), scipy_transform(batch), rtol=1e-7)


@pytest.mark.parametrize("spacing", [0, -1.0, [1.0], [1.0, 2.0, 3.0], [1.0, np.nan], tf.constant([1.0, 2.0, 3.0])])
def test_a_spacing_that_does_not_fit_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing.*Expected one"):
        ops.distance_transform(np.zeros((1, 4, 4)), spacing)


def test_a_mask_without_spatial_axes_is_refused():
    with pytest.raises(ValueError, match=r"Expected \[B, ...\]"):
        ops.distance_transform([1, 0, 1])
