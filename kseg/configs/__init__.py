"""What each command takes: frozen dataclasses whose field docstrings are the `--help`.

Standard library only, so that `--help` and bad input are answered at once.
"""

from kseg.configs.attacks import Attack
from kseg.configs.comparison import CompareLosses
from kseg.configs.data import PrepareChestXray, PrepareHippocampus, PrepareHistology, PrepareKandinsky
from kseg.configs.folder import Data, PrepareFolder
from kseg.configs.pixels import PixelRobustness
from kseg.configs.predict import Predict
from kseg.configs.robust import RobustTraining
from kseg.configs.studies import Losses, ToyBalance, WorkedExamples
from kseg.configs.training import Evaluate, Train

__all__ = [
    "Attack", "CompareLosses", "Data", "Evaluate", "Losses", "PixelRobustness", "Predict", "PrepareChestXray",
    "PrepareFolder", "PrepareHippocampus", "PrepareHistology", "PrepareKandinsky", "RobustTraining", "ToyBalance",
    "Train", "WorkedExamples",
]  # fmt: skip
