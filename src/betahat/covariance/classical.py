"""Classical covariance: the errors are homoskedastic, and their variance is estimated or known."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import torch

from betahat.covariance.base import Covariance, Estimator
from betahat.errors import OptionError
from betahat.fit import Fit


@dataclass(frozen=True)
class Classical(Estimator):
    """The classical covariance s^2 A^-1, with t tests on n - k degrees of freedom.

    For least squares s^2 = RSS / (n - k) and A^-1 = (X'WX)^-1: what R's `lm` and statsmodels'
    "nonrobust" print.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit(bh.Classical())
    >>> res.cov_type
    'nonrobust'
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return s^2 A^-1."""
        note = "Standard Errors assume that the covariance matrix of the errors is correctly specified."
        scale = fit.dispersion
        return Covariance(scale * fit.bread, "nonrobust", note, fit.df_resid, robust=False, core=scale)


@dataclass(frozen=True)
class FixedScale(Estimator):
    """The covariance `scale` * A^-1, with normal tests: the errors' variance is known.

    statsmodels' "fixed scale".

    Attributes
    ----------
    scale : float
        The variance of the errors, in squared units of endog. With weights 1 / sd_i^2 it is 1.

    Raises
    ------
    OptionError
        `scale` is not a positive number.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the scale."""
        if not isinstance(self.scale, Real) or not 0.0 < self.scale < float("inf"):
            raise OptionError(f"scale is {self.scale!r}; pass the errors' variance, a positive number.")

    def __call__(self, fit: Fit) -> Covariance:
        """Return scale * A^-1."""
        note = "Standard Errors are based on fixed scale"
        core = torch.full_like(fit.dispersion, self.scale)
        return Covariance(self.scale * fit.bread, "fixed scale", note, noise=self.scale, core=core)
