"""Linear models with endogenous regressors: two-stage least squares, the k-class with LIML, and the generalized method of moments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch

from betahat.covariance.base import Covariance
from betahat.covariance.cluster import Cluster
from betahat.covariance.conley import Conley
from betahat.covariance.driscoll_kraay import DriscollKraay
from betahat.covariance.hac import HAC
from betahat.covariance.hc import HC0, HC1
from betahat.covariance.panel_newey_west import PanelNeweyWest
from betahat.data.arrays import Device, read_columns
from betahat.data.design import Design
from betahat.data.door import Missing, RowVectors
from betahat.data.formulas.stored import StoredFormula
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.errors import (
    OptionError,
    check_flag,
    is_number,
    is_one_of,
    listed,
    shown,
)
from betahat.fits.fit import Fit
from betahat.fits.instrumented import LimitedInformation, TwoStages, Weighting
from betahat.models.instrumented import InstrumentModel

if TYPE_CHECKING:
    from betahat.data.formulas.formula import Formula

_SCHEMES = ("two-step", "iterated", "continuously-updated", "identity")
_SPREADS = (HC0, HC1, Cluster, HAC, DriscollKraay, Conley, PanelNeweyWest)


@in_ordinary_mode
class IV2SLS(InstrumentModel):
    """Two-stage least squares: b = (X̂'X)^-1 X̂'y, X̂ the regressors projected on instruments and exogenous regressors.

    Parameters
    ----------
    dependent : array_like, Tensor or series
        (n,) the dependent variable.
    exog : array_like, Tensor or dataframe, or None
        (n, k - m) the exogenous regressors, which are their own instruments. No constant is added; see `add_constant`.
    endog : array_like, Tensor or dataframe
        (n, m) the endogenous regressors.
    instruments : array_like, Tensor or dataframe
        (n, q) the excluded instruments, q at least m.
    weights : array_like, Tensor or float, optional
        (n,) analytic weights, proportional to the inverse variance of each row.
    absorb : vectors, names or dataframe, optional
        Fixed effects that are projected away, from the instruments as well; as in `OLS`.
    freq_weights : array_like or Tensor, optional
        (n,) how often each row occurs.
    hasconst, missing, device, dtype, engine
        As in `OLS`.

    Raises
    ------
    DataError, OptionError, EstimationError
        The data or an option cannot be used, such as fewer instruments than endogenous regressors; raised before any work starts.

    Notes
    -----
    Scores are x̂ e with the residuals e of the true regressors, and the bread is (X̂'X̂)^-1; every covariance of least squares is defined. Leverage in HC2
    and HC3 is h = x'(X̂'X̂)^-1 x̂, that of R's ``hatvalues`` of an ``AER::ivreg``; CR2 and CR3 take the hat matrix of X̂, as clubSandwich does. The jackknife and
    the bootstraps that draw rows or clusters estimate both stages again.

    References
    ----------
    Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, chapter 5. The names are those of ``linearmodels.iv.IV2SLS``; R:
    ``AER::ivreg``; Stata: ``ivregress 2sls, small``.

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> z, u = np.arange(12.0) % 5, np.sin(np.arange(12.0))
    >>> x = z + u
    >>> res = bh.IV2SLS(1.0 + 2.0 * x + u, np.ones(12), x, z).fit("HC1")
    >>> res.params.round(4), res.bse.round(4)
    (array([0.7823, 2.1412]), array([0.2367, 0.1092]))
    """

    def __init__(
        self,
        dependent: Any,
        exog: Any,
        endog: Any,
        instruments: Any,
        weights: Any = None,
        absorb: Any = None,
        *,
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        self.how = TwoStages()
        options = {
            "hasconst": hasconst,
            "missing": missing,
            "device": device,
            "dtype": dtype,
            "absorb": absorb,
            "engine": engine,
        }
        beside = RowVectors(weights=weights, freq_weights=freq_weights)
        self._read_data(dependent, exog, endog, instruments, beside, options)

    def _take(self, options: dict[str, Any]) -> dict[str, Any]:
        """There are none."""
        self.how = TwoStages()
        return {}


@in_ordinary_mode
class IVLIML(InstrumentModel):
    """Limited information maximum likelihood, Fuller's modification of it, and any other k-class: X'(I - kappa M)(y - Xb) = 0.

    Parameters
    ----------
    dependent, exog, endog, instruments, weights, absorb, freq_weights, hasconst, missing, device, dtype, engine
        As in `IV2SLS`.
    fuller : float
        Fuller's alpha: kappa is that of LIML less alpha / (n - L), L the number of instruments and exogenous regressors. 1 is nearly unbiased.
    kappa : float, optional
        Another kappa instead: 1 is two-stage least squares, 0 ordinary least squares.

    Raises
    ------
    DataError, OptionError, EstimationError
        The data or an option cannot be used, such as `kappa` beside `fuller`; raised before any work starts.

    Notes
    -----
    M projects off the instruments. Scores are x̃ e with X̃ = X - kappa M X, the equations that are solved, and the bread is (X̃'X)^-1. linearmodels
    takes the scores of two-stage least squares, P x e, in its sandwiches, and P in the classical covariance as well.

    References
    ----------
    Anderson and Rubin (1949), Ann. Math. Stat. 20(1). Fuller (1977), Econometrica 45(4). The names are those of ``linearmodels.iv.IVLIML``.

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> i = np.arange(12.0)
    >>> z, u = np.stack([i % 5, i % 3], 1), np.sin(i)
    >>> x = z.sum(1) + u
    >>> bh.IVLIML(1.0 + 2.0 * x + u, np.ones(12), x, z, fuller=1).fit().params.round(4)
    array([0.6755, 2.1288])
    """

    def __init__(
        self,
        dependent: Any,
        exog: Any,
        endog: Any,
        instruments: Any,
        weights: Any = None,
        absorb: Any = None,
        *,
        fuller: float = 0,
        kappa: float | None = None,
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        self.how = _limited(fuller, kappa)
        options = {
            "hasconst": hasconst,
            "missing": missing,
            "device": device,
            "dtype": dtype,
            "absorb": absorb,
            "engine": engine,
        }
        beside = RowVectors(weights=weights, freq_weights=freq_weights)
        self._read_data(dependent, exog, endog, instruments, beside, options)

    def _take(self, options: dict[str, Any]) -> dict[str, Any]:
        """Take fuller and kappa."""
        self.how = _limited(options.pop("fuller", 0), options.pop("kappa", None))
        return {}


@in_ordinary_mode
class IVGMM(InstrumentModel):
    """The generalized method of moments: minimise g'Wg, g the sum of z (y - x'b) over the instruments and exogenous regressors z.

    Parameters
    ----------
    dependent, exog, endog, instruments, absorb, freq_weights, hasconst, missing, device, dtype, engine
        As in `IV2SLS`.
    weights : {"two-step", "iterated", "continuously-updated", "identity"} or array_like
        W: the inverse of the moments' covariance at the two-stage least squares estimate, at the estimate itself by iteration, or as a function
        of the parameters that g'Wg is minimised in; the identity; or a matrix (L, L), the exogenous regressors' moments first.
    center : bool
        Whether that covariance is about the moments' mean.
    weight_type : {"robust", "unadjusted"} or estimator
        The moments' covariance: the sum of z z'e^2, s^2 Z'Z, or what an estimator makes of them, ``bh.Cluster("firm", kind="CR0")`` or ``bh.HAC(4)``.
    row_weights : array_like, Tensor or float, optional
        (n,) analytic weights, those that IV2SLS calls `weights`.

    Raises
    ------
    DataError, OptionError, EstimationError
        The data or an option cannot be used; raised before any work starts.

    Notes
    -----
    Scores are G'W z e with G the moments' Jacobian, and the bread is (G'WG)^-1. "nonrobust" is this bread, which is the efficient covariance where W
    is the inverse of the moments' covariance, that of the weights that the estimate was found with; any other covariance is a sandwich. Absorbed effects
    are projected away before moments are made, as by ``partial()`` of Stata's ivreg2: the estimates by two steps are those with dummies, the residuals in
    other covariances, and continuous updating, differ a little from theirs.

    References
    ----------
    Hansen (1982), Econometrica 50(4). Hansen, Heaton and Yaron (1996), J. Business Econ. Stat. 14(3). linearmodels has the last weights as ``IVGMMCUE``,
    and calls the rows' weights `weights`.

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> i = np.arange(12.0)
    >>> z, u = np.stack([i % 5, i % 3], 1), np.sin(i)
    >>> x = z.sum(1) + u
    >>> bh.IVGMM(1.0 + 2.0 * x + u, np.ones(12), x, z).fit().params.round(4)
    array([0.7922, 2.1094])
    """

    def __init__(
        self,
        dependent: Any,
        exog: Any,
        endog: Any,
        instruments: Any,
        weights: Literal["two-step", "iterated", "continuously-updated", "identity"] | Any = "two-step",
        absorb: Any = None,
        *,
        center: bool = False,
        weight_type: Any = "robust",
        row_weights: Any = None,
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        self.how = _weighting(weights, center, weight_type)
        options = {
            "hasconst": hasconst,
            "missing": missing,
            "device": device,
            "dtype": dtype,
            "absorb": absorb,
            "engine": engine,
        }
        beside = RowVectors(weights=row_weights, freq_weights=freq_weights)
        self._read_data(dependent, exog, endog, instruments, beside, options)

    def _take(self, options: dict[str, Any]) -> dict[str, Any]:
        """Take what says how moments are weighted."""
        own = (options.pop("weights", "two-step"), options.pop("center", False), options.pop("weight_type", "robust"))
        self.how = _weighting(*own)
        return {"weights": options.pop("row_weights")} if "row_weights" in options else {}


def two_stages(sample: Design | WithoutRows, source: Formula | StoredFormula | None) -> IV2SLS:
    """Return the model of a design that was read with instruments."""
    model = IV2SLS.__new__(IV2SLS)
    model.sample, model.source = sample, source
    model._take({})
    model._check()
    return model


iv2sls, ivliml, ivgmm = IV2SLS.from_formula, IVLIML.from_formula, IVGMM.from_formula


def _limited(fuller: Any, kappa: Any) -> LimitedInformation:
    """Check fuller and kappa."""
    for name, value in (("fuller", fuller), ("kappa", kappa)):
        if value is not None and not is_number(value):
            raise OptionError(f"{name} is {shown(value)}; pass a number.")
    if fuller is None or (kappa is not None and fuller):
        raise OptionError("fuller takes something off LIML's kappa, and kappa replaces it; pass one of them.")
    return LimitedInformation(float(fuller), None if kappa is None else float(kappa))


def _weighting(weights: Any, center: Any, weight_type: Any) -> Weighting:
    """Check how moments are weighted."""
    check_flag("center", center)
    if not isinstance(weights, str):
        if weights is None or is_number(weights):
            raise OptionError(
                f"weights is {shown(weights)}; use one of {listed(_SCHEMES)}, or a matrix of the moments' weights."
            )
        weights = read_columns(weights, "weights", None, torch.float64).values.clone()
    elif weights not in _SCHEMES:
        raise OptionError(
            f"weights is {shown(weights)}; use one of {listed(_SCHEMES)}, or a matrix; the rows' own weights are row_weights."
        )
    spread, words = _spread(weight_type)
    if center and not isinstance(spread, HC0):
        raise OptionError(
            "center=True takes each row's moments about their mean, which weight_type='robust' does; omit one of the two."
        )
    return Weighting(weights, spread, bool(center), words)


def _spread(weight_type: Any) -> tuple[Callable[[Fit], Covariance] | None, str]:
    """Return the estimator of the moments' covariance, and what it is called."""
    if is_one_of(weight_type, ("robust", "unadjusted")):
        return (HC0() if weight_type == "robust" else None), weight_type
    if not isinstance(weight_type, _SPREADS) or (
        isinstance(weight_type, Cluster) and weight_type.kind not in ("CR0", "CR1", "CR1S")
    ):
        raise OptionError(
            f"weight_type is {shown(weight_type)}; use 'robust', 'unadjusted', or an estimator that sums scores, such as bh.Cluster('firm', kind='CR0') "
            "or bh.HAC(4)."
        )
    return weight_type, type(weight_type).__name__
