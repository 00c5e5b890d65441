"""The columns of absorbed effects: dummies and their products with variables, orthogonal within each level, never written out.

An effect's columns are made orthogonal in the weighted inner product, level by level, by Gram and Schmidt's method taken twice: first the
dummy, then each variable less what the columns before it explain. So a variable such as a year is centered within its level before anything
else is done with it, and the effect's block of the normal equations is the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.data.effects import Effect
from betahat.data.engine import rows_of_width
from betahat.data.threads import in_order
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import sparse
else:
    sparse = lazily("scipy.sparse")

# A variable whose distance from the columns before it is below 1e-12 of its length, within a level, depends on them there, as regressors do.
_DEPENDENT = 1e-12
# A piece of so many rows has its own sums of levels.
_ADDED = 2**18


@dataclass(frozen=True, eq=False)
class Column:
    """One number a row, and a coefficient for each level; columns of an effect are orthogonal within each level.

    Attributes
    ----------
    codes : Tensor
        (n,) int32 each row's level.
    count : int
        G, the levels.
    values : Tensor or None
        (n,) what the coefficient is multiplied by; None for the dummies, which are ones.
    root : Tensor
        (G,) one over the column's weighted length within each level; 0 where it depends on the columns before it, or has no row.
    before : tuple of Tensor
        (G,) for each column of the effect before it, the coefficient that was taken off the variable times `scale`.
    scale : float
        What the variable is multiplied by, so that squares neither overflow nor underflow.
    """

    codes: Tensor
    count: int
    values: Tensor | None
    root: Tensor
    before: tuple[Tensor, ...] = ()
    scale: float = 1.0


def columns_of(effect: Effect, weights: Tensor | None) -> tuple[Column, ...]:
    """Return an effect's columns, orthogonal under (n,) weights."""
    codes = effect.codes.to(torch.int32).contiguous()
    made: list[Column] = []
    if effect.constant:
        made.append(Column(codes, effect.count, None, _root(level_mass(codes, effect.count, weights))))
    for variable in () if effect.variables is None else effect.variables.unbind(1):
        made.append(_orthogonal(variable.to(torch.float64), made, codes, effect.count, weights))
    return tuple(made)


def on_cpu(x: Tensor) -> bool:
    """Tell whether SciPy's sparse matrices take a tensor; elsewhere torch's do the same."""
    return x.device.type == "cpu"


def level_mass(codes: Tensor, count: int, weights: Tensor | None) -> Tensor:
    """Return (G,) the weight of each level, its rows where (n,) weights are None."""
    if weights is None:
        return torch.bincount(codes, minlength=count).to(torch.float64)
    return torch.bincount(codes, weights.to(torch.float64), minlength=count)


def level_sums(columns: Sequence[Column], x: Tensor, weights: Tensor | None) -> list[Tensor]:
    """Return for each column q, and with W the weights, (G, m) Q'Wx of (n, m) x, where Q has unit length within each level."""
    if not on_cpu(x):
        return [_sums_on_device(column, x, weights) for column in columns]

    def piece(start: int) -> list[Tensor]:
        rows = slice(start, start + step)
        values = x[rows].to(torch.float64).contiguous().numpy()
        return [torch.from_numpy(_indicator(column, rows, weights) @ values) for column in columns]

    step = max(_ADDED, 4 * sum(column.count for column in columns))
    first, *others = in_order(piece, range(0, max(len(x), 1), step))
    for other in others:
        for total, part in zip(first, other, strict=True):
            total.add_(part)
    return [total.mul_(column.root[:, None]) for total, column in zip(first, columns, strict=True)]


def less_fitted(
    columns: Sequence[Column], coefficients: Sequence[Tensor], x: Tensor, weights: Tensor | None, out: Tensor
) -> Tensor:
    """Write (n, m) x - Q u into `out`, which may be x, and return (m,) its weighted sums of squares; `coefficients` are (G, m) for each column."""
    scaled = [column.root[:, None] * u for column, u in zip(columns, coefficients, strict=True)]

    def block(start: int) -> Tensor:
        rows = slice(start, start + step)
        left = x[rows].to(torch.float64)
        for column, u in zip(columns, scaled, strict=True):
            fitted = u.index_select(0, column.codes[rows])
            left = left - (fitted if column.values is None else fitted.mul_(column.values[rows, None]))
        out[rows] = left
        return _squares(left, rows, weights)

    step = rows_of_width(3 * x.shape[1], x.device)
    return torch.stack([x.new_zeros(x.shape[1], dtype=torch.float64), *in_order(block, range(0, len(x), step))]).sum(0)


