"""Sums of squares of a linear fit, as statsmodels defines them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import times
from betahat.data.engine import Block, fold
from betahat.fits.fit import Fit


@dataclass(frozen=True)
class SumsOfSquares:
    """The analysis of variance of a (weighted) linear fit."""

    ssr: float  # residual: sum w (y - x'b)^2
    centered_tss: float  # total, about the weighted mean
    uncentered_tss: float  # total, about zero
    within_tss: float | None = None  # total, of what absorbed effects leave


def sums_of_squares(fit: Fit) -> SumsOfSquares:
    """Return the sums of squares of endog, whose mean is subtracted before squaring."""
    design = fit.raw
    rows = design.source.only("endog", "weights", "counts")
    weight, sum_y, uncentered = fold(rows, _about_zero, design.engine)
    mean = sum_y / weight

    def about_mean(block: Block) -> tuple[Tensor]:
        y, w = _weighted(block)
        return ((w * (y - mean) ** 2).sum(),)

    (centered,) = fold(rows, about_mean, design.engine)
    return SumsOfSquares(2.0 * float(fit.loss), float(centered), float(uncentered), _within(fit))


def _within(fit: Fit) -> float | None:
    """Return the sum of squares of what absorbed effects leave of endog."""
    if fit.absorbed is None:
        return None
    design = fit.design
    _, _, total = fold(design.source.only("endog", "weights", "counts"), _about_zero, design.engine)
    return float(total)


def mean_of_endog(fit: Fit) -> float:
    """Return the mean of endog, without analytic weights."""
    design = fit.raw
    rows = design.source.only("endog", "counts")
    (summed,) = fold(rows, lambda block: (times(block["endog"], block.get("counts")).sum(),), design.engine)
    return float(summed) / fit.nobs


def _about_zero(block: Block) -> tuple[Tensor, ...]:
    y, w = _weighted(block)
    return w.sum(), (w * y).sum(), (w * y) @ y


def _weighted(block: Block) -> tuple[Tensor, Tensor]:
    y = block["endog"]
    return y, times(torch.ones_like(y), block.get("weights"), block.get("counts"))
