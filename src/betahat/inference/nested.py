"""Tests of a restricted model against a full one that contains it: F, likelihood ratio, Lagrange multiplier."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.data.engine import fold
from betahat.data.products import cross, gram
from betahat.data.source import Source
from betahat.errors import DataError, EstimationError, RobustTestWarning, user_level
from betahat.fits.fit import Fit
from betahat.inference.distribution import chi2_tail, f_tail
from betahat.inference.likelihood import log_likelihood

# The residuals of the full model are orthogonal to the regressors of any model in it; rounding leaves
# cosines below 1e-8 for a fit with eight correct digits, and 1e-6 is no accident.
_ORTHOGONAL = 1e-6
# Residuals below 1e-10 of endog are rounding error, whose direction means nothing.
_EXACT = 1e-20
# A sum of products has no digit of what is below 1e-16 of its terms, and so of a standard deviation below 1e-8.
_STILL = 1e-7


class Comparison(NamedTuple):
    """A test of a restricted model against a full one; it unpacks as statsmodels' three values.

    Attributes
    ----------
    statistic, pvalue : float
        The test statistic and its upper tail.
    df_diff : float
        The number of restrictions.
    """

    statistic: float
    pvalue: float
    df_diff: float


def compare_f(full: Fit, restricted: Fit, *, robust: bool) -> Comparison:
    """F test of nested least squares fits by their residual sums of squares; assumes homoskedasticity.

    Parameters
    ----------
    full, restricted : Fit
        The models.
    robust : bool
        Whether a covariance in use is robust, which the test does not respect: it warns.
    """
    _check_nested(full, restricted)
    _warn_if(robust, "F")
    df_diff = restricted.df_resid - full.df_resid
    statistic = float((restricted.loss - full.loss) / df_diff / full.loss * full.df_resid)
    return Comparison(statistic, f_tail(statistic, df_diff, full.df_resid), df_diff)


def compare_lr(full: Fit, restricted: Fit, *, robust: bool) -> Comparison:
    """Likelihood-ratio test of nested fits; assumes homoskedasticity. Parameters as in `compare_f`."""
    _check_nested(full, restricted)
    _warn_if(robust, "likelihood-ratio")
    statistic = 2.0 * (log_likelihood(full) - log_likelihood(restricted))
    df_diff = restricted.df_resid - full.df_resid
    return Comparison(statistic, chi2_tail(statistic, df_diff), df_diff)


def compare_lm(full: Fit, restricted: Fit, *, robust: bool, demean: bool, use_lr: bool) -> Comparison:
    """Lagrange-multiplier test of nested fits: n s' S^-1 s, s the mean score of the full model.

    Parameters
    ----------
    full, restricted : Fit
        The models; s takes the regressors of the full and the residuals of the restricted one.
    robust : bool
        S from the scores, (sum s s') / n; otherwise sigma^2 X'WX / n with the restricted sigma^2.
    demean : bool
        Take the scores' mean off before S; robust only.
    use_lr : bool
        Take S from the full model's residuals; robust only.
    """
    _check_nested(full, restricted)
    nobs = full.nobs
    summed, products = _score_sums(full, _residuals(restricted))
    mean = summed / nobs
    if not robust:
        spread = torch.eye(len(mean)).to(mean) * (2.0 * restricted.loss / nobs**2)
    elif use_lr:
        spread = _score_sums(full, _residuals(full))[1] / nobs
    else:
        spread = products / nobs - torch.outer(mean, mean) * demean
    lower, failed = torch.linalg.cholesky_ex(spread)
    if bool(failed) or bool(lower.diagonal().min() <= _STILL * lower.diagonal().max()):
        raise EstimationError(
            "The scores' variance is singular, as where a row alone fixes a coefficient, so that there is no test by it; use wald_test."
        )
    turned = torch.linalg.solve_triangular(lower, mean[:, None], upper=False)[:, 0]
    statistic = float(nobs * (turned @ turned))
    df_diff = restricted.df_resid - full.df_resid
    return Comparison(statistic, chi2_tail(statistic, df_diff), df_diff)


def _residuals(fit: Fit) -> Tensor:
    return fit.map_rows(lambda rows: index_rows(rows).residual)


def _score_sums(full: Fit, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of s and of s s' over the rows, s = Z'x times `residual`, Z as all columns may be collinear."""
    rows = full.design.regressors.replaced({"residual": residual})
    summed, products = fold(rows, lambda b: (cross(b["exog"], b["residual"]), gram(b["exog"], b["residual"])))
    return full.root.mT @ summed, full.root.mT @ products @ full.root


def _check_nested(full: Fit, restricted: Fit) -> None:
    if full.nobs != restricted.nobs:
        raise DataError(
            f"The models are fitted on {full.nobs} and {restricted.nobs} rows, and the test needs the same rows; "
            "fit both on the rows that the larger model can use."
        )
    if restricted.df_resid <= full.df_resid:
        raise DataError(
            f"The restricted model has {restricted.rank} coefficients and this one {full.rank}, so it is not nested "
            "in it; call the test on the larger model's results and pass the smaller one."
        )
    if not torch.equal(full.design.endog, restricted.design.endog.to(full.design.endog)):
        raise DataError(
            "The models have different dependent variables, so they are not nested; fit both to the same endog."
        )
    if not _same(full.design.weights, restricted.design.weights):
        raise DataError("The models have different weights, so they are not nested; fit both with the same ones.")
    if not _spans(full, restricted.design.regressors):
        raise DataError(
            "The restricted model has regressors that the full one cannot reproduce, so it is not nested in it; "
            "test one against a model that has both."
        )


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return all(w is None or bool((w == 1).all()) for w in (a, b))
    return torch.equal(a, b.to(a))


def _spans(full: Fit, regressors: Source) -> bool:
    residual = _residuals(full)
    endog = full.design.endog.to(torch.float64)
    if float(residual @ residual) <= _EXACT * float(endog @ endog):
        return True
    rows = regressors.replaced({"residual": residual})
    products, squares = fold(rows, lambda b: (b["exog"].mT @ b["residual"], (b["exog"] ** 2).sum(0)))
    return bool((products.abs() <= _ORTHOGONAL * squares.sqrt() * torch.linalg.vector_norm(residual)).all())


def _warn_if(robust: bool, test: str) -> None:
    if robust:
        warnings.warn(
            f"The {test} test compares sums of squares and assumes homoskedastic errors, though a covariance here is "
            "robust; wald_test uses the robust covariance.",
            RobustTestWarning,
            stacklevel=user_level(),
        )
