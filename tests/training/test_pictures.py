"""Pictures of a trained model: which cases and slices they show, and what they are drawn from."""

import keras
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from kseg import inference
from kseg.cli import main
from kseg.data import DataFile, Writer
from kseg.training import pictures

BOX = (1, 7, 1, 9)
# Right and missed pixels of the second slice of each case, and invented ones of its first, where one pixel is right.
CASES = {"a": (6, 0, 0), "b": (2, 4, 0), "c": (0, 6, 3), "d": (0, 0, 0), "e": (3, 3, 1), "f": (4, 2, 0)}
DICE = {name: 2 * (r + 1) / (2 * (r + 1) + m + i) for name, (r, m, i) in CASES.items() if r + m + i}


def masks_of(right, missed, invented):
    """True and predicted masks `[2, 8, 10]` of a case, within its box, and a wrong prediction in the padding."""
    true, guess = np.zeros((2, 2, 8, 10), np.uint8)
    if right + missed + invented:
        true[0, 2, 2] = guess[0, 2, 2] = 1
    true[1, 3, 1 : 1 + right + missed] = 1
    guess[1, 3, 1 : 1 + right] = 1
    guess[0, 5, 1 : 1 + invented] = 1
    guess[:, 0] = 1
    return true, guess


@pytest.fixture(scope="module")
def believer():
    """A model whose probabilities are its images."""
    inputs = keras.Input((8, 10, 1))
    return keras.Model(inputs, keras.layers.Identity()(inputs))


@pytest.fixture
def prepare(tmp_path):
    """Write cases {name: (right, missed, invented)} as a data file whose images are the predictions, blurred a bit."""

    def write(cases, slices=2, **options):
        path = tmp_path / "set.h5"
        with Writer(
            path, name="set", classes=["none", "disc"], value_range=(0, 1), command="", sources=[],
            split_rule="by hand", seed=0,
        ) as writer:  # fmt: skip
            for name, numbers in cases.items():
                true, guess = (part[2 - slices :] for part in masks_of(*numbers))
                doubt = np.random.default_rng(len(name)).uniform(0.1, 0.4, guess.shape)
                images = np.abs(guess - doubt).astype(np.float32)[..., None]
                writer.add("test", name, images, true, box=BOX, **options)
        return DataFile(path)

    return write


@pytest.fixture
def subject(believer, prepare):
    def make(cases=CASES, **options):
        data = prepare(cases, **options)
        return pictures.Subject(believer, data, "test", 0.5, inference.score_cases(believer, data, "test"))

    return make


@pytest.mark.parametrize(
    ("dice", "chosen"),
    [
        ([0.3, 0.9, 0.5, 0.7, 0.1], {1: "best", 2: "median", 4: "worst"}),
        ([np.nan, 0.9, 0.5, np.nan, 0.7], {1: "best", 4: "median", 2: "worst"}),
        ([0.5, np.nan, 0.9], {2: "best", 0: "worst"}),
        ([0.5], {0: "the only case"}),
        ([np.nan, 0.5], {1: "the only case\nwith foreground"}),
        ([np.nan] * 5, dict.fromkeys(range(3), "no foreground")),
    ],
)
def test_best_median_and_worst_are_chosen_by_dice(dice, chosen):
    assert pictures.best_median_worst(np.array(dice)) == chosen


def row_names(figure):
    return [axis.get_ylabel().splitlines() for axis in figure.axes[::4]]


def test_examples_tell_case_slice_size_and_dice(subject):
    figure = pictures.draw_examples(subject(spacing=(0.5, 2.0)))
    order = sorted(DICE, key=DICE.get)
    assert row_names(figure) == [
        [word, name, "slice 1", "16 x 3 mm", f"Dice {DICE[name]:.3f}"]
        for word, name in (("best", order[-1]), ("median", order[2]), ("worst", order[0]))
    ]
    assert "set" in figure.get_suptitle() and "test" in figure.get_suptitle()
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown.shape == (6, 8)  # without padding
    assert figure.axes[0].get_aspect() == 0.25


