"""The page of an evaluation of attacks, in Markdown."""

from dataclasses import replace

import numpy as np

from kseg.attacks import ATTACKS
from kseg.studies.attack_page import LABELS, example_files
from kseg.studies.attack_questions import MEANING, SUSPICIOUS, UNCHECKED
from kseg.studies.attack_scores import DRAWS, background_shares, percent
from kseg.studies.markdown import table

UNITS = {
    "linf": "the largest change of a value", "l2": "the root mean square of the changes",
    "l1": "the mean size of the changes",
}  # fmt: skip
OF_CLASSES = ("layered", "selective")  # whose budget is that of each class
PIVOTS = ("mean_iou", "foreground_dice", "accuracy", "loss")


def page(result, record, config):
    """The page on a Result.

    Args:
        result: Result.
        record: of the run folder, for how it was made.
        config: `kseg.configs.Attack`.
    """
    lines = [f"# Attacks on {config.model}", "", *_made(result, record, config), "", *_answer(result), ""]
    lines += ["## What is left", "", "![Scores against the budget](curves.png)", ""]
    for score in PIVOTS if result.attacks else ():
        lines += [f"### {LABELS[score][0].upper()}{LABELS[score][1:]}", "", *_pivot(result, score)]
    lines += ["### By class", "", f"With a budget of {percent(result.middle)}, mean over cases.", "", *_classes(result)]
    if result.of_kind("free"):
        lines += ["## Without a budget", "", *_free(result, config.goal)]
    if result.of_kind("document"):
        lines += ["## The attack of document D4", "", *_document(result)]
    lines += ["## Can it be believed?", "", *_flags(result)]
    if result.choices:
        lines += ["## What the selective attack chose", "", *_choices(result)]
    if result.example.get("attacked"):
        lines += ["## An image under attack", ""]
        for name in example_files(result.example):
            lines += [f"![One image under attack]({name})", ""]
    return "\n".join([*lines, "## How it was measured", "", *_how(result, config)])


def _made(result, record, config):
    versions = record["versions"]
    count = len(set(result.case))
    command = replace(config, output=None, overwrite=False).command()
    return [
        f"`{command}` (kseg {record['kseg']}, TensorFlow {versions['tensorflow']}, Keras {versions['keras']}): "
        f"{len(result.case)} images with foreground from {count} case{'s' * (count != 1)} of the "
        f"{result.split} split of {result.name}."
    ]


def _answer(result):
    """The strongest attack, and how many checks are suspicious, in words."""
    found, clean = [], result.clean.table
    if any(name not in OF_CLASSES for name in result.attacks):
        found += [_strongest(result, eps, clean) for eps in dict.fromkeys((result.middle, max(result.eps)))]
    doubts = [flag.name for flag in result.flags if flag.verdict == SUSPICIOUS]
    made = sum(flag.verdict != UNCHECKED for flag in result.flags)
    if doubts:
        found.append(f"Suspicious: {', '.join(doubts)}; see [below](#can-it-be-believed).")
    elif made:
        found.append(f"No check is suspicious; {made} of {len(result.flags)} could be made.")
    else:
        found.append("Nothing was checked: these attacks may be too weak.")
    return [" ".join(found)]


def _strongest(result, eps, clean):
    """What the strongest attack within a budget does, in words."""
    rows = [result.row(name, eps) for name in result.attacks if name not in OF_CLASSES]
    row = min(rows, key=lambda each: each.table["mean_iou"]["mean"])
    noise = result.row("noise", eps).table["mean_iou"]["mean"]
    before, after = ([table[score]["mean"] for score in PIVOTS[:2]] for table in (clean, row.table))
    if not after[0] < min(before[0], noise):
        return f"With a budget of {percent(eps)} no attack does more harm than random noise (mean IoU {noise:.3f})."
    return (
        f"With a budget of {percent(eps)} {row.attack} is the strongest attack: it brings the mean IoU from "
        f"{before[0]:.3f} to {after[0]:.3f} (random noise: to {noise:.3f}) and the Dice of the foreground from "
        f"{before[1]:.3f} to {after[1]:.3f}."
    )


def _pivot(result, score):
    rows = [["none", *[_cell(result.clean.table[score])] * len(result.eps)]]
    for name in ("noise", *result.attacks):
        rows.append([_starred(name), *(_cell(result.row(name, eps).table[score]) for eps in result.eps)])
    return table(["attack", *map(percent, result.eps)], rows)


def _classes(result):
    rows = [result.clean, *(result.row(name, result.middle) for name in ("noise", *result.attacks))]
    columns = [f"{score} {label}" for score in ("iou", "dice") for label in result.classes]
    head = [name.replace("iou ", "IoU ", 1).replace("dice ", "Dice ", 1) for name in columns]
    cells = [[_starred(row.attack), *(_number(row.table[name]["mean"]) for name in columns)] for row in rows]
    return table(
        ["attack", *head, "seconds"],
        [[*c, f"{r.seconds:.1f}" if r.seconds else ""] for c, r in zip(cells, rows, strict=True)],
    )


