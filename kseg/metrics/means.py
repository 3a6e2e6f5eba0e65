"""The three Pythagorean means of positive numbers, safe for numbers of any size: pure functions, arrays or tensors.

The geometric mean is taken from logarithms. The other two are taken of the ratios to the largest or the smallest
number, the shift that a log-sum-exp makes, with less rounding. So nothing overflows or vanishes on the way, and equal
numbers have exactly themselves as every mean.

min <= harmonic <= geometric <= arithmetic <= max, equal if and only if all numbers are (S2.2, E2.1).
"""

from typing import Any, NamedTuple

import numpy as np

from kseg.metrics.counts import is_tensor


def arithmetic_mean(values, weights=None, axis=None):
    """sum(w x) / sum(w); large numbers dominate it.

    Args:
        values: positive finite numbers of any shape, a NumPy array (or what becomes one) or a tensor.
        weights: at least 0, not all 0; of the shape of `values`, or one for each place along `axis`. None for all 1.
        axis: the axis or axes (a tuple) to reduce; None for all.

    Returns:
        The mean without these axes: float64, but float32 for a tensor in float32. A tensor's mean is nan where its
        values or weights do not fit, since a graph cannot refuse them.

    Raises:
        ValueError: no values, one that is not positive and finite, or weights that do not fit.

    Example:
        >>> round(float(arithmetic_mean([3, 90])), 9), round(float(arithmetic_mean([3, 90], weights=[2, 1])), 9)
        (46.5, 32.0)

    Source: D2 (S2.2).
    """
    each = _read(values, weights, axis, "max")
    return each.finish(each.anchor * each.average(each.values / each.kept))


def geometric_mean(values, weights=None, axis=None):
    """exp(sum(w log x) / sum(w)): the n-th root of the product; ten per cent more of any x counts the same.

    Arguments, result and errors as of `arithmetic_mean`.

    Example:
        >>> round(float(geometric_mean([3.3, 90])), 6) == round(float(geometric_mean([3, 99])), 6) == 17.233688
        True

    Source: D2 (S2.2).
    """
    each = _read(values, weights, axis, "max")
    log, exp = (np.log, np.exp) if each.tf is None else (each.tf.math.log, each.tf.exp)
    return each.finish(each.anchor * exp(each.average(log(each.values) - log(each.kept))))


def harmonic_mean(values, weights=None, axis=None):
    """sum(w) / sum(w / x): the mean of rates and ratios; small numbers dominate it. F1 is that of precision and recall.

    Arguments, result and errors as of `arithmetic_mean`.

    Example:
        >>> round(float(harmonic_mean([0.5, 1.0])), 6)
        0.666667

    Source: D2 (S2.2, S2.6).
    """
    each = _read(values, weights, axis, "min")
    return each.finish(each.anchor / each.average(each.kept / each.values))


class _Values(NamedTuple):
    """Values and weights of equal shape, and the extreme of each mean: `kept` with the reduced axes, `anchor` without.

    Values of weight 0 are replaced by the extreme. `fits` is None where all was checked already.
    """

    values: Any
    weights: Any
    kept: Any
    anchor: Any
    axis: Any
    fits: Any
    tf: Any

    def average(self, terms):
        add = np.sum if self.tf is None else self.tf.reduce_sum
        return add(self.weights * terms, axis=self.axis) / add(self.weights, axis=self.axis)

    def finish(self, mean):
        return mean if self.fits is None else self.tf.where(self.fits, mean, float("nan"))


def _read(values, weights, axis, extreme):
    tf = None
    if is_tensor(values) or is_tensor(weights):
        import tensorflow as tf

        dtype = tf.float32 if getattr(values, "dtype", None) == tf.float32 else tf.float64
        values, weights = (None if t is None else tf.cast(t, dtype) for t in (values, weights))
    else:
        values, weights = (None if t is None else np.asarray(t, np.float64) for t in (values, weights))
    xp, most = (np, getattr(np, extreme)) if tf is None else (tf, getattr(tf, f"reduce_{extreme}"))
    weights = xp.ones_like(values) if weights is None else _along(xp, weights, values, axis)
    fits = _check(values, weights, axis) if tf is None else _fits(tf, values, weights, axis)
    counted = weights > 0
    masked = xp.where(counted, values, xp.zeros_like(values) + (0 if extreme == "max" else float("inf")))
    kept, anchor = most(masked, axis=axis, keepdims=True), most(masked, axis=axis)
    if tf is not None:  # it cancels, so the derivative need not go through it
        kept, anchor = tf.stop_gradient(kept), tf.stop_gradient(anchor)
    return _Values(xp.where(counted, values, kept), weights, kept, anchor, axis, fits, tf)


def _along(xp, weights, values, axis):
    """Weights of the shape of the values."""
    if len(weights.shape) == 1 and len(values.shape) > 1 and isinstance(axis, int):
        shape = [1] * len(values.shape)
        shape[axis] = -1
        weights, length = xp.reshape(weights, shape), weights.shape[0]
        if length == values.shape[axis]:
            return weights + xp.zeros_like(values)
    if tuple(weights.shape) != tuple(values.shape):
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}, values {tuple(values.shape)}. Expected equal shapes, or one "
            "weight for each place along an axis that is a whole number."
        )
    return weights


def _check(values, weights, axis):
    if not values.size:
        raise ValueError(f"values have shape {values.shape}. Expected at least one number.")
    wrong = values[~((values > 0) & (values < np.inf))]
    if wrong.size:
        raise ValueError(f"values hold {wrong.flat[0]:g}. Expected positive finite numbers; leave others out first.")
    wrong = weights[~((weights >= 0) & (weights < np.inf))]
    if wrong.size:
        raise ValueError(f"weights hold {wrong.flat[0]:g}. Expected finite numbers of at least 0.")
    if not (weights.sum(axis=axis) > 0).all():
        raise ValueError("weights are all 0. Expected at least one above 0 in every mean.")


def _fits(tf, values, weights, axis):
    good = (values > 0) & (values < float("inf")) & (weights >= 0) & (weights < float("inf"))
    return tf.reduce_all(good, axis=axis) & (tf.reduce_sum(weights, axis=axis) > 0)
