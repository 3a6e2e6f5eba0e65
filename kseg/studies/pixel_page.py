"""What the pixel study leaves to be seen: figures as the document arranges them, and tables of numbers."""

import math
from dataclasses import replace

import numpy as np

from kseg import report
from kseg.studies.pixel_claims import UNDER_ATTACK
from kseg.studies.pixel_measures import FURTHER, SELECTORS, SHOWN
from kseg.studies.pixel_table import MAIN, WITHIN, statistics

# Numbers that the document gives in words (S0.11, S0.12), levels in units of the largest value of the images:
# {experiment: {kind of model: (x, Dice)}}. Below 5 % stands at 5 %, above 70 % at 70 %.
DOCUMENT = {"level": {"dice": (3, 0.05), "bce+dice": (3, 0.6)}, "count": {"dice": (30, 0.3), "bce+dice": (30, 0.7)}}
AXES = {
    "level": "value of the replaced pixels", "range": "value of the replaced pixels", "count": "replaced pixels",
    "noise": "replaced pixels", "step": "changed pixels",
}  # fmt: skip
FIGURES = {
    "figure1.png": "Gradients of the prediction with respect to the image",
    "figure2.png": "A. Five pixels of highest gradient, values within the range of the images",
    "figure3.png": "B. Five pixels of highest gradient, values up to five times that range",
    "figure4.png": "The mask as the level rises, five pixels",
    "figure4.gif": "The same, step by step",
    "figure5.png": "C. More pixels, replaced by the largest value of the images",
    "figure6.png": "D. More pixels, replaced by random values",
    "figure7.png": "Predictions without an attack",
    "directional.png": "The same pixels as in C, moved by the largest value along the sign of the gradient of BCE",
    "largest_loss.png": "The same, at the pixels where the gradient of BCE is largest",
    "selectors.png": "Other ways to choose the pixels",
    "spread.png": "Spread of the gradients against what B leaves",
    "statistics.png": "Statistics of gradients and margins",
}


def draw(result, decided, folder):
    """Draw every figure of a Result, and of the claims decided of it, into an existing folder."""
    for name, figure in figures(result, decided).items():
        report.save_small(figure, folder / name)
    example = _examples(result)
    report.animate_shrinking(folder / "figure4.gif", *example)


def figures(result, decided):
    """{file name: matplotlib Figure}."""
    largest = [(result.unit, "largest value of the images")]
    panels = {
        "figure2.png": [_panel(result, "range", relative) for relative in (False, True)],
        "figure3.png": [_panel(result, "level", relative, marks=largest) for relative in (False, True)],
        "figure5.png": [_panel(result, "count", relative) for relative in (False, True)],
        "figure6.png": [_panel(result, "noise", relative) for relative in (False, True)],
        "directional.png": [_panel(result, "step", relative) for relative in (False, True)],
        "largest_loss.png": [_panel(result, "step", relative, "loss", "absolute") for relative in (False, True)],
    }
    found = {name: report.plot_robustness(each, FIGURES[name]) for name, each in panels.items()}
    others = {name: result.attacked("count", name) for name in (*SELECTORS, *FURTHER)}
    found["selectors.png"] = report.plot_robustness(
        [_panel(part, "count", True, name, title=name) for name, part in others.items() if part.entries],
        FIGURES["selectors.png"],
    )
    found["figure1.png"] = report.plot_gradients(
        [_example(result, label, ("image", "mask", "gradient")) for label in result.labels]
    )
    found["figure4.png"] = report.plot_shrinking(*_examples(result))
    first = _example(result, result.labels[0], ("image", "mask"))
    predicted = {label: _of(result, label, "predicted")[0] for label in result.labels}
    found["figure7.png"] = report.plot_predictions(first["image"], first["mask"], predicted)
    found["spread.png"] = report.plot_spread(_points(result), _correlations(decided), FIGURES["spread.png"])
    found["statistics.png"] = report.plot_statistics(statistics(result))
    return found


def _panel(result, experiment, relative, selector="gradient", order="signed", *, marks=(), title=None):
    def lines(*how):
        return {label: result.curve(label, experiment, *how, relative) for label in result.labels}

    random = lines("gradient", "random")
    document = DOCUMENT.get(experiment, {}) if not relative and (selector, order) == MAIN else {}
    if experiment == "level":
        document = {label: (x * result.unit, y) for label, (x, y) in document.items()}
    levels = experiment in ("level", WITHIN)
    return {
        "title": title or ("share of the clean Dice" if relative else "Dice"), "xlabel": AXES[experiment],
        "ylabel": "share of the clean Dice" if title else None,
        "curves": lines(selector, order), "control": random, "marks": list(marks),
        "start": {label: result.start(label, relative) for label in result.labels} if levels else None,
        "document": {label: point for label, point in document.items() if label in result.labels},
    }  # fmt: skip


