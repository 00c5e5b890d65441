"""Quantile regressions: a design and quantiles to a `Fit`, whose bread is Powell's kernel estimate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread
from betahat.data.design import Design
from betahat.data.products import weighted_gram
from betahat.errors import BetahatWarning, EstimationError, counted, user_level
from betahat.fits.directions import by_equation
from betahat.fits.fit import Fit
from betahat.objectives.check import Check, checks_of
from betahat.objectives.density import BandwidthName, Density, KernelName, bandwidth_share, normal_quantile
from betahat.solvers.least_squares import (
    Rank,
    column_rank,
    column_relation,
    idle_directions,
    kept_first,
    minimum_norm_map,
)
from betahat.solvers.quantile import solve_quantile
from betahat.solvers.triangles import inverse_triangle

# Residuals below so many units of the last place of the numbers in their sum are zero.
_ROUNDING = 256 * torch.finfo(torch.float64).eps
# Where rows within the bandwidth leave a direction this small a share of the largest, standard errors have no digit to trust.
_NULL = 1e-10
# The interquartile range of a normal distribution in standard deviations, as statsmodels and R round it.
_RANGE = 1.34


@dataclass(frozen=True)
class Smoothing:
    """How the density at a quantile is to be estimated.

    Attributes
    ----------
    kernel : str
        The kernel.
    bandwidth : str or float
        A rule, or the bandwidth as a probability.
    """

    kernel: KernelName
    bandwidth: BandwidthName | float


@dataclass(frozen=True, eq=False)
class QuantileRows:
    """The rows of a quantile regression in memory.

    Attributes
    ----------
    x : Tensor
        (n, k) independent columns X M, of about equal length.
    y : Tensor
        (n,).
    weights : Tensor or None
        (n,) the weights of the losses: analytic ones times frequencies.
    counts : Tensor or None
        (n,) the frequencies.
    triangle : Tensor
        (k, k) M^-1.
    """

    x: Tensor
    y: Tensor
    weights: Tensor | None
    counts: Tensor | None
    triangle: Tensor

    @property
    def often(self) -> Tensor:
        """(n,) how often each row occurs."""
        return torch.ones_like(self.y) if self.counts is None else self.counts


@dataclass(frozen=True, eq=False)
class _Part:
    """One quantile: its loss with the estimate of the density, (k,) coefficients, (k, k) Z and R, the () summed loss, and how it was found."""

    check: Check
    params: Tensor
    root: Tensor
    triangle: Tensor
    loss: Tensor
    unique: bool
    pivots: int


def fit_quantiles(design: Design, quantiles: Sequence[float], several: bool, smoothing: Smoothing, rank: Rank) -> Fit:
    """Fit one quantile, or `several` with an equation for each; `rank` treats dependent columns as least squares does."""
    kept, triangle = column_rank(design)
    whole = len(kept) == design.width
    reduced = design if whole else design.select(kept)
    ordered = None if triangle is None else (triangle if whole else kept_first(triangle, kept))
    rows = read_rows(reduced, None if ordered is None else ordered[: len(kept), : len(kept)])
    parts = [_fit_one(rows, reduced, q, smoothing) for q in quantiles]
    checks = tuple(part.check for part in parts)
    joined = _joined(parts)
    objective = checks_of(checks) if several else checks[0]
    fit = Fit(
        problem=Problem(objective, reduced),
        params=joined.params,
        root=joined.root,
        triangle=joined.triangle,
        loss=joined.loss,
        route="interior point, simplex",
        well_conditioned=False,
        given=design,
        kept=kept,
        bread_kind=Bread.KERNEL,
        facts={"pivots": sum(part.pivots for part in parts), "unique": all(part.unique for part in parts)},
    )
    _warn_not_unique([part.check.q for part in parts if not part.unique])
    if whole or ordered is None:
        return fit
    return _spread(fit, design, kept, ordered, rank)


def read_rows(design: Design, triangle: Tensor | None) -> QuantileRows:
    """Read the rows of independent columns; a (k, k) `triangle` is their R where they are far from orthogonal."""
    x, y = design.exog.to(torch.float64), design.endog.to(torch.float64)
    if triangle is None:
        triangle = torch.diag(torch.linalg.vector_norm(x, dim=0) / len(x) ** 0.5)
        turned = x / triangle.diagonal()
    else:
        triangle = triangle / len(x) ** 0.5
        turned = x @ inverse_triangle(triangle)
    weights = None if design.weights is None else design.weights.to(torch.float64)
    counts = None if design.counts is None else design.counts.to(torch.float64)
    losses = weights if counts is None else counts if weights is None else weights * counts
    return QuantileRows(turned, y, losses, counts, triangle)


def quantiles_of(values: Tensor, counts: Tensor | None, *levels: float) -> tuple[Tensor, ...]:
    """Return () quantiles of (n,) values, each as often as its count, linear between neighbours: R's type 7."""
    ordered, order = values.sort()
    last = (len(values) if counts is None else float(counts.sum())) - 1.0
    ends = None if counts is None else counts[order].cumsum(0)
    found = []
    for level in levels:
        place = level * last
        below = float(int(place))
        both = [below, min(below + 1.0, last)]
        where = (
            [int(at) for at in both]
            if ends is None
            else torch.searchsorted(ends, ends.new_tensor(both), right=True).tolist()
        )
        low, high = ordered[where[0]], ordered[where[1]]
        found.append(low + (high - low) * (place - below))
    return tuple(found)


