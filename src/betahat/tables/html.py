"""A layout as semantic HTML: no script, everything escaped, the page's own colours in light and in dark."""

from __future__ import annotations

import html
import re

from betahat.tables.cells import Block, Cell, Layout, Line

# Notebooks and pages have rules of their own for tables; these are as specific as they need to be, and take the text's colour.
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
table.betahat.betahat tfoot { border-top: 1px solid }
table.betahat.betahat tfoot tr.last { border-bottom: 2px solid !important }
table.betahat.betahat td.note { text-align: left; white-space: normal; font-size: .85em; padding-left: .2em }
table.betahat.betahat td > b { display: inline-block; font-weight: normal; text-align: right }
table.betahat.betahat td > b + b { text-align: left }
</style>
"""


def render_html(layout: Layout) -> str:
    """Return the table as HTML, with its style."""
    widths = [_widths(cells) for cells in zip(*(line.cells for line in layout.lines), strict=True)]
    return STYLE + _table(layout, widths)


def render_bare_html(layout: Layout) -> str:
    """Return the table as HTML that only says what is what, for a converter; notes are paragraphs below."""
    notes = "".join(f"<p>{_escaped(note)}</p>\n" for note in layout.sentences)
    return _table(layout, None).replace(" class='betahat'", "", 1) + "\n" + notes


def _table(layout: Layout, widths: list[tuple[int, int]] | None) -> str:
    heads = "".join(_head(cells) for cells in layout.heads)
    body = "".join(_block(block, widths, layout.columns) for block in layout.body)
    foot = "".join(_row(line, widths, "", " class='last'" if line is layout.foot[-1] else "") for line in layout.foot)
    width = layout.columns + 1
    notes = "".join(f"<tr><td class='note' colspan='{width}'>{_escaped(note)}</td></tr>\n" for note in layout.sentences)
    notes = notes if widths is not None else ""
    return (
        f"<table class='betahat'>\n<caption>{_escaped(layout.title)}</caption>\n<thead>\n{heads}</thead>\n{body}"
        f"<tfoot>\n{foot}{notes}</tfoot>\n</table>"
    )


def _head(cells: tuple[Cell, ...]) -> str:
    return f"<tr><td></td>{''.join(map(_head_cell, cells))}</tr>\n"


def _head_cell(cell: Cell) -> str:
    scope = f"scope='colgroup' colspan='{cell.span}'" if cell.span > 1 else "scope='col'"
    return f"<th {scope}>{_escaped(cell.text)}</th>"


def _block(block: Block, widths: list[tuple[int, int]] | None, columns: int) -> str:
    title = (
        f"<tr><th scope='rowgroup' colspan='{columns + 1}'>{_escaped(block.title)}</th></tr>\n" if block.title else ""
    )
    member = " class='member'" if block.title else ""
    rows = "".join(_row(line, widths, member, "") for line in block.lines)
    return f"<tbody class='apart'>\n{title}{rows}</tbody>\n"


def _row(line: Line, widths: list[tuple[int, int]] | None, name: str, row: str) -> str:
    if widths is None:
        cells = "".join(f"<td>{_escaped(cell.text + cell.marks)}</td>" for cell in line.cells)
    else:
        cells = "".join(_cell(cell, width) for cell, width in zip(line.cells, widths, strict=True))
    first = f"<th scope='row'{name}>{_escaped(line.name)}</th>" if line.name else "<td></td>"
    return f"<tr{row}>{first}{cells}</tr>\n"


def _cell(cell: Cell, width: tuple[int, int]) -> str:
    """Put a number on its column's decimal point: two boxes of equal widths in all rows."""
    if not cell.decimal:
        return f"<td>{_escaped(cell.text)}</td>"
    before, after = cell.parts
    return (
        f"<td><b style='width:{width[0]}ch'>{_escaped(before)}</b>"
        f"<b style='width:{width[1]}ch'>{_escaped(after + cell.marks)}</b></td>"
    )


def _widths(cells: tuple[Cell, ...]) -> tuple[int, int]:
    numbers = [cell for cell in cells if cell.decimal]
    return (
        max((len(cell.parts[0]) for cell in numbers), default=0),
        max((len(cell.parts[1] + cell.marks) for cell in numbers), default=0),
    )


def _escaped(text: str) -> str:
    """Escape what HTML would read, and write a number's sign as a minus."""
    return html.escape(re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text))
