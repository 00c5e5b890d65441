"""`DiscreteResults` of Logit, Probit and Poisson, and `MultinomialResults` of MNLogit."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.rows import Bread
from betahat.data.classes import class_name
from betahat.data.container import Container, Frames, to_numpy, to_tensor
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import Removed
from betahat.errors import DataError, OptionError, counted, is_number, is_one_of, shown
from betahat.inference.cases import Cases, index_cases, no_cases
from betahat.inference.distribution import chi2_tail
from betahat.inference.likelihood_influence import LikelihoodInfluence
from betahat.inference.margins import Margins, Response, marginal_effects
from betahat.inference.residuals import fitted_values
from betahat.inference.response import (
    ResponsePrediction,
    certain_share,
    deviance,
    deviance_residuals,
    generalized_residuals,
    means,
    null_log_likelihood,
    predict_response,
    prediction_table,
    variance,
    variances,
)
from betahat.inference.score_test import Hypothesis, ScoreTest, score_test
from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex
from betahat.results.base import (
    Results,
    check_beside,
    intervals_of,
    new_regressors,
    read_row_labels,
    square_of,
    vector_of,
)
from betahat.results.second_summary import equations_summary, second_summary
from betahat.tables.likelihood_summary import LikelihoodContent, likelihood_summary
from betahat.tables.summary import named_model

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary import Summary
    from statsmodels.iolib.summary2 import Summary as SecondSummary
else:
    pd = lazily("pandas")

_WHICH = ("mean", "linear", "var")


class Model(Protocol):
    """What results need of the model that they belong to."""

    def new_regressors(self, exog: Any, transform: bool) -> tuple[Tensor, Container]:
        """Read regressors for a prediction."""
        ...

    def new_vector(self, values: Any, exog: Any, option: str) -> Any:
        """Read a vector beside new regressors."""
        ...

    def without_rows(self, rows: Removed) -> Self:
        """Return the model without its data."""
        ...


class ClassModel(Model, Protocol):
    """The same of a multinomial model."""

    @property
    def levels(self) -> tuple[Any, ...]: ...  # noqa: D102
    @property
    def equations(self) -> tuple[str, ...]: ...  # noqa: D102


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class MaximumLikelihoodResults(Results, ABC):
    """What discrete models share: the comparison with the model of constants alone, and marginal effects."""

    @cached_property
    def llnull(self) -> float:
        """The log-likelihood with a constant alone, under the same offset and weights."""
        return null_log_likelihood(self.fit)

    @property
    def prsquared(self) -> float:
        """McFadden's pseudo R2, 1 - llf / llnull."""
        return 1.0 - self.llf / self.llnull

    @property
    def llr(self) -> float:
        """The likelihood ratio statistic 2 (llf - llnull)."""
        return 2.0 * (self.llf - self.llnull)

    @property
    def llr_pvalue(self) -> float:
        """Its upper tail, chi-squared with `df_model` degrees of freedom."""
        return chi2_tail(self.llr, self.df_model)

    @property
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant."""
        return self.fit.k_constant

    @property
    def method(self) -> str:
        """How the estimates were found, as statsmodels prints it."""
        return "MLE"

    @property
    def converged(self) -> bool:
        """True: a fit that does not converge is an error."""
        return self.fit.diagnostics.converged

    @property
    def mle_retvals(self) -> dict[str, Any]:
        """How the solver ended: "converged", "iterations", and "fcalls", the points looked at: the start, and one for each step."""
        steps = self.fit.diagnostics.iterations
        return {"converged": self.converged, "iterations": steps, "fcalls": steps + 1}

    @property
    def goodness(self) -> tuple[str, float]:
        """McFadden's pseudo R2, under its name in a table."""
        return "Pseudo R²", self.prsquared

    def get_margeff(
        self, at: str = "overall", method: str = "dydx", atexog: Any = None, dummy: bool = False, count: bool = False
    ) -> Margins:
        """Return marginal effects on the mean, with standard errors from the covariance in use.

        Parameters
        ----------
        at : {"overall", "mean", "median", "zero", "all"}
            The average of the rows' effects, the effect at one point, or every row's without standard errors.
        method : {"dydx", "eyex", "dyex", "eydx"}
            Derivative, elasticity, or a semi-elasticity.
        atexog : mapping or array_like, optional
            Values in the place of the data's: of columns by name or position, or all of them.
        dummy, count : bool
            Differences for regressors of 0 and 1, and for counts, in the place of derivatives.

        Returns
        -------
        Margins
            With `margeff`, `margeff_se`, `conf_int`, `summary` and `summary_frame`.
        """
        return marginal_effects(
            self.response,
            self.fit.params,
            self._variances,
            self.fit.unidentified,
            self._container,
            at=at,
            method=method,
            atexog=atexog,
            dummy=dummy,
            count=count,
        )

    margins = get_margeff

    def score_test(
        self,
        exog_extra: Any = None,
        params_constrained: Any = None,
        hypothesis: Hypothesis = "joint",
        cov_type: str | None = None,
        k_constraints: int | None = None,
        r_matrix: Any = None,
    ) -> ScoreTest:
        """Test omitted variables, or restricted estimates, by the scores: a fit with them is not needed.

        Parameters
        ----------
        exog_extra : array_like, optional
            (n,) or (n, p) variables that were left out.
        params_constrained : array_like, optional
            Estimates that satisfy the restrictions, in the shape of `params`; None takes those of the fit.
        hypothesis : {"joint", "separate"}
            Chi-squared, or a standard normal number for each parameter.
        cov_type : {"nonrobust", "HC0"}, optional
            The information, or the scores' own variance; None takes that of the results.
        k_constraints : int, optional
            How many restrictions `params_constrained` satisfies.
        r_matrix : array_like, optional
            (J, k) these restrictions, which "HC0" needs.

        Returns
        -------
        ScoreTest
            With `statistic`, `pvalue` and `k_constraint`; it unpacks as statistic and p-value.

        Raises
        ------
        OptionError
            Another covariance, hypothesis, or number of rows or parameters; restrictions that are not told.
        EstimationError
            The variables are collinear.
        """
        wanted = self.cov_type if cov_type is None else cov_type
        if not is_one_of(wanted, ("nonrobust", "HC0")):
            raise OptionError(
                f"The score test knows cov_type 'nonrobust' and 'HC0', and {shown(wanted)} came; pass one of them."
            )
        if not is_one_of(hypothesis, ("joint", "separate")):
            raise OptionError(f"hypothesis is {shown(hypothesis)}; use 'joint' or 'separate'.")
        held = is_number(k_constraints)
        if k_constraints is not None and not (held and k_constraints >= 1):
            raise OptionError(
                f"k_constraints is {shown(k_constraints)}; pass how many restrictions there are, such as 1."
            )
        params = self.fit.params if params_constrained is None else self._read_params(params_constrained)
        restrictions = None if r_matrix is None else self._restrictions(r_matrix)[0]
        extra = None if exog_extra is None else self._read_extra(exog_extra)
        return score_test(self.fit, extra, params, restrictions, k_constraints, hypothesis, wanted == "HC0")

    def _read_params(self, params: Any) -> Tensor:
        """(k,) parameters in the shape of `params`."""
        read = to_tensor(params, self.fit.params)
        read = read.mT.reshape(-1) if read.ndim == 2 else read
        if read.shape != self.fit.params.shape:
            raise OptionError(
                f"params_constrained has shape {np.shape(params)}; pass one number for each of the {len(self.fit.params)} parameters, in the "
                "shape of params."
            )
        return read

    def _read_extra(self, exog_extra: Any) -> Tensor:
        """(n, p) variables that were left out."""
        read = to_tensor(exog_extra, self.fit.params)
        read = read[:, None] if read.ndim == 1 else read
        if read.ndim != 2 or len(read) != self.fit.design.rows or not bool(torch.isfinite(read).all()):
            raise OptionError(
                f"exog_extra has shape {tuple(read.shape)}, or missing values; pass a number for each variable and each of the "
                f"{self.fit.design.rows} rows in use."
            )
        return read

    def _without_rows(self, rows: Removed) -> Mapping[str, Any]:
        return {"model": self.model.without_rows(rows)}


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class DiscreteResults(MaximumLikelihoodResults):
    """Results of Logit, Probit and Poisson, with statsmodels' names; what is shared is in `Results`."""

    model: Model

    # how well it fits

    @property
    def df_model(self) -> float:
        """R - 1: one column counts as the constant, as in statsmodels."""
        return float(self.fit.rank - 1)

    @cached_property
    def deviance(self) -> float:
        """Twice the log-likelihood of a perfect fit less that of this one; R's `deviance`."""
        return deviance(self.fit)

    # the rows

    @property
    def fittedvalues(self) -> Any:
        """(n,) x'b, without the offset, as in statsmodels."""
        values = self.fit.known(fitted_values)
        offset = self.fit.design.offset
        return self._container.present_rows(values if offset is None else values - offset)

    @property
    def resid_response(self) -> Any:
        """(n,) y - E(y)."""
        return self._container.present_rows(self._error)

    @property
    def resid(self) -> Any:
        """The same as `resid_response`."""
        return self.resid_response

    @property
    def resid_pearson(self) -> Any:
        """(n,) y - E(y) over the root of Var(y)."""
        return self._container.present_rows(self._error / self.fit.known(variances).sqrt())

    @property
    def resid_generalized(self) -> Any:
        """(n,) the derivative of the log-likelihood with respect to the index."""
        return self._container.present_rows(self.fit.known(generalized_residuals))

    @property
    def resid_dev(self) -> Any:
        """(n,) deviance residuals, the signed roots of each row's part of the deviance."""
        return self._container.present_rows(self.fit.known(deviance_residuals))

    @cached_property
    def cases(self) -> Cases:
        """Residuals and leverage of each row, as the pictures show them."""
        return index_cases(self.fit)

    def pred_table(self, threshold: float = 0.5) -> Any:
        """Return (2, 2) how often i was observed and j predicted, of a binary model.

        Parameters
        ----------
        threshold : float
            The probability from which on 1 is predicted.

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
            raise OptionError("pred_table is of binary models; for counts compare predict() with endog.")
        if not isinstance(threshold, Real) or not 0.0 <= threshold <= 1.0:
            raise OptionError(f"threshold is {shown(threshold)}; pass a probability, such as 0.5.")
        return self._container.plain(prediction_table(self.fit, threshold))

    # predictions

    def predict(
        self, exog: Any = None, transform: bool = True, which: str = "mean", offset: Any = None, exposure: Any = None
    ) -> Any:
        """Predict the mean, the index or the variance.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit.
        transform : bool
            Whether new data go through the formula.
        which : {"mean", "linear", "var"}
            E(y), x'b + offset, or Var(y).
        offset, exposure : str or array_like, optional
            (m,) of the new data, where there is a formula by name or as an expression, too; without them there is none. Of the data of
            the fit they are those of the fit.

        Returns
        -------
        (m,)

        Raises
        ------
        OptionError, DataError, FormulaError
            Another `which`, offsets of another length, new data that do not fit.
        """
        if not is_one_of(which, _WHICH):
            raise OptionError(f"which is {shown(which)}; use 'mean', 'linear' or 'var'.")
        regressors, shift, container, known = self._at(exog, transform, offset, exposure)
        found = predict_response(
            self.fit,
            regressors,
            shift,
            self._variances,
            self._df_of(regressors),
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
        regressors, shift, container, known = self._at(exog, transform, offset, exposure)
        labels = container.row_labels if row_labels is None else read_row_labels(row_labels)
        if labels is not None and len(labels) != len(regressors):
            raise OptionError(
                f"row_labels has {counted(len(labels), 'label')} for {counted(len(regressors), 'prediction')}; pass one for each."
            )
        return predict_response(
            self.fit,
            regressors,
            shift,
            self._variances,
            self._df_of(regressors),
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
        return LikelihoodInfluence(self.fit, self.cov, self._errors, self._prediction_errors)

    def _prediction_errors(self) -> Tensor:
        """(n,) the standard errors of E(y)."""
        return to_tensor(self.get_prediction().se, self.fit.params)

    # tables

    def summary(
        self,
        yname: str | None = None,
        xname: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
    ) -> Summary:
        """Return statsmodels' summary, byte for byte.

        Parameters
        ----------
        yname : str, optional
            The dependent variable's name to print.
        xname : sequence of str, optional
            (k,) the parameters' names to print.
        title : str, optional
            The heading.
        alpha : float
            The intervals cover with probability 1 - alpha.

        Returns
        -------
        statsmodels.iolib.summary.Summary
            With `as_text`, `as_html`, `as_latex` and `as_csv`.
        """
        params, bse, tvalues, pvalues = self.coefficient_table().T
        content = LikelihoodContent(
            model=named_model(type(self.model).__name__, self.endog_name, self.names),
            nobs=self.nobs,
            df_resid=self.df_resid,
            df_model=self.df_model,
            llf=self.llf,
            params=params,
            bse=bse,
            tvalues=tvalues,
            pvalues=pvalues,
            interval=self.interval_table(alpha),
            use_t=self.use_t,
        )
        left, right = _cells(self)
        return likelihood_summary(
            content,
            left,
            right,
            yname=yname,
            equations=(),
            xname=xname,
            title=title,
            alpha=alpha,
            notes=self._notes,
        )

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
            self, {}, _bread_note(self), yname=yname, xname=xname, title=title, alpha=alpha, float_format=float_format
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
                "null.deviance": [self.deviance + self.llr],
                "df.null": [self.nobs - 1.0],
                "logLik": [self.llf],
                "AIC": [self.aic],
                "BIC": [self.bic],
                "deviance": [self.deviance],
                "df.residual": [self.df_resid],
                "nobs": [int(self.nobs)],
            }
        )

    @property
    def response(self) -> Response:
        """What marginal effects and predictions are of: E(y)."""
        objective, design = self._loss, self.fit.design

        def mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
            index = x @ theta
            return objective.mean(index if offset is None else index + offset)[:, None]

        return Response(
            mean,
            design.exog,
            design.offset,
            design.counts,
            design.names,
            type(self.model).__name__,
            self.endog_name,
            (self.endog_name,),
        )

    # private

    _learned = ("llf", "llnull", "deviance", "k_constant", "_notes")

    @property
    def _notes(self) -> list[str]:
        """What the summary says below its tables."""
        binary = self._loss.support.binary
        return [*(_separation(certain_share(self.fit)) if binary else []), *_bread_note(self)]

    def _parameters(self, values: Tensor) -> Any:
        return vector_of(self, values)

    def _square(self, values: Tensor) -> Any:
        return square_of(self, values)

    def _intervals(self, values: Tensor) -> Any:
        return intervals_of(self, values)

    @property
    def _loss(self) -> LinearIndex:
        """The loss of a row, of one linear index."""
        assert isinstance(self.fit.objective, LinearIndex)
        return self.fit.objective

    @property
    def _error(self) -> Tensor:
        return self.fit.design.endog.to(torch.float64) - self.fit.known(means)

    @property
    def _tensors(self) -> Mapping[str, Any]:
        return {}

    def _at(
        self, exog: Any, transform: bool, offset: Any, exposure: Any
    ) -> tuple[Tensor, Tensor | None, Container, Tensor | None]:
        """Return the regressors, the offset and the container of a prediction, and which rows are identified."""
        known: Tensor | None = None
        if exog is None:
            design = self.fit.design
            regressors, container, shift = design.exog, design.container, design.offset
        else:
            regressors, container, known = new_regressors(self, exog, transform)
            shift = None
        if offset is None and exposure is None:
            return regressors, shift, container, known
        if exog is None:
            raise OptionError(
                "offset and exposure of the data of the fit are those of the fit; pass exog as well to predict under others."
            )
        for option, values in (("offset", offset), ("exposure", exposure)):
            check_beside(values, option, exog, container)
        given = torch.zeros(len(regressors), dtype=torch.float64, device=regressors.device)
        if offset is not None:
            given = given + _one_each(self.model.new_vector(offset, exog, "offset"), given, "offset")
        if exposure is not None:
            rates = _one_each(self.model.new_vector(exposure, exog, "exposure"), given, "exposure")
            if bool((rates <= 0).any()):
                raise DataError(
                    "exposure has values of zero or less, and its logarithm is taken; pass positive numbers."
                )
            given = given + rates.log()
        return regressors, given, container, known


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class MultinomialResults(MaximumLikelihoodResults):
    """Results of MNLogit, with statsmodels' names and shapes: (k, J - 1), a column for each class but the first."""

    model: ClassModel

    @property
    def df_model(self) -> float:
        """(r - 1) (J - 1), r the rank of the regressors: one column counts as the constant, as in statsmodels."""
        return float(self.fit.rank - len(self.fit.equations))

    @property
    def fittedvalues(self) -> Any:
        """(n, J - 1) the linear indices."""
        return self._container.present_rows(self._indices(self.fit.design.exog))

    @property
    def resid_response(self) -> Any:
        """(n, J) indicators of the classes less their probabilities."""
        return self._container.present_rows(self._indicators - self._probabilities(self.fit.design.exog))

    @property
    def resid_misclassified(self) -> Any:
        """(n,) 1 where the class of highest probability is not the one observed."""
        predicted = self._probabilities(self.fit.design.exog).argmax(1)
        return self._container.present_rows((predicted != self.fit.design.endog).to(torch.float64))

    @property
    def cases(self) -> Cases:
        """Refuse: a row has a residual for each class."""
        raise no_cases(
            "MNLogit has one for each class and row; draw the columns of resid_response, or a Logit of one class"
        )

    def predict(self, exog: Any = None, transform: bool = True, which: str = "mean") -> Any:
        """Predict (m, J) probabilities, or with which="linear" the indices, zeros for the first class.

        Parameters
        ----------
        exog, transform
            As in `DiscreteResults.predict`.
        which : {"mean", "linear"}
            Probabilities or indices.

        Returns
        -------
        array
            (m, J).

        Raises
        ------
        OptionError, DataError, FormulaError
            Another `which`, or new data that do not fit.
        """
        if not is_one_of(which, ("mean", "linear")):
            raise OptionError(f"which is {shown(which)}; use 'mean' or 'linear'.")
        if exog is None:
            regressors, container = self.fit.design.exog, self._container
        else:
            regressors, container, _ = new_regressors(self, exog, transform)
        if which == "linear":
            return container.present_rows(torch.nn.functional.pad(self._indices(regressors), (1, 0)))
        return container.present_rows(self._probabilities(regressors))

    def pred_table(self) -> Any:
        """Return (J, J) how often class i was observed and class j had the highest probability.

        Returns
        -------
        array
            (J, J).
        """
        size = len(self.model.levels)
        predicted = self._probabilities(self.fit.design.exog).argmax(1)
        cells = self.fit.design.endog.long() * size + predicted
        counts = self.fit.design.counts
        weights = (
            torch.ones(len(cells), dtype=torch.float64, device=cells.device) if counts is None else counts.double()
        )
        return self._container.plain(torch.bincount(cells, weights, minlength=size * size).reshape(size, size))

    def summary(
        self,
        yname: str | None = None,
        xname: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
    ) -> Summary:
        """Return statsmodels' summary, byte for byte; the parameters are those of `DiscreteResults.summary`.

        Parameters
        ----------
        yname, xname, title, alpha
            As in `LinearResults.summary`.

        Returns
        -------
        statsmodels.iolib.summary.Summary

        Raises
        ------
        OptionError
            Names of another number than the parameters, or `alpha` not between 0 and 1.
        """
        params, bse, tvalues, pvalues = (self._grid(column) for column in self.coefficient_table().T)
        count = len(self.fit.equations)
        content = LikelihoodContent(
            model=named_model(type(self.model).__name__, self.endog_name, self.fit.given.names),
            nobs=self.nobs,
            df_resid=self.df_resid,
            df_model=self.df_model,
            llf=self.llf,
            params=params,
            bse=bse,
            tvalues=tvalues,
            pvalues=pvalues,
            interval=self.interval_table(alpha).reshape(count, -1, 2),
            use_t=self.use_t,
        )
        left, right = _cells(self)
        return likelihood_summary(
            content,
            left,
            right,
            yname=yname,
            equations=self._named(self.endog_name if yname is None else yname, self.model.levels[1:]),
            xname=xname,
            title=title,
            alpha=alpha,
            notes=_bread_note(self),
        )

    def summary2(self, alpha: float = 0.05, float_format: str = "%.4f") -> SecondSummary:
        """Return statsmodels' second summary, a table for each equation; it says t and P>|t|, as statsmodels' does.

        Parameters
        ----------
        alpha : float
            The share outside of the intervals.
        float_format : str
            How numbers are printed.

        Returns
        -------
        statsmodels.iolib.summary2.Summary
            With `as_text`, `as_html` and `as_latex`.
        """
        return equations_summary(self, self.fit.given.names, len(self.fit.equations), alpha, float_format)

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names for `multinom`.

        Returns
        -------
        pandas.DataFrame
            (1, ...).
        """
        return pd.DataFrame(
            {
                "edf": [float(self.fit.rank)],
                "deviance": [-2.0 * self.llf],
                "logLik": [self.llf],
                "AIC": [self.aic],
                "BIC": [self.bic],
                "nobs": [int(self.nobs)],
            }
        )

    @property
    def response(self) -> Response:
        """What marginal effects and predictions are of: the probabilities of the classes."""
        design = self.fit.design

        def mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
            free = x @ theta.reshape(-1, x.shape[1]).mT
            return torch.softmax(torch.nn.functional.pad(free, (1, 0)), 1)

        return Response(
            mean,
            design.exog,
            None,
            design.counts,
            design.names,
            type(self.model).__name__,
            self.endog_name,
            self._named(self.endog_name, self.model.levels),
        )

    # private

    _learned = ("llf", "llnull", "k_constant")

    @property
    def _other_names(self) -> tuple[str, ...]:
        """(k (J - 1),) statsmodels' names of the parameters in restrictions, such as "y1_x" of class 1."""
        names = self.fit.given.names
        return tuple(f"y{class_name(level)}_{name}" for level in self.model.levels[1:] for name in names)

    @staticmethod
    def _named(variable: str, levels: Sequence[Any]) -> tuple[str, ...]:
        return tuple(f"{variable}={class_name(level)}" for level in levels)

    @property
    def _tensors(self) -> Mapping[str, Any]:
        return {}

    @property
    def _indicators(self) -> Tensor:
        size = len(self.model.levels)
        return torch.nn.functional.one_hot(self.fit.design.endog.long(), size).to(torch.float64)

    def _indices(self, exog: Tensor) -> Tensor:
        return exog.to(torch.float64) @ self.fit.params.reshape(len(self.fit.equations), -1).mT

    def _probabilities(self, exog: Tensor) -> Tensor:
        return torch.softmax(torch.nn.functional.pad(self._indices(exog), (1, 0)), 1)

    def _grid(self, column: np.ndarray) -> np.ndarray:
        return column.reshape(len(self.fit.equations), -1).T

    def _parameters(self, values: Tensor) -> Any:
        grid = self._expand(values).reshape(len(self.fit.equations), -1).mT
        columns = list(range(grid.shape[1]))
        return self._container.present(grid, lambda: self.fit.given.names, columns)

    def _square(self, values: Tensor) -> Any:
        square = self._expand_square(values)
        if not isinstance(self._container, Frames):
            return self._container.plain(square)
        index = self._index()
        return pd.DataFrame(to_numpy(square).copy(), index=index, columns=index)

    def _intervals(self, values: Tensor) -> Any:
        full = self._expand(values)
        if not isinstance(self._container, Frames):
            return self._container.plain(full.reshape(len(self.fit.equations), -1, 2))
        return pd.DataFrame(to_numpy(full).copy(), index=self._index(), columns=["lower", "upper"])

    def _index(self) -> pd.MultiIndex:
        levels = [class_name(level) for level in self.model.levels[1:]]
        return pd.MultiIndex.from_product([levels, self.fit.given.names], names=[self.endog_name, None])


