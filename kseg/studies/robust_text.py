"""The page of D4's study, in Markdown."""

import numpy as np

from kseg.configs import RobustTraining
from kseg.studies import robust_details
from kseg.studies.markdown import reproduced, table
from kseg.studies.robust_claims import FULL, SCORED
from kseg.studies.robust_gates import ATTACKED
from kseg.studies.robust_measures import CLEAN, TEST, TRANSFERRED
from kseg.studies.robust_models import EXTRAS, FLY, FOUR, FREE, ORIGINAL, OTHERS, PLATEAU, UNION
from kseg.studies.robust_page import FIGURES, SHORT
from kseg.studies.robust_told import SIGNS
from kseg.studies.verdicts import NEARLY, TESTED

# S4.12: {kind of model: ((loss, accuracy) clean, (loss, accuracy) attacked)}.
DOCUMENT = dict(zip(FOUR, (
    ((0.4959, 0.8748), (2.3628, 0.8087)), ((0.5029, 0.8655), (0.5068, 0.8662)),
    ((0.8410, 0.8769), (1.4774, 0.8386)), ((0.7059, 0.8738), (0.7205, 0.8726)),
), strict=True))  # fmt: skip
HOW = f"""{TESTED}

- First it is asked which attacks surely lower the foreground Dice of model 1 (for claim 10, of model 1 of another
  seed). That is the gate to claims 4 to 6, 10 and 11: an attack that does not decides none of them, since what it
  leaves of others says nothing. Where that is barely sure, chance favours the other models. Holm's correction is over
  these questions; over the comparisons by one score that verdicts go by; and over those of all other ways to attack.
- The verdict is that of accuracy, and of transferred images within the budget, or by free steps where those of the
  budget take nothing. The further tables tell all ways, and the same by the Dice of the foreground, which background
  does not hide.
- Claims that things are alike (2 to 4) go by intervals alone: within {NEARLY} for clean accuracies, and for attacks
  within a quarter of what model 1 has above the share of background (of its Dice, by Dice) if that is less, else
  {NEARLY}; contradicted if one lies wholly outside, of claim 4 below: to gain is to keep. Claim 4 is not decided where
  model 1 keeps as much; claim 3 is contradicted where model 1 hardly falls.
- Claim 8 has two halves: method one gives more pieces than there are without attack; PGD by free steps gives fewer
  than method one, of one class in {100 * FULL:g} % of the pixels. Claims 1 and 9 are told, not tested: by shares of
  images, and by equal signs in {SIGNS} seeds or more.
- All models of a seed begin with the same weights, which alone may make images of model 1 hurt or spare the others.
  Models *of another seed* are shown the images that were made on model 1 of the seed before (in cases.csv they stand
  under the seed of the images): only they tell what training on perturbed images is worth against images made
  elsewhere. Each seed occurs twice in these, by its images and by its models; where both vary together, p of claim 10
  and of its gate are too small.
- Intervals of the tables and figures resample seeds and cases, and are too narrow where seeds are few."""
READ = {
    "methods.png": "The change of each row is amplified by the factor below it.",
    "losses.png": "Thin: each seed; thick: their mean. Validation images are the unchanged ones for every model.",
    "attacked.png": "The first seed. Background is black.",
    "scores.png": "Markers: means over seeds and cases; bars: 95 %.",
    "transfer.png": "Images made on model 1 of a seed, shown to models that began with its weights, and to those of "
    "another seed.",
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
        [f"**{each['claim']}** {marked(each)}", each["verdict"], each["why"].replace("; ", "<br>")] for each in decided
    ]
    lines = ["# Training on attacked and fortified images", "", *_made(result, record), ""]
    lines += ["## What is left", "", *_answer(result), "", *_overview(result)]
    lines += ["## Tables 1 and 2", "", *_tables(result)]
    lines += ["## What the document says, decided", ""]
    lines += reproduced([each for each in decided if not each["ours"]])
    further = "; ".join(f"{each['text']} ({each['claim']}, {each['verdict']})" for each in decided if each["ours"])
    lines += [f"Asked beyond the document: {further}.", ""]
    lines += table(["claim", "verdict", "numbers"], verdicts)
    lines += [*robust_details.gates(decided), *_readings(decided), HOW, ""]
    lines += ["## Figures", ""]
    for name in figures:
        lines += [f"### {FIGURES[name]}", "", f"![{FIGURES[name]}]({folder}/{name})", ""]
        lines += [READ[name], ""] if name in READ else []
    lines += [
        "## Classes",
        "",
        *robust_details.classes(result),
        "## Calibration",
        "",
        *robust_details.calibration(result),
    ]
    return "\n".join(
        [*lines, "## What the methods did", "", *robust_details.methods(result), *robust_details.choices(result)]
    )


