"""Measures of one model in an HDF5 file, kept so that a study can go on where it was broken off."""

import h5py
import numpy as np

from kseg.files import atomic


def save(path, form, found, **facts):
    """Write measures, whole or not at all.

    Args:
        path: of the file.
        form: the name of the format, with its version.
        found: {name: array}.
        **facts: what they depend on, kept as attributes.
    """
    with atomic(path) as part, h5py.File(part, "w") as file:
        file.attrs.update({"format": form, **facts})
        for name, array in found.items():
            file.create_dataset(name, data=array, compression="gzip" if np.ndim(array) else None)


def read(path, form, **facts):
    """{name: array} of a file that `save` wrote.

    Raises:
        ValueError: another file, or one that was saved with other `facts`.
    """
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != form:
                raise ValueError(f"{path} holds no measures. Expected format {form!r}; remove it to measure again.")
            for name, value in facts.items():
                if file.attrs.get(name) != value:
                    was = f"{name} {file.attrs.get(name)}, not {value}"
                    raise ValueError(
                        f"{path} was measured with {was}. Expected the same; remove it to measure again, or take "
                        "another folder."
                    )
            names = []
            file.visit(names.append)
            return {name: file[name][()] for name in names if isinstance(file[name], h5py.Dataset)}
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}). Expected measures; remove it to measure again.") from None
