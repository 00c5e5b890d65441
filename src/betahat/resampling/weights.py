"""The weight of each unit in a replicate: pure functions of a seed and the number of the replicate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from betahat.resampling.counter import integers, uniforms, words

Multiplier = Literal["rademacher", "mammen", "webb", "normal"]
MULTIPLIERS = get_args(Multiplier)

# P(X > 20) of a Poisson variable of mean one is below 2^-52, the spacing of the uniforms.
_LARGEST = 20
# Random words are generated for this many units at a time, which fit into the cache of a CPU.
_CPU_UNITS, _GPU_UNITS = 2**19, 2**25
# The streams of a scheme's first and second random numbers.
_FIRST, _SECOND = 0, 1


class Scheme(ABC):
    """A random scheme of weights for units: a frozen record that maps a seed and (R,) replicates to (R, units) weights.

    Counts are int16, other weights float64.
    """

    units: int
    dtype = torch.float64

    def __call__(self, seed: int, replicates: Tensor) -> Tensor:
        """Return the (R, units) weights of replicates, drawn a few at a time."""
        budget = _CPU_UNITS if replicates.device.type == "cpu" else _GPU_UNITS
        found = torch.empty(len(replicates), self.units, dtype=self.dtype, device=replicates.device)
        step = max(budget // max(self.units, 1), 1)
        for start in range(0, len(replicates), step):
            found[start : start + step] = self.draw(seed, replicates[start : start + step])
        return found

    @abstractmethod
    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Return the (R, units) weights of a few replicates."""


class Independent(Scheme):
    """A scheme in which the weight of a unit does not depend on those of the others."""

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Return the weights of all units."""
        return self.draw_some(seed, replicates, 0, self.units)

    @abstractmethod
    def draw_some(self, seed: int, replicates: Tensor, first: int, count: int) -> Tensor:
        """Return the (R, count) weights of the units from the `first` on."""


@dataclass(frozen=True)
class Multinomial(Scheme):
    """Counts of `draws` units drawn with replacement: Efron (1979), Ann. Stat. 7(1)."""

    units: int
    draws: int
    dtype = torch.int16

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Count the draws of each unit."""
        return _counted(self.indices(seed, replicates), self.units)

    def indices(self, seed: int, replicates: Tensor) -> Tensor:
        """Return (R, draws) the units drawn."""
        return integers(seed, _FIRST, replicates, self.draws, self.units)


@dataclass(frozen=True)
class Subsample(Scheme):
    """Ones for `draws` units drawn without replacement: Politis and Romano (1994), Ann. Stat. 22(4)."""

    units: int
    draws: int
    dtype = torch.int16

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Take the units with the smallest uniform numbers."""
        drawn = uniforms(seed, _FIRST, replicates, self.units)
        return _counted(drawn.topk(self.draws, 1, largest=False).indices, self.units)


@dataclass(frozen=True)
class Exponential(Independent):
    """Standard exponential weights: the Bayesian bootstrap of Rubin (1981), Ann. Stat. 9(1), before scaling."""

    units: int

    def draw_some(self, seed: int, replicates: Tensor, first: int, count: int) -> Tensor:
        """Return minus the logarithms of uniform numbers."""
        return uniforms(seed, _FIRST, replicates, count, first).log_().neg_()


@dataclass(frozen=True)
class PoissonCounts(Independent):
    """Independent Poisson counts with mean one: Hanley and MacGibbon (2006), Comput. Methods Programs Biomed. 83(1)."""

    units: int
    dtype = torch.int16

    def draw_some(self, seed: int, replicates: Tensor, first: int, count: int) -> Tensor:
        """Invert the distribution function."""
        terms = torch.tensor([1.0 / math.factorial(i) for i in range(_LARGEST)], dtype=torch.float64) / math.e
        bounds = terms.cumsum(0).to(replicates.device)
        return torch.bucketize(uniforms(seed, _FIRST, replicates, count, first), bounds)


@dataclass(frozen=True)
class Multipliers(Independent):
    """Independent numbers of mean 0 and variance 1, by which residuals or scores are multiplied.

    Rademacher's are -1 and 1; Mammen's (1993) two points have a third moment of 1; Webb's (2014) six points are the square roots of 1/2, 1
    and 3/2, with either sign.
    """

    units: int
    kind: Multiplier

    def draw_some(self, seed: int, replicates: Tensor, first: int, count: int) -> Tensor:
        """Look the numbers up by random words."""
        if self.kind == "normal":
            normal: Tensor = torch.special.ndtri(uniforms(seed, _FIRST, replicates, count, first))
            return normal
        if self.kind == "mammen":
            golden = 0.5 * (math.sqrt(5.0) + 1.0)
            low = uniforms(seed, _FIRST, replicates, count, first) < golden / math.sqrt(5.0)
            return golden - math.sqrt(5.0) * low.to(torch.float64)
        if self.kind == "rademacher":
            return (words(seed, _FIRST, replicates, count, first) >> 31).to(torch.float64).mul_(2.0).sub_(1.0)
        sizes = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64, device=replicates.device).sqrt()
        return torch.cat([-sizes, sizes])[integers(seed, _FIRST, replicates, count, 6, first)]


@dataclass(frozen=True)
class AllSigns(Scheme):
    """Every combination of signs, once: replicate r has a -1 where r has a bit, so that replicate 0 is the sample itself."""

    units: int

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Read the bits of the numbers of the replicates."""
        bits = replicates[:, None] >> torch.arange(self.units, device=replicates.device)
        return 1.0 - 2.0 * (bits & 1).to(torch.float64)


