"""A layout as semantic HTML: no scripts, everything escaped, in the colours of the page, light or dark."""

from __future__ import annotations

from dataclasses import replace
from html import escape

from betahat.tables.cells import Block, Cell, Layout, Line

# Notebooks and web pages style tables themselves; these rules are just specific enough to override them, and inherit the text's colour.
STYLE = """<style>
table.betahat.betahat { border-collapse: collapse; border: 0; margin: 1em 0; color: inherit; background: transparent;
  font-variant-numeric: tabular-nums; width: auto; display: table }
table.betahat.betahat caption { caption-side: top; padding: .4em; font-weight: 600; text-align: center; color: inherit }
table.betahat.betahat tr { background: transparent !important; border: 0 }
table.betahat.betahat :is(th, td) { border: 0; padding: .1em .7em; text-align: center; vertical-align: baseline;
  font-weight: normal; color: inherit; background: transparent; white-space: nowrap }
table.betahat.betahat th[scope^=row] { text-align: left; padding-left: .2em }
table.betahat.betahat th[scope=rowgroup] { font-style: italic; padding-top: .5em }
table.betahat.betahat th.member { padding-left: 1.2em }
table.betahat.betahat thead { border-top: 2px solid; border-bottom: 1px solid }
table.betahat.betahat th[scope=colgroup] { border-bottom: 1px solid }
table.betahat.betahat tbody + tbody.apart > tr:first-child > * { padding-top: .5em }
table.betahat.betahat tbody.ruled { border-top: 1px solid }
table.betahat.betahat tbody.last { border-bottom: 2px solid }
table.betahat.betahat tfoot { border-top: 1px solid }
table.betahat.betahat tfoot tr.last { border-bottom: 2px solid !important }
table.betahat.betahat td.note { text-align: left; white-space: normal; font-size: .85em; padding-left: .2em }
table.betahat.betahat td > span { display: inline-block; text-align: right }
table.betahat.betahat td > span + span { text-align: left }
</style>
"""


def render_html(layout: Layout) -> str:
    """Return the table as HTML, including its style sheet."""
    widths = [_widths(cells) for cells in zip(*(line.cells for line in layout.lines), strict=True)]
    body = "".join(
        f"<tbody class='{_classes(block, layout)}'>\n{_block(block, layout, widths)}</tbody>\n" for block in layout.body
    )
    foot = "".join(_row(line, widths, row=" class='last'" if line is layout.foot[-1] else "") for line in layout.foot)
    notes = "".join(
        f"<tr><td class='note' colspan='{layout.columns + 1}'>{escape(note)}</td></tr>\n" for note in layout.sentences
    )
    return (
        f"{STYLE}<table class='betahat'>\n{_caption(layout)}"
        f"<thead>\n{_heads(layout)}</thead>\n{body}<tfoot>\n{foot}{notes}</tfoot>\n</table>"
    )


def render_for_pandoc(layout: Layout) -> str:
    """Return the table as bare HTML: notes are paragraphs below it, rules are attributes for Typst."""
    body = "".join(_bare_block(block, layout) for block in layout.body)
    foot = "".join(_bare_row(line.name, line.cells) for line in layout.foot)
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in layout.sentences)
    starts = [len(layout.heads)]
    for block in layout.body:
        starts.append(starts[-1] + len(block.lines) + bool(block.title))
    *places, foot_at = starts
    last = foot_at + len(layout.foot) - 1
    ruled = [str(place) for place, block in zip(places, layout.body, strict=True) if block.ruled]
    rules = (
        f"(_, y) => (top: if y == 0 {{ 1.2pt }} else if y in ({', '.join([str(len(layout.heads)), *ruled, str(foot_at)])}) {{ 0.6pt }} else {{ 0pt }}, "
        f"bottom: if y == {last} {{ 1.2pt }} else {{ 0pt }})"
    )
    return (
        f"<table data-typst:stroke='{escape(rules)}' data-typst:inset='(x: 6pt, y: 3pt)'>\n"
        f"{_caption(layout)}<thead>\n{_heads(layout)}</thead>\n<tbody>\n{body}</tbody>\n<tfoot>\n{foot}</tfoot>\n</table>\n{notes}"
    )


