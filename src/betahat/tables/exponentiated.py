"""Coefficients as ratios: exp(b), with standard errors by the delta method and transformed intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from betahat.errors import OptionError, check_flag, counted
from betahat.inference.resampled import Method
from betahat.tables.estimates import Coefficients, Estimates, about

# One for all columns, or one for each.
Exponentiate = bool | Sequence[bool]


@dataclass(frozen=True, eq=False)
class Exponentiated:
    """Coefficients of a result as ratios; statistics and p-values stay those of b = 0, which is a ratio of 1.

    Attributes
    ----------
    of : Coefficients
        The coefficients.
    places : ndarray
        (k,) bool, which numbers are exponentiated.
    """

    of: Coefficients
    places: np.ndarray

    @property
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """(k,) the title of a group, or "", and the name of each number."""
        return self.of.equation_terms

    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4): ratio, standard error, statistic and p-value."""
        table = self.of.coefficient_table().copy()
        with np.errstate(over="ignore"):
            table[self.places, 0] = np.exp(table[self.places, 0])
            table[self.places, 1] *= table[self.places, 0]
        return table

    def interval_table(self, alpha: float, method: Method | None = None) -> np.ndarray:
        """Return the (k, 2) transformed intervals."""
        found = self.of.interval_table(alpha) if method is None else self.of.interval_table(alpha, method)  # type: ignore[call-arg]
        bounds = found.copy()
        with np.errstate(over="ignore"):
            bounds[self.places] = np.exp(bounds[self.places])
        return bounds


def exponentiated(coefficients: Coefficients, single: frozenset[str]) -> Exponentiated:
    """Return coefficients as ratios; `single` are the parameters that are none."""
    places = np.array([name not in single for _, name in coefficients.equation_terms], dtype=bool)
    return Exponentiated(coefficients, places)


def read_exponentiate(option: Exponentiate, width: int) -> list[bool]:
    """Return whether each of `width` columns is exponentiated."""
    if isinstance(option, Iterable) and not isinstance(option, str):
        chosen = list(option)
        for value in chosen:
            check_flag("exponentiate", value)
        if len(chosen) != width:
            raise OptionError(
                f"exponentiate has {counted(len(chosen), 'value')} for {counted(width, 'column')}; pass one for each, or one for all."
            )
        return list(map(bool, chosen))
    check_flag("exponentiate", option)
    return [bool(option)] * width


def exponentiated_note(columns: Sequence[Estimates], ratios: Sequence[bool], below: Sequence[str]) -> list[str]:
    """Return the sentence that says which coefficients are exponentiated, and how what stands below them was computed."""
    if not any(ratios):
        return []
    numbers = [str(i) for i, ratio in enumerate(ratios, 1) if ratio]
    where = "" if all(ratios) else f" in column{'s' if len(numbers) > 1 else ''} {in_a_row(numbers)}"
    errors = "; standard errors by the delta method" if "se" in below else ""
    kept = dict.fromkeys(
        name
        for column, ratio in zip(columns, ratios, strict=True)
        for _, name in column.equation_terms
        if ratio and name in about(column).no_ratios
    )
    unlike = f", except for {in_a_row(list(kept))}" if kept else ""
    return [f"Coefficients{where} are exponentiated{unlike}{errors}."]


def has_ratios(column: Estimates) -> bool:
    """Tell whether any number of a result may be exponentiated."""
    single = about(column).no_ratios
    return any(name not in single for _, name in column.equation_terms)


def null_notes(columns: Sequence[Estimates]) -> list[str]:
    """Return the sentences that say what numbers are tested against, where a reader might not expect it."""
    said: dict[str, list[str]] = {}
    for i, column in enumerate(columns, 1):
        said.setdefault(about(column).null, []).append(str(i))
    found = []
    for null, numbers in said.items():
        if null and len(said) > 1:
            found.append(f"In column{'s' if len(numbers) > 1 else ''} {in_a_row(numbers)} {null}.")
        elif null:
            found.append(f"{null[0].upper()}{null[1:]}.")
    return found


def in_a_row(names: Sequence[str]) -> str:
    """Return names in a sentence.

    >>> in_a_row(["1", "2", "3"])
    '1, 2 and 3'
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
