"""From a model to masks and scores: sizes, cases without their padding, sums checked by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import inference, models
from kseg.data import DataFile, Writer, open_data
from kseg.inference import scores


def perfect(threshold=0.95):
    """A model without error on the toy set: two channels, the threshold and the pixel itself."""
    image = keras.Input((None, None, 1))
    constant = keras.layers.Rescaling(0.0, offset=threshold)(image)
    return keras.Model(image, keras.layers.Concatenate()([constant, image]))


def copying(channels=1, size=(None, None)):
    """A model whose probability is the pixel's value."""
    image = keras.Input((*size, channels))
    return keras.Model(image, keras.layers.Activation("linear")(image))


class Arrays:
    """A data set of one split held in arrays."""

    name, classes, value_range = "arrays", ("background", "disc"), (0, 1)

    def __init__(self, images, masks, case, box, slices=None):
        self.images, self.masks, self.shape = images, masks, images.shape[1:]
        self.sizes = {"train": 0, "validation": 0, "test": len(images)}
        slices = np.arange(len(images)) if slices is None else np.array(slices)
        self._index = {"case": np.array(case, object), "slice": slices, "box": np.array(box)}

    def read(self, split, start=0, stop=None):
        return self.images[start:stop], self.masks[start:stop]

    def index(self, split):
        return self._index


@pytest.fixture
def two_cases():
    """Case a: 2 slices with a margin of one pixel; case b: 1 slice without margin.

    Probabilities and masks are such that everything outside the box is wrong.
    """
    images, masks = np.ones((3, 4, 4, 1), np.float32), np.zeros((3, 4, 4), np.uint8)
    inside = np.array([[[0.9, 0.9], [0.2, 0.5]], [[0.6, 0.1], [0.1, 0.1]]])
    images[:2, 1:3, 1:3, 0] = inside
    masks[0, 1, 1] = masks[0, 2, 1] = masks[1, 1, 1] = 1
    images[2] = 0
    return Arrays(images, masks, ["a", "a", "b"], [[1, 3, 1, 3]] * 2 + [[0, 4, 0, 4]])


def test_scores_of_a_case_are_those_of_its_pixels_without_padding(two_cases):
    a, b = inference.score_cases(copying(), two_cases)
    # Case a: 3 pixels predicted (0.9, 0.9, 0.6), 3 true, 2 of them shared; 0.5 is not above the threshold.
    assert (a.name, a.slices) == ("a", 2)
    assert [int(count[1]) for count in a.counts] == [2, 1, 1, 4]
    assert [int(count[0]) for count in a.counts] == [4, 1, 1, 2]
    assert (b.name, b.slices) == ("b", 1)
    assert [int(count[1]) for count in b.counts] == [0, 0, 0, 16]


def test_the_threshold_decides(two_cases):
    a, _ = inference.score_cases(copying(), two_cases, threshold=0.15)
    assert [int(count[1]) for count in a.counts] == [3, 2, 0, 3]


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_blocks_and_batches_do_not_matter(two_cases, batch_size, monkeypatch):
    whole = inference.score_cases(copying(), two_cases)
    monkeypatch.setattr(scores, "BLOCK", 1)
    parts = inference.score_cases(copying(), two_cases, batch_size=batch_size)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(np.array(one.counts), np.array(other.counts))


def test_summary_means_over_cases_and_counts_the_empty(two_cases):
    summary = inference.summarise(inference.score_cases(copying(), two_cases), two_cases.classes)
    assert set(summary) == {"background", "disc"}
    disc = summary["disc"]
    assert disc["dice"]["mean"] == pytest.approx(2 * 2 / (3 + 3))
    assert disc["iou"]["mean"] == pytest.approx(2 / 4)
    assert (disc["dice"]["cases"], disc["dice"]["empty"]) == (1, 1)
    assert np.isnan(disc["dice"]["low"])  # no interval from one case
    assert disc["accuracy"]["mean"] == pytest.approx((6 / 8 + 16 / 16) / 2)
    assert (disc["accuracy"]["cases"], disc["accuracy"]["empty"]) == (2, 0)
    assert summary["background"]["dice"]["mean"] == pytest.approx((2 * 4 / 10 + 1) / 2)


