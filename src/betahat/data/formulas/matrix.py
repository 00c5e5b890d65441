"""The columns of a formula, none of which hides another: formulaic's algebra of terms on our own expressions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import ismodule
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from formulaic.materializers import PandasMaterializer
from formulaic.materializers.types import EvaluatedFactor, FactorValues, ScopedTerm
from formulaic.materializers.types.enums import ClusterBy
from formulaic.materializers.types.factor_values import FactorValuesMetadata
from formulaic.model_spec import EncodedTermStructure, ModelSpec
from formulaic.parser.types import Factor, Term
from formulaic.transforms.contrasts import TreatmentContrasts
from formulaic.utils.null_handling import find_nulls
from formulaic.utils.variables import Variable
from interface_meta import override
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_object_dtype, is_string_dtype
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.data.formulas.expressions import ReasonError, Scope, bare
from betahat.data.formulas.levels import coded, indicators
from betahat.data.formulas.naming import CONSTANT, column_names, distinct
from betahat.data.formulas.reading import evaluated, label, number
from betahat.data.formulas.transforms import KNOWN
from betahat.errors import counted, described, shown

_TRUTH = pd.CategoricalDtype([False, True])


class OtherKindError(Exception):
    """Values are strings where the fit had numbers, or produce other columns; the argument is the expression."""


class Materializer(PandasMaterializer):  # type: ignore[misc]
    """formulaic's reading of pandas, with our own evaluation of expressions, categories and names of columns.

    Booleans are categories with two levels, as in R and patsy, and so are all types of strings.
    """

    REGISTER_NAME = "betahat"
    REGISTER_INPUTS = ()

    @override
    def _init(self) -> None:
        self._known: dict[str, Factor.Kind] = {}
        self._scope = Scope(_Columns(self.data), self.context, KNOWN)

    def tables(self, specs: Sequence[ModelSpec]) -> list[Table]:
        """Build the matrices of the sides of a formula, from all rows if none of them has a missing value."""
        specs = [
            spec.update(materializer=self.REGISTER_NAME, materializer_params={}, output="pandas") for spec in specs
        ]
        learnt = {call: state for spec in specs for call, state in spec.transform_state.items()}
        factors = dict.fromkeys(factor for spec in specs for term in spec.formula for factor in term.factors)
        known = {expression: kind for spec in specs for expression, (kind, _) in spec.encoder_state.items()}
        self.values(list(factors), learnt, known)
        dropped = np.flatnonzero(self._missing).tolist()
        for spec in specs:
            spec.transform_state.update(learnt)
        return [self._table(spec, dropped) for spec in specs]

    def values(
        self, factors: Sequence[Factor], state: dict[str, Any], known: Mapping[str, Factor.Kind], instead: Any = None
    ) -> tuple[dict[str, FactorValues[Any]], np.ndarray]:
        """Return factors' values by expression, and (n,) which rows have missing ones; calls learn into `state`, the `known` kinds stay.

        `instead` stands in for calls that learn, as in `Scope`.
        """
        self._scope = replace(self._scope, instead=instead)
        self._known, self._missing = dict(known), np.zeros(self.nrows, dtype=bool)
        spec = ModelSpec(formula=formulaic.Formula([]), output="pandas", transform_state=state)
        found = {factor.expr: self._evaluate_factor(factor, spec, set()).values for factor in factors}
        return found, self._missing

    @override
    def _check_for_nulls(self, name: str, values: Any, na_action: Any, drop_rows: set[int]) -> None:
        self._missing |= self._nulls(values.__wrapped__ if isinstance(values, FactorValues) else values, name)

    def _nulls(self, values: Any, name: str) -> Any:
        """Return (n,) where values are missing."""
        if isinstance(values, pd.Series):
            return values.isna().to_numpy()
        if isinstance(values, np.ndarray) and values.ndim in (1, 2):
            return np.isnan(values) if values.ndim == 1 else np.isnan(values).any(1)
        missing = np.zeros(self.nrows, dtype=bool)
        if isinstance(values, dict):
            for part in values.values():
                missing |= self._nulls(part, name)
            return missing
        if find_nulls.dispatch(type(values)) is find_nulls.dispatch(object):
            raise ReasonError(f"{shown(name)} is {described(values)} instead of a column or a number")
        try:
            missing[list(find_nulls(values))] = True
        except ValueError as error:
            raise ValueError(f"Error encountered while checking for nulls in `{name}`: {error}") from error
        return missing

    @override
    def _is_categorical(self, values: Any) -> bool:
        if isinstance(values, FactorValues):
            return values.__formulaic_metadata__.kind is Factor.Kind.CATEGORICAL or self._is_text(values.__wrapped__)
        return self._is_text(values)

    @staticmethod
    def _is_text(values: Any) -> bool:
        """Tell whether values of this type are categories."""
        kind = getattr(values, "dtype", None)
        if kind is None:
            return False
        known = is_bool_dtype(kind) or is_object_dtype(kind) or is_string_dtype(kind)
        return known or isinstance(kind, pd.CategoricalDtype | pd.IntervalDtype)

    @override
    def _evaluate_factor(self, factor: Factor, spec: ModelSpec, drop_rows: set[int]) -> EvaluatedFactor:
        evaluated = PandasMaterializer._evaluate_factor(self, factor, spec, drop_rows)
        known = self._known.get(factor.expr)
        if known is Factor.Kind.NUMERICAL and evaluated.metadata.kind is Factor.Kind.CATEGORICAL:
            raise OtherKindError(factor.expr)
        return evaluated

    @override
    def _lookup(self, name: str) -> tuple[Any, set[Variable]]:
        plain = bare(name)
        layer = next((layer for layer in ("columns", "context") if plain in getattr(self._scope, layer)), None)
        if layer is None:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ReasonError(f"{shown(plain)} is neither in the data nor one of the caller's variables")
            return self._evaluate(name, None, None)
        values, wants_labels = getattr(self._scope, layer)[plain], self._wants_labels(name)
        if _is_doubled_later(values) and not wants_labels(values):
            value = values
        else:
            value = number(values)
            value = label(values) if wants_labels(value) else value
        source = "data" if layer == "columns" else layer
        return self._as_known(name, self._checked(value, name)), {Variable(plain, roles=("value",), source=source)}

    @override
    def _evaluate(self, expr: str, metadata: Any, spec: Any) -> tuple[Any, set[Variable]]:
        state = {} if spec is None else spec.transform_state
        value, columns = evaluated(expr, self._scope, state, spec, self._wants_labels(expr))
        names = {Variable(name, roles=("value",), source="data") for name in columns}
        return self._as_known(expr, self._checked(value, expr)), names

    def _checked(self, value: Any, name: str) -> Any:
        """Refuse anything but one value for each row, or one for all."""
        if isinstance(value, Tensor):
            value = to_numpy(value)
        elif isinstance(value, list | tuple | pd.Index) or _is_foreign(value):
            value = np.asarray(value)
        if callable(value) or ismodule(value) or value is None or isinstance(value, str):
            raise ReasonError(f"{shown(name)} is {described(value)} instead of a column or a number")
        rows = _rows_of(value)
        if rows not in (None, self.nrows):
            raise ReasonError(
                f"{shown(name)} has {counted(rows, 'value')}, but the data have {counted(self.nrows, 'row')}; pass one for each row"
            )
        if isinstance(value, pd.Series | pd.DataFrame) and not value.index.equals(self.data.index):
            raise ReasonError(
                f"the rows of {shown(name)} are labelled differently from those of the data; put them into the same order"
            )
        if not isinstance(value, FactorValues):
            if isinstance(value, pd.DataFrame):
                return _table([value.iloc[:, i] for i in range(value.shape[1])], name)
            if isinstance(value, np.ndarray) and value.ndim == 2:
                return _table(list(value.T), name)
        if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "OUS":
            return pd.Series(value, self.data.index)
        if not isinstance(value, FactorValues) and rows is not None and is_bool_dtype(value) and np.ndim(value) == 1:
            return pd.Series(pd.Categorical(value, dtype=_TRUTH), self.data.index)
        return value

    def _wants_labels(self, expression: str) -> Callable[[Any], bool]:
        """Return the function that tells whether the values of an expression are a category, which the fit has decided."""
        if self._known.get(expression) is Factor.Kind.CATEGORICAL:
            return lambda values: True
        return self._is_categorical

    def _as_known(self, expression: str, value: Any) -> Any:
        """Return values as a pandas vector, and of the kind that they had in the fit if their type leaves that open."""
        known = self._known.get(expression)
        if isinstance(value, FactorValues):
            return value
        if isinstance(value, list | pd.Index | pd.Categorical) or (isinstance(value, np.ndarray) and value.ndim == 1):
            value = pd.Series(value)
        if known is Factor.Kind.CATEGORICAL:
            return FactorValues(value, kind=known, spans_intercept=True)
        if known is Factor.Kind.NUMERICAL and isinstance(value, pd.Series):
            is_gap = value.dtype == object and bool(value.isna().all())
            return pd.Series(_double(value), value.index) if is_gap or value.dtype == _TRUTH else value
        return value

    @override
    def _cluster_terms(self, terms: Sequence[Term], cluster_by: ClusterBy = ClusterBy.NONE) -> Sequence[Term]:
        """Order the terms as patsy, and therefore statsmodels, does.

        Terms are grouped by the numerical factors in them, those without any first, then in order of appearance; within a group they are
        sorted by the number of factors (patsy, "How formulas work").
        """
        groups: dict[frozenset[str], list[Any]] = {frozenset(): []}
        for term in terms:
            kinds = {factor.expr: self.factor_cache[factor.expr].metadata.kind for factor in term.factors}
            numerical = frozenset(name for name, kind in kinds.items() if kind is Factor.Kind.NUMERICAL)
            groups.setdefault(numerical, []).append(term)
        return [term for group in groups.values() for term in sorted(group, key=_degree)]

    @override
    def _encode_numerical(
        self, values: Any, metadata: Any, encoder_state: dict[str, Any], spec: ModelSpec, drop_rows: Sequence[int]
    ) -> Any:
        plain = values.__wrapped__ if isinstance(values, FactorValues) else values
        if drop_rows and isinstance(plain, pd.Series | np.ndarray):
            return plain  # its rows are selected when they are copied into the matrix
        return PandasMaterializer._encode_numerical(self, values, metadata, encoder_state, spec, drop_rows)

    @override
    def _encode_categorical(
        self,
        values: Any,
        metadata: Any,
        encoder_state: dict[str, Any],
        spec: ModelSpec,
        drop_rows: Sequence[int],
        reduced_rank: bool = False,
    ) -> Any:
        return indicators(coded(values, None, drop_rows, encoder_state), TreatmentContrasts(), False, encoder_state)

    @override
    def _flatten_encoded_evaled_factor(self, name: str, values: FactorValues[Any]) -> dict[str, Any]:
        if not isinstance(values, dict):
            return {name: values}
        known = getattr(values, "__formulaic_metadata__", FactorValuesMetadata())
        flat: dict[str, Any] = {}
        for field, value in values.items():
            if not (isinstance(field, str) and field.startswith("__")):
                inner = known.get_format().format(name=name, field=field)
                if inner in flat:  # the number 1 and the word "1", say
                    inner = known.get_format().format(name=name, field=repr(field))
                flat.update(self._flatten_encoded_evaled_factor(inner, value))
        return flat

    def _table(self, spec: ModelSpec, dropped: Sequence[int]) -> Table:
        """Build a matrix column by column, so that the columns are never held twice."""
        if spec.structure:
            made = [(s.term, [part.rehydrate(self.factor_cache) for part in s.scoped_terms]) for s in spec.structure]
        else:
            terms = self._cluster_terms(spec.formula, cluster_by=spec.cluster_by)
            made = [(term, list(parts)) for term, parts in self._get_scoped_terms(terms, spec.ensure_full_rank)]
        built = [[column for part in parts for column in self._columns(part, spec, dropped)] for _, parts in made]
        names = iter(distinct([column.names for columns in built for column in columns]))
        structure = [
            EncodedTermStructure(
                term, [part.copy(without_values=True) for part in parts], [next(names) for _ in columns]
            )
            for (term, parts), columns in zip(made, built, strict=True)
        ]
        if spec.structure:
            _check_structure(structure, spec.structure)
        else:
            spec = spec.update(structure=structure)
        columns = [column for part in built for column in part]
        values = np.empty((self.nrows - len(dropped), len(columns)), order="F")
        for i, column in enumerate(columns):
            values[:, i] = _product([self._used(factor) for factor in column.factors], column.scale)
        return Table(
            values, [name for part in structure for name in part.columns], None if not dropped else ~self._missing, spec
        )

    def _used(self, values: Any) -> Any:
        """Return the rows of a factor that are in use; categories hold only those."""
        whole = np.ndim(values) == 1 and len(values) == self.nrows
        return values[~self._missing] if whole and self._missing.any() else values

    def _columns(self, part: ScopedTerm, spec: ModelSpec, drop_rows: Sequence[int]) -> list[_Column]:
        """Return the products of the columns of a part's factors; the first factor varies fastest, as in R and patsy."""
        if not part.factors:
            return [_Column((CONSTANT, CONSTANT), [1.0], part.scale)]
        factors = []
        for scoped in part.factors:
            encoded = self._encode_evaled_factor(scoped.factor, spec, drop_rows, reduced_rank=scoped.reduced)
            for values in encoded.values():
                _check_real(values, scoped.factor.expr)
            factors.append([(column_names(scoped.factor.factor, name), values) for name, values in encoded.items()])
        scale = "" if part.scale == 1 else f"{part.scale:g}:"
        return [
            _Column(
                (
                    ":".join(names[0] for names, _ in product[::-1]),
                    scale + ":".join(names[1] for names, _ in product[::-1]),
                ),
                [values for _, values in product],
                part.scale,
            )
            for product in itertools.product(*reversed(factors))
        ]


