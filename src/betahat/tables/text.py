"""A layout as text: columns of equal width, numbers aligned at the decimal point."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from betahat.tables.cells import Cell, Layout

_GAP = "  "
_INDENT = "  "
# However narrow the table, its notes are wrapped at no fewer characters than this.
_NOTE_WIDTH = 72


@dataclass(frozen=True)
class _Column:
    """The width of a column: before the decimal point, from the decimal point on, and in total."""

    left: int
    right: int
    width: int


def render_text(layout: Layout) -> str:
    """Return the table as text."""
    names = [line.name for line in layout.lines]
    indent = _INDENT if any(block.title for block in layout.body) else ""
    stub = max([len(indent + name) for name in names] + [len(block.title) for block in layout.body])
    columns = _widened([_column(cells) for cells in zip(*(line.cells for line in layout.lines), strict=True)], layout)
    width = stub + sum(len(_GAP) + column.width for column in columns)
    thick, thin = "=" * width, "-" * width
    rows = [*([layout.title.center(width).rstrip()] if layout.title else []), thick]
    for cells in layout.heads:
        rows += _head(cells, columns, stub)
    rows.append(thin)
    for block in layout.body:
        rows += [thin] if block.ruled else []
        rows += [block.title] if block.title else []
        inner = indent if block.indented else ""
        rows += [_row((inner + line.name if line.name else ""), line.cells, columns, stub) for line in block.lines]
    if layout.foot:
        rows += [thin, *(_row(line.name, line.cells, columns, stub) for line in layout.foot)]
    notes = [part for note in layout.sentences for part in textwrap.wrap(note, max(width, _NOTE_WIDTH))]
    return "\n".join([*rows, thick, *notes])


def _column(cells: Sequence[Cell]) -> _Column:
    parts = [cell.parts for cell in cells if cell.decimal]
    left = max((len(before) for before, _ in parts), default=0)
    right = max((len(cell.parts[1]) + len(cell.marks) for cell in cells if cell.decimal), default=0)
    others = max((len(cell.text) for cell in cells if not cell.decimal), default=0)
    return _Column(left, right, max(left + right, others))


def _widened(columns: Sequence[_Column], layout: Layout) -> list[_Column]:
    """Make room for the heads: one that is wider than its columns widens the last of them."""
    widths = [column.width for column in columns]
    for cells in layout.heads:
        place = 0
        for cell in cells:
            place += cell.span
            room = sum(widths[place - cell.span : place]) + len(_GAP) * (cell.span - 1)
            widths[place - 1] += max(len(cell.text) - room, 0)
    return [_Column(column.left, column.right, width) for column, width in zip(columns, widths, strict=True)]


def _head(cells: Sequence[Cell], columns: Sequence[_Column], stub: int) -> list[str]:
    """Return a row of heads, and the rules below those that span several columns."""
    texts, rules, place = [" " * stub], [" " * stub], 0
    for cell in cells:
        covered = columns[place : place + cell.span]
        width = sum(column.width for column in covered) + len(_GAP) * (cell.span - 1)
        texts.append(cell.text.center(width))
        rules.append(("-" if cell.span > 1 and cell.text else " ") * width)
        place += cell.span
    rule = _GAP.join(rules).rstrip()
    return [_GAP.join(texts).rstrip(), *([rule] if rule else [])]


def _row(name: str, cells: Sequence[Cell], columns: Sequence[_Column], stub: int) -> str:
    texts = [_placed(cell, column) for cell, column in zip(cells, columns, strict=True)]
    return _GAP.join([name.ljust(stub), *texts]).rstrip()


def _placed(cell: Cell, column: _Column) -> str:
    if not cell.decimal:
        return cell.text.center(column.width)
    before, after = cell.parts
    return (before.rjust(column.left) + (after + cell.marks).ljust(column.right)).center(column.width)
