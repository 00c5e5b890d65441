"""Generalised linear models: a family of distributions and a link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from betahat.calculus.rows import BreadName
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.arrays import Device
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import COUNTS
from betahat.errors import DataError, OptionError, counted, shown
from betahat.fits.at_optimum import is_told_of
from betahat.inference.response import is_exact
from betahat.models.cautions import tell_of_perfect_fit
from betahat.models.effects import in_use_by
from betahat.models.families import KINDS, FamilyChoice, read_family, scaled
from betahat.models.likelihood import IndexModel, fit_likelihood
from betahat.models.recipe import Recipe
from betahat.models.regressors import RegressorModel, caller, design_of_formula
from betahat.objectives.base import LinearIndex
from betahat.results.glm import GLMResults
from betahat.solvers.least_squares import Rank


@in_ordinary_mode
class GLM(IndexModel):
    """A generalised linear model: E(y) is the inverse link of x'b + offset, and Var(y) = phi V(E(y)) / w.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) the dependent variable; for the binomial family also (n, 2) counts of successes and failures.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    family : str or statsmodels family, optional
        One of statsmodels' own family objects, with its link, ``sm.families.Gamma(sm.families.links.Log())`` say, or a name, for the
        family with its default link: "gaussian" (also None), "binomial", "poisson", "gamma", "inversegaussian".
    offset, exposure : array_like, optional
        (n,) added to x'b: an offset as it is, an exposure as its logarithm, which needs the link Log.
    freq_weights : array_like, optional
        (n,) whole numbers, how often a row occurs.
    var_weights : array_like, optional
        (n,) analytic weights w: the dispersion of a row is divided by its weight.
    hasconst, missing, device, dtype, absorb, engine
        As in `OLS`.

    Attributes
    ----------
    family, link : str
        The names of statsmodels' classes.

    Raises
    ------
    DataError, OptionError
        Raised before any work starts: values of y outside the support of the family, with their number; a link that the family does not take;
        shares beside freq_weights.

    References
    ----------
    ``statsmodels.genmod.generalized_linear_model.GLM``, whose names these are; R's ``glm``. McCullagh and Nelder (1989), Generalized Linear
    Models.

    Examples
    --------
    >>> import betahat as bh
    >>> y = [0.5, 1.0, 1.5, 3.0, 4.0, 8.0]
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> bh.GLM(y, x, family="gamma").fit().params.round(4)
    array([ 1.2598, -0.1917])
    """

    stored = (*RegressorModel.stored, "family", "link", "loss")

    family: str
    link: str
    loss: LinearIndex

    def __init__(
        self,
        endog: Any,
        exog: Any,
        family: Any = None,
        offset: Any = None,
        exposure: Any = None,
        freq_weights: Any = None,
        var_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        absorb: Any = None,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        choice = read_family(family)
        _check_exposure(choice, exposure)
        beside = RowVectors(None, offset, exposure, freq_weights, var_weights)
        trials = choice.family == "Binomial"
        self.source = None
        self.sample = read_design(
            endog,
            exog,
            beside,
            hasconst=hasconst,
            missing=missing,
            device=device,
            dtype=dtype,
            engine=engine,
            trials=trials,
            absorb=absorb,
        )
        self._take(choice, var_weights is not None)

    @classmethod
    def from_formula(cls, formula: str, data: Any, family: Any = None, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; `bh.glm` is the same.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code. Of the binomial family the left-hand side may be two terms, "successes + failures ~ x".
        family
            As in `GLM`.
        **options
            offset, exposure, freq_weights and var_weights: a column's name, an expression, or as many numbers as `data` has rows;
            hasconst, missing ("drop" by default), device, dtype, engine, compress, panel and time as in `ols`.

        Returns
        -------
        GLM

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.

        Examples
        --------
        >>> import betahat as bh
        >>> data = {
        ...     "killed": [6, 13, 18, 28, 52, 53],
        ...     "alive": [53, 47, 44, 28, 11, 6],
        ...     "dose": [1.69, 1.72, 1.76, 1.78, 1.81, 1.84],
        ... }
        >>> bh.glm("killed + alive ~ dose", data, family="binomial").fit().params.round(2)
        Intercept   -53.79
        dose         30.34
        dtype: float64
        """
        if "link" in options:
            raise OptionError(
                f"link is {shown(options['link'])}, and a family has its link; pass it with the family, such as family=sm.families.Poisson("
                "link=sm.families.links.Log())."
            )
        model, names = cls.__new__(cls), caller(2)
        choice = read_family(family)
        _check_exposure(choice, options.get("exposure"))
        weighted = options.get("var_weights") is not None
        known = ("offset", "exposure", "freq_weights", "var_weights")
        trials = choice.family == "Binomial"
        model.sample, model.source = design_of_formula(
            formula, data, options, known, names, cls.__name__, trials, bars=("effects",)
        )
        model._take(choice, weighted)
        return model

    @property
    def recipe(self) -> Recipe:
        """The family's loss under the link."""
        return Recipe(self.loss, KINDS[self.family].advice)

    def fit(
        self,
        cov_type: CovType | None = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        scale: Any = None,
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
        scale : {"X2", "dev"} or float, optional
            The dispersion phi: Pearson's statistic over n - k, the deviance over n - k, or a number. None is 1 for the binomial, Poisson and
            negative binomial families, and "X2" for the others. With "X2" the former are R's `quasibinomial` and `quasipoisson`.
        bread : {"expected", "observed", "gauss-newton", "opg"}
            The information A of the covariance A^-1 B A^-1: Fisher's, as in R's `glm`, or the Hessian, as in statsmodels' robust covariances;
            the same for a canonical link.

        Returns
        -------
        GLMResults

        Raises
        ------
        EstimationError
            There is no estimate; the message says why.
        OptionError
            An unknown scale.

        Warns
        -----
        BetahatWarning
            The scale is estimated, and residuals are zero up to rounding.
        """
        choice = resolve(cov_type, cov_kwds, use_t)
        objective = self.objective
        objective = replace(objective, dispersion=scaled(self.family, objective.dispersion, scale))  # type: ignore[type-var]
        fit = fit_likelihood(self.design, objective, bread, rank, start_params, disp, options)
        if fit.objective.dispersion.estimated and not is_told_of(fit) and is_exact(fit):
            tell_of_perfect_fit()
        return GLMResults(in_use_by(self, fit), fit, covariance_of(fit, choice))

    def _take(self, choice: FamilyChoice, weighted: bool) -> None:
        """Take a family for the data that were read; `weighted` is whether there are analytic weights, or the weights are numbers of trials."""
        design = self.design
        trials = choice.family == "Binomial" and design.weighted and not weighted
        self.family, self.link = choice.family, choice.link
        self.loss = choice.loss(design, trials)
        self.recipe.check_endog(design, f"the {self.family} family")
        if choice.family == "Binomial" and not trials and COUNTS in design.source.shapes:
            (shares,) = design.tally(_shares)
            if shares:
                raise DataError(
                    f"endog has {counted(shares, 'share')} between 0 and 1 beside freq_weights, which say how often a whole row occurs, and not of how "
                    "many trials it is a share; pass two columns, successes and failures, or the numbers of trials as var_weights."
                )


def _shares(y: Tensor) -> tuple[Tensor]:
    """Count values between 0 and 1."""
    return (((y > 0) & (y < 1)).sum(),)


def _check_exposure(choice: FamilyChoice, exposure: Any) -> None:
    """Refuse an exposure under a link of which it is no factor of the mean."""
    if exposure is not None and choice.link not in ("Log", "log"):
        raise OptionError(
            f"exposure is a factor of the mean, which only the link Log has, and this one is {choice.link}; pass an offset, on the scale of the index."
        )


glm = GLM.from_formula
