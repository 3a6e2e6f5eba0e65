"""From a trained model to masks and scores: predict, put slices together again, score per case."""

from kseg.inference.cases import Surfaces, assemble, cases_of, plan_surfaces
from kseg.inference.files import Prediction, predict_files
from kseg.inference.graph import forward, predict_masks
from kseg.inference.listing import list_files, plan_jobs
from kseg.inference.models import check_fit, check_threshold, load_model, size_multiple
from kseg.inference.scores import Case, case_rows, count_cases, score_cases, summarise
from kseg.inference.sliding import bands, class_ids, predict_probabilities
from kseg.inference.trained import Trained, open_trained

__all__ = [
    "Case", "Prediction", "Surfaces", "Trained", "assemble", "bands", "case_rows", "cases_of", "check_fit",
    "check_threshold", "class_ids", "count_cases", "forward", "list_files", "load_model", "open_trained", "plan_jobs",
    "plan_surfaces", "predict_files", "predict_masks", "predict_probabilities", "score_cases", "size_multiple",
    "summarise",
]  # fmt: skip
