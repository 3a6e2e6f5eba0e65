"""From a trained model to masks and scores: predict, put slices together again, score per case."""

import itertools
import weakref
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kseg import metrics as M
from kseg.data.source import check_split, open_data
from kseg.metrics.cases import RATIOS, SURFACE

BLOCK = 512
_COMPILED = weakref.WeakKeyDictionary()


class Case(NamedTuple):
    """Score of one case: its name, its slices, `Counts` `[K]` over its pixels without padding, and surface scores.

    The last are `kseg.metrics.surface_scores`, or empty when they were not asked for.
    """

    name: str
    slices: int
    counts: M.Counts
    surface: dict = {}

    def values(self):
        """{score: `[K]`} of every score."""
        return {**{name: ratio(self.counts) for name, ratio in RATIOS.items()}, **self.surface}


class Surfaces(NamedTuple):
    """How distances between surfaces are taken: voxel size of each case, tolerance of surface Dice, and their unit.

    `unit` is "mm", or "px" when the data do not tell the pixel size; then pixels are taken to be squares of side 1.
    """

    spacing: dict
    tolerance: float
    unit: str

    @property
    def axes(self):
        """2 for images, 3 for volumes."""
        return len(next(iter(self.spacing.values())))


def load_model(path):
    """Load a `.keras` file, or the `model.keras` of a run folder, in safe mode and uncompiled.

    Raises:
        FileNotFoundError, ValueError: no such file, or not a Keras model.
    """
    path = Path(path)
    path = path / "model.keras" if path.is_dir() else path
    if not path.is_file() or path.suffix != ".keras":
        raise FileNotFoundError(
            f"model {str(path)!r} is no .keras file. Expected one, or a run folder with model.keras; train one with "
            "scripts/train.py."
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zip, JSON, HDF5 and Keras each raise their own kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"model {str(path)!r} cannot be loaded ({reason:.160}). Expected a whole .keras file of stock layers."
        ) from None


def size_multiple(model):
    """What the image sizes must be a multiple of for a model of open input size: 2 per max-pooling."""
    poolings = sum(type(layer).__name__.startswith("MaxPooling") for layer in model.layers)
    return 2**poolings if None in model.input_shape[1:-1] else 1


def predict_masks(model, images, *, threshold=0.5, batch_size=32):
    """Class ids of every pixel.

    Args:
        model: gives probabilities `[B, H, W, K]`.
        images: `[N, H, W, C]` float32.
        threshold: above it a pixel is foreground, K = 1 only.
        batch_size: images a batch.

    Returns:
        `[N, H, W]` uint8. Images of a size that the model cannot take are padded and the result cut again.
    """
    decide = forward(model, images.shape[1:], threshold)
    masks = [decide(images[i : i + batch_size]).numpy() for i in range(0, len(images), batch_size)]
    return np.concatenate(masks) if masks else np.zeros((0, *images.shape[1:3]), np.uint8)


def forward(model, shape, threshold=None):
    """What a model makes of images, as a compiled function; the same one again for the same arguments.

    Args:
        model: gives probabilities `[B, H, W, K]`.
        shape: `(H, W, C)` of the images; of a size that the model cannot take they are padded and the result cut.
        threshold: None for probabilities, else for class ids; above it a pixel is foreground, K = 1 only.

    Returns:
        A tf.function: `[B, H, W, C]` float32 -> `[B, H, W, K]` probabilities, or `[B, H, W]` uint8.
    """
    made, key = _COMPILED.setdefault(model, {}), (tuple(shape), threshold)
    if key not in made:
        made[key] = _compiled(model, *key)
    return made[key]


def _compiled(model, shape, threshold):
    height, width, channels = shape
    multiple, this = size_multiple(model), weakref.ref(model)  # what is kept of a model must not keep it alive
    open_axes = [size is None for size in model.input_shape[1:3]]
    bottom, right = (-size % multiple * free for size, free in zip((height, width), open_axes, strict=True))

    @tf.function(input_signature=[tf.TensorSpec((None, height, width, channels), tf.float32)])
    def see(images):
        padded = tf.pad(images, [[0, 0], [0, bottom], [0, right], [0, 0]])
        p = this()(padded, training=False)[:, :height, :width]
        if threshold is None:
            return p
        ids = p[..., 0] > threshold if p.shape[-1] == 1 else tf.argmax(p, axis=-1)
        return tf.cast(ids, tf.uint8)

    return see


def check_fit(model, data):
    """Raise ValueError unless `model` takes the images of `data` and has its classes."""
    if not isinstance(model.input_shape, tuple) or not isinstance(model.output_shape, tuple):
        raise ValueError(f"model {model.name!r} has several inputs or outputs. Expected one of each.")
    expected, got = tuple(model.input_shape[1:]), tuple(data.shape)
    if len(expected) != len(got) or any(e not in (None, g) for e, g in zip(expected, got, strict=True)):
        raise ValueError(
            f"model {model.name!r} takes images of {expected}, data {data.name!r} has {got}. Expected equal shapes; "
            "prepare the data as they were for training."
        )
    if model.output_shape[-1] == 1 and model.layers[-1].name == "logits":
        raise ValueError(
            f"model {model.name!r} ends in a logit. Expected a probability; take model.keras of its run, or "
            "kseg.models.with_probabilities(model, 'sigmoid')."
        )
    classes = max(model.output_shape[-1], 2)
    if classes != len(data.classes):
        raise ValueError(
            f"model {model.name!r} has {classes} classes, data {data.name!r} {len(data.classes)} "
            f"({', '.join(data.classes)}). Expected equal numbers; take the data it was trained on."
        )


