"""The leverage of absorbed effects: the diagonal of the weighted projection on their columns.

With u_i the row of Q = [Q1 Q2], Q1 of the largest effect, h_i = w_i (|u1_i|^2 + v_i' S^- v_i), v_i = u2_i - A u1_i, where A = Q2'WQ1 and S = Q2'WQ2 - A A'.
Every generalized inverse of S gives the same, since v_i is in its range. A u1_i depends on the row's level of the largest effect and on its slopes alone, so
that what is made are a few thousand of those levels by the others' at a time, and never the rows by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from betahat.data.effects import Effect
from betahat.errors import EstimationError
from betahat.solvers.crossed_levels import Crossed
from betahat.solvers.dummy_equations import Elimination
from betahat.solvers.level_columns import Column
from betahat.solvers.memory import check_numbers_fit
from betahat.solvers.projections import terms_of

# S of so many levels takes some seconds to factor and to invert.
_MOST = 5000
# So many numbers of levels by levels are made at a time.
_TABLE = 2**22


def effects_leverage(effects: Sequence[Effect], weights: Tensor | None) -> Tensor:
    """Return (n,) the diagonal of the weighted projection on the effects' columns, exactly.

    One effect, and effects within another, are a matter of sums; the smaller ones of several may have 5,000 levels beside the largest.
    """
    if effects[0].codes.device.type != "cpu":
        return effects_leverage([_on_cpu(effect) for effect in effects], None if weights is None else weights.cpu()).to(
            effects[0].codes.device
        )
    weights = None if weights is None else weights.to(torch.float64)
    first, *others = terms_of(effects, weights)
    found = _squares(first.columns)
    if others:
        columns, sizes = (
            (*first.columns, *(c for term in others for c in term.columns)),
            tuple(len(term.columns) for term in (first, *others)),
        )
        count = sum(column.count for column in columns[sizes[0] :])
        if count > _MOST:
            raise EstimationError(
                f"The leverage of absorbed effects that are not nested needs a matrix of all levels but those of the largest effect, {count:,} by {count:,} "
                f"here, and is computed for up to {_MOST:,}; take HC1 or clusters, which need no leverage."
            )
        check_numbers_fit(
            3 * count**2,
            "The leverages of the absorbed effects",
            torch.device("cpu"),
            "take HC1 or clusters, which need no leverage",
        )
        found += _of_others(Crossed(columns, sizes, weights))
    return found if weights is None else found * weights


def _on_cpu(effect: Effect) -> Effect:
    return replace(
        effect, codes=effect.codes.cpu(), variables=None if effect.variables is None else effect.variables.cpu()
    )


def _squares(columns: Sequence[Column]) -> Tensor:
    """Return (n,) |u1|^2."""
    found = torch.zeros(len(columns[0].codes), dtype=torch.float64)
    for column in columns:
        found += _values(column, slice(None)).square_()
    return found


def _values(column: Column, rows: slice | Tensor) -> Tensor:
    """Return (b,) a column's entries in rows, in its unit length."""
    own = column.root.index_select(0, column.codes[rows])
    return own if column.values is None else own * column.values[rows]


def _of_others(crossed: Crossed) -> Tensor:
    """Return (n,) v' S^- v."""
    own, others = crossed.columns[: crossed.sizes[0]], crossed.columns[crossed.sizes[0] :]
    inverse = _inverse(crossed)
    levels, width = own[0].count, len(inverse)
    order = torch.argsort(own[0].codes)
    ends = torch.bincount(own[0].codes, minlength=levels).cumsum(0).tolist()
    found = torch.zeros(len(order), dtype=torch.float64)
    step = max(1, _TABLE // (width * len(own)))
    starts = [0, *np.cumsum([column.count for column in others])]
    for low in range(0, levels, step):
        high = min(low + step, levels)
        rows = order[ends[low - 1] if low else 0 : ends[high - 1]]
        down = [torch.from_numpy(crossed.down[j * levels + low : j * levels + high].toarray()) for j in range(len(own))]
        solved = [part @ inverse for part in down]
        mine = [_values(column, rows) for column in own]
        theirs = [
            (column.codes[rows].long() + start, _values(column, rows))
            for column, start in zip(others, starts, strict=False)
        ]
        level = own[0].codes[rows].long() - low
        total = torch.zeros(len(rows), dtype=torch.float64)
        for one, part in zip(mine, solved, strict=True):
            for other, plain in zip(mine, down, strict=True):
                total += one * other * (part * plain).sum(1)[level]
            for place, value in theirs:
                total -= 2.0 * one * value * part[level, place]
        for place, value in theirs:
            for also, other in theirs:
                total += value * other * inverse[place, also]
        found[rows] = total
    return found


def _inverse(crossed: Crossed) -> Tensor:
    """Return (q2, q2) a generalized inverse of S, zero but for its independent rows."""
    lower, kept = Elimination(crossed).factor
    inverse = torch.zeros(len(crossed.diagonal), len(crossed.diagonal), dtype=torch.float64)
    inverse[kept[:, None], kept] = torch.cholesky_inverse(lower)
    return inverse
