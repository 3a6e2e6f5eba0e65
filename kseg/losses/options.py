"""The one constructor grammar: what each option may be, and the error when it is something else."""

from collections.abc import Sequence
from math import isfinite
from numbers import Real

from kseg.registry import unknown

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "none", None)
EMPTY = ("smooth", "zero", "one", "skip", "penalise_fp")
HEADS = ("auto", "sigmoid", "softmax")


def _number(low=None, high=None, low_open=False, high_open=False):
    def check(value):
        if isinstance(value, bool) or not isinstance(value, Real) or value != value:
            raise ValueError("a number")
        below = low is not None and (value <= low if low_open else value < low)
        above = high is not None and (value >= high if high_open else value > high)
        if below or above or value in (float("inf"), float("-inf")):
            left = f"{'above' if low_open else 'at least'} {low}" if low is not None else ""
            right = f"{'below' if high_open else 'at most'} {high}" if high is not None else ""
            raise ValueError("a finite number " + " and ".join(part for part in (left, right) if part))
        return float(value)

    return check


def _one_of(choices):
    def check(value):
        if value not in choices:
            raise ValueError("one of " + ", ".join(map(repr, choices)))
        return value

    return check


def _flag(value):
    if value not in (True, False):
        raise ValueError("True or False")
    return bool(value)


def _class_weights(value):
    if value is None:
        return None
    weights = _numbers(value, _number(low=0))
    if weights is None or not any(weights):
        raise ValueError("None or one weight per class, each at least 0 and one above 0")
    return weights


def _numbers(value, check):
    if isinstance(value, (str, bytes, Real)) or not isinstance(value, Sequence):
        value = getattr(value, "tolist", lambda: None)()
    if not isinstance(value, Sequence):
        return None
    try:
        return [check(item) for item in value]
    except ValueError:
        return None


def _ignore_class(value):
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value) or value != int(value):
        raise ValueError("None or one integer class id, such as 255")
    return int(value)


def _smooth(value):
    at_least_zero = _number(low=0)
    if isinstance(value, Real):
        return at_least_zero(value)
    pair = _numbers(value, at_least_zero)
    if pair is None or len(pair) != 2:
        raise ValueError("one number at least 0, or a pair (numerator, denominator) of them")
    return pair


def _alpha(value):
    if value is None or value == "auto":
        return value
    if isinstance(value, Real):
        return _number(low=0, high=1)(value)
    values = _numbers(value, _number(low=0))
    if values is None:
        raise ValueError("'auto', None, a number in [0, 1] (sigmoid), or K values at least 0 (softmax)")
    return values


def _distances(value):
    if value is None:
        return None
    rows = [_numbers(row, _number(low=0)) for row in value]
    size = range(len(rows))
    square = rows and all(row is not None and len(row) == len(rows) for row in rows)
    if not square or any(rows[i][j] != rows[j][i] or rows[i][i] for i in size for j in size) or not any(rows[0]):
        raise ValueError(
            "None or K rows of K numbers at least 0, symmetric, 0 from a class to itself and not all 0 from class 0"
        )
    return rows


def _spacing(value):
    above_zero = _number(low=0, low_open=True)
    if value is None:
        return None
    if isinstance(value, Real):
        return above_zero(value)
    sizes = _numbers(value, above_zero)
    if not sizes:
        raise ValueError("None, a number above 0, or one number above 0 per spatial axis")
    return sizes


def _whole(value):
    number = _number(low=0)(value)
    if number != int(number):
        raise ValueError("a whole number at least 0")
    return int(number)


def _name(value):
    if value is not None and not isinstance(value, str):
        raise ValueError("None or a string")
    return value


def _dtype(value):
    if value is None:
        return None
    value = getattr(value, "compute_dtype", value)
    name = getattr(value, "name", value)
    if name not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError("None or a floating dtype: 'float16', 'bfloat16', 'float32' or 'float64'")
    return name


CHECKS = {
    "from_logits": _flag,
    "head": _one_of(HEADS),
    "class_weights": _class_weights,
    "ignore_class": _ignore_class,
    "include_background": _flag,
    "per_image": _flag,
    "squared": _flag,
    "smooth": _smooth,
    "label_smoothing": _number(low=0, high=1, high_open=True),
    "empty": _one_of(EMPTY),
    "reduction": _one_of(REDUCTIONS),
    "name": _name,
    "dtype": _dtype,
    "alpha": _alpha,
    "gamma": _number(low=0),
    "exponent": _number(low=0, low_open=True),
    "fp_weight": _number(low=0),
    "fn_weight": _number(low=0),
    "beta": _number(low=0),
    "dice_weight": _number(low=0),
    "bce_weight": _number(low=0),
    "weighting": _one_of(("square", "simple", "uniform")),
    "distances": _distances,
    "variant": _one_of(("asymmetric", "symmetric")),
    "focal_weight": _number(low=0, high=1),
    "delta": _number(low=0, high=1),
    "k": _number(low=0, high=1, low_open=True),
    "spacing": _spacing,
    "one_sided": _flag,
    "iterations": _whole,
    "classes": _one_of(("present", "all")),
    # Where a loss takes other values than the others of that option.
    "combo.alpha": _number(low=0, high=1),
    "hausdorff.alpha": _number(low=0, low_open=True),
    "combo.beta": _number(low=0, high=1),
    "unified_focal.gamma": _number(low=0, high=1, high_open=True),
}


def check_options(loss, options, accepted):
    """Checked copies of `options`, or one ValueError with value, expectation and fix.

    Args:
        loss: the loss's name, for the error.
        options: name -> value as given.
        accepted: the option names this loss has.
    """
    checked = {}
    for name, value in options.items():
        if name not in accepted:
            raise unknown(f"loss {loss!r} has no such option:", name, accepted)
        try:
            checked[name] = CHECKS.get(f"{loss}.{name}", CHECKS[name])(value)
        except (ValueError, TypeError) as error:
            expected = str(error) if isinstance(error, ValueError) else "another type"
            raise ValueError(f"{name}={value!r} does not fit loss {loss!r}. Expected {expected}.") from None
    return checked


def smooth_pair(smooth):
    """(numerator, denominator) of the `smooth` option."""
    return (smooth, smooth) if isinstance(smooth, Real) else tuple(smooth)