def _classes(block: Block, layout: Layout) -> str:
    """Return the classes of a block: a rule stands above a panel, and below the last block where no statistics follow."""
    ends = not layout.foot and block is layout.body[-1]
    return "apart" + " ruled" * block.ruled + " last" * ends


def _caption(layout: Layout) -> str:
    return f"<caption>{escape(layout.title)}</caption>\n" if layout.title else ""


def _heads(layout: Layout) -> str:
    return "".join(f"<tr><td></td>{''.join(map(_head, cells))}</tr>\n" for cells in layout.heads)


def _head(cell: Cell) -> str:
    if cell.span == 1:
        return f"<th scope='col' style='text-align: center'>{escape(cell.text)}</th>"
    rule = "data-typst:stroke='(bottom: 0.5pt)'"
    return f"<th scope='colgroup' colspan='{cell.span}' style='text-align: center' {rule}>{escape(cell.text)}</th>"


def _block(block: Block, layout: Layout, widths: Widths) -> str:
    rows = "".join(_row(line, widths, " class='member'" if block.indented else "") for line in block.lines)
    if not block.title:
        return rows
    return f"<tr><th scope='rowgroup' colspan='{layout.columns + 1}'>{escape(block.title)}</th></tr>\n{rows}"


def _bare_block(block: Block, layout: Layout) -> str:
    """Return rows for pandoc, which mistakes a row of header cells for the head of a table and ignores indentation."""
    indent = "\u2003" if block.indented else ""
    rows = "".join(_bare_row(line.name and f"{indent}{line.name}", line.cells) for line in block.lines)
    if not block.title:
        return rows
    return f"<tr><td colspan='{layout.columns + 1}' style='text-align: left'><em>{escape(block.title)}</em></td></tr>\n{rows}"


def _bare_row(name: str, cells: tuple[Cell, ...]) -> str:
    first = f"<th scope='row' style='text-align: left'>{escape(name)}</th>" if name else "<td></td>"
    rest = (f"<td style='text-align: center'>{escape(cell.printed + cell.marks)}</td>" for cell in cells)
    return f"<tr>{first}{''.join(rest)}</tr>\n"


def _row(line: Line, widths: Widths, name: str = "", row: str = "") -> str:
    cells = "".join(_cell(cell, width) for cell, width in zip(line.cells, widths, strict=True))
    first = f"<th scope='row'{name}>{escape(line.name)}</th>" if line.name else "<td></td>"
    return f"<tr{row}>{first}{cells}</tr>\n"


def _cell(cell: Cell, width: tuple[float, int]) -> str:
    """Align a number at the decimal point with two boxes whose widths are the same in all rows."""
    if not cell.decimal:
        return f"<td>{escape(cell.printed)}</td>"
    before, after = replace(cell, text=cell.printed).parts
    return (
        f"<td><span style='width:{width[0]:g}ch'>{escape(before)}</span>"
        f"<span style='width:{width[1]}ch'>{escape(after + cell.marks)}</span></td>"
    )


# The width of each column before the decimal point and from the decimal point on, in digits.
Widths = list[tuple[float, int]]
# A minus sign is wider than a digit in some fonts, such as DejaVu Sans.
_MINUS = 0.4


def _widths(cells: tuple[Cell, ...]) -> tuple[float, int]:
    numbers = [cell for cell in cells if cell.decimal]
    return (
        max((len(cell.parts[0]) + _MINUS * ("-" in cell.parts[0]) for cell in numbers), default=0),
        max((len(cell.parts[1] + cell.marks) for cell in numbers), default=0),
    )
