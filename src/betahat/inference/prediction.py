"""Predictions, their standard errors and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.data.container import Container, to_numpy
from betahat.data.engine import gather
from betahat.data.handed_out import hands_out_copies
from betahat.data.source import Held
from betahat.errors import DataError, check_flag
from betahat.inference.coefficients import interval
from betahat.inference.distribution import Df
from betahat.inference.variances import Variances
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted means with their variances, with statsmodels' names.

    Attributes
    ----------
    means, errors : Tensor
        (m,) x'b and the square root of x'V x.
    noise : Tensor
        () or (m,) the variance of a new observation around its mean.
    df : float or None
        Degrees of freedom; None is the normal distribution.
    container : Container
        How arrays are handed out.
    labels : sequence or None
        (m,) the labels of the rows, for `summary_frame`.
    """

    means: Tensor
    errors: Tensor
    noise: Tensor
    df: Df
    container: Container
    labels: Any

    @property
    def predicted_mean(self) -> Any:
        """(m,) x'b."""
        return self.container.plain(self.means)

    @property
    def predicted(self) -> Any:
        """The same as `predicted_mean`."""
        return self.predicted_mean

    @property
    def var_pred_mean(self) -> Any:
        """(m,) x'V x."""
        return self.container.plain(self.errors.square())

    @property
    def var_resid(self) -> Any:
        """(m,) the variance of a new observation around its mean, or a number if it is the same for all."""
        return float(self.noise) if self.noise.ndim == 0 else self.container.plain(self.noise)

    @property
    def se_mean(self) -> Any:
        """(m,) the standard error of the mean."""
        return self.container.plain(self.errors)

    @property
    def se(self) -> Any:
        """The same as `se_mean`."""
        return self.se_mean

    @property
    def se_obs(self) -> Any:
        """(m,) the standard error of a new observation."""
        return self.container.plain(self._errors_of(True))

    def conf_int(self, obs: bool = False, alpha: float = 0.05) -> Any:
        """Return (m, 2) intervals for the mean or, with `obs`, for a new observation.

        Parameters
        ----------
        obs : bool
            Whether intervals are for a new observation instead of the mean.
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        array
            (m, 2), in units of endog.

        Raises
        ------
        OptionError
            `alpha` is not between 0 and 1.
        """
        check_flag("obs", obs)
        return self.container.plain(self._bounds(obs, alpha))

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return the mean, its standard error, and both intervals, one row for each prediction.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        pandas.DataFrame
            (m, 6).
        """
        mean, obs = to_numpy(self._bounds(False, alpha)), to_numpy(self._bounds(True, alpha))
        return pd.DataFrame(
            {
                "mean": to_numpy(self.means),
                "mean_se": to_numpy(self.errors),
                "mean_ci_lower": mean[:, 0],
                "mean_ci_upper": mean[:, 1],
                "obs_ci_lower": obs[:, 0],
                "obs_ci_upper": obs[:, 1],
            },
            index=self.labels,
        )

    def __repr__(self) -> str:
        """Return the frame as text."""
        return str(self.summary_frame())

    def _bounds(self, obs: bool, alpha: float) -> Tensor:
        return interval(self.means, self._errors_of(obs), alpha, self.df)

    def _errors_of(self, obs: bool) -> Tensor:
        return torch.hypot(self.errors, self.noise.sqrt()) if obs else self.errors


def predict_mean(exog: Tensor, params: Tensor) -> Tensor:
    """Return (m,) x'b in float64, block by block."""
    check_width(exog, len(params))
    return gather(Held({"x": exog}), lambda block: block["x"] @ params)


def predict(
    exog: Tensor,
    params: Tensor,
    variances: Variances,
    noise: Tensor,
    weights: Tensor | None,
    df: Df,
    container: Container,
    labels: Any,
    known: Tensor | None = None,
) -> Prediction:
    """Predict at (m, k) regressors; `noise` is () the variance of an observation with weight one, `known` (m,) whether a prediction is identified."""
    means = predict_mean(exog, params)
    errors = gather(Held({"x": exog}), lambda block: variances.errors(block["x"]))
    errors = errors if known is None else torch.where(known, errors, torch.nan)
    scaled = noise if weights is None else noise / weights.to(torch.float64)
    return Prediction(means, errors, scaled, df, container, labels)


def check_width(exog: Tensor, width: int) -> None:
    """Refuse regressors whose number of columns is not that of the model."""
    if exog.shape[1] != width:
        raise DataError(
            f"The new data have {exog.shape[1]} columns, but the model has {width}; pass the same columns in the same order, including the constant."
        )
