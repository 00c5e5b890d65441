"""`EventStudy`: effects of a treatment by time since it began, with averages of all, by cohort and by period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.covariance.names import CovType
from betahat.data.container import Container, to_numpy
from betahat.data.handed_out import hands_out_copies
from betahat.data.threads import remembered
from betahat.did.cells import By
from betahat.did.regressions import Choice, Effects, Regressions
from betahat.errors import EstimationError, OptionError
from betahat.fits.fit import Fit
from betahat.inference.coefficients import interval
from betahat.inference.delta import replicated_function
from betahat.inference.distribution import Df, two_sided
from betahat.inference.joint import Joint, joint_of_functions
from betahat.inference.pair import Pair
from betahat.inference.resampled import Method, Replicated, no_replicates
from betahat.inference.variances import over
from betahat.inference.wald import WaldTest
from betahat.lazy import lazily
from betahat.plots.event_times import EventTimes, event_times, eventplot
from betahat.results.statsmodels_names import Results
from betahat.tables.adjusted import Adjustment, joint_of
from betahat.tables.estimates import About, about
from betahat.tables.regression import regtable
from betahat.tables.table import Table
from betahat.tables.tidied import tidied

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@hands_out_copies
@dataclass(frozen=True, eq=False, repr=False)
class EventStudy:
    """Effects of a treatment by time since it began, as `event_study` returns them; tables and pictures take them as they take results.

    Attributes
    ----------
    regressions : Regressions
        What the estimator fits.
    estimator : str
        "sunab", "did2s", "etwfe" or "twfe".
    reference : tuple of float
        The event times from which effects are measured.
    fixed : tuple of str
        The columns that have fixed effects.
    choice : Choice
        The covariance.
    by : str
        What the effects are by: "event", "att", "cohort", "time", or "cell", which averages nothing.
    """

    regressions: Regressions
    estimator: str
    reference: tuple[float, ...]
    fixed: tuple[str, ...]
    choice: Choice
    by: By = "event"

    @remembered
    def results(self) -> Results:
        """The regression behind the effects: all its coefficients, their tests, and its summary."""
        return self.choice.of(self._effects.results)

    def event_study(self) -> Self:
        """Return effects by time since the treatment began.

        Returns
        -------
        EventStudy
        """
        return self._averaged("event")

    def att(self) -> Self:
        """Return the average effect on the treated: over all rows under treatment, or for "twfe" the coefficient of a dummy for treatment.

        Returns
        -------
        EventStudy
            Of one effect, "ATT".
        """
        return self._averaged("att")

    def by_cohort(self) -> Self:
        """Return the average effect on each cohort, over its rows under treatment.

        Returns
        -------
        EventStudy

        Raises
        ------
        OptionError
            "twfe", which has no effects of single cohorts.
        """
        return self._averaged("cohort")

    def by_time(self) -> Self:
        """Return the average effect in each period, over the rows under treatment then.

        Returns
        -------
        EventStudy

        Raises
        ------
        OptionError
            As `by_cohort`.
        """
        return self._averaged("time")

    def by_cell(self) -> Self:
        """Return the effects on each cohort in each period, of which all others are averages.

        Returns
        -------
        EventStudy

        Raises
        ------
        OptionError
            As `by_cohort`.
        """
        return self._averaged("cell")

    def pretrends(self) -> WaldTest:
        """Test that all effects before the treatment are zero, jointly.

        Returns
        -------
        WaldTest

        Raises
        ------
        EstimationError
            There are no effects before the treatment.
        """
        study = self.event_study()
        before = study._effects.places < 0
        if not before.any():
            raise EstimationError(
                "There are no effects before the treatment to test; estimators 'twfe', 'sunab' and 'did2s' have them, and 'etwfe' under control_group='never'."
            )
        pair, chosen = study._pair, torch.from_numpy(before)
        matrix = study._effects.matrix[chosen]
        # of effects that are no linear function, the linear one that has their values and derivatives
        return pair.joint(matrix, matrix @ pair.fit.params - study._estimates[chosen], pair.use_t)

    @property
    def fit(self) -> Fit:
        """The fit of the regression."""
        return self.results.fit

    @property
    def cov(self) -> Covariance:
        """The covariance of its coefficients."""
        return self.results.cov

    @property
    def names(self) -> tuple[str, ...]:
        """(m,) what the effects are called."""
        return self._effects.names

    @property
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """(m,) nothing, as there is one equation, and the name of each effect."""
        return tuple(("", name) for name in self.names)

    @property
    def endog_name(self) -> str:
        """The dependent variable's name."""
        return self.results.endog_name

    @property
    def cov_type(self) -> str:
        """What the covariance is called."""
        return self.results.cov_type

    @property
    def nobs(self) -> float:
        """n, the number of rows used."""
        return self.results.nobs

    @property
    def use_t(self) -> bool:
        """Whether tests take the t distribution."""
        return self.results.use_t

    @property
    def goodness(self) -> tuple[str, float]:
        """What a table says of the fit, and its name there."""
        return ("", float("nan")) if self.estimator == "did2s" else self.results.goodness

    # covariances

    def with_cov(
        self, cov_type: CovType | None = None, cov_kwds: Mapping[str, Any] | None = None, use_t: bool | None = None
    ) -> Self:
        """Return the same effects under another covariance; nothing is fitted again.

        Parameters
        ----------
        cov_type, cov_kwds, use_t
            As in `Results.with_cov`.

        Returns
        -------
        EventStudy
        """
        asked = self.cov.asked_t if use_t is None else use_t
        return replace(self, choice=Choice("nonrobust" if cov_type is None else cov_type, cov_kwds, asked))

    def with_use_t(self, use_t: bool | None) -> Self:
        """Return the same effects with tests by t, or by the normal distribution.

        Parameters
        ----------
        use_t : bool or None
            None takes the covariance's own.

        Returns
        -------
        EventStudy
        """
        return replace(self, choice=replace(self.choice, use_t=use_t))

    # numbers

    @property
    def params(self) -> Any:
        """(m,) the effects."""
        return self._hand_out(self._estimates)

    @property
    def bse(self) -> Any:
        """(m,) standard errors."""
        return self._hand_out(self._errors)

    @property
    def tvalues(self) -> Any:
        """(m,) effects over standard errors."""
        return self._hand_out(over(self._estimates, self._errors))

    @property
    def pvalues(self) -> Any:
        """(m,) two-sided p-values of effects of zero."""
        return self._hand_out(self._pvalues)

    def cov_params(self) -> Any:
        """Return the covariance of the effects.

        Returns
        -------
        array
            (m, m).
        """
        return self._container.present(self._pair.variances.covariance(self._matrix), lambda: self.names)

    def conf_int(self, alpha: float = 0.05, method: Method | None = None) -> Any:
        """Return (m, 2) intervals, each of coverage 1 - alpha.

        Parameters
        ----------
        alpha, method
            As in `Results.conf_int`.

        Returns
        -------
        array
            (m, 2).
        """
        return self._container.present(self._bounds(alpha, method), lambda: self.names, [0, 1])

    # tables and pictures

    def coefficient_table(self) -> np.ndarray:
        """Return (m, 4) effect, standard error, statistic and p-value, in NumPy.

        Returns
        -------
        numpy.ndarray
            (m, 4).
        """
        statistics = over(self._estimates, self._errors)
        return to_numpy(torch.stack([self._estimates, self._errors, statistics, self._pvalues], 1))

    def interval_table(self, alpha: float = 0.05, method: Method | None = None) -> np.ndarray:
        """Return the intervals of `conf_int`, in NumPy.

        Parameters
        ----------
        alpha, method : float, str
            As in `conf_int`.

        Returns
        -------
        (m, 2) numpy.ndarray
        """
        return to_numpy(self._bounds(alpha, method))

    def tidy(self, conf_level: float = 0.95, adjust: Adjustment = None) -> pd.DataFrame:
        """Return a row for each effect, under broom's column names.

        Parameters
        ----------
        conf_level : float
            The share that the intervals cover, between 0 and 1.
        adjust : str or Adjust, optional
            How p-values and intervals are adjusted for the number of effects, as in `Adjust`.

        Returns
        -------
        pandas.DataFrame
            (m, 7).
        """
        return tidied(self, conf_level, False, adjust)

    def summary(self, **options: Any) -> Table:
        """Return a table of the effects, with the kind of their standard errors and the numbers of rows and clusters.

        Parameters
        ----------
        **options
            Those of `betahat.regtable`.

        Returns
        -------
        Table
        """
        return regtable(self, **options)

    def plot(self, **options: Any) -> Any:
        """Draw the effects by time since the treatment.

        Parameters
        ----------
        **options
            Those of `betahat.eventplot`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return eventplot(self, **options)

    def __repr__(self) -> str:
        """Return the table as text."""
        return self.tidy().to_string(index=False)

    # private

    @remembered
    def _effects(self) -> Effects:
        return self.regressions.effects(self.by)

    @remembered
    def _pair(self) -> Pair:
        return Pair(self.fit, self.cov)

    @property
    def _matrix(self) -> Tensor:
        """(m, k) the derivatives of the effects in the coefficients."""
        return self._effects.matrix

    @property
    def _container(self) -> Container:
        return self.results.fit.given.container

    @remembered
    def _estimates(self) -> Tensor:
        return self._effects.at(self._pair.fit.params)

    @remembered
    def _errors(self) -> Tensor:
        found = self._pair.variances.errors(self._matrix)
        return (
            found if self._replicated is None else torch.where(torch.isnan(found), torch.nan, self._replicated.errors)
        )

    @remembered
    def _df(self) -> Df:
        return self._pair.df_of(self._matrix)

    @remembered
    def _pvalues(self) -> Tensor:
        linear = self._effects.function is None
        own = self._pair.own_pvalues(self._matrix, torch.zeros_like(self._estimates)) if linear else None
        return two_sided(over(self._estimates, self._errors), self._df) if own is None else own

    @remembered
    def _replicated(self) -> Replicated | None:
        cov = self._pair.cov
        if cov.draws is None:
            return None
        return replicated_function(cov, self._effects.at, self._estimates, self._matrix)

    def _bounds(self, alpha: float, method: Method | None) -> Tensor:
        if method is not None:
            if self._replicated is None:
                raise OptionError(no_replicates(f"method={method!r}"))
            return self._replicated.interval(method, alpha)
        own = self._pair.own_interval(self._matrix, alpha) if self._effects.function is None else None
        return interval(self._estimates, self._errors, alpha, self._df) if own is None else own

    def _hand_out(self, values: Tensor) -> Any:
        return self._container.present(values, lambda: self.names)

    def _averaged(self, by: By) -> Self:
        """Return effects by something else; those that the estimator does not have are refused."""
        found = replace(self, by=by)
        _ = found._effects
        return found


@about.register
def _(result: EventStudy) -> About:
    return replace(about(result.results), source=result.results, effects=result.fixed, unidentified=())


@joint_of.register
def _(result: EventStudy) -> Joint:
    if result._effects.function is None:
        return joint_of_functions(result.fit, result.cov, result._matrix, result._df)
    matrix = result._pair.variances.covariance(result._matrix)
    return Joint(
        result._estimates, result._errors, matrix, result._df, result.fit, result.cov, result._replicated, linear=False
    )


@event_times.register
def _(result: EventStudy) -> EventTimes:
    if result.by != "event":
        raise OptionError(
            f"These are effects by {result.by}, which have no time since treatment; draw result.event_study(), or all with coefplot."
        )
    places = dict(zip(result.names, result._effects.places.tolist(), strict=True))
    return EventTimes(places, result.reference, result.estimator)
