"""The page of the comparison of losses, in Markdown."""

import numpy as np

from kseg import losses
from kseg.configs import CompareLosses
from kseg.losses import CATEGORIES
from kseg.stats.compared import SIGNIFICANT
from kseg.studies.comparison_claims import EQUAL, FIVE, SPREAD
from kseg.studies.comparison_models import GIVEN, TUNED
from kseg.studies.comparison_page import FIGURES, LABELS, label
from kseg.studies.comparison_table import MAIN
from kseg.studies.markdown import reproduced, table

# S3.12: {loss: (IoU score, accuracy)}, of 64 images.
DOCUMENT = dict(zip(FIVE, (
    (0.9078125, 0.982588768), (0.9078125, 0.981801510), (0.90625, 0.982077360), (0.8953125, 0.980249405),
    (0.9140625, 0.982855082),
), strict=True))  # fmt: skip
READ = {
    "ranking.png": "Bars join losses that Wilcoxon's tests with Holm's correction do not tell apart.",
    "learning.png": "Thin: each seed; thick: their mean.",
    "search.png": "Each line is a loss with a rate; a cross is where it was dropped.",
}
HOW = (
    "Scores are means over the foreground classes of each test case, then over cases and seeds; accuracy is of all "
    "pixels. Intervals (95 %) resample seeds and cases together. Differences are paired by case; p is of a sign-flip "
    "test over cases, means over seeds, after Holm's correction over all comparisons made together. A claim is "
    "*supported* if all its comparisons hold (interval and p), *contradicted* if all hold the other way round, "
    "*partly supported* if some hold and none the other way round, else *not supported*. Claims that scores are equal "
    f"go by intervals: within {SPREAD} of accuracy, {EQUAL} of IoU; contradicted if one lies wholly outside. Verdicts "
    f"are of the {GIVEN}, the document's way. With few seeds an interval is narrower than it says."
)


def page(result, decided, record, figures, folder="."):
    """The page on a study.

    Args:
        result: Result.
        decided: of `comparison_claims.claims`.
        record: of the run folder, for how it was made.
        figures: names of the figures that there are.
        folder: where they are, seen from the page.
    """
    lines = [f"# Losses compared: {result.name}", "", *_made(result, record), ""]
    lines += ["## Which loss", "", *_answer(result), "", *_overview(result)]
    for name in ("ranking.png", "scores.png"):
        lines += _figure(name, figures, folder)
    lines += ["## Pair by pair", "", *_pairs(result)]
    lines += ["## What the document says, decided", "", *reproduced(decided), *_verdicts(decided), HOW, ""]
    lines += ["## Table 2", "", *_document(result), "## Table 1", "", *_taxonomy(result)]
    lines += ["## Learning rates", "", *_rates(result), *_figure("search.png", figures, folder)]
    lines += _figure("learning.png", figures, folder)
    lines += ["## Time and memory", "", *_cost(result), *_figure("cost.png", figures, folder)]
    lines += ["## Classes", "", *_classes(result)]
    return "\n".join([*lines, "## Images", "", *_figure("compared.png", figures, folder)])


def _figure(name, figures, folder):
    if name not in figures:
        return []
    return [f"![{FIGURES[name]}]({folder}/{name})", "", *([READ[name], ""] if name in READ else [])]


def _made(result, record):
    config = {name: value for name, value in record["config"].items() if name not in ("resume", "output", "overwrite")}
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    config, versions = CompareLosses(**config), record["versions"]
    share = 100 * (1 - result.foreground()[0])
    heads = dict.fromkeys(result.heads[loss] for loss in result.losses)
    told = [
        f"`{config.command()}` (kseg {record['kseg']}, TensorFlow {versions['tensorflow']}, Keras "
        f"{versions['keras']}): {len(set(result.entries.values()))} models, {len(result.case)} test cases, foreground "
        f"{share:.1f} % of their pixels.",
        "",
        f"All models of a seed start from the same weights and see the same batches: {config.epochs} epochs in batches "
        f"of {config.batch_size}, Adam, a U-Net with {config.filters} filters and {config.depth} poolings "
        f"({'with' if config.bn else 'without'} batch normalisation, decoder `{config.decoder}`). Of each model the "
        "epoch of best validation Dice is kept, and scored on the test split.",
    ]
    if len(heads) > 1:
        kinds = {head: [loss for loss in result.losses if result.heads[loss] == head] for head in heads}
        each = "; ".join(f"{head}, {n} channel{'s' * (n > 1)}: {', '.join(k)}" for (n, head), k in kinds.items())
        told += ["", f"Not all losses fit one head, so last layers differ: {each}."]
    return told


