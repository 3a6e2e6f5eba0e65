"""The page of the comparison of losses, in Markdown."""

import re

import numpy as np

from kseg.configs import CompareLosses
from kseg.stats import ENOUGH
from kseg.stats.compared import SEEDS
from kseg.studies import comparison_tables as tables
from kseg.studies.comparison_claims import EQUAL, FIVE, NAMES, NEARLY, ROUND, SECOND, SPREAD
from kseg.studies.comparison_models import GIVEN, TUNED
from kseg.studies.comparison_page import FIGURES, LABELS, noise, why_untested
from kseg.studies.comparison_table import MAIN
from kseg.studies.markdown import reproduced, table

# S3.12: {loss: (IoU score, accuracy)}, of 64 images.
DOCUMENT = dict(zip(FIVE, (
    (0.9078125, 0.982588768), (0.9078125, 0.981801510), (0.90625, 0.982077360), (0.8953125, 0.980249405),
    (0.9140625, 0.982855082),
), strict=True))  # fmt: skip
READ = {
    "ranking.png": "Bars join losses that are not told apart: p of their pair, below, is not under 0.05.",
    "learning.png": "Thin: each seed; thick: their mean.",
    "search.png": "Each line is a loss with a rate; a cross is where it was dropped.",
}
HOW = (
    "Scores are means over the foreground classes that a test case has by its truth, then over cases and seeds; "
    "accuracy is of all pixels. Intervals (95 %) of scores resample seeds and cases together; of few seeds they are "
    "narrower than they say. Differences are paired by seed and case; their intervals and p take both as drawn at "
    "random (Clark's min F', with Satterthwaite's degrees of freedom), p after Holm's correction: above over all pairs "
    "of a table, here over all that the claims ask of one score, two losses that several ask for counted once. The "
    "variance of a few seeds is near 0 now and then by chance, which would make a test far too sure; so no pair is "
    "taken to vary less from seed to seed than the median of all pairs of its rates and score, with half of their "
    "degrees of freedom, and no found rate over the given one less than the median of all losses. By simulation some 1 "
    "to 6 % of studies of six losses without any difference then call a pair apart, of three seeds and of five. Below "
    f"{SEEDS} seeds or {ENOUGH} cases nothing is decided.",
    "A claim is *supported* if all its comparisons hold (p below 0.05), *contradicted* if all hold the other way "
    "round, *partly supported* if some hold and none the other way round, else *not supported*; 1 and 3, of a best and "
    "of a worst loss, are contradicted by a single comparison that holds the other way round. 2 asks for Dice-BCE "
    "and Jaccard alike, focal Tversky above both, and both above focal and Tversky. That scores are equal goes by "
    f"intervals: within {SPREAD} of accuracy, {EQUAL} of IoU; contradicted if one lies wholly outside. 7 goes by the "
    f"intervals of Dice-BCE over each other loss that was compared, by {', '.join(NAMES[score] for score in ROUND)}: "
    f"supported if all are above -{NEARLY}, contradicted if one is wholly below, else not supported. Verdicts are of "
    f"the {GIVEN}, the document's way, and of {NAMES[MAIN]}; who is better is read again by the {NAMES[SECOND]}.",
)
WAY = {  # of the document (S3.3, S3.4, S3.10)
    "images": "256 x 256", "channels of the U-Net": "32 to 512", "decoder": "transpose", "batch": "16",
    "rate of Adam": "0.0002", "epochs": "50", "models of a loss": "1", "test images": "64",
}  # fmt: skip


def page(result, decided, record, figures, folder="."):
    """The page on a study.

    Args:
        result: Result.
        decided: of `comparison_claims.claims`.
        record: of the run folder, for how it was made.
        figures: names of the figures that there are.
        folder: where they are, seen from the page.
    """
    config = _config(record)
    lines = [f"# Losses compared: {result.name}", "", *_made(result, config, record), ""]
    lines += ["## Which loss", "", *_answer(result), "", *tables.overview(result)]
    for name in ("ranking.png", "scores.png"):
        lines += _figure(name, figures, folder)
    lines += ["## Pair by pair", "", *tables.pairs(result)]
    lines += ["## What the document says, decided", "", *reproduced(decided), *_verdicts(decided, result)]
    lines += [line for each in HOW for line in (each, "")]
    lines += ["## Table 2", "", *_document(result, config), "## Table 1", "", *tables.taxonomy(result)]
    lines += ["## Learning rates", "", *tables.rates(result, config.budget), *_figure("search.png", figures, folder)]
    lines += _figure("learning.png", figures, folder)
    lines += ["## Time and memory", "", *tables.cost(result), *_figure("cost.png", figures, folder)]
    lines += ["## Classes", "", *tables.classes(result)]
    return "\n".join([*lines, "## Images", "", *_figure("compared.png", figures, folder)])


def _figure(name, figures, folder):
    if name not in figures:
        return []
    return [f"![{FIGURES[name]}]({folder}/{name})", "", *([READ[name], ""] if name in READ else [])]


def _config(record):
    config = {name: value for name, value in record["config"].items() if name not in ("resume", "output", "overwrite")}
    return CompareLosses(**{name: tuple(value) if isinstance(value, list) else value for name, value in config.items()})


def _made(result, config, record):
    versions, share = record["versions"], 100 * (1 - result.foreground()[0])
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
        each = "; ".join(
            f"{head}, {n} channel{'s' * (n > 1)}: {', '.join(map(tables.named, k))}" for (n, head), k in kinds.items()
        )
        told += ["", f"Not all losses fit one head, so last layers differ: {each}."]
    return [*told, *(line for note in result.notes for line in ("", note))]


