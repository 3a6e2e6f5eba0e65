"""What D4 says of its models and methods (S4.13, S4.15), decided by paired comparisons over cases and seeds."""

from itertools import combinations

import numpy as np

from kseg.stats import compare
from kseg.studies.robust_measures import CLEAN, PGD, UNTARGETED
from kseg.studies.robust_models import FOUR, ONE, ORIGINAL, PLATEAU, TWO, UNION
from kseg.studies.verdicts import NONE, alike, ordered

ALIKE = 30.0  # dB: above it the noise of a picture is hard to see
MOST = 0.95  # of the images; of the pixels of a full-area prediction
INTERVALS = ("2", "3", "4")
ATTACKED = ("transfer/ball", "transfer/steps", "white/ball", "white/steps", UNTARGETED)
NAMES = {
    "clean": "accuracy of clean images", "transfer/ball": "accuracy, transferred, budget",
    "transfer/steps": "accuracy, transferred, free steps", "white/ball": "accuracy, white box, budget",
    "white/steps": "accuracy, white box, free steps", "white/untargeted": "accuracy, white box, untargeted",
    "pieces": "pieces of the prediction",
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
    "9": "validation losses fluctuate, and less with a learning rate that adapts",
}


def claims(result):
    """The verdicts: a list of dicts `claim`, `text`, `verdict`, `why`, `readings` and `comparisons`.

    The verdict is that of images made on model 1 within the budget ("transfer/ball"); `readings` {condition: verdict}
    are those of all ways to attack, for claims that speak of attacks.
    """
    pairs = _pairs(result)
    # Claims that things are alike go by intervals alone, and take part in no correction.
    found = compare({key: pair for key, pair in pairs.items() if key[0] in INTERVALS})
    found |= compare({key: pair for key, pair in pairs.items() if key[0] not in INTERVALS})
    decided = {
        "1": _visible(result), "2": (*alike(_of(found, "2"), NAMES), {}), "3": _under(found, "3", alike),
        "4": _under(found, "4", alike), "5": _under(found, "5", ordered), "6": _partly(found),
        "7": (*ordered(_of(found, "7"), NAMES), {}), "8": _fragments(result, found), "9": _calm(result),
    }  # fmt: skip
    return [
        {
            "claim": claim, "text": TEXTS[claim], "verdict": verdict, "why": why, "readings": readings,
            "comparisons": [each._asdict() for key, each in found.items() if key[0] == claim],
        }
        for claim, (verdict, why, readings) in decided.items()
    ]  # fmt: skip


def _pairs(result):
    """{(claim, condition, ..): what `kseg.stats.compare` takes}."""

    def accuracy(label, condition):
        return result.scores(label, condition, "accuracy")

    def versus(first, second, condition):
        return (condition, first, second, accuracy(first, condition), accuracy(second, condition))

    share = {entry.seed: result.true_background for entry in result.models(ORIGINAL)}
    have, pairs = [label for label in FOUR if label in result.labels], {}
    for first, second in combinations(have, 2):
        pairs["2", CLEAN, first, second] = versus(first, second, CLEAN)
    pairs["7", CLEAN] = versus(UNION, ORIGINAL, CLEAN)
    for condition in ATTACKED:
        pairs["3", condition] = (condition, ORIGINAL, "background", accuracy(ORIGINAL, condition), share)
        clean = accuracy(UNION, CLEAN)
        pairs["4", condition] = (condition, UNION, "itself, clean", accuracy(UNION, condition), clean)
        pairs["5", condition] = versus(UNION, ONE, condition)
        pairs["6", condition, ORIGINAL] = versus(TWO, ORIGINAL, condition)
    pairs["8", "pieces"] = ("pieces", "method one", PGD, _by_case(result, "method one"), _by_case(result, PGD))
    return pairs


def _by_case(result, name):
    """{seed: `[cases]`} of the pieces of predictions."""
    _, place = np.unique(result.case, return_inverse=True)
    number = np.bincount(place)
    seeds = [entry.seed for entry in result.models(ORIGINAL)]
    return {s: np.bincount(place, each) / number for s, each in zip(seeds, result.method(name, "pieces"), strict=True)}


def _of(found, claim, *which):
    return [each for key, each in found.items() if key[0] == claim and (not which or key[1] in which)]


def _under(found, claim, judge):
    """Verdict under each way to attack; the first is the claim's."""
    readings = {condition: judge(_of(found, claim, condition), NAMES) for condition in ATTACKED}
    verdict, why = readings[ATTACKED[0]]
    return verdict, why, {condition: each[0] for condition, each in readings.items()}


def _partly(found):
    verdict, why, readings = _under(found, "6", ordered)
    return verdict, f"robust: more accurate under attack than model 1; {why}", readings


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
            f"{np.median(psnr):.1f} dB), largest change {100 * np.median(largest):.1f} % of the range (median), "
            f"{100 * largest.max():.1f} % (most)"
        )
    if not verdicts:
        return "not decided", "no images were perturbed", {}
    held = list(verdicts.values())
    verdict = "supported" if all(held) else "partly supported" if any(held) else "contradicted"
    return verdict, f"alike: {100 * MOST:.0f} % of the images with {ALIKE:g} dB or more; " + "; ".join(told), {}


def _fragments(result, found):
    verdict, why = ordered(_of(found, "8"), NAMES)
    goal = result.method(PGD, "goal")
    full = float(goal.mean())
    classes = {name: result.method(name, "classes").mean() for name in ("clean", "method one", PGD)}
    pieces = {name: result.method(name, "pieces").mean() for name in classes}
    if verdict == "supported" and full < MOST:
        verdict = "partly supported"
    words = ", ".join(f"{name} {pieces[name]:.1f} pieces of {classes[name]:.1f} classes" for name in classes)
    return verdict, f"{words}; share of the class that PGD aims at {full:.3f} (full area: {MOST:g}); {why}", {}


def _calm(result):
    if PLATEAU not in result.labels:
        return "not decided", NONE, {}
    plain, adapted = result.fluctuation(ORIGINAL), result.fluctuation(PLATEAU)
    change = np.array([adapted[seed] - plain[seed] for seed in plain if seed in adapted])
    if not len(change) or not np.isfinite(change).all():
        return "not decided", "too few epochs", {}
    verdict = "supported" if (change < 0).all() else "contradicted" if (change > 0).all() else "not supported"
    told = "; ".join(f"seed {seed}: {plain[seed]:.3f} plain, {adapted[seed]:.3f} adapted" for seed in plain)
    return verdict, (
        "standard deviation of the changes from epoch to epoch over the mean, later half of the epochs; by the sign of "
        f"all seeds, not tested: {told}"
    ), {}  # fmt: skip
