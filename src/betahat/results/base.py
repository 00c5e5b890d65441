"""`Results`: a fit and one covariance of it; what the results of every model have. Methods delegate in a line or two."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.base import Covariance, matrix_flaw, with_distribution
from betahat.covariance.names import CovType, check_use_t, covariance_of, resolve
from betahat.covariance.replicates import without_rows
from betahat.data.container import Container, held, to_numpy, to_tensor
from betahat.data.frame import check_index
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.errors import (
    BetahatError,
    ClusterWarning,
    EstimationError,
    OptionError,
    check_flag,
    check_number,
    counted,
    is_number,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.fits.fit import Diagnostics, Fit
from betahat.inference.cases import Cases
from betahat.inference.coefficients import interval
from betahat.inference.delta import Delta, Parameters, View, delta_method, replicated_function
from betahat.inference.distribution import Df, two_sided
from betahat.inference.identified import (
    check_identified,
    identified,
    identified_part,
    refuse_unidentified,
    tested_part,
    warn_unidentified,
)
from betahat.inference.likelihood import information_criterion, log_likelihood
from betahat.inference.margins import Response
from betahat.inference.prediction import check_width
from betahat.inference.resampled import Method, Replicated, Tail, no_replicates
from betahat.inference.variances import Variances, over
from betahat.inference.wald import (
    TermTests,
    TTest,
    WaldTest,
    approximate_hotelling,
    identity_rows,
    t_test,
    undefined,
    wald_test,
)
from betahat.lazy import lazily
from betahat.plots.coefficients import coefplot
from betahat.plots.rows import plot_diagnostics
from betahat.saving.records import Stored

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary import Summary

    from betahat.data.formulas import formula as formulas
    from betahat.saving import files
else:
    formulas = lazily("betahat.data.formulas.formula")
    files = lazily("betahat.saving.files")
    pd = lazily("pandas")


@dataclass(frozen=True)
class UnstoredModel:
    """The name of a model that is code, which is all that is kept of it.

    Attributes
    ----------
    name : str
        Its class.
    """

    name: str


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class Results(ABC):
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

    model: Any
    fit: Fit
    cov: Covariance

    # the parameters

    @property
    def names(self) -> tuple[str, ...]:
        """(k,) the parameters' names."""
        return self.fit.names

    @property
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """(k,) the equation of each parameter, or nothing where there is one only, and its name there."""
        if not self.fit.equations:
            return tuple(("", name) for name in self.names)
        return tuple((equation, name) for equation in self.fit.equations for name in self.fit.given.names)

    @property
    def endog_name(self) -> str:
        """The dependent variable's name."""
        return self.fit.given.endog_name

    @property
    def aliased(self) -> tuple[str, ...]:
        """The columns that `rank="drop"` left out; their coefficients are NaN."""
        return tuple(self.names[i] for i in range(len(self.names)) if i not in self._kept)

    @property
    def params(self) -> Any:
        """(k,) the coefficients, in units of endog per unit of the regressor."""
        return self._parameters(self.fit.params)

    @property
    def bse(self) -> Any:
        """(k,) standard errors: the square roots of the covariance's diagonal."""
        return self._parameters(self._errors)

    @property
    def tvalues(self) -> Any:
        """(k,) coefficients over standard errors."""
        return self._parameters(self._statistics)

    @property
    def pvalues(self) -> Any:
        """(k,) two-sided p-values of a zero coefficient, by t or the normal distribution; of the wild cluster bootstrap its own."""
        return self._parameters(self._pvalues)

    def conf_int(self, alpha: float = 0.05, method: Method | None = None) -> Any:
        """Return (k, 2) intervals, each of coverage 1 - alpha.

        Parameters
        ----------
        alpha : float
            The share outside.
        method : {"normal", "percentile", "basic", "studentized", "bca", "sup-t"}, optional
            Of a bootstrap: by its standard errors; by quantiles of the estimates, of their distances, of their t statistics, or corrected for bias
            and skewness; or a band that covers all coefficients at once. None is by t or the normal distribution, and of the wild
            cluster bootstrap by inverting its tests.

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
        return self._intervals(self._bounds(alpha, method))

    def bootstrap_pvalues(self, tail: Tail = "symmetric") -> Any:
        """Return (k,) p-values of zero coefficients, from the distances of a bootstrap's replicates to the estimates.

        Parameters
        ----------
        tail : {"symmetric", "equal"}
            Distances of either sign, or twice the smaller tail. The wild cluster bootstrap has its own, those of `pvalues`.

        Returns
        -------
        array
            (k,).

        Raises
        ------
        OptionError
            The covariance has no replicates, or the tail is unknown.
        """
        found = self._replicated("bootstrap_pvalues").pvalues(torch.zeros_like(self.fit.params), tail)
        own = self._own_pvalues(self._identity, torch.zeros_like(self.fit.params))
        if own is not None and tail != "symmetric":
            raise OptionError("The wild cluster bootstrap has tests of its own, which are symmetric; leave tail out.")
        return self._parameters(found if own is None else own)

    def cov_params(
        self, r_matrix: Any = None, column: Any = None, scale: float | None = None, cov_p: Any = None, other: Any = None
    ) -> Any:
        """Return the covariance of the coefficients, or of linear functions of them.

        Parameters
        ----------
        r_matrix : array_like, optional
            (J, k) R: returns R V R', or R V other'.
        column : int, str or sequence of them, optional
            Returns the variance of one coefficient, or the covariance of some.
        scale : float, optional
            Returns scale * (X'WX)^-1 instead of the covariance of these results.
        cov_p : array_like, optional
            (k, k) V to use instead of the covariance of these results.
        other : array_like, optional
            (L, k); see `r_matrix`.

        Returns
        -------
        (k, k), or as above

        Raises
        ------
        OptionError, FormulaError
            Arguments that do not go together, or have another shape.
        """
        if scale is not None and not (is_number(scale) and scale >= 0):
            raise OptionError(f"scale is {shown(scale)}; pass the errors' variance, a number.")
        matrix = self._matrix(cov_p, scale)
        if column is not None:
            if r_matrix is not None or other is not None:
                raise OptionError("column was given together with r_matrix or other; pass either.")
            where = self._positions(column)
            return self._container.plain(self._expand_square(matrix)[where][..., where])
        if r_matrix is None:
            if other is not None:
                raise OptionError("other was given without r_matrix; pass both.")
            return self._square(matrix)
        left = self._restrictions(r_matrix)[0]
        right = left if other is None else self._restrictions(other)[0]
        product = left @ matrix @ right.mT
        flat = [np.ndim(side) == 1 for side in (r_matrix, r_matrix if other is None else other)]
        return self._container.plain(product[0 if flat[0] else ...][..., 0 if flat[1] else slice(None)])

    @property
    def normalized_cov_params(self) -> Any:
        """(k, k) (X'WX)^-1, the bread."""
        return self._square(self.fit.bread)

    # keeping

    def remove_data(self) -> Self:
        """Return the results without the rows: kilobytes, however many there were.

        The summary, tests, intervals, tables and `delta` are the same as before; `predict` of new data works for models of
        regressors. What needs the rows says so: residuals, influence, marginal effects, `with_cov` of an estimator that sums
        scores, and of a bootstrap the intervals "studentized" and "bca". Of `TorchModel` and `MEstimator` the module, or the loss,
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
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit("HC1")
        >>> small = res.remove_data()
        >>> bool((small.bse == res.bse).all())
        True
        """
        _ = self.diagnostics
        for name in self._learned:
            with suppress(BetahatError):  # what is not defined with the rows will not be without them
                getattr(self, name)
        fit = self.fit.without_rows()
        assert isinstance(fit.given, WithoutRows)
        return replace(self, fit=fit, cov=without_rows(self.cov, fit), **self._without_rows(fit.given))

    def save(self, path: str | PathLike[str] | BinaryIO, remove_data: bool = False) -> Path | BinaryIO:
        """Write the results to one file of numbers and words, which `betahat.load` reads without running any code.

        The file is in the safetensors format. A file that is there is replaced once the new one is whole, and may be read and written
        by whom it was before; a link leads to its file. Of a formula what
        its transformations learnt is kept, and of a dataframe all its columns. Modules, losses, penalties and estimators are code,
        and are not stored: the results of `TorchModel` and `MEstimator` are written as `remove_data` returns them.

        Parameters
        ----------
        path : str, path, or binary file
            Where to; any ending will do. An open file, such as ``io.BytesIO()``, is written to from where it stands.
        remove_data : bool
            Leave the rows out, as `remove_data` does.

        Returns
        -------
        pathlib.Path
            The file; or the open one.

        Raises
        ------
        DataError
            There is no such folder, it cannot be written to, it is a device or a pipe, or the results hold an object of the user's own.

        Warns
        -----
        BetahatWarning
            Columns of the dataframe, or labels of rows, hold objects that no file of numbers and words can.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import betahat as bh
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit("HC1")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = bh.load(res.save(Path(folder) / "line.betahat"))
        >>> again.with_cov("HC3").bse == res.with_cov("HC3").bse
        array([ True,  True])
        """
        check_flag("remove_data", remove_data)
        kept = self.remove_data() if remove_data or not self._storable else self
        return files.write(path, kept)

    # switching the covariance

    def with_cov(
        self, cov_type: CovType | None = None, cov_kwds: Mapping[str, Any] | None = None, use_t: bool | None = None
    ) -> Self:
        """Return the same fit under another covariance; nothing is refitted, nothing changed.

        Parameters
        ----------
        cov_type : str or estimator
            A name, such as "HC3", or an estimator, such as ``bh.HC3()``.
        cov_kwds : mapping, optional
            The options of a named estimator; "use_t" may stand among them.
        use_t : bool, optional
            t or normal tests. None goes on with what was asked for before, in `fit` or `with_cov`; where nothing was, it takes the
            estimator's own: for least squares t for "nonrobust", the normal distribution for the others.

        Returns
        -------
        Results

        Raises
        ------
        OptionError
            An unknown name or option; the message lists the known ones.

        Examples
        --------
        >>> import betahat as bh
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
        >>> res.with_cov("HC1").cov_type
        'HC1'
        """
        choice = resolve(cov_type, cov_kwds, use_t)
        asked = self.cov.asked_t if choice.use_t is None else choice.use_t
        return replace(self, cov=covariance_of(self.fit, replace(choice, use_t=asked)))

    def with_use_t(self, use_t: bool | None) -> Self:
        """Return the same results with tests by t, or by the normal distribution.

        Parameters
        ----------
        use_t : bool or None
            None takes the covariance's own.

        Returns
        -------
        Results

        Raises
        ------
        OptionError
            Another value.

        Examples
        --------
        >>> import betahat as bh
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit("HC1")
        >>> res.use_t, res.with_use_t(True).use_t
        (False, True)
        """
        check_use_t(use_t)
        return replace(self, cov=with_distribution(self.cov, self.fit, use_t))

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
    def cov_type(self) -> str:
        """What the covariance is called."""
        return self.cov.label

    @property
    def cov_kwds(self) -> dict[str, Any]:
        """The covariance's sentence, as statsmodels keeps it."""
        known = {} if self.cov.noise is None else {"scale": self.cov.noise}
        return {"description": self.cov.note, "use_t": self.use_t, **known}

    @property
    def use_t(self) -> bool:
        """Whether tests take the t distribution."""
        return self.cov.df is not None

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

    # the rows

    @property
    def nobs(self) -> float:
        """n, the number of rows used."""
        return float(self.fit.nobs)

    # how well it fits

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
            Another criterion.
        EstimationError
            The loss is no likelihood.
        """
        check_number(dk_params=dk_params)
        return information_criterion(crit, self.llf, self.fit.nobs, self.fit.rank + dk_params)

    @property
    def diagnostics(self) -> Diagnostics:
        """How the fit was found, and how far it may be trusted."""
        return self.fit.diagnostics

    # tests

    def t_test(self, r_matrix: Any, cov_p: Any = None, use_t: bool | None = None) -> TTest:
        """Test restrictions one by one.

        Parameters
        ----------
        r_matrix : str, list of str, array_like or tuple
            ``"educ = 2*exper, tenure = 0"``, a (J, k) matrix R of R b = 0, or a tuple (R, q) of R b = q.
        cov_p : array_like, optional
            (k, k) a covariance to use instead.
        use_t : bool, optional
            t or normal; None takes that of the results.

        Returns
        -------
        TTest

        Raises
        ------
        FormulaError
            Restrictions that cannot be read; the message lists the parameters.
        EstimationError
            A restriction on a column that was left out as collinear, or one that the data do not identify, as columns are collinear.

        Warns
        -----
        ClusterWarning
            A restriction has no variance under the covariance: its test is NaN.
        """
        check_use_t(use_t)
        matrix, values = self._restrictions(r_matrix)
        check_identified(self.fit.unidentified, matrix, self._estimated)
        df: Df = self._df_of(matrix) if use_t is None or self.cov.small_sample is not None else self._df_denom
        df = None if use_t is False else df
        errors = self._variances_by(cov_p).errors(matrix)
        none = counted(int((~(errors > 0)).sum()), "restriction")
        if bool((~(errors > 0)).any()):
            _warn_of(
                f"{none} of {len(matrix)} have no variance under this covariance, and so no test: their statistics are NaN."
            )
        found = t_test(self.fit.params, errors, df, matrix, values, self._container)
        own = None if cov_p is not None else self._own_pvalues(matrix, values)
        if own is None:
            return found
        return replace(found, pvalues=own, inverted=partial(self._inverted, matrix))

    def _inverted(self, matrix: Tensor, alpha: float) -> Tensor:
        bounds = self._own_interval(matrix, alpha)
        assert bounds is not None
        return bounds

    def f_test(self, r_matrix: Any, cov_p: Any = None, *, scalar: bool = True) -> WaldTest:
        """Test restrictions jointly by F = W / J; `r_matrix` as in `t_test`.

        Parameters
        ----------
        r_matrix, cov_p
            As in `t_test`.
        scalar : bool
            As in `wald_test`.

        Returns
        -------
        WaldTest

        Raises
        ------
        FormulaError, EstimationError
            As in `wald_test`.
        """
        return self.wald_test(r_matrix, cov_p, use_f=True, scalar=scalar)

    def wald_test(
        self, r_matrix: Any, cov_p: Any = None, use_f: bool | None = None, *, scalar: bool = True
    ) -> WaldTest:
        """Test restrictions jointly; F where tests take t, chi-squared otherwise. `r_matrix` as in `t_test`.

        Parameters
        ----------
        r_matrix, cov_p
            As in `t_test`.
        use_f : bool, optional
            F = W / J with its degrees of freedom, or W by chi-squared; None is F where tests take t.
        scalar : bool
            False gives the statistic the shape (1, 1), as statsmodels' option of this name does.

        Returns
        -------
        WaldTest
            W = (R b - q)' (R V R')^-1 (R b - q).

        Raises
        ------
        FormulaError
            Restrictions that cannot be read.
        EstimationError
            Restrictions that contradict each other, or that the data do not identify.

        Warns
        -----
        ClusterWarning
            The covariance has too low a rank for so many restrictions: the statistic is NaN, and `reason` says why.
        """
        if use_f is not None:
            check_flag("use_f", use_f)
        matrix, values = self._restrictions(r_matrix)
        part = tested_part(self.fit.unidentified, matrix, values, self.fit.root)
        if part is None:
            refuse_unidentified(self.fit.unidentified, matrix, self._estimated)
        check_flag("use_f", use_f, none=True)
        check_flag("scalar", scalar)
        found = self._joint(*part, self.use_t if use_f is None else use_f, cov_p)
        if found.reason:
            _warn_of(f"There is no joint test of these restrictions: {found.reason}.")
        return found if scalar else replace(found, statistic=np.full((1, 1), found.statistic))

    def wald_test_terms(
        self,
        skip_single: bool = False,
        extra_constraints: Sequence[tuple[str, Any]] | None = None,
        combine_terms: Sequence[str] | None = None,
        scalar: bool = True,
    ) -> TermTests:
        """Test each term of the formula, or each column where there is none; of collinear columns the part that the data identify.

        Parameters
        ----------
        skip_single : bool
            Leave out terms of one column.
        extra_constraints : sequence of (name, restriction), optional
            Further tests.
        combine_terms : sequence of str, optional
            Parts of terms' names; the terms with that part are tested together as well.
        scalar : bool
            False gives each statistic the shape (1, 1), as in `wald_test`.

        Returns
        -------
        TermTests

        Raises
        ------
        OptionError, FormulaError
            A part that no term has, or restrictions that cannot be read.

        Warns
        -----
        ClusterWarning
            A term has no test, since the covariance has too low a rank for it, or the data do not identify it: its row is NaN.
        """
        check_flag("skip_single", skip_single)
        check_flag("scalar", scalar)
        parts = _listed_in(combine_terms)
        if parts is None or not all(isinstance(part, str) for part in parts):
            raise OptionError(
                f"combine_terms is {shown(combine_terms)}; pass a list of parts of names, such as ['educ']."
            )
        extras = _listed_in(extra_constraints)
        if extras is None or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in extras):
            raise OptionError(
                f"extra_constraints is {shown(extra_constraints)}; pass pairs, such as [('name', 'x1 = x2')]."
            )
        terms = {name: self._still_there(columns) for name, columns in self._terms.items()}
        tests = [
            (name, self._test_of_columns(columns))
            for name, columns in terms.items()
            if columns and (len(columns) > 1 or not skip_single)
        ]
        for part in parts:
            together = [column for name, columns in terms.items() if part in name for column in columns]
            if not together:
                raise OptionError(f"No term has {shown(part)} in its name; the terms are {listed(terms, limit=30)}.")
            tests.append((part, self._test_of_columns(together)))
        tests += [(name, self._test_of(*self._restrictions(extra))) for name, extra in extras]
        found = [test for _, test in tests]
        for why in dict.fromkeys(test.reason for test in found if test.reason):
            _warn_of(f"There is no test of {listed(name for name, test in tests if test.reason == why)}: {why}.")
        table = pd.DataFrame(
            {
                "statistic": [test.statistic if scalar else np.full((1, 1), test.statistic) for test in found],
                "pvalue": [test.pvalue for test in found],
                "df_constraint": [int(test.df_num) for test in found],
            },
            index=[name for name, _ in tests],
        )
        if self.use_t:
            table["df_denom"] = [test.df_denom for test in found]
        return TermTests(table, "F" if self.use_t else "chi2")

    def delta(self, function: Callable[[Parameters], Any]) -> Delta:
        """Return a function of the parameters with its standard error, by the delta method.

        Parameters
        ----------
        function : callable
            Takes the parameters, by name or by position, and returns a number or a vector through torch.

        Returns
        -------
        Delta
            With `estimate`, `bse`, `statistic`, `pvalue`, `conf_int()` and `summary_frame()`.

        Raises
        ------
        EstimationError
            The function leaves torch, or it or its gradient is not finite at the estimates.

        Examples
        --------
        >>> import betahat as bh
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
        >>> round(res.delta(lambda p: -p["const"] / p["x1"]).estimate, 6)
        0.357143
        """
        view = View(self.names, self._kept, self._tensors)
        found = delta_method(function, self.fit.params, self._variances, self._df_of, view, self._container, self.cov)
        check_identified(self.fit.unidentified, found.jacobian, self._estimated)
        return found

    # tables

    @abstractmethod
    def summary(self) -> Summary:
        """Return the summary, with `as_text`, `as_html`, `as_latex` and `as_csv`.

        Returns
        -------
        statsmodels.iolib.summary.Summary
        """

    @abstractmethod
    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names.

        Returns
        -------
        pandas.DataFrame
            (1, ...).
        """

    @property
    @abstractmethod
    def goodness(self) -> tuple[str, float]:
        """What a table says of the fit, and its name there: R², a pseudo R², or the loss."""

    @property
    @abstractmethod
    def response(self) -> Response:
        """The mean of the dependent variable as a function of parameters and regressors, and the data it was fitted on.

        Raises
        ------
        EstimationError
            The model does not show a mean of regressors.
        """

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """Return a row for each coefficient, under broom's column names.

        Parameters
        ----------
        conf_level : float
            The share that the intervals cover, between 0 and 1.

        Returns
        -------
        pandas.DataFrame
            (k, 7): term, estimate, std.error, statistic, p.value, conf.low, conf.high.

        Raises
        ------
        OptionError
            A level that is not between 0 and 1.
        """
        if not isinstance(conf_level, Real) or not 0.0 < conf_level < 1.0:
            raise OptionError(
                f"conf_level is {shown(conf_level)}; pass the share that the intervals cover, such as 0.95."
            )
        table = self.coefficient_table()
        low, high = self.interval_table(1.0 - conf_level).T
        return pd.DataFrame(
            {
                "term": list(self.names),
                "estimate": table[:, 0],
                "std.error": table[:, 1],
                "statistic": table[:, 2],
                "p.value": table[:, 3],
                "conf.low": low,
                "conf.high": high,
            }
        )

    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4) coefficient, standard error, statistic and p-value, in NumPy.

        Returns
        -------
        numpy.ndarray
            (k, 4).
        """
        columns = [self.fit.params, self._errors, self._statistics, self._pvalues]
        return to_numpy(self._expand(torch.stack(columns, 1)))

    def interval_table(self, alpha: float = 0.05, method: Method | None = None) -> np.ndarray:
        """Return the intervals of `conf_int`, in NumPy.

        Parameters
        ----------
        alpha, method : float, str
            As in `conf_int`.

        Returns
        -------
        (k, 2) numpy.ndarray
        """
        return to_numpy(self._expand(self._bounds(alpha, method)))

    # pictures

    @property
    @abstractmethod
    def cases(self) -> Cases:
        """Residuals and leverage of each row, as the pictures show them."""

    def plot(self, **options: Any) -> Any:
        """Draw the coefficients with their intervals.

        Parameters
        ----------
        **options
            Those of `betahat.coefplot`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return coefplot(self, **options)

    def plot_diagnostics(self, axes: Any = None, mark: int = 3) -> Any:
        """Draw residuals, their quantiles, their scale and the leverage of each row.

        Parameters
        ----------
        axes, mark : (4,) Axes, int
            As in `betahat.plot_diagnostics`.

        Returns
        -------
        (4,) matplotlib.axes.Axes
        """
        return plot_diagnostics(self, axes, mark=mark)

    def __repr__(self) -> str:
        """Name the model, its size and its covariance."""
        return f"<{self._kind} results: {self.endog_name} by {len(self.names)} parameters, n = {self.fit.nobs}, {self.cov_type} standard errors>"

    # private

    @property
    def _kind(self) -> str:
        """The model's class."""
        return self.model.name if isinstance(self.model, UnstoredModel) else type(self.model).__name__

    @property
    def _storable(self) -> bool:
        """Whether the model is no code."""
        return isinstance(self.model, Stored | UnstoredModel)

    _learned: ClassVar[tuple[str, ...]]
    """The attributes that need the rows, and that summaries and tables ask for."""

    @abstractmethod
    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        """Return the fields other than the fit and its covariance, without the data."""

    @property
    def _container(self) -> Container:
        return self.fit.sample.container

    def _names(self) -> tuple[str, ...]:
        return self.names

    @cached_property
    def _variances(self) -> Variances:
        return Variances(held(self.fit, "root"), *(held(self.cov, name) for name in ("core", "matrix", "rounding")))

    def _variances_by(self, cov_p: Any) -> Variances:
        return self._variances if cov_p is None else Variances(self.fit.root, None, self._matrix(cov_p))

    @cached_property
    def _errors(self) -> Tensor:
        return self._variances.errors_of_coefficients

    @cached_property
    def _statistics(self) -> Tensor:
        return over(self.fit.params, self._errors)

    @cached_property
    def _pvalues(self) -> Tensor:
        own = self._own_pvalues(self._identity, torch.zeros_like(self.fit.params))
        return two_sided(self._statistics, self.cov.df) if own is None else own

    def _own_pvalues(self, matrix: Tensor, values: Tensor) -> Tensor | None:
        """(J,) p-values of single restrictions, where the covariance has tests of its own; NaN of those without a variance."""
        own = None if self.cov.resampling is None else self.cov.resampling.pvalues(matrix, values)
        return None if own is None else torch.where(torch.isnan(self._variances.errors(matrix)), torch.nan, own)

    def _own_interval(self, matrix: Tensor, alpha: float) -> Tensor | None:
        """(J, 2) intervals by inverting these tests."""
        own = None if self.cov.resampling is None else self.cov.resampling.interval(matrix, alpha)
        return (
            None if own is None else torch.where(torch.isnan(self._variances.errors(matrix))[:, None], torch.nan, own)
        )

    def _bounds(self, alpha: float, method: Method | None = None) -> Tensor:
        """(k, 2) intervals of the coefficients."""
        if method is not None:
            return self._replicated(f"method={method!r}").interval(method, alpha)
        plain = interval(self.fit.params, self._errors, alpha, self.cov.df)
        own = self._own_interval(self._identity, alpha)
        return plain if own is None else own

    @property
    def _identity(self) -> Tensor:
        return torch.eye(len(self.fit.params)).to(self.fit.params)

    def _replicated(self, what: str) -> Replicated:
        """Return the replicates of the coefficients."""
        if self.cov.draws is None:
            raise OptionError(no_replicates(what))
        found = replicated_function(self.cov, lambda params: params, self.fit.params, self._identity)
        return replace(found, errors=self._errors)

    @property
    def _df(self) -> float | None:
        """Degrees of freedom of a function of all the coefficients."""
        if isinstance(self.cov.df, Tensor):
            raise EstimationError(
                f"{self.cov_type} has degrees of freedom for single coefficients only; test those, or pass use_t=False "
                "to with_cov for the normal distribution."
            )
        return self.cov.df

    def _df_of(self, matrix: Tensor) -> Df:
        """Degrees of freedom of each restriction: a single coefficient has its own, and some covariances know any."""
        if self.cov.small_sample is not None:
            return self.cov.small_sample.t_df(matrix.to(self.fit.params))
        if not isinstance(self.cov.df, Tensor) or bool(((matrix != 0).sum(1) != 1).any()):
            return self._df
        return self.cov.df[matrix.abs().argmax(1)]

    @property
    def _df_denom(self) -> float:
        known = self.cov.df if isinstance(self.cov.df, float | int) else self.cov.df_tests
        return self.df_resid if known is None else known

    def _joint(self, matrix: Tensor, values: Tensor, use_f: bool, cov_p: Any = None) -> WaldTest:
        """Test R b = q jointly, by the degrees of freedom that the covariance knows."""
        small = self.cov.small_sample if use_f else None
        test = wald_test(self.fit.params, self._variances_by(cov_p), self._df_denom, matrix, values, use_f)
        own = self._own_pvalues(matrix, values) if len(matrix) == 1 and cov_p is None and not test.reason else None
        if own is not None:
            return replace(test, pvalue=float(own))
        return test if small is None or test.reason else approximate_hotelling(test, small.f_df(matrix))

    def _test_of(self, matrix: Tensor, values: Tensor) -> WaldTest:
        """Test restrictions jointly, NaN where the data do not identify them."""
        part = tested_part(self.fit.unidentified, matrix, values, self.fit.root)
        if part is None:
            return undefined(len(matrix), self._df_denom, self.use_t, _UNIDENTIFIED)
        return self._joint(*part, self.use_t)

    def _test_of_columns(self, columns: Sequence[int]) -> WaldTest:
        """Test that coefficients are zero, of collinear columns the combinations of them that the data identify."""
        rows = self._restrictions(identity_rows(columns, len(self.names), self.fit.params))[0]
        part = identified_part(self.fit.unidentified, rows)
        if not len(part):
            return undefined(0, self._df_denom, self.use_t, _UNIDENTIFIED)
        return self._joint(part @ rows, torch.zeros_like(part[:, 0]), self.use_t)

    @property
    def _kept(self) -> tuple[int, ...]:
        width, blocks = self.fit.given.width, max(len(self.fit.equations), 1)
        columns = self.fit.kept if self.fit.sample is not self.fit.given else tuple(range(width))
        return tuple(block * width + column for block in range(blocks) for column in columns)

    def _expand(self, values: Tensor) -> Tensor:
        """Put NaN rows where `rank="drop"` left a column out."""
        width = self.fit.width
        if len(values) == width:
            return values
        full = values.new_full((width, *values.shape[1:]), math.nan)
        full[list(self._kept)] = values
        return full

    def _expand_square(self, values: Tensor) -> Tensor:
        return self._expand(self._expand(values).mT).mT

    @abstractmethod
    def _parameters(self, values: Tensor) -> Any:
        """Hand out (k,) numbers, one for each parameter."""

    @abstractmethod
    def _square(self, values: Tensor) -> Any:
        """Hand out (k, k) numbers."""

    @abstractmethod
    def _intervals(self, values: Tensor) -> Any:
        """Hand out (k, 2) bounds."""

    @property
    @abstractmethod
    def _tensors(self) -> Mapping[str, tuple[int, torch.Size]]:
        """Where each parameter tensor of a torch model begins, and its shape."""

    def _positions(self, column: Any) -> Tensor:
        single = (
            isinstance(column, str)
            or not isinstance(column, Iterable)
            or (isinstance(column, Tensor) and column.ndim == 0)
        )
        wanted = [column] if single else list(column)
        found = [self.names.index(name) if is_one_of(name, self.names) else name for name in wanted]
        bad = [name for name in found if not isinstance(name, int | np.integer) or not 0 <= name < len(self.names)]
        if bad:
            raise OptionError(f"There is no column {listed(bad)}; the parameters are {listed(self.names, limit=30)}.")
        return torch.as_tensor(found[0] if single else found, dtype=torch.int64)

    def _matrix(self, cov_p: Any, scale: float | None = None) -> Tensor:
        if cov_p is None:
            return self.cov.matrix if scale is None else scale * self.fit.bread
        given = to_tensor(cov_p, self.fit.params)
        if given.shape != (len(self.names),) * 2:
            raise OptionError(
                f"cov_p has shape {tuple(given.shape)}; pass one row and one column for each of the {len(self.names)} parameters."
            )
        given = given[list(self._kept)][:, list(self._kept)]
        flaw = matrix_flaw(given)
        if flaw is not None:
            raise OptionError(f"cov_p {flaw}; pass a symmetric matrix of numbers without negative variances.")
        return given

    def _restrictions(self, restrictions: Any) -> tuple[Tensor, Tensor]:
        matrix, values = formulas.read_restrictions(restrictions, self.names, self.fit.params, self._other_names)
        touched = [name for name in self.aliased if bool(matrix[:, self.names.index(name)].any())]
        if touched:
            raise EstimationError(
                f"The restriction is on {listed(touched)}, left out as collinear; test the columns that are estimated."
            )
        return matrix[:, list(self._kept)], values

    @property
    def _other_names(self) -> tuple[str, ...]:
        """(k,) further names of the parameters, by which restrictions may call them; none for most models."""
        return ()

    @property
    def _terms(self) -> dict[str, list[int]]:
        given = self.fit.given
        terms = given.schema.terms
        if terms is None:
            terms = {name: [i] for i, name in enumerate(given.names)}
        starts = range(0, len(self.names), given.width)  # of equations, where there are several: a term is in each
        return {name: [start + column for start in starts for column in columns] for name, columns in terms.items()}

    def _still_there(self, columns: Sequence[int]) -> list[int]:
        return [column for column in columns if column in self._kept]

    @property
    def _estimated(self) -> list[str]:
        """(k,) the names of the coefficients that were not left out."""
        names = self.names
        return [names[i] for i in self._kept]


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class VectorResults(Results, ABC):
    """Results whose parameters are one vector."""

    def _parameters(self, values: Tensor) -> Any:
        return vector_of(self, values)

    def _square(self, values: Tensor) -> Any:
        return square_of(self, values)

    def _intervals(self, values: Tensor) -> Any:
        return intervals_of(self, values)


