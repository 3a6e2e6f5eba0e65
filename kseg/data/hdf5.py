"""The HDF5 schema: written atomically, read with its sizes checked first, verified on demand.

File attributes: `format`, `name`, `classes` (JSON, index 0 the background), `value_range`, `command`, `sources`
(JSON list of file, bytes, sha256), `split_rule`, `seed`. Groups `train`, `validation`, `test` hold

    images   [N, H, W, C]  float32 as the model sees them, or uint8 with an attribute `scale`
    masks    [N, H, W]     uint8 class ids
    case     [N]           string: patient, volume or tile
    slice    [N]           int32, position within the case
    box      [N, 4]        int32 (y0, y1, x0, x1) of the unpadded content
    spacing  [N, 2]        float32, mm per pixel along y and x, nan when unknown

Rows are sorted by case, then slice. Each array has an attribute `sha256`.
"""

import hashlib
import json
import os
from pathlib import Path

import h5py
import numpy as np

FORMAT = "kseg-1"
SPLITS = ("train", "validation", "test")
INDEX = {"case": h5py.string_dtype(), "slice": np.int32, "box": np.int32, "spacing": np.float32}
ATTRIBUTES = ("name", "classes", "value_range", "command", "sources", "split_rule", "seed")
BLOCK = 256
_COMPRESSION_LIMIT = 2000  # no filter of HDF5 packs tighter; what claims more is damaged or hostile


