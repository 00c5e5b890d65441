"""The estimates on other rows, or with other weights or targets."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.data.design import Design
from betahat.data.sample import Sample
from betahat.errors import EstimationError
from betahat.fits.absorbed import refit_absorbed
from betahat.fits.absorbed_index import refit_absorbed_index
from betahat.fits.at_optimum import check_converged, check_minimum
from betahat.fits.fit import Fit
from betahat.fits.moments import refit_moments
from betahat.solvers.newton import newton


def refit_without(fit: Fit, rows: Tensor) -> Tensor:
    """Return (k,) the estimates without the rows at (m,) positions, by Newton's method from those with them."""
    objective, sample = fit.objective, fit.sample if fit.absorbed is None else fit.raw
    if objective.output_loss is not None and sample.target_alone:
        raise EstimationError(
            "The module holds its own data, so no row can be left out; pass inputs to TorchModel, or use the one-step jackknife."
        )
    held = torch.ones(sample.rows, dtype=torch.bool, device=rows.device).index_fill_(0, rows, False)
    try:
        return refit_on(fit, sample.take(held.nonzero().flatten()))
    except EstimationError as error:
        raise EstimationError(
            f"There is no estimate without the rows labelled {sample.row_names(rows.tolist())}: they alone keep the data from "
            "separation, or fix a coefficient; leave them out, or use the one-step jackknife, refit=False."
        ) from error


def refit_on(fit: Fit, sample: Sample) -> Tensor:
    """Return (k,) the estimates on other rows, or with other weights or targets, by Newton's method from those of the fit.

    With absorbed effects they are rows of the raw design, whose effects are projected away anew.
    """
    if fit.absorbed is not None:
        assert isinstance(sample, Design)
        return refit_absorbed(fit, sample) if fit.objective.least_squares else refit_absorbed_index(fit, sample)
    conditions = fit.objective.moments
    if conditions is not None:
        return refit_moments(conditions, sample, fit.params)
    part, start, back = sample, fit.params, None
    if isinstance(part, Design) and not fit.equations and fit.problem.penalty is None:  # in orthonormal columns XZ
        back = fit.root
        start = back.mT @ (fit.triangle.mT @ (fit.triangle @ start))
        part = part.turned(back, tuple(map(str, range(fit.rank))))
    problem = Problem(fit.objective, part, fit.problem.penalty)
    path = newton(problem, start, cheap=fit.objective.closed_form)
    check_minimum(problem, path.local)
    check_converged(problem, path)
    return path.local.params if back is None else back @ path.local.params
