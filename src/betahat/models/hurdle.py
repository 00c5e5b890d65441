"""Hurdle Poisson and negative binomial regression."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from betahat.data.arrays import Device
from betahat.data.door import Missing, RowVectors
from betahat.data.modes import in_ordinary_mode
from betahat.models.excess_zeros import LINKS, POISSON, ExcessZerosModel
from betahat.objectives.equation import Equation
from betahat.objectives.hurdle import Hurdle
from betahat.objectives.negative_binomial import NegativeBinomial2
from betahat.results.excess_zeros import HurdleResults


@in_ordinary_mode
class HurdleModel(ExcessZerosModel, ABC):
    """What hurdle models share."""

    stored = ExcessZerosModel.stored

    second, prefix, link_option = "exog_zero", "zero_", "link"
    results = HurdleResults

    @property
    def exog_zero(self) -> Any:
        """(n, q) the regressors of P(y > 0), of the rows in use."""
        return self._columns(1)

    @property
    def objective(self) -> Hurdle:
        """The loss of a row."""
        counts, zeros = self._places()
        equations = (Equation("count", counts), Equation("zero", zeros), *self._alpha)
        return Hurdle(counts=self.counts, zeros=LINKS[self.link], equations=equations)

    @property
    @abstractmethod
    def _alpha(self) -> tuple[Equation, ...]:
        """The equation of alpha, where there is one."""

    @property
    def df_model(self) -> float:
        """The regressors of both equations, less two for their constants."""
        return float(self.sample.width - 2)

    @property
    def df_resid(self) -> float:
        """The number of rows less the number of parameters, as in pscl."""
        return self.nobs - self.sample.width - len(self._alpha)

    def predict(  # type: ignore[override]  # statsmodels' order
        self,
        params: Any,
        exog: Any = None,
        exog_zero: Any = None,
        exposure: Any = None,
        offset: Any = None,
        which: str = "mean",
        y_values: Any = None,
    ) -> Any:
        """Return (m,) E(y), or another prediction, in statsmodels' order of arguments.

        Parameters
        ----------
        params : array_like
            (k,) parameters.
        exog : array_like, optional
            (m, k) regressors of the counts; None takes those of the data, with their offset.
        exog_zero : array_like, optional
            (m, q) regressors of P(y > 0).
        exposure, offset : array_like, optional
            (m,) those of the new regressors.
        which, y_values
            As in the results' `predict`.

        Returns
        -------
        array
            (m,), or (m, J) probabilities.

        Raises
        ------
        OptionError
            `which` is unknown.
        """
        return self._predicted(params, exog, exog_zero, exposure, offset, which, y_values)

    @staticmethod
    def _formula(formula: str) -> str:
        return f"~ {formula.partition('~')[2]}"

    @staticmethod
    def _default(exog: torch.Tensor) -> torch.Tensor:
        return exog

    def __init__(
        self,
        endog: Any,
        exog: Any,
        exog_zero: Any = None,
        offset: Any = None,
        exposure: Any = None,
        link: str = "logit",
        weights: Any = None,
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        self._take({"link": link})
        beside = RowVectors(weights, offset, exposure, freq_weights)
        self._read_data(
            endog,
            exog,
            exog_zero,
            beside,
            hasconst=hasconst,
            missing=missing,
            device=device,
            dtype=dtype,
            engine=engine,
        )


@in_ordinary_mode
class HurdlePoisson(HurdleModel):
    """Hurdle Poisson regression: a binary model of y > 0, and a zero-truncated Poisson model of the positive counts.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) counts.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors of the counts. No constant is added; see `add_constant`.
    exog_zero : array_like, Tensor or dataframe, optional
        (n, q) the regressors of P(y > 0); None takes those of the counts, as R's ``pscl::hurdle`` does.
    offset, exposure : array_like, optional
        (n,) added to x'b: an offset as it is, an exposure as its logarithm; not in the equation of P(y > 0).
    link : {"logit", "probit"}
        The distribution function F of P(y > 0) = F(z'g): logistic or normal.
    weights, freq_weights, hasconst, missing, device, dtype, engine
        As in `Logit`.

    Attributes
    ----------
    exog_zero : array
        (n, q).
    link : str
        As above.

    Raises
    ------
    DataError, OptionError
        As in `Logit`; values that are not counts, no zeros, or nothing but zeros.

    Notes
    -----
    Parameters are those of the counts, ``count_`` before their names, and those of P(y > 0), ``zero_`` before theirs, as in pscl. The likelihood is the
    product of two, so that the two equations' estimates are independent, and those of P(y > 0) are a `Logit` of y > 0.

    References
    ----------
    R: ``pscl::hurdle``. Mullahy (1986), Journal of Econometrics 33(3).

    Examples
    --------
    >>> import betahat as bh
    >>> y = [0, 3, 0, 2, 4, 0, 6, 8]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    >>> bh.HurdlePoisson(y, x).fit().params.round(4)
    array([ 0.1915,  0.2296, -1.1802,  0.398 ])
    """

    counts = POISSON
    _alpha = ()


@in_ordinary_mode
class HurdleNegativeBinomial(HurdleModel):
    """Hurdle negative binomial regression: as `HurdlePoisson`, with counts of variance mu + alpha mu^2 before they are truncated at zero.

    Parameters
    ----------
    endog, exog, exog_zero, offset, exposure, link, weights, freq_weights, hasconst, missing, device, dtype, engine
        As in `HurdlePoisson`.

    Attributes
    ----------
    exog_zero, link
        As in `HurdlePoisson`.

    Raises
    ------
    DataError, OptionError
        As in `HurdlePoisson`.

    Notes
    -----
    The last parameter is alpha, one over pscl's theta. Where the positive counts vary no more than Poisson's, alpha goes to zero, and `fit` says so.

    References
    ----------
    R: ``pscl::hurdle(dist = "negbin")``.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [0, 1, 2, 0, 5, 0, 12, 2, 0, 8, 1, 0, 3, 20, 0, 6]
    >>> x = bh.add_constant([float(i) for i in range(16)])
    >>> bh.HurdleNegativeBinomial(y, x).fit().params.round(4)
    array([0.4342, 0.1317, 0.138 , 0.0506, 0.9791])
    """

    counts = NegativeBinomial2(equations=())
    _alpha = (Equation("alpha", ()),)


hurdlepoisson = HurdlePoisson.from_formula
hurdlenegativebinomial = HurdleNegativeBinomial.from_formula
