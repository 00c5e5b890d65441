"""`Equation`: one linear index of several."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Equation:
    """One linear index x'b.

    Attributes
    ----------
    name : str
        What stands before its parameters' names.
    columns : tuple of int, or None
        Which regressors it has; None is all of them.
    """

    name: str
    columns: tuple[int, ...] | None = None
