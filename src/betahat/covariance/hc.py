"""Heteroskedasticity-consistent covariance, HC0 to HC5."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import Rows, slack
from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.sandwich import penalised, sandwich
from betahat.covariance.small_samples import FULL, factor, mean_leverage
from betahat.errors import EstimationError, counted
from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit
from betahat.solvers.least_squares import RowSum


@dataclass(frozen=True)
class Meat:
    """The sum of s s' / (1 - h)^power, in the coordinates of `Rows.meat`."""

    power: int

    def __call__(self, rows: Rows) -> Tensor:
        """Sum over a block."""
        return rows.meat() if self.power == 0 else rows.adjusted_meat(self._factor)

    def _factor(self, leverage: Tensor) -> Tensor:
        slack = 1.0 - leverage
        return slack.rsqrt() if self.power == 1 else slack.reciprocal()


@dataclass(frozen=True)
class Discounted:
    """The sum of s s' / (1 - h)^delta, delta a sum of min(h / mean, cap) times a share.

    Attributes
    ----------
    mean : float
        The mean leverage, k / n; of m outputs k / (n m).
    caps : tuple of float
        One for each summand.
    share : float
        1, or one half for HC5.
    """

    mean: float
    caps: tuple[float, ...]
    share: float

    def __call__(self, rows: Rows) -> Tensor:
        """Sum over a block."""
        return rows.adjusted_meat(self._factor)

    def _factor(self, leverage: Tensor) -> Tensor:
        delta = sum((leverage / self.mean).clamp_max(cap) for cap in self.caps)
        return (1.0 - leverage) ** (-0.5 * self.share * delta)


def _full_leverages(rows: Rows) -> Tensor:
    """Return () how many rows alone fix a coefficient."""
    return torch.isnan(slack(rows.largest_leverage)).sum()


@dataclass(frozen=True)
class HC0(Estimator):
    """White's covariance A^-1 (sum s s') A^-1, with normal tests.

    s is a row's score: x times its residual for least squares.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.HC0()).bse.round(4)
    array([0.3501, 0.1393])

    References
    ----------
    White (1980), Econometrica 48(4). R: ``sandwich::vcovHC(type = "HC0")``.
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return A^-1 (sum s s') A^-1."""
        return _covariance(fit, fit.sum_rows(Meat(0)), "HC0")

    @property
    def row_sums(self) -> tuple[RowSum, ...]:
        """The meat."""
        return (Meat(0),)


@dataclass(frozen=True)
class HC1(Estimator):
    """HC0 times n / (n - k): Stata's ``vce(robust)`` for `regress`.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.HC1()).bse.round(4)
    array([0.452 , 0.1798])

    References
    ----------
    MacKinnon and White (1985), J. Econometrics 29(3).
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return n / (n - k) times HC0."""
        return _covariance(fit, fit.sum_rows(Meat(0)) * factor(fit.counts, FULL), "HC1")

    @property
    def row_sums(self) -> tuple[RowSum, ...]:
        """The meat of HC0."""
        return (Meat(0),)


@dataclass(frozen=True)
class HC2(Estimator):
    """HC0 with each row's s s' divided by 1 - h, h its leverage: unbiased under homoskedasticity.

    Raises
    ------
    EstimationError
        A row has leverage 1: it alone fixes a coefficient, and its residual says nothing.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.HC2()).bse.round(4)
    array([0.5116, 0.2118])

    References
    ----------
    MacKinnon and White (1985), J. Econometrics 29(3).
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return A^-1 (sum s s' / (1 - h)) A^-1."""
        return _covariance(fit, _leveraged(fit, 1), "HC2", leveraged=True)

    @property
    def row_sums(self) -> tuple[RowSum, ...]:
        """The meat, and the check of the leverages."""
        return (Meat(1), _full_leverages)


@dataclass(frozen=True)
class HC3(Estimator):
    """HC0 with each row's s s' divided by (1 - h)^2, h its leverage: close to the jackknife.

    Raises
    ------
    EstimationError
        A row has leverage 1: it alone fixes a coefficient, and its residual says nothing.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.HC3()).bse.round(4)
    array([0.7704, 0.327 ])

    References
    ----------
    MacKinnon and White (1985), J. Econometrics 29(3). Long and Ervin (2000), Am. Stat. 54(3), advise it
    for n below 250.
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return A^-1 (sum s s' / (1 - h)^2) A^-1."""
        return _covariance(fit, _leveraged(fit, 2), "HC3", leveraged=True)

    @property
    def row_sums(self) -> tuple[RowSum, ...]:
        """The meat, and the check of the leverages."""
        return (Meat(2), _full_leverages)


