"""The further tables of the page of D4's study: classes, calibration, what the methods did. Lists of lines."""

import numpy as np

from kseg.studies.markdown import table
from kseg.studies.robust_gates import ASKED, WORDS
from kseg.studies.robust_measures import CLEAN, PGD, SAID, TRANSFERRED, UNTARGETED
from kseg.studies.robust_page import SHORT

CLASSWISE = (CLEAN, *TRANSFERRED, "white/ball", UNTARGETED)


def gates(decided):
    """What the attacks take from model 1, and which therefore decide; of `robust_claims.claims`."""
    found, rows = {each["claim"]: each["gates"] for each in decided}, []
    for claim, words in (("11", "the same"), ("10", "another")):
        for condition, each in found[claim].items():
            if condition in ASKED:
                change, p = "{difference:+.4f} ({low:+.4f} to {high:+.4f})".format(**each), each["adjusted"]
                p = ("< 0.001" if p < 1e-3 else f"{p:.3f}") if np.isfinite(p) else "not tested"
                rows.append([WORDS[condition], words, change, p, "decides" if each["decides"] else "decides nothing"])
    head = ["attack", "seed of model 1", "change of its foreground Dice (95 %)", "p after Holm", ""]
    return [
        "What attacks take from model 1, of the seed that the images were made on and of another; its white-box images "
        "are those that are transferred:", "", *table(head, rows),
    ]  # fmt: skip


def classes(result):
    """IoU of each class without and under attacks."""
    lines = []
    for condition in CLASSWISE:
        rows = [
            [result.counted(label), *(f"{value:.3f}" for value in result.per_class(label, condition))]
            for label in result.labels
        ]
        name = SHORT[condition].replace("\n", " ")
        lines += [f"IoU of each class, {name}; mean over seeds and the cases whose mask or prediction has it:", ""]
        lines += table(["model", *result.classes], rows)
    return lines


def calibration(result):
    """ECE and Brier score of each kind of model."""
    names, lines = [SHORT[condition].replace("\n", " ") for condition in CLASSWISE], []
    for score, words in (
        ("ece", "Expected calibration error of the most probable class (15 bins)"), ("brier", "Brier score"),
    ):  # fmt: skip
        rows = [
            [result.counted(label), *(f"{result.calibration(label, each)[score][0]:.3f}" for each in CLASSWISE)]
            for label in result.labels
        ]
        lines += [f"{words}, over all pixels; mean over seeds:", "", *table(["model", *names], rows)]
    return lines


def methods(result):
    """What the methods did to training images, and what model 1 makes of test images after them."""
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
        rows.append([SAID.get(name, name), f"{pieces:.1f}", f"{classes:.2f}", goal, psnr])
    head = ["test images after", "pieces of the prediction", "classes predicted", "share of the class aimed at",
            "PSNR in dB, median"]  # fmt: skip
    return [*lines, "Test images shown to model 1 (S4.15):", "", *table(head, rows)]


def choices(result):
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
