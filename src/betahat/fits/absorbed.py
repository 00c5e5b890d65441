"""Least squares with absorbed effects: the ordinary fit of what a projection on their dummies leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.absorbed import Absorbed
from betahat.calculus.counts import Counts, EffectSize
from betahat.calculus.problem import Problem
from betahat.calculus.rows import times
from betahat.data.design import Design
from betahat.data.effects import CODES, SLOPES
from betahat.data.engine import Block, fold
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.data.streamed_effects import Cells
from betahat.data.turned import selected
from betahat.errors import EstimationError, counted, listed
from betahat.fits.absorbed_streams import take_off
from betahat.fits.fit import Fit
from betahat.fits.linear import fit_least_squares
from betahat.objectives.gaussian import Gaussian
from betahat.solvers.connected import sizes_of
from betahat.solvers.least_squares import RowSum
from betahat.solvers.projections import Projection, projection_on

# What is left of a column that the effects explain is rounding error, which the projections keep below 1e-10 of its length.
EXPLAINED = 1e-9


@dataclass(frozen=True, eq=False)
class Projected:
    """A design whose effects were projected away.

    Attributes
    ----------
    design : Design
        What is left of the columns, without those that the effects explain.
    kept : tuple of int
        The other columns, by their places in the raw design.
    absorbed : Absorbed
        What the fit is to know of the effects.
    """

    design: Design
    kept: tuple[int, ...]
    absorbed: Absorbed


def fit_absorbed(design: Design, also: tuple[RowSum, ...] = ()) -> Fit:
    """Fit by least squares with the effects of a design absorbed; columns that depend on others, or on the effects, are left out."""
    found = projected(design)
    check_free(design, len(found.kept), found.absorbed)
    fit = fit_least_squares(found.design, "drop", also) if found.kept else _of_effects_alone(found.design)
    return replace(fit, given=design, kept=tuple(found.kept[i] for i in fit.kept), absorbed=found.absorbed)


def refit_absorbed(fit: Fit, design: Design) -> Tensor:
    """Return (k,) the estimates on other rows of the raw design, or under other weights, the effects projected away anew."""
    found = projected(design)
    again = fit_least_squares(found.design, "drop")
    if tuple(found.kept[i] for i in again.kept) != fit.kept:
        raise EstimationError(
            "These rows leave a coefficient without an estimate, since it depends on the absorbed effects or other columns."
        )
    return again.params


def projected(design: Design) -> Projected:
    """Take the effects off the regressors, the dependent variable and the instruments, by least squares with the rows' weights."""
    if design.source.in_turn:
        return _projected_as_read(design)
    sizes = sizes_among(design)  # whose tables are gone before the columns are there
    projection = projection_on(design.effects, total_weights(design))
    columns = {name: design.column(name) for name in ("exog", "endog", "instruments") if name in design.source.shapes}
    parts = {name: column.reshape(design.rows, -1) for name, column in columns.items()}
    widths = [part.shape[1] for part in parts.values()]
    left = projection.take_off(torch.cat([part.to(torch.float64) for part in parts.values()], 1))
    made = dict(zip(parts, torch.split(left, widths, 1), strict=True))
    kept = varying(design, made["exog"])
    plain = {name: part.reshape(columns[name].shape) for name, part in made.items()}
    if len(kept) < design.width:
        plain["exog"] = made["exog"][:, list(kept)]
    return Projected(without_effects(design, plain, kept), kept, absorbed_by(design, projection, sizes))


def _projected_as_read(design: Design) -> Projected:
    """Take the effects off a stream's columns, as they are read."""
    off, effects = take_off(design), design.schema.effects
    kept = tuple((off.lengths > EXPLAINED * off.explained.lengths["exog"]).nonzero().flatten().tolist())
    source = off.source if len(kept) == design.width else selected(off.source, kept)
    absorbed = Absorbed(
        tuple(effect.name for effect in effects),
        sizes_among(design, (), off.explained.cells),
        off.route,
        off.iterations,
        off.orthogonality,
        True,
        explained=off.explained,
    )
    left = Design(_schema_without(design, kept), source, design.engine)
    own = [*kept, *range(design.width, len(off.products))]
    Design.products.learn(left, off.products[own][:, own])
    return Projected(left, kept, absorbed)


