"""Sums of squares and what follows from them, for a linear fit; statsmodels' definitions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.blocks import Block, total
from betahat.fit import Fit


@dataclass(frozen=True)
class SumsOfSquares:
    """The analysis of variance of a (weighted) linear fit.

    Attributes
    ----------
    ssr : float
        Residual: sum w (y - x'b)^2.
    centered_tss : float
        Total about the weighted mean.
    uncentered_tss : float
        Total about zero.
    """

    ssr: float
    centered_tss: float
    uncentered_tss: float


def sums_of_squares(fit: Fit) -> SumsOfSquares:
    """Take the sums of squares of endog; the mean is taken off before squaring."""
    columns = fit.design.endog, fit.design.weights
    weight, sum_y, uncentered = total(_about_zero, *columns)
    mean = sum_y / weight

    def about_mean(block: Block) -> tuple[Tensor]:
        y, w = block.columns
        assert y is not None
        square = (y - mean) ** 2
        return ((square if w is None else w * square).sum(),)

    (centered,) = total(about_mean, *columns)
    return SumsOfSquares(2.0 * float(fit.loss), float(centered), float(uncentered))


def mean_of_endog(fit: Fit) -> float:
    """Return the plain mean of endog."""
    (summed,) = total(lambda block: (torch.sum(block.columns[0]),), fit.design.endog)  # type: ignore[arg-type]
    return float(summed) / fit.nobs


def _about_zero(block: Block) -> tuple[Tensor, ...]:
    y, w = block.columns
    assert y is not None
    wy = y if w is None else w * y
    weight = torch.ones_like(y) if w is None else w
    return weight.sum(), wy.sum(), wy @ y
