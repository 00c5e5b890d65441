"""What models of regressors share: reading formulas, new data for a prediction, and statsmodels' attributes."""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.covariance.base import Covariance, Estimator
from betahat.data.arrays import read_columns, refuse_name
from betahat.data.container import Container, Frames, to_tensor
from betahat.data.design import Design
from betahat.data.door import RowVectors, SecondEquation
from betahat.data.engine import in_force, using
from betahat.data.formulas.options import FormulaOptions
from betahat.data.formulas.order import read_order
from betahat.data.formulas.stored import StoredFormula
from betahat.data.frame import check_columns
from betahat.data.modes import check_held, in_ordinary_mode, ordinary
from betahat.data.sample import WithoutRows, by_engine
from betahat.data.source import refuse_rows
from betahat.data.workers import read_engine
from betahat.errors import (
    EstimationError,
    OptionError,
    is_one_of,
    listed,
    shown,
)
from betahat.fits.fit import Fit
from betahat.inference.at_params import means_at, scores_at
from betahat.inference.prediction import check_width
from betahat.lazy import lazily
from betahat.objectives.base import Objective
from betahat.saving.records import Stored
from betahat.solvers.least_squares import Rank, column_rank, has_implicit_constant

if TYPE_CHECKING:
    from betahat.data.formulas import formula as formulas
else:
    formulas = lazily("betahat.data.formulas.formula")

# What a formula calls its constant.
CONSTANT = "Intercept"


@dataclass(frozen=True, eq=False)
class ModelData:
    """A model's data under statsmodels' names, `model.data`.

    Attributes
    ----------
    frame : object
        The dataframe that was given with the formula or as exog, with all its rows; None where there is none.
    orig_endog, orig_exog : series and dataframe, arrays or tensors
        (n,) and (n, k), of the rows in use.
    row_labels : pandas.Index or None
        (n,) the labels of the rows in use.
    ynames : str
        The dependent variable's name.
    xnames, param_names : list of str
        (k,) the regressors' names.
    """

    frame: Any
    orig_endog: Any
    orig_exog: Any
    row_labels: Any
    ynames: str
    xnames: list[str]

    @property
    def param_names(self) -> list[str]:
        """The same as `xnames`."""
        return self.xnames


