"""Figures and tables hold what they should; files written hold no nan."""

import csv
import io
import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from rich.console import Console

from kseg import files, report
from kseg.metrics.calibration import curve_of
from kseg.report import balance as drawing
from kseg.report import figures
from kseg.report.tables import print_whole

NAMES = ("cce", "dicefg", "dice", "dicefg_square", "dice_square")
NAN = float("nan")


@pytest.mark.parametrize("window", [1, 3, 11, 201])
@pytest.mark.parametrize("length", [1, 5, 300])
def test_smoothing_is_a_moving_average_with_edges_repeated(window, length):
    values = np.random.default_rng(length).random(length)
    half = min(window // 2, length - 1)  # a window wider than the curve is cut to it
    expected = []
    for i in range(length):
        near = [values[min(max(j, 0), length - 1)] for j in range(i - half, i + half + 1)]
        expected.append(sum(near) / len(near))
    smoothed = drawing.smooth(values, window)
    assert smoothed.shape == (length,)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-12)


def balance_run(loss, names=NAMES, every=1):
    generator = np.random.default_rng(len(loss))
    curves = {f"{name}_{kind}": generator.random(300) * 9 for name in names for kind in ("loss", "grad")}
    curves |= {"accuracy": np.array([0.5, 0.95]), "accuracy_iteration": np.array([0, 250])}
    curves["iteration"] = np.arange(0, 300 * every, every)
    return SimpleNamespace(condition=SimpleNamespace(loss=loss), curves=curves)


@pytest.fixture
def balance():
    return report.plot_balance([balance_run("cce"), balance_run("dice")], "5% Foreground")


def colours(axis):
    return [to_hex(line.get_color()) for line in axis.lines]


def test_balance_figure_has_the_limits_of_the_document(balance):
    """S1.14: norms 0 to 4, losses 0 to 1, accuracy 0.9 to 1.012, whatever the curves do."""
    (cce_norms, dice_norms, cce_losses, dice_losses), rights = balance.axes[:4], balance.axes[4:]
    for norms in (cce_norms, dice_norms):
        assert norms.get_ylim() == (0, 4)
    for losses in (cce_losses, dice_losses):
        assert losses.get_ylim() == (0, 1)
        assert losses.get_xlabel() == "iteration"
    assert len(rights) == 2
    for right in rights:
        assert right.get_ylim() == (0.9, 1.012)
    assert balance.get_suptitle() == "5% Foreground"
    assert "cce" in cce_norms.get_title() and "dice" in dice_norms.get_title()


def test_balance_figure_has_the_colours_of_the_document(balance):
    expected = [to_hex(f"tab:{colour}") for colour in ("blue", "orange", "green")]
    for axis in balance.axes[:4]:
        assert colours(axis)[:3] == expected
        assert len(set(colours(axis))) == 5
    for right in balance.axes[4:]:
        assert colours(right) == [to_hex("black")]


def test_balance_figure_has_legends_in_the_last_column_only(balance):
    cce_norms, dice_norms, cce_losses, dice_losses = balance.axes[:4]
    assert cce_norms.get_legend() is None and cce_losses.get_legend() is None
    for axis, extra in ((dice_norms, 0), (dice_losses, 1)):
        labels = [text.get_text() for text in axis.get_legend().get_texts()]
        assert labels[:5] == list(NAMES)
        assert len(labels) == 5 + extra
    assert "accuracy" in labels[-1]


def test_balance_figure_draws_the_smoothed_curves():
    run = balance_run("cce")
    norms, losses, right = report.plot_balance([run], "").axes
    for axis, kind, half in ((norms, "grad", 100), (losses, "loss", 5)):
        values = run.curves[f"dicefg_{kind}"]
        y = axis.lines[1].get_ydata()
        assert y[150] == pytest.approx(values[150 - half : 150 + half + 1].mean())
        assert y[0] == pytest.approx((half * values[0] + values[: half + 1].sum()) / (2 * half + 1))
    np.testing.assert_array_equal(right.lines[0].get_xydata(), [[0, 0.5], [250, 0.95]])


