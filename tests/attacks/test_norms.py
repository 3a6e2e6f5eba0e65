"""Balls: projections against an optimiser, directions against the best of a linear function, random starts."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

from kseg.attacks.norms import NORMS

RNG = np.random.default_rng(0)
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}
CHANGES = RNG.normal(size=(4, 2, 3, 2)) * np.array([1.0, 1e-3, 50.0, 1e-20])[:, None, None, None]
CHANGES = CHANGES.astype(np.float32)
RADII = np.array([0.7, 1.0, 3.0, 0.5], np.float32)


def size(changes, norm):
    return np.linalg.norm(np.reshape(changes, (len(changes), -1)).astype(np.float64), ORDER[norm], axis=1)


def threshold(values, radius):
    """What soft thresholding takes off so that the L1 norm is at most the radius."""

    def over(t):
        return np.maximum(np.abs(values) - t, 0).sum() - radius

    return optimize.brentq(over, 0, np.abs(values).max()) if over(0) > 0 else 0


@pytest.mark.parametrize("norm", NORMS.names())
def test_sizes_are_those_of_numpy(norm):
    np.testing.assert_allclose(NORMS.get(norm).size(tf.constant(CHANGES)), size(CHANGES, norm), rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS.names())
def test_the_projection_is_the_nearest_point_of_the_ball(norm):
    found = NORMS.get(norm).project(tf.constant(CHANGES), tf.constant(RADII)).numpy()
    assert (size(found, norm) <= RADII * (1 + 1e-5)).all()
    np.testing.assert_array_equal(found[1], CHANGES[1])  # within the ball already
    for change, radius, near in zip(CHANGES, RADII, found, strict=True):
        flat = change.ravel().astype(np.float64)
        if norm == "linf":
            best = np.clip(flat, -radius, radius)
        elif norm == "l2":
            best = flat * min(1, radius / np.linalg.norm(flat))
        else:  # least threshold whose soft thresholding lies in the ball
            least = threshold(flat, radius)
            best = np.sign(flat) * np.maximum(np.abs(flat) - least, 0)
        np.testing.assert_allclose(near.ravel(), best, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS.names())
def test_a_direction_has_size_one_and_none_rises_more_but_in_l1(norm):
    gradient = CHANGES.copy()
    gradient[:, 0, 0, 0] = 0
    found = NORMS.get(norm).direction(tf.constant(gradient)).numpy()
    np.testing.assert_allclose(size(found, norm), 1, rtol=1e-5)
    rise = (found * gradient).sum(axis=(1, 2, 3))
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    most = np.linalg.norm(gradient.reshape(4, -1).astype(np.float64), dual, axis=1)
    np.testing.assert_allclose(rise, most, rtol=1e-4)  # of 12 values a hundredth is one
    assert (found[:, 0, 0, 0] == 0).all()
    nothing = NORMS.get(norm).direction(tf.zeros([2, 3, 3, 1])).numpy()
    assert (nothing == 0).all()


@pytest.mark.parametrize("norm", NORMS.names())
def test_random_starts_fill_the_ball_and_go_by_the_row(norm):
    draw = NORMS.get(norm).start
    radius = tf.fill([400], 2.0)
    found = draw([400, 2, 2, 1], tf.range(400), 0, 7, radius).numpy()
    lengths = size(found, norm)
    assert (lengths <= 2 + 1e-5).all()
    # Of a uniform point in d dimensions the share of the radius to the power of d is uniform.
    shares = (lengths / 2) ** 4
    assert abs(shares.mean() - 0.5) < 0.06 and shares.min() < 0.05 and shares.max() > 0.95
    assert np.abs(found.mean(axis=0)).max() < 0.2
    some = draw([2, 2, 2, 1], tf.constant([399, 5]), 0, 7, tf.fill([2], 2.0)).numpy()
    np.testing.assert_array_equal(some, found[[399, 5]])
    assert not np.array_equal(found, draw([400, 2, 2, 1], tf.range(400), 1, 7, radius))
