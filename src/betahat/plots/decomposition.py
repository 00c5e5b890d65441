"""The comparisons of two-way fixed effects: their estimates against their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from betahat.plots.canvas import DASHED, LINE, axes_of, plain_frame, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def plot_decomposition(pairs: pd.DataFrame, estimate: float, ax: Axes | None = None) -> Axes:
    """Draw each comparison's estimate against its weight, by kind, with a line at the estimate that they sum to."""
    axes = axes_of(ax, 6.4, 3.8)
    axes.axhline(0.0, **LINE, zorder=0)
    axes.axhline(estimate, **DASHED)
    for number, (kind, own) in enumerate(pairs.groupby("kind", sort=False)):
        axes.plot(own["weight"].to_numpy(), own["estimate"].to_numpy(), label=str(kind), **style(number))
    axes.set_xlabel("Weight")
    axes.set_ylabel("Estimate of the comparison")
    axes.set_xlim(left=0.0)
    axes.annotate(
        f"two-way fixed effects {estimate:.3g}",
        (1.0, estimate),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color="0.35",
        fontsize="small",
    )
    plain_frame(axes)
    axes.legend(frameon=False, handletextpad=0.3, loc="best")
    return axes
