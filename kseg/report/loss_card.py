"""A loss for the reader: the list of all, the card as text, and the figure of what the loss does."""

import re
import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from rich import box
from rich.table import Table
from rich.text import Text

# Okabe and Ito's colours for colour-blind readers; the line styles tell the curves apart in print.
STYLES = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-."))
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
SMALLEST = 1e-10
FULL_LINE = 90  # a line of a docstring that is longer goes on in the next one


def loss_table(cards):
    """A rich table of many cards: name, category, own parameters with their defaults, source."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True, style="bold")
    table.add_column("category", no_wrap=True)
    table.add_column("parameters", overflow="fold")
    table.add_column("source", overflow="fold")
    for card in cards:
        own = ", ".join(f"{name}={value!r}" for name, value in card.own.items())
        table.add_row(card.name, card.category, Text(own), Text(card.source))
    return table


def taxonomy_table(taxonomy):
    """D3's table 1 (S3.11) as Markdown, from {category: names}."""
    rows = [f"| {category} | {', '.join(f'`{name}`' for name in names)} |" for category, names in taxonomy.items()]
    return "\n".join(["| type | losses |", "| --- | --- |", *rows])


def card_text(cards, width):
    """The cards of the terms of a loss as rich text, lines up to `width` characters."""
    text = Text()
    for card in cards:
        factor = "" if card.weight == 1 else f"{card.weight:g} * "
        text.append(f"{factor}{card.name}", "bold").append(f" ({card.category})\n{_fill(card.summary, width)}\n\n")
        for title, lines in _sections(card):
            _append(text, title, lines, width)
    told = {name: _first_sentence(meaning) for card in cards for name, meaning in card.told.items()}
    options = {name: default for card in cards for name, default in card.options.items()}
    _append(text, "Options shared with other losses", [f"{k} = {v!r}: {told[k]}" for k, v in options.items()], width)
    return text


def _sections(card):
    """(title, lines to be wrapped) of all but the common options."""
    parameters = []
    for name, default in {**card.own, **{k: card.options.get(k, card.own.get(k)) for k in card.given}}.items():
        value = f"{card.given[name]!r} (default {default!r})" if name in card.given else repr(default)
        parameters.append(f"{name} = {value}: {card.told[name]}")
    for title in ("Formula", "Parameters", "Conventions", "Learning signal", "Source", "Example"):
        body = card.sections.get(title, "")
        if title == "Parameters":
            lines = parameters
        elif title == "Example":
            lines = body.splitlines()
        else:
            lines = _joined(body, FULL_LINE if title == "Formula" else 0)
        if lines:
            yield title, lines


def _append(text, title, lines, width):
    text.append(f"{title}\n", "bold")
    prose = title in ("Conventions", "Learning signal", "Source")
    text.append("\n".join(_fill(line, width, 2, 2 if prose else 6) for line in lines) + "\n\n")


def _fill(line, width, first=0, rest=0):
    return textwrap.fill(line, width, initial_indent=" " * first, subsequent_indent=" " * rest, break_on_hyphens=False)


def _joined(body, full):
    """Lines of a docstring with those joined that were broken for length, or were indented to go on."""
    lines, last = [], ""
    for line in body.splitlines():
        goes_on = last and line.strip() and (len(last) >= full or line.startswith(" "))
        if goes_on and not line.lstrip().startswith("- "):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line.strip())
        last = line
    return [line for line in lines if line]


def _first_sentence(text):
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", text)[0]


