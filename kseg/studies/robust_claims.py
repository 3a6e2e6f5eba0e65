"""What D4 says of its models and methods (S4.13, S4.15), decided by paired comparisons over cases and seeds."""

from itertools import combinations

import numpy as np

from kseg.stats import compare
from kseg.studies import robust_told
from kseg.studies.robust_measures import CLEAN, PGD, TEST, TRANSFERRED, UNTARGETED
from kseg.studies.robust_models import FOUR, ONE, ORIGINAL, OTHERS, TWO, UNION
from kseg.studies.verdicts import NEARLY, NONE, alike, ordered

MOST = 0.95  # of the pixels of a full-area prediction
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
INTERVALS = ("2", "3", "4")  # claims that things are alike, which go by intervals and take part in no correction


def claims(result):
    """The verdicts: a list of dicts `claim`, `text`, `verdict`, `why`, `readings`, `dice` and `comparisons`.

    The verdict of a claim about attacks is that of accuracy and of images made on model 1 within the budget, or by free
    steps if those take nothing from model 1; `readings` {condition: verdict} are those of all ways to attack, `dice`
    the same by the Dice of the foreground.
    """
    gates = compare(_gates(result))
    found = {score: _compared(_pairs(result, score, [each for each in ATTACKED if _open(gates[each])]))
             for score in SCORED}  # fmt: skip
    under = {score: _attacked(result, score, found[score], gates) for score in SCORED}
    first = found["accuracy"]
    decided = {
        "1": robust_told.visible(result), "2": alike(_of(first, "2")), "7": ordered(_of(first, "7")),
        "8": _fragments(result, first), "9": robust_told.calm(result),
    }  # fmt: skip
    told = []
    for claim, text in TEXTS.items():
        readings, dice = (under[score].get(claim, {}) for score in SCORED)
        verdict, why = decided[claim] if claim in decided else _chosen(readings)
        told.append({
            "claim": claim, "text": text, "verdict": verdict, "why": why,
            "readings": {condition: each[0] for condition, each in readings.items()},
            "dice": {condition: each[0] for condition, each in dice.items()},
            "comparisons": [each._asdict() for those in found.values() for key, each in those.items()
                            if key[0].split()[0] == claim],
        })  # fmt: skip
    return told


def tolerance(result, score="accuracy"):
    """What counts as kept, or as fallen to background: `NEARLY`, or a quarter of what there is to lose if less."""
    room = result.mean(ORIGINAL, CLEAN, score)[0] - (result.true_background().mean() if score == "accuracy" else 0.0)
    return min(NEARLY, 0.25 * max(room, 0.0))


def _compared(pairs):
    found = compare({key: pair for key, pair in pairs.items() if key[0] in INTERVALS})
    return found | compare({key: pair for key, pair in pairs.items() if key[0] not in INTERVALS})


def _gates(result):
    """{condition: what `kseg.stats.compare` takes}: what each attack takes from the foreground Dice of model 1."""
    none = dict.fromkeys((entry.seed for entry in result.models(ORIGINAL)), 0 * result.true_background())
    return {
        condition: (f"change of foreground Dice, {WORDS[condition]}", ORIGINAL, "none",
                    result.falls(ORIGINAL, condition, "foreground_dice"), none)
        for condition in ATTACKED
    }  # fmt: skip


def _open(gate):
    return not gate.undecidable and gate.reversed


