"""Expressions of Python in a formula: how they are spelled, which names they use, and what they are worth.

formulaic evaluates the head of each call once more, while it looks for names, before anything is checked, and patsy looks names up in
columns first. Here names are read off the text, and nothing is evaluated but the whole expression, once.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from inspect import ismodule
from typing import TYPE_CHECKING, Any

from betahat.lazy import lazily

if TYPE_CHECKING:
    import patsy
    from patsy import tokens
else:
    patsy = lazily("patsy")
    tokens = lazily("patsy.tokens")

_READ = "_read"
_STRING = r"(?i:[rbuf]{0,2})(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
_QUOTED = re.compile(rf"{_STRING}|`([^`]*)`")


class ReasonError(Exception):
    """Why an expression cannot be read or evaluated; who knows the whole formula makes a sentence of it."""


@dataclass(frozen=True)
class Scope:
    """Where the names of an expression are looked up.

    Attributes
    ----------
    columns : mapping
        The data's columns, by their names.
    context : mapping
        The caller's variables.
    functions : mapping
        The transformations that every formula knows.
    """

    columns: Mapping[str, Any]
    context: Mapping[str, Any]
    functions: Mapping[str, Any]

    def find(self, name: str, use: str) -> Any:
        """Return what a name stands for: a column, the caller's, a transformation's or Python's own.

        A name that is called is none of a column or a number, and one before a dot is a module if there is such a module.

        Raises
        ------
        ReasonError
            Nobody has the name.
        """
        layers = [self.columns, self.context, self.functions, vars(builtins)]
        found = [layer[name] for layer in layers if name in layer]
        if not found:
            raise ReasonError(f"{name!r} is neither in the data nor one of the caller's variables")
        match use:
            case "called":
                return next((value for value in found if callable(value)), found[0])
            case "root":
                others = [layer[name] for layer in layers[1:3] if name in layer]
                return next((value for value in others if ismodule(value) or isinstance(value, type)), found[0])
        return found[0]


def unquoted(code: str) -> tuple[str, dict[str, str]]:
    """Put an identifier in the place of each name in backticks; return the code and the names by their identifiers."""
    aliases: dict[str, str] = {}

    def identifier(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        alias = name
        if not is_plain(name):
            alias = re.sub(r"\W", "_", name)
            alias = f"_{alias}" if not alias or alias[0].isdigit() or keyword.iskeyword(alias) else alias
            while aliases.get(alias, name) != name or re.search(rf"(?<!\w){alias}(?!\w)", code):
                alias += "_"
        aliases[alias] = name
        return f" {alias} "

    return _QUOTED.sub(identifier, code).strip(), aliases


def is_plain(name: str) -> bool:
    """Tell whether a name needs no backticks."""
    return name.isidentifier() and not keyword.iskeyword(name)


def bare(name: str) -> str:
    """Return a name without the backticks around it."""
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == "`" else name


def spelled(code: str) -> str:
    """Spell an expression as patsy does: its own words and quotation marks, and blanks in their places.

    Raises
    ------
    ReasonError
        It is no expression of Python.
    """
    plain, aliases = unquoted(code)
    parsed(plain)
    try:
        pieces = [(kind, _quoted(text, aliases)) for kind, text, _ in tokens.python_tokenize(plain)]
    except patsy.PatsyError as error:
        raise ReasonError(f"{code!r} is no expression of Python") from error
    return str(tokens.pretty_untokenize(pieces))


def _quoted(text: str, aliases: Mapping[str, str]) -> str:
    name = aliases.get(text, text)
    return name if name == text else f"`{name}`"


def parsed(plain: str) -> ast.Expression:
    """Parse an expression without backticks.

    Raises
    ------
    ReasonError
        It is no expression of Python.
    """
    try:
        return ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error).partition(" (<")[0]
        raise ReasonError(f"{plain[:200]!r} is no expression of Python ({reason})") from error


def names_in(code: str) -> set[str]:
    """Return the names that an expression looks up, those in Q("...") among them; nothing is evaluated."""
    plain, aliases = unquoted(code)
    tree = parsed(plain)
    names = {aliases.get(node.id, node.id) for node, _ in _uses(tree)}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Q"), args=[ast.Constant(value=str(name))]):
                names.add(name)
    return names


def values_in(code: str) -> set[str]:
    """Return the names that stand for values in an expression, neither called nor before a dot."""
    plain, aliases = unquoted(code)
    return {aliases.get(node.id, node.id) for node, use in _uses(parsed(plain)) if use == "value"}


def value_of(
    code: str, scope: Scope, state: MutableMapping[str, Any], spec: Any, read: Callable[[Any], Any]
) -> tuple[Any, set[str]]:
    """Evaluate an expression.

    Parameters
    ----------
    code : str
        The expression.
    scope : Scope
        Where names are looked up.
    state : mapping
        What transformations have learnt, by their calls; they learn what is not there yet.
    spec : formulaic.ModelSpec
        For the transformations.
    read : callable
        How a vector enters, of the data, the caller or an intermediate step.

    Returns
    -------
    value : object
        A column, several, or a number.
    columns : set of str
        The names of the columns that it uses.
    """
    plain, aliases = unquoted(code)
    tree = parsed(plain)
    calls = [(key_of(node, aliases), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found: dict[str, Any] = {"__builtins__": {}, _READ: read}
    used = set()
    for node, use in list(_uses(tree)):
        name = aliases.get(node.id, node.id)
        value = scope.find(name, use)
        if name in scope.columns and value is scope.columns[name]:
            used.add(name)
        node.id = f"_{use}_{node.id}"
        found[node.id] = read(value)
    for place, (key, call) in enumerate(calls):
        if getattr(_head(call.func, found), "__is_stateful_transform__", False):
            given = {"_state": state.setdefault(key, {}), "_context": scope, "_metadata": None, "_spec": spec}
            for option, value in given.items():
                found[f"{option}_{place}"] = value
                call.keywords.append(ast.keyword(option, ast.Name(f"{option}_{place}", ast.Load())))
    code_of = compile(ast.fix_missing_locations(_Reader().visit(tree)), "<formula>", "eval")
    return eval(code_of, found), used


class _Reader(ast.NodeTransformer):
    """Has what a call, an attribute or an item is read."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Have a node read, after those in it."""
        ast.NodeTransformer.generic_visit(self, node)
        if isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
            return ast.Call(ast.Name(_READ, ast.Load()), [node], [])
        return node


