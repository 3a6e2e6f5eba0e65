"""What D4's study leaves to be seen: figures as the document arranges them, and tables of numbers for files."""

import numpy as np

from kseg import report
from kseg.studies.robust_data import METHODS
from kseg.studies.robust_measures import CLEAN, CONDITIONS, PGD, TEST, TRANSFERRED
from kseg.studies.robust_models import FOUR, ORIGINAL, OTHERS
from kseg.studies.robust_table import SCORES

FIGURES = {
    "methods.png": "Figures 1 to 3: method one, PGD to one class, method two, on model 1",
    "choices.png": "What method two chose for the training images",
    "losses.png": "Figure 4: validation loss",
    "attacked.png": "Figures 5 to 8: what the models say under the evaluation attack",
    "scores.png": "Scores without and under attack",
    "transfer.png": "Transferred images, to models of the same and of another seed",
    "reliability.png": "Calibration",
}
SHORT = {
    CLEAN: "clean", "transfer/ball": "transferred,\nbudget", "transfer/steps": "transferred,\nfree steps",
    "white/ball": "white box,\nbudget", "white/steps": "white box,\nfree steps",
    "white/untargeted": "white box,\nuntargeted",
}  # fmt: skip
LABELS = {
    "accuracy": "pixel accuracy", "loss": "cross-entropy", "foreground_dice": "Dice of the foreground",
    "mean_iou": "mean IoU",
}  # fmt: skip


def draw(result, folder):
    """Draw every figure of a Result into an existing folder; gives the names of those that there are."""
    drawn = figures(result)
    for name, figure in drawn.items():
        report.save_small(figure, folder / name)
    return list(drawn)


def figures(result):
    """{file name: matplotlib Figure}."""
    styles = report.model_styles(map(result.counted, result.labels))
    about = f"{result.name}: {len(result.case)} test images"
    found = {"methods.png": _methods(result)}
    chosen = [record["choices"] for (_, name), record in result.records.items() if "choices" in record]
    if chosen:
        found["choices.png"] = report.plot_choices(
            {result.budget: np.concatenate(chosen)}, result.classes, FIGURES["choices.png"]
        )
    found["losses.png"] = report.plot_losses(_losses(result), styles, f"Validation loss ({result.name})")
    found["attacked.png"] = _attacked(result)
    conditions = {condition: SHORT[condition] for condition in CONDITIONS}
    found["scores.png"] = report.plot_model_scores(
        [_panel(result, score, conditions) for score in ("accuracy", "foreground_dice")], styles,
        f"{about}; mean over cases and seeds, 95 %",
    )  # fmt: skip
    if result.controls:
        found["transfer.png"] = report.plot_model_scores(
            [_elsewhere(result, score) for score in ("accuracy", "foreground_dice")], report.model_styles(FOUR),
            f"{about}; mean over cases and seeds, 95 %",
        )  # fmt: skip
    panels = {}
    for condition in (CLEAN, "transfer/ball", "white/ball"):
        curves = {result.counted(label): result.calibration(label, condition)["curve"] for label in result.labels}
        panels[SHORT[condition].replace("\n", " ")] = curves
    found["reliability.png"] = report.plot_reliability(panels, styles, f"Calibration ({about}, all seeds together)")
    return found


def _first(result, label):
    return result.measures[result.models(label)[0].name]


def _methods(result):
    measures = _first(result, ORIGINAL)
    mask, (one, two) = np.maximum(measures["example/mask"], 0), METHODS
    target = result.classes[1 + np.bincount(mask.ravel(), minlength=len(result.classes))[1:].argmax()]
    names = {one: one, PGD["steps"]: f"PGD to\n{target},\nfree steps", PGD["ball"]: f"PGD to\n{target},\nbudget",
             two: two}  # fmt: skip
    whole = np.full_like(mask, result.classes.index(target))
    targets = {one: "every class\nin turn", two: mask} | dict.fromkeys(PGD.values(), whole)
    rows = [
        {
            "name": told, "image": measures[f"example/{name}/image"], "target": targets[name],
            "predicted": measures[f"example/{name}/predicted"],
        }
        for name, told in names.items()
    ]  # fmt: skip
    example = {
        "image": measures["example/image"], "mask": mask,
        "predicted": measures[f"example/{CLEAN}/predicted"], "value_range": result.value_range, "attacked": rows,
    }  # fmt: skip
    return report.plot_attacked(example, result.classes, "What the methods do to one test image and to model 1")


