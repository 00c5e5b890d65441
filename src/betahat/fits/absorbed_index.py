"""Models of one linear index with absorbed effects, by Newton's method: each step is a least squares fit on columns whose effects were projected away.

At an index eta with curvatures h = w l'' and residuals r = -w l', Newton's step is the weighted least squares fit of z = r / h on the regressors X and the
dummies D. By Frisch, Waugh and Lovell its regressors' part is that of z~ on X~, what a projection on D under the weights h leaves of both, and the step of the
index is z - (z~ - X~ d). r'step is the Newton decrement of all parameters, the dummies' included. At the optimum the sample has X~ in the place of X and what else
the index has as an offset, so that scores, information and leverage of the ordinary calculus are those beside the dummies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NoReturn

import torch
from torch import Tensor

from betahat.calculus.index import excess_loss
from betahat.calculus.problem import Local, Problem
from betahat.calculus.rows import Bread, times
from betahat.data.absorbed import keeping
from betahat.data.design import Design
from betahat.data.products import cross, weighted_gram
from betahat.data.progress import progress
from betahat.errors import EstimationError, counted, listed
from betahat.fits.absorbed import EXPLAINED, absorbed_by, check_free, total_weights, varying, without_effects
from betahat.fits.fit import Fit
from betahat.fits.index import fit_index
from betahat.objectives.base import LinearIndex
from betahat.objectives.dispersion import Misfit
from betahat.solvers.least_squares import column_rank
from betahat.solvers.newton import newton_step
from betahat.solvers.projections import projection_on
from betahat.solvers.separation import separated_rows, taken, uniform_levels

# A step that begins 1e-6 standard errors from the optimum ends 1e-12 from it, where Newton's method is quadratic; where weights are
# Fisher's information it is not, and has to come as near by itself.
_NEAR, _CONVERGED = 1e-12, 1e-22
# Below this a decrement that does not fall any more is rounding.
_FLAT = 1e-9
_ITERATIONS = 200
# An index is known to be a combination of regressors and dummies to this share of it.
_APART, _AGAIN = 1e-11, 3
_SHORTEST = 1e-12
# From how small a share of the mean residual of a constant on a row may be on its way to infinity.
_LEAVING = 1e-4
# An index of least squares may leave what the link allows, unless the targets are nearer to their mean.
_SHARES = (1.0, 0.25, 0.0)


@dataclass(frozen=True, eq=False)
class AbsorbedFit:
    """A fit, and the rows that it had to leave out.

    Attributes
    ----------
    fit : Fit
        Whose `given` are the rows in use.
    uniform : int
        How many rows were in levels in which y has no finite index.
    separated : int
        How many more rows are separated.
    """

    fit: Fit
    uniform: int
    separated: int


@dataclass(frozen=True, eq=False)
class _Rows:
    """What the loss of each row depends on beside its index.

    Attributes
    ----------
    objective : LinearIndex
    y, offset : Tensor
        (n,)
    weights : Tensor or None
        (n,) analytic weights times frequency weights.
    nobs : float
    """

    objective: LinearIndex
    y: Tensor
    offset: Tensor
    weights: Tensor | None
    nobs: float

    def loss(self, index: Tensor) -> float:
        """Return the summed loss."""
        return float(times(self.objective.losses(index, self.y), self.weights).sum())

    def residual(self, index: Tensor) -> Tensor:
        """Return (n,) r, the weighted residuals."""
        return times(self.objective.residual(index, self.y), self.weights)

    def curvature(self, index: Tensor, bread: Bread) -> Tensor:
        """Return (n,) h of a bread."""
        if bread is Bread.OPG:
            return times(self.objective.residual(index, self.y).square(), self.weights, self.weights)
        expected = bread is Bread.EXPECTED
        found = self.objective.expected_curvature(index) if expected else self.objective.curvature(index, self.y)
        return times(torch.ones_like(index) if found is None else found, self.weights)

    def noise(self, index: Tensor, loss: float, width: int) -> float:
        """Return what a decrement is measured in."""

        def pearson() -> Tensor:
            variance = self.objective.variance(index)
            squares = (self.y - self.objective.mean(index)).square()
            return times(squares if variance is None else squares / variance, self.weights).sum()

        def deviance() -> Tensor:
            return 2.0 * times(excess_loss(self.objective, index, self.y), self.weights).sum()

        return self.objective.dispersion.noise(index.new_tensor(loss), self.nobs, width, Misfit(pearson, deviance))


@dataclass(frozen=True, eq=False)
class _Optimum:
    """Where steps have come to, or one of them.

    Attributes
    ----------
    index : Tensor
        (n,) eta.
    params : Tensor
        (k,) b, with eta - offset - X b a combination of the dummies.
    left : Tensor
        (n, k) X~, what a projection on the effects left of the regressors, under the weights of the last step.
    kept : tuple of int
        Which regressors those are.
    iterations : int
        The steps taken.
    leaving : Tensor or None
        (n,) rows whose index falls forever, where the steps were given up for that.
    """

    index: Tensor
    params: Tensor
    left: Tensor
    kept: tuple[int, ...]
    iterations: int = 0
    leaving: Tensor | None = None


def fit_absorbed_index(objective: LinearIndex, design: Design, bread: Bread) -> AbsorbedFit:
    """Fit a model of one linear index with the effects of a design absorbed; columns that depend on others, or on the effects, are left out.

    Rows whose fitted mean is at the bound of its range are left out before: those of levels that have no other, and those that are separated.
    """
    design, uniform = _without_uniform_levels(objective, design)
    separated, start, again = 0, None, 0
    while True:
        found = _steps(objective, design, start)
        if found.leaving is None:
            start, again = _combination(objective, design, found), again + 1
            if start is not None and again < _AGAIN:
                continue
            return AbsorbedFit(_fit_of(objective, design, bread, found), uniform, separated)
        start = None
        separated += _counted_rows(design, found.leaving)
        design = _keeping(design, ~found.leaving)


def refit_absorbed_index(fit: Fit, design: Design) -> Tensor:
    """Return (k,) the estimates on other rows of the raw design, or under other weights, the effects absorbed anew."""
    objective = fit.objective.one_index
    assert objective is not None
    again = fit_absorbed_index(objective, design, fit.bread_kind).fit
    if again.kept != fit.kept:
        raise EstimationError(
            "These rows leave a coefficient without an estimate, since it depends on the absorbed effects or other columns."
        )
    return again.params


def _without_uniform_levels(objective: LinearIndex, design: Design) -> tuple[Design, int]:
    """Leave out the rows of levels whose dummy goes to infinity; return how many."""
    signs = _signs(objective, design)
    if signs is None:
        return design, 0
    weights = total_weights(design)
    out = uniform_levels(design.effects, signs, None if weights is None else weights > 0)
    if not bool(out.any()):
        return design, 0
    return _keeping(design, ~out), _counted_rows(design, out)


def _keeping(design: Design, held: Tensor) -> Design:
    if not bool(held.any()):
        raise EstimationError(
            f"The dependent variable is at a bound of its range in every row of each level of {listed([effect.name for effect in design.effects])}, one level after the "
            "other, so nothing is left to estimate; absorb coarser effects."
        )
    return keeping(design, held)


def _counted_rows(design: Design, rows: Tensor) -> int:
    return int(rows.sum() if design.counts is None else (rows & (design.counts > 0)).sum())


def _signs(objective: LinearIndex, design: Design) -> Tensor | None:
    """Return (n,) towards which side the loss of a row falls forever, 0 where to none; None where to none in any row."""
    bounds = objective.support.bounds
    if not bounds or objective.domain is not None:
        return None
    y = design.endog.to(torch.float64)
    signs = torch.zeros_like(y)
    for bound in bounds:
        at = y.new_full((1,), bound)
        side = float(objective.residual(torch.zeros_like(at), at).sign())
        signs = torch.where(y == bound, side, signs)
    return signs if bool(signs.any()) else None


def _combination(objective: LinearIndex, design: Design, found: _Optimum) -> _Optimum | None:
    """Return where an index is that is a combination of regressors and dummies, if steps through rows with tiny weights and huge z have lost digits of that."""
    dummies = (
        found.index
        - _rows_of(objective, design).offset
        - design.exog[:, list(found.kept)].to(torch.float64) @ found.params
    )
    apart = projection_on(design.effects, None).residuals(dummies[:, None])[:, 0]
    if float(apart.abs().max()) <= _APART * (1.0 + float(found.index.abs().max())):
        return None
    return replace(found, index=found.index - apart)


def _steps(objective: LinearIndex, design: Design, start: _Optimum | None) -> _Optimum:
    """Take Newton's steps to the optimum, or until rows turn out to be separated."""
    signs = _signs(objective, design)
    rows = _rows_of(objective, design)
    here = _first(rows, design) if start is None else start
    last, mean = math.inf, design.mean_of_endog
    usual = float(objective.residual(objective.start(mean, mean).expand_as(rows.y), rows.y).abs().mean())
    for iteration in progress(range(1, _ITERATIONS + 1), "Newton"):
        if signs is not None and _leaves(rows, here.index, signs, usual):
            leaving = _leaving(design, signs)
            if leaving is not None:
                return replace(here, leaving=leaving)
            signs = None
        bread = _bread_of_steps(rows, here.index)
        step = _step(rows, design, here, bread)
        loss = rows.loss(here.index)
        decrement = abs(float(rows.residual(here.index) @ step.index)) / rows.noise(here.index, loss, len(here.params))
        near = decrement <= (_NEAR if bread is Bread.OBSERVED else _CONVERGED)
        there = _advance(rows, here, step, loss)
        if near or (decrement < _FLAT and (there is None or decrement > 0.25 * last)):
            return replace(here if there is None else there, iterations=iteration)
        if there is None:
            break
        here, last = there, decrement
    raise EstimationError(
        f"The solver stopped after {counted(iteration, 'step')} at a distance of {decrement**0.5:.2g} standard errors from an optimum; start from columns of similar "
        "sizes, or look for rows that lie far from all others."
    )


