"""What D4 says of its models and methods (S4.13, S4.15), decided by paired comparisons over cases and seeds."""

from itertools import combinations

import numpy as np

from kseg.stats import compare
from kseg.studies import robust_told
from kseg.studies.robust_measures import CLEAN, PGD, SAID, TEST, TRANSFERRED, UNTARGETED
from kseg.studies.robust_models import FOUR, ONE, ORIGINAL, OTHERS, TWO, UNION
from kseg.studies.verdicts import NEARLY, alike, missing, ordered, said

FULL = 0.95  # of the pixels of a full-area prediction
ATTACKED = (*TRANSFERRED, "white/ball", "white/steps", UNTARGETED)
WORDS = {
    "transfer/ball": "transferred, budget", "transfer/steps": "transferred, free steps",
    "white/ball": "white box, budget", "white/steps": "white box, free steps", UNTARGETED: "white box, untargeted",
}  # fmt: skip
SCORED = {
    "accuracy": "accuracy",
    "foreground_dice": "foreground Dice",
}  # the document's, and one that background spares
TEXTS = {
    "1": "methods one and two leave the images visually alike",
    "2": "the clean accuracies of the four models are alike",
    "3": "under attack model 1 falls to the share of background",
    "4": "model 4 keeps its accuracy under attack",
    "5": "model 4 is more accurate under attack than model 2",
    "6": "model 3 is partly robust though it never saw PGD: it loses less than model 1",
    "7": "model 4 is a little more accurate on clean images than model 1",
    "8": "method one gives fragmented predictions, PGD a full area",
    "9": "validation losses fluctuate less with a learning rate that adapts",
    "10": "models 2 to 4 lose less than model 1 to images made on a model of another seed",
    "11": "models 2 and 4 lose less than model 1 under attack",
}
OURS = ("10", "11")  # of which the document does not speak
INTERVALS = ("2", "3", "4", "fall")  # that things are alike, or are not: by intervals, which take part in no correction
GATES = (*TRANSFERRED, UNTARGETED)  # white-box images of model 1 are those that are transferred


def claims(result):
    """The verdicts: a list of dicts `claim`, `text`, `verdict`, `why`, `readings`, `dice` and `comparisons`.

    The verdict of a claim about attacks is that of accuracy and of images made on model 1 within the budget, or by free
    steps if those take nothing from model 1; `readings` {condition: verdict} are those of all ways to attack, `dice`
    the same by the Dice of the foreground.
    """
    gates = _gates(result)
    found = {score: _compared(_pairs(result, score, gates), gates) for score in SCORED}
    under = {score: _attacked(result, score, found[score], gates) for score in SCORED}
    first = found["accuracy"]
    decided = {
        "1": robust_told.visible(result), "2": alike(_of(first, "2")), "7": ordered(_of(first, "7")),
        "8": _fragments(result, first), "9": robust_told.calm(result),
    }  # fmt: skip
    told = []
    for claim, text in TEXTS.items():
        readings, dice = (under[score].get(claim, {}) for score in SCORED)
        verdict, why = decided[claim] if claim in decided else _chosen(claim, readings, gates)
        told.append({
            "claim": claim, "text": text, "verdict": verdict, "why": why,
            "readings": {condition: each[0] for condition, each in readings.items()},
            "dice": {condition: each[0] for condition, each in dice.items()},
            "comparisons": [each._asdict() for those in found.values() for key, each in those.items()
                            if key[0] == claim],
        })  # fmt: skip
    return told


def tolerance(result, score="accuracy"):
    """What counts as kept, or as fallen to background: `NEARLY`, or a quarter of what there is to lose if less."""
    room = result.mean(ORIGINAL, CLEAN, score)[0] - (result.true_background().mean() if score == "accuracy" else 0.0)
    return min(NEARLY, 0.25 * max(room, 0.0))


