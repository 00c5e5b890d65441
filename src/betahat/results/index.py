"""`IndexResults`: what models of one linear index, fitted by maximum likelihood, share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.data.container import to_numpy, to_tensor
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_one_of, shown
from betahat.inference.cases import Cases, index_cases
from betahat.inference.effects import index_rows_with_effects, refuse_effects
from betahat.inference.likelihood_influence import LikelihoodInfluence
from betahat.inference.margins import Response
from betahat.inference.response import (
    ResponsePrediction,
    deviance,
    means,
    null_deviance,
    predict_response,
    variance,
    variances,
)
from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex
from betahat.results.effects import effects_at, presented_effects
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.layout import Vector
from betahat.results.likelihood import MaximumLikelihoodResults
from betahat.results.new_data import data_at, prediction_labels
from betahat.results.second_summary import second_summary
from betahat.results.summaries import bread_notes

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary2 import Summary as SecondSummary
else:
    pd = lazily("pandas")


_WHICH = ("mean", "linear", "var")


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class IndexResults(MaximumLikelihoodResults, ABC):
    """What models of one linear index share: deviance, residuals, predictions and tables."""

    # how well it fits

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model, r - 1: one column counts as the constant, as in statsmodels; absorbed effects are not counted."""
        absorbed = self.fit.absorbed
        return float(self.fit.rank - (0 if absorbed is not None and absorbed.constant else 1))

    @cached_property
    def deviance(self) -> float:
        """Twice the log-likelihood of a perfect fit less that of this one, times the dispersion; R's `deviance`."""
        return deviance(self.fit)

    @cached_property
    def null_deviance(self) -> float:
        """The deviance with a constant alone, under the same offset and weights."""
        return null_deviance(self.fit)

    # the rows

    @property
    def resid_response(self) -> Any:
        """(n,) y - E(y)."""
        return self._container.present_rows(self._error)

    @property
    def resid_pearson(self) -> Any:
        """(n,) y - E(y) over the root of Var(y)."""
        return self._container.present_rows(self._error / variances(self.fit).sqrt())

    @cached_property
    def cases(self) -> Cases:
        """Residuals and leverage of each row, as the pictures show them."""
        return index_cases(self.fit)

    # predictions

    def fixed_effects(self) -> Any:
        """Return what absorbed effects add to the index, one number for each level.

        With several effects, only sums are identified: in each part in which the levels of a further effect and those of one before it are connected by
        rows, the first level of the further effect is zero.

        Returns
        -------
        dict
            By effect: a series with the levels' labels (of ``origin^year`` two), or an array in their order; of effects with slopes (levels, 1 + v) numbers,
            the dummies' first.

        Raises
        ------
        EstimationError
            The model absorbs no effects.
        """
        return presented_effects(self.fit)

    def predict(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str = "mean",
        offset: Any = None,
        exposure: Any = None,
        absorb: Any = None,
        *,
        path: Any = None,
    ) -> Any:
        """Predict the mean, the index or the variance, with absorbed effects.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit. Files, lazy frames and whatever else a model can be fitted to will
            do, too.
        transform : bool
            Whether new data go through the formula.
        which : {"mean", "linear", "var"}
            E(y), x'b + offset, or Var(y).
        offset, exposure : str or array_like, optional
            (m,) of the new data, where there is a formula by name or as an expression, too; without them there is none. The data of
            the fit keep their own.
        absorb : list of vectors, optional
            The labels of absorbed effects in the new rows, (m,) for each of their columns; None takes those of the columns of `exog`.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. For the data of the fit, residuals stand beside them, "resid". The folder is returned.

        Returns
        -------
        (m,)

        Raises
        ------
        OptionError, DataError, FormulaError
            An unknown `which`, offsets of another length, new data that do not fit, or have levels of effects that the fit did not see.
        """
        if not is_one_of(which, _WHICH):
            raise OptionError(f"which is {shown(which)}; use 'mean', 'linear' or 'var'.")
        if in_parts(exog, path):
            beside = {"offset": offset, "exposure": exposure, "absorb": absorb}
            return predict_in_parts(self, exog, path, transform, beside, which == "mean", which=which)
        regressors, shift, container, known = data_at(self, exog, transform, offset, exposure)
        if exog is not None and self.fit.absorbed is not None:
            added = effects_at(self.fit, exog, absorb)
            shift = added if shift is None else shift + added
        found = predict_response(
            self.fit,
            regressors,
            shift,
            self._pair.variances,
            self._pair.df_of(regressors),
            which != "mean",
            container,
            None,
            known,
        ).values
        if which == "var":
            found = self.fit.dispersion * variance(self._loss, found)
        return container.present_rows(found)

    def get_prediction(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str = "mean",
        row_labels: Any = None,
        offset: Any = None,
        exposure: Any = None,
    ) -> ResponsePrediction:
        """Predict with standard errors by the delta method, and intervals of the index, transformed.

        Parameters
        ----------
        exog, transform, offset, exposure
            As in `predict`.
        which : {"mean", "linear"}
            E(y) or x'b + offset.
        row_labels : sequence, optional
            (m,) labels for `summary_frame`.

        Returns
        -------
        ResponsePrediction

        Raises
        ------
        OptionError, DataError, FormulaError
            As in `predict`.
        """
        if not is_one_of(which, ("mean", "linear")):
            raise OptionError(f"which is {shown(which)}; use 'mean' or 'linear'.")
        refuse_effects(self.fit, "Standard errors of predictions need", "use predict, or write the effects as C(group)")
        regressors, shift, container, known = data_at(self, exog, transform, offset, exposure)
        labels = prediction_labels(row_labels, container, len(regressors))
        return predict_response(
            self.fit,
            regressors,
            shift,
            self._pair.variances,
            self._pair.df_of(regressors),
            which == "linear",
            container,
            labels,
            known,
        )

    def get_distribution(
        self, exog: Any = None, transform: bool = True, offset: Any = None, exposure: Any = None
    ) -> Any:
        """Return the distribution of the dependent variable given the regressors, which `scipy.stats` freezes.

        Parameters
        ----------
        exog, transform, offset, exposure
            As in `predict`.

        Returns
        -------
        scipy.stats.rv_frozen
            Bernoulli's or Poisson's of (m,) means, with `mean`, `var`, `pmf`, `cdf` and `rvs`.

        Raises
        ------
        OptionError, DataError, FormulaError
            As in `predict`.
        """
        means = to_numpy(to_tensor(self.predict(exog, transform, "mean", offset, exposure), self.fit.params))
        return self._loss.distribution(means, float(self.fit.dispersion))

    def get_influence(self) -> LikelihoodInfluence:
        """Return leverage, studentised residuals, Cook's distance and changes of the estimates by one step, of each row.

        Returns
        -------
        LikelihoodInfluence
        """
        return LikelihoodInfluence(self.fit, self.cov, self._pair.errors, self._prediction_errors)

    def _prediction_errors(self) -> Tensor:
        """(n,) the standard errors of E(y)."""
        return to_tensor(self.get_prediction().se, self.fit.params)

    # tables

    def summary2(
        self,
        yname: str | None = None,
        xname: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
        float_format: str = "%.4f",
    ) -> SecondSummary:
        """Return statsmodels' second summary, byte for byte.

        Parameters
        ----------
        yname, xname, title, alpha
            As in `summary`.
        float_format : str
            How the coefficients are printed.

        Returns
        -------
        statsmodels.iolib.summary2.Summary
            With `as_text`, `as_html` and `as_latex`.
        """
        return second_summary(
            self, {}, bread_notes(self), yname=yname, xname=xname, title=title, alpha=alpha, float_format=float_format
        )

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names for a `glm`.

        Returns
        -------
        pandas.DataFrame
            (1, ...).
        """
        return pd.DataFrame(
            {
                "null.deviance": [self.null_deviance],
                "df.null": [self.nobs - 1.0],
                "logLik": [self.llf],
                "AIC": [self.aic],
                "BIC": [self.bic],
                "deviance": [self.deviance],
                "df.residual": [self.df_resid],
                "nobs": [int(self.nobs)],
            }
        )

    # private

    def _response(self, which: Any) -> Response:
        if which is not None and not is_one_of(which, ("mean", "linear")):
            raise OptionError(f"which is {shown(which)}; use 'mean' or 'linear'.")
        fit, loss = self.fit, self._loss

        def of_index(index: Tensor) -> Tensor:
            return index if which == "linear" else loss.mean(index)

        def mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
            index = x.to(theta) @ theta
            return of_index(index if offset is None else index + offset)[:, None]

        name, sample = self.endog_name, fit.sample
        return Response(
            mean,
            lambda: index_rows_with_effects(fit),
            sample.names,
            self._kind,
            name,
            (name,),
            sample.engine,
            of_index=of_index,
        )

    @property
    @abstractmethod
    def _notes(self) -> list[str]:
        """What the summary says below its tables."""

    _learned = ("llf", "llnull", "deviance", "null_deviance", "scale", "k_constant", "_notes")

    def _laid_out(self) -> Vector:
        return Vector(self.fit)

    @property
    def _loss(self) -> LinearIndex:
        """The loss of a row, of one linear index."""
        loss = self.fit.objective.one_index
        assert loss is not None
        return loss

    @property
    def _error(self) -> Tensor:
        return self.fit.design.endog.to(torch.float64) - means(self.fit)