def _rows_of(objective: LinearIndex, design: Design) -> _Rows:
    y = design.endog.to(torch.float64)
    offset = torch.zeros_like(y) if design.offset is None else design.offset.to(torch.float64)
    return _Rows(objective, y, offset, total_weights(design), float(design.nobs))


def _first(rows: _Rows, design: Design) -> _Optimum:
    """Take one step of weighted least squares from an index near each target, from which all steps are combinations of regressors and dummies."""
    raw = design.exog.to(torch.float64)
    nothing = _Optimum(rows.offset, raw.new_zeros(raw.shape[1]), raw, tuple(range(raw.shape[1])))
    for share in _SHARES:
        mean = design.mean_of_endog
        near = replace(rows, y=torch.lerp(mean, rows.y, share))
        index = rows.objective.start(near.y, mean)
        step = _step(near, design, replace(nothing, index=index), _bread_of_steps(near, index), index - rows.offset)
        kept = varying(design, step.left)
        found = _Optimum(rows.offset + step.index, step.params[list(kept)], step.left[:, list(kept)], kept)
        if math.isfinite(rows.loss(found.index)):
            return found
    raise EstimationError(
        "The loss is not finite near the mean of the dependent variable; look for values that overflow, or take a link that allows any index."
    )


def _step(rows: _Rows, design: Design, here: _Optimum, bread: Bread, beside: Tensor | None = None) -> _Optimum:
    """Return the change of the index and of the parameters, and X~, of a step from here, and from (n,) what else is to be fitted."""
    curvature, residual = rows.curvature(here.index, bread), rows.residual(here.index)
    working = torch.where(curvature > 0, residual / curvature, 0.0)
    if beside is not None:
        working = working + beside
    both = projection_on(design.effects, curvature).residuals(torch.cat([here.left, working[:, None]], 1))
    left, unexplained = both[:, :-1], both[:, -1]
    if beside is not None:
        left = left * (torch.linalg.vector_norm(left, dim=0) > EXPLAINED * design.lengths)
    information, moments = weighted_gram(left, curvature), cross(left, curvature * unexplained)
    move = newton_step(Local(here.params, moments.new_zeros(()), -moments, information)) if len(moments) else moments
    return replace(here, index=working - unexplained + left @ move, params=move, left=left)


