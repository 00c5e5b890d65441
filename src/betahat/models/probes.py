"""What is found out about a module by trying it: how it is called, whether rows stand alone, whether it is linear."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from betahat.calculus.autodiff import hessian_product, mapped_rows, row_jacobian, value_and_gradient
from betahat.data.engine import OneAtATime, gather, gather_spread, numbered
from betahat.data.quiet import quiet
from betahat.data.room import copied
from betahat.errors import DataError, listed
from betahat.models.inputs import Inputs
from betahat.models.module import Functional
from betahat.models.options import PLAIN, PROBED_ROWS, Manners, few_places, has_changed, kept_generators, user_code
from betahat.objectives.base import Route

# Derivatives that agree to ten digits at three points do not depend on the parameters.
_AFFINE = 1e-10
# And outputs that add up to ten.
ADDS = 1e-10

_AS_FORWARD = (
    "pass inputs as forward() takes them, as a tuple or a dict where there are several, and keep tensors of its own as "
    "attributes or buffers of the module, since it is called in float64"
)
_AS_NUMBERS = "tensors of whole numbers stay whole, as indices have to; pass inputs.double() where they are quantities"

# Sums in another order agree to rounding; what depends on other rows is off by far more.
AGREE = 1e-9

_ROWS_MIX = (
    "A row's output depends on the other rows of the batch, as with batch statistics, a softmax over the batch or "
    "a random layer, so that single rows have no scores; make forward() work row by row."
)

RowFunction = Callable[[Tensor, tuple[Tensor, ...]], Tensor]


def call_once(free: Functional, read: Inputs, inputs: Any) -> tuple[Functional, Inputs, Tensor]:
    """Call the module; where an array of whole numbers does not do as numbers with a point, try them as they are."""
    with _Calls() as calls:
        free, read, output = _called(free, read, inputs)
    return replace(free, attention=calls.attention), read, output


class _Calls(TorchFunctionMode):
    """Notes whether attention is called for."""

    attention = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at a function's name, and call it."""
        self.attention |= "attention" in getattr(func, "__name__", "")
        return func(*args, **(kwargs or {}))


def _called(free: Functional, read: Inputs, inputs: Any) -> tuple[Functional, Inputs, Tensor]:
    whole = read.tensors and not any(tensor.is_floating_point() for tensor in read.tensors)
    try:
        free, output = _first_output(free, read.tensors, _AS_NUMBERS if whole else _AS_FORWARD)
        return free, read, output
    except DataError:
        array = np.asarray(inputs) if isinstance(inputs, np.ndarray | list) else None
        if array is None or array.dtype.kind not in "iu":
            raise
    indices = replace(read, tensors=(torch.as_tensor(array.astype(np.int64), device=free.start.device),))
    free, output = _first_output(free, indices.tensors)
    return free, indices, output


def _check_output(output: Tensor) -> None:
    if output.is_nested or output.layout != torch.strided or not output.is_floating_point():
        kind = "nested" if output.is_nested else "sparse" if output.layout != torch.strided else str(output.dtype)
        raise DataError(
            f"The module returned a {kind} tensor; it must return a dense one of real floating-point numbers, scores or probabilities and not "
            "classes or masks, so that the loss has derivatives."
        )