@in_ordinary_mode
class RegressorModel(Stored, ABC):
    """A model of regressors, from arrays or from a formula.

    Attributes
    ----------
    sample : Design or WithoutRows
        The data, in tensors, or what is kept without them.
    source : Formula, StoredFormula or None
        Where the regressors come from.
    """

    stored: ClassVar[tuple[str, ...]] = ("sample", "source")

    sample: Design | WithoutRows
    source: formulas.Formula | StoredFormula | None

    @classmethod
    @abstractmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe."""

    def new_regressors(self, exog: Any, transform: bool = True) -> tuple[Tensor, Container]:
        """Read regressors for a prediction.

        Parameters
        ----------
        exog : dataframe or array_like
            The formula's variables, or (m, k) regressors; a dataframe that has columns of the regressors'
            names may hold them in any order.
        transform : bool
            Whether new data go through the formula.

        Returns
        -------
        Tensor
            (m, k).
        Container
            With the labels of the m rows.
        """
        if self.source is not None and transform:
            frame = self.source.regressors(exog)
            if len(frame.columns) > self.sample.width:  # a model without a constant leaves out that of the formula
                frame = frame.drop(columns=CONSTANT)
            values = torch.tensor(frame.to_numpy(), device=self.sample.device)
            return values, Frames(frame.index)
        device, given = self.sample.device, self.sample.schema.given_names
        if isinstance(exog, Real) or (isinstance(exog, np.ndarray | Tensor) and exog.ndim == 0):
            exog = exog.reshape(1) if isinstance(exog, Tensor) else [exog]  # one row of a model of one column
        read = read_columns(exog, "exog", None if isinstance(exog, Tensor) else device, None, given)
        check_held(read.values, "exog")
        if read.names is not None and given is not None and set(given) & set(read.names):
            check_columns(given, read.names)
        values = read.values
        if values.ndim == 1:
            values = values[None] if self.sample.width > 1 else values[:, None]
        if read.index is not None and len(read.index) == len(values):
            return values, Frames(read.index)
        return values, self.sample.container.relabelled(range(len(values)))

    def moved_regressors(self, frame: Any, values: Mapping[str, Any]) -> dict[int, Tensor]:
        """Read the regressors that change with variables of the formula.

        Parameters
        ----------
        frame : dataframe
            The formula's variables.
        values : mapping
            By the names of some of them, other values: a number or category for all rows, or one for each.

        Returns
        -------
        dict
            By their places (m,) regressors.
        """
        assert self.source is not None
        found = self.source.changed(frame, values)
        columns = self.source.columns
        lost = columns.index(CONSTANT) if len(columns) > self.sample.width else len(columns)
        return {
            place - (place > lost): torch.from_numpy(column).to(self.sample.device)
            for place, column in found.items()
            if place != lost
        }

    def new_vector(self, values: Any, exog: Any, option: str) -> Any:
        """Read a vector that goes with new regressors; with a formula's data, a name or an expression will do.

        Parameters
        ----------
        values : object
            What was given.
        exog : dataframe or mapping
            The new data.
        option : str
            What messages call it.

        Returns
        -------
        array_like
            (m,), or one number.

        Raises
        ------
        DataError, FormulaError
            There is no formula, or no such column.
        """
        if not isinstance(values, str):
            return values
        if self.source is None:
            refuse_name(values, option)
        return self.source.vector(values, exog, option)

    def without_rows(self, rows: WithoutRows) -> Self:
        """Return the model without its data.

        Parameters
        ----------
        rows : WithoutRows
            What stands in their place.

        Returns
        -------
        The same model.
        """
        bare = copy(self)
        bare.sample = rows
        return bare

    @property
    def design(self) -> Design:
        """The data, in tensors."""
        if isinstance(self.sample, WithoutRows):
            refuse_rows()
        self.sample.source.check(whole=False)
        return self.sample

    @property
    def endog(self) -> Any:
        """(n,) the dependent variable, of the rows in use."""
        return self.design.container.present_rows(self.design.endog)

    @property
    def exog(self) -> Any:
        """(n, k) the regressors, of the rows in use."""
        return self.design.container.present_rows(self.design.exog, self.design.names)

    @property
    def weights(self) -> Any:
        """(n,) the weights, of the rows in use; ones for OLS, as in statsmodels."""
        weights = self.design.weights
        ones = torch.ones(self.design.rows, dtype=torch.float64, device=self.design.device)
        return self.design.container.plain(ones if weights is None else weights)

    @property
    def endog_names(self) -> str:
        """The dependent variable's name."""
        return self.sample.endog_name

    @property
    def exog_names(self) -> list[str]:
        """(k,) the regressors' names."""
        return list(self.sample.names)

    @property
    def data(self) -> ModelData:
        """The data under statsmodels' names."""
        design = self.design
        labels = design.container.row_labels
        return ModelData(design.user_data.data, self.endog, self.exog, labels, design.endog_name, self.exog_names)

    @property
    def nobs(self) -> float:
        """n, the number of rows in use."""
        return float(self.sample.nobs)

    # at parameters of one's own

    @property
    @abstractmethod
    def objective(self) -> Objective:
        """The loss of a row."""

    @property
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant."""
        if any(effect.constant for effect in self.design.schema.effects):
            return 1
        count = self.design.constant.count
        return int(has_implicit_constant(self.design)) if count is None else count

    @cached_property
    def rank(self) -> int:
        """The number of independent columns."""
        return len(column_rank(self.design)[0])

    @property
    @abstractmethod
    def df_model(self) -> float:
        """Model degrees of freedom, as in the results."""

    @property
    @abstractmethod
    def df_resid(self) -> float:
        """Residual degrees of freedom, as in the results."""

    def score_obs(self, params: Any) -> Any:
        """Return (n, k) each row's derivative of the log-likelihood.

        Parameters
        ----------
        params : array_like
            (k,) where to evaluate it, in the shape of the results' params.

        Returns
        -------
        array
            (n, k).
        """
        return self._plain(scores_at(self.problem, self._read(params)))

    @property
    def problem(self) -> Problem:
        """The loss on the data, which `fit_at` takes with parameters of your own."""
        return Problem(self.objective, self.design)

    def _read(self, params: Any) -> Tensor:
        """(k,) parameters in the shape of the results' params."""
        read = to_tensor(params, torch.zeros((), dtype=torch.float64, device=self.design.device))
        read = read.mT.reshape(-1) if read.ndim == 2 else read.reshape(-1)
        width = len(self.objective.columns_of_parameters(self.design.width))
        if len(read) != width:
            raise OptionError(
                f"params has shape {np.shape(params)}; pass one number for each of the {width} parameters."
            )
        return read

    def _plain(self, values: Tensor) -> Any:
        return self.design.container.plain(values)

    def _means(self, params: Any, exog: Any, offset: Tensor | None, linear: bool = False) -> Any:
        """Predict at parameters: of the data, with their offset, or of (m, k) new regressors."""
        if self.design.schema.effects:
            raise EstimationError(
                "Predictions at parameters of one's own need the absorbed effects, which are known at the estimates alone; use predict of the results."
            )
        regressors = self.design.exog if exog is None else self.new_regressors(exog, transform=False)[0]
        check_width(regressors, self.design.width)
        offset = self.design.offset if exog is None and offset is None else offset
        return self._plain(means_at(self.objective, regressors, self._read(params), offset, linear))

    @property
    def formula(self) -> str | None:
        """The formula, where there is one."""
        return None if self.source is None else self.source.text

    def __repr__(self) -> str:
        """Name the model and its size."""
        return f"<{type(self).__name__}: {self.endog_names} on {self.sample.width} columns, n = {self.sample.nobs}>"


