"""Normal equations of absorbed effects, Q'WQ u = b, four ways: sums, elimination, conjugate gradients, and within-py.

Q has the effects' columns, those of the largest effect first and orthonormal, so that with A = Q2'WQ1 the rest is S u2 = b2 - A b1 with
S = Q2'WQ2 - A A', and u1 = b1 - A'u2. S is positive semidefinite, and singular: it has a null direction for each connected part, at least. Q'WQ is
sparse, with at most one number for each row and pair of columns, and far fewer where the levels of two effects meet often.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.quiet import quiet
from betahat.data.threads import in_order, remembered
from betahat.errors import EstimationError
from betahat.lazy import lazily
from betahat.solvers.crossed_levels import Crossed, times
from betahat.solvers.level_columns import Column, on_cpu

if TYPE_CHECKING:
    import within
    from scipy import sparse
    from scipy.linalg import lapack
    from scipy.sparse import csgraph, linalg
else:
    sparse = lazily("scipy.sparse")
    csgraph = lazily("scipy.sparse.csgraph")
    linalg = lazily("scipy.sparse.linalg")
    lapack = lazily("scipy.linalg.lapack")
    within = lazily("within")

# Pivots of S below 1e-13, squares of distances between columns of unit length, are null directions' rounding errors.
_NULL = 1e-13
# Its preconditioner leaves some forty iterations of difficult problems.
_WITHIN = 1000
# The tolerance of a first solution, which is less where the sums are already within so many times their goal.
_TIGHT, _NEAR = 1e-12, 100.0
# Sparse products take so many columns at a time nearly as fast as more.
_TOGETHER = 4
# Levels that mix well need fewer iterations with the diagonal than this, which take less time than incomplete factors of the others.
_PATIENCE = 100
# Incomplete factors have up to so many times the numbers of S, of which those below a millionth of their column are left out.
_FILL, _DROP, _SHIFT = 10, 1e-6, 1e-7


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
    """Conjugate gradients of S, whose preconditioner is its diagonal first, and then incomplete factors of each effect's part.

    Levels that mix well need few iterations with the diagonal. The parts of levels that hardly mix have factors nearly as sparse as they are, so that
    they solve for them. Where neither helps, another way is asked for what is left, and for all that follows.
    """

    name = "conjugate gradients"

    def __init__(self, crossed: Crossed, cap: int, after: Equations | None) -> None:
        """Take the products, how many iterations at most, and what is asked then."""
        self.crossed = crossed
        self.cap = cap
        self.after = after
        self.slow = False

    @remembered
    def diagonal(self) -> _Diagonal:
        """One over S's diagonal; 0 where it is zero."""
        left = self.crossed.left
        return _Diagonal(torch.where(left > _NULL, 1.0 / left.clamp_min(_NULL), 0.0)[:, None])

    @remembered
    def factors(self) -> _Factors:
        """Incomplete factors."""
        parts = []
        shift = _SHIFT if any(column.values is not None for column in self.crossed.columns) else 0.0
        effects = np.repeat(np.arange(len(self.crossed.sizes)), self.crossed.sizes)
        for position, place in list(enumerate(self.crossed.places))[1:]:
            block = self.crossed.block(position)
            own = [column for column, effect in zip(self.crossed.columns, effects, strict=True) if effect == position]
            parts.append((place, None if block is None else _incomplete(block, own, shift)))
        return _Factors(tuple(parts), self.diagonal)

    def solve(self, sums: list[Tensor], rows: Tensor, goal: Tensor) -> list[Tensor]:
        """Iterate until each column's |b - Q'WQ u| is at most its `goal`, or until it is time for another way."""
        if self.after is not None and self.name == self.after.name:
            found = self.after.solve(sums, rows, goal)
            self.iterations = max(self.iterations, self.cap + self.after.iterations)
            return found
        b1, b2 = split(self.crossed, sums)
        state = _State.at_zero(b2 - times(self.crossed.across, b1))
        first = self.cap
        if on_cpu(state.u):
            first = min(first, 0 if self.slow else _PATIENCE)
        state = self._with_diagonal(state, goal, first)
        if not state.within(goal) and first < self.cap:
            self.slow = True
            state = _iterate(self.crossed, state, goal, self.cap - state.iterations, self.factors)
        self.iterations = max(self.iterations, state.iterations)
        if not state.within(goal):
            if self.after is None:
                raise EstimationError(
                    f"The projection on the absorbed effects did not converge within {self.cap:,} iterations of conjugate gradients, as their levels "
                    f"hardly mix; {_REMEDY}."
                )
            self.name = self.after.name
        return joined(self.crossed, b1 - times(self.crossed.down, state.u), state.u)

    def _with_diagonal(self, state: _State, goal: Tensor, cap: int) -> _State:
        """Iterate, a few columns at a time."""
        width = len(goal)
        step = -(-width // -(-width // _TOGETHER)) if on_cpu(state.u) else width
        several = [slice(start, start + step) for start in range(0, width, step)]
        parts = in_order(lambda some: _iterate(self.crossed, state.of(some), goal[some], cap, self.diagonal), several)
        return _State.of_parts(list(parts))


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
            given = np.asfortranarray(rows[:, some].to(torch.float64).numpy())
            with quiet():  # of a preconditioner that may need more iterations
                batch = self.solver.solve_batch(given, within.LsmrOptions(tol=tolerance, maxiter=_WITHIN))
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
class _State:
    """How far conjugate gradients have come.

    Attributes
    ----------
    u : Tensor
        (q2, m)
    left : Tensor
        (q2, m) b - S u.
    iterations : int
    """

    u: Tensor
    left: Tensor
    iterations: int

    @classmethod
    def at_zero(cls, right: Tensor) -> _State:
        """Return the start."""
        return cls(torch.zeros_like(right), right, 0)

    @classmethod
    def of_parts(cls, parts: Sequence[_State]) -> _State:
        """Return that of all columns."""
        if len(parts) == 1:
            return parts[0]
        u, left = (torch.cat(several, 1) for several in ([part.u for part in parts], [part.left for part in parts]))
        return cls(u, left, max(part.iterations for part in parts))

    def of(self, some: slice) -> _State:
        """Return that of some columns."""
        return _State(self.u[:, some].contiguous(), self.left[:, some].contiguous(), self.iterations)

    def within(self, goal: Tensor) -> bool:
        """Tell whether what is left is at most the (m,) goal."""
        return bool((self.left.abs().amax(0) <= goal).all())


class _Preconditioner(ABC):
    """What is nearly the inverse of S."""

    @abstractmethod
    def apply(self, left: Tensor) -> Tensor:
        """Return (q2, m)."""


@dataclass(frozen=True, eq=False)
class _Diagonal(_Preconditioner):
    """One over the diagonal of S.

    Attributes
    ----------
    inverse : Tensor
        (q2, 1)
    """

    inverse: Tensor

    def apply(self, left: Tensor) -> Tensor:
        """Return (q2, m)."""
        return left * self.inverse


@dataclass(frozen=True, eq=False)
class _Factors(_Preconditioner):
    """Incomplete factors of parts of S.

    Attributes
    ----------
    parts : tuple of (slice, SuperLU or None)
        Which rows of S each has; None takes the diagonal.
    diagonal : _Diagonal
        That of the others.
    """

    parts: tuple[tuple[slice, Any], ...]
    diagonal: _Diagonal

    def apply(self, left: Tensor) -> Tensor:
        """Return (q2, m)."""
        found = self.diagonal.apply(left)
        for place, factor in self.parts:
            if factor is not None:
                found[place] = torch.from_numpy(factor.solve(left[place].numpy()))
        return found


def _iterate(crossed: Crossed, state: _State, goal: Tensor, cap: int, preconditioner: _Preconditioner) -> _State:
    """Iterate from a state, up to `cap` times; the step after a nearly symmetric preconditioner is Polak's and Ribiere's."""
    u, left = state.u.clone(), state.left
    z = preconditioner.apply(left)
    direction, product = z, torch.linalg.vecdot(left, z, dim=0)
    for iteration in range(cap + 1):
        if iteration == cap or bool((left.abs().amax(0) <= goal).all()):
            break
        moved = crossed.apply(direction)
        curvature = torch.linalg.vecdot(direction, moved, dim=0)
        step = torch.where(curvature > 0, product / curvature, 0.0)
        u.addcmul_(direction, step)
        before, left = left, left.addcmul(moved, step, value=-1.0)
        z = preconditioner.apply(left)
        following = torch.linalg.vecdot(left - before, z, dim=0)
        direction = z.addcmul(direction, torch.where(product > 0, following / product, 0.0))
        product = torch.linalg.vecdot(left, z, dim=0)
    return _State(u, left, state.iterations + iteration)


def _incomplete(block: Any, columns: Sequence[Column], more: float) -> Any:
    """Return incomplete factors of an effect's part of S, made nonsingular; None where it is not.

    A constant for each connected part is a null direction. Adding one to a diagonal element in each leaves the solution as it is, as the right-hand
    sides have nothing of that direction. Beside slopes there may be others, for which the diagonal is `more` of itself larger.
    """
    _, parts = csgraph.connected_components(block, directed=False)
    largest = np.argsort(torch.cat([column.root for column in columns]).numpy(), kind="stable")
    shift = more * np.abs(block.diagonal())
    shift[largest[np.unique(parts[largest], return_index=True)[1]]] += 1.0
    with suppress(RuntimeError):  # where rounding leaves the part singular its diagonal is taken
        return linalg.spilu(
            (block + sparse.diags_array(shift, format="csr")).tocsc(),
            drop_tol=_DROP,
            fill_factor=_FILL,
            diag_pivot_thresh=0.0,
            permc_spec="MMD_AT_PLUS_A",
            options={"SymmetricMode": True},
        )
    return None


def split(crossed: Crossed, sums: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return (q1, m) b1 and (q2, m) b2."""
    first = crossed.sizes[0]
    return torch.cat(sums[:first]), torch.cat(sums[first:])


def joined(crossed: Crossed, u1: Tensor, u2: Tensor) -> list[Tensor]:
    """Return u of each column, from (q1, m) u1 and (q2, m) u2."""
    counts, first = [column.count for column in crossed.columns], crossed.sizes[0]
    return [*torch.split(u1, counts[:first]), *torch.split(u2, counts[first:])]
