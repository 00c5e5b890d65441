"""The regressions of an event study, and what they say of effects by event time, by cohort, by period, and on average."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.autodiff import summed_jacobian
from betahat.covariance.classical import Classical
from betahat.covariance.names import CovType
from betahat.data.container import to_tensor
from betahat.data.schema import Schema
from betahat.data.user_data import UserData
from betahat.did.cells import By, Cells, averages
from betahat.did.two_stage import Imputed, two_stages
from betahat.errors import DataError, OptionError
from betahat.objectives.base import Route
from betahat.results.core import UnstoredModel
from betahat.results.moments import GMMResults, MomentView
from betahat.results.statsmodels_names import Results


@dataclass(frozen=True, eq=False)
class Choice:
    """A covariance as the user asks for it.

    Attributes
    ----------
    cov_type, cov_kwds, use_t
        As in `Results.with_cov`; a `cov_type` of None leaves that of the regression.
    """

    cov_type: CovType | None
    cov_kwds: Mapping[str, Any] | None = None
    use_t: bool | None = None

    def of(self, results: Results) -> Results:
        """Return results under the covariance."""
        if self.cov_type is not None:
            return results.with_cov(self.cov_type, self.cov_kwds, self.use_t)
        return results if self.use_t is None else results.with_use_t(self.use_t)


@dataclass(frozen=True, eq=False)
class Effects:
    """Functions of coefficients that are effects of the treatment.

    Attributes
    ----------
    results : Results
        Of the regression.
    names : tuple of str
        (m,) what the effects are called.
    places : ndarray
        (m,) float64 the event time, cohort or period of each; NaN of an average of all.
    matrix : Tensor
        (m, k) their derivatives in the coefficients.
    function : callable or None
        (k,) coefficients -> (m,) effects; None is the product with the matrix.
    """

    results: Results
    names: tuple[str, ...]
    places: np.ndarray
    matrix: Tensor
    function: Callable[[Tensor], Tensor] | None = None

    def at(self, params: Tensor) -> Tensor:
        """Return (m,) the effects at (k,) coefficients."""
        return self.matrix @ params if self.function is None else self.function(params)


class Regressions(ABC):
    """What an estimator fits."""

    @abstractmethod
    def effects(self, by: By) -> Effects:
        """Return effects, averaged in one way."""


@dataclass(frozen=True, eq=False)
class Saturated(Regressions):
    """One regression with an effect for each cell of cohort and period, of which others are averages with fixed weights.

    Attributes
    ----------
    results : Results
        The regression.
    cells : Cells
        What the c effects are of.
    loadings : Tensor
        (c, k) the effects' derivatives in the coefficients.
    sizes : ndarray
        (c,) the rows of each cell, each times its weights; zero where the effect is not identified.
    words : mapping of float to str
        What periods are called, where they are no numbers.
    """

    results: Results
    cells: Cells
    loadings: Tensor
    sizes: np.ndarray
    words: Mapping[float, str]

    def effects(self, by: By) -> Effects:
        """Return averages of the cells' effects by their sizes."""
        found = averages(self.cells, self.sizes, by, self.words)
        return Effects(self.results, found.names, found.places, to_tensor(found.weights, self.loadings) @ self.loadings)


@dataclass(frozen=True, eq=False)
class Means(Regressions):
    """One regression of a mean that is no linear function, whose effects are averages over rows of the mean less that without the treatment.

    Attributes
    ----------
    results : Results
        The regression.
    cells : Cells
        What the c effects are of, with the cell of each of the n rows of some.
    sizes : ndarray
        (c,) the weights of the rows of each cell.
    rows : Tensor
        (n, k) regressors.
    without : Tensor
        (n, k) the same rows without the treatment.
    weights : Tensor
        (n,) their weights.
    words : mapping of float to str
        What periods are called, where they are no numbers.
    """

    results: Results
    cells: Cells
    sizes: np.ndarray
    rows: Tensor
    without: Tensor
    weights: Tensor
    words: Mapping[float, str]

    def effects(self, by: By) -> Effects:
        """Return averages over the rows of the cells."""
        found = averages(self.cells, self.sizes, by, self.words)
        shares = to_tensor(found.weights / np.where(self.sizes > 0, self.sizes, 1.0), self.rows)
        function = _AverageChange(self, shares)
        matrix = summed_jacobian(function, self.results.fit.params, Route.BACKWARD)
        return Effects(self.results, found.names, found.places, matrix, function)