def test_long_names_of_cases_leave_room_for_the_pictures(subject):
    name = "0123456789abcdefghij" * 3
    figure = pictures.draw_examples(subject({name: (6, 0, 0), "b": (2, 4, 0)}))
    assert [row[1] for row in row_names(figure)] == ["0123456789a…89abcdefghij", "b"]


def test_examples_of_images_without_foreground_name_no_slice_and_no_dice(subject):
    empty = subject({"x": (0, 0, 0), "y": (0, 0, 0)}, slices=1)
    figure = pictures.draw_examples(empty)
    assert row_names(figure) == [["no foreground", name, "8 x 6 px"] for name in "xy"]
    assert pictures.draw_worst(empty) is None


def test_the_worst_are_shown_where_most_pixels_are_wrong(subject, monkeypatch):
    monkeypatch.setattr(pictures, "WORST", 2)
    figure = pictures.draw_worst(subject({"good": (6, 0, 0), "p": (6, 0, 5), "q": (6, 1, 0)}))
    names = [["rank 3 of 3", "p", "slice 0"], ["rank 2 of 3", "q", "slice 1"]]
    assert [row[:3] for row in row_names(figure)] == names


def test_pixels_are_counted_without_padding(subject):
    """Checked with scikit-learn."""
    chosen = subject()
    curves, matrix = pictures.look_at_pixels(chosen, batch_size=4)
    images, masks = chosen.data.read("test")
    y0, y1, x0, x1 = BOX
    true, p = masks[:, y0:y1, x0:x1].ravel(), images[:, y0:y1, x0:x1].ravel()
    np.testing.assert_array_equal(matrix, confusion_matrix(true, p > 0.5))
    curve = curves["disc"]
    assert curve.weight.sum() == true.size
    accuracy, confidence = calibration_curve(true, p, n_bins=pictures.BINS)
    filled = curve.weight > 0
    np.testing.assert_allclose(curve.accuracy[filled], accuracy)
    np.testing.assert_allclose(curve.confidence[filled], confidence, rtol=1e-6)


def test_sizes_are_those_of_the_cases(subject):
    chosen = subject(spacing=(0.5, 2.0))
    surfaces = inference.plan_surfaces(chosen.data.index("test"), slice_spacing=3.0)
    _, right = pictures.draw_sizes(chosen, surfaces).axes
    true = [r + m + (r + m + i > 0) for r, m, i in CASES.values()]
    found = [r + i + (r + m + i > 0) for r, m, i in CASES.values()]
    np.testing.assert_allclose(right.lines[0].get_xydata(), 3.0 * np.transpose([true, found]))
    assert right.get_xlabel() == "true size (mm³)"
    _, right = pictures.draw_sizes(chosen).axes
    np.testing.assert_allclose(right.lines[0].get_xydata(), np.transpose([true, found]))
    assert right.get_xlabel() == "true size (voxels)"


def test_evaluate_draws_figures_when_asked(run_folder, prepared, tmp_path, capfd):
    words = ["evaluate", str(run_folder), str(prepared), "--output", str(tmp_path / "run"), "--slice-spacing", "1"]
    assert main(words[0], [*words[1:], "--figures"]) == 0
    assert str(tmp_path / "run/figures") in capfd.readouterr().out.replace("\n", "")
    found = {path.name for path in (tmp_path / "run/figures").iterdir()}
    assert found == {"scores.png", "sizes.png", "reliability.png", "worst.png"}
    assert main(words[0], [*words[1:], "--overwrite"]) == 0
    assert not (tmp_path / "run/figures").exists()


def test_scores_have_the_units_of_their_surfaces(subject):
    chosen = subject(spacing=(0.5, 2.0))
    surfaces = inference.plan_surfaces(chosen.data.index("test"), slice_spacing=3.0, tolerance=2.5)
    scored = inference.score_cases(chosen.model, chosen.data, "test", surfaces=surfaces)
    figure = pictures.draw_scores(chosen._replace(cases=scored), surfaces)
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert labels == ["Dice", "HD95 (mm)", "ASSD (mm)", "surface Dice within 2.5 mm"]
    assert [axis.get_xlabel() for axis in pictures.draw_scores(chosen).axes] == ["Dice"]
    assert "6 cases" in figure.get_suptitle()
