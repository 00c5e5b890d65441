"""What is added up over chunks for calls of a formula that learn of all rows: questions of values, and answers that can be put together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Up to so many different values are counted one by one.
DISTINCT = 2**16
# So many values of a chunk are kept to look for quantiles by.
_SAMPLE = 256


class Sums(ABC):
    """What a call has found in some rows."""

    @abstractmethod
    def plus(self, other: Any) -> Sums:
        """Return what it found in these rows and those of another."""


@dataclass(frozen=True, eq=False)
class Question(ABC):
    """What is asked of the values of a call in the next pass."""

    @abstractmethod
    def of(self, values: np.ndarray) -> Sums:
        """Return the answer of (n,) values of a chunk, or (n, m)."""


@dataclass(frozen=True, eq=False)
class Moments(Sums):
    """Numbers, means and squared deviations from these, of one column or (m,) of several."""

    count: Any
    mean: Any
    squares: Any

    def plus(self, other: Moments) -> Moments:
        """Merge them."""
        count = self.count + other.count
        share = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        with np.errstate(invalid="ignore"):
            apart = other.mean - self.mean
            mean = self.mean + apart * share
            infinite = np.isinf(self.mean) | np.isinf(other.mean)
            return Moments(
                count,
                np.where(infinite, self.mean + other.mean, mean),
                self.squares + other.squares + apart * apart * self.count * share,
            )


@dataclass(frozen=True, eq=False)
class AskMoments(Question):
    """Means and squared deviations."""

    def of(self, values: np.ndarray) -> Moments:
        """Return those of the values that are not missing."""
        there = ~np.isnan(values)
        count = there.sum(0).astype(float)
        filled = np.where(there, values, 0.0)
        mean = np.divide(filled.sum(0), count, out=np.zeros_like(count), where=count > 0)
        with np.errstate(invalid="ignore"):
            return Moments(count, mean, np.where(there, (values - mean) ** 2, 0.0).sum(0))


@dataclass(frozen=True, eq=False)
class Spread(Sums):
    """The different values and how often each is there, unless they are many; and their number, bounds, and some of them."""

    count: int
    low: float
    high: float
    sample: list[np.ndarray]
    values: np.ndarray | None
    often: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def plus(self, other: Spread) -> Spread:
        """Merge them."""
        values, often = None, self.often
        if self.values is not None and other.values is not None:
            values, places = np.unique(np.concatenate([self.values, other.values]), return_inverse=True)
            often = np.bincount(places, np.concatenate([self.often, other.often]), len(values))
            values = values if len(values) <= DISTINCT else None
        return Spread(
            self.count + other.count,
            min(self.low, other.low),
            max(self.high, other.high),
            self.sample + other.sample,
            values,
            often,
        )


@dataclass(frozen=True, eq=False)
class AskSpread(Question):
    """Which values there are."""

    def of(self, values: np.ndarray) -> Spread:
        """Return those that are not missing."""
        values = values[~np.isnan(values)]
        if not len(values):
            return Spread(0, np.inf, -np.inf, [], values)
        own, often = np.unique(values, return_counts=True)
        sample = np.sort(values[:: -(-len(values) // _SAMPLE)])
        there = own if len(own) <= DISTINCT else None
        return Spread(len(values), float(own[0]), float(own[-1]), [sample], there, often.astype(float))


@dataclass(frozen=True, eq=False)
class Bracketed(Sums):
    """How many values there are between bounds, how many lie below each bracket, and those inside."""

    count: int
    below: np.ndarray
    inside: list[list[np.ndarray]]

    def plus(self, other: Bracketed) -> Bracketed:
        """Put them together."""
        inside = [first + second for first, second in zip(self.inside, other.inside, strict=True)]
        return Bracketed(self.count + other.count, self.below + other.below, inside)


@dataclass(frozen=True, eq=False)
class AskBrackets(Question):
    """Which values between `low` and `high` lie in brackets."""

    low: float
    high: float
    brackets: tuple[tuple[float, float], ...]
    sample: np.ndarray
    reach: float
    bounds: tuple[float, float]

    def of(self, values: np.ndarray) -> Bracketed:
        """Return them."""
        values = values[(values >= self.low) & (values <= self.high)]
        below = np.array([int((values < start).sum()) for start, _ in self.brackets])
        inside = [[values[(values >= start) & (values <= stop)]] for start, stop in self.brackets]
        return Bracketed(len(values), below, inside)


@dataclass(frozen=True, eq=False)
class Recurrence(Sums):
    """The sums of P^2 and x P^2 of a polynomial P."""

    squares: float
    times_x: float

    def plus(self, other: Recurrence) -> Recurrence:
        """Add them."""
        return Recurrence(self.squares + other.squares, self.times_x + other.times_x)


@dataclass(frozen=True, eq=False)
class AskRecurrence(Question):
    """The sums of the polynomial that is next after those with these coefficients."""

    alpha: tuple[float, ...]
    norms: tuple[float, ...]

    def of(self, values: np.ndarray) -> Recurrence:
        """Return them of the values that are not missing."""
        values = values[~np.isnan(values)]
        squared = polynomial(values, self.alpha, self.norms) ** 2
        return Recurrence(float(squared.sum()), float((values * squared).sum()))


def polynomial(values: np.ndarray, alpha: Sequence[float], norms: Sequence[float]) -> np.ndarray:
    """Return (n,) the polynomial after those of the first coefficients."""
    last, current = np.zeros_like(values), np.ones_like(values)
    for i, shift in enumerate(alpha):
        beta = np.divide(norms[i], norms[i - 1]) if i else 0.0
        last, current = current, (values - shift) * current - beta * last
    return current