@dataclass(frozen=True, eq=False)
class _AverageChange:
    """Averages over rows of a mean less that without the treatment, as a function of the coefficients; `shares` are (J, c) of the cells' sums."""

    of: Means
    shares: Tensor

    def __call__(self, params: Tensor) -> Tensor:
        """Return (J,) the averages at (k,) coefficients."""
        index = self.of.results.fit.objective.one_index
        assert index is not None
        changes = self.of.weights * (index.mean(self.of.rows @ params) - index.mean(self.of.without @ params))
        codes = torch.from_numpy(self.of.cells.codes).to(changes.device)
        return self.shares @ changes.new_zeros(len(self.of.cells)).index_add(0, codes, changes)


@dataclass(frozen=True, eq=False)
class TwoWay(Regressions):
    """A regression with an effect for each event time, the same for all cohorts, and one with a single effect.

    Attributes
    ----------
    dynamic : Saturated or None
        The first, whose cells are event times; None where these are collinear with units and periods.
    pooled : Results
        The second.
    treatment : int
        The place of its effect among its coefficients.
    """

    dynamic: Saturated | None
    pooled: Results
    treatment: int

    def effects(self, by: By) -> Effects:
        """Return the coefficients of one of the two."""
        if by == "event":
            if self.dynamic is None:
                raise DataError(
                    "No unit is never treated, so that event time, unit and period are collinear; leave out two event times, such as ref=[-1, -5], or use "
                    "estimator='sunab'."
                )
            return self.dynamic.effects(by)
        if by != "att":
            raise OptionError(
                "Two-way fixed effects have the same effect for all cohorts; use estimator='sunab', 'did2s' or 'etwfe' for effects by cohort and period."
            )
        matrix = torch.zeros(1, len(self.pooled.fit.params)).to(self.pooled.fit.params)
        matrix[0, self.treatment] = 1.0
        return Effects(self.pooled, ("ATT",), np.full(1, np.nan), matrix)


@dataclass(frozen=True, eq=False)
class TwoStages(Regressions):
    """Regressions of what the first stage leaves of the outcomes on dummies, one for each way of averaging.

    Attributes
    ----------
    stage : Imputed
        The first stage.
    cells : Cells
        What the effects are of, with the cell of each row of the first stage.
    sizes : ndarray
        (c,) the rows of each cell.
    schema : Schema
        What is known of the rows.
    user_data : UserData
        Where they come from.
    words : mapping of float to str
        What periods are called, where they are no numbers.
    """

    stage: Imputed
    cells: Cells
    sizes: np.ndarray
    schema: Schema
    user_data: UserData
    words: Mapping[float, str]

    def effects(self, by: By) -> Effects:
        """Fit the second stage on a dummy for each average."""
        found = averages(self.cells, self.sizes, by, self.words)
        members = to_tensor(found.weights > 0, self.stage.left)
        codes = torch.from_numpy(self.cells.codes).to(members.device)
        dummies = torch.cat([members, members.new_zeros(len(members), 1)], 1).mT[codes]
        results = second_stage_of(self.stage, dummies, found.names, self.schema, self.user_data)
        return Effects(results, found.names, found.places, torch.eye(len(members)).to(members))


def second_stage_of(
    stage: Imputed, regressors: Tensor, names: tuple[str, ...], schema: Schema, user_data: UserData
) -> GMMResults:
    """Return the second stage of (n, k) regressors."""
    known = Schema(schema.container, schema.endog_name, names)
    fit = two_stages(stage, regressors, known, user_data)
    view = MomentView("two stages", {}, len(names), "identity", False, None)
    return GMMResults(UnstoredModel("did2s"), fit, Classical()(fit), view)
