"""Data sets: one HDF5 schema, readers that fill it, and `load`, which gives `tf.data` batches.

Only `load` imports TensorFlow, on first use.
"""

from kseg.data.hdf5 import DataFile
from kseg.data.source import BUILT_IN, open_data
from kseg.data.writer import Writer

__all__ = ["BUILT_IN", "DataFile", "Writer", "load", "open_data"]


def __getattr__(name):
    if name == "load":
        from kseg.data.pipeline import load

        return load
    raise AttributeError(f"module 'kseg.data' has no attribute {name!r}")
