"""Which expressions of a formula from a file may be evaluated: those that evidently only compute with columns and numbers.

One pass over an expression checks that all of its parts are known, and counts the columns that it produces, so that nothing becomes larger
than the file itself says.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from betahat.data.formulas.allowed import ARGUMENTS, BITS, MODULES, Names, is_number
from betahat.data.formulas.expressions import key_of, unquoted

_WHERE = "np.where"
_OPTIONS = frozenset({"decimals", "a_min", "a_max", "min", "max"})
_LOGARITHMS = frozenset({"log", "log10", "log2", "exp", "exp2"})
_CUBIC = frozenset({"cc", "cr", "cs"})
_BASES = _CUBIC | {"bs", "poly"}
_SCALES = frozenset({"center", "scale", "standardize"})
_CODINGS = frozenset({"Treatment", "Poly", "Sum", "Helmert", "Diff"}) | {
    f"contr.{name}" for name in ("helmert", "poly", "sum", "treatment", "SAS", "diff")
}
_INDICATORS = frozenset({"Treatment", "contr.treatment", "contr.SAS"})
_KNOWN = _BASES | _SCALES | _CODINGS | ARGUMENTS.keys() | {"I", "C", "Q", "i", "sunab", "round", "lag", "lead", "diff"}
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
# formulaic used to paste the strings of a call into code, which a quotation mark could break out of.
_WORDS = re.compile(r"[^'\"\\`{}\x00-\x1f]*")
# Bounds: on the columns of a basis and the levels of a square contrast matrix, and on the columns held at once during evaluation; on the
# degree of a spline, which costs a pass over its columns each; on the length of an expression; on its depth.
_LARGEST, _DEGREE, _LONGEST, _DEEPEST = 1000, 30, 10_000, 50


@dataclass(frozen=True)
class Made:
    """What an expression produces."""

    columns: int = 1  # how many columns of numbers
    is_numeric: bool = True
    is_column: bool = True  # whether the numbers are NumPy's, one for each row of the data
    bits: int = 0  # how long it can be as a Python integer
    spans: bool = False  # whether its columns add up to a constant, so that a part of a term may omit the first
    levels: int | None = None  # of a category, if the expression states them
    contrasts: int | None = None  # the columns of a contrast matrix, if the expression has one
    is_square: bool = False  # whether its contrast matrix is levels by levels

    def width(self, levels: int | None, reduced: bool) -> int:
        """Return its number of columns in a part of a term, for a category of so many levels (None for numbers)."""
        if levels is None:
            return self.columns - (reduced and self.spans)
        levels = max(levels, self.levels or 0)
        if self.is_square and levels > _LARGEST:
            raise HarmError(f"contrasts of {levels} levels")
        return levels - reduced if self.contrasts is None else self.contrasts


class HarmError(Exception):
    """A part of an expression that is not known to be harmless."""


def harm(expression: str, names: Names) -> str | None:
    """Return the part of an expression that is not known to be harmless, or None."""
    try:
        made_by(expression, names, {})
    except HarmError as error:
        return str(error)
    return None


def made_by(expression: str, names: Names, learnt: Mapping[str, Any]) -> Made:
    """Return what a factor of a formula produces, without evaluating it; `learnt` is what its transformations learnt from the data of the fit.

    Known to be harmless are columns, numbers and strings, arithmetic and comparisons, NumPy's elementwise functions, and formulaic's
    transformations. Arithmetic is restricted to 64-bit numbers: a number times a string, a list or a Python integer could fill the memory.
    Sizes must be literal numbers, not computed ones.
    """
    if len(expression) > _LONGEST or re.search(r"[\n\r\\#]", expression):
        raise HarmError(expression[:100])
    plain, aliases = unquoted(expression)
    try:
        tree = ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise HarmError(expression[:100]) from error
    reader = _Reading(names, aliases, learnt)
    made = reader.made(tree.body, 0)
    if reader.held > _LARGEST:
        raise HarmError(expression[:100])
    return made


class _Reading:
    """One pass over an expression."""

    def __init__(self, names: Names, aliases: Mapping[str, str], learnt: Mapping[str, Any]) -> None:
        self.names = names
        self.aliases = aliases
        self.learnt = learnt
        self.held = 0

    def made(self, node: ast.expr, depth: int) -> Made:
        """Return what a node produces."""
        if depth > _DEEPEST:
            raise HarmError("an expression nested so deeply")
        match node:
            case ast.Constant(value=value):
                return self._written(value, node)
            case ast.Name() | ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="inf"):
                return self._named(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Invert(), operand=operand):
                return replace(self.made(operand, depth + 1), is_numeric=True)
            case ast.Compare(left=left, comparators=others, ops=ops) if all(isinstance(op, _COMPARISONS) for op in ops):
                return self._joined([self.made(part, depth + 1) for part in (left, *others)], node)
            case ast.BinOp():
                return self._computed(node, depth)
            case ast.Call():
                return self._called(node, depth)
            case _:
                raise _harmful(node)

    def _written(self, value: Any, node: ast.expr) -> Made:
        if value is None or (isinstance(value, str) and _WORDS.fullmatch(value)):
            return Made(is_numeric=False, is_column=False)
        if not is_number(value) or not math.isfinite(value):
            raise _harmful(node)
        return Made(is_column=False, bits=_bits(value))

    def _named(self, node: ast.Name | ast.Attribute) -> Made:
        if isinstance(node, ast.Attribute):  # np.inf
            return Made(is_column=False)
        name = self._own(node)
        if not self.names.is_value(name):
            raise _harmful(node)
        if name in self.names.columns:
            return Made(is_numeric=name in self.names.numbers)
        return Made(is_numeric=name in self.names.numbers, is_column=False, bits=_bits(self.names.context[name]))

    def _joined(self, parts: Sequence[Made], node: ast.expr) -> Made:
        """Return the result of combining several values row by row."""
        if any(part.levels is not None or part.contrasts is not None for part in parts):
            raise _harmful(node)
        columns = max(part.columns for part in parts)
        return Made(columns, is_column=any(part.is_column for part in parts), bits=sum(part.bits for part in parts))

    def _computed(self, node: ast.BinOp, depth: int) -> Made:
        """Follow the left operands of a sum without recursion, holding one value at a time."""
        steps: list[ast.BinOp] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            steps.append(left)
            left = left.left
        made = self.made(left, depth + 1)
        for step in reversed(steps):
            other = self.made(step.right, depth + 1)
            both = self._joined([made, other], step)
            if not (made.is_numeric and other.is_numeric) or isinstance(step.op, ast.MatMult):
                raise _harmful(step)
            if not both.is_column and (both.bits > BITS or isinstance(step.op, ast.Pow | ast.LShift)):
                raise _harmful(step)
            made = both
        return made

    def _called(self, node: ast.Call, depth: int) -> Made:
        function = self._function(node.func)
        options = {option.arg: option.value for option in node.keywords}
        if function is None or function in _CODINGS or any(_is_hidden(name) for name in options):
            raise _harmful(node)
        if any(isinstance(part, ast.Starred) for part in node.args):
            raise _harmful(node)
        if function in ARGUMENTS:
            made = self._of_numbers(function, node, options, depth)
        elif function == "Q":
            made = self._quoted(node)
        elif function in ("i", "sunab"):
            made = self._levels(node, options, depth)
        else:
            if not node.args:
                raise _harmful(node)
            first, others = self.made(node.args[0], depth + 1), node.args[1:]
            for part in [*others, *options.values()] if function != "C" else []:
                self._option(part, depth + 1)
            made = self._transformed(function, node, first, others, options)
        self.held += made.columns
        return made

    def _of_numbers(self, function: str, node: ast.Call, options: Mapping[Any, ast.expr], depth: int) -> Made:
        """Return what an elementwise function produces."""
        nodes = [*node.args, *options.values()]
        if not nodes or len(node.args) > ARGUMENTS[function] or not options.keys() <= _OPTIONS:
            raise _harmful(node)
        parts = [self.made(part, depth + 1) for part in nodes]
        if not all(
            made.is_numeric or (function == _WHERE and _is_word(part)) for made, part in zip(parts, nodes, strict=True)
        ):
            raise _harmful(node)
        is_numeric = all(made.is_numeric for made in (parts[1:] if function == _WHERE else parts))
        return replace(self._joined(parts, node), is_numeric=is_numeric)

    def _quoted(self, node: ast.Call) -> Made:
        match node:
            case ast.Call(args=[ast.Constant(value=str(name))], keywords=[]) if name in self.names.columns:
                return Made(is_numeric=name in self.names.numbers)
            case _:
                raise _harmful(node)

    def _transformed(
        self, function: str, node: ast.Call, first: Made, others: list[ast.expr], options: Mapping[Any, ast.expr]
    ) -> Made:
        """Return what one of formulaic's transformations makes of its first argument."""
        match function:
            case "I" if not others and not options:
                return first
            case "round" if first.is_numeric and not options and all(self._size(part) <= _DEGREE for part in others):
                return first
            case "C" if first.columns == 1 and first.contrasts is None and first.levels is None:
                return self._category(node, others, options)
            case "lag" | "lead" | "diff" if first.columns == 1 and first.contrasts is None:
                return self._of_other_periods(node, first, [*others, *options.values()])
            case _ if function in _SCALES and first.is_numeric:
                self._check_learnt(self._state(node), node, {"center", "scale", "ddof"})
                return replace(first, is_column=True)
            case _ if function in _BASES and first.is_numeric and first.columns == 1:
                return self._basis(function, node, others, options)
            case _:
                raise _harmful(node)

    def _of_other_periods(self, node: ast.Call, first: Made, others: Sequence[ast.expr]) -> Made:
        """Return what other periods' values are: a column for each k."""
        state = self._state(node)
        if len(others) > 1 or not state.keys() <= {"panel", "time", "numbers", "unit", "step"}:
            raise _harmful(node)
        for text in (state.get("panel"), state.get("time")):
            if isinstance(text, str) and text not in self.names.columns and made_by(text, self.names, {}).columns != 1:
                raise _harmful(node)
        if not isinstance(state.get("step", 1), int):
            raise _harmful(node)
        several = [part for part in others if isinstance(part, ast.List | ast.Tuple)]
        columns = len(several[0].elts) if several else 1
        return replace(first, columns=columns, is_column=True, bits=0)

    def _basis(self, function: str, node: ast.Call, others: list[ast.expr], options: Mapping[Any, ast.expr]) -> Made:
        """Return the columns of a spline or polynomial: as many as it has learnt, otherwise as its arguments say."""
        order = {
            "poly": ("degree", "raw"),
            "bs": ("df", "knots", "degree", "include_intercept", "lower_bound", "upper_bound", "extrapolation"),
        }.get(function, ("df", "knots", "lower_bound", "upper_bound", "constraints", "extrapolation"))
        if len(others) > len(order):
            raise _harmful(node)
        arguments = {**dict(zip(order, others, strict=False)), **options}
        state = self._state(node)
        self._check_learnt(
            state, node, {"knots", "lower_bound", "upper_bound", "constraints", "cyclic", "alpha", "norms2"}
        )
        degree = self._size(arguments["degree"]) if "degree" in arguments else {"poly": 1, "bs": 3}.get(function, 0)
        if function == "poly":
            columns = degree
        else:
            knots = state.get("knots")
            inner = arguments.get("knots")
            df = self._size(arguments["df"]) if "df" in arguments and not _is_none(arguments["df"]) else None
            whole = self._truth(arguments["include_intercept"]) if "include_intercept" in arguments else False
            if function == "bs" and degree > _DEGREE:
                raise _harmful(node)
            if knots is not None and function == "bs":
                columns = len(knots) - degree - 1 - (not whole)
            elif knots is not None:
                constraints = state.get("constraints")
                columns = len(knots) - (function == "cc") - (0 if constraints is None else len(constraints))
            elif df is not None:
                columns = df
            else:
                columns = (0 if inner is None else self._length(inner)) + (degree + whole if function == "bs" else 2)
            if max(columns, len(knots or ())) > _LARGEST:
                raise _harmful(node)
            return Made(columns, spans=whole)
        if columns > _LARGEST:
            raise _harmful(node)
        return Made(columns)

    def _category(self, node: ast.Call, others: list[ast.expr], options: Mapping[Any, ast.expr]) -> Made:
        """Return what is known about a category, whose levels come from the fit."""
        order = ("contrast", "levels")
        if len(others) > len(order) or not options.keys() <= {*order, "contrasts", "spans_intercept"}:
            raise _harmful(node)
        arguments = {**dict(zip(order, others, strict=False)), **options}
        contrast = arguments.pop("contrasts", arguments.pop("contrast", None))
        levels = None
        if "levels" in arguments and not _is_none(arguments["levels"]):
            levels = self._length(arguments["levels"])
        if "spans_intercept" in arguments:
            self._truth(arguments["spans_intercept"])
        if contrast is None or _is_none(contrast):
            return Made(is_numeric=False, levels=levels or 0)
        head = contrast.func if isinstance(contrast, ast.Call) else contrast
        coding = self._function(head)
        if coding in _CODINGS:
            for part in (
                [*contrast.args, *(k.value for k in contrast.keywords)] if isinstance(contrast, ast.Call) else []
            ):
                self._option(part, 0)
            return Made(is_numeric=False, levels=levels or 0, is_square=coding not in _INDICATORS)
        matrix = self.names.context.get(self._own(contrast)) if isinstance(contrast, ast.Name) else None
        if not (isinstance(matrix, np.ndarray) and matrix.ndim == 2 and matrix.dtype.kind in "biuf"):
            raise _harmful(contrast)
        return Made(is_numeric=False, levels=levels or 0, contrasts=matrix.shape[1])

    def _levels(self, node: ast.Call, options: Mapping[Any, ast.expr], depth: int) -> Made:
        """Return what is known about the levels of one variable or two, which come from the fit, as those that have columns do."""
        variables, chosen = node.args[:2], [*node.args[2:], *options.values()]
        if len(variables) == 2 and isinstance(variables[1], ast.List | ast.Tuple):
            chosen.append(variables.pop())
        for made in [self.made(part, depth + 1) for part in variables]:
            if made.columns != 1 or made.contrasts is not None:
                raise _harmful(node)
        for part in chosen:
            self._option(part, depth + 1)
        return Made(is_numeric=False, levels=0)

    def _function(self, node: ast.expr) -> str | None:
        """Return the name of a function that may be called, such as np.log, whatever the file calls it, or None."""
        root = node.value if isinstance(node, ast.Attribute) else node
        if not isinstance(root, ast.Name) or root.id in self.names.lost or root.id in self.names.context:
            return None
        name = self._own(root)
        if isinstance(node, ast.Attribute):
            name = f"{'np' if name in MODULES else name}.{node.attr}"
        elif name in self.names.functions or name in _LOGARITHMS:
            name = f"np.{self.names.functions.get(name, name)}"
        return name if name in _KNOWN else None

    def _own(self, node: ast.Name) -> str:
        return self.aliases.get(node.id, node.id)

    def _state(self, node: ast.Call) -> Mapping[str, Any]:
        state = self.learnt.get(key_of(node, self.aliases), {})
        if not isinstance(state, Mapping):
            raise _harmful(node)
        return state

    def _check_learnt(self, state: Mapping[str, Any], node: ast.Call, known: set[str]) -> None:
        """Refuse a state that no transformation produces, such as matrices that would be broadcast over the rows."""
        if not state.keys() <= known:
            raise _harmful(node)
        for name, value in state.items():
            if isinstance(value, Mapping):
                if not all(is_number(part) for part in value.values()):
                    raise _harmful(node)
            elif isinstance(value, list | tuple):
                if not all(is_number(part) and np.ndim(part) == 0 for part in value):
                    raise _harmful(node)
            elif name == "constraints" and isinstance(value, np.ndarray):
                if value.ndim != 2 or max(value.shape) > _LARGEST or value.dtype.kind not in "biuf":
                    raise _harmful(node)
            elif not (value is None or isinstance(value, bool) or is_number(value)):
                raise _harmful(node)

    def _option(self, node: ast.expr, depth: int) -> None:
        """Check an option of a transformation: a number, a string, or a list or a dict of them."""
        if isinstance(node, ast.List | ast.Tuple):
            for part in node.elts:
                self._option(part, depth + 1)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:  # {**other}
                    raise _harmful(node)
                self._option(key, depth + 1)
                self._option(value, depth + 1)
        elif self.made(node, depth).is_column:
            raise _harmful(node)

    def _size(self, node: ast.expr) -> int:
        """Return a whole number, given literally or by one of the user's names."""
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.Name) and self._own(node) not in self.names.columns:
            value = self.names.context.get(self._own(node))
        if not isinstance(value, int) or value < 0:
            raise _harmful(node)
        return value

    def _truth(self, node: ast.expr) -> bool:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, bool)):
            raise _harmful(node)
        return bool(node.value)

    def _length(self, node: ast.expr) -> int:
        """Return the length of a list, given literally or by one of the user's names."""
        if isinstance(node, ast.List | ast.Tuple):
            self._option(node, 0)
            return len(node.elts)
        value = self.names.context.get(self._own(node)) if isinstance(node, ast.Name) else None
        if not isinstance(value, list | tuple | np.ndarray) or np.ndim(value) != 1:
            raise _harmful(node)
        return len(value)


def _harmful(node: ast.expr) -> HarmError:
    try:
        text = ast.unparse(node)
    except RecursionError:
        text = "an expression nested so deeply"
    return HarmError(text[:200])


def _is_hidden(option: str | None) -> bool:
    return option is None or option.startswith("_") or option == "out"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_word(node: ast.expr) -> bool:
    """Tell whether a node is a string, or may be a column of strings."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 0
