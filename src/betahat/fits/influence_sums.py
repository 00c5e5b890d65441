"""Sums of influence over groups of rows: what clusters, periods and units are made of."""

from __future__ import annotations

from torch import Tensor

from betahat.calculus.rows import Rows, times
from betahat.data.groups import Groups
from betahat.data.products import group_sums, sums_at_once
from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit
from betahat.solvers.least_squares import row_residuals


@of_fit
def influence_sums(fit: Fit, groups: Groups) -> Tensor:
    """Return (G, r) the sums of Zᵀs over groups, each row times its frequency weight.

    All of them sum to the gradient of a penalty, and so they are taken about their mean where there is one.
    """
    sums = fit.point.influence(_summands(fit, groups))
    return sums if fit.problem.penalty is None else sums - sums.mean(0)


def _summands(fit: Fit, groups: Groups) -> Tensor:
    """Return (G, meat_width) the sums of `Rows.summands`; of large data by one product with the columns as they lie."""
    sample, known = fit.problem.sample, fit.sums.pop(row_residuals, None)
    plain = fit.well_conditioned and fit.objective.one_index is not None
    columns = "scored" if "scored" in sample.source.shapes else "exog"
    exog = sample.source.held(columns) if plain else None
    if exog is None or groups.of_rows.held is None or not sums_at_once(exog):
        return fit.sum_groups(groups.of_rows, groups.count, _counted_summands)
    if known is None:
        known = fit.map_rows(row_residuals)
    else:  # the regressors are read once more
        fit.check_data()
    return group_sums(exog, times(known, sample.counts), groups.codes, groups.count)


def _counted_summands(rows: Rows) -> Tensor:
    return rows.summands(rows.counts)
