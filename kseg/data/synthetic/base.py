"""What the built-in sets share: cases drawn from random streams of their own, and kept while there is room."""

import hashlib
import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from numbers import Integral, Real

import numpy as np

from kseg.data.hdf5 import SPLITS
from kseg.data.preprocess import Preprocessing
from kseg.registry import unknown

KEEP = 512 * 1024**2
LEVELS = 256


@dataclass(frozen=True)
class Case:
    """What is known of a case before it is drawn."""

    name: str
    rows: int
    box: tuple
    spacing: tuple = (math.nan, math.nan)


@dataclass(frozen=True)
class Drawn:
    """The rows of a case: `levels [n, H, W, C]`, `masks [n, H, W]` uint8, `numbers [n, H, W]` uint16 or None."""

    levels: np.ndarray
    masks: np.ndarray
    numbers: np.ndarray | None = None

    @property
    def nbytes(self):
        return self.levels.nbytes + self.masks.nbytes + (0 if self.numbers is None else self.numbers.nbytes)


class Synthetic:
    """A built-in set; offers what `DataFile` offers.

    Pixels have 256 levels, as those of most image files. So the last bit of a sine or of a sum, in which machines
    differ, does not reach them: a seed gives the same bytes everywhere. A subclass sets `name`, `classes` and `shape`
    and gives `_cases(split)` and `_draw(split, number)`. It draws case `number` from `_stream(split, number)`
    alone, so that rows do not depend on how they are read.

    Args:
        counts: cases in train, validation and test.
        seed: from 0 to 2**32 - 1.
        **options: all others, for `command`.
    """

    name = ""
    value_range = (0.0, 1.0)

    def __init__(self, counts, seed, **options):
        self.seed = whole("seed", seed, 0, 2**32 - 1)
        self.counts = dict(zip(SPLITS, _counts(counts), strict=True))
        words = {**options, "counts": tuple(self.counts.values()), "seed": self.seed}
        self._command = f"kseg.data.open_data({self.name!r}, {', '.join(f'{k}={v!r}' for k, v in words.items())})"
        self._list = {split: self._cases(split) for split in SPLITS}
        self._ends = {split: list(accumulate(case.rows for case in self._list[split])) for split in SPLITS}
        self.sizes = {split: (ends or [0])[-1] for split, ends in self._ends.items()}
        self._values = (np.arange(LEVELS) / (LEVELS - 1) * self.value_range[1]).astype(np.float32)
        self._drawn, self._held = {}, 0

    def _cases(self, split):
        """List of `Case`; one image each unless a subclass says otherwise."""
        box = (0, self.shape[0], 0, self.shape[1])
        return [Case(name, 1, box) for name in numbered(split, self.counts[split])]

    def _draw(self, split, number):
        """`Drawn` rows of one case."""
        raise NotImplementedError

    def _stream(self, split, *numbers):
        return np.random.default_rng([self.seed, SPLITS.index(split), *numbers])

    def _kept(self, split, number):
        """A case, drawn on first use; all are forgotten when they fill `KEEP` bytes."""
        drawn = self._drawn.get((split, number))
        if drawn is None:
            drawn = self._draw(split, number)
            if self._held + drawn.nbytes > KEEP:
                self._drawn, self._held = {}, 0
            self._drawn[split, number] = drawn
            self._held += drawn.nbytes
        return drawn

    def _rows(self, split, start, stop, part):
        """Rows [start, stop) of one part of the cases, a new array; None if the cases do not have it."""
        wanted, ends, found = range(self.sizes[split])[start:stop], self._ends[split], []
        for number in range(bisect_right(ends, wanted.start), len(ends) if len(wanted) else 0):
            first = ends[number - 1] if number else 0
            if first >= wanted.stop:
                break
            rows = getattr(self._kept(split, number), part)
            within = slice(max(wanted.start - first, 0), wanted.stop - first)
            found.append(None if rows is None else rows[within])
        if not found:
            channels = self.shape[2:] if part == "levels" else ()
            return np.zeros((0, *self.shape[:2], *channels), np.uint8)
        return None if found[0] is None else np.concatenate(found)

    def read(self, split, start=0, stop=None):
        """Images `[n, H, W, C]` float32 in `value_range` and masks `[n, H, W]` uint8 of rows [start, stop)."""
        return self._values[self._rows(split, start, stop, "levels")], self._rows(split, start, stop, "masks")

    def instances(self, split, start=0, stop=None):
        """Objects of rows [start, stop) by number, uint16 `[n, H, W]`, or None if the set has none."""
        return self._rows(split, start, stop, "numbers")

    def index(self, split):
        """{"case", "slice", "box", "spacing"}: what each row of a split is."""
        cases = self._list[split]
        return {
            "case": np.array([case.name for case in cases for _ in range(case.rows)], dtype=object),
            "slice": np.array([i for case in cases for i in range(case.rows)], np.int32),
            "box": np.array([case.box for case in cases for _ in range(case.rows)], np.int32).reshape(-1, 4),
            "spacing": np.array([case.spacing for case in cases for _ in range(case.rows)], np.float32).reshape(-1, 2),
        }

    def nbytes(self, split):
        """Bytes of images and masks of a split in memory, as `read` gives them."""
        return self.sizes[split] * (4 * math.prod(self.shape) + math.prod(self.shape[:2]))

    def attributes(self):
        """What describes the set, in the words of the HDF5 schema."""
        return {
            "name": self.name, "classes": list(self.classes), "value_range": self.value_range,
            "command": self._command, "sources": [], "split_rule": "independent draws", "seed": self.seed,
        }  # fmt: skip

    @property
    def preprocessing(self):
        """What makes files of 8 bits a pixel like these images."""
        return Preprocessing(self.shape[2], self.value_range, window=self.shape[:2])

    def fingerprint(self):
        """SHA-256 of what makes the set: its name, options and seed."""
        return hashlib.sha256(self._command.encode()).hexdigest()

    def verify(self):
        """Nothing is stored, so nothing can be damaged."""

    def close(self):
        """Forget what was drawn."""
        self._drawn, self._held = {}, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def numbered(split, count):
    """Names of cases, in ascending order: train-0000, train-0001, ..."""
    width = max(4, len(str(count - 1)))
    return [f"{split}-{i:0{width}d}" for i in range(count)]


