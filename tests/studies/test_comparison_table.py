"""What of the measures counts, who is ranked and who is told apart, on measures that are made up."""

import numpy as np
import pytest
from comparison_example import DB, FOCAL, FT, JACCARD, PIXELS, SIX, TVERSKY, drawn, made_up, page_of, rows_of, spread
from scipy import stats

from kseg.stats import Spread, crossed_test
from kseg.studies import comparison_page
from kseg.studies.comparison_claims import GENERALIZED, claims
from kseg.studies.comparison_models import BROKEN, GIVEN, TUNED


def test_scores_are_those_of_the_counts():
    result = made_up()
    entry = result.models(FT, GIVEN)[0]
    tp, fp, fn, _ = result.measures[entry.name]["counts"][:, :, 1]
    iou = tp / (tp + fp + fn)
    np.testing.assert_allclose(result.of_case(entry, "iou"), iou)
    np.testing.assert_allclose(result.of_case(entry, "dice"), 2 * tp / (2 * tp + fp + fn))
    np.testing.assert_allclose(result.of_case(entry, "accuracy"), 1 - (fp + fn) / PIXELS)
    passed = np.mean([iou > (50 + 5 * step) / 100 for step in range(10)], axis=0)
    np.testing.assert_allclose(result.of_case(entry, "iou_score"), passed)
    every = np.stack([result.of_case(each, "iou") for each in result.models(FT, GIVEN)])
    mean, low, high, seeds = result.mean(FT, GIVEN, "iou")
    assert mean == pytest.approx(every.mean()) and low < mean < high
    np.testing.assert_allclose(seeds, every.mean(axis=1))
    np.testing.assert_allclose(result.foreground(), [0.75, 0.25])
    np.testing.assert_allclose(result.seconds(FT), np.tile([1.0, 1.2], 3))  # the first epoch compiles
    far = made_up(hd95=dict.fromkeys(SIX, 9.0) | {TVERSKY: 1.0})
    assert far.ranking(GIVEN, "hd95").names[0] == TVERSKY  # a shorter distance is the better one


def test_pairs_are_told_apart_by_their_differences():
    found = made_up(losses=(DB, JACCARD, FT)).pairs(GIVEN)
    assert list(found) == [(DB, JACCARD), (DB, FT), (JACCARD, FT)]
    assert found[DB, FT].reversed and found[JACCARD, FT].reversed
    assert not found[DB, JACCARD].holds and not found[DB, JACCARD].reversed
    assert found[DB, FT].difference == pytest.approx(-0.003, abs=3e-4)


def test_seeds_that_differ_tell_no_losses_apart_however_alike_the_cases_are():
    """Each model of focal Tversky differs from Dice-BCE's in the same way in all of 40 cases, but each in its own."""
    base = np.linspace(0.8, 0.9, 40)
    result = made_up(losses=(DB, FT), cases=40, search=False)
    spread(result, {DB: base + 0.0002 * (-1) ** np.arange(40)}, (0, 0, 0))
    spread(result, {FT: base + 0.01}, (-0.01, 0.02, -0.02))
    found = result.ranking(GIVEN)
    assert found.cliques == ((FT, DB),) and found.apart == frozenset() and found.ranks[0] < 1.5
    assert result.between(FT, GIVEN) == pytest.approx((0.03 + 0.04 + 0.01) / 3)
    assert result.between(DB, GIVEN) == pytest.approx(0, abs=1e-12)
    page = page_of(result)
    assert f"not told apart from `{DB}`" in page and "differ by 0.0133 on average, the losses by up to 0.0067." in page
    assert [row[2] for row in (rows_of(page, "Which loss")[0][loss] for loss in (FT, DB))] == ["0.0267", "0.0000"]
    spread(result, {FT: base + 0.01}, (0.0001, 0, -0.0001))  # as far away, and as certain in each seed
    again = made_up(losses=(DB, FT), cases=40, search=False)
    again.measures.update(result.measures)
    assert again.ranking(GIVEN).apart == {(FT, DB)} and again.ranking(GIVEN).cliques == ()


