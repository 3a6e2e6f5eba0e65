"""kseg: losses, gradients and robustness of segmentation networks in TensorFlow and Keras 3.

Submodules are imported on first use, so that `import kseg` takes milliseconds and loads no TensorFlow:

>>> import kseg
>>> loss = kseg.losses.get("dicefg", from_logits=True)
"""

from importlib import import_module

__version__ = "0.1.0"

_SUBMODULES = (
    "attacks", "configs", "data", "inference", "losses", "metrics", "models", "ops",
    "registry", "report", "saliency", "stats", "studies", "training",
)  # fmt: skip

__all__ = ["__version__", *_SUBMODULES]


def __getattr__(name):
    if name in _SUBMODULES:
        return import_module(f"kseg.{name}")
    raise AttributeError(f"module 'kseg' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
