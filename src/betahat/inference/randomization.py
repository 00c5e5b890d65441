"""`RandomizationTest`: a statistic, and what it would have been under other assignments of the treatment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from betahat.data.handed_out import hands_out_copies
from betahat.inference.distribution import check_alpha
from betahat.inference.multiple import TIE
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import special
else:
    special = lazily("scipy.special")

Alternative = Literal["two-sided", "greater", "less"]
Statistic = Literal["t", "coef"]


@hands_out_copies
@dataclass(frozen=True, eq=False, repr=False)
class RandomizationTest:
    """A test of the hypothesis that a treatment has no effect on any unit, by other assignments of it, as `ritest` returns it.

    Attributes
    ----------
    variable : str
        What is assigned.
    coefficient : str
        The coefficient whose statistic is used.
    kind : {"t", "coef"}
        The statistic: t, or the coefficient itself.
    statistic : float
        Its value in the data.
    draws : numpy.ndarray
        (R,) its values under other assignments; NaN where there is no estimate.
    exhaustive : bool
        Whether these are all assignments there are, the actual one included, so that the p-value is exact.
    alternative : {"two-sided", "greater", "less"}
        Which values are as extreme as the actual one: those of at least its size, at least it, or at most it.
    units : int
        How many units were assigned: rows or clusters.
    strata : int
        Within how many strata they were.
    seed : int or None
        The draws are a function of it; None if all assignments are taken.
    """

    variable: str
    coefficient: str
    kind: Statistic
    statistic: float
    draws: np.ndarray
    exhaustive: bool
    alternative: Alternative
    units: int
    strata: int
    seed: int | None

    @property
    def reps(self) -> int:
        """The number of assignments that have an estimate."""
        return int(np.sum(~np.isnan(self.draws)))

    @property
    def failed(self) -> int:
        """The number of assignments without an estimate, which are left out."""
        return len(self.draws) - self.reps

    @property
    def count(self) -> int:
        """How many of the assignments are as extreme as the actual one."""
        bar = TIE * abs(self.statistic)
        if self.alternative == "greater":
            return int(np.sum(self.draws >= self.statistic - bar))
        if self.alternative == "less":
            return int(np.sum(self.draws <= self.statistic + bar))
        return int(np.sum(np.abs(self.draws) >= abs(self.statistic) - bar))

    @property
    def pvalue(self) -> float:
        """The share of assignments that are as extreme; where they are drawn, (count + 1) / (reps + 1), since the actual one is one of them."""
        return self.count / self.reps if self.exhaustive else (self.count + 1.0) / (self.reps + 1.0)

    @property
    def std_error(self) -> float:
        """The Monte Carlo standard error of the p-value, sqrt(p (1 - p) / reps); 0 if all assignments are taken."""
        return 0.0 if self.exhaustive else math.sqrt(self.pvalue * (1.0 - self.pvalue) / self.reps)

    def conf_int(self, alpha: float = 0.05) -> np.ndarray:
        """Return the ends of Clopper and Pearson's interval of the p-value that all assignments would give.

        Parameters
        ----------
        alpha : float
            The interval has coverage 1 - alpha at least.

        Returns
        -------
        numpy.ndarray
            (2,); where the p-value is exact, both are the p-value.

        Raises
        ------
        OptionError
            `alpha` is not between 0 and 1.
        """
        check_alpha(alpha)
        if self.exhaustive:
            return np.full(2, self.pvalue)
        count, reps = self.count, self.reps
        low = special.betaincinv(count, reps - count + 1, alpha / 2.0) if count else 0.0
        high = special.betaincinv(count + 1, reps - count, 1.0 - alpha / 2.0) if count < reps else 1.0
        return np.array([low, high])

    def __float__(self) -> float:
        """Return the p-value."""
        return self.pvalue

    def __str__(self) -> str:
        """Return the test in four lines."""
        name = "t of " if self.kind == "t" else ""
        among = f"all {self.reps}" if self.exhaustive else f"{self.reps} random"
        units = f"{self.units} units" + (f" in {self.strata} strata" if self.strata > 1 else "")
        low, high = self.conf_int()
        error = f"Monte Carlo error {self.std_error:.4f}, 95% interval [{low:.4f}, {high:.4f}]"
        return (
            f"Randomization inference: {name}{self.coefficient} = {self.statistic:.4f}, {units}\n"
            f"p = {self.pvalue:.4f}, {self.alternative}: {self.count} of {among} assignments are as extreme\n"
            f"{'The p-value is exact' if self.exhaustive else error}\n"
            f"H0: {self.variable} has no effect on any unit"
        )

    __repr__ = __str__
