"""Rows of D2's table: what the document prints, what is right, and whether the two agree, decided by rounding."""

import json
import math
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

NOT_PRINTED, AGREES, DIFFERS = "not printed", "agrees", "differs"


@dataclass(frozen=True)
class Row:
    """One quantity.

    - `item`: where it is asked for, such as "S2.10".
    - `quantity`: what it is.
    - `printed`: as in the document: "0.752", "99 %", "sqrt(297)", "1/9", "[[0, 1], [1, 0]]"; "" if it prints none.
    - `correct`: the right value, a number or an array.
    - `formula`: `printed` is what a formula or a sentence of the document comes to; the number itself is not there.
    - `erratum`: the erratum that explains a difference ("E2.2"), "" where none is known.
    """

    item: str
    quantity: str
    printed: str
    correct: Any
    erratum: str = ""
    formula: bool = False

    @property
    def verdict(self):
        """ "agrees", "not printed", the erratum, or "differs" where no erratum is known."""
        if not self.printed:
            return NOT_PRINTED
        if agrees(self.printed, self.correct):
            return AGREES
        return self.erratum or DIFFERS

    @property
    def difference(self):
        """Printed minus correct; nan where nothing, or an array, is printed."""
        if not self.printed or np.ndim(self.correct):
            return float("nan")
        return stated(self.printed) - float(self.correct)

    def cells(self):
        """The row as {column: text}."""
        difference = "" if math.isnan(self.difference) else plain(self.difference)
        return {
            "item": self.item, "quantity": self.quantity, "document": self.printed + " *" * self.formula,
            "correct": plain(self.correct), "difference": difference, "verdict": self.verdict,
        }  # fmt: skip


@dataclass(frozen=True)
class Remark:
    """An erratum of words: what the document has, what is right, and whether the program found it so (None: no way)."""

    erratum: str
    said: str
    right: str
    holds: bool | None

    def cells(self):
        """The remark as {column: text}."""
        checked = "-" if self.holds is None else "yes" if self.holds else "NO"
        return {"erratum": self.erratum, "the document": self.said, "right": self.right, "checked": checked}


def agrees(printed, correct):
    """Whether `correct`, rounded to the digits that are printed, is what is printed.

    Decimals are compared after rounding half up to as many digits as they show; what is exact (a fraction, a root, an
    array) to 12 digits.

    Args:
        printed: see `Row`.
        correct: a number or an array.

    Raises:
        ValueError: a text that is none of the forms that `Row` names.

    Example:
        >>> agrees("0.103", 0.10311), agrees("0.752", 0.753929), agrees("99 %", 0.99), agrees("1/9", 2 / 9)
        (True, False, True, False)
    """
    if re.fullmatch(r"-?\d+(\.\d+)?( %)?", printed):
        shown = Decimal(printed.removesuffix(" %"))
        exact = float(correct) * (100 if printed.endswith("%") else 1)
        cleaned = Decimal(f"{exact:.12f}")  # 0.0005 - 1e-17 is 0.0005
        return cleaned.quantize(Decimal(1).scaleb(shown.as_tuple().exponent), ROUND_HALF_UP) == shown
    value = stated(printed)
    return np.shape(value) == np.shape(correct) and bool(np.allclose(value, correct, rtol=1e-12, atol=0))


def stated(printed):
    """The number, or array, that a printed text means; forms and errors as of `Row` and `agrees`."""
    if found := re.fullmatch(r"(-?\d+(?:\.\d+)?)( %)?", printed):
        return float(found[1]) / (100 if found[2] else 1)
    if found := re.fullmatch(r"sqrt\((\d+)\)", printed):
        return math.sqrt(int(found[1]))
    if found := re.fullmatch(r"(\d+)/(\d+)", printed):
        return int(found[1]) / int(found[2])
    if re.fullmatch(r"\[[-\[\]\d., ]+\]", printed):
        return np.array(json.loads(printed))
    raise ValueError(f"{printed!r} cannot be read. Expected a number such as '0.752', '99 %', 'sqrt(297)' or '1/9'.")


def plain(value, digits=6):
    """A number or an array as text: up to `digits` decimals (one less for arrays), without trailing zeros.

    Example:
        >>> plain(0.25), plain(3), plain(-1e-9), plain([[1, 0], [0.5, 1]])
        ('0.25', '3', '0', '[[1, 0], [0.5, 1]]')
    """
    if np.ndim(value):
        return "[" + ", ".join(plain(part, 5) for part in np.asarray(value)) + "]"
    text = f"{float(value):.{digits}f}"
    text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
