"""Covariances of quantile regressions: what is assumed of the density of the errors at the quantile, and of the quantile itself."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from betahat.calculus.index import IndexRows
from betahat.calculus.indices import IndicesRows
from betahat.calculus.rows import Rows, times
from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.hc import Meat
from betahat.covariance.sandwich import of_core, sum_core
from betahat.errors import BetahatWarning, EstimationError, OptionError, counted, is_one_of, shown, user_level
from betahat.fits.fit import Fit
from betahat.fits.quantile_refits import quantile_slopes, residual_sparsity

# What R's `summary.rq` takes off the distance between two fitted quantiles, so that it is not divided by zero.
_APART = math.sqrt(torch.finfo(torch.float64).eps)


@dataclass(frozen=True)
class IidErrors(Estimator):
    """q (1 - q) / f^2 (X'X)^-1: the errors are independent of the regressors, and f is their density at the quantile.

    statsmodels' ``vcov="iid"``, and with the other estimate of f R's ``summary.rq(se="iid")``.

    Attributes
    ----------
    sparsity : {"kernel", "residuals"}
        The estimate of 1 / f: by the kernel, or the slope of the quantiles of the residuals near zero, as in R.

    References
    ----------
    Koenker and Bassett (1978), Econometrica 46(1). Koenker (2005), Quantile Regression, section 3.4.
    """

    sparsity: Literal["kernel", "residuals"] = "kernel"

    def __post_init__(self) -> None:
        """Refuse an unknown estimate."""
        if not is_one_of(self.sparsity, ("kernel", "residuals")):
            raise OptionError(f"sparsity is {shown(self.sparsity)}; use 'kernel' (statsmodels) or 'residuals' (R).")

    def __call__(self, fit: Fit) -> Covariance:
        """Return it, of several quantiles with min(q, p) - q p between those of q and p."""
        heights = _heights(fit) if self.sparsity == "kernel" else tuple(1.0 / s for s in residual_sparsity(fit))
        note = "Standard Errors assume that the errors are independent of the regressors"
        return _of(fit, fit.sum_rows(_Bread(heights)), _known_meat(fit), "iid", note, robust=False)


@dataclass(frozen=True)
class KernelErrors(Estimator):
    """f^-2 (X'X)^-1 (sum s s') (X'X)^-1, f one kernel estimate of the density for all rows: statsmodels' ``vcov="robust"``.

    It is robust to a quantile that is not linear in the regressors, and not to errors whose spread depends on them: HC0 is.

    References
    ----------
    Greene (2008), Econometric Analysis, 6th edition, section 14.5.
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return it."""
        note = "Standard Errors take one density of the errors for all rows, by a kernel"
        meat = sum_core(fit, Meat(0))
        return _of(fit, fit.sum_rows(_Bread(_heights(fit))), meat, "kernel", note, robust=False)


@dataclass(frozen=True)
class PowellErrors(Estimator):
    """q (1 - q) A^-1 X'X A^-1, A the sum of K(e / h) / h x x': Powell's estimate, R's ``summary.rq(se="ker")``.

    References
    ----------
    Powell (1991), Estimation of monotonic regression models under quantile restrictions. Koenker (2005), Quantile Regression, section 3.4.2.
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return it."""
        note = "Standard Errors are robust to heteroscedasticity, by Powell's kernel estimate of each row's density"
        return of_core(fit, _known_meat(fit), "powell", note, df=fit.df_resid)


@dataclass(frozen=True)
class NidErrors(Estimator):
    """q (1 - q) A^-1 X'X A^-1, A the sum of 2 h / (x'b(q + h) - x'b(q - h)) x x': R's ``summary.rq(se="nid")``.

    References
    ----------
    Hendricks and Koenker (1992), JASA 87(417).
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Fit the quantiles beside, and return it."""
        apart = quantile_slopes(fit)
        bread = _Nid(apart.slopes, tuple(2.0 * share for share in apart.shares))
        joint = fit.sum_rows(bread)
        crossed = int(joint[-1, 0])
        if crossed:
            warnings.warn(
                f"The quantiles beside q cross at {counted(crossed, 'row')}, which the covariance 'nid' then leaves out of its bread; use a "
                "larger bandwidth=, or 'powell' or HC0.",
                BetahatWarning,
                stacklevel=user_level(),
            )
        note = "Standard Errors are robust to heteroscedasticity, by the distance between the quantiles beside"
        return _of(fit, joint[:-1], _known_meat(fit), "nid", note, robust=True)


def _of(fit: Fit, bread: Tensor, meat: Tensor, label: str, note: str, *, robust: bool) -> Covariance:
    """Return A^-1 B A^-1 of (r, r) A and B in the coordinates of Z, with t tests."""
    scale = bread.diagonal().clamp_min(1e-300).sqrt()
    factor, failed = torch.linalg.cholesky_ex(bread / scale / scale[:, None])
    if bool(failed):
        raise EstimationError(
            f"The density at the quantile is estimated as zero in so many rows that {label!r} has no bread; use a larger bandwidth=, or 'iid'."
        )
    half = torch.cholesky_solve(meat / scale[:, None], factor) / scale[:, None]
    core = torch.cholesky_solve(half.mT / scale[:, None], factor) / scale[:, None]
    return of_core(fit, (core + core.mT) / 2.0, label, note, df=fit.df_resid, robust=robust)


def _heights(fit: Fit) -> tuple[float, ...]:
    """Return (J,) the kernel estimates of the density at each quantile, one for all rows."""
    return tuple(check.density.height for check in fit.objective.checks if check.density is not None)


def _known_meat(fit: Fit) -> Tensor:
    """Return (r, r) the sum of (min(q, p) - q p) w^2 x x' for each pair of quantiles, in the coordinates of Z."""
    return fit.sum_rows(_Known(tuple(check.q for check in fit.objective.checks)))


@dataclass(frozen=True)
class _Bread:
    """The sum of f w x x', of (J,) densities f, in the coordinates of Z."""

    heights: tuple[float, ...]

    def __call__(self, rows: Rows) -> Tensor:
        turned = _turned(rows, len(self.heights))
        weights = times(torch.ones_like(turned[0, :, 0]), _read(rows).weights, rows.counts)
        found = (turned * weights[:, None]).mT @ turned
        return (found * found.new_tensor(self.heights)[:, None, None]).sum(0)


@dataclass(frozen=True)
class _Known:
    """The sum of (min(q, p) - q p) w^2 x x'."""

    quantiles: tuple[float, ...]

    def __call__(self, rows: Rows) -> Tensor:
        turned = _turned(rows, len(self.quantiles))
        q = turned.new_tensor(self.quantiles)
        joint = torch.minimum(q[:, None], q) - q[:, None] * q
        weights = _read(rows).weights
        scaled = turned * times(torch.ones_like(turned[0, :, 0]), weights, weights, rows.counts)[:, None]
        mixed = torch.einsum("ij,jbr->ibr", joint, turned)
        return (scaled.mT @ mixed).sum(0)


@dataclass(frozen=True, eq=False)
class _Nid:
    """The sum of f w x x' with a density f of each row, and below it how many rows have none."""

    slopes: Tensor  # (J, k) b(q + h) - b(q - h)
    spans: tuple[float, ...]  # (J,) 2 h

    def __call__(self, rows: Rows) -> Tensor:
        turned, read = _turned(rows, len(self.spans)), _read(rows)
        apart = self.slopes @ read.x.mT
        density = (apart.new_tensor(self.spans)[:, None] / (apart - _APART)).clamp_min(0.0)
        weights = times(torch.ones_like(turned[0, :, 0]), read.weights, rows.counts)
        found = ((turned * (density * weights)[:, :, None]).mT @ turned).sum(0)
        crossed = (apart <= 0).any(0).sum().to(found)
        return torch.cat([found, crossed.expand(1, found.shape[1])])


def _turned(rows: Rows, count: int) -> Tensor:
    """Return (J, b, r) the regressors of each quantile's equation times Z."""
    root = rows.at.root
    turned: Tensor = _read(rows).x @ root.view(count, -1, root.shape[1])
    return turned


def _read(rows: Rows) -> IndexRows | IndicesRows:
    assert isinstance(rows, IndexRows | IndicesRows), "a quantile regression has linear indices"
    return rows
