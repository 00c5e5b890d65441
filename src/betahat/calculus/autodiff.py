"""Derivatives of any loss that torch can differentiate: the rungs of a ladder, from the fastest to the surest.

Scores by `vmap(grad)`, else forward-mode, else one backward pass for each row. Hessians by a double backward loop
over the parameters, block by block: a fifth of the time and a twentieth of the memory of `torch.func.hessian`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from betahat.data.progress import progress
from betahat.data.quiet import quiet
from betahat.objectives.base import Route

Columns = tuple[Tensor, ...]
RowFunction = Callable[[Tensor, Columns], Tensor]

# Of a graph of so many rows a backward pass for each costs little more than what calling torch does.
_GRAPH_ROWS = 64
# A forward pass evaluates the function anew, with its tangents: four times what a backward pass through the same graph takes.
_FORWARD_COSTS = 4


# torch counts the levels of forward mode for the whole process: of two threads at once, one would lose its derivatives and see zeros.
_FORWARD = threading.RLock()


@contextmanager
def forward_mode() -> Iterator[None]:
    """Let one thread at a time differentiate forward, in silence."""
    with _FORWARD, quiet():
        yield


def forward(function: Callable[[Tensor], Tensor], point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return a function at a point, and its derivative along a direction, by one forward pass."""
    with forward_mode():
        both: Any = torch.func.jvp(function, (point,), (direction,))
    return both[0], both[1]


def row_jacobian(function: RowFunction, params: Tensor, columns: Columns, route: Route) -> Tensor:
    """Return (b, m, k) the derivatives of (b, m) row-wise outputs.

    Parameters
    ----------
    function : callable
        ((k,), row columns) -> (b, m), each row of which depends on that row of the columns alone.
    params : Tensor
        (k,).
    columns : tuple of Tensor
        (b, ...).
    route : Route
        Which rung; VMAP calls the function with batches of one row.
    """
    with quiet():  # torch warns of its own speed, and of what it deprecates inside itself
        return _row_jacobian(function, params, columns, route)


def _row_jacobian(function: RowFunction, params: Tensor, columns: Columns, route: Route) -> Tensor:
    if route is Route.VMAP:

        def single(theta: Tensor, *row: Tensor) -> Tensor:
            return function(theta, tuple(part[None] for part in row))[0]

        rows: Tensor = torch.func.vmap(torch.func.jacrev(single), in_dims=(None, *[0] * len(columns)))(params, *columns)
        return rows.detach()
    if route is Route.FORWARD:
        tangents = torch.eye(len(params), dtype=params.dtype, device=params.device)
        columnwise = [
            forward(lambda theta: function(theta, columns), params, e)[1] for e in progress(tangents.unbind(), "scores")
        ]
        return torch.stack(columnwise, -1).detach()
    if not columns:
        return _backward_jacobian(function, params, columns)
    parts = list(zip(*(torch.split(column, _GRAPH_ROWS) for column in columns), strict=True))
    return torch.cat([_backward_jacobian(function, params, part) for part in progress(parts, "scores")])


def _backward_jacobian(function: RowFunction, params: Tensor, columns: Columns) -> Tensor:
    """Return (b, m, k) the derivatives by a backward pass for each output, every one of which goes through all b rows."""
    with torch.enable_grad():
        leaf = params.detach().requires_grad_(True)
        output = function(leaf, columns)
        entries = output.reshape(-1)
        rows = [_gradient(entries[i], leaf) for i in progress(range(len(entries)), "scores")]
    return torch.stack(rows).reshape(*output.shape, len(params))


def mapped_rows(function: RowFunction, params: Tensor, columns: Columns) -> Tensor:
    """Return (b, ...) what a row-wise function gives of batches of one row, as `row_jacobian` calls it by VMAP."""

    def single(*row: Tensor) -> Tensor:
        return function(params, tuple(part[None] for part in row))[0]

    with quiet(), torch.no_grad():
        rows: Tensor = torch.func.vmap(single)(*columns)
    return rows


def summed_jacobian(total: Callable[[Tensor], Tensor], params: Tensor, route: Route) -> Tensor:
    """Return (q, k) the derivatives of a (q,) function: by a forward pass for each parameter, or a backward one for each number."""
    if route is Route.FORWARD:
        tangents = torch.eye(len(params), dtype=params.dtype, device=params.device)
        with quiet():
            parts = [forward(total, params.detach(), e)[1] for e in progress(tangents.unbind(), "Jacobian")]
        return torch.stack(parts, -1).detach()
    with torch.enable_grad():
        leaf = params.detach().requires_grad_(True)
        sums = total(leaf)
        return torch.stack([_gradient(sums[j], leaf) for j in progress(range(len(sums)), "Jacobian")])


def summed_route(total: Callable[[Tensor], Tensor], params: Tensor, count: int) -> Route:
    """Return how a (q,) function of (k,) parameters is differentiated in less time, where forward passes give what backward ones do."""
    if count < _FORWARD_COSTS * len(params):
        return Route.BACKWARD
    backward = summed_jacobian(total, params, Route.BACKWARD)
    try:
        forward = summed_jacobian(total, params, Route.FORWARD)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
        return Route.BACKWARD
    size = 1.0 + float(backward.abs().max())
    return Route.FORWARD if torch.allclose(forward, backward, rtol=1e-8, atol=1e-10 * size) else Route.BACKWARD


