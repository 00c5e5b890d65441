"""How strong instruments are, for several endogenous regressors: Cragg and Donald, Kleibergen and Paap, Sanderson and Windmeijer.

All of them ask whether some combination of the endogenous regressors, W c, is not moved by the instruments. What their robust versions need of a
covariance is the (q, q) variance of the coefficients of that one regression, on instruments that are free of the exogenous regressors: so they take a
function of c that gives it, whatever the estimator.

References
----------
Cragg and Donald (1993), Econometric Theory 9(2). Kleibergen and Paap (2006), J. Econometrics 133(1). Sanderson and Windmeijer (2016),
J. Econometrics 190(2). Windmeijer (2018), Testing over- and underidentification in linear models, Bristol discussion paper 18/696.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.inference.hypothesis import HypothesisTest, chi2_test, f_test
from betahat.inference.partialled import Partialled
from betahat.inference.quadratic_form import quadratic_form
from betahat.solvers.triangles import inverse_triangle, triangle_of

# (m + 1,) weights c of [W, y] to the (q, q) variance of the instruments' coefficients in the regression of [W, y] c.
VarianceOf = Callable[[Tensor], Tensor]

_UNMOVED = "a combination of the endogenous regressors is not correlated with the instruments (underidentification)"


@dataclass(frozen=True, repr=False)
class RankTest(HypothesisTest):
    """A test of underidentification, chi-squared with q - m + 1 degrees of freedom, and the F of weak instruments beside it.

    Attributes
    ----------
    name, null, statistic, pvalue, df, df_denom
        As in `HypothesisTest`.
    f_statistic : float
        The Wald statistic over the number of instruments, which is compared with critical values for weak instruments.
    """

    f_statistic: float = float("nan")


def cragg_donald(part: Partialled) -> RankTest:
    """Return the least eigenvalue of S^-1/2 Pi'Z~'Z~ Pi S^-1/2, S the residuals' covariance by n - k, and over q as F."""
    residual = triangle_of(part.unexplained[:, :-1])
    turned = torch.linalg.solve_triangular(residual.mT, part.explained[:, :-1].mT, upper=False)
    least = float(torch.linalg.svdvals(turned)[-1]) ** 2 * part.df_resid
    return _rank_test("Cragg-Donald", least, part, least / part.excluded)


def kleibergen_paap(part: Partialled, scores: VarianceOf, variance: VarianceOf) -> RankTest:
    """Return the rk statistic as a Lagrange multiplier, chi-squared, and as a Wald F.

    Parameters
    ----------
    part : Partialled
        The data.
    scores : callable
        The variance under the hypothesis: its rows have W c itself in the place of the regression's residual, and no small-sample factor.
    variance : callable
        That of the covariance in use, with its factor.

    Notes
    -----
    Theta = R Pi G^-1, with R'R = Z~'Z~ and G'G = W~'W~, has singular values that are canonical correlations. The least one belongs to the combination
    c = G^-1 v of the regressors, v its right vector; the left vectors but the first m - 1, U, give lambda = U'R Pi c, whose variance is U'R V(c) R'U.
    """
    columns = part.endogenous
    scale = triangle_of(part.rows[:, :-1])
    theta = torch.linalg.solve_triangular(scale.mT, part.explained[:, :-1].mT, upper=False).mT
    left, _, right = torch.linalg.svd(theta, full_matrices=True)
    weights = torch.linalg.solve_triangular(scale, right[-1:].mT, upper=True)[:, 0]
    weights = torch.cat([weights, weights.new_zeros(1)])
    directions = left[:, columns - 1 :]
    found = [_along(part, weights, directions, each(weights)) for each in (scores, variance)]
    return _rank_test("Kleibergen-Paap rk", found[0], part, found[1] / part.excluded)


def _rank_test(name: str, statistic: float, part: Partialled, f: float) -> RankTest:
    free = part.excluded - part.endogenous + 1
    test = chi2_test(name, f"{_UNMOVED}.", statistic, free)
    return RankTest(test.name, test.null, test.statistic, test.pvalue, test.df, None, f)


def sanderson_windmeijer(part: Partialled, column: int, variance: VarianceOf, df_denom: float) -> HypothesisTest:
    """Test that endogenous regressor `column` is not moved by the instruments beyond what the others take, by F(q - m + 1, df_denom).

    W c is the residual of that regressor's 2SLS regression on the others. Its instruments' coefficients p = Pi c satisfy m - 1 equations, those of 2SLS,
    so that p varies in q - m + 1 directions; the variance of p along them takes account of c being estimated, for any covariance. Where errors have one
    variance this is Sanderson and Windmeijer's F. ivreg2's robust version is p'V^-1 p, which is not chi-squared then.
    """
    others = [i for i in range(part.endogenous) if i != column]
    weights = torch.zeros(part.endogenous + 1).to(part.explained)
    weights[column] = 1.0
    basis, triangle = torch.linalg.qr(part.explained[:, others], mode="complete")
    fitted = basis[:, : len(others)].mT @ part.explained[:, column]
    if others:
        weights[others] = -(inverse_triangle(triangle[: len(others)]) @ fitted)
    quadratic = _along(part, weights, basis[:, len(others) :], variance(weights))
    null = "the instruments do not move this regressor apart from the other endogenous ones."
    free = part.excluded - len(others)
    return f_test("Sanderson-Windmeijer conditional F", null, quadratic / free, free, df_denom)


def _along(part: Partialled, weights: Tensor, directions: Tensor, variance: Tensor) -> float:
    """Return the quadratic form of R Pi c along (q, d) orthonormal directions, (q, q) being the variance of Pi c."""
    turned = directions.mT @ part.instruments
    return quadratic_form(turned @ part.combined(weights), turned @ variance @ turned.mT)
