"""Whether a gradient by autodiff is the derivative of the loss: differences of values along a random direction tell."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.calculus.rows import Point
from betahat.errors import EstimationError, listed

# In standard errors. The first fits nearly all losses: of n rows it leaves h^2 / n of a third derivative, and n eps / h of the
# rounding of a sum. Shorter ones pass kinks by, longer ones the noise of single precision.
_STEPS = (1e-2, 1e-4, 1e-1, 1e-6, 1e-3, 1e-5)
# Both are better than this; a piece that is cut off is more of a derivative, unless it hardly moves the loss.
_AGREE = 1e-5
# What is a slope, and no kink or noise, is the same by two steps and on both sides.
_STEADY = 0.1
# How many rows show the size of a score, and how many parameters are tried one by one to name the wrong ones.
_ROWS, _NAMED = 64, 64
# A step is so long that its change of the loss has six digits, and rounding is that of a sum, and some.
_EPS, _SEEN, _MARGIN = torch.finfo(torch.float64).eps, 1e6, 64.0


def check_gradient(problem: Problem, start: Tensor) -> None:
    """Refuse a loss whose gradient is not the derivative of its values, near the start.

    Raises
    ------
    EstimationError
        A part of the gradient is cut off, or a backward pass is wrong.
    """
    unit = _unit(problem, start)
    if unit is None:
        return
    found: tuple[float, float] | None = None
    for seed in (0, 1):  # a kink that happens to be near is not near another point
        found = _differing(problem, start, unit, seed, None)
        if found is None:
            return
    assert found is not None
    claimed, true = found
    names: list[str] = []
    if len(start) <= _NAMED and len(problem.sample.names) == len(start):
        names = [n for i, n in enumerate(problem.sample.names) if _differing(problem, start, unit, 0, i) is not None]
    raise EstimationError(
        f"The gradient of the loss is not the derivative of its values{f' in {listed(names, limit=4)}' if names else ''}: along "
        f"one direction it is {claimed:.4g}, and the values change by {true:.4g}. Look for detach(), no_grad(), .data, .item() or "
        "NumPy on the way, or an autograd Function with a wrong backward(); an estimate in two steps is no minimum of one loss "
        "and belongs into stacked moments."
    )


def check_hessian(problem: Problem, params: Tensor, hessian: Tensor) -> None:
    """Refuse a Hessian by autodiff that is not the derivative of the gradient.

    Raises
    ------
    EstimationError
        A backward pass cannot be differentiated as it stands.
    """
    scale = hessian.diagonal().abs().sqrt()
    unit = torch.where(scale > 0, 1.0 / scale, torch.zeros_like(scale))
    found: tuple[float, float] | None = None
    for seed in (0, 2):
        found = _bending(problem, params, hessian, _direction(unit, seed), _direction(unit, seed + 1))
        if found is None:
            return
    assert found is not None
    raise EstimationError(
        f"The Hessian of the loss is not the derivative of its gradient: along two directions it is {found[0]:.4g}, and the gradient "
        f"changes by {found[1]:.4g}. Look for an autograd Function whose backward() is not differentiable itself, as where it takes "
        "what forward() kept on ctx without save_for_backward(); or pass bread='gauss-newton' or 'opg'."
    )


def _bending(
    problem: Problem, params: Tensor, hessian: Tensor, along: Tensor, across: Tensor
) -> tuple[float, float] | None:
    """Return how a derivative across changes along a direction, by the Hessian and by the gradient, if these differ."""

    def change(step: float) -> float:
        return float(problem.value_and_gradient(params + step * along)[1] @ across) - here

    value, gradient = problem.value_and_gradient(params)
    here, claimed = float(gradient @ across), hessian @ along
    return slope_beside(
        change, float(claimed @ across), float(claimed.abs() @ across.abs()), _rounding(problem, float(value))
    )


def _unit(problem: Problem, start: Tensor) -> Tensor | None:
    """Return (k,) about a standard error of each parameter, by the scores of a few rows; a share of its size where these are zero."""
    size = 0.01 * torch.where(start == 0, torch.ones_like(start), start.abs())
    sample = problem.sample
    if problem.objective.output_loss is not None and sample.target_alone:
        unit = size  # a module that holds its data has no few rows
    else:
        nobs = sample.rows
        places = torch.linspace(0, nobs - 1, min(nobs, _ROWS), dtype=torch.float64).round().long()
        few = Problem(problem.objective, sample.take(places.to(sample.device)))
        scores = few.gather(lambda rows: rows.scores(), Point(start, start.new_empty(0)))
        spread = scores.square().mean(0).mul(nobs).sqrt()
        usual = (spread > 0) & torch.isfinite(spread)
        unit = torch.where(usual, 1.0 / spread.clamp_min(torch.finfo(spread.dtype).tiny), size)
    here = float(problem.loss(start))
    if not _finite(here):
        return None  # the solver refuses such a start
    for _ in range(8):
        there = float(problem.loss(start + _direction(unit, 2)))
        if _finite(there) and there - here <= abs(here) + 10.0 * len(start):
            return unit
        unit = 0.1 * unit
    return None


def _differing(
    problem: Problem, start: Tensor, unit: Tensor, seed: int, only: int | None
) -> tuple[float, float] | None:
    """Return the derivative that the gradient gives and that of the values, if they differ whatever the step."""
    at, along = start + _direction(unit, 2 + 2 * seed), _direction(unit, 3 + 2 * seed)
    if only is not None:
        along = torch.zeros_like(along).index_fill_(0, torch.tensor([only], device=along.device), float(unit[only]))
    value, gradient = problem.value_and_gradient(at)
    pieces = (gradient * along).nan_to_num()
    claimed, scale, middle = float(pieces.sum()), float(pieces.abs().sum()), float(value)
    # Far from an optimum a standard error by the scores is short, and the loss large: a longer step shows above its rounding.
    longer = max(1.0, _SEEN * _EPS * abs(middle) / (_STEPS[0] * scale)) if scale > 0 and _finite(middle) else 1.0

    def change(step: float) -> float:
        return float(problem.loss(at + step * longer * along)) - middle

    return slope_beside(change, longer * claimed, longer * scale, _rounding(problem, middle))


def _rounding(problem: Problem, loss: float) -> float:
    """Return what rounding leaves of a difference of two losses: of their sums, and of residuals of large numbers."""
    sample = problem.sample
    read = (sample.target,) if problem.objective.output_loss is not None else map(sample.column, sample.source.shapes)
    largest = max((float(part.abs().max()) for part in read if part.is_floating_point()), default=0.0)
    spread = math.sqrt(2.0 * sample.rows * abs(loss))
    return _MARGIN * _EPS * (abs(loss) + largest * spread)


def slope_beside(
    change: Callable[[float], float], claimed: float, scale: float, rounding: float
) -> tuple[float, float] | None:
    """Compare a claimed slope with that of a function of a step, whose value at zero is zero; None where they agree or nothing can be said."""
    steady: list[float] = []
    for step in _STEPS:
        right, left = change(step) / step, -change(-step) / step
        slope = 0.5 * (right + left)
        gap = abs(slope - claimed)
        if not _finite(gap) or gap <= _AGREE * scale:
            return None
        if gap * step <= rounding:
            continue
        if abs(right - left) <= _STEADY * gap:
            if any(abs(slope - other) <= _STEADY * gap for other in steady):
                return claimed, slope
            steady.append(slope)
    return None


def _direction(unit: Tensor, seed: int) -> Tensor:
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return unit * torch.randn(len(unit), generator=generator, dtype=torch.float64, device="cpu").to(unit)


def _finite(value: float) -> bool:
    return value - value == 0.0
