"""Which expressions of a formula that came from a file may be evaluated: those that plainly compute with columns and numbers.

One pass over an expression tells that each part of it is known, and how many columns it makes, so that nothing is larger than what the
file itself names.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.data.formulas.expressions import key_of, unquoted
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# How many arguments each of NumPy's functions takes before one is what it writes into; those of whole matrices are left out.
_ARGUMENTS = {
    **{
        f"np.{name}": f.nin
        for name, f in vars(np).items()
        if isinstance(f, np.ufunc) and f.nout == 1 and f.signature is None
    },
    **{"np.where": 3, "np.clip": 3, "np.round": 2, "abs": 1, "float": 1},
}
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
_KNOWN = _BASES | _SCALES | _CODINGS | _ARGUMENTS.keys() | {"I", "C", "Q", "lag", "round"}
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
# formulaic once put the words of a call into a string of code, out of which a quotation mark might break.
_WORDS = re.compile(r"[^'\"\\`{}\x00-\x1f]*")
# Bounds: of a basis and of the levels of a contrast, whose matrices are square; of a spline's degree, each of which is a pass over its
# columns; of an expression's letters, and of the columns and the depth that are held at once while it is evaluated.
_LARGEST, _DEGREE, _LONGEST, _DEEPEST = 1000, 30, 10_000, 50
# Python's integers grow without end where NumPy's have 64 bits.
_BITS = 62
MODULES = {"np": np, "numpy": np}


def is_numpys(value: Any) -> bool:
    """Tell whether a value is a function of NumPy's that computes a number from numbers."""
    return isinstance(value, np.ufunc) and f"np.{value.__name__}" in _ARGUMENTS


def functions_of(names: Mapping[str, str]) -> dict[str, Any]:
    """Return the functions of NumPy's among those that a file names."""
    return {alias: getattr(np, name) for alias, name in names.items() if f"np.{name}" in _ARGUMENTS}


@dataclass(frozen=True)
class Names:
    """What an expression may name.

    Attributes
    ----------
    columns : frozenset of str
        Columns of the data.
    numbers : frozenset of str
        Those of them that hold numbers or times, and the user's own numbers.
    context : mapping
        The user's own numbers and words.
    functions : mapping of str to str
        Functions of NumPy's, and their names there.
    lost : frozenset of str
        What no file can hold.
    """

    columns: frozenset[str]
    numbers: frozenset[str]
    context: Mapping[str, Any]
    functions: Mapping[str, str]
    lost: frozenset[str]

    def is_value(self, name: str) -> bool:
        """Tell whether a name stands for a column, a number or a word."""
        return name not in self.lost and (name in self.columns or name in self.context)


def names_of(
    frame: pd.DataFrame, context: Mapping[str, Any], functions: Mapping[str, str], lost: tuple[str, ...]
) -> Names:
    """Return what an expression may name, beside the functions that are always known."""
    kinds = dict(zip(map(str, frame.columns), frame.dtypes, strict=True))
    numbers = {name for name, kind in kinds.items() if kind.kind in "biufmM"}
    numbers |= {name for name, value in context.items() if name not in kinds and _is_number(value)}
    return Names(frozenset(kinds), frozenset(numbers), context, functions, frozenset(lost))


@dataclass(frozen=True)
class Made:
    """What an expression makes.

    Attributes
    ----------
    columns : int
        How many, of numbers.
    is_numeric, is_column : bool
        Whether it is numbers, and whether these are NumPy's, a row of the data each.
    bits : int
        How long a whole number of Python's it can be.
    spans : bool
        Whether its columns add up to a constant, so that a part of a term may lack the first.
    levels, contrasts : int or None
        Of a category, its levels and the columns of a matrix of contrasts, where the expression has them.
    is_square : bool
        Whether its contrasts are a matrix of levels by levels.
    """

    columns: int = 1
    is_numeric: bool = True
    is_column: bool = True
    bits: int = 0
    spans: bool = False
    levels: int | None = None
    contrasts: int | None = None
    is_square: bool = False

    def width(self, levels: int | None, reduced: bool) -> int:
        """Return how many columns it makes in a part of a term, for a category of so many levels, or for numbers.

        Raises
        ------
        HarmError
            Its contrasts are too large a matrix.
        """
        if levels is None:
            return self.columns - (reduced and self.spans)
        levels = max(levels, self.levels or 0)
        if self.is_square and levels > _LARGEST:
            raise HarmError(f"contrasts of {levels} levels")
        return levels - reduced if self.contrasts is None else self.contrasts


