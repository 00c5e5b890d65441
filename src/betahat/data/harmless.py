"""Which expressions of a formula that came from a file may be evaluated: those that plainly compute with columns and numbers."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulaic.utils.code import sanitize_variable_names

# How many arguments each of NumPy's functions takes before one is what it writes into.
_ARGUMENTS = {
    **{f"np.{name}": f.nin for name in dir(np) if isinstance(f := getattr(np, name), np.ufunc) and f.nout == 1},
    **{"np.where": 3, "np.clip": 3, "np.round": 2},
}
_WHERE = "np.where"
_OPTIONS = frozenset({"decimals", "a_min", "a_max", "min", "max"})
_LOGARITHMS = frozenset({"log", "log10", "log2", "exp", "exp2"})
_BASES = frozenset({"bs", "cc", "cr", "cs", "poly"})
_CODINGS = frozenset({"Treatment", "Poly", "Sum", "Helmert", "Diff"}) | {
    f"contr.{name}" for name in ("helmert", "poly", "sum", "treatment", "SAS", "diff")
}
_KNOWN = _BASES | _CODINGS | _ARGUMENTS.keys() | {"I", "C", "Q", "center", "lag", "scale", "standardize", "exp10"}
_SYNTAX = (
    *(ast.Expression, ast.Call, ast.Name, ast.Attribute, ast.Constant, ast.keyword, ast.Load, ast.List, ast.Tuple),
    *(ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator, ast.UAdd, ast.USub, ast.Invert),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)
# formulaic puts the words of a call into a string of code, out of which a quotation mark might break.
_WORDS = re.compile(r"[^'\"\\`{}\x00-\x1f]*")
_LARGEST_BASIS, _LONGEST = 1000, 10_000
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

    def quoted(self, aliases: Mapping[str, str]) -> Names:
        """Return the names with others for columns that are no identifiers."""
        columns = {alias for alias, name in aliases.items() if name in self.columns}
        numbers = {alias for alias, name in aliases.items() if name in self.numbers}
        return Names(self.columns | columns, self.numbers | numbers, self.context, self.functions, self.lost)

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


def harm(expression: str, names: Names) -> str | None:
    """Return the part of an expression that is not known to be harmless; None where there is none.

    Parameters
    ----------
    expression : str
        A factor of a formula.
    names : Names
        What it may name.

    Notes
    -----
    What is known: columns, numbers and words; arithmetic and comparison; functions of NumPy's of each number; formulaic's
    transformations. Arithmetic is of numbers of 64 bits alone: words, lists and Python's own integers times a number fill a memory.
    """
    if len(expression) > _LONGEST or re.search(r"[\n\r\\#]", expression):
        return expression[:100]
    aliases: dict[str, str] = {}
    plain = sanitize_variable_names(expression, dict.fromkeys(names.columns), aliases)
    try:
        tree = ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return expression[:100]
    names = names.quoted(aliases)
    modules = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if id(node) not in modules and not (isinstance(node, _SYNTAX) and _is_harmless(node, names)):
            return _text(node) or expression
    return None


def _text(node: ast.AST) -> str | None:
    try:
        return ast.unparse(node) if isinstance(node, ast.expr) else None
    except RecursionError:
        return None


def _is_harmless(node: ast.AST, names: Names) -> bool:
    """Tell whether a node is one of a computation, its children aside."""
    match node:
        case ast.Name() | ast.Attribute():
            is_value = isinstance(node, ast.Name) and names.is_value(node.id)
            return is_value or _function(node, names) is not None
        case ast.Call():
            return _may_call(node, names)
        case ast.keyword():
            return node.arg is not None and not node.arg.startswith("_") and node.arg != "out"
        case ast.Constant():
            return _is_plain(node.value)
        case ast.BinOp():
            return _may_compute(node, names)
    return True


def _function(node: ast.expr, names: Names) -> str | None:
    """Return the name of a function that may be called, such as np.log, whatever the file calls it; None of another node."""
    root = node.value if isinstance(node, ast.Attribute) else node
    if not isinstance(root, ast.Name) or root.id in names.lost or root.id in names.context:
        return None
    name = root.id
    if isinstance(node, ast.Attribute):
        name = f"{'np' if name in MODULES else name}.{node.attr}"
    elif name in names.functions or name in _LOGARITHMS:
        name = f"np.{names.functions.get(name, name)}"
    return name if name in _KNOWN else None


def _may_call(node: ast.Call, names: Names) -> bool:
    """Tell whether a function is known, and gets what it can take without harm."""
    function = _function(node.func, names)
    if function is None:
        return False
    if function in _ARGUMENTS:
        given = [*node.args, *(option.value for option in node.keywords)]
        takes = all(_is_numeric(part, names) or (function == _WHERE and _is_word(part, names)) for part in given)
        return takes and len(node.args) <= _ARGUMENTS[function] and all(part.arg in _OPTIONS for part in node.keywords)
    if function in _BASES:
        sizes = [*node.args[1:], *(option.value for option in node.keywords if option.arg in ("df", "degree"))]
        return all(_size(part, names) <= _LARGEST_BASIS for part in sizes)
    return function != "exp10" or all(_is_numeric(part, names) for part in node.args)


def _may_compute(node: ast.BinOp, names: Names) -> bool:
    """Tell whether numbers of 64 bits meet, and give one."""
    if not (_is_numeric(node.left, names) and _is_numeric(node.right, names)):
        return False
    if any(isinstance(part, ast.Name) and part.id in names.columns for part in ast.walk(node)):
        return True  # so that the numbers are NumPy's
    bits = sum(_size(part, names).bit_length() for part in ast.walk(node))
    return bits <= _BITS and not isinstance(node.op, ast.Pow | ast.LShift)


def _is_numeric(node: ast.expr, names: Names) -> bool:
    """Tell whether the value of a node is a number, or a column of them."""
    match node:
        case ast.Constant():
            return _is_number(node.value)
        case ast.Name():
            return node.id in names.numbers
        case ast.Call(func=ast.Name(id="Q"), args=[ast.Constant(value=str(name))]):
            return name in names.numbers
        case ast.Call(args=[first, *others]):
            function = _function(node.func, names)
            chosen = others if function == _WHERE else [first]
            return function is not None and function not in _CODINGS and all(_is_numeric(a, names) for a in chosen)
    return isinstance(node, ast.BinOp | ast.UnaryOp | ast.Compare)


def _is_word(node: ast.expr, names: Names) -> bool:
    """Tell whether a node is a word, or a column."""
    if isinstance(node, ast.Name):
        return node.id in names.columns
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _size(node: ast.AST, names: Names) -> int:
    """Return the whole number that a node stands for; 0 of what is none."""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(node, ast.Name) and node.id not in names.columns:
        value = names.context.get(node.id)
    return value if isinstance(value, int) else 0


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number of 64 bits, or a vector of them."""
    if isinstance(value, np.ndarray):
        return value.ndim <= 1 and value.dtype.kind in "biuf"
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= _BITS)


def _is_plain(value: Any) -> bool:
    """Tell whether a constant is a number, or a word that stays one."""
    if isinstance(value, str):
        return _WORDS.fullmatch(value) is not None
    return value is None or (_is_number(value) and math.isfinite(value))