def marked(claim):
    """The text of a claim; of one that is not the document's it says so."""
    return f"{claim['text']} (ours)" if claim["ours"] else claim["text"]


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
            f"*{FLY}* makes the three kinds anew in every step, of the model as it is then ({config.fly_steps} "
            f"step{'s' * (config.fly_steps > 1)} of method one, a narrow beam for method two); *{FREE}* is free "
            "adversarial training with "
            f"{config.replays} replays within {budget}, with as many updates but for rounding (and as few images as "
            f"that leaves); *{PLATEAU}* halves the learning rate where the validation loss does not improve. Of models "
            "5 and 6 there is one each, of seed 0.",
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
        best, worst = (pick(result.often, key=lambda each: mean(each, condition)) for pick in (max, min))
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
        lines += [f"{words}, mean over seeds and cases (95 %):", "", *_grid(result, result.often, score, SHORT)]
        if result.controls:
            others = _grid(result, OTHERS.values(), score, (CLEAN, *TRANSFERRED))
            lines += [f"{words}, of images made on model 1 of another seed than the model's own:", "", *others]
        if len(result.often) < len(result.labels):
            first = result.only(result.entries[0].seed)
            lines += [
                f"{words} of seed {result.entries[0].seed} alone, of which there are all kinds of models:", "",
                *_grid(first, first.labels, score, SHORT),
            ]  # fmt: skip
    return lines


def _grid(result, labels, score, conditions):
    rows = [[label, *(_cell(result.mean(label, c, score)) for c in conditions)] for label in labels]
    return table(["model", *(SHORT[c].replace("\n", " ") for c in conditions)], rows)


def _cell(values):
    mean, low, high = values
    if not np.isfinite([low, high]).all():
        return f"{mean:.3f}"
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in (low, high))
    return f"{mean:.3f} ({low}-{high})"


def _tables(result):
    lines = []
    for number, condition in ((1, TEST), *((2, condition) for condition in ATTACKED)):
        rows = []
        for label in result.labels:
            loss, accuracy = (result.mean(label, condition, score)[0] for score in ("loss", "accuracy"))
            theirs = DOCUMENT.get(label, ((), ()))[number - 1] if condition in (TEST, *TRANSFERRED) else None
            cells = () if theirs is None else [f"{value:.4f}" for value in theirs] or ["", ""]
            rows.append([result.counted(label), f"{loss:.4f}", f"{accuracy:.4f}", *cells])
        name = SHORT.get(condition, "all test images").replace("\n", " ")
        head = ["model", "loss", "accuracy"] + ["document: loss", "document: accuracy"] * (theirs is not None)
        lines += [f"Table {number}, {name}:", "", *table(head, rows)]
    return [*lines, "The document's data, model and number of pixels are others: compare the order and the signs.", ""]


def _readings(decided):
    lines = []
    for key, score in zip(("readings", "dice"), SCORED.values(), strict=True):
        rows = [
            [f"**{each['claim']}** {marked(each)}", *(each[key].get(condition, "") for condition in ATTACKED)]
            for each in decided
            if each[key]
        ]
        lines += [f"By each way to attack, judged by {score}:", ""]
        lines += table(["claim", *(SHORT[condition].replace("\n", " ") for condition in ATTACKED)], rows)
    return lines
