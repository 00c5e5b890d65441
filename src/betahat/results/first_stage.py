"""`FirstStage`: how the instruments move the endogenous regressors, each a regression of its own, and how strong they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.errors import (
    EstimationError,
    OptionError,
    WeakInstrumentWarning,
    check_flag,
    is_number,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.inference.hypothesis import HypothesisTest
from betahat.inference.partialled import partial_rsquared, shea_rsquared
from betahat.inference.reduced_form import Strength
from betahat.inference.stock_yogo import BIASES, StockYogo, stock_yogo
from betahat.inference.weak_instruments import RankTest, cragg_donald
from betahat.lazy import lazily
from betahat.results.least_squares import LeastSquaresResults
from betahat.results.linear import LinearResults
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# The rule of thumb of Staiger and Stock (1997), where there is no table, and where two instruments have no Nagar bias and yet tests of the wrong size.
_RULE = 10.0
# What is taken for weak: a bias of a tenth, at the five percent level.
_BIAS, _LEVEL = 0.10, 0.05


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class FirstStageResults(LeastSquaresResults):
    """The regression of one endogenous regressor on the exogenous regressors and the instruments, as results of least squares.

    Its covariance is that of the fit by instruments.

    Attributes
    ----------
    strength : Strength
        The reduced form of that fit under its covariance.
    column : int
        Which of the endogenous regressors it is.
    """

    strength: Strength
    column: int

    @property
    def instruments_test(self) -> HypothesisTest:
        """The test that the instruments do not move the regressor: the Wald statistic under the covariance in use, over their number."""
        return self.strength.first_f(self.column)

    @property
    def f_statistic(self) -> float:
        """F of the excluded instruments under the covariance in use."""
        return self.instruments_test.statistic

    @property
    def partial_rsquared(self) -> float:
        """The share of the regressor that the instruments explain, after the exogenous regressors are partialled out of both."""
        return float(partial_rsquared(self.strength.part)[self.column])

    @property
    def shea_rsquared(self) -> float:
        """Shea's partial R²: the share that they explain of what the other endogenous regressors do not."""
        return float(shea_rsquared(self.strength.part)[self.column])

    @property
    def effective_f(self) -> float:
        """Montiel Olea and Pflueger's effective F, π̂'Z'Zπ̂ / tr(V Z'Z), Z free of the exogenous regressors, V the covariance in use."""
        return self.strength.effective_f(self.column)

    @property
    def sanderson_windmeijer(self) -> HypothesisTest:
        """The conditional F: whether the instruments move the regressor apart from the other endogenous ones."""
        return self.strength.sanderson_windmeijer(self.column)

    def critical_value(
        self,
        bias: float = _BIAS,
        level: float = _LEVEL,
        *,
        simplified: bool = False,
        estimator: Literal["2sls", "liml"] = "2sls",
    ) -> float:
        """Return what the effective F is compared with: above it, weak instruments are rejected.

        Parameters
        ----------
        bias : float
            tau, the largest share of a benchmark that the estimator's Nagar bias may be.
        level : float
            The size of the test.
        simplified : bool
            Whether the worst case over all covariances of the reduced form is taken, which is conservative and for two-stage least squares, or that
            over all coefficients under the estimated covariance.
        estimator : {"2sls", "liml"}
            Whose bias it is.

        Returns
        -------
        float

        Raises
        ------
        OptionError
            A share or a level that is not between 0 and 1; another estimator, or LIML with `simplified`.
        EstimationError
            Several endogenous regressors, for which the test is not defined.

        References
        ----------
        Montiel Olea and Pflueger (2013), JBES 31(3); Stata: ``weakivtest``.
        """
        for option, value in (("bias", bias), ("level", level)):
            if not is_number(value) or not 0.0 < value < 1.0:
                raise OptionError(f"{option} is {shown(value)}; pass a share between 0 and 1, such as 0.1.")
        check_flag("simplified", simplified)
        liml = is_one_of(estimator, ("liml",))
        if not (liml or is_one_of(estimator, ("2sls",))) or (liml and simplified):
            raise OptionError(
                f"estimator is {shown(estimator)}{' and simplified is True' if liml else ''}; use '2sls', or 'liml' without simplified."
            )
        return self.strength.critical_value(bias, level, simplified=bool(simplified), liml=liml)

    @property
    def scale(self) -> float:
        """The variance of an error of weight one."""
        return self._plain.scale

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the regression, under broom's column names.

        Returns
        -------
        pandas.DataFrame
            (1, 12).
        """
        return self._plain.glance()

    # private

    _learned = ("k_constant", "_squares", "_spectrum", "_residual_diagnostics", "fvalue")

    @property
    def _plain(self) -> LinearResults:
        return LinearResults(self.model, self.fit, self.cov)

    def _content(self, alpha: float) -> Content:
        return self._plain._content(alpha)

    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        raise EstimationError(
            "A first stage is part of the results by instruments and is not kept without its rows; call remove_data, or save, on those results."
        )


@in_ordinary_mode
class FirstStage(Mapping[str, FirstStageResults]):
    """The first stages of a fit by instruments, by name of the endogenous regressor, with tests of all of them.

    Attributes
    ----------
    strength : Strength
        The reduced form under the covariance in use.
    """

    def __init__(self, stages: Mapping[str, FirstStageResults], strength: Strength) -> None:
        """Take the regressions."""
        self._stages, self.strength = dict(stages), strength

    def __getitem__(self, name: str) -> FirstStageResults:
        """Return the regression of one endogenous regressor."""
        if name not in self._stages:
            raise OptionError(f"{shown(name)} is no endogenous regressor; they are {listed(self._stages)}.")
        return self._stages[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._stages)

    def __len__(self) -> int:
        """Return m."""
        return len(self._stages)

    def __contains__(self, name: object) -> bool:
        """Tell whether a regressor is endogenous."""
        return name in self._stages

    @property
    def cragg_donald(self) -> RankTest:
        """The smallest eigenvalue of the first stages, for homoskedastic errors: a chi-squared test of underidentification, and its `f_statistic`."""
        return cragg_donald(self.strength.part)

    @property
    def kleibergen_paap(self) -> RankTest:
        """Kleibergen and Paap's rk under the covariance in use: a chi-squared test by the Lagrange multiplier, and Wald's `f_statistic`."""
        return self.strength.kleibergen_paap()

    @property
    def sanderson_windmeijer(self) -> dict[str, HypothesisTest]:
        """For each endogenous regressor, the F that the instruments do not move it apart from the others, under the covariance in use."""
        return {name: stage.sanderson_windmeijer for name, stage in self._stages.items()}

    def stock_yogo(self) -> StockYogo:
        """Return Stock and Yogo's critical values of `cragg_donald.f_statistic`, for homoskedastic errors, at the five percent level.

        Returns
        -------
        StockYogo
            `bias` and `size`, each by what is allowed; empty where they tabulate none.

        References
        ----------
        Stock and Yogo (2005), Tables 5.1 and 5.2.
        """
        return stock_yogo(self.strength.part.endogenous, self.strength.part.excluded)

    def summary_frame(self) -> pd.DataFrame:
        """Return a row for each endogenous regressor.

        Returns
        -------
        pandas.DataFrame
            (m, 7) partial R², Shea's, F and its p-value, the effective F, and Sanderson and Windmeijer's F and its p-value.
        """
        rows = {}
        for name, stage in self._stages.items():
            f, conditional = stage.instruments_test, stage.sanderson_windmeijer
            rows[name] = {
                "partial R²": stage.partial_rsquared,
                "Shea's R²": stage.shea_rsquared,
                "F": f.statistic,
                "P>F": f.pvalue,
                "effective F": stage.effective_f,
                "conditional F": conditional.statistic,
                "P>conditional F": conditional.pvalue,
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    def summary(self) -> str:
        """Return the table of the first stages and the tests of all of them as text.

        Returns
        -------
        str
        """
        strength, lines = self.strength, [self.summary_frame().to_string(float_format=lambda value: f"{value:.4f}")]
        lines.append(f"Instruments: {strength.part.excluded}. Covariance: {strength.cov.label}.")
        rank = self.cragg_donald
        lines.append(f"Cragg-Donald F: {rank.f_statistic:.4f}")
        if strength.refits:
            lines.append("Kleibergen-Paap rk: not defined for a covariance that refits")
        else:
            robust = self.kleibergen_paap
            lines.append(
                f"Kleibergen-Paap rk: F {robust.f_statistic:.4f}, LM chi2({robust.df:g}) {robust.statistic:.4f}, p = {robust.pvalue:.4f}"
            )
        if len(self) == 1:
            (stage,) = self.values()
            for simplified in (False, True):
                found = {bias: stage.critical_value(bias, simplified=simplified) for bias in BIASES}
                values = ", ".join(f"{bias:.0%} {value:.2f}" for bias, value in found.items())
                lines.append(
                    f"{'Simplified critical' if simplified else 'Critical'} values of the effective F by bias: {values}"
                )
        tables = self.stock_yogo()
        for words, table in (("bias", tables.bias), ("size", tables.size)):
            if table:
                values = ", ".join(f"{allowed:.0%} {value:.2f}" for allowed, value in table.items())
                lines.append(f"Stock and Yogo's values of the Cragg-Donald F by {words}: {values}")
        return "\n".join(lines)

    __str__ = summary
    __repr__ = summary


def warn_weak(strength: Strength, names: tuple[str, ...]) -> None:
    """Warn of instruments that are weak: an effective F below its critical value or ten, or of several regressors Kleibergen and Paap's below Stock and Yogo's."""
    strength = strength.without_refits
    if strength.surely_strong:
        return
    with suppress(EstimationError):  # which the first stage itself will say when it is asked for
        if strength.part.endogenous == 1:
            found, needed = strength.effective_f(0), strength.critical_value(_BIAS, _LEVEL, simplified=True)
            if found < needed:
                needed = max(strength.critical_value(_BIAS, _LEVEL, simplified=False), _RULE)
            why = "the rule of thumb" if needed == _RULE else "its critical value for a bias of 10%"
            told = f"the effective F of {names[0]} is {found:.2f}, below {needed:.2f}, {why}"
        else:
            found = strength.kleibergen_paap().f_statistic
            needed = stock_yogo(strength.part.endogenous, strength.part.excluded).bias.get(_BIAS, _RULE)
            told = f"Kleibergen and Paap's F of {listed(names)} is {found:.2f}, below {needed:.2f}"
        if found < needed:
            warnings.warn(
                f"The instruments may be weak: {told}, so estimates may be biased and their standard errors mislead; anderson_rubin has tests and confidence "
                "sets that hold all the same.",
                WeakInstrumentWarning,
                stacklevel=user_level(),
            )
