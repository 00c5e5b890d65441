"""The coefficients of several models in rows: which share one, what stands below each, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from betahat.errors import OptionError, described, listed
from betahat.errors import shown as in_words
from betahat.lazy import lazily
from betahat.tables.cells import Block, Cell, Line
from betahat.tables.estimates import Coefficients, full_name
from betahat.tables.numbers import Numbers
from betahat.tables.stars import Marks
from betahat.tables.terms import Rename, Terms, choose, matched, renamed
from betahat.tables.tex import text_of_label

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Below = Literal["se", "t", "p", "ci"]
Key = tuple[str, str]  # the equation, or "", and the name of a coefficient


@dataclass(frozen=True)
class Row:
    """The coefficients of different models that share a row: the title of their group (or ""), the printed label, and their keys."""

    title: str
    label: str
    keys: tuple[Key, ...]

    def of(self, values: Mapping[Key, np.ndarray]) -> np.ndarray | None:
        """Return a model's values for this row, or None."""
        return next((values[key] for key in self.keys if key in values), None)


def chosen_terms(
    columns: Sequence[Coefficients], keep: Terms | None, drop: Terms | None, order: Terms | None, indicated: set[str]
) -> list[Key]:
    """Return the coefficients of all models that are shown, by equation; not those that a row of its own indicates."""
    keys = list(dict.fromkeys(key for column in columns for key in column.equation_terms))
    names = choose(list(dict.fromkeys(name for _, name in keys)), keep, drop, order)
    chosen = [name for name in names if name not in indicated]
    if keys and not chosen:
        raise OptionError(f"keep, drop{' and indicate' if indicated else ''} leave no coefficients; omit one of them.")
    equations = dict.fromkeys(equation for equation, _ in keys)
    return [(equation, name) for equation in equations for name in chosen if (equation, name) in keys]


def rows_of(
    columns: Sequence[Coefficients], keys: Sequence[Key], rename: Rename | None, groups: Mapping[str, Terms] | None
) -> list[Row]:
    """Return the rows of coefficients; coefficients with the same name under the same title share a row."""
    shared: dict[tuple[str, str], list[Key]] = {}
    for title, members in _grouped(keys, rename, groups):
        for key in members:
            shared.setdefault((title, renamed(key[1], rename)), []).append(key)
    for (_, label), members in shared.items():
        for column in columns:
            own = [full_name(key) for key in column.equation_terms if key in members]
            if len(own) > 1:
                raise OptionError(
                    f"rename gives {listed(own)} of the same model the name {in_words(label)}; give each its own name."
                )
    return [Row(title, label, tuple(members)) for (title, label), members in shared.items()]


def _grouped(
    keys: Sequence[Key], rename: Rename | None, groups: Mapping[str, Terms] | None
) -> list[tuple[str, list[Key]]]:
    """Return titles, each with the coefficients under it."""
    equations = list(dict.fromkeys(equation for equation, _ in keys))
    if groups is None:
        return [
            (renamed(equation, rename) if equation else "", [key for key in keys if key[0] == equation])
            for equation in equations
        ]
    if not isinstance(groups, Mapping):
        raise OptionError(f"groups needs a mapping of titles to coefficients, not {described(groups)}.")
    names = [name for equation, name in keys if not equation]
    if keys and not names:
        raise OptionError("The equations already are groups; omit groups.")
    found = [(text_of_label(title), set(matched("groups", terms, names))) for title, terms in groups.items()]
    members = [name for _, chosen in found for name in chosen]
    twice = [name for name in dict.fromkeys(members) if members.count(name) > 1]
    if twice:
        raise OptionError(f"groups puts {listed(twice)} under several titles; choose one of them.")
    found.append(("", set(names).difference(members)))
    own = [(title, [key for key in keys if key[1] in chosen and not key[0]]) for title, chosen in found]
    return own + [(renamed(name, rename), [key for key in keys if key[0] == name]) for name in equations if name]


