"""What models of censored numbers share: Tobit and AFT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from betahat.data.container import to_tensor
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_one_of, listed, shown
from betahat.inference.at_params import indices_of
from betahat.inference.prediction import check_width
from betahat.models.equations import EquationsModel
from betahat.objectives.censored import CensoredLocationScale
from betahat.objectives.equation import Equation

# What R's survreg calls the last parameter.
LOG_SCALE = Equation("log(scale)", ())


@in_ordinary_mode
class CensoredModel(EquationsModel, ABC):
    """A location x'b and a scale of a number that is censored in some rows.

    Attributes
    ----------
    sample, source
        As in `RegressorModel`.
    """

    @property
    @abstractmethod
    def objective(self) -> CensoredLocationScale:
        """The loss of a row."""

    def predict(  # type: ignore[override]
        self, params: Any, exog: Any = None, which: str | None = None
    ) -> Any:
        """Return (m,) predictions.

        Parameters
        ----------
        params : array_like
            (k,) parameters.
        exog : array_like, optional
            (m, k) regressors; None takes those of the data.
        which : str, optional
            As of the results' `predict`.

        Returns
        -------
        array
            (m,).

        Raises
        ------
        OptionError
            Another `which`.
        """
        loss, read = self.objective, self._read(params)
        known = loss.predictions
        which = next(iter(known)) if which is None else which
        if not is_one_of(which, tuple(known)):
            raise OptionError(f"which is {shown(which)}; use one of {listed(list(known))}.")
        regressors = self.design.exog if exog is None else self.new_regressors(exog, transform=False)[0]
        check_width(regressors, self.design.width)
        return self._plain(known[which](indices_of(loss, to_tensor(regressors, read), read, None)))
