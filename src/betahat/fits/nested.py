"""Absorbed effects and groups of rows: which effects are nested in the groups, and the fit beside the dummies of the others.

Where an effect is nested in the clusters, its dummies move nothing that leaves out or weighs a cluster: residuals and projected regressors are orthogonal
to them in each cluster by itself. The dummies of the others are columns like any other: orthonormal ones are put beside the regressors, to which
they are orthogonal, so that the last coordinates are those of the fit itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.counts import Counts
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.effects import CODES, Effect
from betahat.data.engine import Block, scan
from betahat.data.groups import Groups
from betahat.data.row_codes import GROUP
from betahat.data.schema import Schema
from betahat.data.source import Held, Source
from betahat.fits.absorbed import sizes_among
from betahat.fits.fit import Fit
from betahat.fits.nested_streams import dummies_beside
from betahat.fits.remembered import of_fit
from betahat.solvers.least_squares import least_squares
from betahat.solvers.memory import check_numbers_fit
from betahat.solvers.projections import projection_on

# What other effects leave of a dummy that they explain is rounding error.
_GONE = 1e-8
_REMEDY = "use kind='CR1S', clusters in which the effects are nested, or HC1"


@of_fit
def nested_effects(fit: Fit, ways: tuple[Groups, ...]) -> frozenset[int]:
    """Return the positions of the absorbed effects each of whose levels lies in one group, of one of several ways of grouping."""
    if fit.absorbed is None or not isinstance(fit.given, Design):
        return frozenset()
    if fit.absorbed.explained is not None:
        return _nested_as_read(fit, ways)
    return frozenset(
        i for i, effect in enumerate(fit.given.effects) if any(effect.same_in_each(way.codes) for way in ways)
    )


def _nested_as_read(fit: Fit, ways: tuple[Groups, ...]) -> frozenset[int]:
    """Return the same of rows that are read: a level's first group is kept, until another one is met."""
    levels, source = fit.raw.schema.effects, fit.raw.source.only(CODES)
    names = tuple(f"{GROUP} {i}" for i in range(len(ways)))
    for name, way in zip(names, ways, strict=True):
        source = way.of_rows.beside(source, name)
    known = {(i, name): torch.full((of.count,), -1) for i, of in enumerate(levels) for name in names}
    for block in scan(source, _columns, fit.raw.engine):
        for i, name in list(known):
            own, groups, first = block[CODES][:, i].cpu(), block[name].cpu(), known[i, name]
            new = first[own] < 0
            first[own[new]] = groups[new]
            if not torch.equal(first[own], groups):
                del known[i, name]
        if not known:
            break
    return frozenset(i for i, _ in known)


def _columns(block: Block) -> dict[str, Tensor]:
    return block.columns


@of_fit
def counts_among(fit: Fit, ways: tuple[Groups, ...]) -> Counts:
    """Return the numbers of rows and coefficients where rows are clustered: effects that are nested in clusters are counted before the others."""
    nested = nested_effects(fit, ways)
    if fit.absorbed is None or not nested or len(fit.absorbed.sizes) < 2:
        return fit.counts
    explained = fit.absorbed.explained
    return replace(fit.counts, absorbed=sizes_among(fit.raw, nested, None if explained is None else explained.cells))


def all_nested(fit: Fit, groups: Groups) -> bool:
    """Tell whether all absorbed effects are nested in groups, so that no weights of groups move what their dummies explain."""
    return fit.absorbed is None or len(nested_effects(fit, (groups,))) == len(fit.absorbed.sizes)


@of_fit
def beside_dummies(fit: Fit, groups: Groups, every: bool) -> Fit:
    """Return the fit with orthonormal columns for the dummies of effects that are not nested in the groups, or of `every` effect, before its regressors."""
    if fit.absorbed is None or not isinstance(fit.given, Design):
        return fit
    nested = frozenset[int]() if every else nested_effects(fit, (groups,))
    if len(nested) == len(fit.absorbed.sizes):
        return fit
    if fit.absorbed.explained is not None:
        found = dummies_beside(fit.given, fit.design.source, nested, _REMEDY)
        return _wider(fit, found.source, found.width) if found.width else fit
    effects = fit.given.effects
    others = [effect for i, effect in enumerate(effects) if i not in nested]
    columns = orthonormal_dummies(others, [effects[i] for i in nested], fit.absorbed.weights, fit.sample.rows)
    return _beside(fit, columns) if columns.shape[1] else fit


@dataclass(frozen=True, eq=False)
class BesideOwn:
    """A fit beside dummies, those of effects that are nested in groups being numbered within each group.

    Attributes
    ----------
    fit : Fit
    own : int
        How many of the first columns are dummies of nested effects: what they stand for differs from group to group.
    """

    fit: Fit
    own: int


