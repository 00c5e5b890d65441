"""Tests of a restricted model against a full model that nests it: F, likelihood ratio, Lagrange multiplier."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import root_of_counts, times
from betahat.data.effects import Effect
from betahat.data.engine import Block, fold
from betahat.data.products import cross, gram
from betahat.data.source import Source
from betahat.errors import DataError, EstimationError, RobustTestWarning, user_level
from betahat.fits.fit import Fit
from betahat.inference.distribution import chi2_tail, f_tail
from betahat.inference.likelihood import log_likelihood

# The residuals of the full model are orthogonal to the regressors of any model nested in it; for a fit with eight correct
# digits, rounding leaves cosines below 1e-8.
_ORTHOGONAL = 1e-6
# Residuals below 1e-10 of endog are rounding errors, whose direction is meaningless.
_EXACT = 1e-20
# Sums of products lose variances below 1e-16 of their terms, and so standard deviations below 1e-8.
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
    """F test of nested least squares fits by their sums of squared residuals, which assumes homoskedasticity and warns if either is `robust`."""
    _check_nested(full, restricted)
    _warn_if(robust, "F")
    df_diff = restricted.df_resid - full.df_resid
    statistic = float((restricted.loss - full.loss) / df_diff / full.loss * full.df_resid)
    return Comparison(statistic, f_tail(statistic, df_diff, full.df_resid), df_diff)


def compare_lr(full: Fit, restricted: Fit, *, robust: bool) -> Comparison:
    """Likelihood-ratio test of nested fits, which assumes homoskedasticity and warns if either is `robust`."""
    _check_nested(full, restricted)
    _warn_if(robust, "likelihood-ratio")
    statistic = 2.0 * (log_likelihood(full) - log_likelihood(restricted))
    df_diff = restricted.df_resid - full.df_resid
    return Comparison(statistic, chi2_tail(statistic, df_diff), df_diff)


def compare_lm(full: Fit, restricted: Fit, *, robust: bool, demean: bool, use_lr: bool) -> Comparison:
    """Lagrange-multiplier test of nested fits: n s' S^-1 s, s the mean of the full model's regressors times the restricted residuals.

    S is (sum s s') / n if `robust`, otherwise sigma^2 X'WX / n with the restricted sigma^2. If robust, `demean` centres the scores in S, and
    `use_lr` takes S from the residuals of the full model.
    """
    _check_nested(full, restricted)
    if (full.absorbed is None) != (restricted.absorbed is None) or _absorbed_size(full) != _absorbed_size(restricted):
        raise DataError(
            "The models absorb different effects, and a test by scores needs the scores of the effects; use compare_f_test, or write them as C(group)."
        )
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
            "The variance of the scores is singular, perhaps because a row determines a coefficient on its own, so the test is not defined; use "
            "wald_test."
        )
    turned = torch.linalg.solve_triangular(lower, mean[:, None], upper=False)[:, 0]
    statistic = float(nobs * (turned @ turned))
    df_diff = restricted.df_resid - full.df_resid
    return Comparison(statistic, chi2_tail(statistic, df_diff), df_diff)


def _residuals(fit: Fit) -> Tensor:
    return fit.map_rows(lambda rows: index_rows(rows).residual)


def _score_sums(full: Fit, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over rows of s and s s', s = x times `residual` in Z's coordinates, as the columns may be collinear."""
    rows = full.design.source.only("exog", "counts").replaced({"residual": residual})
    summed, products = fold(rows, _score_products)
    return full.root.mT @ summed, full.root.mT @ products @ full.root


def _score_products(block: Block) -> tuple[Tensor, Tensor]:
    x, residual, counts = block["exog"], block["residual"], block.get("counts")
    return cross(x, times(residual, counts)), gram(x, times(residual, root_of_counts(counts)))


def _check_nested(full: Fit, restricted: Fit) -> None:
    if full.nobs != restricted.nobs:
        raise DataError(
            f"The models are fitted on {full.nobs} and {restricted.nobs} rows, but the test needs the same rows; "
            "fit both on the rows that the larger model can use."
        )
    if restricted.df_resid <= full.df_resid:
        raise DataError(
            f"The restricted model has {restricted.rank} coefficients and this one has {full.rank}, so it is not nested "
            "in it; call the test on the results of the larger model and pass the smaller one."
        )
    if not torch.equal(full.raw.endog, restricted.raw.endog.to(full.raw.endog)):
        raise DataError(
            "The models have different dependent variables, so they are not nested; fit both to the same endog."
        )
    pairs = [(fit.design.weights, fit.design.counts) for fit in (full, restricted)]
    if not all(_same(a, b) for a, b in zip(*pairs, strict=True)):
        raise DataError("The models have different weights, so they are not nested; fit both with the same weights.")
    if not (_spans(full, restricted.raw.source) and _spans_effects(full, restricted)):
        raise DataError(
            "The restricted model has regressors that the full one cannot reproduce, so it is not nested in it; "
            "test one against a model that has both."
        )


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return all(w is None or bool((w == 1).all()) for w in (a, b))
    return torch.equal(a, b.to(a))


def _absorbed_size(fit: Fit) -> float:
    """Return how many coefficients absorbed effects have."""
    return fit.size - fit.rank


def _spans_effects(full: Fit, restricted: Fit) -> bool:
    """Tell whether the full model's residuals are orthogonal to the effects that the restricted one absorbs."""
    if restricted.absorbed is None:
        return True
    weighted = times(_residuals(full), full.design.counts)
    size = float(torch.linalg.vector_norm(weighted))
    products = [part for effect in restricted.raw.effects for part in _level_products(effect, weighted)]
    return all(bool((sums.abs() <= _ORTHOGONAL * size * lengths).all()) for sums, lengths in products)


def _level_products(effect: Effect, residual: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return for the dummies of an effect, and for each of its slopes, (count,) the products of each column with (n,) residuals, and the columns' lengths."""
    columns = [torch.ones_like(residual)] if effect.constant else []
    columns += [] if effect.variables is None else list(effect.variables.unbind(1))
    empty = residual.new_zeros(effect.count)
    return [
        (empty.index_add(0, effect.codes, column * residual), empty.index_add(0, effect.codes, column.square()).sqrt())
        for column in columns
    ]


def _spans(full: Fit, regressors: Source) -> bool:
    counts = full.design.counts
    residual, endog = (times(v, root_of_counts(counts)) for v in (_residuals(full), full.raw.endog.to(torch.float64)))
    if float(residual @ residual) <= _EXACT * float(endog @ endog):
        return True
    rows = regressors.only("exog", "counts").replaced({"residual": residual})
    products, squares = fold(rows, _products_and_squares)
    return bool((products.abs() <= _ORTHOGONAL * squares.sqrt() * torch.linalg.vector_norm(residual)).all())


def _products_and_squares(block: Block) -> tuple[Tensor, Tensor]:
    x = times(block["exog"], root_of_counts(block.get("counts")))
    return x.mT @ block["residual"], (x**2).sum(0)


def _warn_if(robust: bool, test: str) -> None:
    if robust:
        warnings.warn(
            f"The {test} test compares sums of squares and assumes homoskedastic errors, although a covariance here is "
            "robust; wald_test uses the robust covariance.",
            RobustTestWarning,
            stacklevel=user_level(),
        )
