"""What is measured of one model of the pixel study: gradients, margins, and hits under every attack."""

from typing import NamedTuple

import numpy as np

from kseg.attacks.pixels import PixelSweep, Setting, rank_pixels, replace_pixels
from kseg.inference import load_model, predict_masks, score_cases
from kseg.metrics import nanmean
from kseg.models import with_logits
from kseg.saliency import Explainer, spread

FORMAT = "kseg pixel measures 2"
COUNTS = (0, 1, 2, 5, 10, 15, 20, 25, 30, 40, 50)  # S0.12, S0.13
FEW = 5  # pixels of experiments A and B
# Experiments A and B in units of the largest value of the images, 0.2 in the document: 0 to 0.2, and up to 1.
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
SHOWN = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)  # levels of the stepped masks, S0.16
ORDERS = ("signed", "absolute", "lowest", "random")
# Ways to choose pixels. The first is the document's, S0.7; the others tell whether another one would see other things.
SELECTORS = {
    "gradient": {"method": "gradient"},
    "logit": {"method": "gradient", "output": "logit"},
    "predicted": {"method": "gradient", "region": "predicted"},
    "loss": {"method": "gradient", "output": "loss"},
}
FURTHER = {
    "gradient x input": {"method": "gradient_x_input"},
    "SmoothGrad": {"method": "smoothgrad", "samples": 8},
    "integrated gradients": {"method": "integrated_gradients", "steps": 16},
    "occlusion": {"method": "occlusion", "size": 6, "stride": 6},
    "Grad-CAM": {"method": "grad_cam"},
    "guided backprop": {"method": "guided_backprop"},
    "guided Grad-CAM": {"method": "guided_grad_cam"},
}


class Plan(NamedTuple):
    """The settings of an attack by experiment: {experiment: settings}; `draw` and `count` tell the columns apart."""

    level: list
    count: list
    noise: list
    step: list


def plan(unit, draws):
    """The settings of experiments A and B, C, D and of the directional attack.

    Args:
        unit: largest value of the images.
        draws: random replacements of each count.
    """
    return Plan(
        level=[Setting(0), *(Setting(FEW, level=unit * level) for level in LEVELS)],
        count=[Setting(count, level=unit) for count in COUNTS],
        noise=[Setting(count, draw=draw) for count in COUNTS for draw in range(draws)],
        step=[Setting(count, step=unit) for count in COUNTS],
    )


def attacks(extras):
    """(selector, order, experiments) of every attack of a model."""
    main = [("gradient", order, ("level", "count", "noise", "step")) for order in ("signed", "absolute", "random")]
    rest = [("gradient", "lowest", ("level", "count")), ("loss", "absolute", ("step",))]
    others = [name for name in (*SELECTORS, *(FURTHER if extras else ())) if name != "gradient"]
    return [*main, *rest, *((name, "signed", ("count",)) for name in others)]


def attacks_on(entry, config):
    """`attacks` of a model: all ways to choose pixels for the first seed and for models that were given."""
    return attacks(config.extras and (bool(config.models) or entry.seed == 0))


