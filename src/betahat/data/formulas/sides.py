"""The sides of a formula: which columns are regressors, those of a second equation, endogenous regressors and instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import formulaic
import numpy as np
from formulaic.model_spec import EncodedTermStructure

from betahat.data.door import SecondEquation
from betahat.data.formulas.matrix import Table
from betahat.data.formulas.naming import distinct, term_names
from betahat.data.formulas.parts import Parts, parsed
from betahat.errors import DataError, FormulaError, described, listed, shown


@dataclass(frozen=True, eq=False)
class Sides:
    """The sides of a formula, evaluated.

    Attributes
    ----------
    left, right : Table
        The dependent variable, and all regressors.
    terms : dict of str to list of int
        The terms and their columns.
    instruments : Table or None
        The excluded instruments.
    endogenous : int
        How many of the regressors, the last ones, are endogenous.
    """

    left: Table
    right: Table
    terms: dict[str, list[int]]
    instruments: Table | None = None
    endogenous: int = 0


def terms_of_sides(text: str, parts: Parts, second: SecondEquation | None, trials: bool) -> list[Any]:
    """Return the terms of each side: the left, the right, and those of a second equation, or endogenous regressors and instruments."""
    whole = parsed(parts.main, trials)
    sides = [whole.lhs, whole.rhs]
    if second is not None:
        sides.append(_parse_second(text, second))
    if parts.instruments:
        left = parts.main.partition("~")[0]
        sides += [parsed(f"{left} ~ {side}", False).rhs for side in (parts.endogenous, parts.instruments)]
    return sides


def joined(
    tables: Sequence[Table], text: str, parts: Parts, second: SecondEquation | None, *, counts: bool, constant: bool
) -> Sides:
    """Put the columns of the sides together: without the constant, where it is not wanted or effects take its place, and check their names."""
    left, right, *other = tables
    if not constant or parts.constant:
        right = _without_constant(right)
        if not right.names and not parts.effects:
            raise FormulaError(
                f"The right-hand side {shown(text.split('~', 1)[1].strip())} has no regressors beside the constant, which this model does not have; add a "
                "regressor."
            )
    terms = _terms(right.spec)
    _check_sides(left, right, text, counts, bare=bool(parts.effects or parts.instruments))
    _check_effects(parts, right, left, text)
    if parts.instruments:
        endogenous, instruments = map(_without_constant, other)
        terms |= _behind(endogenous, "", right.values.shape[1])
        right = _side_by_side(right, endogenous, "")
        _check_instruments(left, right, instruments, len(endogenous.names), text)
        return Sides(left, right, terms, instruments, len(endogenous.names))
    if second is not None:
        _check_prefix(right, second)
        if not other[0].names:
            raise FormulaError(
                f"{second.option}={shown(second.regressors)} has no regressors; omit the 0 for a constant, or add a regressor."
            )
        terms |= _behind(other[0], second.prefix, right.values.shape[1])
        right = _side_by_side(right, other[0], second.prefix)
    return Sides(left, right, terms)


def _side_by_side(left: Table, right: Table, prefix: str) -> Table:
    """Put the columns of a second equation behind those of the first, `prefix` before their names; one specification builds both again."""
    names = iter(distinct([(name, name) for name in [*left.names, *right.names]]))
    structure = [
        EncodedTermStructure(part.term, part.scoped_terms, [next(names) for _ in part.columns])
        for part in (*left.spec.structure, *right.spec.structure)
    ]
    spec = left.spec.update(
        formula=formulaic.Formula([*left.spec.formula, *right.spec.formula], _ordering="none"),
        structure=structure,
        transform_state={**left.spec.transform_state, **right.spec.transform_state},
        encoder_state={**left.spec.encoder_state, **right.spec.encoder_state},
    )
    values = np.asfortranarray(np.hstack([left.values, right.values]))
    return Table(values, [*left.names, *(f"{prefix}{name}" for name in right.names)], left.used, spec)


def _without_constant(table: Table) -> Table:
    """Leave the constant out of the columns, and out of what builds them again; categories stay coded beside it."""
    kept: list[EncodedTermStructure] = []
    places: list[int] = []
    place = 0
    for part in table.spec.structure:
        width = len(part.columns)
        if part.term.factors and str(part.term) != "1":
            kept.append(part)
            places += range(place, place + width)
        place += width
    if len(places) == len(table.names):
        return table
    terms = [term for term in table.spec.formula if str(term) != "1"]
    spec = table.spec.update(formula=formulaic.Formula(terms, _ordering="none"), structure=kept)
    if places == list(
        range(len(table.names) - len(places), len(table.names))
    ):  # a view, where the constant comes first
        values = table.values[:, len(table.names) - len(places) :]
    else:
        values = np.asfortranarray(np.take(table.values, places, axis=1))
    return Table(values, [table.names[i] for i in places], table.used, spec)


def _parse_second(text: str, second: SecondEquation) -> Any:
    """Return the terms of the regressors of a second equation."""
    if not isinstance(second.regressors, str):
        raise FormulaError(
            f"{second.option} is {described(second.regressors)}; beside a formula it is one too, such as '~ z', and arrays go into the class, such as "
            "bh.ZeroInflatedPoisson(endog, exog, exog_infl)."
        )
    left, sign, right = second.regressors.partition("~")
    if not sign or left.strip():
        raise FormulaError(f"{second.option} is {shown(second.regressors)}; write the regressors alone, such as '~ z'.")
    return parsed(f"{text.partition('~')[0].strip()} ~ {right.strip()}", False).rhs


def _check_prefix(first: Table, second: SecondEquation) -> None:
    """Refuse regressors that are called as those of a second equation are."""
    alike = [name for name in first.names if name.startswith(second.prefix)]
    if alike:
        raise DataError(
            f"{listed(alike)} {'begins' if len(alike) == 1 else 'begin'} with {second.prefix!r}, as the parameters of {second.option} do; rename the "
            f"{'column' if len(alike) == 1 else 'columns'}, so that tests and tables can tell them apart."
        )


def _behind(side: Table, prefix: str, width: int) -> dict[str, list[int]]:
    """Return the places of the terms of a side, behind so many columns."""
    return {f"{prefix}{name}": [width + place for place in places] for name, places in _terms(side.spec).items()}


def _check_instruments(left: Table, right: Table, instruments: Table, endogenous: int, text: str) -> None:
    """Refuse a variable on two sides of a bar."""
    own = right.names[len(right.names) - endogenous :]
    beside = right.names[: len(right.names) - endogenous]
    twice = [name for name in own if name in (*beside, *left.names)] or [
        name for name in instruments.names if name in (*own, *beside, *left.names)
    ]
    if twice:
        raise FormulaError(
            f"{listed(twice)} {'stands' if len(twice) == 1 else 'stand'} on two sides of a bar or a tilde in {shown(text)}; a variable is an exogenous regressor, an endogenous one or an instrument: "
            "exogenous regressors are instruments by themselves."
        )


def _check_effects(parts: Parts, right: Table, left: Table, text: str) -> None:
    """Refuse an effect that is a regressor or the dependent variable, too."""
    names = {*right.names, *left.names}
    twice = [
        column
        for effect in parts.effects
        if effect.constant and len(effect.columns) == 1
        for column in effect.columns
        if column in names
    ]
    if twice:
        raise FormulaError(
            f"{listed(twice)} {'stands' if len(twice) == 1 else 'stand'} on both sides of a bar in {shown(text)}; the effects of its levels explain it entirely: leave it out on one side."
        )


def _check_sides(left: Table, right: Table, text: str, counts: bool, bare: bool) -> None:
    if len(left.names) != 1 and not counts:
        raise FormulaError(
            f"The left-hand side of {shown(text)} has {len(left.names)} columns ({listed(left.names)}) instead of one number for each row; "
            "write a category or a boolean as a number, such as I(married * 1)."
        )
    if not right.names and not bare:
        raise FormulaError(
            f"The formula {shown(text)} has no regressors; omit the 0 for a constant, or add a regressor."
        )


def _terms(spec: Any) -> dict[str, list[int]]:
    places = iter(range(len(spec.column_names)))
    names = term_names([part.term for part in spec.structure])
    return {name: [next(places) for _ in part.columns] for name, part in zip(names, spec.structure, strict=True)}
