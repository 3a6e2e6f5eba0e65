"""The loss cards: what the docstrings, the registry and the curves tell of a loss, for people who choose one."""

import inspect
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console

from kseg import losses, report
from kseg.losses import LOSSES, OverlapLoss, SegmentationLoss

COMMON = SegmentationLoss.defaults | OverlapLoss.defaults
TITLES = ("Formula", "Parameters", "Conventions", "Learning signal", "Source", "Example")


@dataclass(frozen=True)
class Card:
    """What there is to say of a loss.

    - `name`, `category`, `source`, `summary`: as registered, and the first line of the docstring.
    - `sections`: {title: text} of the docstring, in its order; titles are those of `TITLES`.
    - `own`: {parameter: default} of the loss itself, with common options whose default differs; `options`: {option:
      default} of the rest, which many losses have.
    - `told`: {parameter or option: what it means}.
    - `given`: {parameter or option: value} as spelled, and `weight` the factor in the sum.
    """

    name: str
    category: str
    source: str
    summary: str
    sections: dict
    own: dict
    options: dict
    told: dict
    given: dict
    weight: float = 1.0


def cards(spec):
    """One Card for each term of a loss, in the order of the spelling; errors are those of `kseg.losses.get`."""
    losses.get(spec)
    return [card(name, given, weight) for weight, name, given in losses.parse(spec)]


def card(name, given=None, weight=1.0):
    """The Card of a registered loss."""
    cls = LOSSES.get(name)
    summary, sections = read(cls.__doc__)
    own = {k: v for k, v in cls.defaults.items() if k not in COMMON or COMMON[k] != v}
    options = {k: v for k, v in cls.defaults.items() if k not in own}
    told = entries(OverlapLoss.__doc__)
    for base in reversed(cls.__mro__):
        text = base.__dict__.get("__doc__") or ""
        told |= entries(read(text)[1].get("Parameters", "") if "registered_name" in base.__dict__ else text)
    told = {k: told.get(k, "") for k in cls.defaults}
    facts = LOSSES.facts(name)
    return Card(name, facts["category"], facts["source"], summary, sections, own, options, told, given or {}, weight)


def everything():
    """The cards of all losses, by category and then in the order of registration."""
    return [card(name) for name in losses.names()]


def read(docstring):
    """(first line, {title: text}) of a docstring; a section is `Title: text`, the text indented below it or beside."""
    summary, _, rest = inspect.cleandoc(docstring).partition("\n")
    sections, title = {}, None
    for line in rest.splitlines():
        head = re.match(rf"({'|'.join(TITLES)}):\s*(.*)", line)
        if head:
            title = head[1]
            sections[title] = [head[2]] if head[2] else []
        elif line[:1].strip():
            title = None
        elif title:
            sections[title].append(line)
    return summary, {name: inspect.cleandoc("\n".join(["", *lines])) for name, lines in sections.items()}


def entries(docstring):
    """{name: meaning} of the lines "`name` (default): meaning" of a docstring, bulleted or not."""
    told = {}
    for block in re.split(r"\n(?=[ \t]*(?:- )?`\w+`(?: \(|, `))|\n[ \t]*\n", docstring):
        found = re.match(r"(?:- )?(`\w+` \(.*?\)(?:, `\w+`(?: \(.*?\))?)*): (.*)", " ".join(block.split()))
        if found:
            told |= dict.fromkeys(re.findall(r"(?:^|, )`(\w+)`", re.sub(r"\(.*?\)", "", found[1])), found[2])
    return told


def taxonomy():
    """{category: names} of all losses, empty categories left out (S3.11)."""
    return {key: [each.name for each in group] for key, group in groupby(everything(), lambda each: each.category)}


def execute(config, console):
    """List all losses, print their table, or show one card and draw its figure."""
    if config.table:
        console.print(report.taxonomy_table(taxonomy()), markup=False, highlight=False, soft_wrap=True)
    elif not config.name:
        # A pipe has no width to keep to: one line a loss, whole.
        wide = console if console.is_terminal else Console(file=console.file, width=1000)
        wide.print(report.loss_table(everything()))
        console.print("'kseg losses NAME' shows the card of a loss and draws it.", markup=False, highlight=False)
    else:
        show(config, console)


def show(config, console):
    """Print the card of a loss or of a sum and write its figure, if one is asked for."""
    path = config.output or Path(f"loss_{re.sub('[^A-Za-z0-9.]+', '_', config.name).strip('_.')[:100]}.png")
    shown = cards(config.name)
    if config.figure:
        check(path, config.overwrite)
    console.print(report.card_text(shown, min(console.width, 100)), soft_wrap=True, end="")
    if config.figure:
        from kseg.studies.loss_curves import curves

        with console.status("drawing"):
            report.save_figure(report.plot_loss(curves(config.name), config.name), path)
        console.print(f"figure: {path}", markup=False, highlight=False, soft_wrap=True)


def check(path, overwrite):
    """Raise an error that names the fix if a figure may not be written to `path`."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path} cannot be written: no folder {path.parent}. Expected one that exists; choose another --output."
        )
    if path.exists() and not (overwrite and path.is_file()):
        raise FileExistsError(
            f"{path} exists. Expected a new file; choose another --output, --overwrite, or --no-figure."
        )