def _answer(result):
    lines = []
    for regime in result.regimes:
        found = result.ranking(regime)
        if not found:
            continue
        if not found.cases:
            lines.append(f"- **{regime}**: no case has the {LABELS[MAIN]} of every loss, so there are no ranks.")
            continue
        best, *others = found.names
        told = f"**{regime}**: best mean rank of the {LABELS[MAIN]} `{best}` ({result.mean(best, regime, MAIN)[0]:.4f})"
        rest = [f"`{name}`" for name in others if not found.p[best, name] < SIGNIFICANT]
        told += f", not told apart from {', '.join(rest)}" if rest else ", told apart from each other one"
        means = {loss: result.mean(loss, regime, MAIN)[0] for loss in found.names}
        worst = min(means, key=means.get)
        lines.append(
            f"- {told} (ranks of these trained models over {found.cases} cases: another seed may rank otherwise). "
            f"Lowest mean: `{worst}` ({means[worst]:.4f}). Friedman's p: {_p(found.friedman)}."
        )
    broken = {(loss, regime): result.broken(loss, regime) for loss in result.losses for regime in result.regimes}
    lines += [
        f"- `{loss}` broke down (its loss became nan) in {count} of its runs, {regime}."
        for (loss, regime), count in broken.items() if count
    ]  # fmt: skip
    if TUNED not in result.regimes and result.search:
        nothing = [f"`{loss}`" for loss in result.losses if result.search.rates[loss] is None]
        lines.append("- The search found no other rate than the given one for any loss: there is one table.")
        lines += [f"- No rate of {', '.join(nothing)} ended in the search."] if nothing else []
    return lines or ["One loss alone: nothing to rank."]


def _p(p):
    return "nan" if p != p else "below 0.001" if p < 1e-3 else f"{p:.3f}"


def _overview(result):
    lines = []
    for regime in result.regimes:
        found = result.ranking(regime)
        order = [*(found.names if found else ()), *(x for x in result.losses if not found or x not in found.names)]
        rank = dict(zip(found.names, found.ranks, strict=True)) if found else {}
        rows = []
        for loss in order:
            cells = [_cell(result.mean(loss, regime, score)) for score in result.shown]
            rows.append([loss, _rate(result.rate(loss, regime)), f"{rank[loss]:.2f}" if loss in rank else "", *cells])
        head = ["loss", "rate", f"rank by {LABELS[MAIN]}", *(label(result, score) for score in result.shown)]
        lines += [f"{regime[0].upper()}{regime[1:]}; mean (95 %) ± standard deviation over seeds:", ""]
        lines += table(head, rows)
        missed = {loss: result.missed(loss, regime) for loss in result.losses}
        if any(missed.values()):
            told = ", ".join(f"{loss} {count}" for loss, count in missed.items() if count)
            lines += [f"Infinite distances (foreground in one mask alone), left out of the means: {told}.", ""]
    return lines


def _cell(values):
    mean, low, high, seeds = values
    if mean != mean:
        return "-"
    spread = f" ± {np.std(seeds, ddof=1):.3f}" if len(seeds) > 1 else ""
    if not np.isfinite([low, high]).all():
        return f"{mean:.4f}{spread}"
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in (low, high))
    return f"{mean:.4f} ({low}-{high}){spread}"


def _rate(rate):
    return "-" if rate is None else f"{rate:g}"


def _pairs(result):
    lines = []
    for regime in result.regimes:
        rows = [
            [f"{each.first} - {each.second}", f"{each.difference:+.4f} ({each.low:+.4f} to {each.high:+.4f})",
             _p(each.p), _p(each.adjusted), f"{each.seeds} of {each.of}",
             "yes" if each.holds or each.reversed else "no"]
            for each in result.pairs(regime).values()
        ]  # fmt: skip
        head = [f"{LABELS[MAIN]}, {regime}", "difference (95 %)", "p", "p after Holm", "seeds above 0", "told apart"]
        lines += table(head, rows) if rows else []
    return lines


