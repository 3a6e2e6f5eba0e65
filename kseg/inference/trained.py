"""A trained model with all that prediction needs beside it: the names of its classes, and what preparation does."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import keras

from kseg.data.preprocess import Preprocessing
from kseg.data.source import open_data
from kseg.inference.models import check_fit, load_model

LARGEST_RECORD = 2**26  # bytes


class Trained(NamedTuple):
    """A model that gives probabilities, the names of its classes (background first), and its `Preprocessing`."""

    model: keras.Model
    classes: tuple
    preprocessing: Preprocessing

    def check(self):
        """Raise ValueError unless the three fit each other; see `check_fit`."""
        rules, own = self.preprocessing, self.model.input_shape
        size = rules.size or rules.window or (own[1:3] if isinstance(own, tuple) else (None, None))
        seen = SimpleNamespace(shape=(*size, rules.channels), classes=self.classes, name="as prepared")
        check_fit(self.model, seen)
        values = rules.mask_values
        if values is not None and len(values) != len(self.classes):
            raise ValueError(f"mask_values {values} do not fit {len(self.classes)} classes. Expected one a class.")


def open_trained(path, like=None):
    """A model from its file, and what its run tells of its classes and of the preparation of its data.

    Args:
        path: a run folder of train, or a `.keras` file; record.json is looked for beside that.
        like: a prepared file or built-in set (what `kseg.data.open_data` takes) to be told classes and preprocessing by
            instead; needed where there is no such record.

    Returns:
        Trained.

    Raises:
        FileNotFoundError, ValueError: no model, nothing known of the preparation, or one does not fit the other.
    """
    path = Path(path)
    model = load_model(path)
    classes, preprocessing = _recorded(path) if like is None else _told_by(like)
    trained = Trained(model, tuple(classes), preprocessing)
    trained.check()
    return trained


def _told_by(like):
    data = open_data(like)
    preprocessing = getattr(data, "preprocessing", None)
    if preprocessing is None:
        raise ValueError(
            f"data {str(like)!r} do not tell how they were prepared. Expected a file that scripts/prepare_<dataset>.py "
            "wrote; prepare them again."
        )
    return data.classes, preprocessing


def _recorded(path):
    file = (path if path.is_dir() else path.parent) / "record.json"
    advice = "train again, or name a prepared file with --like DATA.h5"
    try:
        if file.stat().st_size > LARGEST_RECORD:
            raise ValueError
        record = json.loads(file.read_text(encoding="utf-8"))
        rules, classes = record["preprocessing"], record["data"]["classes"]
        told = rules is not None and isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        told = False
    if not told:
        raise ValueError(f"{file} does not tell how the images were prepared for {path}. Expected it to; {advice}.")
    try:
        return classes, Preprocessing.from_json(rules)
    except ValueError as error:
        raise ValueError(f"{file} cannot be used: {error} Expected what training wrote; {advice}.") from None
