"""Linear models: ordinary and weighted least squares, from arrays or from a formula."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, Self, TypeVar

import torch

from betahat.calculus.counts import Counts
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.arrays import Device
from betahat.data.container import to_numpy
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.fits.linear import fit_least_squares
from betahat.inference.at_params import hessian_at, log_likelihood_at, score_at
from betahat.models.options import refuse_options
from betahat.models.regressors import (
    RegressorModel,
    caller,
    check_rank_option,
    design_of_formula,
    fitted_length,
    row_sums,
    warn_collinear,
    warn_perfect,
)
from betahat.objectives.gaussian import Gaussian
from betahat.results.linear import LinearResults
from betahat.solvers.least_squares import Rank

M = TypeVar("M", bound="LinearModel")


@in_ordinary_mode
class LinearModel(RegressorModel, ABC):
    """What OLS and WLS share: the fit."""

    objective = Gaussian()

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model: r, less one if there is a constant."""
        return float(self.rank - self.k_constant)

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r."""
        return Counts(self.nobs, self.rank).free

    def loglike(self, params: Any, scale: float | None = None) -> float:
        """Return the normal log-likelihood.

        Parameters
        ----------
        params : array_like
            (k,) coefficients.
        scale : float, optional
            The errors' variance; None takes that of the residuals, RSS / n.

        Returns
        -------
        float
        """
        return log_likelihood_at(self.problem, self._read(params), scale)

    def score(self, params: Any, scale: float | None = None) -> Any:
        """Return (k,) the derivative of `loglike`.

        Parameters
        ----------
        params, scale
            As in `loglike`.

        Returns
        -------
        array
            (k,).
        """
        return self._plain(score_at(self.problem, self._read(params), scale))

    def hessian(self, params: Any, scale: float | None = None) -> Any:
        """Return (k, k) the second derivatives of `loglike`.

        Parameters
        ----------
        params, scale
            As in `loglike`.

        Returns
        -------
        array
            (k, k).
        """
        return self._plain(hessian_at(self.problem, self._read(params), scale))

    def predict(self, params: Any, exog: Any = None) -> Any:
        """Return (m,) x'b.

        Parameters
        ----------
        params : array_like
            (k,) coefficients.
        exog : array_like, optional
            (m, k) regressors; None takes those of the data.

        Returns
        -------
        array
            (m,).
        """
        return self._means(params, exog, None)

    def get_distribution(self, params: Any, scale: float, exog: Any = None, dist_class: Any = None) -> Any:
        """Return the normal distribution of the dependent variable, which `scipy.stats` freezes.

        Parameters
        ----------
        params : array_like
            (k,) coefficients.
        scale : float
            The errors' variance.
        exog : array_like, optional
            As in `predict`.
        dist_class : callable, optional
            Another of `loc` and `scale`, the standard deviation.

        Returns
        -------
        scipy.stats.rv_frozen
            Of (m,) means.
        """
        means = to_numpy(torch.as_tensor(self.predict(params, exog)))
        return (
            self.objective.distribution(means, scale) if dist_class is None else dist_class(loc=means, scale=scale**0.5)
        )

    def fit(
        self,
        cov_type: CovType | None = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        rank: Rank = "pinv",
        **options: Any,
    ) -> LinearResults:
        """Fit by least squares.

        Parameters
        ----------
        cov_type : str, estimator or matrix
            "nonrobust", "fixed scale", "HC0" to "HC5", "cluster", "HAC", ..., a registered name, an estimator such as
            ``bh.Cluster("firm")``, or a (k, k) covariance of your own.
        cov_kwds : mapping, optional
            The options of a named estimator.
        use_t : bool, optional
            t or normal tests; None takes t for "nonrobust" and the normal distribution for the others, as
            statsmodels' own ``fit`` does.
        rank : {"pinv", "drop"}
            With collinear columns: "pinv" is the solution of minimum norm, as in statsmodels; "drop" leaves
            out every column that depends on those to its left, as R does, and reports it as NaN.
        **options
            None: statsmodels' choices of a solver (`method`, ...) are refused in a sentence.

        Returns
        -------
        LinearResults

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
        BetahatWarning
            The residuals are zero up to rounding.
        """
        refuse_options(options, "least squares in one way, to the last digit")
        check_rank_option(rank)
        choice = resolve(cov_type, cov_kwds, use_t)
        fit = fit_least_squares(self.design, rank, row_sums(choice.estimator))
        warn_collinear(fit, rank, self.design.width)
        warn_perfect(fit, fitted_length(fit))
        return LinearResults(self, fit, covariance_of(fit, choice))


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

    Raises
    ------
    DataError, OptionError
        In one sentence, before any work starts.

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
    ) -> None:
        """Read and check the data."""
        beside = RowVectors(freq_weights=freq_weights)
        self.sample = read_design(endog, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype)
        self.source = None

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; see `ols`, which is the same thing.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        **options
            freq_weights, hasconst, missing, device and dtype, as in `ols`.

        Returns
        -------
        OLS

        Raises
        ------
        FormulaError, DataError, OptionError
            In one sentence, before any work starts.
        """
        return _from_formula(cls, formula, data, options, caller(2))


