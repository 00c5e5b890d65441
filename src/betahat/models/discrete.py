"""Discrete models by maximum likelihood: Logit, Probit, Poisson and MNLogit, from arrays or from a formula."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch
from torch import Tensor

from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.classes import class_formula, class_name, read_classes
from betahat.data.container import to_numpy, to_tensor
from betahat.data.design import Design
from betahat.data.frame import Beside, Device, Missing, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import DataError, OptionError, check_flag, counted, listed, shown
from betahat.fits.fit import Fit
from betahat.fits.index import fit_index
from betahat.inference.at_params import hessian_at, log_likelihood_at, score_at
from betahat.lazy import lazily
from betahat.models.options import BreadName, read_bread
from betahat.models.regressors import (
    RegressorModel,
    caller,
    check_rank_option,
    design_of_formula,
    warn_collinear,
)
from betahat.objectives.base import LinearIndex
from betahat.objectives.bernoulli import Logistic, Normit
from betahat.objectives.poisson import PoissonLog
from betahat.objectives.softmax import Softmax
from betahat.results.index import DiscreteResults
from betahat.results.multinomial import MultinomialResults
from betahat.solvers.least_squares import Rank

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

M = TypeVar("M", bound="DiscreteModel")
_VECTORS = ("offset", "exposure", "weights", "freq_weights")


@in_ordinary_mode
class LikelihoodModel(RegressorModel, ABC):
    """What models fitted by maximum likelihood say at parameters of one's own."""

    def loglike(self, params: Any) -> float:
        """Return the log-likelihood.

        Parameters
        ----------
        params : array_like
            Where, in the shape of the results' params.

        Returns
        -------
        float
        """
        return log_likelihood_at(self._problem, self._read(params))

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
        return self._plain(score_at(self._problem, self._read(params)))

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
        return self._plain(hessian_at(self._problem, self._read(params)))


@in_ordinary_mode
class DiscreteModel(LikelihoodModel, ABC):
    """What Logit, Probit and Poisson share: the fit.

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
    ) -> None:
        """Read and check the data."""
        beside = Beside(weights, offset, exposure, freq_weights)
        self.sample = read_design(endog, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype)
        self.source = None
        self.check_endog(_in_use(self.design))

    @property
    @abstractmethod
    def objective(self) -> LinearIndex:
        """The loss."""

    @classmethod
    @abstractmethod
    def check_endog(cls, endog: Tensor) -> None:
        """Refuse values that the model gives no probability.

        Parameters
        ----------
        endog : Tensor
            (n,).

        Raises
        ------
        DataError
            It counts them.
        """

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; the options are those of the model.

        Parameters
        ----------
        formula, data, **options
            As in `logit`; the formula is code.

        Returns
        -------
        DiscreteModel

        Raises
        ------
        FormulaError, DataError, OptionError
            In one sentence, before any work starts.
        """
        return _from_formula(cls, formula, data, options, caller(2))

    @property
    def df_model(self) -> float:
        """R - 1: one column counts as the constant, as in statsmodels."""
        return float(self.rank - 1)

    @property
    def df_resid(self) -> float:
        """N - r."""
        return self.nobs - self.rank

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
            (m,) of new regressors.

        Returns
        -------
        array
            (m,).

        Raises
        ------
        OptionError
            Another `which`.
        """
        _check_which(which)
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
            Which information A the covariance A^-1 B A^-1 takes: the Hessian (statsmodels), Fisher's information
            (R's `glm`), or the sum of s s'. For Logit and Poisson the first two are the same, and "gauss-newton" is
            the first for every model of a linear index.
        rank : {"pinv", "drop"}
            With collinear columns: the solution of minimum norm, or leave out every column that depends on
            those to its left, as R does.
        start_params : array_like, optional
            (k,) where to start; zero by default, for large data the optimum of a sample of rows.
        disp : bool
            Whether to print how the solver ended, as statsmodels does unless told not to.
        **options
            None: statsmodels' choices of a solver (`method`, `maxiter`, ...) are refused in a sentence.

        Returns
        -------
        DiscreteResults

        Raises
        ------
        EstimationError
            The data are separated, so that there is no estimate; the sentence names the regressors.

        Warns
        -----
        CollinearityWarning
            Columns are collinear.
        """
        choice = resolve(cov_type, cov_kwds, use_t)
        fit = _fit(self.design, self.objective, bread, rank, (), start_params, disp, options)
        return DiscreteResults(self, fit, covariance_of(fit, choice))