@of_fit
def beside_own_dummies(fit: Fit, groups: Groups) -> BesideOwn:
    """Return the fit beside the dummies of all effects, for what weighs the rows of a group apart.

    Of nested effects a group has its own dummies alone, so that as many columns will do as a group has levels; of several that are not nested in
    each other, or have slopes, each dummy has a column.
    """
    nested = sorted(nested_effects(fit, (groups,)))
    effects = fit.raw.effects
    dummies = all(effects[i].variables is None for i in nested)
    finest = next(
        (i for i in nested if dummies and all(effects[i].same_in_each(effects[j].codes) for j in nested)), None
    )
    if finest is None:
        return BesideOwn(beside_dummies(fit, groups, every=True), 0)
    assert fit.absorbed is not None
    own = _own_dummies(effects[finest], groups, fit.absorbed.weights)
    others = beside_dummies(fit, groups, every=False)
    return BesideOwn(_beside(others, own, fit.absorbed.weights), own.shape[1])


def _own_dummies(effect: Effect, groups: Groups, weights: Tensor | None) -> Tensor:
    """Return (n, L) orthonormal dummies of a nested effect's levels, by their number within their group."""
    codes, device = effect.codes, effect.codes.device
    group = torch.zeros(effect.count, dtype=torch.int64, device=device)
    group[codes] = groups.codes
    order = torch.argsort(group, stable=True)
    sizes = torch.bincount(group, minlength=groups.count)
    number = torch.empty_like(order)
    number[order] = torch.arange(effect.count, device=device) - (sizes.cumsum(0) - sizes)[group[order]]
    weighted = torch.ones(len(codes), dtype=torch.float64, device=device) if weights is None else weights
    totals = weighted.new_zeros(effect.count).index_add_(0, codes, weighted)
    check_numbers_fit(len(codes) * int(sizes.max()), f"The dummies of {effect.name}", device, _REMEDY)
    found = weighted.new_zeros(len(codes), int(sizes.max()))
    values = torch.where(weighted > 0, (weighted / totals[codes]).sqrt(), 0.0)
    found[torch.arange(len(codes), device=device), number[codes]] = values
    return found


def _beside(fit: Fit, columns: Tensor, weights: Tensor | None = None) -> Fit:
    """Return a fit with (n, q) orthonormal columns, which the root of the working weights is part of, before its regressors."""
    weights = weights if fit.absorbed is None else fit.absorbed.weights
    sample = fit.design
    plain = columns if weights is None else torch.where((weights > 0)[:, None], columns * weights.rsqrt()[:, None], 0.0)
    joint = {
        name: torch.cat([plain, sample.column(name)], 1) for name in ("exog", "scored") if name in sample.source.shapes
    }
    return _wider(fit, sample.source.replaced(joint), columns.shape[1])


def _wider(fit: Fit, source: Source, width: int) -> Fit:
    """Return a fit whose regressors have q orthonormal columns before them."""
    sample, k = fit.design, len(fit.params)
    names = (*(f"effect {i}" for i in range(width)), *sample.names)
    schema = replace(sample.schema, given_names=names, terms=None)
    eye = torch.eye(width).to(fit.root)
    root, triangle = torch.block_diag(eye, fit.root), torch.block_diag(eye, fit.triangle)  # type: ignore[no-untyped-call]
    design = replace(sample, schema=schema, source=source)
    return replace(
        fit,
        problem=replace(fit.problem, sample=design),
        params=torch.cat([fit.params.new_zeros(width), fit.params]),
        root=root,
        triangle=triangle,
        well_conditioned=False,
        given=design,
        kept=tuple(range(width + k)),
        absorbed=None,
        sums={},
        facts={},
    )


def orthonormal_dummies(
    others: Sequence[Effect], absorbed: Sequence[Effect], weights: Tensor | None, rows: int
) -> Tensor:
    """Return (n, q) orthonormal columns: the root of the weights times what effects explain beyond those that are absorbed."""
    width = sum(effect.count * effect.width for effect in others)
    device = others[0].codes.device
    check_numbers_fit(
        3 * rows * width, f"The {width} dummies of {' and '.join(effect.name for effect in others)}", device, _REMEDY
    )
    dummies = torch.cat([_dummies(effect) for effect in others], 1)
    lengths = torch.linalg.vector_norm(dummies, dim=0)
    if absorbed:
        dummies = projection_on(absorbed, weights).residuals(dummies)
    dummies = dummies[:, torch.linalg.vector_norm(dummies, dim=0) > _GONE * lengths]
    if not dummies.shape[1]:
        return dummies
    columns = {"exog": dummies, "endog": dummies.new_zeros(rows)} | ({} if weights is None else {"weights": weights})
    solution = least_squares(Design(Schema(Tensors()), Held(columns)), "drop")
    found = dummies[:, list(solution.kept)] @ solution.root
    return found if weights is None else found * weights.sqrt()[:, None]


def _dummies(effect: Effect) -> Tensor:
    """Return (n, width count) an effect's dummies, and their products with its variables."""
    plain = torch.nn.functional.one_hot(effect.codes, effect.count).to(torch.float64)
    parts = [plain] if effect.constant else []
    variables = () if effect.variables is None else effect.variables.unbind(1)
    return torch.cat([*parts, *(plain * variable[:, None] for variable in variables)], 1)