def test_three_classes_have_a_mean_over_the_foreground():
    masks = np.array([[[0, 1], [1, 2]], [[0, 0], [1, 1]]], np.uint8)
    guesses = np.array([[[0, 1], [2, 2]], [[0, 0], [1, 0]]], np.uint8)
    index = {"case": np.array(["a", "b"]), "slice": np.zeros(2), "box": np.array([[0, 2, 0, 2]] * 2)}
    summary = inference.summarise(inference.count_cases(masks, guesses, index, 3), ("none", "one", "two"))
    # Dice a: one 2/3, two 2/3. b: one 2/3, two in neither mask, so it is left out of the mean of b.
    assert summary["two"]["dice"]["mean"] == pytest.approx(2 / 3)
    assert summary["two"]["dice"]["empty"] == 1
    assert summary["foreground mean"]["dice"]["mean"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert summary["foreground mean"]["dice"]["empty"] == 0


def test_rows_of_cases_hold_counts_and_scores(two_cases):
    rows = inference.case_rows(inference.score_cases(copying(), two_cases), two_cases.classes)
    assert [(row["case"], row["class"]) for row in rows] == [
        ("a", "background"), ("a", "disc"), ("b", "background"), ("b", "disc")
    ]  # fmt: skip
    assert (rows[1]["tp"], rows[1]["fp"], rows[1]["fn"], rows[1]["tn"]) == (2, 1, 1, 4)
    assert rows[1]["dice"] == pytest.approx(2 / 3, abs=1e-6)
    assert np.isnan(rows[3]["dice"])


def test_a_perfect_model_scores_one():
    data = open_data("toy")
    summary = inference.summarise(inference.score_cases(perfect(), data), data.classes)
    for ratios in summary.values():
        assert [score["mean"] for score in ratios.values()] == [1.0] * 6
        assert ratios["dice"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "cases": 100, "empty": 0, "missed": 0}


def test_cases_of_gives_the_rows_of_each_case():
    index = {"case": np.array(["a", "a", "b", "c", "c", "c"])}
    assert list(inference.cases_of(index)) == [("a", slice(0, 2)), ("b", slice(2, 3)), ("c", slice(3, 6))]
    assert list(inference.cases_of({"case": np.array([])})) == []


def test_assemble_orders_slices_and_cuts_the_padding():
    rows = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    index = {"slice": np.array([0, 7, 2]), "box": np.array([[0, 4, 0, 5], [1, 3, 2, 5], [1, 3, 2, 5]])}
    volume = inference.assemble(rows, index, slice(1, 3))
    np.testing.assert_array_equal(volume, rows[[2, 1], 1:3, 2:5])


def test_assembled_slices_are_the_volume(prepared):
    with DataFile(prepared) as data:
        masks, index = data.read("test")[1], data.index("test")
        for _, rows in inference.cases_of(index):
            volume = inference.assemble(masks, index, rows)
            assert volume.shape[0] == rows.stop - rows.start
            assert volume.sum() == masks[rows].sum() == 12 * (len(volume) - 1)


def test_images_of_any_size_are_padded_and_cut_again():
    model = models.with_probabilities(models.unet((None, None, 1), 1, filters=2, depth=2), "sigmoid")
    assert inference.size_multiple(model) == 4
    image = np.random.default_rng(0).random((3, 10, 13, 1), dtype=np.float32)
    masks = inference.predict_masks(model, image, threshold=0.4, batch_size=2)
    assert (masks.shape, masks.dtype) == ((3, 10, 13), np.uint8)
    padded = np.zeros((3, 12, 16, 1), np.float32)
    padded[:, :10, :13] = image
    np.testing.assert_array_equal(masks, model.predict(padded, verbose=0)[:, :10, :13, 0] > 0.4)


def test_the_largest_of_several_channels_wins():
    p = np.array([[[[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]], [[0.4, 0.3, 0.3], [0.0, 0.6, 0.4]]]], np.float32)
    np.testing.assert_array_equal(inference.predict_masks(copying(3), p), [[[1, 2], [0, 1]]])


def test_no_images_give_no_masks():
    assert inference.predict_masks(copying(), np.zeros((0, 4, 4, 1), np.float32)).shape == (0, 4, 4)


def test_load_model_takes_a_file_or_a_run_folder(run_folder):
    image = np.random.default_rng(0).random((1, 16, 16, 1), dtype=np.float32)
    one = inference.load_model(run_folder)
    other = inference.load_model(run_folder / "model.keras")
    np.testing.assert_array_equal(one(image), other(image))
    assert tf.reduce_min(one(image)) >= 0 and tf.reduce_max(one(image)) <= 1


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("none.keras", "does not exist"), ("nowhere", "does not exist"), ("folder", "holds no model.keras"),
        ("weights.h5", "is no .keras file"),
    ],
)  # fmt: skip
def test_load_model_names_what_is_missing(tmp_path, name, what):
    (tmp_path / "folder").mkdir()
    (tmp_path / "weights.h5").write_text("weights")
    with pytest.raises(FileNotFoundError, match=f"{name}' {what}. Expected a .keras file, or a run folder"):
        inference.load_model(tmp_path / name)


@pytest.mark.parametrize("length", [0, 100, 2000])
def test_damaged_models_are_refused_in_one_line(run_folder, tmp_path, length):
    path = tmp_path / "model.keras"
    path.write_bytes((run_folder / "model.keras").read_bytes()[:length])
    with pytest.raises(ValueError, match="cannot be loaded.*Expected a whole .keras file") as refused:
        inference.load_model(path)
    assert "\n" not in str(refused.value)


def test_models_with_code_in_them_are_refused(tmp_path):
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x)(image))
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="cannot be loaded"):
        inference.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: copying(1, (32, 16)), r"\(32, 16, 1\).*\(32, 32, 1\).*Expected equal shapes"),
        (lambda: copying(3), r"\(None, None, 3\).*\(32, 32, 1\)"),
        (lambda: models.unet((32, 32, 1), 3, filters=1, depth=1), "3 classes.*2.*background, foreground"),
        (lambda: keras.Model(*[[keras.Input((32, 32, 1)), keras.Input((32, 32, 1))]] * 2), "several inputs"),
    ],
    ids=["other size", "other channels", "other classes", "two inputs"],
)
def test_models_that_do_not_fit_the_data_are_refused(model, words):
    with pytest.raises(ValueError, match=words) as refused:
        inference.check_fit(model(), open_data("toy"))
    assert "\n" not in str(refused.value)


def test_models_that_fit_are_taken():
    for model in (copying(), copying(1, (32, 32)), perfect(), models.toy_net()):
        inference.check_fit(model, open_data("toy"))


def test_scoring_an_empty_split_is_refused(tmp_path):
    path = tmp_path / "set.h5"
    facts = {"name": "s", "classes": ["a", "b"], "value_range": (0, 1), "command": "", "sources": []}
    with Writer(path, split_rule="", seed=0, **facts) as writer:
        writer.add("train", "a", np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="'test'.*empty"):
        inference.score_cases(copying(), path)
