"""Models of one linear index with absorbed effects, by Newton's method: each step is a least squares fit on columns whose effects were projected away.

At an index eta with curvatures h = w l'' and residuals r = -w l', Newton's step is the weighted least squares fit of z = r / h on the regressors X and the
dummies D. By Frisch, Waugh and Lovell its regressors' part is that of z~ on X~, what a projection on D under the weights h leaves of both, and the step of the
index is z - (z~ - X~ d). r'step is the Newton decrement of all parameters, the dummies' included. At the optimum the sample has X~ in the place of X and what else
the index has as an offset, so that scores, information and leverage of the ordinary calculus are those beside the dummies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
from betahat.fits.absorbed import absorbed_by, check_free, sizes_among, total_weights, varying, without_effects
from betahat.fits.fit import Fit
from betahat.fits.index import fit_index
from betahat.fits.separated import falling_sides, separated
from betahat.objectives.base import LinearIndex
from betahat.objectives.dispersion import Misfit
from betahat.solvers.crossed_levels import Patterns
from betahat.solvers.newton import newton_step
from betahat.solvers.projections import projection_on
from betahat.solvers.separation import uniform_levels

# A step that begins 1e-8 standard errors from the optimum ends 1e-10 from it at most, where weights are the Hessian's; where they are
# Fisher's information it may not, and has to come as near by itself.
_NEAR, _CONVERGED = 1e-16, 1e-22
# Once a step is this share of a standard error for each row, weights hardly change, and the projected regressors are renewed; they are also if a
# step does not take off nine tenths of the way.
_AT_HAND, _SLOW = 1e-4, 0.1
# Below this a decrement that does not fall any more is rounding, or below what projections leave of the length of z in the directions of some dummies.
_FLAT, _PROJECTED = 1e-9, 1e-18
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

    def of_steps(self, index: Tensor) -> tuple[Bread, Tensor]:
        """Return the observed information and its (n,) h where all are positive, else Fisher's."""
        plain = self.objective.curvature(index, self.y)
        plain = torch.ones_like(index) if plain is None else plain
        if bool((plain > 0).all()):
            return Bread.OBSERVED, times(plain, self.weights)
        return Bread.EXPECTED, self.curvature(index, Bread.EXPECTED)

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
class _Place:
    """Where steps have come to.

    Attributes
    ----------
    index : Tensor
        (n,) eta.
    params : Tensor
        (k,) b, with eta - offset - X b a combination of the dummies.
    left : Tensor
        (n, k) X~, what a projection on the effects left of the regressors, under the weights of this or a former place.
    kept : tuple of int
        Which regressors those are.
    loss : float
        The summed loss.
    largest : float
        The largest z on the way, of which each step may lose the last digit.
    iterations : int
        The steps taken.
    leaving : Tensor or None
        (n,) rows whose index falls forever, where the steps were given up for that.
    """

    index: Tensor
    params: Tensor
    left: Tensor
    kept: tuple[int, ...]
    loss: float
    largest: float = 0.0
    iterations: int = 0
    leaving: Tensor | None = None


def fit_absorbed_index(objective: LinearIndex, design: Design, bread: Bread) -> AbsorbedFit:
    """Fit a model of one linear index with the effects of a design absorbed; columns that depend on others, or on the effects, are left out.

    Rows whose fitted mean is at the bound of its range are left out before: those of levels that have no other, and those that are separated.
    """
    if design.source.in_turn:
        raise EstimationError(
            f"Of rows that are read from files or frames least squares alone absorbs effects ({listed([levels.name for levels in design.schema.effects])}); write them as C() where they "
            "have few levels, use bh.ols, or fit rows in memory."
        )
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
    signs = falling_sides(objective, design)
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
    schema = replace(design.schema, separated=design.schema.separated + _counted_rows(design, ~held))
    return keeping(replace(design, schema=schema), held)


def _counted_rows(design: Design, rows: Tensor) -> int:
    return int(rows.sum() if design.counts is None else (rows & (design.counts > 0)).sum())


