"""Robust regression by M-estimation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self

import torch

from betahat.calculus.counts import Counts
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.arrays import Device
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_number, listed, shown
from betahat.fits.robust import fit_robust
from betahat.models.cautions import refuse_rows_in_parts, warn_collinear
from betahat.models.options import refuse_options
from betahat.models.regressors import RegressorModel, caller, check_rank_option, design_of_formula
from betahat.objectives.robust import NORMS, HuberT, RobustLoss, TukeyBiweight
from betahat.results.robust import RLMResults
from betahat.solvers.least_squares import Rank
from betahat.solvers.scales import HuberProposal, MedianDeviation, ScaleEstimate

_BY_NAME = {norm.__name__.lower(): norm for norm in NORMS} | {"huber": HuberT, "bisquare": TukeyBiweight}


@in_ordinary_mode
class RLM(RegressorModel):
    """Robust linear regression: minimise the sum of rho((y - x'b) / s), at a scale s of the errors that is estimated with b.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) the dependent variable.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    M : str or statsmodels norm, optional
        One of the objects of ``statsmodels.robust.norms``, with its tuning constants, or its name: "HuberT" (the default; also "huber"),
        "TukeyBiweight" ("bisquare"), "Hampel", "AndrewWave", "TrimmedMean", "RamsayE", "LeastSquares", "StudentT" or "TukeyQuartic".
    freq_weights : array_like, optional
        (n,) whole numbers, how often a row occurs: the fit is that of the repeated rows.
    hasconst, missing, device, dtype, engine
        As in `OLS`.

    Raises
    ------
    DataError, OptionError
        The data or an option cannot be used, such as an unknown norm; raised before any work starts.

    Notes
    -----
    The fit starts from least squares and is the root that reweighting leads to, as in statsmodels and R; that of a psi which comes back to
    zero need not be the only one. It ends at the optimum, to the last digit. `problem`, `score_obs` and `fit_at` are at a scale of one.

    References
    ----------
    ``statsmodels.robust.robust_linear_model.RLM``, whose names these are. R: ``MASS::rlm``, whose MAD is divided by 0.6745. Huber and
    Ronchetti (2009), Robust Statistics, chapter 7.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [1.0, 2.1, 2.9, 4.2, 9.0, 6.1]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.RLM(y, x, M="bisquare").fit().params.round(4)
    array([-0.0099,  1.0224])
    """

    stored = (*RegressorModel.stored, "norm")

    norm: RobustLoss

    def __init__(
        self,
        endog: Any,
        exog: Any,
        M: Any = None,  # noqa: N803  # statsmodels' name
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        self.norm = read_norm(M)
        beside = RowVectors(freq_weights=freq_weights)
        self.sample = read_design(
            endog, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype, engine=engine
        )
        self.source = None

    @classmethod
    def from_formula(cls, formula: str, data: Any, M: Any = None, **options: Any) -> Self:  # noqa: N803
        """Make the model from a formula and a dataframe; `bh.rlm` is the same.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        M
            As in `RLM`.
        **options
            freq_weights: a column's name, an expression, or as many numbers as `data` has rows; hasconst, missing ("drop" by default),
            device, dtype, engine, compress, panel and time as in `ols`.

        Returns
        -------
        RLM

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.

        Examples
        --------
        >>> import betahat as bh
        >>> data = {"y": [1.0, 2.1, 2.9, 4.2, 9.0, 6.1], "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
        >>> bh.rlm("y ~ x", data).fit().params
        Intercept   -0.049858
        x            1.046337
        dtype: float64
        """
        model, names = cls.__new__(cls), caller(2)
        model.norm = read_norm(M)
        model.sample, model.source = design_of_formula(formula, data, options, ("freq_weights",), names, cls.__name__)
        return model

    @property
    def objective(self) -> RobustLoss:
        """The loss of a row at a scale of one."""
        return self.norm

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model, r - 1: one column counts as the constant, as in statsmodels."""
        return float(self.rank - 1)

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r."""
        return Counts(self.nobs, self.rank).free

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

    def fit(
        self,
        cov_type: CovType | None = "H1",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        scale_est: Any = "mad",
        rank: Rank = "pinv",
        **options: Any,
    ) -> RLMResults:
        """Fit by reweighted least squares, and by Newton's method to the last digit.

        Parameters
        ----------
        cov_type : str, estimator or matrix
            "H1", "H2", "H3" as in statsmodels; "HC0" to "HC5", "cluster", "HAC", ..., whose bread has psi' with its sign, and the bootstraps.
            Every one takes the scale as given.
        cov_kwds, use_t
            As in `OLS.fit`; tests are normal by default.
        scale_est : {"mad"} or statsmodels HuberScale
            The median of the absolute residuals over 0.6745, or Huber's proposal 2 with its constant d, ``HuberScale(d=1.345)`` for R's.
        rank : {"pinv", "drop"}
            As in `OLS.fit`.
        **options
            There are none: statsmodels' options of the solver (`maxiter`, `conv`, ...) are an error.

        Returns
        -------
        RLMResults

        Raises
        ------
        OptionError
            An unknown covariance, option or scale, before the fit starts.
        EstimationError
            The scale is zero, since the fit is exact in too many rows; or reweighting leaves a coefficient without rows, or does not settle.

        Warns
        -----
        CollinearityWarning
            Columns are collinear; the warning names them.
        """
        refuse_options(options, "by reweighting and Newton's method to the last digit")
        check_rank_option(rank)
        estimate = read_scale(scale_est)
        choice = resolve("H1" if cov_type is None else cov_type, cov_kwds, use_t)
        refuse_rows_in_parts(
            self.design,
            "The scale of robust regression is a function of all residuals at once, such as their median",
            "minimise a loss that grows slowly, such as log(cosh(e)), with bh.MEstimator",
        )
        fit = fit_robust(self.norm, estimate, self.design, rank)
        warn_collinear(fit, rank, self.design.width)
        return RLMResults(self, fit, covariance_of(fit, choice), estimate.name)


def read_norm(given: Any) -> RobustLoss:
    """Read a norm, of statsmodels or by name."""
    if given is None:
        return HuberT()
    name = given if isinstance(given, str) else type(given).__name__
    norm = _BY_NAME.get(name.lower())
    if norm is None or isinstance(given, type):
        raise OptionError(
            f"M is {shown(given)}, which RLM does not know; pass one of statsmodels' norms, such as sm.robust.norms.HuberT(), or a name: "
            f"{listed([known.__name__ for known in NORMS], limit=20)}."
        )
    if isinstance(given, str):
        return norm()
    constants: dict[str, Any] = {
        field.name: getattr(given, field.name, None) for field in fields(norm) if field.name != "scale"
    }
    for constant, value in constants.items():
        if not is_number(value) or not value > 0:
            raise OptionError(f"{constant} of M, {name}, is {shown(value)}; pass a positive number.")
    bends = list(constants.values())
    if name == "Hampel" and not bends[0] <= bends[1] < bends[2]:
        raise OptionError(f"M is Hampel with a, b, c = {bends}; pass three numbers that increase, such as 2, 4, 8.")
    return norm(**constants)


def read_scale(given: Any) -> ScaleEstimate:
    """Read an estimate of scale, "mad" or statsmodels' HuberScale."""
    if isinstance(given, str) and given.lower() == "mad":
        return MedianDeviation()
    d = getattr(given, "d", None)
    if type(given).__name__ != "HuberScale" or not is_number(d) or not d > 0:
        raise OptionError(
            f"scale_est is {shown(given)}; use 'mad', or Huber's proposal 2 with a positive d, sm.robust.scale.HuberScale(d=1.345)."
        )
    return HuberProposal(float(d))


rlm = RLM.from_formula
