"""The columns of a formula that change with some of its variables, without those that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from formulaic.model_spec import EncodedTermStructure, ModelSpec
from formulaic.parser.types import Factor

from betahat.data.formulas.evaluation import names_of
from betahat.data.formulas.expressions import bare
from betahat.data.formulas.numeric import products_of

# Evaluates a part of a formula on a dataframe: (m, c) numbers.
Rebuilt = Callable[[ModelSpec, pd.DataFrame], np.ndarray]


def changed_columns(
    spec: ModelSpec, frame: pd.DataFrame, values: Mapping[str, Any], rebuilt: Rebuilt
) -> dict[int, np.ndarray]:
    """Return by their places the (m,) columns that depend on variables of other values, each a scalar or (m,).

    Terms of nothing but variables that are the same in all rows are evaluated in one row, and are (1,).
    """
    same = {name for name, value in values.items() if np.ndim(value) == 0}
    plain: list[EncodedTermStructure] = []
    alone: list[EncodedTermStructure] = []
    mixed: list[EncodedTermStructure] = []
    places: dict[int, int] = {}
    found: dict[int, np.ndarray] = {}
    columns = set(frame.columns)

    def value(name: str) -> Any:
        return values[name] if name in values else frame[name] if name in columns else None

    place = 0
    for made in spec.structure:
        places[id(made)] = place
        place += len(made.columns)
        if names_of(made.term.factors) & values.keys():
            indicators = _indicators(made, spec, values)
            if indicators is not None:
                found |= dict(enumerate(indicators, places[id(made)]))
            elif all(_is_number(factor, spec, value) for factor in made.term.factors):
                plain.append(made)
            else:
                (alone if all(_is_of_row(factor, same) for factor in made.term.factors) else mixed).append(made)
    if plain:
        for made, product in zip(plain, products_of(_part(spec, plain)), strict=True):
            column = np.asarray(product.scale)
            for name in product.columns:
                column = column * np.asarray(value(name), dtype=float)
            found[places[id(made)]] = np.atleast_1d(column)
    scalars = {name: value for name, value in values.items() if name in same}
    for part, source, others in ((alone, frame.iloc[:1], scalars), (mixed, frame, values)):
        if part:
            table = rebuilt(_part(spec, part), source.assign(**others))
            at = [places[id(made)] + i for made in part for i in range(len(made.columns))]
            found |= dict(zip(at, table.T, strict=True))
    return found


def _indicators(made: EncodedTermStructure, spec: ModelSpec, values: Mapping[str, Any]) -> list[np.ndarray] | None:
    """Return the (1,) indicators of a category that stands alone and has one known level in all rows; None for other terms."""
    factors, parts = list(made.term.factors), list(made.scoped_terms)
    if len(factors) != 1 or len(parts) != 1 or parts[0].scale != 1 or len(parts[0].factors) != 1:
        return None
    kind, state = spec.encoder_state.get(factors[0].expr, (None, {}))
    names = [name for name in values if factors[0].expr in (name, f"C({name})")]
    levels = list(state.get("categories", ()))
    if kind is not Factor.Kind.CATEGORICAL or not names or np.ndim(values[names[0]]) or values[names[0]] not in levels:
        return None
    levels = levels[1:] if parts[0].factors[0].reduced else levels
    if len(levels) != len(made.columns):
        return None
    return [np.array([float(level == values[names[0]])]) for level in levels]


def _is_number(factor: Factor, spec: ModelSpec, value: Callable[[str], Any]) -> bool:
    """Tell whether a factor is a number, or a column of numbers as it is."""
    if factor.eval_method is Factor.EvalMethod.LITERAL:
        return True
    if factor.eval_method is not Factor.EvalMethod.LOOKUP:
        return False
    known = spec.encoder_state.get(factor.expr)
    if known is None or known[0] is not Factor.Kind.NUMERICAL:
        return False
    found = value(bare(factor.expr))
    dtype = getattr(found, "dtype", None) or np.asarray(found).dtype
    return isinstance(dtype, np.dtype) and dtype.kind in "iuf"


def _is_of_row(factor: Factor, names: set[str]) -> bool:
    """Tell whether a factor is a number, or one of these variables as it is or as a category."""
    if factor.eval_method is Factor.EvalMethod.LITERAL:
        return True
    plain = factor.eval_method is Factor.EvalMethod.LOOKUP or factor.expr.startswith(("C(", "i("))
    return plain and names_of([factor]) <= names | {"C", "i"}


def _part(spec: ModelSpec, structure: Sequence[EncodedTermStructure]) -> ModelSpec:
    """Return a part of a formula that has been evaluated before, with what it learnt."""
    terms = [made.term for made in structure]
    return spec.update(formula=formulaic.Formula(terms, _ordering="none"), structure=list(structure))
