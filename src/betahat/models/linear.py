"""Linear models: ordinary and weighted least squares, from arrays or from a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import torch

from betahat.data.arrays import Device
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.models.instruments import IV2SLS, two_stages
from betahat.models.least_squares import LinearModel
from betahat.models.regressors import caller, design_of_formula

M = TypeVar("M", bound="LinearModel")


@in_ordinary_mode
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
    freq_weights : array_like, optional
        (n,) whole numbers of zero or more, how often each row occurs: every number is that of the repeated rows.
    absorb : vectors, names or dataframe, optional
        Fixed effects that are projected away: a vector of labels for each, [firm, year]; where `exog` is a dataframe, names of its columns, also as
        "origin^year", "firm[t]" or "firm[[t]]"; an (n, E) array or dataframe. Rows that are alone in a level are dropped.
    engine : Executor, dask Client or the module ray, optional
        What computes passes over the rows, for the fit and everything that is asked of it later: an executor of ``concurrent.futures`` (threads, processes, loky, ...), a dask
        ``Client``, or the module ``ray``. None is threads of betahat's own, as many as torch has. Every number is the same, to the last bit; see `engine`.

    Raises
    ------
    DataError, OptionError
        The data or an option cannot be used; raised before any work starts.

    Notes
    -----
    Results do not follow the data: what is small, up to 262,144 numbers, is copied, and so are dataframes as far as they share memory. Large
    arrays and tensors are not copied, and a question about rows that were changed in place since is a `DataError`.

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
        *,
        freq_weights: Any = None,
        absorb: Any = None,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        beside = RowVectors(freq_weights=freq_weights)
        self.sample = read_design(
            endog,
            exog,
            beside,
            hasconst=hasconst,
            missing=missing,
            device=device,
            dtype=dtype,
            absorb=absorb,
            engine=engine,
        )
        self.source = None

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; see `ols`, which is the same thing.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        **options
            freq_weights, hasconst, missing, device, dtype, engine, compress, panel and time, as in `ols`.

        Returns
        -------
        OLS

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.
        """
        return model_of_formula(cls, formula, data, options, caller(2))


@in_ordinary_mode
class WLS(LinearModel):
    """Weighted least squares: minimise sum w (y - x'b)^2.

    Parameters
    ----------
    endog, exog, hasconst, missing, device, dtype, freq_weights, absorb, engine
        As in `OLS`.
    weights : array_like, Tensor or float
        (n,) analytic weights, proportional to the inverse variance of each row. They enter a sandwich's meat
        squared. A row of weight zero still counts in n, as in statsmodels.

    Raises
    ------
    DataError, OptionError
        The data or an option cannot be used, such as negative weights, or none that is positive; raised before any work starts.

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
        *,
        freq_weights: Any = None,
        absorb: Any = None,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        self.sample = read_design(
            endog,
            exog,
            RowVectors(weights=1.0 if weights is None else weights, freq_weights=freq_weights),
            hasconst=hasconst,
            missing=missing,
            device=device,
            dtype=dtype,
            engine=engine,
            absorb=absorb,
        )
        self.source = None

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; see `wls`, which is the same thing.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        **options
            weights, freq_weights, hasconst, missing, device, dtype, engine, compress, panel and time, as in `wls`.

        Returns
        -------
        WLS

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.
        """
        options.setdefault("weights", 1.0)
        return model_of_formula(cls, formula, data, options, caller(2))


