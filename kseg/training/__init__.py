"""Training on `model.fit`, and the run folder that keeps what came of it."""

from kseg.training.fit import compile_model, fit
from kseg.training.record import RunFolder

__all__ = ["RunFolder", "compile_model", "fit"]
