"""`InstrumentTests`: the first stages of results by instruments, and tests of coefficients, instruments and exogeneity."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import EstimationError, OptionError, is_number, listed, shown
from betahat.fits.reduced_form import at_zero, beside
from betahat.inference import overidentification
from betahat.inference.anderson_rubin import ConfidenceSet, set_below
from betahat.inference.conditional_likelihood_ratio import LikelihoodRatio, likelihood_ratio
from betahat.inference.distribution import check_alpha
from betahat.inference.hypothesis import HypothesisTest, Reference, adjusted, chi2_test
from betahat.inference.partialled import k_class
from betahat.inference.quadratic_form import quadratic_form
from betahat.results.first_stage import FirstStage, FirstStageResults, warn_weak
from betahat.results.instrument_validity import InstrumentValidity
from betahat.results.linear_functions import listed_in
from betahat.results.new_data import Model


class InstrumentedModel(Model, Protocol):
    """What these results need of their model."""

    def first_stage_model(self, design: Design) -> Model:
        """Return the model of least squares of a design."""
        ...


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class InstrumentTests(InstrumentValidity, ABC):
    """What results by instruments say of the instruments."""

    model: InstrumentedModel

    # the first stage

    @cached_property
    def first_stage(self) -> FirstStage:
        """The regressions of the endogenous regressors on instruments and exogenous regressors, under the same covariance, by their names.

        Each has `params`, `bse` and all that results of least squares have, and `f_statistic`, `partial_rsquared`, `effective_f` and
        `critical_value`; all together `cragg_donald`, `kleibergen_paap`, `sanderson_windmeijer` and `stock_yogo`.

        Examples
        --------
        >>> import numpy as np
        >>> import betahat as bh
        >>> z, u = np.arange(12.0) % 5, np.sin(np.arange(12.0))
        >>> res = bh.IV2SLS(1.0 + z + u, np.ones(12), z + 0.5 * u, z).fit("HC1")
        >>> (stage,) = res.first_stage.values()
        >>> round(stage.f_statistic, 4) == round(stage.effective_f, 4)
        True
        """
        strength, stages = self._strength, {}
        for column, name in enumerate(self.endogenous):
            weights = strength.chosen(column)
            fit = strength.form.regression(weights, name)
            model = self.model.first_stage_model(fit.raw)
            stages[name] = FirstStageResults(model, fit, strength.covariance(weights), strength, column)
        return FirstStage(stages, strength)

    def warn_weak(self) -> None:
        """Warn where the instruments are weak, as `fit` does.

        Warns
        -----
        WeakInstrumentWarning
            The effective F is below its critical value for a bias of a tenth, at the five percent level, or below ten; of several endogenous regressors, Kleibergen
            and Paap's F is below that of Stock and Yogo, or below ten where they tabulate none.
        """
        warn_weak(self._strength, self.endogenous)

    # tests of the coefficients

    def anderson_rubin(self, value: Any = None, alpha: float = 0.05) -> HypothesisTest | ConfidenceSet:
        """Test values of the endogenous regressors' coefficients, or return all that are not rejected, however weak the instruments.

        Under the hypothesis the instruments explain nothing of y - W b beyond the exogenous regressors: the test is that of their
        coefficients in that regression, under the covariance in use.

        Parameters
        ----------
        value : float or sequence of float, optional
            A value for the coefficient of each endogenous regressor; None returns the set of one regressor's.
        alpha : float
            The set has coverage 1 - alpha.

        Returns
        -------
        HypothesisTest or ConfidenceSet
            F(q, d) where tests take t, else chi-squared(q); the set is a list of intervals, exact: none, bounded, rays, the line, or several.

        Raises
        ------
        OptionError
            Other than one number for each endogenous regressor.
        EstimationError
            The set of several coefficients; a covariance of fewer clusters than instruments, or one that is no quadratic form in the residuals.

        References
        ----------
        Anderson and Rubin (1949), Ann. Math. Stat. 20(1). Dufour and Taamouti (2005), Econometrica 73(4).

        Examples
        --------
        >>> import numpy as np
        >>> import betahat as bh
        >>> z, u = np.arange(12.0) % 5, np.sin(np.arange(12.0))
        >>> res = bh.IV2SLS(1.0 + z + u, np.ones(12), z + 0.5 * u, z).fit("HC1")
        >>> res.anderson_rubin(alpha=0.05)
        Anderson-Rubin 95% confidence set (bounded): [0.932959, 1.18518]
        """
        strength = self._strength
        if value is not None:
            values = self._values(value)
            told = ", ".join(
                f"{name} = {number:g}" for name, number in zip(self.endogenous, values.tolist(), strict=True)
            )
            return strength.anderson_rubin(values, f"{told}.")
        check_alpha(alpha)
        self._one("a set of all values")
        pencil, critical = strength.pencil, strength.critical_wald(float(alpha))
        estimate = float(k_class(strength.part, 1.0))
        return ConfidenceSet("Anderson-Rubin", float(alpha), set_below(pencil, critical, (estimate,)))

    def conditional_likelihood_ratio(
        self, value: float | None = None, alpha: float = 0.05
    ) -> HypothesisTest | ConfidenceSet:
        """Test a value of the one endogenous regressor's coefficient by Moreira's likelihood ratio, or return all that are not rejected.

        For homoskedastic errors; p-values are exact for any strength of the instruments, and the test has nearly the most power that there is.

        Parameters
        ----------
        value : float, optional
            A value of the coefficient; None returns the set.
        alpha : float
            The set has coverage 1 - alpha.

        Returns
        -------
        HypothesisTest or ConfidenceSet
            The p-value is conditional on how strong the first stage is; df is q.

        Raises
        ------
        OptionError
            Other than a number.
        EstimationError
            Several endogenous regressors; a robust covariance, for which the ratio has no such distribution.

        References
        ----------
        Moreira (2003), Econometrica 71(4). Andrews, Moreira and Stock (2007), J. Econometrics 139(1). Mikusheva (2010), J. Econometrics 157(2).
        """
        self._one("the conditional likelihood ratio")
        if self.cov.robust:
            raise EstimationError(
                f"The conditional likelihood ratio assumes errors of one variance, and the covariance is {self.cov.label!r}; use anderson_rubin, or "
                "with_cov('nonrobust')."
            )
        found: LikelihoodRatio = likelihood_ratio(self._strength.part)
        if value is None:
            check_alpha(alpha)
            return ConfidenceSet("Conditional likelihood ratio", float(alpha), found.accepted(float(alpha)))
        number = float(self._values(value))
        null = f"{self.endogenous[0]} = {number:g}."
        df = float(self._strength.part.excluded)
        return HypothesisTest("Conditional likelihood ratio", null, found.statistic(number), found.pvalue(number), df)

    # tests of the exogeneity of regressors

    def wu_hausman(self, variables: str | Sequence[str] | None = None) -> HypothesisTest:
        """Test that endogenous regressors are exogenous, by F, for homoskedastic errors.

        With all of them it is the F test of the first stages' residuals added to the regressors. `wooldridge_regression` is that test under any covariance.

        Parameters
        ----------
        variables : str or sequence of str, optional
            Some of the endogenous regressors; None is all.

        Returns
        -------
        HypothesisTest

        Raises
        ------
        OptionError
            Names that are not endogenous regressors.

        References
        ----------
        Durbin (1954). Wu (1973), Econometrica 41(4). Hausman (1978), Econometrica 46(6).
        """
        return overidentification.wu_hausman(self._strength.part, *self._tested(variables))

    def durbin(self, variables: str | Sequence[str] | None = None) -> HypothesisTest:
        """Test the same by chi-squared.

        Parameters
        ----------
        variables
            As in `wu_hausman`.

        Returns
        -------
        HypothesisTest

        Raises
        ------
        OptionError
            Names that are not endogenous regressors.
        """
        return overidentification.durbin(self._strength.part, *self._tested(variables))

    def wooldridge_regression(self) -> HypothesisTest:
        """Test that all endogenous regressors are exogenous by their first stages' residuals beside them, under the covariance in use.

        Returns
        -------
        HypothesisTest
            F where tests take t, else chi-squared(m).

        References
        ----------
        Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, section 6.3.1.
        """
        fit, count = self._control_function, len(self.endogenous)
        covariance = self._strength.under(fit)
        quadratic = quadratic_form(fit.params[-count:], covariance.matrix[-count:, -count:])
        name, null = "Wooldridge's regression", overidentification.exogenous(self.endogenous)
        reference = Reference(count, self._strength.df_of(covariance, fit))
        if covariance.small_sample is not None:
            rows = torch.eye(len(fit.params)).to(fit.params)[-count:]
            reference = adjusted(count, covariance.small_sample.f_df(rows), covariance.label)
        return reference.test(name, null, quadratic, use_f=covariance.df is not None)

    def wooldridge_score(self) -> HypothesisTest:
        """Test the same by the scores of least squares, under the covariance in use without its small-sample factor, chi-squared(m).

        Returns
        -------
        HypothesisTest

        References
        ----------
        Wooldridge (1995), Score diagnostics for linear models estimated by two stage least squares.
        """
        fit, count = self._control_function, len(self.endogenous)
        variance = self._strength.under_null(at_zero(fit, count))[-count:, -count:]
        quadratic = quadratic_form(fit.params[-count:], variance)
        return chi2_test("Wooldridge's score", overidentification.exogenous(self.endogenous), quadratic, count)

    # private

    @cached_property
    def _control_function(self) -> Any:
        """The regression of y on the regressors and the residuals of their first stages."""
        form, count = self._strength.form, self._strength.part.endogenous
        return beside(
            form, form.targets[:, :count], form.targets[:, :count] - form.fitted[:, :count], form.targets[:, count]
        )

    def _one(self, what: str) -> None:
        if len(self.endogenous) > 1:
            raise EstimationError(
                f"There are {len(self.endogenous)} endogenous regressors, and {what} is defined for one; test values of all of them with "
                "anderson_rubin([...])."
            )

    def _values(self, given: Any) -> Tensor:
        """Read a number for each endogenous regressor."""
        count = len(self.endogenous)
        plain = given
        if isinstance(given, Tensor):
            dense = given.layout == torch.strided and not given.is_quantized
            plain = given.detach().cpu().tolist() if dense else None
        numbers = [plain] if is_number(plain) else listed_in(plain)
        if numbers is None or len(numbers) != count or not all(is_number(number) for number in numbers):
            raise OptionError(
                f"value is {shown(given)}; pass {'a number' if count == 1 else f'{count} numbers'}, for {listed(self.endogenous)}."
            )
        return torch.tensor([float(number) for number in numbers], dtype=torch.float64, device=self.fit.params.device)

    def _tested(self, variables: str | Sequence[str] | None) -> tuple[list[int], list[str]]:
        names = list(self.endogenous)
        if variables is not None:
            names = self._named(variables, self.endogenous, "variables", "endogenous regressors")
        return [self.endogenous.index(name) for name in names], names
