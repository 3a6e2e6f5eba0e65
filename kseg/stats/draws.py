"""What the other rooms share: pairs without nan, resamples that fit into memory, the middle of what they gave."""

import numpy as np

MEMORY = 10_000_000  # resampled values held at a time


def pairs(a, b, what, *more):
    """float64 arrays of one length without the places where a or b is nan."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (a, b))
    more = [np.asarray(values) for values in more]
    shapes = [values.shape for values in (a, b, *more)]
    if a.ndim != 1 or len(set(shapes)) > 1:
        raise ValueError(f"the {what} come in shapes {', '.join(map(str, shapes))}. Expected lists of one length.")
    kept = ~(np.isnan(a) | np.isnan(b))
    return [values[kept] for values in (a, b, *more)]


def batches(resamples, size, memory=MEMORY):
    """Numbers of resamples of `size` values, `resamples` in all, each within `memory`."""
    most = max(1, memory // max(1, size))
    return [min(most, resamples - start) for start in range(0, resamples, most)]


def quantiles(values, level):
    """(low, high) that hold the middle `level` of the values that are not nan."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