def cases_of(index):
    """Iterate over (case, rows as a slice) of a split's index, whose rows are sorted by case."""
    names = index["case"]
    edges = np.flatnonzero(np.r_[True, names[1:] != names[:-1], True]) if len(names) else []
    for start, stop in itertools.pairwise(edges):
        yield str(names[start]), slice(int(start), int(stop))


def assemble(rows, index, case_rows):
    """One case as a volume `[n, h, w, ...]`: its rows of `[N, H, W, ...]` in slice order, padding cut off."""
    y0, y1, x0, x1 = index["box"][case_rows.start]
    order = np.argsort(index["slice"][case_rows], kind="stable")
    return rows[case_rows][order][:, y0:y1, x0:x1]


def plan_surfaces(index, *, slice_spacing=None, tolerance=1.0):
    """How to measure surfaces in a split: within images when every case is one, else in volumes.

    Args:
        index: of the split, with the pixel size in each slice; see `kseg.data.hdf5`.
        slice_spacing: distance between neighbouring slices, in mm (pixels if the data do not tell the pixel size). The
            data do not hold it, so volumes cannot be measured without it.
        tolerance: of surface Dice, in the same unit.

    Returns:
        Surfaces, or None for volumes without `slice_spacing`.

    Raises:
        ValueError: slices whose distances differ, or `slice_spacing` for cases of one image each.
    """
    cases = dict(cases_of(index))
    volumes = any(rows.stop - rows.start > 1 for rows in cases.values())
    if volumes and slice_spacing is None:
        return None
    if slice_spacing is not None and not volumes:
        raise ValueError(
            f"slice spacing {slice_spacing:g} does not fit cases of one image each. Expected volumes; leave it out."
        )
    known = bool((np.isfinite(index["spacing"]) & (index["spacing"] > 0)).all())
    spacing = {}
    for name, rows in cases.items():
        in_plane = tuple(float(s) for s in index["spacing"][rows.start]) if known else (1.0, 1.0)
        steps = np.unique(np.diff(np.sort(index["slice"][rows])))
        if len(steps) > 1:
            raise ValueError(
                f"case {name} lacks slices: they are {steps[0]} to {steps[-1]} apart. Expected equal steps for surface "
                "distances; prepare all slices, or leave the slice spacing out."
            )
        step = float(steps[0]) if len(steps) else 1.0
        spacing[name] = (slice_spacing * step, *in_plane) if volumes else in_plane
    return Surfaces(spacing, tolerance, "mm" if known else "px")


def score_cases(model, source, split="test", *, threshold=0.5, batch_size=32, surfaces=None, progress=iter):
    """Score every case of a split.

    Args:
        model: gives probabilities; see `check_fit`.
        source: a data set, or what `kseg.data.open_data` takes.
        split, threshold, batch_size: see `predict_masks`.
        surfaces: of `plan_surfaces`; None leaves surface distances out.
        progress: wraps the list of blocks, to show how far it is.

    Returns:
        List of `Case`, in the order of the data.
    """
    data = open_data(source)
    check_split(data, split)
    check_fit(model, data)
    decide, masks, decided = forward(model, data.shape, threshold), [], []
    block = max(1, BLOCK // batch_size) * batch_size
    for start in progress(range(0, data.sizes[split], block)):
        images, true = data.read(split, start, start + block)
        masks.append(true)
        decided += [decide(images[i : i + batch_size]).numpy() for i in range(0, len(images), batch_size)]
    masks, decided = np.concatenate(masks), np.concatenate(decided)
    return count_cases(masks, decided, data.index(split), len(data.classes), surfaces)


def count_cases(masks, predicted, index, classes, surfaces=None):
    """List of `Case` from true and predicted ids `[N, H, W]` and the index of their rows."""
    cases = []
    for name, rows in cases_of(index):
        true, guess = assemble(masks, index, rows), assemble(predicted, index, rows)
        counts = M.confusion_counts(true, guess, classes)
        cases.append(Case(name, len(true), counts, _surface_of(true, guess, classes, surfaces, name)))
    return cases


def _surface_of(true, guess, classes, surfaces, name):
    if surfaces is None:
        return {}
    spacing = surfaces.spacing[name]
    if len(spacing) == 2:
        true, guess = true[0], guess[0]
    return M.surface_scores(true, guess, classes, spacing=spacing, tolerance=surfaces.tolerance)


def summarise(cases, classes, *, seed=0):
    """Mean over cases of every score, per class, with a 95 % bootstrap interval.

    Args:
        cases: list of `Case`.
        classes: names of the classes, background first.
        seed: of the bootstrap.

    Returns:
        {class: {score: {"mean", "low", "high", "cases", "empty", "missed"}}}; with three or more classes also
        "foreground mean", the mean over foreground classes within each case. Surface scores are of the foreground
        only. `empty` counts cases without a score (0/0) and `missed` infinite distances (class in one mask alone);
        both are left out of the mean.
    """
    each = [case.values() for case in cases]
    values = {name: np.stack([case[name] for case in each]) for name in each[0]}
    columns = {name: (slice(i, i + 1)) for i, name in enumerate(classes)}
    if len(classes) > 2:
        columns["foreground mean"] = slice(1, None)
    return {
        label: {
            name: M.mean_over_cases(M.nanmean(value[:, column]), seed=seed)
            for name, value in values.items()
            if name not in SURFACE or column.start > 0
        }
        for label, column in columns.items()
    }


def case_rows(cases, classes):
    """One dict per case and class: names, counts and scores; for a CSV file."""
    rows = []
    for case in cases:
        values = case.values()
        for i, label in enumerate(classes):
            counts = {name: int(value[i]) for name, value in case.counts._asdict().items()}
            scores = {name: round(float(value[i]), 6) for name, value in values.items()}
            rows.append({"case": case.name, "slices": case.slices, "class": label, **counts, **scores})
    return rows
