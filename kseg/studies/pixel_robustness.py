"""D0's study: train models with four losses, attack the pixels of highest gradient, decide what the document says."""

import keras
from rich import box
from rich.table import Table

from kseg import report
from kseg.data import open_data
from kseg.data.source import check_split
from kseg.files import write_csv, write_json, write_text
from kseg.inference import check_fit, load_model
from kseg.models import unet
from kseg.studies import measures_file, pixel_measures, pixel_models, pixel_page, pixel_text
from kseg.studies.bar import Bar
from kseg.studies.begun import models_so_far, opened, telling_how_to_go_on
from kseg.studies.pixel_claims import claims
from kseg.studies.pixel_table import Result
from kseg.studies.rows import choose_rows
from kseg.training.compiled import Networks
from kseg.training.record import is_finished

KEPT = ["claims.json", "curves.csv", "error.txt", "figures", "measures", "models", "models.csv", "record.json",
        "salient", "summary.md"]  # fmt: skip
__all__ = ["Result", "claims", "execute", "run"]


MEASURING = 3  # epochs of training that measuring a model takes about as long as


def run(config, folder, tell=None):
    """Train what is missing, measure what is missing, and bring it together.

    Args:
        config: `kseg.configs.PixelRobustness`.
        folder: Path of the study; models go to `models/`, measures to `measures/`. What is there is not done again.
        tell: called with (what is being done, share of all that is done[, True where a model begins]).

    Returns:
        Result.

    Raises:
        ValueError: data or models that do not fit.
    """
    data, rows, entries = checked(config, folder)
    unit, steps = float(data.value_range[1]), _Steps(tell or (lambda *_: None), len(entries), config)
    facts = {"data": data.fingerprint(), "images": len(rows.row), "draws": config.draws, "extras": config.extras}
    files = {entry.name: folder / "measures" / f"{entry.name}.h5" for entry in entries}
    (folder / "measures").mkdir(parents=True, exist_ok=True)
    networks = Networks()
    for number, entry in enumerate(entries):
        steps.begin(entry, number)
        if config.models is None and not is_finished(entry.folder):
            pixel_models.train(entry, config, folder, [steps.epochs()], networks)
        if not files[entry.name].exists():
            found = pixel_measures.measure(entry, data, rows, config, unit, steps.attacks)
            measures_file.save(files[entry.name], pixel_measures.FORMAT, found, **facts)
    measures = {name: measures_file.read(path, pixel_measures.FORMAT, **facts) for name, path in files.items()}
    return Result(tuple(entries), rows.case, unit, measures)


def checked(config, folder):
    """(data, rows to attack, entries) of a study; a ValueError says what does not fit before anything is made."""
    data = open_data(config.data)
    for split in ("train", "validation", "test") if config.models is None else ("test",):
        check_split(data, split)
    height, width = data.shape[:2]
    if height * width < max(pixel_measures.COUNTS) or not data.value_range[1] > 0:
        raise ValueError(
            f"data {data.name!r} has images of {height}x{width} and values up to {data.value_range[1]:g}. Expected at "
            f"least {max(pixel_measures.COUNTS)} pixels and a largest value above 0."
        )
    entries = entries_of(config, folder)
    if config.models is None:
        unet(data.shape, 1, filters=config.filters, depth=config.depth, bn=config.bn)
    for entry in entries if config.models else ():
        check_fit(load_model(entry.folder), data)
    return data, choose_rows(data, "test", config.slices), entries


def entries_of(config, folder):
    """The models of a study: those that were given, or those it trains."""
    return pixel_models.given(config.models) if config.models else pixel_models.planned(config, folder)


class _Steps:
    """How far the study is: the epochs of all models, and measuring them as `MEASURING` epochs each."""

    def __init__(self, tell, models, config):
        self._tell, self._models, self._entry, self._before = tell, models, None, 0
        self._training = 0 if config.models else config.epochs

    def begin(self, entry, number):
        self._entry, self._before = entry, number * (self._training + MEASURING)
        self._say(f" (model {number + 1} of {self._models})", 0)

    def _say(self, what, steps):
        share = (self._before + steps) / (self._models * (self._training + MEASURING))
        self._tell(f"{self._entry.name}{what}", share, not steps)

    def epochs(self):
        """A Keras callback."""
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self._say(f": epoch {epoch + 1} of {self._training}", epoch + 1)
        )

    def attacks(self, done, total):
        self._say(f": attack {done} of {total}", self._training + MEASURING * done / total)


def execute(config, console):
    """Run the study and keep it in a run folder; returns the Result."""
    config, known, folder = opened(config, checked, KEPT)
    console.print(report.fields_table(_plan(config, folder, *known) | models_so_far(folder)))
    with folder.running():
        with telling_how_to_go_on(folder, config, console), Bar(console) as bar:
            result = run(config, folder.path, bar.tell)
        decided = claims(result)
        write_json(folder / "claims.json", decided)
        write_csv(folder / "models.csv", pixel_page.model_rows(result))
        write_csv(folder / "curves.csv", pixel_page.curve_rows(result))
        text = pixel_text.page(result, decided, folder.record, pixel_page.FIGURES, "figures")
        write_text(folder / "summary.md", text)
        (folder / "figures").mkdir(exist_ok=True)
        pixel_page.draw(result, decided, folder / "figures")
        folder.save(claims={claim["claim"]: claim["verdict"] for claim in decided})
    _show(result, decided, folder.path, console)
    return result


def _plan(config, folder, data, rows, entries):
    attacks = " or ".join(str(n) for n in sorted({len(pixel_measures.attacks_on(entry, config)) for entry in entries}))
    made = "given"
    if not config.models:
        made = f"{config.epochs} epoch{'s' * (config.epochs > 1)} each, U-Net with {config.filters} filters"
    return {
        "data": f"{config.data}: {len(rows.row)} of {data.sizes['test']} test images, all with foreground",
        "models": f"{len(entries)} ({'; '.join(dict.fromkeys(entry.label for entry in entries))}), {made}",
        "attacks": f"{attacks} a model, {config.draws} draws of random values",
        "folder": folder.path,
    }


def _show(result, decided, path, console):
    title = "Clean Dice, and mean height of each curve as a share of it"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for name in ("model", "clean Dice", "A", "B", "C", "D", "B, random pixels"):
        table.add_column(name)
    for label, *cells, _ in pixel_text.summary_rows(result):
        table.add_row(label, *(cell.split()[0] for cell in cells))  # the page has the intervals
    console.print(table)
    if pixel_text.poor(result):
        console.print(pixel_text.poor(result), highlight=False, soft_wrap=True)
    table = Table("claim", "verdict", box=box.SIMPLE_HEAD)
    for claim in decided:
        table.add_row(f"{claim['claim']}  {claim['text']}", claim["verdict"])
    console.print(table, highlight=False)
    console.print(f"Models, measures, tables, figures and summary.md are in {path}/", highlight=False, soft_wrap=True)
    console.print(f"Next: look at {path / 'summary.md'}", highlight=False, soft_wrap=True)
