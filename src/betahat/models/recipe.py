"""`Recipe`: all that a model of one linear index is, beside its name and its docstring."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

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

    def check_endog(self, endog: Tensor, model: str) -> None:
        """Refuse (n,) values of the dependent variable that the model gives no probability, or that explain nothing."""
        check_endog(self.objective.support, self.advice, endog, model)


def check_endog(support: Support, advice: str, endog: Tensor, model: str) -> None:
    """Refuse (n,) values of the dependent variable outside a support, or that explain nothing."""
    outside = support.outside(endog)
    if outside is not None:
        raise DataError(f"endog has {outside}, and {model} needs {support.needed}; {advice}.")
    degenerate = support.degenerate(endog)
    if degenerate is not None:
        raise DataError(f"endog is {degenerate}.")