def row_squares(x: Tensor, weights: Tensor | None) -> Tensor:
    """Return (m,) the weighted sums of squares of (n, m) columns."""

    def block(start: int) -> Tensor:
        rows = slice(start, start + step)
        return _squares(x[rows].to(torch.float64), rows, weights)

    step = rows_of_width(x.shape[1], x.device)
    return torch.stack([x.new_zeros(x.shape[1], dtype=torch.float64), *in_order(block, range(0, len(x), step))]).sum(0)


def in_variables(columns: Sequence[Column], coefficients: Sequence[Tensor]) -> list[Tensor]:
    """Return (G, m) coefficients of an effect's dummies and variables, from those of its orthogonal columns, in their order."""
    left = [column.root[:, None] * u for column, u in zip(columns, coefficients, strict=True)]
    for j in range(len(columns) - 1, -1, -1):
        for k, taken in enumerate(columns[j].before):
            left[k] = left[k] - taken[:, None] * left[j]
    return [u * column.scale for u, column in zip(left, columns, strict=True)]


def row_factor(column: Column, rows: slice, weights: Tensor | None) -> Tensor | None:
    """Return (b,) w q of rows, None where it is one."""
    if column.values is None:
        return None if weights is None else weights[rows].to(torch.float64)
    return column.values[rows] if weights is None else column.values[rows] * weights[rows]


def _orthogonal(
    variable: Tensor, before: Sequence[Column], codes: Tensor, count: int, weights: Tensor | None
) -> Column:
    largest = float(variable.abs().max()) if len(variable) else 0.0
    scale = 1.0 / largest if largest > 0 else 1.0
    values = (variable * scale).contiguous()
    whole = _lengths(values, codes, count, weights)
    taken = [values.new_zeros(count) for _ in before]
    for _ in range(2):
        for k, column in enumerate(before):
            (sums,) = level_sums([column], values[:, None], weights)
            coefficient = sums[:, 0] * column.root
            fitted = coefficient.index_select(0, codes)
            values = values - (fitted if column.values is None else fitted * column.values)
            taken[k] += coefficient
    apart = _lengths(values, codes, count, weights)
    dependent = ~(apart > _DEPENDENT**2 * whole)
    values = values.masked_fill(dependent.index_select(0, codes), 0.0)
    return Column(codes, count, values, _root(apart.masked_fill(dependent, 0.0)), tuple(taken), scale)


def _lengths(values: Tensor, codes: Tensor, count: int, weights: Tensor | None) -> Tensor:
    """Return (G,) the weighted sums of squares of (n,) values."""
    plain = Column(codes, count, None, values.new_ones(count))
    return level_sums([plain], values.square()[:, None], weights)[0][:, 0]


def _root(squares: Tensor) -> Tensor:
    return torch.where(squares > 0, squares, 1.0).rsqrt() * (squares > 0)


def _squares(x: Tensor, rows: slice, weights: Tensor | None) -> Tensor:
    """Return (m,) the weighted sums of squares of rows."""
    found: Tensor = torch.linalg.vecdot(x, x if weights is None else x * weights[rows, None], dim=0)
    return found


def _indicator(column: Column, rows: slice, weights: Tensor | None) -> sparse.csc_array:
    """Return (G, b) the sparse matrix that adds rows times w q to their levels."""
    codes, factor = column.codes[rows].numpy(), row_factor(column, rows, weights)
    numbers = np.ones(len(codes)) if factor is None else factor.contiguous().numpy()
    return sparse.csc_array(
        (numbers, codes, np.arange(len(codes) + 1, dtype=np.int32)), shape=(column.count, len(codes))
    )


def _sums_on_device(column: Column, x: Tensor, weights: Tensor | None) -> Tensor:
    sums = x.new_zeros(column.count, x.shape[1], dtype=torch.float64)
    step = rows_of_width(2 * x.shape[1], x.device)
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        part, factor = x[rows].to(torch.float64), row_factor(column, rows, weights)
        sums.index_add_(0, column.codes[rows], part if factor is None else part * factor[:, None])
    return sums.mul_(column.root[:, None])