def measure(entry, data, rows, config, unit, progress=None):
    """Measure one model (S0.7 to S0.19).

    Args:
        entry: of `pixel_models`.
        data: an open data set; its whole test split is scored as it is.
        rows: of `pixel_data.choose_rows`.
        config: `kseg.configs.PixelRobustness`.
        unit: largest value of the images.
        progress: called with (done, all) after each attack.

    Returns:
        {name: array}. "hits/SELECTOR/ORDER/EXPERIMENT/tp" and "fp", "fn", "overlap", "mass" `[n, P, F]` for P settings
        of `plan` and F foreground classes; "ranked/SELECTOR" `[n, 50]` the pixels of highest value;
        "spread/OUTPUT/STATISTIC" `[n]`; "clean/dice" and "clean/accuracy" of every test case, its slices put together;
        "example/..." of one image. The padding of an image is neither attacked nor scored.
    """
    model = load_model(entry.folder)
    sweep, settings, found = PixelSweep(model), plan(unit, config.draws), {}
    maps = {"loss": maps_of(model, "loss", rows)}
    planned = attacks_on(entry, config)
    for done, (selector, order, experiments) in enumerate(planned, 1):
        if selector not in maps:
            maps[selector] = maps_of(model, selector, rows)
        ranked = rank_pixels(maps[selector], max(COUNTS), order, rows=rows.row, inside=rows.box)
        if order == "signed":
            found[f"ranked/{selector}"] = ranked.numpy()
        wanted = [setting for name in experiments for setting in getattr(settings, name)]
        hits = sweep(
            rows.images, rows.masks, ranked, wanted, rows=rows.row, boxes=rows.box, high=LEVELS[-1] * unit,
            directions=np.sign(maps["loss"]) if "step" in experiments else None,
        )  # fmt: skip
        edges = np.cumsum([0, *(len(getattr(settings, name)) for name in experiments)])
        for name, start, stop in zip(experiments, edges, edges[1:], strict=False):
            path = f"hits/{selector}/{order}/{name}"
            for key, array in hits._asdict().items():
                small = np.int32 if array.dtype.kind == "i" else np.float32
                found[f"{path}/{key}"] = array[:, start:stop].astype(small)
        if progress:
            progress(done, len(planned))
    levels = [level * unit for level in SHOWN]
    return found | _clean(model, data) | _gradients(model, rows, maps) | _example(model, rows, maps, levels)


def maps_of(model, selector, rows):
    """Maps `[n, H, W, C]` of a way to choose pixels; those of integrated gradients without their error."""
    options = (SELECTORS | FURTHER)[selector]
    if options.get("output") == "loss":
        _, head = with_logits(model)
        options = options | {"loss": "bce" if head == "sigmoid" else "cce"}
    found = Explainer(model, **options)(rows.images, rows.masks, rows=rows.row)
    return found.values if isinstance(found, tuple) else found


def _clean(model, data):
    """Dice (the mean over foreground classes) and pixel accuracy of every test case."""
    scores = [case.values() for case in score_cases(model, data, "test")]
    dice, accuracy = [nanmean(s["dice"][1:]) for s in scores], [s["accuracy"][0] for s in scores]
    return {"clean/dice": np.array(dice, np.float64), "clean/accuracy": np.array(accuracy, np.float64)}


def _gradients(model, rows, maps):
    """Statistics of the gradients of probabilities and of logits (S0.18), and how soft the margins are (S0.19)."""
    p = np.concatenate([model(rows.images[i : i + 32], training=False).numpy() for i in range(0, len(rows.images), 32)])
    p = p[..., 0] if p.shape[-1] == 1 else 1 - p[..., 0]
    found = {"spread/probability/soft_margin": spread.soft_margin(p, boxes=rows.box)}
    for output, selector in (("probability", "gradient"), ("logit", "logit")):
        summary = spread.summary(maps[selector], boxes=rows.box)
        found |= {f"spread/{output}/{name}": values for name, values in summary.items()}
    return found


def _example(model, rows, maps, levels):
    """Of the image with most foreground: gradients, prediction, and masks as the level rises (S0.15 to S0.17)."""
    i = int((rows.masks > 0).sum(axis=(1, 2)).argmax())
    image, box = rows.images[i : i + 1], rows.box[i : i + 1]
    predicted = {}
    for name, order in (("predicted", "signed"), ("random", "random")):
        ranked = rank_pixels(maps["gradient"][i : i + 1], FEW, order, rows=rows.row[i : i + 1], inside=box)
        attacked = [image, *(replace_pixels(image, ranked, level).numpy() for level in levels)]
        predicted[f"example/{name}"] = predict_masks(model, np.concatenate(attacked))
    return predicted | {
        "example/row": np.int64(rows.row[i]), "example/image": image[0], "example/mask": rows.masks[i],
        "example/gradient": maps["gradient"][i], "example/logit": maps["logit"][i],
    }  # fmt: skip
