"""What pictures share: matplotlib, which is optional, and axes, colours and markers."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from betahat.errors import OptionError, described, optional_module

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which no kind of colour blindness confuses; markers tell them apart in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE = {"color": "0.45", "linewidth": 0.8}
DASHED = {**LINE, "linestyle": (0, (4, 3)), "zorder": 0}


def matplotlib(part: str) -> ModuleType:
    """Return a module of matplotlib.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    return optional_module(f"matplotlib.{part}", "Pictures need matplotlib", "plot")


def axes_of(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes to draw on: the user's, or those of a new figure of this size in inches."""
    if ax is None:
        made: Axes = matplotlib("pyplot").subplots(figsize=(width, height), layout="constrained")[1]
        return made
    if not isinstance(ax, matplotlib("axes").Axes):
        raise OptionError(f"ax is {described(ax)}; pass one axes of matplotlib, or leave it out for a new figure.")
    return ax


def style(number: int) -> dict[str, Any]:
    """Return the colour and the marker of the first, second, ... of several; every other marker is open."""
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
    """Leave out the upper and the right side of the frame, and others."""
    for side in ("top", "right", *hidden):
        ax.spines[side].set_visible(False)
