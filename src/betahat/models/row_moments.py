"""The user's moments of each row: how they are called, how many there are, and whether they treat rows alone and all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from betahat.calculus.autodiff import summed_jacobian
from betahat.data.engine import Block, OneAtATime, fold, numbered
from betahat.data.quiet import quiet
from betahat.errors import DataError, OptionError, described, listed
from betahat.models.options import user_code
from betahat.models.probes import apart, draws, few_rows, same_rows
from betahat.models.row_losses import RowLosses, calling, shaken, tried, watched
from betahat.objectives.base import Route

_REMEDY = (
    "it must return (n, q) moments, a row for each row of the data, by torch operations on p['name'] and d['name']"
)
_ROWS_MIX = (
    "A row's moments depend on other rows or on its place, as where they are divided by n or a mean of all rows is in them; write moments so that row i "
    "of the result uses row i of the data alone, and pass statistics of all rows as data, or as parameters with moments of their own."
)


@dataclass(frozen=True, eq=False)
class RowMoments:
    """The moments of a batch, from a function that is called as its arguments ask for.

    Attributes
    ----------
    called : RowLosses
        The user's function and how it is called.
    single : bool
        Whether it is called with single rows.
    """

    called: RowLosses
    single: bool = False

    def __call__(self, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Return (b, q) moments at (k,) parameters."""
        if not self.single:
            found: Tensor = self.called.call(params, columns)
        else:
            found = torch.vmap(lambda *row: self.called.call(params, row).reshape(-1), in_dims=(0,) * len(columns))(
                *columns
            )
        return found.reshape(len(columns[0]), -1).to(params.dtype)


def moments_of(
    function: Callable[..., Any], start: Tensor, tensors: Any, columns: tuple[Tensor, ...], keys: tuple[str, ...]
) -> tuple[RowMoments, int]:
    """Find out how moments want to be called, and return them with q; an error if they are none, or those of a row depend on others."""
    called, few = calling(function, tensors, keys, "moments"), few_rows(columns)
    at, rows = shaken(start), len(few[0])
    called, whole = watched(called, at, few, "moments", _REMEDY)
    if not isinstance(whole, Tensor | Exception):
        raise DataError(f"moments returned {described(whole)}; {_REMEDY}, such as torch.stack([...], 1).")
    batch = RowMoments(called)
    if isinstance(whole, Tensor) and whole.ndim in (1, 2) and len(whole) == rows and whole.numel():
        if _same_alone(batch, at, few, whole.reshape(rows, -1)):
            return batch, whole.numel() // rows
        if whole.ndim == 1 or len(whole) != whole.shape[1]:  # a square may be the (q, n) of a function of a single row
            raise DataError(_ROWS_MIX)
    single = replace(batch, single=True)
    with quiet():
        mapped = tried(single.__call__, at, few)
    if isinstance(mapped, Exception) or _is_summed(whole, mapped, rows):
        _refuse(whole, rows)
    return single, int(mapped.shape[1])


def check_all_moments(
    moments: RowMoments, start: Tensor, columns: tuple[Tensor, ...], count: int, rows: int, names: tuple[str, ...]
) -> None:
    """Compare the moments of all rows, called at once, with those of rows in blocks, and refuse parameters that none depends on."""
    params, nobs = shaken(start), len(columns[0])
    if not moments.single:
        with torch.no_grad(), user_code(f"moments fails for all {nobs} rows", "it must take any number of rows"):
            whole = moments.called.call(params, columns)
        whole = whole.reshape(len(whole), -1).to(params.dtype)
        if whole.shape != (nobs, count) or not same_rows(whole, apart(moments, params, columns, Route.FORWARD, rows)):
            raise DataError(_ROWS_MIX)
    idle = _idle(moments, (start, params), few_rows(columns), rows, names)
    idle = idle and _idle(moments, (start, params), columns, rows, names)  # a dummy is zero in most rows
    if idle:
        raise OptionError(
            f"The moments do not depend on {listed(idle)}, so that there is nothing to estimate {'them' if len(idle) > 1 else 'it'} by; leave such "
            "parameters out of params, or use them in the function by p['name'], without detach() or item()."
        )


def _idle(
    moments: RowMoments, points: tuple[Tensor, ...], columns: tuple[Tensor, ...], rows: int, names: tuple[str, ...]
) -> list[str]:
    """Return the names of the parameters that no moment of any row depends on, at none of some points."""
    factor = draws(columns[0].new_empty(len(columns[0]), dtype=points[0].dtype), 6)[
        :, None
    ]  # so that rows do not cancel

    def slopes(block: Block) -> tuple[Tensor]:
        *parts, often = block.columns.values()
        found = [
            summed_jacobian(lambda theta: (moments(theta, tuple(parts)) * often).sum(0), at, Route.BACKWARD)
            for at in points
        ]
        return (torch.cat(found).abs().sum(0),)

    with user_code("moments has no gradient", "write it with torch operations on p['name'] and d['name'] throughout"):
        (total,) = fold(numbered((*columns, factor)), slopes, OneAtATime(rows))
    return [name for name, slope in zip(names, total.tolist(), strict=True) if slope == 0.0]


def _same_alone(moments: RowMoments, params: Tensor, few: tuple[Tensor, ...], together: Tensor) -> bool:
    with quiet():
        alone = [tried(moments.__call__, params, tuple(part[i : i + 1] for part in few)) for i in range(len(few[0]))]
    if not all(isinstance(one, Tensor) and one.shape == together[:1].shape for one in alone):
        return False
    return same_rows(torch.cat(alone).detach(), together.detach().to(params.dtype))


def _is_summed(whole: Any, mapped: Tensor, rows: int) -> bool:
    """Tell whether a function gave the sum or the mean over rows where it was called with several."""
    if not isinstance(whole, Tensor) or whole.numel() != mapped.shape[1]:
        return False
    total = mapped.detach().sum(0)
    return any(same_rows(whole.detach().reshape(1, -1).to(total), sums[None]) for sums in (total, total / rows))


def _refuse(whole: Any, rows: int) -> None:
    if isinstance(whole, Exception):
        with user_code(f"moments fails for {rows} rows", _REMEDY):
            raise whole
    raise DataError(
        f"moments returned a tensor of shape {tuple(whole.shape)} for {rows} rows, as where rows are averaged or summed, or (n, 1) meets (n,); {_REMEDY}."
    )
