"""What a summary says: the rows of its first table, and its notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from betahat.calculus.rows import Bread
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

from betahat.results.likelihood import MaximumLikelihoodResults


def likelihood_cells(results: MaximumLikelihoodResults) -> tuple[list[Any], list[Any]]:
    """Return the two columns of the first table of a likelihood's summary; None is filled in by statsmodels' renderer."""
    left = [
        ("Dep. Variable:", None),
        ("Model:", [type(results.model).__name__]),
        ("Method:", ["MLE"]),
        ("Date:", None),
        ("Time:", None),
        ("converged:", [str(results.converged)]),
        ("Covariance Type:", [results.cov_type]),
    ]
    right = [
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
        ("Pseudo R-squ.:", [f"{results.prsquared:#6.4g}"]),
        ("Log-Likelihood:", None),
        ("LL-Null:", [f"{results.llnull:#8.5g}"]),
        ("LLR p-value:", [f"{results.llr_pvalue:#6.4g}"]),
    ]
    return left, right


def bread_note(results: MaximumLikelihoodResults, usual: Bread = Bread.OBSERVED) -> list[str]:
    """Return the sentence on a bread that is not the default, or none."""
    kind = results.fit.bread_kind
    return [] if kind is usual else [f"The bread of the covariance is {kind.value!r}."]
