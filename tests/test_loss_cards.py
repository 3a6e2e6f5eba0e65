"""The loss cards: complete for every loss, read from the docstrings, and drawn from exact values."""

import io
import re
from ast import literal_eval
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from kseg import losses, report
from kseg.cli import main
from kseg.configs import Losses
from kseg.losses import LOSSES
from kseg.studies import loss_cards, loss_curves
from kseg.studies.loss_cards import card, entries, read

NAMES = losses.names()
CATEGORIES = ("distribution", "region", "boundary", "topology", "compound")
TINY = {"logits": [-20.0, 0.0, 20.0], "foreground": [1, 64, 1023], "sizes": [1, 8], "shifts": [0, 3]}
# Of two classes in 32x32 pixels, a logit of 2, log 4 and 10 is a probability of
FAIR, GOOD, SURE = 1 / (1 + np.exp(-2)), 0.8, 1 / (1 + np.exp(-10))


def shown(config, width=80, terminal=False):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    loss_cards.execute(config, console)
    return console.file.getvalue()


@cache
def curves_of(spec):
    """The curves that the figure of a loss shows: a program is compiled for them."""
    return loss_curves.curves(spec)


@cache
def few_points(spec):
    return loss_curves.curves(spec, **TINY)


def squeezed(text):
    return " ".join(text.split())


# --- text


@pytest.mark.parametrize("name", NAMES)
def test_every_card_is_complete(name):
    own, cls = card(name), LOSSES.get(name)
    assert set(own.sections) >= {"Formula", "Learning signal", "Source"}
    assert all(own.sections.values())
    assert "=" in own.sections["Formula"]
    assert own.category in CATEGORIES and own.source and own.summary
    assert {**own.own, **own.options} == cls.defaults
    assert [option for option, meaning in own.told.items() if not meaning] == []
    described = entries(own.sections.get("Parameters", ""))
    assert set(described) <= set(cls.defaults), "the card describes a parameter that the loss does not have"
    text = squeezed(shown(Losses(name, figure=False)))
    for title in own.sections:
        assert title in text
    assert squeezed(own.sections["Learning signal"]) in text
    assert squeezed(own.sections["Formula"]) in text
    for option, default in cls.defaults.items():
        assert f"{option} = {default!r}: " in text
    for meaning in (own.told[option] for option in own.own):
        assert squeezed(meaning) in text


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_that_a_docstring_states_are_those_of_the_loss(name):
    parameters = squeezed(card(name).sections.get("Parameters", ""))
    stated = re.findall(r"`(\w+)` \((.*?)\)[:,]", parameters)
    assert len(stated) == len(entries(card(name).sections.get("Parameters", "")))
    for option, default in stated:
        actual = LOSSES.get(name).defaults[option]
        assert literal_eval(default) == (tuple(actual) if isinstance(actual, list) else actual)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [80, 100, 200])
def test_cards_keep_to_the_width(name, width):
    assert max(map(len, shown(Losses(name, figure=False), width).splitlines())) <= min(width, 100)


def test_sections_are_read_in_both_layouts():
    below = """What it is.

    Formula:
        L = a
            + b
        a = 1
    Parameters:
        `gamma` (2): the power,
            at least 0.
        `alpha` ("auto", or `None`): a weight. Another sentence.
        `low` (1), `high` (2): the ends (see
            `smooth`).
    Learning signal:
        One. Two.

        - three
        - four

    See `Another`.
    """
    beside = """What it is.

    Formula: L = a
        + b
    Source: a paper.

    See `Another`.
    """
    summary, sections = read(below)
    assert summary == "What it is."
    assert list(sections) == ["Formula", "Parameters", "Learning signal"]
    assert sections["Formula"] == "L = a\n    + b\na = 1"
    assert sections["Learning signal"] == "One. Two.\n\n- three\n- four"
    assert entries(sections["Parameters"]) == {
        "gamma": "the power, at least 0.",
        "alpha": "a weight. Another sentence.",
        "low": "the ends (see `smooth`).",
        "high": "the ends (see `smooth`).",
    }
    assert read(beside) == ("What it is.", {"Formula": "L = a\n    + b", "Source": "a paper."})


def test_options_are_told_in_the_words_of_the_base_class():
    assert card("cce").told["from_logits"].startswith("whether `y_pred` holds logits")
    assert card("dice").told["squared"] == "squares in the denominator (V-Net)."
    assert card("focal").told["head"].endswith('"sigmoid" with K >= 2 averages over classes.')


def test_own_parameters_are_those_that_set_a_loss_apart():
    assert card("cce").own == {}
    assert card("log_dice").own == {"squared": True}
    assert card("focal_tversky").own == {"fp_weight": 0.3, "fn_weight": 0.7, "exponent": 0.75}
    assert set(card("focal").own) == {"gamma", "alpha"}


