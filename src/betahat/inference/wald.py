"""Tests of linear restrictions R b = q: t, F and chi-squared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import Container, to_numpy
from betahat.data.handed_out import hands_out_copies
from betahat.errors import EstimationError, text_of, texts_of
from betahat.inference.coefficients import interval
from betahat.inference.distribution import Df, check_alpha, chi2_tail, f_tail, two_sided
from betahat.inference.identified import rank_of
from betahat.inference.variances import Variances, over
from betahat.lazy import lazily
from betahat.solvers.lengths import lengths, sizes_of

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.stats import contrast

    from betahat.inference import printed
else:
    contrast = lazily("statsmodels.stats.contrast")
    printed = lazily("betahat.inference.printed")
    pd = lazily("pandas")

# Restrictions that agree to 1e-12 of their standard errors are one restriction.
_SINGULAR = 1e-12
# Repeated restrictions agree to rounding, in units of their standard errors; 1e-6 of one is a contradiction.
_CONTRADICTION = 1e-6


@hands_out_copies
@dataclass(frozen=True, eq=False)
class TTest:
    """t or z tests of single restrictions, with statsmodels' names.

    Attributes
    ----------
    effects, errors, statistics, pvalues : Tensor
        (J,) R b, its standard error, (R b - q) / error, and the two-sided p-value.
    df : float, Tensor or None
        Degrees of freedom, one or (J,); None is the normal distribution.
    container : Container
        How arrays are handed out.
    inverted : callable or None
        alpha -> (J, 2) intervals, if the p-values are those of tests other than t and z.
    """

    effects: Tensor
    errors: Tensor
    statistics: Tensor
    pvalues: Tensor
    df: Df
    container: Container
    inverted: Callable[[float], Tensor] | None = None

    @property
    def distribution(self) -> str:
        """The reference distribution: "t" or "norm"."""
        return "norm" if self.df is None else "t"

    @property
    def df_denom(self) -> Any:
        """The degrees of freedom of t."""
        return self.container.plain(self.df) if isinstance(self.df, Tensor) else self.df

    @property
    def effect(self) -> Any:
        """(J,) R b."""
        return self.container.plain(self.effects)

    @property
    def sd(self) -> Any:
        """(J,) the standard error of R b; (1, 1) for one restriction, as in statsmodels."""
        return self.container.plain(_as_statsmodels(self.errors))

    @property
    def tvalue(self) -> Any:
        """(J,) the t or z statistics; (1, 1) for one restriction, as in statsmodels."""
        return self.container.plain(_as_statsmodels(self.statistics))

    @property
    def statistic(self) -> Any:
        """The same as `tvalue`."""
        return self.tvalue

    @property
    def pvalue(self) -> Any:
        """(J,) two-sided p-values; without dimensions for one restriction, as in statsmodels."""
        return self.container.plain(self.pvalues.squeeze())

    def conf_int(self, alpha: float = 0.05) -> Any:
        """Return (J, 2) intervals of R b, each of coverage 1 - alpha.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        array
            (J, 2).

        Raises
        ------
        OptionError
            `alpha` is not between 0 and 1.
        """
        return self.container.plain(self._bounds(alpha))

    def _bounds(self, alpha: float) -> Tensor:
        return interval(self.effects, self.errors, alpha, self.df) if self.inverted is None else self.inverted(alpha)

    def summary(self, xname: Sequence[str] | None = None, alpha: float = 0.05, title: str | None = None) -> Any:
        """Return statsmodels' table of constraints; it has `as_text`, `as_html` and `as_latex_tabular`.

        Parameters
        ----------
        xname : sequence of str, optional
            (J,) names of the restrictions.
        alpha : float
            Intervals have coverage 1 - alpha.
        title : str, optional
            The heading.

        Returns
        -------
        statsmodels.iolib.summary.Summary
        """
        check_alpha(alpha)
        names = None if xname is None else texts_of("xname", xname, len(self.effects), "restriction")
        return printed.printed(self._rendered().summary(xname=names, alpha=alpha, title=text_of("title", title)))

    def summary_frame(self, xname: Sequence[str] | None = None, alpha: float = 0.05) -> pd.DataFrame:
        """Return the table of constraints as a DataFrame, one row for each restriction.

        Parameters
        ----------
        xname, alpha
            As in `summary`.

        Returns
        -------
        pandas.DataFrame
            (J, 6).
        """
        check_alpha(alpha)
        names = None if xname is None else texts_of("xname", xname, len(self.effects), "restriction")
        frame: pd.DataFrame = self._rendered().summary_frame(xname=names, alpha=alpha)
        return frame

    def __str__(self) -> str:
        """Return the table of constraints as text."""
        return str(self.summary())

    __repr__ = __str__

    def _rendered(self) -> contrast.ContrastResults:
        effect, error, statistic = map(to_numpy, (self.effects, self.errors, self.statistics))
        if self.df is None:
            table = contrast.ContrastResults(effect=effect, statistic=statistic, sd=error, distribution="norm")
        else:
            df = to_numpy(self.df) if isinstance(self.df, Tensor) else self.df
            table = contrast.ContrastResults(effect=effect, t=statistic, sd=error, df_denom=df)
        if self.inverted is not None:
            table.pvalue = to_numpy(self.pvalues)
            table.conf_int = lambda alpha=0.05: to_numpy(self._bounds(alpha))
        return table


@dataclass(frozen=True)
class WaldTest:
    """A joint test of restrictions, with statsmodels' names.

    Attributes
    ----------
    statistic : float, or (1, 1) array
        The F or chi-squared statistic.
    pvalue : float
        Its upper tail.
    df_num : float
        The number of independent restrictions.
    df_denom : float
        Degrees of freedom of the denominator; for chi-squared, the number of restrictions, as in statsmodels.
    distribution : {"F", "chi2"}
        The reference distribution.
    reason : str
        Why the statistic is NaN, if it is.
    """

    statistic: Any
    pvalue: float
    df_num: float
    df_denom: float
    distribution: str
    reason: str = ""

    @property
    def fvalue(self) -> Any:
        """The statistic."""
        return self.statistic

    def summary(self) -> str:
        """Return statsmodels' one-line summary.

        Returns
        -------
        str
        """
        if self.distribution == "F":
            return f"<F test: F={self.statistic!r}, p={self.pvalue}, df_denom={self.df_denom:.3g}, df_num={self.df_num:.3g}>"
        return f"<Wald test (chi2): statistic={self.statistic}, p-value={self.pvalue}, df_denom={self.df_denom:.3g}>"

    __str__ = summary
    __repr__ = summary


@hands_out_copies
@dataclass(frozen=True, eq=False)
class TermTests:
    """Wald tests of the terms of a model.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each term: statistic, pvalue, df_constraint and, for F, df_denom.
    distribution : {"F", "chi2"}
        The reference distribution.
    """

    table: pd.DataFrame
    distribution: str

    @property
    def statistic(self) -> np.ndarray:
        """(T,) the F or chi-squared statistics."""
        return self.table["statistic"].to_numpy(copy=True)

    @property
    def pvalues(self) -> np.ndarray:
        """(T,) their upper tails."""
        return self.table["pvalue"].to_numpy(copy=True)

    @property
    def df_constraints(self) -> np.ndarray:
        """(T,) the number of independent restrictions of each term."""
        return self.table["df_constraint"].to_numpy(copy=True)

    @property
    def df_denom(self) -> np.ndarray:
        """(T,) denominator degrees of freedom of F; infinite for chi-squared."""
        if "df_denom" not in self.table:
            return np.full(len(self.table), np.inf)
        return self.table["df_denom"].to_numpy(copy=True)

    @property
    def col_names(self) -> list[str]:
        """The column names of `summary_frame`."""
        return list(self.summary_frame().columns)

    def summary_frame(self) -> pd.DataFrame:
        """Return the table under the column names that statsmodels prints.

        Returns
        -------
        pandas.DataFrame
            A row for each term.
        """
        named = {"statistic": self.distribution, "pvalue": f"P>{self.distribution}"}
        spaced = {"df_constraint": "df constraint", "df_denom": "df denom"}
        return self.table.rename(columns=named | spaced)

    def __str__(self) -> str:
        """Return the table as text."""
        return self.summary_frame().to_string()

    __repr__ = __str__


def t_test(params: Tensor, errors: Tensor, df: Df, matrix: Tensor, values: Tensor, container: Container) -> TTest:
    """Test each restriction by itself: (R b - q)_j / sqrt((R V R')_jj), with (J, k) R, (J,) q and (J,) standard errors."""
    effects = matrix @ params
    statistics = over(effects - values, errors)
    return TTest(effects, errors, statistics, two_sided(statistics, df), df, container)


def wald_test(
    params: Tensor, variances: Variances, df_resid: float, matrix: Tensor, values: Tensor, use_f: bool
) -> WaldTest:
    """Test (J, k) and (J,) restrictions jointly: W = (R b - q)' (R V R')^-1 (R b - q), chi-squared, or F = W / J with df_resid.

    Restrictions that repeat others do not count in J. If R V R' has a lower rank than the restrictions, there is no statistic.
    """
    sizes = sizes_of(matrix)
    matrix, values = matrix / sizes[:, None], values / sizes
    count = rank_of(matrix, variances.root)
    half = variances.half(matrix)
    if half is None:
        return undefined(
            count,
            df_resid,
            use_f,
            "their covariance is not positive semi-definite, so no joint test of them is defined",
        )
    statistic, rank = quadratic(matrix @ params - values, half, variances.noise(matrix), count)
    if rank < count:
        why = (
            f"their covariance only has rank {rank}, so {'no' if count == 1 else 'no joint'} test of them is defined; G clusters allow "
            "G - 1 restrictions, and none on what a single cluster determines"
        )
        return undefined(count, df_resid, use_f, why)
    if use_f:
        value = statistic / rank if rank else float("nan")
        return WaldTest(value, f_tail(value, rank, df_resid), float(rank), df_resid, "F")
    return WaldTest(statistic, chi2_tail(statistic, rank), float(rank), float(rank), "chi2")


def undefined(count: int, df_resid: float, use_f: bool, why: str) -> WaldTest:
    """Return a test of `count` restrictions without a statistic, and why."""
    nothing, kind = float("nan"), "F" if use_f else "chi2"
    return WaldTest(nothing, nothing, float(count), df_resid if use_f else float(count), kind, why)


def approximate_hotelling(test: WaldTest, eta: float) -> WaldTest:
    """Turn F = W / J into the approximate Hotelling test: (eta - J + 1) / eta times F, with F(J, eta - J + 1), eta the df of the variance.

    Pustejovsky and Tipton (2018), JBES 36(4).
    """
    left = eta - test.df_num + 1.0
    if not left > 0:
        return WaldTest(float("nan"), float("nan"), test.df_num, left, "F")
    value = left / eta * test.statistic
    return WaldTest(value, f_tail(value, test.df_num, left), test.df_num, left, "F")


def quadratic(gap: Tensor, factor: Tensor, noise: Tensor, count: int) -> tuple[float, int]:
    """Return gap' (F F')^- gap and the rank of F, (J, r), whose rows are first scaled to unit length; `noise` is (J, J) the rounding error in F F'.

    The form does not depend on the choice of the inverse if the gap lies in the range of F. If it does not, although F has the rank `count` of
    the restrictions, no parameters satisfy all of them: an error. Singular values of F lose half the digits that eigenvalues of F F' do.
    """
    scale = lengths(factor)
    scale = torch.where(scale > noise.diagonal().sqrt(), scale, torch.inf)
    left, values, _ = torch.linalg.svd(factor / scale[:, None], full_matrices=False)
    floor = ((left.mT @ (noise / scale / scale[:, None])) * left.mT).sum(1).sqrt()
    nonzero = (values > _SINGULAR * values[:1]) & (values > floor)
    rank = int(nonzero.sum())
    scaled, left = gap / scale, left[:, nonzero]
    inside = left.mT @ scaled
    if rank < count:
        return float("nan"), rank
    outside = torch.linalg.vector_norm(scaled - left @ inside)
    unmoved = gap[torch.isinf(scale)]
    if bool(outside > _CONTRADICTION * (1.0 + torch.linalg.vector_norm(scaled))) or bool((unmoved != 0).any()):
        raise EstimationError(
            "The restrictions contradict each other, or one that involves no parameter is false, so no joint test of them is defined; "
            "test fewer of them."
        )
    parts = inside / values[nonzero]
    return float(parts @ parts), rank


def _as_statsmodels(values: Tensor) -> Tensor:
    return values.reshape(1, 1) if len(values) == 1 else values


def identity_rows(columns: Sequence[int], width: int, like: Tensor) -> Tensor:
    """Return (len(columns), width): the restrictions that these coefficients are zero."""
    rows = np.eye(width)[list(columns)]
    return torch.as_tensor(rows, dtype=torch.float64, device=like.device).reshape(-1, width)
