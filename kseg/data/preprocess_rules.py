"""What the fields of a `Preprocessing` may be."""

import math

INTENSITIES, FITS = ("type", "percentile", "none"), ("stretch", "aspect")
LONGEST = 2**15  # pixels of a side


def check(condition, value, expected):
    if not condition:
        raise ValueError(f"preprocessing {value:.120} does not fit. Expected {expected}.")


def _whole(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _sides(value):
    return value is None or (len(value) == 2 and all(_whole(side, 1, LONGEST) for side in value))


def _finite(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


RULES = {
    "channels": (lambda v: _whole(v, 1, 3) and v != 2, "1 or 3"),
    "value_range": (lambda v: len(v) == 2 and all(map(_finite, v)) and v[0] < v[1], "(low, high), low below high"),
    "intensity": (lambda v: v in INTENSITIES, "one of " + ", ".join(INTENSITIES)),
    "upper_percentile": (lambda v: _finite(v) and 0 < v <= 100, "a number above 0 and at most 100"),
    "size": (_sides, f"None or two whole numbers from 1 to {LONGEST}"),
    "fit": (lambda v: v in FITS, "one of " + ", ".join(FITS)),
    "downsample": (lambda v: _whole(v, 1, 64), "a whole number from 1 to 64"),
    "window": (_sides, f"None or two whole numbers from 1 to {LONGEST}"),
    "axis": (lambda v: v is None or _whole(v, 0, 2), "None, 0, 1 or 2"),
    "orientation": (
        lambda v: v is None or (len(v) == 3 and sorted("RLAPSI".index(code) // 2 for code in v) == [0, 1, 2]),
        "None or where three axes point to, such as 'RAS'",
    ),
    "rounded": (lambda v: isinstance(v, bool), "True or False"),
    "mask_values": (
        lambda v: v is None or (len(v) == len(set(v)) >= 2 and all(_whole(each, 0, 2**16 - 1) for each in v)),
        "None or different whole numbers from 0 to 65535",
    ),
}  # fmt: skip
