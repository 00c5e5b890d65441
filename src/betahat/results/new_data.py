"""New data for a prediction: regressors, what stands beside them, and labels of their rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import Container, to_tensor
from betahat.data.frame import check_index, is_frame
from betahat.data.sample import WithoutRows
from betahat.errors import DataError, OptionError, check_flag, counted, described, shown
from betahat.inference.identified import identified, warn_unidentified
from betahat.inference.prediction import check_width
from betahat.lazy import lazily
from betahat.results.core import Core
from betahat.results.linear_functions import listed_in

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


class Model(Protocol):
    """What results need of the model that they belong to."""

    def new_regressors(self, exog: Any, transform: bool) -> tuple[Tensor, Container]:
        """Read regressors for a prediction."""
        ...

    def moved_regressors(self, frame: Any, values: Mapping[str, Any]) -> dict[int, Tensor]:
        """Read the regressors that change with some variables."""
        ...

    def new_vector(self, values: Any, exog: Any, option: str) -> Any:
        """Read a vector beside new regressors."""
        ...

    def without_rows(self, rows: WithoutRows) -> Self:
        """Return the model without its data."""
        ...


def check_beside(values: Any, option: str, exog: Any, rows: Container) -> None:
    """Refuse a series beside new regressors, or those of the fit, whose index is another than theirs; arrays have none."""
    if not isinstance(exog, np.ndarray | Tensor | list | tuple) and isinstance(values, pd.Series | pd.DataFrame):
        check_index(option, values.index, rows.row_labels)


def one_each(values: Any, like: Tensor, label: str) -> Tensor:
    """Read a number for each prediction, or one for all."""
    read = to_tensor(values, like)
    if read.ndim > 0 and read.shape != like.shape:
        raise DataError(
            f"{label} has shape {tuple(read.shape)} for {len(like)} predictions; pass one for each, or one for all."
        )
    if not bool(torch.isfinite(read).all()):
        raise DataError(f"{label} has missing or infinite values; pass a number for each prediction.")
    return read


def prediction_labels(row_labels: Any, container: Container, rows: int) -> Any:
    """Return (m,) the labels of predictions, as given or those of the data, or None."""
    labels = container.row_labels if row_labels is None else _read_row_labels(row_labels)
    if labels is not None and len(labels) != rows:
        raise OptionError(
            f"row_labels has {counted(len(labels), 'label')} for {counted(rows, 'prediction')}; pass one for each."
        )
    return labels


def _read_row_labels(given: Any) -> list[Any]:
    """Read the labels of predictions."""
    labels = listed_in(given)
    if labels is None or isinstance(given, pd.DataFrame) or not all(isinstance(label, Hashable) for label in labels):
        raise OptionError(f"row_labels is {shown(given)}; pass a list with a label for each prediction.")
    return labels


def new_regressors(results: Core, exog: Any, transform: bool = True) -> tuple[Tensor, Container, Tensor | None]:
    """Read the (m, k) regressors of new data; return them with their container and, if not all, (m,) which predictions are identified."""
    regressors, container = _read(results, exog, transform)
    known = None
    if results.fit.idle is not None:
        known = identified(results.fit.idle, regressors)
        warn_unidentified(known, container.row_labels)
    return _estimated_columns(results, regressors), container, known


def plain_regressors(results: Core, frame: Any) -> Tensor:
    """Read the (m, k) regressors of rows, where nobody need be told which of their predictions are not identified."""
    return _estimated_columns(results, _read(results, frame, True)[0])


def moved_regressors(results: Core, frame: Any, values: Mapping[str, Any]) -> dict[int, Tensor]:
    """Read by their places the (m,) regressors that change with other values of some of a formula's variables."""
    found: dict[int, Tensor] = results.model.moved_regressors(frame, values)
    if results.fit.sample.width == results.fit.given.width:
        return found
    places = {place: i for i, place in enumerate(results.fit.kept)}
    return {places[place]: column for place, column in found.items() if place in places}


def _estimated_columns(results: Core, regressors: Tensor) -> Tensor:
    """Return the columns of (m, K) regressors that were not left out as collinear."""
    narrower = results.fit.sample.width < results.fit.given.width
    return regressors[:, list(results.fit.kept)] if narrower else regressors


def _read(results: Core, exog: Any, transform: bool) -> tuple[Tensor, Container]:
    """Read the (m, K) regressors of new data."""
    check_flag("transform", transform)
    regressors, container = results.model.new_regressors(exog, transform)
    check_width(regressors, results.fit.given.width)
    return regressors.to(results.fit.params.device), container


def data_at(
    results: Core, exog: Any, transform: bool, offset: Any, exposure: Any
) -> tuple[Tensor, Tensor | None, Container, Tensor | None]:
    """Return the regressors, the offset and the container of a prediction, and which rows are identified."""
    known: Tensor | None = None
    if exog is None:
        design = results.fit.design
        regressors, container, shift = design.exog, design.container, design.offset
    else:
        regressors, container, known = new_regressors(results, exog, transform)
        shift = None
    if offset is None and exposure is None:
        return regressors, shift, container, known
    if exog is None:
        raise OptionError(
            "offset and exposure of the data of the fit are those of the fit; pass exog as well to predict under others."
        )
    for option, values in (("offset", offset), ("exposure", exposure)):
        check_beside(values, option, exog, container)
    given = torch.zeros(len(regressors), dtype=torch.float64, device=regressors.device)
    if offset is not None:
        given = given + one_each(results.model.new_vector(offset, exog, "offset"), given, "offset")
    if exposure is not None:
        rates = one_each(results.model.new_vector(exposure, exog, "exposure"), given, "exposure")
        if bool((rates <= 0).any()):
            raise DataError("exposure has values of zero or less, but its logarithm is taken; pass positive numbers.")
        given = given + rates.log()
    return regressors, given, container, known


def times_or_data(endog: Any, exog: Any, pred_type: str) -> tuple[Any, Any]:
    """Return the times and the new data of a prediction of survival, of which new data may come first, as for other models."""
    table = (
        isinstance(endog, Mapping) or is_frame(endog) or (isinstance(endog, np.ndarray | Tensor) and endog.ndim == 2)
    )
    if table and exog is None:
        return None, endog
    if table:
        raise OptionError(
            f"endog is {described(endog)}, and it is the times up to which hazard is cumulated; pass one for each prediction, or one for all, and new data as exog=."
        )
    if endog is not None and exog is None and pred_type in ("lhr", "hr"):
        raise OptionError(
            f"endog is {shown(endog)}, the times up to which hazard is cumulated, which pred_type={pred_type!r} has no use for; pass new data as exog=, or pred_type='surv'."
        )
    return endog, exog
