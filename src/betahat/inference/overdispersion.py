"""Tests of Poisson's variance against one that is larger, or smaller, from the Poisson fit alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.fits.fit import Fit
from betahat.inference.response import means
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
    from scipy import stats
else:
    pd = lazily("pandas")
    stats = lazily("scipy.stats")

_NB2, _NB1 = "mu (1 + a mu)", "mu (1 + a)"


@dataclass(frozen=True, eq=False)
class DispersionTests:
    """Tests of Var(y) = E(y), each a standard normal number; it unpacks as statistic and p-value.

    Attributes
    ----------
    statistic, pvalue : array
        (7,) above zero where y varies more, and two-sided p-values.
    method : list of str
        Dean's statistics A, B and C, and Cameron and Trivedi's regressions, with classical errors and with HC3.
    alternative : list of str
        The variance against which each has power.
    name : str
        What they test.
    """

    statistic: np.ndarray
    pvalue: np.ndarray
    method: list[str]
    alternative: list[str]
    name: str

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the statistics and the p-values."""
        return iter((self.statistic, self.pvalue))

    def summary_frame(self) -> pd.DataFrame:
        """Return a row for each test.

        Returns
        -------
        pandas.DataFrame
            (7, 4).
        """
        columns = {"statistic": self.statistic, "pvalue": self.pvalue}
        return pd.DataFrame({**columns, "method": self.method, "alternative": self.alternative})


def dispersion_tests(fit: Fit) -> DispersionTests:
    """Test a Poisson fit; rows with frequency weights are repeated rows."""
    design = fit.design
    y, mean = design.endog.to(torch.float64), means(fit)
    often = torch.ones_like(y) if design.counts is None else design.counts.to(y)
    squares = (y - mean).square()
    excess, size = squares - y, math.sqrt(2.0 * float(often @ mean.square()))
    ratio = excess / mean
    one = torch.ones_like(y)
    found = [
        ("Dean A", _NB2, float(often @ (squares - mean)) / size),
        ("Dean B", _NB2, float(often @ excess) / size),
        ("Dean C", _NB1, float(often @ ratio) / math.sqrt(2.0 * float(often.sum()))),
        ("CT nb2", _NB2, _t_value(ratio, mean, often, robust=False)),
        ("CT nb1", _NB1, _t_value(ratio, one, often, robust=False)),
        ("CT nb2 HC3", _NB2, _t_value(ratio, mean, often, robust=True)),
        ("CT nb1 HC3", _NB1, _t_value(ratio, one, often, robust=True)),
    ]
    methods, alternatives, values = zip(*found, strict=True)
    statistics = np.array(values)
    tails = 2.0 * stats.norm.sf(np.abs(statistics))
    return DispersionTests(statistics, tails, list(methods), list(alternatives), "Poisson Dispersion Test")


def _t_value(y: Tensor, x: Tensor, often: Tensor, *, robust: bool) -> float:
    """Return the t value of the (n,) y on the (n,) x alone, of rows that occur so often; robust is HC3."""
    square = often @ x.square()
    slope = (often * x) @ y / square
    residual = y - slope * x
    if robust:
        scores = x * residual / (1.0 - x.square() / square)
        variance = often @ scores.square() / square.square()
    else:
        variance = often @ residual.square() / (often.sum() - 1.0) / square
    return float(to_numpy(slope / variance.sqrt()))
