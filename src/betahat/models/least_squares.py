"""`LinearModel`: what models of least squares share, their fit above all."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch

from betahat.calculus.counts import Counts
from betahat.calculus.problem import Problem
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.container import to_numpy
from betahat.data.modes import in_ordinary_mode
from betahat.fits.absorbed import Projected, fit_absorbed, projected
from betahat.fits.linear import fit_least_squares
from betahat.inference.at_params import hessian_at, log_likelihood_at, score_at
from betahat.models.cautions import fitted_length, warn_alone, warn_collinear, warn_perfect
from betahat.models.options import refuse_options
from betahat.models.regressors import RegressorModel, check_rank_option, row_sums
from betahat.objectives.gaussian import Gaussian
from betahat.results.linear import LinearResults
from betahat.solvers.least_squares import Rank, column_rank


@in_ordinary_mode
class LinearModel(RegressorModel, ABC):
    """What OLS and WLS share: the fit."""

    objective = Gaussian()

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model: r, less one if there is a constant among the regressors."""
        return float(
            self.rank - (0 if any(effect.constant for effect in self.design.schema.effects) else self.k_constant)
        )

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r, less those of absorbed effects."""
        absorbed = () if self._projected is None else self._projected.absorbed.sizes
        return Counts(self.nobs, self.rank, absorbed=absorbed).free

    @cached_property
    def rank(self) -> int:
        """The number of independent columns, once effects are projected away."""
        return len(column_rank(self.design if self._projected is None else self._projected.design)[0])

    @property
    def problem(self) -> Problem:
        """The loss on the data, which `fit_at` takes with parameters of your own; absorbed effects are at their optimum."""
        return Problem(self.objective, self.design if self._projected is None else self._projected.design)

    @cached_property
    def _projected(self) -> Projected | None:
        """The design without its effects; None where there are none."""
        return projected(self.design) if self.design.schema.effects else None

    def loglike(self, params: Any, scale: float | None = None) -> float:
        """Return the normal log-likelihood.

        Parameters
        ----------
        params : array_like
            (k,) coefficients.
        scale : float, optional
            The errors' variance; None takes that of the residuals, RSS / n.

        Returns
        -------
        float
        """
        return log_likelihood_at(self.problem, self._read(params), scale)

    def score(self, params: Any, scale: float | None = None) -> Any:
        """Return (k,) the derivative of `loglike`.

        Parameters
        ----------
        params, scale
            As in `loglike`.

        Returns
        -------
        array
            (k,).
        """
        return self._plain(score_at(self.problem, self._read(params), scale))

    def hessian(self, params: Any, scale: float | None = None) -> Any:
        """Return (k, k) the second derivatives of `loglike`.

        Parameters
        ----------
        params, scale
            As in `loglike`.

        Returns
        -------
        array
            (k, k).
        """
        return self._plain(hessian_at(self.problem, self._read(params), scale))

    def predict(self, params: Any, exog: Any = None) -> Any:
        """Return (m,) x'b.

        Parameters
        ----------
        params : array_like
            (k,) coefficients.
        exog : array_like, optional
            (m, k) regressors; None takes those of the data.

        Returns
        -------
        array
            (m,).
        """
        return self._means(params, exog, None)

    def get_distribution(self, params: Any, scale: float, exog: Any = None, dist_class: Any = None) -> Any:
        """Return the normal distribution of the dependent variable, which `scipy.stats` freezes.

        Parameters
        ----------
        params : array_like
            (k,) coefficients.
        scale : float
            The errors' variance.
        exog : array_like, optional
            As in `predict`.
        dist_class : callable, optional
            Another distribution, of `loc` and `scale`, the standard deviation.

        Returns
        -------
        scipy.stats.rv_frozen
            Of (m,) means.
        """
        means = to_numpy(torch.as_tensor(self.predict(params, exog)))
        return (
            self.objective.distribution(means, scale) if dist_class is None else dist_class(loc=means, scale=scale**0.5)
        )

    def fit(
        self,
        cov_type: CovType | None = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        rank: Rank = "pinv",
        **options: Any,
    ) -> LinearResults:
        """Fit by least squares.

        Parameters
        ----------
        cov_type : str, estimator or matrix
            "nonrobust", "fixed scale", "HC0" to "HC5", "cluster", "HAC", ..., a registered name, an estimator such as
            ``bh.Cluster("firm")``, or a (k, k) covariance of your own.
        cov_kwds : mapping, optional
            The options of a named estimator.
        use_t : bool, optional
            t or normal tests; None takes t for "nonrobust" and the normal distribution for the others, as
            statsmodels' own ``fit`` does.
        rank : {"pinv", "drop"}
            With collinear columns: "pinv" is the solution of minimum norm, as in statsmodels; "drop" leaves
            out every column that depends on those to its left, as R does, and reports it as NaN. With absorbed effects it is "drop".
        **options
            There are none: statsmodels' options of the solver (`method`, ...) are an error.

        Returns
        -------
        LinearResults

        Raises
        ------
        OptionError
            An unknown name or option, before the fit starts.
        EstimationError
            No more rows than columns; a leverage of 1 where the covariance divides by 1 - leverage.

        Warns
        -----
        CollinearityWarning
            Columns are collinear; the warning names them.
        BetahatWarning
            The residuals are zero up to rounding; rows that are alone in a level of an absorbed effect were dropped.
        """
        refuse_options(options, "least squares in one way, to the last digit")
        check_rank_option(rank)
        choice = resolve(cov_type, cov_kwds, use_t)
        design, also = self.design, row_sums(choice.estimator)
        if design.schema.effects:
            warn_alone(design)
            rank, fit = "drop", fit_absorbed(design, also)
        else:
            fit = fit_least_squares(design, rank, also)
        warn_collinear(fit, rank, design.width)
        warn_perfect(fit, fitted_length(fit))
        return LinearResults(self, fit, covariance_of(fit, choice))
