"""Python expressions in a formula: how they are spelled, which names they use, and their values.

In search of names, formulaic evaluates the head of each call before anything has been checked, and patsy looks names up among the columns
first. Here names are read from the text, and nothing but the whole expression is evaluated, once.
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
_GIVEN = "__is_given__"
_STRING = r"(?i:[rbuf]{0,2})(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
_QUOTED = re.compile(rf"{_STRING}|`([^`]*)`")


def given(*hidden: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let formulas give a function more than its arguments: `_spelled`, how these are written, `_state`, what the call has learnt, `_scope`, where names are found."""

    def marked(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _GIVEN, hidden)
        return function

    return marked


class ReasonError(Exception):
    """Why an expression cannot be read or evaluated, and what to do; the caller, who knows the whole formula, turns it into a sentence."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        Exception.__init__(self, reason)
        self.remedy = remedy


class Pending(Exception):  # noqa: N818  # it is no error
    """A value that cannot be known before a call has learnt of all rows."""


@dataclass(frozen=True)
class Scope:
    """Where the names of an expression are looked up."""

    columns: Mapping[str, Any]  # of the data, by name
    context: Mapping[str, Any]  # variables of the caller
    functions: Mapping[str, Any]  # the transformations that every formula knows
    # given a call that learns, its function, and whether it is the whole expression, returns what is called instead
    instead: Callable[[str, Callable[..., Any], bool], Callable[..., Any]] | None = None

    def find(self, name: str, use: str) -> Any:
        """Return what a name stands for: a column, a variable of the caller, a transformation, or a Python builtin.

        For a name that is called, the first of them that is callable is taken; for a name before a dot, a module or class if there is one.
        """
        layers = [self.columns, self.context, self.functions, vars(builtins)]
        meanings = [layer[name] for layer in layers if name in layer]
        if not meanings:
            raise ReasonError(f"{name!r} is neither in the data nor one of the caller's variables")
        match use:
            case "called":
                return next((value for value in meanings if callable(value)), meanings[0])
            case "root":
                others = [layer[name] for layer in layers[1:3] if name in layer]
                return next((value for value in others if ismodule(value) or isinstance(value, type)), meanings[0])
        return meanings[0]


def unquoted(code: str) -> tuple[str, dict[str, str]]:
    """Replace each name in backticks by an identifier; return the code, and the names by their identifiers."""
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
    """Tell whether a name can be written without backticks."""
    return name.isidentifier() and not keyword.iskeyword(name)


def bare(name: str) -> str:
    """Return a name without surrounding backticks."""
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == "`" else name


def spelled(code: str) -> str:
    """Return an expression as patsy prints it, with its own spacing, in which words and quotation marks are kept."""
    plain, aliases = unquoted(code)
    parsed(plain)
    try:
        pieces = [(kind, _quoted(text, aliases)) for kind, text, _ in tokens.python_tokenize(plain)]
    except patsy.PatsyError as error:
        raise ReasonError(f"{code!r} is not a Python expression") from error
    return str(tokens.pretty_untokenize(pieces))


def _quoted(text: str, aliases: Mapping[str, str]) -> str:
    name = aliases.get(text, text)
    return name if name == text else f"`{name}`"


def parsed(plain: str) -> ast.Expression:
    """Parse an expression without backticks."""
    try:
        return ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error).partition(" (<")[0].partition(". ")[0]
        raise ReasonError(f"{plain[:200]!r} is not a Python expression ({reason})") from error


def names_in(code: str) -> set[str]:
    """Return the names that an expression looks up, including those in Q("..."), without evaluating anything."""
    plain, aliases = unquoted(code)
    tree = parsed(plain)
    names = {aliases.get(node.id, node.id) for node, _ in _uses(tree)}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Q"), args=[ast.Constant(value=str(name))]):
                names.add(name)
    return names


def values_in(code: str) -> set[str]:
    """Return the names that stand for values in an expression: neither called nor before a dot."""
    plain, aliases = unquoted(code)
    return {aliases.get(node.id, node.id) for node, use in _uses(parsed(plain)) if use == "value"}


def value_of(
    code: str, scope: Scope, state: MutableMapping[str, Any], spec: Any, read: Callable[[Any], Any]
) -> tuple[Any, set[str]]:
    """Evaluate an expression; return its value and the names of the columns that it uses.

    Transformations keep what they learn from the data in `state`, by call, and are passed `spec`, formulaic's ModelSpec. `read` converts each
    vector that enters, from the data, from the caller or from an intermediate step.
    """
    plain, aliases = unquoted(code)
    tree = parsed(plain)
    calls = [(key_of(node, aliases), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    spellings = [_spelled(call, aliases, scope) for _, call in calls]
    variables: dict[str, Any] = {"__builtins__": {}, _READ: read}
    used = set()
    for node, use in list(_uses(tree)):
        name = aliases.get(node.id, node.id)
        value = scope.find(name, use)
        if name in scope.columns and value is scope.columns[name]:
            used.add(name)
        node.id = f"_{use}_{node.id}"
        variables[node.id] = read(value)
    for place, (key, call) in enumerate(calls):
        head = _head(call.func, variables)
        if getattr(head, "__is_stateful_transform__", False):
            if scope.instead is not None:
                variables[f"instead_{place}"] = scope.instead(key, head, call is tree.body)
                call.func = ast.Name(f"instead_{place}", ast.Load())
            options = {"_state": state.setdefault(key, {}), "_context": scope, "_metadata": None, "_spec": spec}
            for option, value in options.items():
                variables[f"{option}_{place}"] = value
                call.keywords.append(ast.keyword(option, ast.Name(f"{option}_{place}", ast.Load())))
        for option in getattr(head, _GIVEN, ()):
            known = {"_scope": scope, "_spelled": spellings[place]}
            variables[f"{option}_{place}"] = state.setdefault(key, {}) if option == "_state" else known[option]
            call.keywords.append(ast.keyword(option, ast.Name(f"{option}_{place}", ast.Load())))
    code_of = compile(ast.fix_missing_locations(_Reader().visit(tree)), "<formula>", "eval")
    return eval(code_of, variables), used


class _Reader(ast.NodeTransformer):
    """Wraps each call, attribute and item of an expression in a call of `read`."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Wrap a node, after the nodes inside it."""
        ast.NodeTransformer.generic_visit(self, node)
        if isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
            return ast.Call(ast.Name(_READ, ast.Load()), [node], [])
        return node


