"""Log-likelihood, information criteria, and tests that compare two nested fits."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from betahat.data.blocks import gram, total
from betahat.errors import DataError, OptionError, RobustTestWarning
from betahat.fit import Fit
from betahat.inference.distribution import chi2_tail, f_tail

_CRITERIA = ("aic", "bic", "aicc", "hqic")


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


def log_likelihood(fit: Fit) -> float:
    """Return the log-likelihood at the optimum."""
    return float(fit.objective.log_likelihood(fit.loss, fit.nobs, fit.design.weights))


def information_criterion(criterion: str, llf: float, nobs: int, count: float) -> float:
    """Return -2 llf plus a penalty for `count` parameters.

    Parameters
    ----------
    criterion : {"aic", "bic", "aicc", "hqic"}
        Penalties 2k, k log n, 2k n / (n - k - 1) and 2k log log n.
    llf : float
        The log-likelihood.
    nobs : int
        n.
    count : float
        k.
    """
    if criterion not in _CRITERIA:
        raise OptionError(f"The criterion {criterion!r} is unknown; use one of {', '.join(map(repr, _CRITERIA))}.")
    penalty = {
        "aic": lambda: 2.0 * count,
        "bic": lambda: math.log(nobs) * count,
        "aicc": lambda: 2.0 * count * nobs / (nobs - count - 1.0) if nobs > count + 1.0 else math.inf,
        "hqic": lambda: 2.0 * math.log(math.log(nobs)) * count,
    }[criterion]()
    return -2.0 * llf + penalty


def compare_f(full: Fit, restricted: Fit, *, robust: bool) -> Comparison:
    """F test of nested least squares fits by their residual sums of squares; assumes homoskedasticity."""
    _check_nested(full, restricted)
    _warn_if_robust(robust, "F")
    df_diff = restricted.df_resid - full.df_resid
    statistic = float((restricted.loss - full.loss) / df_diff / full.loss * full.df_resid)
    return Comparison(statistic, f_tail(statistic, df_diff, full.df_resid), df_diff)


def compare_lr(full: Fit, restricted: Fit, *, robust: bool) -> Comparison:
    """Likelihood-ratio test of nested fits; assumes homoskedasticity."""
    _check_nested(full, restricted)
    _warn_if_robust(robust, "likelihood-ratio")
    statistic = 2.0 * (log_likelihood(full) - log_likelihood(restricted))
    df_diff = restricted.df_resid - full.df_resid
    return Comparison(statistic, chi2_tail(statistic, df_diff), df_diff)


def compare_lm(full: Fit, restricted: Fit, *, robust: bool, demean: bool = True, use_lr: bool = False) -> Comparison:
    """Lagrange-multiplier test of nested fits: n s' S^-1 s, s the mean score of the full model.

    Parameters
    ----------
    full, restricted : Fit
        The models; s takes the regressors of the full and the residuals of the restricted one.
    robust : bool
        S from the scores, (sum s s') / n; otherwise sigma^2 X'X / n with the restricted sigma^2.
    demean : bool
        Take the scores' mean off before S; robust only.
    use_lr : bool
        Take S from the full model's residuals; robust only.
    """
    _check_nested(full, restricted)
    nobs = full.nobs
    x = _whitened(full)
    resid = restricted.map_rows(lambda rows: -rows.slope if rows.weights is None else -rows.slope / rows.weights.sqrt())
    scores = x * resid[:, None]
    mean = scores.mean(0)
    if not robust:
        spread = gram(x) * (2.0 * restricted.loss / nobs) / nobs
    elif use_lr:
        spread = full.sum_rows(_score_products) / nobs
    else:
        centered = scores - mean if demean else scores
        spread = gram(centered) / nobs
    statistic = float(nobs * (mean @ torch.linalg.solve(spread, mean)))
    df_diff = restricted.df_resid - full.df_resid
    return Comparison(statistic, chi2_tail(statistic, df_diff), df_diff)


def _score_products(rows) -> Tensor:  # type: ignore[no-untyped-def]
    return gram(rows.scores())


def _whitened(fit: Fit) -> Tensor:
    return fit.map_rows(lambda rows: rows.x if rows.weights is None else rows.x * rows.weights.sqrt()[:, None])


def _check_nested(full: Fit, restricted: Fit) -> None:
    if full.nobs != restricted.nobs:
        raise DataError(
            f"The models are fitted on {full.nobs} and {restricted.nobs} rows, and the test needs the same rows; "
            "fit both on the rows that the larger model can use."
        )
    if restricted.df_resid <= full.df_resid:
        raise DataError(
            f"The restricted model has {restricted.rank} coefficients and this one {full.rank}, so it is not nested in it; "
            "call the test on the larger model's results and pass the smaller one."
        )
    a, b = full.design.endog, restricted.design.endog
    if a is not b and a.device == b.device and not torch.equal(a, b):
        raise DataError(
            "The models have different dependent variables, so they are not nested; fit both to the same endog."
        )
    _check_spanned(full, restricted)


def _check_spanned(full: Fit, restricted: Fit) -> None:
    """The regressors of the restricted model must be orthogonal to the residuals of the full one."""
    x, resid = restricted.design.exog, full.map_rows(lambda rows: rows.slope)
    products, squares, size = total(
        lambda block: (
            block.columns[0].mT @ block.columns[1],
            (block.columns[0] ** 2).sum(0),
            block.columns[1] @ block.columns[1],
        ),  # type: ignore[union-attr,operator]
        x,
        resid,
    )
    cosine = products.abs() / (squares.sqrt() * size.sqrt() + 1e-300)
    # The angle that rounding leaves is below 1e-7 for any fit with a few correct digits.
    if bool((cosine > 1e-6).any()) and float(size) > 1e-20 * float(
        full.design.endog.to(torch.float64) @ full.design.endog.to(torch.float64)
    ):
        raise DataError(
            "The restricted model has regressors that the full one cannot reproduce, so it is not nested in it; test one against a model that has both."
        )


def _warn_if_robust(robust: bool, test: str) -> None:
    if robust:
        warnings.warn(
            f"The {test} test compares sums of squares and assumes homoskedastic errors, though a covariance here is robust; "
            "wald_test uses the robust covariance.",
            RobustTestWarning,
            stacklevel=4,
        )
