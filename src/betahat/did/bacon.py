"""`bacon`: what two-way fixed effects compare, by Goodman-Bacon's decomposition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.data.handed_out import hands_out_copies
from betahat.did.panel import Panel, label_word, outcome_text, read_panel
from betahat.errors import DataError, OptionError, counted, listed, shown
from betahat.lazy import lazily
from betahat.models.linear import OLS, model_of_formula
from betahat.models.regressors import caller
from betahat.plots.decomposition import plot_decomposition
from betahat.tables.cells import Block, Cell, Layout, Line, plain
from betahat.tables.numbers import number_format
from betahat.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

EARLIER, LATER = "Earlier vs later treated", "Later vs earlier treated"
UNTREATED, ALWAYS = "Treated vs untreated", "Treated vs always treated"


@hands_out_copies
@dataclass(frozen=True, eq=False, repr=False)
class Bacon:
    """Goodman-Bacon's decomposition of the two-way fixed effects estimate.

    Attributes
    ----------
    pairs : pandas.DataFrame
        A row for each comparison of two groups: "treated" and "control" (their cohorts), "kind", "weight" and "estimate".
    estimate : float
        The two-way fixed effects estimate, which is the sum of weights times estimates.
    endog_name : str
        The outcome.
    """

    pairs: pd.DataFrame
    estimate: float
    endog_name: str

    def kinds(self) -> pd.DataFrame:
        """Return the total weight and the weighted mean of the estimates of each kind of comparison.

        Returns
        -------
        pandas.DataFrame
            "weight" and "estimate", a row for each kind.
        """
        order = [kind for kind in (UNTREATED, EARLIER, LATER, ALWAYS) if kind in set(self.pairs["kind"])]
        weights = self.pairs.groupby("kind")["weight"].sum()
        sums = (self.pairs["weight"] * self.pairs["estimate"]).groupby(self.pairs["kind"]).sum()
        return pd.DataFrame({"weight": weights, "estimate": sums / weights}).loc[order].rename_axis(None)

    def table(self, digits: int = 4) -> Table:
        """Return the kinds of comparisons, with their number, weight and estimate, as a table that prints to text, LaTeX and HTML.

        Parameters
        ----------
        digits : int
            After the decimal point.

        Returns
        -------
        Table
        """
        frame, shown_as = self.kinds(), number_format(digits, None)
        frame.insert(0, "pairs", self.pairs.groupby("kind").size())
        lines = tuple(
            Line(
                str(kind),
                (
                    Cell(str(int(row["pairs"]))),
                    *(Cell(shown_as(row[name]), decimal=True) for name in ("weight", "estimate")),
                ),
            )
            for kind, row in frame.iterrows()
        )
        total = Line(
            "Two-way fixed effects",
            (
                Cell(str(len(self.pairs))),
                Cell(shown_as(1.0), decimal=True),
                Cell(shown_as(self.estimate), decimal=True),
            ),
        )
        layout = Layout(
            f"Goodman-Bacon decomposition of {self.endog_name}",
            heads=(plain(["Comparisons", "Weight", "Estimate"]),),
            body=(Block("", lines),),
            foot=(total,),
            notes=("Estimates are weighted means over the comparisons of a kind.",),
        )
        return Table(frame, layout)

    def plot(self, **options: Any) -> Any:
        """Draw the estimate of each comparison against its weight.

        Parameters
        ----------
        **options
            `ax`, the axes of a matplotlib figure.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return plot_decomposition(self.pairs, self.estimate, **options)

    def __repr__(self) -> str:
        """Return the table as text."""
        return self.table().to_text()


def bacon(data: Any, y: str, unit: str, time: str, cohort: str, *, never: Any = None) -> Bacon:
    """Decompose the two-way fixed effects estimate into comparisons of two groups over two spans of time.

    The regression of y on a dummy for treatment, with effects of units and periods, is a weighted mean of all differences in differences between cohorts. Those
    of kind "Later vs earlier treated" use units as controls that are treated already, and mislead where effects change over time.

    Parameters
    ----------
    data, y, unit, time, cohort, never
        As in `event_study`; each unit has one row in each period.

    Returns
    -------
    Bacon
        With `pairs`, `kinds()`, `estimate`, `table()` and `plot()`.

    Raises
    ------
    DataError
        The panel is not balanced, values are missing, or nothing varies.

    References
    ----------
    Goodman-Bacon (2021), Difference-in-differences with variation in treatment timing, J. Econometrics 225(2).

    Examples
    --------
    >>> import betahat as bh
    >>> rows = [(i, t, g) for i, g in enumerate([3, 3, 4, 4, 0, 0]) for t in range(1, 6)]
    >>> data = {
    ...     "id": [i for i, _, _ in rows],
    ...     "year": [t for _, t, _ in rows],
    ...     "first": [g for _, _, g in rows],
    ...     "y": [i + 0.1 * t * t + 2.0 * (0 < g <= t) for i, t, g in rows],
    ... }
    >>> bh.bacon(data, "y", "id", "year", "first").kinds().round(4)
                              weight  estimate
    Treated vs untreated       0.750       2.0
    Earlier vs later treated   0.125       2.0
    Later vs earlier treated   0.125       2.0
    """
    if not isinstance(y, str) or not isinstance(unit, str):
        raise OptionError(f"y is {shown(y)} and unit {shown(unit)}; pass the names of two columns.")
    panel = read_panel(data, unit, time, cohort, never)
    model = model_of_formula(OLS, f"{outcome_text(panel, y)} ~ 1", panel.frame, {"missing": "drop"}, caller(2))
    outcome = model.sample.column("endog").double().cpu().numpy()
    groups, means = _means(panel, outcome)
    pairs = list(_compared(panel, groups, means))
    frame = pd.DataFrame(pairs, columns=["treated", "control", "kind", "weight", "estimate"])
    if not frame["weight"].sum() > 0:
        raise DataError(
            "Treatment does not vary between units over time, so that there is nothing to compare; check the cohorts."
        )
    frame["weight"] /= frame["weight"].sum()
    total = float((frame["weight"] * frame["estimate"]).sum())
    return Bacon(frame, total, model.sample.endog_name)


