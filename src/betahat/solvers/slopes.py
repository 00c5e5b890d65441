"""Checks that a gradient by autodiff is the derivative of the loss, by differences of values along random directions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from betahat.calculus.moments import Equations
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Point
from betahat.errors import EstimationError, listed

# In standard errors. The first suits nearly all losses: with n rows its errors are h^2 / n of a third derivative, and n eps / h from the
# rounding of a sum. Shorter steps avoid kinks, longer ones overcome the noise of single precision.
_STEPS = (1e-2, 1e-4, 1e-1, 1e-6, 1e-3, 1e-5)
# Both errors are smaller than this share; a part that is detached is a larger share of the derivative, unless it hardly moves the loss.
_AGREE = 1e-5
# A slope, unlike a kink or noise, is the same for two step lengths and on both sides.
_STEADY = 0.1
# How many rows show whether moments are differentiated rightly, which takes a pass for each of them.
_SOME = 2**12
# How many rows the size of a score is estimated from, and up to how many parameters are tried one by one to name the wrong ones.
_ROWS, _NAMED = 64, 64
# Steps are long enough for the change of the loss to have six digits; the margin on the rounding error of a sum.
_EPS, _SEEN, _MARGIN = torch.finfo(torch.float64).eps, 1e6, 64.0


def check_gradient(problem: Problem, start: Tensor) -> None:
    """Refuse a loss whose gradient is not the derivative of its values near the start: part of it is detached, or a backward pass is wrong."""
    spread = _spread(problem, start)
    unit = _unit(problem, start, spread)
    if unit is None:
        return
    found = _wrong(problem, start, unit)
    if found is None and spread is not None and bool((spread == 0).any()):
        # Steps of parameters without a score are short, so that beside others a gradient that they lack hardly shows.
        found = _wrong(problem, start, torch.where(spread == 0, unit, torch.zeros_like(unit)))
    if found is None:
        return
    claimed, true = found
    names: list[str] = []
    if len(start) <= _NAMED and len(problem.sample.names) == len(start):
        names = [n for i, n in enumerate(problem.sample.names) if _differing(problem, start, unit, 0, i) is not None]
    raise EstimationError(
        f"The gradient of the loss is not the derivative of its values{f' in {listed(names, limit=4)}' if names else ''}: along "
        f"one direction it is {claimed:.4g}, but the values change by {true:.4g}. Look for detach(), no_grad(), .data, .item() or "
        "NumPy on the way, or an autograd Function with a wrong backward(); a two-step estimate does not minimise a single loss "
        "and belongs into stacked moments."
    )


def check_jacobian(equations: Equations, start: Tensor) -> None:
    """Refuse moments whose Jacobian is not the derivative of their values near the start: part of them is detached, or a backward pass is wrong."""
    places = (
        torch.linspace(0, equations.sample.rows - 1, min(equations.sample.rows, _SOME), dtype=torch.float64)
        .round()
        .long()
        .to(start.device)
    )
    equations = replace(equations, sample=equations.sample.take(places))  # the function is the same for all rows
    sums = equations.sums(start)
    if not bool(torch.isfinite(sums.moments).all()):
        return  # the solver refuses such a start
    sizes = sums.products.diagonal().sqrt()
    sizes = torch.where(sizes > 0, sizes, torch.ones_like(sizes))
    slopes = (equations.jacobian(start) / sizes[:, None]).square().sum(0).sqrt()
    usual = (slopes > 0) & torch.isfinite(slopes)
    size = 0.01 * torch.where(start == 0, torch.ones_like(start), start.abs())
    unit = torch.where(usual, 1.0 / slopes.clamp_min(torch.finfo(slopes.dtype).tiny), size)
    wrong: tuple[float, float] | None = None
    for seed in (0, 1):
        wrong = _turning(equations, start, unit, sizes, seed, None)
        if wrong is None:
            return
    assert wrong is not None
    names: list[str] = []
    if len(start) <= _NAMED:
        known = enumerate(equations.sample.names)
        names = [n for i, n in known if _turning(equations, start, unit, sizes, 0, i) is not None]
    raise EstimationError(
        f"The Jacobian of the moments is not the derivative of their values{f' in {listed(names, limit=4)}' if names else ''}: along "
        f"one direction it is {wrong[0]:.4g}, but the values change by {wrong[1]:.4g}. Look for detach(), no_grad(), .data, .item() or "
        "NumPy on the way, or an autograd Function with a wrong backward(); stacked moments are functions of all their parameters."
    )


def _turning(
    equations: Equations, start: Tensor, unit: Tensor, sizes: Tensor, seed: int, only: int | None
) -> tuple[float, float] | None:
    """Return the derivative of a random combination of the moments by the Jacobian and that by the values, if they differ for every step length."""
    at, along = start + _direction(unit, 2 + 2 * seed), _direction(unit, 3 + 2 * seed)
    if only is not None:
        along = torch.zeros_like(along).index_fill_(0, torch.tensor([only], device=along.device), float(unit[only]))
    mix = _direction(1.0 / sizes, 4 + 2 * seed)
    sums, jacobian = equations.sums(at), equations.jacobian(at)
    here = float(sums.moments @ mix)
    pieces = ((jacobian * along).mT * mix).nan_to_num()
    # every row's moments, and so their sum, have rounding errors of their own size
    terms = math.sqrt(equations.sample.rows) * float((sums.products.diagonal().sqrt() * mix).abs().sum())

    def change(step: float) -> float:
        return float(equations.sums(at + step * along).moments @ mix) - here

    return slope_beside(change, float(pieces.sum()), float(pieces.abs().sum()), _MARGIN * _EPS * terms)


def check_hessian(problem: Problem, params: Tensor, hessian: Tensor) -> None:
    """Refuse a Hessian by autodiff that is not the derivative of the gradient: a backward pass is not differentiable."""
    scale = hessian.diagonal().abs().sqrt()
    unit = torch.where(scale > 0, 1.0 / scale, torch.zeros_like(scale))
    found: tuple[float, float] | None = None
    for seed in (0, 2):
        found = _bending(problem, params, hessian, _direction(unit, seed), _direction(unit, seed + 1))
        if found is None:
            return
    assert found is not None
    raise EstimationError(
        f"The Hessian of the loss is not the derivative of its gradient: along two directions it is {found[0]:.4g}, but the gradient "
        f"changes by {found[1]:.4g}. Look for an autograd Function whose backward() is not itself differentiable, for instance because it uses "
        "what forward() stored on ctx without save_for_backward(); or pass bread='gauss-newton' or 'opg'."
    )


def _bending(
    problem: Problem, params: Tensor, hessian: Tensor, along: Tensor, across: Tensor
) -> tuple[float, float] | None:
    """Return how the derivative across changes along a direction, by the Hessian and by the gradient, if the two differ."""

    def change(step: float) -> float:
        return float(problem.value_and_gradient(params + step * along)[1] @ across) - here

    value, gradient = problem.value_and_gradient(params)
    here, claimed = float(gradient @ across), hessian @ along
    return slope_beside(
        change, float(claimed @ across), float(claimed.abs() @ across.abs()), _rounding(problem, float(value))
    )


def _wrong(problem: Problem, start: Tensor, unit: Tensor) -> tuple[float, float] | None:
    """Return the derivative by the gradient and that by the values along a random direction, if they differ near two points."""
    found: tuple[float, float] | None = None
    for seed in (0, 1):  # a kink close to one point is not close to another
        found = _differing(problem, start, unit, seed, None)
        if found is None:
            return None
    return found


def _spread(problem: Problem, start: Tensor) -> Tensor | None:
    """Return (k,) the root of the sum of squared scores, from those of a few rows; None for a module that cannot be evaluated on them."""
    sample = problem.sample
    if problem.objective.output_loss is not None and sample.target_alone:
        return None  # it holds its own data
    nobs = sample.rows
    places = torch.linspace(0, nobs - 1, min(nobs, _ROWS), dtype=torch.float64).round().long()
    few = Problem(problem.objective, sample.take(places.to(sample.device)))
    scores = few.gather(lambda rows: rows.scores(), Point(start, start.new_empty(0)))
    return scores.square().mean(0).mul(nobs).sqrt()


def _unit(problem: Problem, start: Tensor, spread: Tensor | None) -> Tensor | None:
    """Return (k,) about a standard error of each parameter, by the spread of the scores; where this is zero, a share of its size."""
    unit = 0.01 * torch.where(start == 0, torch.ones_like(start), start.abs())
    if spread is not None:
        usual = (spread > 0) & torch.isfinite(spread)
        unit = torch.where(usual, 1.0 / spread.clamp_min(torch.finfo(spread.dtype).tiny), unit)
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
    """Return the derivative by the gradient and that by the values, if they differ for every step length."""
    at, along = start + _direction(unit, 2 + 2 * seed), _direction(unit, 3 + 2 * seed)
    if only is not None:
        along = torch.zeros_like(along).index_fill_(0, torch.tensor([only], device=along.device), float(unit[only]))
    value, gradient = problem.value_and_gradient(at)
    pieces = (gradient * along).nan_to_num()
    claimed, scale, middle = float(pieces.sum()), float(pieces.abs().sum()), float(value)
    # Far from an optimum, a standard error from the scores is short and the loss is large: only a longer step exceeds its rounding error.
    longer = max(1.0, _SEEN * _EPS * abs(middle) / (_STEPS[0] * scale)) if scale > 0 and _finite(middle) else 1.0

    def change(step: float) -> float:
        return float(problem.loss(at + step * longer * along)) - middle

    return slope_beside(change, longer * claimed, longer * scale, _rounding(problem, middle))


def _rounding(problem: Problem, loss: float) -> float:
    """Return what rounding leaves in a difference of two losses: of their sums, and of residuals of large numbers."""
    sample = problem.sample
    largest = sample.largest(
        [sample.explained] if problem.objective.output_loss is not None else [*sample.source.shapes]
    )
    spread = math.sqrt(2.0 * sample.rows * abs(loss))
    return _MARGIN * _EPS * (abs(loss) + largest * spread)


def slope_beside(
    change: Callable[[float], float], claimed: float, scale: float, rounding: float
) -> tuple[float, float] | None:
    """Return a claimed slope and the slope of a function of the step, zero at zero, if they differ; None if they agree or it cannot be told."""
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
