"""`ZeroInflatedResults` and `HurdleResults`: counts with a second equation for zeros."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from betahat.data.engine import Block, fold
from betahat.data.modes import in_ordinary_mode
from betahat.data.turned import selected
from betahat.errors import OptionError, is_one_of, listed, shown
from betahat.inference.at_params import indices_of
from betahat.inference.margins import Response
from betahat.inference.response import ResponsePrediction
from betahat.objectives.excess_zeros import ExcessZeros
from betahat.results.counts import CountedResults, read_counts
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.equations import EquationsResults, Prediction, index_at
from betahat.results.new_data import Model, data_at

if TYPE_CHECKING:
    from betahat.data.design import Design


class BothEquations(Model, Protocol):
    """What these results need of their model."""

    def both(self, exog: Any, second: Any, transform: bool) -> tuple[Any, bool]:
        """Put new regressors of both equations side by side."""
        ...


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class ExcessZerosResults(CountedResults, ABC):
    """What results of zero-inflated and hurdle models share."""

    model: BothEquations

    @property
    def predictable(self) -> Mapping[str, Prediction]:
        """What may be predicted, by statsmodels' names."""
        return self._loss.predictions

    # private

    def _response(self, which: Any) -> Response:
        """Return a function of the variables of both equations; one that is in both moves in both."""
        loss, function = self._loss, self._function(which)
        kept, places, names = self._variables
        back = torch.tensor(places, device=self.fit.params.device)

        def mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
            return function(index_at(loss, theta, x[:, back], offset))[:, None]

        found = self._response_of(mean, (self.endog_name,))
        return replace(found, names=names, source=lambda: selected(self.fit.design.index_columns, kept))

    def _response_through_formula(self, which: Any) -> Response:
        return EquationsResults._response(self, which)

    @property
    def _variables(self) -> tuple[list[int], list[int], tuple[str, ...]]:
        kept, places, names = self.fit.fact("variables", lambda: _variables(self.fit.design, self._loss))
        return kept, places, tuple(names)

    def _predicted(
        self, exog: Any, second: Any, transform: bool, which: str | None, offset: Any, exposure: Any, y_values: Any
    ) -> Any:
        """Predict a function of the indices, or probabilities."""
        exog, transform = self.model.both(exog, second, transform)
        regressors, shift, container, _ = data_at(self, exog, transform, offset, exposure)
        index = indices_of(self._loss, regressors, self.fit.params, shift)
        return container.present_rows(
            predicted(self._loss, index, which, lambda: read_counts(self.fit.design, y_values))
        )

    @property
    def _regressors(self) -> int:
        """How many regressors the counts have."""
        return len(self._loss.places(self.fit.given.width)[self._loss.main])

    @property
    def _loss(self) -> ExcessZeros:
        return cast("ExcessZeros", self.fit.objective)


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class ZeroInflatedResults(ExcessZerosResults):
    """Results of zero-inflated models, with statsmodels' names; what is shared is in `EquationsResults` and `Results`."""

    @property
    def df_model(self) -> float:
        """The counts' regressors, less one for the constant, as in statsmodels."""
        return float(self._regressors - 1)

    @property
    def df_resid(self) -> float:
        """N less the number of the counts' regressors, as in statsmodels: parameters of the zeros' equation, and alpha, are not counted."""
        return float(self.fit.nobs) - self._regressors

    def predict(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str | None = None,
        offset: Any = None,
        exposure: Any = None,
        exog_infl: Any = None,
        y_values: Any = None,
        *,
        path: Any = None,
    ) -> Any:
        """Predict the mean, probabilities, or another function of the two indices.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formulas' variables, or (m, k) regressors of the counts; None takes the data of the fit.
        transform : bool
            Whether new data go through the formulas.
        which : {"mean", "linear", "var", "mean-main", "mean-nonzero", "prob-zero", "prob-main", "prob"}
            E(y), x'b + offset, Var(y), the mean of the counts' distribution, E(y | y > 0), P(y = 0), 1 - p, or the probabilities of counts.
        offset, exposure : str or array_like, optional
            (m,) of the new data.
        exog_infl : array_like, optional
            (m, q) regressors of the inflation, beside `exog`.
        y_values : array_like, optional
            (J,) the counts whose probabilities are returned; None takes 0, 1, ... up to the largest of the data.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. The folder is returned.

        Returns
        -------
        array
            (m,), or (m, J) probabilities.

        Raises
        ------
        OptionError, DataError, FormulaError
            Another `which`, one equation's regressors without the other's, new data that do not fit.
        """
        if in_parts(exog, path):
            beside = {"offset": offset, "exposure": exposure, "exog_infl": exog_infl}
            return predict_in_parts(self, exog, path, transform, beside, which=which, y_values=y_values)
        return self._predicted(exog, exog_infl, transform, which, offset, exposure, y_values)

    def get_prediction(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str | None = None,
        row_labels: Any = None,
        offset: Any = None,
        exposure: Any = None,
        exog_infl: Any = None,
    ) -> ResponsePrediction:
        """Predict with standard errors and intervals by the delta method.

        Parameters
        ----------
        exog, transform, which, offset, exposure, exog_infl
            As in `predict`, which="prob" excepted.
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
        exog, transform = self.model.both(exog, exog_infl, transform)
        return EquationsResults.get_prediction(self, exog, transform, which, row_labels, offset, exposure)


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class HurdleResults(ExcessZerosResults):
    """Results of hurdle models; what is shared is in `EquationsResults` and `Results`."""

    @property
    def df_model(self) -> float:
        """The regressors of both equations, less two for their constants."""
        return float(self.fit.rank - self._singles - 2)

    @property
    def df_resid(self) -> float:
        """The number of rows less the number of parameters, as in pscl."""
        return float(self.fit.nobs) - self.fit.rank

    def predict(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str | None = None,
        offset: Any = None,
        exposure: Any = None,
        exog_zero: Any = None,
        y_values: Any = None,
        *,
        path: Any = None,
    ) -> Any:
        """Predict the mean, probabilities, or another function of the two indices.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formulas' variables, or (m, k) regressors of the counts; None takes the data of the fit.
        transform : bool
            Whether new data go through the formulas.
        which : {"mean", "linear", "var", "mean-main", "mean-nonzero", "prob-zero", "prob-main", "prob"}
            E(y), x'b + offset, Var(y), the mean of the counts' distribution with its zeros, E(y | y > 0), P(y = 0), P(y > 0), or the probabilities
            of counts.
        offset, exposure : str or array_like, optional
            (m,) of the new data.
        exog_zero : array_like, optional
            (m, q) regressors of P(y > 0), beside `exog`.
        y_values : array_like, optional
            (J,) the counts whose probabilities are returned; None takes 0, 1, ... up to the largest of the data.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. The folder is returned.

        Returns
        -------
        array
            (m,), or (m, J) probabilities.

        Raises
        ------
        OptionError, DataError, FormulaError
            Another `which`, one equation's regressors without the other's, new data that do not fit.
        """
        if in_parts(exog, path):
            beside = {"offset": offset, "exposure": exposure, "exog_zero": exog_zero}
            return predict_in_parts(self, exog, path, transform, beside, which=which, y_values=y_values)
        return self._predicted(exog, exog_zero, transform, which, offset, exposure, y_values)

    def get_prediction(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str | None = None,
        row_labels: Any = None,
        offset: Any = None,
        exposure: Any = None,
        exog_zero: Any = None,
    ) -> ResponsePrediction:
        """Predict with standard errors and intervals by the delta method.

        Parameters
        ----------
        exog, transform, which, offset, exposure, exog_zero
            As in `predict`, which="prob" excepted.
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
        exog, transform = self.model.both(exog, exog_zero, transform)
        return EquationsResults.get_prediction(self, exog, transform, which, row_labels, offset, exposure)


