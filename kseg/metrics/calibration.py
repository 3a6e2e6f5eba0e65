"""Calibration: whether a probability of 0.8 is right 8 times in 10; pure functions on NumPy arrays.

All take class ids `y_true` `[*S]` and probabilities `y_prob` `[*S, K]`, or `[*S]` or `[*S, 1]` of the foreground.
"Top label" (`class_id=None`) compares the largest probability with how often that class is right (Guo et al. 2017; a
foreground probability p counts as max(p, 1 - p)); `class_id=k` compares the probability of class k with how often the
pixel is of class k, as scikit-learn's `calibration_curve` does for the positive class. In a segmentation nearly all
pixels are easy background, so the top-label error is small whatever the object looks like: see also `class_id=1`.
"""

from typing import NamedTuple

import numpy as np
from scipy import special


class ReliabilityCurve(NamedTuple):
    """What a reliability diagram draws, per bin `[bins]`; nan where a bin is empty.

    Attributes:
        confidence: mean probability of the pixels in the bin.
        accuracy: how often they were right.
        weight: their number, or the sum of their weights.
        edges: `[bins + 1]`; bin i holds what lies above edge i, up to and with edge i + 1, bin 0 also its lower edge.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    weight: np.ndarray
    edges: np.ndarray

    @property
    def gap(self):
        """|accuracy - confidence| per bin."""
        return np.abs(self.accuracy - self.confidence)

    def ece(self):
        """Expected calibration error: mean gap over pixels; nan without pixels."""
        filled = self.weight > 0
        return float(np.average(self.gap[filled], weights=self.weight[filled])) if filled.any() else float("nan")

    def mce(self):
        """Maximum calibration error: the largest gap of any bin; nan without pixels."""
        filled = self.gap[self.weight > 0]
        return float(filled.max()) if filled.size else float("nan")


def reliability_curve(
    y_true, y_prob, *, bins=15, adaptive=False, class_id=None, ignore_class=None, sample_weight=None, from_logits=False
):
    """Confidence and accuracy per bin of probability.

    Args:
        y_true: class ids `[*S]`, integers.
        y_prob: probabilities `[*S, K]`, or `[*S]` or `[*S, 1]` of the foreground; logits with `from_logits`.
        bins: their number, at least 1.
        adaptive: bins that hold equally many pixels (Nixon et al. 2019) instead of bins of equal width in [0, 1].
        class_id: compare the probability of this class with its frequency, instead of the top label.
        ignore_class: pixels with this id are not counted.
        sample_weight: `[*S]`, or something that broadcasts to it; not with `adaptive`.
        from_logits: whether `y_prob` holds logits (sigmoid for one channel, else softmax).

    Returns:
        ReliabilityCurve.

    Raises:
        ValueError: shapes, values or options that do not fit.

    Example:
        >>> import numpy as np
        >>> curve = reliability_curve(np.array([0, 1, 1, 1]), np.array([0.1, 0.6, 0.9, 0.9]), bins=5, class_id=1)
        >>> curve.weight.tolist(), round(curve.ece(), 3)
        ([1.0, 0.0, 1.0, 0.0, 2.0], 0.175)
    """
    bins = check_bins(bins)
    truth, p, weight = _read(y_true, y_prob, ignore_class, sample_weight, from_logits)
    confidence, right = judge(truth, p, class_id)
    if adaptive:
        if sample_weight is not None:
            raise ValueError("adaptive=True takes no sample_weight. Expected one of the two; leave the other out.")
        edges = np.quantile(confidence, np.linspace(0, 1, bins + 1)) if len(confidence) else np.linspace(0, 1, bins + 1)
        place = np.searchsorted(edges[1:-1], confidence)
    else:
        edges = np.linspace(0, 1, bins + 1)
        place = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(np.int64)
    return curve_of(*(np.bincount(place, weight * v, bins) for v in (1.0, confidence, right)), edges)


def expected_calibration_error(y_true, y_prob, **options):
    """Mean gap between confidence and accuracy (Naeini et al. 2015; Guo et al. 2017, eq. 3); see `reliability_curve`.

    Its size depends on the number of bins: say it with the result.
    """
    return reliability_curve(y_true, y_prob, **options).ece()


def brier_score(y_true, y_prob, *, class_id=None, ignore_class=None, sample_weight=None, from_logits=False):
    """Mean squared distance between probabilities and labels; 0 is best (Brier 1950).

    Over K >= 3 classes the sum of squares, in [0, 2], as Brier has it. For two classes, and for `class_id`, half of
    that: (p - y)^2 of one class, in [0, 1], the same from one sigmoid channel as from two softmax channels.
    scikit-learn's `brier_score_loss` does so too.

    Args:
        y_true, y_prob, class_id, ignore_class, sample_weight, from_logits: see `reliability_curve`.

    Returns:
        A number; nan without pixels.
    """
    truth, p, weight = _read(y_true, y_prob, ignore_class, sample_weight, from_logits)
    y = np.arange(p.shape[-1]) == truth[:, None]
    channels = brier_channels(p.shape[-1], class_id)
    squares = np.square(p - y)[:, channels].sum(-1)
    return float(np.average(squares, weights=weight)) if weight.sum() > 0 else float("nan")


def brier_channels(classes, class_id):
    """The channels whose squares are summed: all of them, or one where two would count the same twice."""
    if class_id is None and classes > 2:
        return slice(None)
    k = check_class(1 if class_id is None else class_id, classes)
    return slice(k, k + 1)


def check_bins(bins):
    """`bins` if it is a whole number of at least 1."""
    if bins != int(bins) or bins < 1:
        raise ValueError(f"bins={bins!r} does not fit. Expected a whole number of at least 1.")
    return int(bins)


def check_class(class_id, classes):
    """`class_id` if it is one of `classes`."""
    if not 0 <= class_id < classes:
        raise ValueError(f"class_id={class_id!r} is out of range. Expected 0 to {classes - 1}.")
    return class_id


def judge(truth, p, class_id):
    """Confidence and 1 where it was right, else 0, of ids `[N]` and probabilities `[N, K]`."""
    if class_id is None:
        return p.max(-1), (p.argmax(-1) == truth).astype(np.float64)
    return p[:, check_class(class_id, p.shape[-1])], (truth == class_id).astype(np.float64)


def curve_of(weight, confidence, right, edges):
    """`ReliabilityCurve` of the sums of each bin."""
    with np.errstate(invalid="ignore"):
        filled = np.where(weight > 0, weight, np.nan)
        return ReliabilityCurve(confidence / filled, right / filled, weight, edges)


def _read(y_true, y_prob, ignore_class, sample_weight, from_logits):
    """Ids `[N]`, probabilities `[N, K]` float64 with K >= 2, and weights `[N]` of the pixels that count."""
    y_true, p = np.asarray(y_true), np.asarray(y_prob, np.float64)
    if y_true.dtype.kind not in "biu":
        raise ValueError(f"y_true has dtype {y_true.dtype}. Expected integer class ids; take argmax of one-hot labels.")
    p = p[..., None] if p.shape == y_true.shape else p
    if p.shape[:-1] != y_true.shape:
        raise ValueError(
            f"y_true has shape {y_true.shape}, y_prob {np.shape(y_prob)}. Expected ids [...] and probabilities "
            "[..., K], or [...] of the foreground."
        )
    weight = np.ones(y_true.shape) if sample_weight is None else np.broadcast_to(sample_weight, y_true.shape)
    keep = weight > 0 if ignore_class is None else (weight > 0) & (y_true != ignore_class)
    truth, p, weight = y_true[keep].astype(np.int64), p[keep], weight[keep].astype(np.float64)
    if from_logits:
        p = special.expit(p) if p.shape[-1] == 1 else special.softmax(p, axis=-1)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(
            f"y_prob runs from {p.min():g} to {p.max():g}. Expected probabilities in [0, 1]; pass from_logits=True for "
            "logits."
        )
    p = np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p
    if truth.size and not 0 <= truth.min() <= truth.max() < p.shape[-1]:
        raise ValueError(f"Ids run from {truth.min()} to {truth.max()}. Expected 0 to {p.shape[-1] - 1}.")
    return truth, p, weight
