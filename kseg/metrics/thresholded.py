"""The thresholded IoU score: how many of several IoU thresholds an image passes (S3.10)."""

from fractions import Fraction

import numpy as np

from kseg.metrics import counts as C

THRESHOLDS = tuple(n / 20 for n in range(10, 20))


@C.of_counts
def thresholded_iou(counts, thresholds=THRESHOLDS, *, strict=True, empty="nan"):
    """Share of the thresholds that the IoU exceeds, per class.

    The score of the TGS salt competition's kernels, and probably the "IoU score" of D3 (S3.10). Thresholds are read as
    the decimals they are written as and compared with TP / (TP + FP + FN) in whole numbers: an IoU of 19/20 does not
    exceed 0.95.

    Args:
        counts: `Counts` `[..., K]` of one image each; arrays or tensors.
        thresholds: numbers in [0, 1]; 0.50, 0.55, .., 0.95 by default.
        strict: an IoU equal to a threshold does not pass it. False gives the variant floor(20 (IoU - 0.45)) / 10,
            cut to [0, 1]: an IoU of 0.90 scores 0.9 instead of 0.8.
        empty: the score where both masks are empty: "nan", "zero", "one" (as that competition has it) or a number.

    Returns:
        `[..., K]` in [0, 1].

    Example:
        >>> from kseg.metrics import Counts
        >>> float(thresholded_iou(Counts(93, 4, 3, 0)))
        0.9
    """
    exact = exact_thresholds(thresholds)
    tp, union = (C.as_float(part) for part in (counts.tp, counts.tp + counts.fp + counts.fn))
    passed = 0.0
    for threshold in exact:
        left, right = tp * threshold.denominator, union * threshold.numerator
        passed += C.as_float(left > right if strict else left >= right)
    number = len(exact) * C.as_float(union > 0) + 0.0 * union  # 0 where both masks are empty; nan stays nan
    return C.ratio_of(passed, number, empty)


def exact_thresholds(thresholds):
    """The thresholds as fractions: 0.55, and also 0.55 + 1e-16, is 11/20."""
    values = [float(t) for t in np.ravel(thresholds)]
    if not values or not all(0 <= value <= 1 for value in values):
        raise ValueError(f"thresholds={thresholds!r} do not fit. Expected at least one number, all in [0, 1].")
    return [Fraction(value).limit_denominator(10_000) for value in values]
