"""`MultinomialResults`: MNLogit, a column of parameters for each class but the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from betahat.data.classes import class_name
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_one_of, shown
from betahat.inference.cases import Cases, no_cases
from betahat.inference.margins import Response, linear_mean
from betahat.lazy import lazily
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.layout import Grid
from betahat.results.likelihood import MaximumLikelihoodResults
from betahat.results.new_data import Model, new_regressors
from betahat.results.second_summary import equations_summary
from betahat.results.summaries import classes_content
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary2 import Summary as SecondSummary
else:
    pd = lazily("pandas")


class ClassModel(Model, Protocol):
    """The same of a multinomial model."""

    @property
    def levels(self) -> tuple[Any, ...]: ...  # noqa: D102
    @property
    def equations(self) -> tuple[str, ...]: ...  # noqa: D102


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

    def predict(self, exog: Any = None, transform: bool = True, which: str = "mean", *, path: Any = None) -> Any:
        """Predict (m, J) probabilities, or with which="linear" the indices, zeros for the first class.

        Parameters
        ----------
        exog, transform
            As in `DiscreteResults.predict`.
        which : {"mean", "linear"}
            Probabilities or indices.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. The folder is returned.

        Returns
        -------
        array
            (m, J).

        Raises
        ------
        OptionError, DataError, FormulaError
            An unknown `which`, or new data that do not fit.
        """
        _check_which(which)
        if in_parts(exog, path):
            return predict_in_parts(self, exog, path, transform, which=which)
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

    def summary2(self, alpha: float = 0.05, float_format: str = "%.4f") -> SecondSummary:
        """Return statsmodels' second summary, a table for each equation; it says t and P>|t|, as statsmodels' does.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.
        float_format : str
            How numbers are printed.

        Returns
        -------
        statsmodels.iolib.summary2.Summary
            With `as_text`, `as_html` and `as_latex`.
        """
        heads = [f"{self.endog_name} = {number}" for number in range(len(self.fit.equations))]
        return equations_summary(self, self.fit.given.names, heads, alpha, float_format)

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

    # private

    def _response(self, which: Any) -> Response:
        _check_which("mean" if which is None else which)

        def mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
            index = torch.nn.functional.pad(linear_mean(theta, x, None), (1, 0))
            return index if which == "linear" else torch.softmax(index, 1)

        name, sample = self.endog_name, self.fit.sample
        return Response(
            mean,
            lambda: self.fit.design.index_columns,
            sample.names,
            self._kind,
            name,
            self._named(name, self.model.levels),
            sample.engine,
        )

    _learned = ("llf", "llnull", "k_constant")

    def _content(self, alpha: float) -> Content:
        return classes_content(self, alpha)

    def _laid_out(self) -> Grid:
        return Grid(self.fit, tuple(self.model.levels[1:]))

    @staticmethod
    def _named(variable: str, levels: Sequence[Any]) -> tuple[str, ...]:
        return tuple(f"{variable}={class_name(level)}" for level in levels)

    @property
    def _indicators(self) -> Tensor:
        size = len(self.model.levels)
        return torch.nn.functional.one_hot(self.fit.design.endog.long(), size).to(torch.float64)

    def _indices(self, exog: Tensor) -> Tensor:
        return exog.to(torch.float64) @ self.fit.params.reshape(len(self.fit.equations), -1).mT

    def _probabilities(self, exog: Tensor) -> Tensor:
        return torch.softmax(torch.nn.functional.pad(self._indices(exog), (1, 0)), 1)


def _check_which(which: Any) -> None:
    if not is_one_of(which, ("mean", "linear")):
        raise OptionError(f"which is {shown(which)}; use 'mean' or 'linear'.")
