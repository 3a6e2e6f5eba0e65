"""Pictures of a trained model on a split of data: chosen cases, and what all cases have in common."""

from typing import NamedTuple

import numpy as np

from kseg import inference, report
from kseg import metrics as M
from kseg.metrics.calibration import curve_of

WORST = 8  # cases on the page of the worst
BLOCK = 128  # images
BINS = 15
LONGEST = 24  # letters of a case's name beside its picture
MEASURED = {"dice": ("Dice", "low"), "hd95": ("HD95", "high"), "assd": ("ASSD", "high"),
            "surface_dice": ("surface Dice", "low")}  # fmt: skip


class Subject(NamedTuple):
    """A model and the cases of a split that it was scored on."""

    model: object
    data: object
    split: str
    threshold: float
    cases: list

    @property
    def of(self):
        """What the pictures are of, for their titles."""
        return f"{self.split} split of {self.data.name}"


def foreground_dice(cases):
    """`[N]` mean over the foreground classes of each case; nan where it and its prediction have none."""
    return M.nanmean(np.stack([case.values()["dice"][1:] for case in cases]))


def best_median_worst(dice):
    """{number of a case: what it is} of up to three cases with a score; of the first ones if none has any."""
    order = [int(i) for i in np.argsort(-np.asarray(dice), kind="stable") if not np.isnan(dice[i])]
    if not order:
        return dict.fromkeys(range(min(3, len(dice))), "no foreground")
    if len(order) == 1:
        return {order[0]: "the only case\nwith foreground" if len(dice) > 1 else "the only case"}
    if len(order) == 2:
        return {order[0]: "best", order[1]: "worst"}
    return {order[0]: "best", order[len(order) // 2]: "median", order[-1]: "worst"}


def draw_examples(subject):
    """The best, the median and the worst case by foreground Dice; of each the slice with most foreground."""
    chosen = best_median_worst(foreground_dice(subject.cases))
    title = f"Best, median and worst case by foreground Dice: {subject.of}" if len(chosen) > 1 else subject.of
    return _drawn(subject, chosen, title)


def draw_worst(subject):
    """The worst cases, the worst first, of each the slice with most wrong pixels; None if no case has a score."""
    dice = foreground_dice(subject.cases)
    order = [int(i) for i in np.argsort(dice, kind="stable") if not np.isnan(dice[i])]
    if not order:
        return None
    chosen = {i: f"rank {len(order) - place} of {len(order)}" for place, i in enumerate(order[:WORST])}
    title = f"The worst cases by foreground Dice, where most pixels are wrong: {subject.of}"
    return _drawn(subject, chosen, title, most="wrong")


def _drawn(subject, chosen, title, most="true"):
    data, index = subject.data, subject.data.index(subject.split)
    rows_of, dice = list(inference.cases_of(index)), foreground_dice(subject.cases)
    shown = [_slice_of(subject, index, rows_of[i][1], most) for i in chosen]
    names = [
        "\n".join(line for line in (label, *_told(rows_of[i], index, each), _score(dice[i])) if line)
        for (i, label), each in zip(chosen.items(), shown, strict=True)
    ]
    images, masks, predicted, aspects = ([each[part] for each in shown] for part in ("image", "mask", "ids", "aspect"))
    return report.plot_examples(
        images, masks, predicted, data.classes, names, value_range=data.value_range, aspects=aspects, title=title
    )


def _slice_of(subject, index, rows, most):
    """The slice of a case with most `most` ("true" foreground or "wrong"), else with most predicted; no padding."""
    images, masks = subject.data.read(subject.split, rows.start, rows.stop)
    ids = inference.predict_masks(subject.model, images, threshold=subject.threshold)
    y0, y1, x0, x1 = index["box"][rows.start]
    images, masks, ids = (part[:, y0:y1, x0:x1] for part in (images, masks, ids))
    counted, found = (part.sum(axis=(1, 2)) for part in (masks != ids if most == "wrong" else masks > 0, ids > 0))
    place = int(np.lexsort((found, counted))[-1])
    spacing = index["spacing"][rows.start]
    known = bool(np.isfinite(spacing).all() and (spacing > 0).all())
    return {
        "image": images[place], "mask": masks[place], "ids": ids[place], "place": place,
        "spacing": tuple(map(float, spacing)) if known else None,
        "aspect": float(spacing[0] / spacing[1]) if known else 1.0,
    }  # fmt: skip


def _told(case, index, shown):
    """Name, slice and size of a picture."""
    name, rows = case
    name = name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}…{name[-LONGEST // 2 :]}"
    height, width = shown["mask"].shape
    size = f"{width} x {height} px"
    if shown["spacing"]:
        dy, dx = shown["spacing"]
        size = f"{width * dx:.3g} x {height * dy:.3g} mm"
    if rows.stop - rows.start == 1:
        return name, size
    return name, f"slice {index['slice'][rows][shown['place']]}", size


def _score(dice):
    return "" if np.isnan(dice) else f"Dice {dice:.3f}"


def draw_scores(subject, surfaces=None):
    """Scores of all cases, class by class, with the worst named."""
    labels, each = _labels(subject.data.classes), [case.values() for case in subject.cases]
    panels = []
    for name, (title, worst) in MEASURED.items():
        if name not in each[0]:
            continue
        values = {label: [M.nanmean(scores[name][columns]) for scores in each] for label, columns in labels.items()}
        unit = f" ({surfaces.unit})" if name in ("hd95", "assd") else ""
        within = f" within {surfaces.tolerance:g} {surfaces.unit}" if name == "surface_dice" else ""
        panels.append({"label": title + unit + within, "classes": values, "worst": worst})
    names = [case.name for case in subject.cases]
    return report.plot_case_scores(panels, names, f"Scores of {len(names)} cases: {subject.of}")


def _labels(classes):
    """{name: columns} of the foreground classes, and of their mean if there are several."""
    mean = {"foreground mean": slice(1, None)} if len(classes) > 2 else {}
    return {**mean, **{name: slice(k, k + 1) for k, name in enumerate(classes) if k}}


def draw_sizes(subject, surfaces=None):
    """Dice against the size of the structure, and its predicted against its true size."""
    unit, size = _unit(subject, surfaces)
    values = {}
    for k, name in list(enumerate(subject.data.classes))[1:]:
        tp, fp, fn = (
            np.array([getattr(case.counts, part)[k] for case in subject.cases]) for part in ("tp", "fp", "fn")
        )
        dice = np.array([case.values()["dice"][k] for case in subject.cases])
        values[name] = {"true": (tp + fn) * size, "found": (tp + fp) * size, "dice": dice}
    return report.plot_sizes(values, unit, f"Scores and sizes of {len(subject.cases)} cases: {subject.of}")


def _unit(subject, surfaces):
    """The unit of sizes, and the size of a pixel of each case in it."""
    if surfaces is None or surfaces.unit != "mm":
        return ("voxels" if any(case.slices > 1 for case in subject.cases) else "pixels"), 1.0
    return f"mm{surfaces.axes}".replace("2", "²").replace("3", "³"), np.array(
        [float(np.prod(surfaces.spacing[case.name])) for case in subject.cases]
    )


def look_at_pixels(subject, batch_size, progress=iter):
    """Reliability curves of the foreground classes, and true by predicted class, over all pixels without padding.

    Returns:
        ({class: `ReliabilityCurve`}, `[K, K]` pixels).
    """
    data, count = subject.data, len(subject.data.classes)
    index = data.index(subject.split)
    see = inference.forward(subject.model, data.shape)
    sums, matrix = np.zeros((count, 3, BINS)), np.zeros((count, count), np.int64)
    block = max(1, BLOCK // batch_size) * batch_size
    for start in progress(range(0, data.sizes[subject.split], block)):
        images, masks = data.read(subject.split, start, start + block)
        inside = _inside(index["box"][start : start + block], masks.shape)
        p = np.concatenate([see(images[i : i + batch_size]).numpy() for i in range(0, len(images), batch_size)])
        true, p = masks[inside], p[inside]
        matrix += M.confusion_matrix(true, inference.class_ids(p, subject.threshold), count)
        for k in range(1, count):
            curve = M.reliability_curve(true, p, bins=BINS, class_id=k)
            parts = (curve.weight, curve.weight * curve.confidence, curve.weight * curve.accuracy)
            sums[k] += np.nan_to_num(np.stack(parts))
    edges = np.linspace(0, 1, BINS + 1)
    return {name: curve_of(*sums[k], edges) for k, name in enumerate(data.classes) if k}, matrix


def _inside(boxes, shape):
    """`[n, H, W]`: which pixels are no padding."""
    y, x = np.arange(shape[1])[None, :, None], np.arange(shape[2])[None, None]
    y0, y1, x0, x1 = (edge[:, None, None] for edge in np.asarray(boxes).T)
    return (y >= y0) & (y < y1) & (x >= x0) & (x < x1)


def draw_all(subject, folder, batch_size, surfaces=None, progress=iter):
    """Write every figure of an evaluation into `folder`; returns their names."""
    curves, matrix = look_at_pixels(subject, batch_size, progress)
    figures = {
        "scores.png": draw_scores(subject, surfaces),
        "sizes.png": draw_sizes(subject, surfaces),
        "reliability.png": report.plot_calibration(curves, f"Reliability of the probabilities: {subject.of}"),
        "worst.png": draw_worst(subject),
    }
    if len(subject.data.classes) > 2:
        title = f"Pixels of each true class in %:\n{subject.of}"
        figures["confusion.png"] = report.plot_confusion(matrix, subject.data.classes, title)
    folder.mkdir()
    figures = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in figures.items():
        report.save_figure(figure, folder / name)
    return list(figures)
