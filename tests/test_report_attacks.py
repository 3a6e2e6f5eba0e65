"""The figures of attacks show the data they are given, named, within their bounds."""

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from kseg import report
from kseg.report.figures import CLASS_COLOURS

NAMES = ["pgd", "ensemble", "dag", "own"]
EPS = np.array([0.005, 0.01, 0.02])
NAN = float("nan")


def curve(i):
    mean = 0.9 - EPS * (10 + i)
    return {"eps": EPS, "mean": mean, "low": mean - 0.05, "high": mean + 0.02}


@pytest.fixture(scope="module")
def curves():
    points = {"D4": (0.01, 0.4)}
    first = {"ylabel": "mean IoU", "curves": {name: curve(i) for i, name in enumerate(NAMES)}, "clean": 0.92,
             "control": curve(-8), "points": points, "floor": 0.7}  # fmt: skip
    bare = {"eps": EPS, "mean": np.array([0.1, 2.0, 30.0]), "low": np.full(3, NAN), "high": np.full(3, NAN)}
    return report.plot_attacks(
        [first, {"ylabel": "loss", "curves": {"pgd": bare}, "clean": 0.05, "log": True}], "Title"
    )


def inside(figure):
    """All texts lie in the figure, and no axes lie on its legend."""
    figure.draw_without_rendering()
    axes = [axis for axis in figure.axes if axis.axison]
    labels = [artist for axis in axes for artist in (axis.title, axis.xaxis.label, axis.yaxis.label)]
    for artist in [figure._suptitle, *(artist for artist in labels if artist.get_text()), *figure.legends]:
        box = artist.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, artist
    for legend in figure.legends:
        assert legend.get_window_extent().y1 <= min(axis.get_tightbbox().y0 for axis in axes)


def test_every_attack_has_a_line_with_its_band(curves):
    axis, styles = curves.axes[0], report.attack_styles(NAMES)
    lines = {to_hex(line.get_color()): line for line in axis.lines if line.get_linestyle() == "-"}
    assert len({style["color"] for style in styles.values()}) == len(NAMES) == len(lines)
    for i, name in enumerate(NAMES):
        line = lines[styles[name]["color"]]
        np.testing.assert_allclose(line.get_xydata().T, [EPS, curve(i)["mean"]])
        assert line.get_marker() == styles[name]["marker"]
    (band,) = axis.collections  # of many curves only the lowest has one
    assert to_hex(band.get_facecolor()[0]) == styles["own"]["color"]
    extent = band.get_paths()[0].get_extents()
    assert (extent.y0, extent.y1) == pytest.approx((curve(3)["low"].min(), curve(3)["high"].max()))
    assert not curves.axes[1].collections  # no bounds, no band


def test_few_curves_have_a_band_each():
    few = {"ylabel": "mean IoU", "curves": {name: curve(i) for i, name in enumerate(NAMES[:3])}, "clean": 0.92}
    (axis,) = report.plot_attacks([few]).axes
    assert len(axis.collections) == 3


def test_clean_level_noise_and_single_points_are_told_apart(curves):
    axis, loss = curves.axes
    (clean,) = [line for line in axis.lines if line.get_linestyle() == ":"]
    assert set(clean.get_ydata()) == {0.92}
    control, floor = [line for line in axis.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(control.get_ydata(), curve(-8)["mean"])
    assert set(floor.get_ydata()) == {0.7}
    (point,) = [line for line in axis.lines if line.get_linestyle() == "None"]
    assert point.get_xydata().tolist() == [[0.01, 0.4]] and point.get_markerfacecolor() == "none"
    assert not [line for line in loss.lines if line.get_linestyle() == "--"]
    (legend,) = curves.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *NAMES, "no attack", "random noise, worst of several", "one class all over", "interval of 95 %", "D4"
    ]  # fmt: skip


def test_axes_are_of_budgets_and_of_scores(curves):
    axis, loss = curves.axes
    assert axis.get_xscale() == "log" and [t.get_text() for t in axis.get_xticklabels()] == ["0.5", "1", "2"]
    assert axis.get_ylim() == pytest.approx((-0.02, 1.02)) and axis.get_yscale() == "linear"
    assert loss.get_yscale() == "log" and "2" in [t.get_text() for t in loss.get_yticklabels()]
    assert (axis.get_ylabel(), loss.get_ylabel()) == ("mean IoU", "loss")
    assert curves.bbox.width == 900
    inside(curves)


def test_the_axis_of_high_scores_begins_above_0():
    high = {"eps": EPS, "mean": np.full(3, 0.93), "low": np.full(3, 0.91), "high": np.full(3, 0.95)}
    (axis,) = report.plot_attacks([{"ylabel": "accuracy", "curves": {"pgd": high}, "clean": 0.98}]).axes
    assert axis.get_ylim() == pytest.approx((0.8, 1.02))


