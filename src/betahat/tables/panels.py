"""`panels`: several tables below each other in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from betahat.errors import OptionError, counted, described
from betahat.lazy import lazily
from betahat.tables.cells import Block, Cell, Layout, Line, plain
from betahat.tables.regression import check_title, sentences_of
from betahat.tables.table import Table
from betahat.tables.tex import text_of_label

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def panels(tables: Mapping[str, Table], *, notes: str | Sequence[str] = (), title: str = "Regression results") -> Table:
    """Put tables with the same number of columns below each other, as panels of one table.

    Rows of heads that all tables share stand above all of them, and statistics that are the same in all, such as the kind of standard
    errors, below all of them.

    Parameters
    ----------
    tables : mapping of str to Table
        From the title of a panel to what `regtable`, `sumtable`, `compare` or `panels` returned.
    notes : str or sequence of str
        Your own sentences, after those of the tables.
    title : str
        The heading of the whole table; "" for none.

    Returns
    -------
    Table
        Its frame has the titles of the panels in the index.

    Raises
    ------
    OptionError
        No tables, different numbers of columns, or stars with different thresholds.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
    >>> wages = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit()
    >>> hours = bh.OLS([8.0, 9.0, 7.0, 6.0], x).fit()
    >>> look = {"drop": "const", "dependent": False, "stats": ["cov_type", "rsquared"]}
    >>> tables = bh.regtable(wages, **look), bh.regtable(hours, **look)
    >>> bh.panels(dict(zip(["A. Wages", "B. Hours"], tables)))
       Regression results
    ========================
                      (1)
    ------------------------
    A. Wages
      x1            1.4000**
                   (0.1414)
      R²            0.9800
    ------------------------
    B. Hours
      x1           -0.8000
                   (0.4243)
      R²            0.6400
    ------------------------
    Std. errors    nonrobust
    ========================
    Standard errors in parentheses.
    * p<0.1, ** p<0.05, *** p<0.01
    """
    check_title(title)
    own_notes = sentences_of(notes)
    layouts = {text_of_label(label): table.layout for label, table in _read(tables).items()}
    first, *others = layouts.values()
    marks = list(dict.fromkeys(layout.marks_note for layout in layouts.values() if layout.marks_note))
    if len(marks) > 1:
        raise OptionError(
            f"The stars of the tables have different meanings ({'; '.join(marks)}); give all tables the same."
        )
    heads = [row for row in first.heads if all(row in layout.heads for layout in others)]
    shared = [line for line in first.foot if all(line in layout.foot for layout in others)] if others else []
    body = [
        block
        for place, (label, layout) in enumerate(layouts.items())
        for block in _panel(label, layout, heads, shared, ruled=place > 0)
    ]
    sentences = dict.fromkeys(chain(*(layout.notes for layout in layouts.values()), own_notes))
    layout = Layout(
        title,
        heads=tuple(heads) or (plain([""] * first.columns),),
        body=tuple(body),
        foot=tuple(shared),
        notes=tuple(sentences),
        marks_note="".join(marks),
    )
    return Table(_stacked([table.frame for table in tables.values()], [str(label) for label in layouts]), layout)


def _read(tables: Mapping[str, Table]) -> Mapping[str, Table]:
    """Refuse what is no mapping of tables, or tables of other numbers of columns."""
    if not isinstance(tables, Mapping) or not tables:
        raise OptionError(
            f"panels needs a mapping of titles to tables, such as {{'A. Men': bh.regtable(...)}}, not {described(tables)}."
        )
    for label, table in tables.items():
        if not isinstance(table, Table):
            raise OptionError(
                f"The panel {str(label)!r} is {described(table)}; pass a table, as bh.regtable returns it."
            )
    counts = {str(label): table.layout.columns for label, table in tables.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{label!r} has {counted(count, 'column')}" for label, count in counts.items())
        raise OptionError(f"Panels need the same number of columns, but {said}.")
    return tables


def _panel(
    label: str, layout: Layout, heads: Sequence[tuple[Cell, ...]], shared: Sequence[Line], *, ruled: bool
) -> list[Block]:
    """Return the blocks of a panel: its own heads and coefficients, and its own statistics."""
    own = [Line("", tuple(chain.from_iterable([replace(cell, span=1)] * cell.span for cell in row))) for row in layout.heads if row not in heads]  # fmt: skip
    gap = (Cell(""),) * layout.columns
    blocks = [Block(label, (*own, *_lines(layout.body[0], gap)), ruled=ruled)]
    blocks += [Block("", _lines(block, gap), block.ruled, continues=True) for block in layout.body[1:]]
    rest = tuple(line for line in layout.foot if line not in shared)
    return [*blocks, Block("", rest, continues=True)] if rest else blocks


def _lines(block: Block, gap: tuple[Cell, ...]) -> tuple[Line, ...]:
    return (Line(block.title, gap), *block.lines) if block.title else block.lines


def _stacked(frames: Sequence[pd.DataFrame], labels: Sequence[str]) -> pd.DataFrame:
    """Put the numbers below each other; names of several levels, which not all frames have, become one."""
    levels = {(frame.index.nlevels, frame.columns.nlevels) for frame in frames}
    alike = [frame if len(levels) == 1 else frame.set_axis(_flat(frame.index)).set_axis(_flat(frame.columns), axis=1) for frame in frames]  # fmt: skip
    return pd.concat(alike, keys=list(labels), names=["panel"])


def _flat(names: pd.Index) -> list[str]:
    return [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in names]
