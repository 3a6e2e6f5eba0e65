"""Graph ops: pure functions on tensors, no host calls, compiled by XLA as they stand."""

from kseg.ops.entropy import binary_cross_entropy, cross_entropy, focal_factor
from kseg.ops.labels import are_shares, tell_labels, whole_ids, widen
from kseg.ops.overlap import (
    OverlapSums,
    dice_score,
    jaccard_score,
    overlap_sums,
    safe_ratio,
    tversky_score,
)
from kseg.ops.reduce import global_norm, replica_count, replica_sum, space_axes, space_sum
from kseg.ops.scores import log_one_minus, log_probabilities, probabilities

__all__ = [
    "OverlapSums",
    "are_shares",
    "binary_cross_entropy",
    "cross_entropy",
    "dice_score",
    "focal_factor",
    "global_norm",
    "jaccard_score",
    "log_one_minus",
    "log_probabilities",
    "overlap_sums",
    "probabilities",
    "replica_count",
    "replica_sum",
    "safe_ratio",
    "space_axes",
    "space_sum",
    "tell_labels",
    "tversky_score",
    "whole_ids",
    "widen",
]