@in_ordinary_mode
class WLS(LinearModel):
    """Weighted least squares: minimise sum w (y - x'b)^2.

    Parameters
    ----------
    endog, exog, hasconst, missing, device, dtype, freq_weights
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
        *,
        freq_weights: Any = None,
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
            weights, freq_weights, hasconst, missing, device and dtype, as in `wls`.

        Returns
        -------
        WLS

        Raises
        ------
        FormulaError, DataError, OptionError
            In one sentence, before any work starts.
        """
        options.setdefault("weights", 1.0)
        return _from_formula(cls, formula, data, options, caller(2))


def ols(
    formula: str,
    data: Any,
    *,
    hasconst: bool | None = None,
    missing: Missing = "drop",
    device: Device = None,
    dtype: torch.dtype | None = None,
    freq_weights: Any = None,
) -> OLS:
    """Make an OLS model from a formula and a dataframe.

    Parameters
    ----------
    formula : str
        Such as ``np.log(wage) ~ educ + I(exper**2) + C(region)``. A constant is included unless ``- 1`` is
        written. Functions and variables of the caller may be used. A formula is code: it is evaluated as Python, so pass none
        that you would not run.
    data : dataframe or mapping
        pandas, polars, pyarrow or a dict of columns.
    hasconst, device, dtype
        As in `OLS`.
    missing : {"drop", "none", "raise"}
        Rows with a missing value in a variable of the formula are left out, as in statsmodels; otherwise
        they are an error.
    freq_weights : str or array_like, optional
        How often each row occurs: a column's name, an expression, or as many numbers as `data` has rows.

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
    options = {"hasconst": hasconst, "missing": missing, "device": device, "dtype": dtype, "freq_weights": freq_weights}
    return _from_formula(OLS, formula, data, options, caller(2))


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
) -> WLS:
    """Make a WLS model from a formula and a dataframe.

    Parameters
    ----------
    formula, data, hasconst, missing, device, dtype, freq_weights
        As in `ols`; the formula is code.
    weights : str, array_like or float
        A column's name, an expression such as ``1 / variance``, or as many weights as `data` has rows.

    Returns
    -------
    WLS

    Raises
    ------
    FormulaError, DataError, OptionError
        In one sentence, before any work starts.
    """
    options = {"weights": weights, "hasconst": hasconst, "missing": missing, "device": device, "dtype": dtype}
    options["freq_weights"] = freq_weights
    return _from_formula(WLS, formula, data, options, caller(2))


def _from_formula(cls: type[M], formula: str, data: Any, options: dict[str, Any], names: Mapping[str, Any]) -> M:
    model = cls.__new__(cls)
    known = ("freq_weights",) if cls is OLS else ("weights", "freq_weights")
    model.sample, model.source = design_of_formula(formula, data, options, known, names, cls.__name__)
    return model
