"""Which images the pixel study attacks, and what is left of an image cut to its salient pixels."""

import numpy as np
import pytest

from kseg.data import open_data
from kseg.studies.pixel_data import Reduced, keep_highest
from kseg.studies.rows import choose_rows


@pytest.fixture(scope="module")
def volumes():
    with open_data("volumes", counts=(2, 2, 2)) as data:
        yield data


def test_images_have_foreground_and_are_spread_over_cases(volumes):
    everything, some = choose_rows(volumes, "test", 0), choose_rows(volumes, "test", 10)
    images, masks = volumes.read("test")
    np.testing.assert_array_equal(everything.row, np.flatnonzero((masks > 0).any(axis=(1, 2))))
    assert len(some.row) == 10 and set(some.row) <= set(everything.row) and (np.diff(some.row) > 0).all()
    assert sorted(np.unique(some.case, return_counts=True)[1]) == [2, 2, 3, 3]
    np.testing.assert_array_equal(some.images, images[some.row])
    np.testing.assert_array_equal(some.masks, masks[some.row])
    index = volumes.index("test")
    np.testing.assert_array_equal(some.box, index["box"][some.row])
    assert some.case.tolist() == [str(case) for case in index["case"][some.row]]


def test_images_lie_evenly_within_their_case_and_elsewhere_in_each(volumes):
    everything, some = choose_rows(volumes, "test", 0), choose_rows(volumes, "test", 12)
    starts = []
    for case in np.unique(some.case):
        of_case = everything.row[everything.case == case]
        place = (some.row[some.case == case] - of_case[0]) / len(of_case)
        np.testing.assert_allclose(np.diff(place), 1 / 3, atol=1.01 / len(of_case))
        starts.append(3 * place[0])
    assert 0 <= min(starts) < 0.2 and 0.6 < max(starts) < 1


def test_more_than_there_are_gives_all_and_fewer_than_cases_some_of_them(volumes):
    everything = choose_rows(volumes, "test", 0)
    np.testing.assert_array_equal(choose_rows(volumes, "test", 10**6).row, everything.row)
    assert len(set(choose_rows(volumes, "test", 2).case)) == 2


def test_data_without_foreground_are_refused():
    class Empty:
        name = "empty"

        def index(self, split):
            return {"case": np.array(["a", "b"]), "box": np.zeros((2, 4))}

        def read(self, split):
            return np.zeros((2, 4, 4, 1), np.float32), np.zeros((2, 4, 4), np.uint8)

    with pytest.raises(ValueError, match="no image of split 'test' of data 'empty' has foreground"):
        choose_rows(Empty(), "test", 0)


def test_all_but_the_highest_pixels_are_hidden():
    rng = np.random.default_rng(0)
    images, maps = rng.uniform(1, 2, (2, 4, 5, 3)).astype(np.float32), rng.normal(size=(2, 4, 5, 1))
    boxes = np.array([[0, 4, 0, 5], [1, 4, 0, 4]])
    kept = keep_highest(images, maps, boxes, 0.25)
    for image, result, map_, (y0, y1, x0, x1) in zip(images, kept, maps[..., 0], boxes, strict=True):
        inside = np.zeros(map_.shape, bool)
        inside[y0:y1, x0:x1] = True
        shown = (map_ >= np.sort(map_[inside])[-round(0.25 * inside.sum())]) | ~inside  # padding is nothing to hide
        np.testing.assert_array_equal(result[shown], image[shown])
        assert not result[~shown].any()


def test_a_reduced_set_differs_in_its_images_alone(volumes):
    reduced = Reduced(volumes, lambda images, boxes: 0.5 * images * (boxes[:, 1] > 0)[:, None, None, None], "halved")
    images, masks = reduced.read("test", 3, 5)
    expected = volumes.read("test", 3, 5)
    np.testing.assert_array_equal(images, 0.5 * expected[0])
    np.testing.assert_array_equal(masks, expected[1])
    assert (reduced.shape, reduced.classes, reduced.sizes) == (volumes.shape, volumes.classes, volumes.sizes)
    assert reduced.attributes()["command"].endswith("(halved)")
