"""`regtable`: several models side by side, or one under several covariances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from betahat.data.printable import whole
from betahat.errors import OptionError, check_flag, counted, described, is_one_of, listed
from betahat.errors import shown as in_words
from betahat.inference.distribution import check_alpha
from betahat.lazy import lazily
from betahat.tables.cells import Block, Cell, Layout, Line, Number, is_whole, number_format, plain, spanning
from betahat.tables.columns import CovTypes, Results, effect_lines, read_columns
from betahat.tables.estimates import (
    DEFAULT,
    Coefficients,
    Estimates,
    Statistics,
    full_name,
    shown_of,
    statistic_rows,
    unidentified_note,
    value_cell,
)
from betahat.tables.stars import Marks, Stars, read_stars
from betahat.tables.table import Table
from betahat.tables.terms import Rename, Terms, choose, matched, renamed

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Below = Literal["se", "t", "p", "ci"]
Key = tuple[str, str]  # the equation, or "", and the name of a coefficient


def regtable(
    results: Results,
    *,
    cov: CovTypes | None = None,
    use_t: bool | None = None,
    below: Below | Sequence[Below] | None = "se",
    alpha: float = 0.05,
    stars: Stars = True,
    keep: Terms | None = None,
    drop: Terms | None = None,
    order: Terms | None = None,
    rename: Rename | None = None,
    groups: Mapping[str, Terms] | None = None,
    heads: Sequence[str] | Sequence[Sequence[str]] | None = None,
    dependent: bool = True,
    numbers: bool = True,
    stats: Statistics = DEFAULT,
    extra: Mapping[str, Sequence[Any]] | None = None,
    notes: str | Sequence[str] = (),
    digits: int | None = None,
    significant: int | None = None,
    title: str = "Regression results",
) -> Table:
    r"""Put models side by side, each with its own standard errors, or one model under several covariances.

    Parameters
    ----------
    results : Results, iterable or mapping of them
        One column each, in this order; the keys of a mapping become heads.
    cov : str, estimator, sequence or mapping of them, optional
        The covariance of each column; the keys of a mapping become heads. None, here or in the sequence, keeps the covariance of the
        results. The shorter of models and covariances is repeated: one covariance for all models, or one model under several.
    use_t : bool, optional
        Whether all tests use the t or the normal distribution; None lets each column keep its own.
    below : {"se", "t", "p", "ci"}, several of them, or None
        What is printed below a coefficient, one row each: standard error, t or z statistic, p-value, confidence interval.
    alpha : float
        Confidence intervals have coverage 1 - alpha.
    stars : bool, sequence of float, or mapping
        True marks p-values below 0.1, 0.05 and 0.01; a sequence sets other thresholds, a mapping the marks as well:
        ``{"+": 0.1, "*": 0.05}``; False prints none.
    keep, drop, order : str, re.Pattern, or several of them, optional
        Which coefficients are shown, and which come first. A string is one name, a compiled pattern all names that it matches.
    rename : mapping, optional
        From names or patterns to what is printed: ``{"educ": "Education", re.compile(r"C\((\w+)\)\[T\.(\w+)\]"): r"\1: \2"}``. Coefficients of
        different models that get the same name share a row. Dependent variables and equations are renamed, too.
    groups : mapping, optional
        From a title to the coefficients under it, as in `keep`; the others follow. The equations of `MNLogit` already are groups.
    heads : sequence of str, or several of them, optional
        Further rows of heads, one string for each column; equal neighbours are merged.
    dependent, numbers : bool
        Whether the head names the dependent variables and numbers the columns.
    stats : sequence of str, or mapping
        The statistics below: "cov_type", "clusters", "nobs", "goodness" (R², pseudo R² or the loss), and any attribute of the results
        that is a number: "rsquared_adj", "aic", "llf", "fvalue", ... The keys of a mapping name them, and its values may be functions of
        a result: ``{"N": "nobs", "Share of women": lambda res: ...}``. A statistic that only some models have is left empty in the others.
    extra : mapping, optional
        Your own rows above the statistics, with a string, a number or None for each column: ``{"Region effects": ["no", "yes"]}``.
    notes : str or sequence of str
        Your own sentences, after the table's notes.
    digits, significant : int, optional
        Decimals or significant digits of all numbers; by default four decimals below 10, and fewer above.
    title : str
        The heading in text and HTML, and the caption of a LaTeX float without a caption of its own; "" for none.

    Returns
    -------
    Table
        With `to_frame`, `to_text`, `to_html`, `to_latex`, `to_markdown`, `to_typst` and `to_docx`.

    Raises
    ------
    OptionError
        Nothing to put in the table; covariances, heads or rows whose number is not that of the columns; unknown coefficients or statistics;
        the same name for two coefficients of a model.

    Notes
    -----
    Nothing is refitted. Stars and intervals use the distribution that goes with each covariance: t with its degrees of freedom, or normal.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit()
    >>> bh.regtable(res, cov=["nonrobust", "HC1"], drop="const", rename={"x1": "Years"}, digits=3)
            Regression results
    =================================
                          y
                 --------------------
                    (1)        (2)
    ---------------------------------
    Years          1.400**   1.400***
                  (0.141)   (0.085)
    ---------------------------------
    Std. errors  nonrobust     HC1
    N                4          4
    R²             0.980     0.980
    =================================
    Standard errors in parentheses.
    * p<0.1, ** p<0.05, *** p<0.01
    """
    check_alpha(alpha)
    check_flag("dependent", dependent)
    check_flag("numbers", numbers)
    read = read_columns(results, cov, use_t, "regtable")
    columns, names = read.results, read.names
    marks = read_stars(stars)
    chosen = _below(below)
    shown = number_format(digits, significant)
    numbers_of = tuple(map(shown_of, columns))
    rows = _rows(numbers_of, _terms(numbers_of, keep, drop, order), rename, groups)
    if not isinstance(title, str):
        raise OptionError(f"title is {in_words(title)}; pass a string, '' for none.")
    labels = tuple(f"({i})" for i in range(1, len(columns) + 1))
    foot = (
        *_extra({} if extra is None else extra, len(columns), shown),
        *effect_lines(columns, rename),
        *(Line(label, cells) for label, cells in statistic_rows(columns, read.kinds, stats, shown)),
    )
    layout = Layout(
        title,
        heads=_heads(columns, names, heads, rename, dependent, labels if numbers else ()),
        body=_body(numbers_of, rows, chosen, alpha, shown, marks) if rows else (Block("", foot),),
        foot=foot if rows else (),
        notes=(*(_note(chosen, columns, alpha) if rows else ()), *unidentified_note(columns), *_sentences(notes)),
        marks_note=marks.note if rows else "",
    )
    return Table(_frame(numbers_of, rows, chosen, alpha, labels), layout)


@dataclass(frozen=True)
class _Row:
    """The coefficients of different models that share a row: the title of their group (or ""), the printed label, and their keys."""

    title: str
    label: str
    keys: tuple[Key, ...]

    def of(self, values: Mapping[Key, np.ndarray]) -> np.ndarray | None:
        """Return a model's values for this row, or None."""
        return next((values[key] for key in self.keys if key in values), None)


