"""The score (Lagrange multiplier) test of restrictions and of omitted variables, from the restricted fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, Point, times
from betahat.data.container import to_numpy
from betahat.data.handed_out import hands_out_copies
from betahat.errors import EstimationError, OptionError
from betahat.fits.fit import Fit
from betahat.inference.distribution import chi2_tail, two_sided

Hypothesis = Literal["joint", "separate"]

# Sums of products lose half of sixteen digits; a column closer than this to the span of the others counts as collinear.
_SINGULAR = 1e-7


@hands_out_copies
@dataclass(frozen=True, eq=False)
class ScoreTest:
    """A score test, with statsmodels' names; it unpacks as statistic and p-value.

    Attributes
    ----------
    statistic, pvalue : float or array
        Chi-squared of the joint hypothesis, or a standard normal number for each parameter.
    distribution : {"chi2", "norm"}
        The reference distribution.
    k_constraint : int or None
        The restrictions of the joint hypothesis.
    """

    statistic: Any
    pvalue: Any
    distribution: str
    k_constraint: int | None = None

    def __iter__(self) -> Iterator[Any]:
        """Yield the statistic and the p-value."""
        return iter((self.statistic, self.pvalue))

    def __getitem__(self, place: int) -> Any:
        """Return the statistic or the p-value."""
        return (self.statistic, self.pvalue)[place]

    def __len__(self) -> int:
        """Return two."""
        return 2


def score_test(
    fit: Fit,
    extra: Tensor | None,
    params: Tensor,
    restrictions: Tensor | None,
    count: int | None,
    hypothesis: Hypothesis,
    robust: bool,
) -> ScoreTest:
    """Test restricted coefficients, or zeros for (n, p) `extra` variables: s'A^-1 s / phi, or, if robust, with the variance of the scores.

    `params` are (k,) the restricted estimates; the robust test without `extra` needs `restrictions`, (J, k) R; without `extra`, `count` is J.
    Boos (1992), On generalized score tests, Am. Stat. 46(4).
    """
    problem = Problem(fit.objective, fit.design)
    phi = problem.dispersion(params, problem.loss(params), fit.rank)
    if extra is not None:
        problem, params, restrictions = _with_extra(fit, extra, params)
        count = len(restrictions)
    local = problem.evaluate(params, Bread.OBSERVED)
    score, information = -local.gradient, local.information
    if hypothesis == "separate":
        statistic = score / (phi * information.diagonal()).sqrt()
        return ScoreTest(to_numpy(statistic), to_numpy(two_sided(statistic, None)), "norm")
    if count is None:
        raise OptionError(
            "k_constraints is None; pass the number of restrictions that params_constrained satisfies, or exog_extra."
        )
    scale = information.diagonal().sqrt()
    lower, failed = torch.linalg.cholesky_ex(information / scale / scale[:, None])
    if bool(failed) or not bool(lower.diagonal().min() > _SINGULAR):
        raise EstimationError("The information is singular with these variables; omit those that are collinear.")
    lower = scale[:, None] * lower
    step = torch.cholesky_solve(score[:, None], lower)
    if not robust:
        value = float(score @ step[:, 0] / phi)
        return ScoreTest(value, chi2_tail(value, count), "chi2", count)
    if restrictions is None:
        raise OptionError("cov_type 'HC0' needs the restrictions; pass r_matrix, one row for each, or exog_extra.")
    scores = problem.gather(lambda rows: rows.scores(), Point(params, params.new_empty(0)))
    counts, nobs = fit.sample.counts, float(fit.nobs)
    centred = scores - times(scores, counts).sum(0) / nobs
    spread = nobs / (nobs - 1.0) * centred.mT @ times(centred, counts)
    across = torch.cholesky_solve(restrictions.mT, lower)
    moved = restrictions @ step
    value = float(moved[:, 0] @ torch.linalg.solve(across.mT @ spread @ across, moved)[:, 0])
    return ScoreTest(value, chi2_tail(value, len(restrictions)), "chi2", len(restrictions))


def _with_extra(fit: Fit, extra: Tensor, params: Tensor) -> tuple[Problem, Tensor, Tensor]:
    """Return the problem with (n, p) further columns, its parameters with zeros for them, and the restrictions that these are zero."""
    design, objective, width = fit.design, fit.objective, extra.shape[1]
    if objective.indices is not None and not objective.indices.uniform:
        raise EstimationError(
            "The equations have regressors of their own, and exog_extra does not say to which the variables belong; fit the model with them, and "
            "use wald_test."
        )
    names = (*design.names, *(f"extra {i}" for i in range(width)))
    larger = design.with_regressors(torch.cat([design.exog.to(extra), extra], 1), names)
    columns = torch.tensor(
        [-1 if column is None else column for column in objective.columns_of_parameters(larger.width)]
    )
    added = (columns >= design.width).to(params.device)
    padded = params.new_zeros(len(columns)).masked_scatter(~added, params)
    restrictions = torch.eye(len(columns)).to(params)[added]
    return Problem(objective, larger), padded, restrictions
