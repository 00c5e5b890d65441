"""Labels of absorbed effects at the door: they are read beside the regressors, rows that are alone in a level go, and levels are numbered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.effects import CODES, SLOPES, EffectTerm, Levels, effect_terms, joint_codes
from betahat.data.groups import numbers_with_gaps, partitions_with_gaps
from betahat.data.sample import Sample
from betahat.errors import DataError, counted, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# Codes below so many times the rows are numbered by a table.
_TABLE = 4


@dataclass(frozen=True, eq=False)
class Absorbing:
    """Effects as they were read, before missing rows are dropped.

    Attributes
    ----------
    levels : tuple of Levels
        Whose `members` are empty as yet.
    codes : Tensor
        (n, c) the place of each row's label in each column of each effect; NaN where it is missing.
    slopes : Tensor
        (n, s) float64 the variables with a coefficient for each level.
    """

    levels: tuple[Levels, ...]
    codes: Tensor
    slopes: Tensor

    @property
    def vectors(self) -> dict[str, Tensor]:
        """The columns that stand beside the regressors."""
        return {CODES: self.codes} | ({SLOPES: self.slopes} if self.slopes.shape[1] else {})


def read_effects(sample: Sample, given: Any) -> Absorbing:
    """Read the labels of effects: names and combinations of columns of the sample's data, vectors, or a dataframe or an array of them."""
    if isinstance(given, tuple) and all(isinstance(term, EffectTerm) for term in given):
        return _read_terms(sample, given)
    if isinstance(given, str) or (isinstance(given, list | tuple) and given and all(isinstance(g, str) for g in given)):
        terms = effect_terms(given if isinstance(given, str) else " + ".join(given))
        return _read_terms(sample, terms)
    parts = partitions_with_gaps(sample, given, "absorb")
    names = [part.column or f"effect {i}" for i, part in enumerate(parts, 1)]
    empty = torch.zeros(0, 1, dtype=torch.int64, device=sample.device)
    levels = tuple(Levels(name, (part.labels,), empty, (part.column,)) for name, part in zip(names, parts, strict=True))
    return Absorbing(levels, _with_gaps([part.codes for part in parts]), torch.zeros(sample.rows, 0).to(empty.device))


def _read_terms(sample: Sample, terms: Sequence[EffectTerm]) -> Absorbing:
    levels, codes, slopes = [], [], []
    for term in terms:
        parts = [partitions_with_gaps(sample, column, "absorb")[0] for column in term.columns]
        codes += [part.codes for part in parts]
        slopes += [numbers_with_gaps(sample, name, "absorb") for name in term.variables]
        empty = torch.zeros(0, len(parts), dtype=torch.int64, device=sample.device)
        labels = tuple(part.labels for part in parts)
        levels.append(Levels(term.name, labels, empty, term.columns, term.variables, term.constant))
    variables = torch.stack(slopes, 1) if slopes else torch.zeros(sample.rows, 0, dtype=torch.float64)
    return Absorbing(tuple(levels), _with_gaps(codes), variables.to(sample.device))


def _with_gaps(codes: Sequence[Tensor]) -> Tensor:
    """Return (n, c) codes, column after column; where some are -1, as numbers of which these are NaN."""
    joint = torch.stack(list(codes))
    if int(joint.min()) < 0:
        joint = joint.to(torch.float64).masked_fill_(joint < 0, torch.nan)
    return joint.mT


@dataclass(frozen=True, eq=False)
class Numbered:
    """Levels that have rows, numbered.

    Attributes
    ----------
    levels : tuple of Levels
    codes : Tensor
        (n, E) int64.
    """

    levels: tuple[Levels, ...]
    codes: Tensor


def numbered(levels: Sequence[Levels], labels: Tensor) -> Numbered:
    """Give numbers to the combinations of (n, c) label places that rows have, effect by effect."""
    made, codes, first = [], [], 0
    for effect in levels:
        places = labels[:, first : first + len(effect.labels)].to(torch.int64)
        first += len(effect.labels)
        sizes = [len(known) for known in effect.labels]
        own, inverse = _dense(joint_codes(places.unbind(1), sizes), math.prod(sizes))
        members = []
        for known in reversed(effect.labels[1:]):
            members.append(own % len(known))
            own = own // len(known)
        made.append(replace(effect, members=torch.stack([own, *reversed(members)], 1)))
        codes.append(inverse)
    return Numbered(tuple(made), torch.stack(codes).mT)


