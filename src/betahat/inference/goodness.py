"""Sums of squares and what follows from them, for a linear fit; statsmodels' definitions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.blocks import Block, total
from betahat.fits.fit import Fit


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
    _, *columns = fit.design.columns
    weight, sum_y, uncentered = total(_about_zero, *columns)
    mean = sum_y / weight

    def about_mean(block: Block) -> tuple[Tensor]:
        y, w = _weighted(block)
        return ((w * (y - mean) ** 2).sum(),)

    (centered,) = total(about_mean, *columns)
    return SumsOfSquares(2.0 * float(fit.loss), float(centered), float(uncentered))


def mean_of_endog(fit: Fit) -> float:
    """Return the plain mean of endog."""
    (summed,) = total(lambda block: (block.columns[0].sum(),), fit.design.endog)
    return float(summed) / fit.nobs


def _about_zero(block: Block) -> tuple[Tensor, ...]:
    y, w = _weighted(block)
    return w.sum(), (w * y).sum(), (w * y) @ y


def _weighted(block: Block) -> tuple[Tensor, Tensor]:
    y, *weights = block.columns
    return y, weights[0] if weights else torch.ones_like(y)
