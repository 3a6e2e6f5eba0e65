"""D4's study: perturb training images, train on them, attack what came of it, decide what the document says."""

import json

from kseg import losses, report
from kseg.data import open_data
from kseg.data.recipe import source_entry
from kseg.data.source import check_split
from kseg.models import head_for, unet
from kseg.studies import closing, measures_file, robust_data, robust_measures, robust_models, robust_page, robust_text
from kseg.studies.bar import Bar
from kseg.studies.begun import models_so_far, opened, telling_how_to_go_on
from kseg.studies.robust_claims import claims
from kseg.studies.robust_progress import Progress
from kseg.studies.robust_table import Result
from kseg.studies.room import check_room
from kseg.studies.rows import typical_rows
from kseg.training.callbacks import read_history
from kseg.training.compiled import Networks
from kseg.training.record import is_finished

KEPT = ["attacked", "cases.csv", "claims.json", "error.txt", "figures", "measures", "models", "perturbed",
        "record.json", "scores.csv", "summary.md"]  # fmt: skip
__all__ = ["Result", "claims", "execute", "run"]


def run(config, folder, tell=None, known=None):
    """Do what is missing, and bring it together.

    Args:
        config: `kseg.configs.RobustTraining`.
        folder: Path of the study; models go to `models/`, training sets to `perturbed/`, images made on model 1 to
            `attacked/`, measures to `measures/`. What is there is not done again; what was made of another model or
            with other options is refused.
        tell: called with (what is being done, share of all that is done[, True where a model begins]).
        known: what `checked` gave, if that was asked before.

    Returns:
        Result.

    Raises:
        ValueError: data or options that do not fit.
    """
    data, rows, _ = known or checked(config, folder)
    entries = robust_models.planned(config, folder)  # a run folder without --output is known only now
    bench = robust_measures.Bench(config, data, rows)
    steps = Progress(tell or (lambda *_: None), config, data, entries, len(rows.row))
    for name in ("measures", "attacked", "perturbed"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    measures, records, networks = {}, {}, Networks()
    for entry in entries:
        first = robust_models.entry_of(robust_models.ORIGINAL, entry.seed, folder)
        records |= _perturbed(entry, first, bench, folder, steps)
        if not is_finished(entry.folder):
            steps.begin(entry.name)
            robust_models.train(entry, config, folder, data.sizes["train"], [steps.epochs(entry)], networks)
        steps.end("train", entry)
        measures[entry.name] = _measured(entry, first, bench, folder, steps)
        steps.end("measure", entry)
    controls = _controls(config, folder)
    for entry, made in controls.items():
        measures[entry.name] = robust_measures.control(bench, entry.folder, made)
    histories = {entry.name: read_history(entry.folder / "history.csv") for entry in entries}
    return Result(
        data.name, tuple(data.classes), tuple(entries), tuple(controls), rows.case,
        data.index("test")["case"].astype(str), tuple(map(float, data.value_range)), config.budget, measures, histories,
        records,
    )  # fmt: skip


def _perturbed(entry, first, bench, folder, steps):
    """Write the training set of a model if it has its own; gives its records {(seed, method): of `record_of`}."""
    config, path, trained = bench.config, robust_models.data_of(entry, folder), is_finished(entry.folder)
    if path is None:
        return {}
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.label == robust_models.UNION:
        if not (trained or path.exists()):
            parts = {label: robust_models.entry_of(label, entry.seed, folder) for label in robust_models.METHOD_OF}
            files = {label: robust_models.data_of(part, folder) for label, part in parts.items()}
            robust_data.unite(config.data, files, path)
        return {}
    name = robust_models.METHOD_OF[entry.label]
    method, file = bench.methods[name], robust_data.records_of(path)
    settings = json.dumps(method.options, sort_keys=True)
    facts = {"method": name, "settings": settings, "model": _digest(first), "data": bench.data.fingerprint()}
    if not file.exists() or not (trained or path.exists()):
        bench.take(first.folder)
        robust_data.perturb(
            bench.data, bench.attackers[name], method, first.folder / "model.keras", path, config.batch_size,
            steps.perturbing(entry, name), facts,
        )  # fmt: skip
    steps.end(name, entry)
    return {(entry.seed, name): measures_file.read(file, robust_data.RECORD, **facts)}


def _measured(entry, first, bench, folder, steps):
    """The measures of a trained model, made unless they are there."""
    config, path = bench.config, folder / "measures" / f"{entry.name}.h5"
    shared = folder / "attacked" / f"seed{entry.seed}.h5"
    facts = {
        "data": bench.data.fingerprint(), "images": ",".join(map(str, bench.subject.numbers)),
        "steps": config.attack_steps, "budget": config.budget, "model": _digest(entry), "first": _digest(first),
    }  # fmt: skip
    if not path.exists() or (entry == first and not shared.exists()):
        found = robust_measures.measure(entry, bench, shared, steps.attacks(entry))
        measures_file.save(path, robust_measures.FORM, found, **facts)
    return measures_file.read(path, robust_measures.FORM, **facts)


def _controls(config, folder):
    """{entry: file of images}: the images made on model 1 of each seed, shown to models 1 to 4 of the next one."""
    if config.seeds < 2:
        return {}
    return {
        robust_models.Entry(
            name, seed, robust_models.entry_of(label, (seed + 1) % config.seeds, folder).folder
        ): folder / "attacked" / f"seed{seed}.h5"
        for seed in range(config.seeds)
        for label, name in robust_models.OTHERS.items()
    }  # fmt: skip


def _digest(entry):
    """SHA-256 of a trained model's file."""
    path = entry.folder / "model.keras"
    return source_entry(path, entry.folder)["sha256"]


def checked(config, folder):
    """(data, rows to attack, entries) of a study; a ValueError says what does not fit before anything is made."""
    data = open_data(config.data)
    for split in ("train", "validation", "test"):
        check_split(data, split)
    loss = losses.get(config.loss, from_logits=True)
    if loss.head == "sigmoid":
        raise ValueError(f"--loss={config.loss} needs a sigmoid head. Expected one for a softmax, such as cce.")
    channels, _ = head_for(loss.head, len(data.classes), "softmax")
    unet(data.shape, channels, filters=config.filters, depth=config.depth, bn=config.bn)
    if config.search == "exact" and len(data.classes) > robust_data.MOST:
        raise ValueError(
            f"--search=exact would look at 3^{len(data.classes)} choices. Expected at most {robust_data.MOST} classes; "
            "take --search beam."
        )
    needed = config.seeds * (5 * data.nbytes("train") + 3 * (data.nbytes("validation") + data.nbytes("test")))
    check_room(folder, needed, "the perturbed sets")
    return data, typical_rows(data, "test", config.images), robust_models.planned(config, folder)


def execute(config, console):
    """Run the study and keep it in a run folder; returns the Result."""
    config, known, folder = opened(config, checked, KEPT)
    console.print(report.fields_table(_plan(config, folder, *known) | models_so_far(folder)))
    with folder.running():
        with telling_how_to_go_on(folder, config, console), Bar(console) as bar:
            result = run(config, folder.path, bar.tell, known)
        decided = claims(result)
        tables = {"scores.csv": robust_page.score_rows(result), "cases.csv": robust_page.case_rows(result)}
        closing.write(folder, result, decided, tables, robust_page.draw, robust_text.page)
    rows = [
        [
            result.counted(label),
            *(f"{result.mean(label, condition, 'accuracy')[0]:.3f}" for condition in robust_page.SHORT),
        ]
        for label in result.labels
    ]
    closing.show(
        console, "Pixel accuracy, mean over seeds and cases",
        ["model", *(each.replace("\n", " ") for each in robust_page.SHORT.values())], rows,
        [each | {"text": robust_text.marked(each)} for each in decided], (),
        "Models, training sets, measures, tables, figures and summary.md", folder.path,
    )  # fmt: skip
    return result


def _plan(config, folder, data, rows, entries):
    sizes = ", ".join(f"{count} {split}" for split, count in data.sizes.items())
    labels = dict.fromkeys(entry.label for entry in entries)
    return {
        "data": f"{config.data}: {sizes} images of {'x'.join(map(str, data.shape))}, {len(rows.row)} of them attacked",
        "models": f"{len(entries)} ({'; '.join(labels)}), U-Net with {config.filters} filters, {config.loss}",
        "training": f"{config.epochs} epochs of as many updates for each, batches of {config.batch_size}",
        "attacks": f"{config.attack_steps} steps, budget {100 * config.budget:g} % of the range of values",
        "folder": folder.path,
    } | closing.too_few(len(set(rows.case)), config.seeds)
