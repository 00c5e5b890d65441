"""What a variable is changed to: a value for all rows, one beside each row's own, or one of the user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import OptionError, described, shown

if TYPE_CHECKING:
    import pandas as pd


class Change(ABC):
    """How a variable's values are changed; two that are equal change it alike."""

    @abstractmethod
    def values(self, column: pd.Series) -> Any:
        """Return the values in place of (m,) a column's: one for all rows, or (m,)."""


@dataclass(frozen=True)
class Fixed(Change):
    """One value in all rows."""

    value: Any

    def values(self, column: pd.Series) -> Any:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class Shifted(Change):
    """Each row's own value and a number."""

    by: float

    def values(self, column: pd.Series) -> Any:
        """Return (m,) sums."""
        return column.to_numpy(float) + self.by


@dataclass(frozen=True)
class Own(Change):
    """What a user's function makes of a column: the low or the high values.

    Attributes
    ----------
    function : callable
        Column -> low and high values, a dataframe of two columns, (m, 2) or a pair of columns.
    end : int
        0 is low, 1 is high.
    """

    function: Callable[[Any], Any]
    end: int

    def values(self, column: pd.Series) -> Any:
        """Return (m,) of the function's values."""
        remedy = "return two columns, low and high, such as lambda x: (x, 2 * x)"
        try:
            found = self.function(column.copy())
            pair = np.column_stack(found) if isinstance(found, tuple) else np.asarray(found, dtype=float)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else described(error)
            raise OptionError(f"The function of {column.name!r} in variables fails ({reason}); {remedy}.") from error
        if pair.shape != (len(column), 2):
            raise OptionError(f"The function of {column.name!r} in variables returned {shown(found)}; {remedy}.")
        return pair[:, self.end].astype(float)
