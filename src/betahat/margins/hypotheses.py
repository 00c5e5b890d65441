"""Hypotheses about margins: differences and ratios of them, equations, and functions of the user's."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.arrays import read_columns
from betahat.data.handed_out import outside
from betahat.errors import EstimationError, OptionError, is_number, listed, shown
from betahat.lazy import lazily
from betahat.margins.labels import ROW

if TYPE_CHECKING:
    import pandas as pd

    from betahat.margins.estimates import MarginResults
else:
    pd = lazily("pandas")

_PLACE = re.compile(r"b(\d+)")
_REMEDY = "write it as 'b0 = b1', '2*b0 + b1 = 1' or with names, those that are no words in backticks"
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
}

# What is compared with what, by places: (places, places) whose means are compared, and "" or the name of the second.
_Pair = tuple[list[int], list[int], str]
_Pairs = Callable[[int], list[_Pair]]


def _one(first: int, second: int) -> _Pair:
    return [first], [second], ""


_CONTRASTS: dict[str, _Pairs] = {
    "pairwise": lambda m: [_one(i, j) for i in range(m) for j in range(i)],
    "revpairwise": lambda m: [_one(i, j) for i in range(m) for j in range(i + 1, m)],
    "reference": lambda m: [_one(i, 0) for i in range(1, m)],
    "revreference": lambda m: [_one(0, i) for i in range(1, m)],
    "sequential": lambda m: [_one(i, i - 1) for i in range(1, m)],
    "revsequential": lambda m: [_one(i - 1, i) for i in range(1, m)],
    "meandev": lambda m: [([i], list(range(m)), "Mean") for i in range(m)],
    "meanotherdev": lambda m: [([i], [j for j in range(m) if j != i], "Mean (other)") for i in range(m)],
}
_SIDES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str, float]] = {
    "difference": (operator.sub, "-", 0.0),
    "ratio": (operator.truediv, "/", 1.0),
}


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """Functions of margins and what they are in the null.

    Attributes
    ----------
    function : callable
        (m,) numbers -> (h,).
    labels : pandas.DataFrame
        (h, ...) with "term".
    null : float
    """

    function: Callable[[Tensor], Tensor]
    labels: pd.DataFrame
    null: float = 0.0


def tested(margins: MarginResults, hypothesis: Any) -> MarginResults:
    """Return what a hypothesis asks of margins: functions of them, or the same numbers against another null."""
    if hypothesis is None:
        return margins
    if is_number(hypothesis):
        return margins.against(float(hypothesis))
    read = _read(margins, hypothesis)
    return margins.combined(read.function, read.labels).against(read.null)


def _read(margins: MarginResults, hypothesis: Any) -> Hypothesis:
    if isinstance(hypothesis, str):
        return _of_text(margins, hypothesis)
    if isinstance(hypothesis, Tensor | np.ndarray):
        return _of_matrix(margins, hypothesis)
    if callable(hypothesis):
        return _of_function(margins, hypothesis)
    if isinstance(hypothesis, list | tuple) and hypothesis and all(isinstance(each, str) for each in hypothesis):
        return _joined([_of_text(margins, each) for each in hypothesis])
    raise OptionError(
        f"hypothesis is {shown(hypothesis)}; pass a number, a string such as 'b0 = b1' or 'ratio ~ reference', a list of strings, a matrix, or a function."
    )


def _of_text(margins: MarginResults, text: str) -> Hypothesis:
    if "~" in text:
        return _of_formula(margins, text)
    if text.strip() in _CONTRASTS:
        return _of_formula(margins, f"difference ~ {text}")
    function = _equation(text, margins.names)
    function(margins.estimates)  # whose sentences come before any work
    return Hypothesis(lambda values: function(values).reshape(1), pd.DataFrame({"term": ["".join(text.split())]}))


def _joined(each: Sequence[Hypothesis]) -> Hypothesis:
    """Return several hypotheses as one; the null is theirs where they share one, otherwise zero."""
    nulls = {one.null for one in each}
    labels = pd.concat([one.labels for one in each], ignore_index=True)
    null = nulls.pop() if len(nulls) == 1 else 0.0
    return Hypothesis(lambda values: torch.cat([one.function(values) for one in each]), labels, null)


# contrasts


def _of_formula(margins: MarginResults, text: str) -> Hypothesis:
    """Return differences or ratios of margins, within the values of some labels where these stand after a bar."""
    left, _, right = text.partition("~")
    kind, _, columns = right.partition("|")
    side, kind = left.strip() or "difference", kind.strip()
    names = [name.strip() for name in columns.split("+") if name.strip()]
    if side not in _SIDES or kind not in _CONTRASTS:
        raise OptionError(
            f"hypothesis is {shown(text)}; write 'difference' or 'ratio', a ~, and one of {listed(_CONTRASTS)}, such as 'ratio ~ reference'."
        )
    unknown = [name for name in names if name not in margins.labels.columns]
    if unknown:
        raise OptionError(
            f"hypothesis groups by {shown(unknown[0])}, which is not a label of the numbers; these are {listed(margins.labels.columns)}."
        )
    compared, sign, null = _SIDES[side]
    labels = margins.labels
    groups: list[tuple[dict[str, Any], list[int]]] = [({}, list(range(len(labels))))]
    if names:
        grouped = labels.groupby(names, sort=False, observed=True, dropna=False).indices
        groups = [
            (dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True)), sorted(map(int, rows)))
            for key, rows in grouped.items()
        ]
    pairs, made = [], []
    for values, rows in groups:
        own = _within(margins, rows, names)
        for first, second, said in _CONTRASTS[kind](len(rows)):
            other = said or f"({own[second[0]]})"
            made.append({**values, "term": f"({own[first[0]]}) {sign} {other}"})
            pairs.append(([rows[i] for i in first], [rows[i] for i in second]))
    if not pairs:
        raise OptionError(
            f"hypothesis is {shown(text)}, but there is one number alone; take margins of several, such as by='group'."
        )

    def function(values: Tensor) -> Tensor:
        return torch.stack([compared(values[first].mean(), values[second].mean()) for first, second in pairs])

    return Hypothesis(function, pd.DataFrame(made), null)


def _within(margins: MarginResults, rows: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return what numbers of one group are called in it: their labels that differ."""
    labels = margins.labels.iloc[list(rows)].drop(columns=list(names))
    differing = [name for name in labels.columns if len(labels[name].unique()) > 1]
    if differing and differing[0] == ROW and len(differing) > 1:
        differing = differing[1:]  # the values that the user chose
    if not differing:
        return [margins.names[row] for row in rows]
    return [", ".join(map(str, row)) for row in labels[differing].itertuples(index=False)]


