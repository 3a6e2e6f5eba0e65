"""Data sets: one HDF5 schema, readers that fill it, and `load`, which gives `tf.data` batches.

Only `load`, `stream`, `add_weights`, `augment` and `cutout` import TensorFlow, on first use.
"""

from importlib import import_module

from kseg.data.hdf5 import DataFile
from kseg.data.source import BUILT_IN, open_data
from kseg.data.writer import Writer, save

LATER = {
    "load": "pipeline",
    "stream": "pipeline",
    "add_weights": "weight_map",
    "augment": "augmentation",
    "cutout": "hiding",
    "label_objects": "weight_map",
    "unet_weights": "weight_map",
}

__all__ = [
    "BUILT_IN",
    "DataFile",
    "Writer",
    "add_weights",
    "augment",
    "cutout",
    "label_objects",
    "load",
    "open_data",
    "save",
    "stream",
    "unet_weights",
]


def __getattr__(name):
    if name in LATER:
        return getattr(import_module(f"kseg.data.{LATER[name]}"), name)
    raise AttributeError(f"module 'kseg.data' has no attribute {name!r}")
