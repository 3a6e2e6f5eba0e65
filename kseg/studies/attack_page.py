"""What an evaluation of attacks leaves to be seen: tables of numbers, figures, and the record of choices."""

import h5py
import numpy as np

from kseg import metrics as M
from kseg import report
from kseg.files import atomic, write_csv, write_json
from kseg.studies.attack_scores import IGNORED, SCORES, constant_scores, percent
from kseg.studies.rows import richest

FORMAT = "kseg attack choices 1"
LABELS = {
    "mean_iou": "mean IoU", "foreground_dice": "Dice of the foreground", "accuracy": "pixel accuracy",
    "loss": "cross-entropy", "success": "share of successes",
}  # fmt: skip
ROWS = 7  # of a figure of examples
EXAMPLES = ("examples.png", "examples_2.png", "examples_3.png", "examples_4.png")
PICTURED = ("budget", "free", "document")  # kinds of rows that have an example


class Shown:
    """One image under every attack: of those with most classes the one with neither most nor least foreground.

    Args:
        subject: `attack_measures.Subject`.
        config: `kseg.configs.Attack`.
        predicted: ids of the images as they are `[n, H, W]`.
    """

    def __init__(self, subject, config, predicted):
        masks, self._subject, self._middle = subject.masks, subject, config.middle
        self._number = richest(masks)
        y0, y1, x0, x1 = subject.box[self._number]
        self._place = (self._number, slice(y0, y1), slice(x0, x1))
        self._mask = masks[self._place]
        self.example = {
            "image": subject.images[self._place], "mask": self._mask, "value_range": (subject.low, subject.high),
            "case": str(subject.case[self._number]), "row": int(subject.numbers[self._number]),
            **self._masks(predicted), "attacked": [],
        }  # fmt: skip

    def _masks(self, predicted):
        predicted = predicted[self._place]
        counts = M.confusion_counts(self._mask, predicted, len(self._subject.classes), ignore_class=IGNORED)
        return {"predicted": predicted, "dice": float(M.nanmean(M.dice(counts)[1:]))}

    def add(self, outcome):
        """Keep the image of an `Outcome`, if its row is one to show."""
        row = outcome.row
        if row.kind in PICTURED and (row.kind != "budget" or row.eps == self._middle):
            found = {"name": row.attack, "image": outcome.images[self._place]} | self._masks(outcome.predicted)
            self.example["attacked"].append(found)


def score_row(row):
    """A `Row` as a flat dict, for a CSV file."""
    found, table = row.found, row.table
    cells = {"kind": row.kind, "attack": row.attack, "eps": "" if row.eps is None else row.eps}
    for name, values in table.items():
        cells |= {name if side == "mean" else f"{name} {side}": values[side] for side in ("mean", "low", "high")}
    quarter, half, most = np.quantile(found.size, (0.25, 0.5, 0.75))
    cells |= {"size quarter": quarter, "size median": half, "size three quarters": most}
    cells |= {"changed pixels": found.changed.mean(), "seconds": row.seconds}
    return {name: round(float(v), 6) if isinstance(v, float) else v for name, v in cells.items()}


def case_rows(result):
    """Scores of every case under every attack, as flat dicts: for pairs with other models."""
    cases, rows = np.unique(result.case), []
    for row in result.rows:
        scores = row.found.scores(result.case)
        for number, case in enumerate(cases):
            cells = {name: round(float(scores[name][number]), 6) for name in SCORES}
            eps = "" if row.eps is None else row.eps
            rows.append({"kind": row.kind, "attack": row.attack, "eps": eps, "case": str(case), **cells})
    return rows


def summary(result):
    """What a program reads of an evaluation, for a JSON file."""
    return {
        "data": result.name, "split": result.split, "images": len(result.case), "cases": len(set(result.case)),
        "classes": list(result.classes), "norm": result.norm, "clean": result.clean.table,
        "attacks": [_told(row) for row in result.rows[1:]],
        "flags": {flag.name: flag.verdict for flag in result.flags},
    }  # fmt: skip


def _told(row):
    needed = dict(zip(("quarter", "median", "three_quarters"), row.found.norms(), strict=True))
    told = {"kind": row.kind, "attack": row.attack, "eps": row.eps, "scores": row.table, "seconds": row.seconds}
    return told | ({"needed_change": needed} if row.kind == "free" else {}) | {"settings": row.settings}