def former_keys(code: str) -> dict[str, str]:
    """Return the keys of an expression's calls by the keys of older files, in which names in backticks had lost them."""
    plain, aliases = unquoted(code)
    calls = [node for node in ast.walk(parsed(plain)) if isinstance(node, ast.Call)]
    return {key_of(node, {}): key_of(node, aliases) for node in calls}


def key_of(call: ast.expr, aliases: Mapping[str, str]) -> str:
    """Return the key under which a call keeps what it has learnt."""
    text = ast.unparse(call).replace("\n", " ")
    for alias, name in aliases.items():
        if alias != name:
            text = f"`{name}`".join(re.split(rf"\b{alias}\b", text))
    return text


def _spelled(call: ast.Call, aliases: Mapping[str, str], scope: Scope) -> list[str]:
    """Return how the arguments of a call are written, for a function that wants to know."""
    known = scope.functions.get(call.func.id) if isinstance(call.func, ast.Name) else None
    return [_spelling(part, aliases) for part in call.args] if "_spelled" in getattr(known, _GIVEN, ()) else []


def _spelling(part: ast.expr, aliases: Mapping[str, str]) -> str:
    """Return an argument as it is written, the name of a column without backticks, and a category by its values."""
    match part:
        case ast.Call(func=ast.Name(id="C"), args=[inside], keywords=[]):
            return _spelling(inside, aliases)
    return aliases.get(part.id, part.id) if isinstance(part, ast.Name) else key_of(part, aliases)


def _uses(tree: ast.AST) -> Iterator[tuple[ast.Name, str]]:
    """Yield the names that are looked up, and how each is used: "called", "root" (before a dot) or "value"."""
    local = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    local |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    heads = {id(node.func): "called" for node in ast.walk(tree) if isinstance(node, ast.Call)}
    roots = {id(node.value): "root" for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in local:
            yield node, heads.get(id(node)) or roots.get(id(node)) or "value"


def _head(node: ast.expr, variables: Mapping[str, Any]) -> Any:
    """Return what is called, if it is a name, or a name in a module."""
    match node:
        case ast.Name():
            return variables.get(node.id)
        case ast.Attribute(value=ast.Name(id=root)) if ismodule(variables.get(root)):
            return getattr(variables[root], node.attr, None)
    return None
