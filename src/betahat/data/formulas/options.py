"""`FormulaOptions`: how a formula is read, whatever its data are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from betahat.data.arrays import Device
from betahat.data.door import Missing, SecondEquation
from betahat.data.formulas.order import Order


@dataclass(frozen=True, eq=False)
class FormulaOptions:
    """How a formula is read.

    Attributes
    ----------
    context : mapping of str to object
        The variables of the caller.
    second : SecondEquation or None
        A second equation, whose regressors stand behind the formula's own.
    hasconst, missing, device, dtype : object
        As in `read_design`.
    trials : bool
        Whether two terms on the left are successes and failures.
    constant : bool
        Whether the formula's constant stays; models whose other parameters take its place leave it out, after categories were coded beside it.
    order : Order
        What tells which rows follow each other.
    bars : collection of str
        The parts that may follow the regressors: "effects", "instruments".
    """

    context: Mapping[str, Any]
    second: SecondEquation | None = None
    hasconst: bool | None = None
    missing: Missing = "drop"
    device: Device = None
    dtype: torch.dtype | None = None
    trials: bool = False
    constant: bool = True
    bars: Collection[str] = ()
    order: Order = field(default_factory=Order)
