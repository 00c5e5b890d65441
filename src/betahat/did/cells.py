"""Cells of cohort and period: the dummies of an event study, and averages of their coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from betahat.did.panel import Panel, number_word, period_word
from betahat.errors import DataError, listed

By = Literal["event", "att", "cohort", "time", "cell"]


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells with an effect each.

    Attributes
    ----------
    names : tuple of str
        (c,) what the coefficients are called.
    cohorts, times : ndarray
        (c,) float64 the cohort and the period of each; NaN where a cell is not of a single one.
    events : ndarray
        (c,) float64 periods since treatment.
    codes : ndarray
        (n,) int64 the cell of each row of the panel, c for none.
    """

    names: tuple[str, ...]
    cohorts: np.ndarray
    times: np.ndarray
    events: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        """Return c."""
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages of cells' effects.

    Attributes
    ----------
    names : tuple of str
        (J,) what they are called.
    weights : ndarray
        (J, c) of the cells, which sum to one.
    places : ndarray
        (J,) float64 the event time, cohort or period of each; NaN of an average of all.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    places: np.ndarray


def cohort_cells(panel: Panel, ref: tuple[float, ...]) -> Cells:
    """Return a cell for each cohort and event time but those of reference, named by event time."""
    codes, cohorts, events = _with_reference(panel, ref)
    names = [
        f"event::{number_word(event)}:cohort::{panel.called(cohort)}"
        for cohort, event in zip(cohorts.tolist(), events.tolist(), strict=True)
    ]
    return Cells(tuple(names), cohorts, cohorts + events, events, codes)


def period_cells(panel: Panel, ref: tuple[float, ...] | None) -> Cells:
    """Return a cell for each cohort and period, named by period: those under treatment, or all but those of reference."""
    if ref is None:
        codes, pairs = _numbered(panel.used & panel.treated, np.column_stack([panel.cohorts, panel.times]))
        cohorts, times = pairs.T
    else:
        codes, cohorts, events = _with_reference(panel, ref)
        times = cohorts + events
    names = [
        f"cohort::{panel.called(cohort)}:time::{panel.called(time)}"
        for cohort, time in zip(cohorts.tolist(), times.tolist(), strict=True)
    ]
    return Cells(tuple(names), cohorts, times, times - cohorts, codes)


def event_cells(panel: Panel, ref: tuple[float, ...]) -> Cells:
    """Return a cell for each event time but those of reference, of all cohorts together."""
    own = panel.used & np.isfinite(panel.cohorts) & ~np.isin(panel.events, ref)
    codes, events = _numbered(own, panel.events[:, None])
    nothing = np.full(len(events), np.nan)
    names = [f"event::{number_word(event)}" for event in events[:, 0].tolist()]
    return Cells(tuple(names), nothing, nothing, events[:, 0], codes)


def averages(cells: Cells, sizes: np.ndarray, by: By, words: Mapping[float, str]) -> Averages:
    """Average effects by the (c,) sizes of their cells: by event time all of them, otherwise those under treatment."""
    after = cells.events >= 0.0
    if by == "cell":
        return Averages(cells.names, np.eye(len(cells)), np.full(len(cells), np.nan))
    if by == "att":
        return Averages(("ATT",), (after * sizes / (after * sizes).sum())[None], np.full(1, np.nan))
    keys = {"event": cells.events, "cohort": cells.cohorts, "time": cells.times}[by]
    own = (sizes > 0) if by == "event" else after & (sizes > 0)
    places = np.unique(keys[own])
    members = (keys == places[:, None]) & own
    weights = members * sizes
    called = {} if by == "event" else words
    names = tuple(f"{by}::{period_word(place, called)}" for place in places.tolist())
    return Averages(names, weights / weights.sum(1, keepdims=True), places)


def _with_reference(panel: Panel, ref: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (n,) the cell of each row, and (c,) the cohorts and event times of all cells but those of reference."""
    own = panel.used & np.isfinite(panel.cohorts) & ~np.isin(panel.events, ref)
    codes, pairs = _numbered(own, np.column_stack([panel.events, panel.cohorts]))
    return codes, pairs[:, 1], pairs[:, 0]


def _numbered(own: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) which of (c, m) distinct keys each of its `own` rows has, c for other rows, and the keys."""
    found, places = np.unique(keys[own], axis=0, return_inverse=True)
    codes = np.full(len(own), len(found), np.int64)
    codes[own] = places.reshape(-1)
    return codes, found


def check_reference(panel: Panel, ref: tuple[float, ...]) -> None:
    """Refuse cohorts without a row at an event time of reference."""
    there = panel.used & np.isfinite(panel.cohorts)
    cohorts = np.unique(panel.cohorts[there])
    known = np.unique(panel.cohorts[there & np.isin(panel.events, ref)])
    without = [panel.called(cohort) for cohort in cohorts.tolist() if cohort not in known]
    if without:
        several = len(without) > 1
        raise DataError(
            f"{'Cohorts' if several else 'Cohort'} {listed(without)} {'have' if several else 'has'} no row at event time "
            f"{' or '.join(map(number_word, ref))}, from which effects are measured; pass another ref, or leave the {'cohorts' if several else 'cohort'} out."
        )
