"""`aggregate`: averages of the effects of cohorts and event times that a regression of one's own has."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

from betahat.data.design import Design
from betahat.did.cells import By, Cells
from betahat.did.regressions import Choice, Saturated
from betahat.did.rows import weights_of
from betahat.did.study import EventStudy
from betahat.errors import EstimationError, OptionError, described, is_one_of, listed, shown
from betahat.results.statsmodels_names import Results

# As `i(event, cohort)` names a pair of levels, here and in fixest.
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_PAIR = re.compile(rf"[^:]+::{_NUMBER}:([^:]+)::{_NUMBER}")


def aggregate(results: Results, by: By = "event") -> EventStudy:
    """Average the effects of cohorts and event times of a regression on ``sunab(cohort, period)``, as fixest's `aggregate` does.

    For what `event_study` does not have: other fixed effects, instruments, and other models, where effects are on the index.

    Parameters
    ----------
    results : Results
        With coefficients such as "year::2:cohort::2004", of ``sunab(cohort, year)``, or of ``i(event, cohort, ref=-1, ref2=0)``.
    by : {"event", "att", "cohort", "time", "cell"}
        What the averages are by; the result has the methods for the others.

    Returns
    -------
    EventStudy
        Under the covariance of the results. Effects are weighted by rows, or their weights.

    Raises
    ------
    OptionError
        There are no such coefficients.
    EstimationError
        Collinear columns leave some of them without an estimate.

    Examples
    --------
    >>> import betahat as bh
    >>> rows = [(i, t, g) for i, g in enumerate([3, 3, 4, 4, 0, 0]) for t in range(1, 6)]
    >>> data = {
    ...     "id": [i for i, _, _ in rows],
    ...     "year": [t for _, t, _ in rows],
    ...     "first": [g for _, _, g in rows],
    ...     "y": [i + 0.1 * t * t + 2.0 * (0 < g <= t) + ((i * t) % 3) / 50 for i, t, g in rows],
    ... }
    >>> res = bh.ols("y ~ sunab(first, year) | id + year", data).fit("HC1")
    >>> bh.aggregate(res, by="att").params.round(3)
    ATT    1.994
    dtype: float64
    """
    if not isinstance(results, Results):
        raise OptionError(f"aggregate needs results, as returned by .fit(), not {described(results)}.")
    if not is_one_of(by, ("event", "att", "cohort", "time", "cell")):
        raise OptionError(f"by is {shown(by)}; use 'event', 'att', 'cohort', 'time' or 'cell'.")
    found = [(name, match) for name in results.names if (match := _PAIR.fullmatch(name)) is not None]
    design: Any = results.fit.given
    if not found or not isinstance(design, Design) or len({match[2] for _, match in found}) > 1:
        what = listed(dict.fromkeys(match[2] for _, match in found)) if found else "none"
        raise OptionError(
            f"aggregate averages coefficients of one cohort variable such as 'year::2:cohort::2004', of sunab(cohort, year) in a formula, and there are "
            f"those of {what}; use bh.event_study, or write the regression with sunab()."
        )
    names = tuple(name for name, _ in found)
    events, cohorts = (np.array([float(match[part]) for _, match in found]) for part in (1, 3))
    _check_identified(results, names)
    columns = [design.names.index(name) for name in names]
    sizes = (weights_of(design) @ (design.column("exog")[:, columns] != 0).to(torch.float64)).cpu().numpy()
    kept = [design.names[i] for i in results.fit.kept]
    loadings = torch.zeros(len(names), len(results.fit.params)).to(results.fit.params)
    for place, name in enumerate(names):
        loadings[place, kept.index(name)] = 1.0
    cells = Cells(names, cohorts, cohorts + events, events, np.empty(0, np.int64))
    absorbed = results.fit.absorbed
    fixed = () if absorbed is None else absorbed.names
    left_out = tuple(time for time in (-1.0,) if time not in events)
    return EventStudy(Saturated(results, cells, loadings, sizes, {}), "aggregate", left_out, fixed, Choice(None), by)


def _check_identified(results: Results, names: tuple[str, ...]) -> None:
    """Refuse effects that collinear columns leave without an estimate of their own."""
    moved = results.fit.unidentified.any(1).tolist()
    kept = [results.fit.given.names[i] for i in results.fit.kept]
    estimated = {name for name, moves in zip(kept, moved, strict=False) if not moves} if moved else set(kept)
    lost = [name for name in names if name not in estimated]
    if lost:
        raise EstimationError(
            f"The effects of {listed(lost)} have no estimate of their own, as columns are collinear; leave out a level more in ref or ref2, or the rows of these cells."
        )
