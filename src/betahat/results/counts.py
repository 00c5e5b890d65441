"""`CountResults`: counts whose distribution has parameters beside those of its mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from betahat.data.container import to_numpy, to_tensor
from betahat.data.design import Design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import DataError, EstimationError, is_one_of, shown
from betahat.inference.at_params import indices_of
from betahat.objectives.excess_zeros import ExcessZeros
from betahat.objectives.negative_binomial import CountIndices
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.equations import EquationsResults, Prediction
from betahat.results.new_data import data_at


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class CountedResults(EquationsResults, ABC):
    """What models of counts share: residuals, from the mean and the variance of their loss."""

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
        return self._container.present_rows(self._error / self._loss.variance(self._indices).sqrt())

    # private

    @property
    @abstractmethod
    def _loss(self) -> CountIndices | ExcessZeros:
        """The loss of a row."""

    @property
    def _error(self) -> Tensor:
        return self.fit.design.endog.to(torch.float64) - self._loss.mean(self._indices)


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class CountResults(CountedResults):
    """Results of negative binomial models, with statsmodels' names; what is shared is in `EquationsResults` and `Results`."""

    @property
    def predictable(self) -> Mapping[str, Prediction]:
        """E(y), x'b + offset, and Var(y)."""
        return {"mean": self._loss.mean, "linear": self._loss.shown, "var": self._loss.variance}

    @property
    def lnalpha(self) -> float:
        """log(alpha)."""
        return float(torch.log(self._alpha))

    @property
    def lnalpha_std_err(self) -> float:
        """Its standard error by the delta method, that of alpha over alpha."""
        return float(self._pair.errors[-1] / self._alpha)

    def predict(
        self,
        exog: Any = None,
        transform: bool = True,
        which: str | None = None,
        offset: Any = None,
        exposure: Any = None,
        y_values: Any = None,
        *,
        path: Any = None,
    ) -> Any:
        """Predict the mean, the index, the variance or probabilities.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit. Files, lazy frames and whatever else a model can be fitted to will
            do, too.
        transform : bool
            Whether new data go through the formula.
        which : {"mean", "linear", "var", "prob"}, optional
            E(y), the default, x'b + offset, Var(y), or the probabilities of counts.
        offset, exposure : str or array_like, optional
            (m,) of the new data.
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
            An unknown `which`, offsets of another length, new data that do not fit.
        """
        if in_parts(exog, path):
            beside = {"offset": offset, "exposure": exposure}
            return predict_in_parts(self, exog, path, transform, beside, which=which, y_values=y_values)
        function = None if is_one_of(which, ("prob",)) else self._function(which, ("prob",))
        regressors, shift, container, known = data_at(self, exog, transform, offset, exposure)
        index = indices_of(self._loss, regressors, self.fit.params, shift)
        if function is not None:
            found = function(index)
            return container.present_rows(found if known is None else torch.where(known, found, torch.nan))
        masses = self._loss.distribution(index[:, None]).pmf(to_numpy(read_counts(self.fit.design, y_values))[None])
        return container.present_rows(torch.as_tensor(masses).to(index))

    def get_distribution(
        self, exog: Any = None, transform: bool = True, offset: Any = None, exposure: Any = None
    ) -> Any:
        """Return the distribution of the counts given the regressors, which `scipy.stats` freezes.

        Parameters
        ----------
        exog, transform, offset, exposure
            As in `predict`.

        Returns
        -------
        scipy.stats.rv_frozen
        """
        regressors, shift, _, _ = data_at(self, exog, transform, offset, exposure)
        return self._loss.distribution(indices_of(self._loss, regressors, self.fit.params, shift))

    # private

    @property
    def _alpha(self) -> Tensor:
        """() alpha, the last parameter."""
        if not self._singles:
            raise EstimationError("The geometric distribution has no alpha to estimate: it is one.")
        return self.fit.params[-1]

    @property
    def _loss(self) -> CountIndices:
        return cast("CountIndices", self.fit.objective)


def read_counts(design: Design, y_values: Any) -> Tensor:
    """(J,) the counts whose probabilities are asked for; None takes 0, 1, ... up to the largest of the data."""
    if y_values is None:
        return torch.arange(int(design.largest_of_endog) + 1, dtype=torch.float64)
    read = to_tensor(y_values, torch.zeros(()).double()).reshape(-1)
    if bool(((read < 0) | (read != read.round())).any()):
        raise DataError(f"y_values is {shown(y_values)}; pass counts, such as [0, 1, 2].")
    return read
