import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

import kseg.metrics as M

# S2.4: a predicted and a true mask.
P = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0]])
G = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]])
RATIOS = [M.precision, M.recall, M.f1, M.dice, M.iou, M.accuracy, M.class_accuracies, M.pixel_accuracy]


@pytest.fixture(scope="module")
def ids():
    rng = np.random.default_rng(0)
    return rng.integers(0, 4, (2, 5, 6)), rng.integers(0, 4, (2, 5, 6))


@pytest.fixture(scope="module")
def counts(ids):
    return M.confusion_counts(*ids, 4)


def test_worked_example():
    counts = M.confusion_counts(G, P, 2)
    assert [int(n[1]) for n in counts] == [2, 1, 1, 5]  # S2.6: TP, FP, FN, TN
    for ratio, value in [
        (M.precision, 2 / 3),
        (M.recall, 2 / 3),
        (M.f1, 2 / 3),
        (M.accuracy, 7 / 9),
        (M.iou, 0.5),
    ]:
        assert ratio(counts)[1] == pytest.approx(value)
    assert M.pixel_accuracy(counts) == pytest.approx(7 / 9)
    assert counts.support.tolist() == [6, 3]
    assert counts.total.tolist() == [9, 9]


def test_the_accuracy_trap():
    truth = np.zeros((1000, 1000), np.uint8)
    truth[:100, :100] = 1
    counts = M.confusion_counts(truth, np.zeros_like(truth), 2)
    assert M.pixel_accuracy(counts) == pytest.approx(0.99)  # S2.3
    np.testing.assert_allclose(M.class_accuracies(counts), [1, 0])
    assert M.mean_class_accuracy(counts) == pytest.approx(0.5)


def test_confusion_matrix_equals_scikit_learn(ids):
    truth, guess = ids
    expected = sklearn.metrics.confusion_matrix(truth.ravel(), guess.ravel(), labels=range(4))
    np.testing.assert_array_equal(M.confusion_matrix(truth, guess, 4), expected)
    keep = truth != 2
    expected = sklearn.metrics.confusion_matrix(truth[keep], guess[keep], labels=range(4))
    np.testing.assert_array_equal(M.confusion_matrix(truth, guess, 4, ignore_class=2), expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (M.precision, sklearn.metrics.precision_score),
        (M.recall, sklearn.metrics.recall_score),
        (M.f1, sklearn.metrics.f1_score),
        (M.dice, sklearn.metrics.f1_score),
        (M.iou, sklearn.metrics.jaccard_score),
        (M.class_accuracies, sklearn.metrics.recall_score),
    ],
)
def test_ratios_equal_scikit_learn(ids, counts, ours, theirs):
    expected = theirs(*(i.ravel() for i in ids), labels=range(4), average=None)
    np.testing.assert_allclose(ours(counts), expected, rtol=1e-12)


def test_accuracies_equal_scikit_learn(ids, counts):
    truth, guess = (i.ravel() for i in ids)
    assert M.pixel_accuracy(counts) == pytest.approx(sklearn.metrics.accuracy_score(truth, guess))
    assert M.mean_class_accuracy(counts) == pytest.approx(sklearn.metrics.balanced_accuracy_score(truth, guess))
    for k in range(4):
        assert M.accuracy(counts)[k] == pytest.approx(sklearn.metrics.accuracy_score(truth == k, guess == k))


def test_dice_and_iou_determine_each_other(counts):
    iou, dice = M.iou(counts), M.dice(counts)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))  # S2.7
    np.testing.assert_allclose(iou, dice / (2 - dice))
    assert np.all(iou <= dice)


