"""Verdicts on claims: each is reached, and not by what should not reach it."""

import pytest

from kseg.stats import ENOUGH, Comparison
from kseg.studies.verdicts import NEARLY, alike, ordered

NAN = float("nan")


def made(low, high, adjusted=0.001, cases=20, first="one"):
    """A comparison of an interval; its difference is the middle."""
    return Comparison("dice", first, "other", (low + high) / 2, low, high, adjusted / 2, adjusted, 2, 3, cases)


ABOVE, BELOW, UNSURE = made(0.1, 0.3), made(-0.3, -0.1), made(-0.1, 0.3, adjusted=0.4)
BY_CHANCE = made(0.1, 0.3, adjusted=0.06)  # the interval lies above 0, the corrected test does not agree
NOTHING = made(NAN, NAN, adjusted=NAN, cases=0)
FEW = made(0.1, 0.3, cases=ENOUGH - 1)


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ([], "not decided"),
        ([NOTHING], "not decided"),
        ([ABOVE, NOTHING], "not decided"),
        ([FEW], "not decided"),
        ([ABOVE, FEW, BELOW], "not decided"),
        ([ABOVE._replace(of=2)], "not decided"),
        ([ABOVE], "supported"),
        ([ABOVE, ABOVE], "supported"),
        ([ABOVE._replace(cases=ENOUGH)], "supported"),
        ([BELOW], "contradicted"),
        ([BELOW, BELOW], "contradicted"),
        ([ABOVE, UNSURE], "partly supported"),
        ([ABOVE, BY_CHANCE], "partly supported"),
        ([ABOVE, BELOW], "not supported"),
        ([ABOVE, UNSURE, BELOW], "not supported"),
        ([BELOW, UNSURE], "not supported"),
        ([UNSURE], "not supported"),
        ([BY_CHANCE], "not supported"),
    ],
)
def test_verdict_on_an_order(comparisons, verdict):
    assert ordered(comparisons)[0] == verdict
    assert ordered(comparisons[::-1])[0] == verdict


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ([ABOVE, BELOW], "contradicted"),
        ([ABOVE, UNSURE, BELOW], "contradicted"),
        ([BELOW, UNSURE], "contradicted"),
        ([BELOW, BELOW], "contradicted"),
        ([BELOW, BY_CHANCE], "contradicted"),
        ([BELOW, NOTHING], "not decided"),
        ([ABOVE, ABOVE], "supported"),
        ([ABOVE, UNSURE], "partly supported"),
        ([UNSURE, BELOW._replace(adjusted=0.06)], "not supported"),
    ],
)
def test_what_is_to_be_the_best_is_refuted_by_one_that_is_surely_better(comparisons, verdict):
    assert ordered(comparisons, extreme=True)[0] == verdict
    assert ordered(comparisons[::-1], extreme=True)[0] == verdict


def test_an_order_is_told_by_all_its_comparisons():
    _, why = ordered([ABOVE, BELOW._replace(first="two")], {"dice": "Dice score"})
    assert why == "; ".join(each.said({"dice": "Dice score"}) for each in (ABOVE, BELOW._replace(first="two")))
    assert why.startswith("one - other, Dice score: +0.200 (+0.100 to +0.300)") and "two - other" in why


def test_an_order_that_is_not_decided_tells_what_is_missing():
    assert ordered([])[1] == "a kind of model that it speaks of was not trained" == alike([])[1]
    _, why = ordered([ABOVE, FEW])
    assert why.startswith(f"{ENOUGH - 1} cases without nan, {ENOUGH} are needed: one - other")
    assert ordered([FEW, ABOVE._replace(of=2)])[1].startswith(f"{ENOUGH - 1} cases")  # the first that lacks
    _, why = alike([ABOVE._replace(of=2)])
    assert why.startswith("2 seeds, 3 are needed: one - other")


INSIDE, BARELY = made(-0.01, 0.015), made(-0.01, NEARLY)
OUTSIDE, UNDER = made(0.05, 0.1), made(-0.1, -0.05)
ACROSS, REACHING = made(-0.1, 0.1), made(0.01, 0.1)
SURE_BUT_SMALL = made(0.005, 0.015)  # certainly above 0, and yet nearly alike


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ([], "not decided"),
        ([NOTHING], "not decided"),
        ([INSIDE, NOTHING], "not decided"),
        ([OUTSIDE, NOTHING], "not decided"),
        ([INSIDE._replace(cases=ENOUGH - 1)], "not decided"),
        ([INSIDE._replace(of=1)], "not decided"),
        ([INSIDE], "supported"),
        ([INSIDE, SURE_BUT_SMALL], "supported"),
        ([SURE_BUT_SMALL, made(-0.015, -0.005)], "supported"),
        ([BARELY], "not supported"),
        ([made(-NEARLY, 0.01)], "not supported"),
        ([made(-0.03, 0.001)], "not supported"),
        ([OUTSIDE], "contradicted"),
        ([UNDER], "contradicted"),
        ([INSIDE, OUTSIDE], "contradicted"),
        ([INSIDE, ACROSS], "not supported"),
        ([ACROSS], "not supported"),  # wide on both sides: not known, rather than different
        ([REACHING], "not supported"),
        ([made(-0.1, -0.01)], "not supported"),
    ],
)
def test_verdict_on_being_alike(comparisons, verdict):
    assert alike(comparisons)[0] == verdict
    assert alike(comparisons[::-1])[0] == verdict


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ([INSIDE], "supported"),
        ([OUTSIDE], "supported"),  # a gain
        ([INSIDE, REACHING], "supported"),
        ([UNDER], "contradicted"),
        ([OUTSIDE, UNDER], "contradicted"),
        ([ACROSS], "not supported"),
        ([made(-NEARLY, 0.01)], "not supported"),
        ([OUTSIDE, NOTHING], "not decided"),
    ],
)
def test_verdict_on_losing_nothing(comparisons, verdict):
    assert alike(comparisons, gains=True)[0] == verdict
    assert alike(comparisons[::-1], gains=True)[0] == verdict


def test_losing_nothing_is_told_by_the_lowest_interval():
    low = made(-0.03, 0.0, first="lowest")
    assert alike([OUTSIDE, low], gains=True)[1] == (
        f"kept would be: intervals of all differences above -0.02; the lowest is {low.said(None, False)}"
    )
    assert alike([OUTSIDE], gains=True)[1].startswith("kept: intervals of all differences above -0.02; ")


def test_what_would_be_alike_reads_as_a_condition():
    assert alike([INSIDE])[1].startswith("alike: intervals of all differences within 0.02; the widest is ")
    for other in (OUTSIDE, ACROSS):
        assert alike([other])[1].startswith("alike would be: intervals of all differences within 0.02; the widest is ")


def test_being_alike_is_told_by_the_widest_interval():
    low = made(-0.09, 0.0, first="lowest")
    _, why = alike([INSIDE, low, made(0.0, 0.03, first="highest")], {"dice": "Dice score"})
    assert why.endswith("the widest is " + low.said({"dice": "Dice score"}, False))
    assert str(NEARLY) in why
    assert "highest - other, dice" in alike([INSIDE, made(0.0, 0.03, first="highest")])[1]
    assert alike([INSIDE], nearly=0.012)[0] == "not supported" and alike([OUTSIDE], nearly=0.06)[0] != "contradicted"
    assert alike([INSIDE, NOTHING])[1].startswith(f"0 cases without nan, {ENOUGH} are needed: one - other, dice: ")