def _free(result, goal):
    """What attacks without a budget needed, and what they left."""
    head = ["attack", "successes", "change needed: quarter", "median", "three quarters", "change made (median)",
            "pixels changed", "mean IoU", "Dice of the foreground", "seconds"]  # fmt: skip
    rows = []
    for row in result.of_kind("free"):
        minimal = ATTACKS.facts(row.attack.split(",")[0]).get("minimal")
        needed = [_share(size) if minimal else "" for size in row.found.norms()]
        scores = [_cell(row.table[score]) for score in ("mean_iou", "foreground_dice")]
        made = [_share(np.median(row.found.size)), f"{np.median(row.found.changed):.1%}"]
        rows.append([row.attack, f"{row.found.success.mean():.0%}", *needed, *made, *scores, f"{row.seconds:.1f}"])
    return [
        f"A success is an image of which {goal:.3g} of the pixels are wrong, or for attacks to background are called "
        f"background. The change is {UNITS[result.norm]}, as a "
        "share of the range of values; a quarter, half and three quarters of the images need no larger one. "
        '"Failed" says that too many images had no success. For a patch what lies under it does not count.',
        "",
        *table(head, rows),
    ]


def _starred(name):
    return f"{name} *" if name in OF_CLASSES else name


def _share(size):
    return f"{size:.3%}" if np.isfinite(size) else "failed"


def _document(result):
    """The table of S4.11 and S4.12."""
    rows = []
    for row in (result.clean, *result.of_kind("document")):
        predicted, true = background_shares(row.found)
        scores = [_cell(row.table[score]) for score in ("loss", "accuracy", "foreground_dice", "mean_iou")]
        rows.append([row.attack, *scores, f"{predicted:.1%}", f"{np.median(row.found.size):.2%}"])
    return [
        "100 steps of PGD in the Linf norm towards a mask of background alone, made on this model (white-box). The "
        "document's 1 % may "
        "be meant as the budget (steps of a quarter of it here), or as each step without a budget. A model that gives "
        f"in keeps the accuracy of the background, {true:.1%}, and loses the foreground.",
        "",
        *table(["attack", *(LABELS[s] for s in ("loss", "accuracy", "foreground_dice", "mean_iou")),
                "predicted as background", "change (median)"], rows),
    ]  # fmt: skip


def _flags(result):
    rows = [[flag.name, _bold(flag), MEANING[flag.name][0], flag.found, MEANING[flag.name][1]] for flag in result.flags]
    lines = table(["check", "verdict", "question", "found", "expected"], rows)
    for flag in result.flags:
        if flag.verdict == SUSPICIOUS:
            lines += [f"- **{flag.name}**: {MEANING[flag.name][2]}"]
    return [*lines, ""] if lines[-1] else lines


def _bold(flag):
    return f"**{flag.verdict}**" if flag.verdict == SUSPICIOUS else flag.verdict


def _choices(result):
    """Frequency of -1, 0, +1 by class and budget (S4.6)."""
    rows = []
    for eps, arrays in result.choices.items():
        for k, label in enumerate(result.classes):
            shares = [(arrays["choices"][:, k] == value).mean() for value in (-1, 0, 1)]
            rows.append([percent(eps), label, *(f"{share:.0%}" for share in shares)])
    return [
        "Of each class the sign pattern was taken away, left out or added, whichever suits the truth best; choices.h5 "
        "has the choices of each image and the sums of patterns; `kseg.attacks.rebuild` makes the images again.",
        "",
        *table(["budget", "class", "-1", "0", "+1"], rows),
        "![Choices by class](choices.png)",
        "",
    ]  # fmt: skip


def _how(result, config):
    lines = [
        f"- A budget is {UNITS[result.norm]}, as a share of the range of values.",
        "- Scores are made of all attacked images of a case together, and are means over cases; in brackets 95 % by "
        "bootstrap over cases. Mean IoU is over the classes that mask or prediction has, background included.",
        "- Padding does not count, but attacks may change it. What lies under an adversarial patch does not count.",
        f"- Attacks took {config.steps} gradients of each image: the ensemble as many for each member, layered for "
        "each class, fgsm one, selective one a class, square none; those without a budget what they take by default. "
        f"Steps were {config.step_size:g} of the budget.",
        f"- Noise is the worst of {DRAWS} random changes of each image, uniform within the budget.",
        "- All attacks and checks are in scores.csv, scores of every case in cases.csv, settings in summary.json.",
        "",
    ]  # fmt: skip
    if {"selective", "layered"} & {*result.attacks}:
        lines.insert(
            1,
            "- * Of selective and layered the budget is that of each class; the whole change is up to as many "
            "budgets as there are classes. Selective is meant to help the model, not to harm it.",
        )
    if "universal" in result.attacks:
        lines.insert(-1, "- The universal attack was made of the images that it is scored on; new ones suffer less.")
    if not any(flag.verdict == SUSPICIOUS for flag in result.flags):
        lines.insert(-1, "- That no check is suspicious proves nothing: an attack made for this model may find more.")
    return lines


def single_lines(result):
    """A line for each attack that has no curve, for the terminal."""
    lines = []
    for row in result.of_kind("free"):
        _, half, _ = row.found.norms()
        change = f", median change needed {_share(half)}" if np.isfinite(half) else ""
        lines.append(f"{row.attack}: succeeds on {row.found.success.mean():.0%} of the images{change}; leaves mean IoU "
                     f"{row.table['mean_iou']['mean']:.3f}")  # fmt: skip
    for row in result.of_kind("document"):
        predicted, true = background_shares(row.found)
        lines.append(
            f"{row.attack}: accuracy {row.table['accuracy']['mean']:.3f}, Dice of the foreground "
            f"{row.table['foreground_dice']['mean']:.3f}, {predicted:.1%} background (true {true:.1%})"
        )
    return lines


def _cell(score):
    if np.isnan(score["mean"]):
        return "none"
    if np.isnan(score["low"]):
        return _number(score["mean"])
    return f"{score['mean']:.3f} ({score['low']:.3f}-{score['high']:.3f})"


def _number(value):
    return "none" if np.isnan(value) else f"{value:.3f}"
