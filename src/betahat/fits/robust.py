"""Robust regression: iteratively reweighted least squares from least squares on, then Newton's method in coefficients and scale together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, Point, Rows, times
from betahat.data.design import Design
from betahat.data.products import cross, weighted_gram
from betahat.data.progress import progress
from betahat.data.threads import remembered
from betahat.errors import EstimationError, counted
from betahat.fits.fit import Fit
from betahat.fits.index import fit_index
from betahat.fits.linear import fit_least_squares
from betahat.objectives.robust import RobustLoss
from betahat.solvers.least_squares import Rank
from betahat.solvers.newton import are_finite
from betahat.solvers.scales import ScaleEstimate

# Squared distances between iterates, in standard errors: where the optimum is found, where it is if rounding stops the steps, and from where
# on Newton's steps are tried.
_FOUND, _NEAR, _CLOSE = 1e-27, 1e-18, 1e-3
_ITERATIONS = 500
# A scale below this share of endog's size is rounding.
_ROUNDING = 64 * torch.finfo(torch.float64).eps


def fit_robust(loss: RobustLoss, estimate: ScaleEstimate, design: Design, rank: Rank) -> Fit:
    """Fit an M-estimator of regression, whose scale is estimated from its own errors; covariances take that scale as given.

    The root is the one that reweighting from least squares leads to, as in statsmodels and R; a redescending psi may have others.
    """
    search = _Search(loss, estimate, design, fit_least_squares(design, rank))
    params, scale, steps = search.run()
    found = fit_index(replace(loss, scale=scale), design, Bread.OBSERVED, rank, params)
    assert found.path is not None
    path = replace(found.path, iterations=steps + found.path.iterations)
    return replace(found, route="reweighted least squares, newton", path=path)


@dataclass(frozen=True, eq=False)
class _Here:
    """A point: (k,) coefficients, the scale of their errors, (n,) errors, a step of reweighting, (r,) in Z's coordinates, and its squared length in standard errors."""

    params: Tensor
    scale: float
    errors: Tensor
    step: Tensor
    distance: float


@dataclass(frozen=True, eq=False)
class _Search:
    """The search for coefficients and scale, in the coordinates Z of least squares."""

    loss: RobustLoss
    estimate: ScaleEstimate
    design: Design
    first: Fit

    def run(self) -> tuple[Tensor, float, int]:
        """Return (k,) coefficients, the scale of their errors and the number of steps."""
        here = self._at(self._whole(self.first.params))
        newton_below = _CLOSE
        found = _FOUND * max(1.0, self.design.rows / 1e5)
        for steps in progress(range(1, _ITERATIONS + 1), "reweighting"):
            if here.distance < max(found, self._rounding(here.scale)):
                return here.params, here.scale, steps
            if here.distance < newton_below:
                there = self._at(here.params + self._root @ self._newton_step(here))
                if there.distance < 0.25 * here.distance:
                    here = there
                    continue
                if here.distance < _NEAR:
                    return here.params, here.scale, steps
                newton_below = 0.01 * here.distance
            here = self._at(here.params + self._root @ here.step)
        if here.distance < _NEAR:
            return here.params, here.scale, _ITERATIONS
        raise EstimationError(
            f"Reweighted least squares did not settle: after {counted(_ITERATIONS, 'step')} coefficients and scale still move by {here.distance**0.5:.2g} "
            "standard errors; use M='HuberT', whose optimum is unique, or the scale of HuberScale()."
        )

    def _whole(self, params: Tensor) -> Tensor:
        """Return (k,) coefficients of all columns, with zeros for those that were left out."""
        if len(params) == self.design.width:
            return params
        return params.new_zeros(self.design.width).index_copy_(0, self._kept, params)

    @property
    def _kept(self) -> Tensor:
        return torch.tensor(self.first.kept, device=self.design.device)

    @property
    def _root(self) -> Tensor:
        """(k, r) Z."""
        root = self.first.root
        if len(root) == self.design.width:
            return root
        return root.new_zeros(self.design.width, root.shape[1]).index_copy_(0, self._kept, root)

    def _at(self, params: Tensor) -> _Here:
        problem = Problem(self.loss, self.design)
        errors = problem.gather(_error, Point(params, self._root))
        scale = self.estimate.of(errors, self.design.counts, self.first.df_resid)
        self._check_scale(scale, errors)
        loss = replace(self.loss, scale=scale)
        score, information = Problem(loss, self.design).total(_Reweighted(loss, errors), Point(params, self._root))
        step = _solve(self._root.mT @ information @ self._root, self._root.mT @ score)
        return _Here(params, scale, errors, step, float(step @ step) / scale**2)

    def _newton_step(self, here: _Here) -> Tensor:
        """Return (r,) the step at which scores at the scale of their errors vanish: (A + c m') d = g, c = dg/ds and m = ds/de X."""
        slopes = self.estimate.slopes(here.errors, self.design.counts, here.scale)
        loss = replace(self.loss, scale=here.scale)
        term = _Linearised(loss, here.errors, slopes)
        score, information, along, move = Problem(loss, self.design).total(term, Point(here.params, self._root))
        root = self._root
        matrix = root.mT @ information @ root + torch.outer(root.mT @ along, root.mT @ move)
        step, failed = torch.linalg.solve_ex(matrix, root.mT @ score)
        return here.step if int(failed) or not are_finite(step) else step

    @remembered
    def _size(self) -> float:
        """The median of the numbers of the dependent variable that are not zero, which outliers do not move; zero if all are."""
        sizes = self.design.endog.to(torch.float64).abs()
        sizes = sizes[sizes > 0]
        return float(sizes.median()) if len(sizes) else 0.0

    def _rounding(self, scale: float) -> float:
        """Return the squared distance that rounding of the errors leaves."""
        return self.first.rank * (torch.finfo(torch.float64).eps * self._size / scale) ** 2

    def _check_scale(self, scale: float, errors: Tensor) -> None:
        if scale > _ROUNDING * self._size:
            return
        zeros = int((errors.abs() <= _ROUNDING * self._size).sum())
        share = "an essentially perfect fit" if zeros == len(errors) else "so that the scale of the errors is zero"
        raise EstimationError(
            f"{zeros} of {counted(len(errors), 'residual')} are zero up to rounding, {share}, and robust regression has nothing to measure errors in; "
            "use OLS or QuantReg, or see whether endog follows from a regressor."
        )


