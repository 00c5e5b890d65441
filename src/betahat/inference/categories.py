"""Predicted probabilities of categories, with standard errors by the delta method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import Container, to_numpy
from betahat.data.handed_out import hands_out_copies
from betahat.inference.coefficients import interval
from betahat.inference.distribution import Df
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@hands_out_copies
@dataclass(frozen=True, eq=False)
class CategoryPrediction:
    """Probabilities of each category in each row, with standard errors by the delta method.

    Attributes
    ----------
    values, errors : Tensor
        (m, J).
    df : sequence
        (J,) degrees of freedom, each None for the normal distribution, a number or (m,).
    levels : tuple
        (J,) the categories.
    container : Container
        How arrays are handed out.
    labels : sequence or None
        (m,) the labels of the rows.
    """

    values: Tensor
    errors: Tensor
    df: Sequence[Df]
    levels: tuple[Any, ...]
    container: Container
    labels: Any

    @property
    def predicted(self) -> Any:
        """(m, J) the probabilities; in a dataframe, the columns have the names of the categories."""
        return self.container.present_rows(self.values, list(self.levels))

    @property
    def se(self) -> Any:
        """(m, J) their standard errors."""
        return self.container.present_rows(self.errors, list(self.levels))

    def conf_int(self, alpha: float = 0.05) -> Any:
        """Return (m, J, 2) intervals of coverage 1 - alpha, those of log(p / (1 - p)), transformed, as in R's ``ordinal``.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        array
            (m, J, 2).

        Raises
        ------
        OptionError
            `alpha` is not between 0 and 1.
        """
        return self.container.plain(self._bounds(alpha))

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a row for each row of the data and each category.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        pandas.DataFrame
            (m J, 4), by the labels of the rows and the categories.
        """
        bounds = to_numpy(self._bounds(alpha)).reshape(-1, 2)
        labels = np.arange(len(self.values)) if self.labels is None else self.labels
        columns = {
            "predicted": to_numpy(self.values).reshape(-1),
            "se": to_numpy(self.errors).reshape(-1),
            "ci_lower": bounds[:, 0],
            "ci_upper": bounds[:, 1],
        }
        return pd.DataFrame(columns, pd.MultiIndex.from_product([labels, list(self.levels)], names=[None, "category"]))

    def _bounds(self, alpha: float) -> Tensor:
        """(m, J, 2); a probability of zero or one, or without an error, such as that of the last category or one below, is its own interval."""
        logits, slopes = torch.logit(self.values), self.values * (1.0 - self.values)
        parts = zip(logits.unbind(1), (self.errors / slopes).unbind(1), self.df, strict=True)
        ends = torch.stack([torch.sigmoid(interval(logit, error, alpha, df)) for logit, error, df in parts], 1)
        certain = (self.errors == 0.0) | (slopes == 0.0)
        return torch.where(certain[..., None], self.values[..., None], ends)

    def __repr__(self) -> str:
        """Return the frame as text."""
        return str(self.summary_frame())
