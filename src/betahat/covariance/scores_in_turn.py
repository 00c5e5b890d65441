"""Prewhitening and bandwidths by a rule, of scores that are read in turn: sums over passes, and only the last rows are held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.covariance.kernels import (
    KernelName,
    andrews_of,
    check_autoregression,
    last_autocovariance,
    newey_west_of,
    past_of,
    recoloured,
)


@dataclass(frozen=True, eq=False)
class ScoresInTurn:
    """Scores that are read as often as they are asked for.

    Attributes
    ----------
    read : callable
        Yields (b, r) blocks in the order of time.
    rows : int
        How many there are.
    turn : Tensor
        (r, k) what makes the columns' own scores of them.
    """

    read: Callable[[], Iterator[Tensor]]
    rows: int
    turn: Tensor

    def prewhitened(self, order: int) -> tuple[ScoresInTurn, Tensor]:
        """Return the residuals of a vector autoregression, and (r, r) D; two passes, of which this takes one."""
        width = self.turn.shape[0]
        check_autoregression(self.rows, width, order)
        products = self.turn.new_zeros(order * width, (order + 1) * width)
        for window in _windows(self.read(), order):
            past = past_of(window, order)
            products += past.mT @ torch.cat([past, window[order:]], 1)
        slopes = torch.linalg.solve(products[:, : order * width], products[:, order * width :])

        def residuals() -> Iterator[Tensor]:
            return (window[order:] - past_of(window, order) @ slopes for window in _windows(self.read(), order))

        return replace(self, read=residuals, rows=self.rows - order), recoloured(slopes)

    def andrews(self, kernel: KernelName, weights: Tensor) -> float:
        """Return Andrews' bandwidth, by a pass; see `kernels.andrews`."""
        width = len(weights)
        sums, squares, pairs, largest = (self.turn.new_zeros(width) for _ in range(4))
        first: Tensor | None = None
        before = self.turn.new_zeros(0, width)
        for block in self._own():
            first = block[0] if first is None else first
            joint = torch.cat([before, block])
            sums, squares = sums + block.sum(0), squares + block.square().sum(0)
            pairs = pairs + (joint[1:] * joint[:-1]).sum(0)
            largest = torch.maximum(largest, block.abs().amax(0))
            before = block[-1:]
        assert first is not None
        last, count = before[0], self.rows - 1
        past = squares - last.square() - (sums - last).square() / count
        now = squares - first.square() - (sums - first).square() / count
        both = pairs - (sums - last) * (sums - first) / count
        unit = largest.max().clamp_min(torch.finfo(largest.dtype).tiny)  # whose fourth powers need be held
        rho = both / past
        return andrews_of(rho, (now - rho * both) / unit / unit / count, self.rows, kernel, weights)

    def newey_west(self, kernel: KernelName, weights: Tensor, order: int) -> float:
        """Return Newey and West's bandwidth, by a pass; see `kernels.newey_west`."""
        nobs = self.rows + order
        last = min(last_autocovariance(kernel, nobs, order), self.rows - 1)
        sizes, before = weights.new_zeros(last + 1), weights.new_zeros(last)
        for block in self._own():
            joint = torch.cat([before, block @ weights])
            series = joint[last:]
            sizes += torch.stack([series @ joint[last - lag : len(joint) - lag] for lag in range(last + 1)])
            before = joint[len(joint) - last :]
        return newey_west_of(sizes, nobs, kernel)

    def _own(self) -> Iterator[Tensor]:
        """Yield (b, k) the columns' own scores."""
        return (block @ self.turn for block in self.read())


def _windows(blocks: Iterator[Tensor], order: int) -> Iterator[Tensor]:
    """Yield blocks below the rows before them, of which there are `order`."""
    before: Tensor | None = None
    for block in blocks:
        joint = block if before is None else torch.cat([before, block])
        if len(joint) > order:
            yield joint
        before = joint[max(len(joint) - order, 0) :]
