"""MultinomialLogit logit: one of several classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from betahat.calculus.counts import Counts
from betahat.calculus.rows import BreadName
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.arrays import Device
from betahat.data.classes import class_formula, class_name, read_classes, told_of_classes
from betahat.data.design import Design, InUse
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.engine import fold, in_force
from betahat.data.modes import in_ordinary_mode
from betahat.data.turned import computed
from betahat.data.workers import read_engine
from betahat.errors import DataError, listed
from betahat.lazy import lazily
from betahat.models.likelihood import LikelihoodModel, check_which, fit_likelihood
from betahat.models.regressors import (
    RegressorModel,
    caller,
    design_of_formula,
)
from betahat.objectives.equation import Equation
from betahat.objectives.softmax import MultinomialLogit
from betahat.results.multinomial import MultinomialResults
from betahat.solvers.least_squares import Rank

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@in_ordinary_mode
class MNLogit(LikelihoodModel):
    """Multinomial logit: P(y = j) is proportional to exp(x'b_j), with b = 0 for the first class.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) classes: numbers or strings, in sorted order; a pandas category keeps its own.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors.
    weights, freq_weights, hasconst, missing, device, dtype, engine
        As in `Logit`.

    Attributes
    ----------
    levels : tuple
        (J,) the classes; the first is the base.

    Raises
    ------
    DataError, OptionError
        As in `Logit`; one class, a class without a row, or almost as many classes as rows.

    References
    ----------
    ``statsmodels.discrete.discrete_model.MNLogit``. R: ``nnet::multinom``.

    Examples
    --------
    >>> import betahat as bh
    >>> y = ["a", "b", "a", "c", "b", "c", "a", "c"]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 4.0, 2.0])
    >>> bh.MNLogit(y, x).fit().params.shape
    (2, 2)
    """

    stored = (*RegressorModel.stored, "levels")

    levels: tuple[Any, ...]

    def __init__(
        self,
        endog: Any,
        exog: Any,
        weights: Any = None,
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        codes, self.levels = read_classes(endog)
        beside = RowVectors(weights=weights, freq_weights=freq_weights)
        self.sample = read_design(
            codes, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype, engine=engine
        )
        self.source = None
        if not isinstance(getattr(endog, "dtype", None), pd.CategoricalDtype):
            self.sample, self.levels = classes_in_use(self.design, self.levels)
        _check_classes(self.design, self.levels)

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; the left-hand side is a column of classes. `bh.mnlogit` is the same.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        **options
            weights and freq_weights, hasconst, missing, device, dtype, engine, compress, panel and time, as in `logit`.

        Returns
        -------
        MNLogit

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.
        """
        coded = class_formula(formula, data, in_force(read_engine(options.get("engine"))))
        model, vectors, names = cls.__new__(cls), ("weights", "freq_weights"), caller(2)
        with told_of_classes(coded.name):
            design, source = design_of_formula(coded.text, coded.data, options, vectors, names, cls.__name__)
        model.source = replace(source, text=formula)
        model.sample = replace(design, schema=replace(design.schema, endog_name=coded.name))
        model.levels = coded.levels
        if not isinstance(coded.kind, pd.CategoricalDtype):
            model.sample, model.levels = classes_in_use(model.design, coded.levels)
        _check_classes(model.design, model.levels)
        return model

    @property
    def equations(self) -> tuple[str, ...]:
        """(J - 1,) the equations' names, such as "y=2"."""
        return tuple(f"{self.sample.endog_name}={class_name(level)}" for level in self.levels[1:])

    @property
    def objective(self) -> MultinomialLogit:
        """The loss of a row, with an index for each class but the first."""
        return MultinomialLogit(equations=tuple(map(Equation, self.equations)))

    @property
    def df_model(self) -> float:
        """(r - 1) (J - 1), r the rank of the regressors."""
        return float((self.rank - 1) * self._equation_count)

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r (J - 1)."""
        return Counts(self.nobs, self.rank * self._equation_count).free

    @property
    def _equation_count(self) -> int:
        return len(self.levels) - 1

    def predict(self, params: Any, exog: Any = None, which: str = "mean") -> Any:
        """Return (m, J) probabilities, or the indices, zeros first.

        Parameters
        ----------
        params : array_like
            (k, J - 1) coefficients.
        exog : array_like, optional
            (m, k) regressors; None takes those of the data.
        which : {"mean", "linear"}
            Probabilities or indices.

        Returns
        -------
        array
            (m, J).

        Raises
        ------
        OptionError
            `which` is unknown.
        """
        check_which(which)
        return self._means(params, exog, None, which == "linear")

    def fit(
        self,
        cov_type: CovType | None = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        bread: BreadName = "observed",
        rank: Rank = "pinv",
        start_params: Any = None,
        disp: bool = False,
        **options: Any,
    ) -> MultinomialResults:
        """Fit by maximum likelihood, by Newton's method; the parameters are those of `Logit.fit`.

        Returns
        -------
        MultinomialResults
            Coefficients are (k, J - 1); the covariance is (k (J - 1)) square, equation by equation.

        Parameters
        ----------
        cov_type, cov_kwds, use_t, bread, rank, disp, **options
            As in `Logit.fit`.
        start_params : array_like, optional
            (k, J - 1) where to start.

        Raises
        ------
        EstimationError
            Separated classes, no degree of freedom left, no regressor that varies.
        """
        choice = resolve(cov_type, cov_kwds, use_t)
        fit = fit_likelihood(self.design, self.objective, bread, rank, start_params, disp, options)
        return MultinomialResults(self, fit, covariance_of(fit, choice))


mnlogit = MNLogit.from_formula


def classes_in_use(design: Design, levels: tuple[Any, ...]) -> tuple[Design, tuple[Any, ...]]:
    """Leave out classes of rows that were dropped; a category's levels are the user's own, and stay."""
    there = torch.tensor(rows_by_class(design, len(levels)), device=design.device) > 0
    if bool(there.all()):
        return design, levels
    source = computed(design.source, "endog", ("endog",), partial(_recoded, there.cumsum(0) - 1))
    return replace(design, source=source), tuple(levels[code] for code in there.nonzero().flatten().tolist())


def rows_by_class(design: Design, count: int) -> list[int]:
    """Return (J,) how many rows are of each class, whatever their weights."""
    found = fold(design.source.only("endog"), InUse(partial(rows_of_classes, count)), design.engine)
    return [int(rows) for rows in found]


def rows_of_classes(count: int, y: Tensor) -> tuple[Tensor, ...]:
    """Return J counts of (b,) classes."""
    return torch.bincount(y.long(), minlength=count).unbind()


def _recoded(codes: Tensor, y: Tensor) -> Tensor:
    """Return (b,) the codes that take the places of others."""
    return codes[y.long()].to(torch.float64)


def _check_classes(design: Design, levels: tuple[Any, ...]) -> None:
    if 2 * len(levels) > max(design.rows, 20):
        raise DataError(
            f"endog has {len(levels)} classes in {design.rows} rows; a multinomial model needs several rows of each: join classes, or use "
            "OLS or Poisson for numbers."
        )
    if len(levels) < 2:
        raise DataError(f"endog has one class, {listed(levels)}; a multinomial model needs two or more.")
    counts = rows_by_class(design, len(levels))
    empty = [level for level, count in zip(levels, counts, strict=True) if not count]
    if empty:
        raise DataError(
            f"No row is of {'the class' if len(empty) == 1 else 'the classes'} {listed(empty)}; leave unused categories out, with "
            ".cat.remove_unused_categories() say."
        )
