"""What D1 says it saw (S1.16), and an explanation of what it found strange (S1.17), decided from the table of runs."""

import math

import numpy as np

from kseg.report.balance import LOSS_LIMITS
from kseg.studies.toy_runs import LEARNING_RATE
from kseg.studies.toy_verdicts import SEEDS, Cell, Part, conclude, decide, gather, grid, pick, shortage

PUBLISHED, SQUARE = ("cce", "dicefg", "dice"), ("dicefg_square", "dice_square")
RATIOS, NORMS = (5.0, 50.0, 95.0), (False, True)
ADAM = {"optimizer": "adam", "learning_rate": LEARNING_RATE, "input": "raw"}
TWICE, A_QUARTER, TINY = 2.0, math.log(1.25), 1e-12


def claims(rows):
    """The verdicts over a table of runs.

    Args:
        rows: of `toy_table.row`; runs that are not complete are left out.

    Returns:
        A list of dicts: `claim` ("a" to "f", "S1.17"), `text`, `verdict`, `why` with the numbers behind it, `parts`
        (each with its own `text`, `verdict`, `why` and `cells`: a condition, whether the claim held for each seed, and
        the numbers), for the three published losses; and `square`, the same for the losses with squares, which the
        document left out, or None where no run was trained with them.
    """
    return [
        {
            "claim": key,
            "text": text,
            **_judged(find(rows, PUBLISHED)),
            "square": _judged(find(rows, SQUARE)) if any(v["loss"] in SQUARE for v in rows) else None,
        }
        for key, (text, find) in CLAIMS.items()
    ]


def _judged(parts):
    verdict, why = conclude(parts)
    told = []
    for part in parts:
        each = dict(zip(("verdict", "why"), decide(part), strict=True))
        cells = [cell.where | {"held": cell.held, "values": cell.values} for cell in part.cells]
        told.append({"text": part.text, **each, "measured": part.measured, "needs": part.needs, "cells": cells})
    return {"verdict": verdict, "why": why, "parts": told}


def _accuracy(run, **_):
    return run["accuracy"]


def _converged(run, **_):
    return run["converged"]


def _not_converged(run, **_):
    return not run["converged"]


def _over(value, reference):
    return value / reference if reference else math.inf


def sgd(rows, losses):
    """a: no run with SGD converges. The document has one rate; any other that was run is looked at too (E1.5)."""
    tried = {v["learning_rate"] for v in rows if v["optimizer"] == "sgd" and v["loss"] in losses}
    varied = grid(learning_rate=sorted(tried | {LEARNING_RATE}), loss=losses, foreground=RATIOS, bn=NORMS)
    fixed = [{"optimizer": "sgd", "input": "raw"}]
    return [gather("no run with SGD converges", "final accuracy", rows, fixed, varied, _not_converged, _accuracy)]


def adam_plain(rows, losses):
    """b: ADAM without BN, all but DICEFG at 95 % foreground."""
    fixed = [ADAM | {"bn": False}]
    varied = grid(loss=losses, foreground=RATIOS)
    excepted = [where for where in varied if where["loss"].startswith("dicefg") and where["foreground"] == 95]
    others = [where for where in varied if where not in excepted]
    return [
        gather("all others converge", "final accuracy", rows, fixed, others, _converged, _accuracy),
        gather(
            "foreground Dice at 95 % does not", "final accuracy", rows, fixed, excepted, _not_converged, _accuracy
        ),
    ]  # fmt: skip


def bn_helps(rows, losses):
    """c: BN improves the accuracy, run by run of one seed; with it DICEFG converges at 95 % foreground.

    Accuracy at the end is the mean of ten checks, since with BN it jumps from check to check; the best of all checks
    is what the document keeps too (S1.12), and it may say otherwise.
    """

    def late(without, with_bn):
        return with_bn["late_accuracy"] - without["late_accuracy"]

    def best(without, with_bn):
        return with_bn["best_accuracy"] - without["best_accuracy"]

    pair = [ADAM | {"bn": False}, ADAM | {"bn": True}]
    varied = grid(loss=losses, foreground=RATIOS)
    rescued = grid(loss=[name for name in losses if name.startswith("dicefg")], foreground=(95.0,))
    return [
        gather("BN improves the accuracy at the end", "gain", rows, pair, varied, lambda *runs: late(*runs) > 0, late),
        gather("BN improves the best accuracy", "gain", rows, pair, varied, lambda *runs: best(*runs) > 0, best),
        gather(
            "with BN foreground Dice at 95 % converges", "final accuracy", rows, pair[1:], rescued, _converged,
            _accuracy,
        ),
    ]  # fmt: skip


def skyrocket(rows, losses):
    """d: trained with DICEFG at 50 % foreground, CCE leaves the figure at the start and its norm at least doubles."""
    varied = grid(loss=[name for name in losses if name.startswith("dicefg")], foreground=(50.0,), bn=NORMS)

    def peak(run):
        return run["early_cce_loss"]

    def rise(run):
        return _over(run["early_cce_grad"], run["start_cce_grad"])

    return [
        gather(
            f"the CCE loss rises above {LOSS_LIMITS[1]:g} within 1000 iterations", "peak", rows, [ADAM], varied,
            lambda run: peak(run) > LOSS_LIMITS[1], peak,
        ),
        gather(
            "the norm of CCE's gradient at least doubles within 1000 iterations", "peak over start", rows, [ADAM],
            varied, lambda run: rise(run) >= TWICE, rise,
        ),
    ]  # fmt: skip


