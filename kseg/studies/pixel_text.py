"""The page of the pixel study, in Markdown."""

import numpy as np

from kseg.configs import PixelRobustness
from kseg.stats import crossed_interval
from kseg.studies.markdown import reproduced, table
from kseg.studies.pixel_claims import FOUR, UNDER_ATTACK
from kseg.studies.pixel_data import KEPT_SHARE
from kseg.studies.pixel_measures import COUNTS, FEW, LEVELS
from kseg.studies.pixel_models import CUTOUT, SALIENT, SIDE
from kseg.studies.pixel_table import statistics
from kseg.studies.verdicts import NEARLY, TESTED

CELLS = (
    "Clean Dice: mean over test cases, all slices of a case together. The others: mean height of the curve as a share "
    "of the model's clean Dice on the attacked images; 1 is a Dice that no attack changes. In brackets 95 % over seeds "
    "and cases. A kind of which there is one model is to be compared with its own seed alone, as above, and not with "
    "means over seeds: seeds of one kind differ by more than most kinds do."
)
HOW = (
    f"{TESTED} Holm's correction is over all comparisons of claims 1 to 5. Robustness is the mean height of a curve as "
    "a share of the model's own clean Dice (claims 3 and 4) or as it is (claim 5). Claim 6 is told, not tested: four "
    "losses have too few orders for a test; it is supported if all correlations of the probability's gradients are "
    "above 0 in every seed. Claim 7: nearly equal means that the interval of every difference is within "
    f"{NEARLY}. The intervals of the tables resample seeds and cases, and are too narrow where seeds are few."
)
POOR = 0.6  # clean Dice
BEYOND = ("level", "count", "noise")  # B to D; A is a part of B
READ = {
    "figure1.png": "One test image. The scale of each gradient stands at its colour bar.",
    "figure2.png": "Solid: pixels of highest gradient. Dashed: as many random ones. Bands: 95 % over seeds and cases. "
    "Left of 0: without an attack.",
    "figure3.png": "Hollow: what the document gives in words.",
    "figure4.png": "The slice with most foreground, which holds out longer than most. Under each mask its "
    "Dice, and in brackets (r) that of as many random pixels at the same level.",
    "selectors.png": "The first three are gradients of the summed probability (as in the other figures), of the summed "
    "logit, and of the probability summed over the predicted foreground; then that of the loss, and other maps. All "
    "but the first four are of the first seed alone. Dashed: random pixels.",
    "spread.png": "Each marker is one model. The correlations are those of the four losses. Spread is the "
    "participation ratio (sum |g|)^2 / (n sum g^2). Hollow: what random pixels leave.",
}


def summary_rows(result):
    """Rows of the overview: model, clean Dice, mean height of its curves, and of that of random pixels, as words."""
    rows = []
    for label in result.labels:
        entries = result.models(label)
        cells = [np.stack([result.clean(entry) for entry in entries])]
        cells += [np.stack([result.area(entry, what) for entry in entries]) for what in UNDER_ATTACK]
        cells += [np.stack([result.area(entry, "level", order="random") for entry in entries])]
        cells += [np.stack([result.measures[entry.name]["clean/accuracy"] for entry in entries])]
        rows.append([_counted(result, label), *map(_cell, cells)])
    return rows


def _counted(result, label):
    """A kind of models, and that there is one of it where there are more of others."""
    most = max(len(result.models(other)) for other in result.labels)
    return f"{label} (one model)" if len(result.models(label)) == 1 < most else label


def _cell(values):
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in crossed_interval(values))
    return f"{np.nanmean(values):.3f} ({low}-{high})"


def page(result, decided, record, figures, folder="."):
    """The page on a study.

    Args:
        result: Result.
        decided: of `pixel_claims.claims`.
        record: of the run folder, for how it was made.
        figures: {file name: heading}.
        folder: where the figures are, seen from the page.
    """
    head = ["model", "clean Dice of whole cases", "A: level within the range", "B: level up to five times it",
            "C: count", "D: random values", "B at random pixels", "clean pixel accuracy"]  # fmt: skip
    claims = [
        [f"**{each['claim']}** {each['text']}", each["verdict"], each["why"].replace("; ", "<br>")] for each in decided
    ]
    lines = ["# Losses, gradients and single pixels", "", *_made(result, record), ""]
    lines += ["## Which loss?", "", _answer(result), "", *table(head, summary_rows(result)), CELLS, ""]
    lines += [poor(result), ""] if poor(result) else []
    lines += ["## How much is left, by the pixels that are chosen", "", *_orders(result)]
    lines += ["## What the document says, decided", "", *reproduced(decided)]
    lines += [*table(["claim", "verdict", "numbers"], claims), HOW, ""]
    lines += ["## Figures", ""]
    for name, heading in figures.items():
        lines += [f"### {heading}", "", f"![{heading}]({folder}/{name})", ""]
        lines += [READ[name], ""] if name in READ else []
    return "\n".join([*lines, "## Gradients in numbers", "", *_statistics(result)])


