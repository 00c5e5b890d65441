"""`EquationsResults`: models of several linear indices, or of one and parameters of their own, in one vector of parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from betahat.calculus.indices import columns_of, split
from betahat.data.engine import gather
from betahat.data.modes import in_ordinary_mode
from betahat.data.source import Held
from betahat.errors import OptionError, is_one_of, listed, shown
from betahat.inference.at_params import indices_of
from betahat.inference.cases import Cases, no_cases
from betahat.inference.coefficients import interval
from betahat.inference.margins import Response
from betahat.inference.response import ResponsePrediction
from betahat.lazy import lazily
from betahat.objectives.indices import LinearIndices
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.layout import Vector
from betahat.results.likelihood import MaximumLikelihoodResults
from betahat.results.new_data import data_at, prediction_labels
from betahat.results.second_summary import second_summary
from betahat.results.summaries import bread_notes, likelihood_content
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary2 import Summary as SecondSummary
else:
    pd = lazily("pandas")

Prediction = Callable[[Tensor], Tensor]


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class EquationsResults(MaximumLikelihoodResults, ABC):
    """What models of several linear indices share: predictions by functions of the indices, and tables."""

    @property
    @abstractmethod
    def predictable(self) -> Mapping[str, Prediction]:
        """What may be predicted, by name: functions of (m, q) indices to (m,) values; the first is the default."""

    @property
    def df_model(self) -> float:
        """The regressors' degrees of freedom, r - 1: one column counts as the constant, as in statsmodels."""
        return float(self.fit.rank - self._singles - 1)

    @property
    def df_resid(self) -> float:
        """N - r, r the rank of the regressors: parameters beside theirs are not counted, as in statsmodels."""
        return float(self.fit.nobs) - (self.fit.rank - self._singles)

    # the rows

    @property
    def fittedvalues(self) -> Any:
        """(n,) the main linear index, without the offset, as in statsmodels."""
        offset, index = self.fit.design.offset, self._loss.shown(self._indices)
        return self._container.present_rows(index if offset is None else index - offset)

    @property
    def cases(self) -> Cases:
        """Refuse: a row has derivatives in several indices, and no single leverage."""
        raise no_cases(f"{self._kind} has several indices in each row; draw resid_response, or the scores")

    # predictions

    def predict(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str | None = None,
        offset: Any = None,
        exposure: Any = None,
        *,
        path: Any = None,
    ) -> Any:
        """Predict the mean, or another function of the indices.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit. Files, lazy frames and whatever else a model can be fitted to will
            do, too.
        transform : bool
            Whether new data go through the formula.
        which : str, optional
            One of `predictable`; None takes the first, E(y) of most models.
        offset, exposure : str or array_like, optional
            (m,) of the new data, where there is a formula by name or as an expression, too; without them there is none. The data of
            the fit keep their own.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. The folder is returned.

        Returns
        -------
        (m,)

        Raises
        ------
        OptionError, DataError, FormulaError
            An unknown `which`, offsets of another length, new data that do not fit.
        """
        function = self._function(which)
        if in_parts(exog, path):
            beside = {"offset": offset, "exposure": exposure}
            return predict_in_parts(self, exog, path, transform, beside, which=which)
        regressors, shift, container, known = data_at(self, exog, transform, offset, exposure)
        found = function(indices_of(self._loss, regressors, self.fit.params, shift))
        return container.present_rows(found if known is None else torch.where(known, found, torch.nan))

    def get_prediction(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str | None = None,
        row_labels: Any = None,
        offset: Any = None,
        exposure: Any = None,
    ) -> ResponsePrediction:
        """Predict with standard errors by the delta method, and intervals of the prediction; of a mean of the main index alone, that index's, transformed.

        Parameters
        ----------
        exog, transform, which, offset, exposure
            As in `predict`.
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
        function = self._function(which)
        regressors, shift, container, known = data_at(self, exog, transform, offset, exposure)
        labels = prediction_labels(row_labels, container, len(regressors))
        index = indices_of(self._loss, regressors, self.fit.params, shift)
        values, slopes = _with_slopes(function, index)
        loss, variances = self._loss, self._pair.variances
        df = self._pair.df_of(index_jacobian(loss, regressors, slopes))

        def errors(weights: Tensor) -> Tensor:
            rows = Held({"x": regressors, "slopes": weights})
            found = gather(rows, lambda block: variances.errors(index_jacobian(loss, block["x"], block["slopes"])))
            return found if known is None else torch.where(known, found, torch.nan)

        def bounds(alpha: float) -> Tensor:
            if function != self.predictable.get("mean") or bool(slopes.abs().sum(0).count_nonzero() > 1):
                return interval(values, errors(slopes), alpha, df)
            main = torch.nn.functional.one_hot(torch.tensor(loss.main), index.shape[1]).to(index)
            ends = interval(index[:, loss.main], errors(main.expand_as(index)), alpha, df)
            return torch.stack([function(index + main * (end - index[:, loss.main])[:, None]) for end in ends.mT], 1)

        return ResponsePrediction(values, errors(slopes), bounds, container, labels)

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
        """Return one row of statistics of the model, under broom's column names.

        Returns
        -------
        pandas.DataFrame
            (1, ...).
        """
        return pd.DataFrame(
            {
                "logLik": [self.llf],
                "AIC": [self.aic],
                "BIC": [self.bic],
                "df.residual": [self.df_resid],
                "nobs": [int(self.nobs)],
            }
        )

    # private

    def _response(self, which: Any) -> Response:
        loss, function = self._loss, self._function(which)

        def mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
            return function(index_at(loss, theta, x, offset))[:, None]

        return self._response_of(mean, (self.endog_name,))

    def _response_of(
        self, mean: Callable[[Tensor, Tensor, Tensor | None], Tensor], outcomes: tuple[str, ...]
    ) -> Response:
        """Return a mean with what it is of."""
        sample = self.fit.sample
        return Response(
            mean,
            lambda: self.fit.design.index_columns,
            sample.names,
            self._kind,
            self.endog_name,
            outcomes,
            sample.engine,
        )

    _learned: ClassVar[tuple[str, ...]] = ("llf", "llnull", "k_constant")

    def _content(self, alpha: float) -> Content:
        return likelihood_content(self, alpha)

    def _laid_out(self) -> Vector:
        return Vector(self.fit)

    @property
    def _loss(self) -> LinearIndices:
        """The loss of a row, of several indices."""
        loss = self.fit.objective.indices
        assert loss is not None
        return loss

    @property
    def _singles(self) -> int:
        """How many parameters belong to no regressor."""
        return sum(equation.constant for equation in self.fit.equations)

    @cached_property
    def _indices(self) -> Tensor:
        """(n, q) the linear indices."""
        design = self.fit.design
        return indices_of(self._loss, design.exog, self.fit.params, design.offset)

    def _function(self, which: str | None, others: Sequence[str] = ()) -> Prediction:
        """Return what is predicted, by default the first; `others` are further names that a method takes."""
        known = self.predictable
        if which is None:
            return next(iter(known.values()))
        if not is_one_of(which, tuple(known)):
            raise OptionError(f"which is {shown(which)}; use one of {listed([*known, *others])}.")
        return known[which]


def index_at(loss: LinearIndices, theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
    """Return (b, q) indices, differentiable by torch in (k,) parameters and in (b, k) regressors."""
    columns = columns_of(loss, x)
    parts = split(theta, columns)
    index = torch.stack([part @ values for part, values in zip(columns, parts, strict=True)], -1)
    if offset is None:
        return index
    shift = torch.nn.functional.one_hot(torch.tensor(loss.main, device=x.device), index.shape[-1]).to(index)
    return index + offset[:, None] * shift


def _with_slopes(function: Prediction, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return (m,) values and their (m, q) derivatives in the indices."""
    with torch.enable_grad():
        leaf = index.detach().requires_grad_(True)
        values = function(leaf)
        (slopes,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), slopes


def index_jacobian(loss: LinearIndices, x: Tensor, slopes: Tensor) -> Tensor:
    """Return (b, k) derivatives in the parameters, of (b, q) ones in the indices."""
    parts = zip(columns_of(loss, x), slopes.unbind(1), strict=True)
    return torch.cat([columns * slope[:, None] for columns, slope in parts], 1)
