import numpy as np
import pytest
import tensorflow as tf
from graph_checks import check_graph_op
from scipy import ndimage

from kseg import ops


def cells(images=3, size=(40, 50), count=12, seed=0):
    """Images of disks with ids in random order; the last image has one disk, the one before it none."""
    rng = np.random.default_rng(seed)
    grid = np.indices(size)
    batch = np.zeros((images, *size), int)
    for image in batch:
        for number in rng.permutation(count) * 7 + 1:
            centre, radius = rng.uniform(0, size), rng.uniform(1, 5)
            inside = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < radius**2
            image[inside & (image == 0)] = number
    batch[-1] = (batch[-1] == batch[-1].max()) * 3
    batch[-2] = 0
    return batch


def expected(instances, w0=10.0, sigma=5.0, everywhere=False):
    """Eq. 2 of Ronneberger et al. with w_c = 1, one transform per object."""
    maps = []
    for image in instances:
        border = np.zeros(image.shape)
        objects = [ndimage.distance_transform_edt(image != k) for k in np.unique(image[image != 0])]
        if len(objects) > 1:
            first, second = np.sort(objects, axis=0)[:2]
            border = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
        maps.append(1 + border * (everywhere | (image == 0)))
    return np.array(maps)


@pytest.mark.parametrize("options", [{}, {"w0": 3.0, "sigma": 2.0}, {"sigma": 12.5, "everywhere": True}, {"w0": 0.0}])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_papers_formula(options, dtype):
    instances = cells()
    result = ops.unet_weight_map(instances, dtype=dtype, **options)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected(instances, **options), rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("size", [(60,), (9, 10, 11)])
def test_any_number_of_axes(size):
    instances = cells(size=size, count=5)
    np.testing.assert_allclose(ops.unet_weight_map(instances), expected(instances), rtol=1e-5)


def test_many_objects_of_one_pixel_each():
    rng = np.random.default_rng(0)
    instances = np.where(rng.uniform(size=(1, 48, 48)) < 0.2, np.arange(48 * 48).reshape(48, 48) + 1, 0)
    result = ops.unet_weight_map(instances, sigma=1.5, everywhere=True)
    np.testing.assert_allclose(result, expected(instances, sigma=1.5, everywhere=True), rtol=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "int64"])
def test_ids_of_any_integer_type(kind):
    instances = cells().astype(kind)
    np.testing.assert_allclose(ops.unet_weight_map(instances), expected(instances.astype(int)), rtol=1e-5)


def test_class_balance():
    instances = cells()
    objects = instances > 0
    given = ops.unet_weight_map(instances, w0=0.0, class_weights=(0.25, 3.0)).numpy()
    np.testing.assert_allclose(given, np.where(objects, 3.0, 0.25))
    balanced = ops.unet_weight_map(instances, w0=0.0, class_weights="balanced").numpy()
    for image, weight in zip(objects, balanced, strict=True):
        for here in (image, ~image):
            if here.any():
                np.testing.assert_allclose(weight[here], image.size / (2 * here.sum()), rtol=1e-6)
    both = ops.unet_weight_map(instances, class_weights="balanced").numpy()
    np.testing.assert_allclose(both - balanced, expected(instances) - 1, atol=1e-5)


def test_it_is_a_graph_op():
    rng = np.random.default_rng(0)
    batches = [[rng.integers(0, 5, size)] for size in [(2, 6, 9), (1, 1, 1), (0, 4, 3), (1, 30, 2)]]
    check_graph_op(ops.unet_weight_map, [tf.TensorSpec([None] * 3, tf.int32)], batches, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w0": -1}, "w0=-1"),
        ({"sigma": 0}, "sigma=0"),
        ({"sigma": float("nan")}, "sigma=nan"),
        ({"class_weights": "balance"}, "class_weights='balance'.*'balanced'"),
        ({"class_weights": (1, 2, 3)}, "two numbers"),
        ({"class_weights": (-1, 2)}, "two numbers"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ops.unet_weight_map(cells(), **options)


def test_masks_of_floats_are_refused():
    with pytest.raises(ValueError, match="Expected ids"):
        ops.unet_weight_map(np.zeros((1, 4, 4), "float32"))
