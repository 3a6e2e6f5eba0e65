"""D2's worked examples (S2.1 to S2.19): its numbers computed again, its errata named, its figures drawn."""

from dataclasses import dataclass

import numpy as np
from rich.console import Console

from kseg.files import write_csv, write_text
from kseg.report.worked_tables import cells_table
from kseg.studies.worked_figures import save
from kseg.studies.worked_gradients import agreements
from kseg.studies.worked_page import gradient_cells, page, summary
from kseg.studies.worked_remarks import remarks
from kseg.studies.worked_rows import G, P, rows
from kseg.studies.worked_table import AGREES, DIFFERS, NOT_PRINTED
from kseg.training.record import RunFolder, environment

WEIGHTS = np.arange(1.0, 10).reshape(3, 3)


@dataclass(frozen=True)
class Result:
    """`rows` and `remarks` of `kseg.studies.worked_table`, `gradients` of `kseg.studies.worked_gradients`."""

    rows: list
    remarks: list
    gradients: list

    @property
    def counts(self):
        """{"agrees", "erratum", "not printed", "differs"}: how many rows are so; the last should be 0."""
        verdicts = [row.verdict for row in self.rows]
        counts = {name: verdicts.count(name) for name in (AGREES, NOT_PRINTED, DIFFERS)}
        return {**counts, "erratum": len(verdicts) - sum(counts.values())}


def run(config=None):
    """All numbers, errata and gradients; the config has nothing that changes them."""
    del config
    return Result(rows(), remarks(), agreements(G, P, WEIGHTS))


def execute(config, console):
    """Print the tables and keep them, with the figures, in a run folder; returns the Result."""
    folder = RunFolder(config, devices=environment())
    with folder.running():
        with console.status("computing"):
            result = run(config)
        write_csv(folder / "worked_examples.csv", [row.cells() for row in result.rows])
        write_text(folder / "worked_examples.md", page(result))
        if config.figures:
            with console.status("drawing"):
                save(folder.path)
        folder.save(verdicts=result.counts)
    show(result, console)
    console.print(f"Table, page and figures are in {folder.path}/", highlight=False, soft_wrap=True)
    return result


def show(result, console):
    """Print a Result: the rows (errata in bold), the errata in words, and the gradients."""
    # A pipe has no width to keep to: one line a row, whole.
    wide = console if console.is_terminal else Console(file=console.file, width=1000)
    cells = [row.cells() for row in result.rows]
    wide.print(cells_table(cells, marked=lambda row: row["verdict"] not in (AGREES, NOT_PRINTED)))
    wide.print(cells_table([remark.cells() for remark in result.remarks], title="Errata of the document"))
    wide.print(cells_table(gradient_cells(result.gradients), title="Gradients, three ways"))
    console.print(summary(result), highlight=False)
