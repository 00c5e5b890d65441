"""Coefficients of quantile regressions over the quantiles: Koenker and Hallock's picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from betahat.errors import OptionError, counted, described, listed
from betahat.inference.distribution import check_alpha
from betahat.inference.resampled import Method
from betahat.plots.canvas import COLOURS, DASHED, axes_of, matplotlib, plain_frame
from betahat.tables.estimates import Estimates, about
from betahat.tables.terms import Rename, Terms, choose, renamed

# A panel's width and height in inches, and how many stand side by side.
_WIDE, _HIGH, _ACROSS = 3.2, 2.6, 3


def plot_quantiles(
    result: Estimates,
    beside: Estimates | None = None,
    *,
    keep: Terms | None = None,
    drop: Terms | None = None,
    order: Terms | None = None,
    rename: Rename | None = None,
    alpha: float = 0.05,
    method: Method | None = None,
    axes: Any = None,
) -> Any:
    """Draw each coefficient of a quantile regression against the quantile, with a band of intervals.

    Parameters
    ----------
    result : QuantRegResults
        Of several quantiles, ``fit(q=[0.1, 0.2, ...])``.
    beside : Results, optional
        Of the same regressors, by least squares say: a line and its interval, the same for every quantile.
    keep, drop, order, rename
        As in `coefplot`.
    alpha : float
        Intervals have coverage 1 - alpha.
    method : str, optional
        The type of bootstrap interval, as in ``Results.conf_int``; "sup-t" is a band that covers all at once.
    axes : array_like of matplotlib.axes.Axes, optional
        One for each coefficient; by default a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes

    Raises
    ------
    OptionError
        Results of one quantile, or of no quantile regression; another number of axes; `beside` of other regressors.
    MissingPackageError
        matplotlib is not installed.

    References
    ----------
    Koenker and Hallock (2001), J. Economic Perspectives 15(4), figure 4. R: ``plot(summary(rq(..., tau = seq(...))))``.

    Examples
    --------
    >>> import statsmodels.api as sm
    >>> import betahat as bh
    >>> engel = sm.datasets.engel.load_pandas().data
    >>> res = bh.quantreg("foodexp ~ income", engel).fit(q=[0.1, 0.25, 0.5, 0.75, 0.9])
    >>> mean = bh.ols("foodexp ~ income", engel).fit()
    >>> axes = bh.plot_quantiles(res, mean, drop="Intercept")
    >>> [ax.get_title() for ax in axes]
    ['income']
    """
    quantiles = _quantiles(result)
    check_alpha(alpha)
    names = [name for _, name in result.equation_terms]
    columns = names[: len(names) // len(quantiles)]
    chosen = choose(columns, keep, drop, order)
    estimates = result.coefficient_table()[:, 0].reshape(len(quantiles), -1)
    bounds = result.interval_table(alpha, method).reshape(len(quantiles), -1, 2)
    level = None if beside is None else _level(beside, chosen, alpha)
    panels = _panels(axes, len(chosen))
    ordered = np.argsort(quantiles)
    quantiles, estimates, bounds = quantiles[ordered], estimates[ordered], bounds[ordered]
    for ax, name in zip(panels, chosen, strict=True):
        place = columns.index(name)
        if level is not None:
            value, low, high = level[name]
            ax.axhspan(low, high, color="0.88", linewidth=0, zorder=0)
            ax.axhline(value, **DASHED)
        ax.fill_between(quantiles, bounds[:, place, 0], bounds[:, place, 1], color=COLOURS[0], alpha=0.25, linewidth=0)
        ax.plot(quantiles, estimates[:, place], color=COLOURS[0], marker="o", markersize=3.5, linewidth=1.2)
        ax.set_title(renamed(name, rename), fontsize="medium")
        ax.set_xlabel("q")
        plain_frame(ax)
    return panels


def _quantiles(result: Any) -> np.ndarray:
    """Return (J,) the quantiles of results of several."""
    if not isinstance(result, Estimates):
        raise OptionError(
            f"plot_quantiles draws the results of QuantReg, not {described(result)}; pass what .fit(q=[...]) returned."
        )
    fit = about(result).fit
    if fit is None or not fit.equations or not fit.objective.checks:
        raise OptionError(
            "plot_quantiles draws coefficients over several quantiles; pass the results of QuantReg(...).fit(q=[0.1, 0.2, ...])."
        )
    return np.array([check.q for check in fit.objective.checks])


def _level(beside: Any, chosen: list[str], alpha: float) -> dict[str, tuple[float, float, float]]:
    """Return the coefficients and intervals of results without quantiles, by name."""
    if not isinstance(beside, Estimates):
        raise OptionError(f"beside is {described(beside)}; pass results, such as those of OLS on the same regressors.")
    missing = [name for name in chosen if name not in beside.names]
    if missing:
        raise OptionError(
            f"beside has no coefficient of {listed(missing)}; pass results of the same regressors, or keep=[...] those that it has."
        )
    values, bounds = beside.coefficient_table()[:, 0], beside.interval_table(alpha)
    places = {name: beside.names.index(name) for name in chosen}
    return {name: (float(values[i]), float(bounds[i, 0]), float(bounds[i, 1])) for name, i in places.items()}


def _panels(axes: Any, count: int) -> np.ndarray:
    """Return (m,) the user's axes, or those of a new figure."""
    if axes is None:
        across = min(count, _ACROSS)
        down = -(-count // across)
        figure = matplotlib("pyplot").figure(figsize=(_WIDE * across, _HIGH * down), layout="constrained")
        return np.array([figure.add_subplot(down, across, i + 1) for i in range(count)], dtype=object)
    items = (
        list(axes.flat) if isinstance(axes, np.ndarray) else list(axes) if isinstance(axes, list | tuple) else [axes]
    )
    if len(items) != count:
        raise OptionError(
            f"axes has {counted(len(items), 'element')}; pass one for each of {counted(count, 'coefficient')}, or omit it."
        )
    given = np.empty(count, dtype=object)
    for place, item in enumerate(items):  # np.array would take a tensor apart
        given[place] = axes_of(item, _WIDE, _HIGH)
    return given