@dataclass(frozen=True)
class HC4(Estimator):
    """HC0 with s s' divided by (1 - h)^d, d = min(4, h / mean h): rows of high leverage count for more.

    Raises
    ------
    EstimationError
        A row has leverage 1: it alone fixes a coefficient, and its residual says nothing.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.HC4()).bse.round(4)
    array([0.6145, 0.2602])

    References
    ----------
    Cribari-Neto (2004), Comp. Stat. Data Anal. 45(2). R: ``sandwich::vcovHC(type = "HC4")``.
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return A^-1 (sum s s' / (1 - h)^d) A^-1."""
        _check_leverage(fit, "HC4")
        return _covariance(fit, fit.sum_rows(Discounted(mean_leverage(fit.counts), (4.0,), 1.0)), "HC4", leveraged=True)


@dataclass(frozen=True)
class HC4m(Estimator):
    """HC4 with d = min(1, h / mean h) + min(1.5, h / mean h).

    Raises
    ------
    EstimationError
        As HC4.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.HC4m()).bse.round(4)
    array([0.9396, 0.4049])

    References
    ----------
    Cribari-Neto and da Silva (2011), AStA 95(2). R: ``sandwich::vcovHC(type = "HC4m")``.
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return A^-1 (sum s s' / (1 - h)^d) A^-1."""
        _check_leverage(fit, "HC4m")
        return _covariance(
            fit, fit.sum_rows(Discounted(mean_leverage(fit.counts), (1.0, 1.5), 1.0)), "HC4m", leveraged=True
        )


@dataclass(frozen=True)
class HC5(Estimator):
    """HC0 with s s' divided by (1 - h)^(d / 2), d = min(h / mean h, max(4, 0.7 max h / mean h)).

    Raises
    ------
    EstimationError
        As HC4.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.HC5()).bse.round(4)
    array([0.4574, 0.1889])

    References
    ----------
    Cribari-Neto, Souza and Vasconcellos (2007), Comm. Stat. Theory Methods 36(10). R: ``sandwich::vcovHC(type = "HC5")``.
    """

    def __call__(self, fit: Fit) -> Covariance:
        """Return A^-1 (sum s s' / (1 - h)^(d / 2)) A^-1."""
        _check_leverage(fit, "HC5")
        mean = mean_leverage(fit.counts)
        cap = max(4.0, 0.7 * _highest_leverage(fit) / mean)
        return _covariance(fit, fit.sum_rows(Discounted(mean, (cap,), 0.5)), "HC5", leveraged=True)


@of_fit
def _highest_leverage(fit: Fit) -> float:
    return float(fit.map_rows(lambda rows: rows.largest_leverage).max())


def _leveraged(fit: Fit, power: int) -> Tensor:
    _check_leverage(fit, f"HC{power + 1}")
    return fit.sum_rows(Meat(power))


def _check_leverage(fit: Fit, label: str) -> None:
    if bool(fit.sum_rows(_full_leverages)):
        leverage = fit.map_rows(lambda rows: rows.largest_leverage)
        rows = torch.nonzero(torch.isnan(slack(leverage))).flatten().tolist()
        if fit.instruments is not None:
            raise EstimationError(
                f"{label} divides by 1 - leverage, and with these instruments the leverage is 1 or more in {counted(len(rows), 'row')} (labelled "
                f"{fit.sample.row_names(rows)}), as where they move the endogenous regressors in few rows; use HC0 or HC1, or stronger instruments."
            )
        if fit.objective.nonlinear:
            raise EstimationError(
                f"{label} divides by 1 - leverage, and the one-step leverage is 1 or more in {counted(len(rows), 'row')} (labelled "
                f"{fit.sample.row_names(rows)}), where that approximation is meaningless; use HC0 or HC1."
            )
        raise EstimationError(
            f"{label} divides by 1 - leverage, which is 0 in {counted(len(rows), 'row')} that alone fix a coefficient "
            f"(labelled {fit.sample.row_names(rows)}); leave such rows out with their dummies, or use HC0 or HC1."
        )


def _covariance(fit: Fit, meat: Tensor, label: str, *, leveraged: bool = False) -> Covariance:
    one_step = leveraged and fit.objective.nonlinear
    leverage = ", by the one-step leverage of the Gauss-Newton approximation" if one_step else ""
    return sandwich(
        fit, meat, label, f"Standard Errors are heteroscedasticity robust ({label}){leverage}{penalised(fit)}"
    )
