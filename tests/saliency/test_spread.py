"""Spread of maps as numbers, against one image after another in plain NumPy and SciPy, and against known cases."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from kseg.saliency import spread

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(4, 9, 7, 1)) * RNG.random((4, 9, 7, 1)) ** 3 * 1e-8
BOXES = np.array([[0, 9, 0, 7], [2, 8, 1, 6], [0, 5, 3, 7], [4, 5, 2, 6]])


def one_by_one(function, maps, boxes):
    return [function(g[y0:y1, x0:x1]) for g, (y0, y1, x0, x1) in zip(maps, boxes, strict=True)]


def distance(g, k):
    places = np.argwhere(np.abs(g) >= np.sort(np.abs(g).ravel())[-k:].min())
    return pdist(places).mean()


def steepness(g):
    slopes = [np.gradient(g, axis=axis) for axis in (0, 1) if g.shape[axis] > 1]
    return np.sqrt(sum(slope**2 for slope in slopes)).mean() / np.abs(g).max()


FORMULAS = {
    "share_above": lambda g: (np.abs(g) > 0.1 * np.abs(g).max()).mean(),
    "participation": lambda g: np.abs(g).sum() ** 2 / (g.size * (g**2).sum()),
    "top_distance": lambda g: distance(g, 4),
    "largest": lambda g: np.abs(g).max(),
    "sharpness": steepness,
}


@pytest.mark.parametrize("boxes", [None, BOXES])
@pytest.mark.parametrize("name", FORMULAS)
def test_each_number_is_that_of_the_formula(name, boxes):
    found = spread.summary(MAPS, k=4, boxes=boxes)[name]
    everywhere = np.tile([0, 9, 0, 7], (4, 1)) if boxes is None else boxes
    expected = one_by_one(FORMULAS[name], MAPS[..., 0], everywhere)
    assert found.shape == (4,)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_what_lies_outside_the_box_does_not_count():
    other = MAPS.copy()
    other[1, :2] = other[1, 8:] = other[1, :, 0] = other[1, :, 6] = 1e9
    for name, values in spread.summary(MAPS, k=5, boxes=BOXES).items():
        np.testing.assert_array_equal(spread.summary(other, k=5, boxes=BOXES)[name], values, err_msg=name)


def test_a_map_of_zeros_has_no_spread():
    maps = np.concatenate([np.zeros((1, 5, 5)), np.ones((1, 5, 5))])
    found = spread.summary(maps)
    assert found["largest"].tolist() == [0, 1]
    assert all(np.isnan(values[0]) and np.isfinite(values[1]) for k, values in found.items() if k != "largest")
    assert {name: values[1] for name, values in found.items() if name != "top_distance"} == {
        "share_above": 1, "participation": 1, "largest": 1, "sharpness": 0,
    }  # fmt: skip
    assert found["top_distance"][1] == pytest.approx(pdist(np.argwhere(np.ones((5, 5)))).mean())
    assert all(values.shape == (0,) for values in spread.summary(np.zeros((0, 5, 5))).values())


def test_a_single_pixel_has_no_distance_and_two_have_theirs():
    maps = np.zeros((2, 6, 6))
    maps[:, 1, 1], maps[1, 4, 5] = -3, 1e-3
    found = spread.top_distance(maps, 10)
    assert np.isnan(found[0]) and found[1] == 5


def test_channels_count_by_their_norm_and_keep_their_sign():
    maps = RNG.normal(size=(3, 8, 8, 2))
    norm, turned = np.linalg.norm(maps, axis=-1), maps @ np.array([[0.6, -0.8], [0.8, 0.6]])
    for name, values in spread.summary(maps).items():
        np.testing.assert_allclose(spread.summary(turned)[name], values, rtol=1e-9, err_msg=name)
        if name != "sharpness":
            np.testing.assert_allclose(spread.summary(norm)[name], values, rtol=1e-9, err_msg=name)
    stripes = np.where(np.arange(8) // 2 % 2, 1.0, -1.0) * np.ones((1, 8, 1))
    assert spread.sharpness(stripes)[0] > 0.5 and spread.sharpness(np.abs(stripes))[0] == 0


def test_soft_margin_is_the_share_of_pixels_between_the_two():
    p = np.array([[[0.05, 0.1, 0.5], [0.9, 0.89, 0.95]]])
    assert spread.soft_margin(p)[0] == spread.soft_margin(p[..., None])[0] == pytest.approx(2 / 6)
    assert spread.soft_margin(p, 0.0, 0.4)[0] == pytest.approx(2 / 6)
    assert spread.soft_margin(p, boxes=[[0, 2, 1, 2]])[0] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: spread.largest(np.zeros((4, 4))), "Expected [N, H, W]"),
        (lambda: spread.largest(np.zeros((2, 4, 4)), boxes=[[0, 4, 0, 4]]), "Expected [2, 4]"),
        (lambda: spread.largest(np.zeros((1, 4, 4)), boxes=[[0, 5, 0, 4]]), "images of 4 x 4"),
        (lambda: spread.top_distance(np.zeros((1, 4, 4)), k=1), "k=1"),
        (lambda: spread.soft_margin(np.zeros((1, 4, 4, 3))), "that of the foreground"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(ValueError, match=".") as error:
        call()
    assert words in str(error.value)