def _solve(information: Tensor, score: Tensor) -> Tensor:
    lower, failed = torch.linalg.cholesky_ex(information)
    if int(failed) or float(lower.diagonal().min()) < 1e-7 * float(lower.diagonal().max()):
        raise EstimationError(
            "The rows that still have a weight do not identify every coefficient: psi has given the others none; use M='HuberT', which "
            "gives each row some, or a larger tuning constant."
        )
    solved: Tensor = torch.cholesky_solve(score[:, None], lower)[:, 0]
    return solved


def _error(rows: Rows) -> Tensor:
    return index_rows(rows).y - index_rows(rows).index


@dataclass(frozen=True, eq=False)
class _Reweighted:
    """X'(s psi), (k,), and X'WX with W = psi / z, (k, k), of a loss and (n,) errors."""

    loss: RobustLoss
    errors: Tensor

    def __call__(self, rows: Rows) -> tuple[Tensor, Tensor]:
        x, error = index_rows(rows).x, _part(self.errors, rows)
        weight = times(self.loss.weight(error / self.loss.scale), rows.counts)
        return cross(x, weight * error), weighted_gram(x, weight)


@dataclass(frozen=True, eq=False)
class _Linearised:
    """X'(s psi), (k,), X' psi' X, (k, k), c = X'(psi - z psi'), (k,), and m = X' ds/de, (k,), of a loss, (n,) errors and `slopes` ds/de."""

    loss: RobustLoss
    errors: Tensor
    slopes: Tensor

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        x, error = index_rows(rows).x, _part(self.errors, rows)
        z = error / self.loss.scale
        score, slope = self.loss.weight(z) * error, self.loss.slope(z)
        along = times(score / self.loss.scale - z * slope, rows.counts)
        information = weighted_gram(x, times(slope, rows.counts))
        return cross(x, times(score, rows.counts)), information, cross(x, along), cross(x, _part(self.slopes, rows))


def _part(values: Tensor, rows: Rows) -> Tensor:
    """Return (b,) those of a block."""
    return values[rows.start : rows.start + len(rows)]
