"""A trained model from its file, whether it fits, and what image sizes it takes."""

from pathlib import Path

import keras


def load_model(path):
    """Load a `.keras` file, or the `model.keras` of a run folder, in safe mode and uncompiled.

    Raises:
        FileNotFoundError, ValueError: no such file, or not a Keras model.
    """
    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file() or file.suffix != ".keras":
        there = "holds no model.keras" if path.is_dir() else "is no .keras file"
        raise FileNotFoundError(
            f"model {str(path)!r} {there if path.exists() else 'does not exist'}. Expected a .keras file, or a run "
            "folder with model.keras; train one with scripts/train.py."
        )
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # zip, JSON, HDF5 and Keras each raise their own kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"model {str(file)!r} cannot be loaded ({reason:.160}). Expected a whole .keras file of stock layers."
        ) from None


def size_multiple(model):
    """What the image sizes must be a multiple of for a model of open input size: 2 per max-pooling."""
    poolings = sum(type(layer).__name__.startswith("MaxPooling") for layer in model.layers)
    return 2**poolings if None in model.input_shape[1:-1] else 1


def check_fit(model, data):
    """Raise ValueError unless `model` takes the images of `data` and has its classes."""
    if not isinstance(model.input_shape, tuple) or not isinstance(model.output_shape, tuple):
        raise ValueError(f"model {model.name!r} has several inputs or outputs. Expected one of each.")
    expected, got = tuple(model.input_shape[1:]), tuple(data.shape)
    if len(expected) != len(got) or any(e not in (None, g) for e, g in zip(expected, got, strict=True)):
        raise ValueError(
            f"model {model.name!r} takes images of {expected}, data {data.name!r} has {got}. Expected equal shapes; "
            "prepare the data as they were for training."
        )
    if model.output_shape[-1] == 1 and model.layers[-1].name == "logits":
        raise ValueError(
            f"model {model.name!r} ends in a logit. Expected a probability; take model.keras of its run, or "
            "kseg.models.with_probabilities(model, 'sigmoid')."
        )
    classes = max(model.output_shape[-1], 2)
    if classes != len(data.classes):
        raise ValueError(
            f"model {model.name!r} has {classes} classes, data {data.name!r} {len(data.classes)} "
            f"({', '.join(data.classes)}). Expected equal numbers; take the data it was trained on."
        )


def check_threshold(threshold, model):
    """Raise ValueError for a threshold other than 0.5 beside a model of several channels, where it decides nothing."""
    if threshold != 0.5 and model.output_shape[-1] > 1:
        raise ValueError(
            f"--threshold={threshold:g} does not fit a model of {model.output_shape[-1]} channels, where the largest "
            "decides. Expected a model with one sigmoid channel; leave --threshold out."
        )