def _verdicts(decided):
    regimes = list(decided[0]["readings"])
    rows = [
        [f"**{each['claim']}** {each['text']}", *(each["readings"][regime] for regime in regimes),
         each["why"].replace("; ", "<br>")]
        for each in decided
    ]  # fmt: skip
    return table(["claim", *regimes, f"numbers, {regimes[0]}"], rows)


def _document(result):
    """D3's Table 2 beside ours, in both readings of IoU (S3.12)."""
    rows = []
    for loss in dict.fromkeys([*FIVE, *result.losses]):
        theirs = [f"{value:.4f}" for value in DOCUMENT.get(loss, ())] or ["", ""]
        ours = []
        for regime in result.regimes:
            ours += [_short(result.mean(loss, regime, score)) for score in ("iou_score", "iou", "accuracy")]
        rows.append([loss, *theirs, *ours])
    names = [f"{LABELS[score]}, {regime}" for regime in result.regimes for score in ("iou_score", "iou", "accuracy")]
    head = ["loss", "document: IoU score", "document: accuracy", *names]
    return [
        *table(head, rows),
        "Ours: mean ± standard deviation over seeds. The document's are of one run: its best and its second loss are 4 "
        "of 640 crossed thresholds apart, its best and its worst 12, so its ranking is within chance. Its images, "
        "network and number of steps are others: compare the order.", "",
    ]  # fmt: skip


def _short(values):
    mean, _, _, seeds = values
    if mean != mean:
        return "-"
    return f"{mean:.4f} ± {np.std(seeds, ddof=1):.4f}" if len(seeds) > 1 else f"{mean:.4f}"


def _taxonomy(result):
    """D3's Table 1: the losses by category (S3.11)."""
    found = {category: [] for category in CATEGORIES}
    for spec in result.losses:
        terms = [name for _, name, _ in losses.parse(spec)]
        category = losses.facts(terms[0])["category"] if len(terms) == 1 else "compound"
        found[category].append(spec)
    return table(["category", "losses"], [[name, ", ".join(each)] for name, each in found.items() if each])


def _rates(result):
    if not result.search:
        return ["No rate was looked for (`--budget 0`).", ""]
    search = result.search
    head = ["loss", "found rate", *(f"round {number + 1}" for number in range(len(search.rounds)))]
    rows = []
    for loss in search.rates:
        cells = []
        for trials in search.rounds:
            own = [each for each in trials if each["loss"] == loss]
            cells.append("; ".join(f"{each['rate']:g}: {_score(each)} ({each['epochs']})" for each in own))
        rows.append([loss, _rate(search.rates[loss]), *cells])
    told = (
        "Best validation Dice of short trainings (epochs in brackets), every loss with the same rates and epochs; "
        "after each round the better half of the rates of a loss goes on, and the better half of the losses where more "
        "are left than are to be compared. Starts and batches are those of a seed that the comparison does not use."
    )
    return [told, "", *table(head, rows)]


def _score(trial):
    return "nan" if trial["score"] is None else f"{trial['score']:.3f}"


def _cost(result):
    rows = []
    for loss in result.losses:
        seconds, cost = result.seconds(loss), result.costs.get(loss, {})
        median = f"{np.median(seconds):.2f} ({seconds.min():.2f}-{seconds.max():.2f})" if seconds.size else "-"
        known = {name: value for name, value in cost.items() if value == value}
        rows.append([
            loss, median, f"{1000 * known['step']:.0f}" if "step" in known else "-",
            f"{known['memory']:.0f}" if "memory" in known else "-",
        ])  # fmt: skip
    head = ["loss", "seconds an epoch, median (range)", "ms a step", "MiB a step"]
    return [
        "Seconds are of training an epoch after the first, of all runs; ms and MiB of single steps in a process of its "
        "own, memory beyond what the process has between steps.", "", *table(head, rows),
    ]  # fmt: skip


def _classes(result):
    lines = []
    for regime in result.regimes:
        rows = []
        for loss in result.losses:
            each = [result.per_class(entry, MAIN) for entry in result.models(loss, regime)]
            if each:
                values = np.concatenate(each)
                rows.append([loss, *(f"{_mean(values[:, k]):.4f}" for k in range(values.shape[1]))])
        lines += [f"{LABELS[MAIN]} of each class, {regime}; mean over seeds and the cases that have it:", ""]
        lines += table(["loss", *result.classes], rows)
    return lines


def _mean(values):
    known = values[np.isfinite(values)]
    return known.mean() if known.size else float("nan")
