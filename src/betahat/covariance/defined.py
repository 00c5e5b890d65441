"""Which coefficients have a variance under a covariance: sums of scores may cancel to rounding, or to less than nothing."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from betahat.calculus.rows import Rows, times
from betahat.covariance.base import Covariance
from betahat.data.sample import WithoutRows
from betahat.errors import ClusterWarning, EstimationError, listed, user_level
from betahat.fits.fit import Fit
from betahat.solvers.roots import square_root

# A variance below this share of what the same scores have as single rows is what cancelling left of it: scores sum to zero to 1e-16 of them,
# times |y| / |e|, and at an optimum to 1e-12.
_CANCELLED = 1e-10
# Least squares residuals have the rounding of y; others are zero to the solver's tolerance.
_RESIDUAL, _SOLVED = 1e3 * torch.finfo(torch.float64).eps, 1e-10
# In a perfect fit all residuals are rounding, and no direction has less of a variance than others.
_PERFECT = 1e-4
# Where no direction's variance is below this share of the largest, and below what a perfect fit leaves, none is rounding, and no row need
# be looked at.
_SOUND = 1e-8


def defined(fit: Fit, covariance: Covariance, *, positive: bool) -> Covariance:
    """Return the covariance with its rounding errors, warning of coefficients without a variance, unless all are known to be `positive`.

    An error if no coefficient has a variance.
    """
    core = covariance.core
    rounding = None if core is None or core.ndim == 0 else _rounding(fit, core)
    if rounding is None and positive:
        return covariance
    variances = covariance.matrix.diagonal()
    none = variances < 0
    if rounding is not None:
        none |= variances < ((fit.root @ rounding) * fit.root).sum(1)
    label = covariance.label
    if bool(none.all()):
        raise EstimationError(
            f"{label} gives no coefficient a variance: the fit is perfect, or all rows are together and their scores sum to zero, or the sum is "
            "negative; see whether the dependent variable follows from the regressors, use fewer lags, a smaller cutoff or the Bartlett kernel, or "
            "cluster otherwise."
        )
    if bool(none.any()):
        which = listed(name for name, lost in zip(fit.coefficients, none.tolist(), strict=True) if lost)
        negative = bool((variances < 0).any()) and (
            rounding is None or core is None or square_root(core, rounding) is None
        )
        why = (
            f"is not positive semi-definite on these data, and gives {which} no variance: the sum over ways of clustering, or over neighbours, is "
            "negative. Their standard errors and tests are NaN, and all others stand; psd='repair' is for several ways, the Bartlett, Parzen or "
            "quadratic-spectral kernel, fewer lags or a smaller cutoff for neighbours"
            if negative
            else f"gives {which} no variance: their scores sum to zero among the rows that are together, as with a dummy for these rows. Their "
            "standard errors and tests are NaN, and all others stand; report only these"
        )
        warnings.warn(f"{label} {why}.", ClusterWarning, stacklevel=user_level())
    elif rounding is not None and core is not None and square_root(core, rounding) is None:
        warnings.warn(
            f"{label} is not positive semi-definite on these data, so joint tests may not be defined; use psd='repair' for several ways of "
            "clustering, and the Bartlett, Parzen or quadratic-spectral kernel, fewer lags or a smaller cutoff for neighbours.",
            ClusterWarning,
            stacklevel=user_level(),
        )
    return replace(covariance, rounding=rounding)


def score_sizes(fit: Fit) -> Tensor:
    """Return (r, r), in the coordinates of Z, a bound of the meat of the scores as single rows, by their squares: P <= k diag(P)."""
    squares = fit.sum_rows(_squares)
    return fit.point.core(torch.diag(squares * len(squares)))


def _rounding(fit: Fit, core: Tensor) -> Tensor | None:
    """Return (r, r) what is rounding in a core; None where nothing is."""
    loss = float(fit.loss)
    none = not fit.objective.dispersion.likelihood
    scale = max(abs(loss) / fit.nobs if none else float(fit.dispersion) * _unit(fit), 0.0)
    sound = core.clone()
    diagonal = sound.diagonal()
    diagonal -= (_SOUND + _PERFECT**2) * max(float(diagonal.max()), scale)
    if not bool(torch.linalg.cholesky_ex(sound).info):
        return None
    if fit.objective.dispersion.squares:
        fitted = fit.triangle @ fit.params
        floor = min(_RESIDUAL**2 * (float(fitted @ fitted) + 2.0 * loss) / fit.nobs, _PERFECT**2 * scale)
    else:
        floor = _SOLVED**2 * scale
    eye = torch.eye(len(core)).to(core)
    if isinstance(fit.sample, WithoutRows):
        return floor * eye
    return _CANCELLED * score_sizes(fit) + floor * eye


def _unit(fit: Fit) -> float:
    """Return the mean of w l'' over the rows where it is below one, of counts or weights in small units: scores' squares go by it."""
    curvatures = None if fit.path is None else fit.path.local.curvatures
    return 1.0 if curvatures is None else min(float(curvatures) / float(fit.nobs) or 1.0, 1.0)


def _squares(rows: Rows) -> Tensor:
    """Return (meat_width,) the diagonal of the meat."""
    return times(rows.summands().square(), rows.counts).sum(0)
