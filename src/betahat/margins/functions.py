"""Margins as functions of the parameters, which bootstraps evaluate at each of their replicates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.data.engine import THREADS, Block, Engine, fold, gather
from betahat.data.source import Held
from betahat.errors import DataError
from betahat.margins.one_index import OfIndex, averages
from betahat.margins.quantities import (
    Groups,
    Mean,
    Quantity,
    averaged,
    counts_of,
    parts_of,
    rows_in_groups,
    rowwise,
    sums_over,
)

# So many numbers are held at once of a block's rows at several replicates.
_AT_ONCE = 2**21


class Function(ABC):
    """m numbers that depend on the k parameters."""

    @abstractmethod
    def values(self, points: Tensor) -> Tensor:
        """Return (R, m) the numbers at (R, k) parameters."""

    @abstractmethod
    def with_jacobian(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return (m,) the numbers at (k,) parameters, and (m, k) their derivatives."""

    @abstractmethod
    def jacobians(self, points: Tensor) -> Tensor:
        """Return (R, m, k) the derivatives at (R, k) parameters."""


@dataclass(frozen=True, eq=False)
class OfRows(Function):
    """Quantities of rows, or their averages: outcome by outcome, in each quantity by quantity, group by group or row by row.

    Attributes
    ----------
    quantities : tuple of Quantity
        (q,).
    groups : Groups or None
        Which rows are averaged together; None for the numbers of each row.
    mean : callable
        Parameters, regressors and offset -> (b, J) means.
    engine : Engine
        What computes passes over the rows.
    of_index : callable or None
        The mean as a function of one linear index, where it is that.
    """

    quantities: tuple[Quantity, ...]
    groups: Groups | None
    mean: Mean
    engine: Engine = THREADS
    of_index: OfIndex | None = None

    def values(self, points: Tensor) -> Tensor:
        """Return (R, J q G) numbers at (R, k) parameters."""
        found = [
            rows_at(quantity, self.mean, points, self.engine)
            if self.groups is None
            else averages_at(quantity, self.groups, self.mean, points, self.engine)
            for quantity in self.quantities
        ]
        return torch.stack(found).permute(1, 3, 0, 2).flatten(1)

    def with_jacobian(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return (J q G,) numbers and (J q G, k) their derivatives."""
        values, slopes = (part.movedim(2, 0) for part in self._averages(point) or self._each(point))
        return values.flatten(), slopes.reshape(-1, len(point))

    def _averages(self, point: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return (q, G, 1) averages of a mean of one index and their derivatives, where all can be taken at once."""
        if self.of_index is None or self.groups is None:
            return None
        return averages(self.quantities, self.groups, self.of_index, point, self.engine)

    def _each(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return (q, rows or G, J) numbers and their derivatives, one quantity after the other."""
        found = [
            rowwise(quantity, self.mean, point, self.engine)
            if self.groups is None
            else averaged(quantity, self.groups, self.mean, point, self.engine)
            for quantity in self.quantities
        ]
        return torch.stack([values for values, _ in found]), torch.stack([slopes for _, slopes in found])

    def jacobians(self, points: Tensor) -> Tensor:
        """Return (R, J q G, k) the derivatives at (R, k) parameters; the rows are read once."""
        once = replace(self, quantities=tuple(map(read_once, self.quantities)))
        return torch.stack([once.with_jacobian(point)[1] for point in points])


@dataclass(frozen=True, eq=False)
class Composed(Function):
    """A function of margins.

    Attributes
    ----------
    of : Function
        The margins.
    outer : callable
        (m,) numbers -> (h,), differentiable by torch.
    """

    of: Function
    outer: Callable[[Tensor], Tensor]

    def values(self, points: Tensor) -> Tensor:
        """Return (R, h) numbers at (R, k) parameters."""
        return torch.stack([self.outer(row) for row in self.of.values(points)]).detach()

    def with_jacobian(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return (h,) numbers and (h, k) their derivatives."""
        values, slopes = self.of.with_jacobian(point)
        return chained(self.outer, values, slopes)

    def jacobians(self, points: Tensor) -> Tensor:
        """Return (R, h, k) the derivatives at (R, k) parameters."""
        pairs = zip(self.of.values(points), self.of.jacobians(points), strict=True)
        return torch.stack([chained(self.outer, values, slopes)[1] for values, slopes in pairs])


@dataclass(frozen=True, eq=False)
class ReadOnce(Quantity):
    """A quantity whose rows are read.

    Attributes
    ----------
    of : Quantity
        The quantity.
    held : dict of str to Tensor
        (m, ...) its columns.
    """

    of: Quantity
    held: dict[str, Tensor]

    @property
    def columns(self) -> dict[str, Tensor]:
        """(m, ...) what was read."""
        return self.held

    def parts(self, mean: Mean, theta: Tensor, block: Block) -> tuple[Tensor, ...]:
        """Return the numbers of each row that are averaged."""
        return self.of.parts(mean, theta, block)

    def combined(self, parts: tuple[Tensor, ...]) -> Tensor:
        """Return what is made of the averages."""
        return self.of.combined(parts)


def read_once(quantity: Quantity) -> Quantity:
    """Return a quantity whose rows are not read again."""
    return ReadOnce(quantity.term, quantity.contrast, quantity.grid, quantity, quantity.columns)


def chained(outer: Callable[[Tensor], Tensor], values: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Return (h,) a function of (m,) numbers, and (h, k) its derivatives, given (m, k) theirs."""
    with torch.enable_grad():
        leaf = values.detach().clone().requires_grad_(True)
        found = outer(leaf)
        rows = [
            torch.autograd.grad(entry, leaf, retain_graph=True, allow_unused=True)[0] if entry.requires_grad else None
            for entry in found
        ]
    outward = torch.stack([torch.zeros_like(values) if row is None else row for row in rows])
    return found.detach(), outward @ slopes


def averages_at(quantity: Quantity, groups: Groups, mean: Mean, points: Tensor, engine: Engine = THREADS) -> Tensor:
    """Return (R, G, J) the averages in groups at (R, k) parameters."""
    total, size = sums_at(quantity, groups, mean, points, engine)
    return quantity.combined((total / size[:, None, None, None]).movedim(1, 0).unbind(2)).detach()


def sums_at(
    quantity: Quantity, groups: Groups, mean: Mean, points: Tensor, engine: Engine = THREADS
) -> tuple[Tensor, Tensor]:
    """Return (G, R, parts, J) sums in groups at (R, k) parameters, and (G,) how many rows they are of."""

    def sums(block: Block) -> tuple[Tensor, ...]:
        often, codes = counts_of(block, points), block["codes"]

        def total(theta: Tensor) -> Tensor:
            return sums_over(parts_of(quantity, mean, theta, block) * often[:, None, None], codes, groups.count)

        return _mapped(total, points, len(block)).movedim(1, 0).contiguous(), sums_over(often, codes, groups.count)

    total, size = fold(rows_in_groups(quantity, groups), sums, engine)
    return total, size


def rows_at(quantity: Quantity, mean: Mean, points: Tensor, engine: Engine = THREADS) -> Tensor:
    """Return (R, m, J) the numbers of each row at (R, k) parameters."""

    def each(block: Block) -> Tensor:
        def of(theta: Tensor) -> Tensor:
            return quantity.combined(quantity.parts(mean, theta, block))

        return _mapped(of, points, len(block)).movedim(0, 1)

    return gather(Held(dict(quantity.columns)), each, engine).movedim(1, 0)


def _mapped(function: Callable[[Tensor], Tensor], points: Tensor, rows: int) -> Tensor:
    """Return a function of each of (R, k) parameters, several of them at once where torch can."""
    step = max(1, _AT_ONCE // max(rows, 1))
    with torch.no_grad():
        try:
            return torch.cat([torch.func.vmap(function)(some) for some in torch.split(points, step)])
        except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError, DataError):
            return torch.stack([function(point) for point in points])
