"""Figures of the comparison of losses: ranks, predictions, and the search for learning rates."""

from itertools import combinations
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from kseg.report.comparison import WIDTH, comparison_styles, legend_below, wrapped
from kseg.report.figures import OUTCOMES, class_palette, outcome_overlay, show_image

IN_LINE = 7  # predictions side by side
LEVEL = 0.65  # lines of names: from one bar of the ranks to the next
LINE = 120  # letters of a note


def plot_ranking(panels, title="", notes=None):
    """Mean rank of each loss, and which are not told apart (Demsar's diagram).

    Args:
        panels: {name: `kseg.stats.Ranking`}, drawn one below the other.
        title: above the figure.
        notes: {name: lines} to be told below a panel.
    """
    below = {name: _words(each, (notes or {}).get(name, ())) for name, each in panels.items()}
    heights = [
        1.0 + 0.15 * (below[name].count("\n") + 1) + 0.19 * (-(-len(each.names) // 2) + LEVEL * _levels(each)[1])
        for name, each in panels.items()
    ]
    figure = Figure(figsize=(WIDTH, 0.4 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, each) in zip(axes, panels.items(), strict=True):
        axis.set_title(name, fontsize=10)
        _ranks(axis, each, below[name])
    figure.suptitle(title, fontsize=11)
    return figure


def _ranks(axis, found, words):
    """One diagram. Heights are lines of names, counted downwards from the axis of ranks."""
    count, half = len(found.names), -(-len(found.names) // 2)
    levels, used = _levels(found)
    first = 1.0 + LEVEL * used
    axis.set(xlim=(1, count), ylim=(first + half - 0.3, 0), yticks=[])
    axis.spines[["left", "right", "bottom"]].set_visible(False)
    axis.xaxis.tick_top()
    axis.set_xticks(range(1, count + 1, max(1, count // 10)))
    axis.xaxis.set_label_position("top")
    axis.set_xlabel("mean rank over cases, 1 is best", fontsize=8.5)
    axis.tick_params(labelsize=8)
    axis.text(0.5, -0.03, words, ha="center", va="top", fontsize=8, transform=axis.transAxes)
    if not found.cases:
        return
    rank = dict(zip(found.names, found.ranks, strict=True))
    for level, clique in zip(levels, found.cliques, strict=True):
        axis.plot([rank[clique[0]], rank[clique[-1]]], [0.6 + LEVEL * level] * 2, color="black", linewidth=4.5,
                  solid_capstyle="round", clip_on=False, zorder=3)  # fmt: skip
    out = 0.04 * (count - 1)
    for place, name in enumerate(found.names):
        left = place < half
        row, end = (place, 1 - out) if left else (count - 1 - place, count + out)
        axis.plot([rank[name], rank[name], end], [0, first + row, first + row], color="0.35", linewidth=0.9,
                  clip_on=False)  # fmt: skip
        text = f"{name}  {rank[name]:.2f} " if left else f" {rank[name]:.2f}  {name}"
        axis.text(end, first + row, text, ha="right" if left else "left", va="center", fontsize=8)


def _words(found, notes):
    """What the ranks are of, what the bars mean, and who is told apart where bars do not show it."""
    if not found.cases:
        return "no case has a number for every loss"
    lines = [f"ranks of these trained models over {found.cases} cases"]
    if found.apart is None:
        lines.append("no bars: whether losses differ was not tested")
    else:
        alike = {pair for pair in combinations(found.names, 2) if pair not in found.apart}
        others = len(alike - {pair for clique in found.cliques for pair in combinations(clique, 2)})
        if found.cliques:
            more = (f" (nor are {others} other pairs)" if others > 1 else " (nor is one other pair)") * bool(others)
            lines.append(f"bars join losses that are not told apart{more}, other seeds and other cases being possible")
        else:
            lines.append(f"every pair{f' but {others}' * bool(others)} is told apart")
        if others and found.apart:
            lines.append(f"told apart: {_told(found)}")
    return "\n".join(line for each in (*lines, *notes) for line in wrap(each, LINE))


def _told(found):
    """The pairs that are told apart, each loss with those ranked below it, in words."""
    worse = {name: [other for other in found.names if (name, other) in found.apart] for name in found.names}
    return "; ".join(f"{name} from {', '.join(others)}" for name, others in worse.items() if others)


def _levels(found):
    """The level of each clique's bar, so that no two touch, and how many levels there are."""
    rank, ends, levels = dict(zip(found.names, found.ranks, strict=True)), [], []
    apart = 0.03 * (len(found.names) - 1)
    for clique in found.cliques:
        free = [level for level, end in enumerate(ends) if rank[clique[0]] > end + apart]
        level = free[0] if free else len(ends)
        ends[level : level + 1] = [rank[clique[-1]]]
        levels.append(level)
    return levels, len(ends)


def plot_compared(examples, classes, value_range, title="", score="Dice"):
    """What models of several losses make of the same images (Figure 1 of D3).

    Args:
        examples: list of dicts `image` `[H, W, C]`, `mask` `[H, W]`, `name`, `predicted` {loss: `[H, W]`} of the same
            losses, and, if known, `scores` {loss: number}, written below the predictions.
        classes: names, background first. Of two, each prediction is drawn by what is right and wrong in it, of more by
            its classes.
        value_range: (least, greatest) value of the images.
        title: above the figure.
        score: what the scores are.

    Returns:
        A figure with image, true mask and predictions side by side; of more than seven losses on several lines.
    """
    losses = list(examples[0]["predicted"])
    lines = -(-len(losses) // IN_LINE)
    columns = 2 + -(-len(losses) // lines)
    height, width = examples[0]["mask"].shape
    side = min(WIDTH / columns, 2.6)
    labels = {loss: wrapped(loss, max(8, int(side / 0.062))) for loss in losses}
    cell = (side - 0.1) * height / width + 0.21
    heads = 0.13 * (1 + max(label.count("\n") for label in labels.values()))
    tall = 0.7 + cell * lines * len(examples) + heads * (1 if lines == 1 else lines * len(examples))
    figure = Figure(figsize=(max(side * columns, 5), tall), layout="constrained")
    axes = figure.subplots(lines * len(examples), columns, squeeze=False)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.axis("off")
    for number, example in enumerate(examples):
        block = axes[number * lines : (number + 1) * lines]
        named = number == 0 or lines > 1
        _example(block, example, labels, named, classes, value_range, score)
    palette = class_palette(classes)
    colours = OUTCOMES if len(classes) == 2 else {name: palette[k] for k, name in enumerate(classes)}
    handles = [Patch(facecolor=colour, edgecolor="0.4", label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _example(block, example, labels, named, classes, value_range, score):
    """One image, its mask and its predictions, in the axes `[lines, columns]`."""

    def show(axis, ids, name, below=None):
        axis.axis("on")
        if ids is None:
            show_image(axis, example["image"], *value_range)
        elif len(classes) == 2:
            axis.imshow(outcome_overlay(example["image"], value_range, example["mask"], ids), interpolation="nearest")
        else:
            axis.imshow(class_palette(classes)[ids], interpolation="nearest")
        if named:
            axis.set_title(name, fontsize=7.5, pad=4)
        if below is not None:
            axis.set_xlabel(f"{score} {below:.3f}" if np.isfinite(below) else f"no {score}", fontsize=7, labelpad=4)

    show(block[0, 0], None, "image")
    block[0, 0].set_ylabel(wrapped(str(example["name"]), 18), fontsize=7.5)
    show(block[0, 1], example["mask"], "true mask")
    for axis, (loss, ids) in zip(block[:, 2:].ravel(), example["predicted"].items(), strict=False):
        show(axis, ids, labels[loss], (example.get("scores") or {}).get(loss))


def plot_halving(rounds, title=""):
    """The search for learning rates by successive halving: scores as training goes on, and the last score of each.

    Args:
        rounds: list of rounds, each a list of dicts `loss`, `rate`, `epochs` (trained so far), `score` (best Dice of
            validation, nan where training failed) and `kept` (whether it goes on, or wins).
        title: above the figure.

    Returns:
        A figure: left, a line for each loss and rate, which ends in a cross where it was dropped; right, its last
        score, the darker the later that is, with a frame where it was kept to the end.
    """
    losses = list(dict.fromkeys(entry["loss"] for entries in rounds for entry in entries))
    styles, tracks = comparison_styles(losses), {}
    for number, entries in enumerate(rounds):
        for entry in entries:
            tracks.setdefault((entry["loss"], entry["rate"]), []).append({**entry, "round": number})
    figure = Figure(figsize=(WIDTH, 1), layout="constrained")
    axis, table = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for (loss, _), track in tracks.items():
        style = {**styles[loss], "linewidth": 1.1, "markersize": 4.5}
        points = [(entry["epochs"], entry["score"]) for entry in track if np.isfinite(entry["score"])]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        goes_on = len(x) if track[-1]["kept"] else len(x) - 1
        axis.plot(x, y, **style, markevery=list(range(goes_on)))
        if goes_on < len(x):
            axis.plot(x[-1], y[-1], **style | {"marker": "x", "markeredgewidth": 1.4})
    axis.set(xlabel="epochs trained so far", ylabel="best Dice of validation")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(alpha=0.3)
    _last_scores(table, losses, tracks, len(rounds))
    handles = [Line2D([], [], label=wrapped(loss), linewidth=1.1, markersize=4.5, **styles[loss]) for loss in losses]
    handles.append(Line2D([], [], color="0.3", marker="x", linestyle="", markersize=5, label="dropped"))
    below = legend_below(figure, handles)
    height = sum(0.1 + 0.13 * (label.get_text().count("\n") + 1) for label in table.get_yticklabels())
    figure.set_size_inches(WIDTH, max(3.8, 1.2 + height) + below)
    figure.suptitle(title, fontsize=11)
    return figure


def _last_scores(axis, losses, tracks, rounds):
    """A table of the last score of each loss and learning rate."""
    rates = sorted({rate for _, rate in tracks})
    for (loss, rate), track in tracks.items():
        last, x, y = track[-1], rates.index(rate), losses.index(loss)
        grey = 1 - 0.45 * last["round"] / max(1, rounds - 1)
        axis.add_patch(Rectangle((x, y), 1, 1, facecolor=str(grey), edgecolor="white", linewidth=1))
        if last["kept"]:
            axis.add_patch(Rectangle((x + 0.03, y + 0.08), 0.94, 0.84, fill=False, linewidth=1.5, zorder=3))
        text = f"{last['score']:.3f}" if np.isfinite(last["score"]) else "failed"
        axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=7.5,
                  fontweight="bold" if last["kept"] else "normal")  # fmt: skip
    axis.set(xlim=(0, len(rates)), ylim=(len(losses), 0), xlabel="learning rate")
    axis.set_xticks(np.arange(len(rates)) + 0.5, [f"{rate:.3g}" for rate in rates], fontsize=8)
    axis.set_yticks(np.arange(len(losses)) + 0.5, [wrapped(loss, 24) for loss in losses], fontsize=7.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title("last score of each; darker: trained longer,\nframed: kept to the end", fontsize=8.5)
