"""What figures share: matplotlib, which is optional, and axes, colours and markers."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from betahat.errors import OptionError, described, optional_module

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which remain distinct under all types of colour blindness; markers tell them apart in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE = {"color": "0.45", "linewidth": 0.8}
DASHED = {**LINE, "linestyle": (0, (4, 3)), "zorder": 0}


def matplotlib(part: str) -> ModuleType:
    """Return a submodule of matplotlib, which is optional."""
    return optional_module(f"matplotlib.{part}", "Pictures need matplotlib", "plot")


def axes_of(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the user's axes, or those of a new figure whose size is in inches."""
    if ax is None:
        made: Axes = matplotlib("pyplot").subplots(figsize=(width, height), layout="constrained")[1]
        return made
    if not isinstance(ax, matplotlib("axes").Axes):
        raise OptionError(f"ax is {described(ax)}; pass the axes of a matplotlib figure, or omit ax for a new figure.")
    return ax


def style(number: int) -> dict[str, Any]:
    """Return the colour and marker of series 0, 1, ...; every other marker is open."""
    colour = COLOURS[number % len(COLOURS)]
    inside = colour if number % 2 == 0 else "white"
    return {
        "color": colour,
        "marker": MARKERS[number % len(MARKERS)],
        "markerfacecolor": inside,
        "markersize": 5.0,
        "markeredgewidth": 1.2,
        "linestyle": "none",
    }


def plain_frame(ax: Axes, *hidden: str) -> None:
    """Hide the top and the right side of the frame, and any others named."""
    for side in ("top", "right", *hidden):
        ax.spines[side].set_visible(False)
