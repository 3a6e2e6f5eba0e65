"""D2's first question (S2.14): when do two pixels have opposite gradients of the Dice score?

With g the labels, p the probabilities, I = sum p g and D = sum p^2 + sum g^2, dl_D/dp_a = -dl_D/dp_b means
D (g_a + g_b) = 2 I (p_a + p_b). In the probability v of one pixel that is a quadratic equation, whichever pixel it is.
"""

import math
from dataclasses import dataclass

import numpy as np

SMALL = 1e-12


@dataclass(frozen=True)
class Answer:
    """The probabilities that answer the question, in rising order; `every` if all of [0, 1] do, else why or why not."""

    values: tuple
    every: bool
    reason: str


def opposite_gradients(y_true, y_pred, first, second, changed):
    """The values of one pixel for which two pixels have opposite gradients of the Dice score with squares.

    Args:
        y_true: labels `[n, m]` in [0, 1].
        y_pred: probabilities `[n, m]` in [0, 1].
        first, second: (row, column) of the two pixels, counted from 0.
        changed: (row, column) of the pixel whose probability is sought; may be one of the two.

    Returns:
        Answer.

    Raises:
        ValueError: shapes that differ, one pixel given twice, or one outside the image.

    Example:
        >>> p = [[.12, .83, .23], [.89, .94, .36], [.23, .06, .18]]
        >>> answer = opposite_gradients([[0, 1, 0], [0, 1, 0], [0, 0, 0]], p, (1, 1), (1, 2), changed=(1, 2))
        >>> [round(value, 6) for value in answer.values]
        [0.377269]

    Source: D2 (S2.14).
    """
    g, p = (np.array(t, np.float64) for t in (y_true, y_pred))
    first, second, changed = (_place(g, p, place) for place in (first, second, changed))
    if first == second:
        raise ValueError(f"pixel {first} is given twice. Expected two pixels; choose another second one.")
    p[changed] = 0
    both, size = (p * g).sum(), (p**2).sum() + (g**2).sum()  # of all but the sought v: I = both + g_c v, D = size + v^2
    labels, others, mine = g[first] + g[second], p[first] + p[second], float(changed in (first, second))
    a = labels - 2 * g[changed] * mine
    b = -2 * (both * mine + g[changed] * others)
    c = labels * size - 2 * both * others
    roots = _roots(a, b, c)
    if roots is None:
        return Answer((), True, "the condition holds whatever this pixel is")
    fitting = (float(root) for root in roots if -SMALL <= root <= 1 + SMALL and size + root**2 > 0)
    inside = sorted({min(max(root, 0.0), 1.0) for root in fitting})
    if inside:
        return Answer(tuple(inside), False, "D (g_a + g_b) = 2 I (p_a + p_b) there")
    return Answer((), False, _why_not(labels))


def _place(g, p, place):
    if g.shape != p.shape or g.ndim != 2:
        raise ValueError(f"Shapes {g.shape} and {p.shape} do not fit. Expected labels and probabilities [n, m].")
    row, column = place
    if not (0 <= row < g.shape[0] and 0 <= column < g.shape[1]):
        raise ValueError(f"pixel {tuple(place)} lies outside. Expected rows and columns below {g.shape}.")
    return int(row), int(column)


def _roots(a, b, c):
    """Real roots of a v^2 + b v + c; None if all of them are 0. Without cancellation between b and the root."""
    scale = max(abs(a), abs(b), abs(c))
    if scale < SMALL:
        return None
    if abs(a) < SMALL * scale:
        return [] if abs(b) < SMALL * scale else [-c / b]
    within = b * b - 4 * a * c
    if within < -SMALL * (b * b + abs(4 * a * c)):
        return []
    larger = -(b + math.copysign(math.sqrt(max(within, 0.0)), b)) / 2
    return [larger / a, c / larger] if larger else [0.0]


def _why_not(labels):
    if labels == 2:
        return "both labels are 1: only P = G would do, and this pixel alone does not make it so"
    if labels == 0:
        return "both labels are 0: both gradients are at most 0, and they vanish only for I = 0 or p_a = p_b = 0"
    return "D (g_a + g_b) = 2 I (p_a + p_b) for no value in [0, 1]"
