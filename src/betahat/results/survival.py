"""`PHRegResults` of proportional hazards, with the names of `statsmodels.duration`."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Never, Protocol

import torch
from torch import Tensor

from betahat.data.container import to_numpy, to_tensor
from betahat.data.modes import in_ordinary_mode
from betahat.errors import (
    DataError,
    EstimationError,
    OptionError,
    check_number,
    counted,
    is_one_of,
    listed,
    shown,
)
from betahat.inference.cases import Cases, no_cases
from betahat.inference.concordance import concordance
from betahat.inference.likelihood import information_criterion
from betahat.inference.proportionality import TRANSFORMS, proportionality
from betahat.inference.survival import (
    Baseline,
    HazardPrediction,
    Sizes,
    StepFunction,
    baseline,
    deviance_residuals,
    martingale_residuals,
    schoenfeld_residuals,
    score_residuals,
    sizes,
)
from betahat.lazy import lazily
from betahat.objectives.partial_likelihood import TiesName
from betahat.results.layout import Vector
from betahat.results.likelihood import MaximumLikelihoodResults
from betahat.results.new_data import Model, check_beside, new_regressors, one_each, times_or_data
from betahat.results.summaries import hazard_content
from betahat.solvers.memory import check_numbers_fit
from betahat.tables.hazards import HazardContent

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.duration import hazard_regression
else:
    pd = lazily("pandas")
    hazard_regression = lazily("statsmodels.duration.hazard_regression")


_PREDICTIONS = ("lhr", "hr", "cumhaz", "surv")


class HazardModel(Model, Protocol):
    """What these results need of their model."""

    @property
    def ties(self) -> TiesName: ...  # noqa: D102
    @property
    def strata_levels(self) -> tuple[Any, ...] | None: ...  # noqa: D102
    @property
    def n_events(self) -> float: ...  # noqa: D102
    def new_labels(self, strata: Any, exog: Any) -> Any: ...  # noqa: D102


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class PHRegResults(MaximumLikelihoodResults):
    """Results of proportional hazards, with statsmodels' names; what is shared is in `Results`.

    Coefficients are logarithms of hazard ratios. Hazards, residuals and concordance are R's, from which statsmodels' differ; see
    docs/divergences.rst.
    """

    model: HazardModel

    # how well it fits

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model, r: there is no constant."""
        return float(self.fit.rank)

    @property
    def k_constant(self) -> int:
        """Zero: the baseline hazard takes the place of a constant."""
        return 0

    @property
    def standard_errors(self) -> Any:
        """(k,) the same as `bse`."""
        return self.bse

    @property
    def n_events(self) -> float:
        """The number of events."""
        return self.fit.fact("events", lambda: self.model.n_events)

    @cached_property
    def llnull(self) -> float:
        """The log partial likelihood with coefficients of zero, under the same offset, strata and weights."""
        return self.fit.fact("null log-likelihood", self._null)

    def info_criteria(self, crit: str, dk_params: float = 0) -> float:
        """Return "aic", "bic", "aicc" or "hqic", with the number of events for n, as R has it.

        Parameters
        ----------
        crit, dk_params
            As in `Results.info_criteria`.

        Returns
        -------
        float

        Raises
        ------
        OptionError
            An unknown criterion.

        References
        ----------
        Volinsky and Raftery (2000), Biometrics 56(1).
        """
        check_number(dk_params=dk_params)
        return information_criterion(crit, self.llf, self.n_events, self.fit.rank + dk_params)

    @cached_property
    def concordance(self) -> float:
        """The share of comparable pairs of which the row with the larger hazard ratio has its event first, ties counting a half; Harrell's C."""
        return self.fit.fact("concordance", lambda: concordance(self.fit))

    @property
    def goodness(self) -> tuple[str, float]:
        """The concordance, under its name in a table."""
        return "Concordance", self.concordance

    # the baseline

    @property
    def baseline_cumulative_hazard(self) -> list[tuple[Any, Any, Any]]:
        """A triple for each stratum with events: (m,) their times, the cumulative hazard there and exp(-it), of a row with x'b + offset = 0.

        The hazard includes what happens at each time; by Efron's ties it is Efron's. R: ``basehaz(centered = FALSE)``.
        """
        found, plain = baseline(self.fit), self._container.plain
        return [
            (plain(found.time[own]), plain(found.hazard[own]), plain(torch.exp(-found.hazard[own])))
            for own in self._by_stratum(found)
        ]

    @property
    def baseline_cumulative_hazard_function(self) -> dict[Any, Any]:
        """A function for each stratum with events, by its label: (m,) times -> (m,) the cumulative hazard of a row with x'b + offset = 0."""
        return dict(zip(self._levels_with_events, map(StepFunction, self.baseline_cumulative_hazard), strict=True))

    @property
    def weighted_covariate_averages(self) -> list[Any]:
        """(m, k) for each stratum with events: the mean of the regressors over the rows at risk at each event, weighted by exp(x'b + offset)."""
        found = baseline(self.fit)
        return [self._container.plain(found.mean[own]) for own in self._by_stratum(found)]

    # the rows

    @property
    def martingale_residuals(self) -> Any:
        """(n,) events less their expected number, d - exp(x'b + offset) (L(endog) - L(entry)); R's ``residuals(type = "martingale")``."""
        return self._container.present_rows(martingale_residuals(self.fit))

    @property
    def deviance_residuals(self) -> Any:
        """(n,) martingale residuals made symmetric; R's ``residuals(type = "deviance")``."""
        return self._container.present_rows(deviance_residuals(self.fit))

    @property
    def score_residuals(self) -> Any:
        """(n, k) each row's part of the score, without case weights (Lin and Wei 1989); R's ``residuals(type = "score")``."""
        return self._container.present_rows(score_residuals(self.fit), self.fit.coefficients)

    @property
    def dfbeta(self) -> Any:
        """(n, k) the change of the coefficients if a row's weight grows by one, to first order; R's ``residuals(type = "dfbeta")``."""
        return self._container.present_rows(score_residuals(self.fit) @ self.fit.bread, self.fit.coefficients)

    @property
    def schoenfeld_residuals(self) -> Any:
        """(n, k) regressors of a row with an event less their mean over those at risk; NaN for censored rows."""
        return self._container.present_rows(schoenfeld_residuals(self.fit), self.fit.coefficients)

    @property
    def cases(self) -> Cases:
        """Refuse: rows have no leverage."""
        raise no_cases(
            "a partial likelihood belongs to sets of rows at risk; draw martingale_residuals, or dfbeta, yourself"
        )

    def test_proportionality(self, transform: str = "km") -> pd.DataFrame:
        """Test whether coefficients change with time, as b + c g(t): R's ``cox.zph``.

        Parameters
        ----------
        transform : {"km", "rank", "identity", "log"}
            g: one less Kaplan and Meier's survival before t, the rank of t among all times, t or its logarithm.

        Returns
        -------
        pandas.DataFrame
            (terms + 1, 3): chi-squared, its degrees of freedom and p-value, for each term and for all of them, "GLOBAL".

        Raises
        ------
        OptionError
            An unknown transform.
        DataError, EstimationError
            A logarithm of zero; too few times of events.

        References
        ----------
        Grambsch and Therneau (1994), Biometrika 81(3).
        """
        if not is_one_of(transform, tuple(TRANSFORMS)):
            raise OptionError(f"transform is {shown(transform)}; use one of {listed(TRANSFORMS)}.")
        terms = {name: places for name, places in self._layout.terms.items() if places}
        found = proportionality(self.fit, terms, TRANSFORMS[transform])
        return pd.DataFrame({"chisq": found.statistics, "df": found.df, "p": found.pvalues}, index=list(found.names))

    # predictions

    def predict(
        self,
        endog: Any = None,
        exog: Any = None,
        strata: Any = None,
        offset: Any = None,
        transform: bool = True,
        pred_type: str = "lhr",
    ) -> HazardPrediction:
        """Predict hazard ratios, cumulative hazards or survival.

        Parameters
        ----------
        endog : array_like or str, optional
            (m,) the times up to which hazard is cumulated; None takes those of the data. A dataframe, a mapping or a matrix here, where other
            models take new data, is `exog`.
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit.
        strata : array_like or str, optional
            (m,) labels of the strata of new data, for "cumhaz" and "surv".
        offset : array_like or str, optional
            (m,) for new data, by default none; the data of the fit have their own.
        transform : bool
            Whether new data go through the formula.
        pred_type : {"lhr", "hr", "cumhaz", "surv"}
            x'b + offset, the logarithm of the hazard ratio to x = 0; the hazard ratio; the cumulative hazard at `endog`; exp(-it).

        Returns
        -------
        HazardPrediction
            With `predicted_values` and `standard_errors`.

        Raises
        ------
        OptionError, DataError, FormulaError
            An unknown `pred_type`, new data that do not fit, or without times or strata where they are needed; times that are not used.
        """
        if not is_one_of(pred_type, _PREDICTIONS):
            raise OptionError(f"pred_type is {shown(pred_type)}; use one of {listed(_PREDICTIONS)}.")
        endog, exog = times_or_data(endog, exog, pred_type)
        known = None
        if exog is None:
            design = self.fit.design
            regressors, container, shift = design.exog, design.container, design.offset
        else:
            regressors, container, known = new_regressors(self, exog, transform)
            shift = None
        index = regressors.to(self.fit.params) @ self.fit.params
        for option, values in (("offset", offset), ("endog", endog), ("strata", strata)):
            check_beside(values, option, exog, container)
        if offset is not None:
            shift = one_each(self.model.new_vector(offset, exog, "offset"), index, "offset")
        index = index if shift is None else index + shift
        if pred_type in ("lhr", "hr"):
            errors = self._pair.variances.errors(regressors.to(self.fit.params))
            errors = errors if known is None else torch.where(known, errors, torch.nan)
            ratio = torch.exp(index)
            if pred_type == "lhr":
                return HazardPrediction(container.present_rows(index), container.present_rows(errors))
            return HazardPrediction(container.present_rows(ratio), container.present_rows(ratio * errors))
        times, stratum = self._times(endog, exog, index), self._strata(strata, exog, index)
        hazard = baseline(self.fit).at(times, stratum) * torch.exp(index)
        return HazardPrediction(container.present_rows(hazard if pred_type == "cumhaz" else torch.exp(-hazard)))

    def get_distribution(self) -> hazard_regression.rv_discrete_float:
        """Return the distribution of each row's time, on the times of events in its stratum, as statsmodels does: survivors of the last event have its time.

        Returns
        -------
        statsmodels.duration.hazard_regression.rv_discrete_float
            With `mean`, `var`, `std` and `rvs`; (n, m) numbers for m times.
        """
        found, design = baseline(self.fit), self.fit.design
        own = self._by_stratum(found)
        most = max(len(places) for places in own)
        check_numbers_fit(2 * design.rows * most, "The distributions of all rows", design.device)
        ratio = torch.exp(to_tensor(self.predict().predicted_values, self.fit.params))
        stratum = self._strata(None, None, ratio)
        points = ratio.new_full((design.rows, most), torch.nan)
        masses = torch.full_like(points, 1.0 / most)
        for places in own:
            rows = (stratum == found.stratum[places[0]]).nonzero().flatten()
            survival = torch.exp(-torch.outer(ratio[rows], found.hazard[places]))
            before = torch.nn.functional.pad(survival[:, :-1], (1, 0), value=1.0)
            mass = before - torch.nn.functional.pad(survival[:, :-1], (0, 1))
            padding = (0, most - len(places))
            masses[rows] = torch.nn.functional.pad(mass, padding)
            points[rows] = torch.nn.functional.pad(found.time[places].expand(len(rows), -1).to(points), padding)
        return hazard_regression.rv_discrete_float(to_numpy(points), to_numpy(masses))

    # tables

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names for a `coxph`.

        Returns
        -------
        pandas.DataFrame
            (1, ...).
        """
        score = self.score_test(
            params_constrained=torch.zeros_like(self.fit.params), k_constraints=self.fit.rank, cov_type="nonrobust"
        )
        return pd.DataFrame(
            {
                "n": [int(self.nobs)],
                "nevent": [self.n_events],
                "statistic.log": [self.llr],
                "p.value.log": [self.llr_pvalue],
                "statistic.sc": [score.statistic],
                "p.value.sc": [score.pvalue],
                "concordance": [self.concordance],
                "logLik": [self.llf],
                "AIC": [self.aic],
                "BIC": [self.bic],
                "nobs": [int(self.nobs)],
            }
        )

    def get_prediction(self, *args: Any, **kwargs: Any) -> Never:
        """Not defined: `predict` has the standard errors.

        Parameters
        ----------
        *args, **kwargs
            Of other models.

        Raises
        ------
        EstimationError
            Always.
        """
        raise EstimationError(
            "get_prediction is of a mean, which is not known as the baseline hazard is left open; use predict, whose standard_errors are those of 'lhr' and 'hr'."
        )

    # private

    def _response(self, which: Any) -> Never:
        raise EstimationError(
            "PHReg leaves the baseline hazard open, so that the mean of the times is not known, and there are no marginal effects on it; "
            "coefficients are effects on the logarithm of the hazard, and predict(pred_type='surv') gives survival."
        )

    _learned = ("llf", "llnull", "n_events", "concordance", "_sizes")

    def _laid_out(self) -> Vector:
        return Vector(self.fit)

    @property
    def _sizes(self) -> Sizes:
        return self.fit.fact("sizes", lambda: sizes(self.fit))

    def _content(self, alpha: float) -> HazardContent:
        return hazard_content(self, alpha)

    def _null(self) -> float:
        return -float(self.fit.problem.loss(torch.zeros_like(self.fit.params)))

    @property
    def _levels_with_events(self) -> list[Any]:
        levels = self.model.strata_levels or (0,)
        return [levels[place] for place in torch.unique(baseline(self.fit).stratum).tolist()]

    def _by_stratum(self, found: Baseline) -> list[Tensor]:
        """Return the places of each stratum's times."""
        sizes = torch.unique_consecutive(found.stratum, return_counts=True)[1].tolist()
        return list(torch.split(torch.arange(len(found.stratum), device=found.stratum.device), sizes))

    def _times(self, endog: Any, exog: Any, like: Tensor) -> Tensor:
        """(m,) the times of predictions."""
        if endog is not None:
            return one_each(self.model.new_vector(endog, exog, "endog"), like, "endog").expand_as(like)
        if exog is not None:
            raise OptionError(
                "endog is None, but the hazard of new data is cumulated up to some time; pass endog=, a time for each prediction, or one for all."
            )
        return self.fit.design.endog.to(like)

    def _strata(self, strata: Any, exog: Any, like: Tensor) -> Tensor:
        """(m,) the positions of the strata of predictions."""
        levels = self.model.strata_levels
        if levels is None:
            return torch.zeros_like(like, dtype=torch.int64)
        if strata is None and exog is None:
            return self.fit.design.column("stratum")
        if strata is None:
            raise OptionError(
                f"strata is None, but each stratum has a baseline hazard of its own; pass strata=, a label for each prediction: {listed(levels)}."
            )
        given = list(self.model.new_labels(strata, exog))
        if len(given) == 1:
            given *= len(like)
        places = {level: place for place, level in enumerate(levels)}
        unknown = sorted({str(label) for label in given if not isinstance(label, Hashable) or label not in places})
        if unknown or len(given) != len(like):
            raise DataError(
                f"strata has {counted(len(given), 'label')} for {counted(len(like), 'prediction')}"
                f"{f', and the fit has no stratum {listed(unknown)}' if unknown else ''}; pass one for each, among {listed(levels)}."
            )
        return torch.tensor([places[label] for label in given], device=like.device)