def smaller_norms(rows, losses):
    """e: at the end of training, norms are smaller at 95 % than at 5 % foreground, run by run of one seed.

    Pairs of which one did not converge are left out: a network that has stopped learning has no gradient.
    """

    def ratio(many, few, norm):
        return _over(many[f"end_{norm}_grad"], few[f"end_{norm}_grad"])

    pair = [ADAM | {"foreground": 95.0}, ADAM | {"foreground": 5.0}]
    varied = grid(bn=NORMS, loss=losses, norm=losses)
    return [
        gather(
            "gradient norms are smaller at 95 % than at 5 % foreground", "norm at 95 % over norm at 5 %", rows, pair,
            varied, lambda *runs, norm: ratio(*runs, norm) < 1, ratio, lambda *runs: all(map(_converged, runs)),
        )
    ]  # fmt: skip


def bn_suffices(rows, losses):
    """f: with BN and ADAM all converge."""
    varied = grid(loss=losses, foreground=RATIOS)
    fixed = [ADAM | {"bn": True}]
    return [gather("with BN all runs converge", "final accuracy", rows, fixed, varied, _converged, _accuracy)]


def explanation(rows, losses):
    """S1.17: it is the input that is not symmetric, so making it symmetric takes at least half of the gap away.

    The gap is the logarithm of the norm at 5 % over that at 95 % foreground, geometric means over the seeds. CCE and
    DICE do not change when the classes swap, so by the explanation 95 % foreground on 1 - x is, but for the order of
    the output channels, the problem of 5 % on x; on x - 0.5 the two differ by a sign that the starting weights take up;
    and batch normalisation, which subtracts means, does nearly what centring does. DICEFG changes when classes swap:
    its norm differs on centred input too.
    """
    even = [name for name in losses if not name.startswith("dicefg")]
    foreground = [name for name in losses if name.startswith("dicefg")]
    either = grid(bn=NORMS, loss=even, norm=even)
    plain = grid(loss=even, norm=even)
    raw = ({"input": "raw", "foreground": 5.0}, {"input": "raw", "foreground": 95.0})
    mirrored, centred = (raw[0], raw[1] | {"input": "mirrored"}), tuple(each | {"input": "centred"} for each in raw)
    bn, no_bn = (tuple(each | {"bn": bn} for each in raw) for bn in (True, False))
    return [
        _explained("95 % on 1 - x has the norms of 5 % on x", rows, either, raw, mirrored),
        _explained("on x - 0.5 both ratios have like norms", rows, either, raw, centred),
        _explained("BN does what centring does", rows, plain, no_bn, bn),
        _unequal("DICEFG's norm differs on x - 0.5 as well", rows, grid(bn=NORMS, loss=even, norm=foreground), centred),
    ]  # fmt: skip


def _explained(text, rows, varied, from_, to):
    """A Part: in each cell with a gap of a quarter or more between the pair `from_`, `to` has at most half of it."""
    cells, needs = [], []
    for where in varied:
        (before, short), (after, shorter) = _gap(rows, where, from_), _gap(rows, where, to)
        needs += short + shorter
        if not short + shorter and abs(before) >= A_QUARTER:
            cells.append(Cell(where, (abs(after) <= abs(before) / 2,), (1 - abs(after) / abs(before),)))
    left_out = 0 if needs else len(varied) - len(cells)
    return Part(text, "share of the gap that is gone", cells, tuple(dict.fromkeys(needs)), left_out)


def _unequal(text, rows, varied, pair):
    """A Part: in each cell the norm at 95 % foreground is smaller by a quarter or more."""
    found = [(where, *_gap(rows, where, pair)) for where in varied]
    cells = [Cell(where, (gap >= A_QUARTER,), (math.exp(gap),)) for where, gap, short in found if not short]
    return Part(text, "norm at 5 % over norm at 95 %", cells, tuple(s for _, _, short in found for s in short))


def _gap(rows, where, pair):
    """(logarithm of the first norm over the second, [what is missing])."""
    shared = {key: value for key, value in where.items() if key != "norm"}
    fixed = [{k: v for k, v in ADAM.items() if k not in each} | each for each in pair]
    found = [list(pick(rows, **each, **shared).values()) for each in fixed]
    short = [
        shortage([each], shared, len(runs)) if any(v["input"] == each["input"] for v in rows)
        else f"runs on {each['input']} input (--sweep full)"
        for each, runs in zip(fixed, found, strict=True) if len(runs) < SEEDS
    ]  # fmt: skip
    if short:
        return math.nan, short
    norms = [np.array([run[f"end_{where['norm']}_grad"] for run in runs]) for runs in found]
    first, second = (np.log(np.maximum(values, TINY)).mean() for values in norms)  # a dead network has norms of 0
    return float(first - second), []


CLAIMS = {
    "a": ("No model converges with SGD, with or without batch normalisation.", sgd),
    "b": ("With ADAM and without BN all converge but the model trained with DICEFG at 95 % foreground.", adam_plain),
    "c": ("BN improves the accuracy and lets DICEFG converge at 95 % foreground.", bn_helps),
    "d": ("Training with DICEFG at 50 % foreground sends CCE and its gradient norm up at the start.", skyrocket),
    "e": ("Gradient norms are smaller at 95 % than at 5 % foreground.", smaller_norms),
    "f": ("With BN (and ADAM) every model reaches a good accuracy at every ratio.", bn_suffices),
    "S1.17": ("The norms differ (e) because the input is not symmetric, not because of the losses.", explanation),
}  # fmt: skip