def predicted(loss: ExcessZeros, index: Tensor, which: str | None, counts: Callable[[], Tensor]) -> Tensor:
    """Return (m,) a function of (m, 2) or (m, 3) indices, or (m, J) probabilities of (J,) counts, which are read where these are asked for."""
    known = loss.predictions
    if which is None or is_one_of(which, tuple(known)):
        return known[which or "mean"](index)
    if not is_one_of(which, ("prob",)):
        raise OptionError(f"which is {shown(which)}; use one of {listed([*known, 'prob'])}.")
    wanted = counts().to(index)
    shape = (len(index), len(wanted))
    return loss.probability(index[:, None].expand(*shape, -1), wanted.expand(shape))


def _variables(design: Design, loss: ExcessZeros) -> tuple[list[int], list[int], tuple[str, ...]]:
    """Return the columns of the variables of both equations, each once, the variable of each column, and the variables' names."""
    places = zip(loss.equations, loss.places(design.width), strict=True)
    zeros = next(place for equation, place in places if equation.name == loss.second)
    full, prefix = design.names, f"{loss.second}{loss.joint}"
    short = [name.removeprefix(prefix) if i in zeros else name for i, name in enumerate(full)]
    alike = [(j, i) for i, name in enumerate(short) for j in range(i) if short[j] == name]
    equal = _equal_columns(design, alike)
    kept: list[int] = []
    back: list[int] = []
    for i in range(len(short)):
        same = next((j for j in kept if (j, i) in equal), None)
        if same is None:
            kept.append(i)
        back.append(kept.index(i if same is None else same))
    often = [short[i] for i in kept]
    return kept, back, tuple(short[i] if often.count(short[i]) == 1 else full[i] for i in kept)


def _equal_columns(design: Design, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the pairs of columns that are the same in every row."""
    if not pairs:
        return set()
    first, second = map(list, zip(*pairs, strict=True))

    def differ(block: Block) -> tuple[Tensor]:
        return ((block["exog"][:, first] != block["exog"][:, second]).sum(0),)

    (rows,) = fold(design.regressors, differ, design.engine)
    return {pair for pair, count in zip(pairs, rows.tolist(), strict=True) if not count}
