"""From a meat to a covariance: bread, meat, bread, in one coordinate system."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.data.container import to_tensor
from betahat.errors import EstimationError, described
from betahat.fits.fit import Fit
from betahat.solvers.least_squares import RowSum


def sandwich(
    fit: Fit, meat: Tensor, label: str, note: str, df: float | None = None, *, robust: bool = True
) -> Covariance:
    """Return the covariance A^-1 B A^-1 of a meat B.

    Parameters
    ----------
    fit : Fit
        Its bread is A^-1 = Z Z'.
    meat : Tensor
        B, a sum of `Rows.meat`: ``fit.sum_rows(lambda rows: rows.meat(factor))``.
    label, note, df, robust
        As in `Covariance`.

    Returns
    -------
    Covariance

    Raises
    ------
    EstimationError
        The meat has another shape than the bread.

    References
    ----------
    Zeileis (2006), Object-oriented computation of sandwich estimators, J. Stat. Soft. 16(9).
    """
    if not isinstance(fit, Fit) or not isinstance(meat, Tensor):
        raise EstimationError(
            f"sandwich needs the fit that an estimator is called with and a meat, a tensor, not {described(fit)} and {described(meat)}."
        )
    point = fit.point
    width, meat = point.meat_width, to_tensor(meat, point.root)
    if meat.shape != (width, width):
        raise EstimationError(
            f"The meat has shape {tuple(meat.shape)}; it must have shape ({width}, {width}), a sum of rows.meat(factor) over the rows."
        )
    return of_core(fit, point.core(meat), label, note, df=df, robust=robust)


def sum_core(fit: Fit, term: RowSum) -> Tensor:
    """Return (r, r) the core of the sum of a term that gives a block's `Rows.meat`."""
    return fit.point.core(fit.sum_rows(term))


def of_core(fit: Fit, core: Tensor, label: str, note: str, **others: Any) -> Covariance:
    """Return the covariance Z C Z' of an (r, r) core C, or of () a multiple of the identity; `others` are fields of `Covariance`."""
    root: Tensor = fit.root
    matrix = root @ core @ root.mT if core.ndim else core * fit.bread
    return Covariance(matrix, label, note, core=core, **others)


def penalised(fit: Fit) -> str:
    """Return the sentence that is added to the note of a penalised fit."""
    return (
        ""
        if fit.problem.penalty is None
        else (
            ". The estimate is penalised: standard errors show its variance, and not the bias that the penalty brings."
        )
    )