def _fit_one(rows: QuantileRows, design: Design, q: float, smoothing: Smoothing) -> _Part:
    found = solve_quantile(rows.x, rows.y, rows.weights, q)
    square = design.exog[found.rows].to(torch.float64)
    params = torch.linalg.solve_triangular(rows.triangle, found.params[:, None], upper=True)[:, 0]
    for _ in range(2):  # in the columns as they were given, so that the residuals of k rows are zero
        params = params + torch.linalg.solve(square, rows.y[found.rows] - square @ params)
    errors = rows.y - rows.x @ found.params
    size = torch.maximum(rows.y.abs().max(), (design.exog.abs().amax(0) * params.abs()).max())
    rounding = _ROUNDING * float(size)
    errors = torch.where(errors.abs() <= rounding, 0.0, errors)
    check = Check(q, _density(rows, errors, q, smoothing, rounding), rounding)
    _refuse_exact(rows, errors, q)
    assert check.density is not None
    scale = check.density.shares(errors) if rows.weights is None else check.density.shares(errors) * rows.weights
    information = weighted_gram(rows.x, scale)
    upper, failed = torch.linalg.cholesky_ex(information)
    triangle = upper.mT
    within = int((scale > 0).sum())
    # the rows of the vertex alone have full rank, and say nothing
    if within <= len(params) or bool(failed) or not _full_rank(information):
        raise EstimationError(_too_few(within, len(params), check.density, q))
    losses = check.losses(torch.zeros_like(errors), errors)
    loss = losses.sum() if rows.weights is None else losses @ rows.weights
    root = torch.linalg.solve_triangular(rows.triangle, inverse_triangle(triangle), upper=True)
    return _Part(check, params, root, triangle @ rows.triangle, loss, found.unique, found.pivots)


def _full_rank(information: Tensor) -> bool:
    spectrum = torch.linalg.eigvalsh(information)
    return bool(spectrum[0] > _NULL * spectrum[-1])


def _refuse_exact(rows: QuantileRows, errors: Tensor, q: float) -> None:
    """Refuse (n,) residuals of which half are zero, beside those of the rows that the solution goes through: their density there has no bound."""
    often, width = rows.often, rows.x.shape[1]
    nobs, zeros = float(often.sum()), float(often[errors == 0].sum())
    if 2.0 * (zeros - width) < nobs - width:
        return
    what = "in every row" if zeros == nobs else f"in {zeros:.0f} of {counted(int(nobs), 'row')}"
    raise EstimationError(
        f"The fit at q = {q:.6g} is exact up to rounding {what}, so that the density of the errors there has no bound and standard errors mean nothing; "
        "look for regressors that make up endog, or for a value of endog that most rows have."
    )