@ordinary
def design_of_formula(
    formula: str,
    data: Any,
    options: dict[str, Any],
    known: Sequence[str],
    names: Mapping[str, Any],
    model: str,
    trials: bool = False,
    second: SecondEquation | None = None,
    constant: bool = True,
    bars: Collection[str] = (),
) -> tuple[Design, formulas.Formula]:
    """Evaluate a model's formula: `options` is what the user passed beside it, of which the model has the `known`; `names` are the caller's variables.

    With `trials` two terms on the left are successes and failures; the regressors of a `second` equation stand behind the formula's own; a model
    without a `constant` leaves out that of the formula. `bars` are the parts that it takes after the regressors: "effects", "instruments".
    """
    common = ("hasconst", "missing", "device", "dtype", "engine", "compress", "panel", "time")
    unknown = [name for name in options if name not in (*common, *known)]
    if unknown:
        raise OptionError(
            f"{model}.from_formula does not know {listed(unknown)}; its options are {listed([*known, *common])}."
        )
    words = {
        word
        for text in (formula, *options.values(), *([] if second is None else [second.regressors]))
        if isinstance(text, str)
        for word in re.findall(r"[^\W\d]\w*", text)
    }
    context = {word: names[word] for word in words if word in names}
    beside = RowVectors(**{name: value for name, value in options.items() if name not in common})
    given = {name: value for name, value in options.items() if name in ("hasconst", "missing", "device", "dtype")}
    order = read_order(options.get("panel"), options.get("time"))
    reading = FormulaOptions(context, second, trials=trials, constant=constant, bars=bars, order=order, **given)
    engine = read_engine(options.get("engine"))
    with using(in_force(engine)):
        if options.get("compress", False) is False:
            design, source = formulas.read_formula(formula, data, beside, reading)
        else:
            design, source = formulas.read_compressed(formula, data, beside, reading, options["compress"])
    return by_engine(design, engine), source


def caller(depth: int) -> Mapping[str, Any]:
    """Return the variables that a formula may name: those of the frame `depth` calls up."""
    frame = sys._getframe(depth)
    return {**frame.f_globals, **frame.f_locals}


def row_sums(estimator: Callable[[Fit], Covariance]) -> tuple[Any, ...]:
    """Return the sums over rows that an estimator is going to ask for."""
    return estimator.row_sums if isinstance(estimator, Estimator) else ()


def check_rank_option(rank: Rank) -> None:
    """Refuse an unknown `rank`."""
    if not is_one_of(rank, ("pinv", "drop")):
        raise OptionError(f"rank is {shown(rank)}; use 'pinv' (minimum norm) or 'drop' (leave collinear columns out).")
