"""D2's gradients written out by hand in float64, beside what automatic differentiation and differences give.

Labels and probabilities are arrays `[n, m]` of one image; those of the weighted cross-entropy have a last axis of
classes. All gradients are with respect to the probabilities unless the name says logits.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kseg import losses
from kseg.losses.dice import FLOOR
from kseg.metrics.sets import dice_coefficient

STEP = 1e-6


def dice_gradient(y_true, y_pred, *, squared=True):
    """Gradient of `kseg.metrics.sets.dice_coefficient`, the score: 2 y / D - 4 p I / D^2 (S2.9).

    I = sum y p and D = sum y^2 + sum p^2; without squares 2 y / D - 2 I / D^2 with D = sum y + sum p. That of the loss
    1 - score is its negative.

    Raises:
        ValueError: labels and probabilities are all 0, where the score is not defined.
    """
    y, p = (np.asarray(t, np.float64) for t in (y_true, y_pred))
    both, size = (y * p).sum(), (y**2 + p**2 if squared else y + p).sum()
    if size == 0:
        raise ValueError("labels and probabilities are all 0. Expected one above 0; the score is not defined here.")
    return 2 * y / size - (4 * p if squared else 2) * both / size**2


def log_dice_gradient(y_true, y_pred):
    """Gradient of -log(score), the score with squares (S2.13): that of the score divided by minus the score.

    0 where the score is below the floor of `kseg.losses.log_dice`.
    """
    score = dice_coefficient(y_true, y_pred)
    gradient = dice_gradient(y_true, y_pred)
    return -gradient / score if score > FLOOR else np.zeros_like(gradient)


def bce_gradient(y_true, y_pred):
    """Gradient of the summed binary cross-entropy: -y / p + (1 - y) / (1 - p) (S2.16, E2.6)."""
    y, p = (np.asarray(t, np.float64) for t in (y_true, y_pred))
    return -y / p + (1 - y) / (1 - p)


def bce_logit_gradient(y_true, y_pred):
    """Gradient of the summed binary cross-entropy with respect to the logits: p - y (S2.16)."""
    return np.asarray(y_pred, np.float64) - np.asarray(y_true, np.float64)


def weighted_cce_gradient(y_true, y_pred, weight):
    """Gradient of -sum w log p_l, l the true class: -w y / p, `[n, m, K]` from one-hot labels (S2.17, E2.7).

    Args:
        y_true, y_pred: `[n, m, K]`.
        weight: `[n, m]`.
    """
    y, p, w = (np.asarray(t, np.float64) for t in (y_true, y_pred, weight))
    return -w[..., None] * y / p


def log_dice_loss(y_true, y_pred):
    """-log(score) of one image (S2.13), by `kseg.losses.log_dice`."""
    return losses.log_dice(_image(y_true), _image(y_pred), smooth=0.0)[0]


def bce_sum(y_true, y_pred, *, from_logits=False):
    """Binary cross-entropy summed over one image (S2.16), by `kseg.losses.bce`."""
    return tf.size(y_pred, tf.float64) * losses.bce(_image(y_true), _image(y_pred), from_logits=from_logits)[0]


def weighted_cce_sum(y_true, y_pred, weight):
    """-sum w log p_l over one image (S2.17), by `kseg.losses.weighted_cce`; arguments as of its gradient."""
    mean = losses.weighted_cce(np.asarray(y_true, np.float64)[None], y_pred[None], np.asarray(weight)[None])[0]
    return np.size(weight) * mean


def _image(values):
    """One image of one channel, `[1, n, m, 1]`, in float64."""
    return tf.cast(values, tf.float64)[None, ..., None]


def by_tape(function, x):
    """Gradient of a scalar function at `x` by automatic differentiation, in float64."""
    x = tf.constant(np.asarray(x, np.float64))
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x).numpy()


def by_differences(function, x, step=STEP):
    """Gradient of a scalar function at `x` by central differences, in float64."""
    x = np.asarray(x, np.float64)
    gradient = np.empty_like(x)
    for place in np.ndindex(x.shape):
        bump = np.zeros_like(x)
        bump[place] = step
        gradient[place] = (float(function(x + bump)) - float(function(x - bump))) / (2 * step)
    return gradient


@dataclass(frozen=True)
class Agreement:
    """One gradient three ways: by hand, and how far the others are from it, relative to its largest entry."""

    item: str
    name: str
    formula: str
    hand: np.ndarray
    tape_error: float
    difference_error: float


def agreements(y, p, weight):
    """The gradients of S2.9, S2.13, S2.16 and S2.17 at labels and probabilities `[n, m]`: a list of Agreement.

    Probabilities must lie inside (0, 1). `weight` `[n, m]` is the map of the weighted cross-entropy, whose gradient is
    that of both channels, (1 - p, p).
    """
    y_two, p_two = np.stack([1 - y, y], -1), np.stack([1 - p, p], -1)
    logits = np.log(p) - np.log1p(-p)
    cases = [
        ("S2.9", "l_D", "2 g / D - 4 p I / D²", dice_gradient(y, p), lambda x: dice_coefficient(y, x), p),
        (
            "S2.8", "l_D without squares", "2 g / D - 2 I / D²",
            dice_gradient(y, p, squared=False), lambda x: dice_coefficient(y, x, squared=False), p,
        ),
        ("S2.13", "-log l_D", "-(1 / l_D) dl_D/dp", log_dice_gradient(y, p), lambda x: log_dice_loss(y, x), p),
        ("S2.16", "l_CE", "-g / p + (1 - g) / (1 - p)", bce_gradient(y, p), lambda x: bce_sum(y, x), p),
        (
            "S2.16", "l_CE by the logits", "p - g",
            bce_logit_gradient(y, p), lambda x: bce_sum(y, x, from_logits=True), logits,
        ),
        (
            "S2.17", "weighted cross-entropy", "-w / p of the true class",
            weighted_cce_gradient(y_two, p_two, weight), lambda x: weighted_cce_sum(y_two, x, weight), p_two,
        ),
    ]  # fmt: skip
    return [_compare(*case) for case in cases]


def _compare(item, name, formula, hand, function, x):
    largest = np.abs(hand).max()
    errors = [np.abs(other(function, x) - hand).max() / largest for other in (by_tape, by_differences)]
    return Agreement(item, name, formula, hand, *map(float, errors))
