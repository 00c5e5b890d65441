"""Covariance by the outer product of the gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import times
from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.checks import check_likelihood, check_one_variance, check_unpenalised
from betahat.covariance.hc import Meat
from betahat.covariance.sandwich import of_core, sum_core
from betahat.data.products import gram
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.solvers.least_squares import RowSum, row_residuals
from betahat.solvers.projections import projection_on


@dataclass(frozen=True)
class OPG(Estimator):
    """The covariance (sum s s')^-1 of a likelihood, with normal tests: Berndt, Hall, Hall and Hausman's.

    s is a row's score of the log-likelihood. For least squares that is x e / s^2, with s^2 = RSS / (n - k); R's
    ``vcovOPG`` of an `lm` leaves s^2 out.

    Raises
    ------
    EstimationError
        The scores are collinear: fewer rows than parameters, or a parameter that one row alone fixes.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.OPG()).bse.round(4)
    array([1.2237, 0.3146])

    References
    ----------
    Berndt, Hall, Hall and Hausman (1974), Ann. Econ. Soc. Meas. 3(4). R: ``sandwich::vcovOPG`` of a `glm`.
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return (sum s s')^-1."""
        check_likelihood(fit, "the inverse of its scores' outer products")
        if not fit.objective.dispersion.likelihood:
            raise EstimationError(
                "OPG takes the products of the scores for the information, which holds for a likelihood and not for moments; use 'nonrobust' or 'HC0'."
            )
        check_unpenalised(fit, "OPG")
        check_one_variance(fit, "OPG")
        core = sum_core(fit, Meat(0)) if fit.absorbed is None else _beside_dummies(fit)
        scale = core.diagonal().sqrt()
        lower, failed = torch.linalg.cholesky_ex(core / scale / scale[:, None])
        if bool(failed) or bool(lower.diagonal().min() < 1e-7):
            raise EstimationError(
                "The scores' outer products are singular, so OPG has no inverse: the scores are collinear; use "
                "'nonrobust' or 'HC0'."
            )
        scale = fit.dispersion / scale
        inverse = torch.cholesky_inverse(lower) * scale * scale[:, None]
        note = "Standard Errors are from the outer product of the gradients (OPG)"
        return of_core(fit, inverse, "OPG", note)

    @property
    def row_sums(self) -> tuple[RowSum, ...]:
        """The meat of HC0."""
        return (Meat(0),)


def _beside_dummies(fit: Fit) -> Tensor:
    """Return (r, r) the products of the scores, in Z's coordinates, that those of absorbed dummies leave: of x less its projection weighted by squared residuals."""
    residuals = fit.map_rows(row_residuals)
    weights = times(residuals.square(), fit.sample.counts)
    turned = fit.map_rows(lambda rows: index_rows(rows).rotated)
    left = projection_on(fit.raw.effects, weights).residuals(turned)
    return gram(left, weights.sqrt())
