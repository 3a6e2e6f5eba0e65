"""A data set by path or by name."""

from pathlib import Path

from kseg.data.hdf5 import SPLITS, DataFile
from kseg.data.synthetic import Toy
from kseg.registry import Registry, unknown

BUILT_IN = Registry("built-in data set")
BUILT_IN.register("toy")(Toy)


def open_data(source, **options):
    """Open a prepared HDF5 file, or a built-in set by its name.

    Args:
        source: a path, a built-in name such as "toy", or an open data set, which is returned as it is.
        **options: of a built-in set (`threshold`, `seed` for toy).

    Returns:
        `DataFile`, or an object that offers the same.
    """
    if hasattr(source, "read") and hasattr(source, "index"):
        return source
    name = str(source)
    if name in BUILT_IN.names():
        return BUILT_IN.get(name)(**options)
    if options:
        raise ValueError(f"data {name!r} is a file and takes no options. Got {', '.join(options)}.")
    return DataFile(Path(name))


def check_split(data, split):
    """Raise ValueError unless `data` has rows in `split`."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if not data.sizes.get(split):
        sizes = ", ".join(f"{name} {rows}" for name, rows in data.sizes.items())
        raise ValueError(
            f"split {split!r} of data {data.name!r} is empty ({sizes}). Expected at least one row; prepare the "
            "data with other split ratios."
        )