def _bread_of_steps(rows: _Rows, index: Tensor) -> Bread:
    """Return the observed information where each row's is positive, else Fisher's."""
    plain = rows.objective.curvature(index, rows.y)
    return Bread.OBSERVED if plain is None or bool((plain > 0).all()) else Bread.EXPECTED


def _advance(rows: _Rows, here: _Optimum, step: _Optimum, loss: float) -> _Optimum | None:
    """Take the longest of the steps 1, 1/4, ... that does not raise the loss; None if there is none."""
    allowed, length = loss + 1e-13 * abs(loss), 1.0
    while length > _SHORTEST:
        index = here.index + length * step.index
        if rows.loss(index) <= allowed:
            return replace(here, index=index, params=here.params + length * step.params, left=step.left)
        length *= 0.25
    return None


def _leaves(rows: _Rows, index: Tensor, signs: Tensor, usual: float) -> bool:
    """Tell whether some row is on its way to infinity: if none is, residuals are the multipliers that certify that no row is separated."""
    return bool((rows.objective.residual(index, rows.y).abs()[signs != 0] < _LEAVING * usual).any())


def _leaving(design: Design, signs: Tensor) -> Tensor | None:
    """Return (n,) which rows are separated; None where there are none. Regressors may not separate a yes from a no, as without effects."""
    weights = total_weights(design)
    used = torch.arange(design.rows, device=signs.device) if weights is None else weights.nonzero().flatten()
    effects = [taken(effect, used) for effect in design.effects]
    both = bool((signs[used] > 0).any() & (signs[used] < 0).any())
    exog = design.exog[used]
    found = separated_rows(signs[used], exog[:, :0] if both else exog, effects)
    if both and not bool(found.any()):
        found = separated_rows(signs[used], exog, effects)
        if bool(found.any()):
            _refuse_separated(design, used[found])
    if not bool(found.any()):
        return None
    out = torch.zeros(design.rows, dtype=torch.bool, device=signs.device)
    out[used[found]] = True
    return out


