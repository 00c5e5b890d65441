"""Beck and Katz's panel-corrected covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.covariance.base import Covariance, Estimator, keep_given
from betahat.covariance.panel_rows import cells_of
from betahat.covariance.partitions import group_of
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.series import refuse_counts
from betahat.data.row_codes import HeldCodes
from betahat.errors import EstimationError, check_flag
from betahat.fits.fit import Fit
from betahat.solvers.memory import check_numbers_fit


@dataclass(frozen=True, eq=False)
class PanelCorrected(Estimator):
    """Sum over periods of x_it x_jt' times the covariance of the residuals of units i and j.

    Attributes
    ----------
    panel, time : str or vector
        The units and the periods.
    pairwise : bool
        In an unbalanced panel, whether a pair's covariance uses the periods that both have, or all pairs use those that
        every unit has.

    Raises
    ------
    DataError, EstimationError
        Two rows of one unit in one period; no period that all units have; a model without a linear index.

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> x = np.arange(12.0) % 5
    >>> res = bh.OLS(np.sqrt(x) + np.sin(np.arange(12)), bh.add_constant(x)).fit()
    >>> res.with_cov(bh.PanelCorrected(np.arange(12) % 2, np.arange(12) // 2)).bse.round(4)
    array([0.3887, 0.1618])

    References
    ----------
    Beck and Katz (1995), Am. Pol. Sci. Rev. 89(3). R: ``sandwich::vcovPC``.
    """

    panel: Any
    time: Any
    pairwise: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        check_flag("pairwise", self.pairwise)
        keep_given(self, "panel", "time")

    def __call__(self, fit: Fit) -> Covariance:
        """Estimate the units' covariance, and weight the periods' cross products by it."""
        refuse_counts(fit, "A panel-corrected covariance")
        units = group_of(fit, self.panel, "panel")
        places, periods = cells_of(fit, units, self.time)
        cells, width = units.count * periods, fit.rank
        check_numbers_fit(cells * (width + 1) + units.count**2, "The panel's cells", fit.params.device)
        codes = units.codes * periods + places
        joint = fit.sum_groups(
            HeldCodes(codes),
            cells,
            lambda rows: torch.cat([index_rows(rows).rotated, index_rows(rows).residual[:, None]], 1),
        ).view(units.count, periods, width + 1)
        there = (
            torch.zeros(cells, dtype=torch.float64, device=codes.device).index_fill_(0, codes, 1.0).view(-1, periods)
        )
        sigma = self._errors(joint[:, :, -1], there)
        columns = joint[:, :, :-1]
        mixed = (sigma @ columns.reshape(units.count, -1)).view_as(columns)
        core = torch.einsum("itr,its->rs", columns, mixed)
        note = "Standard Errors are panel-corrected, robust to correlation of the units within periods"
        return of_core(fit, core, "panel-corrected", note + penalised(fit))

    def _errors(self, residuals: Tensor, there: Tensor) -> Tensor:
        """Return (N, N) the covariance of the units' residuals."""
        if self.pairwise:
            shared = there @ there.mT
            return residuals @ residuals.mT / shared.clamp_min(1.0)
        whole = there.all(0)
        if not bool(whole.any()):
            raise EstimationError(
                "No period has a row of every unit, so their covariance is unknown; pass pairwise=True."
            )
        return residuals[:, whole] @ residuals[:, whole].mT / float(whole.sum())
