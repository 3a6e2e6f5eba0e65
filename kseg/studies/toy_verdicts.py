"""From runs to a verdict: a claim holds in a run or not, and that hangs on nothing, on a condition, or on the seed."""

import re
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np

SEEDS, GROUPS = 3, 8
USUAL = {"learning_rate": 1e-3, "input": "raw"}
WORDS = {
    "learning_rate": "the learning rate", "loss": "the training loss", "foreground": "the ratio",
    "bn": "batch normalisation", "norm": "the loss whose gradient it is",
}  # fmt: skip
SAID = {"foreground": "{:g} % foreground", "learning_rate": "rate {:g}", "norm": "norm of {}", "input": "{} input"}


@dataclass(frozen=True)
class Cell:
    """One condition: `where` {factor: value}, whether the claim `held` for each seed, and the `values` measured.

    A claim about seeds taken together has one entry in `held`, and in `values` what it compares.
    """

    where: dict
    held: tuple
    values: tuple


@dataclass(frozen=True)
class Part:
    """One statement of a claim with its cells.

    `needs` says what is missing before it can be decided, `left_out` how many cases it is not about.
    """

    text: str
    measured: str
    cells: list = field(default_factory=list)
    needs: tuple = ()
    left_out: int = 0


def grid(**choices):
    """All combinations of the values of factors, as dicts.

    Example:
        >>> grid(bn=(False, True), loss=("cce",))
        [{'bn': False, 'loss': 'cce'}, {'bn': True, 'loss': 'cce'}]
    """
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def pick(rows, **where):
    """{seed: row} of the complete runs under these conditions."""
    found = [v for v in rows if v["complete"] and all(v[key] == value for key, value in where.items())]
    return {v["seed"]: v for v in sorted(found, key=lambda v: v["seed"])}


def gather(text, measured, rows, fixed, varied, holds, value, only=None):
    """A Part about single runs, or pairs of runs of one seed.

    Args:
        rows: of `toy_table.row`.
        fixed: list of conditions all cells share: one dict, or one for each run of a pair.
        varied: list of dicts, the `where` of each cell.
        holds, value: functions of the runs of one seed: whether the claim holds, and the number to report.
        only: whether the claim is about these runs at all; all are if not given.
    """
    cells, needs, left_out = [], [], 0
    for where in varied:
        each = [pick(rows, **shared, **{k: v for k, v in where.items() if k != "norm"}) for shared in fixed]
        seeds = sorted(set.intersection(*map(set, each)))
        runs = [[found[seed] for found in each] for seed in seeds]
        if len(seeds) < SEEDS:
            needs.append(shortage(fixed, where, len(seeds)))
        left_out += len(runs)
        runs = [run for run in runs if only is None or only(*run)]
        left_out -= len(runs)
        at = {"norm": where["norm"]} if "norm" in where else {}
        held = tuple(bool(holds(*run, **at)) for run in runs)
        cells.append(Cell(where, held, tuple(float(value(*run, **at)) for run in runs)))
    return Part(text, measured, [cell for cell in cells if cell.held], tuple(needs), left_out)


def shortage(fixed, where, have):
    """What is missing of a cell, in words; what all runs of the study have is left out."""
    told = {factor: value for factor, value in where.items() if factor != "norm"}
    shared = {
        factor: "/".join(dict.fromkeys(name(factor, each[factor]) for each in fixed))
        for factor in fixed[0]
        if not all(each[factor] == USUAL.get(factor) for each in fixed)
    }
    return f"{SEEDS} seeds of {', '.join([*shared.values(), *(name(k, v) for k, v in told.items())])} ({have} done)"


def name(factor, value):
    """A condition in words.

    Example:
        >>> name("foreground", 5.0), name("bn", False), name("loss", "cce")
        ('5 % foreground', 'no BN', 'cce')
    """
    if factor == "bn":
        return "BN" if value else "no BN"
    return SAID.get(factor, "{}").format(value)