def write(result, folder, **facts):
    """Write the tables, figures and choices of a Result into an existing folder.

    Args:
        result: Result.
        folder: `kseg.training.record.RunFolder`.
        **facts: attributes of the file of choices; arrays become arrays in it.
    """
    write_csv(folder / "scores.csv", [score_row(row) for row in result.rows])
    write_csv(folder / "cases.csv", case_rows(result))
    write_json(folder / "summary.json", summary(result))
    write_json(folder / "flags.json", [flag.told() for flag in result.flags])
    for name, figure in figures(result).items():
        report.save_small(figure, folder / name)
    if result.choices:
        save_choices(folder / "choices.h5", result.choices, **facts)


def figures(result):
    """{file name: matplotlib Figure}."""
    title = f"{result.name}, {result.split} split: {len(result.case)} images"
    found = {"curves.png": report.plot_attacks(panels(result), f"Scores under attack ({title})")}
    example = result.example
    told = f"One image under attack (case {example.get('case')}, budget {percent(result.middle)} where there is one)"
    for name, rows in example_files(example).items():
        found[name] = report.plot_attacked(example | {"attacked": rows}, result.classes, told)
    if result.choices:
        chosen = {eps: arrays["choices"] for eps, arrays in result.choices.items()}
        found["choices.png"] = report.plot_choices(chosen, result.classes)
    return found


def example_files(example):
    """{file name: the attacked images in it}: so few in each that it can be read."""
    attacked = example.get("attacked", [])
    parts = [attacked[start : start + ROWS] for start in range(0, len(attacked), ROWS)]
    return {EXAMPLES[number]: part for number, part in enumerate(parts[: len(EXAMPLES)])}


def panels(result):
    """What `report.plot_attacks` draws."""
    points = {row.attack: row for row in result.of_kind("document") if row.eps is not None and result.norm == "linf"}
    floor, _ = constant_scores(result.clean.found.counts)
    return [
        {
            "ylabel": LABELS[score],
            "curves": {name: curve(result, name, score) for name in result.attacks},
            "clean": result.clean.table[score]["mean"],
            "control": curve(result, "noise", score),
            "points": {name: (row.eps, row.table[score]["mean"]) for name, row in points.items()},
            "floor": floor if score == "accuracy" else None,
            "log": score == "loss",
        }
        for score in SCORES[:4]
    ]


def curve(result, name, score):
    """{"eps", "mean", "low", "high" `[P]`} of a score under an attack."""
    rows = [result.row(name, eps) for eps in result.eps]
    sides = {side: np.array([row.table[score][side] for row in rows]) for side in ("mean", "low", "high")}
    return {"eps": np.array(result.eps)} | sides


def choices_of(found):
    """What a `kseg.attacks.Attacked` of "selective" says of its choices (S4.6)."""
    return {
        "choices": found.extra["choices"], "pattern": found.extra["pattern"],
        "loss_before": found.loss_before.astype(np.float32), "loss_after": found.loss_after.astype(np.float32),
        "budget": float(found.settings["budget"]),
    }  # fmt: skip


def save_choices(path, choices, **facts):
    """Write the choices of every image, and the patterns that make the images again by `kseg.attacks.rebuild`.

    Args:
        path: of an HDF5 file with a group for each budget: "choices" `[n, K]` int8 of -1, 0, 1, "pattern" `[n, H, W,
            C]` int8, "loss_before" and "loss_after" `[n]`, and the attribute "budget".
        choices: {eps: of `choices_of`}.
        **facts: attributes of the file; arrays become arrays in it.
    """
    with atomic(path) as part, h5py.File(part, "w") as file:
        file.attrs["format"] = FORMAT
        for name, value in facts.items():
            if isinstance(value, np.ndarray):
                file[name] = value
            else:
                file.attrs[name] = value
        for eps, arrays in choices.items():
            group = file.create_group(f"eps {eps:g}")
            for name, array in arrays.items():
                if np.ndim(array):
                    group.create_dataset(name, data=array, compression="gzip")
                else:
                    group.attrs[name] = array
