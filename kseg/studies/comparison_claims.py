"""What D3 says of its losses (S3.14), decided by paired comparisons over cases and seeds."""

from itertools import combinations

from kseg.stats import ENOUGH, compare
from kseg.studies.comparison_models import GIVEN
from kseg.studies.comparison_table import finite
from kseg.studies.verdicts import NEARLY, NONE, alike, ordered, said

DICE_BCE, JACCARD, FOCAL, TVERSKY, FOCAL_TVERSKY = FIVE = ("dice_bce", "jaccard", "focal", "tversky", "focal_tversky")
GENERALIZED = "generalized_dice"
SPREAD = 0.0026  # of the document's accuracies (S3.12)
EQUAL = 0.005  # of IoU: the document's two second places are 0.006 behind its first
RARE, EVEN = 0.05, 0.4  # share of foreground below which classes are highly imbalanced, above which balanced
ROUND = ("iou", "dice", "accuracy", "ece")  # what an all-rounder is judged by: shares, so that one margin fits all
NAMES = {"iou": "IoU", "accuracy": "accuracy", "ece": "minus ECE", "dice": "Dice"}
TEXTS = {
    "1": "focal Tversky has the best IoU of the five",
    "2": "Dice-BCE and Jaccard are equal, and second",
    "3": "Tversky is the worst of the five",
    "4": f"the five have the same accuracy (within {100 * SPREAD:.2f} percentage points)",
    "5": "Tversky is weaker because foreground and background are balanced",
    "6": "where classes are highly imbalanced focal losses are better",
    "7": f"Dice-BCE is good all round: by no score more than {NEARLY} behind any loss",
    "8": "where classes are mildly skewed generalised Dice is better",
}
INTERVALS = ("2", "4", "7")  # go by intervals alone and take part in no correction


def claims(result):
    """The verdicts: a list of dicts `claim`, `text`, `verdict`, `why`, `readings` and `comparisons`.

    The verdict is that of the rate that was given to all losses; `readings` {regime: verdict} has those of the tuned
    rates as well.
    """
    each = {regime: _decide(result, regime) for regime in result.regimes}
    first = each.get(GIVEN) or next(iter(each.values()))
    return [
        {
            "claim": claim, "text": text, "verdict": first[claim][0], "why": first[claim][1],
            "readings": {regime: decided[claim][0] for regime, decided in each.items()},
            "comparisons": first[claim][2],
        }
        for claim, text in TEXTS.items()
    ]  # fmt: skip


def _decide(result, regime):
    """{claim: (verdict, why, comparisons as dicts)} of one regime."""
    there = {loss for loss in result.losses if result.models(loss, regime)}
    pairs = {key: _pair(result, regime, key[1], *key[2:]) for key in _keys(result, there)}
    found = compare({key: pair for key, pair in pairs.items() if key[0] in INTERVALS})
    found |= compare({key: pair for key, pair in pairs.items() if key[0] not in INTERVALS})

    def of(claim, score=None):
        return [each for key, each in found.items() if key[0] == claim and score in (None, key[1])]

    five = there.issuperset(FIVE)
    share = 1 - float(result.foreground()[0])
    decided = {
        "1": ordered(of("1"), NAMES) if five else (_NOT, NONE),
        "2": _second(_enough(of("2")), of("2 second")) if five else (_NOT, NONE),
        "3": ordered(of("3"), NAMES) if five else (_NOT, NONE),
        "4": alike(_enough(of("4")), NAMES, SPREAD) if five else (_NOT, NONE),
        "5": _balance(of("5"), share),
        "6": _where(of("6"), share, share < RARE, f"highly imbalanced: below {100 * RARE:g} %"),
        "7": _rounder(_enough(of("7"))),
        "8": _where(of("8"), share, RARE <= share < EVEN, f"mildly skewed: {100 * RARE:g} to {100 * EVEN:g} %"),
    }
    return {
        claim: (*verdict, [each._asdict() for key, each in found.items() if key[0].split()[0] == claim])
        for claim, verdict in decided.items()
    }


