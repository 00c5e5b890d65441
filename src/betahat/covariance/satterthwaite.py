"""Degrees of freedom of adjusted clusters, CR2 and CR3: Satterthwaite's and those of Hotelling's T^2 (AHT)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.covariance.base import SmallSample
from betahat.data.container import hands_out_copies
from betahat.solvers.lengths import unit_rows

# Restrictions that repeat each other leave eigenvalues below this share of the largest.
_REPEATED = 1e-10
# Contrasts are taken so many numbers at a time.
_NUMBERS = 2**22


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Adjusted(SmallSample):
    """Adjusted clusters: a contrast c takes the residuals of cluster g with weights a_g = A_g'W_g X_g A^-1 c = K_g u, u = Z'c.

    The variance is the sum of (a_g'e_g)^2, and under the working covariance its parts have the covariance
    delta_gh u'N_g u + (T_g u)' C (T_h u).

    Attributes
    ----------
    scores : Tensor
        (G, r) K_g'e_g, the adjusted scores in Z's coordinates.
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
        step = max(1, _NUMBERS // self.reach[:, :, 0].numel())
        return torch.cat([self._t_df(part) for part in torch.split(unit_rows(matrix @ self.root), step)])

    def _t_df(self, directions: Tensor) -> Tensor:
        v = self.reach @ directions.mT
        turned = self.middle @ v
        sizes = ((directions @ self.own) * directions).sum(2)
        cross = (v * turned).sum(1)
        mixed = torch.bmm(turned.permute(2, 1, 0), v.permute(2, 0, 1))
        second = (sizes.square() + 2.0 * sizes * cross).sum(0) + (mixed * mixed.mT).sum((1, 2))
        return (sizes + cross).sum(0).square() / second

    def f_df(self, matrix: Tensor) -> float:
        """Return eta, Hotelling's T^2 with the moments of the variance's parts matched (AHT).

        References
        ----------
        Pustejovsky and Tipton (2018), JBES 36(4), equation 15 with Zhang's (2012) degrees of freedom.
        """
        directions = unit_rows(matrix @ self.root)
        own, v = self._parts(directions)
        expected = own.sum(0) + torch.einsum("gps,pq,gqt->st", v, self.middle, v)
        spectrum, vectors = torch.linalg.eigh(expected)
        held = spectrum > _REPEATED * spectrum[-1]  # restrictions that repeat each other do not count
        own, v = self._parts((vectors[:, held] * spectrum[held].rsqrt()).mT @ directions)
        turned = self.middle @ v
        cross = v.mT @ turned
        sizes, crossed = torch.einsum("gss->gs", own), torch.einsum("gss->gs", cross)
        total = (sizes.mT @ sizes + 2.0 * sizes.mT @ crossed).sum() + (own.square() + 2.0 * own * cross).sum()
        for s in range(v.shape[2]):  # C K_st for all t, and C K_ts, K_st the sum of v_s v_t'
            ahead = torch.einsum("ga,gbt->tab", turned[:, :, s], v)
            back = torch.einsum("gat,gb->tab", turned, v[:, :, s])
            total = total + (ahead * back.mT).sum() + (back * back.mT).sum()
        count = int(held.sum())
        return float(count * (count + 1) / total)

    def _parts(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return (G, J, J) u_s'N u_t and (G, p, J) v = T u."""
        return directions @ self.own @ directions.mT, self.reach @ directions.mT
