"""Kinds of augmentation and their strengths, read from words; no TensorFlow."""

import inspect
import math
from dataclasses import dataclass, fields

from kseg.registry import Registry, call_options, unknown

KINDS = Registry("augmentation")
FOLDS = 0.48  # Choi and Lee 2000, "Injectivity conditions of 2D and 3D uniform cubic B-spline functions": in 2-D


class Kind:
    """What all kinds have: a name, and `share`, the chance that an image is changed."""

    def __str__(self):
        options = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))
        return f"{self.name}({options})"

    def _check(self, option, low, high, below=False):
        value = getattr(self, option)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not low <= value <= high or (below and value == high):
            upper = f"below {high:g}" if below else f"at most {high:g}"
            raise ValueError(
                f"augmentation {self.name}({option}={value!r}) does not fit. Expected {option} of at least {low:g} and "
                f"{upper}."
            )


@KINDS.register("flip")
@dataclass(frozen=True)
class Flip(Kind):
    """Mirror the image left to right, which suits most images seen from the side or the front.

    `axes`: "x" left to right, "y" top to bottom, "xy" each by itself, as for slides under a microscope, which have no
    upper side. Where classes are told apart by their side (left and right lung, the front and the back part of the
    hippocampus) take the other axis or leave flips out: a mirrored left lung is a right lung that is labelled left.
    `share`: the chance along each axis.
    """

    axes: str = "x"
    share: float = 0.5
    name = "flip"

    def __post_init__(self):
        if self.axes not in ("x", "y", "xy"):
            raise ValueError(f"augmentation flip(axes={self.axes!r}) does not fit. Expected 'x', 'y' or 'xy'.")
        self._check("share", 0, 1)


@KINDS.register("rotate")
@dataclass(frozen=True)
class Rotate(Kind):
    """Turn the image about its middle by up to `degrees` either way, as if its pixels were squares."""

    degrees: float = 15.0
    share: float = 0.5
    name = "rotate"

    def __post_init__(self):
        self._check("degrees", 0, 180)
        self._check("share", 0, 1)


@KINDS.register("zoom")
@dataclass(frozen=True)
class Zoom(Kind):
    """Enlarge or shrink the image about its middle by up to `factor`, either as likely."""

    factor: float = 1.25
    share: float = 0.5
    name = "zoom"

    def __post_init__(self):
        self._check("factor", 1, 4)
        self._check("share", 0, 1)


@KINDS.register("elastic")
@dataclass(frozen=True)
class Elastic(Kind):
    """Bend the image smoothly: the knots of a lattice of `grid` x `grid` cells move, cubic B-splines lie between.

    `strength`: the farthest that a knot moves along each axis, as a share of a cell. Below 0.48 nothing folds over
    (Choi and Lee 2000), so that no object is torn or doubled. U-Net (Ronneberger et al. 2015) was trained so, on a
    lattice of 3 x 3 knots.
    """

    strength: float = 0.3
    grid: int = 4
    share: float = 0.5
    name = "elastic"

    def __post_init__(self):
        self._check("strength", 0, FOLDS, below=True)
        self._check("grid", 1, 32)
        if int(self.grid) != self.grid:
            raise ValueError(f"augmentation elastic(grid={self.grid!r}) does not fit. Expected a whole number.")
        self._check("share", 0, 1)


@KINDS.register("intensity")
@dataclass(frozen=True)
class Intensity(Kind):
    """Change how bright the image is, all channels alike and never beyond the range of values; masks stay.

    `brightness`: the most that is added or taken away, as a share of the range. `contrast`: the greatest factor of the
    distance from the image's mean, or of its inverse. `gamma`: the greatest exponent over the range, or its inverse.
    """

    brightness: float = 0.1
    contrast: float = 1.25
    gamma: float = 1.4
    share: float = 0.5
    name = "intensity"

    def __post_init__(self):
        self._check("brightness", 0, 1)
        self._check("contrast", 1, 10)
        self._check("gamma", 1, 10)
        self._check("share", 0, 1)


def read_kinds(kinds):
    """{name: Kind} of words such as "flip" or "rotate(degrees=30, share=0.2)".

    Args:
        kinds: one word or several, or `Kind`s among them; each kind at most once.

    Raises:
        ValueError: a kind or an option that is not known, a strength that does not fit, or a kind given twice.

    Example:
        >>> [str(kind) for kind in read_kinds(("flip", "rotate(degrees=30)")).values()]
        ["flip(axes='x', share=0.5)", 'rotate(degrees=30, share=0.5)']
    """
    found = {}
    for word in (kinds,) if isinstance(kinds, (str, Kind)) else kinds:
        kind = word if isinstance(word, Kind) else _read(str(word).strip())
        if kind.name in found:
            raise ValueError(f"augmentation {kind.name!r} is given twice. Expected each kind once.")
        found[kind.name] = kind
    return found


def _read(word):
    name, bracket, rest = word.partition("(")
    name = name.strip()
    kind = KINDS.get(name)
    options = call_options("augmentation", name, bracket + rest) if bracket else {}
    known = inspect.signature(kind).parameters
    for option in options:
        if option not in known:
            raise unknown(f"option of augmentation {name!r}", option, known)
    return kind(**options)