@pytest.mark.parametrize(("seeds", "why"), [(1, "1 seed, 3 are needed"), (2, "2 seeds, 3 are needed")])
def test_of_few_seeds_nothing_is_told_apart_on_the_page_and_in_the_figure(seeds, why):
    result = made_up(losses=(DB, FT, TVERSKY), seeds=seeds, search=False)
    found = result.ranking(GIVEN)
    assert found.names == (FT, DB, TVERSKY) and found.apart is None and found.cliques == ()
    words = comparison_page.figures(result)["ranking.png"].axes[0].texts[0].get_text().split("\n")
    assert words[:3] == ["ranks of these trained models over 11 cases", "no bars: whether losses differ was not tested",
                         f"({why})"]  # fmt: skip
    assert (len(words) == 4) == (seeds == 2)  # one seed does not tell how seeds differ
    page = page_of(result)
    assert f"no two losses are told apart ({why})" in page and "on average" not in page.split("##")[1] or seeds == 2
    rows = rows_of(page, "Pair by pair")[0]
    assert rows[f"{DB} over {FT}"][1:] == ["-", "-", f"{seeds} of {seeds}", f"0 of {seeds}", f"not tested: {why}"]


def test_losses_that_broke_down_are_told_and_the_others_compared():
    every = [(FT, regime, seed) for regime in (GIVEN, TUNED) for seed in range(3)]
    result = made_up(tuned={JACCARD: 0.96}, broken=[*every, (FOCAL, GIVEN, 1)], rates={FT: None})
    assert result.broken(FT, GIVEN) == 3 and result.broken(FOCAL, GIVEN) == 1 and result.rate(FT, TUNED) is None
    names = result.ranking(GIVEN).names
    assert names == (GENERALIZED, *sorted((DB, JACCARD), key=names.index), TVERSKY)  # no rank by what is left
    assert len(result.mean(FOCAL, GIVEN, "iou")[3]) == 2
    page = page_of(result)
    assert f"`{FT}`, {GIVEN}, is not ranked: 0 of 3 seeds. It broke down in 3 of its runs.\n" in page
    part = "not ranked: 2 of 3 seeds. It broke down in 1 of its runs. It is compared over the other seeds."
    assert f"`{FOCAL}`, {GIVEN}, is {part}" in page
    assert f"`{FT}`, {TUNED}, is not ranked: no rate ended in the search.\n" in page
    assert "told apart from each other one that is ranked" in page
    given, tuned = rows_of(page, "Which loss")
    assert given[FT][1:] == ["not ranked: 0 of 3 seeds", *["-"] * 11] and given[FOCAL][1] == "not ranked: 2 of 3 seeds"
    assert tuned[FT] == ["-", "not ranked: no rate ended in the search", *["-"] * 11]
    apart = rows_of(page, "Pair by pair")[0]
    assert apart[f"{DB} over {FOCAL}"][3:] == ["2 of 3", "2 of 2", "not tested: 2 seeds, 3 are needed"]
    assert apart[f"{DB} over {TVERSKY}"][3] == "3 of 3" and not any(FT in name for name in apart)
    assert "nan" in rows_of(page, "Learning rates")[0][FT][1] and FT not in rows_of(page, "Classes")[0]
    assert drawn(result) == list(comparison_page.FIGURES)
    told = {each["claim"]: each["verdict"] for each in claims(result)}
    assert {told[claim] for claim in "1234578"} == {"not decided"}
    ended = {(row["loss"], row["seed"]): row["ended"] for row in comparison_page.result_rows(result)
             if row["regime"] == GIVEN}  # fmt: skip
    assert ended[FT, 0] == ended[FOCAL, 1] == "broke down" and ended[FOCAL, 0] == "finished"
    rows = comparison_page.case_rows(result)
    assert len(rows) == 11 * 2 * (5 * 3 - 1) and FT not in {row["loss"] for row in rows}


def test_where_all_broke_down_at_the_given_rate_the_tuned_ones_are_shown():
    every = [(loss, GIVEN, seed) for loss in (DB, FT) for seed in range(3)]
    result = made_up(losses=(DB, FT), tuned={DB: 0.96, FT: 0.97}, broken=every)
    assert drawn(result)[-3:] == ["compared.png", "search.png", "cost.png"]
    page = page_of(result)
    assert page.count("broke down") == 2 and f"**{TUNED}**: best mean rank of the IoU `{FT}`" in page
    assert f"**{GIVEN}**" not in page


