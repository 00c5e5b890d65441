"""Limited dependent variables: the tobit."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.arrays import Device
from betahat.data.design import Design
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import DataError, OptionError, counted, is_number, shown
from betahat.models.censored import LOG_SCALE, CensoredModel
from betahat.models.regressors import RegressorModel
from betahat.objectives.censored import Limited
from betahat.objectives.equation import Equation
from betahat.objectives.latent import LatentNormal
from betahat.results.censored import TobitResults


@in_ordinary_mode
class Tobit(CensoredModel):
    """The tobit: y* = x'b + sigma z, z standard normal, is observed between the limits; beyond them, the limit is.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) numbers between the limits; those at a limit are censored.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    left, right : float, optional
        The limits; None means that there is none.
    weights, freq_weights, hasconst, missing, device, dtype, engine
        As in `Logit`.

    Attributes
    ----------
    left, right : float or None
        As given, or rounded as in `endog`, if that is in a lower precision.

    Raises
    ------
    DataError, OptionError
        Raised before any work starts: values beyond a limit, every row at a limit, limits the wrong way round, no limit.

    Notes
    -----
    The parameters are the coefficients and log(scale), the logarithm of sigma, as in R's ``survreg``.

    References
    ----------
    Tobin (1958), Econometrica 26(1). Amemiya (1973), Econometrica 41(6). R: ``AER::tobit``.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [0.0, 0.0, 1.0, 0.0, 2.5, 2.0, 4.0]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    >>> res = bh.Tobit(y, x, left=0).fit()
    >>> res.params.round(3)
    array([-2.87 ,  0.925, -0.115])
    """

    stored = (*RegressorModel.stored, "left", "right")

    vectors = ("weights", "freq_weights")
    results = TobitResults

    left: float | None
    right: float | None

    def __init__(
        self,
        endog: Any,
        exog: Any,
        left: float | None = 0,
        right: float | None = None,
        weights: Any = None,
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        self._take({"left": left, "right": right})
        beside = RowVectors(weights=weights, freq_weights=freq_weights)
        self.sample = read_design(
            endog, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype, engine=engine
        )
        self.source = None
        self._check()

    def _take(self, options: dict[str, Any]) -> None:
        """Take the limits."""
        limits = options.pop("left", 0), options.pop("right", None)
        for name, limit in zip(("left", "right"), limits, strict=True):
            if limit is not None and not (is_number(limit) and math.isfinite(limit)):
                raise OptionError(f"{name} is {shown(limit)}; pass a number, or None where there is no limit.")
        # A number of lower precision is what it prints: 1.1 of single precision is 1.1.
        plain = [float(str(limit)) if isinstance(limit, np.floating) else limit for limit in limits]
        left, right = (None if limit is None else float(limit) for limit in plain)
        if left is None and right is None:
            raise OptionError("Tobit needs a limit, left or right; without any it is least squares, bh.OLS.")
        if left is not None and right is not None and left >= right:
            raise OptionError(
                f"left is {left:g} and right is {right:g}, and no value lies between them; exchange them, or correct one."
            )
        self.left, self.right = left, right

    def _check(self) -> None:
        """Refuse names of two parameters, values beyond the limits, and data without a value between them."""
        self._check_names()
        self.left, self.right = (
            _as_in_data(limit, self.design, sign) for limit, sign in ((self.left, 1.0), (self.right, -1.0))
        )
        below, above, inside = self.design.tally(partial(_places, self.left, self.right))
        for name, limit, sign, beyond in (("left", self.left, 1.0, below), ("right", self.right, -1.0, above)):
            if beyond:
                raise DataError(
                    f"endog has {counted(beyond, 'value')} {'below' if sign > 0 else 'above'} the {name} limit {limit:g}, and at a limit values are "
                    f"seen as the limit; correct the limit, or clip them, np.clip(y, {self.left}, {self.right}) say."
                )
        if not inside:
            raise DataError(
                "Every value of endog is at a limit, so nothing is known of their size; use Probit for two limits."
            )
        self._check_scale()

    @property
    def objective(self) -> Limited:
        """The loss of a row."""
        return Limited(LatentNormal(), self.left, self.right, equations=(Equation(""), LOG_SCALE))


tobit = Tobit.from_formula

# The precisions that data may have been in, before they were read.
_PRECISIONS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def _as_in_data(limit: float | None, design: Design, sign: float) -> float | None:
    """Return the limit as the data have it: rounded to their precision, in which the outmost value of theirs is the limit; else as given."""
    if limit is None:
        return None
    rounded = [float(torch.tensor(limit, dtype=precision)) for precision in _PRECISIONS]
    counts = design.tally(partial(_beyond_and_at, tuple(rounded), sign))
    pairs = zip(rounded, counts[::2], counts[1::2], strict=True)
    return next((number for number, beyond, at in pairs if at and not beyond), limit)


def _beyond_and_at(limits: tuple[float, ...], sign: float, y: Tensor) -> tuple[Tensor, ...]:
    """Count, for each limit, values beyond it and at it."""
    return tuple(count for limit in limits for count in ((sign * (y - limit) < 0).sum(), (y == limit).sum()))


def _places(left: float | None, right: float | None, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count values below the left limit, above the right one, and at neither."""
    none, inside = y.new_zeros(()), torch.ones_like(y, dtype=torch.bool)
    for limit in (left, right):
        inside = inside if limit is None else inside & (y != limit)
    return none if left is None else (y < left).sum(), none if right is None else (y > right).sum(), inside.sum()