def test_balance_figure_of_every_tenth_iteration_is_smoothed_over_the_same_iterations():
    run = balance_run("cce", every=10)
    norms, losses, _ = report.plot_balance([run], "").axes
    for axis, kind, half in ((norms, "grad", 10), (losses, "loss", 0)):  # of 201 and 11 iterations
        x, y = axis.lines[1].get_data()
        assert x[-1] == 2990
        assert y[150] == pytest.approx(run.curves[f"dicefg_{kind}"][150 - half : 150 + half + 1].mean())


def test_the_envelope_of_a_curve_keeps_its_extremes_in_their_order():
    y = np.random.default_rng(0).random(10001)
    x, thin = drawing.envelope(np.arange(10001), y)
    assert len(thin) <= 2000 and (np.diff(x) > 0).all()
    np.testing.assert_array_equal(thin, y[x])
    assert x[0] == 0 and x[-1] == 10000
    for start in range(0, 9000, 500):
        near = (x >= start) & (x < start + 500)
        assert (thin[near].min(), thin[near].max()) == (y[start : start + 500].min(), y[start : start + 500].max())


def overview():
    rows = [("5 %", "cce"), ("5 %", "dice"), ("95 %", "cce")]
    columns = [("adam", "no BN"), ("adam", "BN"), ("sgd 1", "BN")]
    cells = {
        (rows[0], columns[0]): (3, 3, [0.998, 0.997, 0.999]), (rows[1], columns[0]): (1, 3, [0.95, 0.98, 0.95]),
        (rows[2], columns[2]): (0, 2, [0.5, 0.5]),
    }  # fmt: skip
    return report.plot_overview(cells, rows, columns, "all", "a note")


def test_overview_tells_share_and_accuracy_of_each_condition():
    (axis,) = overview().axes
    texts = {tuple(text.get_position()): text.get_text() for text in axis.texts if text.get_text()[0].isdigit()}
    texts = {at: text for at, text in texts.items() if "\n" in text}
    assert texts == {(0.5, 0.5): "3/3\n.998", (0.5, 1.5): "1/3\n.95-.98", (2.5, 2.5): "0/2\n.500"}
    faces = {(round(p.get_x()), round(p.get_y())): to_hex(p.get_facecolor()) for p in axis.patches}
    assert len(faces) == 9
    assert faces[0, 0] == to_hex(drawing.SHARES(1.0)) and faces[2, 2] == to_hex(drawing.SHARES(0.0))
    assert faces[0, 1] == to_hex(drawing.SHARES(1 / 3))
    assert sum(bool(patch.get_hatch()) for patch in axis.patches) == 6  # not run
    assert [label.get_text() for label in axis.get_xticklabels()] == ["no BN", "BN", "BN"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cce", "dice", "cce"]


def test_overview_has_nothing_cut_off():
    figure = overview()
    figure.draw_without_rendering()
    for text in [figure._suptitle, *figure.legends, *figure.axes[0].texts]:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text


def test_small_figures_are_below_the_limit_or_refused(tmp_path):
    report.save_small(overview(), tmp_path / "a.png", limit=30_000)
    assert (tmp_path / "a.png").stat().st_size < 30_000
    with pytest.raises(ValueError, match=r"b\.png has \d+ bytes .* Expected under 100\."):
        report.save_small(overview(), tmp_path / "b.png", limit=100)


def test_balance_figure_of_the_published_three_losses_shows_no_others():
    axes = report.plot_balance([balance_run("cce", NAMES[:3])], "").axes
    assert len(axes[0].lines) == len(axes[1].lines) == 3
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == list(NAMES[:3])


HISTORY = {"epoch": [1, 2, 3], "loss": [3, 2, 1], "dice": [0, 0.5, 0.6]}


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_history_figure_marks_the_kept_epoch():
    figure = report.plot_history({**HISTORY, "val_loss": [3, 2, 2], "val_dice": [NAN, 0.8, 0.7]}, "a run")
    loss, dice = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 3], [2, 2], [3, 1]])
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss")
    assert "Dice" in dice.get_ylabel()
    assert legend_of(figure) == ["training", "validation", "kept: epoch 2, Dice 0.8000"]
    assert [list(axis.lines[2].get_xdata()) for axis in figure.axes] == [[2, 2], [2, 2]]
    assert loss.lines[0].get_linestyle() != loss.lines[1].get_linestyle()  # in grey print too
    assert figure.get_suptitle() == "a run"


