"""Statistics over cases."""

import numpy as np
from scipy import stats

MEMORY = 10_000_000  # resampled values held at a time


def bootstrap_interval(values, *, level=0.95, resamples=10_000, seed=0):
    """Percentile bootstrap interval of the mean over cases.

    Args:
        values: `[N]`, one number per case; nan (a case without a value) is left out.
        level: coverage, in (0, 1).
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        (low, high); (nan, nan) below two values. Source: Efron 1979, `scipy.stats.bootstrap`.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    result = stats.bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=resamples,
        method="percentile", batch=max(1, MEMORY // len(values)), rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
