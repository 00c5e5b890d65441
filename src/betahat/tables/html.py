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
    body = "".join(f"<tbody class='apart'>\n{_block(block, layout, widths)}</tbody>\n" for block in layout.body)
    foot = "".join(_row(line, widths, row=" class='last'" if line is layout.foot[-1] else "") for line in layout.foot)
    notes = "".join(
        f"<tr><td class='note' colspan='{layout.columns + 1}'>{_escaped(note)}</td></tr>\n" for note in layout.sentences
    )
    return (
        f"{STYLE}<table class='betahat'>\n<caption>{_escaped(layout.title)}</caption>\n"
        f"<thead>\n{_heads(layout)}</thead>\n{body}<tfoot>\n{foot}{notes}</tfoot>\n</table>"
    )


def render_for_pandoc(layout: Layout) -> str:
    """Return the table as HTML that only says what is what; notes are paragraphs below, and Typst's rules are attributes."""
    body = "".join(_block(block, layout, None) for block in layout.body)
    foot = "".join(_row(line, None) for line in layout.foot)
    notes = "".join(f"<p>{_escaped(note)}</p>\n" for note in layout.sentences)
    titles = sum(bool(block.title) for block in layout.body)
    foot_at = len(layout.heads) + len(layout.lines) - len(layout.foot) + titles
    last = foot_at + len(layout.foot) - 1
    rules = (
        f"(_, y) => (top: if y == 0 {{ 1.2pt }} else if y in ({len(layout.heads)}, {foot_at}) {{ 0.6pt }} else {{ 0pt }}, "
        f"bottom: if y == {last} {{ 1.2pt }} else {{ 0pt }})"
    )
    return (
        f"<table data-typst:stroke='{_escaped(rules)}' data-typst:inset='(x: 6pt, y: 3pt)'>\n"
        f"<caption>{_escaped(layout.title)}</caption>\n"
        f"<thead>\n{_heads(layout)}</thead>\n<tbody>\n{body}</tbody>\n<tfoot>\n{foot}</tfoot>\n</table>\n{notes}"
    )


def _heads(layout: Layout) -> str:
    return "".join(f"<tr><td></td>{''.join(map(_head, cells))}</tr>\n" for cells in layout.heads)


def _head(cell: Cell) -> str:
    if cell.span == 1:
        return f"<th scope='col'>{_escaped(cell.text)}</th>"
    rule = "data-typst:stroke='(bottom: 0.5pt)'"
    return f"<th scope='colgroup' colspan='{cell.span}' style='text-align: center' {rule}>{_escaped(cell.text)}</th>"


def _block(block: Block, layout: Layout, widths: Widths) -> str:
    if not block.title:
        return "".join(_row(line, widths) for line in block.lines)
    title = f"<th scope='rowgroup' colspan='{layout.columns + 1}'>{_escaped(block.title)}</th>"
    return f"<tr>{title}</tr>\n" + "".join(_row(line, widths, " class='member'") for line in block.lines)


def _row(line: Line, widths: Widths, name: str = "", row: str = "") -> str:
    if widths is None:
        cells = "".join(
            f"<td style='text-align: center'>{_escaped(cell.text + cell.marks)}</td>" for cell in line.cells
        )
    else:
        cells = "".join(_cell(cell, width) for cell, width in zip(line.cells, widths, strict=True))
    name = name if widths is not None else " style='text-align: left'"
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


# Of each column, the letters before the decimal point and from it on; None puts nothing on its decimal point.
Widths = list[tuple[int, int]] | None


def _widths(cells: tuple[Cell, ...]) -> tuple[int, int]:
    numbers = [cell for cell in cells if cell.decimal]
    return (
        max((len(cell.parts[0]) for cell in numbers), default=0),
        max((len(cell.parts[1] + cell.marks) for cell in numbers), default=0),
    )


def _escaped(text: str) -> str:
    """Escape what HTML would read, and write a number's sign as a minus."""
    return html.escape(re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text))
