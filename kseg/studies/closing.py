"""How a study that decides claims ends: its files, and what it prints."""

from rich import box
from rich.table import Table

from kseg.files import write_csv, write_json, write_text
from kseg.stats import ENOUGH, SEEDS


def too_few(cases, seeds):
    """{"note": a warning} of numbers of test cases and seeds that decide no claim by a test; {} of others."""
    told = [f"{cases} test cases, {ENOUGH} are needed"] * (cases < ENOUGH)
    told += [f"{seeds} seed{'s' * (seeds > 1)}, {SEEDS} are needed"] * (seeds < SEEDS)
    return {"note": f"too few to decide claims: {' and '.join(told)}"} if told else {}


def write(folder, result, decided, tables, draw, page):
    """Write claims.json, tables, figures and summary.md of a study.

    Args:
        folder: `RunFolder` of the study; its record gets the verdicts.
        result: of the study.
        decided: list of claims, dicts with "claim" and "verdict".
        tables: {file name: rows, as `write_csv` takes them}.
        draw: (result, folder) -> names of the figures that were drawn.
        page: (result, decided, record, names of the figures, their folder seen from the page) -> Markdown.
    """
    write_json(folder / "claims.json", decided)
    for name, rows in tables.items():
        write_csv(folder / name, rows)
    (folder / "figures").mkdir(exist_ok=True)
    drawn = draw(result, folder / "figures")
    write_text(folder / "summary.md", page(result, decided, folder.record, drawn, "figures"))
    folder.save(claims={claim["claim"]: claim["verdict"] for claim in decided})


def show(console, title, columns, rows, decided, notes, made, path):
    """Print a table of scores, the verdicts if there are any, what else there is to say, and where all is.

    Args:
        console: a `rich.console.Console`.
        title, columns, rows: of the table of scores; texts.
        decided: list of claims, dicts with "claim", "text" and "verdict".
        notes: lines.
        made: what is in the folder, in words.
        path: of the folder.
    """
    table = Table(*columns, box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)
    if all(claim["verdict"] == "not decided" for claim in decided):
        notes = [*notes, f"None of the document's {len(decided)} claims can be decided by this; claims.json tells why."]
    else:
        table = Table("claim", "verdict", box=box.SIMPLE_HEAD)
        for claim in decided:
            table.add_row(f"{claim['claim']}  {claim['text']}", claim["verdict"])
        console.print(table, highlight=False)
    for line in [*notes, f"{made} are in {path}/", f"Next: look at {path / 'summary.md'}"]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
