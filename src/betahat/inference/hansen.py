"""Hansen's test of overidentifying restrictions, with any weight."""

from __future__ import annotations

import torch

from betahat.calculus.moments import Equations
from betahat.data.source import refuse_rows
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.inference.hypothesis import HypothesisTest, chi2_test


def j_test(fit: Fit, count: int, statistic: float | None) -> HypothesisTest:
    """Test that `count` moments have the expectation zero: by F'W F, the `statistic` where W is efficient, or by a quadratic form in the rest of F."""
    df = count - fit.rank
    if df == 0:
        raise EstimationError(
            f"There are as many moments as parameters, {count}, so that their sum is zero whatever the data are, and there is nothing to test; add moments."
        )
    found = fit.fact("overidentification", lambda: _of_any_weight(fit, df)) if statistic is None else statistic
    return chi2_test("Hansen's J", "all moments have the expectation zero.", found, df)


def _of_any_weight(fit: Fit, df: int) -> float:
    """Return F'(N S N')^+ F, N = I - G (G'W G)^-1 G'W: F is what N leaves of the sum of the moments at the true parameters."""
    conditions = fit.objective.moments
    if conditions is None:
        refuse_rows()
    assert conditions.turn is not None
    equations = Equations(conditions, fit.sample)
    sums, jacobian = equations.sums(fit.params), equations.jacobian(fit.params)
    # Z N' with u = m N the influence: (G'W G)^-1 G'W is minus that
    left = torch.eye(conditions.count).to(jacobian) + jacobian @ fit.root @ conditions.turn.mT
    spread = left @ sums.products @ left.mT
    spectrum, vectors = torch.linalg.eigh(spread)
    along = vectors[:, -df:].mT @ sums.moments
    return float((along.square() / spectrum[-df:]).sum())
