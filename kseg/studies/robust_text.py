"""The page of D4's study, in Markdown."""

import numpy as np

from kseg.configs import RobustTraining
from kseg.studies.markdown import reproduced, table
from kseg.studies.robust_claims import ATTACKED
from kseg.studies.robust_measures import CLEAN, PGD, TEST, TRANSFERRED
from kseg.studies.robust_models import EXTRAS, FLY, FOUR, FREE, ORIGINAL, OTHER, PLATEAU, UNION
from kseg.studies.robust_page import FIGURES, SHORT
from kseg.studies.verdicts import NEARLY

# S4.12: {kind of model: ((loss, accuracy) clean, (loss, accuracy) attacked)}.
DOCUMENT = dict(zip(FOUR, (
    ((0.4959, 0.8748), (2.3628, 0.8087)), ((0.5029, 0.8655), (0.5068, 0.8662)),
    ((0.8410, 0.8769), (1.4774, 0.8386)), ((0.7059, 0.8738), (0.7205, 0.8726)),
), strict=True))  # fmt: skip
CLASSWISE = (CLEAN, "transfer/ball", "white/ball")
HOW = (
    "Differences are paired by case. The interval resamples seeds and cases together (95 %); p is of a sign-flip "
    "test over cases, means over seeds, after Holm's correction for all comparisons that are tested (claims 5 to 8 "
    "and 10, and whether each attack takes anything from model 1). A comparison holds if both agree; with few seeds "
    "an interval is narrower than it says, and cases may have more in common than the test knows. A claim is "
    "*supported* if all its comparisons hold, *contradicted* if all hold the other way round, *partly supported* if "
    "some hold and none the other way round, else *not supported*. Claims that things are alike (2 to 4) go by "
    f"intervals alone: within {NEARLY} for clean accuracies, and for attacks within a quarter of what model 1 has "
    f"above the share of background if that is less, else {NEARLY}; contradicted if one lies wholly outside. What an "
    "attack leaves of a model says nothing where it takes nothing from model 1: then the claim is not decided by it. "
    "The verdict is that of transferred images within the budget, or by free steps where those of the budget decide "
    "nothing; the second table tells all of them. The document's fall of model 1 to the share of background is what "
    "free steps do."
)
READ = {
    "methods.png": "The change of each row is amplified by the factor below it.",
    "losses.png": "Thin: each seed; thick: their mean. Validation images are the unchanged ones for every model.",
    "attacked.png": "The first seed. Background is black.",
    "scores.png": "Markers: means over seeds and cases; bars: 95 %.",
    "reliability.png": "Points of less than a thousandth of the pixels are left out; all seeds together.",
}


def page(result, decided, record, figures, folder="."):
    """The page on a study.

    Args:
        result: Result.
        decided: of `robust_claims.claims`.
        record: of the run folder, for how it was made.
        figures: names of the figures that there are.
        folder: where they are, seen from the page.
    """
    verdicts = [
        [f"**{each['claim']}** {each['text']}", each["verdict"], each["why"].replace("; ", "<br>")] for each in decided
    ]
    lines = ["# Training on attacked and fortified images", "", *_made(result, record), ""]
    lines += ["## What is left", "", *_answer(result), "", *_overview(result)]
    lines += ["## Tables 1 and 2", "", *_tables(result)]
    lines += ["## What the document says, decided", "", *reproduced(decided)]
    lines += [*table(["claim", "verdict", "numbers"], verdicts), *_readings(decided), HOW, ""]
    lines += ["## Figures", ""]
    for name in figures:
        lines += [f"### {FIGURES[name]}", "", f"![{FIGURES[name]}]({folder}/{name})", ""]
        lines += [READ[name], ""] if name in READ else []
    lines += ["## Classes", "", *_classes(result), "## Calibration", "", *_calibration(result)]
    return "\n".join([*lines, "## What the methods did", "", *_methods(result), *_choices(result)])


