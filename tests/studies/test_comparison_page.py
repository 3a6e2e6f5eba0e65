"""Page, figures and files of the comparison of losses, on measures that are made up."""

import re
from dataclasses import replace

import numpy as np
import pytest
from comparison_example import DB, FOCAL, FT, JACCARD, SIX, TVERSKY, drawn, made_up, page_of, rows_of

from kseg.stats import compare
from kseg.studies import comparison_page, comparison_table, comparison_text
from kseg.studies.comparison_claims import GENERALIZED, claims
from kseg.studies.comparison_models import GIVEN, REGIMES, TUNED
from kseg.studies.halving import Search


def test_the_documents_table_is_as_printed():
    """S3.12; scores are multiples of 1/640, accuracies of one pixel of 64 images of 256 x 256."""
    printed = {DB: (0.9078125, 0.982588768), JACCARD: (0.9078125, 0.981801510), FOCAL: (0.90625, 0.982077360),
               TVERSKY: (0.8953125, 0.980249405), FT: (0.9140625, 0.982855082)}  # fmt: skip
    assert printed == comparison_text.DOCUMENT
    wholes = {DB: (581, 4121276), JACCARD: (581, 4117974), FOCAL: (580, 4119131), TVERSKY: (573, 4111464),
              FT: (585, 4122393)}  # fmt: skip
    for loss, (score, accuracy) in comparison_text.DOCUMENT.items():
        assert (score * 640, round(accuracy * 64 * 256**2, 2)) == pytest.approx(wholes[loss], abs=0.01)
    table, _ = rows_of(page_of(made_up(losses=(FT, GENERALIZED))), "Table 2")
    assert table[DB][:2] == ["0.9078", "0.9826"] and set(table[DB][2:]) == {"-"}  # theirs is told, ours was not trained
    assert table[FT][:2] == ["0.9141", "0.9829"] and table[GENERALIZED][:2] == ["", ""]
    result = made_up(noise=0.02)
    values = [result.mean(FT, GIVEN, score) for score in ("iou_score", "iou", "accuracy")]
    assert np.std(values[1][3]) > 5e-4  # seen in four digits
    table, _ = rows_of(page_of(result), "Table 2")
    assert table[FT][2:] == [f"{mean:.4f} ± {np.std(seeds, ddof=1):.4f}" for mean, _, _, seeds in values]


def test_a_page_of_everything():
    result = made_up(tuned={FT: 0.97})
    names = drawn(result)
    assert names == list(comparison_page.FIGURES)
    page = page_of(result, names)
    assert all(page.count(f"](figures/{name})") == 1 for name in names)
    assert f"**{TUNED}**: best mean rank of the IoU `{FT}`" in page and "told apart from each other one" in page
    given, tuned = rows_of(page, "Which loss")
    assert [row[0] for row in (given[FT], tuned[FT])] == ["0.001", "0.004"] and given[DB] == tuned[DB]
    mean, low, high, seeds = result.mean(FT, TUNED, "iou")
    cell = f"{mean:.4f} ({low:.3f}-{high:.3f}) ± {np.std(seeds, ddof=1):.3f}".replace("(0.", "(.").replace("-0.", "-.")
    assert tuned[FT][4] == cell and tuned[FT][2:4] == [f"{result.between(FT, TUNED):.4f}", "0.6000"]
    rates, tuning = rows_of(page, "Learning rates")
    assert rates[FT] == ["0.004", "0.001: 0.500 (2); 0.004: 1.500 (2)"]
    ours, theirs = (
        {each.seed: result.of_case(each, "iou") for each in result.models(FT, kind)} for kind in REGIMES[::-1]
    )
    found = compare({FT: ("iou", TUNED, GIVEN, ours, theirs)})[FT]
    told = f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    assert tuning == {"loss": tuning["loss"], FT: ["0.004 over 0.001", told, *["below 0.001"] * 2, "3 of 3", "yes"]}
    assert [rows[FT] for rows in rows_of(page, "Time and memory")] == [["1.10 (1.00-1.20)", "100", "5"]]


def test_a_loss_alone_has_a_page():
    result = made_up(losses=(FOCAL,), search=False)
    assert "ranking.png" not in drawn(result)
    page = page_of(result)
    assert "One loss alone: nothing to rank." in page
    assert rows_of(page, "Pair by pair") == [] and FOCAL in rows_of(page, "Which loss")[0]
    assert {each["verdict"] for each in claims(result)} == {"not decided"}
    (table,) = rows_of(page_of(made_up(losses=(FOCAL,), seeds=1)), "Which loss")
    assert len(table[FOCAL]) == 13 and "±" not in "".join(table[FOCAL])  # one seed has no spread
    assert table[FOCAL][2] == "-"


