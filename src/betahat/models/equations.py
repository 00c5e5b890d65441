"""Models of several linear indices or parameters of their own, fitted by maximum likelihood: what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from betahat.calculus.rows import BreadName
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.container import to_tensor
from betahat.data.modes import in_ordinary_mode
from betahat.errors import DataError, listed
from betahat.models.likelihood import LikelihoodModel, check_which, fit_likelihood
from betahat.models.recipe import check_endog
from betahat.models.regressors import caller, design_of_formula
from betahat.objectives.indices import LinearIndices
from betahat.results.equations import EquationsResults
from betahat.solvers.least_squares import Rank


@in_ordinary_mode
class EquationsModel(LikelihoodModel, ABC):
    """A model of several linear indices, or of one and parameters of their own, whose parameters are one vector.

    Attributes
    ----------
    sample, source
        As in `RegressorModel`.
    """

    vectors: ClassVar[tuple[str, ...]] = ("offset", "exposure", "weights", "freq_weights")
    """The options of `from_formula` that have a number for each row."""

    advice: ClassVar[str]
    """What to do about values of y that the model gives no probability."""

    results: ClassVar[Callable[..., EquationsResults]]
    """What `fit` returns, of a model, a fit and a covariance."""

    @property
    @abstractmethod
    def objective(self) -> LinearIndices:
        """The loss of a row."""

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        **options
            What stands beside each row, such as offset or freq_weights, as in the class: a column's name, an expression, or as many numbers as `data`
            has rows; the other options of the class; missing is "drop" by default.

        Returns
        -------
        The model.

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.
        """
        model, names = cls.__new__(cls), caller(2)
        model._take(options)
        model.sample, model.source = design_of_formula(formula, data, options, cls.vectors, names, cls.__name__)
        model._check()
        return model

    def _take(self, options: dict[str, Any]) -> None:
        """Take the model's own options out of those of a formula."""

    def _check(self) -> None:
        """Refuse names of two parameters, and values of y outside the support."""
        self._check_names()
        support = self.objective.support
        assert support is not None
        check_endog(support, self.advice, self.design, type(self).__name__)

    def _check_names(self) -> None:
        """Refuse a regressor with the name of another parameter, as tests, tables and functions of the parameters go by names."""
        columns = self.sample.names
        for names in (columns, self.objective.parameter_names(columns)):
            twice = [name for name, often in Counter(names).items() if often > 1]
            if twice:
                raise DataError(
                    f"{type(self).__name__} has a parameter {listed(twice)} of its own, and a regressor is called the same; rename the column, so that "
                    "tests and tables can tell them apart."
                )

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model, r - 1, r the rank of the regressors: one column counts as the constant, as in statsmodels."""
        return float(self.rank - 1)

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r: parameters beside the regressors' are not counted, as in statsmodels."""
        return float(self.nobs) - self.rank

    def predict(
        self, params: Any, exog: Any = None, which: str = "mean", offset: Any = None, exposure: Any = None
    ) -> Any:
        """Return (m,) E(y), or the index.

        Parameters
        ----------
        params : array_like
            (k,) parameters.
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
    ) -> EquationsResults:
        """Fit by maximum likelihood, by Newton's method.

        Parameters
        ----------
        cov_type, cov_kwds, use_t, rank, disp, **options
            As in `Logit.fit`.
        bread : {"observed", "expected", "opg"}
            The information A of the covariance A^-1 B A^-1: the Hessian (statsmodels), Fisher's information, or the sum of s s'.
        start_params : array_like, optional
            (k,) where to start.

        Returns
        -------
        EquationsResults

        Raises
        ------
        EstimationError
            There is no estimate, or columns of one of the equations are collinear, which `rank` does not mend; the message says which.

        Warns
        -----
        CollinearityWarning
            Columns are collinear.
        """
        choice = resolve(cov_type, cov_kwds, use_t)
        fit = fit_likelihood(self.design, self.objective, bread, rank, start_params, disp, options)
        return type(self).results(self, fit, covariance_of(fit, choice))
