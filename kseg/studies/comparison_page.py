"""What the comparison of losses leaves to be seen: figures, and tables of numbers for files."""

import numpy as np

from kseg import metrics as M
from kseg import report
from kseg.studies.comparison_models import REGIMES
from kseg.studies.comparison_table import BETTER, MAIN, mean_of

FIGURES = {
    "ranking.png": "Which loss is better, case by case",
    "scores.png": "Scores of the test split",
    "learning.png": "Validation Dice over the training",
    "compared.png": "Figure 1: what the losses make of test images",
    "search.png": "The search for learning rates",
    "cost.png": "Time and memory",
}
LABELS = {
    "iou": "IoU", "iou_score": "IoU score", "dice": "Dice", "accuracy": "accuracy", "hd95": "HD95", "assd": "ASSD",
    "surface_dice": "surface Dice", "ece": "ECE", "brier": "Brier score",
}  # fmt: skip
DRAWN = ("iou", "dice", "hd95", "ece")


def label(result, score):
    """A score in words, distances with their unit."""
    return f"{LABELS[score]} in {result.unit}" if score in ("hd95", "assd") else LABELS[score]


def draw(result, folder):
    """Draw every figure of a Result into an existing folder; gives the names of those that there are."""
    drawn = figures(result)
    for name, figure in drawn.items():
        report.save_small(figure, folder / name)
    return list(drawn)


def figures(result):
    """{file name: matplotlib Figure}."""
    styles = report.comparison_styles(result.search.rates if result.search else result.losses)
    about = f"{result.name}: {len(result.case)} test cases"
    rankings = {regime: result.ranking(regime) for regime in result.regimes}
    rankings = {regime: found for regime, found in rankings.items() if found}
    found = {}
    if rankings:
        notes = {regime: _notes(result, regime) for regime in rankings}
        found["ranking.png"] = report.plot_ranking(rankings, f"Mean rank of the {LABELS[MAIN]} ({about})", notes)
    panels = [_panel(result, score) for score in DRAWN if score in result.shown]
    found["scores.png"] = report.plot_scores(panels, styles, f"{about}; mean over seeds and cases, 95 %")
    found["learning.png"] = report.plot_learning(
        _curves(result), styles, "validation Dice", f"Validation Dice ({result.name})"
    )
    regime = next(regime for regime in result.regimes if any(result.models(loss, regime) for loss in result.losses))
    found["compared.png"] = report.plot_compared(
        _examples(result, regime), result.classes, result.value_range,
        f"{result.name}, test images, first model of each loss, {regime}", LABELS[MAIN],
    )  # fmt: skip
    if result.search and result.search.rounds:
        rounds = [[each | {"score": _number(each["score"])} for each in trials] for trials in result.search.rounds]
        found["search.png"] = report.plot_halving(rounds, f"Search for learning rates ({result.name})")
    costs = {
        loss: {"seconds": result.seconds(loss), "memory": result.costs.get(loss, {}).get("memory", float("nan"))}
        for loss in result.losses
    }  # fmt: skip
    found["cost.png"] = report.plot_cost(costs, styles, f"Time and memory of training ({result.name})")
    return found


def noise(result, regime):
    """How much two seeds of one loss differ by the first score, the mean over losses; nan of one seed."""
    return mean_of(np.array([result.between(loss, regime) for loss in result.losses]))


def why_untested(result, regime):
    """Why no two losses that are ranked can be told apart, in words; empty if some can."""
    found = result.ranking(regime)
    if found is None or found.apart is not None:
        return ""
    pairs = result.pairs(regime)
    return next(pairs[key].undecidable for key in pairs if set(key) <= set(found.names))


def _notes(result, regime):
    """Lines for the figure of the ranks."""
    apart, why, unranked = noise(result, regime), why_untested(result, regime), result.unranked(regime)
    return [
        *([f"({why})"] if why else []),
        *([f"two seeds of one loss differ by {apart:.4f} in {LABELS[MAIN]} on average"] * (apart == apart)),
        *([f"not ranked: {', '.join(f'{loss} ({why})' for loss, why in unranked.items())}"] if unranked else []),
    ]


