"""A formula and a dataset become a `Design` whose rows are made of chunks as they are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import ismodule
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from formulaic.materializers.types import FactorValues
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor

from betahat.data.container import Frames
from betahat.data.datasets.base import Dataset
from betahat.data.design import Design
from betahat.data.door import RowVectors, check_options, check_streamed
from betahat.data.effects import EffectTerm, Levels
from betahat.data.engine import THREADS
from betahat.data.formulas.chunks import FormulaBuilder, Vectors, effect_name
from betahat.data.formulas.evaluation import (
    beside_columns,
    check_effects,
    check_variables,
    evaluate,
    names_of,
    refuse_incomplete,
    refuse_missing,
    telling,
)
from betahat.data.formulas.expressions import bare, names_in
from betahat.data.formulas.interactions import FIRST
from betahat.data.formulas.learning import Learnt, Lesson, learn, vector_alone
from betahat.data.formulas.levels import coded
from betahat.data.formulas.matrix import Materializer
from betahat.data.formulas.numeric import products_of
from betahat.data.formulas.options import FormulaOptions
from betahat.data.formulas.parts import read_parts
from betahat.data.formulas.periods import calls_in
from betahat.data.formulas.row_by_row import check_row_by_row, check_rows_alone, why_in_parts
from betahat.data.formulas.sides import Sides, joined, terms_of_sides
from betahat.data.formulas.vectors import check_vector
from betahat.data.learnt_labels import LabelCodes, sorted_codes
from betahat.data.rows_in_use import RowsInUse
from betahat.data.schema import Schema
from betahat.data.streamed import Streamed, stream_below
from betahat.data.streamed_effects import LabelsAlone
from betahat.data.trials import check_trials
from betahat.errors import DataError, FormulaError, shown

Kind = Factor.Kind


def read_stream(text: str, dataset: Dataset, beside: RowVectors, options: FormulaOptions) -> tuple[Design, ModelSpec]:
    """Learn what a formula needs of a dataset, and return a design that is read from it, and the specification of its regressors."""
    context, second = options.context, options.second
    check_options(options.missing, options.device, options.dtype, options.hasconst)
    parts = read_parts(text, None if second is None else second.option, options.bars)
    sides = terms_of_sides(text, parts, second, options.trials)
    factors = tuple(dict.fromkeys(factor for side in sides for term in side for factor in term.factors))
    both = text if second is None else f"{text}, {second.regressors}"
    columns = pd.DataFrame(columns=list(dataset.columns))
    check_variables(factors, columns, context, both)
    for option, expression in options.order.given.items():
        check_vector(expression, dataset.columns, context, option)
    for call in calls_in(factors, context):
        raise FormulaError(f"{call} depends on other rows than its own, and {why_in_parts(dataset.name)}")
    check_effects(parts.effects, dataset.columns)
    _check_vectors(factors, dataset, context)
    vectors = _vectors(beside, dataset, context)
    labelled = tuple(dict.fromkeys(column for effect in parts.effects for column in effect.columns))
    lesson = Lesson(
        both,
        factors,
        vectors,
        _needed(dataset, factors, vectors, labelled),
        beside_columns(context, columns),
        options.missing == "drop",
        tuple(term.factors[0].expr for term in sides[0]) if options.trials and len(sides[0]) == 2 else (),
        labelled,
        dataset.name,
        {},
    )
    with telling(both, fitted=False):
        lesson, learnt = learn(lesson, dataset, THREADS)
    if learnt.head is None:
        raise DataError(f"The data are empty: {dataset.name} has no rows; pass at least one row.")
    if learnt.complete < learnt.rows and options.missing != "drop":
        counts = {name: learnt.missing[name] for name in sorted(names_of(factors)) if name in learnt.missing}
        refuse_missing(counts, learnt.rows - learnt.complete, learnt.rows)
    if not learnt.complete:
        refuse_incomplete(both)
    _check_rows_alone(lesson, _sample(learnt), dataset.name)
    tables = evaluate(_specifications(sides, lesson, learnt), learnt.head, lesson.context, both)
    counts_there = options.trials and len(tables[0].names) == len(sides[0]) == 2
    made = joined(tables, text, parts, second, counts=counts_there, constant=options.constant)
    if counts_there:
        check_trials(learnt.negative, "var_weights" in vectors.given)
    coded = {
        column: sorted_codes(labels, column, effect_name(column), {}).codes for column, labels in learnt.labels.items()
    }
    builder = _builder(made, lesson, counts_there, options.dtype, parts.effects, coded)
    place = torch.get_default_device() if options.device is None else torch.device(options.device)
    schema = Schema(
        Frames(pd.RangeIndex(sum(learnt.kept))),
        str(list(made.left.names)) if counts_there else made.left.names[0],
        tuple(made.right.names),
        options.hasconst,
        made.terms,
        effects=tuple(_levels(effect, coded) for effect in parts.effects),
        instruments=() if made.instruments is None else tuple(made.instruments.names),
        endogenous=made.endogenous,
    )
    source = Streamed(dataset, builder, learnt.kept, place)
    whole = learnt.rows == source.rows and "freq_weights" not in vectors.given
    labels_alone = replace(source, builder=LabelsAlone(builder.effects)) if whole else None
    unlabelled = options.missing != "drop" and any(labels.missing for labels in learnt.labels.values())
    design = check_streamed(
        Design(schema, source), source, learnt.vectors, labels_alone, finite=not (learnt.infinite or unlabelled)
    )
    stream = stream_below(design.source)
    if stream is not None and design.rows < learnt.rows:
        labels = Frames(cast("pd.Index", RowsInUse(stream)))
        design = replace(design, schema=replace(design.schema, container=labels))
    return design, made.right.spec


def _check_vectors(factors: Sequence[Factor], dataset: Dataset, context: Mapping[str, Any]) -> None:
    """Refuse vectors of the caller's where columns are expected."""
    for factor in factors:
        name = bare(factor.expr)
        looked_up = factor.eval_method is Factor.EvalMethod.LOOKUP and name not in dataset.columns
        value = context.get(name, 0)
        if looked_up and not (callable(value) or ismodule(value)) and np.ndim(value):
            raise FormulaError(
                f"{shown(name)} is a vector, and no column of {dataset.name}, whose rows are read in parts; put it among the columns."
            )


