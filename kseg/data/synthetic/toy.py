"""D1's toy set: noise and a threshold (S1.8)."""

import hashlib

import numpy as np

from kseg.data.preprocess import Preprocessing

SIZES = {"train": 1000, "validation": 100, "test": 100}


class Toy:
    """D1's toy set (S1.8): 32 x 32 images of independent uniform noise; pixels above a threshold are foreground.

    Offers what `DataFile` offers. The splits hold 1000, 100 and 100 images, one case each. A pixel that equals
    the threshold is background. The default threshold 0.95 gives 5 % foreground.

    Args:
        threshold: in (0, 1).
        seed: of the pixel values; splits are drawn independently.
    """

    name = "toy"
    classes = ("background", "foreground")
    value_range = (0.0, 1.0)
    shape = (32, 32, 1)
    sizes = SIZES
    preprocessing = Preprocessing(1, window=(32, 32))

    def __init__(self, threshold=0.95, seed=0):
        if not 0 < threshold < 1:
            raise ValueError(f"threshold={threshold!r} is out of range. Expected a number in (0, 1).")
        self.threshold, self.seed = threshold, seed
        self._drawn = {}

    def read(self, split, start=0, stop=None):
        """Images `[n, 32, 32, 1]` float32 in [0, 1) and masks `[n, 32, 32]` uint8 of rows [start, stop)."""
        if split not in self._drawn:
            generator = np.random.default_rng([self.seed, list(SIZES).index(split)])
            self._drawn[split] = generator.random((SIZES[split], *self.shape), dtype=np.float32)
        images = self._drawn[split][start:stop].copy()
        return images, (images[..., 0] > np.float32(self.threshold)).astype(np.uint8)

    def index(self, split):
        """{"case", "slice", "box", "spacing"} of each image; every image is a case of one slice."""
        rows = SIZES[split]
        return {
            "case": np.array([f"{split}-{i:04d}" for i in range(rows)], dtype=object),
            "slice": np.zeros(rows, np.int32),
            "box": np.tile(np.array([0, 32, 0, 32], np.int32), (rows, 1)),
            "spacing": np.full((rows, 2), np.nan, np.float32),
        }

    def nbytes(self, split):
        """Bytes of images and masks of a split in memory."""
        return SIZES[split] * 32 * 32 * 5

    def attributes(self):
        """What describes the set, in the words of the HDF5 schema."""
        return {
            "name": self.name, "classes": list(self.classes), "value_range": self.value_range,
            "command": f"kseg.data.open_data('toy', threshold={self.threshold}, seed={self.seed})",
            "sources": [], "split_rule": "independent draws", "seed": self.seed,
        }  # fmt: skip

    def fingerprint(self):
        """SHA-256 of what makes the set."""
        return hashlib.sha256(self.attributes()["command"].encode()).hexdigest()

    def verify(self):
        """Nothing is stored, so nothing can be damaged."""

    def close(self):
        """Forget what was drawn."""
        self._drawn = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