def whole(name, value, low, high):
    """The value as int, if it is a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        raise ValueError(f"{name}={value!r} does not fit. Expected a whole number from {low} to {high}.")
    return int(value)


def number(name, value, low, high):
    """The value as float, if it is a number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        raise ValueError(f"{name}={value!r} does not fit. Expected a number from {low:g} to {high:g}.")
    return float(value)


def choice(name, value, known):
    """The value, if it is one of `known`; else the error names the nearest."""
    if value not in list(known):
        raise unknown(name, value, known)
    return value


def mislabel(stream, labels, classes, share):
    """Labels 1 .. classes of objects, each replaced by another one with probability `share`."""
    wrong = stream.random(len(labels)) < share
    other = stream.integers(1, max(classes, 2), len(labels))
    return np.where(wrong, 1 + (labels - 1 + other) % classes, labels)


def shares(fractions, classes):
    """Shares of the foreground classes as probabilities."""
    if fractions is None:
        return np.full(classes, 1 / classes)
    values = np.asarray(fractions)
    if values.shape != (classes,) or values.dtype.kind not in "iuf" or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"fractions={fractions!r} do not fit. Expected {classes} numbers at least 0, one a class.")
    if not values.sum() > 0:
        raise ValueError(f"fractions={fractions!r} are all 0. Expected at least one above 0.")
    return values / values.sum()


def _counts(counts):
    fits = isinstance(counts, (tuple, list)) and len(counts) == 3 and any(counts)
    if not fits or not all(isinstance(n, Integral) and not isinstance(n, bool) and 0 <= n < 10**6 for n in counts):
        raise ValueError(
            f"counts={counts!r} do not fit. Expected three whole numbers from 0 to 999999 for train, validation and "
            "test, such as (400, 60, 60), not all 0."
        )
    return tuple(int(n) for n in counts)