def _gates(result):
    """{(claim, condition): Comparison}: what each attack takes from the foreground Dice of model 1.

    Of the model 1 of another seed for claim 10; the claim is "" for all others.
    """
    none = dict.fromkeys((entry.seed for entry in result.models(ORIGINAL)), 0 * result.true_background())
    asked = [("", condition, ORIGINAL) for condition in GATES]
    asked += [("10", condition, OTHERS[ORIGINAL]) for condition in TRANSFERRED if result.controls]
    found = compare({
        (claim, condition): (f"change of foreground Dice, {WORDS[condition]}", label, "none",
                             result.falls(label, condition, "foreground_dice"), none)
        for claim, condition, label in asked
    })  # fmt: skip
    return found | {("", c.replace("transfer", "white")): found["", c] for c in TRANSFERRED}


def _gate(gates, claim, condition):
    return gates.get((claim, condition)) or gates["", condition]


def _open(gate):
    return not gate.undecidable and gate.reversed


def _first(claim, gates):
    """The transferred images that a claim goes by: the first that take something, or those within the budget."""
    return next((each for each in TRANSFERRED if _open(_gate(gates, claim, each))), TRANSFERRED[0])


def _compared(pairs, gates):
    """{key: Comparison}: those that verdicts go by are corrected together, all other ways to attack together."""
    told, main = {}, {}
    for key in pairs:
        if key[0] not in INTERVALS:
            main[key] = key[1] not in ATTACKED or key[1] == _first(key[0], gates)
    for kept in ([key for key in main if main[key]], [key for key in main if not main[key]]):
        told |= compare({key: pairs[key] for key in kept})
    alone = compare({key: pair for key, pair in pairs.items() if key[0] in INTERVALS})
    return told | {key: each._replace(adjusted=float("nan")) for key, each in alone.items()}


def _pairs(result, score, gates):
    """{(claim, condition, ..): what `kseg.stats.compare` takes}; orders of attacks that take something from model 1."""
    seeds, word = [entry.seed for entry in result.models(ORIGINAL)], SCORED[score]
    none, share = (dict.fromkeys(seeds, value) for value in (0 * result.true_background(), result.true_background()))
    pairs = {}

    def versus(key, what, first, second, values):
        if _open(_gate(gates, *key[:2])):
            pairs[key] = (what, first, second, values(first), values(second))

    for condition in ATTACKED:

        def level(label, condition=condition):
            return result.scores(label, condition, score)

        def falls(label, condition=condition):
            return result.falls(label, condition, score)

        fall, name = f"change of {word}, {WORDS[condition]}", f"{word}, {WORDS[condition]}"
        pairs["fall", condition] = (fall, ORIGINAL, "none", falls(ORIGINAL), none)
        pairs["4", condition] = (fall, UNION, "none", falls(UNION), none)
        versus(("5", condition), name, UNION, ONE, level)
        versus(("6", condition), fall, TWO, ORIGINAL, falls)
        for label in (ONE, UNION):
            versus(("11", condition, label), fall, label, ORIGINAL, falls)
        for label in (ONE, TWO, UNION) if condition in TRANSFERRED and result.controls else ():
            versus(("10", condition, label), fall, OTHERS[label], OTHERS[ORIGINAL], falls)
        if score == "accuracy":
            pairs["3", condition] = (name, ORIGINAL, "background", level(ORIGINAL), share)
    return pairs | (_without_attack(result) if score == "accuracy" else {})


def _without_attack(result):
    def clean(label):
        return result.scores(label, TEST, "accuracy")

    words = "accuracy of all clean test images"
    pairs = {("2", TEST, *two): (words, *two, *map(clean, two)) for two in combinations(FOUR, 2)}
    pairs["7", TEST] = (words, UNION, ORIGINAL, clean(UNION), clean(ORIGINAL))
    pieces = {name: _by_case(result, name) for name in ("method one", "clean", PGD["steps"])}
    for name in ("clean", PGD["steps"]):
        pairs["8", name] = (
            "pieces of the prediction",
            "method one",
            SAID.get(name, name),
            pieces["method one"],
            pieces[name],
        )
    return pairs