def test_history_figure_without_validation_marks_the_best_of_the_training():
    figure = report.plot_history(HISTORY)
    assert legend_of(figure) == ["training", "kept: epoch 3, Dice 0.6000"]


@pytest.mark.parametrize(("rates", "panels"), [([1e-3] * 3, 2), ([1e-3, 5e-4, 5e-4], 3), ([0.0, 1e-3, NAN], 3)])
def test_history_figure_shows_a_learning_rate_that_changes(rates, panels):
    figure = report.plot_history({**HISTORY, "learning_rate": rates})
    figure.draw_without_rendering()
    assert len(figure.axes) == panels
    if panels == 3:
        assert figure.axes[2].get_ylabel() == "learning rate"
        np.testing.assert_array_equal(figure.axes[2].lines[0].get_ydata(), rates)


def test_history_figure_without_any_score_is_drawn(tmp_path):
    history = {"epoch": [1], "loss": [NAN], "dice": [NAN], "val_loss": [NAN], "val_dice": [NAN]}
    figure = report.plot_history(history)
    assert legend_of(figure) == ["training", "validation"]
    report.save_figure(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_figure_shows_images_outlines_and_errors(tmp_path, channels):
    images = 2 * np.random.default_rng(0).random((2, 4, 5, channels))
    masks, guesses = np.zeros((2, 4, 5), np.uint8), np.zeros((2, 4, 5), np.uint8)
    masks[0, 1, 1:3] = 1
    guesses[0, 1, 2:4] = 1
    figure = report.plot_examples(images, masks, guesses, ["none", "disc"], ["a", "b\nDice 0"], value_range=(0, 2))
    rows = np.array(figure.axes).reshape(2, 4)
    assert [axis.get_title() for axis in rows[0]] == ["image", "true mask", "predicted mask", "errors"]
    shown = rows[1, 0].images[0]
    scale = 2 if channels == 3 else 1  # colours are scaled, greys drawn from the least to the greatest value
    np.testing.assert_allclose(scale * np.squeeze(np.asarray(shown.get_array())), np.squeeze(images[1]))
    assert channels == 3 or shown.get_clim() == (0, 2)
    # A dark rim and a line where there is foreground, nothing where there is none.
    assert [[len(axis.collections) for axis in row] for row in rows] == [[0, 2, 2, 0], [0, 0, 0, 0]]
    errors = np.asarray(rows[0, 3].images[0].get_array())
    for place, name in ((1, "missed"), (2, "right foreground"), (3, "invented")):
        np.testing.assert_allclose(errors[1, place], to_rgb(figures.OUTCOMES[name]))
    assert errors[masks[0] == guesses[0]].max() <= max(0.3, max(to_rgb(figures.OUTCOMES["right foreground"])))
    assert [row[0].get_ylabel() for row in rows] == ["a", "b\nDice 0"]
    assert legend_of(figure) == ["disc", "right foreground", "missed", "invented"]
    report.save_figure(figure, tmp_path / "examples.png")
    assert [path.name for path in tmp_path.iterdir()] == ["examples.png"]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_examples_figure_holds_sizes_of_all_kinds_and_nothing_overlaps(classes):
    generator = np.random.default_rng(0)
    sizes = [(10, 30), (30, 10), (8, 8)]
    images = [generator.random((*size, 1)) for size in sizes]
    masks, guesses = ([generator.integers(0, classes, size, np.uint8) for size in sizes] for _ in range(2))
    names = ["best\na_rather_long_name_of_a_case\nslice 3\n3 x 1 mm\nDice 0.9"] * 3
    labels = [f"class number {k}" for k in range(classes)]
    figure = report.plot_examples(images, masks, guesses, labels, names, aspects=[1.0, 2.0, 0.5], title="three")
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    boxes = [axis.get_tightbbox() for axis in figure.axes]
    assert all(box.y0 >= legend.y1 - 1 for box in boxes)
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1 and min(box.x0 for box in boxes) >= -1
    rows = [axis.yaxis.label.get_window_extent() for axis in figure.axes[::4]]
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(rows))
    assert ("another class" in legend_of(figure)) == (classes > 2)