def _answer(result):
    lines = []
    for regime in result.regimes:
        found, unranked = result.ranking(regime), result.unranked(regime)
        if found:
            lines.append(f"- **{regime}**: " + (_best(result, regime, found) if found.cases else NO_CASE))
        for loss, why in unranked.items():
            lines.append(f"- `{loss}`, {regime}, is not ranked: {why}.{_broken(result, loss, regime)}")
    if TUNED not in result.regimes and result.search:
        lines.append("- The search found no other rate than the given one for any loss: there is one table.")
        nothing = [f"`{loss}`" for loss in result.losses if result.search.rates.get(loss) is None]
        lines += [f"- No rate of {', '.join(nothing)} ended in the search."] if nothing else []
    return lines or ["One loss alone: nothing to rank."]


NO_CASE = f"no case has the {LABELS[MAIN]} of every loss, so there are no ranks."


def _best(result, regime, found):
    """Who has the best rank, whom it is told apart from, and what is noise."""
    best, *others = found.names
    means = {loss: result.mean(loss, regime, MAIN)[0] for loss in found.names}
    worst = min(means, key=means.get)
    if found.apart is None:
        told = f"no two losses are told apart ({why_untested(result, regime)})"
    else:
        rest = [f"`{name}`" for name in others if (best, name) not in found.apart]
        ranked = " that is ranked" * bool(result.unranked(regime))
        told = f"not told apart from {', '.join(rest)}" if rest else f"told apart from each other one{ranked}"
    apart, most = noise(result, regime), max(means.values()) - means[worst]
    seeds = f" Two seeds of one loss differ by {apart:.4f} on average, the losses by up to {most:.4f}."
    return (
        f"best mean rank of the {LABELS[MAIN]} `{best}` ({means[best]:.4f}), {told}. Lowest mean: `{worst}` "
        f"({means[worst]:.4f}).{seeds * (apart == apart)}"
    )


def _broken(result, loss, regime):
    """How many of a loss's runs broke down and why; empty if none did."""
    if not (count := result.broken(loss, regime)):
        return ""
    entries = [entry for key, entry in result.entries.items() if key[:2] == (loss, regime)]
    whys = dict.fromkeys(entry.trouble for entry in entries if entry.name not in result.measures and entry.trouble)
    left = " It is compared over the other seeds." if result.models(loss, regime) else ""
    return f" It broke down in {count} of its runs{': ' * bool(whys)}{'; '.join(whys)}.{left}"


def _verdicts(decided, result):
    readings = list(dict.fromkeys(reading for each in decided for reading in each["readings"]))
    rows = [
        [f"**{each['claim']}** {each['text']}", *(each["readings"].get(reading, "") for reading in readings),
         _coded(each["why"], result.losses).replace("; ", "<br>")]
        for each in decided
    ]  # fmt: skip
    head = ["claim", *readings, f"numbers, {readings[0]}"]
    return [*table(head, rows), *tables.guessed(result, TUNED)]


def _coded(text, losses):
    """A text in which sums of losses, and losses with options, stand in backticks."""
    sums = sorted((loss for loss in losses if not loss.isidentifier()), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, sums)), r"`\g<0>`", text) if sums else text


def _document(result, config):
    """D3's Table 2 beside ours, in both readings of IoU (S3.12), and in what we differ."""
    rows = []
    for loss in dict.fromkeys([*FIVE, *result.losses]):
        theirs = [f"{value:.4f}" for value in DOCUMENT.get(loss, ())] or ["", ""]
        ours = []
        for regime in result.regimes:
            ours += [_short(result.mean(loss, regime, score)) for score in ("iou_score", "iou", "accuracy")]
        rows.append([tables.named(loss), *theirs, *ours])
    names = [f"{LABELS[score]}, {regime}" for regime in result.regimes for score in ("iou_score", "iou", "accuracy")]
    head = ["loss", "document: IoU score", "document: accuracy", *names]
    here = _way(result, config)
    return [
        *table(head, rows),
        "Ours: mean ± standard deviation over seeds. The document's are of one run: its best and its second loss are 4 "
        "of 640 crossed thresholds apart, its best and its worst 12, so its ranking is within chance.", "",
        *table(["", "document", "here"], [[name, WAY[name], here[name]] for name in WAY if here[name] != WAY[name]]),
        f"As in the document: {', '.join(name for name in WAY if here[name] == WAY[name]) or 'none of these'}. Where "
        "images or training differ, compare the order of the losses, not their scores.", "",
    ]  # fmt: skip


def _way(result, config):
    """What the document tells of its way, of ours."""
    height, width = result.examples.images.shape[1:3]
    seeds = f"{config.seeds}{' of each rate' * (len(result.regimes) > 1)}"
    widest = config.filters << config.depth
    return {
        "images": f"{height} x {width}", "channels of the U-Net": f"{config.filters} to {widest}",
        "decoder": config.decoder, "batch": str(config.batch_size), "rate of Adam": f"{config.learning_rate:g}",
        "epochs": str(config.epochs), "models of a loss": seeds, "test images": str(len(result.case)),
    }  # fmt: skip


def _short(values):
    mean, _, _, seeds = values
    if mean != mean:
        return "-"
    return f"{mean:.4f} ± {np.std(seeds, ddof=1):.4f}" if len(seeds) > 1 else f"{mean:.4f}"