def _combination(objective: LinearIndex, design: Design, found: _Place) -> _Place | None:
    """Return where an index is that is a combination of regressors and dummies, if steps through rows with tiny weights and huge z have lost digits of that."""
    if found.largest * torch.finfo(torch.float64).eps < _APART:
        return None
    rows = _rows_of(objective, design)
    dummies = found.index - rows.offset - design.exog[:, list(found.kept)].to(torch.float64) @ found.params
    apart = projection_on(design.effects, None).residuals(dummies[:, None])[:, 0]
    if float(apart.abs().max()) <= _APART * (1.0 + float(found.index.abs().max())):
        return None
    index = found.index - apart
    return replace(found, index=index, loss=rows.loss(index))


def _steps(objective: LinearIndex, design: Design, start: _Place | None) -> _Place:
    """Take Newton's steps to the optimum, or until rows turn out to be separated.

    X~ of former weights will do for most of them: the gradient X~'Hz~ is exact with any, since z~ is orthogonal to the dummies, the information is off by the square
    of how far the weights are, and what the dummies' part of a step lacks is in the next step. It is renewed near the optimum, or where steps do not get there.
    """
    signs, rows = falling_sides(objective, design), _rows_of(objective, design)
    patterns: Patterns = {}
    here = _first(rows, design, patterns) if start is None else start
    signed = None if signs is None else (signs != 0).nonzero().flatten()
    usual = _usual_residual(rows, design)
    information, renewed, last = here.params.new_zeros(0, 0), False, math.inf
    before = math.inf
    for iteration in progress(range(1, _ITERATIONS + 1), "Newton"):
        plain = objective.residual(here.index, rows.y)
        if signs is not None and float(plain[signed].abs().min()) < _LEAVING * usual:
            # if no row is on its way to infinity, residuals are the multipliers that certify that none is separated
            leaving = separated(design, signs)
            if leaving is not None:
                return replace(here, leaving=leaving)
            signs = None
        residual = times(plain, rows.weights)
        bread, curvature = rows.of_steps(here.index)
        renew = (not renewed and last <= _AT_HAND * rows.nobs) or last > _SLOW * before
        step = _step(design, here, residual, curvature, renew, patterns)
        renewed = renewed or renew
        if renew or last > _AT_HAND or not len(information):
            information = weighted_gram(step.left, curvature)
        move = _solved(information, step.moments)
        change = step.explained + step.left @ move
        noise = rows.noise(here.index, here.loss, len(move))
        decrement = float(curvature @ change.square()) / noise  # r'step, but for the rounding error of r'z
        flat = max(_FLAT, _PROJECTED * step.size / noise)
        there = _advance(rows, replace(here, left=step.left, largest=max(here.largest, step.largest)), change, move)
        near = renewed and decrement <= (_NEAR if bread is Bread.OBSERVED else _CONVERGED)
        if near or (renewed and decrement < flat and (there is None or decrement > 0.25 * last)):
            return replace(here if there is None else there, iterations=iteration)
        if there is None:
            if renew:
                break
            last, before = math.inf, 0.0
            continue
        here, last, before = there, decrement, last
    raise EstimationError(
        f"The solver stopped after {counted(iteration, 'step')} at a distance of {decrement**0.5:.2g} standard errors from an optimum; start from columns of similar "
        "sizes, or look for rows that lie far from all others."
    )


def _usual_residual(rows: _Rows, design: Design) -> float:
    """Return the mean size of the residuals beside a constant."""
    mean = design.mean_of_endog
    index = rows.objective.start(mean, mean).expand_as(rows.y)
    return float(rows.objective.residual(index, rows.y).abs().mean())


def _rows_of(objective: LinearIndex, design: Design) -> _Rows:
    y = design.endog.to(torch.float64)
    offset = torch.zeros_like(y) if design.offset is None else design.offset.to(torch.float64)
    return _Rows(objective, y, offset, total_weights(design), float(design.nobs))