# equations


def _equation(text: str, names: Sequence[str]) -> Callable[[Tensor], Tensor]:
    """Return the left side of an equation less its right one as a function of (m,) numbers."""
    quoted: dict[str, str] = {}

    def placeholder(match: re.Match[str]) -> str:
        quoted[f"_quoted{len(quoted)}"] = match[1]
        return f"_quoted{len(quoted) - 1}"

    plain = re.sub(r"`([^`]*)`", placeholder, text)
    sides = re.split(r"==?", plain)
    if len(sides) > 2:
        raise OptionError(f"hypothesis is {shown(text)}, which has several equals signs; pass a list of equations.")
    try:
        trees = [ast.parse(side.strip(), mode="eval").body for side in sides]
    except SyntaxError:
        raise OptionError(f"hypothesis is {shown(text)}, which cannot be read; {_REMEDY}.") from None

    def value(node: ast.expr, values: Tensor) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return values[_place(quoted.get(name, name), name in quoted, names, text)]
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -value(inner, values)
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return value(inner, values)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left, values), value(right, values))
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="np"), attr=name), args=[inner]) if (
                name in _FUNCTIONS
            ):
                return _FUNCTIONS[name](torch.as_tensor(value(inner, values), dtype=values.dtype))
        raise OptionError(f"hypothesis is {shown(text)}, of which {ast.unparse(node)!r} cannot be computed; {_REMEDY}.")

    def function(values: Tensor) -> Tensor:
        first, *second = (value(tree, values) for tree in trees)
        return torch.as_tensor(first - second[0] if second else first, dtype=values.dtype)

    return function


def _place(name: str, quoted: bool, names: Sequence[str], text: str) -> int:
    """Return the place of a number by its name, or by b0, b1, ..."""
    if names.count(name) == 1:
        return names.index(name)
    match = None if quoted else _PLACE.fullmatch(name)
    if match is None:
        raise OptionError(
            f"hypothesis is {shown(text)}, but {shown(name)} is the name of no number, or of several; use b0, b1, ... by their places, or one of {listed(names)}."
        )
    place = int(match[1])
    if place >= len(names):
        raise OptionError(f"hypothesis is {shown(text)}, but there are {len(names)} numbers, b0 to b{len(names) - 1}.")
    return place


# matrices and functions


def _of_matrix(margins: MarginResults, matrix: Any) -> Hypothesis:
    """Return linear combinations of margins: one for a vector, one for each column of a matrix."""
    weights = read_columns(matrix, "hypothesis", margins.estimates.device, None).values.to(margins.estimates)
    weights = weights[:, None] if weights.ndim == 1 else weights
    if weights.ndim != 2 or len(weights) != len(margins.estimates) or not weights.shape[1]:
        raise OptionError(
            f"hypothesis has shape {tuple(weights.shape)} for {len(margins.estimates)} numbers; pass a row for each, and a column for each combination."
        )
    labels = pd.DataFrame({"term": [f"H{i + 1}" for i in range(weights.shape[1])]})
    return Hypothesis(lambda values: values @ weights, labels)


def _of_function(margins: MarginResults, function: Callable[[Tensor], Any]) -> Hypothesis:
    """Return what a user's function makes of margins."""
    remedy = "write it with torch operations on the vector of numbers, such as lambda b: b[1] / b[0]"

    def of(values: Tensor) -> Tensor:
        try:
            found = outside(function, values)
            found = torch.stack([torch.as_tensor(each) for each in found]) if isinstance(found, list | tuple) else found
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            raise EstimationError(
                f"The hypothesis cannot be computed ({str(error).splitlines()[0]}); {remedy}."
            ) from error
        if not isinstance(found, Tensor) or found.ndim > 1 or not found.numel():
            raise EstimationError(f"The hypothesis returned {shown(found)} instead of numbers; {remedy}.")
        return found.reshape(-1).to(values.dtype)

    count = len(of(margins.estimates))
    labels = pd.DataFrame({"term": ["custom"] if count == 1 else [f"custom {i + 1}" for i in range(count)]})
    return Hypothesis(of, labels)
