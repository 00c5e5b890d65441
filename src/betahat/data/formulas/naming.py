"""The names of the terms and columns of a formula."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from formulaic.parser.types import Factor, Term

from betahat.data.formulas.expressions import bare, is_plain

CONSTANT = "Intercept"


def distinct(names: Sequence[tuple[str, str]]) -> list[str]:
    """Return a name for each pair of a plain and a quoted name: the plain one unless it is ambiguous, and no name twice."""
    often = Counter(plain for plain, _ in names)
    chosen = [plain if often[plain] == 1 else quoted for plain, quoted in names]
    known, next_of = set(chosen), dict[str, int]()
    for i, name in enumerate(chosen):
        if name in next_of:
            chosen[i], next_of[name] = next(
                (other, n + 1) for n in itertools.count(next_of[name]) if (other := f"{name}.{n}") not in known
            )
            known.add(chosen[i])
        next_of.setdefault(chosen[i], 2)
    return chosen


def term_names(terms: Sequence[Term]) -> list[str]:
    """Return a name for each term."""
    pairs = []
    for term in terms:
        factors = [column_names(factor, factor.expr) for factor in term.factors]
        plain, quoted = (":".join(parts) for parts in zip(*factors, strict=True))
        pairs.append((CONSTANT, CONSTANT) if plain == quoted == "1" else (plain, quoted))
    return distinct(pairs)


def column_names(factor: Factor, name: str) -> tuple[str, str]:
    """Return the name of a factor's column without and with quotation marks; `name` begins with the expression of the factor."""
    if factor.eval_method is not Factor.EvalMethod.LOOKUP:
        return name, name
    column, rest = bare(factor.expr), name.removeprefix(factor.expr)
    needs = not is_plain(column) or column == CONSTANT
    return column + rest, (f"`{column}`" if needs else column) + rest