def working_route(function: RowFunction, params: Tensor, columns: Columns) -> Route:
    """Return the first rung that gives what a plain backward pass gives, on a few rows."""
    with torch.enable_grad():
        leaf = params.detach().requires_grad_(True)
        whole = _gradient(function(leaf, columns).sum(), leaf)
    if not bool(torch.isfinite(whole).all()):
        return Route.BACKWARD  # the solver refuses such a start
    for route in (Route.VMAP, Route.FORWARD):
        try:
            summed = row_jacobian(function, params, columns, route).sum((0, 1))
        except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
            continue
        if torch.allclose(summed, whole, rtol=1e-8, atol=1e-10 * (1.0 + float(whole.abs().max()))):
            return route
    return Route.BACKWARD


def value_and_gradient(total: Callable[[Tensor], Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
    """Return () the value and (k,) the gradient of a scalar function."""
    with torch.enable_grad():
        leaf = params.detach().requires_grad_(True)
        value = total(leaf)
        return value.detach(), _gradient(value, leaf)


def stacked_gradients(total: Callable[[Tensor, Tensor], Tensor], params: Tensor, factors: Tensor) -> Tensor:
    """Return (R, k) the gradients of a scalar function of (k,) parameters and (b,) factors, for each of R pairs of them.

    All at once by `vmap(grad)`; one after the other where the function cannot be mapped.
    """
    with quiet():
        try:
            found: Tensor = torch.func.vmap(torch.func.grad(total))(params, factors)
            return found.detach()
        except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
            return torch.stack(
                [_gradient_under(total, theta, factor) for theta, factor in zip(params, factors, strict=True)]
            )


def hessian_matrix(total: Callable[[Tensor], Tensor], params: Tensor) -> Tensor:
    """Return (k, k) the second derivatives of a scalar function, by a backward pass for each parameter.

    A pass begins at the gradient of the tensor that the parameter belongs to, so that it leaves out what this does not depend on.
    """
    matrix = params.new_zeros(len(params), len(params))
    with torch.enable_grad():
        leaf = params.detach().requires_grad_(True)
        value = total(leaf)
        if not value.requires_grad:
            return matrix
        cuts = _cuts(value, leaf)
        edges = [cut.edge for cut in cuts]
        slopes = torch.autograd.grad(value, edges, create_graph=True, allow_unused=True) if cuts else ()
        entries = [
            (cut.begin + i, slope, i)
            for cut, slope in zip(cuts, slopes, strict=True)
            if slope is not None and slope.requires_grad
            for i in range(len(slope))
        ]
        for place, slope, i in progress(entries, "Hessian"):
            found = torch.autograd.grad(slope[i], edges, retain_graph=True, allow_unused=True)
            for cut, part in zip(cuts, found, strict=True):
                if part is not None:
                    matrix[place, cut.begin : cut.begin + len(part)] += part
    return 0.5 * (matrix + matrix.mT)


class _Cut(NamedTuple):
    """A slice of the parameters: where it begins, and where its gradient passes."""

    begin: int
    edge: GradientEdge


def _cuts(value: Tensor, leaf: Tensor) -> list[_Cut]:
    """Return the slices by which a function uses its (k,) parameters; all of them as one, where it uses them otherwise."""
    whole = get_gradient_edge(leaf)
    reached: set[Any] = set()
    users: list[Any] = []
    waiting: list[Any] = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in reached:
            continue
        reached.add(node)
        following = [edge[0] for edge in node.next_functions]
        if whole.node in following:
            users.append(node)
        waiting += following
    if not all(_is_slice(node, len(leaf)) for node in users):
        return [_Cut(0, whole)]
    return [_Cut(int(node._saved_start), GradientEdge(node, 0)) for node in users]


def _is_slice(node: Any, width: int) -> bool:
    """Tell whether an operation takes consecutive numbers of a vector, from a place that is counted from its beginning."""
    return bool(node.name() == "SliceBackward0" and node._saved_step == 1 and 0 <= node._saved_start < width)


def hessian_product(total: Callable[[Tensor], Tensor], params: Tensor, direction: Tensor) -> Tensor:
    """Return (k,) the second derivatives times a direction."""
    with torch.enable_grad():
        leaf = params.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(total(leaf), leaf, create_graph=True, allow_unused=True)
        if slope is None or not slope.requires_grad:
            return torch.zeros_like(params)
        return _gradient(slope @ direction, leaf)


def output_derivatives(losses: Callable[[Tensor], Tensor], output: Tensor) -> tuple[Tensor, Tensor]:
    """Return (b, m) dl/deta and (b, m, m) d2l/deta2 of row losses of (b, m) outputs."""
    with torch.enable_grad():
        leaf = output.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(losses(leaf).sum(), leaf, create_graph=True)
        if not slope.requires_grad:
            return slope.detach(), slope.new_zeros(*slope.shape, slope.shape[1])
        rows = [
            torch.autograd.grad(slope[:, j].sum(), leaf, retain_graph=True, allow_unused=True)[0]
            for j in range(slope.shape[1])
        ]
    curvature = torch.stack([torch.zeros_like(output) if row is None else row for row in rows], 1)
    return slope.detach(), curvature.detach()


def _gradient_under(total: Callable[[Tensor, Tensor], Tensor], params: Tensor, factor: Tensor) -> Tensor:
    return value_and_gradient(lambda theta: total(theta, factor), params)[1]


def _gradient(value: Tensor, leaf: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (slope,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if slope is None else slope.detach()
