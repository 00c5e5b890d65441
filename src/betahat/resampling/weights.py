"""How often each unit counts in a replicate: pure functions of a seed and the replicate's number."""

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
# Random words are made for so many units at a time, which stay in a CPU's cache.
_CPU_UNITS, _GPU_UNITS = 2**19, 2**25
# Streams of random numbers for what a scheme draws beside its first.
_FIRST, _SECOND = 0, 1


class Scheme(ABC):
    """A frozen, callable record: seed and (R,) replicates -> (R, units) weights.

    Attributes
    ----------
    units : int
    dtype : torch.dtype
        int16 of counts, else float64.
    """

    units: int
    dtype = torch.float64

    def __call__(self, seed: int, replicates: Tensor) -> Tensor:
        """Return the weights of replicates, made of a few at a time."""
        budget = _CPU_UNITS if replicates.device.type == "cpu" else _GPU_UNITS
        found = torch.empty(len(replicates), self.units, dtype=self.dtype, device=replicates.device)
        step = max(budget // max(self.units, 1), 1)
        for start in range(0, len(replicates), step):
            found[start : start + step] = self.draw(seed, replicates[start : start + step])
        return found

    @abstractmethod
    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Return (R, units) of a few replicates."""


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
        """Take the units with the smallest of uniform numbers."""
        drawn = uniforms(seed, _FIRST, replicates, self.units)
        return _counted(drawn.topk(self.draws, 1, largest=False).indices, self.units)


@dataclass(frozen=True)
class Exponential(Scheme):
    """Standard exponential weights: the Bayesian bootstrap of Rubin (1981), Ann. Stat. 9(1), before they are scaled."""

    units: int

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Return minus the logarithms of uniform numbers."""
        return uniforms(seed, _FIRST, replicates, self.units).log_().neg_()


@dataclass(frozen=True)
class PoissonCounts(Scheme):
    """Independent Poisson counts of mean one: Hanley and MacGibbon (2006), Comput. Methods Programs Biomed. 83(1)."""

    units: int
    dtype = torch.int16

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Invert the distribution function."""
        terms = torch.tensor([1.0 / math.factorial(i) for i in range(_LARGEST)], dtype=torch.float64) / math.e
        bounds = terms.cumsum(0).to(replicates.device)
        return torch.bucketize(uniforms(seed, _FIRST, replicates, self.units), bounds)


@dataclass(frozen=True)
class Multipliers(Scheme):
    """Independent numbers of mean 0 and variance 1, by which residuals or scores are multiplied.

    Rademacher's are -1 and 1; Mammen's (1993) two points have a third moment of 1; Webb's (2014) six are the roots of 1/2, 1 and 3/2
    with either sign.
    """

    units: int
    kind: Multiplier

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Look the numbers up, by random words."""
        if self.kind == "normal":
            normal: Tensor = torch.special.ndtri(uniforms(seed, _FIRST, replicates, self.units))
            return normal
        if self.kind == "mammen":
            golden = 0.5 * (math.sqrt(5.0) + 1.0)
            low = uniforms(seed, _FIRST, replicates, self.units) < golden / math.sqrt(5.0)
            return golden - math.sqrt(5.0) * low.to(torch.float64)
        if self.kind == "rademacher":
            return (words(seed, _FIRST, replicates, self.units) >> 31).to(torch.float64).mul_(2.0).sub_(1.0)
        sizes = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64, device=replicates.device).sqrt()
        return torch.cat([-sizes, sizes])[integers(seed, _FIRST, replicates, self.units, 6)]


@dataclass(frozen=True)
class AllSigns(Scheme):
    """Every combination of signs, once: replicate r has -1 where r has a bit, so that replicate 0 is the sample itself."""

    units: int

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Read the bits of the replicates' numbers."""
        bits = replicates[:, None] >> torch.arange(self.units, device=replicates.device)
        return 1.0 - 2.0 * (bits & 1).to(torch.float64)


@dataclass(frozen=True)
class Blocks(Scheme):
    """Counts of blocks of consecutive units, laid end to end until there are as many as units.

    "moving" blocks lie within the sample (Künsch 1989), "circular" ones may run over its end to its beginning (Politis and Romano 1992),
    and "stationary" ones do so with geometric lengths of mean `length` (Politis and Romano 1994).
    """

    units: int
    length: float
    kind: Literal["moving", "circular", "stationary"]
    dtype = torch.int16

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Count the units."""
        return _counted(self.indices(seed, replicates), self.units)

    def indices(self, seed: int, replicates: Tensor) -> Tensor:
        """Return (R, units) the units drawn, in their order."""
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
    """Weights of rows, of those of their units.

    Attributes
    ----------
    scheme : Scheme
        Of the units.
    codes : Tensor or None
        (n,) each row's unit; None says that rows are units.
    owners : Tensor or None
        (units,) each unit's row, where frequency weights make several units of a row.
    counts : Tensor or None
        (n,) frequency weights, where a cluster is a unit.
    """

    scheme: Scheme
    codes: Tensor | None = None
    owners: Tensor | None = None
    counts: Tensor | None = None

    def __call__(self, seed: int, replicates: Tensor, rows: int) -> Tensor:
        """Return (R, n) weights of rows."""
        return self.rows(self.scheme(seed, replicates), rows)

    def bytes(self, rows: int) -> int:
        """Return how much a replicate holds, of units and of rows."""
        number = 2 if self.scheme.dtype is torch.int16 and self.owners is None else 8
        return number * max(self.scheme.units, rows)

    def rows(self, units: Tensor, rows: int) -> Tensor:
        """Return (R, n) of (R, units)."""
        if self.owners is not None:  # a row of many units counts more often than int16 can tell
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
