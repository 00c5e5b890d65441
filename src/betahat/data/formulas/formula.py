"""A formula and a dataframe become a `Design`.

formulaic does the algebra of terms; expressions are parsed and evaluated here (grammar.py, expressions.py, reading.py, matrix.py). patsy, a
dependency of statsmodels, spells expressions and reads linear restrictions. Outside this folder, nothing depends on the two packages.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor
from torch import Tensor

from betahat.data.absorbed import read_effects
from betahat.data.arrays import read_weights
from betahat.data.container import Arrays, Frames
from betahat.data.datasets.compressed import Compression
from betahat.data.datasets.open import dataset_of
from betahat.data.design import Design
from betahat.data.door import Missing, RowVectors, assemble, check_options
from betahat.data.effects import Levels
from betahat.data.formulas.changed import changed_columns
from betahat.data.formulas.compressing import counted_rows, keep_columns
from betahat.data.formulas.context import with_modules, without_modules
from betahat.data.formulas.evaluation import (
    beside_columns,
    check_effects,
    check_variables,
    evaluate,
    names_of,
    refuse_incomplete,
    refuse_missing,
    words_of_columns,
)
from betahat.data.formulas.interactions import multipliers
from betahat.data.formulas.options import FormulaOptions
from betahat.data.formulas.order import calls_of_order, columns_of_order
from betahat.data.formulas.parts import read_parts
from betahat.data.formulas.periods import seeds
from betahat.data.formulas.sides import joined, terms_of_sides
from betahat.data.formulas.streams import read_stream
from betahat.data.formulas.transforms import KNOWN
from betahat.data.formulas.vectors import check_vector, vector_of
from betahat.data.frame import check_index, to_pandas
from betahat.data.schema import Schema
from betahat.data.scored import INSTRUMENTS
from betahat.data.source import Held
from betahat.data.trials import read_trials
from betahat.data.user_data import UserData
from betahat.errors import DataError, counted


@dataclass(frozen=True, eq=False)
class Formula:
    """A formula whose categories, knots and centres are fixed by the data of the fit."""

    text: str  # as the user wrote it
    spec: Any  # formulaic's ModelSpec of the right-hand side, with its state
    context: Mapping[str, Any]  # the names outside the data that the formula may use

    def __getstate__(self) -> dict[str, Any]:
        """Store modules by name, as pickle cannot hold them."""
        return {"text": self.text, "spec": self.spec, "context": without_modules(self.context)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Import the modules again."""
        self.__dict__.update(state, context=with_modules(state["context"]))

    @property
    def variables(self) -> list[str]:
        """The names on the right-hand side, columns or variables of the caller, in order of appearance."""
        right = self.text.partition("~")[2]
        return sorted(map(str, self.spec.variables_by_source.get("data", ())), key=right.find)

    @property
    def categorical_variables(self) -> set[str]:
        """The names in categorical factors."""
        kinds = {expression: kind for expression, (kind, _) in self.spec.encoder_state.items()}
        return {
            str(name)
            for factor in self.spec.factors
            if kinds.get(factor.expr) is Factor.Kind.CATEGORICAL
            for name in names_of([factor]) - multipliers(factor.expr, self.spec.encoder_state[factor.expr][1])
            if name not in KNOWN and name not in vars(builtins)
        }

    @property
    def levels(self) -> dict[str, list[Any]]:
        """The levels of categories, by their expressions."""
        states = {expression: state for expression, (_, state) in self.spec.encoder_state.items()}
        return {expression: list(state["categories"]) for expression, state in states.items() if "categories" in state}

    @property
    def linear_variables(self) -> set[str]:
        """The numbers that stand in the formula alone or in products, and never inside of a function: each column is a straight line in them."""
        inside = [factor for factor in self.spec.factors if factor.eval_method is Factor.EvalMethod.PYTHON]
        return set(self.variables) - names_of(inside) - self.categorical_variables

    def calls_of_order(self, moved: Iterable[str]) -> list[str]:
        """Return the calls whose values stand in other rows, such as lag(x), in the terms where some variables stand."""
        terms = [[factor.expr for factor in made.term.factors] for made in self.spec.structure]
        return calls_of_order(self.spec.transform_state, terms, moved)

    @property
    def columns(self) -> tuple[str, ...]:
        """(k,) the names of the regressors, of a constant too."""
        return tuple(name for made in self.spec.structure for name in made.columns)

    def regressors(self, data: Any) -> pd.DataFrame:
        """Build the (m, k) regressors of new data from the stored state; a row with a missing value is NaN throughout."""
        order = columns_of_order(self.spec.transform_state)
        frame = to_pandas(data, " ".join([self.text, *self.variables, *order]))  # those of a second equation as well
        return rebuilt(self.text, self.spec, self.context, frame)

    def changed(self, frame: pd.DataFrame, values: Mapping[str, Any]) -> dict[int, np.ndarray]:
        """Return by their places the columns that depend on some variables, which have other values than in the frame: each a scalar, or (m,)."""
        return changed_regressors(self.text, self.spec, self.context, frame, values)

    def vector(self, text: str, data: Any, option: str) -> Any:
        """Return (m,) the column of new data of this name, or the value of an expression of columns."""
        return new_vector(text, data, self.context, option)


