"""D2's worked examples: the corrected numbers of the requirements, gradients three ways, the question by search."""

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from kseg.configs import WorkedExamples as Config
from kseg.metrics.sets import dice_coefficient
from kseg.report import worked
from kseg.report.worked_tables import cells_markdown
from kseg.studies import worked_examples, worked_figures
from kseg.studies import worked_gradients as W
from kseg.studies.worked_page import bound, page
from kseg.studies.worked_table import Row, agrees, plain, stated

DOCS = Path(__file__).parents[2] / "docs"
P = np.array([[0.12, 0.83, 0.23], [0.89, 0.94, 0.36], [0.23, 0.06, 0.18]])
G = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]])


@pytest.fixture(scope="module")
def result():
    return worked_examples.run()


@pytest.fixture(scope="module")
def rows(result):
    names = Counter(row.quantity for row in result.rows)
    assert max(names.values()) == 1, "a quantity stands twice"
    return {row.quantity: row for row in result.rows}


# --- numbers. Corrected values of the requirements, to the digits given there.

CORRECT = {
    "log(1)": "0", "sigmoid(0)": "0.5", "derivative of the sigmoid at 0, s (1 - s)": "0.25",  # S2.1
    "log_2(8) = ln 8 / ln 2": "3",
    "geometric mean of 3.3 and 90": "17.233688", "geometric mean of 3 and 99": "17.233688",  # S2.2
    "geometric mean of 3 and 90": "16.431677", "arithmetic mean of 1, 2, .. 1000": "500.5",
    "geometric mean of 1, 2, .. 1000": "369.4917", "harmonic mean of 1, 2, .. 1000": "133.5921",
    "harmonic mean of 3 and 90, 2ab / (a + b)": "5.8065",  # 540 / 93
    "pixel accuracy of 'all background', 1 % foreground": "0.99", "mean of these two": "0.5",  # S2.3
    "accuracy of 'all background' on the background": "1", "accuracy of 'all background' on the foreground": "0",
    "count of P ∩ G": "2", "count of P ∪ G": "4", "IoU of P and G": "0.5",  # S2.4, S2.5
    "true positives (marked in the union)": "2", "false positives (marked in the union)": "1",  # S2.6
    "false negatives (marked in the union)": "1", "true negatives": "5", "precision": "0.6667", "recall": "0.6667",
    "F1, their harmonic mean": "0.6667", "F1 = 2 count(P ∩ G) / (count P + count G)": "0.6667", "accuracy": "0.7778",
    "F1 = 2 IoU / (1 + IoU) from the IoU of P and G": "0.6667",  # S2.7
    "F1 where the IoU is 0": "0", "F1 where the IoU is 1": "1",
    "l_D(G, G)": "1", "l_D(0, G)": "0", "l_D(P, G) without squares": "0.622807",  # S2.8; 1 - 0.377193
    "2 ‖P·G‖₁, products of elements": "4.26", "2 ‖P·G‖₁, if it were a product of matrices": "4.26",  # S2.10, E2.5
    "I = ‖P·G‖₁": "2.13", "‖P‖²": "2.6504", "‖G‖²": "3", "D = ‖P‖² + ‖G‖²": "5.6504", "l_D(P, G)": "0.753929",
    "loss 1 - l_D": "0.246071", "distance of p22 to its label": "0.06", "distance of p32 to its label": "0.06",
    "D in dl_D/dp22": "5.6504", "first term of dl_D/dp22, 2 / D": "0.353957",
    "second term of dl_D/dp22, 4 p22 I / D²": "0.250847", "dl_D/dp22": "0.103110", "dl_D/dp32": "-0.016012",
    "label of p32 in dl_D/dp32 (the document names g23)": "0", "first term of dl_D/dp32": "0",  # E2.3
    "dl_D/dP at P = G, largest entry": "0",  # S2.9
    "‖G*‖², p22 the only pixel of its class": "1", "I = ‖P·G*‖₁": "0.94", "D with G*": "3.6504",  # S2.11
    "first term of dl_D(P, G*)/dp22, 2 / D": "0.547885", "second term of dl_D(P, G*)/dp22, 4 p22² / D²": "0.265237",
    "dl_D(P, G*)/dp22": "0.282648", "l_D(P, G*)": "0.515012", "loss 1 - l_D(P, G*)": "0.484988",
    "dl_D/dp at P = 0, one pixel in the class": "2", "dl_D/dp at P = 0, three pixels in the class": "0.6667",  # S2.12
    "dl_D/dp at P = 0, all nm = 9 pixels in the class": "0.2222", "power of the class size in dl_D/dp at P = 0": "-1",
    "dl_D/dp at P = 0 where the label is 0": "0",
    "-log l_D": "0.282457", "d(-log l_D)/dp22": "-0.136764",  # S2.13; -0.103110 / 0.753929
    "p23 for dl_D/dp22 = -dl_D/dp23, G = {(1,2), (2,2)}": "0.377269",  # S2.14
    "dl_D/dp22 with that p23": "0.122837", "dl_D/dp23 with that p23": "-0.122837",
    "number of such p23 with both labels 1": "0", "the largest, and only, one with P = G elsewhere": "1",
    "number of such p23 with both labels 0, G = {(1,2)}": "0",
    "1 - mean of l_D over background and foreground": "0.192762",  # S2.15
    "loss dice_square of the two channels": "0.192762", "loss dice of the two channels": "0.304188",
    "loss dicefg of the two channels": "0.377193", "loss dicefg_square of the two channels": "0.246071",
    "l_CE, the sum over the image": "4.388020", "l_CE, the mean over the image": "0.487558",  # S2.16
    "dl_CE/dp32 (by the third line)": "1.0638", "dl_CE/dp32 (by the last line)": "1.0638",
    "dl_CE/dp22 (by the last line)": "-1.0638",
    "weighted cross-entropy, w = 1 (by the formula)": "4.388020",  # S2.17
    "what w = 2 at p21 adds, -log(1 - p21)": "2.2073",  # -ln 0.11
    "U-Net's weight of the pixel between two objects": "10.2312",  # 1 + 10 exp(-4 / 50)
}  # fmt: skip
ARRAYS = {
    "P above 0.5": [[0, 1, 0], [1, 1, 0], [0, 0, 0]],
    "P ∩ G": [[0, 1, 0], [0, 1, 0], [0, 0, 0]],
    "P ∪ G": [[0, 1, 0], [1, 1, 1], [0, 0, 0]],
    "dl_D/dP, all of it": [
        [-0.03202, 0.13246, -0.06138], [-0.23750, 0.10311, 0.25789], [-0.06138, -0.01601, -0.04803]
    ],
    "dl_D/dP at P = G, without squares": np.where(G, 1, -1) / 6,
    "dl_CE/dP, all of it": [[1.1364, -1.2048, 1.2987], [9.0909, -1.0638, -2.7778], [1.2987, 1.0638, 1.2195]],
}  # fmt: skip
# E2.2 to E2.7, with what the document prints; "1/(nm)" is 1/9 there.
WRONG = {
    "2 ‖P·G‖₁, if it were a product of matrices": ("9.80", "E2.5"),
    "‖P‖²": ("2.6651", "E2.2"), "D = ‖P‖² + ‖G‖²": ("5.6651", "E2.2"), "l_D(P, G)": ("0.752", "E2.2"),
    "D in dl_D/dp22": ("5.665", "E2.2"), "first term of dl_D/dp22, 2 / D": ("0.353", "E2.2"),
    "label of p32 in dl_D/dp32 (the document names g23)": ("1", "E2.3"), "dl_D/dp32": ("-0.0159", "E2.2"),
    "D with G*": ("3.665", "E2.2"), "first term of dl_D(P, G*)/dp22, 2 / D": ("0.546", "E2.2"),
    "second term of dl_D(P, G*)/dp22, 4 p22² / D²": ("0.263", "E2.2"),
    "dl_D/dp at P = 0, one pixel in the class": ("1", "E2.4"),
    "dl_D/dp at P = 0, all nm = 9 pixels in the class": ("1/9", "E2.4"),
    "power of the class size in dl_D/dp at P = 0": ("1", "E2.4"),
    "dl_CE/dp32 (by the third line)": ("-1.0638", "E2.6"),
    "weighted cross-entropy, w = 1 (by the formula)": ("-4.3880", "E2.7"),
}  # fmt: skip


