"""Log-likelihood and information criteria."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.calculus.rows import Rows, times
from betahat.covariance.classical import error_products
from betahat.data.engine import Block, fold
from betahat.data.sample import COUNTS, WEIGHTS
from betahat.errors import OptionError, is_one_of, shown
from betahat.fits.fit import Fit
from betahat.objectives.dispersion import no_likelihood
from betahat.solvers.least_squares import RowSum

_CRITERIA = ("aic", "bic", "aicc", "hqic")


def log_likelihood(fit: Fit) -> float:
    """Return the log-likelihood at the optimum; an error if the loss is not a likelihood."""
    if not fit.objective.dispersion.likelihood:
        raise no_likelihood(fit.objective.dispersion)
    return fit.fact("log-likelihood", lambda: _log_likelihood(fit))


def _log_likelihood(fit: Fit) -> float:
    if fit.objective.dispersion.squares and fit.outputs > 1:
        scaled = 0.5 * fit.outputs * float(_log_weights(fit.problem, fit.loss))
        return _of_several_outputs(error_products(fit), float(fit.nobs)) + scaled
    df = replace(fit.counts, nobs=fit.numbers, outputs=1.0).free
    phi = fit.objective.dispersion.within(fit.loss, float(fit.nobs), df, fit.misfit)
    return float(log_likelihood_of(fit.problem, fit.loss, phi, fit.sum_rows))


def log_likelihood_of(problem: Problem, loss: Tensor, phi: Tensor, sum_rows: Callable[[RowSum], Tensor]) -> Tensor:
    """Return () the log-likelihood at parameters with () loss and () dispersion phi."""
    sample = problem.sample

    def constant() -> Tensor:
        return sum_rows(_Constant(float(phi)))

    return problem.objective.dispersion.log_likelihood(
        loss, phi, float(sample.nobs), constant, lambda: _log_weights(problem, loss)
    )


def _log_weights(problem: Problem, loss: Tensor) -> Tensor:
    """Return () the sum of the logarithms of the analytic weights."""
    sample = problem.sample
    if not sample.weighted:
        return loss.new_zeros(())
    (total,) = fold(sample.source.only(WEIGHTS, COUNTS), _block_log_weights, problem.engine)
    return total


def _block_log_weights(block: Block) -> tuple[Tensor]:
    logarithms, counts = torch.log(block[WEIGHTS].to(torch.float64)), block.get(COUNTS)
    return ((logarithms if counts is None else logarithms[counts > 0] * counts[counts > 0]).sum(),)


def _of_several_outputs(products: Tensor, nobs: float) -> float:
    """Return the log-likelihood of jointly normal errors, whose covariance E'E / n maximises it."""
    return -0.5 * nobs * (len(products) * (math.log(2.0 * math.pi) + 1.0) + float(torch.logdet(products / nobs)))


@dataclass(frozen=True)
class _Constant:
    """Sums the terms of minus the log-likelihood of a block other than the loss over phi."""

    phi: float

    def __call__(self, rows: Rows) -> Tensor:
        """Return () the sum of a block."""
        params = rows.at.params
        constant = rows.constant(params.new_tensor(self.phi))
        return params.new_zeros(()) if constant is None else times(constant, rows.counts).sum()


def information_criterion(criterion: str, llf: float, nobs: float, count: float) -> float:
    """Return -2 llf plus a penalty for k parameters: 2k ("aic"), k log n ("bic"), 2k n / (n - k - 1) ("aicc") or 2k log log n ("hqic")."""
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