def rebuilt(text: str, spec: Any, context: Mapping[str, Any], data: pd.DataFrame) -> pd.DataFrame:
    """Return the (m, k) regressors of new data; a row with a missing value is NaN throughout."""
    values, names = _numbers(text, spec, context, data)
    return pd.DataFrame(values, data.index, names, copy=False)


def _numbers(text: str, spec: Any, context: Mapping[str, Any], data: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return (m, k) regressors and their names."""
    frame = data.reset_index(drop=True)
    check_variables(spec.factors, frame, context, text)
    (built,) = evaluate([spec], frame, context, text)
    if built.used is None:
        return built.values, built.names
    whole = np.full((len(frame), len(built.names)), np.nan, order="F")
    whole[built.used] = built.values
    return whole, built.names


def changed_regressors(
    text: str, spec: Any, context: Mapping[str, Any], data: pd.DataFrame, values: Mapping[str, Any]
) -> dict[int, np.ndarray]:
    """Return by their places the (m,) columns that depend on some variables; a row with a missing value is NaN."""

    def evaluated(part: Any, frame: pd.DataFrame) -> np.ndarray:
        return _numbers(text, part, context, frame)[0]

    try:
        return changed_columns(spec, data, values, evaluated)
    except DataError:  # a name that is unambiguous in a part of the formula alone, or what the whole formula says again
        return dict(enumerate(evaluated(spec, data.assign(**values)).T))


def new_vector(text: str, data: Any, context: Mapping[str, Any], option: str) -> Any:
    """Return (m,) the column of new data of this name, or the value of an expression of columns."""
    frame = to_pandas(data, text)
    check_vector(text, words_of_columns(data, frame), context, option)
    return vector_of(text, frame.reset_index(drop=True), context, option)


def read_formula(text: str, data: Any, beside: RowVectors, options: FormulaOptions) -> tuple[Design, Formula]:
    """Evaluate a formula on data, with columns in statsmodels' order; rows with missing values are dropped for all variables jointly."""
    dataset = dataset_of(data) if isinstance(text, str) else None
    context, second = options.context, options.second
    if dataset is not None:
        design, spec = read_stream(text, dataset, beside, options)
        return design, Formula(text, spec, beside_columns(context, pd.DataFrame(columns=list(dataset.columns))))
    check_options(options.missing, options.device, options.dtype, options.hasconst)
    parts = read_parts(text, None if second is None else second.option, options.bars)
    sides = terms_of_sides(text, parts, second, options.trials)
    factors = [factor for side in sides for term in side for factor in term.factors]
    given = dict(beside.items())
    columns = {name: value for name, value in given.items() if isinstance(value, str)}
    both = text if second is None else f"{text}, {second.regressors}"
    frame = to_pandas(data, " ".join([both, *columns.values(), *options.order.given.values()]))
    check_variables(factors, frame, context, both, data)
    check_effects(parts.effects, words_of_columns(data, frame))
    for option, expression in [*columns.items(), *options.order.given.items()]:
        check_vector(expression, words_of_columns(data, frame), context, option)
    labels, context = frame.index, beside_columns(context, frame)
    frame = frame.reset_index(drop=True)
    if not len(frame):
        raise DataError("The data are empty; pass at least one row.")
    state = seeds(factors, options.order, context, both)
    tables = evaluate([ModelSpec(side, transform_state={**state}) for side in sides], frame, context, both)
    counts = options.trials and len(tables[0].names) == len(sides[0]) == 2
    made = joined(tables, text, parts, second, counts=counts, constant=options.constant)
    left, right = made.left, made.right
    _check_rows(frame, len(right.values), factors, both, options.missing)
    target = torch.get_default_device() if options.device is None else torch.device(options.device)
    positions = None if right.used is None else torch.from_numpy(np.flatnonzero(right.used)).to(target)
    exog = _to_device(right.values, target, options.dtype)
    vectors = {}
    for name, value in given.items():
        column = columns.get(name)
        label = name if column is None else f"{name} column {column!r}"
        values = value if column is None else vector_of(column, frame, context, name)
        read = _read_beside(values, label, labels, target)
        if read is not None:
            vectors[name] = read if positions is None else read[positions]
    levels: tuple[Levels, ...] = ()
    if parts.effects:
        held = Held({"exog": torch.empty(len(frame), 0)}, UserData.of(frame, len(frame)))
        absorbed = read_effects(Design(Schema(Arrays()), held), parts.effects)
        vectors |= _in_use(absorbed.vectors, positions, target)
        levels = absorbed.levels
    if made.instruments is not None:
        vectors[INSTRUMENTS] = _to_device(made.instruments.values, target, options.dtype)
    if counts:
        read_counts = read_trials(
            _to_device(left.values, target, options.dtype), tuple(left.names), "var_weights" in vectors
        )
        endog, endog_name, vectors["weights"] = read_counts.shares, read_counts.name, read_counts.trials
    else:
        endog, endog_name = _to_device(left.values[:, 0], target, options.dtype), left.names[0]
    design = assemble(
        endog,
        exog,
        vectors,
        container=Frames(labels if right.used is None else labels[right.used]),
        endog_name=endog_name,
        names=tuple(right.names),
        hasconst=options.hasconst,
        drop=options.missing == "drop",
        user_data=replace(UserData.of(data, len(frame)), in_use=positions),
        terms=made.terms,
        effects=levels,
        instruments=() if made.instruments is None else tuple(made.instruments.names),
        endogenous=made.endogenous,
    )
    return design, Formula(text, right.spec, context)


def read_compressed(
    text: str, data: Any, beside: RowVectors, options: FormulaOptions, compress: Any
) -> tuple[Design, Formula]:
    """Count rows that are alike, and evaluate a formula on those that differ; `compress` is the user's."""
    keep, second = keep_columns(compress), options.second
    parts = read_parts(text, None if second is None else second.option, options.bars)
    terms = [term for side in terms_of_sides(text, parts, second, options.trials) for term in side]
    words = text if second is None else f"{text}, {second.regressors}"
    factors = [factor for term in terms for factor in term.factors]
    found = counted_rows(data, dataset_of(data), beside, factors, parts.effects, words, keep, options.context)
    design, formula = read_formula(text, found.data, found.beside, options)
    done = found.compression or Compression(design.rows, design.rows, ())
    return replace(design, schema=replace(design.schema, compression=done)), formula


def _in_use(vectors: Mapping[str, Tensor], positions: Tensor | None, device: torch.device) -> dict[str, Tensor]:
    """Return the rows at positions, or all, on a device."""
    found = {name: vector.to(device) for name, vector in vectors.items()}
    return found if positions is None else {name: vector[positions] for name, vector in found.items()}


def _check_rows(frame: pd.DataFrame, kept: int, factors: Iterable[Factor], text: str, missing: Missing) -> None:
    if kept < len(frame) and missing != "drop":
        counts = {name: int(frame[name].isna().sum()) for name in sorted(names_of(factors)) if name in frame}
        refuse_missing(counts, len(frame) - kept, len(frame))
    if not kept:
        refuse_incomplete(text)


def _read_beside(values: Any, label: str, labels: pd.Index, device: torch.device) -> Tensor | None:
    nobs = len(labels)
    read = read_weights(values, torch.empty(nobs, 0, dtype=torch.float64, device=device), device, None, label)
    if read is None:
        return None
    check_index(label, read.index, labels)
    if len(read.values) != nobs:
        raise DataError(
            f"{label} has {counted(len(read.values), 'row')}, but the data have {nobs}; pass one value for each row."
        )
    return read.values.to(device)


def _to_device(values: np.ndarray, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return torch.from_numpy(values).to(device, dtype or torch.float64)