def test_losses_that_the_document_does_not_have_are_compared_as_well():
    losses = ("lovasz", "bce + 0.5*dice", "mcc")
    result = made_up({"lovasz": 0.9, "mcc": 0.97}, losses=losses)
    assert result.ranking(GIVEN).names == ("mcc", "bce + 0.5*dice", "lovasz")
    assert drawn(result) == list(comparison_page.FIGURES)
    page = page_of(result)
    assert {each["verdict"] for each in claims(result)} == {"not decided"}
    kinds, parameters = rows_of(page, "Table 1")
    assert kinds["compound"] == ["`bce + 0.5*dice`"] and kinds["region"] and "mcc" in str(kinds)
    assert {name: cells[-1] for name, cells in rows_of(page, "Pair by pair")[0].items()} == {
        f"IoU, {GIVEN}": "told apart", "lovasz over `bce + 0.5*dice`": "yes", "lovasz over mcc": "yes",
        "`bce + 0.5*dice` over mcc": "yes",
    }  # fmt: skip
    terms = "1 x bce: none; 0.5 x dice: include_background True, squared False, smooth 1e-07, empty smooth"
    assert parameters["`bce + 0.5*dice`"] == ["sigmoid", terms]
    command = re.search("`python scripts[^`]*`", page).group()
    assert "0.5*" not in re.sub(r"`[^`]*`", "", page) and "0.5*dice" in command
    wide = made_up(losses=(DB, "bce + 0.5*dice", "bce + 0.5*dice + mcc"), search=False)
    (row,) = [cells for cells in rows_of(page_of(wide), "What the document says, decided")[0] if "**7**" in cells]
    why = rows_of(page_of(wide), "What the document says, decided")[0][row][-1]
    assert re.search(r"- `bce \+ 0.5\*dice( \+ mcc)?`, ", why)


def test_without_a_search_there_is_one_regime():
    result = made_up(search=False)
    assert result.regimes == [GIVEN] and "search.png" not in drawn(result)
    page = page_of(result)
    assert "No rate was looked for (`--budget 0`)." in page and len(rows_of(page, "Which loss")) == 1
    assert "found no other rate" not in page and TUNED not in page


def test_where_the_given_rate_is_the_best_there_is_one_table():
    result = made_up()
    assert result.regimes == [GIVEN] and result.changed == []
    page = page_of(result)
    assert "The search found no other rate than the given one" in page and len(rows_of(page, "Which loss")) == 1
    assert {tuple(each["readings"]) for each in claims(result)} == {(GIVEN,), (GIVEN, f"{GIVEN}, IoU score")}


def test_each_picture_is_of_its_loss_and_each_curve_of_its_seeds(monkeypatch):
    result, seen = made_up(tuned={FT: 0.97}), {}
    monkeypatch.setattr(comparison_page.report, "plot_compared", lambda examples, *_: seen.update(examples=examples))
    monkeypatch.setattr(comparison_page.report, "plot_learning", lambda curves, *_: seen.update(curves=curves))
    comparison_page.figures(result)
    for number, example in enumerate(seen["examples"]):
        np.testing.assert_array_equal(example["mask"], result.examples.masks[number])
        for loss in SIX:
            ids = result.measures[f"{loss}_rate0.001_seed0"]["examples"][number]
            np.testing.assert_array_equal(example["predicted"][loss], ids)
            both, either = (ids & example["mask"]).sum(), (ids | example["mask"]).sum()
            assert example["scores"][loss] == pytest.approx(both / either)
    assert {regime: set(map(len, each.values())) for regime, each in seen["curves"].items()} == {GIVEN: {3}, TUNED: {3}}


def test_the_command_on_the_page_is_that_of_the_record():
    command = re.search(r"`(python scripts/compare_losses.py[^`]*)`", page_of(made_up(losses=(DB, "bce + 0.5*dice"))))
    assert command.group(1) == "python scripts/compare_losses.py --losses dice_bce 'bce + 0.5*dice'"


