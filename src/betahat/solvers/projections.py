"""Weighted least squares projections of many columns on the columns of absorbed effects: x - Q (Q'WQ)^+ Q'W x.

Effects with the same levels are one effect, and dummies of levels that consist of another effect's levels add nothing to it. One effect is a matter of
sums. Of several, the largest is eliminated by sums, and what is left of the normal equations is solved by a dense factor where it is small, else by
conjugate gradients on the products of levels, which are far fewer than the rows: measured with a million rows and six columns, in a half to a fifth of
the CPU time of within-py. Where they do not converge in time, a larger dense factor or within-py, if it is installed, solves for the rest. Residuals
are checked against every column, and projected again until they are orthogonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate

import torch
from torch import Tensor

from betahat.data.effects import Effect
from betahat.data.room import room_for
from betahat.errors import EstimationError
from betahat.solvers.crossed_levels import Crossed, Patterns
from betahat.solvers.dummy_equations import ConjugateGradients, Elimination, Equations, Sums, Within
from betahat.solvers.level_columns import Column, columns_of, in_variables, less_fitted, level_sums, on_cpu, row_squares
from betahat.solvers.normalised import normalised

# Residuals are orthogonal to 1e-10 of the lengths; solvers aim at less, and a projection of the residuals takes the rest off.
ORTHOGONAL, AIM = 1e-10, 1e-11
# Residuals shorter than 1e-4 of the column are measured as if they were so long: rounding errors of the column are in them.
SHORT = 1e-4
# One repetition is usual where the effects explain most of a column, and one more where another way takes over.
REPEATS = 5
# Columns whose squares would underflow or overflow are measured in units of their own.
_SMALLEST, _LARGEST = 1e-240, 1e240
# S of so many levels is factored: 1,500^3 / 3 multiplications take a twentieth of a second.
_DENSE = 1500
# That of so many takes a second or two, and is made where conjugate gradients are slow.
_DENSE_LATER = 3000
# To make S takes so many sparse multiplications at most, as long as a few iterations.
_WORK = 10**7
# Iterations at most, and where there is another way to go on.
_CAP, _CAP_BEFORE = 5000, 500
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True, eq=False)
class Term:
    """Effects with the same levels: their columns, orthogonal within each level.

    Attributes
    ----------
    columns : tuple of Column
    places : dict of int to tuple of (int or None)
        For each effect's position, which columns are its own; None for dummies that another effect has.
    """

    columns: tuple[Column, ...]
    places: dict[int, tuple[int | None, ...]]


class Projection:
    """The projection on absorbed effects under given weights.

    Attributes
    ----------
    route : str
        "sums", "elimination", "within" or "conjugate gradients".
    iterations : int
        The most iterations that a call took; 0 of direct routes.
    orthogonality : float
        The largest cosine between a column of the effects and residuals that were handed out, 1e-10 at most.
    """

    def __init__(self, effects: Sequence[Effect], weights: Tensor | None, patterns: Patterns | None = None) -> None:
        """Take effects and (n,) weights, and what projections on these effects under other weights have left in `patterns`."""
        self._effects = tuple(effects)
        self._weights = None if weights is None else _ordinary(weights.to(torch.float64))
        self._terms = terms_of(self._effects, self._weights)
        self._columns = tuple(column for term in self._terms for column in term.columns)
        self._equations = equations_of(self._terms, self._weights, patterns)
        self.orthogonality = 0.0

    @property
    def route(self) -> str:
        """How the normal equations are solved."""
        return self._equations.name

    @property
    def iterations(self) -> int:
        """The most iterations that a call took."""
        return self._equations.iterations

    def residuals(self, columns: Tensor) -> Tensor:
        """Return (n, m) float64 residuals of (n, m) columns, which stay as they are."""
        return self._project(columns, room_for(columns, *columns.shape))[0]

    def take_off(self, columns: Tensor) -> Tensor:
        """Return (n, m) residuals of (n, m) float64 columns, in their place."""
        return self._project(columns, columns)[0]

    def coefficients(self, columns: Tensor) -> tuple[Tensor, ...]:
        """Return for each effect (count, width, m) its coefficients in the projection of (n, m) columns: the dummies' first, then each variable's.

        The dummies of the first effect that has some are as they are; those of each further one are zero at a reference, the first level in each
        connected part that it forms with an effect before it (`betahat.solvers.normalised`). A slope is zero where its variable depends, within
        the level, on the dummy and the variables before it.
        """
        found = self._project(columns, room_for(columns, *columns.shape))[1]
        sizes = [len(term.columns) for term in self._terms]
        results = [columns.new_zeros(e.count, e.width, columns.shape[1], dtype=torch.float64) for e in self._effects]
        for term, stop in zip(self._terms, accumulate(sizes), strict=True):
            own = in_variables(term.columns, found[stop - len(term.columns) : stop])
            for position, places in term.places.items():
                for j, place in enumerate(places):
                    if place is not None:
                        results[position][:, j] = own[place]
        return normalised(self._effects, results)

    def _project(self, columns: Tensor, out: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return residuals, in `out`, which may be the columns, and the coefficients of the orthogonal columns."""
        weights, columns_of_all = self._weights, self._columns
        if not columns.shape[1]:
            empty = columns.new_zeros(columns.shape, dtype=torch.float64)
            return empty, [empty.new_zeros(column.count, 0) for column in columns_of_all]
        squares = row_squares(columns, weights)
        if bool(((squares < _SMALLEST) | ~(squares < _LARGEST)).any()):
            scale = _units(columns)
            if not bool((scale == 1.0).all()):
                _, found = self._project(columns / scale, out)
                return out.mul_(scale), [u * scale for u in found]
        least = SHORT**2 * squares
        sums = level_sums(columns_of_all, columns, weights)
        for own in sums[: len(self._terms[0].columns)]:
            squares = squares - own.square().sum(0)
        found = self._equations.solve(sums, columns, AIM * torch.maximum(squares, least).sqrt())
        squares = less_fitted(columns_of_all, found, columns, weights, out)
        for _ in range(REPEATS):
            sums = level_sums(columns_of_all, out, weights)
            against = torch.maximum(squares, least).sqrt().clamp_min(_TINY)
            cosine = float((torch.stack([_largest(part) for part in sums]).amax(0) / against).amax())
            if cosine <= ORTHOGONAL:
                self.orthogonality = max(self.orthogonality, cosine)
                return out, found
            step = self._equations.solve(sums, out, AIM * against)
            squares = less_fitted(columns_of_all, step, out, weights, out)
            found = [u + more for u, more in zip(found, step, strict=True)]
        raise EstimationError(
            f"Residuals of the projection on the absorbed effects are not orthogonal to them, by {cosine:.1e} of their lengths; "
            "rescale the variables of slopes, or use fewer effects."
        )