def _made(result, record):
    config = {name: value for name, value in record["config"].items() if name not in ("resume", "output", "overwrite")}
    config, versions = RobustTraining(**config), record["versions"]
    budget = f"{100 * config.budget:g} %"
    told = [
        f"`{config.command()}` (kseg {record['kseg']}, TensorFlow {versions['tensorflow']}, Keras "
        f"{versions['keras']}): {len(result.entries)} models, {len(result.case)} test images with foreground from "
        f"{len(set(result.case))} cases.",
        "",
        f"Models of a seed start from the same weights. *{ORIGINAL}* takes {config.epochs} epochs in batches of "
        f"{config.batch_size} ({config.loss}, Adam at {config.learning_rate:g}, {config.filters} filters, "
        f"{config.depth} poolings); models 2 and 3 see only the images that methods one ({config.steps} steps a class) "
        f"and two ({config.search} search) made of them for model 1, budget {budget} of the range for each class; "
        f"*{UNION}* sees all three for a third of the passes. All take as many updates, and look at the unchanged "
        "validation images as often; of each model the epoch of best validation Dice is kept.",
    ]
    if set(EXTRAS) & set(result.labels):
        told += [
            "",
            f"*{FLY}* makes the three kinds anew in every step, of the model as it is then ({config.fly_steps} steps "
            f"of method one, a narrow beam for method two); *{FREE}* is free adversarial training with "
            f"{config.replays} replays within {budget}; *{PLATEAU}* halves the learning rate where the validation loss "
            "does not improve. Of these there is one each, of seed 0.",
        ]
    return [
        *told,
        "",
        f"The evaluation attack takes {config.attack_steps} steps towards background all over: within a *budget* of "
        f"{budget} by steps of a quarter of it, or by *free steps* of {budget} each. *Transferred* images are made on "
        "model 1 of the seed, *white box* ones on each model itself. *Untargeted* climbs the loss of the truth within "
        "the budget (APGD, half the steps). *Clean* are the same images as they are; Table 1 is of all test images.",
    ]


def _answer(result):
    def mean(label, condition):
        return result.mean(label, condition, "accuracy")[0]

    share, told = result.true_background().mean(), []
    for condition in (CLEAN, "transfer/ball", "white/ball", ATTACKED[-1]):
        best, worst = (pick(result.labels, key=lambda each: mean(each, condition)) for pick in (max, min))
        name = SHORT[condition].replace("\n", " ")
        told.append(
            f"{name}: from {mean(worst, condition):.3f} (*{worst}*) to {mean(best, condition):.3f} (*{best}*), "
            f"*{ORIGINAL}* {mean(ORIGINAL, condition):.3f}"
        )
    lines = [
        f"Background is {100 * share:.1f} % of the pixels: so accurate is who calls everything background. Pixel "
        f"accuracy, {'; '.join(told)}."
    ]
    poor = {label: result.mean(label, CLEAN, "foreground_dice")[0] for label in result.labels}
    few = ", ".join(f"{label} {value:.2f}" for label, value in poor.items() if value < 0.5)
    return lines + (["", f"Little is found of the foreground on clean images: Dice {few}."] if few else [])


def _overview(result):
    lines = []
    for score, words in (("accuracy", "Pixel accuracy"), ("foreground_dice", "Dice of the foreground")):
        head = ["model", *(each.replace("\n", " ") for each in SHORT.values())]
        rows = [
            [_counted(result, label), *(_cell(result.mean(label, c, score)) for c in SHORT)] for label in result.labels
        ]
        if result.controls:
            known = {c: _cell(result.mean(OTHER, c, score)) for c in (CLEAN, *TRANSFERRED)}
            rows.append([OTHER, *(known.get(c, "") for c in SHORT)])
        lines += [f"{words}, mean over seeds and cases (95 %):", "", *table(head, rows)]
    return lines


def _counted(result, label):
    """A kind of models, and that there is one of it where there are more of others."""
    most = max(len(result.models(other)) for other in result.labels)
    return f"{label} (one model)" if len(result.models(label)) == 1 < most else label


def _cell(values):
    mean, low, high = values
    if not np.isfinite([low, high]).all():
        return f"{mean:.3f}"
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in (low, high))
    return f"{mean:.3f} ({low}-{high})"