def former_keys(code: str) -> dict[str, str]:
    """Return the keys of an expression's calls by those in files of before, where names in backticks had lost these."""
    plain, aliases = unquoted(code)
    calls = [node for node in ast.walk(parsed(plain)) if isinstance(node, ast.Call)]
    return {key_of(node, {}): key_of(node, aliases) for node in calls}


def key_of(call: ast.Call, aliases: Mapping[str, str]) -> str:
    """Return the key under which a call keeps what it has learnt."""
    text = ast.unparse(call).replace("\n", " ")
    for alias, name in aliases.items():
        if alias != name:
            text = f"`{name}`".join(re.split(rf"\b{alias}\b", text))
    return text


def _uses(tree: ast.AST) -> Iterator[tuple[ast.Name, str]]:
    """Return the names that are looked up, and whether they are called, stand before a dot, or are a value."""
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    heads = {id(node.func): "called" for node in ast.walk(tree) if isinstance(node, ast.Call)}
    roots = {id(node.value): "root" for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in own:
            yield node, heads.get(id(node)) or roots.get(id(node)) or "value"


def _head(node: ast.expr, found: Mapping[str, Any]) -> Any:
    """Return what is called, where that is a name, or a name in a module."""
    match node:
        case ast.Name():
            return found.get(node.id)
        case ast.Attribute(value=ast.Name(id=root)) if ismodule(found.get(root)):
            return getattr(found[root], node.attr, None)
    return None
