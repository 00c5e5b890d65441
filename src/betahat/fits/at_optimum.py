"""A `Fit` at the point where a solver stopped: the root of its bread, and whether it is a minimum that identifies every parameter."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from betahat.calculus.problem import Local, Problem
from betahat.calculus.rows import Bread, BreadName, Point, Rows, read_bread
from betahat.data.container import to_tensor
from betahat.data.sample import Sample
from betahat.errors import ConvergenceWarning, EstimationError, OptionError, counted, described, listed, user_level
from betahat.fits.fit import Fit
from betahat.solvers.curvature import lowest_curvature
from betahat.solvers.least_squares import Rank
from betahat.solvers.newton import Optimum, are_finite, newton_step, parameters_along, unit_scale, why_stopped
from betahat.solvers.slopes import check_hessian
from betahat.solvers.triangles import certified, inverse_triangle, joined_triangle, triangle_of

# From this many parameters on, a Hessian costs more than some hundred gradients.
MANY = 50
# An eigenvalue of the scaled information below 1e-10 of the largest leaves a standard error no digit to trust: its
# inverse is dominated by rounding, which a Hessian by loops has at 1e-13 or so.
_NULL = 1e-10
# Rounding of a Hessian by loops leaves eigenvalues of either sign below this.
_DOWNWARD = 1e-7
# A Hessian by loops and a Hessian-vector product agree to rounding; where a pseudoinverse was taken, to what it left out.
_UNCERTAIN = 1e-5
# Where the whole size of a parameter moves the fit 1e-12 times as much as another's, rounding hides it.
_IDLE = 1e-12
# A decrement of 1e-6 is a thousandth of a standard error.
_THOUSANDTH = 1e-6


def fit_at(problem: Problem, params: Any, bread: BreadName = "observed") -> Fit:
    """Make a fit of parameters that were found elsewhere, without changing them.

    Parameters
    ----------
    problem : Problem
        A loss on data: `model.problem` of any model of regressors, or of `TorchModel`.
    params : array_like
        (k,) the parameters, equation by equation.
    bread : {"observed", "expected", "gauss-newton", "opg"}
        The information A of the covariance A^-1 B A^-1.

    Returns
    -------
    Fit
        What every estimator of a covariance takes, ``bh.HC3()(fit)``.

    Raises
    ------
    OptionError
        Not a `Problem`, the wrong number of parameters, or an unknown bread.
    EstimationError
        The loss curves downward there, or is flat in some direction.

    Notes
    -----
    ``fit.diagnostics.decrement`` is the squared distance from the optimum in standard errors. Sandwiches are defined anywhere; classical errors are
    refused beyond a third of a standard error.

    Examples
    --------
    >>> import betahat as bh
    >>> y, x = [0, 0, 1, 0, 1, 1], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> fit = bh.fit_at(bh.Logit(y, x).problem, [-4.2491, 1.2140])
    >>> bh.HC1()(fit).matrix.diagonal().sqrt().round(decimals=3)
    tensor([2.5040, 0.5800], dtype=torch.float64)
    """
    kind = read_bread(bread)
    if not isinstance(problem, Problem):
        raise OptionError(f"problem is {described(problem)}; pass the problem of a model, model.problem.")
    read = to_tensor(params, torch.zeros((), dtype=torch.float64, device=problem.sample.device))
    count = len(problem.objective.columns_of_parameters(problem.sample.width))
    if read.shape != (count,):
        raise OptionError(f"params has shape {tuple(read.shape)}; pass one number for each of the {count} parameters.")
    sample = problem.sample
    return fit_of(problem, taken_at(problem, read, kind), kind, "as given", sample, tuple(range(sample.width)))


def taken_at(problem: Problem, params: Tensor, bread: Bread) -> Optimum:
    """Return where (k,) parameters are, as if a solver had stopped there."""
    # Where a Hessian is by autodiff, that takes as many passes as there are parameters.
    local = problem.evaluate(params, bread if by_autodiff(problem) else Bread.OBSERVED)
    unit = 1.0 if local.bread is Bread.OPG else problem.noise(local)
    return Optimum(local, abs(float(newton_step(local) @ local.gradient)) / unit, 0, converged=False)


def fit_of(
    problem: Problem,
    path: Optimum,
    bread: Bread,
    route: str,
    given: Sample,
    kept: tuple[int, ...],
    rank: Rank | None = None,
) -> Fit:
    """Return the fit at the point where a solver stopped, with the root of its bread."""
    check_minimum(problem, path.local)
    _warn_near(path)
    local = path.local if path.local.bread is bread else problem.under(path.local, bread)
    loss = local.loss if problem.penalty is None else local.loss - problem.penalty(local.params)
    root, triangle, sound = _root(problem, local, bread, rank)
    if bread is Bread.OPG:  # the scores of the log-likelihood are those of the loss over the dispersion
        factor = problem.dispersion(local.params, loss, root.shape[1]).sqrt()
        root, triangle = root * factor, triangle / factor
    return Fit(
        problem,
        local.params,
        root,
        triangle,
        loss,
        route,
        sound,
        given,
        kept,
        bread,
        replace(path, local=local),
        _certificate(problem, local.params, triangle) if bread is Bread.OBSERVED else None,
    )


def _certificate(problem: Problem, params: Tensor, triangle: Tensor) -> float | None:
    found = problem.certificate(params, triangle.mT @ triangle)
    if found is not None and not found < _UNCERTAIN:
        raise EstimationError(
            f"Two computations of the Hessian differ by {found:.1g} of it, so neither can be trusted; look for a module that is not "
            "twice differentiable, or whose output is not the same at every call."
        )
    if found is not None:
        check_hessian(problem, params, triangle.mT @ triangle)
    return found


def _root(problem: Problem, local: Local, bread: Bread, rank: Rank | None) -> tuple[Tensor, Tensor, bool]:
    """Return Z with Z Z' = A^-1, R with R'R = A, and whether the columns' products keep their digits."""
    closed = problem.objective.closed_form
    scale = unit_scale(local.information)
    scaled = local.information / scale / scale[:, None]
    if not closed and rank is None:
        _check_moves(problem, local, scale)
    if closed and certified(scaled):
        triangle = torch.linalg.cholesky(scaled).mT * scale
        return inverse_triangle(triangle), triangle, True
    by_rows = None if problem.penalty is not None else _triangle_by_rows(problem, local.params, bread)
    if by_rows is not None and _full_rank(by_rows):
        return inverse_triangle(by_rows), by_rows, False
    if not bool(local.information.any()):
        raise EstimationError(
            "The loss has no curvature at all, so its Hessian gives no standard error: an absolute loss or a quantile's has "
            "none, nor has nn.NLLLoss in its outputs, nor a sigmoid far from zero. Use a smooth loss, such as nn.HuberLoss() or "
            "nn.MSELoss(), other starting values, or another bread."
        )
    spectrum, vectors = torch.linalg.eigh(scaled)
    held = spectrum > _NULL * spectrum[-1]
    if bool(held.all()):
        triangle = torch.linalg.cholesky(scaled).mT * scale
        return inverse_triangle(triangle), triangle, False
    if rank != "pinv":
        raise EstimationError(_null_sentence(problem, vectors[:, ~held], scale))
    spectrum, vectors = torch.linalg.eigh(local.information)
    held = spectrum > _NULL * spectrum[-1]
    triangle = (vectors * spectrum.clamp_min(0.0).sqrt()).mT
    return vectors[:, held] * spectrum[held].rsqrt(), triangle, False


