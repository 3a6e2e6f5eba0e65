"""Which images of a split a study attacks."""

from typing import NamedTuple

import numpy as np

from kseg.inference import cases_of

GOLDEN = (5**0.5 - 1) / 2


class Rows(NamedTuple):
    """Images to attack: `images [n, H, W, C]`, `masks [n, H, W]`, `box [n, 4]`, `case [n]`, `row [n]` in the split."""

    images: np.ndarray
    masks: np.ndarray
    box: np.ndarray
    case: np.ndarray
    row: np.ndarray


def choose_rows(data, split, count):
    """Images with foreground, spread evenly over the cases of a split and within each case (S0.14).

    Args:
        data: an open data set.
        split: its name.
        count: how many images; 0 for all that have foreground.

    Returns:
        Rows, in the order of the data; fewer than `count` where there are no more.

    Raises:
        ValueError: no image of the split has foreground.
    """
    index = data.index(split)
    images, masks = data.read(split)
    full = (masks > 0).any(axis=(1, 2))
    if not full.any():
        raise ValueError(f"no image of split {split!r} of data {data.name!r} has foreground. Expected some to attack.")
    cases = [np.flatnonzero(full[rows]) + rows.start for _, rows in cases_of(index)]
    chosen = _spread([rows for rows in cases if len(rows)], count or int(full.sum()))
    return Rows(images[chosen], masks[chosen], index["box"][chosen], index["case"][chosen].astype(str), chosen)


def typical_rows(data, split, count, seed=0, draws=300):
    """As `choose_rows`, but drawn: of many draws the one whose classes are most like those of all with foreground.

    Args:
        data, split, count: of `choose_rows`.
        seed: of the draws.
        draws: their number.
    """
    every = choose_rows(data, split, 0)
    if not count or count >= len(every.row):
        return every
    shares = np.stack([(every.masks == k).mean(axis=(1, 2)) for k in range(len(data.classes))], axis=1)
    whole, rng, best = shares.mean(axis=0), np.random.default_rng(seed), None
    cases = [np.flatnonzero(every.case == name) for name in np.unique(every.case)]
    for _ in range(draws):
        mixed = [rng.permutation(rows) for rows in cases]
        order = rng.permutation(len(mixed))  # the first ones give one more, if the cases do not give equally many
        rounds = [mixed[i][turn] for turn in range(max(map(len, mixed))) for i in order if turn < len(mixed[i])]
        chosen = np.sort(rounds[:count])
        apart = np.max(np.abs(shares[chosen].mean(axis=0) - whole) / np.maximum(whole, 1e-9))
        if best is None or apart < best[0]:
            best = (apart, chosen)
    return Rows(*(part[best[1]] for part in every))


def _spread(cases, count):
    """`count` numbers of lists of them: as many of each as of any other, as far as it has them, evenly spaced.

    How far into its stretch the pick of a list lies differs from list to list, evenly over all of them (the golden
    ratio's sequence): with one image a case the ends of a structure, which are hardest, count as much as they are.
    """
    if count < len(cases):
        cases = [cases[i] for i in np.linspace(0, len(cases) - 1, count).round().astype(int)]
    share, rest = np.zeros(len(cases), int), count
    lengths = np.array([len(rows) for rows in cases])
    while rest and (share < lengths).any():
        hungry = np.flatnonzero(share < lengths)[:rest]
        share[hungry] += 1
        rest -= len(hungry)
    phases = (0.5 + GOLDEN * np.arange(len(cases))) % 1
    picked = [
        rows[((np.arange(n) + phase) * len(rows) / n).astype(int)]
        for rows, n, phase in zip(cases, share, phases, strict=True)
    ]
    return np.sort(np.concatenate(picked))


def richest(masks):
    """Number of the image to show: of those with most classes the one with neither most nor least foreground.

    Args:
        masks: class ids `[n, H, W]`; pixels below 0 do not count.
    """
    foreground = (masks > 0).sum(axis=(1, 2))
    classes = [len(np.unique(mask[mask >= 0])) for mask in masks]
    most = [i for i, number in enumerate(classes) if number == max(classes)]
    return sorted(most, key=lambda i: foreground[i])[len(most) // 2]
