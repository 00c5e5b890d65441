"""`DiscreteResults` of Logit, Probit and Poisson, with the names of `statsmodels.discrete`."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, shown
from betahat.inference.residuals import fitted_values
from betahat.inference.response import (
    certain_share,
    deviance_residuals,
    generalized_residuals,
    prediction_table,
)
from betahat.lazy import lazily
from betahat.tables.likelihood_summary import Cells

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

from betahat.results.index import IndexResults
from betahat.results.summaries import bread_note, likelihood_cells


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class DiscreteResults(IndexResults):
    """Results of Logit, Probit and Poisson, with statsmodels' names; what is shared is in `IndexResults` and `Results`."""

    @property
    def fittedvalues(self) -> Any:
        """(n,) x'b, without the offset, as in statsmodels."""
        values = fitted_values(self.fit)
        offset = self.fit.design.offset
        return self._container.present_rows(values if offset is None else values - offset)

    @property
    def resid(self) -> Any:
        """The same as `resid_response`."""
        return self.resid_response

    @property
    def resid_generalized(self) -> Any:
        """(n,) the derivative of the log-likelihood with respect to the index."""
        return self._container.present_rows(generalized_residuals(self.fit))

    @property
    def resid_dev(self) -> Any:
        """(n,) deviance residuals, the signed roots of each row's part of the deviance."""
        return self._container.present_rows(deviance_residuals(self.fit))

    def pred_table(self, threshold: float = 0.5) -> Any:
        """Return (2, 2) how often i was observed and j predicted, of a binary model.

        Parameters
        ----------
        threshold : float
            The probability from which on 1 is predicted.

        Returns
        -------
        array
            (2, 2).

        Raises
        ------
        OptionError
            A model that is not binary, or a threshold outside [0, 1].
        """
        if not self._loss.support.binary:
            raise OptionError("pred_table is of binary models; for counts compare predict() with endog.")
        if not isinstance(threshold, Real) or not 0.0 <= threshold <= 1.0:
            raise OptionError(f"threshold is {shown(threshold)}; pass a probability, such as 0.5.")
        return self._container.plain(prediction_table(self.fit, threshold))

    @property
    def _heading(self) -> str:
        return f"{type(self.model).__name__} Regression Results"

    @property
    def _cells(self) -> tuple[Cells, Cells]:
        return likelihood_cells(self)

    @property
    def _notes(self) -> list[str]:
        """What the summary says below its tables."""
        binary = self._loss.support.binary
        return [*(_separation(certain_share(self.fit)) if binary else []), *bread_note(self)]


def _separation(share: float) -> list[str]:
    if share <= 0.1:
        return []
    return [
        f"Possibly complete quasi-separation: A fraction {share:4.2f} of observations can be\n"
        "perfectly predicted. This might indicate that there is complete\n"
        "quasi-separation. In this case some parameters will not be identified."
    ]