def decide(part):
    """(verdict, why) of a Part; the verdict begins with one of four phrases.

    "supported": the claim held in every run; "not supported": in none; "depends on ..": names the fewest conditions
    that tell apart where it held from where it did not, and the seed where runs of one condition differ; "not decided:
    needs ..": runs are missing.
    """
    if part.needs:
        rest = len(part.needs) - 1
        more = f" and of {rest} more condition{'s' * (rest > 1)}" if rest else ""
        return f"not decided: needs {part.needs[0]}{more}", ""
    outcomes = [held for cell in part.cells for held in cell.held]
    if not outcomes:
        return "not decided: needs a case to judge", "no condition shows one"
    if all(outcomes) or not any(outcomes):
        values = [value for cell in part.cells for value in cell.values]
        verdict = "supported" if all(outcomes) else "not supported"
        return verdict, f"held in {sum(outcomes)} of {len(outcomes)}; {part.measured} {spread(values)}{_rest(part)}"
    mixed = [cell for cell in part.cells if len(set(cell.held)) > 1]
    factors = separating(part.cells)
    words = [WORDS.get(factor, factor) for factor in factors] + ["the seed"] * bool(mixed)
    return f"depends on {enumeration(words)}", _by_group(part, factors, mixed) + _rest(part)


def _rest(part):
    return f"; {part.left_out} left out" if part.left_out else ""


def separating(cells):
    """The fewest factors whose values tell cells where a claim held, where it did not, and where seeds differ.

    Where it takes all factors to tell where seeds differ, this is chance, and those cells are left out.
    """
    present = [f for f in dict.fromkeys(f for cell in cells for f in cell.where)
               if len({cell.where.get(f) for cell in cells}) > 1]  # fmt: skip
    settled = [cell for cell in cells if len(set(cell.held)) == 1]
    for judged, most in ((cells, max(len(present) - 1, 1)), (settled, len(present))):
        for count in range(most + 1):
            for chosen in combinations(present, count):
                outcomes = {}
                for cell in judged:
                    outcomes.setdefault(tuple(cell.where.get(f) for f in chosen), set()).add(frozenset(cell.held))
                if all(len(found) == 1 for found in outcomes.values()):
                    return chosen
    return tuple(present)


def _by_group(part, factors, mixed):
    """What held where: for each combination of the factors or, where these are many, for each factor by itself."""
    told = _told(part, factors)
    if len(told) > GROUPS:
        told = [each for factor in factors for each in _told(part, (factor,), values=False)]
    seeds = [f"{', '.join(name(f, v) for f, v in c.where.items())} {sum(c.held)} of {len(c.held)}" for c in mixed]
    rest = f", and {len(seeds) - 4} more" if len(seeds) > 4 else ""
    return "; ".join(told) + (f"; seeds differ in {'; '.join(seeds[:4])}{rest}" if seeds else "")


def _told(part, factors, values=True):
    groups = {}
    for cell in part.cells:
        groups.setdefault(tuple(name(f, cell.where[f]) for f in factors), []).append(cell)
    told = []
    for key, cells in groups.items():
        held = [h for cell in cells for h in cell.held]
        label = f"{', '.join(key)}: " if key else ""
        measured = f", {part.measured} {spread([v for cell in cells for v in cell.values])}" if values else ""
        told.append(f"{label}held in {sum(held)} of {len(held)}{measured}")
    return told


def spread(values):
    """Smallest, mean and largest of some numbers, in words.

    Example:
        >>> spread([0.5, 1.0, 1.5])
        '0.5 to 1.5, mean 1'
    """
    low, mean, high = (f"{value:.4g}" for value in (min(values), float(np.mean(values)), max(values)))
    return f"{low} to {high}, mean {mean}" if high != low else low


def enumeration(words):
    """Words with commas and an "and"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def conclude(parts):
    """(verdict, why) of a claim made of several statements: theirs, where they agree."""
    decided = [decide(part) for part in parts]
    if len(parts) == 1:
        return decided[0]
    verdicts = [verdict for verdict, _ in decided]
    told = [f"{part.text}: {v}{f' ({why})' if why else ''}" for part, (v, why) in zip(parts, decided, strict=True)]
    return _together(verdicts), ". ".join(text[0].upper() + text[1:] for text in told)


def _together(verdicts):
    undecided = [verdict for verdict in verdicts if verdict.startswith("not decided")]
    if undecided:
        return undecided[0]
    if len(set(verdicts)) == 1:
        return verdicts[0]
    reasons = [v.removeprefix("depends on ") for v in verdicts if v.startswith("depends on")]
    words = list(dict.fromkeys(word for reason in reasons for word in re.split(", | and ", reason)))
    if {"supported", "not supported"} <= set(verdicts):
        words.append("the part of the claim")
    return f"depends on {enumeration(sorted(words, key='the seed'.__eq__))}"