def without_effects(design: Design, columns: Mapping[str, Tensor], kept: tuple[int, ...]) -> Design:
    """Return a design with other columns, of which the regressors are those at the places `kept`, and without its effects."""
    others = {name: design.column(name) for name in design.source.shapes if name not in (*columns, CODES, SLOPES)}
    source = Held({**columns, **others}, design.user_data)
    return Design(_schema_without(design, kept), source, design.engine)


def _schema_without(design: Design, kept: tuple[int, ...]) -> Schema:
    """Return the schema of a design's regressors at the places `kept`, without its effects."""
    return replace(
        design.schema,
        given_names=tuple(design.names[i] for i in kept),
        hasconst=False,
        terms=None,
        endogenous=sum(i >= design.width - design.schema.endogenous for i in kept),
        effects=(),
    )


def absorbed_by(
    design: Design, projection: Projection, sizes: tuple[EffectSize, ...], weights: Tensor | None = None
) -> Absorbed:
    """Return what a fit knows of effects that a projection took off; without `weights` they are those of the design."""
    effects = design.effects
    constant = any(effect.constant for effect in effects)
    return Absorbed(
        tuple(effect.name for effect in effects),
        sizes,
        projection.route,
        projection.iterations,
        projection.orthogonality,
        constant,
        total_weights(design) if weights is None else weights,
    )


def total_weights(design: Design) -> Tensor | None:
    """Return (n,) analytic weights times frequency weights; None is one."""
    weights, counts = design.weights, design.counts
    return counts if weights is None else weights if counts is None else weights * counts


def varying(design: Design, left: Tensor) -> tuple[int, ...]:
    """Return the columns of the regressors of which (n, k) residuals are more than rounding error."""
    lengths = design.lengths
    apart = torch.linalg.vector_norm(left, dim=0) > EXPLAINED * lengths
    return tuple(apart.nonzero().flatten().tolist())


def check_free(design: Design, width: int, absorbed: Absorbed) -> None:
    """Refuse effects and regressors that leave no degree of freedom."""
    counts = Counts(float(design.nobs), width, 1.0, absorbed.sizes)
    if counts.free <= 0:
        raise EstimationError(
            f"With {counted(int(design.nobs), 'row')}, {counted(width, 'regressor')} and {counts.coefficients() - width:g} coefficients of {listed(absorbed.names)} no degrees "
            "of freedom are left; absorb coarser effects, or use more rows."
        )


def _of_effects_alone(design: Design) -> Fit:
    """Return the fit of effects without regressors."""
    (squares,) = fold(design.source.only("endog", "weights", "counts"), _squares, design.engine)
    empty = squares.new_zeros(0, 0)
    return Fit(
        problem=Problem(Gaussian(), design),
        params=squares.new_zeros(0),
        root=empty,
        triangle=empty,
        loss=0.5 * squares,
        route="effects alone",
        well_conditioned=True,
        given=design,
        kept=(),
    )


def _squares(block: Block) -> tuple[Tensor]:
    """Return () the weighted sum of squares of the dependent variable of a block."""
    return (times(block["endog"].square(), block.get("weights"), block.get("counts")).sum(),)


def sizes_among(design: Design, nested: Collection[int] = (), cells: Cells | None = None) -> tuple[EffectSize, ...]:
    """Return the coefficients of a design's effects, those `nested` in clusters counted first; of a stream from the combinations of levels."""
    effects, weights = (design.effects, total_weights(design)) if cells is None else (cells.effects, cells.weights)
    sizes = sizes_of(effects, weights, nested)
    # the constant is counted with the effects, also where it is a regressor
    apart = [0 if i or any(effect.constant for effect in effects) else 1 for i in range(len(effects))]
    return tuple(EffectSize(size.levels, size.redundant + more) for size, more in zip(sizes, apart, strict=True))