def _sample(learnt: Learnt) -> pd.DataFrame:
    """Return rows from here and there, the first ones if their types differ."""
    assert learnt.head is not None
    head, sample = learnt.head, learnt.sample
    if sample is None or not head.dtypes.equals(sample.dtypes):
        return head
    return pd.concat([head.head(16), sample], ignore_index=True)


def _check_rows_alone(lesson: Lesson, rows: pd.DataFrame, name: str) -> None:
    """Refuse what depends on other rows than its own, in the formula and beside it."""
    why = why_in_parts(name)
    check_rows_alone(lesson.factors, rows, lesson.context, lesson.state, why)
    for option, value in lesson.vectors.given.items():
        if isinstance(value, str) and value not in rows:
            values = partial(vector_alone, Vectors({option: value}), lesson)
            check_row_by_row(values, rows, value, f"{option}={shown(value)}", why)


def _vectors(beside: RowVectors, dataset: Dataset, context: Mapping[str, Any]) -> Vectors:
    """Return what stands beside the regressors: columns by name, expressions, or a number for all rows."""
    given = {name: value for name, value in beside.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, str):
            check_vector(value, dataset.columns, context, name)
        elif np.ndim(value):
            raise DataError(
                f"{name} has a value for each row, but the rows lie in {dataset.name}; pass the name of one of its columns, {name}='...'."
            )
    return Vectors(given)


def _needed(
    dataset: Dataset, factors: Collection[Factor], vectors: Vectors, effects: Collection[str]
) -> tuple[str, ...]:
    """Return the columns of a dataset that are looked up, in its order."""
    names = names_of(factors) | {*effects}
    for value in vectors.given.values():
        if isinstance(value, str):
            names |= {value} if value in dataset.columns else names_in(value)
    names |= {name.partition(".")[0] for name in names}
    return tuple(name for name in dataset.columns if name in names)


def _specifications(sides: list[Any], lesson: Lesson, learnt: Learnt) -> list[ModelSpec]:
    """Return the sides with the kinds of their factors, and the levels of those that are categories."""
    assert learnt.head is not None
    specs = [ModelSpec(side, transform_state=lesson.state) for side in sides]
    with telling(lesson.text, fitted=False):
        heads, _ = Materializer(learnt.head, lesson.context).values(lesson.factors, lesson.state, {})
        for spec in specs:
            for factor in dict.fromkeys(factor for term in spec.formula for factor in term.factors):
                kind = learnt.kinds[factor.expr]
                state: dict[str, Any] = {}
                if kind is Kind.CATEGORICAL:
                    known = heads[factor.expr].__formulaic_metadata__
                    levels = learnt.levels[factor.expr]
                    values = FactorValues(levels[FIRST] if len(levels.columns) == 1 else {**levels}, metadata=known)
                    if known.encoder is None:
                        coded(values, None, [], state)
                    else:
                        known.encoder(values, reduced_rank=False, drop_rows=[], encoder_state=state, model_spec=spec)
                spec.encoder_state[factor.expr] = (kind, state)
    return specs


def _levels(effect: EffectTerm, coded: Mapping[str, LabelCodes]) -> Levels:
    """Return an effect whose levels have no numbers as yet."""
    labels = tuple(coded[column].labels for column in effect.columns)
    members = torch.zeros(0, len(labels), dtype=torch.int64)
    return Levels(effect.name, labels, members, effect.columns, effect.variables, effect.constant)


def _builder(
    made: Sides,
    lesson: Lesson,
    counts: bool,
    dtype: torch.dtype | None,
    effects: Sequence[EffectTerm],
    coded: Mapping[str, LabelCodes],
) -> FormulaBuilder:
    sides = (made.left, made.right, *([] if made.instruments is None else [made.instruments]))
    return FormulaBuilder(
        lesson.text,
        tuple(side.spec for side in sides),
        lesson.vectors,
        lesson.columns,
        lesson.context,
        lesson.drop,
        counts,
        dtype or torch.float64,
        tuple(coded[column] for effect in effects for column in effect.columns),
        lesson.state,
        tuple(products_of(side.spec) for side in sides) if lesson.numeric else None,
    )