def projection_on(effects: Sequence[Effect], weights: Tensor | None, patterns: Patterns | None = None) -> Projection:
    """Return the projection on absorbed effects under (n,) weights, None for equal ones; levels may have no row.

    Projections on the same effects under one weight after another share `patterns`, an empty dict at first.
    """
    return Projection(effects, weights, patterns)


def _ordinary(weights: Tensor) -> Tensor:
    """Return (n,) weights, of which the largest is one where squares are not made for it."""
    peak = float(weights.max()) if len(weights) else 1.0
    return weights / peak if 0.0 < peak < _SMALLEST**0.25 or peak > _LARGEST**0.25 else weights


def _units(columns: Tensor) -> Tensor:
    """Return (m,) the largest magnitudes of columns that squares are not made for, and 1 of the others."""
    peaks = columns.abs().amax(0).to(torch.float64)
    apart = (peaks > 0) & ((peaks < _SMALLEST**0.25) | (peaks > _LARGEST**0.25))
    return torch.where(apart, peaks, 1.0)


def _largest(sums: Tensor) -> Tensor:
    """Return (m,) the largest magnitudes of (G, m) sums."""
    return sums.abs().amax(0) if len(sums) else sums.new_zeros(sums.shape[1])


def terms_of(effects: Sequence[Effect], weights: Tensor | None) -> tuple[Term, ...]:
    """Put effects with the same levels together, leave dummies within others out, and order by size."""
    merged: list[list[int]] = []
    for position, effect in enumerate(effects):
        same = next((group for group in merged if _same(effects[group[0]], effect)), None)
        if same is None:
            merged.append([position])
        else:
            same.append(position)
    alone = {group[0] for group in merged if len(group) == 1}
    owners = [group[0] for group in merged if any(effects[i].constant for i in group)]
    made = []
    for group in merged:
        one = effects[group[0]]
        if group[0] in alone and one.variables is None:
            owners.remove(group[0])  # of two that are within each other one stays
            if any(effects[owner].same_in_each(one.codes) for owner in owners):
                continue
            owners.append(group[0])
        made.append(_term([effects[i] for i in group], group, weights))
    return tuple(sorted(made, key=lambda term: -sum(column.count for column in term.columns)))


def _term(effects: Sequence[Effect], positions: Sequence[int], weights: Tensor | None) -> Term:
    constant = any(effect.constant for effect in effects)
    variables = [effect.variables for effect in effects if effect.variables is not None]
    joint = Effect(
        effects[0].name, effects[0].codes, effects[0].count, torch.cat(variables, 1) if variables else None, constant
    )
    places, following, free = {}, int(constant), constant
    for position, effect in zip(positions, effects, strict=True):
        own: list[int | None] = []
        if effect.constant:
            own.append(0 if free else None)
            free = False
        slopes = effect.width - effect.constant
        own += range(following, following + slopes)
        following += slopes
        places[position] = tuple(own)
    return Term(columns_of(joint, weights), places)


def _same(one: Effect, other: Effect) -> bool:
    return one.count == other.count and torch.equal(one.codes, other.codes)


def equations_of(
    terms: tuple[Term, ...], weights: Tensor | None, patterns: Patterns | None = None, by_rows: bool = True
) -> Equations:
    """Return how the terms' normal equations are to be solved, by ways that need the rows or without them."""
    if len(terms) == 1:
        return Sums()
    columns, sizes = (
        tuple(column for term in terms for column in term.columns),
        tuple(len(term.columns) for term in terms),
    )
    crossed = Crossed(columns, sizes, weights, patterns)
    others = sum(column.count for column in columns[sizes[0] :])
    if others <= _DENSE and crossed.work <= _WORK:
        return Elimination(crossed)
    if others <= _DENSE_LATER:
        return ConjugateGradients(crossed, min(_CAP, _CAP_BEFORE), Elimination(crossed))
    later = (
        Within(columns, sizes, weights)
        if by_rows and on_cpu(columns[0].codes) and find_spec("within") is not None
        else None
    )
    return ConjugateGradients(crossed, _CAP if later is None else min(_CAP, _CAP_BEFORE), later)