def _refuse_separated(design: Design, rows: Tensor) -> NoReturn:
    """Say that regressors separate rows: those that nothing is left of in the other rows."""
    held = torch.ones(design.rows, dtype=torch.bool, device=rows.device)
    held[rows] = False
    names: tuple[str, ...] = design.names
    if bool(held.any()):
        rest = held.nonzero().flatten()
        own = design.take(rest)
        left = projection_on(own.effects, None).residuals(own.exog)
        kept = varying(own, left)
        if kept:
            made = without_effects(own, {"exog": left[:, list(kept)]}, kept)
            kept = tuple(kept[i] for i in column_rank(made)[0])
        names = tuple(name for i, name in enumerate(design.names) if i not in kept)
    raise EstimationError(
        f"The loss falls forever along {listed(names)} beside the absorbed effects, so there is no finite estimate: {counted(len(rows), 'row')} "
        f"{'is' if len(rows) == 1 else 'are'} predicted perfectly. Leave such columns or rows out, or merge categories."
    )


def _fit_of(objective: LinearIndex, design: Design, bread: Bread, found: _Optimum) -> Fit:
    """Return the fit at the optimum, with regressors that are projected under the weights of its bread."""
    weights = _rows_of(objective, design).curvature(found.index, bread)
    if bool((weights < 0).any()):
        raise EstimationError(
            f"{counted(int((weights < 0).sum()), 'row')} {'has' if int((weights < 0).sum()) == 1 else 'have'} a loss that curves downward at the optimum, so effects cannot be "
            "projected away under the observed information; pass bread='expected'."
        )
    projection = projection_on(design.effects, weights)
    left = projection.residuals(found.left) if found.kept else found.left
    absorbed = absorbed_by(design, projection, weights)
    if objective.dispersion.estimated:
        check_free(design, len(found.kept), absorbed)
    sample = without_effects(
        design, {"exog": left, "endog": design.endog, "offset": found.index - left @ found.params}, found.kept
    )
    if not found.kept:
        fit = _of_effects_alone(objective, sample, bread)
    else:
        fit = fit_index(objective, sample, bread, "drop", found.params)
    path = None if fit.path is None else replace(fit.path, iterations=found.iterations)
    return replace(
        fit, given=design, kept=tuple(found.kept[i] for i in fit.kept), absorbed=absorbed, path=path, route="newton"
    )


def _of_effects_alone(objective: LinearIndex, sample: Design, bread: Bread) -> Fit:
    """Return the fit of effects without regressors."""
    problem = Problem(objective, sample)
    empty = torch.zeros(0, 0, dtype=torch.float64, device=sample.device)
    nothing = empty[0:0].reshape(0)
    return Fit(problem, nothing, empty, empty, problem.loss(nothing), "newton", True, sample, (), bread)