def test_why_a_loss_broke_down_is_told(tmp_path):
    every = [(FT, GIVEN, seed) for seed in range(3)]
    result = made_up(losses=(DB, FT), search=False, broken=every)
    for key, entry in list(result.entries.items()):
        moved = result.entries[key] = entry._replace(folder=tmp_path / entry.name)
        moved.folder.mkdir()
        if moved.name not in result.measures:
            (moved.folder / BROKEN).write_text("ValueError: no head of it" + " at all" * (entry.seed == 2))
    page = page_of(result)
    assert "in 3 of its runs: ValueError: no head of it; ValueError: no head of it at all.\n" in page
    assert "ranking.png" not in drawn(result)  # one loss is left
    assert "One loss alone" not in page


def test_five_seeds_of_which_one_broke_down_are_compared_over_four():
    result = made_up(seeds=5, search=False, broken=[(FOCAL, GIVEN, 1)])
    assert FOCAL not in result.ranking(GIVEN).names
    rows = rows_of(page_of(result), "Pair by pair")[0]
    assert rows[f"{FOCAL} over {TVERSKY}"][3:] == ["4 of 5", "4 of 4", "yes"]
    assert {each["claim"]: each["verdict"] for each in claims(result)}["1"] == "supported"


def test_who_is_not_told_apart_from_the_best_is_named_though_no_bar_joins_them():
    """Tests do not follow ranks: the second is surely behind the first, the third, which varies more, is not."""
    rng, result = np.random.default_rng(5), made_up(losses=(DB, FOCAL, FT), search=False, cases=20)
    lags = {FT: np.zeros(20), FOCAL: np.full(20, 0.01), DB: rng.permuted(np.repeat([0.02, -0.15], [14, 6]))}
    spread(result, {loss: 0.8 - lag for loss, lag in lags.items()}, (0, 0, 0))
    found = result.ranking(GIVEN)
    assert found.names == (FT, FOCAL, DB) and found.cliques == ((FOCAL, DB),) and found.apart == {(FT, FOCAL)}
    assert f"best mean rank of the IoU `{FT}` (0.8000), not told apart from `{DB}`. Lowest" in page_of(result)
    words = comparison_page.figures(result)["ranking.png"].axes[0].texts[0].get_text()
    assert "nor is one other pair" in words and f"\ntold apart: {FT} from {FOCAL}\n" in words


def test_whether_a_case_counts_is_decided_by_its_truth():
    """A case without foreground, of which the models of one loss invent some, and the others none."""
    result = made_up(losses=(DB, FOCAL), search=False, cases=12)
    for loss in (DB, FOCAL):
        for entry in result.models(loss, GIVEN):
            counts, some = result.measures[entry.name]["counts"], 50 * (loss == FOCAL)
            counts[:, 4, 1] = 0, some, 0, PIXELS - some
            counts[:, 4, 0] = PIXELS - some, 0, some, 0
            result.measures[entry.name]["hd95"][4, 1] = np.inf if some else np.nan
            result.measures[entry.name]["surface_dice"][4, 1] = 0 if some else np.nan
    rest = np.arange(12) != 4
    for loss in (DB, FOCAL):
        for score in ("iou", "iou_score", "dice", "hd95", "surface_dice"):
            values = result.scores(loss, GIVEN, score)[0]
            assert np.isnan(values[4]) and np.isfinite(values[rest]).all(), (loss, score)
        assert result.missed(loss, GIVEN) == 0
    assert result.scores(FOCAL, GIVEN, "accuracy")[0][4] == pytest.approx(1 - 50 / PIXELS)  # it counts there
    assert result.ranking(GIVEN).cases == result.pairs(GIVEN)[DB, FOCAL].cases == 11
    assert f"how often some was (cases, classes and seeds): {DB} 0 of 3, {FOCAL} 3 of 3." in page_of(result)
    assert "Classes that a case lacks" not in page_of(made_up(losses=(DB, FOCAL)))
    assert {row["infinite distances"] for row in comparison_page.result_rows(result)} == {0}
    rows = comparison_page.case_rows(result)
    assert all(np.isnan(row["iou"]) == (row["case"] == "case 04") for row in rows)