def test_every_row_is_held_against_a_number(rows):
    assert set(rows) == {*CORRECT, *ARRAYS}


@pytest.mark.parametrize("quantity", CORRECT)
def test_numbers_are_those_of_the_requirements(rows, quantity):
    value = CORRECT[quantity]
    digits = len(value.partition(".")[2])
    assert float(rows[quantity].correct) == pytest.approx(float(value), abs=0.5001 * 10.0**-digits if digits else 1e-9)


@pytest.mark.parametrize("quantity", ARRAYS)
def test_arrays_are_those_of_the_requirements(rows, quantity):
    np.testing.assert_allclose(rows[quantity].correct, ARRAYS[quantity], atol=6e-5)


def test_exactly_the_known_errata_differ(rows):
    found = {row.quantity: (row.printed, row.verdict) for row in rows.values() if row.verdict.startswith("E")}
    assert found == WRONG
    tagged = {row.quantity for row in rows.values() if row.erratum}
    assert tagged == set(WRONG), "an erratum is named where the program finds none"
    right = {"dl_D/dp22": "0.103", "dl_D(P, G*)/dp22": "0.283", "2 ‖P·G‖₁, products of elements": "4.26"}
    assert {name: (rows[name].printed, rows[name].verdict) for name in right} == {
        name: (printed, "agrees") for name, printed in right.items()
    }


