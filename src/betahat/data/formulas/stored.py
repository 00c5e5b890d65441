"""A formula as numbers and strings: what a file can hold of it, and how it is evaluated again without trusting the file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from inspect import ismodule
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from betahat.data.formulas.allowed import MODULES, Names, allowed_names, functions_of, is_numpys
from betahat.data.formulas.expressions import bare, former_keys, names_in, values_in
from betahat.data.formulas.harmless import HarmError, Made, made_by
from betahat.data.formulas.order import calls_of_order, columns_of_order
from betahat.data.frame import to_pandas
from betahat.errors import FormulaError, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import formulaic
    import pandas as pd
    from formulaic import model_spec
    from formulaic.materializers import types
    from formulaic.parser import types as parsed

    from betahat.data.formulas import formula as formulas
else:
    formulaic = lazily("formulaic")
    model_spec = lazily("formulaic.model_spec")
    types = lazily("formulaic.materializers.types")
    parsed = lazily("formulaic.parser.types")
    formulas = lazily("betahat.data.formulas.formula")
    pd = lazily("pandas")


@dataclass(frozen=True)
class StoredPart:
    """A product of factors (their expressions, and whether a category lacks its first level), times a scale."""

    factors: tuple[tuple[str, bool], ...]
    scale: float


@dataclass(frozen=True)
class StoredTerm:
    """A term: the expressions of its factors, the parts that are added up, and the names of its columns."""

    factors: tuple[str, ...]
    parts: tuple[StoredPart, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class StoredFactor:
    """A factor."""

    method: str  # formulaic's method of evaluation
    kind: str  # the kind that the formula declares
    encoded: str | None  # whether its values are numbers or categories
    learnt: dict[str, Any]  # the levels of its categories


@dataclass(frozen=True, eq=False)
class StoredFormula:
    """A formula whose categories, knots and centres are fixed, in numbers and strings."""

    text: str  # as the user wrote it
    factors: dict[str, StoredFactor]  # by their expressions
    terms: tuple[StoredTerm, ...]  # in the order of the columns
    learnt: dict[str, Any]  # what the transformations learnt from the data of the fit, by their calls
    context: dict[str, Any]  # numbers and strings of the user to which the formula refers
    functions: dict[str, str]  # NumPy functions, by the names that the formula has for them
    lost: tuple[str, ...]  # names whose values could not be saved
    variables: tuple[str, ...]  # as of `Formula`: known before any of the file is read as code
    categorical_variables: tuple[str, ...]

    @property
    def linear_variables(self) -> set[str]:
        """As of `Formula`."""
        inside = {
            name
            for expression, factor in self.factors.items()
            if factor.method != "lookup"
            for name in names_in(expression)
        }
        return set(self.variables) - inside - set(self.categorical_variables)

    @property
    def levels(self) -> dict[str, list[Any]]:
        """As of `Formula`."""
        return {
            expression: list(factor.learnt["categories"])
            for expression, factor in self.factors.items()
            if "categories" in factor.learnt
        }

    def calls_of_order(self, moved: Iterable[str]) -> list[str]:
        """As of `Formula`."""
        return calls_of_order(self.learnt, [term.factors for term in self.terms], moved)

    @property
    def columns(self) -> tuple[str, ...]:
        """As of `Formula`."""
        return tuple(name for term in self.terms for name in term.columns)

    def regressors(self, data: Any) -> pd.DataFrame:
        """Build the (m, k) regressors of new data, as `Formula.regressors` does, unless the formula calls anything but betahat and NumPy."""
        frame, spec = self._checked(data)
        return formulas.rebuilt(self.text, spec, {**self.context, **MODULES, **functions_of(self.functions)}, frame)

    def changed(self, data: Any, values: Mapping[str, Any]) -> dict[int, np.ndarray]:
        """Return the (m,) columns that depend on some variables, as `Formula.changed` does."""
        frame, spec = self._checked(data)
        context = {**self.context, **MODULES, **functions_of(self.functions)}
        return formulas.changed_regressors(self.text, spec, context, frame, values)

    def _checked(self, data: Any) -> tuple[pd.DataFrame, model_spec.ModelSpec]:
        """Return the columns of new data, and the right-hand side, which is known to be harmless."""
        order = columns_of_order(self.learnt)
        frame = to_pandas(data, " ".join([self.text, *self.variables, *order]))  # those of a second equation as well
        self._check(allowed_names(frame, self.context, self.functions, self.lost))
        try:
            return frame, self._spec()
        except (formulaic.errors.FormulaicError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            self._refuse(self.text)

    def _check(self, names: Names) -> None:
        """Refuse what is not known to be harmless, and what produces more columns than the file has names for."""
        for lost in self.lost:
            if lost in self.factors or not lost.isidentifier():
                self._refuse(lost)
        try:
            for expression, factor in self.factors.items():
                _made(expression, factor, names, {})
            learnt = self._learnt()  # parses the expressions, so only now
            made = {expression: _made(expression, factor, names, learnt) for expression, factor in self.factors.items()}
        except HarmError as error:
            self._refuse(str(error))
        for term in self.terms:
            for expression in term.factors:
                if expression not in made or self._width(expression, made, False) > len(term.columns) + 1:
                    self._refuse(expression)
            columns = 0
            for part in term.parts:
                if not all(expression in term.factors for expression, _ in part.factors):
                    self._refuse(" : ".join(term.factors))
                columns += math.prod(self._width(expression, made, reduced) for expression, reduced in part.factors)
            if columns > len(term.columns):
                self._refuse(" : ".join(term.factors))

    def _width(self, expression: str, made: Mapping[str, Made], reduced: bool) -> int:
        """Return the number of columns that a factor produces."""
        factor = self.factors[expression]
        levels = None
        if factor.encoded == parsed.Factor.Kind.CATEGORICAL.value:
            known = factor.learnt.get("categories")
            if not isinstance(known, list | tuple):
                self._refuse(expression)
            levels = len(known)
        try:
            return made[expression].width(levels, reduced)
        except HarmError as error:
            self._refuse(str(error))

    def vector(self, text: str, data: Any, option: str) -> Any:
        """Return (m,) the column of new data of this name, or the value of an expression, which is the user's own, not the file's."""
        return formulas.new_vector(text, data, {**self.context, **MODULES, **functions_of(self.functions)}, option)

    def _spec(self) -> model_spec.ModelSpec:
        factors = {
            expression: parsed.Factor(expression, eval_method=factor.method, kind=factor.kind)
            for expression, factor in self.factors.items()
        }
        terms = [parsed.Term(factors[expression] for expression in term.factors) for term in self.terms]
        structure = [
            model_spec.EncodedTermStructure(
                term,
                [
                    types.ScopedTerm(
                        [types.ScopedFactor(types.EvaluatedFactor(factors[e], None), bool(r)) for e, r in part.factors],
                        part.scale,
                    )
                    for part in stored.parts
                ],
                list(stored.columns),
            )
            for term, stored in zip(terms, self.terms, strict=True)
        ]
        return model_spec.ModelSpec(
            formula=formulaic.Formula(terms, _ordering="none"),
            output="pandas",
            structure=structure,
            transform_state=self._learnt(),
            encoder_state={
                expression: (parsed.Factor.Kind(factor.encoded), deepcopy(factor.learnt))
                for expression, factor in self.factors.items()
                if factor.encoded is not None
            },
        )

    def _learnt(self) -> dict[str, Any]:
        """Return what was learnt, by today's keys; in older files, keys had lost the backticks of names."""
        calls = [expression for expression, factor in self.factors.items() if factor.method == "python"]
        former = {old: new for expression in calls for old, new in former_keys(expression).items()}
        return {
            key if key in former.values() else former.get(key, key): deepcopy(state)
            for key, state in self.learnt.items()
        }

    def _refuse(self, what: str) -> NoReturn:
        raise FormulaError(
            f"The formula {shown(self.text)} was loaded from a file and contains {shown(what)}, which is not among the computations known to be "
            "harmless, so it is not evaluated; build the regressors yourself and pass them with transform=False, or fit again."
        )


