"""Numbers along a variable with their intervals: lines with bands, or markers with bars, in one panel or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import OptionError, counted, described
from betahat.plots.canvas import COLOURS, DASHED, axes_of, matplotlib, plain_frame, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_ACROSS = 3
# The shares of the distance between categories that markers of different series take.
_SPREAD = 0.5


@dataclass(frozen=True, eq=False)
class Curve:
    """Numbers that are drawn in one colour.

    Attributes
    ----------
    panel, label : str
        What stands above the panel, and in the legend; "" where there is one only.
    x, values : ndarray
        (m,) where they are, and what.
    bounds : ndarray
        (m, 2) the ends of their intervals.
    """

    panel: str
    label: str
    x: np.ndarray
    values: np.ndarray
    bounds: np.ndarray


@dataclass(frozen=True)
class Frame:
    """What stands around curves.

    Attributes
    ----------
    x, y, legend : str
        The titles of both axes and of the legend.
    ticks : tuple of str or None
        The names of the positions 0, 1, ... of categories; None where x is a number.
    lines : bool
        Whether the numbers are joined.
    reference : float or None
        Where a dashed line stands.
    """

    x: str
    y: str
    legend: str
    ticks: tuple[str, ...] | None
    lines: bool
    reference: float | None


def draw_curves(curves: Sequence[Curve], frame: Frame, ax: Any) -> Any:
    """Draw curves on the user's axes, or on those of a new figure; return the axes, an array of them where there are several panels."""
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    labels = list(dict.fromkeys(curve.label for curve in curves))
    if len(labels) > len(COLOURS):
        raise OptionError(
            f"The figure would have {counted(len(labels), 'colour')} for {frame.legend!r}, more than can be told apart; choose up to {len(COLOURS)} values."
        )
    places, across = _axes(ax, len(panels)), _across(len(panels))
    for number, (panel, axes) in enumerate(zip(panels, places, strict=True)):
        for curve in curves:
            if curve.panel == panel:
                _draw(axes, curve, frame, labels.index(curve.label), len(labels))
        if panel:
            axes.set_title(panel, fontsize="medium", parse_math=False)
        _dress(axes, frame, first=number % across == 0, last=number + across >= len(panels))
    if len(labels) > 1:
        _write_legend(places, frame.legend, own=ax is not None)
    return places[0] if len(places) == 1 else np.array(places, dtype=object)


def _across(panels: int) -> int:
    """Return how many panels stand beside each other."""
    return 2 if panels == 4 else min(panels, _ACROSS)


def _axes(ax: Any, panels: int) -> list[Axes]:
    """Return the axes of each panel."""
    if panels == 1:
        return [axes_of(ax, 5.6, 3.6)]
    if ax is not None:
        given = [] if isinstance(ax, str) else list(np.ravel(ax))
        if len(given) != panels:
            raise OptionError(
                f"ax is {described(ax)}, and the figure has {panels} panels; pass as many axes, or omit ax for a new figure."
            )
        return [axes_of(one, 0.0, 0.0) for one in given]
    across = _across(panels)
    down = -(-panels // across)
    options = {"squeeze": False, "sharex": True, "sharey": True, "layout": "constrained"}
    made = (
        matplotlib("pyplot")
        .subplots(down, across, figsize=(1.4 + 2.6 * across, 0.8 + 2.6 * down), **options)[1]
        .ravel()
    )
    for rest in made[panels:]:
        rest.set_visible(False)
    for place, axes in enumerate(made[:panels]):
        axes.tick_params(labelbottom=place + across >= panels)
    return list(made[:panels])


def _write_legend(places: Sequence[Axes], title: str, *, own: bool) -> None:
    """Write the legend beside a panel, beside all panels of a new figure, or within the user's last axes."""
    if own:
        places[-1].legend(title=title)
    elif len(places) == 1:
        places[0].legend(title=title, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        places[0].figure.legend(
            *places[0].get_legend_handles_labels(), title=title, frameon=False, loc="outside right upper"
        )


def _draw(axes: Axes, curve: Curve, frame: Frame, number: int, many: int) -> None:
    """Draw one curve, or its markers beside those of the others."""
    look: dict[str, Any] = {"label": curve.label or None, "zorder": 3}
    low, high = curve.bounds.T
    if frame.lines:
        colour = COLOURS[number]
        axes.fill_between(curve.x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(curve.x, curve.values, color=colour, linestyle=_DASHES[number % len(_DASHES)], **look)
        return
    step = (1.0 if frame.ticks is not None else _distance(curve.x)) * _SPREAD / max(many, 2)
    x = curve.x + (number - (many - 1) / 2) * step
    axes.vlines(x, low, high, color=COLOURS[number], linewidth=1.1, zorder=2)
    axes.plot(x, curve.values, **style(number), **look)


def _distance(x: np.ndarray) -> float:
    """Return the smallest distance between numbers."""
    return float(np.diff(np.unique(x)).min()) if len(np.unique(x)) > 1 else 1.0


def _dress(axes: Axes, frame: Frame, *, first: bool, last: bool) -> None:
    """Write what stands around the curves; the title of an axis stands once in a row or a column of panels."""
    axes.set_xlabel(frame.x if last else "", parse_math=False)
    axes.set_ylabel(frame.y if first else "", parse_math=False)
    if frame.ticks is not None:
        axes.set_xticks(range(len(frame.ticks)), frame.ticks)
        axes.set_xlim(-0.6, len(frame.ticks) - 0.4)
    elif not frame.lines:
        axes.xaxis.set_major_locator(matplotlib("ticker").MaxNLocator("auto", integer=True))
    if frame.reference is not None:
        axes.axhline(frame.reference, **DASHED)
    plain_frame(axes)
