"""`sumtable`: the columns of data in numbers, whole or by groups, and how groups differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.data.frame import is_frame, is_series, to_pandas
from betahat.errors import DataError, OptionError, check_flag, counted, described, listed
from betahat.errors import shown as in_words
from betahat.lazy import lazily
from betahat.tables.balance import DIFFERENCES, Statistic, differences_of, read_differences, read_statistics
from betahat.tables.cells import Block, Cell, Layout, Line, plain
from betahat.tables.estimates import value_cell
from betahat.tables.numbers import Numbers, is_whole, number_format
from betahat.tables.regression import check_title, sentences_of
from betahat.tables.stars import Marks, Stars, read_stars
from betahat.tables.table import Table
from betahat.tables.terms import Rename, Terms, matched, renamed

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# With more levels, a text is taken for a name of the row, and groups would make the table wider than any page.
_MOST_LEVELS = 20


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of the table: a column of numbers, or a level of a category."""

    variable: str
    level: str | None
    values: pd.Series
    whole: bool  # whether all values are whole numbers

    @property
    def name(self) -> str:
        """Its name in the frame, and the key by which it is renamed."""
        return self.variable if self.level is None else f"{self.variable}={self.level}"


@dataclass(frozen=True, eq=False)
class _Group:
    """Rows of the data that have a column of statistics of their own."""

    label: str
    rows: np.ndarray  # (n,) bool


def sumtable(
    data: Any,
    variables: Terms | None = None,
    *,
    by: str | None = None,
    stats: Sequence[Any] | Mapping[str, Any] | None = None,
    differences: bool | Sequence[str] = True,
    reference: Any = None,
    total: bool = False,
    stars: Stars = False,
    rename: Rename | None = None,
    digits: int | None = None,
    significant: int | None = None,
    thousands: str | None = None,
    notes: str | Sequence[str] = (),
    title: str = "Summary statistics",
) -> Table:
    """Describe the columns of a dataframe in a table: statistics of all rows, or by groups with the differences between them.

    Parameters
    ----------
    data : dataframe
        Of any library, or a dict of columns.
    variables : str, re.Pattern, or several of them, optional
        The columns to describe, as in `keep` of `regtable`; by default all that hold numbers, True and False, or a few categories.
    by : str, optional
        A column whose values define groups, with columns of statistics for each.
    stats : sequence of str, or mapping, optional
        "count", "missing", "mean", "std", "var", "min", "median", "max", "sum", and quantiles such as "25%". The keys of a mapping are their
        heads, and its values may be functions of a Series. By default count, mean, standard deviation and extremes, and by groups
        mean and standard deviation.
    differences : bool, or sequence of str
        What is shown of the difference between each group and the reference: "diff", of the means; "se", "t" and "p", Welch's test; "norm", the
        normalised difference; "logratio", of the standard deviations. True is diff, se and norm.
    reference : object, optional
        The value of `by` that others are compared with; by default the first.
    total : bool
        Whether columns of all rows follow those of the groups.
    stars : bool, sequence of float, or mapping
        The stars of differences, as in `regtable`; by default none.
    rename : mapping, optional
        From names or patterns to what is printed; a value of a category, or of `by`, has the name ``"region=south"``.
    digits, significant, thousands : optional
        As in `regtable`.
    notes : str or sequence of str
        Your own sentences, after the table's notes.
    title : str
        The heading; "" for none.

    Returns
    -------
    Table
        With `to_frame`, `to_text`, `to_html`, `to_latex`, `to_markdown`, `to_typst` and `to_docx`.

    Raises
    ------
    OptionError
        An unknown column, statistic or option, or more than 20 groups.
    DataError
        Not a dataframe, or a column that holds neither numbers nor categories.

    Notes
    -----
    Statistics are of the values that are not missing. A category has a row for each of its values: how many there are, their share, and its
    standard deviation. The normalised difference is that of the means over the root of the average of both variances, and does not grow with the
    number of rows (Imbens and Rubin, 2015, Causal Inference, section 14.2).

    Examples
    --------
    >>> import betahat as bh
    >>> data = {
    ...     "wage": [3.1, 3.2, 6.0, 5.3],
    ...     "educ": [11, 12, 8, 12],
    ...     "union": [0, 0, 1, 1],
    ... }
    >>> bh.sumtable(data, ["wage", "educ"], stats=["count", "mean", "std"], digits=2)
        Summary statistics
    =========================
          N   Mean  Std. dev.
    -------------------------
    wage  4   4.40     1.47
    educ  4  10.75     1.89
    =========================
    """
    frame = _frame_of(data)
    marks, shown = read_stars(stars), number_format(digits, significant, thousands)
    check_flag("total", total)
    check_title(title)
    own_notes = sentences_of(notes)
    contrasts = read_differences(differences, by is not None)
    statistics = read_statistics(
        (("count", "mean", "std", "min", "max") if by is None else ("mean", "std")) if stats is None else stats
    )
    groups, first, without = _groups(frame, by, reference, rename)
    rows, left_out = _rows(frame, variables, by)
    everyone = (
        [_Group("All", np.logical_or.reduce([group.rows for group in groups]))] if total and by is not None else []
    )
    others = [] if by is None or not contrasts else [group for group in groups if group is not first]
    parts = [_described(rows, group, statistics, shown) for group in (*groups, *everyone)]
    parts += [_compared(rows, group, first, contrasts, shown, marks) for group in others]
    heads = [text for part in parts for text in part.heads]
    lines = [
        Line(_label(row, rename), tuple(cell for part in parts for cell in part.cells[i])) for i, row in enumerate(rows)
    ]
    layout = Layout(
        title,
        heads=(
            *([] if by is None else [tuple(Cell(part.label, span=len(part.heads)) for part in parts)]),
            plain(heads),
        ),
        body=_blocks(rows, lines, rename),
        foot=() if by is None else (_sizes([*groups, *everyone], parts, shown),),
        notes=(*_notes(others, first, contrasts), *_missing_note(by, without), *left_out, *own_notes),
        marks_note=marks.note if others and "diff" in contrasts else "",
    )
    return Table(_frame(rows, parts, by), layout)


