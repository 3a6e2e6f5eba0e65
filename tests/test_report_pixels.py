"""The figures of the pixel study show the data they are given, named, on axes that do not mislead."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from kseg import report

NAN = float("nan")
NAMES = list(report.LOSS_STYLE)


def curves(names, x=(0.0, 0.2, 0.6, 1.0), top=1.0, seeds=3):
    """Falling curves, another one for each name."""
    found = {}
    for i, name in enumerate(names):
        by_seed = top - np.outer(np.arange(1, seeds + 1) / 10, x) * (i + 1) / 3
        mean = by_seed.mean(axis=0)
        found[name] = {"x": np.array(x), "mean": mean, "low": mean - 0.1, "high": mean + 0.02, "seeds": by_seed}
    return found


def panel(names, **more):
    return {"title": "Dice", "xlabel": "level", "curves": curves(names)} | more


def texts(legend):
    return [text.get_text() for text in legend.get_texts() if text.get_text().strip()]


def lines_of(axis, colour, style="-"):
    return [line for line in axis.lines if to_hex(line.get_color()) == colour and line.get_linestyle() == style]


def inside(figure):
    """All texts lie in the figure, and no axes lie on its legend."""
    figure.draw_without_rendering()
    axes = [axis for axis in figure.axes if axis.axison]
    labels = [artist for axis in axes for artist in (axis.title, axis.xaxis.label, axis.yaxis.label)]
    artists = [artist for artist in labels if artist.get_text()]
    for artist in [figure._suptitle, *artists, *figure.legends]:
        box = artist.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, artist
    for legend in figure.legends:
        assert legend.get_window_extent().y1 <= min(axis.get_tightbbox().y0 for axis in axes)


@pytest.fixture(scope="module")
def robustness():
    marks, document = [(0.2, "largest value of the images")], {"dice": (0.6, 0.05), "bce": ([0.2, 0.6], [0.7, 0.6])}
    first = panel(NAMES, control=curves(NAMES, top=0.99), marks=marks, document=document)
    return report.plot_robustness([first, panel(NAMES, title="share", ylabel="left", control=None)], "B. Levels")


def test_each_loss_has_its_colour_and_marker_and_others_get_some_too():
    styles = report.loss_styles(["new", *NAMES, "newer(alpha=0.3)", "new"])
    assert list(styles) == ["new", *NAMES, "newer(alpha=0.3)"]
    assert all(styles[name] == report.LOSS_STYLE[name] for name in NAMES)
    assert len({style["color"] for style in styles.values()}) == len({s["marker"] for s in styles.values()}) == 8
    assert len(report.loss_styles([f"loss {i}" for i in range(9)])) == 9


def test_robustness_draws_means_seeds_bands_and_random_pixels(robustness):
    first, second = robustness.axes
    given, random = curves(NAMES), curves(NAMES, top=0.99)
    for name, style in report.LOSS_STYLE.items():
        *seeds, mean = lines_of(first, style["color"])
        np.testing.assert_allclose([line.get_ydata() for line in seeds], given[name]["seeds"])
        np.testing.assert_allclose(mean.get_xydata().T, [given[name]["x"], given[name]["mean"]])
        assert mean.get_marker() == style["marker"] and mean.get_linewidth() > seeds[0].get_linewidth()
        (dashed,) = lines_of(first, style["color"], "--")
        np.testing.assert_allclose(dashed.get_ydata(), random[name]["mean"])
        assert not lines_of(second, style["color"], "--")
    for axis in (first, second):
        assert len(axis.collections) == len(NAMES)
        band = axis.collections[1].get_paths()[0].get_extents()
        assert (band.y0, band.y1) == pytest.approx((given["dice"]["low"].min(), given["dice"]["high"].max()))
        assert to_hex(axis.collections[1].get_facecolor()[0]) == report.LOSS_STYLE["dice"]["color"]


def test_robustness_shows_what_the_document_says_hollow_and_the_mark(robustness):
    first, second = robustness.axes
    for name, expected in (("dice", [[0.6, 0.05]]), ("bce", [[0.2, 0.7], [0.6, 0.6]])):
        (points,) = lines_of(first, report.LOSS_STYLE[name]["color"], "None")
        np.testing.assert_array_equal(points.get_xydata(), expected)
        assert points.get_markerfacecolor() == "none"
    (mark,) = (line for line in first.lines if line.get_linestyle() == ":")
    assert set(mark.get_xdata()) == {0.2}
    assert not [line for line in second.lines if line.get_linestyle() in (":", "None")]


def test_robustness_names_axes_and_lines(robustness):
    first, second = robustness.axes
    assert (first.get_title(), first.get_xlabel(), second.get_title(), second.get_ylabel()) == (
        "Dice", "level", "share", "left"
    )  # fmt: skip
    assert robustness.get_suptitle() == "B. Levels"
    (legend,) = robustness.legends
    meanings = ["mean over seeds and cases", "one seed", "interval of 95 %", "random pixels instead", "in the document"]
    assert texts(legend) == [*NAMES, *meanings, "largest value of the images"]
    inside(robustness)


def test_the_axis_of_robustness_goes_from_0_to_1_or_to_the_highest_curve(robustness):
    for axis in robustness.axes:
        low, high = axis.get_ylim()
        assert -0.05 < low <= 0 and high == pytest.approx(1.02 * 1.02)
        assert any(label.get_visible() for label in axis.get_yticklabels())
    below = {"bce": curves(["bce"], top=0.5)["bce"] | {"low": np.full(4, NAN), "high": np.full(4, NAN), "seeds": None}}
    figure = report.plot_robustness([panel([], curves=below)])
    assert figure.axes[0].get_ylim()[1] == pytest.approx(1.02)
    assert texts(figure.legends[0]) == ["bce", "mean over seeds and cases"]


def test_many_panels_show_means_alone_and_leave_no_empty_axes():
    figure = report.plot_robustness([panel(NAMES[:2], title=f"way {i}") for i in range(5)])
    assert [axis.get_title() for axis in figure.axes if axis.axison] == [f"way {i}" for i in range(5)]
    assert len(figure.axes) == 6
    for axis in figure.axes[:5]:
        assert len(axis.lines) == 2 and not axis.collections
    assert "interval of 95 %" not in texts(figure.legends[0])
    inside(figure)


H, W = 8, 12
MASK = np.zeros((H, W), np.uint8)
MASK[2:6, 3:9] = 1
IMAGE = np.random.default_rng(0).random((H, W)) * 0.2


def test_gradients_are_signed_on_a_symmetric_range_that_is_shown():
    gradient = np.random.default_rng(1).normal(size=(H, W))
    gradient[0, 0] = -4  # the largest is negative
    rows = [{"name": name, "image": IMAGE, "mask": 2 * MASK, "gradient": scale * gradient}
            for name, scale in (("bce", 1.0), ("dice", 0.001), ("flat", 0.0))]  # fmt: skip
    figure = report.plot_gradients(rows, "Figure 1")
    axes, bars = np.reshape(figure.axes[:12], (3, 4)), figure.axes[12:]
    for row, model in zip(axes, rows, strict=True):
        image, mask, shown, over = (axis.images[0] for axis in row)
        np.testing.assert_array_equal(image.get_array(), IMAGE)
        np.testing.assert_array_equal(mask.get_array(), MASK > 0)
        np.testing.assert_array_equal(shown.get_array(), model["gradient"])
        low, high = shown.get_clim()
        assert low == -high and high == (np.abs(model["gradient"]).max() or 1)
        assert shown.get_cmap().name == "gray"
        coloured = np.ptp(np.asarray(over.get_array()), axis=-1) > 0
        np.testing.assert_array_equal(coloured, model["gradient"] > 0)
        grey = np.asarray(over.get_array())[model["gradient"] <= 0].mean(axis=-1)
        np.testing.assert_array_equal(grey > 0, (MASK > 0)[model["gradient"] <= 0])
        assert row[0].get_ylabel() == model["name"]
    ticks = [[label.get_text() for label in bar.get_yticklabels()] for bar in bars]
    assert ticks == [["-4", "0", "4"], ["-0.004", "0", "0.004"], ["-1", "0", "1"]]
    titles = [axis.get_title() for axis in axes[0]]
    assert titles == ["image", "true mask", "gradient", "positive gradients, true mask"]
    inside(figure)


LEVELS = [None, 0.0, 0.2, 1.0]


def shrinking(names):
    """Masks that lose a column a level, to nothing."""
    found = {}
    for i, name in enumerate(names):
        masks = np.stack([MASK * (np.arange(W) >= 3 + step * (i + 1)) for step in (0, 1, 2, 6)])
        area = masks.sum(axis=(1, 2))
        found[name] = {"masks": masks, "dice": 2 * area / (area + MASK.sum()), "area": area}
    return found


def test_shrinking_masks_stand_in_rows_with_their_dice_and_area():
    rows = shrinking(NAMES)
    figure = report.plot_shrinking(IMAGE, MASK, LEVELS, rows, "Figure 4")
    grid, (image, areas) = np.reshape(figure.axes[: 6 * 5], (6, 5)), figure.axes[6 * 5 :]
    assert [axis.get_title() for axis in grid[0]] == ["true mask", "no attack", "0", "0.2", "1"]
    for row, (name, found) in zip(grid, rows.items(), strict=True):
        np.testing.assert_array_equal(row[0].images[0].get_array(), MASK > 0)
        for axis, mask, dice in zip(row[1:], found["masks"], found["dice"], strict=True):
            np.testing.assert_array_equal(axis.images[0].get_array(), mask > 0)
            assert axis.images[0].get_clim() == (0, 1)  # a mask without foreground is black, not white
            assert axis.get_xlabel() == f"Dice {dice:.2f}"
            assert len(axis.collections) == 1  # outline of the true mask
        assert row[0].get_ylabel().replace("\n", " ").replace(" +", "+") == name
        line, clean = lines_of(areas, report.LOSS_STYLE[name]["color"])[0], found["area"][0]
        np.testing.assert_array_equal(line.get_xydata(), np.transpose([LEVELS[1:], found["area"][1:]]))
        (apart,) = lines_of(areas, report.LOSS_STYLE[name]["color"], "None")
        assert apart.get_xdata()[0] < 0 and apart.get_ydata()[0] == clean
    assert [label.get_text() for label in areas.get_xticklabels()] == ["no attack", "0", "0.2", "1"]
    assert areas.get_ylim()[0] == 0
    (true,) = (line for line in areas.lines if line.get_linestyle() == ":")
    assert set(true.get_ydata()) == {MASK.sum()}
    np.testing.assert_array_equal(image.images[0].get_array(), IMAGE)
    assert texts(figure.legends[0]) == [*NAMES, "true mask: outline, area"]
    inside(figure)


def test_random_pixels_stand_beside_the_chosen_ones():
    rows = shrinking(NAMES[:1])
    found = rows[NAMES[0]]
    found |= {"random_dice": found["dice"][::-1], "random_area": found["area"][::-1]}
    figure = report.plot_shrinking(IMAGE, MASK, LEVELS, rows)
    cells, areas = figure.axes[1:5], figure.axes[6]
    for axis, dice, random in zip(cells, found["dice"], found["random_dice"], strict=True):
        assert axis.get_xlabel() == f"Dice {dice:.2f} (r {random:.2f})"
    (dashed,) = (line for line in areas.lines if line.get_linestyle() == "--")
    np.testing.assert_array_equal(dashed.get_xydata(), np.transpose([LEVELS[1:], found["random_area"][1:]]))
    assert "random pixels" in texts(figure.legends[0])[-1]
    point = {"name": NAMES[0], "seed": 0, "output": "logit", "spread": 0.5, "kept": 0.3, "control": 0.9}
    (axis,) = (spread := report.plot_spread([point])).axes
    markers = [tuple(line.get_xydata()[0]) for line in lines_of(axis, report.LOSS_STYLE[NAMES[0]]["color"], "None")]
    assert markers == [(0.5, 0.3), (0.5, 0.9)] and texts(spread.legends[0])[-1] == "random pixels"


def test_shrinking_without_a_clean_image_or_any_foreground_is_drawn():
    rows = {"bce": {"masks": np.zeros((2, H, W)), "dice": [NAN, 0.0], "area": [0, 0]}}
    figure = report.plot_shrinking(IMAGE, 0 * MASK, [0.1, 0.2], rows)
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["0.1", "0.2"]


def test_the_animation_steps_through_the_levels(tmp_path):
    path = tmp_path / "steps.gif"
    report.animate_shrinking(path, IMAGE, MASK, LEVELS, shrinking(NAMES[:2]), seconds=0.5)
    with Image.open(path) as gif:
        assert gif.n_frames == 4 and gif.info["duration"] == 500 and gif.info["loop"] == 0
        frames = []
        for step in range(4):
            gif.seek(step)
            frames.append(np.asarray(gif.convert("L"), float))
    height, width = frames[0].shape
    white = [(frame[height // 4 : -height // 4, width // 3 :] > 250).sum() for frame in frames]
    assert white[0] > white[1] > white[2] > white[3]  # the masks shrink
    with pytest.raises(ValueError, match=r"small\.gif would have \d+ bytes\. Expected under 100; give fewer levels"):
        report.animate_shrinking(tmp_path / "small.gif", IMAGE, MASK, LEVELS, shrinking(["bce"]), limit=100)
    assert [each.name for each in tmp_path.iterdir()] == ["steps.gif"]


def test_predictions_show_image_predicted_and_true_mask():
    predicted = {"bce": 0 * MASK, "bce+dice, salient": np.roll(MASK, 1, axis=0)}
    figure = report.plot_predictions(IMAGE, MASK, predicted, "Figure 7")
    grid = np.reshape(figure.axes, (2, 3))
    assert [axis.get_title() for axis in grid[0]] == ["image", "predicted mask", "true mask"]
    for row, (name, guess) in zip(grid, predicted.items(), strict=True):
        for axis, shown in zip(row, (IMAGE, guess > 0, MASK > 0), strict=True):
            np.testing.assert_array_equal(axis.images[0].get_array(), shown)
        assert row[1].images[0].get_clim() == row[2].images[0].get_clim() == (0, 1)
        assert row[0].get_ylabel() == name
    inside(figure)


def test_spread_has_a_marker_a_model_and_the_correlation():
    points = [
        {
            "name": name,
            "seed": seed,
            "output": output,
            "spread": (7 * i + seed) % 6 / 10 + far,
            "kept": i / 10 + seed / 99,
        }
        for i, name in enumerate(NAMES)
        for seed in range(3)
        for output, far in (("probability", 0), ("logit", 5))
    ]
    figure = report.plot_spread(points, {"probability": 0.8333, "logit": -0.2})
    assert [axis.get_title() for axis in figure.axes] == [
        "gradients of the probability\nrank correlation +0.83, mean over seeds",
        "gradients of the logit\nrank correlation -0.20, mean over seeds",
    ]
    for axis, output in zip(figure.axes, ("probability", "logit"), strict=True):
        for name in NAMES:
            drawn = lines_of(axis, report.LOSS_STYLE[name]["color"], "None")
            given = [(p["spread"], p["kept"]) for p in points if (p["name"], p["output"]) == (name, output)]
            assert sorted(tuple(line.get_xydata()[0]) for line in drawn) == sorted(given)
        seeds = lines_of(axis, "#cccccc")
        assert [len(line.get_xdata()) for line in seeds] == [6, 6, 6]
        assert all((np.diff(line.get_xdata()) >= 0).all() for line in seeds)
        assert "participation ratio" in axis.get_xlabel()
    assert "clean Dice" in figure.axes[0].get_ylabel()
    assert texts(figure.legends[0]) == [*NAMES, "models of one seed"]
    inside(figure)
    (alone,) = report.plot_spread(points[::2]).axes
    assert alone.get_title() == "gradients of the probability"


def test_statistics_stand_side_by_side_on_one_axis():
    names = ["largest", "participation", "soft_margin", "own_number"]
    values = {name: {model: [0.01 * (i + 1), 0.03 * (i + 1)] for i, model in enumerate(NAMES)} for name in names}
    logits = {name: {m: 2 * np.array(v) for m, v in values[name].items()} for name in names if name != "soft_margin"}
    figure = report.plot_statistics({"probability": values, "logit": logits})
    grid = np.reshape(figure.axes, (4, 2))
    assert [label.get_text() for label in grid[0, 0].get_yticklabels()] == NAMES
    low, high = grid[0, 0].get_ylim()
    assert low > high  # the first model is at the top
    titles = [axis.get_title() for axis in grid[:, 0]]
    assert "gradients of the probability" in titles[0] and "gradients of the logit" in grid[0, 1].get_title()
    for title, part in zip(titles, ("participation", "largest", "soft margin", "own number"), strict=True):
        assert part in title
    assert [axis.get_xscale() for axis in grid[:, 0]] == ["linear", "log", "linear", "linear"]
    for row in grid:
        assert row[0].get_xlim() == row[1].get_xlim()
    assert grid[0, 0].get_xlim()[0] == 0 and grid[0, 0].get_xlim()[1] > 0.36
    assert not grid[2, 1].axison  # logits have no soft margin
    for axis, factor in zip(grid[0], (1, 2), strict=True):
        line, seeds, mean = lines_of(axis, report.LOSS_STYLE["dice"]["color"])[0], *lines_of(
            axis, report.LOSS_STYLE["dice"]["color"], "None")  # fmt: skip
        np.testing.assert_allclose(line.get_xdata(), np.multiply([0.02, 0.06], factor))
        np.testing.assert_allclose(seeds.get_xydata(), [[0.02 * factor, 1], [0.06 * factor, 1]])
        np.testing.assert_allclose(mean.get_xydata(), [[0.04 * factor, 1]])
        assert mean.get_marker() == "s"
    assert texts(figure.legends[0]) == ["mean", "one seed", "least to greatest seed"]
    inside(figure)


def test_statistics_without_a_value_leave_a_gap():
    values = {"sharpness": {"bce": [NAN], "dice": [0.5], "new": [0.25]}, "top_distance": {"bce": [NAN]}}
    distance, sharpness = report.plot_statistics({"probability": values}).axes
    assert sharpness.get_xlim() == pytest.approx((0, 0.53)) and distance.get_xlim() == pytest.approx((0, 1.06))
    assert [label.get_text() for label in distance.get_yticklabels()] == ["bce", "dice", "new"]


def test_a_png_of_the_fullest_figure_is_small(robustness, tmp_path):
    report.save_small(robustness, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert 800 <= image.width <= 950
