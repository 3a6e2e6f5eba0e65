"""Masks of any values as class ids: which values there are, and what each stands for."""

import numpy as np

from kseg.data.read import KINDS, ending, read_case

MOST = 16  # values that are taken for classes without being told
JPEG = (".jpg", ".jpeg")


def read_mask(path, axis=None, orientation=None):
    """The values of a mask file, whole numbers `[n, H, W]`; see `kseg.data.read.read_case`.

    Raises:
        FileNotFoundError, ValueError: as there, or DICOM, colours, or numbers that are not whole.
    """
    return mask_case(path, axis, orientation)[0]


def mask_case(path, axis=None, orientation=None):
    """What `read_mask` gives, and the `kseg.data.read.Origin` of the file."""
    if KINDS[ending(path)] == "dicom":
        raise ValueError(f"{path} is DICOM. Expected a mask as PNG, TIFF, NIfTI or .npy; convert it.")
    pixels, *_, origin, _ = read_case(path, axis, orientation, labels=True)
    if pixels.shape[-1] > 1 and (pixels[..., :1] != pixels).any():
        raise ValueError(f"{path} has colours. Expected one number a class; convert it to gray or to a palette.")
    values = pixels[..., 0]
    if values.dtype.kind == "f":
        if (values != np.rint(values)).any() or np.abs(values).max() >= 2**31:
            raise ValueError(f"{path} has values such as {_odd(values):g}. Expected whole numbers; convert it.")
        values = values.astype(np.int64)
    if values.dtype.kind == "u" and values.dtype.itemsize > 4 and values.max() >= 2**31:
        raise ValueError(f"{path} has values such as {values.max()}. Expected below 2^31; convert it.")
    return (values.astype(np.uint8) if values.dtype.kind == "b" else values), origin


def classes_of(found, config):
    """The values of the classes, the background's first, and their names.

    Args:
        found: set of the values in all masks.
        config: `kseg.configs.PrepareFolder`.

    Returns:
        (list of values, or None for objects by number, list of names).

    Raises:
        ValueError: too many values, one alone, values below 0, or names that do not fit them.
    """
    values = None if config.instances else list(config.class_values or sorted(found))
    _check_found(values, found, config)
    count = 1 if config.instances else len(values) - 1
    names = config.class_names
    if names is None:
        names = ["foreground"] if count == 1 else [f"class {value}" for value in values[1:]]
    if len(names) != count or len({"background", *names}) <= count:
        raise ValueError(
            f"--class-names={' '.join(names)} do not fit the masks. Expected {count} different "
            f"name{'s' * (count > 1)}, one a class but the background"
            + ("" if values is None else f" ({', '.join(map(str, values[1:]))}, and {values[0]} is the background)")
            + "; correct them."
        )
    return values, ["background", *names]


def class_ids(numbers, values, nearest=False):
    """Class ids uint8 of masks: the place of each number in `values`; None if there is another number.

    Args:
        numbers: whole numbers, any shape.
        values: of the classes, the background's first.
        nearest: take the nearest of the values, for masks that were stored with loss.

    Example:
        >>> class_ids(np.array([0, 255, 128]), [255, 0, 128]).tolist()
        [1, 0, 2]
        >>> class_ids(np.array([3, 250, 120]), [255, 0, 128], nearest=True).tolist()
        [1, 0, 2]
    """
    order = np.argsort(values)
    ordered = np.asarray(values, np.int64)[order]
    numbers = numbers.astype(np.int64)
    if nearest:
        places = np.searchsorted((ordered[1:] + ordered[:-1]) / 2, numbers)
    else:
        places = np.minimum(np.searchsorted(ordered, numbers), len(ordered) - 1)
        if (ordered[places] != numbers).any():
            return None
    return order[places].astype(np.uint8)


def _check_found(values, found, config):
    if config.instances and not 0 <= min(found) <= max(found) < 2**16:
        raise ValueError(
            f"masks hold numbers from {min(found)} to {max(found)}. Expected 0 to 65535; renumber objects."
        )
    if config.instances or config.class_values is not None:
        return
    some = f"{', '.join(map(str, values[:4]))}, ..., {values[-1]}"
    if len(values) > MOST:
        raise ValueError(
            f"masks hold {len(values)} values ({some}). Expected one a class, at most {MOST} unless listed: if they "
            "number objects, --instances; if masks were resized with smoothing or were JPEG once, make them again; "
            "else list them, --class-values."
        )
    if len(values) < 2 or values[0] < 0:
        raise ValueError(
            f"masks hold the value{'s' * (len(values) > 1)} {', '.join(map(str, values))}. Expected two or more, at "
            "least 0; list them, --class-values, or look whether these are the masks."
        )


def _odd(values):
    return next(value for value in values.ravel() if value != np.rint(value) or abs(value) >= 2**31)
