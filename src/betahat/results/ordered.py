"""`OrderedResults`: OrderedModel, with probabilities of categories and cut points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.data.classes import class_name
from betahat.data.container import Container, to_numpy
from betahat.data.engine import gather
from betahat.data.handed_out import hands_out_copies
from betahat.data.modes import in_ordinary_mode
from betahat.data.source import Held
from betahat.errors import OptionError, is_one_of, shown
from betahat.inference.at_params import indices_of
from betahat.inference.cases import Cases, no_cases
from betahat.inference.categories import CategoryPrediction
from betahat.inference.coefficients import interval
from betahat.inference.delta import Delta, Parameters
from betahat.inference.margins import Response
from betahat.inference.response import ResponsePrediction
from betahat.lazy import lazily
from betahat.objectives.ordered import Ordered
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.equations import EquationsResults, Prediction, index_at, index_jacobian
from betahat.results.new_data import Model, data_at, prediction_labels
from betahat.results.summaries import ordered_content
from betahat.solvers.newton import newton
from betahat.tables.estimates import Coefficients, shown_of
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


class OrderedCategories(Model, Protocol):
    """The same of a model of ordered categories."""

    @property
    def levels(self) -> tuple[Any, ...]: ...  # noqa: D102


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Thresholds:
    """Cut points, with standard errors by the delta method, or from the replicates of a bootstrap.

    Attributes
    ----------
    found : Delta
        The numbers.
    names : tuple of str
        (J - 1,) what they divide, such as "0/1".
    container : Container
        How they are handed out.
    """

    found: Delta
    names: tuple[str, ...]
    container: Container

    @property
    def params(self) -> Any:
        """(J - 1,) the cut points."""
        return self.container.present(self.found.estimates, lambda: self.names)

    @property
    def bse(self) -> Any:
        """(J - 1,) their standard errors."""
        return self.container.present(self.found.errors, lambda: self.names)

    def cov_params(self) -> Any:
        """Return (J - 1, J - 1) their covariance.

        Returns
        -------
        array
            (J - 1, J - 1).
        """
        return self.container.present(self.found.matrix, lambda: self.names)

    def conf_int(self, alpha: float = 0.05) -> Any:
        """Return (J - 1, 2) intervals of coverage 1 - alpha.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        array
            (J - 1, 2).
        """
        bounds = interval(self.found.estimates, self.found.errors, alpha, self.found.df)
        return self.container.present(bounds, lambda: self.names, [0, 1])

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a row for each cut point.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        pandas.DataFrame
            (J - 1, 6).
        """
        return self.found.summary_frame(alpha).set_axis(list(self.names), axis=0)

    def __repr__(self) -> str:
        """Return the table as text."""
        return self.summary_frame().to_string()


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class OrderedResults(EquationsResults):
    """Results of OrderedModel, with statsmodels' names; what is shared is in `EquationsResults` and `Results`."""

    model: OrderedCategories

    @property
    def df_model(self) -> float:
        """The rank of the regressors."""
        return float(self.fit.rank - self._singles)

    @property
    def df_resid(self) -> float:
        """N - r, r the number of coefficients and cut points."""
        return self.fit.df_resid

    @property
    def thresholds(self) -> Thresholds:
        """The cut points, whose increments are the exponentials of the last parameters, with standard errors."""
        width, loss = len(self.fit.params) - self._singles, self._loss

        def cuts(params: Parameters) -> Tensor:
            return loss.cuts(params.vector[-self._singles :])[1:-1]

        return Thresholds(self.delta(cuts), self.fit.coefficients[width:], self._container)

    @cached_property
    def llnull(self) -> float:
        """The log-likelihood of the cut points alone, under the same offset and weights."""
        return self.fit.fact("null log-likelihood", self._null)

    # the rows

    @property
    def cases(self) -> Cases:
        """Refuse: categories have no difference from a mean."""
        raise no_cases("OrderedModel has categories in the place of numbers; draw resid_prob, a number for each row")

    @property
    def resid_prob(self) -> Any:
        """(n,) P(Y < y) - P(Y > y), Y being drawn from the row's predicted probabilities.

        References
        ----------
        Li and Shepherd (2012), Biometrika 99(2).
        """
        cumulated = torch.nn.functional.pad(self._probabilities.cumsum(1), (1, 0))
        place = self.fit.design.endog.long()[:, None]
        below, to_it = torch.gather(cumulated, 1, place), torch.gather(cumulated, 1, place + 1)
        return self._container.present_rows((below - (1.0 - to_it))[:, 0])

    def pred_table(self) -> pd.DataFrame:
        """Return how often category i was observed and category j had the highest probability, with margins.

        Returns
        -------
        pandas.DataFrame
            (J + 1, J + 1), observed categories in rows.
        """
        size, design = len(self.model.levels), self.fit.design
        cells = design.endog.long() * size + self._probabilities.argmax(1)
        ones = torch.ones(len(cells), dtype=torch.float64, device=cells.device)
        often = ones if design.counts is None else design.counts.double()
        table = torch.bincount(cells, often, minlength=size * size).reshape(size, size).round().long()
        table = torch.cat([table, table.sum(0, keepdim=True)])
        table = torch.cat([table, table.sum(1, keepdim=True)], 1)
        names = [class_name(level) for level in self.model.levels]
        return pd.DataFrame(
            to_numpy(table).copy(),
            pd.Index([*names, "All"], name="observed"),
            pd.Index([*names, "All"], name="predicted"),
        )

    # predictions

    @property
    def predictable(self) -> Mapping[str, Prediction]:
        """The index; probabilities are several numbers a row, which `predict` returns."""
        return {"linpred": self._loss.shown}

    def predict(  # type: ignore[override]
        self, exog: Any = None, transform: bool = True, which: str = "prob", offset: Any = None, *, path: Any = None
    ) -> Any:
        """Predict probabilities of categories, or the index.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit. Files, lazy frames and whatever else a model can be fitted to will
            do, too.
        transform : bool
            Whether new data go through the formula.
        which : {"prob", "linpred", "cumprob"}
            (m, J) probabilities, (m,) x'b + offset, or (m, J) probabilities of a category or one below.
        offset : str or array_like, optional
            (m,) of the new data; without it there is none. Of the data of the fit it is that of the fit.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. The folder is returned.

        Returns
        -------
        array
            (m, J), or (m,); of a dataframe the columns have the names of the categories.

        Raises
        ------
        OptionError, DataError, FormulaError
            Another `which`, an offset of another length, new data that do not fit.
        """
        check_which(which)
        if in_parts(exog, path):
            return predict_in_parts(self, exog, path, transform, {"offset": offset}, which=which)
        regressors, shift, container, known = data_at(self, exog, transform, offset, None)
        index = indices_of(self._loss, regressors, self.fit.params, shift)
        if which == "linpred":
            found = self._loss.shown(index)
            return container.present_rows(found if known is None else torch.where(known, found, torch.nan))
        found = self._loss.mean(index)
        found = found if known is None else torch.where(known[:, None], found, torch.nan)
        found = found.cumsum(1) if which != "prob" else found
        return container.present_rows(found, list(self.model.levels))

    def get_prediction(  # type: ignore[override]
        self, exog: Any = None, transform: bool = True, which: str = "prob", row_labels: Any = None, offset: Any = None
    ) -> CategoryPrediction | ResponsePrediction:
        """Predict with standard errors by the delta method, and intervals.

        Parameters
        ----------
        exog, transform, which, offset
            As in `predict`.
        row_labels : sequence, optional
            (m,) labels for `summary_frame`.

        Returns
        -------
        CategoryPrediction
            Of "prob" and "cumprob", (m, J) numbers; of "linpred" a `ResponsePrediction`, with (m,).

        Raises
        ------
        OptionError, DataError, FormulaError
            As in `predict`.
        """
        check_which(which)
        if which == "linpred":
            return EquationsResults.get_prediction(self, exog, transform, which, row_labels, offset)
        regressors, shift, container, known = data_at(self, exog, transform, offset, None)
        labels = prediction_labels(row_labels, container, len(regressors))
        values, slopes = self._probability_slopes(indices_of(self._loss, regressors, self.fit.params, shift), which)
        loss, variances = self._loss, self._pair.variances

        def errors(category: int) -> Tensor:
            rows = Held({"x": regressors, "slopes": slopes[:, category]})
            found = gather(rows, lambda block: variances.errors(index_jacobian(loss, block["x"], block["slopes"])))
            return found if known is None else torch.where(known, found, torch.nan)

        every = range(len(self.model.levels))
        df = [self._pair.df_of(index_jacobian(loss, regressors, slopes[:, category])) for category in every]
        found = torch.stack([errors(category) for category in every], 1)
        values = values if known is None else torch.where(known[:, None], values, torch.nan)
        return CategoryPrediction(values, found, df, self.model.levels, container, labels)

    # private

    def _response(self, which: Any) -> Response:
        check_which("prob" if which is None else which)
        if which == "linpred":
            return EquationsResults._response(self, which)
        loss = self._loss

        def mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
            found = loss.mean(index_at(loss, theta, x, offset))
            return found if which is None or which == "prob" else found.cumsum(1)

        return self._response_of(mean, tuple(f"{self.endog_name}={class_name(level)}" for level in self.model.levels))

    def _content(self, alpha: float) -> Content:
        return ordered_content(self, alpha)

    @property
    def _loss(self) -> Ordered:
        return cast("Ordered", self.fit.objective)

    @property
    def _probabilities(self) -> Tensor:
        """(n, J)."""
        return self._loss.mean(self._indices)

    def _probability_slopes(self, index: Tensor, which: str) -> tuple[Tensor, Tensor]:
        """Return (m, J) probabilities, or cumulated ones, and their (m, J, q) derivatives in (m, q) indices."""
        with torch.enable_grad():
            leaf = index.detach().requires_grad_(True)
            found = self._loss.mean(leaf)
            found = found if which == "prob" else found.cumsum(1)
            slopes = [torch.autograd.grad(part.sum(), leaf, retain_graph=True)[0] for part in found.unbind(1)]
        derivatives = torch.stack(slopes, 1)
        if which != "prob":  # all of them sum to one, which rounding does not know
            derivatives[:, -1] = 0.0
        return found.detach(), derivatives

    def _null(self) -> float:
        design = self.fit.design
        problem = Problem(self._loss, design.with_regressors(design.exog.new_empty(design.rows, 0), ()))
        first = self._loss.first(problem.sample, lambda loss, rows: rows.lengths)  # type: ignore[arg-type]
        if design.offset is None:  # shares of categories are the optimum
            return -float(problem.loss(first))
        return -float(newton(problem, first, cheap=True).local.loss)