def test_tensors_give_what_arrays_give(ids, counts):
    tensors = [tf.constant(i) for i in ids]
    of_tensors = M.confusion_counts(*tensors, 4)
    assert all(tf.is_tensor(n) for n in of_tensors)
    for ours, theirs in zip(of_tensors, counts, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ratio in (*RATIOS, M.mean_class_accuracy):
        np.testing.assert_allclose(ratio(of_tensors), ratio(counts), rtol=1e-12)
    ignoring = M.confusion_matrix(*tensors, 4, ignore_class=2)
    np.testing.assert_array_equal(ignoring, M.confusion_matrix(*ids, 4, ignore_class=2))


def test_counts_of_cases_add_up(ids, counts):
    truth, guess = ids
    first, second = (M.confusion_counts(t, g, 4) for t, g in zip(truth, guess, strict=True))
    for ours, theirs in zip(first + second, counts, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_ratios_keep_leading_axes(ids):
    cases = [M.confusion_counts(t, g, 4) for t, g in zip(*ids, strict=True)]
    stacked = M.Counts(*(np.stack(n) for n in zip(*cases, strict=True)))
    for ratio in (*RATIOS, M.mean_class_accuracy):
        np.testing.assert_allclose(ratio(stacked), [ratio(case) for case in cases])


@pytest.mark.parametrize("convert", [np.asarray, tf.constant], ids=["arrays", "tensors"])
def test_nothing_over_nothing_is_nan_unless_told_otherwise(convert):
    counts = M.confusion_counts(convert(np.array([0, 1, 1])), convert(np.array([0, 1, 0])), 4)
    for ratio in (M.precision, M.recall, M.f1, M.iou):
        values = np.asarray(ratio(counts))
        assert np.isnan(values[2:]).all() and not np.isnan(values[:2]).any()
        assert np.asarray(ratio(counts, empty=1.0))[2:].tolist() == [1, 1]
        assert int(M.count_empty(ratio(counts))) == 2
    iou = M.iou(counts)
    assert float(M.nanmean(iou)) == pytest.approx(np.mean([1 / 2, 1 / 2]))
    assert float(M.mean_class_accuracy(counts)) == pytest.approx(0.75)


def test_a_class_only_in_the_prediction_is_wrong_and_not_empty():
    counts = M.confusion_counts(np.array([0, 0]), np.array([0, 1]), 2)
    assert M.iou(counts)[1] == 0
    assert np.isnan(M.recall(counts)[1])


def test_a_mean_over_nothing_is_nan():
    assert np.isnan(M.nanmean(np.array([np.nan, np.nan])))
    assert np.isnan(M.pixel_accuracy(M.confusion_counts(np.array([9]), np.array([0]), 2, ignore_class=9)))


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [
        (np.zeros(3, int), np.zeros(4, int), "Expected ids of equal shape"),
        (np.zeros(3, int), np.zeros(3), "Expected integers; take argmax or a threshold"),
        (np.array([0, 2]), np.zeros(2, int), "Expected 0 to 1"),
        (np.array([0, -1]), np.zeros(2, int), "Expected 0 to 1"),
        (np.zeros(2, int), np.array([0, 2]), "Expected 0 to 1"),
    ],
)
def test_ids_that_do_not_fit_are_refused(truth, guess, message):
    with pytest.raises(ValueError, match=message):
        M.confusion_matrix(truth, guess, 2)


def test_ignored_pixels_may_hold_any_id_but_predictions_may_not():
    truth, guess = np.array([0, 1, 255]), np.array([0, 1, 1])
    assert M.confusion_matrix(truth, guess, 2, ignore_class=255).tolist() == [[1, 0], [0, 1]]


def test_unsigned_ids_do_not_overflow():
    truth = np.full(300, 200, np.uint8)
    assert M.confusion_matrix(truth, truth, 201)[200, 200] == 300


@pytest.mark.parametrize("ratio", [M.dice, M.iou, M.precision, M.pixel_accuracy, M.thresholded_iou])
def test_masks_instead_of_counts_are_refused_with_the_way_out(ratio):
    with pytest.raises(ValueError, match="got ndarray. Expected Counts; make them of masks with"):
        ratio(np.ones((4, 4), int))
