"""How studies end: what they warn of before they begin."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from kseg.stats import ENOUGH, SEEDS
from kseg.studies import closing


@pytest.mark.parametrize(
    ("cases", "seeds", "told"),
    [
        (ENOUGH, SEEDS, None),
        (ENOUGH - 1, SEEDS, f"{ENOUGH - 1} test cases, {ENOUGH} are needed"),
        (ENOUGH, 1, f"1 seed, {SEEDS} are needed"),
        (2, 2, f"2 test cases, {ENOUGH} are needed and 2 seeds, {SEEDS} are needed"),
    ],
)
def test_too_few_cases_or_seeds_are_told_before_anything_is_trained(cases, seeds, told):
    assert closing.too_few(cases, seeds) == ({"note": f"too few to decide claims: {told}"} if told else {})


@pytest.mark.parametrize("verdicts", [("supported", "not decided"), ("not decided", "not decided")])
def test_claims_are_shown_where_any_is_decided(verdicts):
    file = io.StringIO()
    decided = [{"claim": n, "text": f"claim {n}", "verdict": verdict} for n, verdict in enumerate(verdicts)]
    closing.show(Console(file=file, width=120), "Scores", ["loss"], [["dice"]], decided, [], "All", Path("run"))
    shown = file.getvalue()
    assert ("claim 1" in shown) == ("supported" in verdicts)
    assert ("None of the document's 2 claims can be decided" in shown) == ("supported" not in verdicts)
    assert "dice" in shown and "All are in run/" in shown