def vector_of(results: Results, values: Tensor) -> Any:
    """Hand out (k,) numbers as one vector."""
    return results._container.present(results._expand(values), results._names)


def square_of(results: Results, values: Tensor) -> Any:
    """Hand out (k, k) numbers under the parameters' names."""
    return results._container.present(results._expand_square(values), results._names)


def intervals_of(results: Results, values: Tensor) -> Any:
    """Hand out (k, 2) bounds, a row for each parameter."""
    return results._container.present(results._expand(values), results._names, [0, 1])


def check_beside(values: Any, option: str, exog: Any, rows: Container) -> None:
    """Refuse a series beside new regressors, or those of the fit, whose index is another than theirs; arrays have none."""
    if not isinstance(exog, np.ndarray | Tensor | list | tuple) and isinstance(values, pd.Series | pd.DataFrame):
        check_index(option, values.index, rows.row_labels)


def read_row_labels(given: Any) -> list[Any]:
    """Read the labels of predictions."""
    labels = _listed_in(given)
    if labels is None or isinstance(given, pd.DataFrame) or not all(isinstance(label, Hashable) for label in labels):
        raise OptionError(f"row_labels is {shown(given)}; pass a list with a label for each prediction.")
    return labels


def _listed_in(given: Any) -> list[Any] | None:
    """Return what is in a list of the user's, or None where it is no list; nothing is an empty one."""
    if given is None:
        return []
    try:
        return None if isinstance(given, str | bytes | Mapping) else list(given)
    except TypeError:
        return None


def new_regressors(results: Results, exog: Any, transform: bool = True) -> tuple[Tensor, Container, Tensor | None]:
    """Read regressors of new data.

    Returns
    -------
    regressors : Tensor
        (m, k), without the columns that the fit left out.
    container : Container
        That of their rows.
    known : Tensor or None
        (m,) whether the data of the fit identify the prediction, where they do not identify every one.
    """
    check_flag("transform", transform)
    regressors, container = results.model.new_regressors(exog, transform)
    fit, width, known = results.fit, results.fit.given.width, None
    check_width(regressors, width)
    regressors = regressors.to(fit.params.device)
    if fit.idle is not None:
        known = identified(fit.idle, regressors)
        warn_unidentified(known, container.row_labels)
    if fit.sample.width < width:
        regressors = regressors[:, list(fit.kept)]
    return regressors, container, known


_UNIDENTIFIED = "columns are collinear, so that the data do not identify it"


def _warn_of(sentence: str) -> None:
    warnings.warn(sentence, ClusterWarning, stacklevel=user_level())
