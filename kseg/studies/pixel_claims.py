"""What D0 says of the losses (S0.20), decided by paired comparisons over cases and seeds."""

from itertools import combinations

import numpy as np

from kseg.stats import compare, rank_correlation
from kseg.studies.verdicts import alike, ordered

UNDER_ATTACK = ("range", "level", "count", "noise")
FOUR = ("bce", "dice", "bce+dice", "bce+dice+focal")
NAMES = {
    "clean": "Dice of clean images", "range": "A, levels within the range", "level": "B, levels up to five times it",
    "count": "C, more pixels", "noise": "D, random values", "step": "directional",
}  # fmt: skip


def scores(result, label, what, relative):
    """{seed: `[cases]`} of a kind of model: Dice of clean images, or the mean height of the curve of an experiment."""
    if what == "clean":
        return {entry.seed: result.clean(entry) for entry in result.models(label)}
    return {entry.seed: result.area(entry, what, relative=relative) for entry in result.models(label)}


def compared(result, wanted):
    """{(what, relative, first, second): Comparison}, Holm-corrected together."""
    pairs = {}
    for what, relative, first, second in wanted:
        values = [scores(result, label, what, relative) for label in (first, second)]
        pairs[what, relative, first, second] = (what, first, second, *values)
    return compare(pairs)


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
    tested = compared(result, [each for claim in plans if claim != "7" for each in plans[claim]])
    tested = compared(result, plans["7"]) | tested  # claim 7 goes by intervals alone
    found = {claim: [tested[each] for each in rows] for claim, rows in plans.items()}
    told, absent = [], [label for label in FOUR if label not in result.labels]
    for claim, text in TEXTS.items():
        if claim == "6":
            verdict, why, evidence = _spread(result)
            told.append({"claim": claim, "text": text, "verdict": verdict, "why": why, "correlations": evidence})
            continue
        verdict, why = (alike if claim == "7" else ordered)(found[claim], NAMES)
        if absent and verdict != "not decided":
            why += f"; not compared, since not trained: {', '.join(absent)}"
        evidence = [each._asdict() for each in found[claim]]
        told.append({"claim": claim, "text": text, "verdict": verdict, "why": why, "comparisons": evidence})
    return told


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