def test_one_budget_and_noise_alone_make_a_figure():
    one = {"eps": [0.01], "mean": [0.4], "low": [NAN], "high": [NAN]}
    inside(report.plot_attacks([{"ylabel": "IoU", "curves": {}, "clean": 0.9, "control": one}], "Noise alone"))


def example(channels, names=("pgd", "D4, steps of 1 %", "same")):
    rng = np.random.default_rng(1)
    image, mask = rng.uniform(0, 0.2, (10, 12, channels)).astype(np.float32), rng.integers(0, 3, (10, 12))
    attacked = [
        {"name": name, "image": image + np.float32(0.004 * i) * rng.choice([-1, -0.5, 0.5, 1], image.shape),
         "predicted": np.full((10, 12), i), "dice": 0.1 * i}
        for i, name in zip((1, 2, 0), names, strict=True)
    ]  # fmt: skip
    return {"image": image, "mask": mask, "predicted": mask[::-1], "dice": 0.5, "value_range": (0.0, 0.2),
            "attacked": attacked}  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_an_image_under_attack(channels):
    given = example(channels)
    figure = report.plot_attacked(given, ("background", "disc", "square"), "One image")
    grid = np.reshape([axis for axis in figure.axes if axis.get_label() != "<colorbar>"], (3, 6))
    palette = [(0, 0, 0), to_rgb(CLASS_COLOURS[0]), to_rgb(CLASS_COLOURS[1])]
    for row, found in zip(grid, given["attacked"], strict=True):
        shown = [axis.images[0].get_array() for axis in row]
        for got, image in zip(shown[:2], (given["image"], found["image"]), strict=True):
            np.testing.assert_allclose(got, np.clip(image / 0.2, 0, 1) if channels == 3 else image[..., 0], atol=1e-6)
        for got, ids in zip(shown[3:], (given["mask"], given["predicted"], found["predicted"]), strict=True):
            np.testing.assert_allclose(got, np.array(palette)[ids])
        change = found["image"].astype(float) - given["image"]
        if channels == 3 and change.any():
            np.testing.assert_allclose(shown[2], 0.5 + 0.5 * change / np.abs(change).max())
        elif channels < 3:
            np.testing.assert_allclose(shown[2], change[..., 0])
    # The factor blows the largest change up to the range of values: 0.2 from -0.1 to 0.1.
    assert [row[2].get_xlabel() for row in grid] == ["x 25", "x 12.5", "no change"]
    bars = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert [text.get_text() for text in bars[0].get_yticklabels()] == ["-0.004", "0", "0.004"]
    assert [row[5].get_xlabel() for row in grid] == ["Dice 0.10", "Dice 0.20", "Dice 0.00"]
    assert grid[0, 4].get_xlabel() == "Dice 0.50"
    assert [row[0].get_ylabel() for row in grid] == ["pgd", "D4,\nsteps of 1 %", "same"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["background", "disc", "square"]
    inside(figure)


def test_targets_stand_beside_what_came_of_them():
    given = example(3)
    whole = np.ones((10, 12), int)
    for row, target in zip(given["attacked"], ("every class\nin turn", whole, given["mask"]), strict=True):
        row["target"] = target
    figure = report.plot_attacked(given, ("background", "disc", "square"), "One image")
    grid = np.reshape([axis for axis in figure.axes if axis.get_label() != "<colorbar>"], (3, 7))
    assert grid[0, 6].get_title() == "target" and grid[0, 6].texts[0].get_text() == "every class\nin turn"
    shown = [row[6].images[0].get_array() for row in grid[1:]]
    assert (shown[0] == grid[0, 5].images[0].get_array()).all()  # one class all over, as the first one predicts
    np.testing.assert_array_equal(shown[1], grid[2, 3].images[0].get_array())
    inside(figure)


def test_choices_are_shares_that_fill_each_bar():
    chosen = {0.01: [[0, 1], [1, 1], [-1, 0], [0, 1]], 0.02: [[0, 0]] * 4}
    figure = report.plot_choices(chosen, ("background", "disc"))
    first, second = figure.axes
    widths = np.reshape([bar.get_width() for bar in first.patches], (3, 2))
    np.testing.assert_allclose(widths, [[0.25, 0], [0.5, 0.25], [0.25, 0.75]])  # taken away, left out, added
    np.testing.assert_allclose(np.reshape([bar.get_width() for bar in second.patches], (3, 2))[1], [1, 1])
    edges = np.reshape([bar.get_x() for bar in first.patches], (3, 2))
    np.testing.assert_allclose(edges, np.cumsum([[0, 0], *widths[:2]], axis=0))
    assert [text.get_text() for text in first.get_yticklabels()] == ["background", "disc"]
    assert "1 %" in first.get_title() and "2 %" in second.get_title()
    inside(figure)
