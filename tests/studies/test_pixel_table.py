"""Dice, curves and areas of the pixel study from hits that were made up, beside plain loops."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kseg.studies.pixel_measures import COUNTS, LEVELS
from kseg.studies.pixel_models import Entry
from kseg.studies.pixel_table import Result, statistics
from kseg.studies.pixel_text import _further, summary_rows

CASE = np.array(["a", "a", "b", "c", "c", "c"])
DRAWS = 3
WIDTH = {"level": 1 + len(LEVELS), "count": len(COUNTS), "noise": DRAWS * len(COUNTS)}


def measures(seed):
    rng, found = np.random.default_rng(seed), {"clean/dice": np.array([0.9, 0.8, 0.7]) + 0.01 * seed}
    for experiment, width in WIDTH.items():
        for order in ("signed", "random"):
            hits = {name: rng.integers(1, 50, (len(CASE), width, 2)) for name in ("tp", "fp", "fn")}
            hits |= {name: rng.uniform(1, 50, (len(CASE), width, 2)) for name in ("overlap", "mass")}
            hits["tp"][0, -1] = hits["fp"][0, -1] = 0  # nothing found at all
            found |= {f"hits/gradient/{order}/{experiment}/{name}": array for name, array in hits.items()}
    found["spread/probability/participation"] = rng.uniform(size=len(CASE))
    found["spread/logit/participation"] = np.array([0.5, np.nan, 0.3, 0.3, 0.3, 0.6])
    return found


@pytest.fixture(scope="module")
def result():
    entries = tuple(Entry(label, seed, Path(f"{label}_{seed}")) for seed in range(2) for label in ("bce", "dice"))
    return Result(entries, CASE, 0.2, {entry.name: measures(i) for i, entry in enumerate(entries)})


def dice_of(result, entry, experiment, order="signed"):
    """`[n, settings]` by loops."""
    measured = result.measures[entry.name]
    tp, fp, fn = (measured[f"hits/gradient/{order}/{experiment}/{name}"] for name in ("tp", "fp", "fn"))
    scores = np.zeros(tp.shape[:2])
    for i, j in np.ndindex(scores.shape):
        scores[i, j] = sum(2 * tp[i, j, k] / (2 * tp[i, j, k] + fp[i, j, k] + fn[i, j, k]) for k in range(2)) / 2
    return scores


def by_case(scores):
    return np.array([scores[:2].mean(axis=0), scores[2], scores[3:].mean(axis=0)])


def test_curves_are_means_over_seeds_and_cases_not_over_images(result):
    curve = result.curve("dice", "level")
    seeds = [by_case(dice_of(result, entry, "level"))[:, 1:].mean(axis=0) for entry in result.models("dice")]
    np.testing.assert_allclose(curve["seeds"], seeds)
    np.testing.assert_allclose(curve["mean"], np.mean(seeds, axis=0))
    np.testing.assert_allclose(curve["x"], 0.2 * np.array(LEVELS))
    assert (curve["low"] < curve["mean"]).all() and (curve["mean"] < curve["high"]).all()


def test_random_values_are_averaged_over_draws_of_each_count(result):
    entry = result.entries[0]
    scores = dice_of(result, entry, "noise")
    expected = [scores[:, DRAWS * i : DRAWS * (i + 1)].mean(axis=1) for i in range(len(COUNTS))]
    np.testing.assert_allclose(result.images_dice(entry, "noise"), np.transpose(expected))
    assert list(result.x("noise")) == list(COUNTS)


def test_relative_curves_are_shares_of_the_clean_dice_of_that_model(result):
    entry = result.entries[1]
    clean = by_case(dice_of(result, entry, "count")[:, 0])
    np.testing.assert_allclose(result.clean_dice(entry), clean)
    values = by_case(dice_of(result, entry, "count"))
    ratio = values.mean(axis=0) / clean.mean()
    curve = result.curve("dice", "count", relative=True)
    np.testing.assert_allclose(curve["seeds"][0], ratio)
    np.testing.assert_allclose([curve[name][0] for name in ("mean", "low", "high")], 1)  # without an attack, always
    area = np.trapezoid(ratio, COUNTS) / COUNTS[-1]
    np.testing.assert_allclose(result.area(entry, "count").mean(), area)
    each = [np.trapezoid(row, COUNTS) / COUNTS[-1] for row in values]
    np.testing.assert_allclose(result.area(entry, "count", relative=False), each)


def test_levels_and_other_orders_are_shares_of_the_same_clean_dice(result):
    entry = result.entries[2]
    clean = by_case(dice_of(result, entry, "count")[:, 0]).mean()
    for order in ("signed", "random"):
        values = by_case(dice_of(result, entry, "level", order))[:, 1:].mean(axis=0)
        levels = 0.2 * np.array(LEVELS)
        area = np.trapezoid(values / clean, levels) / levels[-1]
        np.testing.assert_allclose(result.area(entry, "level", order=order).mean(), area)
    row = summary_rows(replace(result, entries=result.entries[2:3], measures=padded(result)))[0]
    expected = result.area(entry, "level", order="random").mean()
    assert row[6].startswith(f"{expected:.3f}") and row[3].startswith(f"{result.area(entry, 'level').mean():.3f}")


def padded(result):
    """The measures, with what the summary wants besides."""
    return {name: found | {"clean/accuracy": np.array([0.9, 0.9, 0.8])} for name, found in result.measures.items()}


def test_a_kind_with_one_model_is_marked_and_compared_with_its_own_seed(result):
    twin = Entry("bce+dice", 0, Path("twin")), Entry("bce+dice", 1, Path("other"))
    cut = Entry("bce+dice, cutout", 0, Path("cut"))
    found = padded(result)
    some = list(found.values())
    part = Result((*twin, cut), CASE, 0.2, {"twin": some[0], "other": some[1], "cut": some[2]})
    assert [row[0] for row in summary_rows(part)] == ["bce+dice", "bce+dice, cutout (one model)"]
    change = np.mean(part.clean(cut) - part.clean(twin[0]))
    kept = np.mean([part.area(cut, what) - part.area(twin[0], what) for what in ("level", "count", "noise")])
    told = _further(part)
    assert f"clean Dice {change:+.3f} (" in told and f"left {kept:+.3f} (" in told


def test_a_loss_in_proportion_to_the_clean_dice_of_a_case_has_no_spread(result):
    entry = result.entries[0]
    hits = {name: array.copy() for name, array in result.measures[entry.name].items()}
    for name in ("tp", "fp", "fn"):
        hits[f"hits/gradient/signed/count/{name}"] = np.zeros((len(CASE), len(COUNTS), 1))
    hits["hits/gradient/signed/count/tp"][..., 0] = np.array([1, 2, 3, 4, 5, 6])[:, None]
    hits["hits/gradient/signed/count/fp"][..., 0] = 20 - 2 * np.array([1, 2, 3, 4, 5, 6])[:, None]
    hits["hits/gradient/signed/count/fp"][:, 1:, 0] += 20  # twice the denominator, half the Dice
    part = Result((entry,), CASE, 0.2, {entry.name: hits})
    curve = part.curve("bce", "count", relative=True)
    np.testing.assert_allclose(curve["mean"], [1, *[0.5] * (len(COUNTS) - 1)])
    np.testing.assert_allclose(curve["high"] - curve["low"], 0, atol=1e-12)


def test_a_model_that_finds_nothing_on_clean_images_has_no_relative_curve(result):
    entry = result.entries[0]
    hits = result.measures[entry.name] | {"hits/gradient/signed/count/tp": np.zeros((len(CASE), len(COUNTS), 2))}
    part = Result((entry,), CASE, 0.2, {entry.name: hits})
    assert np.isnan(part.curve("bce", "count", relative=True)["mean"]).all()
    assert np.isnan(part.area(entry, "count")).all()
    assert (part.curve("bce", "count")["mean"] == 0).all()


def test_experiment_a_is_the_part_of_b_within_the_range_of_the_images(result):
    both = [result.curve("bce", experiment) for experiment in ("range", "level")]
    count = sum(level <= 1 for level in LEVELS)
    assert 1 < count < len(LEVELS)
    for name in ("x", "mean", "low", "high"):
        np.testing.assert_allclose(both[0][name], both[1][name][:count])
    assert both[0]["x"][-1] == pytest.approx(0.2)


def test_deviation_is_over_draws_of_the_mean_over_images(result):
    scores = [dice_of(result, entry, "noise").mean(axis=0) for entry in result.models("dice")]
    expected = [[row[DRAWS * i : DRAWS * (i + 1)].std(ddof=1) for i in range(len(COUNTS))] for row in scores]
    np.testing.assert_allclose(result.deviation("dice"), np.mean(expected, axis=0))


def test_pooled_dice_is_of_all_pixels_together(result):
    entry = result.entries[0]
    measured = result.measures[entry.name]
    tp, fp, fn = (measured[f"hits/gradient/signed/count/{name}"].sum(axis=0) for name in ("tp", "fp", "fn"))
    np.testing.assert_allclose(result.pooled_dice(entry, "count"), (2 * tp / (2 * tp + fp + fn)).mean(axis=-1))


def test_soft_dice_is_of_the_probabilities(result):
    entry = result.entries[1]
    hits = {n: result.measures[entry.name][f"hits/gradient/signed/count/{n}"] for n in ("overlap", "mass", "tp", "fn")}
    each = 2 * hits["overlap"] / (hits["mass"] + hits["tp"] + hits["fn"])
    np.testing.assert_allclose(result.soft_dice(entry, "count"), each.mean(axis=-1))


def test_pixels_that_two_ways_have_in_common(result):
    entry = result.entries[0]
    ranked = {"ranked/gradient": np.array([[1, 2, 3], [4, 5, 6]]), "ranked/logit": np.array([[3, 2, 9], [7, 8, 4]])}
    part = Result((entry,), CASE, 0.2, {entry.name: ranked})
    assert part.overlap(entry, count=3) == pytest.approx(3 / 6) and part.overlap(entry, count=2) == pytest.approx(1 / 4)


def test_models_of_a_kind_are_in_the_order_of_their_seeds(result):
    part = Result(result.entries[::-1], CASE, 0.2, result.measures)
    assert [entry.seed for entry in part.models("bce")] == [0, 1]


def test_images_without_any_foreground_found_are_counted(result):
    entry = result.entries[0]
    found = np.zeros(len(COUNTS))
    found[-1] = 1 / 6
    np.testing.assert_allclose(result.missed(entry, "count"), found)
    np.testing.assert_allclose(result.missed(entry, "noise"), found / DRAWS)
    np.testing.assert_allclose(result.missed(entry, "level")[-1], 1 / 6)


def test_what_was_measured_is_known(result):
    assert result.attacked("noise", "gradient", "random").entries == result.attacked("range").entries == result.entries
    assert not result.attacked("noise", "gradient", "absolute").entries and not result.attacked("count", "loss").entries
    np.testing.assert_allclose(result.clean(result.entries[2]), [0.92, 0.82, 0.72])


def test_statistics_leave_out_images_without_gradient(result):
    found = statistics(result)["logit"]["participation"]
    assert found == {"bce": pytest.approx([0.4, 0.4]), "dice": pytest.approx([0.4, 0.4])}
