"""What `variables=` asks to compare: for each variable pairs of changes, with marginaleffects' labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np

from betahat.errors import EstimationError, OptionError, is_number, is_one_of, listed, shown
from betahat.margins.changes import Change, Fixed, Own, Shifted
from betahat.margins.subject import Kind, Subject


@dataclass(frozen=True, eq=False)
class Move:
    """One variable at two values.

    Attributes
    ----------
    name : str
    high, low : Change
    labels : tuple of str
        Of high and low.
    said : str or None
        What the contrast is called, if not by these.
    """

    name: str
    high: Change
    low: Change
    labels: tuple[str, str]
    said: str | None = None

    def label(self, pattern: str) -> str:
        """Return the name of the contrast; the pattern has {high} and {low}."""
        high, low = self.labels
        return pattern.format(high=high, low=low) if self.said is None else self.said


Pairs = Callable[[Sequence[Any]], list[tuple[Any, Any]]]

# (high, low) of the levels of a category.
_LEVELS: dict[str, Pairs] = {
    "reference": lambda levels: [(level, levels[0]) for level in levels[1:]],
    "revreference": lambda levels: [(level, levels[-1]) for level in levels[:-1]],
    "sequential": lambda levels: list(zip(levels[1:], levels[:-1], strict=True)),
    "revsequential": lambda levels: list(zip(levels[-2::-1], levels[:0:-1], strict=True)),
    "pairwise": lambda levels: [(high, low) for low, high in combinations(levels, 2)],
    "revpairwise": lambda levels: list(combinations(levels, 2)),
    "all": lambda levels: [(high, low) for low, high in permutations(levels, 2)],
}
_SPREADS = ("sd", "2sd", "iqr", "minmax")


def asked_variables(subject: Subject, variables: Any) -> list[tuple[str, Any]]:
    """Return the variables asked for, and what is asked of each where that is said."""
    if variables is None:
        variables = list(subject.variables)
        if not variables:
            raise EstimationError("No regressor varies, so that there is nothing to compare; use avg_predictions.")
    if isinstance(variables, str):
        variables = [variables]
    if not isinstance(variables, Mapping | Sequence):
        raise OptionError(
            f"variables is {shown(variables)}; pass a name, a list of names, or a dict such as {{'x': 1}}."
        )
    pairs = list(variables.items()) if isinstance(variables, Mapping) else [(name, None) for name in _once(variables)]
    if not pairs or not all(isinstance(name, str) for name, _ in pairs):
        raise OptionError(f"variables is {shown(variables)}; pass names of variables of the model.")
    subject.check_variables([name for name, _ in pairs])
    for name, _ in pairs:
        if subject.frame[name].dtype.kind in "mM":
            raise OptionError(
                f"{name!r} has dates, which have no unit to change by; make a number of them first, such as years, or name other variables."
            )
    return pairs


def _once(names: Sequence[Any]) -> list[Any]:
    """Return each name once, in order."""
    return [name for i, name in enumerate(names) if not is_one_of(name, names[:i])]


def moves(subject: Subject, name: str, value: Any) -> list[Move]:
    """Return what one variable is compared at."""
    kind = subject.kind(name)
    if _is_pair(value):
        low, high = value
        if kind is not Kind.NUMBER:
            _check_levels(subject, name, value)
        elif not all(is_number(end) and np.isfinite(end) for end in value):
            raise OptionError(f"variables asks {name!r} for {shown(value)}; pass a pair [low, high] of numbers.")
        return [Move(name, Fixed(high), Fixed(low), (str(high), str(low)))]
    if kind is Kind.NUMBER:
        return [_of_number(subject, name, value)]
    if (
        value is not None
        and not is_one_of(value, _LEVELS)
        and not (kind is Kind.BINARY and is_number(value) and value == 1)
    ):
        raise OptionError(
            f"variables asks {name!r} for {shown(value)}; use one of {listed(_LEVELS)}, or a pair [low, high] of its values."
        )
    if kind is Kind.TRUTH:
        return [Move(name, Fixed(True), Fixed(False), ("True", "False"))]
    if kind is Kind.BINARY:
        return [Move(name, Fixed(1), Fixed(0), ("1", "0"))]
    chosen = _LEVELS["reference" if value is None else value]
    return [Move(name, Fixed(high), Fixed(low), (str(high), str(low))) for high, low in chosen(subject.levels(name))]


def _is_pair(value: Any) -> bool:
    """Tell whether a value is a pair of values."""
    return isinstance(value, list | tuple | np.ndarray) and len(value) == 2


def _check_levels(subject: Subject, name: str, values: Sequence[Any]) -> None:
    """Refuse values that did not occur in the fit."""
    known = subject.levels(name)
    unknown = [value for value in values if value not in known]
    if unknown:
        raise OptionError(f"variables asks {name!r} for {shown(unknown[0])}; its values are {listed(known)}.")


def _of_number(subject: Subject, name: str, value: Any) -> Move:
    """Return what a number is compared at."""
    if value is None or is_number(value):
        step = 1 if value is None else value
        if step == 0 or not np.isfinite(step):
            raise OptionError(f"variables asks {name!r} for a step of {step}; pass another number, such as 1.")
        return Move(name, Shifted(step / 2.0), Shifted(-step / 2.0), ("", ""), f"{step:+}")
    if callable(value):
        return Move(name, Own(value, 1), Own(value, 0), ("", ""), "custom")
    if not is_one_of(value, _SPREADS):
        raise OptionError(
            f"variables asks {name!r} for {shown(value)}; pass a number, a pair [low, high], one of {listed(_SPREADS)}, or a function of the column."
        )
    known = subject.column(name).to_numpy(float)
    if value in ("sd", "2sd"):
        half = known.std(ddof=1) / (2.0 if value == "sd" else 1.0)
        labels = ("(x+sd/2)", "(x-sd/2)") if value == "sd" else ("(x+sd)", "(x-sd)")
        return Move(name, Shifted(half), Shifted(-half), labels)
    ends = np.percentile(known, [25, 75]) if value == "iqr" else (known.min(), known.max())
    return Move(name, Fixed(float(ends[1])), Fixed(float(ends[0])), ("Q3", "Q1") if value == "iqr" else ("Max", "Min"))
