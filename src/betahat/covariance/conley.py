"""Conley's covariance: rows that lie near each other are correlated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from betahat.covariance.base import Covariance, Estimator, keep_given
from betahat.covariance.near_rows import Places, near_products
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.series import refuse_counts
from betahat.covariance.small_samples import FULL, factor
from betahat.data.groups import read_numbers
from betahat.errors import DataError, EstimationError, OptionError, check_flag, counted, is_number, is_one_of, shown
from betahat.fits.fit import Fit


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
        On a sphere of radius 6,376 km, as in R's fixest, or in the plane.
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
    >>> places = np.linspace(40, 50, 12), np.linspace(0, 9, 12)
    >>> res.with_cov(bh.Conley(*places, cutoff=200)).bse.round(4)
    array([0.3152, 0.0889])

    Notes
    -----
    A tree of the places finds those within the cutoff; where many are, or a GPU holds the data, rows are compared with all others within
    the cutoff of their latitude. The uniform kernel's matrix need not be positive semi-definite.

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
        if fit.sample.source.stream is not None:
            raise EstimationError(
                "Conley's covariance compares each row with all rows near it, wherever these lie, so that all must be in memory, and these are read in "
                "turn; read them into memory, or use Cluster with regions, or cells of a grid, as groups."
            )
        latitude = read_numbers(fit.sample, self.latitude, "latitude")
        longitude = read_numbers(fit.sample, self.longitude, "longitude")
        if self.distance == "great-circle":
            _check_degrees(latitude, longitude)
        places = Places(
            latitude, longitude, float(self.cutoff), self.distance == "great-circle", self.kernel == "bartlett"
        )
        core = near_products(fit.map_rows(lambda rows: rows.influence()), places)
        if self.correction:
            core = core * factor(fit.counts, FULL)
        unit = " km" if self.distance == "great-circle" else ""
        note = f"Standard Errors are robust to spatial correlation within {float(self.cutoff):g}{unit} (Conley, {self.kernel} kernel)"
        return of_core(fit, core, "Conley", note + penalised(fit))


def _check_degrees(latitude: Tensor, longitude: Tensor) -> None:
    for name, values, limit in (("latitude", latitude, 90.0), ("longitude", longitude, 360.0)):
        bad = int((values.abs() > limit).sum())
        if bad:
            raise DataError(
                f"{name} has {counted(bad, 'value')} beyond {limit:.0f} degrees; pass degrees, or distance='planar' for other coordinates."
            )
