"""Attack a trained model: scores against the budget, what can be believed of them, and how it looks."""

import shlex

from rich import box
from rich.table import Table

from kseg import report
from kseg.attacks import ATTACKS
from kseg.data import open_data
from kseg.data.source import check_split
from kseg.files import write_csv, write_text
from kseg.inference import check_fit, load_model, size_multiple
from kseg.studies import attack_checks, attack_page, attack_text
from kseg.studies.attack_measures import DOCUMENT, Subject, cost, fits
from kseg.studies.attack_questions import SUSPICIOUS
from kseg.studies.attack_scores import DRAWS, Result, percent
from kseg.studies.bar import Bar
from kseg.studies.rows import choose_rows
from kseg.training.record import RunFolder, check_output, environment

KEPT = ["cases.csv", "choices.h5", "choices.png", "curves.png", "error.txt", *attack_page.EXAMPLES, "flags.json",
        "record.json", "scores.csv", "summary.json", "summary.md"]  # fmt: skip
__all__ = ["Result", "checked", "execute", "measure", "run"]


def run(config, tell=None):
    """Attack a model and bring together what was found; nothing is written.

    Args:
        config: `kseg.configs.Attack`.
        tell: called with (what is being done, share of all that is done).

    Returns:
        Result.

    Raises:
        ValueError, FileNotFoundError: model, data or attacks that do not fit.
    """
    data, subject = checked(config)
    return measure(data, subject, config, tell)


def checked(config):
    """(data, Subject); a ValueError says what does not fit before anything is made."""
    data = open_data(config.data)
    check_split(data, config.split)
    model = load_model(config.model)
    check_fit(model, data)
    multiple = size_multiple(model)
    if any(size % multiple for size in data.shape[:2]):
        size = "x".join(map(str, data.shape[:2]))
        raise ValueError(
            f"data {data.name!r} has images of {size}, which the poolings of the model do not divide. Expected "
            f"multiples of {multiple}; prepare the data so."
        )
    rows = choose_rows(data, config.split, config.images)
    low, high = data.value_range
    slack = 1e-6 * (high - low)
    if not (low < high and rows.images.min() >= low - slack and rows.images.max() <= high + slack):
        raise ValueError(
            f"data {data.name!r} has values from {rows.images.min():g} to {rows.images.max():g}. Expected its value "
            f"range, {low:g} to {high:g}; prepare the data again."
        )
    subject = Subject(model, data, rows, config)
    for name in config.attacks:
        ATTACKS.get(name)  # one that is not known says which there are
        if reason := fits(name, config.norm):
            known = ", ".join(other for other in ATTACKS.names() if fits(other, config.norm) is None)
            raise ValueError(f"--norm {config.norm} does not fit: {reason}. Expected some of: {known}.")
        subject.attacker(name)
    return data, subject


def jobs(subject, config):
    """(what is done, about how many gradients an image it takes, function that gives its `Outcome`) of all there is."""

    def attack(kind, name, eps=None, label=None, **options):
        gradients = cost(name, subject.options(name) | options, len(subject.classes))
        told = f"{label or name}{'' if eps is None else f', budget {percent(eps)}'}"
        return told, gradients, lambda: subject.attack(kind, name, eps, label, **options)

    for eps in config.eps:
        yield f"noise, budget {percent(eps)}", DRAWS / 3, lambda eps=eps: subject.noise(eps)
    for name in config.attacks:
        if ATTACKS.facts(name).get("unbounded"):
            yield attack("free", name)
            if ATTACKS.facts(name).get("minimal"):
                told, gradients, _ = attack("free", name, label=f"{name}, to background")
                yield told, gradients, lambda name=name: subject.vanish(name)
        else:
            yield from (attack("budget", name, eps) for eps in config.eps)
    if config.document:
        for ball in (True, False):
            yield "the attack of D4", DOCUMENT["steps"], lambda ball=ball: subject.document(ball)
    if config.checks:
        for name, eps, label, options in attack_checks.planned(config):
            yield attack("check", name, eps, label, **options)