def _made(expression: str, factor: StoredFactor, names: Names, learnt: Mapping[str, Any]) -> Made:
    """Return what a factor produces; a name must be that of a column or of the user's numbers."""
    if factor.method == parsed.Factor.EvalMethod.PYTHON.value:
        return made_by(expression, names, learnt)
    name = bare(expression)
    if factor.method == parsed.Factor.EvalMethod.LOOKUP.value and not (
        name in names.columns or (names.is_value(name) and name in names.numbers)
    ):
        raise HarmError(expression[:200])
    return Made()


def stored_formula(formula: formulas.Formula) -> StoredFormula:
    """Return what a file can hold of a formula, including what it learnt from the data of the fit."""
    spec = formula.spec
    lost: list[str] = []
    values = {name for factor in spec.factors for name in _values(factor)}
    context: dict[str, Any] = {}
    functions: dict[str, str] = {}
    learnt: dict[str, Any] = {}
    for name, value in formula.context.items():
        if name not in values and not callable(value) and not ismodule(value):
            continue  # a variable of the caller with the name of one of our functions, which is what the formula calls
        if is_numpys(value):
            functions[name] = value.__name__
        elif not (ismodule(value) and MODULES.get(name) is value):
            _keep(context, name, value, name, lost)
    for call, state in spec.transform_state.items():
        _keep(learnt, call, state, call, lost)
    factors = {}
    for factor in sorted(spec.factors, key=str):  # a set, whose order differs from process to process
        encoded, state = spec.encoder_state.get(factor.expr, (None, {}))
        levels: dict[str, Any] = {}
        for key, value in state.items():
            if key != "contrasts":  # the evaluation of the factor creates them again
                _keep(levels, key, value, factor.expr, lost)
        kind = None if encoded is None else encoded.value
        factors[factor.expr] = StoredFactor(factor.eval_method.value, factor.kind.value, kind, levels)
    terms = tuple(
        StoredTerm(
            tuple(factor.expr for factor in made.term.factors),
            tuple(
                StoredPart(
                    tuple((scoped.factor.expr, bool(scoped.reduced)) for scoped in part.factors), float(part.scale)
                )
                for part in made.scoped_terms
            ),
            tuple(str(column) for column in made.columns),
        )
        for made in spec.structure
    )
    variables, categories = tuple(formula.variables), tuple(sorted(formula.categorical_variables))
    return StoredFormula(formula.text, factors, terms, learnt, context, functions, tuple(lost), variables, categories)


def _values(factor: parsed.Factor) -> set[str]:
    """Return the names that stand for values in a factor."""
    if factor.eval_method is parsed.Factor.EvalMethod.PYTHON:
        return values_in(factor.expr)
    return {bare(factor.expr), factor.expr.partition(".")[0]}


def _keep(into: dict[str, Any], key: str, value: Any, name: str, lost: list[str]) -> None:
    """Keep a value that consists of numbers and strings, or note that it is lost."""
    try:
        into[key] = _plain(value)
    except TypeError:
        lost.append(name)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value
    if isinstance(value, tuple | list):
        plain = [_plain(part) for part in value]
        return tuple(plain) if isinstance(value, tuple) else plain
    if isinstance(value, Mapping):
        return {_plain(key): _plain(part) for key, part in value.items()}
    raise TypeError(f"{type(value).__name__} is neither a number nor a string")
