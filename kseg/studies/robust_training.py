"""D4's study: perturb training images, train on them, attack what came of it, decide what the document says."""

import shlex
from pathlib import Path

import keras
from rich import box
from rich.table import Table

from kseg import losses, report
from kseg.data import open_data
from kseg.data.source import check_split
from kseg.files import write_csv, write_json, write_text
from kseg.inference import size_multiple
from kseg.models import head_for, unet
from kseg.studies import measures_file, robust_data, robust_measures, robust_models, robust_page, robust_text
from kseg.studies.bar import Bar
from kseg.studies.begun import begun
from kseg.studies.pixel_data import choose_rows
from kseg.studies.robust_claims import claims
from kseg.studies.robust_table import Result
from kseg.training.record import RunFolder, check_output, environment
from kseg.training.run import read_history

KEPT = ["attacked", "cases.csv", "claims.json", "error.txt", "figures", "measures", "models", "perturbed",
        "record.json", "scores.csv", "summary.md"]  # fmt: skip
# About how long each part takes, in passes over the training split of plain training.
PASS, FLY_STEP, LOOK = 0.4, 0.6, 0.15  # a gradient of images alone; one step of attacks while training; a forward pass
__all__ = ["Result", "claims", "execute", "run"]


def run(config, folder, tell=None):
    """Do what is missing, and bring it together.

    Args:
        config: `kseg.configs.RobustTraining`.
        folder: Path of the study; models go to `models/`, training sets to `perturbed/`, images made on model 1 to
            `attacked/`, measures to `measures/`. What is there is not done again.
        tell: called with (what is being done, share of all that is done).

    Returns:
        Result.

    Raises:
        ValueError: data or options that do not fit.
    """
    data, rows, entries = checked(config, folder)
    bench = robust_measures.Bench(config, data, rows)
    steps = _Steps(tell or (lambda *_: None), config, data, len(rows.row))
    facts = {"data": data.fingerprint(), "images": len(rows.row), "steps": config.attack_steps}
    for name in ("measures", "attacked", "perturbed"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    files = {entry.name: folder / "measures" / f"{entry.name}.h5" for entry in entries}
    records = {}
    for entry in entries:
        records |= _perturbed(entry, data, bench, folder, steps)
        if not robust_models.is_trained(entry):
            steps.begin(f"{entry.name} (compiling first)")
            robust_models.train(entry, config, folder, [steps.epochs(entry)])
        steps.end("train", entry)
        shared = folder / "attacked" / f"seed{entry.seed}.h5"
        if not files[entry.name].exists():
            found = robust_measures.measure(entry, bench, shared, steps.attacks(entry))
            measures_file.save(files[entry.name], robust_measures.FORM, found, **facts)
        steps.end("measure", entry)
    measures = {name: measures_file.read(path, robust_measures.FORM, **facts) for name, path in files.items()}
    histories = {entry.name: read_history(entry.folder / "history.csv") for entry in entries}
    return Result(
        data.name, tuple(data.classes), tuple(entries), rows.case, tuple(map(float, data.value_range)), config.budget,
        measures, histories, records,
    )  # fmt: skip


def _perturbed(entry, data, bench, folder, steps):
    """Write the training set of a model if it has its own; gives its records {(seed, method): of `record_of`}."""
    config, path = bench.config, robust_models.data_of(entry, folder)
    if path is None:
        return {}
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.label == robust_models.UNION:
        if not path.exists():
            others = (robust_models.ONE, robust_models.TWO)
            files = {label: robust_models.data_of(entry._replace(label=label), folder) for label in others}
            robust_data.unite(config.data, files, path)
        return {}
    name = entry.label.split(" ", 1)[1]
    if not path.exists():
        planned, first = robust_models.planned(config, folder), (robust_models.ORIGINAL, entry.seed)
        model = next(each.folder for each in planned if (each.label, each.seed) == first)
        bench.take(model)
        robust_data.perturb(
            data, bench.attackers[name], bench.methods[name], model / "model.keras", path, config.batch_size,
            steps.perturbing(entry, name),
        )  # fmt: skip
    steps.end(name, entry)
    found = measures_file.read(robust_data.records_of(path), robust_data.RECORD, method=name)
    return {(entry.seed, name): found}


def checked(config, folder):
    """(data, rows to attack, entries) of a study; a ValueError says what does not fit before anything is made."""
    data = open_data(config.data)
    for split in ("train", "validation", "test"):
        check_split(data, split)
    loss = losses.get(config.loss, from_logits=True)
    if loss.head == "sigmoid":
        raise ValueError(f"--loss={config.loss} needs a sigmoid head. Expected one for a softmax, such as cce.")
    channels, _ = head_for(loss.head, len(data.classes), "softmax")
    model = unet(data.shape, channels, filters=config.filters, depth=config.depth, bn=config.bn)
    multiple = size_multiple(model)
    if any(size % multiple for size in data.shape[:2]):
        raise ValueError(f"data {data.name!r} has images of {data.shape[:2]}. Expected multiples of {multiple}.")
    if config.search == "exact" and len(data.classes) > robust_data.MOST:
        raise ValueError(
            f"--search=exact would look at 3^{len(data.classes)} choices. Expected at most {robust_data.MOST} classes; "
            "take --search beam."
        )
    return data, choose_rows(data, "test", config.images), robust_models.planned(config, folder)


class _Steps:
    """How far the study is, in passes of plain training over the training split."""

    def __init__(self, tell, config, data, images):
        self._tell, self._done = tell, {}
        classes, share = len(data.classes), images / data.sizes["train"]
        choices = 3**classes if config.search == "exact" else 36 * classes
        self._cost = {
            "method one": min(classes, 4) * config.steps * PASS, "method two": (classes * PASS + choices * LOOK),
            "train": config.epochs, "measure": 2.5 * config.attack_steps * PASS * share,
        }  # fmt: skip
        self._fly = config.epochs * (1 + config.fly_steps * FLY_STEP * 3)
        labels = (*robust_models.FOUR, *(robust_models.EXTRAS if config.extras else ()))
        self._all = config.seeds * (
            self._cost["method one"] + self._cost["method two"] + sum(self._train(label) for label in labels)
            + len(labels) * self._cost["measure"]
        )  # fmt: skip
        self._config = config

    def _train(self, label):
        return self._fly if label == robust_models.FLY else self._cost["train"]

    def _cost_of(self, part, entry):
        return self._train(entry.label) if part == "train" else self._cost[part]

    def begin(self, what):
        self._tell(what, self._share())

    def _share(self, more=0.0):
        return min(1.0, (sum(self._done.values()) + more) / self._all)

    def end(self, part, entry):
        """A part of the work on a model is done, or was before."""
        self._done[part, entry.name] = self._cost_of(part, entry)

    def epochs(self, entry):
        """A Keras callback."""
        count = robust_models.epochs_of(entry, self._config)

        def tell(epoch, logs):
            more = self._cost_of("train", entry) * (epoch + 1) / count
            self._tell(f"{entry.name}: epoch {epoch + 1} of {count}", self._share(more))

        return keras.callbacks.LambdaCallback(on_epoch_end=tell)

    def perturbing(self, entry, name):
        """Called with the share that is done of perturbing images."""
        return lambda share: self._tell(f"{entry.name}: {name}", self._share(self._cost[name] * share))

    def attacks(self, entry):
        """Called with (attacks done, of all)."""
        cost = self._cost["measure"]
        return lambda done, total: self._tell(
            f"{entry.name}: attack {done} of {total}", self._share(cost * done / total)
        )


def execute(config, console):
    """Run the study and keep it in a run folder; returns the Result."""
    config, record = begun(config)
    if record is None:
        check_output(config)
    data, rows, entries = checked(config, config.output or Path("runs"))
    data.verify()
    facts = {"data": data.fingerprint(), "devices": environment(), "files": KEPT}
    if record and record.get("data") != facts["data"]:
        raise ValueError(f"data {config.data!r} changed since {config.output} was begun. Expected them as they were.")
    folder = RunFolder.reopen(config.output, record) if record else RunFolder(config, **facts)
    console.print(report.fields_table(_plan(config, folder, data, rows, entries)))
    with folder.running():
        try:
            with Bar(console) as bar:
                result = run(config, folder.path, bar.tell)
        except BaseException:
            command = f"To go on: python scripts/robust_training.py --resume {shlex.quote(str(folder.path))}"
            console.print(command, highlight=False, soft_wrap=True)
            raise
        decided = claims(result)
        write_json(folder / "claims.json", decided)
        write_csv(folder / "scores.csv", robust_page.score_rows(result))
        write_csv(folder / "cases.csv", robust_page.case_rows(result))
        (folder / "figures").mkdir(exist_ok=True)
        drawn = robust_page.draw(result, folder / "figures")
        write_text(folder / "summary.md", robust_text.page(result, decided, folder.record, drawn, "figures"))
        folder.save(claims={claim["claim"]: claim["verdict"] for claim in decided})
    _show(result, decided, folder.path, console)
    return result


def _plan(config, folder, data, rows, entries):
    sizes = ", ".join(f"{count} {split}" for split, count in data.sizes.items())
    labels = dict.fromkeys(entry.label for entry in entries)
    return {
        "data": f"{config.data}: {sizes} images of {'x'.join(map(str, data.shape))}, {len(rows.row)} of them attacked",
        "models": f"{len(entries)} ({'; '.join(labels)}), U-Net with {config.filters} filters, {config.loss}",
        "training": f"{config.epochs} epochs of models 1 to 3, the others as many updates; batches of "
        f"{config.batch_size}",
        "attacks": f"{config.attack_steps} steps, budget {100 * config.budget:g} % of the range of values",
        "folder": folder.path,
    }


def _show(result, decided, path, console):
    table = Table(box=box.SIMPLE_HEAD, title="Pixel accuracy, mean over seeds and cases", title_justify="left")
    for name in ("model", *(each.replace("\n", " ") for each in robust_page.SHORT.values())):
        table.add_column(name)
    for label in result.labels:
        cells = (result.mean(label, condition, "accuracy")[0] for condition in robust_page.SHORT)
        table.add_row(label, *(f"{value:.3f}" for value in cells))
    console.print(table)
    table = Table("claim", "verdict", box=box.SIMPLE_HEAD)
    for claim in decided:
        table.add_row(f"{claim['claim']}  {claim['text']}", claim["verdict"])
    console.print(table, highlight=False)
    where = f"Models, training sets, measures, tables, figures and summary.md are in {path}/"
    console.print(where, highlight=False, soft_wrap=True)
    console.print(f"Next: look at {path / 'summary.md'}", highlight=False, soft_wrap=True)
