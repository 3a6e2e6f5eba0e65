"""The further tables of the page of D4's study: classes, calibration, what the methods did. Lists of lines."""

import numpy as np

from kseg.studies.markdown import table
from kseg.studies.robust_measures import CLEAN, PGD, SAID
from kseg.studies.robust_page import SHORT

CLASSWISE = (CLEAN, "transfer/ball", "white/ball")


def classes(result):
    """IoU of each class without and under two attacks."""
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
    rows = []
    for label in result.labels:
        cells = []
        for condition in CLASSWISE:
            found = result.calibration(label, condition)
            cells += [f"{found['ece'][0]:.3f}", f"{found['brier'][0]:.3f}"]
        rows.append([result.counted(label), *cells])
    names = [SHORT[condition].replace("\n", " ") for condition in CLASSWISE]
    head = ["model", *(f"{kind}, {name}" for name in names for kind in ("ECE", "Brier"))]
    return [
        "Expected calibration error of the most probable class (15 bins) and Brier score, over all pixels; means over "
        "seeds.", "", *table(head, rows),
    ]  # fmt: skip


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
