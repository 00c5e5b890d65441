"""Clusters' adjustments by their leverage, and the degrees of freedom that go with them: CR2, CR3, Satterthwaite, AHT."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.covariance.base import SmallSample

# An eigenvalue of I - H within 1e-10 of zero: the cluster alone fixes that direction.
_FIXED = 1e-10
# Rounding of sums of products leaves eigenvalues below this share of the largest.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class ClusterHats:
    """What clusters' adjustments need of the rows: H_g and the residuals' covariance I + P C P' through P alone.

    With P_g = U_g = W_g^(1/2) X_g Z the working covariance of the residuals is I - U U', C = -I and F = I. For weighted
    least squares with homoskedastic errors as the target P_g = [X_g Z, W_g X_g Z], C = [[Q, -I], [-I, 0]] with
    Q = Z'X'W^2XZ, and F takes the second half.

    Attributes
    ----------
    grams : Tensor
        (G, p, p) P_g'P_g.
    sums : Tensor
        (G, p) P_g'e_g of the residuals e, whitened where U is.
    middle : Tensor
        (p, p) C.
    pick : Tensor
        (p, r) F, so that the scores in Z's coordinates are F'P_g'e_g.
    root : Tensor
        (k, r) Z.
    """

    grams: Tensor
    sums: Tensor
    middle: Tensor
    pick: Tensor
    root: Tensor


@dataclass(frozen=True, eq=False)
class Adjusted(SmallSample):
    """Adjusted clusters: a contrast c has the residuals' weights A_g'W_g X_g A^-1 c = P_g a_g, a_g = L_g Z'c.

    The variance is the sum of (a_g'P_g'e_g)^2, and under the working covariance its parts have the covariance
    delta_gh a_g'S_g a_g + v_g'C v_h, S_g = P_g'P_g and v_g = S_g a_g.

    Attributes
    ----------
    hats : ClusterHats
        Of the clusters.
    maps : Tensor
        (G, p, r) L_g.
    fixed : int
        How many clusters alone fix some direction of the coefficients.
    """

    hats: ClusterHats
    maps: Tensor
    fixed: int

    @property
    def scores(self) -> Tensor:
        """(G, r) the adjusted scores in Z's coordinates."""
        scores: Tensor = torch.einsum("gpr,gp->gr", self.maps, self.hats.sums)
        return scores

    def t_df(self, matrix: Tensor) -> Tensor:
        """Return (J,) Satterthwaite's (sum of P_gg)^2 / sum of P_gh^2.

        References
        ----------
        Bell and McCaffrey (2002), Survey Methodology 28(2). Pustejovsky and Tipton (2018), JBES 36(4).
        """
        own, v, mixed = self._parts(matrix @ self.hats.root)
        first = (torch.einsum("gjj->j", own) + torch.einsum("gpj,pq,gqj->j", v, self.hats.middle, v)).square()
        sizes = torch.einsum("gjj->gj", own)
        cross = torch.einsum("gpj,pq,gqj->gj", v, self.hats.middle, v)
        second = (sizes.square() + 2.0 * sizes * cross).sum(0) + torch.einsum("jjab,jjba->j", mixed, mixed)
        return first / second

    def f_df(self, matrix: Tensor) -> float:
        """Return eta, Hotelling's T^2 with the moments of the variance's parts matched (AHT).

        References
        ----------
        Pustejovsky and Tipton (2018), JBES 36(4), equation 15 with Zhang's (2012) degrees of freedom.
        """
        directions = matrix @ self.hats.root
        own, v, _ = self._parts(directions)
        expected = own.sum(0) + torch.einsum("gps,pq,gqt->st", v, self.hats.middle, v)
        spectrum, vectors = torch.linalg.eigh(expected)
        own, v, mixed = self._parts((vectors * spectrum.rsqrt()) @ vectors.mT @ directions)
        cross = torch.einsum("gps,pq,gqt->gst", v, self.hats.middle, v)
        sizes, crossed = torch.einsum("gss->gs", own), torch.einsum("gss->gs", cross)
        same = sizes.mT @ sizes + sizes.mT @ crossed + crossed.mT @ sizes
        same = same + torch.einsum("stab,tsba->st", mixed, mixed)
        turned = (own.square() + 2.0 * own * cross).sum(0) + torch.einsum("tsab,tsba->st", mixed, mixed)
        count = len(matrix)
        return float(count * (count + 1) / (same + turned).sum())

    def _parts(self, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (G, J, J) a_s'S a_t, (G, p, J) v, and (J, J, p, p) C K_st, K_st the sum of v_s v_t'."""
        weights = self.maps @ directions.mT
        v = self.hats.grams @ weights
        mixed = torch.einsum("gas,gbt->stab", v, v)
        return weights.mT @ v, v, self.hats.middle @ mixed


def half_adjusted(hats: ClusterHats) -> Adjusted:
    """Return CR2: A_g the inverse root of the residuals' working covariance, so that the variance is unbiased under it."""
    values, basis = _spectrum(hats.grams)
    factor = basis * values.sqrt()[:, None]  # (G, p, p): R' = E s^(1/2)
    inner = torch.eye(values.shape[1]).to(values) + factor.mT @ hats.middle @ factor
    spectrum, vectors = torch.linalg.eigh(inner)
    held = spectrum > _FIXED
    inverse_root = (vectors * torch.where(held, spectrum, 1.0).rsqrt()[:, None] * held[:, None]) @ vectors.mT
    inverse = torch.where(values > 0, values, torch.inf).rsqrt()
    maps = (basis * inverse[:, None]) @ inverse_root @ factor.mT @ hats.pick
    return Adjusted(hats, maps, int((~held).any(1).sum()))


def fully_adjusted(hats: ClusterHats, leverages: Tensor) -> Adjusted:
    """Return CR3: A_g = (I - H_gg)^-1, so that the scores are those of leaving a cluster out.

    Parameters
    ----------
    hats : ClusterHats
        Of the clusters.
    leverages : Tensor
        (G, r, r) M_g, a cluster's share of the information, in Z's coordinates.
    """
    spectrum, vectors = torch.linalg.eigh(leverages)
    held = spectrum < 1.0 - _FIXED
    inverse = torch.where(held, 1.0 - spectrum, torch.inf).reciprocal()
    maps = hats.pick @ (vectors * inverse[:, None]) @ vectors.mT
    return Adjusted(hats, maps, int((~held).any(1).sum()))


def _spectrum(grams: Tensor) -> tuple[Tensor, Tensor]:
    values, basis = torch.linalg.eigh(grams)
    floor = _ROUNDING * values[:, -1:].clamp_min(1e-300)
    return torch.where(values > floor, values, 0.0), basis