def test_infinite_distances_are_counted_and_left_out():
    result = made_up(losses=(DB, FOCAL))
    first, second = result.models(FOCAL, GIVEN)[:2]
    result.measures[first.name]["hd95"][[2, 5], 1] = np.inf
    result.measures[second.name]["hd95"][2, 1] = np.inf
    result.measures[result.models(DB, GIVEN)[0].name]["hd95"][2, 1] = np.inf  # missed by both
    assert result.missed(FOCAL, GIVEN) == 3 and result.missed(DB, GIVEN) == 1
    every = np.stack([result.measures[each.name]["hd95"][:, 1] for each in result.models(FOCAL, GIVEN)])
    assert result.mean(FOCAL, GIVEN, "hd95")[0] == pytest.approx(every[np.isfinite(every)].mean())
    assert f"left out of the means: {DB} 1, {FOCAL} 3." in page_of(result)
    every = comparison_page.result_rows(result)
    assert {(row["loss"], row["seed"]): row["infinite distances"] for row in every if row["infinite distances"]} == {
        (FOCAL, 0): 2, (FOCAL, 1): 1, (DB, 0): 1,
    }  # fmt: skip
    assert result.ranking(GIVEN, "hd95").cases == 11 and result.pairs(GIVEN, "hd95")[DB, FOCAL].cases == 9
    assert drawn(result) == list(comparison_page.FIGURES)
    rows = {tuple(list(row.values())[:4]): row["hd95"] for row in comparison_page.case_rows(result)}
    assert rows[FOCAL, GIVEN, 0, "case 05"] == np.inf and np.isfinite(rows[FOCAL, GIVEN, 1, "case 05"])


def test_seeds_that_agree_by_chance_make_no_pair_sure():
    """The means of Dice-BCE and focal Tversky differ alike in all seeds, those of the other losses do not."""
    base = 0.85 + np.random.default_rng(1).normal(0, 0.005, (4, 30))
    losses = (DB, FOCAL, TVERSKY, FT)
    lifts = {DB: (0, 0, 0), FT: (0.0101, 0.01, 0.0099), FOCAL: (0.015, -0.01, 0.004), TVERSKY: (-0.012, 0.008, 0.012)}
    result = made_up(losses=losses, cases=30, search=False)
    for loss, own in zip(losses, base, strict=True):
        spread(result, {loss: own}, lifts[loss])
    pairs = {key: np.stack([result.scores(key[0], GIVEN, "iou")[s] - result.scores(key[1], GIVEN, "iou")[s]
             for s in range(3)]) for key in result.pairs(GIVEN)}  # fmt: skip
    variance = {key: each.mean(axis=1).var(ddof=1) for key, each in pairs.items()}
    median, freedom = result.usual_spread(GIVEN)
    assert median == pytest.approx(sorted(variance.values())[2]) and freedom == 3 * 2 / 2
    assert variance[DB, FT] < 1e-6 < median < variance[FOCAL, TVERSKY]
    assert crossed_test(pairs[DB, FT])[3] < 0.001 < 0.05 < result.pairs(GIVEN)[DB, FT].p
    for key, found in result.pairs(GIVEN).items():
        seeds, degrees = (median, 3) if median > 1.0001 * variance[key] else (variance[key], 2)
        cases = pairs[key].mean(axis=0).var(ddof=1) / 30
        whole = seeds / 3 + cases
        degrees = whole**2 / ((seeds / 3) ** 2 / degrees + cases**2 / 29)
        half = stats.t.ppf(0.975, degrees) * np.sqrt(whole)
        assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half))
        assert found.p == pytest.approx(2 * stats.t.sf(abs(found.difference) / np.sqrt(whole), degrees))


def test_the_tuned_rates_are_tested_with_the_usual_spread_of_all_losses():
    result = made_up(tuned={loss: 0.95 + 0.002 * number for number, loss in enumerate(SIX)}, noise=0.004)
    differences = {loss: np.stack([result.scores(loss, TUNED, "iou")[s] - result.scores(loss, GIVEN, "iou")[s]
                   for s in range(3)]) for loss in SIX}  # fmt: skip
    least = Spread(np.median([each.mean(axis=1).var(ddof=1) for each in differences.values()]), 6.0)
    for loss, found in result.tuning().items():
        assert found[3:7] == pytest.approx(crossed_test(differences[loss], least=least))
    assert sum(found.p != crossed_test(differences[loss])[3] for loss, found in result.tuning().items()) == 3