@dataclass(frozen=True, eq=False)
class Table:
    """The matrix of one side of a formula."""

    values: np.ndarray  # (m, k), in column-major order
    names: list[str]  # (k,)
    used: np.ndarray | None  # (n,) which rows of the data these are; None is all of them
    spec: ModelSpec  # the side of the formula, with what it has learnt


def _is_foreign(value: Any) -> bool:
    """Tell whether a value is a column of a library other than NumPy or pandas."""
    return getattr(value, "__array__", None) is not None and not type(value).__module__.startswith(
        ("numpy", "pandas", "formulaic")
    )


def _table(columns: Sequence[Any], name: str) -> np.ndarray:
    """Return several columns as numbers, (n, m), or (n,) for a single one; False and True are 0 and 1."""
    if not columns:
        raise ReasonError(f"{shown(name)} has no columns")
    numbers = [number(column) for column in columns]
    for column in numbers:
        _check_real(column, name)
        if not is_numeric_dtype(column.dtype):
            raise ReasonError(f"{shown(name)} has several columns, not all of which are numbers; use them one by one")
    return _double(numbers[0]) if len(numbers) == 1 else np.column_stack([_double(column) for column in numbers])


def _rows_of(value: Any) -> int | None:
    """Return the number of rows of a value, or None for a scalar."""
    if isinstance(value, FactorValues):
        value = value.__wrapped__
    if isinstance(value, Mapping):
        return max((rows for part in value.values() if (rows := _rows_of(part)) is not None), default=None)
    shape = np.shape(value)
    return shape[0] if shape else None


