"""What is asked of a quantile regression beside its own coefficients: other quantiles of the same rows, other weights, the quantile of y alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.source import refuse_rows
from betahat.fits.fit import Fit
from betahat.fits.inverse_root import inverse_root
from betahat.fits.quantile import QuantileRows, quantiles_of, read_rows
from betahat.fits.remembered import of_fit
from betahat.objectives.density import bandwidth_share
from betahat.solvers.least_squares import column_rank, kept_first
from betahat.solvers.quantile import solve_quantile, solve_quantiles

# R counts residuals below this as zero.
_ZERO = math.sqrt(torch.finfo(torch.float64).eps)


@dataclass(frozen=True, eq=False)
class Beside:
    """What the quantiles beside say of the density: (J, k) b(q + h) - b(q - h) of the sample's columns, and (J,) h."""

    slopes: Tensor
    shares: tuple[float, ...]


@of_fit
def quantile_slopes(fit: Fit) -> Beside:
    """Fit q + h and q - h for each quantile q of a fit, h its bandwidth as a probability."""
    kept, checks = fit.kept, fit.objective.checks
    rows = independent_rows(fit)
    shares = tuple(check.density.share for check in checks if check.density is not None)
    slopes = [solved(rows, check.q + h) - solved(rows, check.q - h) for check, h in zip(checks, shares, strict=True)]
    found = torch.stack(slopes)
    if fit.sample.width == len(kept):
        return Beside(found, shares)
    spread = found.new_zeros(len(checks), fit.sample.width)
    spread[:, list(kept)] = found
    return Beside(spread, shares)


def null_loss(fit: Fit) -> list[tuple[float, float]]:
    """Return, for each quantile, the summed loss and that of the quantile of y alone, which is linear between neighbours, as in statsmodels."""
    design, found = fit.design, []
    y = design.endog.to(torch.float64)
    weights, counts = design.weights, design.counts
    often = torch.ones_like(y)
    for factor in (weights, counts):
        often = often if factor is None else often * factor
    for check, params in zip(fit.objective.checks, fit.params.view(len(fit.objective.checks), -1), strict=True):
        index = design.exog.to(torch.float64) @ params
        if weights is None:
            (level,) = quantiles_of(y, counts, check.q)
        else:
            level = solve_quantile(torch.ones_like(y)[:, None], y, often, check.q).params[0]
        losses = (check.losses(at, y) @ often for at in (index, level.expand_as(y)))
        loss, null = map(float, losses)
        found.append((loss, null))
    return found


def residual_sparsity(fit: Fit) -> tuple[float, ...]:
    """Return (J,) the slope of the quantiles of the residuals near zero, each found by a median regression, as in R's `summary.rq`."""
    found = []
    for check, params in zip(fit.objective.checks, fit.params.view(len(fit.objective.checks), -1), strict=True):
        errors = fit.design.endog.to(torch.float64) - fit.design.exog.to(torch.float64) @ params
        if fit.design.counts is not None:
            errors = errors.repeat_interleave(fit.design.counts.long())
        nobs, width = len(errors), fit.rank // len(fit.objective.checks)
        zero = int((errors.abs() < _ZERO).sum())
        near = max(width + 1, math.ceil(nobs * bandwidth_share("hsheather", nobs, check.q)))
        places = torch.arange(zero + 1, min(near + zero + 1, nobs) + 1, device=errors.device)
        values = errors[errors.abs().argsort(stable=True)[places - 1]].sort().values
        levels = torch.stack([torch.ones_like(values), places.to(values) / (nobs - width)], 1)
        found.append(float(solve_quantile(levels, values, None, 0.5).params[1]))
    return tuple(found)


def refit_quantiles(fit: Fit, weights: Tensor | None, targets: Tensor | None) -> Tensor:
    """Return (R, r) the steps, in the coordinates of Z, to the solutions under other weights of the rows, or other values of y, (R, n) each."""
    rows, checks = independent_rows(fit), fit.objective.checks
    sample, width = fit.sample.width, len(fit.kept)
    if weights is None:
        assert targets is not None
        often = torch.ones_like(targets) if rows.weights is None else rows.weights.expand(len(targets), -1)
    else:
        often = weights.to(torch.float64)
        analytic = fit.design.weights
        often = often if analytic is None else often * analytic.to(torch.float64)
    values = rows.y if targets is None else targets
    parts = []
    for check in checks:
        turned = solve_quantiles(rows.x, values, often, check.q)
        params = torch.linalg.solve_triangular(rows.triangle, turned.mT, upper=True).mT
        full = params if sample == width else params.new_zeros(len(params), sample)
        if sample != width:
            full[:, list(fit.kept)] = params
        parts.append(full)
    return torch.cat(parts, 1) @ inverse_root(fit).mT - inverse_root(fit) @ fit.params


@of_fit
def independent_rows(fit: Fit) -> QuantileRows:
    """Read the rows of the independent columns."""
    design = given_design(fit)
    kept, triangle = column_rank(design)
    if triangle is None:
        return read_rows(design, None)
    whole = len(kept) == design.width
    ordered = triangle if whole else kept_first(triangle, kept)
    return read_rows(design if whole else design.select(kept), ordered[: len(kept), : len(kept)])


def given_design(fit: Fit) -> Design:
    """Return the rows with all columns that were given."""
    design = fit.given
    if not isinstance(design, Design):
        refuse_rows()
    return design


def solved(rows: QuantileRows, q: float) -> Tensor:
    """Return (k,) the coefficients at a quantile, of the columns that were read."""
    turned = solve_quantile(rows.x, rows.y, rows.weights, q).params
    back: Tensor = torch.linalg.solve_triangular(rows.triangle, turned[:, None], upper=True)[:, 0]
    return back
