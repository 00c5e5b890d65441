"""Several ways of clustering whose sum is not positive semi-definite: negative eigenvalues are set to zero."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.covariance.defined import score_sizes
from betahat.data.groups import Groups
from betahat.errors import EstimationError, counted
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums
from betahat.fits.inverse_root import inverse_root

# Rounding of the sums leaves an eigenvalue below this share of the largest.
_NEGATIVE = 1e-12
# Variances that differ by more than this leave the smaller no digit in the larger's eigenvectors.
_SPREAD = 1e-12
# A repaired covariance has directions without variance to rounding.
_SINGULAR = 1e-10
# Sums of scores that cancel do so to rounding, and to the optimum's tolerance, of the largest.
_STILL = 1e-8


def repaired(fit: Fit, found: Covariance, ways: tuple[Groups, ...]) -> Covariance:
    """Set negative eigenvalues of V to zero, as Cameron, Gelbach and Miller (2011) and R's sandwich do, where there are any.

    Dummies that absorb a way are apart: of the other coefficients, f, V_ff is what the regression without the dummies' part has, and is
    repaired, or not, by itself; of the dummies, d, it is V_dd - K V_ff K', K = V_df V_ff^-1, that is.
    """
    core = found.core
    assert core is not None
    spectrum = torch.linalg.eigvalsh(core)  # in the coordinates of Z, where units do not matter
    if bool(spectrum[0] >= -_NEGATIVE * spectrum[-1].abs()):
        return found
    matrix, absorbed = found.matrix, _absorbed(fit, ways)
    absorbed = torch.zeros_like(absorbed) if bool(absorbed.all()) else absorbed
    free, dummies = (~absorbed).nonzero().flatten(), absorbed.nonzero().flatten()
    block, count = _clipped(matrix[free][:, free])
    sizes = matrix.diagonal()[free].abs()
    if count and (bool((block.diagonal() <= 0).any()) or bool(sizes.min() < _SPREAD * sizes.max())):
        raise EstimationError(
            "The repair sets eigenvalues to zero, which depends on the regressors' units, and these differ so much that rounding would "
            "decide; scale them to similar sizes, or use one-way clusters."
        )
    repaired = matrix.clone()
    repaired[free[:, None], free] = block
    if len(dummies):
        gain = matrix[dummies][:, free] @ _pseudo_inverse(block)
        cross = gain @ block
        rest, more = _clipped(matrix[dummies][:, dummies] - cross @ gain.mT)
        count += more
        repaired[dummies[:, None], dummies] = rest + cross @ gain.mT
        repaired[dummies[:, None], free] = cross
        repaired[free[:, None], dummies] = cross.mT
    note = f"{found.note}. Not positive semi-definite: {counted(count, 'negative eigenvalue')} set to zero"
    return replace(found, matrix=repaired, note=note, core=None)


def _clipped(matrix: Tensor) -> tuple[Tensor, int]:
    """Set negative eigenvalues to zero, and count them, where the matrix has any at a unit diagonal; else it stays what it is."""
    scale = matrix.diagonal().abs().sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    shape = torch.linalg.eigvalsh(matrix / scale / scale[:, None])
    if bool(shape[0] >= -_NEGATIVE * shape[-1].abs()):
        return matrix, 0
    spectrum, vectors = torch.linalg.eigh(matrix)
    return (vectors * spectrum.clamp_min(0.0)) @ vectors.mT, int((spectrum < 0).sum())


def _pseudo_inverse(matrix: Tensor) -> Tensor:
    """Return the inverse of a positive semi-definite matrix in the directions that it has, at a unit diagonal."""
    scale = matrix.diagonal().sqrt()
    spectrum, vectors = torch.linalg.eigh(matrix / scale / scale[:, None])
    held = spectrum > _SINGULAR * spectrum[-1]
    inverse: Tensor = (vectors[:, held] / spectrum[held]) @ vectors[:, held].mT / scale / scale[:, None]
    return inverse


def _absorbed(fit: Fit, ways: tuple[Groups, ...]) -> Tensor:
    """Return (k,) whether a coefficient belongs to dummies for all clusters of a way, the constant among them.

    The scores of such a column sum to zero in every cluster of that way, and as many columns have such sums as there are clusters, or
    one less where another way's dummies add up to the constant.
    """
    absorbed = torch.zeros(len(fit.params), dtype=torch.bool, device=fit.params.device)
    turn = inverse_root(fit)
    plain = ((turn.mT @ score_sizes(fit)) * turn.mT).sum(1).sqrt()
    for way in ways:
        sums = (influence_sums(fit, way) @ turn).abs().amax(0)
        still = sums <= _STILL * plain
        if int(still.sum()) >= (way.count - 1) * max(sum(not equation.constant for equation in fit.equations), 1):
            absorbed |= still
    return absorbed