def _by_case(result, name):
    """{seed: `[cases]`} of the pieces of predictions."""
    _, place = np.unique(result.case, return_inverse=True)
    number = np.bincount(place)
    seeds = [entry.seed for entry in result.models(ORIGINAL)]
    return {s: np.bincount(place, each) / number for s, each in zip(seeds, result.method(name, "pieces"), strict=True)}


def _of(found, claim, *which):
    return [each for key, each in found.items() if key[0] == claim and (not which or key[1] in which)]


def _one(found, claim, condition):
    (each,) = _of(found, claim, condition)
    return each


def _attacked(result, score, found, gates):
    """{claim: {condition: (verdict, why)}} of the claims about attacks, by one score."""
    nearly, readings = tolerance(result, score), {}
    for condition in ATTACKED:
        (fall,) = _of(found, "fall", condition)
        kept = alike([fall], None, nearly)
        for claim in ("4", "5", "6", "11") + ("10",) * (condition in TRANSFERRED):
            these, gate = _of(found, claim, condition), _gate(gates, claim, condition)
            if not _open(gate):
                why = gate.undecidable or f"this attack does not surely take anything from {gate.first}"
                verdict = "not decided", f"{why}: {gate.said()}"
            elif claim != "4":
                verdict = ordered(these)
            elif kept[0] == "supported" or not nearly:
                verdict = "not decided", f"model 1 keeps as much: {kept[1]}"
            else:
                verdict = alike(these, None, nearly)
            readings.setdefault(claim, {})[condition] = verdict
        if score == "accuracy":
            readings.setdefault("3", {})[condition] = _fallen(fall, _of(found, "3", condition), nearly)
    return readings


def _chosen(claim, readings, gates):
    """The verdict by the transferred images that a claim goes by, and why."""
    condition = _first(claim, gates)
    verdict, why = readings[condition]
    return verdict, f"{WORDS[condition]}; {why}"


def _fallen(fall, level, nearly):
    """Verdict on (change of model 1, model 1 against background): it must fall, and to there."""
    if why := missing([fall, *level], tested=False):
        return "not decided", why
    if not nearly:
        return "not decided", f"model 1 is no better than background: {level[0].said(tested=False)}"
    if fall.high >= 0:
        return "contradicted" if fall.low > -nearly else "not supported", f"it does not fall: {fall.said(tested=False)}"
    verdict, why = alike(level, None, nearly)
    return verdict, f"it falls: {fall.said(tested=False)}; {why}"


def _fragments(result, found):
    """More pieces than without attack and than PGD has, and PGD fills the image: two halves of a claim."""
    clean, full = _of(found, "8")
    share = {reading: float(result.method(name, "goal").mean()) for reading, name in PGD.items()}
    halves = [ordered([clean])[0], ordered([full])[0]]
    if "not decided" in halves:
        verdict = "not decided"
    elif halves == ["supported", "supported"] and share["steps"] >= FULL:
        verdict = "supported"
    elif "supported" in halves or share["steps"] >= FULL:
        verdict = "partly supported"
    else:
        verdict = "contradicted" if halves == ["contradicted", "contradicted"] else "not supported"
    names = ("clean", "method one", *PGD.values())
    pieces, classes = ({name: result.method(name, what).mean() for name in names} for what in ("pieces", "classes"))
    words = ", ".join(
        f"{SAID.get(name, name)} {pieces[name]:.1f} pieces of {classes[name]:.1f} classes" for name in names
    )
    goal = (
        f"share of the class that PGD aims at {share['steps']:.3f} by free steps, {share['ball']:.3f} within the budget"
    )
    return verdict, f"{words}; {goal} (full area: {FULL:g}); {said([clean, full])}"
