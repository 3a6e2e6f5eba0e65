"""What tests of losses share: options that tell losses apart, value and gradient, programs traced once a session."""

from functools import partial

import numpy as np
import tensorflow as tf

import kseg.losses as L

# Options that tell apart what symmetric defaults would not.
OPTIONS = {
    "focal": {"gamma": 1.5},
    "dice": {"smooth": [0.3, 0.7]},
    "dicefg": {"smooth": [0.3, 0.7]},
    "jaccard": {"smooth": [0.3, 0.7]},
    "tversky": {"fp_weight": 0.2, "fn_weight": 0.9},
    "focal_tversky": {"fp_weight": 0.2, "fn_weight": 0.9, "exponent": 1.3},
    "dice_bce": {"dice_weight": 0.6, "bce_weight": 1.7},
    "generalized_dice": {"smooth": [0.3, 0.7], "weighting": "simple"},
    "log_cosh_dice": {"smooth": [0.3, 0.7]},
    "asymmetric": {"smooth": [0.3, 0.7], "beta": 1.3},
    "mcc": {"smooth": [0.3, 0.7]},
    "combo": {"smooth": [0.3, 0.7], "alpha": 0.3, "beta": 0.8},
    "unified_focal": {"smooth": [0.3, 0.7], "focal_weight": 0.3, "delta": 0.7, "gamma": 0.4},
    "topk_cce": {"k": 0.3},
    "hausdorff": {"alpha": 1.5},
    "cldice": {"smooth": [0.3, 0.7], "iterations": 2},
}
SOFTMAX_ONLY = [name for name in L.names() if L.LOSSES.get(name).heads == ("softmax",)]
CASES = [(name, k) for name in L.names() for k in (1, 3) if not (k == 1 and name in SOFTMAX_ONLY)]
SHAPE = (2, 3, 4)
WAYS = ("unknown sizes", "known sizes", "xla")
LABELS = {"ids": tf.int32, "ids with a channel": tf.uint8, "shares": tf.float32}
_programs = {}


def options_of(name, classes):
    own = {"alpha": [0.2, 0.5, 0.9] if classes == 3 else 0.3} if name == "focal" else {}
    if name == "wasserstein_dice" and classes == 3:
        own = {"distances": [[0, 1, 2], [1, 0, 0.5], [2, 0.5, 0]]}
    return {**OPTIONS.get(name, {}), **own}


def draw(classes, shape=SHAPE, seed=0):
    """Ids and logits, float64."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, max(classes, 2), shape), 2 * rng.normal(size=(*shape, classes))


def value(spec, y, scores, weight=None, *, from_logits=True, **options):
    """The value of a loss as a float."""
    return float(L.get(spec, from_logits=from_logits, **options)(y, scores, weight))


def value_and_gradient(loss, y, scores, weight=None):
    """Value and gradient with respect to the scores: tensors in a graph; NumPy outside, as tests compare them."""
    scores = tf.convert_to_tensor(scores)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        result = loss(y, scores, weight)
    gradient = tape.gradient(result, scores)
    return (result.numpy(), gradient.numpy()) if tf.executing_eagerly() else (result, gradient)


def program(way, spec, classes=3, /, *, rank=2, dtype="float32", labels="ids", weights="pixels", **options):
    """`f(y, scores, weight) -> (value, gradient)` of a loss of logits, as a function that is traced once a session.

    Args:
        way: "unknown sizes" (one trace, plain formula), "known sizes" (a trace a size, in which the loss is an XLA
            program) or "xla" (the whole function compiled, once a size).
        rank: number of spatial axes.
        labels: a key of LABELS.
        weights: "pixels" `[B, *S]`, "images" `[B]`.
    """
    arguments = {k: v for k, v in locals().items() if k != "options"}
    key = repr((arguments, sorted(options.items())))
    if key in _programs:
        return _programs[key]
    run, signature = partial(value_and_gradient, L.get(spec, from_logits=True, **options)), None
    if way == "unknown sizes":
        space = [None] * (rank + 1)
        channel = {"ids": [], "ids with a channel": [1], "shares": [classes]}[labels]
        signature = [
            tf.TensorSpec(space + channel, LABELS[labels]),
            tf.TensorSpec([*space, classes], dtype),
            tf.TensorSpec(space if weights == "pixels" else [None], tf.float32),
        ]
    # Not AutoGraph: there is nothing in a loss for it to rewrite, and it triples the time of a trace.
    _programs[key] = tf.function(run, input_signature=signature, autograph=False, jit_compile=way == "xla")
    return _programs[key]


def compiled_functions(function, *arguments):
    """How many functions of a graph are compiled by XLA."""
    library = function.get_concrete_function(*arguments).graph.as_graph_def().library
    return sum("_XlaMustCompile" in f.attr and f.attr["_XlaMustCompile"].b for f in library.function)
