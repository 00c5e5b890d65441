"""Quantile regression, from arrays or from a formula."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch

from betahat.calculus.counts import Counts
from betahat.covariance.base import Estimator
from betahat.covariance.names import QUANTILE_NAMES, CovType, covariance_of, resolve
from betahat.data.arrays import Device
from betahat.data.container import to_tensor
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_number, is_one_of, listed, shown
from betahat.fits.quantile import Smoothing, fit_quantiles
from betahat.models.cautions import refuse_rows_in_parts, warn_collinear
from betahat.models.options import refuse_options
from betahat.models.regressors import RegressorModel, caller, check_rank_option, design_of_formula
from betahat.objectives.check import Check
from betahat.objectives.density import BANDWIDTHS, KERNELS, BandwidthName, KernelName
from betahat.results.quantile import QuantRegResults
from betahat.solvers.least_squares import Rank


@in_ordinary_mode
class QuantReg(RegressorModel):
    """Quantile regression: minimise sum w rho_q(y - x'b), rho_q(e) = e (q - 1{e < 0}), so that x'b is the quantile q of y given x.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) the dependent variable.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    weights : array_like, optional
        (n,) analytic weights of the losses, R's ``rq(weights=)``; they enter a sandwich's meat squared.
    freq_weights : array_like, optional
        (n,) whole numbers, how often a row occurs.
    hasconst, missing, device, dtype, engine
        As in `OLS`.

    Raises
    ------
    DataError, OptionError
        The data or an option cannot be used; raised before any work starts.

    References
    ----------
    Koenker and Bassett (1978), Econometrica 46(1). Koenker (2005), Quantile Regression. ``statsmodels.regression.quantile_regression.QuantReg``,
    whose names these are. R: ``quantreg::rq``.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [1.0, 2.0, 4.0, 5.0, 9.0, 7.0, 8.0]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    >>> bh.QuantReg(y, x).fit(q=0.5).params.round(4)
    array([-0.2,  1.2])
    """

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
        beside = RowVectors(weights=weights, freq_weights=freq_weights)
        self.sample = read_design(
            endog, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype, engine=engine
        )
        self.source = None

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; `bh.quantreg` is the same.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        **options
            weights and freq_weights: a column's name, an expression, or as many numbers as `data` has rows; hasconst, missing ("drop" by
            default), device, dtype, engine, compress, panel and time as in `ols`.

        Returns
        -------
        QuantReg

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.

        Examples
        --------
        >>> import betahat as bh
        >>> data = {
        ...     "y": [1.0, 2.0, 4.0, 5.0, 9.0, 7.0, 8.0],
        ...     "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        ... }
        >>> bh.quantreg("y ~ x", data).fit(q=0.5).params
        Intercept   -0.2
        x            1.2
        dtype: float64
        """
        model, names = cls.__new__(cls), caller(2)
        known = ("weights", "freq_weights")
        model.sample, model.source = design_of_formula(formula, data, options, known, names, cls.__name__)
        return model

    @property
    def objective(self) -> Check:
        """The loss of a row, of the median."""
        return Check()

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model: r, less one if there is a constant."""
        return float(self.rank - self.k_constant)

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r."""
        return Counts(self.nobs, self.rank).free

    def predict(self, params: Any, exog: Any = None) -> Any:
        """Return (m,) x'b.

        Parameters
        ----------
        params : array_like
            (k,) coefficients of one quantile.
        exog : array_like, optional
            (m, k) regressors; None takes those of the data.

        Returns
        -------
        array
            (m,).
        """
        return self._means(params, exog, None)

    def fit(
        self,
        q: float | Sequence[float] = 0.5,
        cov_type: CovType | None = "kernel",
        kernel: KernelName = "epa",
        bandwidth: BandwidthName | float = "hsheather",
        *,
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        rank: Rank = "pinv",
        **options: Any,
    ) -> QuantRegResults:
        """Fit one quantile, or several at once, exactly: k residuals are zero.

        Parameters
        ----------
        q : float or sequence of float
            The quantile, between 0 and 1; with several, the results have a column for each, and one covariance of all coefficients.
        cov_type : str, estimator or matrix
            "kernel" takes one density of the errors for all rows, by a kernel, and the scores as they are; it is statsmodels' default, which
            calls it "robust". "iid" takes the variance q (1 - q) of the scores as well. "nid" and "powell" allow each row its own density, by
            the distance between the quantiles beside, and by a kernel; R's "nid" and "ker". "HC0", "HC1", "cluster", "HAC", ..., and
            estimators such as ``bh.Cluster("firm")`` put the scores' own variance on the bread of "powell": they are robust to both.
        kernel : {"epa", "biw", "cos", "gau", "par"}
            The kernel of the density at the quantile.
        bandwidth : {"hsheather", "bofinger", "chamberlain"} or float
            A rule, or the bandwidth as a probability h: it then reaches from the quantile q - h to q + h.
        cov_kwds : mapping, optional
            The options of a named estimator; that of "iid" is sparsity="kernel" or "residuals", R's.
        use_t : bool, optional
            t or normal tests; None takes t with n - k degrees of freedom for the first four covariances, as statsmodels and R do, and the
            normal distribution for others.
        rank : {"pinv", "drop"}
            As in `OLS.fit`.
        **options
            There are none: statsmodels' options of the solver (`max_iter`, `p_tol`) are an error.

        Returns
        -------
        QuantRegResults

        Raises
        ------
        OptionError
            A quantile outside (0, 1), or given twice; an unknown kernel, bandwidth, name or option.
        EstimationError
            No more rows than coefficients, or too few of them within the bandwidth; a fit that is exact in half of the rows, beside those that
            any fit goes through; a covariance that needs leverage.

        Warns
        -----
        BetahatWarning
            The solution is not unique.
        CollinearityWarning
            Columns are collinear.

        Examples
        --------
        >>> import betahat as bh
        >>> y = [1.0, 2.0, 4.0, 5.0, 9.0, 7.0, 8.0]
        >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
        >>> bh.QuantReg(y, x).fit(q=[0.3, 0.5]).params.round(4)
        array([[-0.1667, -0.2   ],
               [ 1.1667,  1.2   ]])
        """
        if "vcov" in options:
            raise OptionError("fit does not take vcov; pass cov_type, which has statsmodels' 'robust' and 'iid' too.")
        refuse_options(options, "to the exact vertex")
        quantiles, several = _read_quantiles(q)
        smoothing = _read_smoothing(kernel, bandwidth, quantiles)
        check_rank_option(rank)
        choice = resolve(cov_type, cov_kwds, use_t, QUANTILE_NAMES)
        refuse_rows_in_parts(
            self.design,
            "A quantile is fitted to the vertex at which as many residuals as coefficients are zero, which takes all rows at once",
            "minimise a smooth loss that is near the quantile's, bh.MEstimator say",
        )
        fit = fit_quantiles(self.design, quantiles, several, smoothing, rank)
        warn_collinear(fit, rank, self.design.width)
        return QuantRegResults(self, fit, covariance_of(fit, choice))


