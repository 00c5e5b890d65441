"""A layout as Markdown, Typst and Word: pandoc reads the HTML that only says what is what, and writes them."""

from __future__ import annotations

import importlib
from dataclasses import replace
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from betahat.errors import OptionError
from betahat.tables.cells import Block, Cell, Layout, Line
from betahat.tables.html import render_bare_html


def render_markdown(layout: Layout) -> str:
    """Return a pipe table of GitHub's Markdown, whose head has one row."""
    return f"**{_converted(escape(layout.title), 'gfm').strip()}**\n\n" + _converted(
        render_bare_html(_flat(layout)), "gfm"
    )


def render_typst(layout: Layout) -> str:
    """Return a figure of Typst."""
    return _converted(render_bare_html(layout), "typst")


def write_docx(layout: Layout, path: Path) -> None:
    """Write a Word document."""
    _converted(render_bare_html(layout), "docx", path)


def _converted(text: str, to: str, path: Path | None = None) -> str:
    try:
        pandoc: Any = importlib.import_module("pypandoc")
        found: str = pandoc.convert_text(
            text, to, format="html", outputfile=path and str(path), extra_args=["--wrap=none"]
        )
    except ImportError as error:
        raise _missing(to, "is not installed") from error
    except (OSError, RuntimeError) as error:
        raise _missing(to, f"cannot do so ({str(error).strip().splitlines()[-1]})") from error
    return found


def _missing(to: str, why: str) -> OptionError:
    return OptionError(f"{to} is written by pandoc, which {why}: pip install 'betahat[documents]'.")


def _flat(layout: Layout) -> Layout:
    """Put the head into one row, and all others into one block, which is what a pipe table has."""
    rows = [list(chain.from_iterable([cell.text] * cell.span for cell in cells)) for cells in layout.heads]
    heads = tuple(Cell(" ".join(filter(None, texts))) for texts in zip(*rows, strict=True))
    gap = (Cell(""),) * layout.columns
    lines = [
        line for block in layout.body for line in (*([Line(block.title, gap)] if block.title else []), *block.lines)
    ]
    return replace(layout, heads=(heads,), body=(Block("", (*lines, *layout.foot)),), foot=(), title="")
