"""Absorbed effects recovered: what each level adds to the index, normalised, and what they add for new rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.data.effects import Levels, new_codes
from betahat.data.source import Source
from betahat.data.streamed_effects import Explained
from betahat.data.turned import selected
from betahat.errors import DataError, EstimationError
from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit
from betahat.inference.residuals import plain_residuals
from betahat.solvers.level_columns import level_mass
from betahat.solvers.normalised import normalised
from betahat.solvers.projections import projection_on


@of_fit
def fitted_index(fit: Fit) -> Tensor:
    """Return (n,) the linear index, absorbed effects and offset included."""
    if fit.absorbed is None or not fit.objective.dispersion.squares or fit.objective.nonlinear:
        return fit.map_rows(lambda rows: index_rows(rows).index)
    return fit.raw.endog.to(torch.float64) - plain_residuals(fit)


@of_fit
def effects_part(fit: Fit) -> Tensor:
    """Return (n,) what absorbed effects add to the index: all of it but x'b of the regressors as they were given, and the offset."""
    raw = fit.raw
    rest = fitted_index(fit) - raw.exog[:, list(fit.kept)].to(torch.float64) @ fit.params
    return rest if raw.offset is None else rest - raw.offset


def index_rows_with_effects(fit: Fit) -> Source:
    """Return the rows of what a linear index is made of, in which absorbed effects are part of the offset."""
    if fit.absorbed is None:
        return fit.design.index_columns
    raw, effects = fit.raw, effects_part(fit)
    offset = effects if raw.offset is None else effects + raw.offset
    return selected(raw.index_columns, fit.kept).replaced({"offset": offset})


@of_fit
def recovered(fit: Fit) -> tuple[Tensor, ...]:
    """Return of each effect (count, width) the coefficients of its levels: the dummies' first, then each slope's; see `Projection.coefficients`.

    They are NaN where all rows of a level have a weight of zero, so that nothing is known of it.
    """
    assert fit.absorbed is not None
    if fit.absorbed.explained is not None:
        return _recovered_as_read(fit, fit.absorbed.explained)
    effects, weights = fit.raw.effects, fit.absorbed.weights
    found = projection_on(effects, weights).coefficients(effects_part(fit)[:, None])
    parts = [part[:, :, 0] for part in found]
    if weights is None or bool((weights > 0).all()):
        return tuple(parts)
    used = [torch.bincount(effect.codes[weights > 0], minlength=effect.count) > 0 for effect in effects]
    return tuple(part.where(there[:, None], torch.nan) for part, there in zip(parts, used, strict=True))


def _recovered_as_read(fit: Fit, explained: Explained) -> tuple[Tensor, ...]:
    """Return the same of rows that are read, from the coefficients of the columns on the dummies: those of y less those of X times b."""
    cells = explained.cells
    found = [fit.params.new_zeros(effect.count, 1, 1) for effect in cells.effects]
    pairs = zip(explained.fitted["endog"], explained.fitted["exog"], strict=True)
    for place, (y, x) in zip(explained.places, pairs, strict=True):
        found[place][:, 0, 0] = y - x[:, list(fit.kept)] @ fit.params
    parts = [part[:, :, 0] for part in normalised(cells.effects, found)]
    masses = [level_mass(effect.codes, effect.count, cells.weights) for effect in cells.effects]
    return tuple(part.where((mass > 0)[:, None], torch.nan) for part, mass in zip(parts, masses, strict=True))


def added_effects(fit: Fit, given: Sequence[Any], slopes: Sequence[Any]) -> Tensor:
    """Return (m,) what absorbed effects add for new rows, from the labels of each effect's columns and the variables of its slopes, in their order."""
    total, labels, variables = fit.params.new_zeros(()), list(given), list(slopes)
    for levels, values in zip(fit.raw.schema.effects, recovered(fit), strict=True):
        codes = new_codes(levels, [labels.pop(0) for _ in levels.columns]).to(values.device)
        own = values[codes.clamp_min(0)].masked_fill((codes < 0)[:, None], torch.nan)
        if levels.constant:
            total = total + own[:, 0]
        for place, _ in enumerate(levels.variables, levels.constant):
            total = total + own[:, place] * torch.as_tensor(variables.pop(0), dtype=torch.float64).to(own)
    return total


def refuse_effects(fit: Fit, what: str, remedy: str) -> None:
    """Refuse what needs the covariance of absorbed effects, which no fit has."""
    if fit.absorbed is not None:
        raise EstimationError(f"{what} the variances of absorbed effects, which are not estimated; {remedy}.")


def refuse_unlabelled(levels: Sequence[Levels]) -> NoReturn:
    """Say that new data lack the labels of absorbed effects."""
    names = ", ".join(effect.name for effect in levels)
    raise DataError(
        f"The model absorbs effects ({names}), so a prediction needs the labels of new rows: pass a dataframe with their columns, or absorb=[...] with a vector for "
        "each column."
    )
