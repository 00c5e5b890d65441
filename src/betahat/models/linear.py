"""Linear models: ordinary and weighted least squares, from arrays or from a formula."""

from __future__ import annotations

import re
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.container import Container, Frames
from betahat.data.design import Design
from betahat.data.formula import Formula, read_formula
from betahat.data.frame import Device, Missing, read_columns, read_design
from betahat.errors import CollinearityWarning, DataError, OptionError, listed
from betahat.fit import Fit, fit_least_squares
from betahat.results import Results
from betahat.solvers.least_squares import Rank

M = TypeVar("M", bound="LinearModel")


class LinearModel(ABC):
    """What OLS and WLS share: the fit, and new data for a prediction.

    Attributes
    ----------
    design : Design
        The data, in tensors.
    source : Formula or None
        Where the regressors come from.
    """

    design: Design
    source: Formula | None

    @classmethod
    @abstractmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe."""

    def fit(
        self,
        cov_type: CovType | None = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        rank: Rank = "pinv",
    ) -> Results:
        """Fit by least squares.

        Parameters
        ----------
        cov_type : str or estimator
            "nonrobust", "fixed scale", "HC0", "HC1", "HC2", "HC3", a registered name, or an estimator such
            as ``bh.HC3()``.
        cov_kwds : mapping, optional
            The options of a named estimator.
        use_t : bool, optional
            t or normal tests; None takes t for "nonrobust" and the normal distribution for the others, as
            statsmodels' own ``fit`` does.
        rank : {"pinv", "drop"}
            With collinear columns: "pinv" is the solution of minimum norm, as in statsmodels; "drop" leaves
            out every column that depends on those to its left, as R does, and reports it as NaN.

        Returns
        -------
        Results

        Raises
        ------
        OptionError
            An unknown name or option, before the fit starts.
        EstimationError
            No more rows than columns; a leverage of 1 where the covariance divides by 1 - leverage.

        Warns
        -----
        CollinearityWarning
            Columns are collinear; the warning names them.
        """
        if rank not in ("pinv", "drop"):
            raise OptionError(f"rank is {rank!r}; use 'pinv' (minimum norm) or 'drop' (leave collinear columns out).")
        estimator = resolve(cov_type, cov_kwds)
        fit = fit_least_squares(self.design, rank, _row_sums(estimator))
        if fit.rank < self.design.width:
            _warn_collinear(fit, rank)
        return Results(self, fit, covariance_of(fit, estimator, use_t))

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
            values = torch.tensor(frame.to_numpy(), device=self.design.exog.device)
            return values, Frames(frame.index)
        device, given = self.design.exog.device, self.design.given_names
        read = read_columns(exog, "exog", None if isinstance(exog, Tensor) else device, None, given)
        if read.names is not None and given is not None and set(given) & set(read.names):
            _check_columns(given, read.names)
        values = read.values
        if values.ndim == 1:
            values = values[None] if self.design.width > 1 else values[:, None]
        if read.index is not None and len(read.index) == len(values):
            return values, Frames(read.index)
        return values, self.design.container.relabelled(range(len(values)))

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
        ones = torch.ones(self.design.nobs, dtype=torch.float64, device=self.design.exog.device)
        return self.design.container.plain(ones if weights is None else weights)

    @property
    def endog_names(self) -> str:
        """The dependent variable's name."""
        return self.design.endog_name

    @property
    def exog_names(self) -> list[str]:
        """(k,) the regressors' names."""
        return list(self.design.names)

    @property
    def nobs(self) -> float:
        """n, the number of rows in use."""
        return float(self.design.nobs)

    @property
    def formula(self) -> str | None:
        """The formula, where there is one."""
        return None if self.source is None else self.source.text

    def __repr__(self) -> str:
        """Name the model and its size."""
        return f"<{type(self).__name__}: {self.endog_names} on {self.design.width} columns, n = {self.design.nobs}>"