def _density(rows: QuantileRows, errors: Tensor, q: float, smoothing: Smoothing, rounding: float) -> Density:
    """Return the estimate of the density of (n,) residuals at zero, with statsmodels' bandwidth."""
    often = rows.often
    nobs = float(often.sum())
    share = share_of(smoothing.bandwidth, nobs, q)
    mean = (often @ rows.y) / nobs
    spread = ((often @ (rows.y - mean).square()) / nobs).sqrt()
    low, high = quantiles_of(errors, rows.counts, 0.25, 0.75)
    between = (high - low) / _RANGE
    width = float(torch.minimum(spread, between) if float(between) > rounding else spread)
    bandwidth = width * (normal_quantile(q + share) - normal_quantile(q - share))
    if not bandwidth > 0.0:
        raise EstimationError(
            "endog is the same in every row, so its quantiles have no errors to be estimated; look for another dependent variable."
        )
    height = float(often @ Density(smoothing.kernel, bandwidth, share, 0.0).shares(errors)) / nobs
    return Density(smoothing.kernel, bandwidth, share, height)


def share_of(bandwidth: BandwidthName | float, nobs: float, q: float) -> float:
    """Return the bandwidth as a probability; that of a rule is halved until q -+ it are between 0 and 1, as in R."""
    if not isinstance(bandwidth, str):
        return float(bandwidth)
    share = bandwidth_share(bandwidth, nobs, q)
    while not (q - share > 0.0 and q + share < 1.0):
        share /= 2.0
    return share


def _too_few(rows: int, width: int, density: Density, q: float) -> str:
    return (
        f"{counted(rows, 'row')} {'has' if rows == 1 else 'have'} a residual within the bandwidth of {density.bandwidth:.3g} at q = {q:.6g}, which do not tell the density "
        f"for {counted(width, 'coefficient')}; pass a larger bandwidth=, below {min(q, 1.0 - q):.3g}, or kernel='gau', which weighs every row."
    )


def _joined(parts: Sequence[_Part]) -> _Part:
    """Put the coefficients of several quantiles one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    root: Tensor = torch.block_diag(*(part.root for part in parts))  # type: ignore[no-untyped-call]
    triangle: Tensor = torch.block_diag(*(part.triangle for part in parts))  # type: ignore[no-untyped-call]
    params, loss = torch.cat([part.params for part in parts]), torch.stack([part.loss for part in parts]).sum()
    return _Part(first.check, params, root, triangle, loss, first.unique, first.pivots)


def _spread(fit: Fit, design: Design, kept: tuple[int, ...], ordered: Tensor, rank: Rank) -> Fit:
    """Return the fit of all columns: with NaN for the dependent ones, or of minimum norm."""
    relation = column_relation(ordered, kept)
    fit = replace(fit, idle=idle_directions(relation, kept))
    if rank == "drop":
        return fit
    equations, none = fit.equations, relation.new_ones(1, 1)
    spread = by_equation(minimum_norm_map(relation), equations, none)
    relation = by_equation(relation, equations, none)
    return replace(
        fit,
        problem=Problem(fit.objective, design),
        params=spread @ fit.params,
        root=spread @ fit.root,
        triangle=torch.nn.functional.pad(fit.triangle @ relation, (0, 0, 0, len(spread) - spread.shape[1])),
    )


def _warn_not_unique(quantiles: Sequence[float]) -> None:
    if quantiles:
        warnings.warn(
            f"The solution at q = {', '.join(f'{q:.6g}' for q in quantiles)} is not unique: the loss is the same along an edge, as with the median of an even number of rows. "
            "The estimate is one end of it.",
            BetahatWarning,
            stacklevel=user_level(),
        )
