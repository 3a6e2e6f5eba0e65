"""The errata of D2 (E2.1 to E2.10), each with the check that the right form passes."""

import numpy as np

from kseg.metrics import means, sets
from kseg.studies.worked_gradients import bce_gradient, bce_sum, by_tape, dice_gradient, weighted_cce_sum
from kseg.studies.worked_rows import P22, P32, SINGLE, G, P
from kseg.studies.worked_table import Remark


def remarks():
    """One Remark for each erratum."""
    return [
        Remark(
            "E2.1", "harmonic ≤ geometric ≤ arithmetic mean, for numbers not all equal, equal iff all are",
            "≤ for all positive numbers, < when they are not all equal", _means_are_ordered(),
        ),
        Remark(
            "E2.2", "‖P‖² = 2.6651, and what follows from it", "‖P‖² = 2.6504; the last digits of what follows change",
            round((P**2).sum(), 4) == 2.6504,
        ),
        Remark(
            "E2.3", "p32 has label g23; with p22 alone in its class the loss grows, shown by the gradient",
            "g32; the gradient grows from 0.103 to 0.283, and the loss 1 - l_D too, from 0.246 to 0.485",
            G[P32] == 0 and _alone_is_steeper(),
        ),
        Remark(
            "E2.4", "at P = 0 the gradient is the largest possible, and proportional to the size of the class",
            "the largest for foreground pixels only, 0 for the others; inversely proportional", _zero_is_steepest(),
        ),
        Remark(
            "E2.5", "dot product of P and G", "product of their elements; D2's numbers use it",
            round(2 * (P * G).sum(), 2) == 4.26 != round(2 * (P @ G).sum(), 2),
        ),
        Remark(
            "E2.6", "gradient of the cross-entropy named l_D; sign of the (1 - g) term wrong in lines 2 and 3",
            "dl_CE/dp = -g / p + (1 - g) / (1 - p), the last line",
            np.allclose(by_tape(lambda p: bce_sum(G, p), P), bce_gradient(G, P), rtol=1e-12),
        ),
        Remark(
            "E2.7", "weighted cross-entropy without its minus sign, with p(x), Ω an element of Z²",
            "-sum w(x) log p of the true class of x; Ω is a subset", _weights_of_one_change_nothing(),
        ),
        Remark(
            "E2.8", "l_D is declared on (G, P), written l_D(P, G), and called a loss",
            "symmetric, so the order is free; a score, 1 when right: the loss is 1 - l_D",
            sets.dice_coefficient(G, P) == sets.dice_coefficient(P, G) and sets.dice_coefficient(G, G) == 1,
        ),
        Remark("E2.9", "IoU and F1 are positively correlated", "F1 = 2 IoU / (1 + IoU), exactly", _f1_follows_iou()),
        Remark(
            "E2.10", "unfinished: the first sentence, empty items of lists, an equation without sides",
            "nothing to put right; the conclusion is that of part I", None,
        ),
    ]  # fmt: skip


def _means_are_ordered():
    kinds = (means.harmonic_mean, means.geometric_mean, means.arithmetic_mean)
    unequal, equal = ([kind(numbers) for kind in kinds] for numbers in ([3, 90], [7, 7, 7]))
    return unequal[0] < unequal[1] < unequal[2] and equal == [7, 7, 7]


def _alone_is_steeper():
    slopes = [dice_gradient(y, P)[P22] for y in (G, SINGLE)]
    scores = [sets.dice_coefficient(y, P) for y in (G, SINGLE)]
    return slopes[0] < slopes[1] and scores[0] > scores[1]


def _zero_is_steepest():
    at_zero, other = dice_gradient(G, 0 * P), np.random.default_rng(0).random((1000, 3, 3))
    largest = max(dice_gradient(G, p).max() for p in other)
    return largest < at_zero[P22] == 2 / G.sum() and not at_zero[G == 0].any()


def _weights_of_one_change_nothing():
    two = np.stack([1 - G, G], -1), np.stack([1 - P, P], -1)
    return bool(np.isclose(weighted_cce_sum(*two, np.ones((3, 3))), bce_sum(G, P), rtol=1e-12))


def _f1_follows_iou():
    pairs = np.random.default_rng(0).random((100, 2, 5, 5)) < 0.5
    return all(np.isclose(sets.f1_from_iou(sets.mask_iou(a, b)), sets.mask_f1(a, b), rtol=1e-12) for a, b in pairs)