class OLS(LinearModel):
    """Ordinary least squares: minimise sum (y - x'b)^2.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) the dependent variable.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    hasconst : bool, optional
        Whether the regressors hold a constant, for R2 and F; None looks for one.
    missing : {"none", "drop", "raise"}
        "drop" leaves out rows with a missing value; otherwise they are an error.
    device : torch.device or str, optional
        Where arrays and dataframes go, by default torch's default device; tensors stay where they are.
    dtype : torch.dtype, optional
        torch.float64 or torch.float32, how the data are kept; sums are taken in float64 either way.

    Raises
    ------
    DataError, OptionError
        In one sentence, before any work starts.

    Notes
    -----
    Arrays and tensors are not copied: do not change them while their results are in use.

    References
    ----------
    ``statsmodels.regression.linear_model.OLS``, whose names these are.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> res.bse.round(4)
    array([0.3873, 0.1414])
    """

    def __init__(
        self,
        endog: Any,
        exog: Any,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Read and check the data."""
        self.design = read_design(endog, exog, hasconst=hasconst, missing=missing, device=device, dtype=dtype)
        self.source = None

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; see `ols`, which is the same thing."""
        return _from_formula(cls, formula, data, options, _caller(2))


class WLS(LinearModel):
    """Weighted least squares: minimise sum w (y - x'b)^2.

    Parameters
    ----------
    endog, exog, hasconst, missing, device, dtype
        As in `OLS`.
    weights : array_like, Tensor or float
        (n,) analytic weights, proportional to the inverse variance of each row. They enter a sandwich's meat
        squared. A row of weight zero still counts in n, as in statsmodels.

    Raises
    ------
    DataError, OptionError
        In one sentence, before any work starts; negative weights, or none that is positive, among them.

    References
    ----------
    ``statsmodels.regression.linear_model.WLS``, whose names these are.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
    >>> bh.WLS([1.0, 2.0, 4.0, 5.0], x, weights=[1.0, 1.0, 2.0, 2.0]).fit().params.round(4)
    array([-0.439 ,  1.3902])
    """

    def __init__(
        self,
        endog: Any,
        exog: Any,
        weights: Any = 1.0,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Read and check the data."""
        self.design = read_design(
            endog,
            exog,
            1.0 if weights is None else weights,
            hasconst=hasconst,
            missing=missing,
            device=device,
            dtype=dtype,
        )
        self.source = None

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; see `wls`, which is the same thing."""
        options.setdefault("weights", 1.0)
        return _from_formula(cls, formula, data, options, _caller(2))


def ols(
    formula: str,
    data: Any,
    *,
    hasconst: bool | None = None,
    missing: Missing = "drop",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> OLS:
    """Make an OLS model from a formula and a dataframe.

    Parameters
    ----------
    formula : str
        Such as ``np.log(wage) ~ educ + I(exper**2) + C(region)``. A constant is included unless ``- 1`` is
        written. Functions and variables of the caller may be used.
    data : dataframe or mapping
        pandas, polars, pyarrow or a dict of columns.
    hasconst, device, dtype
        As in `OLS`.
    missing : {"drop", "none", "raise"}
        Rows with a missing value in a variable of the formula are left out, as in statsmodels; otherwise
        they are an error.

    Returns
    -------
    OLS

    Raises
    ------
    FormulaError, DataError, OptionError
        In one sentence, before any work starts.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {"y": [1.0, 2.0, 4.0, 5.0], "x": [1.0, 2.0, 3.0, 4.0]}
    >>> bh.ols("y ~ x", data).fit().params
    Intercept   -0.5
    x            1.4
    dtype: float64
    """
    options = {"hasconst": hasconst, "missing": missing, "device": device, "dtype": dtype}
    return _from_formula(OLS, formula, data, options, _caller(2))


def wls(
    formula: str,
    data: Any,
    weights: Any = 1.0,
    *,
    hasconst: bool | None = None,
    missing: Missing = "drop",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> WLS:
    """Make a WLS model from a formula and a dataframe.

    Parameters
    ----------
    formula, data, hasconst, missing, device, dtype
        As in `ols`.
    weights : str, array_like or float
        A column's name, or as many weights as `data` has rows.

    Returns
    -------
    WLS
    """
    options = {"weights": weights, "hasconst": hasconst, "missing": missing, "device": device, "dtype": dtype}
    return _from_formula(WLS, formula, data, options, _caller(2))


def _from_formula(cls: type[M], formula: str, data: Any, options: dict[str, Any], names: Mapping[str, Any]) -> M:
    known = ("hasconst", "missing", "device", "dtype", *(("weights",) if cls is not OLS else ()))
    unknown = [name for name in options if name not in known]
    if unknown:
        raise OptionError(
            f"{cls.__name__}.from_formula does not know {listed(unknown)}; its options are {listed(known)}."
        )
    words = set(re.findall(r"[^\W\d]\w*", formula)) if isinstance(formula, str) else set()
    context = {word: names[word] for word in words if word in names}
    model = cls.__new__(cls)
    model.design, model.source = read_formula(formula, data, context=context, **options)
    return model


def _check_columns(wanted: Sequence[str], came: Sequence[str]) -> None:
    absent = [name for name in wanted if name not in came]
    if absent:
        raise DataError(
            f"The new data lack the columns {listed(absent)}; pass all of the model's: {listed(wanted, limit=30)}."
        )


def _caller(depth: int) -> Mapping[str, Any]:
    frame = sys._getframe(depth)
    return {**frame.f_globals, **frame.f_locals}


def _row_sums(estimator: Callable[[Fit], Covariance]) -> tuple[Any, ...]:
    return estimator.row_sums if isinstance(estimator, Estimator) else ()


def _warn_collinear(fit: Fit, rank: Rank) -> None:
    names = [name for i, name in enumerate(fit.given.names) if i not in fit.kept]
    done = (
        "it was left out" if rank == "drop" and len(names) == 1
        else "they were left out" if rank == "drop"
        else "the coefficients are those of minimum norm, and single ones mean little: pass rank='drop' to leave columns out"
    )  # fmt: skip
    verb = "depends" if len(names) == 1 else "depend"
    warnings.warn(f"{listed(names)} {verb} linearly on the columns before; {done}.", CollinearityWarning, stacklevel=3)
