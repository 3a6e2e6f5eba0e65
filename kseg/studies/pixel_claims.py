"""What D0 says of the losses (S0.20), decided by paired comparisons over cases and seeds."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from kseg.stats import crossed_interval, holm, paired_test, rank_correlation

SIGNIFICANT, NEARLY = 0.05, 0.02
ENOUGH = 12  # cases: their sign flips give p = 2 / 2^12, which 26 comparisons leave below 0.05
UNDER_ATTACK = ("range", "level", "count", "noise")
FOUR = ("bce", "dice", "bce+dice", "bce+dice+focal")
NAMES = {
    "clean": "Dice of clean images", "range": "A, levels within the range", "level": "B, levels up to five times it",
    "count": "C, more pixels", "noise": "D, random values", "step": "directional",
}  # fmt: skip


class Comparison(NamedTuple):
    """One kind of model against another: mean `difference` of `what`, its interval, and tests.

    The interval resamples seeds and cases; `p` is of a sign-flip test over cases (means over seeds), `adjusted` after
    Holm's correction over all comparisons of the page; `seeds` counts those with a difference above 0, of `of`; `cases`
    are those compared.
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
    cases: int

    @property
    def decidable(self):
        """Whether there is a number, and enough cases for the sign-flip test to pass any correction of the page."""
        return np.isfinite(self.adjusted) and self.cases >= ENOUGH

    @property
    def holds(self):
        """Whether `first` is above `second`: beyond chance over cases, and over cases and seeds."""
        return self.low > 0 and self.adjusted < SIGNIFICANT

    @property
    def reversed(self):
        """Whether `first` is below `second`, as certainly."""
        return self.high < 0 and self.adjusted < SIGNIFICANT


def scores(result, label, what, relative):
    """{seed: `[cases]`} of a kind of model: Dice of clean images, or the mean height of the curve of an experiment."""
    if what == "clean":
        return {entry.seed: result.clean(entry) for entry in result.models(label)}
    return {entry.seed: result.area(entry, what, relative=relative) for entry in result.models(label)}


def compare(result, wanted):
    """{(what, relative, first, second): Comparison}, Holm-corrected together.

    Compared are the seeds that both have, and the cases that have a number in all of them.
    """
    found = {}
    for what, relative, first, second in dict.fromkeys(wanted):
        values = [scores(result, label, what, relative) for label in (first, second)]
        common = sorted(set(values[0]) & set(values[1]), key=str)
        difference = np.array([values[0][seed] - values[1][seed] for seed in common]).reshape(len(common), -1)
        difference = difference[:, np.isfinite(difference).all(axis=0)]
        facts = [float("nan")] * 5
        if difference.size:
            tested = paired_test(difference.mean(axis=0), np.zeros(difference.shape[1]))
            facts = [float(difference.mean()), *crossed_interval(difference), tested.p, np.nan]
        above, cases = int((difference.mean(axis=1) > 0).sum()) if difference.size else 0, difference.shape[1]
        found[what, relative, first, second] = Comparison(what, first, second, *facts, above, len(common), cases)
    adjusted = holm([comparison.p for comparison in found.values()])
    return {key: each._replace(adjusted=float(p)) for (key, each), p in zip(found.items(), adjusted, strict=True)}


def wanted(labels):
    """{claim: comparisons (what, relative, first, second)} among the kinds of models that there are."""
    have = [label for label in FOUR if label in labels]
    other = {label: [each for each in have if each != label] for label in have}
    plans = {
        "1": [("clean", False, "dice", "bce")],
        "2": [("clean", False, "bce+dice", each) for each in other.get("bce+dice", ())],
        "3": [(what, True, each, "dice") for what in UNDER_ATTACK for each in other.get("dice", ())],
        "4": [(what, True, "bce", each) for what in ("range", "level", "count") for each in other.get("bce", ())],
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
    tested = compare(result, [each for claim in plans if claim != "7" for each in plans[claim]])
    tested = compare(result, plans["7"]) | tested  # claim 7 goes by intervals alone
    found = {claim: [tested[each] for each in rows] for claim, rows in plans.items()}
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
    if not all(each.decidable for each in comparisons):
        few = min(each.cases for each in comparisons)
        return "not decided", f"{few} cases without nan are too few, {ENOUGH} are needed: " + _all_said(comparisons)
    held, against = ([each for each in comparisons if getattr(each, how)] for how in ("holds", "reversed"))
    if len(held) == len(comparisons):
        verdict = "supported"
    elif len(against) == len(comparisons):
        verdict = "contradicted"
    elif held and not against:
        verdict = "partly supported"
    else:
        verdict = "not supported"
    return verdict, _all_said(comparisons)


def _all_said(comparisons):
    return "; ".join(map(_said, comparisons))


def _alike(comparisons):
    """Verdict of a claim that no two differ by more than `NEARLY`."""
    if not comparisons:
        return "not decided", "fewer than two kinds of models were trained"
    if not all(np.isfinite(each.low) for each in comparisons):
        return "not decided", "a comparison has no number: " + _all_said(comparisons)
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
    """Whether models of wider gradients keep more of their Dice: the rank correlation over the losses, seed by seed.

    The losses are the same in every seed, so that seeds repeat them: there are as many points as losses, four, of which
    the 24 orders leave no p below 1/12. It is therefore told, not tested.
    """
    entries = [entry for entry in result.entries if entry.label in FOUR]
    by_seed = {seed: [e for e in entries if e.seed == seed] for seed in dict.fromkeys(e.seed for e in entries)}
    by_seed = {seed: members for seed, members in by_seed.items() if len(members) >= 3}
    if not by_seed:
        return "not decided", "no seed has three kinds of models", []
    evidence = []
    for output in ("probability", "logit"):
        for what in UNDER_ATTACK:
            rhos, points = [], []
            for members in by_seed.values():
                width = [np.nanmean(result.statistic(entry, output, "participation")) for entry in members]
                kept = [result.area(entry, what).mean() for entry in members]
                rhos.append(rank_correlation(width, kept, resamples=100).rho)
                points += zip(width, kept, strict=True)
            whole = rank_correlation(*zip(*points, strict=True), resamples=2000)._asdict()
            told = {"rho": float(np.mean(rhos)), "seeds": rhos, "all": whole}
            evidence.append({"output": output, "what": what} | told)
    main = [rho for each in evidence if each["output"] == "probability" for rho in each["seeds"]]
    if not np.isfinite(main).all():
        verdict = "not decided"
    else:
        verdict = "supported" if min(main) > 0 else "contradicted" if max(main) < 0 else "not supported"
    told = [
        f"{NAMES[each['what']]}, gradients of the {each['output']}: rho {each['rho']:+.2f} "
        f"(by seed {', '.join(f'{rho:+.1f}' for rho in each['seeds'])}, over all {each['all']['models']} models "
        f"{each['all']['rho']:+.2f})"
        for each in evidence
    ]
    return verdict, "; ".join(told), evidence