def _tables(result):
    lines = []
    for number, condition in ((1, TEST), (2, "transfer/ball"), (2, "transfer/steps"), (2, "white/ball")):
        rows = []
        for label in result.labels:
            loss, accuracy = (result.mean(label, condition, score)[0] for score in ("loss", "accuracy"))
            theirs = DOCUMENT.get(label)
            theirs = [f"{value:.4f}" for value in theirs[number - 1]] if theirs else ["", ""]
            rows.append([_counted(result, label), f"{loss:.4f}", f"{accuracy:.4f}", *theirs])
        name = SHORT.get(condition, "all test images").replace("\n", " ")
        head = ["model", "loss", "accuracy", "document: loss", "document: accuracy"]
        lines += [f"Table {number}, {name}:", "", *table(head, rows)]
    return [*lines, "The document's data, model and number of pixels are others: compare the order and the signs.", ""]


def _readings(decided):
    rows = [
        [f"**{each['claim']}** {each['text']}", *(each["readings"].get(condition, "") for condition in ATTACKED)]
        for each in decided
        if each["readings"]
    ]
    return table(["claim", *(SHORT[condition].replace("\n", " ") for condition in ATTACKED)], rows)


def _classes(result):
    lines = []
    for condition in CLASSWISE:
        rows = [[label, *(f"{value:.3f}" for value in result.per_class(label, condition))] for label in result.labels]
        name = SHORT[condition].replace("\n", " ")
        lines += [f"IoU of each class, {name}; mean over seeds and the cases whose mask or prediction has it:", ""]
        lines += table(["model", *result.classes], rows)
    return lines


def _calibration(result):
    rows = []
    for label in result.labels:
        cells = []
        for condition in CLASSWISE:
            found = result.calibration(label, condition)
            cells += [f"{found['ece'][0]:.3f}", f"{found['brier'][0]:.3f}"]
        rows.append([label, *cells])
    names = [SHORT[condition].replace("\n", " ") for condition in CLASSWISE]
    head = ["model", *(f"{kind}, {name}" for name in names for kind in ("ECE", "Brier"))]
    return [
        "Expected calibration error of the most probable class (15 bins) and Brier score, over all pixels; means over "
        "seeds.", "", *table(head, rows),
    ]  # fmt: skip


def _methods(result):
    rows = []
    for (seed, name), record in sorted(result.records.items(), key=lambda item: (item[0][1], item[0][0])):
        before, after = (record[f"loss_{when}"].mean() for when in ("before", "after"))
        accuracy = [record[f"agreement_{when}"].mean() for when in ("before", "after")]
        psnr = np.quantile(record["psnr"], (0.05, 0.5), method="inverted_cdf")
        largest = np.median(record["largest"])
        rows.append([
            name, str(seed), f"{before:.3f} to {after:.3f}", f"{accuracy[0]:.3f} to {accuracy[1]:.3f}",
            f"{100 * largest:.1f} %", f"{psnr[1]:.1f} ({psnr[0]:.1f})",
        ])  # fmt: skip
    head = ["method", "seed", "loss of model 1", "accuracy of model 1", "largest change, median",
            "PSNR in dB, median (5th percentile)"]  # fmt: skip
    lines = ["Training images, of the range of values:", "", *table(head, rows)]
    rows = []
    for name in ("clean", "method one", "method two", *PGD.values()):
        pieces, classes = (result.method(name, what).mean() for what in ("pieces", "classes"))
        goal = f"{result.method(name, 'goal').mean():.3f}" if name in PGD.values() else ""
        psnr = np.quantile(result.method(name, "psnr"), 0.5, method="inverted_cdf")
        psnr = "" if name == "clean" else f"{psnr:.1f}"
        rows.append([name, f"{pieces:.1f}", f"{classes:.2f}", goal, psnr])
    head = ["test images after", "pieces of the prediction", "classes predicted", "share of the class aimed at", "PSNR"]
    return [*lines, "Test images shown to model 1 (S4.15):", "", *table(head, rows)]


def _choices(result):
    """How often method two took away, left out and added the step of each class (S4.6)."""
    chosen = [record["choices"] for (_, name), record in result.records.items() if "choices" in record]
    if not chosen:
        return []
    chosen = np.concatenate(chosen)
    rows = [
        [name, *(f"{100 * (chosen[:, k] == value).mean():.1f} %" for value in (-1, 0, 1))]
        for k, name in enumerate(result.classes)
    ]
    unchanged = 100 * (chosen == 0).all(axis=1).mean()
    return [
        f"Choices of method two over {len(chosen)} training images (S4.6); {unchanged:.1f} % are left as they are:", "",
        *table(["class", "-1", "0", "+1"], rows),
    ]  # fmt: skip
