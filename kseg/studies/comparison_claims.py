"""What D3 says of its losses (S3.14), decided by paired comparisons over cases and seeds."""

from itertools import combinations

from kseg.stats import compare
from kseg.studies.comparison_models import GIVEN
from kseg.studies.verdicts import NONE, alike, ordered

DICE_BCE, JACCARD, FOCAL, TVERSKY, FOCAL_TVERSKY = FIVE = ("dice_bce", "jaccard", "focal", "tversky", "focal_tversky")
GENERALIZED = "generalized_dice"
SPREAD = 0.0026  # of the document's accuracies (S3.12)
NEARLY = 0.005  # IoU; half of the document's second places are 0.006 behind the first
SKEWED, EVEN = 0.05, 0.4  # share of foreground below which classes are highly imbalanced, above which balanced
ROUND = ("iou", "dice", "accuracy", "hd95", "ece")  # what an all-rounder is judged by
NAMES = {"iou": "IoU", "accuracy": "accuracy", "hd95": "minus HD95", "ece": "minus ECE", "dice": "Dice"}
TEXTS = {
    "1": "focal Tversky has the best IoU of the five",
    "2": "Dice-BCE and Jaccard are equal, and second",
    "3": "Tversky is the worst of the five",
    "4": f"the five have the same accuracy (within {100 * SPREAD:.2f} percentage points)",
    "5": "Tversky is weaker because foreground and background are balanced",
    "6": "where classes are highly imbalanced focal losses are better",
    "7": "Dice-BCE is good by every score",
    "8": "where classes are mildly skewed generalised Dice is better",
}
INTERVALS = ("4",)  # go by intervals alone and take part in no correction


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
        "2": _second(of("2"), of("2 second")) if five else (_NOT, NONE),
        "3": ordered(of("3"), NAMES) if five else (_NOT, NONE),
        "4": alike(of("4"), NAMES, SPREAD) if five else (_NOT, NONE),
        "5": _balance(of("5"), share),
        "6": _where(of("6"), share, share < SKEWED, f"highly imbalanced: below {100 * SKEWED:g} %"),
        "7": _rounder(of("7")),
        "8": _where(of("8"), share, SKEWED <= share < EVEN, f"mildly skewed: {100 * SKEWED:g} to {100 * EVEN:g} %"),
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
    keys += [("2 second", "iou", one, other) for one in (DICE_BCE, JACCARD) for other in (FOCAL, TVERSKY)]
    keys += [("3", "iou", other, TVERSKY) for other in FIVE if other != TVERSKY]
    keys += [("4", "accuracy", *two) for two in combinations(FIVE, 2)]
    keys += [("5", "iou", JACCARD, TVERSKY)]
    keys += [("6", "iou", one, other) for one in (FOCAL, FOCAL_TVERSKY) for other in (DICE_BCE, JACCARD, TVERSKY)]
    others = [loss for loss in result.losses if loss not in (DICE_BCE, GENERALIZED)]
    keys += [("7", score, DICE_BCE, other) for score in ROUND if score in result.shown for other in others]
    keys += [("8", "iou", GENERALIZED, other) for other in (*others, DICE_BCE)]
    return [key for key in keys if there.issuperset(key[2:])]


def _pair(result, regime, score, first, second):
    """What `compare` takes; of errors and distances the negative, so that above is better."""
    sign = -1 if score in ("hd95", "ece") else 1

    def values(loss):
        return {seed: sign * found for seed, found in result.scores(loss, regime, score).items()}

    return score, first, second, values(first), values(second)


def _second(equal, above):
    """Verdict on two that are alike, and above others."""
    (one, why), (two, more) = alike(equal, NAMES, NEARLY), ordered(above, NAMES)
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
    """Supported if it is surely behind in nothing, contradicted if by most scores it is surely behind some loss."""
    if not comparisons:
        return _NOT, NONE
    if not any(each.decidable for each in comparisons):
        return ordered(comparisons, NAMES)
    scores = list(dict.fromkeys(each.what for each in comparisons))
    behind = {score: [each for each in comparisons if each.what == score and each.reversed] for score in scores}
    lost = [score for score in scores if behind[score]]
    told = "; ".join(each.said(NAMES) for score in lost for each in behind[score]) or "surely behind no loss"
    verdict = "supported" if not lost else "contradicted" if 2 * len(lost) > len(scores) else "not supported"
    return verdict, f"by {', '.join(NAMES[score] for score in scores)}; {told}"
