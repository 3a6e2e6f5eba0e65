"""Figures of the pixel study that show numbers: Dice under attack, spread against robustness, gradient statistics."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

# Okabe and Ito's colours for colour-blind readers; the markers tell the losses apart in grey print.
LOSS_STYLE = {
    "bce": {"color": "#0072b2", "marker": "o"},
    "dice": {"color": "#d55e00", "marker": "s"},
    "bce+dice": {"color": "#009e73", "marker": "^"},
    "bce+dice+focal": {"color": "#cc79a7", "marker": "D"},
    "bce+dice, cutout": {"color": "#e69f00", "marker": "v"},
    "bce+dice, salient": {"color": "#56b4e9", "marker": "P"},
}
OTHERS = (
    {"color": "#000000", "marker": "X"}, {"color": "#7f7f7f", "marker": "<"},
    {"color": "#8c5a2b", "marker": ">"}, {"color": "#5e3c99", "marker": "*"},
)  # fmt: skip
STATISTICS = {
    "share_above": "share of pixels above 10 % of the largest |g|",
    "participation": "participation ratio",
    "top_distance": "mean distance of the 30 largest |g| [px]",
    "largest": "largest |g| (log scale)",
    "sharpness": "sharpness: mean slope / largest |g| [1/px]",
    "soft_margin": "soft margin: share of pixels with 0.1 < p < 0.9",
}
LEGEND_ROWS = 3
FEW = 4  # panels that are wide enough for bands, and a thin line a seed
MARK, MARK_STYLES = {"color": "0.35", "linewidth": 1.2}, (":", "-.", (0, (1, 4)), (0, (6, 3)))
MEANINGS = {
    "mean": ("mean over seeds and cases", {"linestyle": "-", "linewidth": 2}),
    "seeds": ("one seed", {"linestyle": "-", "linewidth": 0.7, "alpha": 0.6}),
    "band": ("interval of 95 %", None),
    "control": ("random pixels instead", {"linestyle": "--", "linewidth": 1}),
    "start": ("left of 0: without an attack", {"linestyle": "", "marker": "o", "markersize": 4.5}),
    "document": ("in the document", {"linestyle": "", "marker": "o", "markersize": 8, "markerfacecolor": "none"}),
}


def loss_styles(names):
    """{name: {"color", "marker"}} of losses; those that LOSS_STYLE does not know get others, in their order."""
    unknown = iter(range(len(names)))
    return {
        name: LOSS_STYLE[name] if name in LOSS_STYLE else OTHERS[next(unknown) % len(OTHERS)]
        for name in dict.fromkeys(names)
    }


def plot_robustness(panels, title=""):
    """Dice, or the share of it that is left, against the strength of an attack (S0.10 to S0.13).

    Args:
        panels: list of dicts, one a panel: `title`, `xlabel`, `curves` {model: {"x", "mean", "low", "high" `[P]`,
            "seeds" `[S, P]` or None}}, and, each None or left out where there is none, `ylabel`, `control` (curves of
            random pixels, drawn thin and dashed), `marks` [(x, label)] (vertical lines) and `document` {model: (x, y)}
            (numbers or lists, drawn hollow).
        title: above the figure.

    Returns:
        A figure 900 pixels wide at 100 dpi, two panels in a row; of more than four panels three in a row, means alone.
        The axis goes from 0 to 1, further where a curve does.
    """
    few = len(panels) <= FEW
    columns = min(len(panels), 2 if few else 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(9, 0.9 + (3.6 if few else 2.5) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    styles = loss_styles([name for panel in panels for name in panel["curves"]])
    marks = dict.fromkeys(label for panel in panels for _, label in panel.get("marks") or ())
    marks = {label: MARK_STYLES[i % len(MARK_STYLES)] for i, label in enumerate(marks)}
    shown = {"mean"}
    for axis, panel in zip(axes, panels, strict=False):
        shown |= _panel(axis, panel, styles, marks, few)
        axis.tick_params(labelleft=True)
    for axis in axes[len(panels) :]:
        axis.axis("off")
    drawn = [curve[key] for panel in panels for curve in panel["curves"].values() for key in ("mean", "high")]
    axes[0].set_ylim(-0.02, 1.02 * max(1, np.nanmax(np.concatenate(drawn))))
    _legend(figure, styles, shown, marks)
    figure.suptitle(title, fontsize=11)
    return figure


def _panel(axis, panel, styles, marks, few):
    """Draw one panel; returns what of MEANINGS it shows."""
    shown = set()
    for x, label in panel.get("marks") or ():
        axis.axvline(x, linestyle=marks[label], zorder=1, **MARK)
    for name, curve in panel["curves"].items():
        colour, marker = styles[name]["color"], styles[name]["marker"]
        seeds = curve.get("seeds")
        if few and np.isfinite(curve["low"]).any():
            axis.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=0.13, linewidth=0)
            shown.add("band")
        if few and seeds is not None and len(seeds) > 1:
            axis.plot(curve["x"], np.transpose(seeds), color=colour, linewidth=0.7, alpha=0.45)
            shown.add("seeds")
        axis.plot(curve["x"], curve["mean"], color=colour, linewidth=2 if few else 1.5, marker=marker,
                  markersize=4.5 if few else 3.5, zorder=3)  # fmt: skip
    for name, curve in (panel.get("control") or {}).items():
        axis.plot(curve["x"], curve["mean"], "--", color=styles[name]["color"], linewidth=1, zorder=2.5)
        shown.add("control")
    for name, (x, y) in (panel.get("document") or {}).items():
        style = {"color": styles[name]["color"], "marker": styles[name]["marker"]}
        axis.plot(np.atleast_1d(x), np.atleast_1d(y), linestyle="", markersize=10, markerfacecolor="none",
                  markeredgewidth=2, zorder=4, **style)  # fmt: skip
        shown.add("document")
    for name, value in (panel.get("start") or {}).items():
        left = -0.08 * max(np.max(curve["x"]) for curve in panel["curves"].values())
        axis.plot([left], [value], marker=styles[name]["marker"], color=styles[name]["color"], markersize=4.5, zorder=3)
        shown.add("start")
    axis.set(xlabel=panel["xlabel"], ylabel=panel.get("ylabel") or "")
    axis.set_title(panel["title"], fontsize=10)
    axis.grid(alpha=0.3)
    return shown


def _legend(figure, styles, shown, marks):
    """The losses in columns of their own, then what the kinds of lines mean."""
    models = [Line2D([], [], label=name, linewidth=2, markersize=5, **style) for name, style in styles.items()]
    meanings = []
    for key, (label, style) in MEANINGS.items():
        if key in shown:
            band = Patch(color="0.4", alpha=0.25, label=label)
            meanings.append(band if key == "band" else Line2D([], [], color="0.3", label=label, **style))
    meanings += [Line2D([], [], linestyle=style, label=label, **MARK) for label, style in marks.items()]
    blank = Line2D([], [], linestyle="", label=" ")
    handles = [handle for group in (models, meanings) for handle in (*group, *[blank] * (-len(group) % LEGEND_ROWS))]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) // LEGEND_ROWS, fontsize=8.5)


def plot_spread(points, correlations=None, title="Spread of the gradients against what an attack leaves"):
    """Spread of the gradients of each model against its robustness, one panel for each differentiated output (S0.18).

    Args:
        points: list of dicts `name`, `seed`, `output` ("probability" or "logit"), `spread` (participation ratio),
            `kept` (mean height of the curve under attack, as a share of the clean Dice), if known also `control`, the
            same of random pixels.
        correlations: {output: rho}, mean over seeds, written above the panels.
        title: above the figure.
    """
    outputs = list(dict.fromkeys(point["output"] for point in points))
    styles = loss_styles([point["name"] for point in points])
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots(1, len(outputs), squeeze=False, sharey=True)[0]
    for axis, output in zip(axes, outputs, strict=True):
        own = sorted((point for point in points if point["output"] == output), key=lambda point: point["spread"])
        for seed in dict.fromkeys(point["seed"] for point in own):
            line = [(point["spread"], point["kept"]) for point in own if point["seed"] == seed]
            axis.plot(*np.transpose(line), color="0.8", linewidth=0.8, zorder=1)
        for point in own:
            style = styles[point["name"]]
            axis.plot(point["spread"], point["kept"], linestyle="", markersize=8, markeredgecolor="white", **style)
            if "control" in point:
                hollow = style | {"markerfacecolor": "none", "markeredgecolor": style["color"], "alpha": 0.6}
                axis.plot(point["spread"], point["control"], linestyle="", markersize=5, **hollow)
        axis.set_title(f"gradients of the {output}{_correlation((correlations or {}).get(output))}", fontsize=10)
        axis.set_xlabel("spread of the gradients: participation ratio")
        axis.tick_params(labelleft=True)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean share of the clean Dice left")
    handles = [Line2D([], [], linestyle="", markersize=8, label=name, **style) for name, style in styles.items()]
    handles.append(Line2D([], [], color="0.8", label="models of one seed"))
    if any("control" in point for point in points):
        hollow = {"marker": "o", "linestyle": "", "markerfacecolor": "none", "markeredgecolor": "0.4"}
        handles.append(Line2D([], [], label="random pixels", markersize=5, **hollow))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _correlation(found):
    if found is None:
        return ""
    return f"\nrank correlation {found:+.2f}, mean over seeds"


def plot_statistics(table, title="Statistics of gradients and margins"):
    """Statistics of the gradients and margins of each model, those of probabilities and of logits side by side.

    Args:
        table: {output: {statistic: {model: its values by seed}}}, as `kseg.saliency.spread` names statistics (S0.18,
            S0.19). One that an output has not leaves its place empty; a value that is nan is not drawn.
        title: above the figure.

    Returns:
        A figure: a small dot a seed, a line from the least to the greatest, a marker at the mean. Two panels side by
        side have one axis; that of `largest` is logarithmic, the others begin at 0.
    """
    names = list(dict.fromkeys(name for statistics in table.values() for name in statistics))
    names.sort(key=lambda name: list(STATISTICS).index(name) if name in STATISTICS else len(STATISTICS))
    models = list(dict.fromkeys(m for statistics in table.values() for values in statistics.values() for m in values))
    styles = loss_styles(models)
    height = 0.62 + 0.19 * len(models)
    figure = Figure(figsize=(9, 0.9 + height * len(names)), layout="constrained")
    grid = figure.subplots(len(names), len(table), squeeze=False, sharex="row", sharey=True)
    for row, name in zip(grid, names, strict=True):
        row[0].set_xscale("log" if name == "largest" else "linear")
        for axis, statistics in zip(row, table.values(), strict=True):
            _dots(axis, statistics.get(name), models, styles)
            axis.set_title(STATISTICS.get(name, name.replace("_", " ")) if name in statistics else "", fontsize=9)
        if name != "largest":
            drawn = np.concatenate([line.get_xdata() for axis in row for line in axis.lines])
            row[0].set_xlim(0, 1.06 * max(drawn[np.isfinite(drawn)], default=1) or 1)
    grid[0, 0].set(ylim=(len(models) - 0.5, -0.5))
    grid[0, 0].set_yticks(range(len(models)), models)
    for axis, output in zip(grid[0], table, strict=True):
        axis.set_title(f"gradients of the {output}\n\n{axis.get_title()}", fontsize=9)
    dot = {"color": "0.3", "linestyle": ""}
    handles = [
        Line2D([], [], marker="o", markersize=7, label="mean", **dot),
        Line2D([], [], marker=".", markersize=5, label="one seed", **dot),
        Line2D([], [], color="0.3", linewidth=1.5, label="least to greatest seed"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5)
    figure.suptitle(title, fontsize=11)
    return figure


def _dots(axis, values, models, styles):
    """One panel of `plot_statistics`; empty without values."""
    if values is None:
        axis.axis("off")
        return
    for place, model in enumerate(models):
        seeds = np.atleast_1d(values.get(model, np.nan))
        colour = styles[model]["color"]
        axis.plot([np.min(seeds), np.max(seeds)], [place, place], color=colour, linewidth=1.5, alpha=0.6)
        axis.plot(seeds, np.full(len(seeds), place), ".", color=colour, markersize=5)
        axis.plot(np.mean(seeds), place, markersize=7, linestyle="", markeredgecolor="white", **styles[model])
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
