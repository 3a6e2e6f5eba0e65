"""Groups dealt to splits: each split with a share gets some, and shares hold to within one group."""

import pytest

from kseg.data.hdf5 import SPLITS
from kseg.data.splits import split_groups


@pytest.mark.parametrize("seed", range(5))
def test_three_groups_are_one_for_each_split(seed):
    dealt = split_groups(dict.fromkeys("abc", 1), (0.7, 0.1, 0.2), seed)
    assert sorted(dealt.values()) == sorted(SPLITS)


@pytest.mark.parametrize("sizes", [[1] * 40, [5, 1, 1, 3, 8, 2, 2, 4, 1, 6, 3, 3]], ids=["alike", "unlike"])
@pytest.mark.parametrize("ratios", [(0.7, 0.1, 0.2), (0.5, 0, 0.5), (0.34, 0.33, 0.33)])
def test_shares_hold_to_within_one_group(sizes, ratios):
    groups = {f"g{i}": size for i, size in enumerate(sizes)}
    for seed in range(20):
        dealt = split_groups(groups, ratios, seed)
        for split, ratio in zip(SPLITS, ratios, strict=True):
            got = sum(groups[group] for group in groups if dealt[group] == split)
            assert abs(got - ratio * sum(sizes)) <= max(sizes)
            assert (got > 0) == (ratio > 0)