def _below(below: Below | Sequence[Below] | None) -> tuple[Below, ...]:
    one = isinstance(below, str) or not isinstance(below, Iterable)
    chosen: tuple[Any, ...] = () if below is None else (below,) if one else tuple(below)
    known = all(is_one_of(entry, get_args(Below)) for entry in chosen)
    if not known or len(set(chosen)) < len(chosen):
        raise OptionError(f"below is {in_words(below)}; use some of {listed(get_args(Below))}, each once, or None.")
    return chosen


def _terms(columns: Sequence[Coefficients], keep: Terms | None, drop: Terms | None, order: Terms | None) -> list[Key]:
    """Return the coefficients of all models that are shown, by equation."""
    keys = list(dict.fromkeys(key for column in columns for key in column.equation_terms))
    chosen = choose(list(dict.fromkeys(name for _, name in keys)), keep, drop, order)
    if keys and not chosen:
        raise OptionError("keep and drop leave no coefficients; omit one of them.")
    equations = dict.fromkeys(equation for equation, _ in keys)
    return [(equation, name) for equation in equations for name in chosen if (equation, name) in keys]


def _body(
    columns: Sequence[Coefficients],
    rows: Sequence[_Row],
    below: Sequence[Below],
    alpha: float,
    shown: Number,
    marks: Marks,
) -> tuple[Block, ...]:
    """Return the rows of coefficients, in their groups."""
    tables = [_by_term(column, column.coefficient_table()) for column in columns]
    bounds = [_by_term(column, column.interval_table(alpha)) if "ci" in below else {} for column in columns]

    def lines(row: _Row) -> list[Line]:
        top = [_coefficient(row.of(table), shown, marks) for table in tables]
        rest = [
            [_under(part, i, row.of(table), row.of(bound), shown) for table, bound in zip(tables, bounds, strict=True)]
            for i, part in enumerate(below)
        ]
        return [Line(row.label, tuple(top)), *(Line("", tuple(cells)) for cells in rest)]

    titles = dict.fromkeys(row.title for row in rows)
    return tuple(
        Block(title, tuple(line for row in rows if row.title == title for line in lines(row))) for title in titles
    )


def _by_term(column: Coefficients, table: np.ndarray) -> dict[Key, np.ndarray]:
    return dict(zip(column.equation_terms, table, strict=True))


def _coefficient(values: np.ndarray | None, shown: Number, marks: Marks) -> Cell:
    return Cell("") if values is None else Cell(shown(values[0]), marks(values[3]), decimal=True)