def test_rows_of_models_name_both_tables_that_one_is_in():
    result = made_up(tuned={FT: 0.97})
    rows = {(row["loss"], row["regime"]): row for row in comparison_page.result_rows(result) if row["seed"] == 0}
    assert [rows[DB, regime]["also in"] for regime in REGIMES] == [TUNED, GIVEN]
    assert rows[DB, GIVEN]["run"] == rows[DB, TUNED]["run"] and rows[DB, GIVEN]["validation Dice"] == 0.6
    assert [rows[FT, regime]["also in"] for regime in REGIMES] == ["", ""]
    assert [row["also in"] for row in comparison_page.result_rows(made_up(search=False))] == [""] * 18


def test_the_page_tells_parameters_scores_and_rules():
    page = page_of(made_up())
    _, rows = rows_of(page, "Table 1")
    assert "fp_weight 0.3, fn_weight 0.7, exponent 0.75" in rows[FT][1] and rows[FT][0] == "sigmoid"
    assert rows[FOCAL][1] == "gamma 2.0, alpha 0.25 of the foreground"
    assert "the share of the ten thresholds 0.50, 0.55, .., 0.95 that the IoU of a case exceeds" in page
    assert "the best of several, so chance flatters it" in page
    assert "7 goes by the intervals of Dice-BCE over each other loss that was compared, by IoU, Dice, accuracy" in page
    options = made_up(losses=(DB, "focal(gamma=3, alpha=0.8)"), search=False)
    options.heads["focal(gamma=3, alpha=0.8)"] = (2, "softmax")
    _, rows = rows_of(page_of(made_up(losses=(DB, "dice(per_image=True)"), search=False)), "Table 1")
    plain = "include_background True, squared False, smooth 1e-07, empty smooth"
    told = rows["`dice(per_image=True)`"][1]
    assert sorted(told.split(", ")) == sorted(f"per_image True, {plain}".split(", "))
    _, rows = rows_of(page_of(options), "Table 1")
    assert rows["`focal(gamma=3, alpha=0.8)`"] == ["softmax", "gamma 3.0, alpha 0.8"]


def test_what_differs_from_the_document_is_told_of_the_configuration():
    first, second = made_up(), made_up(seeds=1, cases=64)
    _, table = rows_of(page_of(first, depth=3), "Table 2")
    assert table["channels of the U-Net"] == ["32 to 512", "8 to 64"] and table["epochs"] == ["50", "15"]
    assert table["images"] == ["256 x 256", "8 x 8"] and table["test images"] == ["64", "11"]
    assert table["rate of Adam"] == ["0.0002", "0.001"] and "decoder" not in table
    page = page_of(second, preset="document", seeds=1, decoder="conv")
    _, table = rows_of(page, "Table 2")
    assert table == {"": ["document", "here"], "images": ["256 x 256", "8 x 8"], "decoder": ["transpose", "conv"]}
    assert (
        "As in the document: channels of the U-Net, batch, rate of Adam, epochs, models of a loss, test images." in page
    )


def test_what_the_search_took_and_rates_at_its_edge_are_told():
    trials = [
        [("dice_bce", 0.001, 2, 0.5), ("dice_bce", 0.004, 2, 0.7), ("dice_bce", 0.016, 2, 0.2),
         ("focal", 0.001, 2, 0.3), ("focal", 0.004, 2, 0.5), ("focal", 0.016, 2, 0.6)],
        [("dice_bce", 0.004, 5, 0.8), ("dice_bce", 0.001, 5, 0.6), ("focal", 0.016, 5, 0.7), ("focal", 0.004, 5, 0.5)],
    ]  # fmt: skip
    rounds = [
        [{"loss": a, "rate": b, "epochs": c, "score": d, "seconds": 9.0, "kept": True} for a, b, c, d in each]
        for each in trials
    ]
    rates = {DB: 0.004, FOCAL: 0.016}
    result = replace(made_up(losses=(DB, FOCAL), search=False), search=Search(rounds, rates, (DB, FOCAL)))
    page = page_of(result, budget=3.0)
    assert "It took 1.5 of 3 minutes: 24 epochs of training, over 6 candidates" in page
    assert f"a better one may lie beyond: `{FOCAL}` 0.016 (highest).\n" in page
    assert "No foreground was found" not in page
    blank = [
        [each | {"score": 0.0 if each["loss"] == FOCAL else each["score"]} for each in trials] for trials in rounds
    ]
    assert f"No foreground was found with any rate by `{FOCAL}` in" in page_of(
        replace(result, search=Search(blank, rates, (DB, FOCAL)))
    )
    assert "edge of the rates" not in page_of(
        replace(result, search=Search(rounds, rates | {FOCAL: 0.004}, (DB, FOCAL)))
    )


