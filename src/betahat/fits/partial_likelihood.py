"""Cox's partial likelihood by Newton's method, on rows that are sorted once, with regressors about their means in each stratum."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread
from betahat.data.design import Design
from betahat.errors import EstimationError, listed
from betahat.fits.fit import Fit
from betahat.fits.index import fit_index
from betahat.objectives.partial_likelihood import PartialLikelihood
from betahat.solvers.least_squares import Rank

# What rounding leaves of the square of a column that does not vary among rows at risk, of its square among all rows.
_STILL = 1e-13


def fit_partial_likelihood(
    objective: PartialLikelihood, design: Design, bread: Bread, rank: Rank, start: Tensor | None = None
) -> Fit:
    """Fit a model whose design has the columns of `PartialRows`; `rank` treats columns that are dependent within strata as least squares does."""
    near = _in_order(design)
    try:
        found = fit_index(objective, near, bread, rank, start)
    except EstimationError as error:
        still = _still(objective, near)
        if not still:
            raise
        raise EstimationError(
            f"{listed(still)} {'does' if len(still) == 1 else 'do'} not vary among the rows at risk at the time of any event, so the data say "
            "nothing about the hazard there; leave such columns out."
        ) from error
    sample = design if found.problem.sample.width == design.width else design.select(found.kept)
    return replace(found, problem=replace(found.problem, sample=sample), given=design, sums={})


def _in_order(design: Design) -> Design:
    """Return the rows in the order of strata and descending time, with regressors about their means in each stratum."""
    source = design.source
    keys = design.column("stop")
    order = torch.argsort(keys, stable=True)
    columns = {name: design.column(name)[order] for name in source.shapes}
    x = columns["exog"].to(torch.float64)
    if "stratum" not in columns:
        columns["exog"] = x - x.mean(0)
    else:
        _, codes, sizes = torch.unique_consecutive(columns["stratum"], return_inverse=True, return_counts=True)
        sums = x.new_zeros(len(sizes), x.shape[1]).index_add_(0, codes, x)
        columns["exog"] = x.sub_((sums / sizes[:, None])[codes])
    return design.replaced(columns)


def _still(objective: PartialLikelihood, design: Design) -> list[str]:
    """Return the names of columns without any information about their coefficients."""
    problem = Problem(objective, design)
    information = problem.evaluate(
        torch.zeros(design.width, dtype=torch.float64, device=design.device), Bread.OBSERVED
    ).information
    still = information.diagonal() <= _STILL * design.lengths.square()
    return [name for name, none in zip(design.names, still.tolist(), strict=True) if none]
