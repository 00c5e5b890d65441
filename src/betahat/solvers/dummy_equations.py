"""Normal equations of absorbed effects, Q'WQ u = b, four ways: sums, elimination, conjugate gradients, and within-py.

Q has the effects' columns, those of the largest effect first and orthonormal, so that with A = Q2'WQ1 the rest is S u2 = b2 - A b1 with
S = Q2'WQ2 - A A', and u1 = b1 - A'u2. S is positive semidefinite, and singular: it has a null direction for each connected part, at least. Q'WQ is
sparse, with at most one number for each row and pair of columns, and far fewer where the levels of two effects meet often.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.lazy import lazily
from betahat.solvers.level_columns import Column

if TYPE_CHECKING:
    import within
    from scipy import sparse
    from scipy.linalg import lapack
else:
    sparse = lazily("scipy.sparse")
    lapack = lazily("scipy.linalg.lapack")
    within = lazily("within")

# Pivots below 1e-11 of the largest diagonal of S are null directions' rounding errors.
_NULL = 1e-11
_WITHIN = 1000


class Equations(ABC):
    """How the normal equations are solved.

    Attributes
    ----------
    name : str
        What the way is called.
    iterations : int
        How many iterations the longest column took, in all calls.
    """

    name: str
    iterations: int = 0

    @abstractmethod
    def solve(self, sums: list[Tensor], rows: Tensor, goal: Tensor) -> list[Tensor]:
        """Return (G, m) u of each column of effects, of (G, m) `sums` b; (n, m) `rows` are what was summed, and (m,) `goal` bounds |b - Q'WQ u|."""


class Sums(Equations):
    """One effect: Q'WQ = I."""

    name = "sums"

    def solve(self, sums: list[Tensor], rows: Tensor, goal: Tensor) -> list[Tensor]:
        """Return the sums."""
        return sums


