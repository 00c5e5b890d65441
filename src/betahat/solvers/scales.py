"""Scales of errors: robust estimates of their standard deviation, and how they move with the errors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

# The third quartile of the normal distribution.
_QUARTILE = 0.6744897501960817


class ScaleEstimate(ABC):
    """An estimate of scale s(e), which multiplies with the errors; zero where it does not exist because too many of them are zero."""

    @abstractmethod
    def of(self, errors: Tensor, counts: Tensor | None, free: float) -> float:
        """Return s of (n,) errors, each (n,) `counts` times, `free` being the residual degrees of freedom."""

    @abstractmethod
    def slopes(self, errors: Tensor, counts: Tensor | None, scale: float) -> Tensor:
        """Return (n,) ds/de, of all copies of a row together."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What a summary calls it."""


@dataclass(frozen=True)
class MedianDeviation(ScaleEstimate):
    """The median of |e| over 0.6745, the third quartile of the normal distribution: statsmodels' "mad"."""

    name = "mad"

    def of(self, errors: Tensor, counts: Tensor | None, free: float) -> float:
        """Return the median of |e| over the quartile."""
        return 0.5 * sum(_middle(errors.abs(), counts)) / _QUARTILE

    def slopes(self, errors: Tensor, counts: Tensor | None, scale: float) -> Tensor:
        """Return the signs of the one or two errors in the middle, which share the slope."""
        sizes = errors.abs()
        slopes = torch.zeros_like(errors)
        for value in _middle(sizes, counts):
            there = sizes == value
            slopes += there.to(slopes) * (0.5 / _QUARTILE / float(there.sum()))
        return slopes * errors.sign()


@dataclass(frozen=True)
class HuberProposal(ScaleEstimate):
    """Huber's proposal 2: the s at which the sum of min(z^2, d^2), z = e / s, is n - k times what it is on average of a normal z.

    Attributes
    ----------
    d : float
        Where squares stop to grow: 2.5 by default in statsmodels, 1.345 in R.

    References
    ----------
    Huber and Ronchetti (2009), Robust Statistics, section 7.8.
    """

    d: float = 2.5

    name = "HuberScale"

    def of(self, errors: Tensor, counts: Tensor | None, free: float) -> float:
        """Return s, by Newton's method in u = 1 / s^2.

        The sum of min(u e^2, d^2) is concave in u, so that from the left, where all errors are inside, the steps rise to the root and end there.
        """
        squares = errors.square()
        often = torch.ones_like(squares) if counts is None else counts.to(squares)
        wanted = free * self._expected
        if float(often[squares > 0].sum()) * self.d**2 <= wanted:
            return 0.0
        u, last = wanted / float((often * squares).sum()), 0.0
        while u > last:
            inside = squares * u < self.d**2
            outside = float(often[~inside].sum()) * self.d**2
            u, last = (wanted - outside) / float((often * squares)[inside].sum()), u
        return 1.0 / math.sqrt(last)

    def slopes(self, errors: Tensor, counts: Tensor | None, scale: float) -> Tensor:
        """Return s e over the sum of e^2, of the errors inside."""
        held = torch.where(errors.abs() < self.d * scale, errors, 0.0)
        often = held if counts is None else held * counts
        return often * (scale / float(often @ held))

    @property
    def _expected(self) -> float:
        """E(min(z^2, d^2)) of a standard normal z."""
        inside = math.erf(self.d / math.sqrt(2.0))
        density = math.exp(-0.5 * self.d**2) / math.sqrt(2.0 * math.pi)
        return inside - 2.0 * self.d * density + self.d**2 * (1.0 - inside)


def _middle(values: Tensor, counts: Tensor | None) -> tuple[float, float]:
    """Return the two values in the middle of (n,), or one of them twice, each `counts` times."""
    if counts is None:
        low, high = (len(values) + 1) // 2, len(values) // 2 + 1
        first = torch.kthvalue(values, low).values
        tied = low == high or int((values <= first).sum()) >= high
        second = first if tied else torch.where(values > first, values, torch.inf).min()
        return float(first), float(second)
    ordered, places = torch.sort(values)
    ends = torch.cumsum(counts[places].to(torch.float64), 0)
    total = int(ends[-1])
    middle = torch.tensor([(total - 1) // 2, total // 2], dtype=torch.float64, device=values.device)
    low, high = ordered[torch.searchsorted(ends, middle, right=True)].tolist()
    return low, high
