"""What D3 says of its losses (S3.14), decided by paired comparisons over cases and seeds."""

from itertools import combinations

from kseg.stats import compare, holm
from kseg.studies.comparison_models import GIVEN
from kseg.studies.comparison_table import MAIN, finite
from kseg.studies.verdicts import NEARLY, NONE, alike, missing, ordered, said

DICE_BCE, JACCARD, FOCAL, TVERSKY, FOCAL_TVERSKY = FIVE = ("dice_bce", "jaccard", "focal", "tversky", "focal_tversky")
GENERALIZED = "generalized_dice"
SPREAD = 0.0026  # of the document's accuracies (S3.12)
EQUAL = 0.005  # of IoU: the document's two second places are 0.006 behind its first
RARE, EVEN = 0.05, 0.4  # share of foreground below which classes are highly imbalanced, above which balanced
ROUND = ("iou", "dice", "accuracy", "ece")  # what an all-rounder is judged by: shares, so that one margin fits all
SECOND = "iou_score"  # what the document's Table 2 holds (S3.10)
TWICE = ("1", "2", "2 second", "3", "5")  # read by IoU, and again by that score
SCORES = (*ROUND, SECOND)
NAMES = {"iou": "IoU", "iou_score": "IoU score", "accuracy": "accuracy", "ece": "minus ECE", "dice": "Dice"}
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

    The verdict is that of the rate that was given to all losses, by IoU; `readings` {reading: verdict} has those of the
    tuned rates as well, and after them, of the claims on who is better, those by the thresholded IoU score.
    """
    each = {regime: _decide(result, regime) for regime in result.regimes}
    first = each.get(GIVEN) or next(iter(each.values()))

    def readings(claim):
        again = {f"{regime}, {NAMES[SECOND]}": decided[claim, SECOND] for regime, decided in each.items()
                 if (claim, SECOND) in decided}  # fmt: skip
        return {regime: decided[claim, MAIN] for regime, decided in each.items()} | again

    return [
        {
            "claim": claim, "text": text, "verdict": first[claim, MAIN][0], "why": first[claim, MAIN][1],
            "readings": {reading: verdict for reading, (verdict, _) in readings(claim).items()},
            "comparisons": first[claim],
        }
        for claim, text in TEXTS.items()
    ]  # fmt: skip


def _decide(result, regime):
    """{(claim, score it is read by): (verdict, why), claim: comparisons as dicts} of one regime."""
    there = {loss for loss in result.losses if result.models(loss, regime)}
    share = 1 - float(result.foreground()[0])
    rare, skewed = share < RARE, RARE <= share < EVEN
    untested = {*INTERVALS, *(["6"] * (not rare)), *(["8"] * (not skewed))}
    pairs = {key: _pair(result, regime, key[1], *key[2:]) for key in _keys(result, there)}
    found = _corrected(compare(pairs, {score: result.usual_spread(regime, score) for score in SCORES}), untested)

    def of(claim, score=None):
        return [each for key, each in found.items() if key[0] == claim and score in (None, key[1])]

    five = there.issuperset(FIVE)
    decided = {
        ("4", MAIN): alike(of("4"), NAMES, SPREAD) if five else (_NOT, NONE),
        ("6", MAIN): _where(of("6"), share, rare, f"highly imbalanced: below {100 * RARE:g} %"),
        ("7", MAIN): _rounder(of("7")),
        ("8", MAIN): _where(of("8"), share, skewed, f"mildly skewed: {100 * RARE:g} to {100 * EVEN:g} %"),
    }
    for score in (MAIN, SECOND):
        decided |= {
            ("1", score): ordered(of("1", score), NAMES, extreme=True) if five else (_NOT, NONE),
            ("2", score): _second(of("2", score), of("2 second", score)) if five else (_NOT, NONE),
            ("3", score): ordered(of("3", score), NAMES, extreme=True) if five else (_NOT, NONE),
            ("5", score): _balance(of("5", score), share),
        }
    return decided | {
        claim: [each._asdict() for key, each in found.items() if key[0].split()[0] == claim] for claim in TEXTS
    }


def _corrected(found, untested):
    """Comparisons with p after Holm's correction over all of a score, but those of claims that are not tested.

    Two losses that several claims ask for count once, and what can decide nothing does not.
    """
    pair = {key: (each.what, frozenset(key[2:])) for key, each in found.items()}
    tested = {key for key, each in found.items() if key[0] not in untested and not each.undecidable}
    adjusted = {}
    for score in (MAIN, SECOND):
        p = {pair[key]: found[key].p for key in found if key in tested and key[1] == score}
        adjusted |= dict(zip(p, map(float, holm(list(p.values()))), strict=True))
    nan = float("nan")
    return {key: each._replace(adjusted=adjusted[pair[key]] if key in tested else nan) for key, each in found.items()}


_NOT = "not decided"


def _keys(result, there):
    """(claim, score, first, second) of all that is compared, among the losses that are there."""
    asked = [("1", FOCAL_TVERSKY, other) for other in FIVE[:-1]]
    asked += [("2", DICE_BCE, JACCARD)]
    asked += [("2 second", FOCAL_TVERSKY, other) for other in (DICE_BCE, JACCARD)]
    asked += [("2 second", one, other) for one in (DICE_BCE, JACCARD) for other in (FOCAL, TVERSKY)]
    asked += [("3", other, TVERSKY) for other in FIVE if other != TVERSKY]
    asked += [("5", JACCARD, TVERSKY)]
    asked += [("6", one, other) for one in (FOCAL, FOCAL_TVERSKY) for other in (DICE_BCE, JACCARD, TVERSKY)]
    asked += [("8", GENERALIZED, other) for other in result.losses if other != GENERALIZED]
    keys = [(claim, score, *two) for claim, *two in asked for score in (MAIN, SECOND)[: 1 + (claim in TWICE)]]
    keys += [("4", "accuracy", *two) for two in combinations(FIVE, 2)]
    keys += [("7", score, DICE_BCE, other) for score in ROUND for other in result.losses if other != DICE_BCE]
    return [key for key in keys if there.issuperset(key[2:])]


def _pair(result, regime, score, first, second):
    """What `compare` takes; of errors the negative, so that above is better."""
    sign = -1 if score == "ece" else 1

    def values(loss):
        return {seed: sign * found for seed, found in finite(result.scores(loss, regime, score)).items()}

    return score, first, second, values(first), values(second)


def _second(equal, above):
    """Verdict on two that are alike, below focal Tversky and above the others."""
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
    if why := missing(comparisons, NAMES, False):
        return _NOT, why
    behind = [each for each in comparisons if each.high < -NEARLY]
    inside = all(each.low > -NEARLY for each in comparisons)
    verdict = "contradicted" if behind else "supported" if inside else "not supported"
    worst = min(comparisons, key=lambda each: each.low)
    return verdict, f"by {', '.join(NAMES[score] for score in ROUND)}; {said(behind or [worst], NAMES, False)}"
