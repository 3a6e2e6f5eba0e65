"""Cases and groups of them dealt to train, validation and test."""

import itertools

import numpy as np

from kseg.data.hdf5 import SPLITS


def split_groups(groups, ratios, seed):
    """Assign whole groups to train, validation and test.

    Args:
        groups: {group: number of cases in it}.
        ratios: three shares that sum to 1.
        seed: of the order in which groups are dealt.

    Returns:
        {group: split}; the shares hold to within one group, and a split with a share gets at least one group
        as long as there are enough.
    """
    _check_ratios(ratios)
    order = sorted(groups)
    np.random.default_rng(seed).shuffle(order)
    total, dealt, result = sum(groups.values()), dict.fromkeys(SPLITS, 0), {}
    for group in order:  # the split furthest behind its share takes the next group
        behind = {s: r * total - dealt[s] for s, r in zip(SPLITS, ratios, strict=True) if r > 0}
        split = max(behind, key=lambda s: behind[s] / ratios[SPLITS.index(s)])
        result[group] = split
        dealt[split] += groups[group]
    return result


def split_alike(amounts, ratios, seed, deals=500):
    """Assign groups to splits so that these are of like content: the best of many deals of `split_groups`.

    Args:
        amounts: {group: how much it holds of each class `[K]`}.
        ratios: three shares of the number of groups.
        seed: of the deals.
        deals: their number.

    Returns:
        {group: split}; the deal whose largest difference between a split's share of a class and that of all groups is
        least, as a share of the latter.
    """
    groups, seeds = dict.fromkeys(amounts, 1), np.random.SeedSequence(seed).generate_state(deals)
    table = np.array([amounts[group] for group in groups], np.float64)
    if not table.sum() > 0:
        raise ValueError("the groups hold nothing of any class. Expected some labels; check the masks.")
    whole = table.sum(axis=0) / table.sum()

    def apart(deal):
        parts = [table[[deal[group] == split for group in groups]].sum(axis=0) for split in set(deal.values())]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nanmax([np.abs(part / max(part.sum(), 1e-30) - whole) / whole for part in parts])

    return min((split_groups(groups, ratios, int(each)) for each in seeds), key=apart)


def split_strata(strata, ratios, seed):
    """Assign single cases to splits so that each stratum, such as a diagnosis, is as common in all of them.

    Args:
        strata: {case: stratum}, of at most ten strata or so.
        ratios: three shares that sum to 1.
        seed: of the order in which the cases of a stratum are dealt.

    Returns:
        {case: split}; in each stratum a split has its share of the cases rounded up or down, such that its share of
        all cases is met as nearly as that allows.

    Example:
        >>> cases = {f"case{i}": i % 2 for i in range(20)}
        >>> split = split_strata(cases, (0.8, 0.1, 0.1), seed=0)
        >>> sorted(cases[case] for case in split if split[case] == "test")
        [0, 1]
    """
    _check_ratios(ratios)
    members = {}
    for case in sorted(strata):
        members.setdefault(strata[case], []).append(case)
    members = [members[stratum] for stratum in sorted(members)]
    wanted = np.outer([len(cases) for cases in members], ratios)
    down = np.floor(wanted + 1e-9)  # 0.29 * 100 is 28.999...
    ups = []  # of each stratum the ways to round enough of its numbers up
    for cases, shares, numbers in zip(members, wanted, down, strict=True):
        apart = [i for i in range(3) if shares[i] - numbers[i] > 1e-9]
        ways = itertools.combinations(apart, int(len(cases) - numbers.sum()))
        ups.append([np.isin(range(3), way) for way in ways])

    def off(up):
        counts = down + up
        return np.square((counts - wanted).sum(axis=0)).sum().round(9), np.square(counts - wanted).sum().round(9)

    counts = down + min(map(np.array, itertools.product(*ups)), key=off)
    rng, result = np.random.default_rng(seed), {}
    for cases, numbers in zip(members, counts.astype(int), strict=True):
        rng.shuffle(cases)
        result.update(zip(cases, np.repeat(SPLITS, numbers).tolist(), strict=True))
    return result


def _check_ratios(ratios):
    if len(ratios) != 3 or min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6:
        raise ValueError(f"split {tuple(ratios)} does not fit. Expected three shares at least 0 that sum to 1.")


def check_dealt(split, ratios, what):
    """Raise ValueError if a split with a share got nothing.

    Args:
        split: {group: split}.
        ratios: the shares.
        what: the groups in words, such as "heads".
    """
    for name, share in zip(SPLITS, ratios, strict=True):
        if share > 0 and name not in split.values():
            raise ValueError(
                f"split {name!r} is empty: {len(split)} {what} are too few for shares {tuple(ratios)}. Expected at "
                f"least one of these {what} per split; add cases or set its share to 0."
            )