def test_every_erratum_is_told_and_its_right_form_holds(result):
    holds = {remark.erratum: remark.holds for remark in result.remarks}
    assert holds == {**{f"E2.{n}": True for n in range(1, 10)}, "E2.10": None}
    assert {row.verdict for row in result.rows} <= {"agrees", "not printed", *holds}
    assert result.counts["differs"] == 0 and sum(result.counts.values()) == len(result.rows)


@pytest.mark.parametrize(
    ("printed", "correct", "expected"),
    [
        ("0.103", 0.1034999, True), ("0.103", 0.1025, True), ("0.103", 0.1024, False), ("0.103", 0.1035, False),
        ("-0.0159", -0.016012, False), ("-0.0160", -0.016012, True), ("3", 3, True), ("3", 2.4, False),
        ("99 %", 0.99, True), ("99 %", 0.984, False), ("0.5", 0.5 - 1e-16, True), ("0.0005", 0.0005 - 1e-18, True),
        ("sqrt(297)", 297**0.5, True), ("sqrt(297)", 17.2337, False), ("1/9", 1 / 9, True), ("1/9", 0.111, False),
        ("[[0, 1]]", np.array([[0, 1]]), True), ("[[0, 1]]", np.array([[1, 1]]), False), ("[[0, 1]]", 1, False),
        ("0", -1e-17, True), ("1.0", float("nan"), False),
    ],
)  # fmt: skip
def test_agreement_is_decided_by_the_digits_printed(printed, correct, expected):
    assert agrees(printed, correct) is expected
    assert (Row("S", "q", printed, correct, "E9").verdict == "agrees") is expected


def test_verdicts_of_rows():
    assert Row("S", "q", "0.5", 0.7).verdict == "differs"
    assert Row("S", "q", "0.5", 0.7, "E9").verdict == "E9"
    assert Row("S", "q", "", 0.7).verdict == "not printed"
    assert Row("S", "q", "50 %", 0.7).difference == pytest.approx(-0.2)
    assert np.isnan(Row("S", "q", "", 0.7).difference)
    with pytest.raises(ValueError, match="'about two' cannot be read"):
        stated("about two")


@pytest.mark.parametrize(
    ("value", "text"), [(4.38802, "4.38802"), (1e-12, "0"), (-2.0, "-2"), (100, "100"), ([0.123456, 1], "[0.12346, 1]")]
)
def test_plain_numbers(value, text):
    assert plain(value) == text


# --- gradients


def test_the_table_of_gradients(result):
    assert len(result.gradients) == 6
    for each in result.gradients:
        assert each.tape_error < 1e-12 and each.difference_error < 1e-8, each.name
    wrong = W._compare("S", "q", "f", 1.01 * W.dice_gradient(G, P), lambda x: dice_coefficient(G, x), P)
    assert wrong.tape_error == pytest.approx(0.01 / 1.01, rel=1e-6) == wrong.difference_error
    assert bound(wrong.tape_error, 1e-12) == "off by 9.9e-3" and bound(1e-13, 1e-12) == "within 1e-12"
    assert bound(float("nan"), 1e-12) == "off by nan"


# --- figures


@pytest.fixture(scope="module")
def drawings():
    return worked_figures.drawings()


def test_curves_have_the_limits_of_the_document(drawings):
    limits = {"log": ((-0.2, 5), (-5, 5)), "sigmoid": ((-5, 5), (-2, 2)), "means": ((0, 1000), (0, 500))}
    for name, (x, y) in limits.items():
        (axis,) = drawings[f"worked_{name}.png"].axes
        assert (axis.get_xlim(), axis.get_ylim()) == (x, y)
    log, minus = drawings["worked_log.png"].axes[0].lines[2:]
    np.testing.assert_allclose(np.exp(log.get_ydata()), log.get_xdata())
    np.testing.assert_allclose(minus.get_ydata(), -log.get_ydata())
    value, slope = drawings["worked_sigmoid.png"].axes[0].lines[2:]
    np.testing.assert_allclose(value.get_ydata(), 1 / (1 + np.exp(-value.get_xdata())))
    np.testing.assert_allclose(slope.get_ydata()[1:-1], np.gradient(value.get_ydata(), 0.025)[1:-1], atol=1e-4)
    arithmetic, geometric, harmonic = (line.get_ydata() for line in drawings["worked_means.png"].axes[0].lines)
    n = np.arange(1, 1001)
    np.testing.assert_allclose(arithmetic, (n + 1) / 2)
    np.testing.assert_allclose(geometric, np.exp(np.cumsum(np.log(n)) / n))
    np.testing.assert_allclose(harmonic, n / np.cumsum(1 / n))


