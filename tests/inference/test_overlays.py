"""Outlines over images: where they lie, that gray tells them apart, what is shown of volumes and of dark images."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from kseg.inference.overlays import picture_of, plot_overlay
from kseg.report.outlines import draw_outlines, outline_handles


def test_outlines_lie_where_a_class_ends():
    ids = np.zeros((8, 10), np.uint8)
    ids[2:5, 3:10] = 1  # to the right edge
    axis = Figure().subplots()
    axis.imshow(ids)
    draw_outlines(axis, ids, ["none", "one"])
    corners = np.concatenate([path.vertices for drawn in axis.collections for path in drawn.get_paths()])
    assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == ([2.5, 1.5], [9.5, 4.5])
    assert (axis.get_xlim(), axis.get_ylim()) == ((-0.5, 9.5), (7.5, -0.5))


def test_eight_classes_differ_without_their_colours():
    handles = outline_handles([f"class {k}" for k in range(9)])
    assert len({(str(line._unscaled_dash_pattern), line.get_linewidth()) for line in handles}) == 8


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_dark_images_are_shown_in_their_own_range(dtype):
    pixels = np.linspace(100, 300, 400).reshape(1, 20, 20, 1).astype(dtype)
    shown = picture_of(SimpleNamespace(pixels=pixels, spacing=(2.0, 1.0)))
    assert shown.pixels.dtype == np.uint8 and shown.pixels.max() == 255 and shown.pixels.min() == 0
    assert shown.aspect == 2
    bytes_ = np.full((1, 4, 4, 3), 7, np.uint8)
    np.testing.assert_array_equal(picture_of(SimpleNamespace(pixels=bytes_, spacing=None)).pixels, bytes_)


def test_large_images_are_shown_smaller():
    shown = picture_of(SimpleNamespace(pixels=np.zeros((1, 2000, 3000, 1), np.uint8), spacing=None))
    ids = np.zeros((1, 2000, 3000), np.uint8)
    assert max(shown.pixels.shape) <= 1024
    assert plot_overlay(shown, ids, ["none", "one"], "name").axes[0].images[0].get_array().shape == (667, 1000)


def test_of_volumes_slices_with_foreground_are_shown():
    ids = np.zeros((40, 6, 8), np.uint8)
    ids[10:13, 2, 2] = 1
    picture = picture_of(SimpleNamespace(pixels=np.zeros((40, 6, 8, 1), np.uint8), spacing=None))
    titles = [axis.get_title() for axis in plot_overlay(picture, ids, ["none", "one"], "name").axes]
    assert titles[:3] == ["slice 10", "slice 11", "slice 12"]
    blank = plot_overlay(picture, np.zeros_like(ids), ["none", "one"], "name").axes
    assert len(blank) == 12 and blank[0].get_title() == "slice 0" and blank[-1].get_title() == "slice 39"
