"""Two stages: untreated outcomes fitted on untreated rows, and what is left of all outcomes regressed on treatment, with errors of both.

The first stage minimises the sum over untreated rows of w (y - x'g)^2, and the second that over all rows of w (y - x'g - z'd)^2 in d. Stacked as moments, row i's
share in the equations of d, once those of g are solved out, is

    w_i (z_i e_i - c_i u_i),    c_i = V x_i for untreated rows and zero for others,    V = (sum w z x') (sum over untreated rows of w x x')^-1,

u and e being the residuals of the two stages. The x are dummies of one effect, which is eliminated, and other columns, among them dummies of other effects.
Gardner (2022), Two-stage differences in differences. Newey and McFadden (1994), Handbook of Econometrics 4, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.engine import numbered
from betahat.data.sample import Batch
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.data.user_data import UserData
from betahat.fits.fit import Fit
from betahat.fits.moments import solved_elsewhere
from betahat.objectives.base import Route
from betahat.objectives.moment_conditions import MomentConditions, Steps, Weighting

# Columns of unit length, once the effect is eliminated: a direction with a smaller eigenvalue is one that the untreated rows say nothing of.
_NULL = 1e-11
# Of the squares of a column, so small a share about its means is rounding.
_ROUNDING = 1e-20
# A row's untreated outcome is known if so little of it, as a share of its length, lies along such directions.
_KNOWN = 1e-6


@dataclass(frozen=True, eq=False)
class Stage:
    """The first stage's rows.

    Attributes
    ----------
    outcome : Tensor
        (n,) y.
    untreated : Tensor
        (n,) bool, the rows that it is fitted on.
    codes : Tensor
        (n,) int64 the levels of the effect that is eliminated.
    columns : Tensor
        (n, m) the other regressors.
    weights : Tensor or None
        (n,) w; None is one.
    """

    outcome: Tensor
    untreated: Tensor
    codes: Tensor
    columns: Tensor
    weights: Tensor | None


@dataclass(frozen=True, eq=False)
class Imputed:
    """Untreated outcomes, fitted on the untreated rows.

    Attributes
    ----------
    stage : Stage
        The rows.
    known : Tensor
        (n,) bool, the rows whose untreated outcome the untreated rows determine.
    left : Tensor
        (n,) outcomes less the untreated ones.
    means : Tensor
        (L, m) weighted means of the columns by level, over untreated rows.
    totals : Tensor
        (L,) the weights of untreated rows by level.
    inverse : Tensor
        (m, m) the generalized inverse of the columns' weighted products about these means.
    """

    stage: Stage
    known: Tensor
    left: Tensor
    means: Tensor
    totals: Tensor
    inverse: Tensor

    def carried(self, second: Tensor) -> Tensor:
        """Return (n, k) c_i u_i, what the error of the first stage adds to the scores of (n, k) regressors z of the second; w is not applied."""
        stage = self.stage
        weighted = second if stage.weights is None else second * stage.weights[:, None]
        of_level = _sums(weighted, stage.codes, len(self.totals))
        slopes = self.inverse @ (stage.columns.mT @ weighted - self.means.mT @ of_level)
        shift = of_level / self.totals.clamp_min(torch.finfo(torch.float64).tiny)[:, None] - self.means @ slopes
        found = shift[stage.codes] + stage.columns @ slopes
        return found * (self.left * stage.untreated)[:, None]


def imputed(stage: Stage) -> Imputed:
    """Fit the first stage."""
    often = stage.untreated.to(torch.float64) if stage.weights is None else stage.untreated * stage.weights
    levels = int(stage.codes.max()) + 1
    totals = _sums(often[:, None], stage.codes, levels)[:, 0]
    there = totals.clamp_min(torch.finfo(torch.float64).tiny)[:, None]
    means = _sums(stage.columns * often[:, None], stage.codes, levels) / there
    about = stage.columns - means[stage.codes]
    products = about.mT @ (about * often[:, None])
    inverse, null = _inverse(products, (stage.columns.square() * often[:, None]).sum(0))
    slopes = inverse @ (about.mT @ (often * stage.outcome))
    plain = stage.outcome - stage.columns @ slopes
    left = plain - (_sums((often * plain)[:, None], stage.codes, levels) / there)[stage.codes, 0]
    along = torch.linalg.vector_norm(about @ null, dim=1)
    sizes = torch.linalg.vector_norm(stage.columns, dim=1).clamp_min(1.0)
    known = (totals[stage.codes] > 0) & (along <= _KNOWN * sizes)
    return Imputed(stage, known, left, means, totals, inverse)


def two_stages(stage: Imputed, second: Tensor, schema: Schema, user_data: UserData) -> Fit:
    """Return the fit of the second stage on (n, k) regressors, whose rows' moments carry the error of the first."""
    weights = stage.stage.weights
    weighted = second if weights is None else second * weights[:, None]
    products = weighted.mT @ second
    params = _solved(products, weighted.mT @ stage.left)
    carried = stage.carried(second)
    carried = carried if weights is None else carried * weights[:, None]
    columns = (second, weighted, carried, stage.left)
    conditions = MomentConditions(_moments, second.shape[1], Route.FORWARD, Route.FORWARD, Weighting(Steps.ONE))
    sample = Batch(schema, Held(numbered(columns).columns, user_data))
    return solved_elsewhere(conditions, sample, params, -products, "two stages")


def _moments(params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
    """Return (b, k) the rows' moments at (k,) parameters."""
    second, weighted, carried, left = columns
    return weighted * (left - second @ params)[:, None] - carried


def _solved(products: Tensor, right: Tensor) -> Tensor:
    """Return (k,) the minimum-norm solution of symmetric equations; whether it is the only one is checked with the fit."""
    return _inverse(products, products.diagonal())[0] @ right


def _inverse(products: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (m, m) generalized inverse of positive semi-definite products of columns, and (m, d) directions that they say nothing of.

    `before` has the (m,) squares of the columns before means were taken off, of which rounding leaves a share.
    """
    squares = products.diagonal()
    alive = squares > _ROUNDING * before
    lengths = squares[alive].sqrt()
    values, vectors = torch.linalg.eigh(products[alive][:, alive] / lengths / lengths[:, None])
    turned, kept = vectors / lengths[:, None], values > _NULL
    inverse = torch.zeros_like(products)
    inverse[alive.nonzero(), alive.nonzero().mT] = (turned[:, kept] / values[kept]) @ turned[:, kept].mT
    null = products.new_zeros(len(products), int((~kept).sum()))
    null[alive] = turned[:, ~kept] / torch.linalg.vector_norm(turned[:, ~kept], dim=0)
    return inverse, torch.cat([null, torch.diag((~alive).to(products))[:, ~alive]], 1)


def _sums(values: Tensor, codes: Tensor, levels: int) -> Tensor:
    """Return (levels, m) the sums of (n, m) values by level."""
    return values.new_zeros(levels, values.shape[1]).index_add_(0, codes, values)