def _full_rank(triangle: Tensor) -> bool:
    norms = torch.linalg.vector_norm(triangle, dim=0)
    return bool((norms > 0).all()) and bool(torch.linalg.svdvals(triangle / norms)[-1] > _NULL)


def _check_moves(problem: Problem, local: Local, scale: Tensor) -> None:
    """Refuse a parameter of which even its whole size moves nothing, as where an exponential has vanished."""
    reach = scale * (1.0 + local.params.abs())
    idle = (reach <= _IDLE * reach.max()) | (local.information.diagonal() == 0)
    if not bool(idle.any()) or not bool(local.information.any()):
        return
    names = [problem.sample.names[i] for i in idle.nonzero().flatten().tolist()]
    raise EstimationError(
        f"The loss does not depend on {listed(names)} at {'these values' if len(names) > 1 else 'this value'}, so it says nothing "
        "about them. Start elsewhere, fix them with requires_grad_(False), leave them out of params=[...], or add a penalty=."
    )


def _triangle_by_rows(problem: Problem, params: Tensor, bread: Bread) -> Tensor | None:
    """Return R by TSQR of rows W with W'W = A, where the objective has them: twice the digits of the sum."""
    at = Point(params, params.new_empty(0), bread)
    factors: list[Tensor] = []
    for part in problem.each(_Whitened(bread), at):
        if part is None:
            return None
        factors.append(part)
    joint = joined_triangle(factors)
    return joint if len(joint) == len(params) and bool(torch.isfinite(joint).all()) else None