def _of(result, label, name):
    """Something of the example image, of the first model of a kind."""
    return result.measures[result.models(label)[0].name][f"example/{name}"]


def _example(result, label, names):
    flat = {name: _of(result, label, name) for name in names}
    return {"name": label} | {name: v[..., 0] if v.ndim == 3 else v for name, v in flat.items()}


def _examples(result):
    """image, mask, levels, rows of the shrinking masks; the first is the clean image."""
    first, rows = _example(result, result.labels[0], ("image", "mask")), {}
    truth = first["mask"] > 0
    for label in result.labels:
        rows[label] = {"masks": _of(result, label, "predicted")}
        for prefix, name in (("", "predicted"), ("random_", "random")):
            found = _of(result, label, name) > 0
            area, overlap = found.sum(axis=(1, 2)), (found & truth).sum(axis=(1, 2))
            rows[label] |= {f"{prefix}dice": 2 * overlap / (area + truth.sum()), f"{prefix}area": area}
    return first["image"], first["mask"], [None, *(level * result.unit for level in SHOWN)], rows


def _correlations(decided):
    """{output: rho} of the spread of the gradients with what is left as the level rises (claim 6)."""
    (claim,) = (claim for claim in decided if "correlations" in claim)
    return {each["output"]: each["rho"] for each in claim["correlations"] if each["what"] == "level"}


def _points(result):
    points = []
    for entry in result.entries:
        for output in ("probability", "logit"):
            width = float(np.nanmean(result.statistic(entry, output, "participation")))
            kept = float(result.area(entry, "level").mean())
            random = float(result.area(entry, "level", order="random").mean())
            point = {"name": entry.label, "seed": entry.seed, "output": output, "spread": width, "kept": kept}
            points.append(point | {"control": random})
    return points


def model_rows(result):
    """A dict a model: clean scores, mean heights of its curves, statistics of its gradients; for a CSV file."""
    rows = []
    for entry in result.entries:
        row = {"model": entry.label, "seed": entry.seed, "clean_dice": round(float(np.nanmean(result.clean(entry))), 4)}
        row["clean_dice_images"] = round(float(result.clean_dice(entry).mean()), 4)
        row["clean_accuracy"] = round(float(result.measures[entry.name]["clean/accuracy"].mean()), 4)
        for what in (*UNDER_ATTACK,):
            for order in ("signed", "absolute", "random"):
                row[f"{what}_{order}"] = round(float(result.area(entry, what, order=order).mean()), 4)
        for output in ("probability", "logit"):
            for name, values in statistics(replace(result, entries=(entry,)))[output].items():
                row[f"{output}_{name}"] = float(f"{values[entry.label][0]:.4g}")
        rows.append(row)
    return rows


def curve_rows(result):
    """A dict a point of every curve, for a CSV file: one for all seeds of a kind of model, and one for each seed.

    "mean", "low", "high" of the Dice over cases (and seeds), "share" of the clean Dice, "none" the share of images left
    without foreground, "deviation" over draws. An x of -1 is the clean image, where levels vary.
    """
    rows = []
    for selector, order, experiment in attacks_of(result):
        attacked = result.attacked(experiment, selector, order)
        for label in attacked.labels:
            for only in ((), *((entry,) for entry in attacked.models(label))):
                part = replace(attacked, entries=only) if only else attacked
                where = {"selector": selector, "order": order, "experiment": experiment, "model": label}
                rows += _points_of(part, label, where | {"seed": only[0].seed if only else "all"})
    return rows


def _points_of(result, label, where):
    experiment, how = where["experiment"], (where["selector"], where["order"])
    curve, share = (result.curve(label, experiment, *how, relative) for relative in (False, True))
    columns = {name: curve[name] for name in ("mean", "low", "high")} | {"share": share["mean"]}
    columns["none"] = np.mean([result.missed(entry, experiment, *how) for entry in result.models(label)], axis=0)
    columns["deviation"] = result.deviation(label, experiment, *how)
    start = {"mean": result.start(label), "low": math.nan, "high": math.nan, "share": 1.0, "none": math.nan}
    clean = [where | {"x": -1} | start | {"deviation": 0.0}] if experiment == "level" else []
    return clean + [
        where | {"x": round(float(x), 6)} | {name: round(float(column[i]), 5) for name, column in columns.items()}
        for i, x in enumerate(curve["x"])
    ]


def attacks_of(result):
    """(selector, order, experiment) of every attack that was run on any of the models."""
    keys = {key for entry in result.entries for key in result.measures[entry.name]}
    return sorted({tuple(key.split("/")[1:4]) for key in keys if key.startswith("hits/")})
