"""`Recipe`: all that a model of one linear index is, beside its name and its docstring."""

from __future__ import annotations

from dataclasses import dataclass

from betahat.data.design import Design
from betahat.errors import DataError
from betahat.objectives.base import LinearIndex
from betahat.objectives.support import Support


@dataclass(frozen=True)
class Recipe:
    """What makes a model of one linear index.

    Attributes
    ----------
    objective : LinearIndex
        The loss of a row, which answers for itself: support, dispersion, variance, deviance, draws.
    advice : str
        What to do about values of y that it gives no probability, after "Logit needs 0 and 1, or shares; ".
    """

    objective: LinearIndex
    advice: str

    def check_endog(self, design: Design, model: str) -> None:
        """Refuse values of the dependent variable that the model gives no probability, or that explain nothing."""
        check_endog(self.objective.support, self.advice, design, model)


def check_endog(support: Support, advice: str, design: Design, model: str) -> None:
    """Refuse values of the dependent variable outside a support, or that explain nothing, in rows that have a weight."""
    tally = design.tally(support.tally)
    outside = support.outside(tally)
    if outside is not None:
        raise DataError(f"endog has {outside}, and {model} needs {support.needed}; {support.remedy(tally, advice)}.")
    degenerate = support.degenerate(tally)
    if degenerate is not None:
        raise DataError(f"endog is {degenerate}.")