def _dense(codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the sorted codes below `size` that occur, and (n,) the place of each row's among them."""
    if size > _TABLE * len(codes):
        own, inverse = torch.unique(codes, return_inverse=True)
        return own, inverse
    there = torch.zeros(size, dtype=torch.bool, device=codes.device).index_fill_(0, codes, True)
    if bool(there.all()):
        return torch.arange(size, device=codes.device), codes
    return there.nonzero().flatten(), (there.cumsum(0) - 1)[codes]


def not_alone(codes: Tensor, counts: Tensor | None) -> Tensor:
    """Return (n,) which rows are left once those that are alone in a level of some effect are dropped, one after the other.

    Correia (2015), "Singletons, cluster-robust standard errors and fixed effects". A row that occurs several times is not alone.
    """
    often = torch.ones(len(codes), dtype=torch.float64, device=codes.device) if counts is None else counts
    held = often > 0
    if not codes.shape[1]:  # slopes alone
        return held
    while True:
        before = int(held.sum())
        for column in codes.unbind(1):
            there = torch.where(held, often.to(torch.float64), 0.0)
            sizes = there.new_zeros(int(column.max()) + 1).index_add_(0, column, there)
            held &= sizes[column] > 1
        if int(held.sum()) in (before, 0):
            return held


def with_levels(design: Design) -> Design:
    """Give numbers to the levels of absorbed effects, once missing rows are gone, and leave out the rows that are alone in one."""
    check_effects(design.schema.effects, design.rows)
    return _numbered_again(design, design.column(CODES))


def keeping(design: Design, held: Tensor) -> Design:
    """Return a design with the (n,) rows that are held, and without those that are then alone in a level of an absorbed effect."""
    codes = design.column(CODES)
    labels = torch.cat([effect.members[codes[:, i]] for i, effect in enumerate(design.schema.effects)], 1)
    return _numbered_again(design.in_use(held.nonzero().flatten()), labels[held])


def _numbered_again(design: Design, labels: Tensor) -> Design:
    """Give numbers to the levels of (n, c) places of labels, and leave out the rows that are alone in one.

    Weights of replicates that are no whole numbers are no numbers of rows.
    """
    levels = design.schema.effects
    found = numbered(levels, labels)
    dummies = [i for i, effect in enumerate(levels) if effect.constant]
    counts = design.counts
    often = counts if counts is None or bool((counts == counts.round()).all()) else (counts > 0).to(counts)
    held = not_alone(found.codes[:, dummies], often)
    if bool(held.all()):
        codes = found.codes
    else:
        if not bool(held.any()):
            raise none_left(levels)
        alone = int((~held).sum()) if counts is None else int((~held & (counts > 0)).sum())
        design = design.in_use(held.nonzero().flatten())
        found = numbered(levels, labels[held])
        codes = found.codes
        design = replace(design, schema=replace(design.schema, dropped=design.schema.dropped + alone))
    schema = replace(design.schema, effects=found.levels)
    return replace(design, schema=schema, source=design.source.replaced({CODES: codes}))


def none_left(levels: Sequence[Levels]) -> DataError:
    """Say that each row is alone in a level."""
    return DataError(
        f"Each row is the only one in its level of {listed([effect.name for effect in levels])}, once those that are have been left out, so the effects "
        "explain everything; absorb coarser effects."
    )


def check_effects(levels: Sequence[Levels], rows: int) -> None:
    """Refuse effects with a level for each row."""
    for effect in levels:
        known = effect.labels[0]
        if len(effect.labels) == 1 and len(known) >= rows > 1 and pd.api.types.is_numeric_dtype(known.dtype):
            raise DataError(
                f"The absorbed effect {shown(effect.name)} has a value of its own in each of the {counted(rows, 'row')}, so nothing is left to explain; if it "
                "is a number, it belongs among the regressors, before the |."
            )