quantreg = QuantReg.from_formula


def _read_quantiles(given: Any) -> tuple[tuple[float, ...], bool]:
    """Return the quantiles, and whether several were asked for."""
    if isinstance(given, str | Estimator | Mapping):
        raise OptionError(
            f"q is {shown(given)}; pass a number, such as 0.5, or a list of them. The covariance is cov_type=..., as q comes first."
        )
    read = to_tensor(given, torch.zeros(()))
    if read.ndim > 1 or not read.numel():
        raise OptionError(f"q has shape {tuple(read.shape)}; pass one quantile, such as 0.5, or a list of them.")
    values = read.reshape(-1).tolist()
    bad = [value for value in values if not 0.0 < value < 1.0]
    if bad:
        raise OptionError(f"q is {_numbers(bad)}; pass quantiles between 0 and 1, such as 0.5 for the median.")
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise OptionError(f"q has {_numbers(twice)} more than once; pass each quantile once.")
    return tuple(values), read.ndim == 1


def _read_smoothing(kernel: Any, bandwidth: Any, quantiles: Sequence[float]) -> Smoothing:
    """Check the kernel and the bandwidth."""
    if not is_one_of(kernel, KERNELS):
        raise OptionError(f"kernel is {shown(kernel)}; use one of {listed(KERNELS)}.")
    if is_number(bandwidth):
        outside = [q for q in quantiles if not 0.0 < bandwidth < min(q, 1.0 - q)]
        if outside:
            raise OptionError(
                f"bandwidth is {shown(bandwidth)}, so that q = {_numbers(outside)} less or more it is outside of (0, 1); pass a probability between 0 "
                f"and {min(min(q, 1.0 - q) for q in quantiles):.6g}, or a rule, such as 'hsheather'."
            )
        return Smoothing(kernel, float(bandwidth))
    if not is_one_of(bandwidth, BANDWIDTHS):
        raise OptionError(f"bandwidth is {shown(bandwidth)}; use one of {listed(BANDWIDTHS)}, or a probability.")
    return Smoothing(kernel, bandwidth)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
