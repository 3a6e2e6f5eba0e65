"""`kseg.data.load` and the toy set."""

import numpy as np
import pytest

from kseg.data import DataFile, load, open_data, pipeline, stream

STREAMED = pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "streamed"])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 4 rows, two at a time, so that the tiny set is streamed in several."""
    monkeypatch.setattr(pipeline, "BLOCK", 4)
    monkeypatch.setattr(pipeline, "GROUP", 2)


def batches(dataset):
    return [(images.numpy(), masks.numpy()) for images, masks in dataset]


def row_keys(dataset):
    """The bytes of each row, image and mask together, in the order in which they come."""
    return [x.tobytes() + y.tobytes() for images, masks in batches(dataset) for x, y in zip(images, masks, strict=True)]


def stored_keys(path, split):
    with DataFile(path) as data:
        return [x.tobytes() + y.tobytes() for x, y in zip(*data.read(split), strict=True)]


@STREAMED
def test_batches_have_the_promised_shapes_and_types(prepared, in_memory):
    dataset = load(prepared, "train", 5, in_memory=in_memory)
    images, masks = dataset.element_spec
    assert (images.shape.as_list(), images.dtype.name) == ([None, 16, 16, 1], "float32")
    assert (masks.shape.as_list(), masks.dtype.name) == ([None, 16, 16], "uint8")
    sizes = [len(images) for images, _ in batches(dataset)]
    rows = len(stored_keys(prepared, "train"))
    assert sizes == [5] * (rows // 5) + [rows % 5] * (rows % 5 > 0)


@STREAMED
@pytest.mark.parametrize("drop", [False, True])
def test_the_number_of_batches_is_known(prepared, in_memory, drop):
    dataset = load(prepared, "train", 5, in_memory=in_memory, drop_remainder=drop)
    rows = len(stored_keys(prepared, "train"))
    assert rows % 5  # else the case of a remainder is not tested
    assert int(dataset.cardinality()) == rows // 5 + (not drop) == len(batches(dataset))


@STREAMED
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_row_comes_exactly_once(prepared, in_memory, split):
    keys = row_keys(load(prepared, split, 5, in_memory=in_memory))
    stored = stored_keys(prepared, split)
    assert len(set(stored)) == len(stored)
    assert sorted(keys) == sorted(stored)


@STREAMED
def test_only_the_training_split_is_shuffled(prepared, in_memory):
    for split in ("validation", "test"):
        assert row_keys(load(prepared, split, 5, in_memory=in_memory)) == stored_keys(prepared, split)
    assert row_keys(load(prepared, "train", 5, in_memory=in_memory)) != stored_keys(prepared, "train")
    unshuffled = load(prepared, "train", 5, shuffle=False, in_memory=in_memory)
    assert row_keys(unshuffled) == stored_keys(prepared, "train")


@STREAMED
def test_a_seed_gives_the_same_orders_and_each_epoch_its_own(prepared, in_memory):
    def epochs(seed):
        dataset = load(prepared, "train", 5, seed=seed, in_memory=in_memory)
        return [row_keys(dataset) for _ in range(3)]

    first = epochs(1)
    assert first == epochs(1)
    assert len({tuple(order) for order in first}) == 3
    assert first != epochs(2)


@STREAMED
@pytest.mark.parametrize("drop", [False, True])
def test_a_stream_is_one_pass_after_the_other(prepared, in_memory, drop):
    options = {"seed": 3, "in_memory": in_memory, "drop_remainder": drop}
    passes = load(prepared, "train", 5, **options)
    expected = [images.tobytes() for _ in range(3) for images, _ in batches(passes)]
    dataset = stream(prepared, "train", 5, **options)
    for _ in range(2):  # begun anew, it is the same; Keras looks at a first batch before it trains
        assert [images.tobytes() for images, _ in batches(dataset.take(len(expected)))] == expected
    assert expected[: len(passes)] != expected[len(passes) : 2 * len(passes)]


@STREAMED
def test_a_stream_begins_at_any_batch(prepared, in_memory):
    """Within a pass, at its smaller last batch, between two passes, and in a later one."""
    options = {"seed": 3, "in_memory": in_memory}
    length = len(load(prepared, "train", 3))
    whole = batches(stream(prepared, "train", 3, **options).take(3 * length))
    for start in (1, length - 1, length, 2 * length + length // 2):
        found = batches(stream(prepared, "train", 3, start=start, **options).take(3 * length - start))
        for (images, masks), (expected, truth) in zip(found, whole[start:], strict=True):
            np.testing.assert_array_equal(images, expected)
            np.testing.assert_array_equal(masks, truth)


@STREAMED
def test_the_order_follows_from_seed_and_pass_alone(prepared, in_memory):
    """Not from how many passes were gone through, nor from any other seed."""
    first = load(prepared, "train", 5, seed=3, in_memory=in_memory)
    for _ in range(2):
        keys = row_keys(first)
    length = len(first)
    late = stream(prepared, "train", 5, seed=3, start=length, in_memory=in_memory)
    assert row_keys(late.take(length)) == keys


@pytest.mark.parametrize("start", [-1, 0.5, True])
def test_a_stream_cannot_begin_before_its_first_batch(prepared, start):
    with pytest.raises(ValueError, match=f"start={start}.*Expected the number of a batch"):
        stream(prepared, start=start)


def test_a_stream_without_a_batch_is_refused(prepared):
    with pytest.raises(ValueError, match="batch_size=999 is more than split 'train' has rows"):
        stream(prepared, "train", 999, drop_remainder=True)


@STREAMED
def test_no_autotuning_thread_runs(prepared, in_memory):
    """Its lost wake-ups made the end of an epoch wait, up to a minute."""
    assert load(prepared, in_memory=in_memory).options().autotune.enabled is False


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True])
def test_bad_batch_sizes_are_refused(prepared, batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size}.*Expected a whole number, at least 1"):
        load(prepared, "train", batch_size)


def test_unknown_splits_name_the_known_ones(prepared):
    with pytest.raises(ValueError, match="'valid'.*Expected one of: train, validation, test.*'validation'"):
        load(prepared, "valid")


def test_empty_splits_are_refused(msd, tmp_path):
    from kseg.cli import main

    path = tmp_path / "set.h5"
    assert main("prepare_hippocampus", [str(msd), str(path), "--split", "0.8", "0", "0.2"]) == 0
    with pytest.raises(ValueError, match="'validation'.*empty.*Expected at least one row"):
        load(path, "validation")


def test_options_belong_to_built_in_sets(prepared):
    images, masks = next(iter(load("toy", "test", 100, threshold=0.5)))
    np.testing.assert_array_equal(masks, images[..., 0] > 0.5)
    with pytest.raises(ValueError, match="takes no options.*threshold"):
        load(prepared, "train", threshold=0.5)


def test_an_open_set_is_taken_as_it_is(prepared):
    with DataFile(prepared) as data:
        assert open_data(data) is data
        assert row_keys(load(data, "test", 3)) == stored_keys(prepared, "test")


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("seed", [0, 1])
def test_toy_foreground_share(split, seed):
    """S1.8: threshold 0.95 on 100 images gives 5 % foreground, within 0.2 %."""
    images, masks = open_data("toy", threshold=0.95, seed=seed).read(split)
    assert images.shape == (100, 32, 32, 1) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() < 1
    assert set(np.unique(masks)) == {0, 1}
    assert abs(masks.mean() - 0.05) <= 0.002


def test_toy_pixels_at_the_threshold_are_background():
    pixel = float(open_data("toy").read("test")[0][3, 4, 5, 0])
    images, masks = open_data("toy", threshold=pixel).read("test")
    assert masks[3, 4, 5] == 0
    np.testing.assert_array_equal(masks, images[..., 0] > np.float32(pixel))


def test_toy_splits_and_seeds_differ_and_seeds_repeat():
    splits = ("train", "validation", "test")
    drawn = [open_data("toy", seed=seed).read(split)[0][:100] for seed in (0, 1) for split in splits]
    assert len({images.tobytes() for images in drawn}) == 6
    np.testing.assert_array_equal(open_data("toy", seed=1).read("test")[0], drawn[-1])


def test_toy_rows_are_the_same_read_in_parts():
    data = open_data("toy")
    images, masks = data.read("validation")
    part_images, part_masks = data.read("validation", 10, 13)
    np.testing.assert_array_equal(part_images, images[10:13])
    np.testing.assert_array_equal(part_masks, masks[10:13])


@pytest.mark.parametrize("threshold", [0, 1, -0.5, float("nan")])
def test_toy_thresholds_outside_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold.*Expected a number in \\(0, 1\\)"):
        open_data("toy", threshold=threshold)
