"""The values that a distribution gives a probability, or a density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from betahat.errors import counted


class Support(ABC):
    """The values that y may have.

    Attributes
    ----------
    binary : bool
        Whether y is a yes or a no, or a share of yeses.
    outsider : str
        What a value outside is called: "negative value".
    place : str
        What is said of it afterwards: " outside [0, 1]".
    needed : str
        What is needed instead: "0 and 1, or shares".
    bounds : tuple of float
        The values at the ends of its range, for which no index is the best where each index has a mean.
    """

    bounds: ClassVar[tuple[float, ...]] = ()
    binary: ClassVar[bool] = False
    outsider: ClassVar[str] = "value"
    place: ClassVar[str] = ""
    needed: ClassVar[str]

    def outside(self, y: Tensor) -> str | None:
        """Count the values outside: "3 values outside [0, 1]"; None if there are none."""
        count = int(self.excludes(y).sum())
        return f"{counted(count, self.outsider)}{self.place}" if count else None

    def degenerate(self, y: Tensor) -> str | None:
        """Say what is wrong with (n,) values that are all the same and leave nothing to estimate; None if they do not."""
        return None

    @abstractmethod
    def excludes(self, y: Tensor) -> Tensor:
        """Return (n, ...) whether each value is outside."""


@dataclass(frozen=True)
class Reals(Support):
    """All numbers."""

    place = " that is no number"
    needed = "numbers"

    def excludes(self, y: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(y, dtype=torch.bool)


@dataclass(frozen=True)
class NonNegative(Support):
    """Zero and what is above: counts, and whatever else has such a mean (quasi maximum likelihood)."""

    bounds = (0.0,)
    outsider = "negative value"
    needed = "counts"

    def excludes(self, y: Tensor) -> Tensor:
        """Return whether each is negative."""
        return y < 0

    def degenerate(self, y: Tensor) -> str | None:
        """Refuse zeros in every row."""
        return None if bool(y.any()) else "0 in every row, so that no mean is positive; pass counts of which some are"


@dataclass(frozen=True)
class Counts(Support):
    """0, 1, 2, ..."""

    bounds = (0.0,)
    place = " that is no count"
    needed = "counts"

    def outside(self, y: Tensor) -> str | None:
        """Count negative values and fractions: "1 negative value and 2 fractions"."""
        negative = int((y < 0).sum())
        fractions = int(self.excludes(y).sum()) - negative
        found = [counted(negative, "negative value")] if negative else []
        return " and ".join([*found, *([counted(fractions, "fraction")] if fractions else [])]) or None

    def excludes(self, y: Tensor) -> Tensor:
        """Return whether each is negative, or no whole number."""
        return (y < 0) | (y != y.round())

    def degenerate(self, y: Tensor) -> str | None:
        """Refuse zeros in every row."""
        return NonNegative().degenerate(y)


@dataclass(frozen=True)
class Positive(Support):
    """Above zero."""

    place = " of zero or less"
    needed = "positive numbers"

    def excludes(self, y: Tensor) -> Tensor:
        """Return whether each is zero or negative."""
        return y <= 0


@dataclass(frozen=True)
class UnitInterval(Support):
    """From 0 to 1: no, yes and shares."""

    bounds = (0.0, 1.0)
    binary = True
    place = " outside [0, 1]"
    needed = "0 and 1, or shares"

    def excludes(self, y: Tensor) -> Tensor:
        """Return whether each is below 0 or above 1."""
        return (y < 0) | (y > 1)

    def degenerate(self, y: Tensor) -> str | None:
        """Refuse a yes or a no in every row."""
        return _one_answer(y)


@dataclass(frozen=True)
class ZeroOrOne(Support):
    """0 and 1."""

    bounds = (0.0, 1.0)
    binary = True
    place = " other than 0 and 1"
    needed = "0 and 1"

    def excludes(self, y: Tensor) -> Tensor:
        """Return whether each is anything else."""
        return (y != 0) & (y != 1)

    def degenerate(self, y: Tensor) -> str | None:
        """Refuse a yes or a no in every row."""
        return _one_answer(y)


def _one_answer(y: Tensor) -> str | None:
    first = float(y[0])
    if first not in (0.0, 1.0) or not bool((y == first).all()):
        return None
    return f"{first:.0f} in every row, so that nothing is to be explained; pass rows of both kinds"
