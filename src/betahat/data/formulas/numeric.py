"""Formulas that need columns of numbers alone: their matrices are made of a chunk without pandas, as products of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor

from betahat.data.formulas.expressions import bare


@dataclass(frozen=True)
class Product:
    """A column of a matrix: a number times columns of the data.

    Attributes
    ----------
    scale : float
    columns : tuple of str
        None of them is the constant.
    """

    scale: float
    columns: tuple[str, ...]


def is_numeric(factors: Sequence[Factor], columns: Sequence[str]) -> bool:
    """Tell whether factors are columns of the data and numbers, and nothing else."""
    return all(
        factor.eval_method is Factor.EvalMethod.LITERAL
        or (factor.eval_method is Factor.EvalMethod.LOOKUP and bare(factor.expr) in columns)
        for factor in factors
    )


def products_of(spec: ModelSpec) -> tuple[Product, ...]:
    """Return the columns of a side of a formula whose factors are numeric."""
    return tuple(
        Product(float(part.scale), tuple(bare(scoped.factor.expr) for scoped in reversed(part.factors)))
        for made in spec.structure
        for part in made.scoped_terms
    )


def matrix(products: Sequence[Product], numbers: Mapping[str, np.ndarray], used: np.ndarray | None) -> np.ndarray:
    """Return (m, k) products of (n,) columns in column-major order, of the rows in use; None is all of them."""
    own = numbers if used is None else {name: column[used] for name, column in numbers.items()}
    rows = len(next(iter(own.values())))
    values = np.empty((rows, len(products)), order="F")
    for i, product in enumerate(products):
        first, *others = product.columns or (None,)
        column = 1.0 if first is None else own[first]
        column = column if product.scale == 1 else product.scale * column
        for name in others:
            column = column * own[name]
        values[:, i] = column
    return values


def incomplete(numbers: Mapping[str, np.ndarray]) -> tuple[np.ndarray | None, bool]:
    """Return (n,) which rows have missing values, None for none, and whether some number of the others is infinite."""
    with np.errstate(invalid="ignore", over="ignore"):
        suspect = [column for column in numbers.values() if not np.isfinite(column.sum())]
    if not suspect:
        return None, False
    missing = np.logical_or.reduce([np.isnan(column) for column in suspect])
    infinite = any(bool(np.isinf(column[~missing]).any()) for column in suspect)
    return (missing if missing.any() else None), infinite