@dataclass(eq=False)
class Crossed:
    """Q'WQ without the identity of the largest effect.

    Attributes
    ----------
    columns : tuple of Column
        Those of the largest effect first.
    first : int
        How many are of the largest effect.
    weights : Tensor or None
        (n,)
    """

    columns: tuple[Column, ...]
    first: int
    weights: Tensor | None

    @remembered
    def across(self) -> Any:
        """(q2, q1) sparse A."""
        return _blocks(self.columns[self.first :], self.columns[: self.first], self.weights)

    @remembered
    def rest(self) -> Any:
        """(q2, q2) sparse Q2'WQ2."""
        return _blocks(self.columns[self.first :], self.columns[self.first :], self.weights)

    def split(self, sums: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return (q1, m) b1 and (q2, m) b2."""
        return torch.cat(sums[: self.first]), torch.cat(sums[self.first :])

    def joined(self, u1: Tensor, u2: Tensor) -> list[Tensor]:
        """Return u of each column."""
        sizes = [column.count for column in self.columns]
        return [*torch.split(u1, sizes[: self.first]), *torch.split(u2, sizes[self.first :])]


class Elimination(Equations):
    """A dense factor of S, where the other effects have few levels."""

    name = "elimination"

    def __init__(self, crossed: Crossed) -> None:
        """Take the equations."""
        self.crossed = crossed

    @remembered
    def factor(self) -> tuple[Tensor, Tensor]:
        """(r, r) lower triangular L of S's independent rows, L L', and (r,) which rows those are."""
        across = self.crossed.across
        complement = self.crossed.rest - across @ across.T
        dense = _dense(complement)
        lower, pivots, rank, _ = lapack.dpstrf(dense.numpy(), tol=_NULL, lower=1)
        device = self.crossed.columns[0].root.device
        kept = torch.from_numpy(pivots[:rank].astype(np.int64) - 1).to(device)
        return torch.from_numpy(np.tril(lower[:rank, :rank])).to(device), kept

    def solve(self, sums: list[Tensor], rows: Tensor, goal: Tensor) -> list[Tensor]:
        """Solve with the factor; coefficients of dependent rows of S are zero."""
        b1, b2 = self.crossed.split(sums)
        lower, kept = self.factor
        right = b2 - _times(self.crossed.across, b1)
        u2 = torch.zeros_like(b2)
        if len(kept):
            u2[kept] = torch.cholesky_solve(right[kept], lower)
        return self.crossed.joined(b1 - _times(self.crossed.across.T, u2), u2)


class ConjugateGradients(Equations):
    """Conjugate gradients of S with its diagonal as the preconditioner, all columns at once."""

    name = "conjugate gradients"

    def __init__(self, crossed: Crossed, cap: int) -> None:
        """Take the equations, and how many iterations at most."""
        self.crossed = crossed
        self.cap = cap

    @remembered
    def inverse_diagonal(self) -> Tensor:
        """(q2, 1) one over S's diagonal; 0 where it is zero."""
        across, rest = self.crossed.across, self.crossed.rest
        diagonal = _diagonal(rest) - _row_squares(across)
        return torch.where(diagonal > _NULL, 1.0 / diagonal.clamp_min(_NULL), 0.0)[:, None]

    def solve(self, sums: list[Tensor], rows: Tensor, goal: Tensor) -> list[Tensor]:
        """Iterate until each column's |b - Q'WQ u| is at most its `goal`."""
        across, rest = self.crossed.across, self.crossed.rest
        back = across.T
        b1, b2 = self.crossed.split(sums)
        left = b2 - _times(across, b1)
        u = torch.zeros_like(left)
        z = left * self.inverse_diagonal
        direction, product = z, torch.linalg.vecdot(left, z, dim=0)
        for iteration in range(self.cap + 1):
            if bool((left.abs().amax(0) <= goal).all()):
                self.iterations = max(self.iterations, iteration)
                return self.crossed.joined(b1 - _times(back, u), u)
            moved = _times(rest, direction) - _times(across, _times(back, direction))
            curvature = torch.linalg.vecdot(direction, moved, dim=0)
            step = torch.where(curvature > 0, product / curvature, 0.0)
            u.addcmul_(direction, step.expand_as(u))
            left = left - step * moved
            z = left * self.inverse_diagonal
            following = torch.linalg.vecdot(left, z, dim=0)
            direction = z + torch.where(product > 0, following / product, 0.0) * direction
            product = following
        raise EstimationError(
            f"The projection on the absorbed effects did not converge within {self.cap:,} iterations of conjugate gradients, as their levels hardly mix; "
            f"{_REMEDY}."
        )


class Within(Equations):
    """within-py: LSMR with a preconditioner of pairs of effects, a few columns at a time."""

    name = "within"

    def __init__(self, columns: Sequence[Column], sizes: Sequence[int], weights: Tensor | None) -> None:
        """Take the columns, how many each effect has, and (n,) weights."""
        self.columns = tuple(columns)
        self.sizes = tuple(sizes)
        self.weights = weights

    @remembered
    def solver(self) -> Any:
        """The solver, which keeps its preconditioner."""
        effects, start = [], 0
        for size in self.sizes:
            own = self.columns[start : start + size]
            slopes = [column.values.numpy() for column in own if column.values is not None]
            effects.append(within.Effect(own[0].codes.numpy().view(np.uint32), len(slopes) < size, slopes or None))
            start += size
        return within.Solver(within.Design(effects), None if self.weights is None else self.weights.numpy())

    def solve(self, sums: list[Tensor], rows: Tensor, goal: Tensor) -> list[Tensor]:
        """Solve for the rows."""
        found = [torch.zeros_like(part) for part in sums]
        length = torch.cat(sums).norm(dim=0).clamp_min(torch.finfo(torch.float64).tiny)
        width = rows.shape[1]
        step = max(width // 2, 1)
        for start in range(0, width, step):
            some = slice(start, start + step)
            tolerance = float((goal[some] / length[some]).amin().clamp(1e-15, 0.1))
            batch = self.solver.solve_batch(
                np.asfortranarray(rows[:, some].numpy()), within.LsmrOptions(tol=tolerance, maxiter=_WITHIN)
            )
            if not all(batch.converged):
                raise EstimationError(
                    f"The projection on the absorbed effects did not converge within {_WITHIN:,} iterations, as their levels hardly mix; use fewer effects."
                )
            self.iterations = max(self.iterations, *batch.iterations)
            self._take(batch, found, some)
        return found

    def _take(self, batch: Any, found: list[Tensor], some: slice) -> None:
        """Read a batch's coefficients: those of levels with rows, column after column."""
        x, start = torch.from_numpy(batch.x), 0
        for column, used, into in zip(self.columns, self.used, found, strict=True):
            length = torch.where(column.root > 0, column.root, 1.0).reciprocal() * (column.root > 0)
            into[used, some] = x[start : start + len(used)] * length[used, None]
            start += len(used)

    @remembered
    def used(self) -> tuple[Tensor, ...]:
        """For each column, which levels have rows."""
        return tuple(torch.bincount(column.codes, minlength=column.count).nonzero()[:, 0] for column in self.columns)


_REMEDY = 'pip install "betahat[effects]" brings a solver for such effects, which runs on the CPU'


def _blocks(left: Sequence[Column], right: Sequence[Column], weights: Tensor | None) -> Any:
    """Return the sparse (sum G, sum H) matrix of the columns' products, on their device."""
    rows, numbers, places = [], [], []
    down = 0
    for one in left:
        across = 0
        for other in right:
            product = _product(one.values, other.values, weights, len(one.codes), one.root.device)
            rows.append(one.codes.long() + down)
            places.append(other.codes.long() + across)
            numbers.append(product * one.root[one.codes] * other.root[other.codes])
            across += other.count
        down += one.count
    shape = (down, sum(other.count for other in right))
    row, place, number = torch.cat(rows), torch.cat(places), torch.cat(numbers)
    if number.device.type == "cpu":
        made = sparse.coo_array(
            (number.numpy(), (row.to(torch.int32).numpy(), place.to(torch.int32).numpy())), shape=shape
        )
        return made.tocsr()
    return torch.sparse_coo_tensor(torch.stack([row, place]), number, shape).coalesce()


def _product(
    one: Tensor | None, other: Tensor | None, weights: Tensor | None, rows: int, device: torch.device
) -> Tensor:
    product = torch.ones(rows, dtype=torch.float64, device=device)
    for factor in (one, other, weights):
        if factor is not None:
            product.mul_(factor)
    return product


def _times(matrix: Any, x: Tensor) -> Tensor:
    """Return a sparse matrix times (q, m)."""
    return (
        torch.sparse.mm(matrix, x) if isinstance(matrix, Tensor) else torch.from_numpy(matrix @ x.contiguous().numpy())
    )


def _dense(matrix: Any) -> Tensor:
    """Return a sparse matrix as a dense one on the CPU."""
    return matrix.to_dense().cpu() if isinstance(matrix, Tensor) else torch.from_numpy(matrix.toarray())


def _diagonal(matrix: Any) -> Tensor:
    """Return the diagonal of a sparse matrix."""
    if not isinstance(matrix, Tensor):
        return torch.from_numpy(matrix.diagonal())
    row, place = matrix.indices()
    return matrix.values().new_zeros(len(matrix)).index_add_(0, row, matrix.values() * (row == place))


def _row_squares(matrix: Any) -> Tensor:
    """Return the sums of squares of a sparse matrix's rows."""
    if not isinstance(matrix, Tensor):
        return torch.from_numpy(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    return matrix.values().new_zeros(len(matrix)).index_add_(0, matrix.indices()[0], matrix.values().square())