def test_the_overlap_is_coloured_by_outcome(drawings):
    true, predicted = worked_figures.discs()
    figure = drawings["worked_overlap.png"]
    *_, painted = (np.asarray(axis.images[0].get_array()) for axis in figure.axes)
    outcomes = {"TN": ~true & ~predicted, "TP": true & predicted, "FP": ~true & predicted, "FN": true & ~predicted}
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == [f"{name}: {mask.sum()}" for name, mask in outcomes.items()]
    patches = [patch.get_facecolor()[:3] for patch in figure.legends[0].get_patches()]
    assert len(set(patches)) == 4
    for mask, colour in zip(outcomes.values(), patches, strict=True):
        np.testing.assert_allclose(painted[mask], np.tile(colour, (mask.sum(), 1)))
    both, either = (true & predicted).sum(), (true | predicted).sum()
    assert f"= {both / either:.3f}," in figure.get_suptitle()


def test_the_accuracy_figure_has_one_per_cent_of_foreground(drawings):
    mask = np.asarray(drawings["worked_accuracy.png"].axes[0].images[0].get_array())
    assert mask.shape == (1000, 1000) and mask.mean() == 0.01


def test_the_scene_has_every_class_and_is_drawn_from_its_seed():
    image, ids = worked_figures.scene()
    assert image.shape == (*ids.shape, 3) and image.min() >= 0 and image.max() <= 1
    assert set(np.unique(ids)) == {-1, 0, 1, 2, 3}
    np.testing.assert_array_equal(worked_figures.scene()[0], image)
    assert np.abs(worked_figures.scene(seed=1)[0] - image).max() > 0.01
    figure = worked.plot_task(image, ids, worked_figures.CLASSES)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [*worked_figures.CLASSES, "rim, not labelled"]


def test_matrices_show_their_numbers(drawings):
    figure = drawings["worked_gradients.png"]
    titles = [axis.get_title() for axis in figure.axes]
    texts = {title: [text.get_text() for text in axis.texts] for title, axis in zip(titles, figure.axes, strict=True)}
    assert texts["prediction P"] == [f"{value:g}" for value in P.ravel()]
    assert texts["dl_D/dP"][4] == "0.1031" and texts["dl_CE/dP"][3] == "9.0909"
    assert isinstance(worked.plot_matrices({"zero": np.zeros((2, 2))}), Figure)


# --- the command


@pytest.fixture
def shown(monkeypatch, result, drawings):
    """Run the command on the numbers and figures that are there already."""
    monkeypatch.setattr(worked_examples, "run", lambda config: result)
    monkeypatch.setattr(worked_figures, "drawings", lambda: drawings)
    return _shown


def _shown(config, width=None):
    console = Console(file=io.StringIO(), width=width, force_terminal=width is not None, color_system=None)
    result = worked_examples.execute(config, console)
    return result, console.file.getvalue()


def test_a_run_keeps_table_page_and_figures(shown, tmp_path):
    folder = tmp_path / "out"
    result, text = shown(Config(output=folder))
    with open(folder / "worked_examples.csv", encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [row.cells() for row in result.rows]
    written = (folder / "worked_examples.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\((.+?)\)", written)
    assert sorted(pictures) == sorted(path.name for path in folder.glob("*.png")) and len(pictures) == 8
    for name in pictures:
        assert (folder / name).read_bytes().startswith(b"\x89PNG") and (folder / name).stat().st_size < 300_000
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished" and record["verdicts"] == result.counts
    (line,) = (" ".join(line.split()) for line in text.splitlines() if "l_D(P, G) " in line and "0.752" in line)
    assert line == "S2.10 l_D(P, G) 0.752 0.753929 -0.001929 E2.2"
    with pytest.raises(FileExistsError, match="--overwrite"):
        shown(Config(output=folder))


def test_figures_can_be_left_out_and_the_terminal_is_kept_to(shown, tmp_path):
    _, text = shown(Config(output=tmp_path / "out", figures=False), width=80)
    assert not list((tmp_path / "out").glob("*.png"))
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in text.splitlines() if "computing" not in line]
    assert max(map(len, lines)) <= 80 or str(tmp_path) in max(lines, key=len)
    assert "…" not in "".join(lines)


def test_the_page_under_docs_is_what_the_program_writes(result):
    assert (DOCS / "worked_examples.md").read_text(encoding="utf-8") == page(result)
    for name in re.findall(r"\((worked_\w+\.png)\)", page(result)):
        assert (DOCS / name).stat().st_size < 300_000


def test_markdown_tables_escape_bars():
    assert cells_markdown([{"a": "x|y", "b": "1"}]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"
