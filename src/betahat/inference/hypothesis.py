"""`HypothesisTest`: a statistic, its reference distribution and the hypothesis that it tests."""

from __future__ import annotations

from dataclasses import dataclass

from betahat.errors import EstimationError
from betahat.inference.distribution import chi2_quantile, chi2_tail, f_quantile, f_tail


@dataclass(frozen=True)
class HypothesisTest:
    """A test of one hypothesis by a chi-squared or an F statistic.

    Attributes
    ----------
    name : str
        What the test is called.
    null : str
        The hypothesis, in a sentence.
    statistic : float
        The statistic.
    pvalue : float
        Its upper tail.
    df : float
        The degrees of freedom; for F, those of the numerator.
    df_denom : float or None
        Those of the denominator of F; None is chi-squared.
    """

    name: str
    null: str
    statistic: float
    pvalue: float
    df: float
    df_denom: float | None = None

    @property
    def distribution(self) -> str:
        """The reference distribution: "F" or "chi2"."""
        return "chi2" if self.df_denom is None else "F"

    def __float__(self) -> float:
        """Return the statistic."""
        return self.statistic

    def __str__(self) -> str:
        """Return the test in one line, and the hypothesis in another."""
        among = f"{self.df:g}" if self.df_denom is None else f"{self.df:g}, {self.df_denom:g}"
        return (
            f"{self.name}: {self.distribution}({among}) = {self.statistic:.4f}, p = {self.pvalue:.4f}\nH0: {self.null}"
        )

    __repr__ = __str__


def chi2_test(name: str, null: str, statistic: float, df: float) -> HypothesisTest:
    """Return a test by a chi-squared statistic."""
    return HypothesisTest(name, null, statistic, chi2_tail(statistic, df), float(df))


def f_test(name: str, null: str, statistic: float, df: float, df_denom: float) -> HypothesisTest:
    """Return a test by an F statistic."""
    return HypothesisTest(name, null, statistic, f_tail(statistic, df, df_denom), float(df), float(df_denom))


@dataclass(frozen=True)
class Reference:
    """The distribution of a Wald statistic W of `count` estimates: W / (count share) is F(count, df_denom), or W is chi-squared.

    Attributes
    ----------
    count : float
        How many estimates are tested.
    df_denom : float
        The degrees of freedom of the denominator of F.
    share : float
        1, or eta / (eta - count + 1) of the approximate Hotelling test.
    """

    count: float
    df_denom: float
    share: float = 1.0

    def test(self, name: str, null: str, wald: float, *, use_f: bool) -> HypothesisTest:
        """Return the test by F or by chi-squared."""
        if use_f:
            return f_test(name, null, wald / (self.count * self.share), self.count, self.df_denom)
        return chi2_test(name, null, wald, self.count)

    def critical(self, alpha: float, *, use_f: bool) -> float:
        """Return what W exceeds with probability alpha."""
        if use_f:
            return self.count * self.share * f_quantile(alpha, self.count, self.df_denom)
        return chi2_quantile(alpha, self.count)


def adjusted(count: float, eta: float, label: str) -> Reference:
    """Return the approximate Hotelling test of a variance with eta degrees of freedom, as `approximate_hotelling` has it."""
    left = eta - count + 1.0
    if not left > 0.0:
        raise EstimationError(
            f"{label} has {eta:.2f} degrees of freedom for a joint test of {count:g} coefficients, which takes more than {count - 1:g}; use fewer instruments, or "
            "another covariance, such as bh.Cluster(kind='CR1S')."
        )
    return Reference(count, left, eta / left)
