"""Classical covariance: the errors are homoskedastic, and their variance is estimated or known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.general import OutputRows
from betahat.calculus.rows import Rows, root_of_counts, times
from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.checks import check_likelihood, check_unpenalised
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.small_samples import free_by_output
from betahat.data.products import gram
from betahat.errors import EstimationError, OptionError, is_number, shown
from betahat.fits.fit import Fit

# A squared distance from the optimum, in standard errors.
_FAR = 0.1


@dataclass(frozen=True)
class Classical(Estimator):
    """The classical covariance s^2 A^-1.

    For least squares s^2 = RSS / (n - k) and A^-1 = (X'WX)^-1, with t tests on n - k degrees of freedom: what R's
    `lm` and statsmodels' "nonrobust" print. Errors of several outputs have a covariance S = E'E / (n - k), k coefficients to an output:
    A^-1 (sum of J'SJ) A^-1, J a row's (m, k) derivatives, which for a linear model is R's S (x) (X'X)^-1. For a likelihood s^2 is 1 and the tests are normal. With a penalty it is
    A^-1 H A^-1, H the information without the penalty.

    Raises
    ------
    EstimationError
        The loss is no likelihood, or the parameters are not at its optimum.

    References
    ----------
    Greene (2018), Econometric Analysis, sections 4.4 (least squares) and 14.4 (likelihoods).

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit(bh.Classical())
    >>> res.cov_type
    'nonrobust'
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return s^2 A^-1."""
        note = f"Standard Errors assume that {fit.objective.dispersion.assumption}."
        check_likelihood(fit, "its bread alone" if fit.objective.moments else "its Hessian alone")
        if fit.path is not None and not fit.path.converged and fit.path.decrement > _FAR:
            raise EstimationError(
                f"The parameters are {fit.path.decrement**0.5:.2g} standard errors from the optimum, where classical standard "
                "errors mean nothing; fit with polish=True, train further, or pass the penalty= that they were trained with."
            )
        if fit.objective.dispersion.squares and fit.outputs > 1:
            return _of_several_outputs(fit)
        scale = fit.dispersion
        df = fit.objective.dispersion.test_df(fit.df_resid)
        if fit.problem.penalty is not None:
            core = scale * _unpenalised(fit)
            found = of_core(fit, core, "nonrobust", note[:-1] + penalised(fit), df=df, robust=False)
            if bool((found.matrix.diagonal() < 0).any()):
                raise EstimationError(
                    "Without the penalty, the loss curves downward here, so its Hessian is not an information matrix; use 'HC0'."
                )
            return found
        return of_core(fit, scale, "nonrobust", note, df=df, robust=False)


@dataclass(frozen=True)
class FixedScale(Estimator):
    """The covariance `scale` * A^-1, with normal tests: the errors' variance is known.

    statsmodels' "fixed scale".

    Attributes
    ----------
    scale : float
        The variance of the errors, in squared units of endog. With weights 1 / sd_i^2 it is 1.

    Raises
    ------
    OptionError
        `scale` is not a positive number.

    References
    ----------
    ``statsmodels`` ``fit(cov_type="fixed scale")``, whose name and default it takes; for a known variance also Greene (2018), Econometric
    Analysis, section 4.4.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.FixedScale(0.25)).bse.round(4)
    array([0.5244, 0.1581])
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the scale."""
        if not is_number(self.scale) or not self.scale > 0.0:
            raise OptionError(f"scale is {shown(self.scale)}; pass the errors' variance, a positive number.")

    def __call__(self, fit: Fit) -> Covariance:
        """Return scale * A^-1."""
        check_likelihood(fit, "a fixed scale times its bread")
        check_unpenalised(fit, "A fixed scale")
        note = "Standard Errors are based on fixed scale"
        core = torch.full_like(fit.dispersion, self.scale)
        return of_core(fit, core, "fixed scale", note, noise=self.scale)


def _of_several_outputs(fit: Fit) -> Covariance:
    """Return A^-1 (sum of J'SJ) A^-1, S the covariance of the outputs' errors."""
    note = "Standard Errors assume that the errors' covariance, estimated from all outputs, is the same in every row"
    # Of errors without spread zeros, as their variances are.
    half = torch.linalg.cholesky_ex(error_covariance(fit))[0].mT
    (core,) = fit.problem.total(
        lambda rows: (gram(times(half @ _hats(rows), root_of_counts(rows.counts)).flatten(0, 1)),), fit.point
    )
    return of_core(fit, core, "nonrobust", note + penalised(fit), df=fit.df_resid, robust=False)


def error_covariance(fit: Fit) -> Tensor:
    """Return (m, m) E'E of the errors of the outputs, each entry divided by the square root of both outputs' n - k_j.

    k_j is output j's share of the coefficients: the sum of its leverages, which for a linear equation is the number of its coefficients.
    Zellner (1962), JASA 57(298). R: ``estVar`` of an `lm` of several responses; ``systemfit`` by "geomean".
    """
    products, share = error_products(fit), fit.sum_rows(_leverage_sums)
    left = free_by_output(fit.counts, share)
    spent = (left < 0.5).nonzero().flatten().tolist()
    if spent:
        raise EstimationError(
            f"Output {spent[0]} has as many coefficients as rows, so nothing is left to estimate the variance of its errors; use 'HC0', "
            "or fewer parameters."
        )
    return products / (left * left[:, None]).sqrt()


def error_products(fit: Fit) -> Tensor:
    """Return (m, m) E'E of the errors of a least squares fit of several outputs."""
    return fit.sum_rows(_error_products)


def _error_products(rows: Rows) -> Tensor:
    errors = _outputs(rows).errors()
    return gram(errors, root_of_counts(rows.counts))


def _leverage_sums(rows: Rows) -> Tensor:
    return times(_hats(rows).square().sum(2), rows.counts).sum(0)


def _hats(rows: Rows) -> Tensor:
    """Return (b, m, r) the root of the weight times J Z."""
    read = _outputs(rows)
    hats = read.jacobian @ rows.at.root
    return hats if read.weights is None else times(hats, read.weights.sqrt())


def _outputs(rows: Rows) -> OutputRows:
    assert isinstance(rows, OutputRows), "only a module has several outputs"
    return rows


def _unpenalised(fit: Fit) -> Tensor:
    """Return (r, r) Z'HZ, H the information without the penalty."""
    (information,) = fit.problem.total(lambda rows: (rows.information(fit.bread_kind),), fit.point)
    core: Tensor = fit.root.mT @ information @ fit.root
    return core
