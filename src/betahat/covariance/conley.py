"""Conley's covariance: rows that lie near each other are correlated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from betahat.calculus.rows import rotated_scores
from betahat.covariance.base import Covariance, Estimator, keep_given, of_core
from betahat.covariance.hac import refuse_counts
from betahat.data.groups import read_numbers
from betahat.data.progress import progress
from betahat.errors import DataError, OptionError, check_flag, counted, is_number, is_one_of, shown
from betahat.fit import Fit

# The radius of the sphere in kilometres, and what a degree of latitude is at least: R's fixest takes these.
_RADIUS, _DEGREE = 6376.0, 111.0
# Rows of which the distances to all that may be near are held at a time.
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Conley(Estimator):
    """A^-1 (sum over pairs of k(d_ij) s_i s_j') A^-1, d_ij the distance of two rows, up to a cutoff.

    Attributes
    ----------
    latitude, longitude : str or vector
        A column's name or a number for each row: degrees, or any plane's coordinates.
    cutoff : float
        The largest distance: kilometres on the sphere, the coordinates' own unit in the plane.
    kernel : {"uniform", "bartlett"}
        k: 1, or 1 - d / cutoff.
    distance : {"great-circle", "planar"}
        On a sphere of radius 6,376 km by the haversine, as R's fixest, or straight.
    correction : bool
        Whether to multiply by n / (n - k).

    Raises
    ------
    DataError, OptionError

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> x = np.arange(12.0) % 5
    >>> res = bh.OLS(np.sqrt(x) + np.sin(np.arange(12)), bh.add_constant(x)).fit()
    >>> res.with_cov(bh.Conley(np.linspace(40, 50, 12), np.linspace(0, 9, 12), cutoff=200)).bse.round(4)
    array([0.3152, 0.0889])

    Notes
    -----
    Rows are sorted by latitude, and only those within the cutoff of it are compared. The uniform kernel's matrix need not be
    positive semi-definite.

    References
    ----------
    Conley (1999), J. Econometrics 92(1). R: ``fixest::vcov_conley(distance = "spherical")``, whose kernel is uniform.
    """

    latitude: Any
    longitude: Any
    cutoff: float
    kernel: Literal["uniform", "bartlett"] = "uniform"
    distance: Literal["great-circle", "planar"] = "great-circle"
    correction: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        if not is_one_of(self.kernel, ("uniform", "bartlett")):
            raise OptionError(f"kernel is {shown(self.kernel)}; use 'uniform' or 'bartlett'.")
        check_flag("correction", self.correction)
        if not is_one_of(self.distance, ("great-circle", "planar")):
            raise OptionError(f"distance is {shown(self.distance)}; use 'great-circle' (degrees) or 'planar'.")
        if not is_number(self.cutoff) or not self.cutoff > 0.0:
            raise OptionError(f"cutoff is {shown(self.cutoff)}; pass a positive distance, in kilometres for degrees.")
        keep_given(self, "latitude", "longitude")

    def __call__(self, fit: Fit) -> Covariance:
        """Sum the products of near rows."""
        refuse_counts(fit, "Conley's covariance")
        latitude = read_numbers(fit.sample, self.latitude, "latitude")
        longitude = read_numbers(fit.sample, self.longitude, "longitude")
        if self.distance == "great-circle":
            _check_degrees(latitude, longitude)
        scores = fit.map_rows(rotated_scores)
        order = torch.argsort(latitude, stable=True)
        core = self._pairs(scores[order], latitude[order], longitude[order])
        if self.correction:
            core = core * (fit.nobs / fit.df_resid)
        unit = " km" if self.distance == "great-circle" else ""
        note = f"Standard Errors are robust to spatial correlation within {float(self.cutoff):g}{unit} (Conley, {self.kernel} kernel)"
        return of_core(fit, core, "Conley", note)

    def _pairs(self, scores: Tensor, latitude: Tensor, longitude: Tensor) -> Tensor:
        """Return (r, r) the weighted products of rows that are sorted by latitude."""
        reach = float(self.cutoff) if self.distance == "planar" else float(self.cutoff) / _DEGREE * 1.01
        last = torch.searchsorted(latitude, latitude + reach, right=True)
        total = scores.new_zeros(scores.shape[1], scores.shape[1])
        for start in progress(range(0, len(scores), _ROWS), "pairs"):
            here = slice(start, min(start + _ROWS, len(scores)))
            there = slice(start, int(last[here.stop - 1]))
            apart = self._distances(latitude, longitude, here, there)
            weights = (apart <= self.cutoff).to(scores)
            if self.kernel == "bartlett":
                weights = weights * (1.0 - apart / self.cutoff)
            weights = weights.triu(1)  # each pair once: `there` begins where `here` does
            total += scores[here].mT @ (weights @ scores[there])
        return total + total.mT + scores.mT @ scores

    def _distances(self, latitude: Tensor, longitude: Tensor, here: slice, there: slice) -> Tensor:
        """Return (b, m) the distances of some rows from others."""
        north = latitude[here, None] - latitude[None, there]
        east = longitude[here, None] - longitude[None, there]
        if self.distance == "planar":
            return torch.hypot(north, east)
        half = math.pi / 360.0
        cosines = torch.cos(2.0 * half * latitude)
        square = (
            torch.sin(half * north).square()
            + cosines[here, None] * cosines[None, there] * torch.sin(half * east).square()
        )
        return 2.0 * _RADIUS * torch.asin(square.sqrt().clamp_max(1.0))


def _check_degrees(latitude: Tensor, longitude: Tensor) -> None:
    for name, values, limit in (("latitude", latitude, 90.0), ("longitude", longitude, 360.0)):
        bad = int((values.abs() > limit).sum())
        if bad:
            raise DataError(
                f"{name} has {counted(bad, 'value')} beyond {limit:.0f} degrees; pass degrees, or distance='planar' for other coordinates."
            )
