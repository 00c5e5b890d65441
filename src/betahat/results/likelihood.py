"""`MaximumLikelihoodResults`: what models of a likelihood share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.rows import Bread
from betahat.data.container import to_tensor
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.errors import OptionError, is_number, is_one_of, shown
from betahat.inference.distribution import chi2_tail
from betahat.inference.effects import refuse_effects
from betahat.inference.margins import Margins, marginal_effects
from betahat.inference.response import (
    null_log_likelihood,
)
from betahat.inference.score_test import Hypothesis, ScoreTest, score_test
from betahat.lazy import lazily
from betahat.results.new_data import Model
from betahat.results.statsmodels_names import Results

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class MaximumLikelihoodResults(Results, ABC):
    """What discrete models share: the comparison with the model of constants alone, and marginal effects."""

    model: Model

    @cached_property
    def llnull(self) -> float:
        """The log-likelihood with a constant alone, under the same offset and weights."""
        return null_log_likelihood(self.fit)

    @property
    def prsquared(self) -> float:
        """McFadden's pseudo R2, 1 - llf / llnull."""
        return 1.0 - self.llf / self.llnull

    @property
    def llr(self) -> float:
        """The likelihood ratio statistic 2 (llf - llnull)."""
        return 2.0 * (self.llf - self.llnull)

    @property
    def llr_pvalue(self) -> float:
        """Its upper tail, chi-squared with `df_model` degrees of freedom, and those of absorbed effects."""
        return chi2_tail(self.llr, self.df_model if self.fit.absorbed is None else self.fit.counts.coefficients() - 1.0)

    @property
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant."""
        return self.fit.k_constant

    @property
    def method(self) -> str:
        """How the estimates were found, as statsmodels prints it."""
        return "MLE"

    @property
    def converged(self) -> bool:
        """True: a fit that does not converge is an error."""
        return self.fit.diagnostics.converged

    @property
    def mle_retvals(self) -> dict[str, Any]:
        """How the solver ended: "converged", "iterations", and "fcalls", the points evaluated: the start, and one for each step."""
        steps = self.fit.diagnostics.iterations
        return {"converged": self.converged, "iterations": steps, "fcalls": steps + 1}

    @property
    def goodness(self) -> tuple[str, float]:
        """McFadden's pseudo R2, with its name in a table."""
        return "Pseudo R²", self.prsquared

    def get_margeff(
        self, at: str = "overall", method: str = "dydx", atexog: Any = None, dummy: bool = False, count: bool = False
    ) -> Margins:
        """Return marginal effects on the mean, with standard errors from the covariance in use.

        They are effects of columns, as in statsmodels. `avg_slopes` has the effects of variables, through powers and interactions.

        Parameters
        ----------
        at : {"overall", "mean", "median", "zero", "all"}
            The average of the effects of all rows, the effect at one point, or that of every row, without standard errors.
        method : {"dydx", "eyex", "dyex", "eydx"}
            Derivative, elasticity, or a semi-elasticity.
        atexog : mapping or array_like, optional
            Values in the place of the data: for columns by name or position, or for all of them.
        dummy, count : bool
            Differences for regressors of 0 and 1, and for counts, in the place of derivatives.

        Returns
        -------
        Margins
            With `margeff`, `margeff_se`, `conf_int`, `summary` and `summary_frame`.
        """
        refuse_effects(
            self.fit,
            "Marginal effects on the mean need",
            "use the coefficients, which need none, or write the effects as C(group)",
        )
        return marginal_effects(
            self.response,
            self.fit.params,
            self._pair.variances,
            self.fit.unidentified,
            self._container,
            at=at,
            method=method,
            atexog=atexog,
            dummy=dummy,
            count=count,
            cov=self.cov,
            nobs=self.nobs,
        )

    margins = get_margeff

    def score_test(
        self,
        exog_extra: Any = None,
        params_constrained: Any = None,
        hypothesis: Hypothesis = "joint",
        cov_type: str | None = None,
        k_constraints: int | None = None,
        r_matrix: Any = None,
    ) -> ScoreTest:
        """Test omitted variables, or restricted estimates, by the scores: a fit with them is not needed.

        Parameters
        ----------
        exog_extra : array_like, optional
            (n,) or (n, p) variables that were left out.
        params_constrained : array_like, optional
            Estimates that satisfy the restrictions, in the shape of `params`; None takes those of the fit.
        hypothesis : {"joint", "separate"}
            Chi-squared, or a standard normal number for each parameter.
        cov_type : {"nonrobust", "HC0"}, optional
            The information, or the scores' own variance; None takes that of the results.
        k_constraints : int, optional
            How many restrictions `params_constrained` satisfies.
        r_matrix : array_like, optional
            (J, k) these restrictions, which "HC0" needs.

        Returns
        -------
        ScoreTest
            With `statistic`, `pvalue` and `k_constraint`; it unpacks as statistic and p-value.

        Raises
        ------
        OptionError
            An unknown covariance or hypothesis, the wrong number of rows or parameters, or restrictions that are missing.
        EstimationError
            The variables are collinear.
        """
        wanted = self.cov_type if cov_type is None else cov_type
        if not is_one_of(wanted, ("nonrobust", "HC0")):
            raise OptionError(
                f"The score test takes cov_type 'nonrobust' or 'HC0', not {shown(wanted)}; pass one of them."
            )
        if not is_one_of(hypothesis, ("joint", "separate")):
            raise OptionError(f"hypothesis is {shown(hypothesis)}; use 'joint' or 'separate'.")
        held = is_number(k_constraints)
        if k_constraints is not None and not (held and k_constraints >= 1):
            raise OptionError(
                f"k_constraints is {shown(k_constraints)}; pass how many restrictions there are, such as 1."
            )
        params = self.fit.params if params_constrained is None else self._read_params(params_constrained)
        restrictions = None if r_matrix is None else self._layout.read_restrictions(r_matrix)[0]
        extra = None if exog_extra is None else self._read_extra(exog_extra)
        return score_test(self.fit, extra, params, restrictions, k_constraints, hypothesis, wanted == "HC0")

    def _read_params(self, params: Any) -> Tensor:
        """(k,) parameters in the shape of `params`."""
        read = to_tensor(params, self.fit.params)
        read = read.mT.reshape(-1) if read.ndim == 2 else read
        if read.shape != self.fit.params.shape:
            raise OptionError(
                f"params_constrained has shape {np.shape(params)}; pass one number for each of the {len(self.fit.params)} parameters, in the "
                "shape of params."
            )
        return read

    def _read_extra(self, exog_extra: Any) -> Tensor:
        """(n, p) variables that were left out."""
        read = to_tensor(exog_extra, self.fit.params)
        read = read[:, None] if read.ndim == 1 else read
        if read.ndim != 2 or len(read) != self.fit.design.rows or not bool(torch.isfinite(read).all()):
            raise OptionError(
                f"exog_extra has shape {tuple(read.shape)}, or missing values; pass a number for each variable and each of the "
                f"{self.fit.design.rows} rows in use."
            )
        return read

    @property
    def _usual_breads(self) -> tuple[Bread, ...]:
        """The breads that a summary does not name, since statsmodels takes them."""
        return (Bread.OBSERVED,)

    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        return {"model": self.model.without_rows(rows)}
