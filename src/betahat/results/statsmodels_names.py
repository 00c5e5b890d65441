"""`Results`: statsmodels' names of what a fit and its covariance say, each in one statement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from betahat.covariance.names import CovType
from betahat.data.modes import in_ordinary_mode
from betahat.errors import BetahatError, check_number
from betahat.inference.likelihood import information_criterion, log_likelihood
from betahat.inference.resampled import Method
from betahat.results.margins import WithMargins

if TYPE_CHECKING:
    from statsmodels.iolib.summary import Summary
    from statsmodels.iolib.summary2 import Summary as SecondSummary


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class Results(WithMargins, ABC):
    """A fit under one covariance, with statsmodels' names.

    Vectors and matrices come out as the data went in: labelled pandas objects, NumPy arrays, or tensors on
    their device. Results never change: `with_cov` returns others, which share the fit, and what is handed out is a copy, which may be
    worked on in place. Tensors of rows that went in are not copied; inside of `fit.design` they are the user's own.

    Attributes
    ----------
    model : object
        The model.
    fit : Fit
        What the solver found, in tensors.
    cov : Covariance
        The covariance of the parameters, in tensors.
    """

    # the parameters

    @property
    def params(self) -> Any:
        """(k,) the coefficients, in units of endog per unit of the regressor."""
        return self._layout.vector(self.fit.params)

    @property
    def bse(self) -> Any:
        """(k,) standard errors: the square roots of the covariance's diagonal."""
        return self._layout.vector(self._pair.errors)

    @property
    def tvalues(self) -> Any:
        """(k,) coefficients over standard errors."""
        return self._layout.vector(self._pair.statistics)

    @property
    def pvalues(self) -> Any:
        """(k,) two-sided p-values of a zero coefficient, by t or the normal distribution; the wild cluster bootstrap has its own."""
        return self._layout.vector(self._pair.pvalues)

    def conf_int(self, alpha: float = 0.05, method: Method | None = None) -> Any:
        """Return (k, 2) intervals, each of coverage 1 - alpha.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.
        method : {"normal", "percentile", "basic", "studentized", "bca", "sup-t"}, optional
            For a bootstrap: by its standard errors; by quantiles of the estimates, of their distances, of their t statistics, or corrected for bias
            and skewness; or a band that covers all coefficients at once. None takes t or the normal distribution, and for the wild
            cluster bootstrap inverts its tests.

        Returns
        -------
        array
            (k, 2), lower and upper bounds in units of the coefficients.

        Raises
        ------
        OptionError
            `alpha` is not between 0 and 1, an unknown method, or one that needs replicates where there are none.
        EstimationError
            A method that the bootstrap's kind does not have.
        """
        return self._layout.intervals(self._pair.bounds(alpha, method))

    # other covariances

    def get_robustcov_results(self, cov_type: CovType = "HC1", use_t: bool | None = None, **cov_kwds: Any) -> Self:
        """Return the same fit under another covariance: `with_cov` in statsmodels' spelling.

        Parameters
        ----------
        cov_type, use_t
            As in `with_cov`.
        **cov_kwds
            The options of a named estimator.

        Returns
        -------
        Results

        Raises
        ------
        OptionError
            An unknown name or option; the message lists the known ones.
        """
        return self.with_cov(cov_type, cov_kwds, use_t)

    @property
    def cov_kwds(self) -> dict[str, Any]:
        """The covariance's sentence, as statsmodels keeps it."""
        known = {} if self.cov.noise is None else {"scale": self.cov.noise}
        return {"description": self.cov.note, "use_t": self.use_t, **known}

    @property
    def cov_HC0(self) -> Any:  # noqa: N802
        """(k, k) the covariance HC0."""
        return self.with_cov("HC0").cov_params()

    @property
    def cov_HC1(self) -> Any:  # noqa: N802
        """(k, k) the covariance HC1."""
        return self.with_cov("HC1").cov_params()

    @property
    def cov_HC2(self) -> Any:  # noqa: N802
        """(k, k) the covariance HC2."""
        return self.with_cov("HC2").cov_params()

    @property
    def cov_HC3(self) -> Any:  # noqa: N802
        """(k, k) the covariance HC3."""
        return self.with_cov("HC3").cov_params()

    @property
    def HC0_se(self) -> Any:  # noqa: N802
        """(k,) standard errors by HC0."""
        return self.with_cov("HC0").bse

    @property
    def HC1_se(self) -> Any:  # noqa: N802
        """(k,) standard errors by HC1."""
        return self.with_cov("HC1").bse

    @property
    def HC2_se(self) -> Any:  # noqa: N802
        """(k,) standard errors by HC2."""
        return self.with_cov("HC2").bse

    @property
    def HC3_se(self) -> Any:  # noqa: N802
        """(k,) standard errors by HC3."""
        return self.with_cov("HC3").bse

    # the rows, and how well the model fits

    @property
    def df_resid(self) -> float:
        """Residual degrees of freedom, n - r."""
        return self.fit.df_resid

    @property
    @abstractmethod
    def df_model(self) -> float:
        """Model degrees of freedom."""

    @property
    def scale(self) -> float:
        """The variance of an error of weight one: s^2 = RSS / (n - r), or the known one of `FixedScale`."""
        return float(self.fit.dispersion) if self.cov.noise is None else self.cov.noise

    @property
    def llf(self) -> float:
        """The log-likelihood; for least squares the Gaussian one with its variance at the maximum, RSS / n.

        Raises
        ------
        EstimationError
            The loss is no likelihood.
        """
        return log_likelihood(self.fit)

    @property
    def aic(self) -> float:
        """-2 llf + 2 r; an estimated variance is not counted, as in statsmodels (R counts it)."""
        return self.info_criteria("aic")

    @property
    def bic(self) -> float:
        """-2 llf + r log n; an estimated variance is not counted, as in statsmodels (R counts it)."""
        return self.info_criteria("bic")

    def info_criteria(self, crit: str, dk_params: float = 0) -> float:
        """Return "aic", "bic", "aicc" or "hqic"; `dk_params=1` counts the variance as a parameter.

        Parameters
        ----------
        crit : {"aic", "bic", "aicc", "hqic"}
            In any letter case: -2 llf + 2 r; r log n; 2 r n / (n - r - 1); 2 r log log n in the place of 2 r.
        dk_params : float
            How many parameters to add to r, such as 1 for the variance.

        Returns
        -------
        float

        Raises
        ------
        OptionError
            An unknown criterion.
        EstimationError
            The loss is no likelihood.
        """
        check_number(dk_params=dk_params)
        return information_criterion(crit, self.llf, self.fit.nobs, self.fit.size + dk_params)

    # keeping

    def remove_data(self) -> Self:
        """Return the results without the rows: a few kilobytes, however many rows there were.

        The summary, tests, intervals, tables and `delta` are the same as before; `predict` of new data works for models of
        regressors. What needs the rows says so: residuals, influence, marginal effects, `with_cov` of an estimator that sums
        scores, and, for a bootstrap, the intervals "studentized" and "bca". Of `TorchModel`, `MEstimator` and `GMM` the code
        goes with the rows.

        Returns
        -------
        Results

        Notes
        -----
        statsmodels' method of this name changes the results; these never change, so use what is returned. The replicates of a
        bootstrap, R k numbers, are kept, and of the covariances that adjust clusters G r^2 numbers for G clusters: the degrees
        of freedom of any contrast follow from them.

        Examples
        --------
        >>> import betahat as bh
        >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit("HC1")
        >>> small = res.remove_data()
        >>> bool((small.bse == res.bse).all())
        True
        """
        return self._without_data()

    # tables

    def summary(
        self,
        yname: str | None = None,
        xname: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
    ) -> Summary | SecondSummary:
        """Return the summary: statsmodels' own, byte for byte, for models that it has, and in its layout for the others.

        Parameters
        ----------
        yname : str, optional
            The dependent variable's name to print.
        xname : sequence of str, optional
            (k,) the parameters' names to print.
        title : str, optional
            The heading.
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        statsmodels.iolib.summary.Summary
            With `as_text`, `as_html`, `as_latex` and `as_csv`.

        Raises
        ------
        OptionError
            The wrong number of names, or `alpha` not between 0 and 1.
        """
        return self._content(alpha).summary(yname, xname, title, alpha)

    def _repr_html_(self) -> str | None:
        """Show the summary in a notebook; where there is none, its `repr` stands there."""
        try:
            return str(self.summary()._repr_html_())
        except BetahatError:
            return None
