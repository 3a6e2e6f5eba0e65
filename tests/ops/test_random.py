"""Random numbers of images: normal, independent, the same in every batch and program."""

import graph_checks
import numpy as np
import tensorflow as tf
from scipy import stats

from kseg.ops import random_normal as normal


def test_they_are_normal_and_independent():
    draws = np.concatenate([normal([4, 50, 50, 1], [0, 1, 2, 70000], i, seed) for i in (0, 1) for seed in (0, 1)])
    rows = draws.reshape(16, -1)
    assert stats.kstest(rows.ravel(), "norm").pvalue > 1e-3
    assert max(abs(rows.mean(axis=1))) < 4 / 50 and max(abs(rows.std(axis=1) - 1)) < 4 / 70
    matrix = np.corrcoef(rows) - np.eye(16)
    assert np.abs(matrix).max() < 4.5 / 50
    shifted = [np.corrcoef(row[1:], row[:-1])[0, 1] for row in rows]
    assert np.abs(shifted).max() < 4.5 / 50


def test_they_go_by_the_row_and_are_the_same_in_every_program():
    whole = normal([5, 3, 4], tf.range(5), 2)
    np.testing.assert_array_equal(normal([2, 3, 4], [4, 1], 2), whole.numpy()[[4, 1]])
    graph_checks.check_graph_op(
        lambda images, rows, draw: normal(tf.shape(images), rows, draw),
        [tf.TensorSpec([None, None, 3]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)],
        [(np.zeros((2, 4, 3)), [3, 9], 1), (np.zeros((3, 5, 3)), [0, 1, 2], 0)],
        atol=1e-5,
    )