class _Columns(Mapping[str, Any]):
    """The columns of a dataframe; looking one up twice returns the same object."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame, self._known = frame, dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._frame[name]
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._frame.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame.columns)

    def __len__(self) -> int:
        return self._frame.shape[1]


@dataclass(frozen=True, eq=False)
class _Column:
    """A column of the matrix: the product of vectors (n,) and numbers, times a scale."""

    names: tuple[str, str]  # plain, and with quotation marks, for when the plain name is also that of another column
    factors: Sequence[Any]
    scale: float


def _product(factors: Sequence[Any], scale: float) -> Any:
    """Return (n,) the product of vectors and a number."""
    doubles = [_double(values) for values in factors]
    product = doubles[0] if scale == 1 else scale * doubles[0]
    for values in doubles[1:]:
        product = product * values
    return product


def _is_doubled_later(values: Any) -> bool:
    """Tell whether a column holds NumPy numbers, whose conversion to double precision can wait until they enter the matrix."""
    return isinstance(values, pd.Series) and isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf"


def _check_real(values: Any, name: str) -> None:
    """Refuse complex numbers, which would lose a part, and times, whose size depends on the unit."""
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind in ("c", "m", "M"):
        raise ReasonError(f"the values of {shown(name)} are {'complex' if kind == 'c' else 'dates or spans of time'}")


def _double(values: Any) -> Any:
    if isinstance(values, pd.Series):
        return values.to_numpy(dtype=float, na_value=np.nan)
    return np.asarray(values, dtype=float)


def _degree(term: Term) -> int:
    return sum(factor.expr != "1" for factor in term.factors)


def _check_structure(made: Sequence[EncodedTermStructure], known: Sequence[EncodedTermStructure]) -> None:
    """Refuse columns other than those of the fit."""
    for new, old in zip(made, known, strict=True):
        if list(new.columns) != list(old.columns):
            raise OtherKindError(":".join(factor.expr for factor in old.term.factors))
