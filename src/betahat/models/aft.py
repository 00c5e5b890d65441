"""Accelerated failure times: the logarithm of a duration is a location and a scale times an error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from betahat.data.arrays import Device
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.engine import Block, fold
from betahat.data.modes import in_ordinary_mode
from betahat.data.turned import computed
from betahat.errors import DataError, OptionError, counted, is_one_of, listed, shown
from betahat.models.censored import LOG_SCALE, CensoredModel
from betahat.models.regressors import RegressorModel
from betahat.models.survival import check_status
from betahat.objectives.censored import Duration
from betahat.objectives.equation import Equation
from betahat.objectives.latent import Latent, LatentLogistic, LatentNormal, LatentSmallest
from betahat.results.censored import AFTResults

DISTRIBUTIONS: dict[str, Latent] = {
    "weibull": LatentSmallest(),
    "exponential": LatentSmallest(),
    "lognormal": LatentNormal(),
    "loglogistic": LatentLogistic(),
}


@in_ordinary_mode
class AFT(CensoredModel):
    """Accelerated failure time: log(time) = x'b + sigma z, where some times are censored.

    Parameters
    ----------
    time : array_like, Tensor or series
        (n,) positive times, until the event or until observation ended.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    status : array_like, optional
        (n,) 1 for an event, 0 for a time that was censored; None means that every time ends with an event.
    dist : {"weibull", "exponential", "lognormal", "loglogistic"}
        The distribution of the time: z has the distribution of the logarithm of an exponential time, of it with sigma = 1, the normal or the
        logistic distribution.
    weights, freq_weights, hasconst, missing, device, dtype, engine
        As in `Logit`.

    Attributes
    ----------
    dist : str
        As given.

    Raises
    ------
    DataError, OptionError
        Raised before any work starts: times of zero or less, a status other than 0 and 1, no event, an unknown distribution.

    Notes
    -----
    The parameters are the coefficients and log(scale), the logarithm of sigma, as in R's ``survreg``; "exponential" has none. The
    log-likelihood is that of the times. Weibull's shape is 1 / sigma, and its hazard ratios are exp(-b / sigma).

    References
    ----------
    Kalbfleisch and Prentice (2002), The Statistical Analysis of Failure Time Data, chapter 3. R: ``survival::survreg``.

    Examples
    --------
    >>> import betahat as bh
    >>> time, died = [5.0, 8.0, 3.0, 9.0, 2.0, 6.0], [1, 0, 1, 1, 1, 1]
    >>> x = [1.0, 0.0, 2.0, 1.0, 1.0, 0.0]
    >>> bh.AFT(time, bh.add_constant(x), status=died).fit().params.round(3)
    array([ 2.356, -0.575, -0.876])
    """

    stored = (*RegressorModel.stored, "dist")

    vectors = ("status", "weights", "freq_weights")
    results = AFTResults

    dist: str

    def __init__(
        self,
        time: Any,
        exog: Any,
        status: Any = None,
        dist: str = "weibull",
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
        self._take({"dist": dist})
        beside = RowVectors(weights=weights, freq_weights=freq_weights, status=status)
        self.sample = read_design(
            time, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype, engine=engine
        )
        self.source = None
        self._check()

    def _take(self, options: dict[str, Any]) -> None:
        """Take the distribution."""
        dist = options.pop("dist", "weibull")
        if not is_one_of(dist, tuple(DISTRIBUTIONS)):
            raise OptionError(f"dist is {shown(dist)}; use one of {listed(list(DISTRIBUTIONS))}.")
        self.dist = dist

    def _check(self) -> None:
        """Refuse what is no time or no status, and give the times that had not ended a minus sign, as the loss reads them."""
        self._check_names()
        design = self.design
        check_status(design)
        bad = int(fold(design.source.only("endog"), _not_positive, design.engine)[0])
        if bad:
            raise DataError(
                f"time has {counted(bad, 'value')} of zero or less, and its logarithm is taken; leave such rows out, or measure from an earlier "
                "moment."
            )
        if "status" in design.source.shapes:
            self.sample = replace(design, source=computed(design.source, "endog", ("endog", "status"), _signed))
        if not self.design.tally(_events)[0]:
            raise DataError(
                "No row has an event: status is 0, or the weight is, in every row, so no time is known; pass 1 for the times that end with an event."
            )
        self._check_scale()

    @property
    def endog(self) -> Any:
        """(n,) the times, of the rows in use."""
        return self.design.container.present_rows(self.design.endog.abs())

    @property
    def status(self) -> Any:
        """(n,) 1 for an event, 0 for a censored time, of the rows in use."""
        return self.design.container.present_rows((self.design.endog > 0).to(torch.float64))

    @property
    def objective(self) -> Duration:
        """The loss of a row."""
        scale = () if self.dist == "exponential" else (LOG_SCALE,)
        return Duration(DISTRIBUTIONS[self.dist], equations=(Equation(""), *scale))


aft = AFT.from_formula


def _not_positive(block: Block) -> tuple[Tensor]:
    return ((block["endog"] <= 0).sum(),)


def _signed(time: Tensor, status: Tensor) -> Tensor:
    """Return (b,) times, with a minus sign where they had not ended."""
    return torch.where(status.to(torch.bool), time, -time)


def _events(y: Tensor) -> tuple[Tensor]:
    """Count times that ended."""
    return ((y > 0).sum(),)
