"""Degrees of freedom of adjusted clusters, CR2 and CR3: Satterthwaite's and those of Hotelling's T^2 (AHT)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.covariance.base import SmallSample
from betahat.data.handed_out import hands_out_copies
from betahat.solvers.lengths import unit_rows

# Restrictions that repeat each other leave eigenvalues below this share of the largest.
_REPEATED = 1e-10
# Clusters and contrasts are taken so many numbers at a time.
_NUMBERS = 2**20


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Adjusted(SmallSample):
    """Adjusted clusters: a contrast c takes the residuals of cluster g with weights a_g = A_g'W_g X_g A^-1 c = K_g u, u = Z'c.

    The variance is the sum of (a_g'e_g)^2, and under the working covariance its parts have the covariance
    delta_gh u'N_g u + (T_g u)' C (T_h u).

    Attributes
    ----------
    scores : Tensor
        (G, r) K_g'e_g, the adjusted scores in the coordinates of Z.
    own : Tensor
        (G, r, r) N_g.
    reach : Tensor
        (G, p, r) T_g.
    middle : Tensor
        (p, p) C.
    root : Tensor
        (k, r) Z.
    fixed : int
        How many clusters alone fix some direction of the coefficients.
    """

    scores: Tensor
    own: Tensor
    reach: Tensor
    middle: Tensor
    root: Tensor
    fixed: int

    def t_df(self, matrix: Tensor) -> Tensor:
        """Return (J,) Satterthwaite's (sum of P_gg)^2 / sum of P_gh^2.

        References
        ----------
        Bell and McCaffrey (2002), Survey Methodology 28(2). Pustejovsky and Tipton (2018), JBES 36(4).
        """
        step = max(1, _NUMBERS // self.middle.numel())
        return torch.cat([self._t_df(part) for part in torch.split(unit_rows(matrix @ self.root), step)])

    def _t_df(self, directions: Tensor) -> Tensor:
        count, width = len(directions), self.middle.shape[0]
        squares = (directions[:, :, None] * directions[:, None]).flatten(1)
        first, second = directions.new_zeros(2, count)
        spread = directions.new_zeros(count, width, width)
        for own, reach in self._some(count * width):
            v = reach @ directions.mT
            sizes = own.flatten(1) @ squares.mT
            cross = (v * (self.middle @ v)).sum(1)
            first += (sizes + cross).sum(0)
            second += (sizes.square() + 2.0 * sizes * cross).sum(0)
            spread.baddbmm_(v.permute(2, 1, 0), v.permute(2, 0, 1))
        mixed = self.middle @ spread
        found: Tensor = first.square() / (second + (mixed * mixed.mT).sum((1, 2)))
        return found

    def f_df(self, matrix: Tensor) -> float:
        """Return eta, Hotelling's T^2 with the moments of the variance's parts matched (AHT).

        References
        ----------
        Pustejovsky and Tipton (2018), JBES 36(4), equation 15 with Zhang's (2012) degrees of freedom.
        """
        directions = unit_rows(matrix @ self.root)
        expected = directions.new_zeros(len(directions), len(directions))
        for own, v in self._parts(directions):
            expected += own.sum(0) + torch.einsum("gps,pq,gqt->st", v, self.middle, v)
        spectrum, vectors = torch.linalg.eigh(expected)
        held = spectrum > _REPEATED * spectrum[-1]  # restrictions that repeat each other do not count
        directions = (vectors[:, held] * spectrum[held].rsqrt()).mT @ directions
        count, width = len(directions), self.middle.shape[0]
        total = directions.new_zeros(())
        for own, v in self._parts(directions):
            cross = v.mT @ self.middle @ v
            sizes, crossed = torch.einsum("gss->gs", own), torch.einsum("gss->gs", cross)
            total += (sizes.mT @ sizes + 2.0 * sizes.mT @ crossed).sum() + (own.square() + 2.0 * own * cross).sum()
        for some in torch.split(torch.arange(count), max(1, _NUMBERS // (count * width**2))):
            spread = directions.new_zeros(len(some), count, width, width)  # K_st, the sum of v_s v_t'
            for _, v in self._parts(directions):
                spread += torch.einsum("gas,gbt->stab", v[:, :, some], v)
            ahead, back = self.middle @ spread, self.middle @ spread.mT  # C K_st and C K_ts
            total += (ahead * back.mT).sum() + (back * back.mT).sum()
        return float(count * (count + 1) / total)

    def _parts(self, directions: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (g, J, J) u_s'N u_t and (g, p, J) v = T u of some clusters after the others."""
        for own, reach in self._some(len(directions) * (len(directions) + self.middle.shape[0])):
            yield directions @ own @ directions.mT, reach @ directions.mT

    def _some(self, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield N and T of so many clusters that `width` numbers of each, or they themselves, are not too many."""
        step = max(1, _NUMBERS // max(width, self.reach[0].numel()))
        return zip(torch.split(self.own, step), torch.split(self.reach, step), strict=True)
