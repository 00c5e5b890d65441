"""Models of counts: Poisson."""

from __future__ import annotations

from typing import TYPE_CHECKING

from betahat.lazy import lazily
from betahat.models.likelihood import DiscreteModel
from betahat.models.recipe import Recipe
from betahat.objectives.poisson import PoissonLog

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


class Poisson(DiscreteModel):
    """Poisson regression: counts with mean exp(x'b + offset) * exposure.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) counts; any numbers of zero or more (quasi maximum likelihood).
    exog, offset, exposure, weights, freq_weights, hasconst, missing, device, dtype
        As in `Logit`.

    Raises
    ------
    DataError, OptionError
        As in `Logit`; negative values, or zeros in every row.

    References
    ----------
    ``statsmodels.discrete.discrete_model.Poisson``. R: ``glm(family = poisson)``.

    Examples
    --------
    >>> import betahat as bh
    >>> y, x = [0, 1, 1, 3, 4, 8], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.Poisson(y, x).fit().params.round(4)
    array([-1.6821,  0.6296])
    """

    recipe = Recipe(PoissonLog(), "pass numbers of zero or more")


poisson = Poisson.from_formula
