"""`Restricted`: covariances and tests of linear functions of the coefficients, under statsmodels' names."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from betahat.data.modes import in_ordinary_mode
from betahat.inference.wald import TermTests, TTest, WaldTest
from betahat.results.linear_functions import covariance, joint_test, single_tests, term_tests
from betahat.results.shown import Shown


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class Restricted(Shown, ABC):
    """A fit under one covariance, and what restrictions of its coefficients are worth."""

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
            Arguments that do not go together, or have the wrong shape.
        """
        return covariance(self._pair, self._layout, r_matrix, column, scale, cov_p, other)

    @property
    def normalized_cov_params(self) -> Any:
        """(k, k) (X'WX)^-1, the bread."""
        return self._layout.square(self.fit.bread)

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
        return single_tests(self._pair, self._layout, r_matrix, cov_p, use_t)

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
        return joint_test(self._pair, self._layout, r_matrix, cov_p, use_f, scalar=scalar)

    def wald_test_terms(
        self,
        skip_single: bool = False,
        extra_constraints: Sequence[tuple[str, Any]] | None = None,
        combine_terms: Sequence[str] | None = None,
        scalar: bool = True,
    ) -> TermTests:
        """Test each term of the formula, or each column if there is no formula; of collinear columns, the part that the data identify.

        Parameters
        ----------
        skip_single : bool
            Leave out terms of one column.
        extra_constraints : sequence of (name, restriction), optional
            Further tests.
        combine_terms : sequence of str, optional
            Parts of names of terms; the terms that contain a part are also tested together.
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
        return term_tests(self._pair, self._layout, skip_single, extra_constraints, combine_terms, scalar)
