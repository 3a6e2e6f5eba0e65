"""The command that predicts files: plan, progress, one run folder, a table of what failed."""

import hashlib
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from kseg import inference, report
from kseg.files import write_csv
from kseg.training.record import RunFailed, RunFolder, check_output, environment


def execute(config, console):
    """Write the masks of files; `kseg.configs.Predict`.

    Returns:
        List of `kseg.inference.Prediction`.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: bad input, one line; nothing was written.
        RunFailed: some files failed and the others are done, or the run broke off.
    """
    files, left_out = inference.list_files(config.files)
    _check_apart(config, files)
    check_output(config)
    trained = inference.open_trained(config.model, config.like)
    inference.check_threshold(config.threshold, trained.model)
    wanted = {"probabilities": config.probabilities, "overlays": config.overlays}
    place = config.output or Path("runs") / config.program
    written = [each for job in inference.plan_jobs(files, place, **wanted) for each in job.written]
    names = sorted({each.relative_to(place).parts[0] for each in written})
    folder = RunFolder(
        config, model=_identity(config.model), classes=list(trained.classes), devices=environment(),
        preprocessing=trained.preprocessing.to_json(), files=names,
    )  # fmt: skip
    console.print(report.fields_table(_plan(config, trained, files, left_out, folder)))
    results = []
    with folder.running():
        try:
            _run(config, trained, files, folder, wanted, console, results)
        finally:
            write_csv(folder / "predictions.csv", [_row(result, trained.classes, folder.path) for result in results])
            failed = [result for result in results if result.error is not None]
            folder.save(predicted=len(results) - len(failed), failed={str(r.path): r.error for r in failed})
    _closing(config, trained, results, failed, folder.path, console)
    if failed:
        others = f"; the masks of the others are in {folder.path}" if len(failed) < len(results) else ""
        raise RunFailed(
            f"{len(failed)} of {_counted(len(files), 'file')} failed, {failed[0].path}: {failed[0].error.rstrip('.')} "
            f"(all in {folder / 'predictions.csv'}){others}"
        )
    return results


def _counted(number, what):
    return f"{number} {what}{'s' * (number != 1)}"


def _run(config, trained, files, folder, wanted, console, results):
    """Predict into the folder; a Prediction per file is appended to `results`."""
    columns = (
        TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.completed:.0f} of {task.total}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(files))

        def watch(path, share):
            bar.update(task, completed=len(results) + share, description=escape(path.name[-32:]))

        options = {"threshold": config.threshold, "overlap": config.overlap, "batch_size": config.batch_size}
        for result in inference.predict_files(trained, files, folder.path, watch=watch, **wanted, **options):
            results.append(result)
            bar.update(task, completed=len(results))
            if result.error is not None:
                console.print(f"failed: {result.path}: {result.error}", markup=False, highlight=False, soft_wrap=True)


def _check_apart(config, files):
    """Raise FileExistsError if replacing a folder would remove files that are to be read."""
    output = config.output
    inside = [path for path in files if output and config.overwrite and path.resolve().is_relative_to(output.resolve())]
    if inside:
        raise FileExistsError(f"--output {output} holds {inside[0]}, which is to be read. Choose another.")


def _identity(path):
    file = path / "model.keras" if path.is_dir() else path
    with open(file, "rb") as opened:
        return {"file": str(file), "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}


def _plan(config, trained, files, left_out, folder):
    rules, model = trained.preprocessing, trained.model
    values = rules.mask_values or range(len(trained.classes))
    resized = f"resized to {rules.size[0]} x {rules.size[1]}" if rules.size else "in their own size"
    seen = rules.window or (None if None in model.input_shape[1:3] else model.input_shape[1:3])
    sliding = f", through windows of {seen[0]} x {seen[1]} where they are larger" if seen and not rules.size else ""
    colour = "gray" if rules.channels == 1 else "colour"
    others = f" ({_counted(left_out, 'other')} of no kind that is read)" if left_out else ""
    return {
        "model": f"{config.model}, {model.count_params():,} parameters",
        "classes": ", ".join(f"{value} {name}" for value, name in zip(values, trained.classes, strict=True)),
        "files": f"{len(files)}{others}",
        "images": f"{colour}, {resized}{sliding}",
        "folder": folder.path,
    }


def _row(result, classes, folder):
    n, height, width = result.shape or ("", "", "")
    shares = dict(zip(classes, [round(share, 6) for share in result.shares] or [""] * len(classes), strict=True))
    mask = "" if result.mask is None else result.mask.relative_to(folder)
    return {
        "file": result.path, "mask": mask, "slices": n, "height": height, "width": width,
        **{f"share of {name}": share for name, share in shares.items()}, "seconds": round(result.seconds, 3),
        "remarks": "; ".join(result.remarks), "error": result.error or "",
    }  # fmt: skip


def _closing(config, trained, results, failed, folder, console):
    done = [result for result in results if result.error is None]
    if done:
        table = Table("class", "mean share", "files without", box=box.SIMPLE_HEAD)
        for k, name in enumerate(trained.classes):
            shares = [result.shares[k] for result in done]
            table.add_row(escape(name), f"{sum(shares) / len(shares):.4f}", str(shares.count(0)))
        console.print(table)
    if failed:
        table = Table("failed", "why", box=box.SIMPLE_HEAD)
        for result in failed:
            table.add_row(escape(str(result.path)), escape(result.error))
        console.print(table)
    for line in _where_they_are(config, done, folder) if done else ():
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _where_they_are(config, done, folder):
    """Lines: remarks on files, where the masks are, and what to do next."""
    remarks = sorted({remark for result in done for remark in result.remarks})
    lines = [f"Remark on some files: {remark}." for remark in remarks]
    masks = "1 mask is" if len(done) == 1 else f"{len(done)} masks are"
    lines.append(f"{masks} in {folder}, a row for each in {folder / 'predictions.csv'}")
    if config.overlays:
        return [*lines, f"Next: look at the pictures in {folder / 'overlays'}"]
    again = replace(config, overlays=True, output=Path(f"{folder}-overlays"), overwrite=False)
    return [*lines, f"Next: look at them over their images: {again.command()}"]
