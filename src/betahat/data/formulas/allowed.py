"""The names that an expression may use in a formula that was loaded from a file: columns, numbers, and functions known to be harmless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# The number of inputs of each elementwise NumPy function; another positional argument would be an output.
ARGUMENTS = {
    **{
        f"np.{name}": f.nin
        for name, f in vars(np).items()
        if isinstance(f, np.ufunc) and f.nout == 1 and f.signature is None
    },
    **{"np.where": 3, "np.clip": 3, "np.round": 2, "abs": 1, "float": 1},
}

# Python's integers have no maximum, NumPy's have 64 bits.
BITS = 62
MODULES = {"np": np, "numpy": np}


def is_numpys(value: Any) -> bool:
    """Tell whether a value is a NumPy function that maps numbers to numbers."""
    return isinstance(value, np.ufunc) and f"np.{value.__name__}" in ARGUMENTS


def functions_of(names: Mapping[str, str]) -> dict[str, Any]:
    """Return those of NumPy's functions, among the names in a file, that may be called."""
    return {alias: getattr(np, name) for alias, name in names.items() if f"np.{name}" in ARGUMENTS}


@dataclass(frozen=True)
class Names:
    """What an expression may refer to."""

    columns: frozenset[str]  # of the data
    numbers: frozenset[str]  # the columns that hold numbers or times, and the user's own numbers
    context: Mapping[str, Any]  # the user's own numbers and strings
    functions: Mapping[str, str]  # NumPy functions, by the names that the formula has for them
    lost: frozenset[str]  # names whose values could not be saved

    def is_value(self, name: str) -> bool:
        """Tell whether a name stands for a column, a number or a string."""
        return name not in self.lost and (name in self.columns or name in self.context)


def allowed_names(
    frame: pd.DataFrame, context: Mapping[str, Any], functions: Mapping[str, str], lost: tuple[str, ...]
) -> Names:
    """Return what an expression may refer to, besides the functions that are always known."""
    kinds = dict(zip(map(str, frame.columns), frame.dtypes, strict=True))
    numbers = {name for name, kind in kinds.items() if kind.kind in "biufmM"}
    numbers |= {name for name, value in context.items() if name not in kinds and is_number(value)}
    return Names(frozenset(kinds), frozenset(numbers), context, functions, frozenset(lost))


def is_number(value: Any) -> bool:
    """Tell whether a value is a 64-bit number, or a vector of them."""
    if isinstance(value, np.ndarray):
        return value.ndim <= 1 and value.dtype.kind in "biuf"
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= BITS)
