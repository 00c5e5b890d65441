"""`Strength`: the reduced form of a fit by instruments under a covariance, and the statistics of it that depend on the covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.classical import Classical
from betahat.covariance.hc import HC0, HC1, HC2, HC3, HC4, HC5, HC4m
from betahat.covariance.names import Choice, covariance_of
from betahat.covariance.uncorrected import OF_ONE_FIT, REFITTING, uncorrected
from betahat.data.quiet import quiet
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.fits.reduced_form import ReducedForm
from betahat.inference.anderson_rubin import Pencil, pencil_of
from betahat.inference.effective_f import critical_value, effective_f, worst_bias, worst_bias_of_liml
from betahat.inference.hypothesis import HypothesisTest, Reference, adjusted
from betahat.inference.partialled import Partialled, partialled
from betahat.inference.quadratic_form import quadratic_form
from betahat.inference.weak_instruments import RankTest, cragg_donald, kleibergen_paap, sanderson_windmeijer

# Squared residuals would have to go with leverage so much that their product is dozens of times that of the means.
_STRONG = 1e3
_INDEPENDENT = (Classical, HC0, HC1, HC2, HC3, HC4, HC4m, HC5)


@dataclass(frozen=True, eq=False)
class Strength:
    """The regressions of [W, y] c on exogenous regressors and instruments, under the covariance of the fit.

    Attributes
    ----------
    form : ReducedForm
        The regressions.
    cov : Covariance
        That of the fit, whose estimator and whose choice of t or normal tests are taken.
    """

    form: ReducedForm
    cov: Covariance

    @remembered
    def part(self) -> Partialled:
        """The data of statistics that assume one variance of the errors."""
        factor = self.form.instruments.factor
        nobs = float(self.form.fit.nobs)
        free = nobs - self.form.fit.counts.coefficients() - (factor.instruments - factor.endogenous)
        return partialled(factor.triangle, factor.exogenous, factor.instruments, nobs, free)

    @property
    def estimator(self) -> Estimator:
        """What estimates covariances."""
        found = self.cov.estimator
        if found is None or type(found) in OF_ONE_FIT:
            raise EstimationError(
                f"The covariance {self.cov.label!r} is that of these coefficients alone, or came from a file without its labels, so the first stage has none; pick an estimator "
                "with with_cov, such as 'HC1' or bh.Cluster('firm')."
            )
        return found

    @property
    def refits(self) -> bool:
        """Whether the estimator refits, so that it says nothing of scores."""
        return isinstance(self.estimator, REFITTING)

    @property
    def without_refits(self) -> Strength:
        """The same under White's covariance where the one in use refits or is of one fit, for what is asked at every fit."""
        found = self.cov.estimator
        refits = found is None or isinstance(found, (*REFITTING, *OF_ONE_FIT))
        return replace(self, cov=replace(self.cov, estimator=HC0())) if refits else self

    @property
    def surely_strong(self) -> bool:
        """Whether F is so large, with rows that are independent, that no other passes over the rows are worth while."""
        return type(self.cov.estimator) in _INDEPENDENT and cragg_donald(self.part).f_statistic > _STRONG

    def chosen(self, column: int) -> Tensor:
        """Return (m + 1,) c that takes one of [W, y]."""
        return torch.eye(self.part.endogenous + 1).to(self.part.explained)[column]

    def covariance(self, weights: Tensor) -> Covariance:
        """Return that of the regression of [W, y] c."""
        return self.under(self.form.regression(weights))

    def under(self, fit: Fit) -> Covariance:
        """Return that of another regression of the same rows; the fit by instruments itself has warned of few clusters."""
        with quiet():
            return covariance_of(fit, Choice(self.estimator, self.cov.asked_t))

    def variance(self, weights: Tensor) -> Tensor:
        """Return (q, q) that of the instruments' coefficients; asked again it costs nothing."""
        key = tuple(weights.tolist())
        if key not in self._variances:
            self._variances[key] = self._of_instruments(self.covariance(weights).matrix)
        return self._variances[key]

    @remembered
    def _variances(self) -> dict[tuple[float, ...], Tensor]:
        return {}

    def scores(self, weights: Tensor) -> Tensor:
        """Return (q, q) the same under the hypothesis that these coefficients are zero, and without a small-sample factor."""
        return self._of_instruments(self.under_null(self.form.regression(weights, null=True)))

    def under_null(self, fit: Fit) -> Tensor:
        """Return the variance of a regression at restricted estimates, without a small-sample factor: of its scores, between two breads."""
        estimator = self.estimator
        if self.refits:
            raise EstimationError(
                f"This test needs the covariance of scores, and {self.cov.label!r} refits; use 'HC0', or bh.Cluster."
            )
        if isinstance(estimator, Classical):
            return fit.bread * (2.0 * fit.loss / float(fit.nobs))
        with quiet():
            return covariance_of(fit, Choice(uncorrected(estimator), None)).matrix

    def _of_instruments(self, matrix: Tensor) -> Tensor:
        exogenous = self.form.instruments.factor.exogenous
        return matrix[exogenous:, exogenous:]

    def df_denom(self, covariance: Covariance) -> float:
        """Return the denominator's degrees of freedom of F under a covariance of the reduced form."""
        return _known_df(covariance, self.part.df_resid)

    def df_of(self, covariance: Covariance, fit: Fit) -> float:
        """Return those under a covariance of another regression."""
        return _known_df(covariance, fit.df_resid)

    # the first stage

    def first_f(self, column: int) -> HypothesisTest:
        """Return the test that the instruments do not move one endogenous regressor: F, the Wald statistic over q."""
        return self.of_instruments(
            "First-stage F", "the instruments do not move this regressor.", self.chosen(column), use_f=True
        )

    def of_instruments(self, name: str, null: str, weights: Tensor, *, use_f: bool = False) -> HypothesisTest:
        """Return the test that the instruments explain nothing of [W, y] c: F where that is asked for or tests take t, else chi-squared."""
        covariance = self.covariance(weights)
        gap, variance = self.part.combined(weights), self._of_instruments(covariance.matrix)
        known = self.reference(covariance)
        return known.test(name, null, quadratic_form(gap, variance), use_f=use_f or covariance.df is not None)

    def reference(self, covariance: Covariance) -> Reference:
        """Return the distribution of the instruments' Wald statistic under a covariance of the reduced form."""
        count, width = self.part.excluded, self.form.instruments.factor.known
        if covariance.small_sample is None:
            return Reference(count, self.df_denom(covariance))
        rows = torch.eye(width).to(self.part.explained)[width - count :]
        return adjusted(count, covariance.small_sample.f_df(rows), covariance.label)

    def effective_f(self, column: int) -> float:
        """Return Montiel Olea and Pflueger's effective F of one first stage."""
        weights = self.chosen(column)
        return effective_f(self.part.combined(weights), self.variance(weights), self.part.instruments)

    def critical_value(self, bias: float, level: float, *, simplified: bool, liml: bool = False) -> float:
        """Return what the effective F of the one endogenous regressor is compared with."""
        if self.part.endogenous > 1:
            raise EstimationError(
                f"Critical values of the effective F are for one endogenous regressor, and there are {self.part.endogenous}; compare cragg_donald.f_statistic with "
                "stock_yogo(), or test the coefficients with anderson_rubin."
            )
        turn = self.part.instruments
        square = turn @ self.variance(self.chosen(0)) @ turn.mT
        worst = 1.0
        if not simplified:
            worst = self._worst_bias_of_liml if liml else self._worst_bias
        return critical_value(square, worst / bias, level)

    @remembered
    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The variances of the reduced form of y, between it and the first stage, and of that, where the instruments are orthonormal."""
        turn, pencil = self.part.instruments, self.pencil
        own, cross, square = (turn @ part @ turn.mT for part in (pencil.own, 0.5 * pencil.cross, pencil.square))
        return own, cross, square

    @remembered
    def _worst_bias(self) -> float:
        return worst_bias(*self._parts)

    @remembered
    def _worst_bias_of_liml(self) -> float:
        left = self.part.unexplained[:, [1, 0]]
        return worst_bias_of_liml(*self._parts, left.mT @ left)

    @remembered
    def pencil(self) -> Pencil:
        """The reduced form of y - w b for every b, of the one endogenous regressor w."""
        coefficients, lengths = self.part.reduced_form, self.part.rows.square().sum(0).sqrt().tolist()
        first, outcome = self.chosen(0), self.chosen(1)
        unit = lengths[1] / lengths[0] if min(lengths) > 0.0 else 1.0
        return pencil_of(
            coefficients[:, 1], coefficients[:, 0], lambda a, b: self.variance(a * outcome + b * first), unit
        )

    def kleibergen_paap(self) -> RankTest:
        """Return the rk statistics."""
        return kleibergen_paap(self.part, self.scores, self.variance)

    def sanderson_windmeijer(self, column: int) -> HypothesisTest:
        """Return the conditional F of one endogenous regressor."""
        df = self.df_denom(self.covariance(self.chosen(column)))
        return sanderson_windmeijer(self.part, column, self.variance, df)

    # the coefficients

    def anderson_rubin(self, values: Tensor, null: str) -> HypothesisTest:
        """Return the test of (m,) values of the endogenous regressors' coefficients."""
        return self.of_instruments("Anderson-Rubin", null, torch.cat([-values, values.new_ones(1)]))

    def critical_wald(self, alpha: float) -> float:
        """Return what Anderson and Rubin's Wald statistic exceeds with probability alpha."""
        covariance = self.covariance(self.chosen(self.part.endogenous))
        return self.reference(covariance).critical(alpha, use_f=covariance.df is not None)


def _known_df(covariance: Covariance, free: float) -> float:
    known = covariance.df if isinstance(covariance.df, float | int) else covariance.df_tests
    return free if known is None else float(known)
