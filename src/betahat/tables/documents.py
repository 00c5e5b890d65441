"""A layout as Markdown and Typst (converted from HTML by pandoc) and as a Word document (by python-docx)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from betahat.errors import OptionError, optional_module
from betahat.tables.cells import Block, Cell, Layout, Line
from betahat.tables.html import render_for_pandoc


def render_markdown(layout: Layout) -> str:
    """Return a GitHub Markdown pipe table, whose head is a single row."""
    title = f"**{_converted(escape(layout.title), 'gfm').strip()}**\n\n" if layout.title else ""
    return title + _converted(render_for_pandoc(_flat(layout)), "gfm")


def render_typst(layout: Layout) -> str:
    """Return a Typst figure."""
    text = _converted(render_for_pandoc(layout), "typst")
    # at the beginning of a cell, these would start a list or a heading
    return re.sub(r"\[(?=([-+/=]+|\d+\.) )", r"[\\", text)


def write_docx(layout: Layout, path: Path) -> None:
    """Write a Word document with the table."""
    document = _docx("docx").Document()
    if layout.title:
        document.add_paragraph(layout.title, style="Caption")
    titles = sum(bool(block.title) for block in layout.body)
    rows = len(layout.heads) + titles + len(layout.lines)
    table = document.add_table(rows, layout.columns + 1)
    places = iter(table.rows)
    for cells in layout.heads:
        _fill(next(places), "", cells)
    ruled, place = [], len(layout.heads)
    for block in layout.body:
        ruled += [place] if block.ruled else []
        place += len(block.lines) + bool(block.title)
        if block.title:
            title = next(places).cells
            title[0].merge(title[-1]).paragraphs[0].add_run(block.title).italic = True
        for line in block.lines:
            _fill(next(places), (_INDENT if block.indented and line.name else "") + line.name, line.cells)
    for line in layout.foot:
        _fill(next(places), line.name, line.cells)
    for row, edge, size in (
        (0, "top", 12),
        (len(layout.heads), "top", 6),
        *((place, "top", 6) for place in ruled),
        (rows - len(layout.foot), "top", 6),
        (rows - 1, "bottom", 12),
    ):
        if row < rows:
            _rule(table.rows[row].cells, edge, size)
    _tighten(document, table, layout)
    for note in layout.sentences:
        paragraph = document.add_paragraph()
        paragraph.paragraph_format.space_after = 0
        paragraph.add_run(note).font.size = 8 * _POINT
    try:
        document.save(str(path))
    except OSError as error:
        raise OptionError(
            f"The table cannot be written to {str(path)!r} ({error.strerror}); choose another file."
        ) from error


# A point in Word's unit of length, the EMU.
_POINT = 12_700
# In points: the largest font, the smallest in portrait, the smallest of all; the width of the text in portrait and in landscape; the margins
# of a cell. The last is the approximate width of a letter relative to the size of the font.
_LARGEST, _SMALLEST, _LEAST, _WIDTHS, _MARGINS, _LETTER = 10.0, 7.5, 4.0, (432.0, 612.0), 11.5, 0.55
_INDENT = "    "


def _fill(row: Any, name: str, cells: Sequence[Cell]) -> None:
    """Write a row, merging the cells that a wide cell covers."""
    row.cells[0].paragraphs[0].add_run(name)
    place = 1
    for cell in cells:
        target = row.cells[place]
        if cell.span > 1:
            target = target.merge(row.cells[place + cell.span - 1])
            _rule([target], "bottom", 4)
        paragraph = target.paragraphs[0]
        paragraph.alignment = 1  # centred
        paragraph.add_run(cell.printed)
        paragraph.add_run(cell.marks).font.superscript = True
        place += cell.span


def _rule(cells: Sequence[Any], edge: str, size: int) -> None:
    """Draw a line along one edge of cells; `size` is in eighths of a point."""
    oxml = _docx("docx.oxml")
    for cell in cells:
        properties = cell._tc.get_or_add_tcPr()
        borders = properties.find(oxml.ns.qn("w:tcBorders"))
        if borders is None:
            borders = oxml.OxmlElement("w:tcBorders")
            properties.append(borders)
        line = oxml.OxmlElement(f"w:{edge}")
        for name, value in (("val", "single"), ("sz", str(size)), ("color", "auto")):
            line.set(oxml.ns.qn(f"w:{name}"), value)
        borders.append(line)


def _tighten(document: Any, table: Any, layout: Layout) -> None:
    """Close up the rows, fit the columns to their contents and the font to the page, and turn the page to landscape for wide tables."""
    heads = [cells for cells in layout.heads if all(cell.span == 1 for cell in cells)]
    columns = zip(*heads, *(line.cells for line in layout.lines), strict=True)
    letters = [max(len(line.name) for line in layout.lines) + len(_INDENT)]
    letters += [max(len(cell.text + cell.marks) for cell in cells) + 2 for cells in columns]
    sizes = [(width - _MARGINS * len(letters)) / (_LETTER * sum(letters)) for width in _WIDTHS]
    if sizes[0] < _SMALLEST:
        page = document.sections[0]
        page.orientation, page.page_width, page.page_height = 1, page.page_height, page.page_width
    size = min(_LARGEST, max(sizes[sizes[0] < _SMALLEST], _LEAST))
    widths = [round((count * _LETTER * size + _MARGINS) * _POINT) for count in letters]
    document.styles["Normal"].font.size = round(size * _POINT)
    table.autofit = False
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    for row in table.rows:
        place = 0
        for cell in row._tr.tc_lst:
            cell.width = sum(widths[place : place + cell.grid_span])
            place += cell.grid_span
        for paragraph in (paragraph for cell in row.cells for paragraph in cell.paragraphs):
            paragraph.paragraph_format.space_after = 0


def _converted(text: str, to: str) -> str:
    pandoc: Any = optional_module("pypandoc", f"{to} is written by pypandoc", "documents")
    try:
        converted: str = pandoc.convert_text(text, to, format="html", extra_args=["--wrap=none"])
    except (OSError, RuntimeError) as error:
        raise OptionError(
            f"{to} is written by pandoc, but the installed one cannot do so: {str(error).strip().splitlines()[-1]} Install one that can: "
            "pip install 'betahat[documents]'."
        ) from error
    return converted


def _docx(module: str) -> Any:
    return optional_module(module, "Word documents are written by python-docx", "documents")


def _flat(layout: Layout) -> Layout:
    """Merge the head into one row and all blocks into one, which is all that a pipe table can show."""
    rows = [list(chain.from_iterable([cell.text] * cell.span for cell in cells)) for cells in layout.heads]
    heads = tuple(Cell(" ".join(filter(None, texts))) for texts in zip(*rows, strict=True))
    gap = (Cell(""),) * layout.columns
    lines = [
        line
        for block in layout.body
        for line in (
            *((Line(block.title, gap),) if block.title else ()),
            *(map(_indented, block.lines) if block.indented else block.lines),
        )
    ]
    return replace(layout, heads=(heads,), body=(Block("", (*lines, *layout.foot)),), foot=(), title="")


def _indented(line: Line) -> Line:
    return replace(line, name=line.name and f"\u2003{line.name}")