def _first_output(free: Functional, inputs: tuple[Tensor, ...], remedy: str = _AS_FORWARD) -> tuple[Functional, Tensor]:
    """Call the module with copies, and note what it writes to and whether it draws."""
    copies, start, buffers = (
        tuple(copied(part) for part in inputs),
        free.start.clone(),
        dict(free.module.named_buffers()),
    )
    before = {name: (buffer._version, buffer.clone()) for name, buffer in buffers.items()}
    own = {name: (value, value._version) for name, value in _attributes(free.module)}
    with kept_generators() as moved:
        with torch.no_grad(), user_code("The module cannot be called with the inputs", remedy):
            output = free(start, copies)
        _check_output(output)
        draws = moved()
        if draws and not torch.equal(output, free(start, tuple(part.clone() for part in inputs)).detach()):
            raise DataError(_ROWS_MIX)
    if has_changed((start,), (free.start,)):
        raise DataError(
            "The module changes its parameters in forward(), which would move the estimates; hold them in their range by a "
            "function of a free parameter, such as exp(), or by torch.nn.utils.parametrize."
        )
    changed = [name for name, (value, version) in own.items() if value._version != version]
    if changed:
        raise DataError(
            f"The module changes its tensors {listed(changed)} at each call, so no two calls are alike; let forward() work on "
            "copies, .clone()."
        )
    written = tuple(name for name, buffer in buffers.items() if buffer._version != before[name][0])
    for name in written:
        buffers[name].copy_(before[name][1])
    free = replace(free, manners=Manners(has_changed(copies, inputs), draws), written=written)
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
    return free, output


