"""Models of a yes and no: Logit and Probit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from betahat.lazy import lazily
from betahat.models.likelihood import DiscreteModel
from betahat.models.recipe import Recipe
from betahat.objectives.bernoulli import Logistic, Normit

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


class Logit(DiscreteModel):
    """Logistic regression: P(y = 1) = 1 / (1 + exp(-x'b)).

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) 0 and 1, or shares between them.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    offset, exposure : array_like, optional
        (n,) added to x'b: an offset as it is, an exposure as its logarithm.
    weights : array_like, optional
        (n,) analytic weights: they scale a row's loss, and enter a sandwich's meat squared, as R's `weights`.
    freq_weights : array_like, optional
        (n,) whole numbers, how often a row occurs: the fit is that of the repeated rows.
    hasconst, missing, device, dtype, absorb, engine
        As in `OLS`.

    Raises
    ------
    DataError, OptionError
        The data or an option cannot be used; raised before any work starts.

    References
    ----------
    ``statsmodels.discrete.discrete_model.Logit``, whose names these are. R: ``glm(family = binomial)``.

    Examples
    --------
    >>> import betahat as bh
    >>> y, x = [0, 0, 1, 0, 1, 1], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.Logit(y, x).fit().params.round(4)
    array([-4.2491,  1.214 ])
    """

    recipe = Recipe(Logistic(), "recode them, (y > 0) * 1 say, or use MNLogit for several classes")


class Probit(DiscreteModel):
    """Probit: P(y = 1) = Phi(x'b), Phi the normal distribution.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) 0 and 1.
    exog, offset, exposure, weights, freq_weights, hasconst, missing, device, dtype, absorb, engine
        As in `Logit`.

    Raises
    ------
    DataError, OptionError
        As in `Logit`; values other than 0 and 1.

    References
    ----------
    ``statsmodels.discrete.discrete_model.Probit``. R: ``glm(family = binomial("probit"))``, with
    ``fit(bread="expected")`` for its standard errors.

    Examples
    --------
    >>> import betahat as bh
    >>> y, x = [0, 0, 1, 0, 1, 1], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.Probit(y, x).fit().params.round(4)
    array([-2.6592,  0.7598])
    """

    recipe = Recipe(Normit(), "recode them, (y > 0) * 1 say, or use Logit for shares")


logit = Logit.from_formula
probit = Probit.from_formula
