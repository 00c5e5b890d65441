"""`Equation`: one linear index of several."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Equation:
    """One linear index x'b, or a parameter that is the same in every row.

    Attributes
    ----------
    name : str
        What stands before its parameters' names; nothing does in an equation without a name. Of a single parameter, its name.
    columns : tuple of int, or None
        Which regressors it has; None is all of them, and an empty tuple is a single parameter.
    """

    name: str
    columns: tuple[int, ...] | None = None

    @property
    def constant(self) -> bool:
        """Whether it is a single parameter."""
        return self.columns == ()
