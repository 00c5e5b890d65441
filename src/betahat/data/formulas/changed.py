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

# Evaluates a part of a formula on a dataframe: (m, c) numbers.
Rebuilt = Callable[[ModelSpec, pd.DataFrame], np.ndarray]


def changed_columns(
    spec: ModelSpec, frame: pd.DataFrame, values: Mapping[str, Any], rebuilt: Rebuilt
) -> dict[int, np.ndarray]:
    """Return by their places the (m,) columns that depend on variables of other values, each a scalar or (m,).

    Terms of nothing but variables that are the same in all rows are evaluated in one row, and are (1,).
    """
    same = {name for name, value in values.items() if np.ndim(value) == 0}
    alone: list[EncodedTermStructure] = []
    mixed: list[EncodedTermStructure] = []
    places: dict[int, int] = {}
    place = 0
    for made in spec.structure:
        places[id(made)] = place
        place += len(made.columns)
        if names_of(made.term.factors) & values.keys():
            (alone if all(_is_of_row(factor, same) for factor in made.term.factors) else mixed).append(made)
    found: dict[int, np.ndarray] = {}
    for part, source in ((alone, frame.iloc[:1]), (mixed, frame)):
        if part:
            table = rebuilt(_part(spec, part), source.assign(**values))
            at = [places[id(made)] + i for made in part for i in range(len(made.columns))]
            found |= dict(zip(at, table.T, strict=True))
    return found


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
