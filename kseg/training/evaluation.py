"""Scores of a trained model per case, and pictures of it."""

import numpy as np
from rich.progress import track

from kseg import inference, report
from kseg.data import open_data
from kseg.data.source import check_split
from kseg.files import write_csv, write_json
from kseg.training.record import RunFolder, check_output, environment

EXAMPLES = 4


def evaluate(config, console):
    """Score a saved model; `kseg.configs.Evaluate`. Returns the summary; raises as `train` does."""
    check_output(config)
    data = open_data(config.data)
    check_split(data, config.split)
    if config.verify:
        data.verify()
    model = inference.load_model(config.model)
    inference.check_fit(model, data)
    if config.threshold != 0.5 and model.output_shape[-1] > 1:
        raise ValueError(
            f"--threshold={config.threshold:g} does not fit a model of {model.output_shape[-1]} channels, where the "
            "largest decides. Expected a model with one sigmoid channel; leave --threshold out."
        )
    surfaces = inference.plan_surfaces(
        data.index(config.split), slice_spacing=config.slice_spacing, tolerance=config.tolerance
    )
    folder = RunFolder(config, data=identity(data), devices=environment())
    with folder.running():
        summary = evaluate_into(
            folder.path, model, data, config.split, config.batch_size, console, config.threshold, surfaces
        )
        folder.save(summary=summary)
    title = f"{config.split.capitalize()} split of {data.name}: mean over cases (95 % interval)"
    console.print(report.score_table(summary, title))
    if surfaces is None:
        note = "Surface distances need --slice-spacing: the data do not hold the distance between slices."
        console.print(note, soft_wrap=True)
    else:
        unit = surfaces.unit
        title = f"Surfaces in {surfaces.axes}-D, {unit}; surface Dice within {surfaces.tolerance:g} {unit}"
        console.print(report.score_table(summary, title, report.SURFACE))
    console.print(
        f"Scores per case are in {folder / 'cases.csv'}, examples in {folder / 'examples.png'}", soft_wrap=True
    )
    return summary


def evaluate_into(folder, model, data, split, batch_size, console, threshold=0.5, surfaces=None):
    """Score a model per case and write cases.csv, summary.json and examples.png into `folder`."""

    def progress(blocks):
        return track(blocks, "scoring", console=console, transient=True, disable=not console.is_terminal)

    cases = inference.score_cases(
        model, data, split, threshold=threshold, batch_size=batch_size, surfaces=surfaces, progress=progress
    )
    summary = inference.summarise(cases, data.classes)
    write_csv(folder / "cases.csv", inference.case_rows(cases, data.classes))
    facts = {"data": data.name, "split": split, "cases": len(cases), "classes": summary}
    if surfaces is not None:
        facts["surfaces"] = {"axes": surfaces.axes, "unit": surfaces.unit, "tolerance": surfaces.tolerance}
    write_json(folder / "summary.json", facts)
    report.save_figure(draw_examples(model, data, split, threshold), folder / "examples.png")
    return summary


def draw_examples(model, data, split, threshold=0.5):
    """Examples evenly spread over the cases of a split; of each case the slice with most foreground."""
    index = data.index(split)
    cases = list(inference.cases_of(index))
    chosen = [cases[i] for i in sorted({round(i) for i in np.linspace(0, len(cases) - 1, EXAMPLES)})]
    images, masks, names = [], [], []
    for name, rows in chosen:
        case_images, case_masks = data.read(split, rows.start, rows.stop)
        largest = int((case_masks > 0).sum(axis=(1, 2)).argmax())
        images.append(case_images[largest])
        masks.append(case_masks[largest])
        names.append(name if rows.stop - rows.start == 1 else f"{name}\nslice {index['slice'][rows][largest]}")
    images, masks = np.stack(images), np.stack(masks)
    predicted = inference.predict_masks(model, images, threshold=threshold)
    return report.plot_examples(images, masks, predicted, data.classes, names)


def identity(data):
    """What a record tells of the data it was made with."""
    return {
        "name": data.name, "sha256": data.fingerprint(), "rows": dict(data.sizes), "shape": data.shape,
        "classes": list(data.classes),
    }  # fmt: skip
