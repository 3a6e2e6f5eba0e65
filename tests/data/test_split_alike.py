"""Splits of like content: whole groups, shares that hold, and classes spread better than by one deal."""

import warnings

import numpy as np
import pytest

from kseg.data.splits import split_alike, split_groups

RATIOS = (0.6, 0.2, 0.2)


def skewed(groups=20, seed=0):
    """Amounts of four classes, two of which are plenty in few groups and nowhere else."""
    rng = np.random.default_rng(seed)
    table = np.stack([rng.uniform(500, 900, groups), rng.uniform(50, 400, groups), *np.zeros((2, groups))], axis=1)
    table[rng.permutation(groups)[:5], 2] = rng.uniform(5, 60, 5)
    table[rng.permutation(groups)[:4], 3] = rng.uniform(5, 60, 4)
    return {f"tile_{i:02}": row for i, row in enumerate(table)}


def unlike(amounts, deal):
    """How far the worst split is off in its worst class, in plain loops over all three splits."""
    totals = [sum(row[k] for row in amounts.values()) for k in range(len(next(iter(amounts.values()))))]
    worst = 0.0
    for split in ("train", "validation", "test"):
        rows = [amounts[group] for group in amounts if deal[group] == split]
        for k, total in enumerate(totals):
            if total > 0:
                wanted, got = total / sum(totals), sum(row[k] for row in rows) / sum(sum(row) for row in rows)
                worst = max(worst, abs(got - wanted) / wanted)
    return worst


def counts(deal):
    return {split: list(deal.values()).count(split) for split in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def table():
    return skewed()


@pytest.fixture(scope="module")
def dealt(table):
    return split_alike(table, RATIOS, 0)


def test_a_seed_gives_one_deal_whatever_the_order_of_groups(table, dealt):
    backwards = {group: list(row) for group, row in reversed(table.items())}
    assert split_alike(table, RATIOS, 0) == dealt == split_alike(backwards, RATIOS, 0)
    assert any(split_alike(table, RATIOS, seed) != dealt for seed in (1, 2))


def test_every_group_is_dealt_whole_and_nothing_is_changed(table, dealt):
    kept = {group: row.copy() for group, row in table.items()}
    assert split_alike(table, RATIOS, 0) == dealt
    assert dealt.keys() == table.keys()
    assert set(dealt.values()) == {"train", "validation", "test"}
    assert all((table[group] == kept[group]).all() for group in table)


@pytest.mark.parametrize(
    ("ratios", "groups", "expected"),
    [
        (RATIOS, 20, (12, 4, 4)),
        ((0.5, 0.25, 0.25), 16, (8, 4, 4)),
        ((0.8, 0.0, 0.2), 10, (8, 0, 2)),
        ((1.0, 0.0, 0.0), 5, (5, 0, 0)),
    ],
)
def test_shares_are_of_the_number_of_groups(ratios, groups, expected):
    """Also where one group holds nearly everything: its amount is no reason to give its split fewer groups."""
    amounts = skewed(groups)
    amounts["tile_00"] = amounts["tile_00"] * 1000
    assert tuple(counts(split_alike(amounts, ratios, 3, deals=50)).values()) == expected


@pytest.mark.parametrize("seed", range(3))
def test_rare_classes_are_spread_better_than_by_one_deal(seed):
    amounts = skewed(seed=seed)
    plain = [unlike(amounts, split_groups(dict.fromkeys(amounts, 1), RATIOS, s)) for s in range(40)]
    best = unlike(amounts, split_alike(amounts, RATIOS, seed))
    assert best < np.quantile(plain, 0.1)
    assert best < 0.6 * np.median(plain)


def test_more_deals_are_no_worse(table):
    found = [unlike(table, split_alike(table, RATIOS, 0, deals=deals)) for deals in (1, 10, 100, 500)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]


def test_the_even_deal_is_found_where_there_is_one():
    """Each kind of group is there three times; only a deal of one of each to each split is perfectly alike."""
    amounts = {f"{kind}{i}": row for kind, row in {"a": [9, 1], "b": [1, 9]}.items() for i in range(3)}
    dealt = split_alike(amounts, (1 / 3, 1 / 3, 1 / 3), 0)
    assert unlike(amounts, dealt) == 0
    for kind in "ab":
        assert {dealt[f"{kind}{i}"] for i in range(3)} == {"train", "validation", "test"}


def test_a_class_that_nobody_has_changes_nothing(table, dealt):
    wider = {group: [*row[:2], 0.0, *row[2:]] for group, row in table.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert split_alike(wider, RATIOS, 0) == dealt


def test_a_class_that_one_group_has_does_not_stop_the_others(table):
    """It is missing in two splits of any deal; what can be better is."""
    lone = {group: [*row, 7.0 * (group == "tile_00")] for group, row in table.items()}
    dealt = split_alike(lone, RATIOS, 0)
    assert counts(dealt) == {"train": 12, "validation": 4, "test": 4}


def test_a_split_that_holds_nothing_is_not_the_best():
    rng = np.random.default_rng(0)
    amounts = {f"tile_{i}": rng.integers(1, 100, 3) for i in range(9)} | {"empty": [0, 0, 0]}
    for seed in range(3):
        dealt = split_alike(amounts, (0.8, 0.1, 0.1), seed)
        assert dealt["empty"] == "train"  # alone in its split it would be all of it


def test_shares_that_do_not_fit_are_refused(table):
    with pytest.raises(ValueError, match="Expected three shares"):
        split_alike(table, (0.6, 0.6, 0.2), 0)
