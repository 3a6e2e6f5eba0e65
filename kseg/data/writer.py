"""Write a data file of the schema in `kseg.data.hdf5`, whole or not at all."""

import hashlib
import json
import os
from pathlib import Path

import h5py
import numpy as np

from kseg.data.hdf5 import FORMAT, INDEX, array_bytes
from kseg.data.source import open_data


def _is_ours(path):
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("format", "")).startswith("kseg-")
    except OSError:
        return False


def _are_numbers(instances, shape):
    """Whether they are objects by number, of that shape."""
    whole = np.asarray(instances).dtype.kind in "iu" and instances.shape == shape
    return whole and (instances.size == 0 or 0 <= instances.min() <= instances.max() < 2**16)


class Writer:
    """Write a data file row by row; it appears under its name only when complete.

    Args:
        path: the file; must not exist unless `overwrite`.
        name, classes, value_range, command, sources, split_rule, seed: the file attributes; `classes` a list of
            names, background first, at most 255; `sources` a list of dicts (file, bytes, sha256).
        scale: what uint8 images are multiplied by when read, such as 1 / 255; None for float32 images.
        preprocessing: the `kseg.data.preprocess.Preprocessing` of the images, if they came from files.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "set.h5"
        >>> with Writer(path, name="set", classes=["background", "disc"], value_range=(0, 1), command="",
        ...             sources=[], split_rule="by hand", seed=0) as writer:
        ...     writer.add("train", "a", np.zeros((2, 8, 8, 1), "float32"), np.zeros((2, 8, 8), "uint8"))
        >>> from kseg.data import DataFile
        >>> DataFile(path).sizes["train"]
        2
    """

    def __init__(
        self, path, *, name, classes, value_range, command, sources, split_rule, seed, scale=None, preprocessing=None,
        overwrite=False,
    ):  # fmt: skip
        self.path = Path(path)
        if self.path.exists() and not overwrite:
            raise FileExistsError(f"{self.path} exists. Expected a new file; choose another name or --overwrite.")
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder. Expected the name of a file.")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"folder {self.path.parent} does not exist. Expected one; make it first.")
        if self.path.exists() and not _is_ours(self.path):
            raise FileExistsError(f"{self.path} is no data file of kseg. Expected one to replace; choose another name.")
        self._part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._classes = list(classes)
        self._last, self._cases = {}, set()
        self._hashes = {}
        self._scale = scale
        try:
            self._file = h5py.File(self._part, "w")
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "not writable"
            raise ValueError(f"{self.path} cannot be written ({reason}). Expected a folder to write to.") from None
        values = {
            "format": FORMAT, "name": name, "classes": json.dumps(self._classes),
            "value_range": np.asarray(value_range, np.float32), "command": command,
            "sources": json.dumps(sources), "split_rule": split_rule, "seed": seed,
        }  # fmt: skip
        if preprocessing is not None:
            values["preprocessing"] = json.dumps(preprocessing.to_json())
        self._file.attrs.update(values)

    def add(self, split, case, images, masks, *, slices=None, box=None, spacing=None, instances=None):
        """Append the rows of one case; cases of a split come in ascending order.

        Args:
            split: "train", "validation" or "test".
            case: the case's name, not seen before in any split.
            images: `[n, H, W, C]` float32, finite; uint8 if the file has a scale.
            masks: `[n, H, W]` integer class ids.
            slices: `[n]`, ascending; 0 .. n-1 by default.
            box: (y0, y1, x0, x1) of the unpadded content; all of it by default.
            spacing: mm per pixel along y and x; nan by default.
            instances: `[n, H, W]` integers, objects by number, 0 the background; all cases of a split or none.
        """
        rows, height, width = masks.shape
        if images.shape[:3] != masks.shape:
            raise ValueError(f"{case}: images {images.shape} and masks {masks.shape} differ in size.")
        if rows and (masks.min() < 0 or masks.max() >= len(self._classes)):
            raise ValueError(
                f"{case}: label {masks.max()} is outside the classes. Expected 0 to {len(self._classes) - 1}."
            )
        if instances is not None and not _are_numbers(instances, masks.shape):
            raise ValueError(f"{case}: instances do not fit. Expected integers from 0 to 65535 of shape {masks.shape}.")
        if split in self._last and ("instances" in self._file[split]) != (instances is not None):
            raise ValueError(f"{case}: some cases of {split} have instances. Expected them for all cases or for none.")
        expected = np.float32 if self._scale is None else np.uint8
        if images.dtype != expected:
            raise ValueError(f"{case} has {images.dtype} pixels. Expected {expected.__name__}; convert them.")
        if not np.isfinite(images).all():
            raise ValueError(f"{case} has NaN or infinite pixels. Expected finite ones; repair or remove it.")
        if case in self._cases:
            raise ValueError(f"{case} comes twice. Expected each case once, in one split.")
        self._cases.add(case)
        if split in self._last and not self._last[split] < case:
            raise ValueError(f"{case} comes after {self._last[split]}. Expected cases in ascending order.")
        self._last[split] = case
        arrays = {
            "images": images,
            "masks": masks.astype(np.uint8),
            "case": np.full(rows, case, dtype=object),
            "slice": np.arange(rows, dtype=np.int32) if slices is None else np.asarray(slices, np.int32),
            "box": np.tile(np.asarray(box or (0, height, 0, width), np.int32), (rows, 1)),
            "spacing": np.tile(np.asarray(spacing or (np.nan, np.nan), np.float32), (rows, 1)),
        }
        if instances is not None:
            arrays["instances"] = np.asarray(instances, np.uint16)
        group = self._file.require_group(split)
        for name, array in arrays.items():
            self._append(group, name, array)

    def _append(self, group, name, array):
        if name not in group:
            dtype = INDEX.get(name, array.dtype)
            row = int(np.prod(array.shape[1:])) * (16 if array.dtype == object else array.itemsize)
            chunk = (max(1, 65536 // max(row, 1)), *array.shape[1:])
            group.create_dataset(name, (0, *array.shape[1:]), dtype, maxshape=(None, *array.shape[1:]), chunks=chunk)
            if name == "images" and self._scale is not None:
                group[name].attrs["scale"] = self._scale
            self._hashes[group.name, name] = hashlib.sha256()
        data = group[name]
        if data.shape[1:] != array.shape[1:]:
            raise ValueError(f"{group.name}/{name} has rows of {data.shape[1:]}, got {array.shape[1:]}.")
        data.resize(len(data) + len(array), axis=0)
        data[len(data) - len(array) :] = array
        self._hashes[group.name, name].update(array_bytes(array))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            for (group, name), digest in self._hashes.items():
                self._file[group][name].attrs["sha256"] = digest.hexdigest()
        self._file.close()
        if kind is None:
            os.replace(self._part, self.path)
        else:
            self._part.unlink(missing_ok=True)


def save(data, path, *, overwrite=False):
    """Write any open data set, such as a built-in one, to a file of the schema, case by case.

    Args:
        data: an open data set, or what `kseg.data.open_data` takes.
        path: the file; must not exist unless `overwrite`.
        overwrite: replace an existing data file.

    Returns:
        The path. Opened again, the file holds the same rows, index and attributes.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: see `Writer`.

    Example:
        >>> import tempfile, pathlib
        >>> from kseg.data import DataFile, open_data
        >>> with open_data("kandinsky", counts=(4, 1, 1)) as figures:
        ...     path = save(figures, pathlib.Path(tempfile.mkdtemp()) / "figures.h5")
        >>> with DataFile(path) as data:
        ...     data.sizes
        {'train': 4, 'validation': 1, 'test': 1}
    """
    data, path = open_data(data), Path(path)
    attributes = {**data.attributes(), "preprocessing": getattr(data, "preprocessing", None)}
    with Writer(path, overwrite=overwrite, **attributes) as writer:
        for split, rows in data.sizes.items():
            index = data.index(split) if rows else {"case": np.array([])}
            starts = [i for i in range(rows) if i == 0 or index["case"][i] != index["case"][i - 1]]
            for start, stop in zip(starts, [*starts[1:], rows], strict=False):
                objects = data.instances(split, start, stop) if hasattr(data, "instances") else None
                writer.add(
                    split, str(index["case"][start]), *data.read(split, start, stop),
                    slices=index["slice"][start:stop], box=tuple(index["box"][start]),
                    spacing=tuple(index["spacing"][start]), instances=objects,
                )  # fmt: skip
    return path
