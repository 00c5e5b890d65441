"""Assignments of a treatment to units, permuted within strata: at random as functions of a seed, or all that there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.resampling.counter import uniforms

# The stream of a seed's random numbers, beside those of weights.
_STREAM = 2


@dataclass(frozen=True, eq=False)
class Assignments:
    """The treatments of units, which are exchanged within strata.

    Attributes
    ----------
    treatments : Tensor
        (units,) int64 which treatment each unit had.
    strata : Tensor
        (units,) int64 the stratum of each.
    """

    treatments: Tensor
    strata: Tensor

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.treatments)

    @property
    def varying(self) -> int:
        """The number of strata in which units had different treatments."""
        return sum(len(torch.unique(self.treatments[places])) > 1 for places in self._places)

    def number(self) -> int:
        """Return the number of distinct assignments: of each stratum a multinomial coefficient."""
        found = 1
        for places in self._places:
            sizes = torch.bincount(self.treatments[places]).tolist()
            found *= math.factorial(len(places)) // math.prod(math.factorial(size) for size in sizes)
        return found

    def draw(self, seed: int, replicates: Tensor) -> Tensor:
        """Return (R, units) the treatments in random assignments, each of which is a function of the seed and its number."""
        numbers = uniforms(seed, _STREAM, replicates, self.units)
        order = (self.strata + numbers).argsort(1)  # at random within strata, which come one after the other
        found = torch.empty_like(order)
        first = self.strata.argsort(stable=True)
        found[:, first] = self.treatments[order]
        return found

    def every(self) -> Tensor:
        """Return (A, units) the treatments in each distinct assignment."""
        each = [list(_permutations(self.treatments[places].tolist())) for places in self._places]
        order = torch.cat(self._places)
        rows = [list(itertools.chain.from_iterable(chosen)) for chosen in itertools.product(*each)]
        found = torch.empty(len(rows), self.units, dtype=torch.int64, device=order.device)
        found[:, order] = torch.tensor(rows, dtype=torch.int64, device=order.device)
        return found

    @property
    def _places(self) -> list[Tensor]:
        """(m,) the units of each stratum."""
        order, sizes = self.strata.argsort(stable=True), torch.bincount(self.strata)
        return [part for part in torch.split(order, sizes.tolist()) if len(part)]


def _permutations(values: list[int]) -> Iterator[list[int]]:
    """Yield each distinct order of some values once.

    >>> list(_permutations([0, 1, 1]))
    [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """
    levels = sorted(set(values))

    def fill(free: tuple[int, ...], left: list[int], row: list[int]) -> Iterator[list[int]]:
        if not left:
            yield row.copy()
            return
        for chosen in itertools.combinations(free, values.count(left[0])):
            for place in chosen:
                row[place] = left[0]
            taken = set(chosen)
            yield from fill(tuple(place for place in free if place not in taken), left[1:], row)

    yield from fill(tuple(range(len(values))), levels, [levels[0]] * len(values))
