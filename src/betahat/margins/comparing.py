"""How two means are compared: by their difference, their ratio, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from betahat.data.handed_out import outside
from betahat.errors import EstimationError, OptionError, listed, shown

Function = Callable[[Tensor, Tensor], Tensor]

# Numbers that are logarithms of ratios, ratios, or anything else.
Scale = Literal["log", "ratio", ""]

# Slopes, and their labels.
SLOPES = {"dydx": "dY/dX", "eyex": "eY/eX", "eydx": "eY/dX", "dyex": "dY/eX"}


@dataclass(frozen=True, eq=False)
class Comparing:
    """A comparison of a high with a low mean; of averages, that of the two averages.

    Attributes
    ----------
    function : callable
        (high, low) -> what is compared.
    label : str
        Of the contrast, with {high} and {low}.
    of_rows : bool
        Whether the function takes the means of all rows of a group, and averages itself.
    is_average : bool
        Whether it is that of averages by its name.
    scale : Scale
        What the numbers are.
    """

    function: Function
    label: str
    of_rows: bool = False
    is_average: bool = False
    scale: Scale = ""


def _odds(share: Tensor) -> Tensor:
    return share / (1.0 - share)


COMPARISONS: dict[str, Comparing] = {
    "difference": Comparing(lambda high, low: high - low, "{high} - {low}"),
    "ratio": Comparing(lambda high, low: high / low, "{high} / {low}", scale="ratio"),
    "lnratio": Comparing(lambda high, low: torch.log(high / low), "ln({high} / {low})", scale="log"),
    "lift": Comparing(lambda high, low: (high - low) / low, "lift"),
    "lnor": Comparing(
        lambda high, low: torch.log(_odds(high) / _odds(low)), "ln(odds({high}) / odds({low}))", scale="log"
    ),
    "or": Comparing(lambda high, low: _odds(high) / _odds(low), "odds({high}) / odds({low})", scale="ratio"),
}


def _own(function: Callable[[Tensor, Tensor], Any], high: Tensor, low: Tensor) -> Tensor:
    """Return what a user's function makes of two means: numbers (b, J) of rows, which depend on no other row, or of (m,) rows one number."""
    averages = high.ndim == 1
    remedy = "write it with torch operations on tensors (high, low), such as lambda high, low: " + (
        "(high / low).mean()" if averages else "high / low"
    )
    try:
        found = outside(function, high, low)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise EstimationError(f"The comparison cannot be computed ({str(error).splitlines()[0]}); {remedy}.") from error
    if not isinstance(found, Tensor) or (found.numel() != 1 if averages else found.shape != high.shape):
        wanted = "one number for all the rows that are averaged" if averages else "a number for each pair of means"
        raise EstimationError(f"The comparison returned {shown(found)} instead of {wanted}; {remedy}.")
    return found.reshape(()) if averages else found


def comparing_of(comparison: Any) -> Comparing:
    """Return the comparison of a name or a function."""
    if callable(comparison):
        return Comparing(partial(_own, comparison), "custom", of_rows=True)
    plain = comparison.removesuffix("wts").removesuffix("avg") if isinstance(comparison, str) else ""
    if plain not in COMPARISONS:
        raise OptionError(
            f"comparison is {shown(comparison)}; use one of {listed([*COMPARISONS, *SLOPES], limit=12)}, or a function of (high, low)."
        )
    return replace(COMPARISONS[plain], is_average=comparison != plain)
