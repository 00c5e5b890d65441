"""`HypothesisTest`: a statistic, its reference distribution and the hypothesis that it tests."""

from __future__ import annotations

from dataclasses import dataclass

from betahat.inference.distribution import chi2_tail, f_tail


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
        The degrees of freedom, of F those of the numerator.
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


def wald_of(name: str, null: str, quadratic: float, df: float, df_denom: float | None) -> HypothesisTest:
    """Return the test of a quadratic form W in `df` estimates: chi-squared, or F = W / df."""
    if df_denom is None:
        return chi2_test(name, null, quadratic, df)
    return f_test(name, null, quadratic / df, df, df_denom)