def test_a_sum_shows_the_card_of_every_term_with_its_weight_and_options():
    text = shown(Losses("bce + 0.5*focal(gamma=3)", figure=False))
    assert "\n0.5 * focal (distribution)\n" in text and text.startswith("bce (distribution)\n")
    assert "gamma = 3 (default 2.0): at least 0" in text
    assert text.count("Formula") == 2 and text.count("from_logits") == 1
    assert "smooth = 0.5 (default 1e-07): " in shown(Losses("dice(smooth=0.5)", figure=False))


# --- the list and the table


def test_a_pipe_gets_one_whole_line_a_loss(capfd):
    assert main("losses", []) == 0
    out = capfd.readouterr().out
    rows = {line.split()[0]: squeezed(line) for line in out.splitlines() if line.split()}
    for name in NAMES:
        own = ", ".join(f"{k}={v!r}" for k, v in card(name).own.items())
        facts = losses.facts(name)
        assert rows[name] == squeezed(f"{name} {facts['category']} {own} {facts['source']}")


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_the_terminal_and_drops_nothing(width):
    text = shown(Losses(), width, terminal=True)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = set(re.findall(r"[\w.']+", text))
    for name in NAMES:
        wanted = [name, losses.facts(name)["category"], *card(name).own]
        assert set(wanted) <= words, name


def test_the_list_and_the_table_go_by_category():
    order = [each.category for each in loss_cards.everything()]
    assert order == sorted(order, key=CATEGORIES.index)
    taxonomy = loss_cards.taxonomy()
    assert [name for names in taxonomy.values() for name in names] == [each.name for each in loss_cards.everything()]
    assert sorted(NAMES) == sorted(name for names in taxonomy.values() for name in names)
    for category, names in taxonomy.items():
        assert {losses.facts(name)["category"] for name in names} == {category}
    # D3's table 1 (S3.11)
    assert "focal" in taxonomy["distribution"] and "dice_bce" in taxonomy["compound"]
    assert {"tversky", "focal_tversky", "jaccard"} <= set(taxonomy["region"])


def test_the_table_is_markdown_in_any_width():
    lines = shown(Losses(table=True), width=40).splitlines()
    assert lines[:2] == ["| type | losses |", "| --- | --- |"]
    for line, (category, names) in zip(lines[2:], loss_cards.taxonomy().items(), strict=True):
        left, right = line.strip("| ").split(" | ")
        assert left == category
        assert re.findall(r"`(\w+)`", right) == names


# --- the command


