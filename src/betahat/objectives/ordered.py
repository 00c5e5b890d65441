"""Ordered categories: a latent variable between two neighbouring cut points, which increase by construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.engine import Block, fold
from betahat.objectives.base import LinearIndex
from betahat.objectives.dispersion import Unity
from betahat.objectives.indices import LinearIndices
from betahat.objectives.latent import END, Latent


@dataclass(frozen=True)
class Ordered(LinearIndices):
    """Minus the log of P(y = j) = F(c_j - eta) - F(c_(j-1) - eta) of classes j = 0, 1, ..., J - 1, c_(-1) and c_(J-1) being infinite.

    The first index is eta; the others are constants: the first cut point, and the logarithms of what each has beyond the one before.
    """

    latent: Latent

    dispersion = Unity()
    support = None

    def cuts(self, constants: Tensor) -> Tensor:
        """Return (..., J + 1) the cut points, with an end on either side, of (..., J - 1) constants."""
        steps = torch.cat([constants[..., :1], torch.exp(constants[..., 1:])], -1)
        return torch.nn.functional.pad(torch.nn.functional.pad(steps.cumsum(-1), (1, 0), value=-END), (0, 1), value=END)

    def cut_slopes(self, constants: Tensor) -> Tensor:
        """Return (..., J + 1, J - 1) the derivatives of the cut points; those of the ends are zero."""
        steps = torch.cat([torch.ones_like(constants[..., :1]), torch.exp(constants[..., 1:])], -1)
        lower = torch.ones(constants.shape[-1:] * 2, dtype=steps.dtype, device=steps.device).tril()
        return torch.nn.functional.pad(lower * steps[..., None, :], (0, 0, 1, 1))

    def constants_of(self, cuts: Tensor) -> Tensor:
        """Return (J - 1,) the constants of increasing cut points."""
        return torch.cat([cuts[:1], torch.log(cuts.diff())])

    def first(self, design: Design, fit: Callable[[LinearIndex | LinearIndices, Design], Tensor]) -> Tensor:
        """Return (k + J - 1,) zeros and the cut points of the shares of classes, moved by the mean of the offset."""
        rows = design.source.only("endog", "offset", "weights", "counts")
        sums, shift = fold(rows, _Shares(len(self.equations)), design.engine)
        cuts = self.latent.quantile((sums.cumsum(0) / sums.sum())[:-1])
        return torch.cat([sums.new_zeros(design.width), self.constants_of(cuts + shift / sums.sum())])

    def along(self, params: Tensor, step: Tensor, length: float) -> Tensor:
        """Return (k + J - 1,) parameters on a line of coefficients and cut points; NaN where these no longer increase."""
        width = len(params) - len(self.equations) + 1
        constants = params[width:]
        cuts = self.cuts(constants)[1:-1] + length * (self.cut_slopes(constants)[1:-1] @ step[width:])
        return torch.cat([params[:width] + length * step[:width], self.constants_of(cuts)])

    def bounds(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (...,) the cut points below and above classes, less eta."""
        eta, cuts = output[..., 0], self.cuts(output[..., 1:])
        place = target.long()[..., None]
        return torch.gather(cuts, -1, place)[..., 0] - eta, torch.gather(cuts, -1, place + 1)[..., 0] - eta

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) the losses."""
        return -self.latent.log_probability(*self.bounds(output, target))

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def mean(self, output: Tensor) -> Tensor:
        """Return (..., J) probabilities."""
        return self.probabilities(output[..., 0], self.cuts(output[..., 1:]))

    def probabilities(self, eta: Tensor, cuts: Tensor) -> Tensor:
        """Return (..., J) probabilities of (...,) indices and (..., J + 1) cut points."""
        points = cuts - eta[..., None]
        return torch.exp(self.latent.log_probability(points[..., :-1], points[..., 1:]))

    def expected_of_cuts(self, points: Tensor) -> Tensor:
        """Return (..., J - 1, J - 1) the information of (..., J + 1) cut points less eta: each meets its neighbours alone."""
        density = torch.exp(self.latent.log_density(points[..., 1:-1]))
        rates = self.latent.log_probability(points[..., :-1], points[..., 1:]).neg().exp()
        beside = -density[..., :-1] * density[..., 1:] * rates[..., 1:-1]
        information = torch.diag_embed(density.square() * (rates[..., :-1] + rates[..., 1:]))
        return information + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (..., q, q), by the derivatives of the cut points less eta."""
        points = self.cuts(output[..., 1:]) - output[..., :1]
        slopes = torch.nn.functional.pad(self.cut_slopes(output[..., 1:])[..., 1:-1, :], (1, 0), value=-1.0)
        return slopes.mT @ self.expected_of_cuts(points) @ slopes

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) classes."""
        points = self.cuts(index[:, 1:])[:, 1:-1] - index[:, :1]
        z = self.latent.quantile(uniform)
        drawn = torch.zeros_like(z)
        for point in points.unbind(1):
            drawn += z > point
        return drawn


@dataclass(frozen=True)
class _Shares:
    """The weights of (J,) classes, and the weighted sum of the offset, of a block."""

    classes: int

    def __call__(self, block: Block) -> tuple[Tensor, Tensor]:
        y, offset = block["endog"], block.get("offset")
        scale = torch.ones_like(y)
        for often in (block.get("weights"), block.get("counts")):
            scale = scale if often is None else scale * often
        sums = scale.new_zeros(self.classes).index_add_(0, y.long(), scale)
        return sums, scale.new_zeros(()) if offset is None else (scale * offset).sum()
