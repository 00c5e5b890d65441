"""The grammar of formulas: formulaic's operators, between expressions that are read as patsy reads them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, MutableMapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from formulaic.parser import DefaultFormulaParser, DefaultOperatorResolver
from formulaic.parser.types import Operator, OrderedSet, Term, Token
from formulaic.parser.utils import insert_tokens_after, merge_operator_tokens, replace_tokens

from betahat.data.formulas.expressions import ReasonError, bare, is_plain, spelled
from betahat.errors import shown

_PIECES = re.compile(
    r"""(?P<space>\s+)
      | (?P<operator>%in%|\*\*|(?!//)[~|+\-*/:^])
      | (?P<string>(?i:[rbuf]{0,2})(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
      | (?P<name>`[^`]+`|[^\W\d][\w.]*)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<other>//|[^"'`])""",
    re.VERBOSE,
)
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}
_ONE = Token("1", kind="value")
_PLUS, _MINUS = Token("+", kind="operator"), Token("-", kind="operator")


class _Operators(DefaultOperatorResolver):  # type: ignore[misc]
    """formulaic's operators, with a power that costs no more than it produces: formulaic's enumerates all products of as many terms."""

    @property
    def operators(self) -> list[Operator]:
        """Return the operators."""
        return [
            Operator(known.symbol, arity=2, precedence=known.precedence, associativity="right", to_terms=_power)
            if known.symbol in ("**", "^")
            else known
            for known in DefaultOperatorResolver.operators.fget(self)
        ]


def _power(terms: OrderedSet[Term], exponent: OrderedSet[Term]) -> OrderedSet[Term]:
    """Return the products of up to `exponent` terms, stopping as soon as another factor adds no new product."""
    written = ":".join(factor.expr for term in exponent for factor in term.factors)
    if not re.fullmatch("0*[1-9][0-9]*", written):
        raise ReasonError(f"the exponent {shown(written)} is not a positive whole number")
    products, degree = terms, 1
    while degree < int(written):
        grown = OrderedSet(product * term for product in products for term in terms)
        if list(grown) == list(products):
            break
        products, degree = grown, degree + 1
    return products


class Parser(DefaultFormulaParser):  # type: ignore[misc]
    """formulaic's parser, in which whatever stands between two operators is one Python expression."""

    def __init__(self) -> None:
        DefaultFormulaParser.__init__(self, operator_resolver=_Operators())
        self._tokens: dict[str, list[Token]] = {}

    def get_tokens_from_formula(self, formula: str, *, context: MutableMapping[str, Any]) -> list[Token]:
        """Split a formula into tokens, adding the implicit constant."""
        context["__formulaic_variables_used_lhs__"] = []
        if formula in self._tokens:
            return [copy(token) for token in self._tokens[formula]]
        tokens = replace_tokens(_tokens(formula), "0", [_MINUS, _ONE], kind=Token.Kind.VALUE)
        tokens = insert_tokens_after(
            tokens, "~", [_ONE], kind=Token.Kind.OPERATOR, join_operator="+", no_join_for_operators={"+", "-"}
        )
        self._tokens[formula] = list(merge_operator_tokens(tokens, symbols={"+", "-"}))
        return [copy(token) for token in self._tokens[formula]]


@dataclass(frozen=True)
class _Piece:
    kind: str
    text: str
    start: int

    @property
    def ends_operand(self) -> bool:
        return self.kind in ("string", "number", "close") or (self.kind == "name" and not keyword.iskeyword(self.text))

    @property
    def begins_operand(self) -> bool:
        return self.kind in ("string", "number") or (self.kind == "name" and not keyword.iskeyword(self.text))


def pieces(formula: str) -> list[_Piece]:
    """Split a formula into names, numbers, strings, operators and brackets."""
    found, place = [], 0
    while place < len(formula):
        match = _PIECES.match(formula, place)
        if match is None:
            raise ReasonError("a quotation mark or a backtick is not closed")
        if match.lastgroup != "space":
            found.append(_Piece(str(match.lastgroup), match[0], place))
        place = match.end()
    return found


def _tokens(formula: str) -> Iterator[Token]:
    operand: list[_Piece] = []
    closers: list[str] = []  # of brackets within the operand
    for piece in pieces(formula):
        if closers:
            operand.append(piece)
            if piece.kind == "open":
                closers.append(_CLOSED_BY[piece.text])
            elif piece.kind == "close" and piece.text != closers.pop():
                raise ReasonError(f"a bracket is closed by one of another kind, {piece.text!r}")
        elif piece.kind in ("operator", "close") or (piece.text == "(" and not operand):
            yield from _operand(formula, operand)
            operand = []
            kind = "operator" if piece.kind == "operator" else "context"
            yield _token(piece.text.strip("%"), kind, formula, piece.start, piece.start + len(piece.text))
        else:
            if operand and operand[-1].ends_operand and piece.begins_operand:
                raise ReasonError(f"there is no operator between {operand[-1].text!r} and {piece.text!r}")
            operand.append(piece)
            if piece.kind == "open":
                closers.append(_CLOSED_BY[piece.text])
    if closers:
        raise ReasonError(f"a bracket is not closed: {closers[-1]!r} is missing")
    yield from _operand(formula, operand)


def _operand(formula: str, pieces: list[_Piece]) -> Iterator[Token]:
    if not pieces:
        return
    first, last = pieces[0], pieces[-1]
    start, stop = first.start, last.start + len(last.text)
    text = formula[start:stop]
    if len(pieces) > 1:
        if first.text == "{" and last.text == "}":
            text = text[1:-1]
        if first.text == "i":
            text = _with_categories(text, pieces)
        yield _token(spelled(text), "python", formula, start, stop)
    elif first.kind == "name":
        # A name that needs quoting stays quoted: otherwise `1` would be the constant, and `a:b` the product of a and b.
        yield _token(bare(text) if is_plain(bare(text)) else text, "name", formula, start, stop)
    elif text == ".":
        yield _token(text, "operator", formula, start, stop)
    elif first.kind in ("number", "string"):
        yield _token(text, "value", formula, start, stop)
    else:
        raise ReasonError(f"{shown(text)} is not a name, a number or an operator")


def _with_categories(text: str, pieces: list[_Piece]) -> str:
    """Return a call of `i` in which fixest's prefix i., as in i(cohort, i.year), is C(year)."""
    start = pieces[0].start
    for piece in reversed(pieces):
        if piece.kind == "name" and piece.text.startswith("i."):
            place = piece.start - start
            text = f"{text[:place]}C({piece.text[2:]}){text[place + len(piece.text) :]}"
    return text


def _token(text: str, kind: str, formula: str, start: int, stop: int) -> Token:
    return Token(text, kind=kind, source=formula, source_start=start, source_end=stop - 1)
