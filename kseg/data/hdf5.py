"""The HDF5 schema, read with its sizes checked first and verified on demand; `kseg.data.writer` writes it.

File attributes: `format`, `name`, `classes` (JSON, index 0 the background), `value_range`, `command`, `sources`
(JSON list of file, bytes, sha256), `split_rule`, `seed`, and optional `preprocessing` (JSON of
`kseg.data.preprocess.Preprocessing`: what was done to the images, so that prediction does the same). Groups `train`,
`validation`, `test` hold

    images   [N, H, W, C]  float32 as the model sees them, or uint8 with an attribute `scale`
    masks    [N, H, W]     uint8 class ids
    case     [N]           string: patient, volume or tile
    slice    [N]           int32, position within the case
    box      [N, 4]        int32 (y0, y1, x0, x1) of the unpadded content
    spacing  [N, 2]        float32, mm per pixel along y and x, nan when unknown
    instances [N, H, W]    uint16, optional: objects by number, 0 the background

Rows are sorted by case, then slice. Each array has an attribute `sha256`.
"""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np

from kseg.data.preprocess import Preprocessing

FORMAT = "kseg-1"
SPLITS = ("train", "validation", "test")
INDEX = {"case": h5py.string_dtype(), "slice": np.int32, "box": np.int32, "spacing": np.float32}
DTYPES = {"masks": np.uint8, **INDEX}
OPTIONAL = {"instances": np.uint16}
AGAIN = "prepare it again"
ATTRIBUTES = ("name", "classes", "value_range", "command", "sources", "split_rule", "seed")
BLOCK = 256
LONGEST_CASE = 1000  # bytes of a name
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
        preprocessing: a `kseg.data.preprocess.Preprocessing`, or None where the file does not tell it.

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
            raise self._bad("is no HDF5 file, or a truncated or damaged one", AGAIN) from None
        try:
            self._check()
        except (OSError, RuntimeError, KeyError, TypeError, AttributeError):
            self._file.close()
            raise self._bad("is damaged", AGAIN) from None
        except BaseException:
            self._file.close()
            raise

    def _bad(self, what, fix):
        return ValueError(f"data {str(self.path)!r} {what}. Expected a {FORMAT} file; {fix}.")

    def _check(self):
        attributes = self._file.attrs
        found = attributes.get("format")
        if not isinstance(found, str) or found != FORMAT:
            raise self._bad(
                f"has format {found!r}, so this version of kseg did not make it",
                "convert it with a scripts/prepare_<dataset>.py",
            )
        missing = [name for name in ATTRIBUTES if name not in attributes]
        if missing:
            raise self._bad(f"lacks the attributes {', '.join(missing)}", AGAIN)
        self.name = str(attributes["name"])
        self.classes, self.value_range = self._check_attributes(attributes)
        self._sources = self._check_sources(attributes["sources"])
        self.preprocessing = self._check_preprocessing(attributes.get("preprocessing"))
        self.sizes, self.shape = {}, None
        split_of = {}
        for split in SPLITS:
            self.sizes[split] = self._check_split(split) if split in self._file else 0
            for case in self._check_index(split) if self.sizes[split] else ():
                if split_of.setdefault(case, split) != split:
                    raise self._bad(f"has case {case} in {split_of[case]} and {split}", AGAIN)
        if self.shape is None:
            raise self._bad("holds no rows", AGAIN)

    def _check_attributes(self, attributes):
        try:
            classes = json.loads(attributes["classes"])
            low, high = (float(v) for v in attributes["value_range"])
            fits = isinstance(classes, list) and 2 <= len(classes) <= 256 and all(isinstance(c, str) for c in classes)
            fits = fits and len(set(classes)) == len(classes) and "".join([self.name, *classes]).isprintable()
        except (ValueError, TypeError, RecursionError):
            fits = False
        if not fits or not -np.inf < low < high < np.inf:
            raise self._bad("has a name, classes or a value range that cannot be used", AGAIN)
        return classes, (low, high)

    def _check_sources(self, words):
        wanted = {"file": str, "bytes": int, "sha256": str}
        try:
            sources = json.loads(words)
            fits = isinstance(sources, list) and all(
                {name: type(value) for name, value in each.items()} == wanted for each in sources
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            fits = False
        if not fits:
            raise self._bad("has sources that cannot be read", AGAIN)
        return sources

    def _check_preprocessing(self, words):
        try:
            return None if words is None else Preprocessing.from_json(json.loads(words))
        except (ValueError, TypeError, RecursionError) as error:
            raise self._bad(f"has a preprocessing that cannot be used ({error!s:.200})", AGAIN) from None

    def _check_split(self, split):
        group = self._file[split] if isinstance(self._file.get(split, getlink=True), h5py.HardLink) else None
        if not isinstance(group, h5py.Group):
            raise self._bad(f"has no group {split} of its own", AGAIN)
        images = self._array(group, split, "images")
        scale = images.attrs.get("scale")
        scaled = (
            images.dtype == np.uint8 and np.ndim(scale) == 0 and isinstance(scale, np.floating) and 0 < scale < np.inf
        )
        if images.ndim != 4 or not (scaled or images.dtype == np.float32):
            raise self._bad(f"has {split}/images {images.shape} {images.dtype}, scale unknown", AGAIN)
        if self.shape not in (None, images.shape[1:]):
            raise self._bad(f"has images of {self.shape} and {images.shape[1:]}", AGAIN)
        rows = len(images)
        shapes = {"masks": images.shape[:3], "case": (rows,), "slice": (rows,), "box": (rows, 4), "spacing": (rows, 2)}
        shapes |= {name: images.shape[:3] for name in OPTIONAL if name in group}
        for name, shape in shapes.items():
            data = self._array(group, split, name)
            expected = {**DTYPES, **OPTIONAL}[name]
            right = h5py.check_string_dtype(data.dtype) if name == "case" else data.dtype == expected
            if data.shape != shape or not right:
                raise self._bad(f"has {split}/{name} {data.shape} {data.dtype}, images {images.shape}", AGAIN)
        self.shape = images.shape[1:]
        return rows

    def _check_index(self, split):
        """The cases of a split, after a look at the order of its rows and at their boxes."""
        names = self._file[split]["case"]
        for start in range(0, len(names), 16):  # few at once: many rows may refer to one long text
            if max(map(len, names[start : start + 16])) > LONGEST_CASE:
                raise self._bad(f"has a {split}/case of more than {LONGEST_CASE} bytes", AGAIN)
        try:
            index = self.index(split)
        except UnicodeDecodeError:
            raise self._bad(f"has a {split}/case that is no UTF-8", AGAIN) from None
        case, box = index["case"].astype(str), index["box"].astype(np.int64)
        same = case[1:] == case[:-1]
        ordered = np.where(same, np.diff(index["slice"].astype(np.int64)) > 0, case[1:] > case[:-1])
        if not ordered.all():
            raise self._bad(f"has rows of {split} that are not sorted by case and slice", AGAIN)
        y0, y1, x0, x1 = box.T
        inside = (y0 >= 0) & (y0 < y1) & (y1 <= self.shape[0]) & (x0 >= 0) & (x0 < x1) & (x1 <= self.shape[1])
        if not inside.all() or (box[1:] != box[:-1])[same].any():
            raise self._bad(f"has a {split}/box outside its image, or two for one case", AGAIN)
        return np.unique(case)

    def _array(self, group, split, name):
        link = group.get(name, getlink=True) if name in group else None
        data = group[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
            raise self._bad(f"lacks the array {split}/{name}", AGAIN)
        if data.nbytes > _COMPRESSION_LIMIT * data.id.get_storage_size():
            raise self._bad(f"claims {data.nbytes} bytes of {split}/{name} it does not hold", AGAIN)
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

    def instances(self, split, start=0, stop=None):
        """Objects of rows [start, stop) by number, uint16 `[n, H, W]`, or None if the split has none."""
        group = self._file[split]
        return group["instances"][start:stop] if "instances" in group else None

    def arrays(self, split):
        """The names of the arrays of a split, in a fixed order."""
        present = [name for name in OPTIONAL if name in self._file[split]] if self.sizes[split] else []
        return ["images", *DTYPES, *present] if self.sizes[split] else []

    def index(self, split):
        """{"case", "slice", "box", "spacing"}: what each row of a split is."""
        group = self._file[split]
        index = {name: group[name][:] for name in INDEX if name != "case"}
        return {"case": group["case"].asstr()[:], **index}

    def attributes(self):
        """The file attributes; `sources` decoded."""
        values = {name: self._file.attrs[name] for name in ATTRIBUTES}
        return {**values, "classes": self.classes, "sources": self._sources}

    def fingerprint(self):
        """One SHA-256 for all arrays, from those stored with them."""
        digest = hashlib.sha256()
        for split in self.sizes:
            for name in self.arrays(split):
                digest.update(f"{split}/{name} {self._file[split][name].attrs.get('sha256')}\n".encode())
        return digest.hexdigest()

    def verify(self):
        """Compare every array with its SHA-256, every label with the classes; look for pixels that are not finite.

        Raises:
            ValueError: what does not hold.
        """
        for split, rows in self.sizes.items():
            for name in self.arrays(split):
                data, digest = self._file[split][name], hashlib.sha256()
                for start in range(0, rows, BLOCK):
                    block = data[start : start + BLOCK]
                    digest.update(array_bytes(block))
                    if name == "images" and not np.isfinite(block).all():
                        raise self._bad(f"has NaN or infinite pixels in {split}", AGAIN)
                    if name == "masks" and block.max() >= len(self.classes):
                        raise self._bad(f"has label {block.max()} in {split}, outside its classes", AGAIN)
                if digest.hexdigest() != data.attrs.get("sha256"):
                    raise self._bad(f"has a {split}/{name} that does not match its SHA-256", AGAIN)

    def close(self):
        """Close the file."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