def test_errors_are_told_apart_in_grey_print():
    colours = [to_rgb(colour) for colour in (*figures.OUTCOMES.values(), figures.CONFUSED)]
    greys = sorted([figures.DARK, *(float(np.dot(colour, (0.299, 0.587, 0.114))) for colour in colours)])
    assert min(np.diff(greys)) > 0.12


def test_another_class_is_an_error_of_its_own():
    ids = np.array([[0, 1, 2, 2]])
    drawn = figures.outcome_overlay(np.ones((1, 4, 1)), (0, 1), ids, np.array([[0, 1, 1, 0]]))
    expected = [(0.3, 0.3, 0.3), figures.OUTCOMES["right foreground"], figures.CONFUSED, figures.OUTCOMES["missed"]]
    np.testing.assert_allclose(drawn[0], [to_rgb(colour) for colour in expected])


def test_scores_of_all_cases_name_the_worst_and_tell_what_is_missing():
    dice = [0.9, NAN, 0.2, 0.8, 0.1, 0.7]
    distance = [1.0, NAN, math.inf, 2.0, 30.0, 3.0]
    panels = [
        {"label": "Dice", "classes": {"disc": dice}, "worst": "low"},
        {"label": "HD95 (mm)", "classes": {"disc": distance}, "worst": "high"},
    ]
    figure = report.plot_case_scores(panels, [f"case {i}" for i in range(6)], "all")
    low, high = figure.axes
    assert low.texts[0].get_text().splitlines() == [
        "0.100  case 4", "0.200  case 2", "0.700  case 5", "1 undefined (class in neither mask)",
    ]  # fmt: skip
    assert high.texts[0].get_text().splitlines() == [
        "inf  case 2", "30  case 4", "3  case 5", "1 infinite (class in one mask alone)",
        "1 undefined (class in neither mask)",
    ]  # fmt: skip
    points = [line.get_xdata() for line in low.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(np.concatenate(points), sorted(d for d in dice if d == d))
    (mean,) = (line.get_xdata()[0] for line in high.lines if line.get_marker() == "D")
    assert mean == 9.0
    assert (low.get_xlabel(), high.get_xlabel()) == ("Dice", "HD95 (mm)")


def test_figures_of_cases_without_any_score_are_drawn():
    panels = [{"label": "Dice", "classes": {"disc": [NAN, NAN]}, "worst": "low"}]
    report.plot_case_scores(panels, ["a", "b"]).draw_without_rendering()
    nothing = {"disc": {"true": [0, 0], "found": [0, 0], "dice": [NAN, NAN]}}
    report.plot_sizes(nothing, "pixels").draw_without_rendering()
    report.plot_confusion([[5, 0], [0, 0]], ["none", "disc"]).draw_without_rendering()


def test_sizes_are_drawn_with_those_of_0():
    values = {"true": [1.0, 100.0, 1000.0, 0.0], "found": [0.0, 90.0, 1100.0, 7.0], "dice": [0.0, 0.9, 0.95, 0.0]}
    figure = report.plot_sizes({"disc": values}, "mm²", "sizes")
    figure.draw_without_rendering()
    left, right = figure.axes
    np.testing.assert_array_equal(left.lines[0].get_xydata(), [[1, 0], [100, 0.9], [1000, 0.95]])
    np.testing.assert_array_equal(right.lines[0].get_xydata(), np.transpose([values["true"], values["found"]]))
    for axis in (left, right):
        assert axis.get_xlabel() == "true size (mm²)"
    (x0, x1), (y0, y1) = right.get_xlim(), right.get_ylim()
    assert x0 < 0 < 1100 < x1 and y0 < 0 < 1100 < y1


def test_confusion_tells_shares_of_the_true_class():
    figure = report.plot_confusion([[6, 2, 0], [1, 3, 0], [0, 0, 0]], ["none", "disc", "ring"])
    (axis,) = figure.axes
    texts = {text.get_position(): text.get_text() for text in axis.texts}
    assert [texts[j, 0] for j in range(3)] == ["75.0", "25.0", "0.0"]
    assert [texts[j, 1] for j in range(3)] == ["25.0", "75.0", "0.0"]
    assert [texts[j, 2] for j in range(3)] == ["-", "-", "-"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")


def printed(table, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_score_table_shows_means_intervals_and_what_is_undefined():
    score = {"mean": 0.81234, "low": 0.7, "high": 0.9, "cases": 9, "empty": 0}
    single = {**score, "low": NAN, "high": NAN}
    none = {"mean": NAN, "low": NAN, "high": NAN, "cases": 0, "empty": 9}
    rows = {"whole": score, "single": single, "absent": none}
    text = printed(
        report.score_table({label: dict.fromkeys(("dice", "iou", "accuracy"), s) for label, s in rows.items()}, "Test")
    )
    lines = {label: next(line for line in text.splitlines() if label in line) for label in rows}
    assert "0.812 (.700-.900)" in lines["whole"]
    assert "0.812" in lines["single"] and "nan" not in text
    assert "undefined" in lines["absent"]
    assert "9 scores are undefined" in text


def test_fields_table_shows_every_field():
    text = printed(report.fields_table({"data": "toy", "epochs": 3}))
    assert [line.split() for line in text.splitlines()] == [["data", "toy"], ["epochs", "3"]]


def table_of(*labels):
    score = {"mean": 0.5704, "low": 0.378, "high": 0.683, "cases": 3400, "empty": 0}
    return report.score_table({label: dict.fromkeys(("dice", "iou", "accuracy"), score) for label in labels}, "A [b]")


def test_tables_show_names_as_they_are():
    text = printed(table_of("[/x]", "tumour [core]", ":heart:")) + printed(report.fields_table({"data": "[/x] [red]"}))
    assert all(f" {words} " in text.replace("\n", " ") for words in ("[/x]", "tumour [core]", ":heart:", "[/x] [red]"))
    assert text.startswith("A [b]")


@pytest.mark.parametrize("label", ["foreground mean", "left ventricle of the heart", "a_name_without_any_blank_in_it"])
def test_no_number_of_a_score_table_is_cut_at_80_columns(label):
    lines = printed(table_of("background", label), width=80).splitlines()
    assert sum(line.split()[-7:] == ["0.570", "(.378-.683)"] * 3 + ["3400"] for line in lines) == 2
    assert len(label) > 15 or any(line.startswith(f" {label} 0.570") for line in lines)
    folded = "".join(line.partition(" 0.570")[0] for line in lines[5:])
    assert folded.replace(" ", "") == label.replace(" ", "")


def test_a_table_in_a_log_is_in_lines_of_its_own_width():
    label = "a class of forty letters, no less of them"
    for terminal in (False, True):
        console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
        print_whole(console, table_of(label))
        shown = console.file.getvalue()
        assert (label in shown) != terminal and shown.count(" 0.570 (.378-.683)") == 3


def test_csv_leaves_nan_empty(tmp_path):
    rows = [{"case": "a", "dice": 0.5}, {"case": "b, or c", "dice": NAN}]
    files.write_csv(tmp_path / "cases.csv", rows)
    with open(tmp_path / "cases.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"case": "a", "dice": "0.5"}, {"case": "b, or c", "dice": ""}]


def test_json_is_strict(tmp_path):
    value = {"nan": NAN, "inf": [math.inf, 1.5], "numpy": np.float32(NAN), "array": np.array([1, 2]), "path": tmp_path}
    files.write_json(tmp_path / "facts.json", value)

    def refuse(constant):
        raise AssertionError(constant)

    read = json.loads((tmp_path / "facts.json").read_text(), parse_constant=refuse)
    assert read == {"nan": None, "inf": [None, 1.5], "numpy": None, "array": [1, 2], "path": str(tmp_path)}


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "note.txt"
    files.write_text(path, "first")
    with pytest.raises(ZeroDivisionError), files.atomic(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_neighbour_whose_name_ends_in_part_stays(tmp_path):
    files.write_text(tmp_path / "x.part.txt", "mine")
    files.write_text(tmp_path / "x.txt", "another")
    assert (tmp_path / "x.part.txt").read_text() == "mine"


def test_score_table_has_the_classes_in_their_order_and_every_number_in_its_column():
    rows = ["background", "posterior", "anterior", "foreground mean"]
    summary = {}
    for i, label in enumerate(rows):
        summary[label] = {
            name: {"mean": m, "low": m - 0.05, "high": m + 0.08, "cases": 20 + i, "empty": 0}
            for name, first in (("recall", 0.1), ("accuracy", 0.3), ("iou", 0.5), ("precision", 0.2), ("dice", 0.7))
            for m in (first + i / 100,)
        }
    lines = [line for line in printed(report.score_table(summary, "Test")).splitlines() if line.strip()]
    title, head, *body = (line for line in lines if set(line.strip()) != {"─"})
    assert title.strip() == "Test"
    assert head.split() == ["class", "Dice", "IoU", "accuracy", "cases"]
    assert len(body) == len(rows)
    for i, (label, line) in enumerate(zip(rows, body, strict=True)):
        cells = [f"0.{m + i} (.{m + i - 50}-.{m + i + 80})" for m, i in ((m, 10 * i) for m in (700, 500, 300))]
        shown = " ".join(line.split())
        assert shown.endswith(" ".join(["", *cells, str(20 + i)]))
        assert label == "foreground mean" or shown.startswith(f"{label} 0.")  # the mean may be shown under a short name


def labels_of(axis):
    """Boxes of the labels that are seen along the vertical axis, from below."""
    labels = [label for label in axis.get_yticklabels(which="both") if label.get_text() and label.get_visible()]
    low, high = axis.get_ylim()
    return sorted((each.get_window_extent() for each in labels if low <= each.get_position()[1] <= high),
                  key=lambda box: box.y0)  # fmt: skip


@pytest.mark.parametrize(("least", "most"), [
    (30_000, 250_000), (8_000, 200_000), (900, 3e6), (40_000, 90_000), (53_000, 94_000), (21_000, 46_000),
    (20_000, 700_000), (2_000, 5e6), (2_000, 2e8), (50_000, 50_000),
])  # fmt: skip
def test_labels_of_the_pixels_of_a_probability_do_not_touch(least, most):
    edges = np.linspace(0, 1, 16)
    middle = (edges[1:] + edges[:-1]) / 2
    weight = np.geomspace(least, most, 15)
    figure = report.plot_calibration({"disc": curve_of(weight, weight * middle, weight * middle, edges)})
    figure.canvas.draw()
    boxes = labels_of(figure.axes[1])
    assert boxes and all(below.y1 < above.y0 for below, above in itertools.pairwise(boxes))


@pytest.mark.parametrize("least", [0.5, 0.15, 0.05, 0.001, 1e-6])
def test_labels_of_losses_over_few_and_many_decades_do_not_overlap(least):
    curve = np.geomspace(1.0, least, 12).tolist()
    figure = report.plot_losses({"models": {"a": [curve]}, "more": {"a": [curve]}}, report.model_styles(["a"]))
    figure.canvas.draw()
    axis = figure.axes[0]
    boxes = labels_of(axis)
    assert len(boxes) >= 3
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
