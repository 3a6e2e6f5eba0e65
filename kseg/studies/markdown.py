"""Pieces of Markdown that the pages of several studies have."""


def table(head, rows):
    """Lines of a table and an empty one behind it; cells are words."""
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def reproduced(decided):
    """Which claims held and which did not, as a list and an empty line; dicts `claim`, `text`, `verdict`."""
    lines, all_open = [], all(each["verdict"] == "not decided" for each in decided)
    for opening, verdicts in (
        ("Reproduced", ("supported",)), ("Reproduced in part", ("partly supported",)),
        ("Not reproduced", ("not supported", "contradicted")), ("Not decided by these data", ("not decided",)),
    ):  # fmt: skip
        told = [
            f"{each['text']} ({each['claim']}, {each['verdict']})" for each in decided if each["verdict"] in verdicts
        ]
        if told or (opening == "Not reproduced" and not all_open):
            lines.append(f"- {opening}: {'; '.join(told) or 'none'}.")
    return [*lines, ""]
