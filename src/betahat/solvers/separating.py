"""Whether a direction separates rows, decided exactly: a null space, a look at each regressor, and linear programming.

A direction that separates is zero in the tied rows. So its regressors' part is among the combinations of which the dummies of the tied rows leave nothing there,
which are few, and often a single column, such as one that is only there where nothing happens. Its dummies' part is a solution of D_t a = 0 for the tied
rows' dummies D_t, whose entries are ones. Among these, linear programming looks for the largest sum of z under 0 <= z <= 1 in the free rows (Konis 2007, "Linear
programming algorithms for detecting separated data in binary logistic regression models", DPhil thesis, Oxford). If it is zero, the program's multipliers
certify that no row is separated; else z certifies itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.data.effects import Effect
from betahat.lazy import lazily
from betahat.solvers.projections import projection_on

if TYPE_CHECKING:
    from scipy import optimize, sparse
else:
    optimize = lazily("scipy.optimize")
    sparse = lazily("scipy.sparse")

# Combinations of which less than this of their length in the tied rows is left there are zero in them.
_ROUNDING = 1e-9
# A value above this share of the largest is one, not a rounding error; one below this share of its terms, and this of the largest value, may be zero.
_POSITIVE, _TERMS, _LARGEST = 1e-6, 1e-9, 1e-13
# What the simplex method leaves of constraints whose coefficients are up to one, and what multipliers may leave of theirs.
_FEASIBLE, _BALANCED = 1e-10, 1e-7
# Programs of so many rows take seconds.
MOST_ROWS = 100_000


class Separating:
    """The directions that are zero in the tied rows, those whose sign is 0.

    Attributes
    ----------
    none : bool
        Whether there is none, beside zero.
    directions : Tensor
        (n, d) what the regressors are in them, up to the dummies: zero in tied rows.
    rows : int
        The rows of the linear program.
    """

    def __init__(self, exog: Tensor, effects: Sequence[Effect], signs: Tensor) -> None:
        """Take (n, k) regressors, the effects, and (n,) signs."""
        free, tied = signs != 0, signs == 0
        self.free, self.signs = free, signs[free]
        held = tied.nonzero().flatten()
        raw = exog[held]
        beside, left = exog.clone(), raw
        if effects and len(held) and exog.shape[1]:
            own = [taken(effect, held) for effect in effects]
            for effect, found in zip(effects, projection_on(own, None).coefficients(raw), strict=True):
                beside -= _of_levels(effect, found)
            left = beside[held]
        # Sizes are the typical ones of the tied rows, from which what is taken off the free rows comes.
        length = torch.linalg.vector_norm(raw, dim=0)
        self.size = exog[free].abs() + length / max(len(held), 1) ** 0.5
        self.columns = beside[free] * self.signs[:, None]
        self.alone = torch.linalg.vector_norm(left, dim=0) <= _ROUNDING * length
        unit = torch.where(length > 0, length, torch.linalg.vector_norm(exog, dim=0))
        unit = torch.where(unit > 0, unit, torch.ones_like(unit))
        self.null = self._beyond_rounding(_null_space(left / unit) / unit[:, None], beside[free])
        self.directions = exog.new_zeros(len(exog), self.null.shape[1])
        values = beside[free] @ self.null
        self.directions[free] = torch.where(values.abs() > _TERMS * (self.size @ self.null.abs()), values, 0.0)
        self.free_dummies, self.tied_dummies = (_dummies(effects, part.cpu().numpy()) for part in (free, tied))
        full = not effects or (
            len(effects) == 1 and effects[0].variables is None and bool((_row_sums(self.tied_dummies.T) > 0).all())
        )
        self.none = not self.null.shape[1] and full
        self.rows = len(self.signs) + self.tied_dummies.shape[0]

    def _beyond_rounding(self, null: Tensor, beside: Tensor) -> Tensor:
        """Return (k, d) those combinations of (k, m) ones that are not rounding errors in the free rows, too, of (f, k) columns."""
        if not null.shape[1]:
            return null
        size = torch.linalg.vector_norm(self.size @ null.abs(), dim=0)
        null = null[:, size > 0] / size[size > 0]
        triangle = torch.linalg.qr(beside @ null, mode="r")[1]
        _, sizes, turned = torch.linalg.svd(triangle, full_matrices=False)
        kept: Tensor = null @ turned[sizes > _ROUNDING].mT
        return kept

    def by_a_regressor(self) -> Tensor | None:
        """Return (n,) the rows that a regressor separates by itself; None where none does."""
        for place in self.alone.nonzero().flatten().tolist():
            column, size = self.columns[:, place], self.size[:, place]
            for way in (column, -column):
                if bool((way >= -_TERMS * size).all()) and bool((way > _TERMS * size).any()):
                    return self._of_all(way > _TERMS * size)
        return None

    def by_linear_programming(self) -> tuple[bool, Tensor | None]:
        """Return whether a certificate decides, and (n,) the rows that a direction separates, None where none does."""
        moved = (self.directions[self.free] * self.signs[:, None]).cpu().numpy()
        scale = np.abs(moved).max(0, initial=0.0)
        scale[scale == 0] = 1.0
        turned = sparse.diags_array(self.signs.cpu().numpy()) @ self.free_dummies
        rows = sparse.hstack([sparse.csr_array(moved / scale), turned], format="csr")
        none = sparse.csr_array((self.tied_dummies.shape[0], moved.shape[1]))
        tied = sparse.hstack([none, self.tied_dummies], format="csr")
        found = optimize.linprog(
            -_row_sums(rows.T),
            A_ub=sparse.vstack([-rows, rows]),
            b_ub=np.repeat([0.0, 1.0], rows.shape[0]),
            A_eq=tied,
            b_eq=np.zeros(tied.shape[0]),
            bounds=(None, None),
            method="highs",
            options={"primal_feasibility_tolerance": _FEASIBLE, "dual_feasibility_tolerance": _FEASIBLE},
        )
        if found.status != 0:
            return False, None
        if -found.fun < 0.5:  # any direction could be scaled to a largest value of one
            multipliers = 1.0 - found.ineqlin.marginals[: rows.shape[0]]
            rest = rows.T @ multipliers + tied.T @ found.eqlin.marginals
            sizes = abs(rows).T @ multipliers + abs(tied).T @ np.abs(found.eqlin.marginals)
            return bool((multipliers > 0.5).all() and (np.abs(rest) <= _BALANCED * (1.0 + sizes)).all()), None
        return self._certified(rows @ found.x, tied @ found.x, found.x, scale)

    def _certified(
        self, value: np.ndarray, rest: np.ndarray, found: np.ndarray, scale: np.ndarray
    ) -> tuple[bool, Tensor | None]:
        """Check a direction, by its values in free and tied rows, and return the rows that it separates."""
        width = len(scale)
        along = (self.null @ torch.from_numpy(found[:width] / scale).to(self.null)).abs()
        size = (self.size @ along).cpu().numpy() + abs(self.free_dummies) @ np.abs(found[width:])
        top = value.max()
        right = (value >= -_TERMS * size - _LARGEST * top).all() and np.abs(rest).max(initial=0.0) <= _TERMS * top
        return bool(right), self._of_all(
            torch.from_numpy(value > _POSITIVE * top).to(self.free.device)
        ) if right else None

    def _of_all(self, found: Tensor) -> Tensor:
        out = torch.zeros_like(self.free)
        out[self.free] = found
        return out


def _null_space(columns: Tensor) -> Tensor:
    """Return (k, d) combinations of (m, k) columns, of length one before effects were taken off, of which nothing is left."""
    if not len(columns) or not columns.shape[1]:
        return torch.eye(columns.shape[1]).to(columns)
    triangle = torch.linalg.qr(columns, mode="r")[1]
    _, sizes, turned = torch.linalg.svd(triangle, full_matrices=True)
    kept: Tensor = turned[int((sizes > _ROUNDING).sum()) :].mT
    return torch.where(kept.abs() > _LARGEST, kept, 0.0)


def taken(effect: Effect, rows: Tensor) -> Effect:
    """Return an effect of the rows at (m,) places."""
    variables = None if effect.variables is None else effect.variables[rows]
    return replace(effect, codes=effect.codes[rows], variables=variables)


def _of_levels(effect: Effect, coefficients: Tensor) -> Tensor:
    """Return (n, m) what (count, width, m) coefficients of an effect are in its rows."""
    own = coefficients[effect.codes]
    out = own[:, 0] if effect.constant else torch.zeros_like(own[:, 0])
    if effect.variables is None:
        return out
    return out + torch.einsum("nv,nvm->nm", effect.variables.to(own), own[:, int(effect.constant) :])


def _dummies(effects: Sequence[Effect], rows: np.ndarray) -> sparse.csr_array:
    """Return the columns of effects in the rows that a (n,) mask says; without variables each combination of levels once would do, and solvers see to that."""
    count = int(rows.sum())
    blocks = [sparse.csr_array((count, 0))]
    for effect in effects:
        codes = effect.codes.cpu().numpy()[rows]
        values = [np.ones(count)] if effect.constant else []
        if effect.variables is not None:
            values += list(effect.variables.to(torch.float64).cpu().numpy()[rows].T)
        blocks += [
            sparse.csr_array((value, (np.arange(count), codes)), shape=(count, effect.count)) for value in values
        ]
    return sparse.hstack(blocks, format="csr")


def _row_sums(matrix: sparse.csr_array) -> np.ndarray:
    return np.asarray(matrix.sum(axis=1)).reshape(-1)
