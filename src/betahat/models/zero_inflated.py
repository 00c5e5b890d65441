"""Zero-inflated Poisson and negative binomial regression."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from betahat.data.arrays import Device
from betahat.data.door import Missing, RowVectors
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_one_of, shown
from betahat.models.excess_zeros import LINKS, POISSON, ExcessZerosModel
from betahat.objectives.equation import Equation
from betahat.objectives.excess_zeros import CountLoss
from betahat.objectives.negative_binomial import NegativeBinomial1, NegativeBinomial2
from betahat.objectives.zero_inflated import ZeroInflated
from betahat.results.excess_zeros import ZeroInflatedResults

_POWERS: dict[int, CountLoss] = {1: NegativeBinomial1(equations=()), 2: NegativeBinomial2(equations=())}


@in_ordinary_mode
class ZeroInflatedModel(ExcessZerosModel, ABC):
    """What zero-inflated models share."""

    second, prefix, link_option = "exog_infl", "inflate_", "inflation"
    results = ZeroInflatedResults

    @property
    def inflation(self) -> str:
        """The link of the inflation."""
        return self.link

    @property
    def exog_infl(self) -> Any:
        """(n, q) the regressors of the inflation, of the rows in use."""
        return self._columns(1)

    @property
    def objective(self) -> ZeroInflated:
        """The loss of a row."""
        counts, zeros = self._places()
        equations = (Equation("inflate", zeros), Equation("", counts), *self._alpha)
        return ZeroInflated(counts=self.counts, zeros=LINKS[self.link], equations=equations)

    @property
    @abstractmethod
    def _alpha(self) -> tuple[Equation, ...]:
        """The equation of alpha, where there is one."""

    def predict(  # type: ignore[override]  # statsmodels' order
        self,
        params: Any,
        exog: Any = None,
        exog_infl: Any = None,
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
        exog_infl : array_like, optional
            (m, q) regressors of the inflation.
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
        return self._predicted(params, exog, exog_infl, exposure, offset, which, y_values)

    @staticmethod
    def _formula(formula: str) -> str:
        return "~ 1"

    @staticmethod
    def _default(exog: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(exog), 1, dtype=exog.dtype, device=exog.device)

    def _named(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the columns; that of an inflation of one number for all rows is statsmodels'."""
        return columns if self.second_given else (*columns[:-1], "inflate_const")


@in_ordinary_mode
class ZeroInflatedPoisson(ZeroInflatedModel):
    """Zero-inflated Poisson regression: y is zero with probability p, and otherwise a count with mean exp(x'b + offset) * exposure.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) counts.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors of the counts. No constant is added; see `add_constant`.
    exog_infl : array_like, Tensor or dataframe, optional
        (n, q) the regressors of p; None is a constant.
    offset, exposure : array_like, optional
        (n,) added to x'b: an offset as it is, an exposure as its logarithm.
    inflation : {"logit", "probit"}
        The distribution function F of p = F(z'g): logistic or normal.
    weights, freq_weights, hasconst, missing, device, dtype, engine
        As in `Logit`.

    Attributes
    ----------
    exog_infl : array
        (n, q).
    inflation : str
        As above.

    Raises
    ------
    DataError, OptionError
        As in `Logit`; values that are not counts, no zeros, or nothing but zeros.

    Notes
    -----
    Parameters are those of p first, with ``inflate_`` before their names, and then b, as in statsmodels. Where zeros are no more frequent than
    Poisson's, p goes to zero, and `fit` says so.

    References
    ----------
    ``statsmodels.discrete.count_model.ZeroInflatedPoisson``. R: ``pscl::zeroinfl``. Lambert (1992), Technometrics 34(1).

    Examples
    --------
    >>> import betahat as bh
    >>> y = [0, 3, 0, 2, 4, 0, 6, 8]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    >>> bh.ZeroInflatedPoisson(y, x).fit().params.round(4)
    array([-0.8724, -0.0166,  0.2595])
    """

    counts = POISSON
    _alpha = ()

    def __init__(
        self,
        endog: Any,
        exog: Any,
        exog_infl: Any = None,
        offset: Any = None,
        exposure: Any = None,
        inflation: str = "logit",
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
        self._take({"inflation": inflation})
        beside = RowVectors(weights, offset, exposure, freq_weights)
        self._read_data(
            endog,
            exog,
            exog_infl,
            beside,
            hasconst=hasconst,
            missing=missing,
            device=device,
            dtype=dtype,
            engine=engine,
        )


@in_ordinary_mode
class ZeroInflatedNegativeBinomialP(ZeroInflatedModel):
    """Zero-inflated negative binomial regression: y is zero with probability p, and otherwise a count of variance mu + alpha mu^p.

    Parameters
    ----------
    endog, exog, exog_infl, offset, exposure, inflation
        As in `ZeroInflatedPoisson`.
    p : {1, 2}
        The power of the mean in the variance.
    weights, freq_weights, hasconst, missing, device, dtype, engine
        As in `Logit`.

    Attributes
    ----------
    exog_infl, inflation
        As in `ZeroInflatedPoisson`.
    p : int
        As above.

    Raises
    ------
    DataError, OptionError
        As in `ZeroInflatedPoisson`.

    Notes
    -----
    Parameters are those of the inflation, those of the mean, and alpha. Where the counts vary no more than Poisson's, or zeros are no more frequent
    than the negative binomial's, there is no estimate, and `fit` says which.

    References
    ----------
    ``statsmodels.discrete.count_model.ZeroInflatedNegativeBinomialP``. R: ``pscl::zeroinfl``, which stops up to 1e-4 standard errors short of
    the optimum.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [0, 1, 2, 0, 5, 0, 12, 2, 0, 8, 1, 0, 3, 20, 0, 6]
    >>> x = bh.add_constant([float(i) for i in range(16)])
    >>> bh.ZeroInflatedNegativeBinomialP(y, x).fit().params.round(4)
    array([-1.2292,  0.4926,  0.127 ,  0.9318])
    """

    stored = (*ZeroInflatedModel.stored, "p")

    _alpha = (Equation("alpha", ()),)

    p: int

    def __init__(
        self,
        endog: Any,
        exog: Any,
        exog_infl: Any = None,
        offset: Any = None,
        exposure: Any = None,
        inflation: str = "logit",
        p: int = 2,
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
        self._take({"inflation": inflation, "p": p})
        beside = RowVectors(weights, offset, exposure, freq_weights)
        self._read_data(
            endog,
            exog,
            exog_infl,
            beside,
            hasconst=hasconst,
            missing=missing,
            device=device,
            dtype=dtype,
            engine=engine,
        )

    @property
    def counts(self) -> CountLoss:  # type: ignore[override]
        """The loss of the counts."""
        return _POWERS[self.p]

    def _take(self, options: dict[str, Any]) -> None:
        """Take the link and the power."""
        ZeroInflatedModel._take(self, options)
        self.p = options.pop("p", 2)
        if not is_one_of(self.p, tuple(_POWERS)):
            raise OptionError(f"p is {shown(self.p)}; use 2, for a variance of mu + alpha mu^2, or 1.")


zeroinflatedpoisson = ZeroInflatedPoisson.from_formula
zeroinflatednegativebinomialp = ZeroInflatedNegativeBinomialP.from_formula
