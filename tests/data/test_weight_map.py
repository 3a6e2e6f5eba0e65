"""The weight map as data preparation: against the graph op, by hand, and through `load` and `fit`."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import losses, ops
from kseg.data import DataFile, Writer, add_weights, label_objects, load, pipeline, unet_weights

ATTRIBUTES = {
    "name": "cells", "classes": ["background", "cell", "other cell"], "value_range": (0, 1), "command": "by hand",
    "sources": [], "split_rule": "by hand", "seed": 0,
}  # fmt: skip


def cells(images=4, size=(24, 20), seed=0):
    """Boxes that touch now and then, by number, as images of noise, masks of two classes and instances."""
    rng = np.random.default_rng(seed)
    instances = np.zeros((images, *size), np.int64)
    for image in instances:
        for number in range(1, 9):
            y, x = rng.integers(0, size[0] - 3), rng.integers(0, size[1] - 3)
            box = image[y : y + rng.integers(2, 6), x : x + rng.integers(2, 6)]
            box[box == 0] = number
    masks = np.where(instances > 0, 1 + instances % 2, 0).astype(np.uint8)
    return rng.uniform(size=(*instances.shape, 1)).astype("float32"), masks, instances


@pytest.fixture(params=[True, False], ids=["instances", "masks only"])
def numbered(request):
    return request.param


@pytest.fixture
def path(tmp_path, numbered):
    path = tmp_path / "cells.h5"
    with Writer(path, **ATTRIBUTES) as writer:
        for case, seed in (("a", 0), ("b", 1)):
            images, masks, instances = cells(seed=seed)
            writer.add("train", case, images, masks, instances=instances if numbered else None)
    return path


def all_rows(numbered):
    images, masks, instances = (np.concatenate(parts) for parts in zip(cells(seed=0), cells(seed=1), strict=True))
    return images, masks, instances if numbered else label_objects(masks)


OPTIONS = [
    {}, {"w0": 3.0, "sigma": 1.5}, {"everywhere": True}, {"class_weights": "balanced"}, {"class_weights": (1, 4)},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_equals_the_graph_op(options):
    """Which finds the two nearest objects in another way."""
    _, _, instances = cells()
    instances[0], instances[1] = 0, instances[1] == 1  # no object, and one
    weights = unet_weights(instances, **options)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, ops.unet_weight_map(instances, **options), rtol=1e-5)


def test_two_columns_by_hand():
    """Between two cells that are 4 pixels apart, d1 + d2 is 5 everywhere; beyond the right one, d1 = 1 and d2 = 6."""
    row = np.array([[[1, 0, 0, 0, 0, 2, 0]]])
    gap, beyond = 10 * np.exp(-25 / 50), 10 * np.exp(-49 / 50)
    np.testing.assert_allclose(unet_weights(row)[0, 0], [1, *[1 + gap] * 4, 1, 1 + beyond], rtol=1e-6)
    half = np.array([[[1, 1, 0, 0]]])
    np.testing.assert_allclose(unet_weights(half, class_weights="balanced")[0, 0], 1)
    quarter = np.array([[[1, 0, 0, 0]]])
    np.testing.assert_allclose(unet_weights(quarter, class_weights="balanced")[0, 0], [2, *[2 / 3] * 3], rtol=1e-6)


def test_objects_are_connected_components_of_each_class():
    mask = np.array([[[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 2], [2, 2, 0, 2]]])
    found = label_objects(mask)[0]
    assert sorted(np.unique(found)) == [0, 1, 2, 3]
    assert len({*found[mask[0] == 1]}) == 1, "corners join"
    assert len({*found[mask[0] == 2]}) == 2
    touching = np.array([[[1, 1, 2, 2]]])
    assert label_objects(touching).tolist() == [[[1, 1, 2, 2]]]
    assert not label_objects(np.zeros((2, 3, 3), int)).any()


def test_instances_are_written_read_and_verified(path, numbered):
    with DataFile(path) as data:
        data.verify()
        if not numbered:
            assert data.instances("train") is None
            return
        expected = all_rows(True)[2]
        assert data.instances("train").dtype == np.uint16
        np.testing.assert_array_equal(data.instances("train"), expected)
        np.testing.assert_array_equal(data.instances("train", 2, 5), expected[2:5])
        before = data.fingerprint()
    with h5py.File(path, "r+") as file:
        file["train/instances"][0, 0, 0] += 1
    with DataFile(path) as data, pytest.raises(ValueError, match="train/instances that does not match its SHA-256"):
        data.verify()
    with h5py.File(path, "r+") as file:
        file["train/instances"].attrs["sha256"] = "0"
    with DataFile(path) as data:
        assert data.fingerprint() != before


def test_instances_of_another_size_or_type_are_refused(tmp_path):
    images, masks, instances = cells()
    for wrong in (instances[:, :5], instances.astype(float), -instances, instances + 70000):
        with (
            Writer(tmp_path / "cells.h5", **ATTRIBUTES, overwrite=True) as writer,
            pytest.raises(ValueError, match="a: instances do not fit.*0 to 65535"),
        ):
            writer.add("train", "a", images, masks, instances=wrong)
    for first, second in ((None, instances), (instances, None)):
        with Writer(tmp_path / "cells.h5", **ATTRIBUTES, overwrite=True) as writer:
            writer.add("train", "a", images, masks, instances=first)
            writer.add("test", "b", images, masks, instances=second)
            with pytest.raises(ValueError, match="c: some cases of train have instances"):
                writer.add("train", "c", images, masks, instances=second)
    with h5py.File(tmp_path / "cells.h5", "r+") as file:
        del file["train/instances"]
        file["train/instances"] = instances.astype(np.int32)
    with pytest.raises(ValueError, match="train/instances .* int32"):
        DataFile(tmp_path / "cells.h5")


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "streamed"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_load_gives_weights_with_their_images(path, numbered, in_memory, shuffle, monkeypatch):
    monkeypatch.setattr(pipeline, "BLOCK", 3)
    images, masks, instances = all_rows(numbered)
    weights = ops.unet_weight_map(instances, sigma=2.0).numpy()
    expected = {image.tobytes(): (mask, weight) for image, mask, weight in zip(images, masks, weights, strict=True)}
    dataset = load(path, "train", 3, in_memory=in_memory, shuffle=shuffle, weight_map={"sigma": 2.0})
    assert [(s.shape.as_list(), s.dtype.name) for s in dataset.element_spec] == [
        ([None, 24, 20, 1], "float32"), ([None, 24, 20], "uint8"), ([None, 24, 20], "float32"),
    ]  # fmt: skip
    count = 0
    for batch in dataset.as_numpy_iterator():
        for image, mask, weight in zip(*batch, strict=True):
            np.testing.assert_array_equal(mask, expected[image.tobytes()][0])
            np.testing.assert_allclose(weight, expected[image.tobytes()][1], rtol=1e-5)
            count += 1
    assert count == len(images)


def test_the_toy_set_has_weights_too():
    images, masks, weights = next(iter(load("toy", "test", 4, weight_map={})))
    np.testing.assert_allclose(weights, unet_weights(label_objects(masks.numpy())), rtol=1e-6)


@pytest.mark.parametrize("channel", [False, True])
def test_weights_are_added_to_any_dataset(numbered, channel):
    images, masks, instances = all_rows(numbered)
    columns = [images, masks[..., None] if channel else masks]
    if numbered:
        columns.append(instances[..., None] if channel else instances)
    dataset = add_weights(tf.data.Dataset.from_tensor_slices(tuple(columns)).batch(3), w0=4.0)
    assert dataset.element_spec[2].shape.as_list() == [None, 24, 20]
    found = np.concatenate([weights for _, _, weights in dataset])
    np.testing.assert_allclose(found, unet_weights(instances, w0=4.0), rtol=1e-6)


def test_the_weights_reach_the_loss_through_fit(path, numbered):
    inputs = keras.Input((24, 20, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1, kernel_initializer=keras.initializers.Zeros())(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss=losses.get("weighted_cce", from_logits=True))
    history = model.fit(load(path, "train", 8, weight_map={}), verbose=0, shuffle=False).history
    weights = unet_weights(all_rows(numbered)[2])
    assert weights.mean() > 1.1
    assert history["loss"][0] == pytest.approx(weights.mean() * np.log(3), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w0": -1}, "w0=-1"),
        ({"sigma": 0}, "sigma=0"),
        ({"class_weights": "balance"}, "'balance'.*'balanced'"),
        ({"class_weights": (1, 2, 3)}, "two numbers"),
        ({"everywhere": "yes"}, "everywhere='yes'"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_read(options, message):
    for call in (
        lambda: unet_weights(np.zeros((1, 4, 4), int), **options),
        lambda: load("toy", weight_map=options),
        lambda: add_weights(None, **options),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_masks_of_floats_are_refused():
    with pytest.raises(ValueError, match="Expected integers"):
        unet_weights(np.zeros((1, 4, 4)))


def test_real_nuclei(kseg_data):
    from PIL import Image

    files = sorted((kseg_data / "extra/dsb2018_nuclei/instance_masks").glob("*.png"))[:3]
    instances = np.stack([np.asarray(Image.open(file)).astype(int) for file in files])
    assert instances.max() > 5
    weights = unet_weights(instances)
    np.testing.assert_allclose(weights, ops.unet_weight_map(instances), rtol=1e-5)
    assert weights.max() > 5 and weights[instances > 0].max() == 1


@pytest.mark.parametrize("options", [True, {"w": 10}, "balanced"])
def test_a_weight_map_of_unknown_options_is_refused(options):
    with pytest.raises(ValueError, match="weight_map=.*Expected a dict with any of w0, sigma, class_weights"):
        load("toy", weight_map=options)
