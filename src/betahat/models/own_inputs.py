"""Modules whose regressors are columns of their inputs, as those of nn.Linear are: found without vmap, and certified on all rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.autodiff import row_jacobian
from betahat.data.engine import Block, OneAtATime, gather, numbered, scan
from betahat.data.room import room_for
from betahat.data.sample import in_order_of_call
from betahat.models.probes import ADDS, few_rows, same_jacobian, trial_points
from betahat.objectives.base import Route

RowFunction = Callable[[Tensor, tuple[Tensor, ...]], Tensor]

# The one among the candidates; columns of inputs are counted from zero.
_ONE = -1
# So many comparisons of parameters with columns take milliseconds.
_MOST = 2**20
# Rows in a block: a call of a module takes 0.1 ms, whatever their number.
_ROWS = 2**14


@dataclass(frozen=True, eq=False)
class OwnRegressors:
    """f = J theta + c, J made of the inputs' own columns.

    Attributes
    ----------
    jacobian : Tensor
        (n, k) J.
    constant : float
        c, the same for every row.
    """

    jacobian: Tensor
    constant: float


def own_regressors(
    function: RowFunction, start: Tensor, inputs: tuple[Tensor, ...], output: Tensor
) -> OwnRegressors | None:
    """Return the regressors of a module whose Jacobian is made of its inputs' columns and ones; None where it is not, or may not be.

    The Jacobian of a few rows, at three points, tells which columns these are. On all rows, in blocks, the module then has to return
    J theta + c at four points, nearer to zero and further away, and at the start in one batch, (n,) `output`. Row i of J is made of row i
    alone, so that this says as well that no row depends on another.
    """
    if not all(part.is_floating_point() for part in inputs):
        return None
    few = few_rows(inputs)
    candidates = _columns(few)
    if candidates.shape[1] * len(start) > _MOST:
        return None
    places = _places(row_jacobian(function, start, few, Route.BACKWARD)[:, 0], candidates)
    if places is None or not same_jacobian(function, start, few, Route.BACKWARD):
        return None
    nobs, width = len(inputs[0]), len(start)
    itself = len(inputs) == 1 and inputs[0].ndim == 2 and places == list(range(inputs[0].shape[1]))
    jacobian = inputs[0] if itself else room_for(start, nobs, width)
    trial, zero = trial_points(start), torch.zeros_like(start)
    points = [start, *(at for a, b in zip(trial[::3], trial[1::3], strict=True) for at in (a + b, a - b))]
    together = torch.stack(points, 1)
    constant: float | None = None
    with torch.no_grad():
        for block in scan(numbered((*inputs, output)), _itself, OneAtATime(_ROWS)):
            *parts, whole = block.columns.values()
            rows = tuple(parts)
            part = jacobian[block.start : block.start + len(whole)]
            if not itself:
                _fill(part, places, _columns(rows))
            offset = function(zero, rows)[:, 0]
            constant = float(offset[0]) if constant is None else constant
            if not bool((offset == constant).all()):
                return None
            values = [whole, *(function(point, rows)[:, 0] for point in points[1:])]
            if not all(map(_agree, values, (part @ together + constant).unbind(1))):
                return None
    assert constant is not None
    return OwnRegressors(jacobian, constant)


def derived_regressors(
    function: RowFunction, start: Tensor, inputs: tuple[Tensor, ...], value: Tensor, route: Route, rows: int
) -> tuple[Tensor, Tensor | None] | None:
    """Return (n, k) J and (n,) c or None for zero, with f = J theta + c, of a function with (n,) values at the start; None where it is not linear."""
    zero = torch.zeros_like(start)
    with torch.no_grad():
        if inputs:
            source, engine = numbered(inputs), OneAtATime(rows)
            jacobian = gather(source, lambda b: row_jacobian(function, start, in_order_of_call(b), route)[:, 0], engine)
            offset = gather(source, lambda b: function(zero, in_order_of_call(b))[:, 0], engine)
        else:
            jacobian = row_jacobian(function, start, (), route)[:, 0]
            offset = function(zero, ())[:, 0]
    gap = (jacobian @ start + offset - value).abs().max()
    if bool(gap > 1e-9 * (1.0 + value.abs().max())):
        return None
    return jacobian, offset if bool(offset.any()) else None


def _itself(block: Block) -> Block:
    return block


def _agree(found: Tensor, wanted: Tensor) -> bool:
    """Tell whether (b,) outputs are what they should be, up to rounding."""
    return bool((found - wanted).abs().max() <= ADDS * (1.0 + found.abs().max()))


def _columns(inputs: tuple[Tensor, ...]) -> Tensor:
    """Return (b, K) the numbers of each row of all inputs."""
    flat = [part.reshape(len(part), -1) for part in inputs]
    return flat[0] if len(flat) == 1 else torch.cat(flat, 1)


def _places(jacobian: Tensor, candidates: Tensor) -> list[int] | None:
    """Return the column that each of k parameters multiplies in (b, k), to the last bit; None where one multiplies something else."""
    found: list[int] = []
    for column in jacobian.unbind(1):
        same = (candidates == column[:, None]).all(0)
        if bool((column == 1.0).all()):
            found.append(_ONE)
        elif bool(same.any()):
            following = found[-1] + 1 if found else 0
            found.append(following if following < len(same) and bool(same[following]) else int(same.byte().argmax()))
        else:
            return None
    return found


def _fill(into: Tensor, places: list[int], columns: Tensor) -> None:
    """Write columns to their places, neighbours together."""
    begin = 0
    while begin < len(places):
        end = begin + 1
        while end < len(places) and places[begin] != _ONE and places[end] == places[end - 1] + 1:
            end += 1
        first = places[begin]
        into[:, begin:end] = 1.0 if first == _ONE else columns[:, first : first + end - begin]
        begin = end
