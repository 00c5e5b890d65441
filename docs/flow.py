"""The picture of how rows become a table, drawn as SVG text in the page: no network, no script, legible on a telephone.

`setup` registers the directive ``flow``. Words are the glossary's; the colour is that of the page's text, by day and by night.
"""

from html import escape
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

WIDTH, BOX, HEIGHT, STEP = 360, 168, 44, 70
LEFT, RIGHT, BOTH = 4, WIDTH - BOX - 4, 96

# (what it is called, what it is, left edge, step)
BOXES = (
    ("rows", "frames, arrays, tensors", BOTH, 0),
    ("source and schema", "columns by block; names", BOTH, 1),
    ("problem", "objective, source, penalty", LEFT, 2),
    ("solver", "least squares, Newton, ...", LEFT, 3),
    ("fit", "estimate b, root Z", LEFT, 4),
    ("blocks", "fold, scan, gather", RIGHT, 2),
    ("scores", "s = -dl/dθ of each row", RIGHT, 3),
    ("influence", "u = Z's of each row", RIGHT, 4),
    ("core", "an estimator: C = Σ u u'", RIGHT, 5),
    ("covariance", "V = Z C Z'", BOTH, 6),
    ("results", "a fit and a covariance", BOTH, 7),
    ("table", "rows of cells, printed", BOTH, 8),
)
# From a box to a box, by their numbers above.
ARROWS = ((0, 1), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (4, 7), (7, 8), (8, 9), (4, 9), (9, 10), (10, 11))


def drawn() -> str:
    """Return the picture."""
    height = STEP * BOXES[-1][3] + HEIGHT + 8
    parts = [
        f'<svg class="flow" viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg" font-family="sans-serif">',
        "<title>From rows to a table</title>",
        '<defs><marker id="flow-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">',
        '<path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>',
        *(_arrow(*_ends(start, end)) for start, end in ARROWS),
        *(_box(*box) for box in BOXES),
        "</svg>",
    ]
    return "\n".join(parts)


def _top(step: int) -> int:
    return 4 + STEP * step


def _ends(start: int, end: int) -> tuple[float, float, float, float]:
    (_, _, x1, step1), (_, _, x2, step2) = BOXES[start], BOXES[end]
    if step1 == step2:  # beside each other
        return x1 + BOX, _top(step1) + HEIGHT / 2, x2, _top(step2) + HEIGHT / 2
    return _near(x1, x2), _top(step1) + HEIGHT, _near(x2, x1), _top(step2)


def _near(own: int, other: int) -> float:
    """Where an arrow leaves or meets a box: in its middle, or nearer to a box that stands to one side."""
    return own + BOX / 2 + max(-BOX / 4, min(BOX / 4, (other - own) / 2))


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="currentColor" stroke-width="1.2" marker-end="url(#flow-tip)"/>'


def _box(name: str, what: str, x: int, step: int) -> str:
    y, middle = _top(step), x + BOX / 2
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5" fill="none" stroke="currentColor"/>'
        f'<text x="{middle:g}" y="{y + 18}" text-anchor="middle" font-size="14" font-weight="bold" fill="currentColor">{escape(name)}</text>'
        f'<text x="{middle:g}" y="{y + 35}" text-anchor="middle" font-size="11" fill="currentColor">{escape(what)}</text>'
    )


class Flow(Directive):
    """The picture, where pages are HTML."""

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", drawn(), format="html")]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("flow", Flow)
    return {"parallel_read_safe": True}
