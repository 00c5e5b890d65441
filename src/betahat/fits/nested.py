"""Absorbed effects and groups of rows: which effects are nested in the groups, and the fit beside the dummies of the others.

Where an effect is nested in the clusters, its dummies move nothing that leaves out or weighs a cluster: residuals and projected regressors are orthogonal
to them in each cluster by itself. The dummies of the others are columns like any other: orthonormal ones are put beside the regressors, to which
they are orthogonal, so that the last coordinates are those of the fit itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.effects import Effect
from betahat.data.groups import Groups
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit
from betahat.solvers.least_squares import least_squares
from betahat.solvers.memory import check_numbers_fit
from betahat.solvers.projections import projection_on

# Dummies that other effects explain are rounding error beside those that they do not.
_GONE = 1e-8
_REMEDY = "use kind='CR1S', clusters in which the effects are nested, or HC1"


@of_fit
def nested_effects(fit: Fit, ways: tuple[Groups, ...]) -> frozenset[int]:
    """Return the positions of the absorbed effects each of whose levels lies in one group, of one of several ways of grouping."""
    if fit.absorbed is None or not isinstance(fit.given, Design):
        return frozenset()
    return frozenset(i for i, effect in enumerate(fit.given.effects) if any(_nested(effect, way) for way in ways))


def all_nested(fit: Fit, groups: Groups) -> bool:
    """Tell whether all absorbed effects are nested in groups, so that no weights of groups move what their dummies explain."""
    return fit.absorbed is None or len(nested_effects(fit, (groups,))) == len(fit.raw.effects)


def _nested(effect: Effect, groups: Groups) -> bool:
    """Tell whether each level lies in one group."""
    group = torch.empty(effect.count, dtype=torch.int64, device=effect.codes.device)
    group[effect.codes] = groups.codes
    return bool(torch.equal(group[effect.codes], groups.codes))


@of_fit
def beside_dummies(fit: Fit, groups: Groups, every: bool) -> Fit:
    """Return the fit with orthonormal columns for the dummies of effects that are not nested in the groups, or of `every` effect, before its regressors."""
    if fit.absorbed is None or not isinstance(fit.given, Design):
        return fit
    nested = frozenset[int]() if every else nested_effects(fit, (groups,))
    effects = fit.given.effects
    others = [effect for i, effect in enumerate(effects) if i not in nested]
    if not others:
        return fit
    columns = orthonormal_dummies(others, [effects[i] for i in nested], fit.absorbed.weights, fit.sample.rows)
    sample = fit.design
    width, k = columns.shape[1], len(fit.params)
    weights = fit.absorbed.weights
    plain = columns if weights is None else torch.where((weights > 0)[:, None], columns * weights.rsqrt()[:, None], 0.0)
    joint = {
        name: torch.cat([plain, sample.column(name)], 1) for name in ("exog", "scored") if name in sample.source.shapes
    }
    names = (*(f"effect {i}" for i in range(width)), *sample.names)
    schema = replace(sample.schema, given_names=names, terms=None)
    eye = torch.eye(width).to(fit.root)
    root, triangle = torch.block_diag(eye, fit.root), torch.block_diag(eye, fit.triangle)  # type: ignore[no-untyped-call]
    design = replace(sample, schema=schema, source=sample.source.replaced(joint))
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
    if absorbed:
        dummies = projection_on(absorbed, weights).residuals(dummies)
    lengths = torch.linalg.vector_norm(dummies, dim=0)
    dummies = dummies[:, lengths > _GONE * lengths.max()]
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
