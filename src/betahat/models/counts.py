"""Models of counts: Poisson and negative binomial regression."""

from __future__ import annotations

from typing import Any

import torch

from betahat.data.arrays import Device
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, is_one_of, listed, shown
from betahat.models.equations import EquationsModel
from betahat.models.likelihood import DiscreteModel
from betahat.models.recipe import Recipe
from betahat.models.regressors import RegressorModel
from betahat.objectives.equation import Equation
from betahat.objectives.negative_binomial import CountIndices, Geometric, NegativeBinomial1, NegativeBinomial2
from betahat.objectives.poisson import PoissonLog
from betahat.results.counts import CountResults


class Poisson(DiscreteModel):
    """Poisson regression: counts with mean exp(x'b + offset) * exposure.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) counts; any numbers of zero or more (quasi maximum likelihood).
    exog, offset, exposure, weights, freq_weights, hasconst, missing, device, dtype, absorb, engine
        As in `Logit`.

    Raises
    ------
    DataError, OptionError
        As in `Logit`; negative values, or zeros in every row.

    Notes
    -----
    With absorbed effects rows whose mean goes to zero at the maximum of the likelihood, separated by effects and regressors, are left out, and a warning
    says how many; without effects that is an error which names the regressors.

    References
    ----------
    ``statsmodels.discrete.discrete_model.Poisson``. R: ``glm(family = poisson)``, ``fixest::fepois``. Correia, Guimarães and Zylkin (2019), Verifying
    the existence of maximum likelihood estimates for generalized linear models, arXiv 1903.01633.

    Examples
    --------
    >>> import betahat as bh
    >>> y, x = [0, 1, 1, 3, 4, 8], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.Poisson(y, x).fit().params.round(4)
    array([-1.6821,  0.6296])
    """

    recipe = Recipe(PoissonLog(), "pass numbers of zero or more")


poisson = Poisson.from_formula


# By statsmodels' names.
_DISTRIBUTIONS: dict[str, CountIndices] = {
    "nb2": NegativeBinomial2(equations=(Equation(""), Equation("alpha", ()))),
    "nb1": NegativeBinomial1(equations=(Equation(""), Equation("alpha", ()))),
    "geometric": Geometric(equations=(Equation(""),)),
}


@in_ordinary_mode
class NegativeBinomial(EquationsModel):
    """Negative binomial regression: counts with mean mu = exp(x'b + offset) * exposure that vary more than Poisson's.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) counts.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    loglike_method : {"nb2", "nb1", "geometric"}
        Var(y) is mu + alpha mu^2, (1 + alpha) mu, or mu + mu^2. The last parameter is alpha, which is estimated with the others; the geometric
        distribution has none.
    offset, exposure, weights, freq_weights, hasconst, missing, device, dtype, engine
        As in `Logit`.

    Attributes
    ----------
    loglike_method : str
        As above.

    Raises
    ------
    DataError, OptionError
        As in `Logit`; values that are not counts, or zeros in every row.

    Notes
    -----
    Where the counts vary no more than Poisson's, alpha goes to zero, and `fit` says so. ``fit(bread="expected")`` gives the errors of R's
    ``MASS::glm.nb``: Fisher's information of the coefficients does not depend on whether alpha is known.

    References
    ----------
    ``statsmodels.discrete.discrete_model.NegativeBinomial``, which stops up to 0.01 standard errors short of the optimum. R: ``MASS::glm.nb``.
    Cameron and Trivedi (2013), Regression Analysis of Count Data, section 3.3.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [0, 1, 0, 4, 0, 9, 2, 14]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    >>> bh.NegativeBinomial(y, x).fit().params.round(4)
    array([-1.5688,  0.5116,  0.6186])
    """

    stored = (*RegressorModel.stored, "loglike_method")

    vectors = ("offset", "exposure", "weights", "freq_weights")
    advice = "or use Poisson, which takes fractions as well"
    results = CountResults

    loglike_method: str

    def __init__(
        self,
        endog: Any,
        exog: Any,
        loglike_method: str = "nb2",
        offset: Any = None,
        exposure: Any = None,
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
        self._take({"loglike_method": loglike_method})
        beside = RowVectors(weights, offset, exposure, freq_weights)
        self.sample = read_design(
            endog, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype, engine=engine
        )
        self.source = None
        self._check()

    def _take(self, options: dict[str, Any]) -> None:
        """Take the distribution."""
        self.loglike_method = options.pop("loglike_method", "nb2")
        if not is_one_of(self.loglike_method, tuple(_DISTRIBUTIONS)):
            raise OptionError(
                f"loglike_method is {shown(self.loglike_method)}; use one of {listed(list(_DISTRIBUTIONS))}."
            )

    @property
    def objective(self) -> CountIndices:
        """The loss of a row."""
        return _DISTRIBUTIONS[self.loglike_method]


negativebinomial = NegativeBinomial.from_formula