@dataclass(frozen=True)
class Blocks(Scheme):
    """Counts from blocks of consecutive units, laid end to end until there are as many as units.

    "moving" blocks lie within the sample (Künsch 1989), "circular" ones may wrap around its end (Politis and Romano 1992), and "stationary" ones
    wrap around and have geometric lengths of mean `length` (Politis and Romano 1994).
    """

    units: int
    length: float
    kind: Literal["moving", "circular", "stationary"]
    dtype = torch.int16

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Count the units."""
        return _counted(self.indices(seed, replicates), self.units)

    def indices(self, seed: int, replicates: Tensor) -> Tensor:
        """Return (R, units) the units drawn, in order."""
        place = torch.arange(self.units, device=replicates.device)
        if self.kind == "stationary":
            first = integers(seed, _FIRST, replicates, self.units, self.units)
            begins = uniforms(seed, _SECOND, replicates, self.units) < 1.0 / self.length
            begins[:, 0] = True
            last = torch.where(begins, place, 0).cummax(1).values
            return (first.gather(1, last) + place - last) % self.units
        length = int(self.length)
        firsts = self.units - length + 1 if self.kind == "moving" else self.units
        first = integers(seed, _FIRST, replicates, -(-self.units // length), firsts)
        return (first[:, place // length] + place % length) % self.units


@dataclass(frozen=True, eq=False)
class RowWeights:
    """Weights of rows: the weights of their units."""

    scheme: Scheme  # of the units
    codes: Tensor | None = None  # (n,) the unit of each row; None if rows are units
    owners: Tensor | None = None  # (units,) the row of each unit, if frequency weights make several units of a row
    counts: Tensor | None = None  # (n,) frequency weights, if units are clusters

    def __call__(self, seed: int, replicates: Tensor, rows: int) -> Tensor:
        """Return (R, n) the weights of rows."""
        return self.rows(self.scheme(seed, replicates), rows)

    def bytes(self, rows: int) -> int:
        """Return the memory of one replicate, for units and for rows."""
        number = 2 if self.scheme.dtype is torch.int16 and self.owners is None else 8
        return number * max(self.scheme.units, rows)

    def rows(self, units: Tensor, rows: int) -> Tensor:
        """Return (R, n) the weights of rows from (R, units) those of units."""
        if self.owners is not None:  # the weight of a row that stands for many units may exceed an int16
            sums = torch.zeros(len(units), rows, dtype=torch.float64, device=units.device)
            return sums.index_add_(1, self.owners, units.to(torch.float64))
        if self.codes is None:
            return units
        spread = units[:, self.codes]
        return spread if self.counts is None else spread * self.counts


def _counted(drawn: Tensor, units: int) -> Tensor:
    """Return (R, units) how often each unit is among (R, m) drawn ones."""
    counts = torch.zeros(len(drawn), units, dtype=torch.int16, device=drawn.device)
    return counts.scatter_add_(1, drawn, counts.new_ones(()).expand(drawn.shape))
