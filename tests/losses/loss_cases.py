"""Batches of every kind for tests of properties: what hypothesis draws of them, and what must hold for each."""

from typing import NamedTuple

import numpy as np
import reference
import tensorflow as tf
from hypothesis import strategies as st
from loss_checks import LABELS, SOFTMAX_ONLY

import kseg.losses as L
from kseg.losses.options import EMPTY

DTYPES = ("float16", "bfloat16", "float32")
MASKS = ("random", "empty", "full", "single pixel", "ignored", "some ignored", "one image ignored")
SCORES = ("normal", "uniform", "extremes", "all low", "all high", "zero", "right", "wrong")
WEIGHTS = ("ones", "random", "some zero", "zero", "large", "small")
# Values of options to draw from, where a loss has them; not those that only scale the result.
CHOICES = {
    "per_image": [False, True],
    "empty": list(EMPTY),
    "include_background": [True, False],
    "squared": [False, True],
    "smooth": [1e-7, 0.0, [0.0, 1.0]],
    "label_smoothing": [0.0, 0.1],
    "weighting": ["square", "simple", "uniform"],
    "variant": ["asymmetric", "symmetric"],
    "classes": ["present", "all"],
    "one_sided": [False, True],
    "exponent": [0.75, 1.5],
    "k": [0.1, 0.001, 1.0],
    "iterations": [3, 1],
    "spacing": [None, 0.5],
}
GAMMAS = {"focal": [2.0, 0.0, 0.5], "unified_focal": [0.5, 0.0, 0.9]}
ONE_DISTRIBUTION = ("wasserstein_dice", "unified_focal")
QUIET = {"deadline": None, "derandomize": True}


class Case(NamedTuple):
    """A loss with its options, and the kind of batch it is given."""

    name: str
    classes: int
    dtype: str
    rank: int
    labels: str
    weights: str
    options: dict

    def __str__(self):
        return f"{self.name}-{self.classes}-{self.dtype}-{self.rank}d"


def choose(name, classes, pick):
    """Options of a loss; `pick(list)` takes one of a list."""
    accepted = L.LOSSES.get(name).defaults
    options = {key: pick(values) for key, values in CHOICES.items() if key in accepted}
    if name in GAMMAS:
        options["gamma"] = pick(GAMMAS[name])
    ramp = [float(k) for k in range(max(classes, 2))]
    options["class_weights"] = pick([None, ramp, [*ramp[1:], 0.5]])  # a weight of 0 among them
    if "head" in accepted and name not in ONE_DISTRIBUTION and classes > 1:
        options["head"] = pick(["softmax", "sigmoid"])
    return options


def ids_of(mask, shape, classes, rng):
    """Class ids; 255 where a pixel is ignored."""
    highest = max(classes, 2) - 1
    ids = {"empty": np.zeros(shape, int), "full": np.full(shape, highest)}.get(mask)
    if ids is None:
        ids = rng.integers(0, highest + 1, shape)
    if mask == "single pixel":
        ids = np.zeros(shape, int)
        ids.flat[rng.integers(ids.size)] = highest
    if mask == "ignored":
        ids[:] = 255
    if mask == "some ignored":
        ids[rng.uniform(size=shape) < 0.5] = 255
    if mask == "one image ignored":
        ids[0] = 255
    return ids


def scores_of(kind, ids, classes, rng):
    shape = (*ids.shape, classes)

    def sides():
        return 2e4 * reference.one_hot(np.where(ids == 255, 0, ids), classes) - 1e4

    return {
        "normal": lambda: rng.normal(size=shape),
        "uniform": lambda: rng.uniform(-1e4, 1e4, shape),
        "extremes": lambda: rng.choice([-1e4, 0.0, 1e4], shape),
        "all low": lambda: np.full(shape, -1e4),
        "all high": lambda: np.full(shape, 1e4),
        "zero": lambda: np.zeros(shape),
        "right": sides,
        "wrong": lambda: -sides(),
    }[kind]()


def weights_of(kind, shape, rng):
    return {
        "ones": lambda: np.ones(shape),
        "random": lambda: rng.uniform(0.1, 2, shape),
        "some zero": lambda: rng.integers(0, 2, shape),
        "zero": lambda: np.zeros(shape),
        # Times a class weight of 7 a gradient of float16 can still hold it; image weights scale whole losses.
        "large": lambda: 10 ** rng.uniform(0, 3.5 if len(shape) > 1 else 1, shape),
        "small": lambda: np.full(shape, 1e-4),
    }[kind]()


def batch(case, sides, images, mask, scores, weights, seed):
    """Labels, scores, weights, and which pixels count."""
    rng = np.random.default_rng(seed)
    size = sides[:2] if case.rank == 2 else [-(-side // 16) for side in sides]  # up to 32 each
    ids = ids_of(mask, (images, *size), case.classes, rng)
    z = scores_of(scores, ids, case.classes, rng)
    weight = weights_of(weights, ids.shape if case.weights == "pixels" else ids.shape[:1], rng)
    counted = ids != 255
    if "ignore_class" not in case.options:
        weight, ids = np.where(counted, weight, 0), np.where(counted, ids, 0)
    if case.weights == "pixels":
        counted &= weight > 0
    y = ids
    if case.labels == "ids with a channel":
        y = ids[..., None]
    elif case.labels == "shares":  # one in five of them soft
        y = reference.one_hot(ids, case.classes)
        y = np.where(rng.uniform(size=(*ids.shape, 1)) < 0.2, y * 0.7 + 0.3 / max(case.classes, 2), y)
    return tf.constant(y, LABELS[case.labels]), tf.cast(z, case.dtype), tf.constant(weight, tf.float32), counted


def check(function, case, **drawn):
    *tensors, counted = batch(case, **drawn)
    value, gradient = (np.asarray(part) for part in function(*tensors))
    assert value.dtype == np.float32 and gradient.dtype == tensors[1].dtype.as_numpy_dtype
    assert np.isfinite(value)
    gradient = gradient.astype(np.float32)
    assert np.isfinite(gradient).all()
    assert not gradient[~counted].any(), "a pixel that does not count has a gradient"


side = st.integers(0, 90).map(lambda tenth: round(2 ** (tenth / 10)))  # 1 to 512, as many small ones as large ones
KINDS = {
    "mask": st.sampled_from(MASKS),
    "scores": st.sampled_from(SCORES),
    "weights": st.sampled_from(WEIGHTS),
    "seed": st.integers(0, 10**6),
}


def case_of(name, classes, dtype, rank, labels, weights, pick):
    classes = max(classes, 2) if name in SOFTMAX_ONLY else classes
    options = choose(name, classes, pick)
    if labels == "shares":  # which have no place for an ignored id, so its pixels get weight 0
        weights = "pixels"
    else:
        options["ignore_class"] = 255
    return Case(name, classes, dtype, rank, labels, weights, options)
