"""Damped Newton in float64, stopped by the Newton decrement, and the explanations of what can go wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.problem import Local, OfRows, Problem
from betahat.calculus.rows import Bread, Point, Rows, times
from betahat.data.design import Design
from betahat.data.engine import Block, fold
from betahat.data.progress import progress
from betahat.errors import EstimationError, counted, listed
from betahat.solvers.triangles import inverse_triangle

# A decrement of 1e-24 is a distance of 1e-12 standard errors from the optimum. The rounding error of a sum grows with its terms,
# and beyond a hundred thousand rows the tolerance grows with it.
_CONVERGED, _ROWS = 1e-24, 1e5
# If a Hessian takes seconds, 1e-8 standard errors are close enough to save another one.
_COSTLY, _CONVERGED_COSTLY = 50, 1e-16
# Below this the loss can no longer tell two points apart, only the gradient can.
_FLAT = 1e-6
_ITERATIONS = 100
# The shortest step that is tried. Beyond so many standard errors, there is no curvature, as where sigmoids saturate.
_SHORTEST, _LOST = 1e-12, 1e6
# A slope that loses a tenth of its value within this many standard errors has jumped.
_NEAR, _JUMP = 1e-5, 0.9
# A squared distance in standard errors is a squared distance in the index times the curvature of all rows. If the curvature is below
# a thousandth per row, because weights or counts are tiny, the former is small before the latter is.
_SOFT = 1e-3
# An index of up to a thousand has a rounding error of 1e3 eps, of 1e-12 one of 1e-12 eps: it enters the decrement squared and times the curvature.
_INDEX_ROUNDING = 10.0 * 1e3 * torch.finfo(torch.float64).eps
# If the loss falls forever, each step is as long as the previous one, and the parameters grow with the number of steps.
_GROWTH = 1e-3
# With the diagonal scaled to one, an eigenvalue below 1e-12 is the rounding error of a sum of products.
_NULL = 1e-12

# What it means that a loss of the user's own falls forever, and what to do.
_SEPARATION_OF_MODULES = (
    "the data are separated, that is, some rows are predicted perfectly, or a unit of a network saturates, or the loss has the wrong sign. "
    "Leave such columns or units out, merge categories, or penalise with penalty=."
)


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where a solver stopped.

    Attributes
    ----------
    local : Local
        The point, with loss, gradient and information.
    decrement : float
        g'A^-1 g over the dispersion: the squared distance from the optimum in standard errors.
    iterations : int
        The steps taken.
    converged : bool
        Whether the decrement is as small as rounding allows, or below a thousandth of a standard error.
    limited : bool
        Whether the steps ran out.
    """

    local: Local
    decrement: float
    iterations: int
    converged: bool
    limited: bool = False


def newton(problem: Problem, start: Tensor, *, cheap: bool) -> Optimum:
    """Minimise the summed loss from a (k,) start; `cheap` if the Hessian costs little more than the loss, so that each trial step computes it.

    An error if the loss is not finite at the start, or falls forever in some direction (separation). Nocedal and Wright (2006), Numerical
    Optimization, chapter 3.
    """
    here = problem.evaluate(start, Bread.OBSERVED)
    check_finite_start(problem, here)
    exact = _CONVERGED * max(1.0, float(problem.sample.nobs) / _ROWS)
    tolerance = exact if cheap or len(start) <= _COSTLY else _CONVERGED_COSTLY
    if _linear_in_several(problem):  # one output may be too small to matter in the decrement of all
        tolerance = 0.0
    floor = max(_FLAT**2, rounding(problem, here))
    last = float("inf")
    for iteration in progress(range(_ITERATIONS), "Newton"):
        step = newton_step(here)
        noise = problem.noise(here)
        decrement = abs(float(step @ here.gradient)) / noise
        curvature = _curvature(problem, here)
        error = _index_size(problem, here) * _INDEX_ROUNDING
        floor = max(floor, len(start) * error * error * curvature / noise)
        if decrement <= tolerance * min(curvature / _SOFT, 1.0) or (decrement < floor and decrement > 0.25 * last):
            return Optimum(here, decrement, iteration, converged=True)
        if iteration > 6 and decrement > 0.1 * last:
            check_recession(problem, here.params, step)
        there = _advance(problem, here, step, decrement, cheap)
        if there is None:
            return Optimum(here, decrement, iteration, converged=decrement < max(_FLAT, floor))
        here, last = there, decrement
    return Optimum(here, decrement, _ITERATIONS, converged=decrement < _FLAT, limited=True)


