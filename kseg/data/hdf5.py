"""The HDF5 schema, read with its sizes checked first and verified on demand; `kseg.data.writer` writes it.

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
from pathlib import Path

import h5py
import numpy as np

FORMAT = "kseg-1"
SPLITS = ("train", "validation", "test")
INDEX = {"case": h5py.string_dtype(), "slice": np.int32, "box": np.int32, "spacing": np.float32}
ATTRIBUTES = ("name", "classes", "value_range", "command", "sources", "split_rule", "seed")
BLOCK = 256
_COMPRESSION_LIMIT = 2000  # no filter of HDF5 packs tighter; what claims more is damaged or hostile


def array_bytes(array):
    """What the SHA-256 of an array is taken of; strings end in a newline each."""
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
        for name, shape in {"case": (rows,), "slice": (rows,), "box": (rows, 4), "spacing": (rows, 2)}.items():
            string = h5py.check_string_dtype(group[name].dtype) is not None
            if group[name].shape != shape or string != (name == "case"):
                raise self._bad(f"has {split}/{name} {group[name].shape} {group[name].dtype}", "prepare it again")
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
                    digest.update(array_bytes(data[start : start + BLOCK]))
                if digest.hexdigest() != data.attrs.get("sha256"):
                    raise self._bad(f"has a {split}/{name} that does not match its SHA-256", "prepare it again")

    def close(self):
        """Close the file."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
