"""Models fitted by maximum likelihood, from arrays or from a formula: what those of one linear index share, told by a `Recipe`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from betahat.calculus.counts import Counts
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, BreadName, read_bread
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.arrays import Device
from betahat.data.container import to_numpy, to_tensor
from betahat.data.design import Design
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import EstimationError, OptionError, check_flag, shown
from betahat.fits.absorbed import Projected, projected
from betahat.fits.fit import Fit
from betahat.fits.index import fit_index
from betahat.fits.separated import check_separated
from betahat.inference.at_params import hessian_at, log_likelihood_at, score_at
from betahat.lazy import lazily
from betahat.models.cautions import warn_collinear
from betahat.models.effects import fit_with_effects, in_use_by
from betahat.models.options import refuse_options
from betahat.models.recipe import Recipe
from betahat.models.regressors import RegressorModel, caller, check_rank_option, design_of_formula
from betahat.objectives.base import LinearIndex, Objective
from betahat.objectives.indices import LinearIndices
from betahat.results.discrete import DiscreteResults
from betahat.solvers.least_squares import Rank, column_rank

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


_VECTORS = ("offset", "exposure", "weights", "freq_weights")


@in_ordinary_mode
class LikelihoodModel(RegressorModel, ABC):
    """What models fitted by maximum likelihood say at parameters of one's own."""

    def loglike(self, params: Any) -> float:
        """Return the log-likelihood.

        Parameters
        ----------
        params : array_like
            Where to evaluate it, in the shape of the results' params.

        Returns
        -------
        float
        """
        return log_likelihood_at(self.problem, self._read(params))

    def score(self, params: Any) -> Any:
        """Return (k,) the derivative of the log-likelihood, equation by equation.

        Parameters
        ----------
        params : array_like
            As in `loglike`.

        Returns
        -------
        array
            (k,).
        """
        return self._plain(score_at(self.problem, self._read(params)))

    def hessian(self, params: Any) -> Any:
        """Return (k, k) the second derivatives of the log-likelihood.

        Parameters
        ----------
        params : array_like
            As in `loglike`.

        Returns
        -------
        array
            (k, k).
        """
        return self._plain(hessian_at(self.problem, self._read(params)))