def _pairs(result, score, conditions):
    """{(claim, condition, ..): what `kseg.stats.compare` takes} of the attacks that take something from model 1."""
    seeds, word = [entry.seed for entry in result.models(ORIGINAL)], SCORED[score]
    none, share = (dict.fromkeys(seeds, value) for value in (0 * result.true_background(), result.true_background()))
    pairs = {}

    def versus(key, what, first, second, values):
        pairs[key] = (what, first, second, values(first), values(second))

    for condition in conditions:

        def level(label, condition=condition):
            return result.scores(label, condition, score)

        def falls(label, condition=condition):
            return result.falls(label, condition, score)

        fall = f"change of {word}, {WORDS[condition]}"
        pairs["4", condition] = (fall, UNION, "none", falls(UNION), none)
        versus(("5", condition), f"{word}, {WORDS[condition]}", UNION, ONE, level)
        versus(("6", condition), fall, TWO, ORIGINAL, falls)
        for label in (ONE, UNION):
            versus(("11", condition, label), fall, label, ORIGINAL, falls)
        for label in (ONE, TWO, UNION) if condition in TRANSFERRED and result.controls else ():
            versus(("10", condition, label), fall, OTHERS[label], OTHERS[ORIGINAL], falls)
        if score == "accuracy":
            pairs["3", condition] = (f"{word}, {WORDS[condition]}", ORIGINAL, "background", level(ORIGINAL), share)
            pairs["3 fall", condition] = (fall, ORIGINAL, "none", falls(ORIGINAL), none)
    return pairs | (_without_attack(result) if score == "accuracy" else {})


def _without_attack(result):
    def clean(label):
        return result.scores(label, TEST, "accuracy")

    words = "accuracy of all clean test images"
    pairs = {("2", TEST, *two): (words, *two, *map(clean, two)) for two in combinations(FOUR, 2)}
    pairs["7", TEST] = (words, UNION, ORIGINAL, clean(UNION), clean(ORIGINAL))
    pieces = {name: _by_case(result, name) for name in ("method one", "clean", *PGD.values())}
    for name in ("clean", *PGD.values()):
        pairs["8", name] = ("pieces of the prediction", "method one", name, pieces["method one"], pieces[name])
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
    nearly = tolerance(result, score)
    judges = dict.fromkeys(("5", "6", "10", "11"), lambda these, _: ordered(these))
    judges["4"] = lambda these, _: alike(these, None, nearly)
    if score == "accuracy":
        judges["3"] = lambda these, condition: _fallen(_one(found, "3 fall", condition), these, nearly)
    return {
        claim: {
            condition: _told(judge, _of(found, claim, condition), condition, gates[condition])
            for condition in (TRANSFERRED if claim == "10" else ATTACKED)
        }
        for claim, judge in judges.items()
    }


def _told(judge, these, condition, gate):
    """(verdict, why) under one way to attack, which must take something from model 1."""
    if not _open(gate):
        why = gate.undecidable or "this attack does not surely take anything from model 1"
        return "not decided", f"{why}: {gate.said()}"
    return judge(these, condition) if these else ("not decided", NONE)


def _chosen(readings):
    """The verdict of the first way to attack, of the transferred ones, that decides; and why."""
    decided = [each for each in TRANSFERRED if readings[each][0] != "not decided"]
    chosen = decided[0] if decided else TRANSFERRED[0]
    verdict, why = readings[chosen]
    return verdict, f"{WORDS[chosen]}; {why}"


def _fallen(taken, level, nearly):
    """Verdict on (change of model 1, model 1 against background): it must fall, and to there."""
    if not taken.undecidable and not taken.reversed:
        return "contradicted" if taken.low > -nearly else "not supported", f"it does not fall: {taken.said()}"
    verdict, why = alike(level, None, nearly)
    return verdict, f"it falls: {taken.said()}; {why}"


def _fragments(result, found):
    verdict, why = ordered(_of(found, "8"))
    full = float(result.method(PGD["steps"], "goal").mean())
    names = ("clean", "method one", *PGD.values())
    if verdict == "supported" and full < MOST:
        verdict = "partly supported"
    pieces, classes = ({name: result.method(name, what).mean() for name in names} for what in ("pieces", "classes"))
    words = ", ".join(f"{name} {pieces[name]:.1f} pieces of {classes[name]:.1f} classes" for name in names)
    near = result.method(PGD["ball"], "goal").mean()
    goal = f"share of the class that PGD aims at {full:.3f} by free steps, {near:.3f} within the budget"
    return verdict, f"{words}; {goal} (full area: {MOST:g}); {why}"
