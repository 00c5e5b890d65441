"""The effective F statistic of Montiel Olea and Pflueger, and what it is compared with, for one endogenous regressor.

References
----------
Montiel Olea and Pflueger (2013), A robust test for weak instruments, JBES 31(3). Pflueger and Wang (2015), A robust test for weak instruments in
Stata, Stata Journal 15(1). Patnaik (1949), Biometrika 36.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import optimize, special
else:
    optimize = lazily("scipy.optimize")
    special = lazily("scipy.special")

# Directions in which the bias is looked at first: the largest is missed by less than 1 - cos(pi / 720), a share of 1e-5, before it is improved.
_DIRECTIONS = 720
# LIML's bias changes fast where y - w b has errors of a small variance.
_FINE = 20_000
# From each of so many of the best it is improved.
_STARTS, _STEPS, _STILL = 32, 200, 1e-15


def effective_f(coefficients: Tensor, variance: Tensor, triangle: Tensor) -> float:
    """Return pi'Z~'Z~ pi / tr(V Z~'Z~), with (q,) pi, its (q, q) variance V, and R of R'R = Z~'Z~, Z~ free of the exogenous regressors."""
    explained = triangle @ coefficients
    return float(explained @ explained / (triangle @ variance @ triangle.mT).diagonal().sum())


def critical_value(variance: Tensor, noncentrality: float, level: float) -> float:
    """Return the value that the effective F exceeds with probability `level` at the boundary of weak instruments.

    Patnaik's approximation: F is a noncentral chi-squared over its degrees of freedom K, with noncentrality K x,
    K = tr(W)^2 (1 + 2x) / (tr(W'W) + 2x tr(W) lambda_max(W)).

    Parameters
    ----------
    variance : Tensor
        (q, q) W = R V R', up to scale.
    noncentrality : float
        x, the worst bias relative to the benchmark over the share tau of it that is allowed; 1 / tau is conservative.
    level : float
        The size of the test.
    """
    spectrum = torch.linalg.eigvalsh(variance)
    total, squares, largest = float(spectrum.sum()), float(spectrum.square().sum()), float(spectrum[-1])
    df = total**2 * (1.0 + 2.0 * noncentrality) / (squares + 2.0 * noncentrality * total * largest)
    return noncentral_chi2_quantile(1.0 - level, df, df * noncentrality) / df


def noncentral_chi2_quantile(probability: float, df: float, noncentrality: float) -> float:
    """Return the quantile of a noncentral chi-squared distribution, to the digits of its distribution function."""
    if noncentrality == 0.0:
        return float(special.chdtri(df, 1.0 - probability))
    top = df + noncentrality
    while special.chndtr(top, df, noncentrality) < probability:
        top *= 2.0
    found = optimize.brentq(
        lambda x: special.chndtr(x, df, noncentrality) - probability, 0.0, top, xtol=1e-12, rtol=1e-14
    )
    return float(found)


def worst_bias(own: Tensor, cross: Tensor, first: Tensor) -> float:
    """Return B, the largest Nagar bias of 2SLS over its benchmark, over all coefficients beta and all directions of the first stage.

    Parameters
    ----------
    own, cross, first : Tensor
        (q, q) variances W1 of the reduced form of y, W12 between it and the first stage, and W2 of the first stage, where the instruments are
        orthonormal; only the symmetric part of W12 matters.

    Notes
    -----
    B = sup |tr S12 - 2 c'S12 c| / sqrt(tr S2 tr S1), S12 = W12 - beta W2, S1 = W1 - 2 beta W12 + beta^2 W2, S2 = W2 and |c| = 1. With
    beta = b + s tan(t), b such that tr S12(b) = 0 and s^2 = tr S1(b) / tr W2, tr S1 is tr S1(b) / cos(t)^2, so that B is the maximum over t and c of
    |2 cos(t) c'A c - sin(t) (2 c'Bc - 1)|, A = S12(b) / (s tr W2), B = W2 / tr W2: the numerical radius of 2B - 1 + 2iA, whose support function
    lambda_max(t) is at least B cos(t - t*).
    """
    share = first.diagonal().sum()
    symmetric = 0.5 * (cross + cross.mT)
    shift = symmetric.diagonal().sum() / share
    centred = symmetric - shift * first
    benchmark = (own - 2.0 * shift * symmetric + shift**2 * first).diagonal().sum() / share
    upright = 2.0 * centred / (benchmark.clamp_min(0.0).sqrt() * share) if float(benchmark) > 0 else 0.0 * first
    level = 2.0 * first / share - torch.eye(len(first)).to(first)
    angles = torch.arange(_DIRECTIONS).to(first) * (2.0 * math.pi / _DIRECTIONS)
    pencils = angles.cos()[:, None, None] * level + angles.sin()[:, None, None] * upright
    heights = torch.linalg.eigvalsh(pencils)[:, -1]
    near = angles[heights >= heights.max() * math.cos(math.pi / _DIRECTIONS)]
    return max(_climbed(level, upright, float(angle)) for angle in near[:: -(-len(near) // _STARTS)])


def worst_bias_of_liml(own: Tensor, cross: Tensor, first: Tensor, errors: Tensor) -> float:
    """Return the same of LIML, whose Nagar bias depends on the (2, 2) covariance of the reduced form's errors of y and w as well, up to scale.

    B = sup |tr S12 - r tr S1 - c'(2 S12 - r S1)c| / sqrt(tr S2 tr S1), r = s12 / s1 of the errors of y - w b and w. It is looked for on a grid of angles t,
    b = shift + s tan(t), and improved near the best of them.
    """
    share = first.diagonal().sum()
    symmetric = 0.5 * (cross + cross.mT)
    shift = float(symmetric.diagonal().sum() / share)
    centred, base = symmetric - shift * first, own - 2.0 * shift * symmetric + shift**2 * first
    unit = math.sqrt(max(float(base.diagonal().sum() / share), 0.0)) or 1.0
    middle = float(errors[0, 1] - shift * errors[1, 1])
    outer = float(errors[0, 0] - 2.0 * shift * errors[0, 1] + shift**2 * errors[1, 1])

    def heights(angles: Tensor) -> Tensor:
        """Return (A,) the largest bias over its benchmark at (A,) angles."""
        cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None] * unit
        mixed, square = cos * centred - sin * first, cos**2 * base - 2.0 * cos * sin * centred + sin**2 * first
        ratio = (cos * middle - sin * float(errors[1, 1])) / (
            cos**2 * outer - 2.0 * cos * sin * middle + sin**2 * float(errors[1, 1])
        )
        traces = (mixed - ratio * square).diagonal(dim1=1, dim2=2).sum(1)
        ends = torch.linalg.eigvalsh(2.0 * mixed - ratio * square)[:, [0, -1]]
        benchmark = (share * square.diagonal(dim1=1, dim2=2).sum(1)).sqrt()
        found: Tensor = (traces[:, None] - ends).abs().amax(1) / benchmark
        return found

    step = math.pi / _FINE
    angles = (torch.arange(_FINE).to(first) - 0.5 * _FINE) * step
    found = heights(angles)
    best = float(found.max())
    for angle in angles[found.argsort(descending=True)[:_STARTS]].tolist():
        near = optimize.minimize_scalar(
            lambda t: -float(heights(first.new_tensor([t]))[0]), bounds=(angle - step, angle + step), method="bounded"
        )
        best = max(best, -float(near.fun))
    return best


def _climbed(level: Tensor, upright: Tensor, angle: float) -> float:
    """Return the modulus of the numerical range at a local maximum: the angle becomes that of the point it supports."""
    best = 0.0
    for _ in range(_STEPS):
        vector = torch.linalg.eigh(math.cos(angle) * level + math.sin(angle) * upright)[1][:, -1]
        real, imaginary = float(vector @ level @ vector), float(vector @ upright @ vector)
        size = math.hypot(real, imaginary)
        if size <= best * (1.0 + _STILL):
            break
        best, angle = size, math.atan2(imaginary, real)
    return best