def ols(
    formula: str,
    data: Any,
    *,
    hasconst: bool | None = None,
    missing: Missing = "drop",
    device: Device = None,
    dtype: torch.dtype | None = None,
    freq_weights: Any = None,
    engine: Any = None,
    compress: bool | Sequence[str] = False,
    panel: str | None = None,
    time: str | None = None,
) -> OLS | IV2SLS:
    """Make an OLS model from a formula and a dataframe.

    Parameters
    ----------
    formula : str
        Such as ``np.log(wage) ~ educ + I(exper**2) + C(region)``. A constant is included unless ``- 1`` is
        written. Fixed effects to absorb stand after a bar, ``y ~ x | firm + year``: ``origin^year`` for combinations, ``firm[t]`` for levels with slopes of
        their own, ``firm[[t]]`` for slopes alone. ``i(period, treated, ref=-1)`` has a column for each level but the reference, times `treated`, as in fixest. Instruments stand after another, ``y ~ x | firm | price ~ z``, or after the only one. Functions and variables of the caller may be used. A formula is code: it is evaluated as Python, so do not pass one
        that you would not run.
    data : dataframe, mapping, path or anything else with named columns
        A dataframe of pandas, polars or pyarrow, or a dict of columns. Or rows that are read chunk by chunk and never held: the path of a Parquet, Arrow or
        CSV file, of a folder, a pattern such as ``"rows/*.parquet"``, or a list of them; a polars LazyFrame, a pyarrow Dataset, a DuckDB relation, a
        DataFrame of dask or a Dataset of ray; a function without arguments that returns a fresh iterator of dataframes.
    hasconst, device, dtype, engine
        As in `OLS`.
    missing : {"drop", "none", "raise"}
        Rows with a missing value in a variable of the formula are left out, as in statsmodels; otherwise
        they are an error.
    freq_weights : str or array_like, optional
        How often each row occurs: a column's name, an expression, or as many numbers as `data` has rows.
    compress : bool or list of str
        Whether rows that agree in all columns of the formula become one row with a count, before the fit: by the group-by of polars, DuckDB or dask where the data are
        theirs. Estimates, standard errors and tests are those of all rows; `resid`, `fittedvalues` and the like have a row for each distinct one, and a
        bootstrap under a seed has other draws than that of single rows. A list names further columns in which rows are to differ, such as those of clusters.
        `res.compression` says what it did.
    panel, time : str, optional
        The columns of units and of periods, or expressions of columns, for ``lag(x, 1)``, ``lead(x)`` and ``diff(x)`` in the formula: values of other
        periods of the same unit, missing where there is a gap. `time` alone is of one series. Periods are whole numbers, dates or periods, and the step
        from one to the next is what all their differences are multiples of.

    Returns
    -------
    OLS
        Or `IV2SLS`, where the formula has instruments.

    Raises
    ------
    FormulaError, DataError, OptionError
        The data or an option cannot be used; raised before any work starts.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {"y": [1.0, 2.0, 4.0, 5.0], "x": [1.0, 2.0, 3.0, 4.0]}
    >>> bh.ols("y ~ x", data).fit().params
    Intercept   -0.5
    x            1.4
    dtype: float64
    """
    options = {"hasconst": hasconst, "missing": missing, "device": device, "dtype": dtype, "engine": engine}
    options |= {"compress": compress, "panel": panel, "time": time}
    options["freq_weights"] = freq_weights
    return _with_instruments(model_of_formula(OLS, formula, data, options, caller(2), _PARTS))


def wls(
    formula: str,
    data: Any,
    weights: Any = 1.0,
    *,
    hasconst: bool | None = None,
    missing: Missing = "drop",
    device: Device = None,
    dtype: torch.dtype | None = None,
    freq_weights: Any = None,
    engine: Any = None,
    compress: bool | Sequence[str] = False,
    panel: str | None = None,
    time: str | None = None,
) -> WLS | IV2SLS:
    """Make a WLS model from a formula and a dataframe.

    Parameters
    ----------
    formula, data, hasconst, missing, device, dtype, freq_weights, engine, compress, panel, time
        As in `ols`; the formula is code.
    weights : str, array_like or float
        A column's name, an expression such as ``1 / variance``, or as many weights as `data` has rows.

    Returns
    -------
    WLS

    Raises
    ------
    FormulaError, DataError, OptionError
        The data or an option cannot be used; raised before any work starts.
    """
    options = {
        "weights": weights,
        "hasconst": hasconst,
        "missing": missing,
        "device": device,
        "dtype": dtype,
        "engine": engine,
        "compress": compress,
        "panel": panel,
        "time": time,
    }
    options["freq_weights"] = freq_weights
    return _with_instruments(model_of_formula(WLS, formula, data, options, caller(2), _PARTS))


_PARTS = ("effects", "instruments")


def model_of_formula(
    cls: type[M],
    formula: str,
    data: Any,
    options: dict[str, Any],
    names: Mapping[str, Any],
    bars: tuple[str, ...] = ("effects",),
) -> M:
    """Return a linear model of a formula; `options` are the user's, `names` the caller's variables, `bars` the parts that stand after the regressors."""
    model = cls.__new__(cls)
    known = ("freq_weights",) if cls is OLS else ("weights", "freq_weights")
    model.sample, model.source = design_of_formula(formula, data, options, known, names, cls.__name__, bars=bars)
    return model


def _with_instruments(model: M) -> M | IV2SLS:
    """Return two-stage least squares where the formula had instruments."""
    return two_stages(model.sample, model.source) if model.sample.schema.endogenous else model
