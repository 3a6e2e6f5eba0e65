"""Tables of texts for the terminal and as Markdown."""

from rich import box
from rich.table import Table
from rich.text import Text


def cells_table(rows, title="", marked=None):
    """A rich table of rows of texts.

    Args:
        rows: list of {column: text}, all with the same columns, at least one.
        title: above the table.
        marked: called with a row; True draws it bold.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title or None, title_justify="left")
    for index, name in enumerate(rows[0]):
        table.add_column(name, overflow="fold", no_wrap=index == 0)
    for row in rows:
        style = "bold" if marked and marked(row) else ""
        table.add_row(*(Text(text, style) for text in row.values()))
    return table


def cells_markdown(rows):
    """The same rows as a Markdown table."""
    head = [[*rows[0]], ["---"] * len(rows[0])]
    body = [[text.replace("|", "\\|") for text in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(texts)} |" for texts in [*head, *body])