def plot_loss(curves, title):
    """Value and gradient of a loss against the logit of a pixel, the balance of classes, and the place of an object.

    Args:
        curves: `kseg.studies.loss_curves.LossCurves`.
        title: above the figure.
    """
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    (value, balance, size), (pull, norms, shift) = figure.subplots(2, 3)
    _pixel_panels(value, pull, curves)
    _balance_panels(balance, norms, curves)
    for axis, x, lines, label in (
        (size, curves.size, curves.by_size, "shifted by {} px"),
        (shift, curves.shift, curves.by_shift, "{0} x {0} px"),
    ):
        for (key, y), (colour, style) in zip(lines.items(), STYLES, strict=True):
            axis.plot(x, y, style, color=colour, label=label.format(key))
        _linear(axis, lines.values())
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    size.set(xlabel="side of the object [px]", title="a square in the wrong place, logits ±10")
    shift.set(xlabel="shift of the object [px]")
    for axis in figure.axes:
        axis.grid(alpha=0.3)
        axis.title.set_fontsize(10)
        if len(axis.lines) > 1:
            axis.legend(fontsize=8)
    value.legend(fontsize=8, loc="upper center")
    head = "two softmax channels" if curves.head == "softmax" else "one sigmoid channel"
    figure.suptitle(f"{title}   (32 x 32 pixels, {head})")
    return figure


def _pixel_panels(value, pull, curves):
    pixels = 1024
    for label, towards, (colour, style) in zip(("foreground", "background"), (-1, 1), STYLES, strict=False):
        side = "above" if label == "foreground" else "below"
        value.plot(curves.logit, curves.value[label], style, color=colour, label=f"{label} pixel (right {side} 0)")
        strength = towards * pixels * curves.slope[label].astype(float)
        pull.plot(curves.logit, _or_smallest(strength), style, color=colour, label=f"{label} pixel")
        if (strength < -SMALLEST).any():
            away = np.where(strength < 0, _or_smallest(-strength), np.nan)
            pull.plot(curves.logit, away, ":", color=colour, label=f"{label} pixel, away from its label")
    value.set(xlabel="logit of the pixel", ylabel="loss", title="one pixel; the others right with logits ±2")
    pull.set_title("pull towards the label; 0 lies on the lower edge")
    pull.set(xlabel="logit of the pixel", ylabel="|gradient| x 1024")
    _linear(value, curves.value.values())
    low, high = value.get_ylim()
    value.set_ylim(low, high + 0.25 * (high - low))  # room for the legend
    _logarithmic(pull)


def _balance_panels(balance, norms, curves):
    share = curves.foreground / 1024
    balance.plot(share, curves.balance, color=STYLES[0][0], label="loss")
    balance.set(ylabel="loss", title="a disc; every pixel gives its label p = 0.8")
    _linear(balance, [curves.balance])
    for (label, norm), (colour, style) in zip(curves.norms.items(), STYLES, strict=True):
        norms.plot(share, _or_smallest(norm), style, color=colour, label=f"{label} pixels")
    norms.set(ylabel="gradient norm")
    _logarithmic(norms)
    for axis in (balance, norms):
        axis.set(xscale="logit", xlabel="share of the foreground", xlim=(0.0008, 0.9992))
        axis.set_xticks(SHARES, [f"{100 * share:g} %" for share in SHARES], fontsize=8)
        axis.xaxis.set_minor_formatter(NullFormatter())


def _or_smallest(values):
    """Values for a logarithmic axis: zero and what is below the axis lie on its lower edge."""
    return np.where(values > 0, np.maximum(values, SMALLEST), SMALLEST)


def _linear(axis, lines):
    """Room around a flat line, and plain numbers."""
    low, high = min(map(np.min, lines)), max(map(np.max, lines))
    if high - low < 1e-3 * max(abs(high), abs(low)):
        axis.set_ylim(low - 0.1 * abs(low), high + 0.1 * abs(high))
    axis.ticklabel_format(axis="y", useOffset=False)
    if not axis.get_ylabel():
        axis.set_ylabel("loss")


def _logarithmic(axis):
    values = np.concatenate([line.get_ydata() for line in axis.lines])
    above = values[values > SMALLEST]
    high = above.max() if above.size else 1.0
    low = above.min() if values.min() > SMALLEST else SMALLEST
    axis.set(yscale="log", ylim=(max(low / 2, SMALLEST), high * 3))