def _losses(result):
    each = {
        label: [result.histories[entry.name]["val_loss"] for entry in result.models(label)] for label in result.labels
    }
    further = {result.counted(label): runs for label, runs in each.items() if label not in FOUR or label == ORIGINAL}
    panels = {"the document's models": {label: runs for label, runs in each.items() if label in FOUR}}
    return panels | ({"further ones": further} if len(further) > 1 else {})


def _attacked(result):
    first = _first(result, ORIGINAL)
    mask = np.maximum(first["example/mask"], 0)
    counted = first["example/mask"] >= 0
    models, accuracy = {}, {}
    for label in result.labels:
        found = _first(result, label)
        models[label] = {SHORT[c]: found[f"example/{c}/predicted"] for c in CONDITIONS}
        accuracy[label] = {name: (ids == mask)[counted].mean() for name, ids in models[label].items()}
    example = {
        "image": first["example/image"], "value_range": result.value_range, "mask": mask, "models": models,
        "accuracy": accuracy,
    }  # fmt: skip
    return report.plot_models_attacked(
        example, result.classes, "One test image without and under the evaluation attack"
    )


def _panel(result, score, conditions):
    groups = {
        name: {result.counted(label): result.mean(label, condition, score) for label in result.labels}
        for condition, name in conditions.items()
    }
    return _labelled(result, score, groups)


def _elsewhere(result, score):
    """Models 1 to 4 of the seed that the images were made on, beside those of another."""
    groups = {}
    for condition in (CLEAN, *TRANSFERRED):
        name = SHORT[condition]
        groups[f"{name}:\nsame seed"] = {label: result.mean(label, condition, score) for label in FOUR}
        groups[f"{name}:\nanother"] = {label: result.mean(OTHERS[label], condition, score) for label in FOUR}
    del groups[f"{SHORT[CLEAN]}:\nanother"]  # the same models
    return _labelled(result, score, groups)


def _labelled(result, score, groups):
    floor = float(result.true_background().mean()) if score == "accuracy" else None
    return {"ylabel": LABELS[score], "groups": groups, "floor": floor, "floor_name": "share of background"}


def score_rows(result):
    """A dict a kind of model and condition: means with intervals, per class, calibration; for a CSV file."""
    rows, others = [], OTHERS.values() if result.controls else ()
    for label in (*result.labels, *others):
        for condition in (CLEAN, *TRANSFERRED) if label in others else (TEST, *CONDITIONS):
            row = {"model": label, "seeds": len(result.models(label)), "condition": condition}
            for score in SCORES:
                row |= dict(zip((score, f"{score} low", f"{score} high"), result.mean(label, condition, score),
                                strict=True))  # fmt: skip
            for kind in ("iou", "dice"):
                values = result.per_class(label, condition, kind)
                row |= {f"{kind} {name}": value for name, value in zip(result.classes, values, strict=True)}
            row["background"] = np.mean(list(result.background(label, condition).values()))
            found = None if condition == TEST or label in others else result.calibration(label, condition)
            row |= {name: found[name][0] if found else float("nan") for name in ("ece", "brier")}
            rows.append({name: round(float(v), 5) if not isinstance(v, str) else v for name, v in row.items()})
    return rows


def case_rows(result):
    """A dict a model, condition and case; for a CSV file, and for pairs with other models.

    The seed of a model of another seed is that of the images it is shown.
    """
    cases, rows = np.unique(result.case), []
    for entry in (*result.entries, *result.controls):
        for condition in (CLEAN, *TRANSFERRED) if entry in result.controls else CONDITIONS:
            scores = result.of_case(entry, condition)
            for number, case in enumerate(cases):
                cells = {name: round(float(scores[name][number]), 6) for name in SCORES}
                rows.append(
                    {"model": entry.label, "seed": entry.seed, "condition": condition, "case": str(case), **cells}
                )
    return rows
