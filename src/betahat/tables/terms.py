"""Which coefficients a table or a figure shows, in which order and under which names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from betahat.errors import OptionError, listed, shown
from betahat.lazy import lazily
from betahat.tables.tex import Tex, text_of_label

if TYPE_CHECKING:
    from betahat.tables import latex
else:
    latex = lazily("betahat.tables.latex")

Term = str | re.Pattern[str]
Terms = Term | Iterable[Term]
# From names and patterns; Any, because the key type of a mapping is invariant and a dict[str, str] must be accepted, too.
Rename = Mapping[Any, str]


def choose(
    names: Sequence[str], keep: Terms | None = None, drop: Terms | None = None, order: Terms | None = None
) -> list[str]:
    """Keep, drop and order names; a string is one name, a compiled pattern all names that it matches, `order` comes first.

    >>> names = ["Intercept", "educ", "region[T.south]", "region[T.west]"]
    >>> choose(names, drop="Intercept", order=re.compile("region"))
    ['region[T.south]', 'region[T.west]', 'educ']
    """
    kept = set(names if keep is None else matched("keep", keep, names))
    dropped = set() if drop is None else set(matched("drop", drop, names))
    first = [] if order is None else matched("order", order, names)
    chosen = [name for name in names if name in kept - dropped]
    return list(dict.fromkeys([*(name for name in first if name in chosen), *chosen]))


def matched(option: str, terms: Terms, names: Sequence[str], noun: str = "coefficient") -> list[str]:
    """Return the names that match, term by term; `option` and `noun` are what an error message calls the terms and what they name."""
    found = []
    for term in [terms] if isinstance(terms, str | re.Pattern) or not isinstance(terms, Iterable) else terms:
        matches = [name for name in names if _stands_for(option, term, name)]
        if not matches:
            hint = "; for a pattern, use re.compile" if isinstance(term, str) else ""
            raise OptionError(
                f"{option} has {shown(term)}, which matches no {noun}; the names are {listed(dict.fromkeys(names), limit=30)}{hint}."
            )
        found += matches
    return found


def renamed(name: str, rename: Rename | None) -> str:
    r"""Return what to print for a name: its entry in the mapping, or the result of substituting each compiled pattern in turn.

    Keys that match nothing are ignored, so that one mapping serves all tables and figures of a paper. A `Tex` stands for the whole of
    a name that its pattern is found in; groups of the pattern are inserted as text.

    >>> labels = {"educ": "Education", re.compile(r"^(.*)\[T\.(.*)\]$"): r"\1: \2"}
    >>> renamed("educ", labels), renamed("region[T.south]", labels), renamed("age", labels)
    ('Education', 'region: south', 'age')
    """
    if rename is None:
        return name
    if not isinstance(rename, Mapping) or not all(isinstance(value, str) for value in rename.values()):
        raise OptionError(
            f"rename needs a mapping of names to names, such as {{'educ': 'Education'}}, not {shown(rename)}."
        )
    if name in rename:
        return text_of_label(rename[name])
    for key, replacement in rename.items():
        if not isinstance(key, str):
            pattern = _pattern("rename", key)
            found = pattern.search(name)
            if not isinstance(replacement, Tex):
                name = _substituted(pattern, replacement, name)
            elif found is not None:
                return _with_groups(replacement, found)
    return text_of_label(name)


def _stands_for(option: str, term: Term, name: str) -> bool:
    return name == term if isinstance(term, str) else _pattern(option, term).search(name) is not None


def _substituted(pattern: re.Pattern[str], replacement: str, name: str) -> str:
    try:
        return pattern.sub(replacement, name)
    except (re.error, IndexError) as error:
        raise OptionError(
            f"rename has {shown(replacement)} for {pattern.pattern!r}, which cannot be substituted ({error}); refer to groups of the pattern, and "
            "write a backslash twice."
        ) from error


def _with_groups(label: Tex, found: re.Match[str]) -> Tex:
    r"""Put the groups of a match where the label has \1 or \g<name>, which LaTeX does not know; escaped, as they are text."""

    def group(reference: re.Match[str]) -> str:
        own = reference[1] or reference[2]
        try:
            return found[int(own) if own.isdigit() else own] or ""
        except IndexError as error:
            raise OptionError(
                f"rename has {shown(label)} for {found.re.pattern!r}, which has no group {own}; refer to groups of the pattern."
            ) from error

    if not _GROUP.search(label.latex):
        return label
    written = _GROUP.sub(lambda reference: latex.escape_latex(group(reference)), label.latex)
    return Tex(written, None if label.plain is None else _GROUP.sub(group, label.plain))


# A reference to a group of a pattern, by number or by name.
_GROUP = re.compile(r"\\(?:([1-9]\d?)|g<(\w+)>)")


def _pattern(option: str, term: object) -> re.Pattern[str]:
    if not isinstance(term, re.Pattern) or not isinstance(term.pattern, str):
        raise OptionError(f"{option} takes names and compiled patterns, re.compile('...'), not {shown(term)}.")
    return term
