"""What is found out about a module by trying it: how it is called, whether rows stand alone, whether it is linear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from betahat.calculus.autodiff import row_jacobian
from betahat.errors import DataError
from betahat.models.inputs import Inputs
from betahat.models.module import Functional
from betahat.models.options import PROBED_ROWS, user_code
from betahat.objectives.own import Route

# Derivatives that agree to ten digits at three points do not depend on the parameters.
_AFFINE = 1e-10

_AS_FORWARD = (
    "pass inputs as forward() takes them, as a tuple or a dict where there are several, and keep tensors of its own as "
    "attributes or buffers of the module, since it is called in float64"
)
_AS_NUMBERS = "tensors of whole numbers stay whole, as indices have to; pass inputs.double() where they are quantities"

RowFunction = Callable[[Tensor, tuple[Tensor, ...]], Tensor]


def call_once(free: Functional, read: Inputs, inputs: Any) -> tuple[Inputs, Tensor]:
    """Call the module; where an array of whole numbers does not do as numbers with a point, try them as they are."""
    whole = read.tensors and not any(tensor.is_floating_point() for tensor in read.tensors)
    try:
        return read, _first_output(
            replace(free, keywords=read.keywords), read.tensors, _AS_NUMBERS if whole else _AS_FORWARD
        )
    except DataError:
        array = np.asarray(inputs) if isinstance(inputs, np.ndarray | list) else None
        if array is None or array.dtype.kind not in "iu":
            raise
    indices = replace(read, tensors=(torch.as_tensor(array.astype(np.int64), device=free.start.device),))
    return indices, _first_output(free, indices.tensors)


def _first_output(free: Functional, inputs: tuple[Tensor, ...], remedy: str = _AS_FORWARD) -> Tensor:
    with torch.no_grad(), user_code("The module cannot be called with the inputs", remedy):
        output = free(free.start, inputs)
    rows = len(inputs[0]) if inputs else None
    if output.ndim == 0 or (rows is not None and len(output) != rows):
        raise DataError(
            f"The module returned a tensor of shape {tuple(output.shape)}{'' if rows is None else f' for {rows} rows'}; it must return "
            "a row for each row of the data."
        )
    if not bool(torch.isfinite(output).all()):
        raise DataError(
            "The module's output has values that are not finite at its parameters; look for NaN in the inputs, or train it again."
        )
    return output


def check_rows_apart(free: Functional, inputs: tuple[Tensor, ...]) -> None:
    """Refuse a module whose output of a row depends on other rows: compare a batch with its rows one by one.

    Raises
    ------
    DataError
        Scores of single rows would have no meaning.
    """
    few = few_rows(inputs)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(len(free.start), generator=generator, dtype=torch.float64).to(free.start)
    for params in (free.start, free.start + 0.1 * noise * (1.0 + free.start.abs())):
        with torch.no_grad():
            whole = free(params, few)
            try:
                alone = torch.cat([free(params, tuple(part[i : i + 1] for part in few)) for i in range(len(whole))])
            except (RuntimeError, ValueError, IndexError) as error:
                raise DataError(
                    f"The module cannot be called with a single row ({str(error).splitlines()[0]}), which scores need; make "
                    "forward() work for any number of rows."
                ) from error
        far = (whole - alone).abs() > 1e-9 * (1.0 + whole.abs())
        if bool(far.any()) or bool((torch.isnan(whole) != torch.isnan(alone)).any()):
            raise DataError(
                "A row's output depends on the other rows of the batch, as with batch statistics, a softmax over the batch or "
                "a random layer, so that single rows have no scores; make forward() work row by row."
            )


def first_linear(free: Functional, inputs: Inputs) -> str | None:
    """Return the name of the linear layer that the dataframe's columns meet, by watching what it is called with."""
    if inputs.columns is None or len(inputs.tensors) != 1:
        return None
    data = inputs.tensors[0][:PROBED_ROWS]
    met: list[str] = []
    hooks = [
        part.register_forward_pre_hook(
            lambda _, args, name=name: met.append(name) if args and args[0] is data else None
        )
        for name, part in free.module.named_modules()
        if isinstance(part, nn.Linear) and part.in_features == len(inputs.columns)
    ]
    with torch.no_grad():
        free(free.start, (data,))
    for hook in hooks:
        hook.remove()
    return met[0] if met else None


def is_affine(function: RowFunction, start: Tensor, inputs: tuple[Tensor, ...], route: Route) -> bool:
    """Tell whether the outputs are an affine function of the parameters: a few rows by their Jacobian, all by sums."""
    return _same_jacobian(function, start, few_rows(inputs), route) and _adds(function, start, inputs)


def _same_jacobian(function: RowFunction, start: Tensor, columns: tuple[Tensor, ...], route: Route) -> bool:
    """Tell whether the Jacobian is the same wherever it is taken."""
    if route is Route.BACKWARD and not columns:
        return False
    generator = torch.Generator().manual_seed(2)
    first = row_jacobian(function, start, columns, route)
    for size in (0.5, 3.0):
        noise = torch.randn(len(start), generator=generator, dtype=torch.float64).to(start)
        other = row_jacobian(function, start + size * (1.0 + start.abs()) * noise, columns, route)
        if not bool(((first - other).abs() <= _AFFINE * (1.0 + first.abs())).all()):
            return False
    return True


def _adds(function: RowFunction, start: Tensor, inputs: tuple[Tensor, ...]) -> bool:
    """Tell whether f(a + b) + f(0) = f(a) + f(b) in every row, as of an affine function of the parameters."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for size in (0.5, 3.0):
            noise = torch.randn(2, len(start), generator=generator, dtype=torch.float64).to(start)
            a, b = size * (1.0 + start.abs()) * noise
            values = [function(at, inputs) for at in (a + b, torch.zeros_like(start), a, b)]
            gap = (values[0] + values[1] - values[2] - values[3]).abs()
            scale = sum(value.abs().amax() for value in values)
            if not bool((gap <= 1e-10 * (1.0 + scale)).all()):
                return False
    return True


def held_route(function: RowFunction, start: Tensor) -> Route:
    """Return forward mode for a module that holds its data, or backward where it has no forward derivative."""
    try:
        row_jacobian(function, start, (), Route.FORWARD)
    except (RuntimeError, NotImplementedError):
        return Route.BACKWARD
    return Route.FORWARD


def few_rows(columns: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a few rows from first to last, since data may be sorted."""
    return tuple(
        part[torch.linspace(0, len(part) - 1, min(len(part), PROBED_ROWS), device=part.device).long()]
        for part in columns
    )
