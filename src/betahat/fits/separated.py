"""Which rows of a model with absorbed effects are separated, and what is said where regressors separate a yes from a no."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.errors import EstimationError, counted, listed
from betahat.fits.absorbed import total_weights, varying, without_effects
from betahat.objectives.base import LinearIndex
from betahat.solvers.least_squares import column_rank
from betahat.solvers.projections import projection_on
from betahat.solvers.separation import separated_rows, taken


def falling_sides(objective: LinearIndex, design: Design) -> Tensor | None:
    """Return (n,) towards which side the loss of a row falls forever, 0 where to none; None where to none in any row."""
    bounds = objective.support.bounds
    if not bounds or objective.domain is not None:
        return None
    y = design.endog.to(torch.float64)
    signs = torch.zeros_like(y)
    for bound in bounds:
        at = y.new_full((1,), bound)
        side = float(objective.residual(torch.zeros_like(at), at).sign())
        signs = torch.where(y == bound, side, signs)
    return signs if bool(signs.any()) else None


def separated(design: Design, signs: Tensor) -> Tensor | None:
    """Return (n,) which rows are separated; None where there are none. Regressors may not separate a yes from a no, as without effects."""
    weights = total_weights(design)
    used = torch.arange(design.rows, device=signs.device) if weights is None else weights.nonzero().flatten()
    effects = [taken(effect, used) for effect in design.effects]
    both = bool((signs[used] > 0).any() & (signs[used] < 0).any())
    exog = design.exog[used]
    found = separated_rows(signs[used], exog[:, :0] if both else exog, effects)
    if both and not bool(found.any()):
        found = separated_rows(signs[used], exog, effects)
        if bool(found.any()):
            _refuse_separated(design, used[found])
    if not bool(found.any()):
        return None
    out = torch.zeros(design.rows, dtype=torch.bool, device=signs.device)
    out[used[found]] = True
    return out


def _refuse_separated(design: Design, rows: Tensor) -> NoReturn:
    """Say that regressors separate rows: those that nothing is left of in the other rows."""
    held = torch.ones(design.rows, dtype=torch.bool, device=rows.device)
    held[rows] = False
    names: tuple[str, ...] = design.names
    if bool(held.any()):
        rest = held.nonzero().flatten()
        own = design.take(rest)
        left = projection_on(own.effects, None).residuals(own.exog)
        kept = varying(own, left)
        if kept:
            made = without_effects(own, {"exog": left[:, list(kept)]}, kept)
            kept = tuple(kept[i] for i in column_rank(made)[0])
        names = tuple(name for i, name in enumerate(design.names) if i not in kept)
    raise EstimationError(
        f"The loss falls forever along {listed(names)} beside the absorbed effects, so there is no finite estimate: {counted(len(rows), 'row')} "
        f"{'is' if len(rows) == 1 else 'are'} predicted perfectly. Leave such columns or rows out, or merge categories."
    )
