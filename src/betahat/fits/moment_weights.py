"""The weights of moments: the inverse of their covariance at estimates that were found before, found again, or found with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from betahat.calculus.autodiff import hessian_matrix, value_and_gradient
from betahat.calculus.problem import Local
from betahat.errors import EstimationError, OptionError, counted
from betahat.fits.fit import Fit
from betahat.fits.instrumented import Weighting
from betahat.solvers.instruments import Estimated, InstrumentTriangle, k_class, moment_sums, weighted_moments
from betahat.solvers.newton import Optimum
from betahat.solvers.triangles import triangle_of

# Iterations have converged where a step is within this many standard errors, or within the other and no longer shrinks.
_CONVERGED, _ROUNDING = 1e-12, 1e-9
_ITERATIONS, _STEPS = 1000, 200
# A matrix that is printed and read again is symmetric to the digits that it has.
_SYMMETRIC = 1e-8
# A pivot below this share of the largest is a direction in which the moments do not vary.
_SINGULAR = 1e-6
# A step that is cut so often leads nowhere.
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Weighed:
    """Estimates with the weights of their moments, in the coordinates of R: H'H."""

    estimated: Estimated
    half: Tensor
    path: Optimum | None = None


def weighed(how: Weighting, moments: Fit, factor: InstrumentTriangle) -> Weighed:
    """Estimate by moments: `moments` is a fit whose scores they are, in the coordinates of R."""
    eye = torch.eye(factor.known).to(factor.triangle)
    if isinstance(how.weights, Tensor):
        half = _half_of(how.weights, factor)
        return Weighed(weighted_moments(factor, half), half)
    if how.weights == "identity":
        half = factor.of_instruments.mT
        return Weighed(weighted_moments(factor, half), half)
    check_estimator(how)
    spread = _Spread(how, moments, factor)
    first = k_class(factor, 0.0)
    if not bool(first.found):
        return Weighed(first, eye)
    second = _again(spread, first.params)
    if how.weights == "two-step":
        return second
    if how.weights == "iterated":
        return _iterated(spread, second)
    return _updated(spread, second)


def check_estimator(how: Weighting) -> None:
    """Refuse to weigh moments by an estimator that is gone."""
    if how.efficient and how.spread is None and how.words != "unadjusted":
        raise EstimationError(
            "These results come from a file, which does not hold the estimator of the moments' covariance, so the moments cannot be weighed again; fit the model again from its data."
        )


def check_weights(matrix: Tensor) -> None:
    """Refuse a (q, q) matrix that weighs no moments: values that are not finite, asymmetry, no positive definiteness."""
    sizes = matrix.diagonal().clamp_min(0.0).sqrt()
    if not bool(torch.isfinite(matrix).all()):
        flaw = "has missing or infinite values"
    elif bool(((matrix - matrix.mT).abs() > _SYMMETRIC * torch.outer(sizes, sizes)).any()):
        flaw = "is not symmetric"
    elif int(torch.linalg.cholesky_ex(0.5 * (matrix + matrix.mT)).info):
        flaw = "is not positive definite"
    else:
        return
    raise OptionError(
        f"The matrix of weights {flaw}; pass a symmetric positive definite one, such as the inverse of a covariance of the moments, or 'two-step'."
    )


def _half_of(weights: Tensor, factor: InstrumentTriangle) -> Tensor:
    """Return H of a weight (L, L) of the moments of [X1, Z] themselves."""
    if weights.shape != (factor.known, factor.known):
        raise OptionError(
            f"weights has shape {tuple(weights.shape)}; pass one row and one column for each of the {factor.known} moments, those of the exogenous "
            "regressors and then those of the instruments."
        )
    check_weights(weights)
    lower = torch.linalg.cholesky(0.5 * (weights + weights.mT).to(factor.triangle))
    half: Tensor = lower.mT @ factor.of_instruments.mT
    return half


@dataclass(frozen=True, eq=False)
class _Spread:
    """The covariance of the moments at any estimates, in the coordinates of R."""

    how: Weighting
    moments: Fit
    factor: InstrumentTriangle

    def __call__(self, params: Tensor) -> Tensor:
        """Return (L, L) S."""
        return self.centered(self.about_zero(params), params)

    def about_zero(self, params: Tensor, *, target: bool = True) -> Tensor:
        """Return (L, L) the covariance about zero of the moments of y - Xb, or without the `target` of -Xb."""
        if self.how.spread is None:
            errors = self.factor.triangle[:, -1] * float(target) - self.factor.columns @ params
            return (errors @ errors) / self.moments.nobs * torch.eye(self.factor.known).to(errors)
        moments = self.moments
        if not target:
            nothing = {"endog": torch.zeros(moments.sample.rows).to(params)}
            problem = moments.problem
            moments = replace(moments, problem=replace(problem, sample=problem.sample.replaced(nothing)))
        core: Tensor | None = self.how.spread(replace(moments, params=params, sums={})).core
        assert core is not None
        return core

    def centered(self, spread: Tensor, params: Tensor) -> Tensor:
        """Return (L, L) the covariance about the mean, where that is asked for."""
        if not self.how.center:
            return spread
        sums = moment_sums(self.factor, params)
        return spread - torch.outer(sums, sums) / self.moments.nobs

    def half(self, spread: Tensor) -> Tensor:
        """Return (L, L) H with H'H = S^-1."""
        lower, failed = torch.linalg.cholesky_ex(spread)
        pivots = lower.diagonal()
        if bool(failed) or not bool(pivots.min() > _SINGULAR * pivots.max()):
            raise EstimationError(
                f"The covariance of the {counted(self.factor.known, 'moment')} is singular, as with fewer clusters than moments, so it has no inverse "
                "to weigh them by; use fewer instruments, IV2SLS, or another weight_type."
            )
        inverse: Tensor = torch.linalg.solve_triangular(lower, torch.eye(len(lower)).to(lower), upper=False)
        return inverse