def body_of(
    columns: Sequence[Coefficients],
    rows: Sequence[Row],
    below: Sequence[Below],
    alpha: float,
    shown: Numbers,
    marks: Marks,
) -> tuple[Block, ...]:
    """Return the rows of coefficients, in their groups."""
    tables = [_by_term(column, column.coefficient_table()) for column in columns]
    bounds = [_by_term(column, column.interval_table(alpha)) if "ci" in below else {} for column in columns]

    def lines(row: Row) -> list[Line]:
        values = [row.of(table) for table in tables]
        ends = [row.of(bound) for bound in bounds]
        stars = ["" if own is None else marks(own[3]) for own in values]
        prints = [shown.beside(star) for star in stars]
        top = [_coefficient(*given) for given in zip(values, prints, stars, strict=True)]
        rest = [
            [_under(part, i, *given) for given in zip(values, ends, prints, strict=True)]
            for i, part in enumerate(below)
        ]
        return [Line(row.label, tuple(top)), *(Line("", tuple(cells)) for cells in rest)]

    titles = dict.fromkeys(row.title for row in rows)
    return tuple(
        Block(title, tuple(line for row in rows if row.title == title for line in lines(row))) for title in titles
    )


def _by_term(column: Coefficients, table: np.ndarray) -> dict[Key, np.ndarray]:
    return dict(zip(column.equation_terms, table, strict=True))


def _coefficient(values: np.ndarray | None, shown: Numbers, star: str) -> Cell:
    return Cell("") if values is None else Cell(shown(values[0]), star, decimal=True)


def _under(part: Below, place: int, values: np.ndarray | None, bounds: np.ndarray | None, shown: Numbers) -> Cell:
    """Return a cell below a coefficient: in parentheses if it is the first, brackets if the second, braces if the third."""
    if part == "ci":
        ends = () if bounds is None else tuple(map(shown, bounds))
        return Cell(f"[{', '.join(ends)}]" if any(ends) else "")
    text = "" if values is None else shown(values[_PLACES[part]])
    opening, closing = _AROUND[place]
    return Cell(f"{opening}{text}{closing}", decimal=True) if text else Cell("")


_PLACES = {"se": 1, "t": 2, "p": 3}
_AROUND = (("(", ")"), ("[", "]"), ("{", "}"), ("<", ">"))
AROUND_NAMES = ("parentheses", "brackets", "braces", "angle brackets")


def frame_of(
    columns: Sequence[Coefficients],
    rows: Sequence[Row],
    below: Sequence[Below],
    alpha: float,
    labels: Sequence[str],
) -> pd.DataFrame:
    """Return the numbers as a dataframe, under statsmodels' names of a linear model, whichever the distribution."""
    parts = ["coef", *(name for part in below for name in _frame_names(part, alpha))]
    tables = []
    for column in columns:
        bounds = column.interval_table(alpha) if "ci" in below else np.empty((len(column.equation_terms), 0))
        table = np.column_stack([column.coefficient_table(), bounds])
        places = [0, *(place for part in below for place in ([4, 5] if part == "ci" else [_PLACES[part]]))]
        tables.append(_by_term(column, table[:, places]))
    gap = np.full(len(parts), np.nan)
    none = np.empty(0)
    values = {
        label: np.concatenate([none, *(gap if (own := row.of(table)) is None else own for row in rows)])
        for label, table in zip(labels, tables, strict=True)
    }
    names = [full_name((row.title if row.keys[0][0] else "", row.label)) for row in rows]
    terms, statistics = [name for name in names for _ in parts], parts * len(names)
    index = pd.MultiIndex.from_arrays([terms, statistics], names=["term", "statistic"])
    return pd.DataFrame(values, index=index)


def _frame_names(part: Below, alpha: float) -> list[str]:
    bounds = [f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]"]
    return {"se": ["std err"], "t": ["t"], "p": ["P>|t|"], "ci": bounds}[part]
