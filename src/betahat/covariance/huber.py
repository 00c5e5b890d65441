"""Huber's covariances of robust regression: errors are independent of the regressors, and identically distributed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import Rows, root_of_counts, times
from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.checks import check_unpenalised
from betahat.covariance.sandwich import of_core
from betahat.covariance.small_samples import FULL, factor, mean_leverage
from betahat.data.products import gram
from betahat.errors import EstimationError
from betahat.fits.fit import Fit


@dataclass(frozen=True)
class H1(Estimator):
    """Huber's first covariance, K^2 v / m^2 (X'X)^-1, with normal tests: statsmodels' default for RLM.

    v = sum of (s psi)^2 / (n - k), m and V are the mean and the variance of psi', and K = 1 + k V / (n m^2) corrects for small samples; s is
    taken as given. Errors are assumed to be independent of the regressors.

    Raises
    ------
    EstimationError
        The model is not RLM.

    References
    ----------
    Huber and Ronchetti (2009), Robust Statistics, section 7.6. ``statsmodels`` ``RLM.fit(cov="H1")``; R's ``MASS::summary.rlm`` has n - 1 in V.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [1.0, 2.1, 2.9, 4.2, 9.0, 6.1]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.RLM(y, x).fit(bh.H1()).bse.round(4)
    array([0.1851, 0.0475])
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return K^2 v / m^2 (X'X)^-1."""
        found = _moments(fit)
        core = found.small**2 * found.spread / found.mean**2 * torch.cholesky_inverse(torch.linalg.cholesky(found.gram))
        return _covariance(fit, core, "H1")


@dataclass(frozen=True)
class H2(Estimator):
    """Huber's second covariance, K v / m (X' diag(psi') X)^-1, with normal tests; for the letters see `H1`.

    Raises
    ------
    EstimationError
        The model is not RLM.

    References
    ----------
    Huber and Ronchetti (2009), Robust Statistics, section 7.6. ``statsmodels`` ``RLM.fit(cov="H2")``.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [1.0, 2.1, 2.9, 4.2, 9.0, 6.1]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.RLM(y, x).fit("H2").bse.round(4)
    array([0.166 , 0.0457])
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return K v / m A^-1."""
        found = _moments(fit)
        return _covariance(fit, found.small * found.spread / found.mean, "H2")


@dataclass(frozen=True)
class H3(Estimator):
    """Huber's third covariance, v / K W^-1 X'X W^-1 with W = X' diag(psi') X, and normal tests; for the letters see `H1`.

    Raises
    ------
    EstimationError
        The model is not RLM.

    References
    ----------
    Huber and Ronchetti (2009), Robust Statistics, section 7.6. ``statsmodels`` ``RLM.fit(cov="H3")``.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [1.0, 2.1, 2.9, 4.2, 9.0, 6.1]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.RLM(y, x).fit("H3").bse.round(4)
    array([0.1449, 0.0432])
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return v / K A^-1 X'X A^-1."""
        found = _moments(fit)
        return _covariance(fit, found.spread / found.small * found.gram, "H3")


@dataclass(frozen=True, eq=False)
class _Moments:
    """() v, m and K, and (r, r) Z'X'XZ."""

    spread: Tensor
    mean: Tensor
    small: Tensor
    gram: Tensor


def _moments(fit: Fit) -> _Moments:
    if not fit.objective.dispersion.of_errors:
        raise EstimationError(
            "H1, H2 and H3 are covariances of robust regression, bh.RLM; use 'nonrobust' or 'HC0' for other models."
        )
    check_unpenalised(fit, "Huber's covariance")
    joint, squares, slope, slopes = fit.sum_rows(_joint), *fit.sum_rows(_sums)
    mean = slope / fit.nobs
    variance = slopes / fit.nobs - mean.square()
    if not float(mean) > 0.0:
        raise EstimationError("The mean of psi' is not positive, so Huber's covariance is not defined; use 'HC0'.")
    small = 1.0 + mean_leverage(fit.counts) * variance / mean.square()
    return _Moments(squares / fit.nobs * factor(fit.counts, FULL), mean, small, joint)


def _joint(rows: Rows) -> Tensor:
    """Return (r, r) Z'X'XZ."""
    return gram(index_rows(rows).rotated, root_of_counts(rows.counts))


def _sums(rows: Rows) -> Tensor:
    """Return (3,) the sums of (s psi)^2, psi' and psi'^2."""
    read = index_rows(rows)
    slope = read.objective.curvature(read.index, read.y)
    slope = torch.ones_like(read.y) if slope is None else slope
    return torch.stack([times(part, rows.counts).sum() for part in (read.residual.square(), slope, slope.square())])


def _covariance(fit: Fit, core: Tensor, label: str) -> Covariance:
    note = f"Standard Errors are Huber's {label}: errors are independent of the regressors, and their scale is taken as given"
    return of_core(fit, core, label, note)