def _again(spread: _Spread, params: Tensor) -> Weighed:
    half = spread.half(spread(params))
    return Weighed(weighted_moments(spread.factor, half), half)


def _iterated(spread: _Spread, found: Weighed) -> Weighed:
    """Weigh again until the estimates stand still."""
    last = torch.inf
    for step in range(1, _ITERATIONS + 1):
        further = _again(spread, found.estimated.params)
        moved = further.estimated.triangle @ (further.estimated.params - found.estimated.params)
        size, found = float(torch.linalg.vector_norm(moved)), further
        if size <= _CONVERGED or last <= size <= _ROUNDING:
            return replace(found, path=_path(found.estimated, step, size))
        last = size
    raise EstimationError(
        f"The weights of the moments still move the estimates by {last:.2g} standard errors after {_ITERATIONS} iterations; use weights='two-step' "
        "or 'continuously-updated'."
    )


def _path(found: Estimated, steps: int, size: float) -> Optimum:
    information = found.triangle.mT @ found.triangle
    local = Local(found.params, information.new_zeros(()), torch.zeros_like(found.params), information)
    return Optimum(local, size**2, steps, converged=True)


def _updated(spread: _Spread, found: Weighed) -> Weighed:
    """Minimise g'S^-1 g with S at the same parameters, by Newton's method in units of standard errors.

    S is a quadratic form of the residuals, and so of the parameters: what it is at b + D t follows from its values at a few residuals. Hansen, Heaton
    and Yaron (1996), J. Business Econ. Stat. 14(3).
    """
    factor, start = spread.factor, found.estimated
    size = float(spread.moments.nobs) ** 0.5
    unit = torch.linalg.solve_triangular(start.triangle, torch.eye(factor.width).to(start.triangle), upper=True) * size
    table = _quadratic(spread, start.params, unit)
    sums, slopes = moment_sums(factor, start.params), factor.regressors @ unit

    def at(place: Tensor) -> tuple[Tensor, Tensor]:
        moments = sums - slopes @ place
        along = torch.cat([torch.ones_like(place[:1]), -place])
        covariance = torch.einsum("i,j,ijab->ab", along, along, table)
        if spread.how.center:
            covariance = covariance - torch.outer(moments, moments) / spread.moments.nobs
        return moments, covariance

    def criterion(place: Tensor) -> Tensor:
        moments, covariance = at(place)
        lower = torch.linalg.cholesky_ex(covariance)[0]
        whitened = torch.linalg.solve_triangular(lower, moments[:, None], upper=False)
        total: Tensor = whitened.square().sum()
        return total

    place, steps, length = _minimised(criterion, lambda t: at(t)[1], slopes, torch.zeros_like(start.params))
    params = start.params + unit @ place
    half = spread.half(spread(params))
    triangle = triangle_of(half @ factor.regressors)
    estimated = Estimated(params, triangle, start.found)
    return Weighed(estimated, half, _path(estimated, steps, length * size))


def _minimised(
    criterion: Callable[[Tensor], Tensor], covariance: Callable[[Tensor], Tensor], slopes: Tensor, place: Tensor
) -> tuple[Tensor, int, float]:
    """Return (k,) where the criterion is least, the steps there, and the length of the last one."""
    last = torch.inf
    for step in range(1, _STEPS + 1):
        value, gradient = value_and_gradient(criterion, place)
        curvature = hessian_matrix(criterion, place)
        lower, failed = torch.linalg.cholesky_ex(curvature)
        if bool(failed):
            inner = torch.linalg.cholesky(covariance(place))
            lower = torch.linalg.cholesky(2.0 * slopes.mT @ torch.cholesky_solve(slopes, inner))
        move = -torch.cholesky_solve(gradient[:, None], lower)[:, 0]
        length = float(torch.linalg.vector_norm(move))
        if length <= _CONVERGED * 1e-3 or last <= length <= 1e-12:
            return place + move, step, length
        for _ in range(_HALVINGS):
            trial = place + move
            there = float(criterion(trial)) if not bool(torch.linalg.cholesky_ex(covariance(trial)).info) else torch.inf
            if there <= float(value) * (1.0 + 1e-14):
                break
            move = 0.5 * move
        else:
            break
        place, last = trial, length
    raise EstimationError(
        "The continuously updated criterion has no minimum near the two-step estimates, as where the instruments are weak; use weights='two-step' or "
        "IVLIML."
    )


def _quadratic(spread: _Spread, params: Tensor, unit: Tensor) -> Tensor:
    """Return (k + 1, k + 1, L, L) the covariances of the moments of e and of X D_j, e the residuals at (k,) parameters, D (k, k) `unit`."""
    width = len(params)

    def of(along: Tensor) -> Tensor:
        """S of the residuals (k + 1,) c_0 e + sum of c_j X D_j, c_0 one or zero."""
        target = bool(along[0] != 0)
        return spread.about_zero(along[0] * params - unit @ along[1:], target=target)

    eye = torch.eye(width + 1).to(params)
    single = [of(eye[i]) for i in range(width + 1)]
    table = torch.zeros(width + 1, width + 1, *single[0].shape).to(params)
    for i, part in enumerate(single):
        table[i, i] = part
    for i, j in combinations(range(width + 1), 2):
        table[i, j] = table[j, i] = 0.5 * (of(eye[i] + eye[j]) - single[i] - single[j])
    return table
