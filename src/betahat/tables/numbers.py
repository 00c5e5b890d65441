"""How numbers are printed: decimals, significant digits, separators of thousands, and signs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np

from betahat.errors import OptionError, is_one_of, shown

# What may stand between thousands; a point would be read as the decimal point.
SEPARATORS = (",", " ", "'", "")


@dataclass(frozen=True)
class Numbers:
    """How the numbers of a table are printed.

    Attributes
    ----------
    digits, significant : int or None
        Decimals or significant digits; with neither, as `number` does.
    thousands : str or None
        What stands between thousands; None separates those of counts by a comma, and others not.
    signed : bool
        Whether a negative number that is rounded to zero keeps its sign.
    """

    digits: int | None = None
    significant: int | None = None
    thousands: str | None = None
    signed: bool = False

    def __call__(self, value: float) -> str:
        """Print a number."""
        text = number(value, self.digits, self.significant)
        if self.signed and value < 0 and not text.startswith("-"):
            text = f"-{text}"
        return _separated(text, self.thousands) if self.thousands else text

    def count(self, value: int) -> str:
        """Print a count."""
        return _separated(str(value), "," if self.thousands is None else self.thousands)

    def whole(self, value: int) -> str:
        """Print a whole number that is no count, and may be a year."""
        return _separated(str(value), self.thousands or "")

    def beside(self, mark: str) -> Numbers:
        """Return how numbers are printed beside a mark of significance, which says that their sign is known."""
        return replace(self, signed=True) if mark else self


def number_format(digits: int | None, significant: int | None, thousands: str | None = None) -> Numbers:
    """Return how numbers are printed, after checking the options."""
    if digits is not None and significant is not None:
        raise OptionError("digits and significant cannot be combined; pass only one of them.")
    for option, value, least in (("digits", digits, 0), ("significant", significant, 1)):
        if value is not None and (not is_whole(value) or not least <= value <= 15):
            raise OptionError(f"{option} is {shown(value)}; pass a whole number from {least} to 15.")
    if not is_one_of(thousands, (*SEPARATORS, None)):
        raise OptionError(
            f"thousands is {shown(thousands)}; pass ',', ' ' or \"'\" to separate them, '' for no separators, or None for commas in counts only."
        )
    return Numbers(digits, significant, thousands)


def number(value: float, digits: int | None = None, significant: int | None = None) -> str:
    """Print a number with `digits` decimals or with `significant` digits; digits before the decimal point are never rounded away.

    With neither: four decimals below 10, three below 100,000, none above, and three significant digits below 0.001. NaN is printed as "".

    >>> number(0.08267441), number(1234.5678), number(1.5e-7), number(float("nan"))
    ('0.0827', '1234.568', '1.50e-07', '')
    >>> number(0.08267441, digits=2), number(0.08267441, significant=2)
    ('0.08', '0.083')
    >>> number(1234.5678, significant=2)
    '1235'
    """
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    if digits is not None:
        return _unsigned_zero(f"{value:.{digits}f}")
    value += 0.0  # turns -0.0 into 0.0
    if significant is not None:
        return _significant(value, significant)
    size = abs(value)
    if size == 0 or 1e-3 <= size < 1e5:
        return f"{value:.{4 if size < 10 else 3}f}"
    return f"{value:.0f}" if 1e5 <= size < 1e9 else f"{value:#.3g}"


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


# Below this power of ten, zeros after the decimal point are harder to read than an exponent.
_TINY = -5


def _significant(value: float, digits: int) -> str:
    power = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return f"{value:.{digits - 1}e}" if power < _TINY else f"{value:.{max(digits - 1 - power, 0)}f}"


def _unsigned_zero(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0 else text


def _separated(text: str, separator: str) -> str:
    """Put a separator between the thousands before the decimal point."""
    whole, rest = re.fullmatch(r"(-?\d*)(.*)", text).groups()  # type: ignore[union-attr]
    return re.sub(r"(?<=\d)(?=(?:\d{3})+$)", separator, whole) + rest