def _under(part: Below, place: int, values: np.ndarray | None, bounds: np.ndarray | None, shown: Number) -> Cell:
    """Return a cell below a coefficient: in parentheses if it is the first, brackets if the second, braces if the third."""
    if part == "ci":
        ends = () if bounds is None else tuple(map(shown, bounds))
        return Cell(f"[{', '.join(ends)}]" if any(ends) else "")
    text = "" if values is None else shown(values[_PLACES[part]])
    opening, closing = _AROUND[place]
    return Cell(f"{opening}{text}{closing}", decimal=True) if text else Cell("")


_PLACES = {"se": 1, "t": 2, "p": 3}
_AROUND = (("(", ")"), ("[", "]"), ("{", "}"), ("<", ">"))
_AROUND_NAMES = ("parentheses", "brackets", "braces", "angle brackets")


def _rows(
    columns: Sequence[Coefficients], keys: Sequence[Key], rename: Rename | None, groups: Mapping[str, Terms] | None
) -> list[_Row]:
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
    return [_Row(title, label, tuple(members)) for (title, label), members in shared.items()]


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
    found = [(whole(str(title)), set(matched("groups", terms, names))) for title, terms in groups.items()]
    members = [name for _, chosen in found for name in chosen]
    twice = [name for name in dict.fromkeys(members) if members.count(name) > 1]
    if twice:
        raise OptionError(f"groups puts {listed(twice)} under several titles; choose one of them.")
    found.append(("", set(names).difference(members)))
    own = [(title, [key for key in keys if key[1] in chosen and not key[0]]) for title, chosen in found]
    return own + [(renamed(name, rename), [key for key in keys if key[0] == name]) for name in equations if name]


def _heads(
    columns: Sequence[Estimates],
    names: tuple[str, ...],
    heads: Sequence[str] | Sequence[Sequence[str]] | None,
    rename: Rename | None,
    dependent: bool,
    labels: tuple[str, ...],
) -> tuple[tuple[Cell, ...], ...]:
    """Return the rows of the head: dependent variables, the user's own heads, numbers."""
    one = isinstance(heads, str) or not isinstance(heads, Iterable)
    entries: list[Any] = [] if heads is None else [heads] if one else list(heads)
    own = [entries] if entries and _texts(entries) else entries
    for row in own:
        if not _texts(row) or len(row) != len(columns):
            raise OptionError(
                f"heads has {in_words(row)}, but the table {counted(len(columns), 'column')}; pass a string for each column, or several such rows."
            )
    rows = [spanning([renamed(column.endog_name, rename) for column in columns])] if dependent else []
    rows += [spanning(names)] if names else []
    rows += [spanning(list(map(str, row))) for row in own]
    rows += [plain(labels)] if labels else []
    return tuple(rows) or (plain([""] * len(columns)),)


def _texts(row: object) -> bool:
    return isinstance(row, Sequence) and not isinstance(row, str) and all(isinstance(text, str) for text in row)


def _extra(rows: Mapping[str, Sequence[Any]], width: int, shown: Callable[[float], str]) -> list[Line]:
    if not isinstance(rows, Mapping):
        raise OptionError(f"extra needs a mapping of names to rows, not {described(rows)}.")
    lines = []
    for name, row in rows.items():
        values = None if isinstance(row, str) or not isinstance(row, Iterable) else list(row)
        if values is None or len(values) != width:
            raise OptionError(
                f"extra has {in_words(row)} for {in_words(name)}, but the table {counted(width, 'column')}; pass a list with a value for each."
            )
        # Whole numbers are printed without separators: they may be years.
        cells = (Cell(str(value)) if is_whole(value) else value_cell(value, shown) for value in values)
        lines.append(Line(str(name), tuple(cells)))
    return lines


def _sentences(notes: str | Sequence[str]) -> list[str]:
    sentences = [notes] if isinstance(notes, str) else notes
    if not isinstance(sentences, Iterable) or not all(isinstance(note, str) for note in sentences):
        raise OptionError(f"notes is {in_words(notes)}; pass a sentence, or a list of sentences.")
    return [note for note in sentences if note.strip()]


def _note(below: Sequence[Below], columns: Sequence[Estimates], alpha: float) -> list[str]:
    """Return the sentence that explains what is printed below the coefficients."""
    if not below:
        return []
    kinds = {column.use_t for column in columns}
    ratio = "t and z statistics" if len(kinds) > 1 else "t statistics" if kinds == {True} else "z statistics"
    names = {
        "se": "standard errors",
        "t": ratio,
        "p": "p-values",
        "ci": f"{100 * (1 - alpha):g}% confidence intervals",
    }
    parts = [
        f"{names[part]} in {'brackets' if part == 'ci' else _AROUND_NAMES[place]}" for place, part in enumerate(below)
    ]
    return [", ".join(parts).replace("standard", "Standard", 1 if below[0] == "se" else 0) + "."]


def _frame(
    columns: Sequence[Coefficients], rows: Sequence[_Row], below: Sequence[Below], alpha: float, labels: Sequence[str]
) -> pd.DataFrame:
    """Return the numbers as a dataframe, under statsmodels' names."""
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
