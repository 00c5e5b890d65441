"""`Order`: what tells which rows of a dataframe follow each other, for terms of other periods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from betahat.data.formulas.expressions import names_in
from betahat.errors import OptionError, described, shown


@dataclass(frozen=True)
class Order:
    """What tells which rows follow each other: expressions of their units, None where all are one series, and of their periods."""

    panel: str | None = None
    time: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """What there is, by option."""
        return {name: text for name, text in (("panel", self.panel), ("time", self.time)) if text is not None}


def read_order(panel: Any, time: Any) -> Order:
    """Read the options of a formula."""
    for name, value in (("panel", panel), ("time", time)):
        if not (value is None or isinstance(value, str)):
            raise OptionError(
                f"{name} is {described(value)}; beside a formula it is the name of a column, or an expression of columns, such as {name}='{_SUCH[name]}'."
            )
    if time is None and panel is not None:
        raise OptionError(
            f"panel={shown(panel)} tells units apart, and their periods are not known; pass time='...', the column of them."
        )
    return Order(panel, time)


_SUCH = {"panel": "firm", "time": "year"}


def calls_of_order(states: Mapping[str, Any], terms: Iterable[Iterable[str]], moved: Iterable[str]) -> list[str]:
    """Return the calls that need other rows in the terms, each the expressions of its factors, where some variables stand."""
    calls = [call for call, state in states.items() if isinstance(state, Mapping) and state.get("time") is not None]
    names = set(moved)
    there = [] if not calls else [text for term in terms if names & named_in(term) for text in term]
    return [call for call in calls if any(call in text for text in there)]


def named_in(term: Iterable[str]) -> set[str]:
    """Return the names that the expressions of a term look up."""
    return {name for text in term for name in names_in(text)}


def columns_of_order(states: Mapping[str, Any]) -> list[str]:
    """Return the expressions of units and periods that calls have learnt from."""
    read = [state.get(name) for state in states.values() if isinstance(state, Mapping) for name in ("panel", "time")]
    return [text for text in read if isinstance(text, str)]