def _attributes(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that a module keeps as plain attributes."""
    for place, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor):
                yield f"{place}.{name}".lstrip("."), value


def check_differentiable(
    losses: RowFunction, params: Tensor, columns: tuple[Tensor, ...], what: str, times: int
) -> None:
    """Take a first or second derivative of the losses of a few rows, to report what torch cannot differentiate before any work is done."""
    remedy = "it must be made of torch operations that can, without detach(), checkpoint, sparse gradients or kernels of its own"
    often = "" if times == 1 else " twice"

    def total(theta: Tensor) -> Tensor:
        return losses(theta, columns).sum()

    with quiet(), user_code(f"{what} cannot be differentiated{often}", remedy):  # quiet as in `row_jacobian`
        if times == 2:
            hessian_product(total, params, torch.ones_like(params))
            return
        with torch.enable_grad():
            moves = losses(params.detach().requires_grad_(True), columns).requires_grad
        if not moves:
            raise TypeError("its result does not depend on the parameters through torch")
        value_and_gradient(total, params)


def check_rows_apart(free: Functional, inputs: tuple[Tensor, ...]) -> None:
    """Refuse a module whose output for a row depends on other rows, by comparing a batch with its rows one by one."""
    few = few_rows(inputs)
    noise = draws(free.start, 1)
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
        far = (whole - alone).abs() > AGREE * (1.0 + whole.abs())
        if bool(far.any()) or bool((torch.isnan(whole) != torch.isnan(alone)).any()):
            raise DataError(_ROWS_MIX)


def outputs_apart(
    function: RowFunction, start: Tensor, inputs: tuple[Tensor, ...], whole: Tensor, route: Route, rows: int
) -> Tensor:
    """Return (n, m) the outputs of all rows taken apart, at the start, after comparing them with those of one batch.

    A few rows show no dependence through a group that they do not share. Outputs that are all alike show nothing, and are
    taken at other parameters too.
    """
    alone = apart(function, start, inputs, route, rows)
    if not _same_outputs(whole.reshape(alone.shape), alone):
        raise DataError(_ROWS_MIX)
    if bool((alone == alone[:1]).all()):
        moved = start + 0.1 * draws(start, 4) * (1.0 + start.abs())
        with torch.no_grad():
            there = function(moved, inputs)
        if bool(torch.isfinite(there).all()) and not _same_outputs(there, apart(function, moved, inputs, route, rows)):
            raise DataError(_ROWS_MIX)
    return alone


def _same_outputs(whole: Tensor, alone: Tensor) -> bool:
    gap, size = (whole - alone).abs().amax(), whole.abs().amax()
    return bool(gap <= AGREE * (1.0 + size))


def draws(like: Tensor, seed: int) -> Tensor:
    """Return (k,) normal draws that are the same at every call."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(len(like), generator=generator, dtype=torch.float64, device="cpu").to(like)


def first_linear(free: Functional, inputs: Inputs) -> str | None:
    """Return the name of the linear layer that the dataframe's columns meet, by watching what it is called with."""
    if inputs.columns is None or len(inputs.tensors) != 1:
        return None
    data = inputs.tensors[0][:PROBED_ROWS].clone()
    met: list[str] = []
    hooks = [
        part.register_forward_pre_hook(
            lambda _, args, name=name: met.append(name) if args and args[0] is data else None
        )
        for name, part in free.module.named_modules()
        if isinstance(part, nn.Linear) and part.in_features == len(inputs.columns)
    ]
    with torch.no_grad():
        replace(free, manners=PLAIN)(free.start, (data,))
    for hook in hooks:
        hook.remove()
    return met[0] if met else None


def is_affine(function: RowFunction, start: Tensor, inputs: tuple[Tensor, ...], route: Route) -> bool:
    """Tell whether the outputs are an affine function of the parameters: a few rows by their Jacobian, all by sums."""
    return same_jacobian(function, start, few_rows(inputs), route) and _adds(function, start, inputs)


def same_jacobian(function: RowFunction, start: Tensor, columns: tuple[Tensor, ...], route: Route) -> bool:
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
    with torch.no_grad():  # a Jacobian that is wrong is the same everywhere too
        noise = draws(start, 5) * (1.0 + start.abs())
        gap = function(start + noise, columns) - function(start, columns) - first @ noise
    return bool((gap.abs() <= _AFFINE * (1.0 + first.abs() @ (noise.abs() + start.abs()))).all())


def _adds(function: RowFunction, start: Tensor, inputs: tuple[Tensor, ...]) -> bool:
    """Tell whether f(a + b) + f(0) = f(a) + f(b) in every row, as of an affine function of the parameters."""
    points = trial_points(start)
    with torch.no_grad():
        for a, b, both in zip(points[::3], points[1::3], points[2::3], strict=True):
            values = [function(at, inputs) for at in (both, torch.zeros_like(start), a, b)]
            gap = (values[0] + values[1] - values[2] - values[3]).abs()
            scale = sum(value.abs().amax() for value in values)
            if not bool((gap <= ADDS * (1.0 + scale)).all()):
                return False
    return True


def trial_points(start: Tensor) -> list[Tensor]:
    """Return a, b and a + b, (k,) each, at which outputs are added: once nearer to zero, once further away."""
    generator = torch.Generator().manual_seed(3)
    points: list[Tensor] = []
    for size in (0.5, 3.0):
        noise = torch.randn(2, len(start), generator=generator, dtype=torch.float64).to(start)
        a, b = size * (1.0 + start.abs()) * noise
        points += [a, b, a + b]
    return points


def held_route(function: RowFunction, start: Tensor) -> Route:
    """Return forward mode for a module that holds its data, or backward where it has no forward derivative."""
    try:
        row_jacobian(function, start, (), Route.FORWARD)
    except (RuntimeError, NotImplementedError):
        return Route.BACKWARD
    return Route.FORWARD


def few_rows(columns: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a few rows from first to last."""
    return tuple(part[few_places(len(part), PROBED_ROWS, part.device)] for part in columns)


def apart(function: RowFunction, params: Tensor, columns: tuple[Tensor, ...], route: Route, rows: int) -> Tensor:
    """Return (n, ...) what a function gives of all rows one by one, where scores take them so, or far from their neighbours."""
    if route is Route.VMAP:
        with contextlib.suppress(RuntimeError):  # .data, which vmap(grad) allows and vmap alone does not
            return gather(
                numbered(columns), lambda b: mapped_rows(function, params, tuple(b.columns.values())), OneAtATime(rows)
            )
    with torch.no_grad():
        return gather_spread(columns, lambda *parts: function(params, parts), rows)


def same_rows(one: Tensor, other: Tensor) -> bool:
    """Tell whether two computations of (n, ...) numbers agree up to rounding, or are not finite alike."""
    if one.shape != other.shape:
        return False
    near = (one - other).abs() <= AGREE * (1.0 + one.abs())
    return bool((near | (one == other) | (one.isnan() & other.isnan())).all())
