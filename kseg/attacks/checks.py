"""What users pass to attacks, checked and turned into arrays of one kind."""

import inspect

import numpy as np

from kseg.registry import unknown
from kseg.saliency.checks import as_images as as_any_images

WHOLE = ("steps", "restarts", "queries", "width", "sweeps", "together")
SHARES = ("momentum", "rate", "initial")
CHOICES = {"keep": ("best", "last"), "anchor": ("pass", "input"), "mode": ("pass", "sum"), "search": ("exact", "beam")}
COMMON = (
    "direction", "loss", "budget", "step_size", "norm", "value_range", "ignore_class", "judge", "goal", "head", "seed",
    "jit",
)  # fmt: skip


def check_number(name, value, low, high):
    """Refuse what is no number in [low, high]."""
    number = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        top = "" if high == float("inf") else f" and at most {high:g}"
        raise ValueError(f"{name}={value!r} does not fit. Expected a number, at least {low:g}{top}.")


def check_options(method, function, options):
    """The options of an attack, if it has them and their values fit."""
    taken = {name: p for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    for name, value in options.items():
        if name not in taken and not open_ended:
            raise unknown(f"option of attack {method!r}", name, [*taken, *COMMON])
        if name in WHOLE and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{name}={value!r} does not fit. Expected a whole number, at least 1.")
        if name in SHARES:
            check_number(name, value, 0.0, 1.0)
        if name in CHOICES and value not in CHOICES[name]:
            raise unknown(name, value, CHOICES[name])
    if options.get("keep") == "last" and options.get("restarts", 1) > 1:
        raise ValueError("keep='last' does not fit restarts, of which the best is kept. Expected keep='best'.")
    return options


def as_images(images, shape, low, high):
    """`[N, *S, C]` float32 that fit a model of inputs `shape` = (*S, C), with values in [low, high]."""
    images = as_any_images(images, shape)
    if not np.isfinite(images).all():
        raise ValueError("images hold nan or infinite values. Expected finite numbers; mend the images.")
    slack = 1e-6 * (high - low)
    if images.size and not (images.min() >= low - slack and images.max() <= high + slack):
        raise ValueError(
            f"images have values from {images.min():g} to {images.max():g}. Expected {low:g} to {high:g}; tell the "
            "range by value_range=(lowest, highest)."
        )
    return images


def as_masks(masks, images, channels, ignore_class):
    """Class ids `[N, *S]` int32, 0 where they do not count, and what counts as float32 of 0 and 1."""
    masks, want, classes = np.asarray(masks), images.shape[:-1], max(channels, 2)
    if masks.dtype.kind == "f" and not np.isfinite(masks).all():
        raise ValueError("masks hold nan or infinite values. Expected class ids.")
    if masks.shape == (*want, 1):
        masks = masks[..., 0]
    if masks.shape == (*want, channels) and channels > 1:
        masks = _from_one_hot(masks)
    if masks.shape != want or masks.dtype.kind not in "fiub":
        one_hot = f" or one-hot {(*want, channels)}" if channels > 1 else ""
        raise ValueError(f"masks have shape {masks.shape} and dtype {masks.dtype}. Expected class ids {want}{one_hot}.")
    ids = masks.astype(np.int32)
    counted = np.ones(want, bool) if ignore_class is None else ids != ignore_class
    known = (ids >= 0) & (ids < classes) & (ids == masks)
    if not known[counted].all():
        stray = masks[counted & ~known].flat[0]
        raise ValueError(
            f"masks hold {stray:g}. Expected class ids from 0 to {classes - 1}"
            f"{' or ignore_class=' + str(ignore_class) if ignore_class is not None else '; set ignore_class'}."
        )
    return np.where(counted, ids, 0), counted.astype(np.float32)


def _from_one_hot(masks):
    if not (np.isin(masks, (0, 1)).all() and (masks.sum(axis=-1) == 1).all()):
        raise ValueError("masks [..., K] are not one-hot. Expected a single 1 a pixel, or class ids; attacks take no "
                         "soft labels.")  # fmt: skip
    return masks.argmax(axis=-1)


def as_rows(rows, images):
    """`[N]` int32."""
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    if rows.shape != (len(images),) or rows.dtype.kind not in "iu":
        raise ValueError(f"rows have shape {rows.shape} and dtype {rows.dtype}. Expected integers [{len(images)}].")
    return rows.astype(np.int32)