class HarmError(Exception):
    """A part of an expression that is not known to be harmless."""


def harm(expression: str, names: Names) -> str | None:
    """Return the part of an expression that is not known to be harmless; None where there is none."""
    try:
        made_by(expression, names, {})
    except HarmError as error:
        return str(error)
    return None


def made_by(expression: str, names: Names, learnt: Mapping[str, Any]) -> Made:
    """Return what an expression makes, without evaluating it.

    Parameters
    ----------
    expression : str
        A factor of a formula.
    names : Names
        What it may name.
    learnt : mapping
        What its transformations know of the data of the fit, by their calls.

    Raises
    ------
    HarmError
        A part of it is not known to be harmless.

    Notes
    -----
    What is known: columns, numbers and words; arithmetic and comparison; functions of NumPy's of each number; formulaic's
    transformations. Arithmetic is of numbers of 64 bits alone: words, lists and Python's own integers times a number fill a memory.
    Sizes are plain numbers, not computed ones.
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
        """Return what a node makes."""
        if depth > _DEEPEST:
            raise HarmError("an expression in so many brackets")
        match node:
            case ast.Constant(value=value):
                return self._written(value, node)
            case ast.Name(id=name):
                return self._named(self.aliases.get(name, name), node)
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
        if not _is_number(value) or not math.isfinite(value):
            raise _harmful(node)
        return Made(is_column=False, bits=_bits(value))

    def _named(self, name: str, node: ast.expr) -> Made:
        if not self.names.is_value(name):
            raise _harmful(node)
        if name in self.names.columns:
            return Made(is_numeric=name in self.names.numbers)
        return Made(is_numeric=name in self.names.numbers, is_column=False, bits=_bits(self.names.context[name]))

    def _joined(self, parts: Sequence[Made], node: ast.expr) -> Made:
        """Return the numbers that are made of several values, one for each row."""
        if any(part.levels is not None or part.contrasts is not None for part in parts):
            raise _harmful(node)
        columns = max(part.columns for part in parts)
        return Made(columns, is_column=any(part.is_column for part in parts), bits=sum(part.bits for part in parts))

    def _computed(self, node: ast.BinOp, depth: int) -> Made:
        """Go down the left of a sum, of which one value is held at a time."""
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
            if not both.is_column and (both.bits > _BITS or isinstance(step.op, ast.Pow | ast.LShift)):
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
        if function in _ARGUMENTS:
            made = self._of_numbers(function, node, options, depth)
        elif function == "Q":
            made = self._quoted(node)
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
        """Return what a function of each number makes."""
        nodes = [*node.args, *options.values()]
        if not nodes or len(node.args) > _ARGUMENTS[function] or not options.keys() <= _OPTIONS:
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
            case "lag" if first.columns == 1 and first.contrasts is None:
                return first
            case _ if function in _SCALES and first.is_numeric:
                self._check_learnt(self._state(node), node, {"center", "scale", "ddof"})
                return replace(first, is_column=True)
            case _ if function in _BASES and first.is_numeric and first.columns == 1:
                return self._basis(function, node, others, options)
            case _:
                raise _harmful(node)

    def _basis(self, function: str, node: ast.Call, others: list[ast.expr], options: Mapping[Any, ast.expr]) -> Made:
        """Return how many columns a spline or a polynomial has: of what it learnt, else of what it is told."""
        order = {
            "poly": ("degree", "raw"),
            "bs": ("df", "knots", "degree", "include_intercept", "lower_bound", "upper_bound", "extrapolation"),
        }.get(function, ("df", "knots", "lower_bound", "upper_bound", "constraints", "extrapolation"))
        if len(others) > len(order):
            raise _harmful(node)
        given = {**dict(zip(order, others, strict=False)), **options}
        state = self._state(node)
        self._check_learnt(
            state, node, {"knots", "lower_bound", "upper_bound", "constraints", "cyclic", "alpha", "norms2"}
        )
        degree = self._size(given["degree"]) if "degree" in given else {"poly": 1, "bs": 3}.get(function, 0)
        if function == "poly":
            columns = degree
        else:
            knots = state.get("knots")
            inner = given.get("knots")
            told = self._size(given["df"]) if "df" in given and not _is_none(given["df"]) else None
            whole = self._truth(given["include_intercept"]) if "include_intercept" in given else False
            if function == "bs" and degree > _DEGREE:
                raise _harmful(node)
            if knots is not None and function == "bs":
                columns = len(knots) - degree - 1 - (not whole)
            elif knots is not None:
                constraints = state.get("constraints")
                columns = len(knots) - (function == "cc") - (0 if constraints is None else len(constraints))
            elif told is not None:
                columns = told
            else:
                columns = (0 if inner is None else self._length(inner)) + (degree + whole if function == "bs" else 2)
            if max(columns, len(knots or ())) > _LARGEST:
                raise _harmful(node)
            return Made(columns, spans=whole)
        if columns > _LARGEST:
            raise _harmful(node)
        return Made(columns)

    def _category(self, node: ast.Call, others: list[ast.expr], options: Mapping[Any, ast.expr]) -> Made:
        """Return what is known of a category: its levels come from the fit."""
        order = ("contrast", "levels")
        if len(others) > len(order) or not options.keys() <= {*order, "contrasts", "spans_intercept"}:
            raise _harmful(node)
        given = {**dict(zip(order, others, strict=False)), **options}
        contrast = given.pop("contrasts", given.pop("contrast", None))
        levels = self._length(given["levels"]) if "levels" in given and not _is_none(given["levels"]) else None
        if "spans_intercept" in given:
            self._truth(given["spans_intercept"])
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

    def _function(self, node: ast.expr) -> str | None:
        """Return the name of a function that may be called, such as np.log, whatever the file calls it; None of another node."""
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
        """Refuse what no transformation has learnt: matrices that spread over the rows."""
        if not state.keys() <= known:
            raise _harmful(node)
        for name, value in state.items():
            if isinstance(value, Mapping):
                if not all(_is_number(part) for part in value.values()):
                    raise _harmful(node)
            elif isinstance(value, list | tuple):
                if not all(_is_number(part) and np.ndim(part) == 0 for part in value):
                    raise _harmful(node)
            elif name == "constraints" and isinstance(value, np.ndarray):
                if value.ndim != 2 or max(value.shape) > _LARGEST or value.dtype.kind not in "biuf":
                    raise _harmful(node)
            elif not (value is None or isinstance(value, bool) or _is_number(value)):
                raise _harmful(node)

    def _option(self, node: ast.expr, depth: int) -> None:
        """Check what tells a transformation how: a number, a word, or a list of them."""
        if isinstance(node, ast.List | ast.Tuple):
            for part in node.elts:
                self._option(part, depth + 1)
        elif self.made(node, depth).is_column:
            raise _harmful(node)

    def _size(self, node: ast.expr) -> int:
        """Return the whole number that is written, or that one of the user's names stands for."""
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
        """Return how long a list is that is written, or that one of the user's names stands for."""
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
        text = "an expression in so many brackets"
    return HarmError(text[:200])


def _is_hidden(option: str | None) -> bool:
    return option is None or option.startswith("_") or option == "out"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_word(node: ast.expr) -> bool:
    """Tell whether a node is a word, or may be a column of words."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 0


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number of 64 bits, or a vector of them."""
    if isinstance(value, np.ndarray):
        return value.ndim <= 1 and value.dtype.kind in "biuf"
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= _BITS)
