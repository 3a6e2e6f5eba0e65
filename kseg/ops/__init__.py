"""Graph ops: pure functions on tensors, no host calls, compiled by XLA as they stand."""

from kseg.ops.distance import boundary_distance, distance_transform, signed_distance
from kseg.ops.entropy import binary_cross_entropy, cross_entropy, focal_factor, sigmoid_cross_entropy, sigmoid_focal
from kseg.ops.labels import are_shares, shares_or_nan, tell_labels, whole_ids, widen
from kseg.ops.lovasz import lovasz_extension, lovasz_gradient
from kseg.ops.overlap import (
    OverlapSums,
    dice_score,
    jaccard_score,
    overlap_sums,
    safe_ratio,
    tversky_score,
)
from kseg.ops.random import random_normal, random_uniform, random_words, threefry
from kseg.ops.reduce import (
    global_norm,
    group_sums,
    image_sums,
    lines_of,
    replica_concat,
    replica_count,
    replica_sum,
    space_sum,
)
from kseg.ops.scores import (
    along_pixels,
    probabilities,
    sigmoid_logarithms,
    sigmoid_pair,
)
from kseg.ops.skeleton import soft_skeleton
from kseg.ops.softmax import (
    logit_overlap,
    over_classes,
    pixel_rows,
    softmax_alone,
    softmax_cross_entropy,
    softmax_focal,
    softmax_logarithms,
    softmax_mean,
    softmax_probabilities,
)
from kseg.ops.weight_map import unet_weight_map

__all__ = [
    "OverlapSums",
    "along_pixels",
    "are_shares",
    "binary_cross_entropy",
    "boundary_distance",
    "cross_entropy",
    "dice_score",
    "distance_transform",
    "focal_factor",
    "global_norm",
    "group_sums",
    "image_sums",
    "jaccard_score",
    "lines_of",
    "logit_overlap",
    "lovasz_extension",
    "lovasz_gradient",
    "over_classes",
    "overlap_sums",
    "pixel_rows",
    "random_normal",
    "random_uniform",
    "random_words",
    "probabilities",
    "replica_concat",
    "replica_count",
    "replica_sum",
    "safe_ratio",
    "shares_or_nan",
    "sigmoid_cross_entropy",
    "sigmoid_focal",
    "sigmoid_logarithms",
    "sigmoid_pair",
    "signed_distance",
    "soft_skeleton",
    "softmax_alone",
    "softmax_cross_entropy",
    "softmax_focal",
    "softmax_logarithms",
    "softmax_mean",
    "softmax_probabilities",
    "space_sum",
    "tell_labels",
    "tversky_score",
    "unet_weight_map",
    "whole_ids",
    "widen",
    "threefry",
]