def measure(data, subject, config, tell=None, done=None):
    """Attack the images of a `Subject`; see `run`.

    Args:
        data: an open data set.
        subject: `attack_measures.Subject`.
        config, tell: see `run`.
        done: called with each `Row` as soon as it is there.
    """
    clean = subject.clean()
    shown = attack_page.Shown(subject, config, clean.predicted)
    result = Result(
        data.name, config.split, tuple(data.classes), subject.case, config.norm, config.middle, [],
        example=shown.example,
    )  # fmt: skip
    planned = [("the images as they are", 0, lambda: clean), *jobs(subject, config)]
    total, so_far = sum(gradients for _, gradients, _ in planned), 0
    for what, gradients, call in planned:
        if tell:
            tell(what, so_far / total)
        outcome = call()
        so_far += gradients
        result.rows.append(outcome.row)
        shown.add(outcome)
        if done:
            done(outcome.row)
        if outcome.row.attack == "selective":
            result.choices[outcome.row.eps] = attack_page.choices_of(outcome.attacked)
    if config.checks:
        result.gradients.update(subject.gradients())
    result.flags.extend(attack_checks.flags_of(result, config))
    return result


def execute(config, console):
    """Run the evaluation and keep it in a run folder; returns the Result."""
    check_output(config)
    data, subject = checked(config)
    if config.verify:
        data.verify()
    facts = {"data": {"name": data.name, "sha256": data.fingerprint()}, "devices": environment(), "files": KEPT}
    folder = RunFolder(config, **facts)
    console.print(report.fields_table(_plan(config, folder, subject)))
    rows = []

    def keep(row):
        """The scores so far, for those who do not wait for the end."""
        rows.append(attack_page.score_row(row))
        write_csv(folder / "scores.csv", rows)

    with folder.running():
        with Bar(console) as bar:
            result = measure(data, subject, config, bar.tell, keep)
        source = {"data": data.fingerprint(), "case": subject.case.astype("S"), "row": subject.numbers}
        attack_page.write(result, folder, classes=list(data.classes), value_range=data.value_range, **source)
        write_text(folder / "summary.md", attack_text.page(result, folder.record, config))
        folder.save(flags={flag.name: flag.verdict for flag in result.flags})
    _show(result, folder.path, console)
    return result


def _plan(config, folder, subject):
    cases = len(set(subject.case))
    more = [*(["the attack of D4"] if config.document else []), *(["checks"] if config.checks else [])]
    return {
        "model": config.model,
        "data": f"{config.data}: {len(subject.images)} images with foreground, {cases} cases, of the "
        f"{config.split} split",
        "attacks": f"{', '.join(config.attacks)}{'; also ' + ' and '.join(more) if more else ''}; {config.steps} steps",
        "budgets": f"{', '.join(map(percent, config.eps))} of the values' range {subject.low:g} to {subject.high:g}, "
        f"{config.norm}",
        "folder": folder.path,
    }


def _show(result, path, console):
    for score, title in (("mean_iou", "Mean IoU"), ("foreground_dice", "Dice of the foreground")):
        console.print(f"{title} by budget, mean over cases")
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("attack", *map(percent, result.eps)):
            table.add_column(name, no_wrap=True)
        table.add_row("none", *[f"{result.clean.table[score]['mean']:.3f}"] * len(result.eps))
        for name in ("noise", *result.attacks):
            table.add_row(name, *(f"{result.row(name, eps).table[score]['mean']:.3f}" for eps in result.eps))
        console.print(table)
    for line in attack_text.single_lines(result):
        console.print(line, highlight=False, soft_wrap=True)
    table = Table("check", "verdict", "found", box=box.SIMPLE_HEAD)
    for flag in result.flags:
        table.add_row(flag.name, flag.verdict, flag.found, style="bold red" if flag.verdict == SUSPICIOUS else None)
    console.print(table, highlight=False)
    console.print(f"Scores, flags, figures and summary.md are in {path}/", highlight=False, soft_wrap=True)
    console.print(f"Next: look at {shlex.quote(str(path / 'summary.md'))}", highlight=False, soft_wrap=True)
