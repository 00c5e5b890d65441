"""The mean of a torch module as a function of all columns of its inputs, side by side in one matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from betahat.data.engine import OneAtATime
from betahat.data.source import Held
from betahat.errors import EstimationError
from betahat.inference.margins import Response

if TYPE_CHECKING:
    from betahat.results.general import GeneralResults


def module_response(
    results: GeneralResults, outputs: Callable[[Tensor, tuple[Tensor, ...]], Tensor], raw: bool
) -> Response:
    """Return the mean of a module, or its `raw` outputs; its regressors are the (n, P) columns of all inputs, in float64."""
    view = results.view
    check_columns_alone(view.inputs)
    widths = [part[:1].numel() for part in view.inputs]

    def mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
        value = outputs(theta, _apart(x, view.inputs, widths))
        value = value if raw or view.mean is None else view.mean(value)
        return value.reshape(len(x), -1)

    def rows() -> Held:
        given, counts = results._given.inputs, results.fit.sample.counts
        exog = torch.cat([part.reshape(len(part), -1).to(torch.float64) for part in given], 1)
        return Held({"exog": exog} | ({} if counts is None else {"counts": counts}))

    first = torch.cat([part[:1].reshape(1, -1).to(torch.float64) for part in view.inputs], 1)
    with torch.no_grad():
        width = mean(results.fit.params, first, None).shape[1]
    name = results.endog_name
    outcomes = (name,) if width == 1 else tuple(f"{name}={j}" for j in range(width))
    whole = [not part.is_floating_point() for part, size in zip(view.inputs, widths, strict=True) for _ in range(size)]
    categories = frozenset(name for name, is_whole in zip(view.variables, whole, strict=True) if is_whole)
    return Response(mean, rows, view.variables, view.title, name, outcomes, OneAtATime(view.rows), categories)


def check_columns_alone(inputs: Sequence[Tensor]) -> None:
    """Refuse a module without inputs, or one of pictures and the like, whose rows are no columns."""
    if not inputs:
        raise EstimationError("The module holds its own data, so that there is no variable to move; use delta.")
    shapes = [tuple(part.shape[1:]) for part in inputs if part.ndim > 2]
    if shapes:
        raise EstimationError(
            f"An input has rows of shape {shapes[0]}, and margins are of variables, which are columns of (n, p) inputs; use predict for inputs that you moved, "
            "or delta."
        )


def _apart(x: Tensor, inputs: Sequence[Tensor], widths: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the inputs that (b, P) columns are made of, in the shapes and types of those of the fit."""
    parts = torch.split(x, list(widths), 1)
    shaped = [part.reshape(len(x), *own.shape[1:]) for part, own in zip(parts, inputs, strict=True)]
    return tuple(
        part if own.is_floating_point() else part.round().to(own.dtype)
        for part, own in zip(shaped, inputs, strict=True)
    )