@dataclass(frozen=True)
class _Whitened:
    """R of a block's rows W with W'W the information, where it has such rows."""

    bread: Bread

    def __call__(self, rows: Rows) -> Tensor | None:
        found = rows.whitened(self.bread)
        return None if found is None else triangle_of(found)


def check_minimum(problem: Problem, local: Local) -> None:
    """Refuse a point where the Hessian is not finite, or curves downward; whatever the bread is going to be."""
    if not are_finite(local.information):
        raise EstimationError(
            "The second derivatives of the loss are not finite at these parameters; pass parameters where they are."
        )
    scale = unit_scale(local.information)
    if local.bread is not Bread.OBSERVED:
        _check_upward(problem, local, scale)
        return
    if not int(torch.linalg.cholesky_ex(local.information).info):
        return
    scaled = local.information / scale / scale[:, None]
    spectrum = torch.linalg.eigvalsh(scaled)
    if float(spectrum[0]) < -_DOWNWARD * max(-float(spectrum[0]), float(spectrum[-1])):
        vectors = torch.linalg.eigh(scaled)[1]
        _refuse_downward(problem, vectors[:, 0] / scale, scale, f"of {float(spectrum[0]):.3g}")


def _check_upward(problem: Problem, local: Local, scale: Tensor) -> None:
    """Check a minimum without a Hessian, by its products; where these do not tell, by the Hessian."""
    params = local.params
    lowest = lowest_curvature(
        lambda direction: problem.hessian_product(params, direction),
        local.information,
        scale,
        max(MANY, len(params) // 4),
    )
    if lowest is not None and lowest.certain:
        return
    if lowest is not None:
        along = lowest.direction
        share = float(along @ problem.hessian_product(params, along) / (along * scale).square().sum())
        if share < -_DOWNWARD * len(params):  # no eigenvalue of a unit diagonal is larger than their number
            _refuse_downward(problem, along, scale, f"below {0.99 * share:.3g}")
    check_minimum(problem, problem.evaluate(params, Bread.OBSERVED))


def by_autodiff(problem: Problem) -> bool:
    """Tell whether a Hessian takes a backward pass for each parameter."""
    return not problem.objective.closed_form and not problem.objective.affine


def _refuse_downward(problem: Problem, along: Tensor, scale: Tensor, eigenvalue: str) -> NoReturn:
    raise EstimationError(
        f"This is not a minimum: the loss curves downward along {parameters_along(problem, along[:, None], scale)} (the scaled Hessian has an "
        f"eigenvalue {eigenvalue}). Start elsewhere, add a penalty=, or fit with polish=True if the parameters were taken as they are."
    )


def _null_sentence(problem: Problem, scaled: Tensor, scale: Tensor) -> str:
    count, names = scaled.shape[1], parameters_along(problem, scaled / scale[:, None], scale)
    return (
        f"The loss is flat in {counted(count, 'direction')} of {names}, so these parameters are not "
        "identified separately. Leave some out of params=[...], fix them with requires_grad_(False), add a penalty=, or pass "
        "rank='pinv' for the solution of least norm."
    )


def check_converged(problem: Problem, path: Optimum) -> None:
    """Refuse a point that is not near enough to an optimum, and say why the solver stopped there."""
    if not path.converged:
        raise EstimationError(
            f"The solver stopped after {counted(path.iterations, 'step')} at a distance of {path.decrement**0.5:.2g} standard errors from "
            f"an optimum. {why_stopped(problem, path)}"
        )


def is_told_of(fit: Fit) -> bool:
    """Tell whether a solver came as near to the optimum as rounding lets it, and no nearer, of which a warning told."""
    return fit.path is not None and fit.path.converged and fit.path.decrement > _THOUSANDTH


def _warn_near(path: Optimum) -> None:
    """Warn of an optimum that is near enough for standard errors, and was not reached."""
    distance = f"The parameters are {path.decrement**0.5:.2g} standard errors from the optimum"
    if path.converged and path.decrement > _THOUSANDTH:
        warnings.warn(
            f"{distance}, as near as rounding lets them come: residuals, or the standard errors themselves, are of its size, and have few correct "
            "digits.",
            ConvergenceWarning,
            stacklevel=user_level(),
        )
    elif path.converged and path.limited:
        warnings.warn(
            f"{distance}, where the solver stopped after {counted(path.iterations, 'step')}: it is close enough for standard errors, but the loss "
            "is nearly flat there. A penalty=, or fewer parameters, would make it certain.",
            ConvergenceWarning,
            stacklevel=user_level(),
        )