def _one_each(values: Any, like: Tensor, label: str) -> Tensor:
    """Read a number for each prediction, or one for all."""
    read = to_tensor(values, like)
    if read.ndim > 0 and read.shape != like.shape:
        raise DataError(
            f"{label} has shape {tuple(read.shape)} for {len(like)} predictions; pass one for each, or one for all."
        )
    if not bool(torch.isfinite(read).all()):
        raise DataError(f"{label} has missing or infinite values; pass a number for each prediction.")
    return read


def _cells(results: MaximumLikelihoodResults) -> tuple[list[Any], list[Any]]:
    left = [
        ("Dep. Variable:", None),
        ("Model:", [type(results.model).__name__]),
        ("Method:", ["MLE"]),
        ("Date:", None),
        ("Time:", None),
        ("converged:", [str(results.converged)]),
        ("Covariance Type:", [results.cov_type]),
    ]
    right = [
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
        ("Pseudo R-squ.:", [f"{results.prsquared:#6.4g}"]),
        ("Log-Likelihood:", None),
        ("LL-Null:", [f"{results.llnull:#8.5g}"]),
        ("LLR p-value:", [f"{results.llr_pvalue:#6.4g}"]),
    ]
    return left, right


def _bread_note(results: MaximumLikelihoodResults) -> list[str]:
    kind = results.fit.bread_kind
    return [] if kind is Bread.OBSERVED else [f"The bread of the covariance is {kind.value!r}."]


def _separation(share: float) -> list[str]:
    if share <= 0.1:
        return []
    return [
        f"Possibly complete quasi-separation: A fraction {share:4.2f} of observations can be\n"
        "perfectly predicted. This might indicate that there is complete\n"
        "quasi-separation. In this case some parameters will not be identified."
    ]