_NOT = "not decided"


def _keys(result, there):
    """(claim, score, first, second) of all that is compared, among the losses that are there."""
    keys = [("1", "iou", FOCAL_TVERSKY, other) for other in FIVE[:-1]]
    keys += [("2", "iou", DICE_BCE, JACCARD)]
    keys += [("2 second", "iou", FOCAL_TVERSKY, other) for other in (DICE_BCE, JACCARD)]
    keys += [("2 second", "iou", one, other) for one in (DICE_BCE, JACCARD) for other in (FOCAL, TVERSKY)]
    keys += [("3", "iou", other, TVERSKY) for other in FIVE if other != TVERSKY]
    keys += [("4", "accuracy", *two) for two in combinations(FIVE, 2)]
    keys += [("5", "iou", JACCARD, TVERSKY)]
    keys += [("6", "iou", one, other) for one in (FOCAL, FOCAL_TVERSKY) for other in (DICE_BCE, JACCARD, TVERSKY)]
    keys += [("7", score, DICE_BCE, other) for score in ROUND for other in result.losses if other != DICE_BCE]
    keys += [("8", "iou", GENERALIZED, other) for other in result.losses if other != GENERALIZED]
    return [key for key in keys if there.issuperset(key[2:])]


def _pair(result, regime, score, first, second):
    """What `compare` takes; of errors the negative, so that above is better."""
    sign = -1 if score == "ece" else 1

    def values(loss):
        return {seed: sign * found for seed, found in finite(result.scores(loss, regime, score)).items()}

    return score, first, second, values(first), values(second)


def _enough(comparisons):
    """Comparisons whose intervals are nan where there are too few cases for any."""
    none = {"low": float("nan"), "high": float("nan")}
    return [each if each.cases >= ENOUGH else each._replace(**none) for each in comparisons]


def _second(equal, above):
    """Verdict on two that are alike, below the first and above the others."""
    (one, why), (two, more) = alike(equal, NAMES, EQUAL), ordered(above, NAMES)
    if _NOT in (one, two):
        verdict = _NOT
    elif one == two == "supported":
        verdict = "supported"
    elif "contradicted" in (one, two):
        verdict = "contradicted"
    else:
        verdict = "partly supported" if "supported" in (one, two) else "not supported"
    return verdict, f"equal: {one}, {why}; second: {two}, {more}"


def _balance(comparisons, share):
    """One data set cannot tell the cause; without the effect there is nothing to be caused."""
    told = f"foreground is {100 * share:.1f} % of the pixels"
    if not comparisons:
        return _NOT, f"{told}; {NONE}"
    verdict, why = ordered(comparisons, NAMES)
    if verdict == "supported":
        return _NOT, f"{told}; Tversky is weaker than Jaccard here, the cause takes data of other shares; {why}"
    return ("contradicted" if verdict == "contradicted" else verdict), f"{told}; {why}"


def _where(comparisons, share, fits, condition):
    """Verdict on data of a kind; others say nothing of it."""
    told = f"foreground is {100 * share:.1f} % of the pixels ({condition})"
    if not fits:
        return _NOT, f"{told}: these data are not of that kind"
    verdict, why = ordered(comparisons, NAMES)
    return verdict, f"{told}; {why}"


def _rounder(comparisons):
    """Supported if it is surely not behind by more than `NEARLY`, contradicted if it surely is, by any score."""
    if not comparisons:
        return _NOT, NONE
    if not all(each.low == each.low for each in comparisons):
        return _NOT, "a comparison has no number: " + said(comparisons, NAMES, False)
    behind = [each for each in comparisons if each.high < -NEARLY]
    inside = all(each.low > -NEARLY for each in comparisons)
    verdict = "contradicted" if behind else "supported" if inside else "not supported"
    worst = min(comparisons, key=lambda each: each.low)
    return verdict, f"by {', '.join(NAMES[score] for score in ROUND)}; {said(behind or [worst], NAMES, False)}"
