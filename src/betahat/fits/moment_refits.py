"""Estimating equations solved under other weights of rows, many replicates at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.autodiff import Columns, forward_mode, row_jacobian
from betahat.calculus.moments import Equations
from betahat.calculus.rows import Rows
from betahat.data.engine import Block, fold
from betahat.data.quiet import quiet
from betahat.data.sample import in_order_of_call
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.fits.inverse_root import inverse_root
from betahat.fits.moments import refit_moments
from betahat.objectives.base import Route
from betahat.objectives.moment_conditions import Steps

# As in `resampling.refits`: in standard errors, a step that is the last, and one that rounding no longer lets shrink.
_CONVERGED, _ROUNDING = 1e-12, 1e-11
# A step of more than this share of the last one calls for a Jacobian at the point, and of more than this, for a solver that damps steps.
_SLOW, _FALLS = 0.1, 0.8
_ITERATIONS = 40
# Weights are found anew so often.
_WEIGHTS = 1000
# A replicate whose Jacobian, of columns of unit length, has a pivot below this share of the largest has lost a direction.
_LOST = 1e-8
# Numbers of moments, of all replicates that are taken at once.
_PIECE = 2**20


def refit_all(fit: Fit, weights: Tensor) -> Tensor:
    """Return (R, r) the steps, in the coordinates of Z, to the solutions under (R, n) weights of the rows; NaN where there is none.

    With more moments than parameters, the sample's mean is taken off the moments of each row, so that their expectation is zero among the rows that are drawn
    (Hall and Horowitz 1996, Econometrica 64(4)), and replicates find weights of their own.
    """
    conditions = fit.objective.moments
    assert conditions is not None
    over = conditions.count > len(fit.params)
    shift = Equations(conditions, fit.sample).sums(fit.params).moments / float(fit.nobs) if over else None
    often = weights.to(torch.float64)
    solver = _Solver(Equations(conditions, fit.sample, shift), often, fit.params, inverse_root(fit), _unit(fit))
    try:
        found = solver.solved()
    except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):  # what cannot be mapped
        found = torch.full_like(fit.params.expand(len(often), -1), torch.nan)
    for i in (~torch.isfinite(found).all(1)).nonzero().flatten().tolist():
        try:
            found[i] = refit_moments(conditions, fit.sample.counted(often[i]), fit.params, shift)
        except EstimationError:
            continue
    return (found - fit.params) @ inverse_root(fit).mT


def _unit(fit: Fit) -> float:
    """Return a standard error in the coordinates of Z."""
    return float(fit.sum_rows(_squares).max().sqrt())


def _squares(rows: Rows) -> Tensor:
    squares = rows.influence().square()
    return (squares if rows.counts is None else squares * rows.counts[:, None]).sum(0)


@dataclass(frozen=True, eq=False)
class _Solver:
    """Replicates on the same rows.

    Attributes
    ----------
    equations : Equations
        The moments, less what is taken off.
    weights : Tensor
        (R, n) how often each row counts.
    start : Tensor
        (k,) the sample's estimate.
    into : Tensor
        (r, k) W: a change of parameters d in standard errors is W d / `unit`.
    unit : float
        As above.
    """

    equations: Equations
    weights: Tensor
    start: Tensor
    into: Tensor
    unit: float

    def solved(self) -> Tensor:
        """Return (R, k), NaN where Newton's method without damping does not end."""
        weighting, count = self.equations.objective.weighting, self.equations.count
        params = self.start.expand(len(self.weights), -1).clone()
        eye = torch.eye(count).to(params)
        if count == len(self.start):
            return self._newton(params)
        if weighting.steps is Steps.GIVEN:
            assert weighting.matrix is not None
            return self._gauss_newton(params, torch.linalg.cholesky(weighting.matrix).expand(len(params), -1, -1))
        params = self._gauss_newton(params, eye.expand(len(params), -1, -1))
        if weighting.steps is Steps.ONE:
            return params
        params = self._gauss_newton(params, self._roots(params, center=weighting.center))
        if weighting.steps is Steps.TWO:
            return params
        if weighting.steps is Steps.CONTINUOUS:
            return self._gauss_newton(params, None)
        return self._iterated(params, center=weighting.center)

    def _iterated(self, params: Tensor, *, center: bool) -> Tensor:
        last = torch.full_like(params[:, 0], torch.inf)
        active = torch.isfinite(params).all(1).nonzero().flatten()
        for _ in range(_WEIGHTS):
            if not len(active):
                return params
            part, before = self._some(active), params[active]
            params[active] = part._gauss_newton(before, part._roots(before, center=center))
            size = self._size(params[active] - before)
            ends = (size <= _CONVERGED) | ((size < _ROUNDING) & (size > 0.5 * last[active])) | torch.isnan(size)
            last[active] = size
            active = active[~ends]
        params[active] = torch.nan
        return params

    def _newton(self, params: Tensor) -> Tensor:
        """Solve as many equations as parameters; the Jacobian at the sample's estimate serves as long as steps shrink fast."""
        inverses = _inverses(self._first_jacobians())
        last = torch.full_like(params[:, 0], torch.inf)
        active = torch.arange(len(params), device=params.device)
        for _ in range(_ITERATIONS):
            part = self._some(active)
            step = -_applied(inverses, part._sums(params[active]))
            size = part._size(step)
            params[active] += step
            ends = _ends(size, last)
            lost = ~torch.isfinite(size) | (~ends & (size > _FALLS * last) & (size > _ROUNDING))
            params[active[lost]] = torch.nan
            slow = ~ends & ~lost & (size > _SLOW * last)
            if bool(slow.any()):
                inverses[slow] = _inverses(self._some(active[slow])._jacobians(params[active[slow]]))
            keep = ~ends & ~lost
            active, inverses, last = active[keep], inverses[keep], size[keep]
            if not len(active):
                return params
        params[active] = torch.nan
        return params

    def _gauss_newton(self, params: Tensor, roots: Tensor | None) -> Tensor:
        """Minimise |C'F|^2 of (R, q, q) roots C, or of those of each point: steps by the Jacobian at each point."""
        params = params.clone()
        last = torch.full_like(params[:, 0], torch.inf)
        active = torch.isfinite(params).all(1).nonzero().flatten()
        for _ in range(_ITERATIONS):
            if not len(active):
                return params
            part = self._some(active)
            at = params[active]
            sums = part._sums(at)
            root = part._roots(at, center=False) if roots is None else roots[active]
            residual = root.mT @ sums[:, :, None]
            tilts = (root @ residual)[:, :, 0] if roots is None else None
            step = -_applied(_inverses(root.mT @ part._jacobians(at, tilts)), residual[:, :, 0])
            size = part._size(step)
            params[active] += step
            ends = _ends(size, last[active])
            lost = ~torch.isfinite(size) | (~ends & (size > _FALLS * last[active]) & (size > _ROUNDING))
            params[active[lost]] = torch.nan
            last[active] = size
            active = active[~ends & ~lost]
        params[active] = torch.nan
        return params

    def _some(self, which: Tensor) -> _Solver:
        return self if len(which) == len(self.weights) else replace(self, weights=self.weights[which])

    def _size(self, step: Tensor) -> Tensor:
        """Return (R,) the lengths of (R, k) changes in standard errors."""
        found: Tensor = torch.linalg.vector_norm(step @ self.into.mT, dim=1) / self.unit
        return found

    def _sums(self, params: Tensor) -> Tensor:
        """Return (R, q) F."""
        return self._folded(params, lambda moments, weights: (weights[:, None] @ moments)[:, 0])

    def _roots(self, params: Tensor, *, center: bool) -> Tensor:
        """Return (R, q, q) C with C C' the inverse of S; NaN where it has none."""
        products = self._folded(params, lambda moments, weights: moments.mT @ (weights[:, :, None] * moments))
        if center:
            sums = self._sums(params)
            products = products - sums[:, :, None] * sums[:, None] / self.weights.sum(1)[:, None, None]
        lower, failed = torch.linalg.cholesky_ex(products)
        lower = torch.where((failed == 0)[:, None, None], lower, torch.nan)
        eye = torch.eye(self.equations.count).to(params).expand_as(lower)
        found: Tensor = torch.linalg.solve_triangular(lower, eye, upper=False).mT
        return found

    def _folded(self, params: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Sum over blocks what a function gives of (R, b, q) moments and (R, b) weights, replicates by pieces."""

        def of(block: Block) -> tuple[Tensor]:
            own, columns = self._of_block(block), in_order_of_call(block)
            step = max(_PIECE // (own.shape[1] * self.equations.count), 1)
            pieces = zip(torch.split(params, step), torch.split(own, step), strict=True)
            return (torch.cat([function(self._moments(some, columns), often) for some, often in pieces]),)

        (found,) = fold(self.equations.sample.source, of, self.equations.sample.engine)
        return found

    def _moments(self, params: Tensor, columns: Columns) -> Tensor:
        """Return (R, b, q) moments at each of (R, k) parameters."""
        with quiet(), torch.no_grad():
            found: Tensor = torch.func.vmap(lambda theta: self.equations.of(theta, columns))(params)
        return found.detach()

    def _of_block(self, block: Block) -> Tensor:
        """Return (R, b) the weights of a block's rows."""
        stop = block.start + len(next(iter(block.columns.values())))
        return self.weights[:, block.start : stop]

    def _first_jacobians(self) -> Tensor:
        """Return (R, q, k) G at the sample's estimate, where rows have the same derivatives in every replicate."""
        conditions, count = self.equations.objective, len(self.weights)
        width = conditions.count * len(self.start)

        def of(block: Block) -> tuple[Tensor]:
            columns, own = in_order_of_call(block), self._of_block(block)
            step = max(_PIECE // width, 1)
            sums = self.start.new_zeros(count, width)
            for begin in range(0, own.shape[1], step):
                part = tuple(column[begin : begin + step] for column in columns)
                slopes = row_jacobian(conditions.function, self.start, part, conditions.route_of_rows)
                sums.addmm_(own[:, begin : begin + step], slopes.flatten(1))
            return (sums.reshape(count, conditions.count, -1),)

        (found,) = fold(self.equations.sample.source, of, self.equations.sample.engine)
        return found

    def _jacobians(self, params: Tensor, tilts: Tensor | None = None) -> Tensor:
        """Return (R, q, k) G, the derivatives of the sums; with (R, q) tilts v of the rows' moments times 1 - v'm, which stays."""
        conditions = self.equations.objective
        derivative = torch.func.jacfwd if conditions.route is Route.FORWARD else torch.func.jacrev
        passes = min(conditions.count, len(self.start))

        def of(block: Block) -> tuple[Tensor]:
            columns, own = in_order_of_call(block), self._of_block(block)
            step = max(_PIECE // (own.shape[1] * conditions.count * passes), 1)
            if tilts is not None:
                own = own * (1.0 - (self._moments(params, columns) @ tilts[:, :, None])[:, :, 0])

            def total(theta: Tensor, often: Tensor) -> Tensor:
                return often @ conditions.function(theta, columns)

            pieces = zip(torch.split(params, step), torch.split(own, step), strict=True)
            with forward_mode():
                return (torch.cat([torch.func.vmap(derivative(total))(*piece).detach() for piece in pieces]),)

        (found,) = fold(self.equations.sample.source, of, self.equations.sample.engine)
        return found


def _inverses(jacobians: Tensor) -> Tensor:
    """Return (R, k, q) P, where P r is the d that minimises |J d - r|; NaN where J has lost a direction."""
    sizes = torch.linalg.vector_norm(jacobians, dim=1, keepdim=True)
    factor, triangle = torch.linalg.qr(jacobians / sizes)
    pivots = triangle.diagonal(dim1=1, dim2=2).abs()
    regular = pivots.amin(1) > _LOST * pivots.amax(1)
    safe = torch.where(regular[:, None, None], triangle, torch.eye(triangle.shape[2]).to(triangle))
    found: Tensor = torch.linalg.solve_triangular(safe, factor.mT, upper=True) / sizes.mT
    return torch.where(regular[:, None, None], found, torch.nan)


def _applied(inverses: Tensor, residuals: Tensor) -> Tensor:
    return (inverses @ residuals[:, :, None])[:, :, 0]


def _ends(size: Tensor, last: Tensor) -> Tensor:
    """Tell which steps, of (R,) sizes in standard errors, are the last: so small, or with what is left beyond them so small."""
    rate = torch.where(torch.isinf(last), 1.0, (size / last).clamp_max(1.0))  # nothing is known of the first
    left = size * rate / (1.0 - rate).clamp_min(1.0 - _FALLS)
    return (size <= _CONVERGED) | (left <= _CONVERGED) | ((size < _ROUNDING) & (rate > 0.5))