@dataclass(frozen=True, eq=False)
class _Part:
    """Columns of the table that share a head: statistics of a group, or differences from it."""

    label: str
    keys: list[str]
    heads: list[str]
    values: list[list[Any]]  # by row
    cells: list[list[Cell]]


def _described(rows: Sequence[_Row], group: _Group, statistics: Sequence[Statistic], shown: Numbers) -> _Part:
    values, cells = [], []
    for row in rows:
        inside = row.values[group.rows]
        found = [statistic.of(inside, row.level is not None) for statistic in statistics]
        values.append(found)
        cells.append(
            [_cell(value, row, statistic.key, shown) for value, statistic in zip(found, statistics, strict=True)]
        )
    return _Part(group.label, [s.key for s in statistics], [s.label for s in statistics], values, cells)


def _cell(value: Any, row: _Row, key: str, shown: Numbers) -> Cell:
    """Print a statistic; the extremes and medians of whole numbers are whole, and may be years."""
    if is_whole(value) or value is None:
        return value_cell(value, shown)
    if row.whole and key not in ("mean", "std", "var") and isinstance(value, float) and value.is_integer():
        return Cell(shown.whole(int(value)), decimal=True)
    return value_cell(value, shown)


def _compared(
    rows: Sequence[_Row], group: _Group, first: _Group, contrasts: Sequence[str], shown: Numbers, marks: Marks
) -> _Part:
    values, cells = [], []
    for row in rows:
        inside, outside = (row.values[part.rows].dropna().to_numpy(dtype=float) for part in (group, first))
        found = differences_of(inside, outside)
        star = marks(found["p"])
        values.append([found[key] for key in contrasts])
        cells.append(
            [Cell(shown.beside(star)(found[key]), star if key == "diff" else "", decimal=True) for key in contrasts]
        )
    label = f"{group.label} \u2212 {first.label}"
    return _Part(label, list(contrasts), [DIFFERENCES[key] for key in contrasts], values, cells)


def _frame_of(data: Any) -> pd.DataFrame:
    if not isinstance(data, Mapping) and not is_series(data) and not is_frame(data):
        raise DataError(
            f"sumtable needs a dataframe in memory, or a dict of columns, not {described(data)}; read a file first, as pd.read_csv does."
        )
    frame = to_pandas(data, None)
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise DataError(f"sumtable needs a dataframe with rows and columns, not one of shape {frame.shape}.")
    return frame


def _groups(
    frame: pd.DataFrame, by: str | None, reference: Any, rename: Rename | None
) -> tuple[list[_Group], _Group, int]:
    """Return the groups, the one that others are compared with, and how many rows belong to none."""
    if by is None:
        if reference is not None:
            raise OptionError(f"reference is {in_words(reference)}, but there are no groups; name their column in by.")
        whole = _Group("", np.ones(len(frame), dtype=bool))
        return [whole], whole, 0
    if not isinstance(by, str) or by not in frame.columns:
        raise OptionError(f"by is {in_words(by)}; pass one column of the data: {listed(frame.columns, limit=30)}.")
    column = frame[by]
    levels = _levels(column, by)
    if not 2 <= len(levels) <= _MOST_LEVELS:
        raise OptionError(
            f"by is {in_words(by)}, which has {counted(len(levels), 'value')}; pass a column with 2 to {_MOST_LEVELS} values."
        )
    groups = [
        _Group(_level_label(by, level, rename), (column == level).fillna(False).to_numpy(dtype=bool))
        for level in levels
    ]
    texts = [_level_text(level) for level in levels]
    place = 0
    if reference is not None:
        wanted = reference if isinstance(reference, str) else _level_text(reference)
        if wanted not in texts:
            raise OptionError(f"reference is {in_words(reference)}; pass one of the values of {by}: {listed(texts)}.")
        place = texts.index(wanted)
    return groups, groups[place], int(column.isna().sum())


