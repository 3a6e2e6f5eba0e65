"""What D4 says of its models and methods (S4.13, S4.15), decided by paired comparisons over cases and seeds."""

from itertools import combinations

import numpy as np

from kseg.stats import compare
from kseg.studies.robust_measures import CLEAN, PGD, TEST, TRANSFERRED, UNTARGETED
from kseg.studies.robust_models import FOUR, ONE, ORIGINAL, OTHER, PLATEAU, TWO, UNION
from kseg.studies.verdicts import NEARLY, NONE, alike, ordered

ALIKE = 30.0  # dB: above it the noise of a picture is hard to see
MOST = 0.95  # of the images; of the pixels of a full-area prediction
SEEDS = 5  # of which equal signs by chance are rare enough (1 in 16) to be told as a finding
ATTACKED = (*TRANSFERRED, "white/ball", "white/steps", UNTARGETED)
WORDS = {
    "transfer/ball": "transferred, budget", "transfer/steps": "transferred, free steps",
    "white/ball": "white box, budget", "white/steps": "white box, free steps", UNTARGETED: "white box, untargeted",
}  # fmt: skip
NAMES = {
    TEST: "accuracy of all clean test images", "pieces": "pieces of the prediction",
    **{condition: f"accuracy, {words}" for condition, words in WORDS.items()},
    **{f"fall {condition}": f"change of accuracy, {words}" for condition, words in WORDS.items()},
}  # fmt: skip
TEXTS = {
    "1": "methods one and two leave the images visually alike",
    "2": "the clean accuracies of the four models are alike",
    "3": "under attack model 1 falls to the share of background",
    "4": "model 4 keeps its accuracy under attack",
    "5": "model 4 is more accurate under attack than model 2",
    "6": "model 3 is partly robust though it never saw PGD",
    "7": "model 4 is a little more accurate on clean images than model 1",
    "8": "method one gives fragmented predictions, PGD a full area",
    "9": "validation losses fluctuate less with a learning rate that adapts",
    "10": "models 2 to 4 lose less to transferred images than model 1 of another seed",
}
INTERVALS = ("2", "3", "4")  # claims that things are alike, which go by intervals and take part in no correction


def claims(result):
    """The verdicts: a list of dicts `claim`, `text`, `verdict`, `why`, `readings` and `comparisons`.

    The verdict of a claim about attacks is that of images made on model 1 within the budget, or by free steps if those
    take nothing from model 1; `readings` {condition: verdict} are those of all ways to attack.
    """
    pairs = _pairs(result)
    found = compare({key: pair for key, pair in pairs.items() if key[0] in INTERVALS})
    found |= compare({key: pair for key, pair in pairs.items() if key[0] not in INTERVALS})
    nearly = tolerance(result)
    decided = {
        "1": _visible(result), "2": (*alike(_of(found, "2"), NAMES), {}),
        "3": _under(found, "3", lambda these: _fallen(these, nearly), gated=False),
        "4": _under(found, "4", lambda these: alike(these, NAMES, nearly)), "5": _under(found, "5", _ordered),
        "6": _under(found, "6", _ordered), "7": (*ordered(_of(found, "7"), NAMES), {}),
        "8": _fragments(result, found), "9": _calm(result), "10": _under(found, "10", _ordered, TRANSFERRED),
    }  # fmt: skip
    return [
        {
            "claim": claim, "text": TEXTS[claim], "verdict": verdict, "why": why, "readings": readings,
            "comparisons": [each._asdict() for key, each in found.items() if key[0] == claim],
        }
        for claim, (verdict, why, readings) in decided.items()
    ]  # fmt: skip


def tolerance(result):
    """What counts as kept, or as fallen to background: `NEARLY`, or a quarter of what there is to lose if less."""
    room = result.mean(ORIGINAL, CLEAN, "accuracy")[0] - result.true_background().mean()
    return min(NEARLY, 0.25 * max(room, 0.0))


def _pairs(result):
    """{(claim, condition, ..): what `kseg.stats.compare` takes}; "gate" is what an attack takes from model 1."""

    def versus(what, first, second, values):
        return what, first, second, values(first), values(second)

    def accuracy(condition):
        return lambda label: result.scores(label, condition, "accuracy")

    share = {entry.seed: result.true_background() for entry in result.models(ORIGINAL)}
    pairs = {("2", TEST, *two): versus(TEST, *two, accuracy(TEST)) for two in combinations(FOUR, 2)}
    pairs["7", TEST] = versus(TEST, UNION, ORIGINAL, accuracy(TEST))
    for condition in ATTACKED:
        fall = f"fall {condition}"
        none = {entry.seed: 0 * result.true_background() for entry in result.models(ORIGINAL)}

        def falls(label, condition=condition):
            return result.falls(label, condition)

        pairs["gate", condition] = (fall, ORIGINAL, "none", falls(ORIGINAL), none)
        pairs["3", condition] = (condition, ORIGINAL, "background", accuracy(condition)(ORIGINAL), share)
        pairs["4", condition] = (fall, UNION, "none", falls(UNION), none)
        pairs["5", condition] = versus(condition, UNION, ONE, accuracy(condition))
        pairs["6", condition] = versus(fall, TWO, ORIGINAL, falls)
        for label in (ONE, TWO, UNION) if condition in TRANSFERRED and result.models(OTHER) else ():
            pairs["10", condition, label] = versus(fall, label, OTHER, falls)
    for name in ("clean", *PGD.values()):
        pairs["8", name] = versus("pieces", "method one", name, lambda each: _by_case(result, each))
    return pairs


