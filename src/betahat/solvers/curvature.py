"""The direction in which a loss curves least around a point, by products of its Hessian with vectors: Lanczos' method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.progress import progress
from betahat.solvers.triangles import inverse_triangle

# Added to an information of unit diagonal, so that it has a root even if it is singular.
_RIDGE = 1e-9
# The acceptable probability that the random start hides the direction.
_MISSED = 1e-6
# A direction is refined until its residual is below this share of its curvature.
_SETTLED = 0.1
# Eigenvalues are computed after every third product.
_EVERY = 3
# What remains of a product that lies in the span of the previous ones.
_NOTHING = 1e-10


@dataclass(frozen=True, eq=False)
class Lowest:
    """The direction of lowest curvature found for a Hessian H, relative to an information A."""

    direction: Tensor  # (k,) d
    curvature: float  # d'Hd / d'Ad
    certain: bool  # whether no direction curves downward, with a probability of error of 1e-6


def lowest_curvature(
    product: Callable[[Tensor], Tensor], information: Tensor, scale: Tensor, steps: int
) -> Lowest | None:
    """Look for the smallest eigenvalue of a Hessian in coordinates in which the (k, k) information is the identity; None if it has no root.

    `product` maps (k,) d to H d, `scale` is (k,) the square roots of the information's diagonal, `steps` the maximum number of products.
    If the two matrices are of similar size, all but a few of those eigenvalues are near one, and Lanczos' method finds the others first;
    their signs are those of the Hessian (Sylvester). From a random start, the error after j steps exceeds a share e of the spectrum with
    a probability of at most 1.648 sqrt(k) exp(-(2 j - 1) sqrt(e)), which is what makes an answer certain; the m largest eigenvalues cost at
    most m steps. Kuczynski and Wozniakowski (1992), SIAM Journal on Matrix Analysis and Applications 13(4), theorem 4.2.
    """
    width = len(scale)
    scaled = information / scale / scale[:, None]
    scaled.diagonal().add_(_RIDGE)
    lower, failed = torch.linalg.cholesky_ex(scaled)
    if bool(failed) or not bool(torch.isfinite(lower).all()):
        return None
    root = inverse_triangle(lower.mT) / scale[:, None]
    generator = torch.Generator(device="cpu").manual_seed(0)
    vector = torch.randn(width, generator=generator, dtype=torch.float64, device="cpu").to(scale)
    count = min(steps, width)
    basis, images, small = (
        vector.new_empty(count, width),
        vector.new_empty(count, width),
        vector.new_zeros(count, count),
    )
    trust = math.log(1.648 * math.sqrt(width) / _MISSED)
    for j in progress(range(count), "curvature"):
        basis[j] = vector / torch.linalg.vector_norm(vector)
        images[j] = root.mT @ product(root @ basis[j])
        # the symmetric part, in case it is not a Hessian
        inner = 0.5 * (basis[: j + 1] @ images[j] + images[: j + 1] @ basis[j])
        small[j, : j + 1] = small[: j + 1, j] = inner
        if not bool(torch.isfinite(inner).all()):
            return None
        rest = images[j] - basis[: j + 1].mT @ (basis[: j + 1] @ images[j])
        vector = rest - basis[: j + 1].mT @ (basis[: j + 1] @ rest)
        whole = j + 1 == width or bool(torch.linalg.vector_norm(vector) <= _NOTHING * small.diagonal().abs().max())
        if not whole and j + 1 < count and j % _EVERY:
            continue
        values, vectors = torch.linalg.eigh(small[: j + 1, : j + 1])
        low, weights = float(values[0]), vectors[:, 0]
        certain = low > 0.0 and (whole or _above_zero(values, trust))
        residual = torch.linalg.vector_norm(weights @ images[: j + 1] - low * (weights @ basis[: j + 1]))
        if whole or certain or (low < 0.0 and bool(residual <= _SETTLED * abs(low))):
            break
    return Lowest(root @ (weights @ basis[: j + 1]), low, certain)


def _above_zero(values: Tensor, trust: float) -> bool:
    """Tell whether (j,) Ritz values bound the spectrum away from zero, with m steps spent on the m largest and the rest on those below."""
    spent = torch.arange(len(values), dtype=values.dtype, device=values.device)
    share = (trust / (2.0 * (len(values) - spent) - 1.0)) ** 2
    error = share / (1.0 - 2.0 * share) * (values.flip(0) - values[0])
    return bool(((share < 0.25) & (error < values[0])).any())