class Writer:
    """Write a data file row by row; it appears under its name only when complete.

    Args:
        path: the file; must not exist unless `overwrite`.
        name, classes, value_range, command, sources, split_rule, seed: the file attributes; `classes` a list of
            names, background first, at most 255; `sources` a list of dicts (file, bytes, sha256).

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "set.h5"
        >>> with Writer(path, name="set", classes=["background", "disc"], value_range=(0, 1), command="",
        ...             sources=[], split_rule="by hand", seed=0) as writer:
        ...     writer.add("train", "a", np.zeros((2, 8, 8, 1), "float32"), np.zeros((2, 8, 8), "uint8"))
        >>> DataFile(path).sizes["train"]
        2
    """

    def __init__(self, path, *, name, classes, value_range, command, sources, split_rule, seed, overwrite=False):
        self.path = Path(path)
        if self.path.exists() and not overwrite:
            raise FileExistsError(f"{self.path} exists. Expected a new file; choose another name or --overwrite.")
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder. Expected the name of a file.")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"folder {self.path.parent} does not exist. Expected one; make it first.")
        self._part = self.path.with_name(self.path.name + ".part")
        self._classes = list(classes)
        self._last, self._cases = {}, set()
        self._hashes = {}
        # v108 and later keep attributes above 64 KiB, which lists of sources reach.
        self._file = h5py.File(self._part, "w", libver=("v108", "v110"))
        values = {
            "format": FORMAT, "name": name, "classes": json.dumps(self._classes),
            "value_range": np.asarray(value_range, np.float32), "command": command,
            "sources": json.dumps(sources), "split_rule": split_rule, "seed": seed,
        }  # fmt: skip
        self._file.attrs.update(values)

    def add(self, split, case, images, masks, *, slices=None, box=None, spacing=None):
        """Append the rows of one case; cases of a split come in ascending order.

        Args:
            split: "train", "validation" or "test".
            case: the case's name, not seen before in any split.
            images: `[n, H, W, C]` float32 (or uint8), finite.
            masks: `[n, H, W]` integer class ids.
            slices: `[n]`, ascending; 0 .. n-1 by default.
            box: (y0, y1, x0, x1) of the unpadded content; all of it by default.
            spacing: mm per pixel along y and x; nan by default.
        """
        rows, height, width = masks.shape
        if images.shape[:3] != masks.shape:
            raise ValueError(f"{case}: images {images.shape} and masks {masks.shape} differ in size.")
        if rows and (masks.min() < 0 or masks.max() >= len(self._classes)):
            raise ValueError(
                f"{case}: label {masks.max()} is outside the classes. Expected 0 to {len(self._classes) - 1}."
            )
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
        group = self._file.require_group(split)
        for name, array in arrays.items():
            self._append(group, name, array)

    def _append(self, group, name, array):
        if name not in group:
            dtype = INDEX.get(name, array.dtype)
            row = int(np.prod(array.shape[1:])) * (16 if array.dtype == object else array.itemsize)
            chunk = (max(1, 65536 // max(row, 1)), *array.shape[1:])
            group.create_dataset(name, (0, *array.shape[1:]), dtype, maxshape=(None, *array.shape[1:]), chunks=chunk)
            self._hashes[group.name, name] = hashlib.sha256()
        data = group[name]
        if data.shape[1:] != array.shape[1:]:
            raise ValueError(f"{group.name}/{name} has rows of {data.shape[1:]}, got {array.shape[1:]}.")
        data.resize(len(data) + len(array), axis=0)
        data[len(data) - len(array) :] = array
        self._hashes[group.name, name].update(_bytes(array))

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


def _bytes(array):
    if array.dtype == object:
        return "".join(f"{v.decode() if isinstance(v, bytes) else v}\n" for v in array).encode()
    return np.ascontiguousarray(array).tobytes()


class DataFile:
    """Read a data file. Schema and sizes are checked on opening, contents by `verify`.

    Attributes:
        path, name, classes (list of str), value_range, sizes ({split: rows}), shape ((H, W, C)).

    Raises:
        FileNotFoundError, ValueError: with value, expectation and fix in one line.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(
                f"data {str(path)!r} is no file. Expected a prepared HDF5 file or a built-in set such as 'toy'; "
                "make one with scripts/prepare_<dataset>.py."
            )
        try:
            self._file = h5py.File(self.path, "r")
        except OSError:
            raise self._bad("is no HDF5 file, or a truncated or damaged one", "prepare it again") from None
        try:
            self._check()
        except (OSError, RuntimeError, KeyError, TypeError, AttributeError):
            self._file.close()
            raise self._bad("is damaged", "prepare it again") from None
        except BaseException:
            self._file.close()
            raise

    def _bad(self, what, fix):
        return ValueError(f"data {str(self.path)!r} {what}. Expected a {FORMAT} file; {fix}.")

    def _check(self):
        attributes = self._file.attrs
        found = attributes.get("format")
        if found != FORMAT:
            raise self._bad(f"has format {found!r}", "convert it with a scripts/prepare_<dataset>.py")
        missing = [name for name in ATTRIBUTES if name not in attributes]
        if missing:
            raise self._bad(f"lacks the attributes {', '.join(missing)}", "prepare it again")
        self.name = str(attributes["name"])
        try:
            self.classes = [str(name) for name in json.loads(attributes["classes"])]
            self.value_range = tuple(float(v) for v in attributes["value_range"])
        except ValueError:
            raise self._bad("has classes or a value range that cannot be read", "prepare it again") from None
        self.sizes, self.shape = {}, None
        for split in SPLITS:
            self.sizes[split] = self._check_split(split) if split in self._file else 0
        if self.shape is None:
            raise self._bad("holds no rows", "prepare it again")

    def _check_split(self, split):
        group = self._file[split] if isinstance(self._file.get(split, getlink=True), h5py.HardLink) else None
        if not isinstance(group, h5py.Group):
            raise self._bad(f"has no group {split} of its own", "prepare it again")
        rows = None
        for name in ("images", "masks", *INDEX):
            data = self._array(group, split, name)
            if rows is None:
                rows = len(data)
            if len(data) != rows:
                raise self._bad(f"has {len(data)} rows of {split}/{name}, not {rows}", "prepare it again")
        images, masks = group["images"], group["masks"]
        if images.ndim != 4 or images.shape[:3] != masks.shape or masks.dtype != np.uint8:
            raise self._bad(
                f"has {split}/images {images.shape} and {split}/masks {masks.shape} {masks.dtype}",
                "prepare it again",
            )
        if self.shape not in (None, images.shape[1:]):
            raise self._bad(f"has images of {self.shape} and {images.shape[1:]}", "prepare it again")
        self.shape = images.shape[1:]
        return rows

    def _array(self, group, split, name):
        link = group.get(name, getlink=True) if name in group else None
        data = group[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
            raise self._bad(f"lacks the array {split}/{name}", "prepare it again")
        if data.nbytes > _COMPRESSION_LIMIT * data.id.get_storage_size():
            raise self._bad(f"claims {data.nbytes} bytes of {split}/{name} it does not hold", "prepare it again")
        return data

    def nbytes(self, split):
        """Bytes of images and masks of a split in memory."""
        rows = self.sizes[split]
        return rows * (4 * int(np.prod(self.shape)) + int(np.prod(self.shape[:2])))

    def read(self, split, start=0, stop=None):
        """Rows [start, stop) of a split: images float32 `[n, H, W, C]` and masks uint8 `[n, H, W]`."""
        group = self._file[split]
        images = group["images"][start:stop]
        if images.dtype != np.float32:
            images = images.astype(np.float32) * np.float32(group["images"].attrs.get("scale", 1.0))
        return images, group["masks"][start:stop]

    def index(self, split):
        """{"case", "slice", "box", "spacing"}: what each row of a split is."""
        group = self._file[split]
        index = {name: group[name][:] for name in INDEX if name != "case"}
        return {"case": group["case"].asstr()[:], **index}

    def attributes(self):
        """The file attributes; `sources` decoded."""
        values = {name: self._file.attrs[name] for name in ATTRIBUTES}
        return {**values, "classes": self.classes, "sources": json.loads(values["sources"])}

    def fingerprint(self):
        """One SHA-256 for all arrays, from those stored with them."""
        digest = hashlib.sha256()
        for split, rows in self.sizes.items():
            for name in ("images", "masks", *INDEX) if rows else ():
                digest.update(f"{split}/{name} {self._file[split][name].attrs.get('sha256')}\n".encode())
        return digest.hexdigest()

    def verify(self):
        """Compare every array with its SHA-256 and every label with the classes; raises ValueError."""
        for split, rows in self.sizes.items():
            for name in ("images", "masks", *INDEX) if rows else ():
                data, digest = self._file[split][name], hashlib.sha256()
                for start in range(0, rows, BLOCK):
                    digest.update(_bytes(data[start : start + BLOCK]))
                if digest.hexdigest() != data.attrs.get("sha256"):
                    raise self._bad(f"has a {split}/{name} that does not match its SHA-256", "prepare it again")

    def close(self):
        """Close the file."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
