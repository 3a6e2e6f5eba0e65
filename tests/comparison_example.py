"""A comparison of losses whose measures are made up, and its page taken apart."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from kseg.configs import CompareLosses
from kseg.studies import comparison_page, comparison_text
from kseg.studies.comparison_claims import FIVE, GENERALIZED, claims
from kseg.studies.comparison_models import GIVEN, TUNED, Entry
from kseg.studies.comparison_table import Result
from kseg.studies.halving import Search
from kseg.studies.rows import Rows

PIXELS = 10_000
DB, JACCARD, FOCAL, TVERSKY, FT = FIVE
SIX = (*FIVE, GENERALIZED)
# IoU as the document orders its losses: focal Tversky, then Dice-BCE and Jaccard, then focal, then Tversky.
AS_SAID = {DB: 0.952, JACCARD: 0.952, FOCAL: 0.949, TVERSKY: 0.947, FT: 0.955, GENERALIZED: 0.958}


def counts_of(iou, share):
    """`[4, cases, 2]` of masks of this share of foreground, as many pixels missed as invented."""
    foreground = np.full(len(iou), share * PIXELS)
    wrong = foreground * (1 - iou) / (1 + iou)
    hit, rest = foreground - wrong, PIXELS - foreground - wrong
    return np.stack([np.stack(pair, axis=1) for pair in ((rest, hit), (wrong, wrong), (wrong, wrong), (hit, rest))])


def made_up(
    iou=None, tuned=None, losses=SIX, seeds=3, cases=11, share=0.25, noise=3e-4, hd95=None, ece=None, broken=(),
    unit="px", search=True, rates=None,
):  # fmt: skip
    """A Result; `tuned` has IoUs at a tuned rate, `broken` (loss, regime, seed), `rates` found of losses, or None."""
    rng, values = np.random.default_rng(0), AS_SAID | (iou or {})
    rates = dict.fromkeys(losses, 0.001) | dict.fromkeys(tuned or (), 0.004) | (rates or {})
    common, entries, measures, nan = rng.normal(0, 0.01, cases), {}, {}, set()
    for seed in range(seeds):
        for regime in (GIVEN, TUNED) if search else (GIVEN,):
            for loss in losses:
                rate = 0.001 if regime == GIVEN else rates[loss]
                if rate is None:
                    continue
                entry = Entry(loss, rate, seed, Path(f"models/{loss}_rate{rate:g}_seed{seed}"))
                entries[loss, regime, seed] = entry
                if (loss, regime, seed) in broken:
                    nan.add(entry.name)
                if entry.name in measures or entry.name in nan:
                    continue
                of = (values | (tuned or {}) if rate == 0.004 else values).get(loss, 0.95)
                own = np.clip(of + common + rng.normal(0, noise, cases), 0, 1)
                distance = np.full(cases, 4.0) if loss not in (hd95 or {}) else np.full(cases, float(hd95[loss]))
                distance += rng.normal(0, 0.01, cases)
                measures[entry.name] = {
                    "counts": counts_of(own, share), "hd95": np.stack([distance, distance], axis=1),
                    "assd": np.ones((cases, 2)), "surface_dice": np.full((cases, 2), 0.9),
                    "ece": (ece or {}).get(loss, 0.02) + rng.normal(0, 1e-4, cases), "brier": np.full(cases, 0.01),
                    "examples": rng.integers(0, 2, (2, 8, 8)).astype(np.uint8), "seconds": np.array([9.0, 1.0, 1.2]),
                }  # fmt: skip
    names = {entry.name for entry in entries.values()}
    histories = {name: {"epoch": [1.0, 2.0], "val_dice": [0.5, 0.6]} if name in measures else {"epoch": []}
                 for name in names}  # fmt: skip
    rounds = [[
        {"loss": loss, "rate": rate, "epochs": 2, "score": None if rates[loss] is None else 0.5 + (rate == rates[loss]),
         "seconds": 1.0, "kept": rate == rates[loss]}
        for loss in losses for rate in (0.001, 0.004)
    ]]  # fmt: skip
    shown = Rows(rng.uniform(size=(2, 8, 8, 1)), rng.integers(0, 2, (2, 8, 8)), np.array([[0, 8, 0, 8]] * 2),
                 np.array(["case 00", "case 01"]), np.arange(2))  # fmt: skip
    return Result(
        "made up", ("background", "lungs"), tuple(losses), entries, np.array([f"case {i:02d}" for i in range(cases)]),
        unit, measures, histories, Search(rounds, rates, tuple(losses)) if search else None,
        {loss: {"memory": 5.0, "step": 0.1} for loss in losses}, dict.fromkeys(losses, (1, "sigmoid")), shown,
    )  # fmt: skip


def spread(result, ious, seeds=(0.0, 1e-4, -1e-4)):
    """Give the losses of `{loss: [cases]}` these IoUs, moved for each seed."""
    for loss, iou in ious.items():
        for entry in result.models(loss, GIVEN):
            moved = np.clip(np.asarray(iou) + seeds[entry.seed], 0, 1)
            result.measures[entry.name]["counts"] = counts_of(moved, 0.25)
    return result


def page_of(result, figures=(), **options):
    losses = dict.fromkeys(key[0] for key in result.entries)
    record = {"config": asdict(CompareLosses(losses=tuple(losses), **options)), "kseg": "1",
              "versions": {"tensorflow": "2", "keras": "3"}}  # fmt: skip
    return comparison_text.page(result, claims(result), record, figures, "figures")


def rows_of(page, heading):
    """{first cell: the other cells} of each table below a heading, by the table's number."""
    tables, inside = [], False
    for line in page.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines():
        if line.startswith("|") and not inside:
            tables.append({})
        inside = line.startswith("|")
        if inside and "---" not in line:
            first, *rest = [cell.strip() for cell in line.strip("|").split("|")]
            tables[-1][first] = rest
    return tables


def drawn(result):
    """Names of the figures of a Result, each drawn."""
    figures = comparison_page.figures(result)
    for figure in figures.values():
        figure.canvas.draw()
    return list(figures)
