"""How studies end: what they warn of before they begin."""

import pytest

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