def _curvature(problem: Problem, local: Local) -> float:
    """Return the mean of w l'' over the rows, which scales with the units of y and of the weights, or 1 if it is unknown."""
    return 1.0 if local.curvatures is None else float(local.curvatures) / float(problem.sample.nobs) or 1.0


def _index_size(problem: Problem, local: Local) -> float:
    """Return the root of the mean square of a linear index's terms, weighted by the curvature; 1 from one to a thousand, or where it is unknown."""
    sample = problem.sample
    if problem.objective.one_index is None or not isinstance(sample, Design) or local.curvatures is None:
        return 1.0
    total = float(local.curvatures)
    if not total > 0.0:
        return 1.0
    size = float((local.params.abs() * local.information.diagonal().abs().sqrt()).sum()) / math.sqrt(total)
    if "offset" in sample.source.shapes:
        size += math.sqrt(sample.squares("offset") / sample.rows)
    return max(min(size, 1.0), 1e-3 * size)


def _linear_in_several(problem: Problem) -> bool:
    """Tell whether several outputs are linear in the parameters, so that steps are cheap."""
    return problem.objective.affine and problem.numbers > problem.sample.nobs


def why_stopped(problem: Problem, path: Optimum) -> str:
    """Explain what keeps a solver from the optimum, and what helps: lost curvature, a kink, a flat valley, or rounding.

    At a kink the slope along the next step jumps within 1e-5 standard errors, although the curvature predicts no change.
    """
    local, step, far = path.local, newton_step(path.local), path.decrement**0.5
    if isinstance(problem.sample, Design):
        outside = _without_mean(problem, local.params + step)
        if outside:
            loss = problem.objective.one_index
            assert loss is not None
            return (
                f"The link gives a mean only to an index {loss.domain}, and the loss still falls towards indices of {counted(outside, 'row')} that are "
                "not: the best fit lies at the edge, where there are no standard errors; take a link that allows any index, such as Log or Logit, or "
                "leave such rows out."
            )
        several = problem.objective.indices
        known = None if several is None else several.stalled(local.params)
        return known or (
            "Start closer to it, scale the columns to similar sizes, or look for rows that lie far from all others."
        )
    before = float(local.gradient @ step)
    after = float(problem.value_and_gradient(local.params + min(_NEAR / far, 1.0) * step)[1] @ step)
    along = parameters_along(problem, step[:, None], unit_scale(local.information))
    network = problem.objective.output_loss is not None
    smaller = "or estimate fewer parameters" + (", such as the last layer, by params=[...]" if network else "")
    if far > _LOST:
        return f"There is hardly any curvature along {along}, as where sigmoids saturate: start where they do not, {smaller}."
    if not after < _JUMP * before:
        return (
            f"The loss has a kink there along {along}, as ReLU, abs, max or clamp have if a row lies on the edge, so that more training does "
            f"not help, and there is no Hessian. Use a smooth activation or loss (nn.Softplus, nn.SiLU, nn.Tanh, nn.HuberLoss), {smaller}."
        )
    if path.limited:
        return (
            f"The loss falls ever more slowly along {along}: a flat valley, as when units of a network are redundant or saturate, "
            f"in which training never ends. Add a penalty=, such as 0.01, use fewer units, {smaller}."
        )
    return (
        "No step lowers the loss, perhaps because of rounding: look for operations of the module in single precision or with random numbers, scale "
        f"inputs and target to similar sizes, add a penalty=, {smaller}."
    )


def newton_step(local: Local) -> Tensor:
    """Return (k,) -A^-1 g; if A is not positive definite, with the absolute values of its eigenvalues, and nothing along null ones."""
    lower, failed = torch.linalg.cholesky_ex(local.information)
    if not int(failed) and float((lower.diagonal() / local.information.diagonal().sqrt()).min()) > _NULL**0.5:
        solved: Tensor = torch.cholesky_solve(local.gradient[:, None], lower)[:, 0]
        return -solved
    scale = unit_scale(local.information)
    scaled, gradient = local.information / scale / scale[:, None], local.gradient / scale
    spectrum, vectors = torch.linalg.eigh(scaled)
    nonzero = spectrum.abs() > _NULL * spectrum.abs().max()
    inverse = torch.where(nonzero, spectrum.abs().reciprocal(), torch.zeros_like(spectrum))
    pseudo: Tensor = vectors @ (inverse * (vectors.mT @ gradient))
    return -pseudo / scale


