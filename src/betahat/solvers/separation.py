"""Separation: rows whose linear index has no finite value at the maximum of the likelihood.

Some rows have a loss that falls forever towards one side of the index: those with y = 0 of a model of counts with a log link, towards minus infinity. There is
no finite estimate where some direction z = Xb + Da, of regressors X and dummies D, is zero in all other rows, and in these has nowhere the wrong sign, but the
right one in some. The latter, of all such directions together, are separated: their fitted means are zero, and the others are estimated without them.

They are found by the iterative rectifier of Correia, Guimarães and Zylkin (2019), "Verifying the existence of maximum likelihood estimates for
generalized linear models", arXiv 1903.01633: a least squares fit of a one in each such row on X and D, under large weights of the others, is cut off at zero and
fitted again. Here it carries momentum, and its answers have certificates, which do not depend on how it came to them:
- A direction separates if, fitted with all other rows tied to zero, it is zero there up to rounding and of the right sign in its own rows.
- No row is separated if multipliers m with X'm = 0 and D'm = 0 have the right sign in all such rows: then z'm = 0 leaves no direction (Gordan's theorem).
Residuals of a weighted fit times their weights are such multipliers, whatever was fitted.

A certificate that spans many orders of magnitude, as a skewed regressor that is only there where nothing happens, is looked for before, and what the rectifier
does not decide soon, linear programming does (`betahat.solvers.separating`).

`signs` are 1 in rows whose loss falls towards plus infinity, -1 towards minus infinity, and 0 in others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from betahat.data.effects import Effect
from betahat.errors import EstimationError, counted
from betahat.solvers.projections import projection_on
from betahat.solvers.separating import MOST_ROWS, Separating, taken

# A row tied to zero weighs a million rows: it moves by a millionth of what they would have it, and the fit keeps ten digits.
_TIED = 1e6
# Columns that are left with less than this of their length once the effects are taken off are rounding errors.
_ROUNDING = 1e-9
# Multipliers, and values of a direction, that are above zero by this share of the largest are not rounding errors of the projection, 1e-10.
_POSITIVE = 1e-6
# Rows tied to zero are there when they are below this share of the largest.
_ZERO = 1e-9
# Of thousands of random problems nine in ten took one step. What takes more than a few is sooner decided by linear programming, if it is affordable.
_STEPS, _PATIENCE = 10_000, 4
_REPEATS = 5


def uniform_levels(effects: Sequence[Effect], signs: Tensor, used: Tensor | None) -> Tensor:
    """Return (n,) which rows are in levels in which all signs are 1, or all are -1, also once such levels' rows are gone.

    `used` is (n,) whether a row has any weight, and None where all have.
    """
    out = torch.zeros(len(signs), dtype=torch.bool, device=signs.device)
    dummies = [effect for effect in effects if effect.constant]
    while True:
        before = int(out.sum())
        for effect in dummies:
            for sign in (-1.0, 1.0):
                others = ~out & (signs != sign)
                mixed = torch.zeros(effect.count, dtype=torch.bool, device=signs.device)
                mixed[effect.codes[others if used is None else others & used]] = True
                out |= ~mixed[effect.codes]
        if int(out.sum()) == before:
            return out


def separated_rows(signs: Tensor, exog: Tensor, effects: Sequence[Effect]) -> Tensor:
    """Return (n,) which rows are separated, of (n,) signs, (n, k) regressors and absorbed effects; rows without weight are to be left out before."""
    out = uniform_levels(effects, signs, None)
    while True:
        left = (~out).nonzero().flatten()
        if not len(left):
            return out
        own = [taken(effect, left) for effect in effects]
        found = _separated_once(signs[left], exog[left].to(torch.float64), own)
        if found is None:
            return out
        out[left[found]] = True


def _separated_once(signs: Tensor, exog: Tensor, effects: Sequence[Effect]) -> Tensor | None:
    """Return (n,) rows that one direction separates; None where there is none."""
    free = signs != 0
    if not bool(free.any()):
        return None
    exact = Separating(exog, effects, signs)
    if exact.none:
        return None
    found = exact.by_a_regressor()
    if found is not None:
        return found
    exog = exact.directions  # all that is left of the regressors in such a direction
    fit = _Tied(exog, effects, signs, ~free)
    ones = free.to(torch.float64)
    # The rectifier fits ones plus what keeps the fit from being negative, `push`, with momentum as of Beck and Teboulle (2009).
    push = ahead = torch.zeros_like(ones)
    fitted = of_ahead = fit(ones)
    momentum, following = 1.0, 1
    for step in range(1, _STEPS + 1):
        multipliers = 1.0 + push[free] - fitted[free]
        if float(multipliers.min()) > _POSITIVE * float(1.0 + push[free].max()):
            return None
        if step == _PATIENCE and exact.rows <= MOST_ROWS:
            decided, found = exact.by_linear_programming()
            if decided:
                return found
        if step == following:
            following *= 2
            found = _certified(exog, effects, signs, fitted)
            if found is not None:
                return found
        new = torch.where(free, (ahead - of_ahead).clamp_min(0.0), ahead - of_ahead)
        move = new - push
        moved = fit(move)
        momentum = 1.0 if float(of_ahead @ move) > 0 else momentum
        later = 0.5 * (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5)
        share, momentum = (momentum - 1.0) / later, later
        push, fitted = new, fitted + moved
        aimed = push + share * move
        ahead = torch.where(free, aimed.clamp_min(0.0), aimed)
        of_ahead = fitted + share * moved if torch.equal(ahead, aimed) else fit(ones + ahead)
    several, small = int(free.sum()) != 1, exact.rows <= MOST_ROWS
    raise EstimationError(
        f"Whether {counted(int(free.sum()), 'row')} that may be separated {'are' if several else 'is'} so could not be decided within {_STEPS:,} steps of the iterative "
        f"rectifier, nor by linear programming{'' if small else f', which is for {MOST_ROWS:,} rows at most, and these are {exact.rows:,}'}; scale the regressors to "
        "similar sizes, or leave out effects with few rows in a level."
    )


def _certified(exog: Tensor, effects: Sequence[Effect], signs: Tensor, fitted: Tensor) -> Tensor | None:
    """Return (n,) the rows that a direction near the (n,) fitted one, which is times their signs, separates, if it does."""
    free, tied = signs != 0, signs == 0
    top = float(fitted[free].max())
    below = max(-float(fitted[free].min()), float(fitted[tied].abs().max()) if bool(tied.any()) else 0.0)
    above = free & (fitted > max(_POSITIVE * top, min(2.0 * below, 0.5 * top)))
    for _ in range(_REPEATS):
        if not bool(above.any()):
            return None
        fit = _Tied(exog, effects, signs, ~above)
        direction = fitted
        for _ in range(_REPEATS):  # each divides what is left of the tied rows by a million
            direction = fit(torch.where(above, direction, 0.0))
        top = float(direction[above].max())
        rest = float(direction[~above].abs().max()) if not bool(above.all()) else 0.0
        if top < _POSITIVE or rest > _ZERO * top:
            return None
        positive = above & (direction > _POSITIVE * top)
        if torch.equal(positive, above):
            return above
        above = positive
    return None


class _Tied:
    """Least squares fits on regressors and effects in which some rows are tied to zero by a large weight, of targets that are times the rows' signs."""

    def __init__(self, exog: Tensor, effects: Sequence[Effect], signs: Tensor, tied: Tensor) -> None:
        """Take (n, k) regressors, the effects, (n,) signs and (n,) which rows are tied."""
        self.signs = torch.where(signs == 0, 1.0, signs)
        weights = torch.where(tied, _TIED, 1.0).to(exog)
        self.root = weights.sqrt()[:, None]
        self.projection = projection_on(effects, weights) if effects else None
        self.basis = self._basis(exog) if exog.shape[1] else exog

    def _basis(self, exog: Tensor) -> Tensor:
        """Return (n, r) orthonormal columns of the weighted regressors beside the effects."""
        whole = torch.linalg.vector_norm(exog * self.root, dim=0)
        rest = (exog if self.projection is None else self.projection.residuals(exog)) * self.root
        length = torch.linalg.vector_norm(rest, dim=0)
        held = length > _ROUNDING * whole
        if not bool(held.any()):
            return rest[:, :0]
        columns, triangle = torch.linalg.qr(rest[:, held] / length[held])
        left, sizes, _ = torch.linalg.svd(triangle, full_matrices=False)
        basis: Tensor = columns @ left[:, sizes > _ROUNDING * sizes.sum()]
        return basis

    def __call__(self, target: Tensor) -> Tensor:
        """Return (n,) fitted values of an (n,) target."""
        column = (self.signs * target)[:, None]
        rest = (column if self.projection is None else self.projection.residuals(column)) * self.root
        rest = rest - self.basis @ (self.basis.mT @ rest)
        return target - self.signs * (rest / self.root)[:, 0]
