"""`GLMResults` of generalised linear models, with the names of `statsmodels.genmod`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from betahat.calculus.rows import Bread
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_one_of, shown
from betahat.inference.response import anscombe_residuals, deviance_residuals, means, variances, working_residuals
from betahat.results.index import IndexResults
from betahat.results.new_data import Model
from betahat.results.summaries import bread_notes, glm_content
from betahat.tables.summary import Content


class FamilyModel(Model, Protocol):
    """What these results need of their model."""

    @property
    def family(self) -> str: ...  # noqa: D102
    @property
    def link(self) -> str: ...  # noqa: D102


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class GLMResults(IndexResults):
    """Results of a generalised linear model, with statsmodels' names; what is shared is in `IndexResults` and `Results`."""

    model: FamilyModel

    @property
    def method(self) -> str:
        """How the estimates were found, as statsmodels prints it: Newton's steps are reweighted least squares, too (Green 1984, JRSS B 46(2))."""
        return "IRLS"

    @property
    def fittedvalues(self) -> Any:
        """(n,) E(y), as in statsmodels."""
        return self._container.present_rows(means(self.fit))

    @property
    def mu(self) -> Any:
        """(n,) the same as `fittedvalues`."""
        return self.fittedvalues

    @property
    def resid_response(self) -> Any:
        """(n,) y - E(y), of successes and failures in numbers of successes."""
        weights = self.fit.design.weights if self._loss.trials else None
        return self._container.present_rows(self._error if weights is None else self._error * weights)

    @property
    def resid_pearson(self) -> Any:
        """(n,) sqrt(w) (y - mu) over the root of V(mu)."""
        return self._container.present_rows(self._weighted(self._error / variances(self.fit).sqrt()))

    @property
    def resid_deviance(self) -> Any:
        """(n,) the signed roots of each row's part of the deviance."""
        return self._container.present_rows(self._weighted(deviance_residuals(self.fit)))

    @property
    def resid_anscombe(self) -> Any:
        """(n,) the same as `resid_anscombe_scaled`."""
        return self.resid_anscombe_scaled

    @property
    def resid_anscombe_scaled(self) -> Any:
        """(n,) Anscombe's residuals over the root of the scale."""
        return self._container.present_rows(self._weighted(anscombe_residuals(self.fit)) / self.scale**0.5)

    @property
    def resid_anscombe_unscaled(self) -> Any:
        """(n,) sqrt(w) (A(y) - A(mu)) / V(mu)^(1/6), A the integral of V^(-1/3)."""
        return self._container.present_rows(self._weighted(anscombe_residuals(self.fit)))

    @property
    def resid_working(self) -> Any:
        """(n,) (y - mu) deta/dmu."""
        return self._container.present_rows(working_residuals(self.fit))

    @cached_property
    def pearson_chi2(self) -> float:
        """The sum of w (y - mu)^2 / V(mu)."""
        return float(self.fit.misfit.pearson())

    @property
    def bic_llf(self) -> float:
        """-2 llf + r log n, the same as `bic`."""
        return self.bic

    @property
    def bic_deviance(self) -> float:
        """The deviance less (n - r) log n, which statsmodels calls `bic`."""
        return self.deviance - self.df_resid * math.log(self.nobs)

    @property
    def goodness(self) -> tuple[str, float]:
        """Cox and Snell's pseudo R2, as the summary prints it, under its name in a table: McFadden's of a density depends on the units of y."""
        return "Pseudo R² (CS)", self.pseudo_rsquared()

    def pseudo_rsquared(self, kind: str = "cs") -> float:
        """Return a pseudo R2, from the log-likelihoods with a constant alone and of the model.

        Parameters
        ----------
        kind : {"cs", "mcf"}
            Cox and Snell's, 1 - exp(2 (llnull - llf) / n), or McFadden's, 1 - llf / llnull, which has a meaning for counts and for a binomial
            family alone: of a density it depends on the units of y, and may be negative.

        Returns
        -------
        float

        Raises
        ------
        OptionError
            Another kind.
        """
        if not is_one_of(kind, ("cs", "mcf")):
            raise OptionError(f"kind is {shown(kind)}; use 'cs' (Cox and Snell) or 'mcf' (McFadden).")
        return 1.0 - math.exp(2.0 * (self.llnull - self.llf) / self.nobs) if kind == "cs" else self.prsquared

    # private

    def _weighted(self, residuals: Tensor) -> Tensor:
        """(n,) residuals times the roots of analytic weights."""
        weights = self.fit.design.weights
        return residuals if weights is None else residuals * weights.sqrt()

    @property
    def _notes(self) -> list[str]:
        return bread_notes(self)

    def _content(self, alpha: float) -> Content:
        return glm_content(self, alpha)

    @property
    def _usual_breads(self) -> tuple[Bread, ...]:
        """The expected one, which is the default, and the observed one of statsmodels' robust covariances."""
        return (Bread.EXPECTED, Bread.OBSERVED) if self.cov.robust else (Bread.EXPECTED,)