def test_a_card_is_printed_and_drawn(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main("losses", ["tversky(fp_weight=0.5, fn_weight=0.5)"]) == 0
    out = capfd.readouterr().out
    (path,) = tmp_path.iterdir()
    assert path.name == "loss_tversky_fp_weight_0.5_fn_weight_0.5.png"
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 300_000
    assert out.splitlines()[-1] == f"figure: {path.name}"
    assert "Learning signal" in out


def test_an_existing_figure_is_replaced_only_when_asked(refused, tmp_path, capfd):
    path = tmp_path / "mine.svg"
    path.write_text("mine")
    error = refused("losses", "mse", "--output", path)
    assert "mine.svg" in error and "--overwrite" in error
    assert path.read_text() == "mine"
    assert main("losses", ["mse", "--output", str(path), "--overwrite"]) == 0
    assert "<svg" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["mine.svg"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dicfg"], ["'dicfg'", "Did you mean 'dicefg'"]),
        (["bce + dicee"], ["'dicee'", "'dice'"]),
        (["dice(gama=2)"], ["gama", "Expected one of"]),
        (["cce + bce"], ["sigmoid", "softmax"]),
        (["dice", "--output", "none/here.png"], ["none/here.png", "no folder none"]),
        (["dice", "--output", "."], [".png", "--output"]),
        (["dice", "--output", "dice.txt"], ["dice.txt", ".png"]),
        (["dice", "--table"], ["--table", "NAME"]),
        (["--output", "dice.png"], ["--output", "NAME"]),
        (["dice", "--no-figure", "--output", "dice.png"], ["--output", "figure"]),
        (["dice", "bce"], ["bce"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_input_is_refused(refused, words, expected):
    error = refused("losses", *words)
    assert all(word in error for word in expected), error


def test_a_folder_is_never_replaced_by_a_figure(refused, tmp_path):
    (tmp_path / "a.png").mkdir()
    assert "a.png" in refused("losses", "dice", "--output", tmp_path / "a.png", "--overwrite")


# --- the values behind the figure


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_has_finite_curves_and_a_figure(name, tmp_path):
    data = few_points(name)
    groups = {"value": 3, "slope": 3, "norms": 3, "by_size": 2, "by_shift": 2}
    for group, length in groups.items():
        for values in getattr(data, group).values():
            assert values.shape == (length,) and np.isfinite(values).all()
    assert data.balance.shape == (3,) and np.isfinite(data.balance).all()
    assert np.ptp(data.value["foreground"]) > 0, "the pixel makes no difference"
    assert all(np.any(slope) for slope in data.slope.values())
    assert max(values[1] - values[0] for values in data.by_shift.values()) > 0, "a shift costs nothing"
    figure = report.plot_loss(data, name)
    if name in ("cce", "dicefg", "hausdorff", "cldice", "combo"):  # a category each: laying out takes the time
        report.save_figure(figure, tmp_path / "loss.png", dpi=20)
        assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, float)))


@pytest.mark.parametrize("name", ["cce", "bce"])
def test_cross_entropy_of_one_pixel_is_a_softplus(name):
    data = curves_of(name)
    others = 1023 * np.log1p(np.exp(-2))
    for label, sign in (("foreground", -1), ("background", 1)):
        expected = (others + np.logaddexp(0, sign * data.logit)) / 1024
        np.testing.assert_allclose(data.value[label], expected, rtol=2e-5)
        np.testing.assert_allclose(data.slope[label], sign * sigmoid(sign * data.logit) / 1024, rtol=1e-3, atol=1e-10)


def test_cross_entropy_does_not_see_the_balance_but_its_gradient_does():
    data = curves_of("cce")
    assert (data.foreground[0], data.foreground[-1]) == (1, 1023)
    np.testing.assert_allclose(data.balance, -np.log(GOOD), rtol=1e-5)
    for part, count in {
        "all": np.full(len(data.foreground), 1024),
        "foreground": data.foreground,
        "background": 1024 - data.foreground,
    }.items():
        np.testing.assert_allclose(data.norms[part], (1 - GOOD) * np.sqrt(count) / 1024, rtol=1e-5)


def test_foreground_dice_of_one_pixel():
    data = curves_of("dicefg")
    p = sigmoid(data.logit)
    truth, inside, outside = 64, 63 * FAIR + 960 * (1 - FAIR), 64 * FAIR + 959 * (1 - FAIR)
    for label, hits, found in (("foreground", 63 * FAIR + p, inside + p), ("background", 64 * FAIR, outside + p)):
        np.testing.assert_allclose(data.value[label], 1 - 2 * hits / (truth + found), rtol=2e-5)
        y = label == "foreground"
        slope = -2 * p * (1 - p) * (y * (truth + found) - hits) / (truth + found) ** 2
        np.testing.assert_allclose(data.slope[label], slope, rtol=1e-3, atol=1e-9)


def test_foreground_dice_against_the_share_of_the_foreground():
    data = curves_of("dicefg")
    f = data.foreground.astype(float)
    hits, total = GOOD * f, f + GOOD * f + (1 - GOOD) * (1024 - f)
    np.testing.assert_allclose(data.balance, 1 - 2 * hits / total, rtol=1e-4)
    pull = GOOD * (1 - GOOD) * 2 / total**2
    np.testing.assert_allclose(data.norms["foreground"], pull * (total - hits) * np.sqrt(f), rtol=1e-4)
    np.testing.assert_allclose(data.norms["background"], pull * hits * np.sqrt(1024 - f), rtol=1e-4)


@pytest.mark.parametrize("name", ["dicefg", "cce"])
def test_a_shifted_square(name):
    data = curves_of(name)

    def expected(side, shift):
        both = side * np.maximum(side - shift, 0)
        wrong = 2 * (side**2 - both)
        if name == "cce":
            return 10 * wrong / 1024 + np.log1p(np.exp(-10))
        hits = both * SURE + (side**2 - both) * (1 - SURE)
        found = side**2 * SURE + (1024 - side**2) * (1 - SURE)
        return 1 - 2 * hits / (side**2 + found)

    assert list(data.by_size) == [1, 2, 4] and list(data.by_shift) == [4, 8, 16]
    for shift, values in data.by_size.items():
        np.testing.assert_allclose(values, expected(data.size, shift), rtol=1e-4, atol=2e-5)
    for side, values in data.by_shift.items():
        np.testing.assert_allclose(values, expected(side, data.shift), rtol=1e-4, atol=2e-5)


def test_the_head_is_that_of_training():
    heads = {name: few_points(name).head for name in ("cce", "dice", "bce", "bce + dice")}
    assert heads == {"cce": "softmax", "dice": "softmax", "bce": "sigmoid", "bce + dice": "sigmoid"}


# --- what the cards claim


def gradient(name, mask, logits, **options):
    scores = tf.Variable(np.asarray(logits, np.float64)[None, None, :, None])
    with tf.GradientTape() as tape:
        value = losses.get(name, from_logits=True, **options)(np.asarray(mask)[None, None], scores)
    return float(value), tape.gradient(value, scores).numpy().ravel()


def test_focal_mutes_a_pixel_that_is_right_as_its_card_says():
    z = np.log(9)
    (focal, focal_slope), (bce, bce_slope) = (
        gradient(n, [1], [z], **o) for n, o in (("focal", {"alpha": None}), ("bce", {}))
    )
    assert bce / focal == pytest.approx(100)
    assert bce_slope[0] / focal_slope[0] == pytest.approx(35, abs=1)


def test_log_dice_pushes_against_an_absent_class_as_its_card_says():
    value, slope = gradient("log_dice", [0] * 1000, [20.0] * 1000)
    assert value == pytest.approx(23, abs=0.1)
    half = gradient("log_dice", [0] * 1000, [0.0] * 1000)[1]
    assert (half > 1e-4).all()
    assert (gradient("dice", [0] * 1000, [0.0] * 1000)[1] < 1e-9).all()


def test_jaccard_has_half_to_twice_the_dice_gradient_as_its_card_says():
    for logits, factor in (([-9.0, -9.0, 9.0], 0.5), ([9.0, 9.0, -9.0], 2)):
        ratio = gradient("jaccard", [1, 1, 0], logits)[1] / gradient("dice", [1, 1, 0], logits)[1]
        np.testing.assert_allclose(ratio, factor, rtol=1e-3)


# --- the figure


@pytest.fixture(scope="module")
def data():
    return curves_of("dicefg")


def lines(axis):
    return {line.get_label(): line for line in axis.lines}


def test_the_figure_shows_the_curves(data):
    value, balance, size, pull, norms, shift = report.plot_loss(data, "dicefg").axes
    for axis in (value, balance, size, pull, norms, shift):
        assert axis.get_xlabel() and axis.get_ylabel()
    for label, line in lines(value).items():
        np.testing.assert_array_equal(line.get_xydata()[:, 1], data.value[label.split()[0]])
        assert ("above 0" in label) == label.startswith("foreground")
    np.testing.assert_allclose(balance.lines[0].get_xdata(), data.foreground / 1024)
    np.testing.assert_array_equal(balance.lines[0].get_ydata(), data.balance)
    np.testing.assert_allclose(lines(norms)["background pixels"].get_ydata(), data.norms["background"])
    np.testing.assert_array_equal(lines(size)["shifted by 2 px"].get_ydata(), data.by_size[2])
    np.testing.assert_array_equal(lines(shift)["8 x 8 px"].get_ydata(), data.by_shift[8])
    middle = len(data.logit) // 2
    for label, sign in (("foreground pixel", -1), ("background pixel", 1)):
        y = lines(pull)[label].get_ydata()
        assert y[middle] == pytest.approx(1024 * sign * data.slope[label.split()[0]][middle])
        assert y[-1] == pull.get_ylim()[0], "a gradient of 0 lies on the lower edge"
    assert [text.get_text() for text in balance.get_xticklabels()][0::3] == ["0.1 %", "50 %", "99.9 %"]
    for axis in (value, size, pull, norms, shift):
        styles = [(line.get_color(), line.get_linestyle()) for line in axis.lines]
        assert len(set(styles)) == len(styles) == len({colour for colour, _ in styles})


def test_a_pull_away_from_the_label_is_drawn_apart(data):
    turned = {"foreground": data.slope["foreground"], "background": -data.slope["background"]}
    pull = report.plot_loss(replace(data, slope=turned), "turned").axes[3]
    away = [label for label in lines(pull) if "away" in label]
    assert away == ["background pixel, away from its label"]
    middle = len(data.logit) // 2
    assert lines(pull)[away[0]].get_ydata()[middle] == pytest.approx(1024 * data.slope["background"][middle])


def test_the_figure_stays_readable_for_flat_and_vanishing_curves(data):
    flat = replace(
        data,
        balance=np.full_like(data.balance, 0.25),
        slope={label: np.zeros_like(slope) for label, slope in data.slope.items()},
    )
    axes = report.plot_loss(flat, "flat").axes
    low, high = axes[1].get_ylim()
    assert low < 0.24 and high > 0.26
    assert axes[3].get_ylim()[0] < axes[3].get_ylim()[1]


def test_nothing_of_the_figure_is_cut_off(data):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = report.plot_loss(data, "bce + 0.5*dice + tversky(fp_weight=0.25, fn_weight=0.75) + focal(gamma=3)")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.get_tightbbox(canvas.get_renderer())
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= figure.get_figwidth() and box.y1 <= figure.get_figheight()