def _by_case(result, name):
    """{seed: `[cases]`} of the pieces of predictions."""
    _, place = np.unique(result.case, return_inverse=True)
    number = np.bincount(place)
    seeds = [entry.seed for entry in result.models(ORIGINAL)]
    return {s: np.bincount(place, each) / number for s, each in zip(seeds, result.method(name, "pieces"), strict=True)}


def _of(found, claim, *which):
    return [each for key, each in found.items() if key[0] == claim and (not which or key[1] in which)]


def _ordered(comparisons):
    return ordered(comparisons, NAMES)


def _under(found, claim, judge, conditions=ATTACKED, gated=True):
    """Verdict under each way to attack that takes something from model 1; the first of them is the claim's."""
    readings = {}
    for condition in conditions:
        (taken,) = _of(found, "gate", condition)
        if claim == "3":
            readings[condition] = judge([taken, *_of(found, claim, condition)])
        elif gated and not taken.reversed:
            told = f"this attack does not surely take anything from model 1: {taken.said(NAMES)}"
            readings[condition] = ("not decided", told)
        else:
            readings[condition] = judge(_of(found, claim, condition))
    decided = [each for each in TRANSFERRED if readings[each][0] != "not decided"]
    chosen = decided[0] if decided else TRANSFERRED[0]
    verdict, why = readings[chosen]
    return verdict, f"{WORDS[chosen]}; {why}", {condition: each[0] for condition, each in readings.items()}


def _fallen(comparisons, nearly):
    """Verdict on (change of model 1, model 1 against background): it must fall, and to there."""
    taken, level = comparisons
    if not taken.decidable:
        return ordered([taken], NAMES)
    if not taken.reversed:
        return "contradicted" if taken.low > -nearly else "not supported", f"it does not fall: {taken.said(NAMES)}"
    verdict, why = alike([level], NAMES, nearly)
    return verdict, f"it falls: {taken.said(NAMES)}; {why}"


def _visible(result):
    told, verdicts = [], {}
    for name in dict.fromkeys(name for _, name in result.records):
        records = [record for (_, each), record in result.records.items() if each == name]
        psnr = np.concatenate([record["psnr"] for record in records])
        largest = np.concatenate([record["largest"] for record in records])
        share = float((psnr >= ALIKE).mean())
        verdicts[name] = share >= MOST
        told.append(
            f"{name}: {100 * share:.0f} % of {len(psnr)} images with at least {ALIKE:g} dB (median "
            f"{np.quantile(psnr, 0.5, method='inverted_cdf'):.1f} dB), largest change {100 * np.median(largest):.1f} % "
            f"of the range (median), {100 * largest.max():.1f} % (most)"
        )
    if not verdicts:
        return "not decided", "no images were perturbed", {}
    held = list(verdicts.values())
    verdict = "supported" if all(held) else "partly supported" if any(held) else "contradicted"
    least = -20 * np.log10(result.budget * len(result.classes))
    bound = f"the budget alone leaves {least:.0f} dB at least"
    return (
        verdict,
        f"alike: {100 * MOST:.0f} % of the images with {ALIKE:g} dB or more; {bound}; " + "; ".join(told),
        {},
    )


def _fragments(result, found):
    verdict, why = ordered(_of(found, "8"), NAMES)
    full = float(result.method(PGD["steps"], "goal").mean())
    names = ("clean", "method one", *PGD.values())
    if verdict == "supported" and full < MOST:
        verdict = "partly supported"
    pieces, classes = ({name: result.method(name, what).mean() for name in names} for what in ("pieces", "classes"))
    words = ", ".join(f"{name} {pieces[name]:.1f} pieces of {classes[name]:.1f} classes" for name in names)
    near = result.method(PGD["ball"], "goal").mean()
    goal = f"share of the class that PGD aims at {full:.3f} by free steps, {near:.3f} within the budget"
    return verdict, f"{words}; {goal} (full area: {MOST:g}); {why}", {}


def _calm(result):
    """Told, not tested, below `SEEDS` seeds."""
    if PLATEAU not in result.labels:
        return "not decided", NONE, {}
    adapted = result.fluctuation(PLATEAU)
    plain = {seed: value for seed, value in result.fluctuation(ORIGINAL).items() if seed in adapted}
    change = np.array([adapted[seed] - plain[seed] for seed in plain])
    if not np.isfinite(change).all():
        return "not decided", "too few epochs", {}
    rates = [result.histories[entry.name].get("learning_rate", [np.nan]) for entry in result.models(PLATEAU)]
    told = "; ".join(f"seed {seed}: {plain[seed]:.3f} plain, {adapted[seed]:.3f} adapted" for seed in plain)
    why = (
        "standard deviation of the changes from epoch to epoch over the mean, later half of the epochs; the rate "
        f"fell in {sum(min(each) < max(each) for each in rates)} of {len(rates)} runs; {told}"
    )
    if not all(min(each) < max(each) for each in rates):
        return "not decided", f"{why}; nothing adapted in some runs", {}
    if len(change) < SEEDS:
        return "not decided", f"{why}; {len(change)} seeds, {SEEDS} are needed", {}
    verdict = "supported" if (change < 0).all() else "contradicted" if (change > 0).all() else "not supported"
    return verdict, why, {}