def test_a_page_and_its_figures_compare_each_pair_once(monkeypatch):
    result, asked, real = made_up(tuned={FT: 0.97}), [], comparison_table.compare

    def seen(pairs, least):
        asked.append(len(pairs))
        return real(pairs, least)

    monkeypatch.setattr(comparison_table, "compare", seen)
    drawn(result)
    page_of(result)
    assert sorted(asked) == [1, 15, 15, 15, 15]  # the tuned rate, and all pairs of each regime, by two scores


def test_notes_of_the_study_are_on_the_page():
    result = replace(made_up(losses=(DB, FOCAL)), notes=("dicefg is the same function as dice on these data.",))
    assert "\n\ndicefg is the same function as dice on these data.\n\n## Which loss" in page_of(result)


def test_whose_probabilities_are_better_is_told_pair_by_pair():
    result = made_up(losses=(DB, FOCAL, FT), ece={FOCAL: 0.1}, search=False)
    first, second = rows_of(page_of(result), "Pair by pair")
    assert first[f"IoU, {GIVEN}"] == second[f"ECE, {GIVEN}"]
    found = result.pairs(GIVEN, "ece")[DB, FOCAL]
    assert found.difference == pytest.approx(-0.08, abs=1e-3)
    told = f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    assert second[f"{DB} over {FOCAL}"] == [told, *["below 0.001"] * 2, "3 of 3", "0 of 3", "yes"]
    assert second[f"{DB} over {FT}"][-1] == "no" and first[f"{DB} over {FT}"][-1] == "yes"
    assert "by the expected calibration error (ECE): below 0 that of the first is the smaller one.\n" in page_of(result)


def untaught(result, losses):
    """The result, its search one that found no foreground with these losses."""
    rounds = [[each | {"score": 0.0 if each["loss"] in losses else each["score"]} for each in trials]
              for trials in result.search.rounds]  # fmt: skip
    return replace(result, search=result.search._replace(rounds=rounds))


def test_a_rate_that_is_a_guess_is_neither_ranked_nor_told_without_the_word():
    result = untaught(made_up(losses=(DB, FOCAL, FT), tuned={FT: 0.97, DB: 0.96}), (FT,))
    assert result.ranking(GIVEN).names[0] == FT and result.ranking(TUNED).names == (DB, FOCAL)
    page = page_of(result)
    assert f"**{TUNED}**: best mean rank of the IoU `{DB}`" in page and "each other one that is ranked." in page
    assert f"`{FT}`, {TUNED}, is not ranked: its rate is a guess.\n" in page
    assert f"`{FT}`, {GIVEN}, is not ranked" not in page
    given, tuned = rows_of(page, "Which loss")
    assert given[FT][:1] == ["0.001"] and tuned[FT][:2] == ["0.004 (a guess)", "not ranked: its rate is a guess"]
    assert tuned[DB][0] == "0.004"
    rates, tuning = rows_of(page, "Learning rates")
    assert rates[FT][0] == "0.004 (a guess)" and tuning[FT][0] == "0.004 (a guess) over 0.001"
    assert rates[DB][0] == "0.004" and tuning[DB][0] == "0.004 over 0.001"
    line = f"The {TUNED} of `{FT}` is a guess: the search found no foreground with any.\n"
    parts = {part.split("\n")[0]: part.count(line) for part in page.split("\n## ")}
    assert {name: count for name, count in parts.items() if count} == {
        "Pair by pair": 2, "What the document says, decided": 1,
    }  # fmt: skip
    words = [axis.texts[0].get_text() for axis in comparison_page.figures(result)["ranking.png"].axes]
    assert [f"not ranked: {FT} (its rate is a guess)" in each for each in words] == [False, True]
    assert "a guess" not in page_of(made_up(losses=(DB, FOCAL), tuned={DB: 0.96}))


def test_where_all_rates_but_one_are_guesses_no_loss_is_called_the_best():
    result = untaught(made_up(losses=(DB, FOCAL), tuned={DB: 0.96}), (FOCAL,))
    assert result.ranking(TUNED) is None and "search.png" in drawn(result)
    page = page_of(result)
    assert f"**{TUNED}**" not in page and f"`{FOCAL}`, {TUNED}, is not ranked: its rate is a guess" in page


def test_the_page_says_what_the_variance_of_seeds_is_at_least():
    page = page_of(made_up())
    assert "no pair is taken to vary less from seed to seed than the median of all pairs of its rates and score" in page
    assert "contradicted by a single comparison that holds the other way round" in page