def _first(rows: _Rows, design: Design, patterns: Patterns) -> _Place:
    """Take one step of weighted least squares from an index near each target, from which all steps are combinations of regressors and dummies."""
    raw = design.exog.to(torch.float64)
    nothing = _Place(rows.offset, raw.new_zeros(raw.shape[1]), raw, tuple(range(raw.shape[1])), math.inf)
    for share in _SHARES:
        mean = design.mean_of_endog
        near = replace(rows, y=torch.lerp(mean, rows.y, share))
        index = rows.objective.start(near.y, mean)
        if not bool(torch.isfinite(index).all()):  # targets that a bootstrap draws may lie outside the range of y
            continue
        _, curvature = near.of_steps(index)
        pull = near.residual(index) + curvature * (index - rows.offset)
        step = _step(design, nothing, pull, curvature, True, patterns)
        kept = varying(design, step.left)
        left = step.left if len(kept) == design.width else step.left[:, list(kept)]
        move = _solved(weighted_gram(left, curvature), step.moments[list(kept)])
        index = rows.offset + step.explained + left @ move
        found = _Place(index, move, left, kept, rows.loss(index), step.largest)
        if math.isfinite(found.loss):
            return found
    raise EstimationError(
        "The loss is not finite near the mean of the dependent variable; look for values that overflow, or take a link that allows any index."
    )


@dataclass(frozen=True, eq=False)
class _Step:
    """What a projection says of a step.

    Attributes
    ----------
    left : Tensor
        (n, k) X~.
    explained : Tensor
        (n,) what the dummies alone explain of z.
    moments : Tensor
        (k,) X~'Hz~.
    size, largest : float
        The sum of h z^2, and the largest magnitude of z.
    """

    left: Tensor
    explained: Tensor
    moments: Tensor
    size: float
    largest: float


def _step(design: Design, here: _Place, residual: Tensor, curvature: Tensor, renew: bool, patterns: Patterns) -> _Step:
    """Project z = r / h on the dummies, and X~, to renew it, if asked to."""
    working = torch.where(curvature > 0, residual / curvature, 0.0)
    projection, left = projection_on(design.effects, curvature, patterns), here.left
    if renew and left.shape[1]:
        both = projection.residuals(torch.cat([left, working[:, None]], 1))
        left, unexplained = both[:, :-1], both[:, -1]
    else:
        unexplained = projection.residuals(working[:, None])[:, 0]
    moments = cross(left, curvature * unexplained)
    return _Step(left, working - unexplained, moments, float(residual @ working), float(working.abs().max()))


def _solved(information: Tensor, moments: Tensor) -> Tensor:
    """Return (k,) the solution of the normal equations, with nothing along null directions."""
    if not len(moments):
        return moments
    return newton_step(Local(moments, moments.new_zeros(()), -moments, information))


def _advance(rows: _Rows, here: _Place, change: Tensor, move: Tensor) -> _Place | None:
    """Take the longest of the steps 1, 1/4, ... that does not raise the loss; None if there is none."""
    allowed, length = here.loss + 1e-13 * abs(here.loss), 1.0
    while length > _SHORTEST:
        index = here.index + length * change
        loss = rows.loss(index)
        if loss <= allowed:
            return replace(here, index=index, params=here.params + length * move, loss=loss)
        length *= 0.25
    return None


def _fit_of(objective: LinearIndex, design: Design, bread: Bread, found: _Place) -> Fit:
    """Return the fit at the optimum, with regressors that are projected under the weights of its bread."""
    weights = _rows_of(objective, design).curvature(found.index, bread)
    if bool((weights < 0).any()):
        raise EstimationError(
            f"{counted(int((weights < 0).sum()), 'row')} {'has' if int((weights < 0).sum()) == 1 else 'have'} a loss that curves downward at the optimum, so effects cannot be "
            "projected away under the observed information; pass bread='expected'."
        )
    projection = projection_on(design.effects, weights)
    left = projection.residuals(found.left) if found.kept else found.left
    absorbed = absorbed_by(design, projection, sizes_among(design), weights)
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
