"""`TobitResults` and `AFTResults`: location and scale of a number that is censored in some rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from betahat.calculus.indices import IndicesRows
from betahat.calculus.rows import Rows, times
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_number, shown
from betahat.inference.at_params import indices_of
from betahat.inference.margins import Margins, marginal_effects
from betahat.objectives.censored import CensoredLocationScale, Duration
from betahat.results.equations import EquationsResults, Prediction
from betahat.results.new_data import data_at
from betahat.results.summaries import censored_content
from betahat.tables.summary import Content


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class CensoredResults(EquationsResults, ABC):
    """What results of Tobit and AFT share: predictions of several kinds, each with its marginal effects."""

    @property
    def predictable(self) -> Mapping[str, Prediction]:
        """What may be predicted, by name; the first is the default."""
        return cast("CensoredLocationScale", self.fit.objective).predictions

    @property
    def df_resid(self) -> float:
        """N - r; log(scale) is a parameter, as in R."""
        return self.fit.df_resid

    @property
    def scale(self) -> float:
        """One: the log-likelihood has no factor. The distribution's own scale is the exponential of the last parameter, `sigma`."""
        return 1.0

    @property
    def sigma(self) -> float:
        """The scale of the distribution, the exponential of log(scale)."""
        return float(torch.exp(self._log_scale))

    @property
    def goodness(self) -> tuple[str, float]:
        """The log-likelihood, under its name in a table: McFadden's pseudo R2 of a density depends on the units of y."""
        return "Log-Likelihood", self.llf

    @property
    def n_censored(self) -> tuple[float, float]:
        """How many rows tell an upper bound alone, at a left limit, and how many a lower one."""
        below = self.fit.fact("censored below", lambda: float(self.fit.sum_rows(partial(_censored, above=False))))
        return below, self.fit.fact("censored above", lambda: float(self.fit.sum_rows(partial(_censored, above=True))))

    @property
    def resid_response(self) -> Any:
        """(n,) what is seen less the default prediction, R's ``residuals(type = "response")``; of a censored row a bound."""
        return self._container.present_rows(self._seen - self._function(None)(self._indices))

    def get_margeff(
        self,
        at: str = "overall",
        method: str = "dydx",
        atexog: Any = None,
        dummy: bool = False,
        count: bool = False,
        which: str | None = None,
    ) -> Margins:
        """Return marginal effects on one of the predictions, with standard errors from the covariance in use.

        Parameters
        ----------
        at, method, atexog, dummy, count
            As in `Logit`'s results.
        which : str, optional
            What effects are of: a name that `predict` knows; None takes its default.

        Returns
        -------
        Margins
            With `margeff`, `margeff_se`, `conf_int`, `summary` and `summary_frame`.
        """
        return marginal_effects(
            self._response(which),
            self.fit.params,
            self._pair.variances,
            self.fit.unidentified,
            self._container,
            at=at,
            method=method,
            atexog=atexog,
            dummy=dummy,
            count=count,
            cov=self.cov,
            nobs=self.nobs,
        )

    margins = get_margeff

    # private

    @property
    @abstractmethod
    def _seen(self) -> Tensor:
        """(n,) the values, or the bounds of those that are censored."""

    _learned = ("llf", "llnull", "k_constant", "n_censored")

    def _content(self, alpha: float) -> Content:
        return censored_content(self, alpha)

    @property
    def _log_scale(self) -> Tensor:
        """() log(scale); zero where it is not estimated."""
        return self.fit.params[-1] if self._singles else self.fit.params.new_zeros(())


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class TobitResults(CensoredResults):
    """Results of Tobit; what is shared is in `EquationsResults` and `Results`.

    ``predict(which=)`` knows "latent", the default: x'b; "conditional": E(y) of values between the limits; "expected": E(y) of what is
    observed, limits included; and "probability": that of a value between the limits.
    """

    @property
    def _seen(self) -> Tensor:
        return self.fit.design.endog.to(torch.float64)


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class AFTResults(CensoredResults):
    """Results of AFT; what is shared is in `EquationsResults` and `Results`.

    ``predict(which=)`` knows "response", the default, as in R: exp(x'b); "linear": x'b; "mean": the mean of the time; and "median".
    """

    def quantiles(self, p: float, exog: Any = None, transform: bool = True) -> Any:
        """Return the times that a share p does not reach: R's ``predict(type = "quantile")``.

        Parameters
        ----------
        p : float
            Between 0 and 1; 0.5 is the median.
        exog, transform
            As in `predict`.

        Returns
        -------
        array
            (m,).

        Raises
        ------
        OptionError, DataError, FormulaError
            `p` is no share, or new data do not fit.
        """
        if not (is_number(p) and 0.0 < p < 1.0):
            raise OptionError(f"p is {shown(p)}; pass a share between 0 and 1, such as 0.5.")
        regressors, shift, container, known = data_at(self, exog, transform, None, None)
        loss = cast("Duration", self.fit.objective)
        found = loss.quantile(indices_of(loss, regressors, self.fit.params, shift), float(p))
        return container.present_rows(found if known is None else torch.where(known, found, torch.nan))

    @property
    def _seen(self) -> Tensor:
        return self.fit.design.endog.to(torch.float64).abs()


def _censored(rows: Rows, *, above: bool) -> Tensor:
    """Return () how many rows of a block tell a bound from one side."""
    read = cast("IndicesRows", rows)
    known = cast("CensoredLocationScale", read.objective).known(read.y)
    return times((known.above if above else known.below).to(torch.float64), rows.counts).sum()