@in_ordinary_mode
class IndexModel(LikelihoodModel, ABC):
    """A model of one linear index, fitted by maximum likelihood.

    Attributes
    ----------
    sample, source
        As in `RegressorModel`.
    """

    @property
    @abstractmethod
    def recipe(self) -> Recipe:
        """What makes the model."""

    @property
    def objective(self) -> LinearIndex:
        """The loss of a row."""
        return self.recipe.objective

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; `bh.logit` is `Logit.from_formula`, and so on.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        **options
            offset, exposure, weights and freq_weights as in `Logit`: a column's name, an expression such as ``np.log(e)``, or
            as many numbers as `data` has rows;
            hasconst, missing ("drop" by default), device, dtype, engine, compress, panel and time as in `ols`.

        Returns
        -------
        The model.

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.

        Examples
        --------
        >>> import betahat as bh
        >>> data = {"y": [0, 0, 1, 0, 1, 1], "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
        >>> bh.logit("y ~ x", data).fit().params
        Intercept   -4.249097
        x            1.214028
        dtype: float64
        """
        model = cls.__new__(cls)
        names = caller(2)
        model.sample, model.source = design_of_formula(
            formula, data, options, _VECTORS, names, cls.__name__, bars=("effects",)
        )
        model.recipe.check_endog(model.design, cls.__name__)
        return model

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model, r - 1: one column counts as the constant, as in statsmodels; absorbed effects are not counted."""
        return float(self.rank - (0 if any(effect.constant for effect in self.design.schema.effects) else 1))

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r, less those of absorbed effects."""
        absorbed = () if self._projected is None else self._projected.absorbed.sizes
        return Counts(self.nobs, self.rank, absorbed=absorbed).free

    @cached_property
    def rank(self) -> int:
        """The number of independent columns, once effects are projected away."""
        return len(column_rank(self.design if self._projected is None else self._projected.design)[0])

    @cached_property
    def _projected(self) -> Projected | None:
        """The design without its effects; None where there are none."""
        return projected(self.design) if self.design.schema.effects else None

    @property
    def problem(self) -> Problem:
        """The loss on the data, which `fit_at` takes with parameters of your own."""
        if self.design.schema.effects:
            raise EstimationError(
                "The loss at parameters of one's own needs the absorbed effects there, which are known at the estimates alone; write the effects as C(...), or "
                "use the results, such as res.fit.problem."
            )
        return Problem(self.objective, self.design)

    def predict(
        self, params: Any, exog: Any = None, which: str = "mean", offset: Any = None, exposure: Any = None
    ) -> Any:
        """Return (m,) E(y), or the index.

        Parameters
        ----------
        params : array_like
            (k,) coefficients.
        exog : array_like, optional
            (m, k) regressors; None takes those of the data, with their offset.
        which : {"mean", "linear"}
            E(y), or x'b + offset.
        offset, exposure : array_like, optional
            (m,) those of the new regressors.

        Returns
        -------
        array
            (m,).

        Raises
        ------
        OptionError
            `which` is unknown.
        """
        check_which(which)
        shift = None if offset is None else to_tensor(offset, self._read(params))
        if exposure is not None:
            rates = to_tensor(exposure, self._read(params)).log()
            shift = rates if shift is None else shift + rates
        return self._means(params, exog, shift, which == "linear")

    def get_distribution(self, params: Any, exog: Any = None, offset: Any = None, exposure: Any = None) -> Any:
        """Return the distribution of the dependent variable, which `scipy.stats` freezes.

        Parameters
        ----------
        params, exog, offset, exposure
            As in `predict`.

        Returns
        -------
        scipy.stats.rv_frozen
            Of (m,) means.
        """
        means = to_numpy(torch.as_tensor(self.predict(params, exog, "mean", offset, exposure)))
        return self.objective.distribution(means, 1.0)


@in_ordinary_mode
class DiscreteModel(IndexModel, ABC):
    """What Logit, Probit and Poisson share, with the arguments of `statsmodels.discrete`.

    Attributes
    ----------
    sample, source
        As in `RegressorModel`.
    """

    def __init__(
        self,
        endog: Any,
        exog: Any,
        offset: Any = None,
        exposure: Any = None,
        weights: Any = None,
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        absorb: Any = None,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        beside = RowVectors(weights, offset, exposure, freq_weights)
        self.sample = read_design(
            endog,
            exog,
            beside,
            hasconst=hasconst,
            missing=missing,
            device=device,
            dtype=dtype,
            absorb=absorb,
            engine=engine,
        )
        self.source = None
        self.recipe.check_endog(self.design, type(self).__name__)

    def fit(
        self,
        cov_type: CovType | None = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        bread: BreadName = "observed",
        rank: Rank = "pinv",
        start_params: Any = None,
        disp: bool = False,
        **options: Any,
    ) -> DiscreteResults:
        """Fit by maximum likelihood, by Newton's method.

        Parameters
        ----------
        cov_type, cov_kwds
            As in `OLS.fit`.
        use_t : bool, optional
            t or normal tests; None takes the normal distribution, as statsmodels does.
        bread : {"observed", "expected", "gauss-newton", "opg"}
            The information A of the covariance A^-1 B A^-1: the Hessian (statsmodels), Fisher's information
            (R's `glm`), or the sum of s s'. For Logit and Poisson the first two are the same, and "gauss-newton" is
            the first for every model of a linear index.
        rank : {"pinv", "drop"}
            With collinear columns: the solution of minimum norm, or leave out every column that depends on
            those to its left, as R does. With absorbed effects it is "drop".
        start_params : array_like, optional
            (k,) where to start; by default zero or, for large data, the optimum of a sample of rows. Not with absorbed effects, which would need values, too.
        disp : bool
            Whether to print how the solver ended, as statsmodels does by default.
        **options
            There are none: statsmodels' options of the solver (`method`, `maxiter`, ...) are an error.

        Returns
        -------
        DiscreteResults

        Raises
        ------
        EstimationError
            The data are separated, so that there is no estimate; the message names the regressors.

        Warns
        -----
        CollinearityWarning
            Columns are collinear.
        BetahatWarning
            With absorbed effects: rows were left out, since their fitted means are zero or one, or they are alone in a level; levels of Logit and
            Probit have so few rows that the coefficients are biased.
        """
        choice = resolve(cov_type, cov_kwds, use_t)
        fit = fit_likelihood(self.design, self.objective, bread, rank, start_params, disp, options)
        return DiscreteResults(in_use_by(self, fit), fit, covariance_of(fit, choice))


def fit_likelihood(
    design: Design,
    objective: LinearIndex | LinearIndices,
    bread: str,
    rank: Rank,
    start_params: Any,
    disp: bool,
    options: Mapping[str, Any],
) -> Fit:
    """Check the options of a fit by maximum likelihood, and make it."""
    kind, start = read_fit_options(design, objective, bread, rank, start_params, disp, options)
    if design.schema.effects:
        assert isinstance(objective, LinearIndex)
        rank, fit = "drop", fit_with_effects(design, objective, kind, start)
    else:
        fit = fit_index(objective, design, kind, rank, start)
        check_separated(fit)
    tell_of_fit(fit, rank, disp)
    return fit


def read_fit_options(
    design: Design,
    objective: Objective,
    bread: str,
    rank: Rank,
    start_params: Any,
    disp: bool,
    options: Mapping[str, Any],
) -> tuple[Bread, Tensor | None]:
    """Check the options of a fit by maximum likelihood; return the bread, and (k,) where to start, equation by equation."""
    check_flag("disp", disp)
    refuse_options(options, "by Newton's method to the last digit")
    check_rank_option(rank)
    kind, equations = read_bread(bread), objective.equations
    start = None
    if start_params is not None:
        given = to_tensor(start_params, torch.empty(0, device=design.device))
        start = given.mT.reshape(-1) if equations and given.ndim == 2 else given
        width = len(objective.columns_of_parameters(design.width))
        if start.shape != (width,):
            raise OptionError(
                f"start_params has shape {tuple(given.shape)}; pass one number for each of the {width} parameters"
                f"{', in the shape of params' if equations else ''}."
            )
    return kind, start


def tell_of_fit(fit: Fit, rank: Rank, disp: bool) -> None:
    """Name collinear columns, and print how the solver ended if asked to."""
    warn_collinear(fit, rank, fit.given.width)
    if disp:
        found = fit.diagnostics
        print(f"Converged in {found.iterations} Newton steps; the summed loss is {float(fit.loss):.10g}.")


def check_which(which: str) -> None:
    """Refuse an unknown kind of prediction."""
    if which not in ("mean", "linear"):
        raise OptionError(f"which is {shown(which)}; use 'mean' or 'linear'.")
