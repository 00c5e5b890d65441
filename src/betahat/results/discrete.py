"""`DiscreteResults` of Logit, Probit and Poisson, with the names of `statsmodels.discrete`."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, shown
from betahat.inference.overdispersion import DispersionTests, dispersion_tests
from betahat.inference.residuals import fitted_values
from betahat.inference.response import (
    deviance_residuals,
    generalized_residuals,
    prediction_table,
)
from betahat.results.index import IndexResults
from betahat.results.summaries import discrete_content, discrete_notes
from betahat.tables.summary import Content


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class DiscreteResults(IndexResults):
    """Results of Logit, Probit and Poisson, with statsmodels' names; what is shared is in `IndexResults` and `Results`."""

    @property
    def fittedvalues(self) -> Any:
        """(n,) x'b, without the offset, as in statsmodels."""
        values = fitted_values(self.fit)
        offset = self.fit.raw.offset
        return self._container.present_rows(values if offset is None else values - offset)

    @property
    def resid(self) -> Any:
        """The same as `resid_response`."""
        return self.resid_response

    @property
    def resid_generalized(self) -> Any:
        """(n,) the derivative of the log-likelihood with respect to the index."""
        return self._container.present_rows(generalized_residuals(self.fit))

    @property
    def resid_dev(self) -> Any:
        """(n,) deviance residuals, the signed roots of each row's part of the deviance."""
        return self._container.present_rows(deviance_residuals(self.fit))

    def pred_table(self, threshold: float = 0.5) -> Any:
        """Return (2, 2) how often i was observed and j predicted, for a binary model.

        Parameters
        ----------
        threshold : float
            The probability from which 1 is predicted.

        Returns
        -------
        array
            (2, 2).

        Raises
        ------
        OptionError
            A model that is not binary, or a threshold outside [0, 1].
        """
        if not self._loss.support.binary:
            raise OptionError("pred_table is for binary models; for counts compare predict() with endog.")
        if not isinstance(threshold, Real) or not 0.0 <= threshold <= 1.0:
            raise OptionError(f"threshold is {shown(threshold)}; pass a probability, such as 0.5.")
        return self._container.plain(prediction_table(self.fit, threshold))

    def test_dispersion(self) -> DispersionTests:
        """Test Poisson's variance, Var(y) = E(y), against one that is larger or smaller: Dean (1992), and Cameron and Trivedi (1990).

        Cameron and Trivedi's regressions are of ((y - mu)^2 - y) / mu on mu, for Var(y) = mu + a mu^2, or on a constant, for (1 + a) mu;
        the latter is R's ``AER::dispersiontest``. They do not depend on the covariance in use.

        Returns
        -------
        DispersionTests
            With `statistic`, `pvalue`, `method`, `alternative` and `summary_frame`, as statsmodels' ``get_diagnostic().test_dispersion()``.

        Raises
        ------
        OptionError
            A binary model, whose variance follows from its mean, or analytic weights.

        References
        ----------
        Dean (1992), JASA 87(418). Cameron and Trivedi (1990), Journal of Econometrics 46(3).
        """
        if self._loss.support.binary:
            raise OptionError(
                "test_dispersion is for Poisson; the variance of zeros and ones is p (1 - p), whatever it depends on."
            )
        if self.fit.design.weights is not None:
            raise OptionError(
                "test_dispersion does not take analytic weights, which change the variance that is tested; use freq_weights for repeated rows."
            )
        return dispersion_tests(self.fit)

    # private

    @property
    def _notes(self) -> list[str]:
        return discrete_notes(self)

    def _content(self, alpha: float) -> Content:
        return discrete_content(self, alpha)