def _levels(column: pd.Series, name: str) -> list[Any]:
    """Return the values of a category, in their order."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.remove_unused_categories().cat.categories)
    try:
        return sorted(column.dropna().unique())
    except TypeError as error:
        raise DataError(
            f"The column {name!r} holds values of several types, which have no order; make it a text or a category."
        ) from error


def _level_text(level: Any) -> str:
    if isinstance(level, float):
        return f"{level:g}"
    return str(level).removesuffix(" 00:00:00")  # of days


def _level_label(name: str, level: Any, rename: Rename | None) -> str:
    """Return what is printed for a value: its name, the value itself if it is a word, or both."""
    key = f"{name}={_level_text(level)}"
    given = renamed(key, rename)
    if given != key:
        return given
    return renamed(level, rename) if isinstance(level, str) else f"{renamed(name, rename)}={_level_text(level)}"


def _rows(frame: pd.DataFrame, variables: Terms | None, by: str | None) -> tuple[list[_Row], list[str]]:
    """Return the rows, and a sentence that names the columns which are left out."""
    names = [str(name) for name in frame.columns if name != by]
    chosen = (
        names if variables is None else list(dict.fromkeys(matched("variables", variables, [*frame.columns], "column")))
    )
    rows: list[_Row] = []
    left_out = []
    for name in chosen:
        column = frame[name]
        found = _rows_of(name, column)
        if found is None and variables is not None:
            raise DataError(
                f"The column {name!r} holds neither numbers nor at most {_MOST_LEVELS} categories ({column.dtype}); leave it out, or make it numbers."
            )
        left_out += [name] if found is None else []
        rows += found or []
    if not rows:
        raise DataError(f"No column holds numbers or categories; the columns are {listed(frame.columns, limit=30)}.")
    return rows, [
        f"Left out, as they hold neither numbers nor a few categories: {', '.join(left_out)}."
    ] if left_out else []


def _rows_of(name: str, column: pd.Series) -> list[_Row] | None:
    """Return the row of a column of numbers, those of the values of a category, or None of anything else."""
    types = pd.api.types
    if types.is_bool_dtype(column.dtype) or (
        types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype)
    ):
        values = column.astype("float64") if not types.is_bool_dtype(column.dtype) else column.astype("Float64")
        return [_Row(name, None, values, whole=bool((values.dropna() % 1 == 0).all()))]
    category = isinstance(column.dtype, pd.CategoricalDtype)
    texts = column.dropna()
    if not category and not (len(texts) and all(isinstance(text, str) for text in texts)):
        return None
    levels = _levels(column, name)
    if not 1 <= len(levels) <= _MOST_LEVELS:
        return None
    missing = column.isna()
    return [
        _Row(name, _level_text(level), (column == level).astype("float64").mask(missing), whole=True)
        for level in levels
    ]


def _label(row: _Row, rename: Rename | None) -> str:
    if row.level is None:
        return renamed(row.variable, rename)
    given = renamed(row.name, rename)
    return given if given != row.name else renamed(row.level, rename)


def _blocks(rows: Sequence[_Row], lines: Sequence[Line], rename: Rename | None) -> tuple[Block, ...]:
    """Put the values of each category under its name; numbers that follow each other share a block."""
    blocks: list[Block] = []
    last: str | None = None
    for row, line in zip(rows, lines, strict=True):
        title = "" if row.level is None else row.variable
        if blocks and title == last:
            blocks[-1] = Block(blocks[-1].title, (*blocks[-1].lines, line))
        else:
            blocks.append(Block(renamed(title, rename) if title else "", (line,)))
        last = title
    return tuple(blocks)


def _sizes(groups: Sequence[_Group], parts: Sequence[_Part], shown: Numbers) -> Line:
    """Return the row with the number of rows of each group, below its first statistic."""
    counts = [shown.count(int(group.rows.sum())) for group in groups] + [""] * (len(parts) - len(groups))
    cells = (
        Cell(count if i == 0 else "") for count, part in zip(counts, parts, strict=True) for i in range(len(part.heads))
    )
    return Line("N", tuple(cells))


def _notes(others: Sequence[_Group], first: _Group, contrasts: Sequence[str]) -> list[str]:
    """Return the sentence that says what differences are."""
    said = []
    if others and {"se", "t", "p"} & set(contrasts):
        said.append("Standard errors and tests of differences allow for unequal variances (Welch).")
    if others and "norm" in contrasts:
        said.append("Normalised: the difference over the root of the average of both variances.")
    return said


def _missing_note(by: str | None, without: int) -> list[str]:
    return [f"{counted(without, 'row')} without {by} left out."] if without else []


def _frame(rows: Sequence[_Row], parts: Sequence[_Part], by: str | None) -> pd.DataFrame:
    """Return the numbers as a dataframe."""
    columns = [(str(part.label), key) for part in parts for key in part.keys]
    values = [
        [np.nan if value is None else value for part in parts for value in part.values[i]] for i in range(len(rows))
    ]
    index = pd.Index([row.name for row in rows], name="variable")
    heads = pd.Index([key for _, key in columns]) if by is None else pd.MultiIndex.from_tuples(columns)
    return pd.DataFrame(values, index=index, columns=heads)
