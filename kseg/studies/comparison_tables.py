"""The tables of numbers on the page of the comparison of losses, in Markdown."""

import numpy as np

from kseg import losses
from kseg.losses import CATEGORIES
from kseg.losses.base import SegmentationLoss
from kseg.studies.comparison_models import GIVEN, TUNED
from kseg.studies.comparison_page import LABELS, label
from kseg.studies.comparison_table import MAIN, mean_of
from kseg.studies.markdown import table

INTERNAL = {"from_logits", "name", "dtype", "reduction", "head"}  # no parameters of a loss


def named(loss):
    """A loss in a table; sums and options in backticks, since `*` means something in Markdown."""
    return loss if loss.isidentifier() else f"`{loss}`"


def overview(result):
    """A table of all scores for each regime, best rank first."""
    lines = []
    for regime in result.regimes:
        found, unranked = result.ranking(regime), result.unranked(regime)
        order = [*(found.names if found else ()), *(x for x in result.losses if not found or x not in found.names)]
        rank = {loss: f"{each:.2f}" for loss, each in zip(found.names, found.ranks, strict=True)} if found else {}
        rank |= {loss: f"not ranked: {why}" for loss, why in unranked.items()}
        rows = []
        for loss in order:
            apart, best = result.between(loss, regime), mean_of(np.array(result.validation(loss, regime)))
            rows.append([
                named(loss), rate_of(result.rate(loss, regime), loss in result.guessed(regime)), rank.get(loss, ""),
                _number(apart), _number(best),
                *(_cell(result.mean(loss, regime, score)) for score in result.shown),
            ])  # fmt: skip
        head = ["loss", "rate", f"rank by {LABELS[MAIN]}", f"{LABELS[MAIN]} between two seeds", "validation Dice"]
        lines += [f"{regime[0].upper()}{regime[1:]}; mean (95 %) ± standard deviation over seeds:", ""]
        lines += table([*head, *(label(result, score) for score in result.shown)], rows)
        lines += _beside(result, regime)
    return [
        *lines,
        f"Ranks are means over cases and describe these trained models. Beside them stands how much the {LABELS[MAIN]} "
        "of two models of a loss differs that only the seed parts: differences of losses of that size are noise. "
        "Validation Dice is that of the kept epoch, the best of several, so chance flatters it: what is better is read "
        "off the test split. The IoU score is the share of the ten thresholds 0.50, 0.55, .., 0.95 that the IoU of a "
        "case exceeds; the document's Table 2 holds this score, as far as its digits tell.", "",
    ]  # fmt: skip


def _beside(result, regime):
    """What the means leave out."""
    lines = []
    missed = {loss: result.missed(loss, regime) for loss in result.losses}
    if any(missed.values()):
        told = ", ".join(f"{named(loss)} {count}" for loss, count in missed.items() if count)
        lines += [f"Infinite distances (nothing found of what is there), left out of the means: {told}.", ""]
    invented = {loss: result.invented(loss, regime) for loss in result.losses}
    if any(lacking for _, lacking in invented.values()):
        told = ", ".join(f"{named(loss)} {some} of {lacking}" for loss, (some, lacking) in invented.items() if lacking)
        lines += [
            "Classes that a case lacks do not count for its scores, whatever was predicted; how often some was (cases, "
            f"classes and seeds): {told}.", "",
        ]  # fmt: skip
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


def rate_of(rate, guessed=False):
    """A learning rate in a table."""
    return "-" if rate is None else f"{rate:g}{' (a guess)' * guessed}"


def guessed(result, regime):
    """A line on the losses whose rate is a guess, if there are any."""
    losses = ", ".join(f"`{loss}`" for loss in result.guessed(regime))
    return [f"The {regime} of {losses} is a guess: the search found no foreground with any.", ""] * bool(losses)


def _number(value):
    return "-" if value != value else f"{value:.4f}"


def _difference(each):
    """Difference and interval, p, p after Holm's correction; the difference alone where there is no test."""
    if each.undecidable:
        return [f"{each.difference:+.4f}", "-", "-"]
    return [f"{each.difference:+.4f} ({each.low:+.4f} to {each.high:+.4f})", _p(each.p), _p(each.adjusted)]


def _p(p):
    return "below 0.001" if p < 1e-3 else f"{p:.3f}"


def pairs(result):
    """A table of all pairs for each regime by the first score, and one by how far probabilities are off."""
    first, calibration = ([line for regime in result.regimes for line in _pairs(result, regime, score)]
                          for score in (MAIN, "ece"))  # fmt: skip
    if not first:
        return []
    return [
        *first, "Whose probabilities are better, by the expected calibration error (ECE): below 0 that of the first is "
        "the smaller one.", "", *calibration,
    ]  # fmt: skip


def _pairs(result, regime, score):
    rows = []
    for (one, other), each in result.pairs(regime, score).items():
        most = min(result.planned(loss, regime) for loss in (one, other))
        rows.append([
            f"{named(one)} over {named(other)}", *_difference(each), f"{each.of} of {most}",
            f"{each.seeds} of {each.of}", _verdict(each),
        ])  # fmt: skip
    head = [f"{LABELS[score]}, {regime}", "difference (95 %)", "p", "p after Holm", "seeds", "above 0", "told apart"]
    return [*table(head, rows), *guessed(result, regime)] if rows else []


def _verdict(each):
    return f"not tested: {each.undecidable}" if each.undecidable else "yes" if each.holds or each.reversed else "no"


