"""Scores of a model per case and their means over cases."""

from typing import NamedTuple

import numpy as np

from kseg import metrics as M
from kseg.data.source import check_split, open_data
from kseg.inference.cases import assemble, cases_of
from kseg.inference.graph import forward
from kseg.inference.models import check_fit
from kseg.metrics.cases import RATIOS, SURFACE

BLOCK = 512


class Case(NamedTuple):
    """Score of one case: its name, its slices, `Counts` `[K]` over its pixels without padding, and surface scores.

    The last are `kseg.metrics.surface_scores`, or empty when they were not asked for.
    """

    name: str
    slices: int
    counts: M.Counts
    surface: dict = {}

    def values(self):
        """{score: `[K]`} of every score."""
        return {**{name: ratio(self.counts) for name, ratio in RATIOS.items()}, **self.surface}


def score_cases(model, source, split="test", *, threshold=0.5, batch_size=32, surfaces=None, progress=iter):
    """Score every case of a split.

    Args:
        model: gives probabilities; see `check_fit`.
        source: a data set, or what `kseg.data.open_data` takes.
        split, threshold, batch_size: see `predict_masks`.
        surfaces: of `plan_surfaces`; None leaves surface distances out.
        progress: wraps the list of blocks, to show how far it is.

    Returns:
        List of `Case`, in the order of the data.
    """
    data = open_data(source)
    check_split(data, split)
    check_fit(model, data)
    decide, masks, decided = forward(model, data.shape, threshold), [], []
    block = max(1, BLOCK // batch_size) * batch_size
    for start in progress(range(0, data.sizes[split], block)):
        images, true = data.read(split, start, start + block)
        masks.append(true)
        decided += [decide(images[i : i + batch_size]).numpy() for i in range(0, len(images), batch_size)]
    masks, decided = np.concatenate(masks), np.concatenate(decided)
    return count_cases(masks, decided, data.index(split), len(data.classes), surfaces)


def count_cases(masks, predicted, index, classes, surfaces=None):
    """List of `Case` from true and predicted ids `[N, H, W]` and the index of their rows."""
    cases = []
    for name, rows in cases_of(index):
        true, guess = assemble(masks, index, rows), assemble(predicted, index, rows)
        counts = M.confusion_counts(true, guess, classes)
        cases.append(Case(name, len(true), counts, _surface_of(true, guess, classes, surfaces, name)))
    return cases


def _surface_of(true, guess, classes, surfaces, name):
    if surfaces is None:
        return {}
    spacing = surfaces.spacing[name]
    if len(spacing) == 2:
        true, guess = true[0], guess[0]
    return M.surface_scores(true, guess, classes, spacing=spacing, tolerance=surfaces.tolerance)


def summarise(cases, classes, *, seed=0):
    """Mean over cases of every score, per class, with a 95 % bootstrap interval.

    Args:
        cases: list of `Case`.
        classes: names of the classes, background first.
        seed: of the bootstrap.

    Returns:
        {class: {score: {"mean", "low", "high", "cases", "empty", "missed"}}}; with three or more classes also
        "foreground mean", the mean over foreground classes within each case. Surface scores are of the foreground
        only. `empty` counts cases without a score (0/0) and `missed` infinite distances (class in one mask alone);
        both are left out of the mean.
    """
    each = [case.values() for case in cases]
    values = {name: np.stack([case[name] for case in each]) for name in each[0]}
    columns = {name: (slice(i, i + 1)) for i, name in enumerate(classes)}
    if len(classes) > 2:
        columns["foreground mean"] = slice(1, None)
    return {
        label: {
            name: M.mean_over_cases(M.nanmean(value[:, column]), seed=seed)
            for name, value in values.items()
            if name not in SURFACE or column.start > 0
        }
        for label, column in columns.items()
    }


def case_rows(cases, classes):
    """One dict per case and class: names, counts and scores; for a CSV file."""
    rows = []
    for case in cases:
        values = case.values()
        for i, label in enumerate(classes):
            counts = {name: int(value[i]) for name, value in case.counts._asdict().items()}
            scores = {name: round(float(value[i]), 6) for name, value in values.items()}
            rows.append({"case": case.name, "slices": case.slices, "class": label, **counts, **scores})
    return rows
