"""What to do with the chosen pixels of an image: the columns of a sweep."""

from dataclasses import dataclass
from itertools import product

import numpy as np

LEVEL, DRAW, STEP = range(3)


@dataclass(frozen=True)
class Setting:
    """One way to attack an image: its first `count` pixels, and one of three things to do with them.

    `level` replaces them by a value, `draw` by uniform random numbers of that repetition, and `step` adds that multiple
    of a direction's sign (FGSM on a few pixels, S0.21; below 0 against it). Count 0 is the clean image.
    """

    count: int
    level: float | None = None
    draw: int | None = None
    step: float | None = None

    def __post_init__(self):
        told = [name for name in ("level", "draw", "step") if getattr(self, name) is not None]
        if int(self.count) != self.count or self.count < 0 or len(told) > 1 or (self.count and not told):
            raise ValueError(f"{self} does not fit. Expected a count of at least 0 and one of level, draw and step.")
        if self.draw is not None and not (int(self.draw) == self.draw and 0 <= self.draw < 2**31):
            raise ValueError(f"draw={self.draw} does not fit. Expected a whole number from 0 to 2^31 - 1.")

    @property
    def key(self):
        """(count, kind, draw, value), equal for settings that do the same."""
        if not self.count or self.step == 0:
            return (0, LEVEL, 0, 0.0)
        if self.draw is not None:
            return (int(self.count), DRAW, int(self.draw), 0.0)
        kind, value = (LEVEL, self.level) if self.step is None else (STEP, self.step)
        return (int(self.count), kind, 0, float(np.float32(value)))


def settings_of(counts, levels=None, draws=None, steps=None):
    """Settings of every count with every level, draw or step, the counts outside.

    Args:
        counts: numbers of pixels, or one.
        levels, draws, steps: exactly one of them: values, numbers of repetitions, or multiples of a sign.

    Example:
        >>> settings_of(5, levels=[0.0, 0.2]) == [Setting(5, level=0.0), Setting(5, level=0.2)]
        True
    """
    told = {name: v for name, v in {"level": levels, "draw": draws, "step": steps}.items() if v is not None}
    if len(told) != 1:
        raise ValueError(f"settings of {', '.join(told) or 'nothing'} do not fit. Expected levels, draws or steps.")
    ((name, values),) = told.items()
    pairs = product(np.ravel(counts).tolist(), np.ravel(values).tolist())
    return [Setting(count, **{name: value}) for count, value in pairs]


def distinct(settings):
    """Settings without repetitions, as columns.

    Returns:
        ([count, kind, draw: int32, value: float32] `[U]`, the place `[P]` of each setting among the U).
    """
    places = {}
    column = [places.setdefault(setting.key, len(places)) for setting in settings]
    *whole, value = zip(*places, strict=True)
    return [*(np.array(numbers, np.int32) for numbers in whole), np.array(value, np.float32)], column