def _number(value):
    return float("nan") if value is None else value


def _panel(result, score):
    groups = {
        regime: {loss: result.mean(loss, regime, score) for loss in result.losses} for regime in result.regimes
    }  # fmt: skip
    return {"ylabel": label(result, score), "groups": groups, "better": "higher" if BETTER[score] else "lower"}


def _curves(result):
    curves = {}
    for regime in result.regimes:
        names = {loss: [e.name for key, e in result.entries.items() if key[:2] == (loss, regime)]
                 for loss in result.losses}  # fmt: skip
        curves[regime] = {
            loss: [result.histories[name]["val_dice"] for name in each if result.histories[name].get("val_dice")]
            for loss, each in names.items()
        }
    return curves


def _examples(result, regime):
    """The images shown, with the prediction of the first model of each loss."""
    first = {loss: models[0] for loss in result.losses if (models := result.models(loss, regime))}
    examples = []
    for number, name in enumerate(result.examples.case):
        mask, (y0, y1, x0, x1) = result.examples.masks[number], map(int, result.examples.box[number])
        predicted = {loss: result.measures[entry.name]["examples"][number] for loss, entry in first.items()}
        examples.append({
            "image": result.examples.images[number], "mask": mask, "name": str(name), "predicted": predicted,
            "scores": {
                loss: _iou(mask[y0:y1, x0:x1], ids[y0:y1, x0:x1], len(result.classes))
                for loss, ids in predicted.items()
            },
        })  # fmt: skip
    return examples


def _iou(mask, ids, classes):
    """Mean over the foreground classes that the mask has."""
    counts = M.confusion_counts(mask, ids, classes)
    return float(M.nanmean(np.where(counts.support > 0, M.iou(counts), np.nan)[1:]))


def result_rows(result):
    """A dict a model and regime, for a CSV file: loss, rate, seed, how it ended, mean of each score over cases, time.

    A model whose given rate is the tuned one has a row in both regimes, and "also in" names the other one.
    """
    rows = []
    for (loss, regime, seed), entry in result.entries.items():
        (other,) = set(REGIMES) - {regime}
        row = {"loss": loss, "regime": regime, "rate": entry.rate, "seed": seed, "head": result.heads[loss][1]}
        row["also in"] = other if result.entries.get((loss, other, seed)) == entry else ""
        ended = entry.name in result.measures
        row |= {"ended": "finished" if ended else "broke down", "run": entry.name}
        epochs = result.histories[entry.name].get("val_dice", [])
        known = np.isfinite(epochs).any()
        row["best epoch"] = int(np.nanargmax(epochs)) + 1 if known else ""
        row["validation Dice"] = round(float(np.nanmax(epochs)), 6) if known else float("nan")
        for score in result.shown:
            values = result.of_case(entry, score) if ended else np.array([])
            row[score] = round(mean_of(values), 6)
        if result.unit:
            row["infinite distances"] = int(np.isinf(result.of_case(entry, "hd95")).sum()) if ended else ""
        seconds = result.measures[entry.name]["seconds"][1:] if ended else np.array([])
        row["seconds an epoch"] = round(float(np.median(seconds)), 3) if seconds.size else float("nan")
        row["memory in MiB"] = round(result.costs.get(loss, {}).get("memory", float("nan")), 1)
        rows.append(row)
    return rows


def case_rows(result):
    """A dict a model and test case, with every score; for a CSV file, and for pairs with other models."""
    rows = []
    for (loss, regime, seed), entry in result.entries.items():
        if entry.name not in result.measures:
            continue
        scores = {score: result.of_case(entry, score) for score in result.shown}
        for number, case in enumerate(result.case):
            cells = {score: round(float(values[number]), 6) for score, values in scores.items()}
            rows.append({"loss": loss, "regime": regime, "seed": seed, "case": str(case), **cells})
    return rows
