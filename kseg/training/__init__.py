"""Training on `model.fit`, and the run folder that keeps what came of it."""

from kseg.training.fit import compile_model, fit
from kseg.training.perturbed import FreeModel, PerturbedModel
from kseg.training.record import RunFolder
from kseg.training.state import read_progress

__all__ = ["FreeModel", "PerturbedModel", "RunFolder", "compile_model", "fit", "read_progress"]