def _made(result, record):
    config = {name: value for name, value in record["config"].items() if name not in ("resume", "output", "overwrite")}
    config["models"] = config["models"] and tuple(config["models"])
    command, versions = PixelRobustness(**config).command(), record["versions"]
    told = [
        f"`{command}` (kseg {record['kseg']}, TensorFlow {versions['tensorflow']}, Keras {versions['keras']}): "
        f"{len(result.entries)} models, {len(result.case)} test images with foreground from {len(set(result.case))} "
        f"cases, values from 0 to {result.unit:g}. The pixels of highest gradient of the summed foreground probability "
        f"are found once, on the clean image, and replaced: {FEW} pixels by rising values (A: up to {result.unit:g}, "
        f"B: up to {LEVELS[-1] * result.unit:g}), 1 to {COUNTS[-1]} pixels by {result.unit:g} (C) and by random "
        f"values from 0 to {LEVELS[-1] * result.unit:g} (D, {config['draws']} draws).",
    ]
    if not config["models"]:
        told += [
            "",
            "Models of a seed start from the same weights and see the images in the same order: "
            f"{config['epochs']} epochs in batches of {config['batch_size']}, {config['filters']} filters, "
            f"{config['depth']} poolings, a sigmoid.",
        ]
    if CUTOUT in result.labels:
        told += [
            "",
            f"*{CUTOUT}* hides a square of {SIDE:g} of the image's side in each training image; *{SALIENT}* is trained "
            f"on the {KEPT_SHARE:.0%} of pixels of highest gradient alone and sees whole images here."
            + ("" if config["models"] else " Of both there is one model, of the first seed."),
        ]
    return told


def _answer(result):
    """The order of the models, in words."""
    labels = [label for label in result.labels if label in FOUR]
    if len(labels) < 2:
        return "Fewer than two of the four losses were compared."
    clean = {label: np.mean([np.nanmean(result.clean(e)) for e in result.models(label)]) for label in labels}
    kept = {
        label: np.mean([result.area(e, what).mean() for e in result.models(label) for what in BEYOND])
        for label in labels
    }
    order, robust = (sorted(labels, key=values.get, reverse=True) for values in (clean, kept))
    told = ", ".join(f"{label} {clean[label]:.3f}" for label in order)
    left = ", ".join(f"{label} {kept[label]:.2f}" for label in robust)
    return (
        f"On clean images: {told}. Under attack, the share of the clean Dice that is left, mean over B to D: {left}. "
        "The verdicts below say which of these differences hold over these seeds and cases." + _further(result)
    )


def poor(result):
    """A warning of models that find too little for a share of it to mean anything; "" if there are none."""
    few = {
        label: found for label in result.labels
        if (found := np.mean([np.nanmean(result.clean(entry)) for entry in result.models(label)])) < POOR
    }  # fmt: skip
    told = ", ".join(f"{label} {found:.2f}" for label, found in few.items())
    return f"Clean Dice below {POOR:g} ({told}): of so little a share near 1 is no robustness." if few else ""


def _further(result):
    """What the other trainings of BCE+Dice change, beside it, of the same seeds."""
    told = []
    for label in (CUTOUT, SALIENT):
        pairs = [(e, o) for e in result.models(label) for o in result.models("bce+dice") if e.seed == o.seed]
        if not pairs:
            continue
        clean = np.stack([result.clean(e) - result.clean(o) for e, o in pairs])
        kept = np.stack([
            np.mean([result.area(e, what) - result.area(o, what) for what in BEYOND], axis=0) for e, o in pairs
        ])  # fmt: skip
        told.append(f" {label} against bce+dice of the same seed: clean Dice {_change(clean)}, left {_change(kept)}.")
    return "".join(told)


def _change(values):
    low, high = crossed_interval(values)
    return f"{np.nanmean(values):+.3f} ({low:+.3f} to {high:+.3f})"


def _orders(result):
    """Mean height of the curves by order, and where nothing at all is found."""
    orders = ("signed", "absolute", "lowest", "random")
    lines = [
        "Share of the clean Dice that is left, mean over B and C; and the share of images in which no foreground "
        f"at all is found when {COUNTS[-1]} pixels take random values.",
        "",
    ]
    rows = []
    for label in result.labels:
        entries = result.models(label)
        kept = [
            np.mean([result.area(entry, what, order=order).mean() for entry in entries for what in ("level", "count")])
            for order in orders
        ]
        none = ", ".join(f"{result.missed(entry, 'noise')[-1]:.0%}" for entry in entries)
        rows.append([_counted(result, label), *(f"{share:.3f}" for share in kept), none])
    return lines + table(["model", *orders, "nothing found, by seed"], rows)


def _statistics(result):
    shared = ", ".join(
        f"{label} {np.mean([result.overlap(entry) for entry in result.models(label)]):.0%}" for label in result.labels
    )
    lines = [
        "*largest* |g|; *participation* ratio (sum |g|)^2 / (n sum g^2), 1 for a gradient spread evenly; *share above* "
        "a tenth of the largest; *sharpness*, mean slope of g from pixel to pixel by the largest |g|; *top distance*, "
        "mean distance of the 30 largest in pixels; *soft margin*, the share of pixels of 0.1 < p < 0.9.",
        "",
        f"Of the {FEW} pixels of highest gradient of the probability, so many are among those of the logit: {shared}. "
        "Where a model is sure, the gradient of its probability vanishes and that of its logit does not; the largest "
        "|g| tells how far.",
        "",
    ]
    for output, values in statistics(result).items():
        rows = [[label, *(f"{np.mean(values[name][label]):.3g}" for name in values)] for label in result.labels]
        lines += [f"Of the summed {output}, mean over images and seeds:", ""]
        lines += table(["model", *(name.replace("_", " ") for name in values)], rows)
    return lines