class Logit(DiscreteModel):
    """Logistic regression: P(y = 1) = 1 / (1 + exp(-x'b)).

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) 0 and 1, or shares between them.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors. No constant is added; see `add_constant`.
    offset, exposure : array_like, optional
        (n,) what is added to x'b, as it is or by its logarithm.
    weights : array_like, optional
        (n,) analytic weights: they scale a row's loss, and enter a sandwich's meat squared, as R's `weights`.
    freq_weights : array_like, optional
        (n,) whole numbers, how often a row occurs: the fit is that of the repeated rows.
    hasconst, missing, device, dtype
        As in `OLS`.

    Raises
    ------
    DataError, OptionError
        In one sentence, before any work starts.

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

    objective = Logistic()

    @classmethod
    def check_endog(cls, endog: Tensor) -> None:
        """Refuse values outside [0, 1].

        Parameters
        ----------
        endog : Tensor
            (n,).

        Raises
        ------
        DataError
            It counts them.
        """
        bad = int(((endog < 0) | (endog > 1)).sum())
        if bad:
            raise DataError(
                f"endog has {counted(bad, 'value')} outside [0, 1], and Logit needs 0 and 1, or shares; recode them, (y > 0) * 1 "
                "say, or use MNLogit for several classes."
            )
        _check_varies(endog)


class Probit(DiscreteModel):
    """Probit: P(y = 1) = Phi(x'b), Phi the normal distribution.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) 0 and 1.
    exog, offset, exposure, weights, freq_weights, hasconst, missing, device, dtype
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

    objective = Normit()

    @classmethod
    def check_endog(cls, endog: Tensor) -> None:
        """Refuse values other than 0 and 1.

        Parameters
        ----------
        endog : Tensor
            (n,).

        Raises
        ------
        DataError
            It counts them.
        """
        bad = int(((endog != 0) & (endog != 1)).sum())
        if bad:
            raise DataError(
                f"endog has {counted(bad, 'value')} other than 0 and 1, and Probit needs those; recode them, (y > 0) * 1 say, or "
                "use Logit for shares."
            )
        _check_varies(endog)


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

    objective = PoissonLog()

    @classmethod
    def check_endog(cls, endog: Tensor) -> None:
        """Refuse negative values.

        Parameters
        ----------
        endog : Tensor
            (n,).

        Raises
        ------
        DataError
            It counts them.
        """
        bad = int((endog < 0).sum())
        if bad:
            raise DataError(
                f"endog has {counted(bad, 'negative value')}, and Poisson needs counts; pass numbers of zero or more."
            )
        if not bool(endog.any()):
            raise DataError("endog is 0 in every row, so that no mean is positive; pass counts of which some are.")


@in_ordinary_mode
class MNLogit(LikelihoodModel):
    """Multinomial logit: P(y = j) is proportional to exp(x'b_j), with b = 0 for the first class.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) classes: numbers or strings, in sorted order; a pandas category keeps its own.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors.
    weights, freq_weights, hasconst, missing, device, dtype
        As in `Logit`.

    Attributes
    ----------
    levels : tuple
        (J,) the classes; the first is the base.

    Raises
    ------
    DataError, OptionError
        As in `Logit`; one class, a class without a row, or almost as many classes as rows.

    References
    ----------
    ``statsmodels.discrete.discrete_model.MNLogit``. R: ``nnet::multinom``.

    Examples
    --------
    >>> import betahat as bh
    >>> y, x = ["a", "b", "a", "c", "b", "c", "a", "c"], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 4.0, 2.0])
    >>> bh.MNLogit(y, x).fit().params.shape
    (2, 2)
    """

    stored = (*RegressorModel.stored, "levels")

    levels: tuple[Any, ...]

    def __init__(
        self,
        endog: Any,
        exog: Any,
        weights: Any = None,
        freq_weights: Any = None,
        hasconst: bool | None = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Read and check the data."""
        codes, self.levels = read_classes(endog)
        beside = Beside(weights=weights, freq_weights=freq_weights)
        self.sample = read_design(codes, exog, beside, hasconst=hasconst, missing=missing, device=device, dtype=dtype)
        self.source = None
        if not isinstance(getattr(endog, "dtype", None), pd.CategoricalDtype):
            self.sample, self.levels = _classes_in_use(self.design, self.levels)
        _check_classes(self.design, self.levels)

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; the left-hand side is a column of classes.

        Parameters
        ----------
        formula, data, **options
            As in `mnlogit`; the formula is code.

        Returns
        -------
        MNLogit

        Raises
        ------
        FormulaError, DataError, OptionError
            In one sentence, before any work starts.
        """
        return _multinomial(cls, formula, data, options, caller(2))

    @property
    def equations(self) -> tuple[str, ...]:
        """(J - 1,) the equations' names, such as "y=2"."""
        return tuple(f"{self.sample.endog_name}={class_name(level)}" for level in self.levels[1:])

    objective = Softmax()

    @property
    def df_model(self) -> float:
        """(r - 1) (J - 1), r the rank of the regressors."""
        return float((self.rank - 1) * self._equation_count)

    @property
    def df_resid(self) -> float:
        """N - r (J - 1)."""
        return self.nobs - self.rank * self._equation_count

    @property
    def _equation_count(self) -> int:  # type: ignore[override]
        return len(self.levels) - 1

    def predict(self, params: Any, exog: Any = None, which: str = "mean") -> Any:
        """Return (m, J) probabilities, or the indices, zeros first.

        Parameters
        ----------
        params : array_like
            (k, J - 1) coefficients.
        exog : array_like, optional
            (m, k) regressors; None takes those of the data.
        which : {"mean", "linear"}
            Probabilities or indices.

        Returns
        -------
        array
            (m, J).

        Raises
        ------
        OptionError
            Another `which`.
        """
        _check_which(which)
        return self._means(params, exog, None, which == "linear")

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
    ) -> MultinomialResults:
        """Fit by maximum likelihood, by Newton's method; the parameters are those of `Logit.fit`.

        Returns
        -------
        MultinomialResults
            Coefficients are (k, J - 1); the covariance is (k (J - 1)) square, equation by equation.

        Parameters
        ----------
        cov_type, cov_kwds, use_t, bread, rank, disp, **options
            As in `Logit.fit`.
        start_params : array_like, optional
            (k, J - 1) where to start.

        Raises
        ------
        EstimationError
            Separated classes, no degree of freedom left, no regressor that varies.
        """
        choice = resolve(cov_type, cov_kwds, use_t)
        fit = _fit(self.design, self.objective, bread, rank, self.equations, start_params, disp, options)
        return MultinomialResults(self, fit, covariance_of(fit, choice))


def logit(formula: str, data: Any, **options: Any) -> Logit:
    """Make a Logit model from a formula and a dataframe.

    Parameters
    ----------
    formula, data
        As in `ols`; the formula is code.
    **options
        offset, exposure, weights and freq_weights as in `Logit`: a column's name, an expression such as ``np.log(e)``, or
        as many numbers as `data` has rows;
        hasconst, missing ("drop" by default), device and dtype as in `ols`.

    Returns
    -------
    Logit

    Raises
    ------
    FormulaError, DataError, OptionError
        In one sentence, before any work starts.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {"y": [0, 0, 1, 0, 1, 1], "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    >>> bh.logit("y ~ x", data).fit().params
    Intercept   -4.249097
    x            1.214028
    dtype: float64
    """
    return _from_formula(Logit, formula, data, options, caller(2))


def probit(formula: str, data: Any, **options: Any) -> Probit:
    """Make a Probit model from a formula and a dataframe; the options are those of `logit`.

    Parameters
    ----------
    formula, data, **options
        As in `logit`; the formula is code.

    Returns
    -------
    Probit

    Raises
    ------
    FormulaError, DataError, OptionError
        In one sentence, before any work starts.
    """
    return _from_formula(Probit, formula, data, options, caller(2))


def poisson(formula: str, data: Any, **options: Any) -> Poisson:
    """Make a Poisson model from a formula and a dataframe; the options are those of `logit`.

    Parameters
    ----------
    formula, data, **options
        As in `logit`; the formula is code.

    Returns
    -------
    Poisson

    Raises
    ------
    FormulaError, DataError, OptionError
        In one sentence, before any work starts.
    """
    return _from_formula(Poisson, formula, data, options, caller(2))


def mnlogit(formula: str, data: Any, **options: Any) -> MNLogit:
    """Make a multinomial logit model from a formula and a dataframe; the left-hand side is a column of classes.

    The options are those of `logit`, but for offset and exposure.

    Parameters
    ----------
    formula, data, **options
        As in `logit`; the formula is code.

    Returns
    -------
    MNLogit

    Raises
    ------
    FormulaError, DataError, OptionError
        In one sentence, before any work starts.
    """
    return _multinomial(MNLogit, formula, data, options, caller(2))


def _fit(
    design: Design,
    objective: LinearIndex | Softmax,
    bread: str,
    rank: Rank,
    equations: tuple[str, ...],
    start_params: Any,
    disp: bool,
    options: Mapping[str, Any],
) -> Fit:
    check_flag("disp", disp)
    if options:
        raise OptionError(
            f"fit does not take {listed(options)}: betahat solves by Newton's method to the last digit, or says why not; leave "
            "such options out."
        )
    check_rank_option(rank)
    check_flag("disp", disp)
    kind = read_bread(bread)
    start = None
    if start_params is not None:
        given = to_tensor(start_params, design.exog)
        start = given.mT.reshape(-1) if equations and given.ndim == 2 else given
        width = design.width * max(len(equations), 1)
        if start.shape != (width,):
            raise OptionError(
                f"start_params has shape {tuple(given.shape)}; pass one number for each of the {width} parameters"
                f"{', in the shape of params' if equations else ''}."
            )
    fit = fit_index(objective, design, kind, rank, equations, start)
    warn_collinear(fit, rank, design.width)
    if disp:
        found = fit.diagnostics
        print(f"Converged in {found.iterations} Newton steps; the summed loss is {float(fit.loss):.10g}.")
    return fit


def _from_formula(cls: type[M], formula: str, data: Any, options: dict[str, Any], names: Mapping[str, Any]) -> M:
    model = cls.__new__(cls)
    model.sample, model.source = design_of_formula(formula, data, options, _VECTORS, names, cls.__name__)
    cls.check_endog(_in_use(model.design))
    return model


N = TypeVar("N", bound=MNLogit)


def _multinomial(cls: type[N], formula: str, data: Any, options: dict[str, Any], names: Mapping[str, Any]) -> N:
    coded, frame, name, levels = class_formula(formula, data)
    model = cls.__new__(cls)
    design, model.source = design_of_formula(coded, frame, options, ("weights", "freq_weights"), names, cls.__name__)
    model.source = replace(model.source, text=formula)
    model.sample, model.levels = replace(design, endog_name=name), levels
    if not isinstance(frame[name].dtype, pd.CategoricalDtype):
        model.sample, model.levels = _classes_in_use(model.design, levels)
    _check_classes(model.design, model.levels)
    return model


def _classes_in_use(design: Design, levels: tuple[Any, ...]) -> tuple[Design, tuple[Any, ...]]:
    """Leave out classes of rows that were dropped; a category's levels are the user's own, and stay."""
    used, codes = torch.unique(design.endog, return_inverse=True)
    if len(used) == len(levels):
        return design, levels
    return replace(design, endog=codes.to(torch.float64)), tuple(levels[int(code)] for code in used.tolist())


def _check_which(which: str) -> None:
    if which not in ("mean", "linear"):
        raise OptionError(f"which is {shown(which)}; use 'mean' or 'linear'.")


def _in_use(design: Design) -> Tensor:
    """Return the dependent variable of the rows that count."""
    endog = design.endog
    for weights in (design.weights, design.counts):
        if weights is not None and not bool(weights.all()):
            return endog[(weights != 0) & (True if design.counts is None else design.counts != 0)]
    return endog


def _check_varies(endog: Tensor) -> None:
    """Refuse a yes or a no in every row."""
    first = float(endog[0])
    if first in (0.0, 1.0) and bool((endog == first).all()):
        raise DataError(
            f"endog is {first:.0f} in every row, so that nothing is to be explained; pass rows of both kinds."
        )


def _check_classes(design: Design, levels: tuple[Any, ...]) -> None:
    if 2 * len(levels) > max(design.rows, 20):
        raise DataError(
            f"endog has {len(levels)} classes in {design.rows} rows; a multinomial model needs several rows of each: join classes, or use "
            "OLS or Poisson for numbers."
        )
    if len(levels) < 2:
        raise DataError(f"endog has one class, {listed(levels)}; a multinomial model needs two or more.")
    counts = torch.bincount(design.endog.long(), minlength=len(levels)).tolist()
    empty = [level for level, count in zip(levels, counts, strict=True) if not count]
    if empty:
        raise DataError(
            f"No row is of {'the class' if len(empty) == 1 else 'the classes'} {listed(empty)}; leave unused categories out, with "
            ".cat.remove_unused_categories() say."
        )
