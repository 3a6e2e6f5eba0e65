"""What users pass, checked and turned into arrays of one kind."""

import numpy as np


def _count(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}={value!r} does not fit. Expected a whole number, at least 1.")


def check_options(options, shape):
    """The options of a method, if their values fit images of `shape` = (*S, C), sizes None where they are open."""
    for name in ("samples", "steps", "stride"):
        if name in options:
            _count(name, options[name])
    for part in np.ravel(options.get("size", 1)).tolist():
        _count("size", part)
    if not 0 <= options.get("noise", 0) < float("inf"):
        raise ValueError(
            f"noise={options['noise']!r} does not fit. Expected a share of the range of values, at least 0."
        )
    for name, want in (("baseline", shape), ("value", shape[-1:])):
        got = np.shape(options.get(name, 0.0))
        pairs = zip(reversed(got), reversed(want), strict=False)
        if len(got) > len(want) or not all(size in (1, most) or most is None for size, most in pairs):
            raise ValueError(f"{name} has shape {got}. Expected a number, or an array that broadcasts to {want}.")
    return options


def as_images(images, shape):
    """`[N, *S, C]` float32 that fit a model of inputs `shape` = (*S, C)."""
    images = np.asarray(images)
    fits = len(images.shape) == len(shape) + 1 and all(
        want in (None, got) for want, got in zip(shape, images.shape[1:], strict=True)
    )
    if not fits or images.dtype.kind not in "fiub":
        raise ValueError(
            f"images have shape {images.shape} and dtype {images.dtype}. Expected numbers [N, "
            f"{', '.join('any' if size is None else str(size) for size in shape)}], as the model takes them."
        )
    return images.astype(np.float32, copy=False)


def _pixels(name, array, images):
    """`[N, *S]` from that or `[N, *S, 1]`."""
    array, want = np.asarray(array), images.shape[:-1]
    if array.shape == (*want, 1):
        array = array[..., 0]
    if array.shape != want:
        raise ValueError(
            f"{name} have shape {array.shape}, images {images.shape}. Expected {want}, one number per pixel; take "
            "argmax(axis=-1) of one-hot masks."
        )
    return array


def as_masks(masks, images, target):
    """Class ids `[N, *S]` int32."""
    if masks is None:
        wish = "output='loss'" if target.output == "loss" else "region='true'"
        raise ValueError(f"{wish} has no masks. Expected masks of class ids {images.shape[:-1]}.")
    masks = _pixels("masks", masks, images)
    ids = masks.astype(np.int32)
    if masks.dtype.kind not in "fiub" or not (ids == masks).all():
        raise ValueError(f"masks have dtype {masks.dtype} and are no class ids. Expected whole numbers.")
    classes = max(target.channels, 2)
    if target.region == "true" and ids.size and not 0 <= ids.min() <= ids.max() < classes:
        raise ValueError(
            f"masks hold ids from {ids.min()} to {ids.max()}. Expected 0 to {classes - 1} for region='true'; set "
            "pixels to leave out to 0."
        )
    return ids


def as_regions(regions, images, target):
    """Weights `[N, *S]` float32, or None where the region is another."""
    if (regions is None) == target.needs_regions:
        got = "no regions" if regions is None else "regions"
        fix = "pass regions=" if regions is None else "say region='given'"
        raise ValueError(f"region={target.region!r} got {got}. Expected regions for 'given' alone; {fix}.")
    if regions is None:
        return None
    regions = _pixels("regions", regions, images)
    weights = regions.astype(np.float32)
    if not ((weights >= 0) & (weights < np.inf)).all():
        raise ValueError(
            f"regions run from {weights.min():g} to {weights.max():g}. Expected finite weights, at least 0."
        )
    return weights


def as_rows(rows, images):
    """`[N]` int32."""
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    if rows.shape != (len(images),) or rows.dtype.kind not in "iu":
        raise ValueError(f"rows have shape {rows.shape} and dtype {rows.dtype}. Expected integers [{len(images)}].")
    return rows.astype(np.int32)
