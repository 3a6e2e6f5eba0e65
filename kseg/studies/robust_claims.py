"""What D4 says of its models and methods (S4.13, S4.15), decided by paired comparisons over cases and seeds."""

from itertools import combinations

import numpy as np

from kseg.stats import compare
from kseg.studies import robust_gates, robust_told
from kseg.studies.robust_gates import ATTACKED, GATED, WORDS, first, gate, is_open
from kseg.studies.robust_measures import CLEAN, PGD, SAID, TEST, TRANSFERRED
from kseg.studies.robust_models import FOUR, ONE, ORIGINAL, OTHERS, TWO, UNION
from kseg.studies.verdicts import NEARLY, alike, missing, ordered, said

FULL = 0.95  # of the pixels of a full-area prediction
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


def claims(result):
    """The verdicts: dicts `claim`, `text`, `ours`, `verdict`, `why`, `readings`, `dice`, `gates` and `comparisons`.

    The verdict of a claim about attacks is that of accuracy and of images made on model 1 within the budget, or by free
    steps if those take nothing from model 1; `readings` {condition: verdict} are those of all ways to attack, `dice`
    the same by the Dice of the foreground; `gates` tell which attacks decide. `ours` are claims that the document does
    not make.
    """
    gates = robust_gates.gates_of(result)
    found = {score: _compared(_pairs(result, score, gates), gates) for score in SCORED}
    under = {score: _attacked(result, score, found[score], gates) for score in SCORED}
    main = found["accuracy"]
    decided = {
        "1": robust_told.visible(result), "2": alike(_of(main, "2")), "7": ordered(_of(main, "7")),
        "8": _fragments(result, main), "9": robust_told.calm(result),
    }  # fmt: skip
    told = []
    for claim, text in TEXTS.items():
        readings, dice = (under[score].get(claim, {}) for score in SCORED)
        verdict, why = decided[claim] if claim in decided else _chosen(claim, readings, gates)
        told.append({
            "claim": claim, "text": text, "ours": claim in OURS, "verdict": verdict, "why": why,
            "readings": {condition: each[0] for condition, each in readings.items()},
            "dice": {condition: each[0] for condition, each in dice.items()},
            "gates": robust_gates.told(gates, claim),
            "comparisons": [each._asdict() for those in found.values() for key, each in those.items()
                            if key[0] == claim],
        })  # fmt: skip
    return told


def tolerance(result, score="accuracy"):
    """What counts as kept, or as fallen to background: `NEARLY`, or a quarter of what there is to lose if less."""
    room = result.mean(ORIGINAL, CLEAN, score)[0] - (result.true_background().mean() if score == "accuracy" else 0.0)
    return min(NEARLY, 0.25 * max(room, 0.0))


def _compared(pairs, gates):
    """{key: Comparison}: those that verdicts go by are corrected together, all other ways to attack together."""
    told, main = {}, {}
    for key in pairs:
        if key[0] not in INTERVALS:
            main[key] = key[1] not in ATTACKED or key[1] == first(gates, key[0])
    for kept in ([key for key in main if main[key]], [key for key in main if not main[key]]):
        told |= compare({key: pairs[key] for key in kept})
    alone = compare({key: pair for key, pair in pairs.items() if key[0] in INTERVALS})
    return told | {key: each._replace(adjusted=float("nan")) for key, each in alone.items()}


def _pairs(result, score, gates):
    """{(claim, condition, ..): what `kseg.stats.compare` takes}; orders of attacks that take something from model 1."""
    seeds, word = [entry.seed for entry in result.models(ORIGINAL)], SCORED[score]
    none, share = (dict.fromkeys(seeds, value) for value in (0 * result.true_background(), result.true_background()))
    pairs = {}

    def versus(key, what, one, other, values):
        if is_open(gate(gates, *key[:2])):
            pairs[key] = (what, one, other, values(one), values(other))

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


def _attacked(result, score, found, gates):
    """{claim: {condition: (verdict, why)}} of the claims about attacks, by one score."""
    nearly, readings = tolerance(result, score), {}
    for condition in ATTACKED:
        fall, level = _of(found, "fall", condition), _of(found, "3", condition)
        for claim in (each for each in GATED if each != "10" or condition in TRANSFERRED):
            these, asked = _of(found, claim, condition), gate(gates, claim, condition)
            if not is_open(asked):
                why = asked.undecidable or f"this attack does not surely take anything from {asked.first}"
                verdict = "not decided", f"{why}: {asked.said()}"
            else:
                verdict = _kept(these, fall, level, nearly) if claim == "4" else ordered(these)
            readings.setdefault(claim, {})[condition] = verdict
        if score == "accuracy":
            readings.setdefault("3", {})[condition] = _fallen(fall, level, nearly)
    return readings


def _chosen(claim, readings, gates):
    """The verdict by the transferred images that a claim goes by, and why; where none decides, why of all of them."""
    main = first(gates, claim)
    closed = claim in GATED and not is_open(gate(gates, claim, main))
    why = "; ".join(f"{WORDS[each]}; {readings[each][1]}" for each in (TRANSFERRED if closed else [main]))
    return readings[main][0], why


def _poor(level):
    return "not decided", f"model 1 is no better than background: {said(level, tested=False)}"


def _kept(change, fall, level, nearly):
    """Verdict on (change of model 4, of model 1, model 1 against background): only a loss is against it."""
    if not nearly:
        return _poor(level)
    verdict, why = alike(fall, None, nearly, gains=True)
    if verdict == "supported":
        return "not decided", f"model 1 keeps as much: {why}"
    return alike(change, None, nearly, gains=True)


def _fallen(fall, level, nearly):
    """Verdict on (change of model 1, model 1 against background): it must fall, and to there."""
    if why := missing([*fall, *level], tested=False):
        return "not decided", why
    if not nearly:
        return _poor(level)
    if fall[0].high >= 0:
        verdict = "contradicted" if fall[0].low > -nearly else "not supported"
        return verdict, f"it does not fall: {said(fall, tested=False)}"
    verdict, why = alike(level, None, nearly)
    return verdict, f"it falls: {said(fall, tested=False)}; {why}"


def _fragments(result, found):
    """More pieces than without attack and than PGD has, and PGD fills the image: two halves of a claim."""
    clean, full = _of(found, "8")
    share = {reading: float(result.method(name, "goal").mean()) for reading, name in PGD.items()}
    halves = [ordered([each])[0] for each in (clean, full)]
    if halves[1] == "supported" and share["steps"] < FULL:
        halves[1] = "not supported"
    if "not decided" in halves:
        verdict = "not decided"
    elif halves[0] == halves[1]:
        verdict = halves[0]
    else:
        verdict = "partly supported" if set(halves) == {"supported", "not supported"} else "not supported"
    names = ("clean", "method one", *PGD.values())
    pieces, classes = ({name: result.method(name, what).mean() for name in names} for what in ("pieces", "classes"))
    words = ", ".join(
        f"{SAID.get(name, name)} {pieces[name]:.1f} pieces of {classes[name]:.1f} classes" for name in names
    )
    goal = (
        f"share of the class that PGD aims at {share['steps']:.3f} by free steps, {share['ball']:.3f} within the budget"
    )
    return verdict, f"{words}; {goal} (full area: {FULL:g}); {said([clean, full])}"
