"""`InstrumentModel`: what linear models with endogenous regressors share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from betahat.calculus.counts import Counts
from betahat.calculus.problem import Problem
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.design import Design
from betahat.data.door import InstrumentedBy, RowVectors, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import CollinearityWarning, EstimationError, OptionError, counted, listed, shown, user_level
from betahat.fits.absorbed import Projected, projected
from betahat.fits.absorbed_instruments import fit_absorbed_instruments
from betahat.fits.fit import Fit
from betahat.fits.instrumented import Estimating, Weighting
from betahat.fits.instruments import fit_instruments
from betahat.lazy import lazily
from betahat.models.cautions import fitted_length, warn_alone, warn_collinear, warn_perfect
from betahat.models.options import refuse_options
from betahat.models.regressors import RegressorModel, caller, design_of_formula, row_sums
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.instrumented import TwoStageVariance
from betahat.results.instruments import InstrumentResults
from betahat.solvers.least_squares import column_rank

if TYPE_CHECKING:
    from betahat.models import linear
else:
    linear = lazily("betahat.models.linear")


@in_ordinary_mode
class InstrumentModel(RegressorModel, ABC):
    """A linear model whose last regressors are endogenous, and moved by instruments.

    Attributes
    ----------
    sample, source
        As in `RegressorModel`.
    how : Estimating
        How it is estimated.
    """

    stored: ClassVar[tuple[str, ...]] = ("sample", "source", "how")
    objective = Gaussian(TwoStageVariance())
    how: Estimating

    def _read_data(
        self,
        dependent: Any,
        exog: Any,
        endog: Any,
        instruments: Any,
        beside: RowVectors,
        options: dict[str, Any],
    ) -> None:
        """Read and check the data."""
        self.sample = read_design(dependent, exog, beside, by=InstrumentedBy(endog, instruments), **options)
        self.source = None
        self._check()

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe.

        Parameters
        ----------
        formula, data
            As in `ols`, with instruments after a bar: ``"y ~ x | price ~ z1 + z2"``. The formula is code.
        **options
            Those of the class; what has a number for each row may be a column's name or an expression, and missing is "drop" by default.

        Returns
        -------
        The model.

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.
        """
        model, names = cls.__new__(cls), caller(2)
        beside = model._take(options)
        vectors = ("weights", "freq_weights")
        model.sample, model.source = design_of_formula(
            formula, data, options | beside, vectors, names, cls.__name__, bars=("effects", "instruments")
        )
        if not model.sample.schema.endogenous:
            raise OptionError(
                f"The formula {shown(formula)} has no instruments, which {cls.__name__} needs; write them after a bar, 'y ~ x | price ~ z', or use bh.ols."
            )
        model._check()
        return model

    @abstractmethod
    def _take(self, options: dict[str, Any]) -> dict[str, Any]:
        """Take the model's own options out of those of a formula, and return those that stand beside each row under other names."""

    def _check(self) -> None:
        """Refuse fewer instruments than endogenous regressors."""
        schema = self.sample.schema
        count, endogenous = len(schema.instruments), schema.endogenous
        if count < endogenous:
            raise EstimationError(
                f"instruments: {count} for {counted(endogenous, 'endogenous regressor')}; pass at least one for each, variables that move it and "
                "are no regressors."
            )

    @property
    def problem(self) -> Problem:
        """Not defined: moments of instruments are not a sum of losses.

        Raises
        ------
        EstimationError
        """
        self._no_objective()

    def _no_objective(self) -> NoReturn:
        raise EstimationError(
            f"{type(self).__name__} solves moments of its instruments, so it has no loss of a row, no log-likelihood and no score of it; fit it, and take "
            "res.fit for what estimators of covariances need."
        )

    @property
    def instruments(self) -> Any:
        """(n, q) the instruments that are not regressors, of the rows in use."""
        design = self.design
        return design.container.present_rows(design.column("instruments"), design.schema.instruments)

    @property
    def instrument_names(self) -> list[str]:
        """(q,) their names."""
        return list(self.sample.schema.instruments)

    @property
    def endogenous_names(self) -> list[str]:
        """(m,) the names of the endogenous regressors, the last ones."""
        return list(self.sample.names[-self.sample.schema.endogenous :])

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model: r, less one if there is a constant among the regressors."""
        return float(self.rank - (0 if self.design.schema.effects else self.k_constant))

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r, less those of absorbed effects."""
        absorbed = () if self._projected is None else self._projected.absorbed.sizes
        return Counts(self.nobs, self.rank, absorbed=absorbed).free

    @cached_property
    def rank(self) -> int:
        """The number of independent regressors, once effects are projected away."""
        return len(column_rank(self.design if self._projected is None else self._projected.design)[0])

    @cached_property
    def _projected(self) -> Projected | None:
        """The design without its effects; None where there are none."""
        return projected(self.design) if self.design.schema.effects else None

    def first_stage_model(self, design: Design) -> RegressorModel:
        """Return the first stage as a model of least squares.

        Parameters
        ----------
        design : Design
            Exogenous regressors, instruments, and an endogenous regressor in the place of the dependent variable.

        Returns
        -------
        OLS or WLS
        """
        kind = linear.WLS if design.weighted else linear.OLS
        model: RegressorModel = kind.__new__(kind)
        model.sample, model.source = design, None
        return model

    def predict(self, params: Any, exog: Any = None) -> Any:
        """Return (m,) x'b.

        Parameters
        ----------
        params : array_like
            (k,) coefficients.
        exog : array_like, optional
            (m, k) regressors, the endogenous ones last; None takes those of the data.

        Returns
        -------
        array
            (m,).
        """
        return self._means(params, exog, None)

    def fit(
        self,
        cov_type: CovType | None = None,
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        **options: Any,
    ) -> InstrumentResults:
        """Estimate.

        Parameters
        ----------
        cov_type : str, estimator or matrix
            As in `OLS.fit`. "nonrobust", the default, is s^2 (X̂'X)^-1 with s^2 = e'e / (n - k), and for GMM (G'WG)^-1, which is efficient with weights
            that are the inverse of the moments' covariance; with other weights the default is "HC0".
        cov_kwds : mapping, optional
            The options of a named estimator.
        use_t : bool, optional
            t or normal tests; None takes t for "nonrobust" of IV2SLS and IVLIML, and the normal distribution for the others.
        **options
            There are none: options of a solver are an error.

        Returns
        -------
        InstrumentResults

        Raises
        ------
        OptionError
            An unknown name or option, before the fit starts.
        EstimationError
            An endogenous regressor that the instruments do not move, or that is a combination of other regressors.

        Warns
        -----
        CollinearityWarning
            Exogenous regressors or instruments depend on those before them, and are left out; the warning names them.
        WeakInstrumentWarning
            The effective F is below its critical value for a bias of a tenth or below ten; of several endogenous regressors Kleibergen and Paap's F is below that of Stock
            and Yogo.
        BetahatWarning
            The residuals are zero up to rounding.
        """
        refuse_options(options, "moments of instruments in one way")
        weighting = isinstance(self.how, Weighting) and not self.how.efficient
        choice = resolve("HC0" if cov_type is None and weighting else cov_type, cov_kwds, use_t)
        design, also = self.design, row_sums(choice.estimator)
        if design.schema.effects:
            warn_alone(design)
            fit = fit_absorbed_instruments(design, self.how, also)
        else:
            fit = fit_instruments(design, self.how, also)
        warn_collinear(fit, "drop", design.width)
        _warn_of_instruments(fit)
        warn_perfect(fit, fitted_length(fit))
        results = InstrumentResults(self, fit, covariance_of(fit, choice))
        results.warn_weak()
        return results


def _warn_of_instruments(fit: Fit) -> None:
    """Name the instruments that depend on exogenous regressors and on the instruments before them."""
    assert fit.instruments is not None
    names, kept = fit.given.schema.instruments, fit.instruments.kept
    if len(kept) == len(names):
        return
    left_out = [name for i, name in enumerate(names) if i not in kept]
    one, effects = len(left_out) == 1, "" if fit.absorbed is None else ", the absorbed effects"
    warnings.warn(
        f"{listed(left_out)} {'depends' if one else 'depend'} linearly on the exogenous regressors{effects} and the instruments before, and "
        f"{'was' if one else 'were'} left out of the instruments.",
        CollinearityWarning,
        stacklevel=user_level(),
    )