def unit_scale(information: Tensor) -> Tensor:
    """Return (k,) the square roots of the diagonal's absolute values, with 1 for zeros."""
    scale = information.diagonal().abs().sqrt()
    return scale if float(scale.min()) > 0 else torch.where(scale > 0, scale, torch.ones_like(scale))


def rounding(problem: Problem, local: Local) -> float:
    """Return the decrement that rounding of the residuals alone leaves when the fit is exact to the last digits."""
    if not problem.objective.dispersion.squares:
        return 0.0
    sample = problem.sample
    size = sample.squares(sample.explained) / (sample.rows * math.prod(sample.source.shapes[sample.explained]))
    return 100.0 * len(local.params) * torch.finfo(torch.float64).eps ** 2 * size / problem.noise(local)


def are_finite(*values: Tensor) -> bool:
    """Tell whether all numbers are finite, by the largest absolute value, which is NaN if any is."""
    return all(math.isfinite(float(part.abs().max())) for part in values)


def check_finite_start(problem: Problem, local: Local) -> None:
    """Refuse a start at which the loss or its derivatives are not finite."""
    if not are_finite(local.loss, local.gradient):
        check_domain(problem, local.params)
        several = problem.objective.indices
        allowed = "" if several is None else several.allowed
        raise EstimationError(
            f"The loss or its gradient is not finite at the starting parameters; pass other parameters{allowed}, or look for values that overflow in "
            "the data or the model."
        )
    if not are_finite(local.information):
        raise EstimationError(
            "The second derivatives of the loss are not finite at the starting parameters; look for functions without "
            "a second derivative there, such as the square root at zero."
        )


def check_domain(problem: Problem, params: Tensor) -> None:
    """Refuse a start at which the link gives rows no mean."""
    count, loss = _without_mean(problem, params), problem.objective.one_index
    if count and loss is not None:
        raise EstimationError(
            f"The link gives a mean only to an index {loss.domain}, and at the starting parameters {counted(count, 'row')} "
            f"{'has' if count == 1 else 'have'} another; pass start_params at which all are, or take a link that allows any index, such as Log or Logit."
        )


def _without_mean(problem: Problem, params: Tensor) -> int:
    """Count the rows to whose index the link gives no mean."""
    loss = problem.objective.one_index
    if loss is None or loss.domain is None:
        return 0
    (without,) = problem.total(_not_finite, Point(params, params.new_empty(0)))
    return int(without)


def check_recession(problem: Problem, params: Tensor, step: Tensor) -> None:
    """Refuse a loss that falls forever along a step in some rows and rises in none: separation (Albert and Anderson 1984, Biometrika 71(1))."""
    length, unit = torch.linalg.vector_norm, _units(problem, len(params))
    if problem.penalty is not None or bool(length(step * unit) < _GROWTH * length(params * unit)):
        return
    here = params
    for steps in (100.0, 200.0):  # the loss falls for a hundred steps before a row with a count of 1e-9 can stop it
        there = problem.objective.along(params, step, steps)
        if _rises(problem, here, there):
            return
        here = there
    names = parameters_along(problem, step[:, None])
    meaning = problem.objective.separation if isinstance(problem.sample, Design) else _SEPARATION_OF_MODULES
    raise EstimationError(f"The loss falls forever along {names}, so there is no finite estimate: {meaning}")


def _rises(problem: Problem, params: Tensor, others: Tensor) -> bool:
    """Tell whether the loss of some row is higher at other (k,) parameters, or not finite."""
    sample, nothing = problem.sample, params.new_empty(0)
    here, there = (OfRows(_counted_losses, problem.objective, Point(place, nothing)) for place in (params, others))
    (total,) = fold(sample.source, _Sizes(here), problem.engine)
    (higher,) = fold(sample.source, _Higher(here, there, float(total) / sample.rows), problem.engine)
    return bool(higher)


def _not_finite(rows: Rows) -> tuple[Tensor]:
    return ((~torch.isfinite(rows.losses)).sum(),)


def _counted_losses(rows: Rows) -> Tensor:
    return times(rows.losses, rows.counts)


@dataclass(frozen=True, eq=False)
class _Sizes:
    """The sum of the absolute losses of a block."""

    losses: OfRows[Tensor]

    def __call__(self, block: Block) -> tuple[Tensor]:
        return (self.losses(block).abs().sum(),)