def check_which(which: Any) -> None:
    """Refuse an unknown kind of prediction."""
    if not is_one_of(which, ("prob", "linpred", "cum", "cumprob")):
        raise OptionError(f"which is {shown(which)}; use 'prob', 'linpred' or 'cumprob'.")


@dataclass(frozen=True, eq=False)
class _WithCutPoints:
    """What a table of models shows: coefficients, and under a title of their own the cut points."""

    results: OrderedResults

    @property
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """(K,) no title, and that of the cut points."""
        cuts = len(self.results.thresholds.names)
        terms = self.results.equation_terms
        return (*terms[:-cuts], *(("Cut points", name) for _, name in terms[-cuts:]))

    def coefficient_table(self) -> np.ndarray:
        """Return (K, 4): number, standard error, statistic and p-value."""
        cuts = self.results.thresholds.summary_frame().to_numpy()[:, :4]
        return np.concatenate([self.results.coefficient_table()[: -len(cuts)], cuts])

    def interval_table(self, alpha: float) -> np.ndarray:
        """Return the (K, 2) confidence intervals."""
        cuts = self.results.thresholds.summary_frame(alpha).to_numpy()[:, 4:]
        return np.concatenate([self.results.interval_table(alpha)[: -len(cuts)], cuts])


@shown_of.register
def _(result: OrderedResults) -> Coefficients:
    return _WithCutPoints(result)
