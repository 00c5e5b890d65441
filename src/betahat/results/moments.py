"""`GMMResults` of `GMM`: estimating equations, with the test of overidentifying restrictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never

import torch
from torch import Tensor

from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.errors import EstimationError
from betahat.inference.cases import Cases, no_cases
from betahat.inference.hansen import j_test
from betahat.inference.hypothesis import HypothesisTest
from betahat.lazy import lazily
from betahat.results.core import UnstoredModel
from betahat.results.layout import Vector
from betahat.results.statsmodels_names import Results
from betahat.results.summaries import moments_content
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@dataclass(frozen=True, eq=False, repr=False)
class MomentView:
    """What results show of a user's own estimating equations.

    Attributes
    ----------
    title : str
        The function's name.
    tensors : mapping
        The parameter tensors: where each begins in the vector, and its shape.
    count : int
        q, the number of moments.
    weights : str
        How the weight was found.
    center : bool
        Whether moments were centred for it.
    statistic : float or None
        F'W F where W is efficient.
    """

    title: str
    tensors: Mapping[str, tuple[int, torch.Size]]
    count: int
    weights: str
    center: bool
    statistic: float | None


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class GMMResults(Results):
    """Results of estimating equations; what is shared with other models is in `Results`.

    Attributes
    ----------
    model, fit, cov
        As in `Results`.
    view : MomentView
        What the model shows of itself.
    """

    view: MomentView

    @property
    def df_model(self) -> float:
        """k, the number of parameters."""
        return float(self.fit.rank)

    @property
    def objective(self) -> float:
        """F'W F, F the sum of the moments and W their weight."""
        return float(self.fit.loss)

    @property
    def goodness(self) -> tuple[str, float]:
        """Hansen's J; the minimum if the weight is not efficient; with as many moments as parameters, their number; and its name in a table."""
        if self.view.count == self.fit.rank:
            return "Moments", float(self.view.count)
        return "Objective" if self.view.statistic is None else "J", self.objective

    @property
    def converged(self) -> bool:
        """Whether the parameters are the solution that a solver found; False for those taken as they were."""
        return self.diagnostics.converged

    def state(self) -> dict[str, Tensor]:
        """Return the estimates as the parameter tensors, float64, under their names.

        Returns
        -------
        dict
            str -> Tensor of the parameter's own shape.
        """
        return {
            name: self.fit.params[begin : begin + shape.numel()].view(shape).clone()
            for name, (begin, shape) in self.view.tensors.items()
        }

    def j_test(self) -> HypothesisTest:
        """Test whether all moments are zero in expectation, where there are more than parameters.

        With an efficient weight it is Hansen's J = F'W F, of centred moments if the model has ``center=True``. With another weight W it is
        F'(N S N')^+ F, N = I - G (G'W G)^-1 G'W and S the sum of m m', which has the same limit (Newey 1985).

        Returns
        -------
        HypothesisTest
            `statistic`, `pvalue` by chi-squared, and `df`, moments less parameters.

        Raises
        ------
        EstimationError
            As many moments as parameters: their sum is zero whatever the data are.

        References
        ----------
        Hansen (1982), Econometrica 50(4). Newey (1985), J. Econometrics 29(3).
        """
        return j_test(self.fit, self.view.count, self.view.statistic)

    @property
    def cases(self) -> Cases:
        """Not defined: there are no residuals."""
        raise no_cases("estimating equations show no fitted values")

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names.

        Returns
        -------
        pandas.DataFrame
            (1, ...).
        """
        found = j_test_or_none(self)
        nothing = float("nan")
        return pd.DataFrame(
            {
                "statistic": [nothing if found is None else found.statistic],
                "p.value": [nothing if found is None else found.pvalue],
                "df": [0 if found is None else int(found.df)],
                "moments": [self.view.count],
                "df.residual": [self.df_resid],
                "nobs": [int(self.nobs)],
            }
        )

    # private

    @property
    def _formula(self) -> None:
        return None

    def _response(self, which: Any) -> Never:
        raise EstimationError(
            "Estimating equations show no mean of a dependent variable, so there are no predictions and no marginal effects; use delta for functions of "
            "the parameters."
        )

    def _content(self, alpha: float) -> Content:
        return moments_content(self, alpha)

    def _laid_out(self) -> Vector:
        return Vector(self.fit, self.view.tensors)

    _learned = ("df_resid", "_tested")

    @property
    def _tested(self) -> HypothesisTest | None:
        """The test, where there is one."""
        return j_test_or_none(self)

    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        """Let the function go as well, which is code."""
        return {"model": UnstoredModel(self._kind)}


def j_test_or_none(results: GMMResults) -> HypothesisTest | None:
    """Return the test of overidentifying restrictions; None where there are none."""
    return results.j_test() if results.view.count > results.fit.rank else None
