"""What a formula learns of a dataset, in a pass over its partitions: the rows in use, and the levels of categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor

from betahat.data.checks import Tally
from betahat.data.datasets.base import Dataset, Partition
from betahat.data.engine import Engine
from betahat.data.formulas.chunks import Vectors, effect_name, frame_of
from betahat.data.formulas.context import with_modules, without_modules
from betahat.data.formulas.evaluation import refuse_incomplete, telling
from betahat.data.formulas.expressions import Pending, bare
from betahat.data.formulas.interactions import FIRST, TIMES, labels_alone
from betahat.data.formulas.matrix import Materializer
from betahat.data.formulas.numeric import incomplete, is_numeric
from betahat.data.formulas.row_by_row import check_chunk, doubtful, values_of, why_in_parts
from betahat.data.formulas.states import Recorder, Told, is_certain, next_of
from betahat.data.formulas.sums import Question, Spread
from betahat.data.frame import numbers_of
from betahat.data.learnt_labels import FoundLabels, check_ordered_alike, found_labels, read_labels, together
from betahat.data.threads import remembered
from betahat.data.whole_numbers import check_told_apart
from betahat.errors import DataError, shown


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a formula learns of rows.

    Attributes
    ----------
    rows : int
        How many there are.
    complete : int
        How many have no missing value in the formula.
    kept : tuple of int
        How many rows of each partition are in use.
    head : DataFrame or None
        The first rows, for what depends on their types alone.
    sample : DataFrame or None
        A few rows from here and there, where the formula's values are tried on some of them.
    kinds : dict of str to Kind
        Of factors, by expression: numbers or categories.
    levels : dict of str to DataFrame
        The values of categories in complete rows, each once, in order of appearance; of two together, each combination.
    missing : dict of str to int
        How many values are missing in columns, of those that have any.
    infinite : bool
        Whether some number in complete rows is infinite.
    vectors : dict of str to Tally
        What stands beside the regressors, over the rows in use.
    negative : int
        How many numbers of successes and failures are below zero.
    labels : dict of str to FoundLabels
        Those in the columns of absorbed effects.
    told : dict of str to Told
        What calls found that have not learnt all they need.
    whole : bool
        Whether all the rest is known, whatever these learn.
    """

    rows: int = 0
    complete: int = 0
    kept: tuple[int, ...] = ()
    head: pd.DataFrame | None = None
    sample: pd.DataFrame | None = None
    kinds: dict[str, Factor.Kind] = field(default_factory=dict)
    levels: dict[str, pd.DataFrame] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    infinite: bool = False
    vectors: dict[str, Tally] = field(default_factory=dict)
    negative: int = 0
    labels: dict[str, FoundLabels] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    whole: bool = True


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is asked of each chunk; it is pickled for workers.

    Attributes
    ----------
    text : str
        The formula, for sentences.
    factors : tuple of Factor
        Of all sides.
    vectors : Vectors
        What stands beside the regressors.
    columns : tuple of str
        Those of the dataset that are needed.
    context : mapping of str to object
        The variables of the caller.
    drop : bool
        Whether rows with missing values go.
    trials : tuple of str
        The expressions of successes and failures.
    effects : tuple of str
        The columns of absorbed effects.
    name : str
        The dataset's, for sentences.
    state : dict of str to dict
        What calls have learnt.
    questions : dict of str to Question
        What others ask in this pass, where it is not their first question.
    """

    text: str
    factors: tuple[Factor, ...]
    vectors: Vectors
    columns: tuple[str, ...]
    context: Mapping[str, Any]
    drop: bool
    trials: tuple[str, ...]
    effects: tuple[str, ...]
    name: str
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Store modules by name."""
        return {**self.__dict__, "context": without_modules(self.context)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Import the modules again."""
        self.__dict__.update(state, context=with_modules(state["context"]))

    def __call__(self, partition: Partition) -> Learnt:
        """Learn of the chunks of a partition."""
        found = Learnt()
        for chunk in partition.chunks(self.columns):
            found = _both(found, self._of_chunk(chunk), partition.name)
        return replace(found, kept=(sum(found.kept),))

    @remembered
    def numeric(self) -> bool:
        """Whether the formula, and what stands beside it, needs columns of numbers alone."""
        return all(name in self.columns for name in self.vectors.columns) and is_numeric(self.factors, self.columns)

    def _of_chunk(self, chunk: Any) -> Learnt:
        if self.numeric:
            own = {bare(factor.expr) for factor in self.factors} & {*self.columns}
            numbers = numbers_of(chunk, [*own, *self.vectors.columns])
            if numbers:
                return self._of_numbers(chunk, {name: numbers[name] for name in own}, numbers)
        return self._of_frame(chunk, frame_of(chunk, self.columns))

    def _of_numbers(self, chunk: Any, own: dict[str, np.ndarray], numbers: dict[str, np.ndarray]) -> Learnt:
        """Learn of (n,) columns of numbers: those of the formula, and all that are needed."""
        rows = len(next(iter(numbers.values())))
        if not rows:
            return Learnt()
        missing, infinite = incomplete(own)
        used = np.ones(rows, dtype=bool) if missing is None else ~missing
        kinds = {
            factor.expr: Factor.Kind.NUMERICAL if bare(factor.expr) in own else Factor.Kind.CONSTANT
            for factor in self.factors
        }
        return replace(
            self._beside_rows(chunk, used, self.vectors.of(numbers, rows)),
            head=pd.DataFrame({name: column[:_HEAD].copy() for name, column in numbers.items()}),
            kinds=kinds,
            missing={} if missing is None else {name: int(np.isnan(column).sum()) for name, column in own.items()},
            infinite=infinite,
            negative=sum(int((own[bare(expression)][used] < 0).sum()) for expression in self.trials),
        )

    def _of_frame(self, chunk: Any, frame: pd.DataFrame) -> Learnt:
        if not len(frame):
            return Learnt()
        recorder = Recorder(self.state, self.questions)
        values, missing, known = self._values(frame, recorder)
        learning = replace(recorder, told={})
        beside = self._beside(frame, learning)
        recorder.told.update(learning.told)
        if len(values) < len(self.factors) or beside is None:
            return Learnt(len(frame), kept=(0,), told=recorder.told, whole=False)
        self._check_rows_alone(frame, known, {} if learning.told else beside)
        used = ~missing
        if not used.any():
            return Learnt(
                len(frame), kept=(0,), head=frame.head(_HEAD), missing=self._missing(frame), told=recorder.told
            )
        kinds = {expression: value.__formulaic_metadata__.kind for expression, value in values.items()}
        plain = {expression: value.__wrapped__ for expression, value in values.items()}
        numbers = [plain[expression] for expression, kind in kinds.items() if kind is Factor.Kind.NUMERICAL]
        numbers += [value[TIMES] for value in plain.values() if isinstance(value, Mapping) and TIMES in value]
        return replace(
            self._beside_rows(chunk, used, beside),
            head=frame.head(_HEAD),
            sample=frame.iloc[np.unique([0, len(frame) // 2, len(frame) - 1])] if self.doubtful else None,
            kinds=kinds,
            levels={
                expression: _once(plain[expression], used)
                for expression, kind in kinds.items()
                if kind is Factor.Kind.CATEGORICAL
            },
            missing=self._missing(frame) if missing.any() else {},
            infinite=not all(_is_finite(part, used) for part in numbers),
            negative=sum(int((plain[expression][used] < 0).sum()) for expression in self.trials),
            told=recorder.told,
        )

    @remembered
    def doubtful(self) -> tuple[Factor, ...]:
        """The factors whose values may depend on other rows than their own."""
        return doubtful(self.factors, self.columns, self.context)

    def _check_rows_alone(
        self, frame: pd.DataFrame, known: Mapping[str, Any], beside: Mapping[str, np.ndarray]
    ) -> None:
        """Refuse what depends on other rows of a chunk; what still learns is tried once it has learnt."""
        why = why_in_parts(self.name)
        for factor in self.doubtful:
            if factor.expr in known:
                alone = values_of(factor, self.context, self.state)
                check_chunk(known[factor.expr], alone, frame, factor.expr, shown(factor.expr), why)
        for option, value in self.vectors.given.items():
            if isinstance(value, str) and value not in self.columns and option in beside:
                one = partial(vector_alone, Vectors({option: value}), self)
                check_chunk(beside[option], one, frame, value, f"{option}={shown(value)}", why)

    def _missing(self, frame: pd.DataFrame) -> dict[str, int]:
        """Return how many values are missing in each column."""
        return {name: int(frame[name].isna().sum()) for name in self.columns}

    def _beside_rows(self, chunk: Any, used: np.ndarray, beside: dict[str, np.ndarray]) -> Learnt:
        """Learn of the labels of absorbed effects, and what stands beside the regressors, where (n,) rows are complete."""
        labels = {name: read_labels(chunk, name, effect_name(name)) for name in self.effects}
        kept = used.copy()
        if self.drop:
            for read in labels.values():
                kept &= read.codes >= 0
            for vector in beside.values():
                kept &= ~np.isnan(vector)
        return Learnt(
            len(used),
            int(used.sum()),
            (int(kept.sum()),),
            vectors={name: Tally.of(torch.from_numpy(vector[kept])) for name, vector in beside.items()},
            labels={name: found_labels(read, used) for name, read in labels.items()},
        )

    def _values(
        self, frame: pd.DataFrame, recorder: Recorder
    ) -> tuple[dict[str, FactorValues[Any]], np.ndarray, dict[str, FactorValues[Any]]]:
        """Return the factors' values as far as they are known, (n,) which rows have missing ones, and the values of those that learn no more."""
        materializer = Materializer(frame, self.context)
        found: dict[str, FactorValues[Any]] = {}
        known: dict[str, FactorValues[Any]] = {}
        missing = np.zeros(len(frame), dtype=bool)
        for factor in self.factors:
            own = replace(recorder, told={})
            try:
                with telling(self.text, fitted=False):
                    values, gaps = materializer.values([factor], {**self.state}, {}, own)
            except Pending:
                continue
            finally:
                recorder.told.update(own.told)
            found |= values
            known |= {} if own.told else values
            missing |= gaps
        return found, missing, known

    def _beside(self, frame: pd.DataFrame, recorder: Recorder) -> dict[str, np.ndarray] | None:
        """Return what stands beside the regressors; None where it is not known."""
        try:
            return self.vectors.read(frame, self.context, {**self.state}, recorder)
        except Pending:
            return None


def vector_alone(alone: Vectors, lesson: Lesson, rows: pd.DataFrame) -> np.ndarray:
    """Return what stands beside some rows."""
    (values,) = alone.read(rows, lesson.context, {**lesson.state}).values()
    return values


# Rows that are kept for what depends on types alone.
_HEAD = 64


def learn(lesson: Lesson, dataset: Dataset, engine: Engine) -> tuple[Lesson, Learnt]:
    """Learn of all partitions, in their order, in as many passes as calls need that learn; return the lesson with what they learnt, too."""
    while True:
        found = Learnt()
        for learnt, partition in zip(engine.over(lesson, dataset, lesson.columns), dataset.partitions, strict=True):
            found = _both(found, learnt, partition.name)
        if not found.told:
            return lesson, found
        if any(isinstance(told.sums, Spread) and not told.sums.count for told in found.told.values()):
            refuse_incomplete(lesson.text)
        following = {key: next_of(key, told, lesson.questions.get(key)) for key, told in found.told.items()}
        questions = {key: each for key, each in following.items() if isinstance(each, Question)}
        states = {key: each for key, each in following.items() if not isinstance(each, Question)}
        lesson = replace(lesson, state={**lesson.state, **states}, questions=questions)
        if found.whole and not questions and all(is_certain(found.told[key], state) for key, state in states.items()):
            return lesson, found


def _both(first: Learnt, second: Learnt, name: str) -> Learnt:
    """Return what rows teach together; `name` is the partition's."""
    if not second.rows:
        return replace(first, kept=first.kept + second.kept)
    kinds = dict(first.kinds)
    for expression, kind in second.kinds.items():
        if kinds.setdefault(expression, kind) is not kind:
            raise DataError(
                f"{shown(expression)} is a number in some of the data and a category in others, such as {name}; convert it to one type."
            )
    return Learnt(
        first.rows + second.rows,
        first.complete + second.complete,
        first.kept + second.kept,
        second.head if first.head is None else first.head,
        _sampled(first.sample, second.sample),
        kinds,
        _merged_levels(first.levels, second.levels),
        _merged(first.missing, second.missing, int.__add__),
        first.infinite or second.infinite,
        _merged(first.vectors, second.vectors, Tally.__add__),
        first.negative + second.negative,
        {
            name: together([first.labels[name], labels], effect_name(name)) if name in first.labels else labels
            for name, labels in second.labels.items()
        },
        _merged(first.told, second.told, Told.plus),
        first.whole and second.whole,
    )


def _merged_levels(first: Mapping[str, pd.DataFrame], second: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the levels that rows have together."""
    for expression in first.keys() & second.keys():
        for part in first[expression]:
            both = [first[expression][part], second[expression][part]]
            check_ordered_alike([column.dtype for column in both], shown(expression))
            check_told_apart(both, shown(expression))
    return _merged(first, second, _together)


def _sampled(first: pd.DataFrame | None, second: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the rows of both, up to a number of them, if their types are the same."""
    if first is None or second is None or len(first) >= _HEAD or not first.dtypes.equals(second.dtypes):
        return second if first is None else first
    return pd.concat([first, second], ignore_index=True)


def _merged(first: Mapping[str, Any], second: Mapping[str, Any], add: Any) -> dict[str, Any]:
    """Return what two mappings have, added where both have it."""
    common = {name: add(first[name], second[name]) for name in first if name in second}
    return {**first, **second, **common}


def _once(values: Any, used: np.ndarray) -> pd.DataFrame:
    """Return the values of the rows in use, each once, in order of appearance."""
    if isinstance(values, Mapping):
        return labels_alone(values, used)
    series = pd.Series(values)
    return (series if used.all() else series[used]).drop_duplicates().reset_index(drop=True).to_frame(FIRST)


def _together(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the values of both, each once."""
    if first.shape[1] == 1 and first.dtypes.equals(second.dtypes):
        second = second[~second[FIRST].isin(first[FIRST])]
        return first if second.empty else pd.concat([first, second], ignore_index=True)
    both = pd.DataFrame({part: _stacked(first[part], second[part]) for part in first})
    return both.drop_duplicates(ignore_index=True)


def _stacked(first: pd.Series, second: pd.Series) -> pd.Series:
    """Return the values of both; categories keep their order, those of the second behind those of the first."""
    kinds = (first.dtype, second.dtype)
    if kinds[0] != kinds[1] and all(isinstance(kind, pd.CategoricalDtype) for kind in kinds):
        categories = dict.fromkeys([*first.cat.categories, *second.cat.categories])
        return pd.Series(pd.Categorical([*first, *second], categories=list(categories)))
    return pd.concat([first, second], ignore_index=True)


def _is_finite(values: Any, used: np.ndarray) -> bool:
    """Tell whether the numbers of the rows in use are finite."""
    if isinstance(values, Mapping):
        return all(_is_finite(part, used) for name, part in values.items() if not str(name).startswith("__"))
    if isinstance(values, FactorValues):
        values = values.__wrapped__
    numbers = values.to_numpy(dtype=float, na_value=np.nan) if isinstance(values, pd.Series) else np.asarray(values)
    if np.ndim(numbers) and len(numbers) == len(used) and not used.all():
        numbers = numbers[used]
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(numbers.sum())) or bool(np.isfinite(numbers).all())
