"""What D0 says of the losses (S0.20), decided by paired comparisons over cases and seeds."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from kseg.stats import crossed_interval, holm, paired_test, rank_correlation

LEVEL, SIGNIFICANT, NEARLY = 0.95, 0.05, 0.02
UNDER_ATTACK = ("level", "count", "noise")
FOUR = ("bce", "dice", "bce+dice", "bce+dice+focal")
NAMES = {
    "clean": "Dice of clean images", "level": "A and B, rising level", "count": "C, more pixels",
    "noise": "D, random values", "step": "directional",
}  # fmt: skip


class Comparison(NamedTuple):
    """One kind of model against another: mean `difference` of `what`, its interval, and tests.

    The interval resamples seeds and cases; `p` is of a sign-flip test over cases (means over seeds), `adjusted` after
    Holm's correction over all comparisons of the page; `seeds` counts those with a difference above 0, of `of`.
    """

    what: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    seeds: int
    of: int

    @property
    def holds(self):
        """Whether `first` is above `second`: beyond chance over cases, and over cases and seeds."""
        return self.low > 0 and self.adjusted < SIGNIFICANT

    @property
    def reversed(self):
        """Whether `first` is below `second`, as certainly."""
        return self.high < 0 and self.adjusted < SIGNIFICANT


def scores(result, label, what, relative):
    """`[S, cases]` of one kind of model: Dice of clean images, or the mean height of the curve of an experiment."""
    if what == "clean":
        return np.stack([result.clean(entry) for entry in result.models(label)])
    return np.stack([result.area(entry, what, relative=relative) for entry in result.models(label)])


def compare(result, wanted):
    """Comparisons of (what, relative, first, second), Holm-corrected together."""
    found = []
    for what, relative, first, second in wanted:
        difference = scores(result, first, what, relative) - scores(result, second, what, relative)
        tested = paired_test(difference.mean(axis=0), np.zeros(difference.shape[1]))
        low, high = crossed_interval(difference)
        above = int((difference.mean(axis=1) > 0).sum())
        facts = (what, first, second, float(difference.mean()), low, high, tested.p, np.nan, above, len(difference))
        found.append(Comparison(*facts))
    adjusted = holm([comparison.p for comparison in found])
    return [each._replace(adjusted=float(p)) for each, p in zip(found, adjusted, strict=True)]


def wanted(labels):
    """{claim: comparisons (what, relative, first, second)} among the kinds of models that there are."""
    have = [label for label in FOUR if label in labels]
    other = {label: [each for each in have if each != label] for label in have}
    plans = {
        "1": [("clean", False, "dice", "bce")],
        "2": [("clean", False, "bce+dice", each) for each in other.get("bce+dice", ())],
        "3": [(what, True, each, "dice") for what in UNDER_ATTACK for each in other.get("dice", ())],
        "4": [(what, True, "bce", each) for what in ("level", "count") for each in other.get("bce", ())],
        "5": [(what, False, "bce+dice", "dice") for what in UNDER_ATTACK],
        "7": [("clean", False, first, second) for first, second in combinations(have, 2)],
    }
    return {claim: [each for each in rows if {each[2], each[3]} <= set(have)] for claim, rows in plans.items()}


TEXTS = {
    "1": "Dice has the better clean Dice, above BCE",
    "2": "BCE+Dice has the best clean Dice",
    "3": "Dice is the least robust",
    "4": "BCE is the most resilient to level and number of pixels",
    "5": "BCE+Dice is better than Dice under attack",
    "6": "the order of robustness follows the spread of the gradients",
    "7": "without an attack the masks are nearly equal",
}


def claims(result):
    """The verdicts: a list of dicts `claim`, `text`, `verdict`, `why`, and `comparisons` or `correlations`."""
    plans = wanted(result.labels)
    rows = iter(compare(result, [each for claim in plans.values() for each in claim]))
    found = {claim: [next(rows) for _ in plans[claim]] for claim in plans}
    told, absent = [], [label for label in FOUR if label not in result.labels]
    for claim, text in TEXTS.items():
        if claim == "6":
            verdict, why, evidence = _spread(result)
            told.append({"claim": claim, "text": text, "verdict": verdict, "why": why, "correlations": evidence})
            continue
        verdict, why = (_alike if claim == "7" else _ordered)(found[claim])
        if absent and verdict != "not decided":
            why += f"; not compared, since not trained: {', '.join(absent)}"
        evidence = [each._asdict() for each in found[claim]]
        told.append({"claim": claim, "text": text, "verdict": verdict, "why": why, "comparisons": evidence})
    return told


def _ordered(comparisons):
    """Verdict of a claim that every first is above its second."""
    if not comparisons:
        return "not decided", "a kind of model that it speaks of was not trained"
    held, against = ([each for each in comparisons if getattr(each, how)] for how in ("holds", "reversed"))
    if len(held) == len(comparisons):
        verdict = "supported"
    elif len(against) == len(comparisons):
        verdict = "contradicted"
    elif held and not against:
        verdict = "partly supported"
    else:
        verdict = "not supported"
    return verdict, "; ".join(map(_said, comparisons))


def _alike(comparisons):
    """Verdict of a claim that no two differ by more than `NEARLY`."""
    if not comparisons:
        return "not decided", "fewer than two kinds of models were trained"
    inside = [max(-each.low, each.high) < NEARLY for each in comparisons]
    outside = [min(abs(each.low), abs(each.high)) > NEARLY and each.low * each.high > 0 for each in comparisons]
    verdict = "supported" if all(inside) else "contradicted" if any(outside) else "not supported"
    widest = max(comparisons, key=lambda each: max(-each.low, each.high))
    return verdict, f"nearly: intervals of all differences within {NEARLY}; the widest is {_said(widest)}"


def _said(each):
    """One comparison in words."""
    p = "p < 0.001" if each.adjusted < 1e-3 else f"p = {each.adjusted:.3f}"
    interval = f"{each.difference:+.3f} ({each.low:+.3f} to {each.high:+.3f})"
    seeds = f"{each.seeds} of {each.of} seeds above 0"
    return f"{each.first} - {each.second}, {NAMES[each.what]}: {interval}, {p}, {seeds}"


def _spread(result):
    """Whether models of wider gradients keep more of their Dice, by experiment and differentiated output."""
    entries = [entry for entry in result.entries if entry.label in FOUR]
    seeds = [entry.seed for entry in entries]
    evidence = []
    for output in ("probability", "logit"):
        width = [np.nanmean(result.statistic(entry, output, "participation")) for entry in entries]
        for what in UNDER_ATTACK:
            kept = [result.area(entry, what).mean() for entry in entries]
            found = rank_correlation(width, kept, groups=seeds)
            evidence.append({"output": output, "what": what, **found._asdict()})
    main = [each for each in evidence if each["output"] == "probability"]
    adjusted = holm([each["p"] for each in main])
    held = [p < SIGNIFICANT and each["rho"] > 0 for p, each in zip(adjusted, main, strict=True)]
    against = [p < SIGNIFICANT and each["rho"] < 0 for p, each in zip(adjusted, main, strict=True)]
    verdict = "supported" if all(held) else "contradicted" if all(against) else "not supported"
    verdict = "partly supported" if any(held) and not all(held) and not any(against) else verdict
    why = "; ".join(
        f"{NAMES[each['what']]}, gradients of the {each['output']}: rho {each['rho']:+.2f} "
        f"({each['low']:+.2f} to {each['high']:+.2f}), p = {each['p']:.3f}"
        for each in evidence
    )
    return verdict, why, evidence
