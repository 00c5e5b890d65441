"""`InstrumentValidity`: tests that the instruments of results by instruments are exogenous."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from betahat.data.modes import in_ordinary_mode
from betahat.errors import EstimationError, OptionError, counted, listed, shown
from betahat.fits.instrumented import Weighting
from betahat.fits.reduced_form import ReducedForm, at_zero, beside
from betahat.inference import overidentification
from betahat.inference.hypothesis import HypothesisTest, chi2_test
from betahat.inference.quadratic_form import quadratic_form
from betahat.inference.reduced_form import Strength
from betahat.results.least_squares import LeastSquaresResults
from betahat.results.linear_functions import listed_in
from betahat.solvers.instruments import moment_sums


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class InstrumentValidity(LeastSquaresResults, ABC):
    """Results by instruments, and what their moments say of the instruments."""

    @property
    def instruments(self) -> tuple[str, ...]:
        """(q,) the names of the instruments that are used."""
        names = self.fit.given.schema.instruments
        return tuple(names[i] for i in self._strength.form.instruments.kept)

    @property
    def endogenous(self) -> tuple[str, ...]:
        """(m,) the names of the endogenous regressors."""
        return self.names[-self.fit.given.schema.endogenous :]

    # tests of the instruments

    def sargan(self) -> HypothesisTest:
        """Test that the instruments are exogenous by n R² of the residuals on them, chi-squared(q - m), for homoskedastic errors.

        Returns
        -------
        HypothesisTest

        Raises
        ------
        EstimationError
            As many instruments as endogenous regressors; moments with weights of their own, which `hansen_j` tests.
        """
        return self._of_residuals(overidentification.sargan)

    def basmann(self) -> HypothesisTest:
        """Test the same by (n - k) e'Pe / e'Me, chi-squared(q - m).

        Returns
        -------
        HypothesisTest

        Raises
        ------
        EstimationError
            As in `sargan`.
        """
        return self._of_residuals(overidentification.basmann)

    def wooldridge_overid(self) -> HypothesisTest:
        """Test the same by scores, under the covariance in use without its small-sample factor, chi-squared(q - m).

        Returns
        -------
        HypothesisTest

        Raises
        ------
        EstimationError
            As in `sargan`.

        References
        ----------
        Wooldridge (1995), Score diagnostics for linear models estimated by two stage least squares.
        """
        strength = self._strength
        part, form = strength.part, strength.form
        count = self._check_overidentified()
        if self._weighting is not None:
            raise EstimationError("Wooldridge's test is one of two-stage least squares; use hansen_j.")
        residual = form.combination(self._residual_weights)
        fitted = form.fitted[:, : part.endogenous]
        fit = beside(form, fitted, form.excluded[:, :count], residual)
        variance = strength.under_null(at_zero(fit, count))[-count:, -count:]
        quadratic = quadratic_form(fit.params[-count:], variance)
        return chi2_test("Wooldridge's score of overidentification", overidentification.VALID, quadratic, count)

    def hansen_j(self) -> HypothesisTest:
        """Test that the instruments are exogenous by the moments under their best weights, chi-squared(q - m).

        Of efficient `IVGMM` it is the criterion at the estimates; otherwise the least g'S⁻¹g, S the covariance in use, without its small-sample factor,
        of the moments at these residuals: that of two-step moments. Under "nonrobust" it is `sargan`.

        Returns
        -------
        HypothesisTest

        Raises
        ------
        EstimationError
            As many instruments as endogenous regressors; a covariance that refits.

        References
        ----------
        Hansen (1982), Econometrica 50(4).
        """
        count, factor = self._check_overidentified(), self._strength.form.instruments.factor
        half = self._strength.form.instruments.half
        if self._weighting is not None and self._weighting.efficient and half is not None:
            criterion = half @ moment_sums(factor, self.fit.params)
            return chi2_test("Hansen J", overidentification.VALID, float(criterion @ criterion), count)
        # those of the exogenous regressors have coefficients of their own, which leaves the moments of what they do not explain of the instruments
        part, first = self._strength.part, factor.exogenous
        spread = part.instruments @ self._moment_variance[first:, first:] @ part.instruments.mT
        return overidentification.moments_test("Hansen J", part.explained[:, -1], part.explained[:, :-1], spread)

    def c_statistic(self, instruments: str | Sequence[str]) -> HypothesisTest:
        """Test some instruments by how much smaller J is without them, under the weights with all of them, so that the statistic is not negative.

        Parameters
        ----------
        instruments : str or sequence of str
            Names of instruments, or of exogenous regressors; at least m instruments have to be left.

        Returns
        -------
        HypothesisTest
            Chi-squared of their number.

        Raises
        ------
        OptionError
            Names that are not instruments, or so many of them that too few are left.
        EstimationError
            As many instruments as endogenous regressors; a covariance that refits.

        References
        ----------
        Hayashi (2000), Econometrics, section 3.6. Stata: ``ivreg2, orthog()``.
        """
        left = self._check_overidentified()
        factor = self._strength.form.instruments.factor
        names = self._named(
            instruments, self._strength.form.names, "instruments", "instruments or exogenous regressors"
        )
        if len(names) > left:
            raise OptionError(
                f"instruments names {counted(len(names), 'instrument')}, and only {left} can be left out for {counted(len(self.endogenous), 'endogenous regressor')}; "
                "test fewer of them."
            )
        tested = [self._strength.form.names.index(name) for name in names]
        first = factor.exogenous if min(tested) >= factor.exogenous else 0
        triangle = factor.of_instruments[first:, first:]
        moments, jacobian = triangle.mT @ factor.target[first:], triangle.mT @ factor.regressors[first:]
        jacobian = jacobian[:, first:]
        products = triangle.mT @ triangle
        spread = products @ self._moment_variance[first:, first:] @ products
        tested = [place - first for place in tested]
        return overidentification.c_statistic(moments, jacobian, spread, tested, names)

    # private

    @cached_property
    def _strength(self) -> Strength:
        return Strength(ReducedForm(self.fit), self.cov)

    @property
    def _weighting(self) -> Weighting | None:
        how = self._strength.form.instruments.how
        return how if isinstance(how, Weighting) else None

    @property
    def _residual_weights(self) -> Tensor:
        """(m + 1,) c with [W, y] c the residuals, but for the exogenous regressors."""
        params = self.fit.params[-self._strength.part.endogenous :]
        return torch.cat([-params, params.new_ones(1)])

    @property
    def _moment_variance(self) -> Tensor:
        """(L, L) the variance of the coefficients of [X1, Z] in the regression of the residuals on them, at zero."""
        return self._strength.under_null(self._strength.form.regression(self._residual_weights, null=True))

    def _of_residuals(self, test: Callable[..., HypothesisTest]) -> HypothesisTest:
        self._check_overidentified()
        if self._weighting is not None:
            raise EstimationError(
                "This is a test of two-stage least squares and LIML; of moments with weights use hansen_j."
            )
        return test(self._strength.part, self.fit.params[-self._strength.part.endogenous :])

    def _check_overidentified(self) -> int:
        """Return q - m; refuse none."""
        part = self._strength.part
        if part.excluded == part.endogenous:
            raise EstimationError(
                f"With {counted(part.excluded, 'instrument')} for {counted(part.endogenous, 'endogenous regressor')} the moments are zero at the estimates, so nothing is "
                "left to test; a test takes more instruments than endogenous regressors."
            )
        return part.excluded - part.endogenous

    def _named(self, given: str | Sequence[str], known: Sequence[str], option: str, what: str) -> list[str]:
        """Read names that the user passed, of which some are known."""
        names = [given] if isinstance(given, str) else listed_in(given)
        right = bool(names) and all(isinstance(name, str) and name in known for name in names or ())
        if names is None or not right or len({*names}) < len(names):
            raise OptionError(f"{option} is {shown(given)}; pass names of {what}: {listed(known)}.")
        return names
