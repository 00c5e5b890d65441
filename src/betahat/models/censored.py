"""What models of censored numbers share: Tobit and AFT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor

from betahat.data.container import to_tensor
from betahat.data.design import Design, has_weight
from betahat.data.engine import Block, Engine, fold, scan
from betahat.data.kept import SMALL
from betahat.data.modes import in_ordinary_mode
from betahat.data.source import Source
from betahat.errors import DataError, OptionError, is_one_of, listed, shown
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

    def _check_scale(self) -> None:
        """Refuse rows that are fitted exactly, so that the likelihood grows without bound as the scale goes to zero."""
        loss, design = self.objective, self.design
        if len(loss.equations) > 1 and _is_fitted_exactly(loss, design):
            raise DataError(
                f"{design.endog_name} is fitted exactly in every row that is not censored, so the scale goes to zero and there is no estimate; see "
                "whether it is constant there, or follows from a regressor, or whether there are too few such rows."
            )

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
            As in the results' `predict`.

        Returns
        -------
        array
            (m,).

        Raises
        ------
        OptionError
            `which` is unknown.
        """
        loss, read = self.objective, self._read(params)
        known = loss.predictions
        which = next(iter(known)) if which is None else which
        if not is_one_of(which, tuple(known)):
            raise OptionError(f"which is {shown(which)}; use one of {listed(list(known))}.")
        regressors = self.design.exog if exog is None else self.new_regressors(exog, transform=False)[0]
        check_width(regressors, self.design.width)
        return self._plain(known[which](indices_of(loss, to_tensor(regressors, read), read, None)))


# A residual of rounding errors, in units of the last place; and how far beyond a bound counts as at it.
_ROUNDING, _AT_BOUND = 16, 1e-9


def _is_fitted_exactly(loss: CensoredLocationScale, design: Design) -> bool:
    """Tell whether some x'b is the value in each row that is not censored, and within the bound in each that is; a few rows rule most data out."""
    rows = design.source.only("exog", "endog", "weights", "counts")
    first = design.source.read(("exog", "endog"), 0, 1)
    step = max(torch.finfo(column.dtype).eps for column in first)
    for most in (2 * design.width + 2, max(SMALL // design.width, 2 * design.width + 2)):
        x, values = _exact_rows(loss, rows, design.engine, most)
        coefficients, residual = _least_squares(x, values)
        if not bool(residual.norm() <= _ROUNDING * step * values.norm()):
            return False
    largest = max(float(found) for found in scan(rows, partial(_largest, loss), design.engine))
    (beyond,) = fold(rows, partial(_beyond, loss, coefficients, _AT_BOUND * largest), design.engine)
    return not int(beyond)


def _exact_rows(loss: CensoredLocationScale, rows: Source, engine: Engine, most: int) -> tuple[Tensor, Tensor]:
    """Return the regressors and the values of the first rows, at most so many, that have a weight and are not censored."""
    parts, count = [], 0
    for x, values in scan(rows, partial(_exact, loss), engine):
        parts.append((x[: most - count], values[: most - count]))
        count += len(parts[-1][1])
        if count == most:
            break
    columns, numbers = zip(*parts, strict=True)
    return torch.cat(columns), torch.cat(numbers)


def _exact(loss: CensoredLocationScale, block: Block) -> tuple[Tensor, Tensor]:
    known = loss.known(block["endog"])
    there = known.exact & has_weight(block)
    return block["exog"][there], known.value[there]


def _largest(loss: CensoredLocationScale, block: Block) -> Tensor:
    return loss.known(block["endog"]).value.abs().amax()


def _beyond(loss: CensoredLocationScale, coefficients: Tensor, size: float, block: Block) -> tuple[Tensor]:
    """Count the rows that have a weight in which x'b is further than so much from the value, or beyond the bound."""
    known = loss.known(block["endog"])
    over = block["exog"] @ coefficients - known.value
    beyond = torch.where(known.below, over, torch.where(known.above, -over, over.abs()))
    return ((beyond[has_weight(block)] > size).sum(),)


def _least_squares(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return (k,) coefficients and (n,) residuals, whose size does not depend on how the columns are conditioned."""
    size = x.norm(dim=0).clamp_min(torch.finfo(torch.float64).tiny)
    left, values, right = torch.linalg.svd(x / size, full_matrices=False)
    there = values > 1e-12 * values.max()
    left, values, right = left[:, there], values[there], right[there]
    found = left.mT @ y
    return (right.mT @ (found / values)) / size, y - left @ found
