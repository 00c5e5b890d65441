"""Generalised linear models: a family of distributions and a link, each pair a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch

from betahat.calculus.rows import BreadName
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.arrays import Device
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, listed, shown
from betahat.models.likelihood import IndexModel, fit_likelihood, in_use
from betahat.models.recipe import Recipe
from betahat.models.regressors import RegressorModel, caller, design_of_formula
from betahat.objectives.bernoulli import Logistic, Normit
from betahat.objectives.gamma import GammaInverse, GammaLog
from betahat.objectives.inverse_gaussian import InverseGaussianInverseSquared, InverseGaussianLog
from betahat.objectives.poisson import PoissonLog
from betahat.results.glm import GLMResults
from betahat.solvers.least_squares import Rank

# Family and link, by the names of statsmodels' classes; a family's first link is its default.
FAMILIES = {
    ("Gamma", "InversePower"): Recipe(GammaInverse(), "leave such rows out, or use Poisson for counts"),
    ("Gamma", "Log"): Recipe(GammaLog(), "leave such rows out, or use Poisson for counts"),
    ("InverseGaussian", "InverseSquared"): Recipe(
        InverseGaussianInverseSquared(), "leave such rows out, or use Poisson for counts"
    ),
    ("InverseGaussian", "Log"): Recipe(InverseGaussianLog(), "leave such rows out, or use Poisson for counts"),
    ("Binomial", "Logit"): Recipe(Logistic(), "recode them, (y > 0) * 1 say"),
    ("Binomial", "Probit"): Recipe(Normit(), "recode them, (y > 0) * 1 say"),
    ("Poisson", "Log"): Recipe(PoissonLog(), "pass numbers of zero or more"),
}


@in_ordinary_mode
class GLM(IndexModel):
    """A generalised linear model: E(y) is the inverse link of x'b, and Var(y) a function of it times the dispersion.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) the dependent variable.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    family : str or statsmodels family
        "Gamma", "InverseGaussian", "Binomial" or "Poisson", or one of statsmodels' own family objects, with its link.
    offset, exposure : array_like, optional
        (n,) what is added to x'b, as it is or by its logarithm.
    freq_weights : array_like, optional
        (n,) whole numbers, how often a row occurs.
    var_weights : array_like, optional
        (n,) analytic weights: the dispersion of a row is divided by its weight.
    hasconst, missing, device, dtype
        As in `OLS`.

    Attributes
    ----------
    family, link : str
        The names of statsmodels' classes.

    Raises
    ------
    DataError, OptionError
        In one sentence, before any work starts.

    References
    ----------
    ``statsmodels.genmod.generalized_linear_model.GLM``, whose names these are. McCullagh and Nelder (1989), Generalized Linear Models.

    Examples
    --------
    >>> import betahat as bh
    >>> from betahat.models.glm import GLM
    >>> y, x = [0.5, 1.0, 1.5, 3.0, 4.0, 8.0], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> GLM(y, x, "Gamma").fit().params.round(4)
    array([ 1.2598, -0.1917])
    """

    stored = (*RegressorModel.stored, "family", "link")

    family: str
    link: str

    def __init__(
        self,
        endog: Any,
        exog: Any,
        family: Any,
        offset: Any = None,
        exposure: Any = None,
        freq_weights: Any = None,
        var_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Read and check the data."""
        self.family, self.link = read_family(family)
        beside = RowVectors(var_weights, offset, exposure, freq_weights)
        self.sample = read_design(endog, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype)
        self.source = None
        self.recipe.check_endog(in_use(self.design), self._called)

    @property
    def recipe(self) -> Recipe:
        """The family's loss under the link."""
        return FAMILIES[self.family, self.link]

    @property
    def _called(self) -> str:
        return f"the {self.family} family"

    @classmethod
    def from_formula(cls, formula: str, data: Any, family: Any = None, **options: Any) -> Self:
        """Make the model from a formula and a dataframe.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        family
            As in `GLM`.
        **options
            offset, exposure, freq_weights and var_weights: a column's name, an expression, or as many numbers as `data` has rows;
            hasconst, missing ("drop" by default), device and dtype as in `ols`.

        Returns
        -------
        GLM

        Raises
        ------
        FormulaError, DataError, OptionError
            In one sentence, before any work starts.
        """
        model, names = cls.__new__(cls), caller(2)
        model.family, model.link = read_family(family)
        if "var_weights" in options:
            options["weights"] = options.pop("var_weights")
        known = ("offset", "exposure", "weights", "freq_weights")
        model.sample, model.source = design_of_formula(formula, data, options, known, names, cls.__name__)
        model.recipe.check_endog(in_use(model.design), model._called)
        return model

    def fit(
        self,
        cov_type: CovType | None = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        bread: BreadName = "expected",
        rank: Rank = "pinv",
        start_params: Any = None,
        disp: bool = False,
        **options: Any,
    ) -> GLMResults:
        """Fit by maximum likelihood, by Newton's method.

        Parameters
        ----------
        cov_type, cov_kwds, use_t, rank, start_params, disp, **options
            As in `Logit.fit`.
        bread : {"expected", "observed", "gauss-newton", "opg"}
            Which information A the covariance A^-1 B A^-1 takes: Fisher's, as R's `glm`, or the Hessian; the same for a canonical link.

        Returns
        -------
        GLMResults

        Raises
        ------
        EstimationError
            There is no estimate; the sentence says why.
        """
        choice = resolve(cov_type, cov_kwds, use_t)
        fit = fit_likelihood(self.design, self.objective, bread, rank, start_params, disp, options)
        return GLMResults(self, fit, covariance_of(fit, choice))


def read_family(given: Any) -> tuple[str, str]:
    """Read a family and its link, from a name or from one of statsmodels' family objects."""
    if isinstance(given, str):
        known = {family.lower(): (family, link) for family, link in reversed(FAMILIES)}
        found = known.get(given.lower())
    else:
        link = getattr(given, "link", None)
        found = (type(given).__name__, type(link).__name__)
    if found is None or found not in FAMILIES:
        names = [f"{family} ({link})" for family, link in FAMILIES]
        raise OptionError(f"family is {shown(given)}, which GLM does not know; use one of {listed(names, limit=30)}.")
    return found