@dataclass(frozen=True, eq=False)
class _Group:
    """A cohort: its period of first treatment, the share of units in it, and its mean outcomes by period."""

    cohort: float
    share: float
    means: np.ndarray  # (T,)


def _means(panel: Panel, outcome: np.ndarray) -> tuple[list[_Group], np.ndarray]:
    """Return the cohorts, and the (T,) periods, of a panel that must be balanced."""
    periods, places = np.unique(panel.times, return_inverse=True)
    units, periods_count = len(np.unique(panel.units)), len(periods)
    rows = np.unique(np.column_stack([panel.units, places.reshape(-1)]), axis=0)
    if len(outcome) < len(panel.times):
        raise DataError(
            f"{counted(len(panel.times) - len(outcome), 'row')} of the outcome {'is' if len(panel.times) - len(outcome) == 1 else 'are'} missing; the decomposition is "
            "exact for balanced panels alone: leave out the units that have gaps."
        )
    if len(rows) < len(panel.times) or len(rows) < units * periods_count:
        counts = np.bincount(panel.units)
        odd = panel.frame[panel.unit][(counts[panel.units] != periods_count)]
        named = f", as of {listed([label_word(label) for label in pd.unique(odd)], limit=3)}" if len(odd) else ""
        raise DataError(
            f"The panel is not balanced: there are {len(panel.times)} rows for {units} units and {periods_count} periods{named}; the decomposition is exact for "
            "one row of each unit in each period alone."
        )
    # All that are treated from the first period on are one group.
    cohorts = np.where(panel.cohorts <= periods[0], -np.inf, panel.cohorts)
    found = []
    for cohort in np.unique(cohorts).tolist():
        own = cohorts == cohort
        sums = np.bincount(places.reshape(-1)[own], outcome[own], periods_count)
        found.append(_Group(cohort, float(own.mean()), sums / (own.sum() / periods_count)))
    return found, periods


def _compared(panel: Panel, groups: list[_Group], periods: np.ndarray) -> Iterator[tuple[str, str, str, float, float]]:
    """Yield cohorts, kind, weight and estimate of each comparison; weights are up to a factor that is the same for all."""
    count = len(periods)

    def called(group: _Group) -> str:
        return {np.inf: "never", -np.inf: "always"}.get(group.cohort) or panel.called(group.cohort)

    timed = [group for group in groups if np.isfinite(group.cohort)]
    for group in timed:
        share = float((periods >= group.cohort).sum() / count)  # of periods under treatment
        after = periods >= group.cohort
        for other in groups:
            if np.isfinite(other.cohort):
                continue
            weight = group.share * other.share * share * (1.0 - share)
            kind = UNTREATED if other.cohort > 0 else ALWAYS
            yield called(group), called(other), kind, weight, _change(group, after) - _change(other, after)
    for i, early in enumerate(timed):
        for late in timed[i + 1 :]:
            first, second = (float((periods >= group.cohort).mean()) for group in (early, late))
            product = early.share * late.share * (first - second)
            window = periods < late.cohort
            after = periods[window] >= early.cohort
            gap = _change(early, after, window) - _change(late, after, window)
            yield called(early), called(late), EARLIER, product * (1.0 - first), gap
            window = periods >= early.cohort
            after = periods[window] >= late.cohort
            gap = _change(late, after, window) - _change(early, after, window)
            yield called(late), called(early), LATER, product * second, gap


def _change(group: _Group, after: np.ndarray, window: np.ndarray | slice = slice(None)) -> float:
    """Return the mean after less the mean before, within a window of periods."""
    own = group.means[window]
    return float(own[after].mean() - own[~after].mean())
