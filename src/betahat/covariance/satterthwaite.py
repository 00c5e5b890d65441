"""Clusters' adjustments by their leverage, and the degrees of freedom that go with them: CR2, CR3, Satterthwaite, AHT."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.covariance.base import SmallSample
from betahat.data.container import hands_out_copies
from betahat.data.progress import progress
from betahat.solvers.lengths import unit_rows

# An eigenvalue of I - H within 1e-10 of zero: the cluster alone fixes that direction.
_FIXED = 1e-10
# Contrasts are taken so many numbers at a time.
_NUMBERS = 2**22
# A Cholesky factor of I - H with a diagonal below this is left to the eigenvalues.
_CLOSE = 1e-2


@dataclass(frozen=True, eq=False)
class ClusterHats:
    """What adjustments by products need of the clusters: the residuals' working covariance is I + P C P'.

    Whitened, P_g = U_g = W_g^(1/2) X_g Z, C = -I and F = I. For weighted least squares whose errors have one variance
    P_g = [U_g, W_g U_g] with U_g = X_g Z, C = [[Q, -I], [-I, 0]] with Q = U'W^2U, and F takes the second half.

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
        held = spectrum > _FIXED * spectrum[-1]  # restrictions that repeat each other do not count
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


def half_adjusted(hats: ClusterHats) -> Adjusted:
    """Return CR2 where whitened errors have one variance: L_g = (I - U_g'U_g)^(-1/2), so that the variance is unbiased."""
    spectrum, vectors = torch.linalg.eigh(hats.grams)
    held = spectrum < 1.0 - _FIXED
    inverse_root = torch.where(held, 1.0 - spectrum, torch.inf).rsqrt()
    return _mapped(hats, (vectors * inverse_root[:, None]) @ vectors.mT, int((~held).any(1).sum()))


def half_adjusted_pairs(pieces: Iterable[tuple[Tensor, Tensor]], middle: Tensor, root: Tensor) -> Adjusted:
    """Return CR2 of weighted least squares whose errors have one variance: K = (I + P C P')^(-1/2) W U, P = [U, W U].

    With P = Q R the root is that of I + R C R' in the columns of Q, and no product of P loses digits.

    Parameters
    ----------
    pieces : iterable of (P, e)
        A cluster's (m, 2 r) P and (m,) residuals.
    middle : Tensor
        (2 r, 2 r) C.
    root : Tensor
        (k, r) Z.
    """
    scores, own, reach, fixed, width = [], [], [], 0, root.shape[1]
    for pairs, errors in progress(list(pieces), "CR2"):
        left, right = torch.linalg.qr(pairs)
        inner = torch.eye(len(right)).to(right) + right @ middle @ right.mT
        spectrum, vectors = torch.linalg.eigh(inner)
        held = spectrum > _FIXED
        inverse = torch.where(held, spectrum, torch.inf).rsqrt()
        weights = (vectors * inverse) @ (vectors.mT @ right[:, width:])
        scores.append(weights.mT @ (left.mT @ errors))
        own.append(weights.mT @ weights)
        reach.append(right.mT @ weights)
        fixed += bool((~held).any())
    return Adjusted(torch.stack(scores), torch.stack(own), torch.stack(reach), middle, root, fixed)


def half_adjusted_rows(pieces: Iterable[tuple[Tensor, Tensor, Tensor]], root: Tensor) -> Adjusted:
    """Return CR2 where the errors' variances f differ between rows: K = f B^(-1/2) U, B = f (I - U U') f.

    Parameters
    ----------
    pieces : iterable of (U, e, f)
        A cluster's (m, r) U, (m,) whitened residuals e and (m,) f. Its m x m matrix is the largest that is held.
    root : Tensor
        (k, r) Z.

    References
    ----------
    R: ``clubSandwich::vcovCR``, which takes this root of the many that make the variance unbiased.
    """
    scores, own, reach, fixed = [], [], [], 0
    for hats, errors, spread in progress(list(pieces), "CR2"):
        inner = torch.diag(spread.square()) - (spread[:, None] * hats) @ (spread[:, None] * hats).mT
        spectrum, vectors = torch.linalg.eigh(inner)
        free = torch.linalg.eigvalsh(hats.mT @ hats)  # the directions that the cluster fixes, whatever its variances
        lost = int((free > 1.0 - _FIXED).sum())
        inverse = spectrum.clamp_min(torch.finfo(spectrum.dtype).tiny).rsqrt()
        inverse[:lost] = 0.0
        weights = spread[:, None] * ((vectors * inverse) @ (vectors.mT @ hats))
        scores.append(weights.mT @ errors)
        own.append(weights.mT @ weights)
        reach.append(hats.mT @ weights)
        fixed += lost > 0
    return Adjusted(
        torch.stack(scores), torch.stack(own), torch.stack(reach), -torch.eye(root.shape[1]).to(root), root, fixed
    )


def fully_adjusted(hats: ClusterHats, leverages: Tensor) -> Adjusted:
    """Return CR3: A_g = (I - H_gg)^-1, so that the scores are those of leaving a cluster out.

    Parameters
    ----------
    hats : ClusterHats
        Of the clusters.
    leverages : Tensor
        (G, r, r) M_g, a cluster's share of the information, in Z's coordinates.
    """
    eye = torch.eye(leverages.shape[1]).to(leverages)
    lower, failed = torch.linalg.cholesky_ex(eye - leverages)
    inverse = torch.cholesky_solve(eye.expand_as(lower), lower)
    close = ((failed != 0) | (lower.diagonal(dim1=1, dim2=2).amin(1) < _CLOSE)).nonzero().flatten()
    spectrum, vectors = torch.linalg.eigh(leverages[close])
    held = spectrum < 1.0 - _FIXED
    reciprocal = torch.where(held, 1.0 - spectrum, torch.inf).reciprocal()
    inverse[close] = (vectors * reciprocal[:, None]) @ vectors.mT
    return _mapped(hats, hats.pick @ inverse, int((~held).any(1).sum()))


def _mapped(hats: ClusterHats, maps: Tensor, fixed: int) -> Adjusted:
    """Return the adjustment K_g = P_g L_g of (G, p, r) maps L."""
    reach = hats.grams @ maps
    scores = torch.einsum("gpr,gp->gr", maps, hats.sums)
    return Adjusted(scores, maps.mT @ reach, reach, hats.middle, hats.root, fixed)
