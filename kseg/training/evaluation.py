"""Scores of a trained model per case, and pictures of it."""

from rich.progress import track

from kseg import inference, report
from kseg.data import open_data
from kseg.data.source import check_split
from kseg.files import write_csv, write_json
from kseg.report.tables import print_whole
from kseg.training.pictures import Subject, draw_all, draw_examples
from kseg.training.record import RunFolder, check_output, environment


def evaluate(config, console):
    """Score a saved model; `kseg.configs.Evaluate`. Returns the summary; raises as `train` does."""
    check_output(config)
    data = open_data(config.data)
    check_split(data, config.split)
    if config.verify:
        data.verify()
    model = inference.load_model(config.model)
    inference.check_fit(model, data)
    inference.check_threshold(config.threshold, model)
    surfaces = inference.plan_surfaces(
        data.index(config.split), slice_spacing=config.slice_spacing, tolerance=config.tolerance
    )
    folder = RunFolder(config, data=identity(data), devices=environment())
    with folder.running():
        summary = evaluate_into(
            folder.path, model, data, config.split, config.batch_size, console, config.threshold, surfaces,
            config.figures,
        )  # fmt: skip
        folder.save(summary=summary)
    title = f"{config.split.capitalize()} split of {data.name}: mean over cases (95 % interval)"
    print_whole(console, report.score_table(summary, title))
    if surfaces is None:
        note = "Surface distances need --slice-spacing: the data do not hold the distance between slices."
        console.print(note, soft_wrap=True)
    else:
        unit = surfaces.unit
        title = f"Surfaces in {surfaces.axes}-D, {unit}; surface Dice within {surfaces.tolerance:g} {unit}"
        print_whole(console, report.score_table(summary, title, report.SURFACE))
    more = f", figures in {folder / 'figures'}/" if config.figures else ""
    line = f"Scores per case are in {folder / 'cases.csv'}, examples in {folder / 'examples.png'}{more}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    return summary


def evaluate_into(
    folder, model, data, split, batch_size, console, threshold=0.5, surfaces=None, figures=False
):  # fmt: skip
    """Score a model per case and write cases.csv, summary.json and examples.png into `folder`.

    With `figures` also the pictures of all cases, into a folder of that name.
    """

    def progress(word):
        return lambda blocks: track(blocks, word, console=console, transient=True, disable=not console.is_terminal)

    cases = inference.score_cases(
        model, data, split, threshold=threshold, batch_size=batch_size, surfaces=surfaces, progress=progress("scoring")
    )
    summary = inference.summarise(cases, data.classes)
    write_csv(folder / "cases.csv", inference.case_rows(cases, data.classes))
    facts = {"data": data.name, "split": split, "cases": len(cases), "classes": summary}
    if surfaces is not None:
        facts["surfaces"] = {"axes": surfaces.axes, "unit": surfaces.unit, "tolerance": surfaces.tolerance}
    write_json(folder / "summary.json", facts)
    subject = Subject(model, data, split, threshold, cases)
    report.save_figure(draw_examples(subject), folder / "examples.png")
    if figures:
        draw_all(subject, folder / "figures", batch_size, surfaces, progress("drawing"))
    return summary


def identity(data):
    """What a record tells of the data it was made with."""
    return {
        "name": data.name, "sha256": data.fingerprint(), "rows": dict(data.sizes), "shape": data.shape,
        "classes": list(data.classes),
    }  # fmt: skip
