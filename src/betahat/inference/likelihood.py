"""Log-likelihood and information criteria."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from betahat.calculus.general import OutputRows
from betahat.calculus.index import IndexRows
from betahat.calculus.rows import Rows, times
from betahat.covariance.classical import error_products
from betahat.data.design import Design
from betahat.errors import EstimationError, OptionError, is_one_of, shown
from betahat.fits.fit import Fit
from betahat.objectives.base import Claim
from betahat.objectives.base import log_likelihood as log_likelihood_of

_CRITERIA = ("aic", "bic", "aicc", "hqic")


def log_likelihood(fit: Fit) -> float:
    """Return the log-likelihood at the optimum.

    Raises
    ------
    EstimationError
        The loss is no likelihood.
    """
    claim = fit.objective.claim
    if claim is Claim.NONE:
        raise EstimationError(
            "The loss is not known to be a likelihood, so there is no log-likelihood and no information criterion; pass "
            "likelihood=True to the model if it is minus a log-density."
        )
    return fit.fact("log-likelihood", lambda: _log_likelihood(fit))


def _log_likelihood(fit: Fit) -> float:
    sample = fit.sample
    weights = sample.weights if isinstance(sample, Design) else None
    claim = fit.objective.claim
    if claim is Claim.LEAST_SQUARES and fit.outputs > 1:
        return _of_several_outputs(error_products(fit), float(fit.nobs))
    loss = fit.loss + fit.sum_rows(constant_of)
    return float(log_likelihood_of(claim, loss, float(fit.nobs), weights))


def _of_several_outputs(products: Tensor, nobs: float) -> float:
    """Return that of errors from one normal distribution, its covariance at the maximum, E'E / n."""
    return -0.5 * nobs * (len(products) * (math.log(2.0 * math.pi) + 1.0) + float(torch.logdet(products / nobs)))


def constant_of(rows: Rows) -> Tensor:
    """Return () what minus the log-likelihood of a block has beyond the loss."""
    if isinstance(rows, IndexRows):
        constant, factors = rows.objective.constant(rows.y), (rows.weights, rows.counts)
    elif isinstance(rows, OutputRows):
        constant, factors = rows.objective.loss.constant(rows.columns[-1]), (None, rows.counts)
    else:
        constant, factors = None, (None, None)
    return rows.at.params.new_zeros(()) if constant is None else times(constant, *factors).sum()


def information_criterion(criterion: str, llf: float, nobs: float, count: float) -> float:
    """Return -2 llf plus a penalty for `count` parameters.

    Parameters
    ----------
    criterion : {"aic", "bic", "aicc", "hqic"}
        Penalties 2k, k log n, 2k n / (n - k - 1) and 2k log log n.
    llf : float
        The log-likelihood.
    nobs : float
        n.
    count : float
        k.
    """
    criterion = criterion.lower() if isinstance(criterion, str) else criterion
    if not is_one_of(criterion, _CRITERIA):
        raise OptionError(f"The criterion {shown(criterion)} is unknown; use one of {', '.join(map(repr, _CRITERIA))}.")
    penalty = {
        "aic": lambda: 2.0 * count,
        "bic": lambda: math.log(nobs) * count,
        "aicc": lambda: 2.0 * count * nobs / (nobs - count - 1.0) if nobs > count + 1.0 else math.inf,
        "hqic": lambda: 2.0 * math.log(math.log(nobs)) * count,
    }[criterion]()
    return -2.0 * llf + penalty
