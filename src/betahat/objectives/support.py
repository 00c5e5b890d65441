"""The values that a distribution gives a probability, or a density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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

    def tally(self, y: Tensor) -> tuple[Tensor, ...]:
        """Return () counts of (n, ...) values: of those outside first. The counts of several blocks of rows add up."""
        return (self.excludes(y).sum(),)

    def outside(self, tally: Sequence[int]) -> str | None:
        """Say how many values are outside: "3 values outside [0, 1]"; None if there are none."""
        return f"{counted(tally[0], self.outsider)}{self.place}" if tally[0] else None

    def remedy(self, tally: Sequence[int], advice: str) -> str:
        """Say what to do about the values outside: what the model advises, unless that goes by what they are."""
        return advice

    def degenerate(self, tally: Sequence[int]) -> str | None:
        """Say what is wrong with values that are all the same and leave nothing to estimate; None if they do not."""
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

    def tally(self, y: Tensor) -> tuple[Tensor, ...]:
        """Count the negative values, and those that are not zero."""
        return self.excludes(y).sum(), y.count_nonzero()

    def degenerate(self, tally: Sequence[int]) -> str | None:
        """Refuse zeros in every row."""
        return None if tally[1] else "0 in every row, so that no mean is positive; pass counts that are not all zero"


@dataclass(frozen=True)
class Counts(Support):
    """0, 1, 2, ..."""

    bounds = (0.0,)
    place = " that is no count"
    needed = "counts"

    def tally(self, y: Tensor) -> tuple[Tensor, ...]:
        """Count the values outside, those that are not zero, and the negative ones."""
        return self.excludes(y).sum(), y.count_nonzero(), (y < 0).sum()

    def outside(self, tally: Sequence[int]) -> str | None:
        """Say how many negative values and fractions there are: "1 negative value and 2 fractions"."""
        counts = {"negative value": tally[2], "fraction": tally[0] - tally[2]}
        return " and ".join(counted(count, noun) for noun, count in counts.items() if count) or None

    def remedy(self, tally: Sequence[int], advice: str) -> str:
        """Advise on negative values, on fractions, or on both; the model's advice is what else to do about fractions."""
        negative, fractions = tally[2], tally[0] - tally[2]
        if not fractions:
            return "leave those rows out"
        if not negative:
            return f"round them, {advice}"
        return f"leave out rows with negative values, and round fractions, {advice}"

    def excludes(self, y: Tensor) -> Tensor:
        """Return whether each is negative, or no whole number."""
        return (y < 0) | (y != y.round())

    def degenerate(self, tally: Sequence[int]) -> str | None:
        """Refuse zeros in every row."""
        return NonNegative().degenerate(tally)


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

    def tally(self, y: Tensor) -> tuple[Tensor, ...]:
        """Count the values outside, those that are no 0, and those that are no 1."""
        return self.excludes(y).sum(), y.count_nonzero(), (y != 1).sum()

    def degenerate(self, tally: Sequence[int]) -> str | None:
        """Refuse a yes or a no in every row."""
        return _one_answer(tally)


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

    def tally(self, y: Tensor) -> tuple[Tensor, ...]:
        """Count the values outside, those that are no 0, and those that are no 1."""
        return self.excludes(y).sum(), y.count_nonzero(), (y != 1).sum()

    def degenerate(self, tally: Sequence[int]) -> str | None:
        """Refuse a yes or a no in every row."""
        return _one_answer(tally)


def _one_answer(tally: Sequence[int]) -> str | None:
    _, not_zero, not_one = tally
    if not_zero and not_one:
        return None
    return f"{1 if not_zero else 0} in every row, so that nothing is to be explained; pass rows of both kinds"
