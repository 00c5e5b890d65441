"""What a covariance must be, and what a fit must be to have it."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.errors import EstimationError, listed
from betahat.fits.fit import Fit
from betahat.solvers.lengths import lengths, unit_rows

# Variances outside of these are rounded to fewer digits, to zero or to infinity.
_SMALLEST, _LARGEST = 1e-300, 1e300
# A matrix that was rounded when it was printed is symmetric to the digits that were.
_SYMMETRIC = 1e-6


def check_held(fit: Fit, covariance: Covariance) -> bool:
    """Tell whether all variances are ordinary positive numbers; refuse variances that overflow or underflow though their square roots do not."""
    variances = covariance.matrix.diagonal()
    if not len(variances):  # of effects alone
        return True
    low, high = variances.aminmax()
    if float(low) >= _SMALLEST and float(high) <= _LARGEST:
        return True
    usual = (variances >= _SMALLEST) & (variances <= _LARGEST)
    lost = torch.isinf(variances)
    if covariance.core is not None:
        size = covariance.core.abs().max()
        core = covariance.core / size if covariance.core.ndim else torch.eye(fit.rank).to(size)
        turned = unit_rows(fit.root)
        shape = ((turned @ core) * turned).sum(1).clamp_min(0.0).sqrt()
        squares = (shape / lengths(turned) * lengths(fit.root) * size.sqrt()).square()
        lost |= ~usual & (size > 0) & (shape > 0) & ~((squares >= _SMALLEST) & (squares <= _LARGEST))
    if bool(lost.any()):
        names = [fit.coefficients[i] for i in lost.nonzero().flatten().tolist()]
        raise EstimationError(
            f"The variance of the coefficients of {listed(names)} cannot be held in a number (it is beyond 1e300 or below "
            "1e-300); change the unit of these columns, or of the dependent variable."
        )
    return False


def matrix_flaw(matrix: Tensor) -> str | None:
    """Say why a (k, k) matrix is not a covariance, or None: values that are not finite, asymmetry, a negative variance."""
    if not bool(torch.isfinite(matrix).all()):
        return "has values that are not finite"
    if bool(((matrix - matrix.mT).abs() > _SYMMETRIC * matrix.diagonal().abs().max()).any()):
        return "is not symmetric"
    return "has a negative variance on its diagonal" if bool((matrix.diagonal() < 0).any()) else None


def check_likelihood(fit: Fit, what: str) -> None:
    """Refuse a covariance that is defined for likelihoods, and moments with their best weights, only."""
    dispersion = fit.objective.dispersion
    if not dispersion.classical:
        raise EstimationError(f"{dispersion.unknown}, so {what} is not a covariance; {dispersion.other_covariance}.")


def check_unpenalised(fit: Fit, what: str) -> None:
    """Refuse a covariance that does not account for a penalty."""
    if fit.problem.penalty is not None:
        raise EstimationError(f"{what} does not account for the penalty; use 'HC0' or 'nonrobust', which do.")


def check_one_variance(fit: Fit, what: str) -> None:
    """Refuse a covariance that assumes uncorrelated errors of equal variance, where there are several outputs."""
    if fit.objective.dispersion.squares and fit.outputs > 1:
        raise EstimationError(
            f"{what} takes the errors of all {fit.outputs:.0f} outputs to have the same variance and no correlation, which a squared error does not "
            "say of them; use 'nonrobust', which estimates both, or 'HC0'."
        )