def taxonomy(result):
    """D3's Table 1: the losses by category (S3.11), and what their parameters were."""
    found = {category: [] for category in CATEGORIES}
    for spec in result.losses:
        terms = [name for _, name, _ in losses.parse(spec)]
        category = losses.facts(terms[0])["category"] if len(terms) == 1 else "compound"
        found[category].append(named(spec))
    rows = [[named(spec), result.heads[spec][1], _parameters(spec, result.heads[spec][1])] for spec in result.losses]
    return [
        *table(["category", "losses"], [[name, ", ".join(each)] for name, each in found.items() if each]),
        *table(["loss", "head", "parameters"], rows),
        "The document gives no values of its losses' parameters.", "",
    ]  # fmt: skip


def _parameters(spec, head):
    """The options of a loss, or of each term of a sum, as they were in training."""
    auto = {"sigmoid": "0.25 of the foreground", "softmax": "none"}[head]  # alpha of focal loss
    loss = losses.get(spec, from_logits=True)
    terms = loss.terms if isinstance(loss, losses.Sum) else [(1.0, loss)]
    told = []
    for weight, term in terms:
        plain = SegmentationLoss.defaults
        own = {
            name: value for name, value in term.options.items()
            if name not in INTERNAL and (name not in plain or value != plain[name])
        }  # fmt: skip
        words = ", ".join(f"{name} {auto if value == 'auto' else value}" for name, value in own.items()) or "none"
        told.append(f"{weight:g} x {term.registered_name}: {words}" if len(terms) > 1 or weight != 1 else words)
    return "; ".join(told)


def rates(result, budget):
    """How the search for learning rates went, and what the found rates are good for."""
    if not result.search:
        return ["No rate was looked for (`--budget 0`).", ""]
    search = result.search
    epochs = {(each["loss"], each["rate"]): each["epochs"] for trials in search.rounds for each in trials}
    head = ["loss", "found rate", *(f"round {number + 1}" for number in range(len(search.rounds)))]
    rows = []
    for loss in search.rates:
        cells = []
        for trials in search.rounds:
            own = [each for each in trials if each["loss"] == loss]
            cells.append("; ".join(f"{each['rate']:g}: {_score(each)} ({each['epochs']})" for each in own))
        rows.append([named(loss), rate_of(search.rates[loss], loss in search.untaught), *cells])
    lines = [
        "Best validation Dice of short trainings (epochs in brackets), every loss with the same rates and epochs; "
        "after each round the better half of the rates of a loss goes on, and the better half of the losses where more "
        "are left than are to be compared. Starts and batches are those of a seed that the comparison does not use.",
        "", f"It took {search.minutes:.1f} of {budget:g} minutes: {sum(epochs.values())} epochs of training, over "
        f"{len(epochs)} candidates (a loss with a rate each).", "", *table(head, rows),
    ]  # fmt: skip
    edges = ", ".join(f"`{loss}` {search.rates[loss]:g} ({side})" for loss, side in search.edge.items())
    lines += [f"At the edge of the rates tried, so that a better one may lie beyond: {edges}.", ""] * bool(edges)
    untaught = ", ".join(f"`{loss}`" for loss in search.untaught)
    lines += [
        f"No foreground was found with any rate by {untaught} in so short a training: which rate suits it is not "
        "known, and the one taken is the nearest to the middle of those tried.", "",
    ] * bool(untaught)  # fmt: skip
    for loss, whys in search.why.items():
        told = "; ".join(f"at {rate:g} {why}" for rate, why in whys.items())
        lines += [f"`{loss}` broke down in the search: {told}.", ""]
    return [*lines, *_tuning(result)]


def _score(trial):
    return "nan" if trial["score"] is None else f"{trial['score']:.3f}"


def _tuning(result):
    rows = [
        [named(loss), f"{rate_of(result.rate(loss, TUNED), loss in result.guessed(TUNED))} over "
         f"{rate_of(result.rate(loss, GIVEN))}", *_difference(each), f"{each.seeds} of {each.of}", _verdict(each)]
        for loss, each in result.tuning().items()
    ]  # fmt: skip
    if not rows:
        return []
    head = ["loss", f"{TUNED} over {GIVEN}", f"{LABELS[MAIN]}, difference (95 %)", "p", "p after Holm", "above 0",
            "told apart"]  # fmt: skip
    return ["What the found rates are worth on the test split:", "", *table(head, rows)]


def cost(result):
    """Time and memory of training."""
    rows = []
    for loss in result.losses:
        seconds, known = result.seconds(loss), result.costs.get(loss, {})
        median = f"{np.median(seconds):.2f} ({seconds.min():.2f}-{seconds.max():.2f})" if seconds.size else "-"
        known = {name: value for name, value in known.items() if value == value}
        rows.append([
            named(loss), median, f"{1000 * known['step']:.0f}" if "step" in known else "-",
            f"{known['memory']:.0f}" if "memory" in known else "-",
        ])  # fmt: skip
    head = ["loss", "seconds an epoch, median (range)", "ms a step", "MiB a step"]
    return [
        "Seconds are of training an epoch after the first, of all runs; ms and MiB of single steps in a process of its "
        "own, memory beyond what the process has between steps.", "", *table(head, rows),
    ]  # fmt: skip


def classes(result):
    """The first score of each class."""
    lines = []
    for regime in result.regimes:
        rows = []
        for loss in result.losses:
            each = [result.per_class(entry, MAIN) for entry in result.models(loss, regime)]
            if each:
                values = np.concatenate(each)
                rows.append([named(loss), *(f"{mean_of(values[:, k]):.4f}" for k in range(values.shape[1]))])
        lines += [f"{LABELS[MAIN]} of each class, {regime}; mean over seeds and the cases that have it:", ""]
        lines += table(["loss", *result.classes], rows)
    return lines
