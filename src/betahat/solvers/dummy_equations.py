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

from betahat.data.threads import in_order, remembered
from betahat.errors import EstimationError
from betahat.lazy import lazily
from betahat.solvers.crossed_levels import Crossed, times
from betahat.solvers.level_columns import Column

if TYPE_CHECKING:
    import within
    from scipy.linalg import lapack
else:
    lapack = lazily("scipy.linalg.lapack")
    within = lazily("within")

# Pivots below 1e-11 of the largest diagonal of S are null directions' rounding errors.
_NULL = 1e-11
_WITHIN = 1000
# The tolerance of a first solution, which is less where the sums are already within so many times their goal.
_TIGHT, _NEAR = 1e-12, 100.0
# Sparse products take so many columns at a time nearly as fast as more.
_TOGETHER = 4
# So many iterations of conjugate gradients take as long as within-py's whole solution of a difficult problem.
_PATIENCE = 250


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


class Elimination(Equations):
    """A dense factor of S, where the other effects have few levels."""

    name = "elimination"

    def __init__(self, crossed: Crossed) -> None:
        """Take the products."""
        self.crossed = crossed

    @remembered
    def factor(self) -> tuple[Tensor, Tensor]:
        """(r, r) lower triangular L of S's independent rows, L L', and (r,) which rows those are."""
        lower, pivots, rank, _ = lapack.dpstrf(self.crossed.dense().numpy(), tol=_NULL, lower=1)
        device = self.crossed.columns[0].root.device
        kept = torch.from_numpy(pivots[:rank].astype(np.int64) - 1).to(device)
        return torch.from_numpy(np.tril(lower[:rank, :rank])).to(device), kept

    def solve(self, sums: list[Tensor], rows: Tensor, goal: Tensor) -> list[Tensor]:
        """Solve with the factor; coefficients of dependent rows of S are zero."""
        b1, b2 = split(self.crossed, sums)
        lower, kept = self.factor
        right = b2 - times(self.crossed.across, b1)
        u2 = torch.zeros_like(b2)
        if len(kept):
            u2[kept] = torch.cholesky_solve(right[kept], lower)
        return joined(self.crossed, b1 - times(self.crossed.down, u2), u2)


class ConjugateGradients(Equations):
    """Conjugate gradients of S with its diagonal as the preconditioner, several columns at a time.

    Where they take too long, `after` is asked for what is left, and for all that follows.
    """

    name = "conjugate gradients"

    def __init__(self, crossed: Crossed, cap: int, after: Equations | None) -> None:
        """Take the products, how many iterations at most, and what is asked then."""
        self.crossed = crossed
        self.cap = cap
        self.after = after

    @remembered
    def inverse(self) -> Tensor:
        """(q2, 1) one over S's diagonal; 0 where it is zero."""
        left = self.crossed.left
        return torch.where(left > _NULL, 1.0 / left.clamp_min(_NULL), 0.0)[:, None]

    def solve(self, sums: list[Tensor], rows: Tensor, goal: Tensor) -> list[Tensor]:
        """Iterate until each column's |b - Q'WQ u| is at most its `goal`, or until it is time for another way."""
        if self.after is not None and self.name == self.after.name:
            found = self.after.solve(sums, rows, goal)
            self.iterations = max(self.iterations, _PATIENCE + self.after.iterations)
            return found
        b1, b2 = split(self.crossed, sums)
        right = b2 - times(self.crossed.across, b1)
        width, cap = right.shape[1], self.cap if self.after is None else min(_PATIENCE, self.cap)
        step = -(-width // -(-width // _TOGETHER)) if right.device.type == "cpu" else width
        parts = list(
            in_order(
                lambda start: self._solve(right[:, start : start + step].contiguous(), goal[start : start + step], cap),
                range(0, width, step),
            )
        )
        self.iterations = max(self.iterations, *(part.iterations for part in parts))
        if not all(part.converged for part in parts):
            if self.after is None:
                raise EstimationError(
                    f"The projection on the absorbed effects did not converge within {cap:,} iterations of conjugate gradients, as their levels "
                    f"hardly mix; {_REMEDY}."
                )
            self.name = self.after.name
        u2 = torch.cat([part.u for part in parts], 1)
        return joined(self.crossed, b1 - times(self.crossed.down, u2), u2)

    def _solve(self, right: Tensor, goal: Tensor, cap: int) -> _Found:
        u, left = torch.zeros_like(right), right
        z = left * self.inverse
        direction, product = z, torch.linalg.vecdot(left, z, dim=0)
        for iteration in range(cap + 1):
            if bool((left.abs().amax(0) <= goal).all()):
                return _Found(u, iteration, True)
            moved = self.crossed.apply(direction)
            curvature = torch.linalg.vecdot(direction, moved, dim=0)
            step = torch.where(curvature > 0, product / curvature, 0.0)
            u.addcmul_(direction, step)
            left = left.addcmul(moved, step, value=-1.0)
            z = left * self.inverse
            following = torch.linalg.vecdot(left, z, dim=0)
            direction = z.addcmul(direction, torch.where(product > 0, following / product, 0.0))
            product = following
        return _Found(u, cap, False)


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
        beyond = torch.stack([part.abs().amax(0) for part in sums if len(part)]).amax(0) / goal.clamp_min(
            torch.finfo(torch.float64).tiny
        )
        width = rows.shape[1]
        step = max(width // 2, 1)
        for start in range(0, width, step):
            some = slice(start, start + step)
            tolerance = _TIGHT * min(
                1.0, float(beyond[some].amax()) / _NEAR
            )  # it is relative to the rows, as cosines are
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


@dataclass(frozen=True, eq=False)
class _Found:
    """What conjugate gradients found for some columns.

    Attributes
    ----------
    u : Tensor
        (q2, m)
    iterations : int
    converged : bool
    """

    u: Tensor
    iterations: int
    converged: bool


def split(crossed: Crossed, sums: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return (q1, m) b1 and (q2, m) b2."""
    first = crossed.sizes[0]
    return torch.cat(sums[:first]), torch.cat(sums[first:])


def joined(crossed: Crossed, u1: Tensor, u2: Tensor) -> list[Tensor]:
    """Return u of each column, from (q1, m) u1 and (q2, m) u2."""
    counts, first = [column.count for column in crossed.columns], crossed.sizes[0]
    return [*torch.split(u1, counts[:first]), *torch.split(u2, counts[first:])]
