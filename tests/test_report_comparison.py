"""The figures of the comparison of losses show what they are given, named, within their bounds."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from kseg import report
from kseg.report.comparison_panels import OUTCOMES
from kseg.report.figures import CLASS_COLOURS
from kseg.stats import Ranking, ranking

NAN = float("nan")
LONG = "bce + 0.5*dice + focal(gamma=3)"
UNBROKEN = "unified_focal(weight=0.5,delta=0.6,gamma=0.5)"
COUNTS = (1, 2, 6, 27)


def losses(count):
    return [LONG, UNBROKEN, *(f"generalized_dice_{i}" for i in range(25))][:count]


def shown_texts(axis):
    """Texts of an axis, labels of those ticks that are within its limits."""
    yield from (axis.title, axis._left_title, axis._right_title, axis.xaxis.label, axis.yaxis.label, *axis.texts)
    for each in (axis.xaxis, axis.yaxis):
        low, high = sorted(each.get_view_interval())
        within = [tick for tick in each.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
        yield from (label for tick in within for label in (tick.label1, tick.label2))


def inside(figure):
    """Every text lies within the figure, no text on another one, and no axes on a legend."""
    figure.draw_without_rendering()
    axes = [axis for axis in figure.axes if axis.axison]
    texts = [*(text for axis in axes for text in shown_texts(axis)), *figure.texts]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_visible() and text.get_text()]
    for name, box in [*boxes, *((legend, legend.get_window_extent()) for legend in figure.legends)]:
        assert box.x0 >= -1 and box.y0 >= -1, name
        assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, name
    for (name, one), (other, two) in combinations(boxes, 2):
        wide = min(one.x1, two.x1) - max(one.x0, two.x0)
        tall = min(one.y1, two.y1) - max(one.y0, two.y0)
        assert wide < 2 or tall < 2, (name, other)
    for legend in figure.legends:
        assert legend.get_window_extent().y1 <= min(axis.get_tightbbox().y0 for axis in axes)
    for axis in axes:  # what shows the data is left with some room
        box = axis.get_window_extent()
        assert box.width > 50 and box.height > 50


def legend_of(figure):
    (legend,) = figure.legends
    return {text.get_text().replace("\n", " "): line for text, line in
            zip(legend.get_texts(), legend.legend_handles, strict=True)}  # fmt: skip


def line_of(axis, x, y):
    """Lines of these points."""

    def same(line):
        return np.shape(line.get_xydata().T) == np.shape([x, y]) and np.allclose(line.get_xydata().T, [x, y])

    return [line for line in axis.lines if same(line)]  # fmt: skip


def test_losses_are_told_apart_without_colour_without_marker_and_without_line():
    styles = report.comparison_styles(losses(27))
    for left in combinations(("color", "marker", "linestyle"), 2):
        assert len({tuple(style[key] for key in left) for style in styles.values()}) == 27
    assert list(styles) == losses(27)
    assert list(report.comparison_styles(["a", "b", "a"])) == ["a", "b"]


def made(names, ranks, cliques=(), cases=71, alike=()):
    """A Ranking in which those pairs are told apart that are in no clique and not `alike`."""
    joined = {*alike, *(pair for clique in cliques for pair in combinations(clique, 2))}
    apart = frozenset(combinations(names, 2)) - joined
    return Ranking(tuple(names), tuple(ranks), cases, apart, cliques)


def test_ranks_and_cliques_stand_where_they_belong():
    found = made("abcde", (1.4, 2.1, 2.9, 4.0, 4.6), cliques=(("a", "b", "c"), ("c", "d")))
    figure = report.plot_ranking({"as given": found, "tuned": made("ba", (1.2, 1.8))}, "Ranks")
    axis, other = figure.axes
    inside(figure)
    bars = [line for line in axis.lines if line.get_linewidth() > 3]
    assert [line.get_xdata().tolist() for line in bars] == [[1.4, 2.9], [2.9, 4.0]]
    assert len({line.get_ydata()[0] for line in bars}) == 2  # one above the other, since they overlap
    leaders = {line.get_xdata()[0]: line.get_ydata()[-1] for line in axis.lines if line.get_linewidth() < 3}
    assert list(leaders) == [1.4, 2.1, 2.9, 4.0, 4.6]
    assert min(leaders.values()) > max(line.get_ydata()[0] for line in bars)  # names below all bars
    names = {text.get_text().strip(): text for text in axis.texts}
    for name, rank in zip("abcde", found.ranks, strict=True):
        text = f"{name}  {rank:.2f}" if rank < 3 else f"{rank:.2f}  {name}"
        assert names[text].get_position()[1] == leaders[rank]
        assert (names[text].get_position()[0] < 1) == (rank < 3)
    assert axis.get_xlim() == (1, 5) and other.get_xlim() == (1, 2)
    assert "1 is best" in axis.get_xlabel()
    assert [each.get_title() for each in figure.axes] == ["as given", "tuned"]


def test_words_below_the_ranks_tell_what_they_are_of_and_what_bars_mean():
    def said(found, **options):
        return report.plot_ranking({"": found}, **options).axes[0].texts[0].get_text()

    names, ranks = "abc", (1.5, 1.9, 2.6)
    assert "ranks of these trained models over 71 cases" in said(made(names, ranks))
    assert "bars join losses that are not told apart, other" in said(made(names, ranks, cliques=(("a", "b"),)))
    assert said(made(names, ranks)).endswith("every pair is told apart")
    ends = [("a", "c")]  # over a middle one that is told apart from one of them
    some = said(made(names, ranks, alike=ends))
    assert some.endswith("every pair but 1 is told apart\ntold apart: a from b; b from c")
    assert "told apart:" not in said(made(names, ranks, cliques=(("a", "b"),)))  # bars show it
    some = said(made(names, ranks, (("a", "b"),), alike=ends))
    assert "apart (nor is one other pair), other" in some and some.endswith("\ntold apart: b from c")
    both = [("a", "c"), ("a", "d")]
    some = said(made("abcd", (1, 2, 3, 4), (("b", "c"),), alike=both))
    assert "(nor are 2 other pairs)" in some and some.endswith("\ntold apart: a from b; b from d; c from d")
    untested = ranking({"a": [2.0, 1.0], "b": [1.0, 1.0]})
    figure = report.plot_ranking({"": untested}, notes={"": ["2 seeds", "not ranked: c"], "other": ["nothing"]})
    inside(figure)
    assert not [line for line in figure.axes[0].lines if line.get_linewidth() > 3]
    words = figure.axes[0].texts[0].get_text().split("\n")
    assert words[1:] == ["no bars: whether losses differ was not tested", "2 seeds", "not ranked: c"]
    empty = ranking({"a": [NAN], "b": [1.0]})
    figure = report.plot_ranking({"": empty})
    inside(figure)
    assert "no case has a number" in figure.axes[0].texts[0].get_text() and not figure.axes[0].lines


@pytest.mark.parametrize("count", COUNTS[1:])
def test_ranks_of_many_losses_are_readable(count):
    noise = np.random.default_rng(0).normal(0, 0.02, (count, 40))
    scores = {name: 0.002 * i + each for i, (name, each) in enumerate(zip(losses(count), noise, strict=True))}
    found = ranking(scores, apart=list(combinations(losses(count), 2))[::7])
    notes = {"tuned": ["not ranked: " + ", ".join(f"{name} (2 of 3 seeds)" for name in losses(count)), "the end"]}
    figure = report.plot_ranking({"learning rate as given": found, "tuned": found}, "Ranks", notes)
    inside(figure)
    assert figure.axes[1].texts[0].get_text().endswith("\nthe end")
    for axis in figure.axes:  # no name is crossed by what is told below
        names = [text.get_window_extent() for text in axis.texts[1:]]
        assert axis.texts[0].get_window_extent().y1 < min(box.y0 for box in names)


def test_curves_are_those_given_and_their_mean_over_the_epochs_in_common():
    styles = report.comparison_styles(["a", "b"])
    panels = {"as given": {"a": [[0.1, 0.3, 0.5], [0.3, 0.5]], "b": [[0.2, 0.4, 0.6]]}, "tuned": {"a": [], "b": [[]]}}
    figure = report.plot_learning(panels, styles, "Dice of validation", "Curves")
    axis, empty = figure.axes
    inside(figure)
    (first,), (second,) = line_of(axis, [1, 2, 3], [0.1, 0.3, 0.5]), line_of(axis, [1, 2], [0.3, 0.5])
    (mean,), (alone,) = line_of(axis, [1, 2], [0.2, 0.4]), line_of(axis, [1, 2, 3], [0.2, 0.4, 0.6])
    assert first.get_linewidth() == second.get_linewidth() < mean.get_linewidth() == alone.get_linewidth()
    for line, name in ((mean, "a"), (alone, "b")):
        assert (line.get_color(), line.get_marker()) == (styles[name]["color"], styles[name]["marker"])
    assert first.get_color() == mean.get_color() and len(axis.lines) == 4 and not empty.lines
    assert list(legend_of(figure)) == ["a", "b", "one seed"]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("epoch", "Dice of validation", "as given")


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("panels", [1, 3])
def test_curves_of_many_losses_have_a_legend_of_all(count, panels):
    curves = {name: [np.linspace(0, 0.9 - 0.01 * i, 9)] * 2 for i, name in enumerate(losses(count))}
    figure = report.plot_learning(
        {f"panel {i}": curves for i in range(panels)}, report.comparison_styles(losses(count)), "Dice", "Curves"
    )
    inside(figure)
    entries = list(legend_of(figure))
    assert [entry.replace(" ", "") for entry in entries[:count]] == [name.replace(" ", "") for name in losses(count)]
    assert ("one seed" in entries) == (count <= 8)


def scored(mean, seeds=(0.1, 0.2)):
    return mean, mean - 0.1, mean + 0.2, list(seeds)


def large(line):
    return line.get_marker() != "None" and line.get_markersize() == 6


def test_scores_have_their_bars_and_seeds_and_regimes_side_by_side():
    styles = report.comparison_styles(["a", "b"])
    groups = {
        "as given": {"a": scored(0.5), "b": (0.6, NAN, NAN, [0.6])},
        "tuned": {"a": (NAN, NAN, NAN, []), "b": scored(0.7)},
    }
    panels = [{"ylabel": "IoU", "groups": groups, "better": "higher"},
              {"ylabel": "distance [px]", "groups": {"tuned": {"a": scored(3.0)}}, "better": "lower"}]  # fmt: skip
    figure = report.plot_scores(panels, styles, "Scores")
    axis, lower = figure.axes
    inside(figure)
    points = {line.get_ydata()[0]: line for line in axis.lines if large(line)}
    assert list(points) == [0.5, 0.6, 0.7]
    assert [points[y].get_marker() for y in (0.5, 0.6, 0.7)] == [styles[n]["marker"] for n in "abb"]
    assert [points[y].get_fillstyle() for y in (0.5, 0.6, 0.7)] == ["full", "full", "none"]
    x = [float(points[y].get_xdata()[0]) for y in (0.5, 0.6, 0.7)]
    assert -0.5 < x[0] < 0 and 0.5 < x[1] < 1 < x[2] < 1.5  # the place of a that has no number stays free
    assert len(line_of(axis, [x[0]] * 2, [0.4, 0.7])) == 1 == len(line_of(axis, [x[2]] * 2, [0.6, 0.9]))
    dots = [line for line in axis.lines if line.get_marker() == "."]
    assert [line.get_ydata().tolist() for line in dots] == [[0.1, 0.2]] * 2
    assert [label.get_text() for label in lower.get_xticklabels()] == ["a", "b"]
    assert axis.get_ylabel() == "IoU\n(higher is better)"
    assert lower.get_ylabel() == "distance [px]\n(lower is better)"
    assert list(legend_of(figure)) == ["as given: mean", "tuned: mean", "interval of 95 %", "one seed"]
    (point,) = [line for line in lower.lines if large(line)]
    assert point.get_fillstyle() == "none" and 0 < point.get_xdata()[0] < 0.5  # tuned, though alone in its row


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("panels", [1, 6])
def test_scores_of_many_losses_are_named_in_full(count, panels):
    group = {name: scored(0.5 + 0.01 * i) for i, name in enumerate(losses(count))}
    panel = {"ylabel": "mean surface distance [px]", "groups": {"as given": group, "tuned": group}, "better": "lower"}
    figure = report.plot_scores([panel] * panels, report.comparison_styles(losses(count)), "Scores")
    inside(figure)
    shown = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert ["".join(text.split()) for text in shown] == [n.replace(" ", "") for n in losses(count)]


def test_cost_is_written_at_its_bar():
    rows = {"a": {"seconds": [2.0, 4.0, 9.0], "memory": 2048.0}, LONG: {"seconds": [NAN], "memory": NAN}}
    figure = report.plot_cost(rows, report.comparison_styles(rows), "Cost")
    times, memory = figure.axes
    inside(figure)
    assert [bar.get_width() for bar in times.patches] == [4.0]
    assert [bar.get_width() for bar in memory.patches] == [2048.0]
    assert [line.get_xdata().tolist() for line in times.lines] == [[2.0, 4.0, 9.0]]
    assert [text.get_text().strip() for text in times.texts] == ["4", "not measured"]
    assert [text.get_text().strip() for text in memory.texts] == ["2,048", "not measured"]
    assert [text.xy for text in times.texts] == [(9.0, 0), (0, 1)]  # beyond the last dot
    assert "[s]" in times.get_xlabel() and "[MiB]" in memory.get_xlabel()
    assert times.get_xlim()[0] == 0 == memory.get_xlim()[0]
    assert [label.get_text().replace("\n", " ") for label in times.get_yticklabels()] == ["a", LONG]
    assert times.get_ylim()[0] > times.get_ylim()[1]  # the first on top


@pytest.mark.parametrize("count", COUNTS)
def test_cost_of_many_losses_fits(count):
    rows = {name: {"seconds": [1.0 + i, 1.5 + i], "memory": 1000.0 * i} for i, name in enumerate(losses(count))}
    inside(report.plot_cost(rows, report.comparison_styles(rows), "Cost"))


def example(count, classes=2, channels=1):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, classes, (12, 16))
    return {"image": rng.uniform(0, 0.2, (12, 16, channels)), "mask": mask, "name": "case 7",
            "predicted": {name: rng.permutation(mask) for name in losses(count)},
            "scores": {name: 0.5 + 0.01 * i for i, name in enumerate(losses(count))}}  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_predictions_show_what_is_right_missed_and_invented(channels):
    given = example(2, channels=channels)
    figure = report.plot_compared([given, given], ("background", "lung"), (0, 0.2), "Examples", score="IoU")
    inside(figure)
    assert len(figure.axes) == 2 * 4
    shown = [axis.images[0].get_array() for axis in figure.axes]
    right, missed, invented = (to_rgb(colour) for colour in OUTCOMES.values())
    true, found = given["mask"] > 0, given["predicted"][LONG] > 0
    for where, colour in ((true & found, right), (true & ~found, missed), (~true & found, invented)):
        assert where.any()
        np.testing.assert_allclose(shown[2][where], np.broadcast_to(colour, shown[2][where].shape))
    rest = shown[2][~true & ~found]
    assert rest.max() < 0.31 and rest.std() > 0  # the image, darker than any of the three
    np.testing.assert_allclose(shown[1][true], np.broadcast_to(right, shown[1][true].shape))
    assert [axis.get_xlabel() for axis in figure.axes[:4]] == ["", "", "IoU 0.500", "IoU 0.510"]
    for axis in figure.axes:  # frames cut no letter off
        frame, (above, below) = axis.get_window_extent(), (axis.title, axis.xaxis.label)
        assert not above.get_text() or above.get_window_extent().y0 >= frame.y1 + 2
        assert not below.get_text() or below.get_window_extent().y1 <= frame.y0 - 4
    titles = ["".join(axis.get_title().split()) for axis in figure.axes]
    assert titles == ["image", "truemask", LONG.replace(" ", ""), UNBROKEN, *[""] * 4]
    assert figure.axes[0].get_ylabel() == figure.axes[4].get_ylabel() == "case 7"
    assert list(legend_of(figure)) == list(OUTCOMES)


def test_predictions_of_several_classes_show_these():
    given = example(1, classes=3)
    given["scores"] = {LONG: NAN}
    figure = report.plot_compared([given], ("background", "left", "right"), (0, 0.2))
    inside(figure)
    palette = np.array([(0, 0, 0), to_rgb(CLASS_COLOURS[0]), to_rgb(CLASS_COLOURS[1])])
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), palette[given["mask"]])
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), palette[given["predicted"][LONG]])
    assert figure.axes[2].get_xlabel() == "no Dice"
    del given["scores"]
    assert report.plot_compared([given], ("background", "left", "right"), (0, 0.2)).axes[2].get_xlabel() == ""
    assert list(legend_of(figure)) == ["background", "left", "right"]


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (2, 1), (6, 1), (7, 1), (8, 2), (27, 4)])
def test_predictions_of_many_losses_go_on_below(count, lines):
    figure = report.plot_compared([example(count)] * 2, ("background", "lung"), (0, 0.2), "Examples")
    inside(figure)
    drawn = [axis for axis in figure.axes if axis.axison]
    assert len(drawn) == 2 * (count + 2)
    rows = {axis.get_subplotspec().rowspan.start for axis in drawn}
    assert len(rows) == 2 * lines
    titles = ["".join(axis.get_title().split()) for axis in drawn]
    named = [name.replace(" ", "") for name in ("image", "truemask", *losses(count))]
    assert sorted(titles) == sorted(named * 2 if lines > 1 else named + [""] * (count + 2))
    assert figure.bbox.width <= 900


def halving(names, rates):
    """Three rounds, of which every one keeps half; the score rises with the rate, the order of names and the epochs."""
    alive, rounds = [(name, rate) for name in names for rate in rates], []
    for epochs in (1, 3, 7):
        kept = alive[len(alive) // 2 :]
        rounds.append([
            {"loss": name, "rate": rate, "epochs": epochs, "kept": (name, rate) in kept,
             "score": 0.2 + 0.01 * names.index(name) + 0.02 * rates.index(rate) + 0.05 * epochs}
            for name, rate in alive
        ])  # fmt: skip
        alive = kept
    return rounds


def test_the_search_ends_in_crosses_and_frames():
    rounds = halving(["a", "b"], [1e-3, 4e-3])
    rounds[0][0]["score"] = NAN
    figure = report.plot_halving(rounds, "Search")
    axis, table = figure.axes
    inside(figure)
    styles = report.comparison_styles(["a", "b"])
    crosses = [tuple(line.get_xydata()[0]) for line in axis.lines if line.get_marker() == "x"]
    np.testing.assert_allclose(crosses, [(1, 0.27), (3, 0.36)])
    tracks = {len(line.get_xdata()): line for line in axis.lines if line.get_marker() != "x"}
    np.testing.assert_allclose(tracks[3].get_xydata(), [(1, 0.28), (3, 0.38), (7, 0.58)])
    np.testing.assert_allclose(tracks[2].get_xydata(), [(1, 0.26), (3, 0.36)])
    assert tracks[3].get_marker() == tracks[2].get_marker() == styles["b"]["marker"]
    assert (tracks[3].get_markevery(), tracks[2].get_markevery()) == ([0, 1, 2], [0])  # a cross where one ends
    assert {(text.get_position(), text.get_text()) for text in table.texts} == {
        ((0.5, 0.5), "failed"), ((1.5, 0.5), "0.270"), ((0.5, 1.5), "0.360"), ((1.5, 1.5), "0.580")
    }  # fmt: skip
    (frame,) = [patch for patch in table.patches if not patch.get_fill()]
    assert min(frame.get_xy()) > 1
    fills = {patch.get_xy(): float(to_rgb(patch.get_facecolor())[0]) for patch in table.patches if patch.get_fill()}
    assert fills[0, 0] == fills[1, 0] > fills[0, 1] > fills[1, 1] > 0.5  # black text stays readable
    assert [label.get_text() for label in table.get_xticklabels()] == ["0.001", "0.004"]
    assert [label.get_text() for label in table.get_yticklabels()] == ["a", "b"]
    assert list(legend_of(figure)) == ["a", "b", "dropped"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epochs trained so far", "best Dice of validation")


@pytest.mark.parametrize(("count", "rates"), [(1, 1), (2, 4), (6, 4), (27, 3)])
def test_a_search_of_many_losses_fits(count, rates):
    figure = report.plot_halving(halving(losses(count), [2.5e-4, 1e-3, 4e-3, 1.6e-2][:rates]), "Search")
    inside(figure)
    assert len(figure.axes[1].texts) == count * rates
    assert len(legend_of(figure)) == count + 1


def test_colours_of_outcomes_stay_apart_in_grey_print():
    grey = [0.3, *sorted(float(np.dot(to_rgb(to_hex(colour)), (0.299, 0.587, 0.114))) for colour in OUTCOMES.values())]
    assert np.diff(grey).min() > 0.1