@dataclass(frozen=True, eq=False)
class _Higher:
    """How many rows of a block have a higher loss elsewhere, or one that is not finite, beyond a millionth of their own and of the mean."""

    here: OfRows[Tensor]
    there: OfRows[Tensor]
    mean: float

    def __call__(self, block: Block) -> tuple[Tensor]:
        here, there = self.here(block), self.there(block)
        return ((~(there <= here + 1e-6 * (self.mean + here.abs())) | ~torch.isfinite(there)).sum(),)


def parameters_along(problem: Problem, directions: Tensor, scale: Tensor | None = None) -> str:
    """Name the parameters that (k, m) directions move, in units of their columns, or of `scale` for modules."""
    back, unit = problem.back, _units(problem, len(directions))
    if scale is not None and not isinstance(problem.sample, Design):
        unit = scale
    if back is not None:
        directions, unit = back @ directions, torch.linalg.vector_norm(inverse_triangle(back), dim=0)
    size = torch.linalg.vector_norm(directions, dim=1) * unit
    names, several = problem.sample.names, problem.objective.indices
    if several is not None and not several.shared:
        labels = several.parameter_names(names)
    else:
        labels = tuple(names[column] for column in _columns(problem) if column is not None)
    found: dict[str, float] = {}  # the largest of several equations
    for name, value in zip(labels, (size / size.max()).tolist(), strict=True):
        found[name] = max(value, found.get(name, 0.0))
    return listed([name for name, value in found.items() if value > 0.1])


def _units(problem: Problem, width: int) -> Tensor:
    """Return (k,) the lengths of the columns, in which changes of parameters are measured; ones for torch models."""
    sample = problem.sample
    if not isinstance(sample, Design):
        return torch.ones(width, dtype=torch.float64, device=sample.device)
    lengths = torch.where(sample.lengths > 0, sample.lengths, torch.ones_like(sample.lengths))
    lengths = torch.cat([lengths, lengths.new_full((1,), float(sample.rows) ** 0.5)])  # of a column of ones last
    return lengths[[-1 if column is None else column for column in _columns(problem)]]


def _columns(problem: Problem) -> tuple[int | None, ...]:
    """Return (k,) the column of each parameter; None for one that has none."""
    return problem.objective.columns_of_parameters(problem.sample.width)


def _advance(problem: Problem, here: Local, step: Tensor, decrement: float, cheap: bool) -> Local | None:
    """Take the longest of the steps 1, 1/4, ... that lowers the loss; None if there is none.

    Where sigmoids saturate there is hardly any curvature, and a step may be many standard errors long.
    """
    shortest = _SHORTEST / max(1.0, min(decrement, 1e60) ** 0.5)
    allowed = float(here.loss)
    allowed += 1e-13 * abs(allowed) + _rounding_of_squares(problem, here)
    length = 1.0
    while length > shortest:
        params = here.params + length * step
        if cheap or decrement < _FLAT or float(problem.loss(params)) <= allowed:
            there = problem.evaluate(params if cheap else _settled(problem, here, params, decrement), Bread.OBSERVED)
            lower = float(there.loss) <= allowed
            if are_finite(there.loss, there.information) and (lower or (cheap and _nearer(problem, there, decrement))):
                return there
        length *= 0.25
    return None


def _nearer(problem: Problem, there: Local, decrement: float) -> bool:
    """Tell whether a point has a fourth of a small decrement, which the gradient knows where the loss has no digit left for it."""
    return (
        decrement < _FLAT and abs(float(newton_step(there) @ there.gradient)) / problem.noise(there) < 0.25 * decrement
    )


def _settled(problem: Problem, here: Local, params: Tensor, decrement: float) -> Tensor:
    """Take more steps with the same Hessian as long as each divides the decrement by four: gradients are cheap."""
    last = decrement
    while True:
        _, gradient = problem.value_and_gradient(params)
        step = newton_step(replace(here, gradient=gradient))
        size = abs(float(step @ gradient)) / problem.noise(here)
        if not 0.0 < size < 0.25 * last:
            return params
        params, last = params + step, size


def _rounding_of_squares(problem: Problem, here: Local) -> float:
    """Return what rounding of the outputs leaves of half a sum of squares: eps |y| |residuals|, with a margin."""
    if not problem.objective.dispersion.squares:
        return 0.0
    size = math.sqrt(problem.sample.squares(problem.sample.explained)) * math.sqrt(2.0 * max(float(here.loss), 0.0))
    return 30.0 * torch.finfo(torch.float64).eps * size
