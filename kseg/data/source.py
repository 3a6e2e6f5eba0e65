"""A data set by path or by name."""

import inspect
from difflib import get_close_matches
from pathlib import Path

from kseg.data import synthetic
from kseg.data.hdf5 import SPLITS, DataFile
from kseg.registry import Registry, call_options, unknown

BUILT_IN = Registry("built-in data set")
for _set in (synthetic.Toy, synthetic.Volumes, synthetic.Lungs, synthetic.Tissue, synthetic.Kandinsky):
    BUILT_IN.register(_set.name)(_set)


def open_data(source, **options):
    """Open a prepared HDF5 file, or a built-in set by its name.

    Args:
        source: a path, a built-in name ("toy", "volumes", "lungs", "tissue", "kandinsky"), a built-in name with
            options as on the command line, `"kandinsky(classes='colour', size=32)"`, or an open data set, which is
            returned as it is.
        **options: of a built-in set (`threshold`, `seed` for toy).

    Returns:
        `DataFile`, or an object that offers the same.

    Raises:
        FileNotFoundError, ValueError: no such file or set, an option that it does not have or that does not fit.

    Example:
        >>> open_data("toy(threshold=0.5)", seed=1).attributes()["command"]
        "kseg.data.open_data('toy', threshold=0.5, seed=1)"
    """
    if hasattr(source, "read") and hasattr(source, "index"):
        return source
    name = str(source)
    start, bracket, rest = name.partition("(")
    if start in BUILT_IN.names() and not Path(name).exists() and not name.endswith((".h5", ".hdf5")):
        options = (call_options("data", start, bracket + rest) if bracket else {}) | options
        known = inspect.signature(BUILT_IN.get(start)).parameters
        for option in options:
            if option not in known:
                raise unknown(f"option of data {start!r}", option, known)
        return BUILT_IN.get(start)(**options)
    if options:
        raise ValueError(f"data {name!r} is a file and takes no options. Got {', '.join(options)}.")
    if start.isidentifier() and get_close_matches(start, BUILT_IN.names()) and not Path(name).exists():
        raise unknown("data file or built-in set", start, BUILT_IN.names())
    return DataFile(Path(name))


def check_split(data, split):
    """Raise ValueError unless `data` has rows in `split`."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if not data.sizes.get(split):
        sizes = ", ".join(f"{name} {rows}" for name, rows in data.sizes.items())
        raise ValueError(
            f"split {split!r} of data {data.name!r} is empty ({sizes}). Expected at least one row; prepare the "
            "data with other split ratios, or give a built-in set other counts."
        )
